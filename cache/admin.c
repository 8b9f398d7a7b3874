/* Administration: what `kino cache ls|stat|gc|verify` show and do. */
#include "cache/store.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { SLICE = 256 << 20 };            /* bytes that gc drops in one transaction */

static kg_status failed(const kg_store *s, const char *doing)
{
    return kg_fail(KG_FAILED, "the cache '%s': cannot %s: %s", s->path, doing, s->db ? sqlite3_errmsg(s->db) : "not open");
}

/* ---- ls ---- */

static int item_of(sqlite3_stmt *q, kg_cache_item *item)
{
    *item = (kg_cache_item){.checkpoint = sqlite3_column_int(q, KG_ROW_WIDTH),
                            .made = sqlite3_column_double(q, KG_ROW_WIDTH + 1),
                            .used = sqlite3_column_double(q, KG_ROW_WIDTH + 2),
                            .hits = sqlite3_column_int64(q, KG_ROW_WIDTH + 3),
                            .leased = sqlite3_column_int(q, KG_ROW_WIDTH + 4)};
    return kg_row_parse(q, 0, item->checkpoint ? KG_CHECKPOINT : KG_RESULT, &item->row);
}

int kg_cache_ls(kg_cache *c, int (*fn)(void *arg, const kg_cache_item *item), void *arg)
{
    kg_store *s = (kg_store *)c;
    pthread_mutex_lock(&s->lock);
    sqlite3_stmt *q = kg_db_use(s, SQL_LS);
    int more = q ? 1 : -1, answer = 0;
    kg_cache_item item;
    while (!answer && more > 0 && (more = kg_db_step(s, q)) > 0)
        if (item_of(q, &item))
            answer = fn(arg, &item);
    if (more < 0) {
        failed(s, "list the rows");
        answer = -1;
    }
    if (q)
        sqlite3_reset(q);
    pthread_mutex_unlock(&s->lock);
    return answer;
}

/* ---- stat ---- */

static uint64_t size_of(const char *path, const char *part)
{
    char full[PATH_MAX + 8];
    struct stat st;
    snprintf(full, sizeof full, "%s%s", path, part);
    return stat(full, &st) ? 0 : (uint64_t)st.st_size;
}

kg_status kg_cache_stat(kg_cache *c, kg_cache_totals *t)
{
    kg_store *s = (kg_store *)c;
    kg_status status = KG_OK;
    *t = (kg_cache_totals){.budget = s->budget};
    pthread_mutex_lock(&s->lock);
    kg_lease_drop_stale(s);
    snprintf(t->path, sizeof t->path, "%s", s->path);
    t->file_bytes = size_of(s->path, "") + size_of(s->path, "-wal") + size_of(s->path, "-shm");
    sqlite3_stmt *q = kg_db_use(s, SQL_STAT);
    if (q && kg_db_step(s, q) > 0) {
        t->version = (int)kg_db_number(s->db, "PRAGMA user_version", 0);
        t->free_bytes = (uint64_t)(kg_db_number(s->db, "PRAGMA freelist_count", 0) * kg_db_number(s->db, "PRAGMA page_size", 0));
        t->results = sqlite3_column_int64(q, 0);
        t->result_bytes = (uint64_t)sqlite3_column_int64(q, 1);
        t->checkpoints = sqlite3_column_int64(q, 2);
        t->checkpoint_bytes = (uint64_t)sqlite3_column_int64(q, 3);
        t->sinks = sqlite3_column_int64(q, 4);
        t->identities = sqlite3_column_int64(q, 5);
        t->leases = sqlite3_column_int64(q, 6);
        t->seconds = sqlite3_column_double(q, 7);
        t->saved = sqlite3_column_double(q, 8);
        sqlite3_reset(q);
    } else
        status = failed(s, "count");
    pthread_mutex_unlock(&s->lock);
    return status;
}

/* ---- gc ---- */

