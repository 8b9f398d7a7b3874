/* The cache as core calls it (core/cache.h). Each function takes the lock, asks rows or a small table, and answers. */
#include "cache/store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

void kg_store_enter(kg_store *s)
{
    pthread_mutex_lock(&s->lock);
    s->was = kg_warn_for(NULL);
}

void kg_store_leave(kg_store *s)
{
    kg_warn_for(s->was);
    pthread_mutex_unlock(&s->lock);
}

static kg_store *enter(kg_cache *c)
{
    kg_store_enter((kg_store *)c);
    return (kg_store *)c;
}

static void leave(kg_store *s) { kg_store_leave(s); }

static int table_of(const kg_cache_row *row) { return strcmp(row->kind, "checkpoint") ? KG_RESULT : KG_CHECKPOINT; }

/* Counts the hit and takes the lease. 0 only when the row is gone: a cache that cannot be written now can still be read. */
static int note_hit(kg_store *s, int64_t id)
{
    if (!kg_db_may_write(s) || kg_db_run(s, SQL_BEGIN_WRITE))
        return 1;
    int there = kg_lease_take(s, id);
    sqlite3_stmt *q = there ? kg_db_use(s, SQL_HIT) : NULL;
    if (q) {
        sqlite3_bind_int64(q, 1, id);
        sqlite3_bind_double(q, 2, kg_now());
        kg_db_finish(s, q);
    }
    kg_db_end(s, there);
    return there || !kg_db_may_write(s) || s->damaged;
}

static int find(kg_cache *c, const kg_key *key, const char *tag, kg_cache_row *row)
{
    kg_store *s = enter(c);
    int64_t id = kg_row_find(s, KG_RESULT, key, tag, row);
    if (id && !note_hit(s, id)) {                          /* another process removed it in between */
        id = kg_row_find(s, KG_RESULT, key, tag, row);
        id = id && note_hit(s, id) ? id : 0;
    }
    leave(s);
    return id != 0;
}

static int read_bytes(kg_cache *c, const kg_cache_row *row, void *dst)
{
    kg_store *s = enter(c);
    int good = kg_row_read(s, table_of(row), row, dst);
    leave(s);
    return good;
}

static int write_bytes(kg_cache *c, const kg_cache_row *row, const void *src)
{
    kg_store *s = enter(c);
    int good = row->bytes <= s->budget && kg_db_may_write(s) && kg_row_put(s, table_of(row), row, src);
    leave(s);
    return good;
}

/* A run builds on what it is told here, so the bytes are read and checked at once. */
static int checkpoint_find(kg_cache *c, const kg_key *key, const char *tag, kg_cache_row *row)
{
    kg_store *s = enter(c);
    int64_t id = kg_row_find(s, KG_CHECKPOINT, key, tag, row);
    int good = id && kg_row_read(s, KG_CHECKPOINT, row, NULL);
    leave(s);
    return good;
}

/* ---- sinks ---- */

/* Where path really lies, and what is there now. */
static int look(const char *path, char real[PATH_MAX], struct stat *st)
{
    return realpath(path, real) && !stat(real, st) && S_ISREG(st->st_mode);
}

static int64_t ns_of(struct timespec t) { return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec; }

static int sink_find(kg_cache *c, const kg_key *key, const char *path)
{
    char real[PATH_MAX];
    struct stat st;
    if (!look(path, real, &st))
        return 0;
    kg_store *s = enter(c);
    sqlite3_stmt *q = kg_db_use(s, SQL_SINK_FIND);
    int same = 0;
    if (q) {
        sqlite3_bind_blob(q, 1, key, sizeof *key, SQLITE_STATIC);
        sqlite3_bind_text(q, 2, real, -1, SQLITE_STATIC);
        same = kg_db_step(s, q) > 0 && sqlite3_column_int64(q, 0) == (int64_t)st.st_size &&
               sqlite3_column_int64(q, 1) == ns_of(st.st_mtim) && sqlite3_column_int64(q, 2) == (int64_t)st.st_ino &&
               sqlite3_column_int64(q, 3) == ns_of(st.st_ctim);
        sqlite3_reset(q);
        sqlite3_clear_bindings(q);
    }
    leave(s);
    return same;
}

static void sink_store(kg_cache *c, const kg_key *key, const char *path)
{
    char real[PATH_MAX];
    struct stat st;
    if (!look(path, real, &st))
        return;
    kg_store *s = enter(c);
    sqlite3_stmt *q = kg_db_may_write(s) ? kg_db_use(s, SQL_SINK_STORE) : NULL;
    if (q) {
        sqlite3_bind_blob(q, 1, key, sizeof *key, SQLITE_STATIC);
        sqlite3_bind_text(q, 2, real, -1, SQLITE_STATIC);
        sqlite3_bind_int64(q, 3, (int64_t)st.st_size);
        sqlite3_bind_int64(q, 4, ns_of(st.st_mtim));
        sqlite3_bind_int64(q, 5, (int64_t)st.st_ino);
        sqlite3_bind_double(q, 6, kg_now());
        sqlite3_bind_int64(q, 7, ns_of(st.st_ctim));
        kg_db_finish(s, q);
        sqlite3_clear_bindings(q);
    }
    leave(s);
}

