/* What identifies a file's content: a hash of all its bytes, made by all cores at the speed of the disk.
 *
 * Invariants: the result hangs on the bytes alone, not on the number of threads (a chunk's hash has its place); it is fixed for ever
 * (tests/core/identity_test.c), because users' caches are named by it; nothing is remembered of a file that changed while it was read
 * (kg_file_read looks). What is remembered across runs was left alone for two seconds before it was read: the coarsest clock that
 * file systems keep (FAT's). */
#include "core/key.h"
#include "core/paths.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { CHUNK = 1 << 20, THREADS_MAX = 64, DIGEST = 16, TOLD_FIRST = 2, TOLD_EVERY = 5 };

typedef struct kg_known { kg_stamp stamp; unsigned char id[32]; } kg_known;

typedef struct reading {
    const kg_file *file;
    const volatile sig_atomic_t *cancel;
    unsigned char *digests;        /* DIGEST bytes a chunk            */
    uint64_t chunks;
    atomic_uint_fast64_t next;
    atomic_int stop;
    pthread_mutex_t lock;
    kg_error error;                /* the first one of any thread     */
} reading;

/* ---- reading ---- */

static double now(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Takes this thread's error, so that it is told by the thread that asked. */
static void fail(reading *r)
{
    kg_error e;
    kg_error_take(&e);
    pthread_mutex_lock(&r->lock);
    if (!r->error.status)
        r->error = e;
    pthread_mutex_unlock(&r->lock);
    atomic_store(&r->stop, 1);
}

/* The next chunk that nobody has taken; 0 when there is none, or it fails. */
static int one_chunk(reading *r, char *buffer)
{
    uint64_t i = atomic_fetch_add(&r->next, 1), from = i * CHUNK;
    if (i >= r->chunks || atomic_load(&r->stop))
        return 0;
    size_t bytes = r->file->size - from < CHUNK ? (size_t)(r->file->size - from) : CHUNK;
    if (r->cancel && *r->cancel)
        kg_fail(KG_CANCELLED, "cancelled");
    else if (kg_file_read(r->file, from, buffer, bytes) == KG_OK) {
        kg_digest(buffer, bytes, r->digests + i * DIGEST);
        return 1;
    }
    fail(r);
    return 0;
}

/* The one line that may be said of a long reading from time to time. */
static void tell(const reading *r, double began, double *told)
{
    double t = now(CLOCK_MONOTONIC);
    if (t - began < TOLD_FIRST || t - *told < TOLD_EVERY)
        return;
    *told = t;
    uint64_t done = atomic_load(&r->next);
    kg_log("'%s' is read once, to know it again: %d %% of %.1f GiB", r->file->path,
           (int)(100 * (done < r->chunks ? done : r->chunks) / r->chunks), (double)r->file->size / 1073741824.0);
}

static void read_chunks(reading *r, int talks)
{
    char *buffer = malloc(CHUNK);
    double began = now(CLOCK_MONOTONIC), told = began - TOLD_EVERY;
    if (!buffer) {
        kg_fail(KG_FAILED, "out of memory to read '%s'", r->file->path);
        fail(r);
    }
    while (buffer && one_chunk(r, buffer))
        if (talks)
            tell(r, began, &told);
    free(buffer);
}

static void *helper(void *arg)
{
    read_chunks(arg, 0);
    return NULL;
}

static int cores(void)
{
    cpu_set_t set;
    int n = sched_getaffinity(0, sizeof set, &set) ? 1 : CPU_COUNT(&set);
    return n < THREADS_MAX ? n : THREADS_MAX;
}

/* This thread reads too; those that cannot be started are not needed. */
static void read_all(reading *r)
{
    pthread_t thread[THREADS_MAX];
    int n = 0, wanted = cores() - 1;
    while (n < wanted && (uint64_t)n + 1 < r->chunks && !pthread_create(&thread[n], NULL, helper, r))
        ++n;
    read_chunks(r, 1);
    while (n)
        pthread_join(thread[--n], NULL);
}

static kg_key join(const reading *r)
{
    kg_hash *h = kg_hash_new();
    uint64_t form[2] = {CHUNK, r->file->size};
    kg_hash_text(h, "kinograph file 1");
    kg_hash_bytes(h, form, sizeof form);
    kg_hash_bytes(h, r->digests, r->chunks * DIGEST);
    return kg_hash_done(h);
}

static kg_status hash_file(kg_files *f, const kg_file *file, unsigned char out[32])
{
    reading r = {.file = file, .cancel = f->cancel, .chunks = (file->size + CHUNK - 1) / CHUNK};
    r.digests = malloc(r.chunks * DIGEST + 1);
    if (!r.digests)
        return kg_fail(KG_FAILED, "out of memory to read '%s'", file->path);
    pthread_mutex_init(&r.lock, NULL);
    read_all(&r);
    pthread_mutex_destroy(&r.lock);
    if (r.error.status)
        kg_error_set(&r.error);
    else {
        kg_key key = join(&r);
        memcpy(out, key.b, sizeof key.b);
    }
    free(r.digests);
    return kg_error_last()->status;
}

/* ---- remembering ---- */

void kg_files_memo(kg_files *f, const kg_identity_memo *memo)
{
    f->memo = memo ? *memo : (kg_identity_memo){0};
}

void kg_files_cancel(kg_files *f, const volatile sig_atomic_t *cancel) { f->cancel = cancel; }

/* Without memory for it, it is read again. */
static void remember(kg_files *f, const kg_stamp *stamp, const unsigned char id[32])
{
    if (f->n_known == f->room_known) {
        int room = f->room_known ? 2 * f->room_known : 16;
        kg_known *more = realloc(f->known, (size_t)room * sizeof *more);
        if (!more)
            return;
        f->known = more;
        f->room_known = room;
    }
    kg_known *k = &f->known[f->n_known++];
    k->stamp = *stamp;
    memcpy(k->id, id, sizeof k->id);
}

int kg_file_identified(kg_files *f, const kg_stamp *stamp, unsigned char out[32])
{
    for (int i = 0; i < f->n_known; ++i)
        if (kg_stamp_equal(&f->known[i].stamp, stamp)) {
            memcpy(out, f->known[i].id, sizeof f->known[i].id);
            return 1;
        }
    if (!f->memo.find || !f->memo.find(f->memo.arg, stamp, out))
        return 0;
    remember(f, stamp, out);
    return 1;
}

kg_status kg_file_identity(kg_files *f, const kg_file *file, unsigned char out[32])
{
    if (kg_file_identified(f, &file->stamp, out))
        return kg_file_same(file);
    const kg_stamp *s = &file->stamp;
    double latest = 1e-9 * (double)(s->mtime_ns > s->ctime_ns ? s->mtime_ns : s->ctime_ns);
    int settled = now(CLOCK_REALTIME) - latest > 2;        /* before it is read, not after */
    kg_status status = hash_file(f, file, out);
    if (status)
        return status;
    remember(f, s, out);
    if (settled && f->memo.store)
        f->memo.store(f->memo.arg, s, out);
    return KG_OK;
}
