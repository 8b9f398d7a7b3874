/* What goes when the cache is over its budget: the rows that save least time per byte, the longest unused first among equals; never
 * one that a living process relies on. Checkpoints go by age alone: a month after the run that wrote them has stopped. */
#include "cache/store.h"

#include <stdlib.h>

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

typedef struct victims { int64_t *id, bytes; int n; } victims;

/* The first rows (number, bytes) that a statement names, up to so many bytes, in one pass over the table: it must not change under a
 * statement that walks it, and is sorted once. */
static int choose(kg_store *s, int sql, double bound, int64_t bytes, victims *v)
{
    sqlite3_stmt *q = kg_db_use(s, sql);
    int room = 0, more = q ? 1 : -1;
    if (q)
        sqlite3_bind_double(q, 1, bound);
    while (more > 0 && v->bytes < bytes && (more = kg_db_step(s, q)) > 0) {
        if (v->n == room) {
            int64_t *p = realloc(v->id, sizeof *p * (size_t)(room = room ? 2 * room : 64));
            if (!p) {
                more = -1;
                break;
            }
            v->id = p;
        }
        v->id[v->n++] = sqlite3_column_int64(q, 0);
        v->bytes += sqlite3_column_int64(q, 1);
    }
    if (q)
        sqlite3_reset(q);
    return more < 0 ? -1 : 0;
}

/* Removes what is chosen; adds to *count and *freed. */
static int drop(kg_store *s, int sql, int table, double bound, int64_t bytes, int64_t *count, uint64_t *freed)
{
    victims v = {0};
    int bad = choose(s, sql, bound, bytes, &v);
    for (int i = 0; i < v.n && !bad; ++i)
        bad = !kg_row_remove(s, table, v.id[i]);
    if (!bad) {
        *count += v.n;
        *freed += (uint64_t)v.bytes;
    }
    free(v.id);
    return bad ? -1 : 0;
}

static int drop_old(kg_store *s, kg_cache_gc_result *r)
{
    double now = kg_now();
    return drop(s, SQL_OLD_CHECKPOINTS, KG_CHECKPOINT, now - MONTH, INT64_MAX, &r->checkpoints, &r->bytes) ||
                   drop_before(s, SQL_OLD_SINKS, now - YEAR) || drop_before(s, SQL_OLD_IDENTITIES, now - YEAR) ||
                   drop_before(s, SQL_OLD_WARNINGS, now - YEAR)
               ? -1
               : 0;
}

int kg_collect(kg_store *s, uint64_t target, int64_t most, kg_cache_gc_result *r)
{
    int64_t leases = kg_lease_drop_stale(s), held;
    if (leases < 0 || drop_old(s, r) || (held = total(s)) < 0)
        return 0;
    r->leases += leases;
    if ((uint64_t)held <= target)
        return 1;
    int64_t excess = held - (int64_t)target;
    return !drop(s, SQL_VICTIMS, KG_RESULT, kg_now(), excess < most ? excess : most, &r->results, &r->bytes);
}

int kg_evict(kg_store *s, kg_cache_gc_result *r)
{
    int64_t held = total(s);
    if (held < 0)
        return 0;
    return (uint64_t)held <= s->budget || kg_collect(s, s->budget - s->budget / 16, INT64_MAX, r);
}
