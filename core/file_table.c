/* Files that are open: each content once, however many nodes read it, and what tells that it is still the same.
 *
 * A kg_file is a path and a share in an opened file; two that are open with one stamp share the descriptor, so that a graph of
 * hundreds of nodes over a few files needs a few descriptors. The table knows what is open and owns nothing of it; it lives as long as
 * the kg_files that made it and the files that came from it.
 *
 * Invariant: a stamp's times lie before the tick of the clock by which the kernel writes them, so that whatever is written after the
 * stamp was taken changes it. */
#include "core/paths.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

typedef struct kg_opened {
    kg_stamp stamp;
    int fd, shares;                /* of the table's lock, as are the links */
    struct kg_opened *next, *before;
    kg_file_table *table;
} kg_opened;
struct kg_file_table {
    pthread_mutex_t lock;
    kg_opened *first;
    int refs;                      /* atomic */
};

/* ---- stamps ---- */

static int64_t nanoseconds(struct timespec t) { return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec; }

static kg_stamp stamp_of(const struct stat *st)
{
    return (kg_stamp){.device = st->st_dev, .inode = st->st_ino, .size = (uint64_t)st->st_size,
                      .mtime_ns = nanoseconds(st->st_mtim), .ctime_ns = nanoseconds(st->st_ctim)};
}

int kg_stamp_equal(const kg_stamp *a, const kg_stamp *b)
{
    return a->device == b->device && a->inode == b->inode && a->size == b->size && a->mtime_ns == b->mtime_ns &&
           a->ctime_ns == b->ctime_ns;
}

/* A file that was written within this tick (some milliseconds) gets the rest of it; 0 when the system does not answer. */
static int look(int fd, struct stat *st)
{
    struct timespec now, tick;
    if (fstat(fd, st) || clock_gettime(CLOCK_REALTIME_COARSE, &now) || clock_getres(CLOCK_REALTIME_COARSE, &tick))
        return 0;
    int64_t latest = nanoseconds(st->st_mtim) > nanoseconds(st->st_ctim) ? nanoseconds(st->st_mtim) : nanoseconds(st->st_ctim);
    if (!S_ISREG(st->st_mode) || nanoseconds(now) > latest)
        return 1;
    nanosleep(&tick, NULL);
    return !fstat(fd, st);
}

kg_status kg_file_same(const kg_file *f)
{
    struct stat st;
    if (fstat(f->fd, &st))
        return kg_fail(KG_INPUT, "cannot read '%s': %s", f->path, strerror(errno));
    kg_stamp now = stamp_of(&st);
    if (kg_stamp_equal(&now, &f->stamp))
        return KG_OK;
    if (now.size != f->size)
        kg_fail(KG_INPUT, "'%s' was changed while it was in use: it had %" PRIu64 " bytes, and now it has %" PRIu64, f->path, f->size,
                now.size);
    else
        kg_fail(KG_INPUT, "'%s' was changed while it was in use: the time of its last %s is another", f->path,
                now.mtime_ns != f->stamp.mtime_ns ? "write" : "change");
    kg_hint("nothing that may come of it is kept; run again when the file stays as it is");
    return KG_INPUT;
}

/* ---- the table ---- */

kg_file_table *kg_file_table_new(void)
{
    kg_file_table *t = calloc(1, sizeof *t);
    if (t) {
        pthread_mutex_init(&t->lock, NULL);
        t->refs = 1;
    }
    return t;
}

void kg_file_table_unref(kg_file_table *t)
{
    if (!t || __atomic_sub_fetch(&t->refs, 1, __ATOMIC_ACQ_REL))
        return;
    pthread_mutex_destroy(&t->lock);
    free(t);
}

/* The opened file of a stamp with one share more, or NULL; locked. */
static kg_opened *share(kg_file_table *t, const kg_stamp *stamp)
{
    kg_opened *o = t->first;
    while (o && !kg_stamp_equal(&o->stamp, stamp))
        o = o->next;
    if (o)
        ++o->shares;
    return o;
}

/* Takes the descriptor: it is closed when the file is open already. NULL without memory. */
static kg_opened *open_once(kg_file_table *t, int fd, const kg_stamp *stamp)
{
    kg_opened *fresh = calloc(1, sizeof *fresh);
    pthread_mutex_lock(&t->lock);
    kg_opened *o = share(t, stamp);
    if (!o && fresh) {
        *fresh = (kg_opened){.stamp = *stamp, .fd = fd, .shares = 1, .next = t->first, .table = t};
        if (t->first)
            t->first->before = fresh;
        o = t->first = fresh;
        __atomic_add_fetch(&t->refs, 1, __ATOMIC_RELAXED);
    }
    pthread_mutex_unlock(&t->lock);
    if (o != fresh)
        free(fresh);
    if (!o || o->fd != fd)
        close(fd);
    return o;
}

static void give_up(kg_opened *o)
{
    kg_file_table *t = o->table;
    pthread_mutex_lock(&t->lock);
    int last = !--o->shares;
    if (last && o->next)
        o->next->before = o->before;
    if (last)
        *(o->before ? &o->before->next : &t->first) = o->next;
    pthread_mutex_unlock(&t->lock);
    if (!last)
        return;
    close(o->fd);
    free(o);
    kg_file_table_unref(t);
}

/* ---- files ---- */

/* Takes the share (NULL: there was no memory for it). */
static kg_file *file_new(kg_opened *o, const char *path)
{
    kg_file *file = o ? calloc(1, sizeof *file) : NULL;
    if (!file || !(file->path = strdup(path))) {
        kg_fail(KG_FAILED, "out of memory for a file");
        free(file);
        if (o)
            give_up(o);
        return NULL;
    }
    file->fd = o->fd;
    file->size = o->stamp.size;
    file->stamp = o->stamp;
    file->refs = 1;
    file->opened = o;
    return file;
}

kg_file *kg_file_take(kg_file_table *t, int fd, const char *path)
{
    struct stat st;
    if (!look(fd, &st))
        kg_fail(KG_INPUT, "cannot read '%s': %s", path, strerror(errno));
    else if (!S_ISREG(st.st_mode))
        kg_fail(KG_INPUT, "'%s' is %s, not a file", path, S_ISDIR(st.st_mode) ? "a folder" : "a device or a pipe");
    else {
        kg_stamp stamp = stamp_of(&st);
        return file_new(open_once(t, fd, &stamp), path);
    }
    close(fd);
    return NULL;
}

kg_file *kg_file_find(kg_file_table *t, const kg_stamp *stamp, const char *path)
{
    pthread_mutex_lock(&t->lock);
    kg_opened *o = share(t, stamp);
    pthread_mutex_unlock(&t->lock);
    return o ? file_new(o, path) : NULL;
}

kg_file *kg_file_ref(const kg_file *f)
{
    kg_file *file = (kg_file *)(uintptr_t)
        f; /* the count is the one thing that changes in a file that others only read */
    __atomic_add_fetch(&file->refs, 1, __ATOMIC_RELAXED);
    return file;
}

void kg_file_unref(kg_file *f)
{
    if (!f || __atomic_sub_fetch(&f->refs, 1, __ATOMIC_ACQ_REL))
        return;
    give_up(f->opened);
    free(f->path);
    free(f);
}