kg_status kg_cache_gc(kg_cache *c, uint64_t budget, kg_cache_gc_result *r)
{
    kg_store *s = (kg_store *)c;
    *r = (kg_cache_gc_result){0};
    pthread_mutex_lock(&s->lock);
    uint64_t target = budget == UINT64_MAX ? s->budget : budget;
    int64_t before = -1;
    int ok = 1;
    while (ok && r->results > before) {                    /* in pieces, so that others come in between */
        before = r->results;
        ok = !kg_db_run(s, SQL_BEGIN_WRITE);
        if (ok)
            ok = kg_db_end(s, kg_collect(s, target, SLICE, r));
    }
    kg_status status = ok ? KG_OK : failed(s, "collect");
    if (ok) {                                              /* space goes back to the disk; busy readers may delay it */
        kg_db_exec(s->db, "PRAGMA incremental_vacuum");
        kg_db_exec(s->db, "PRAGMA wal_checkpoint(TRUNCATE)");
    }
    pthread_mutex_unlock(&s->lock);
    return status;
}

/* ---- verify ---- */

typedef struct listener { void (*fn)(void *arg, const char *line); void *arg; } listener;

static void say(const listener *l, const char *line)
{
    if (l->fn)
        l->fn(l->arg, line);
}

static int64_t next_id(kg_store *s, int table, int64_t id)
{
    sqlite3_stmt *q = kg_db_use(s, SQL_NEXT_OF + table);
    if (!q)
        return -1;
    sqlite3_bind_int64(q, 1, id);
    int there = kg_db_step(s, q);
    int64_t next = there > 0 ? sqlite3_column_int64(q, 0) : there;
    sqlite3_reset(q);
    return next;
}

static void bad_row(kg_store *s, int table, int64_t id, const listener *l)
{
    char line[160];
    int removed = kg_row_remove(s, table, id);
    snprintf(line, sizeof line, "%s %lld: its checksum does not match; it %s", table == KG_RESULT ? "result" : "checkpoint",
             (long long)id, removed ? "has been removed" : "cannot be removed");
    say(l, line);
}

/* Row by row, the lock given up between two, so that a run in another thread goes on. */
static void verify_table(kg_store *s, int table, const listener *l, kg_cache_verify_result *r)
{
    int64_t id = 0;
    for (;;) {
        pthread_mutex_lock(&s->lock);
        id = next_id(s, table, id);
        int good = id > 0 ? kg_row_check(s, table, id, &r->bytes) : -1;
        if (good >= 0)
            ++r->rows;
        if (!good) {
            ++r->bad;
            bad_row(s, table, id, l);
        }
        pthread_mutex_unlock(&s->lock);
        if (id < 0) {
            ++r->problems;
            say(l, table == KG_RESULT ? "the table of results cannot be read to its end"
                                      : "the table of checkpoints cannot be read to its end");
        }
        if (id <= 0)
            return;
    }
}

static void check_file(kg_store *s, const listener *l, kg_cache_verify_result *r)
{
    sqlite3_stmt *q = NULL;
    pthread_mutex_lock(&s->lock);
    int code = sqlite3_prepare_v2(s->db, "PRAGMA integrity_check", -1, &q, NULL);
    while (!code && (code = sqlite3_step(q)) == SQLITE_ROW) {
        const char *line = (const char *)sqlite3_column_text(q, 0);
        code = SQLITE_OK;
        if (!line || !strcmp(line, "ok"))
            continue;
        ++r->problems;
        s->damaged = 1;
        say(l, line);
    }
    if (code != SQLITE_DONE) {
        s->damaged |= (code & 0xff) == SQLITE_CORRUPT;
        ++r->problems;
        say(l, sqlite3_errmsg(s->db));
    }
    sqlite3_finalize(q);
    pthread_mutex_unlock(&s->lock);
}

kg_status kg_cache_verify(kg_cache *c, void (*fn)(void *arg, const char *line), void *arg, kg_cache_verify_result *r)
{
    kg_store *s = (kg_store *)c;
    const listener l = {fn, arg};
    *r = (kg_cache_verify_result){0};
    for (int table = 0; table < KG_TABLES; ++table)
        verify_table(s, table, &l, r);
    check_file(s, &l, r);
    if (s->renewed) {
        ++r->problems;
        say(&l, "the file that was there was no cache any more: it has been moved aside, and this one is new");
    }
    if (!r->bad && !r->problems)
        return KG_OK;
    kg_status status = kg_fail(KG_FAILED, "the cache '%s' is not clean: %lld bad rows, %lld problems in the file", s->path,
                               (long long)r->bad, (long long)r->problems);
    kg_hint(s->read_only ? "it cannot be written: it stays as it is"
            : s->damaged ? "the file is moved aside, and the next run starts a new one; nothing but time is lost"
                       : "what was bad has been removed");
    return status;
}