/* ---- warnings ---- */

static void bind_key(sqlite3_stmt *q, const kg_key *key) { sqlite3_bind_blob(q, 1, key, sizeof *key, SQLITE_STATIC); }

static int warning_lines(kg_store *s, const kg_key *key, char *lines, size_t n, double *made)
{
    sqlite3_stmt *q = s->version > 1 ? kg_db_use(s, SQL_WARNING_FIND) : NULL;    /* one that is read only may be of the first form */
    if (!q)
        return 0;
    bind_key(q, key);
    const char *text = kg_db_step(s, q) > 0 ? (const char *)sqlite3_column_text(q, 0) : NULL;
    int there = text && *text;
    if (there)
        snprintf(lines, n, "%s", text);
    *made = there ? sqlite3_column_double(q, 1) : 0;
    sqlite3_reset(q);
    return there;
}

static void warning_write(kg_store *s, int sql, const kg_key *key, const char *lines)
{
    sqlite3_stmt *q = kg_db_may_write(s) ? kg_db_use(s, sql) : NULL;
    if (!q)
        return;
    bind_key(q, key);
    if (lines)
        sqlite3_bind_text(q, 2, lines, -1, SQLITE_STATIC);
    if (sql != SQL_WARNING_DROP)
        sqlite3_bind_double(q, lines ? 3 : 2, kg_now());
    kg_db_finish(s, q);
    sqlite3_clear_bindings(q);
}

/* What is repeated is kept on: warnings go by age alone, and rows are kept as long as they are of use. */
static int warning_find(kg_cache *c, const kg_key *key, char *lines, size_t n)
{
    double made;
    kg_store *s = enter(c);
    int there = warning_lines(s, key, lines, n, &made);
    if (there && kg_now() - made > 86400)
        warning_write(s, SQL_WARNING_USED, key, NULL);
    leave(s);
    return there;
}

static void warning_store(kg_cache *c, const kg_key *key, const char *lines)
{
    char had[KG_WARNINGS];
    double made;
    kg_store *s = enter(c);
    if (*lines)
        warning_write(s, SQL_WARNING_STORE, key, lines);
    else if (warning_lines(s, key, had, sizeof had, &made))
        warning_write(s, SQL_WARNING_DROP, key, NULL);
    leave(s);
}

/* ---- identities of files ---- */

static void bind_stamp(sqlite3_stmt *q, const kg_stamp *f)
{
    sqlite3_bind_int64(q, 1, (int64_t)f->device);
    sqlite3_bind_int64(q, 2, (int64_t)f->inode);
    sqlite3_bind_int64(q, 3, (int64_t)f->size);
    sqlite3_bind_int64(q, 4, f->mtime_ns);
    sqlite3_bind_int64(q, 5, f->ctime_ns);
}

static int identity_find(void *arg, const kg_stamp *f, unsigned char out[32])
{
    kg_store *s = enter(arg);
    sqlite3_stmt *q = kg_db_use(s, SQL_IDENTITY_FIND);
    int found = 0;
    if (q) {
        bind_stamp(q, f);
        found = kg_db_step(s, q) > 0 && sqlite3_column_bytes(q, 0) == 32;
        if (found)
            memcpy(out, sqlite3_column_blob(q, 0), 32);
        sqlite3_reset(q);
    }
    leave(s);
    return found;
}

static void identity_store(void *arg, const kg_stamp *f, const unsigned char id[32])
{
    kg_store *s = enter(arg);
    sqlite3_stmt *q = kg_db_may_write(s) ? kg_db_use(s, SQL_IDENTITY_STORE) : NULL;
    if (q) {
        bind_stamp(q, f);
        sqlite3_bind_blob(q, 6, id, 32, SQLITE_STATIC);
        sqlite3_bind_double(q, 7, kg_now());
        kg_db_finish(s, q);
        sqlite3_clear_bindings(q);
    }
    leave(s);
}

kg_identity_memo kg_cache_memo(kg_cache *c)
{
    return (kg_identity_memo){.arg = c, .find = identity_find, .store = identity_store};
}

const kg_cache_ops kg_store_ops = {
    .find = find, .read = read_bytes, .write = write_bytes,
    .checkpoint_find = checkpoint_find, .checkpoint_later = kg_checkpoint_later, .checkpoint_drop = kg_checkpoint_drop,
    .sink_find = sink_find, .sink_store = sink_store,
    .warning_find = warning_find, .warning_store = warning_store, .flush = kg_cache_flush,
};
