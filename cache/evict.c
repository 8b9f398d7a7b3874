/* What goes when the cache is over its budget: the rows that save least time per byte, the longest unused first among equals; never
 * one that a living process relies on. Checkpoints go by age alone: a month after the run that wrote them has stopped. */
#include "cache/store.h"

#define MONTH (30 * 86400.0)
#define YEAR (365 * 86400.0)

static int64_t total(kg_store *s)
{
    sqlite3_stmt *q = kg_db_use(s, SQL_TOTAL);
    int64_t n = q && kg_db_step(s, q) > 0 ? sqlite3_column_int64(q, 0) : -1;
    if (q)
        sqlite3_reset(q);
    return n;
}

static int drop_before(kg_store *s, int sql, double time)
{
    sqlite3_stmt *q = kg_db_use(s, sql);
    if (!q)
        return -1;
    sqlite3_bind_double(q, 1, time);
    return kg_db_finish(s, q);
}

/* Removes the first row that a statement (number, bytes) names: its bytes + 1, 0 at the end, -1 after a failure. One at a time,
 * since a table must not change under a statement that walks it. */
static int64_t drop_first(kg_store *s, int sql, int table, double bound)
{
    sqlite3_stmt *q = kg_db_use(s, sql);
    if (!q)
        return -1;
    sqlite3_bind_double(q, 1, bound);
    int there = kg_db_step(s, q);
    if (there <= 0)
        return there;
    int64_t id = sqlite3_column_int64(q, 0), bytes = sqlite3_column_int64(q, 1);
    sqlite3_reset(q);
    return kg_row_remove(s, table, id) ? bytes + 1 : -1;
}

static int drop_old(kg_store *s, kg_cache_gc_result *r)
{
    double now = kg_now();
    int64_t n;
    while ((n = drop_first(s, SQL_OLD_CHECKPOINTS, KG_CHECKPOINT, now - MONTH)) > 0) {
        ++r->checkpoints;
        r->bytes += (uint64_t)(n - 1);
    }
    return n < 0 || drop_before(s, SQL_OLD_SINKS, now - YEAR) || drop_before(s, SQL_OLD_IDENTITIES, now - YEAR) ||
                   drop_before(s, SQL_OLD_WARNINGS, now - YEAR)
               ? -1 : 0;
}

int kg_collect(kg_store *s, uint64_t target, kg_cache_gc_result *r)
{
    int64_t leases = kg_lease_drop_stale(s), held, n = 1;
    if (leases < 0 || drop_old(s, r) || (held = total(s)) < 0)
        return 0;
    r->leases += leases;
    double now = kg_now();
    while ((uint64_t)held > target && (n = drop_first(s, SQL_VICTIMS, KG_RESULT, now)) > 0) {
        ++r->results;
        r->bytes += (uint64_t)(n - 1);
        held -= n - 1;
    }
    return n >= 0;
}

int kg_evict(kg_store *s, kg_cache_gc_result *r)
{
    int64_t held = total(s);
    if (held < 0)
        return 0;
    return (uint64_t)held <= s->budget || kg_collect(s, s->budget - s->budget / 16, r);
}
