/* What the tests of the cache share: a folder of their own, the log as text, rows with bytes that tell whose they are. */
#ifndef KG_TESTS_CACHE_HELP_H
#define KG_TESTS_CACHE_HELP_H

#include "cache/cache.h"
#include "tests/test.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static char top[64], logged[8192];
static int log_lines;

static void keep_log(void *arg, const char *line)
{
    (void)arg;
    ++log_lines;
    strncat(logged, line, sizeof logged - strlen(logged) - 2);
    strcat(logged, "\n");
}

static inline void log_clear(void)
{
    logged[0] = 0;
    log_lines = 0;
}

static inline const char *at(const char *name)
{
    static char path[8][256];
    static int turn;
    turn = (turn + 1) % 8;
    snprintf(path[turn], sizeof path[turn], "%s/%s", top, name);
    return path[turn];
}

static inline void begin(void)
{
    kg_log_set(keep_log, NULL);
    snprintf(top, sizeof top, "/tmp/kg_cache_test.XXXXXX");
    CHECK(mkdtemp(top) != NULL);
}

static inline void end(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", top);
    CHECK(!system(command));
}

static inline kg_cache *open_at(const char *name)
{
    return kg_cache_open(&(kg_cache_options){.path = at(name)});
}

static inline kg_key key_of(uint64_t n)
{
    kg_key k = {{0}};
    memcpy(k.b, &n, sizeof n);
    return k;
}

/* Bytes that only this number fills this way; as f32 they are all finite, as what is kept must be. */
static inline void *fill(uint64_t n, size_t bytes)
{
    uint64_t *p = malloc(bytes + 8), state = n;
    for (size_t i = 0; i < (bytes + 7) / 8; ++i)
        p[i] = test_next(&state) & 0xbfffffffbfffffffu;
    return p;
}

static inline kg_cache_row row_of(uint64_t n, size_t bytes, const char *kind)
{
    kg_cache_row row = {.key = key_of(n), .dtype = KG_F32, .rank = 2, .shape = {2, (int64_t)bytes / 8}, .bytes = bytes, .seconds = 5,
                        .step = (int64_t)n};
    snprintf(row.kind, sizeof row.kind, "%s", kind);
    snprintf(row.tag, sizeof row.tag, "cpu avx2");
    return row;
}

static inline int store(kg_cache *c, uint64_t n, size_t bytes)
{
    kg_cache_row row = row_of(n, bytes, "latent/wan21");
    void *p = fill(n, bytes);
    int ok = c->ops->write(c, &row, p);
    free(p);
    return ok;
}

/* 1 found and equal, 0 not there, -1 found and wrong. */
static inline int holds(kg_cache *c, uint64_t n)
{
    kg_cache_row row;
    kg_key k = key_of(n);
    if (!c->ops->find(c, &k, NULL, &row))
        return 0;
    void *got = malloc(row.bytes + 1), *want = fill(n, row.bytes);
    int answer = c->ops->read(c, &row, got) ? (memcmp(got, want, row.bytes) ? -1 : 1) : 0;
    free(got);
    free(want);
    return answer;
}

static inline double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Runs SQL on a file behind the cache's back. */
static inline void meddle(const char *name, const char *sql)
{
    sqlite3 *db;
    char *why = NULL;
    CHECK(!sqlite3_open(at(name), &db));
    CHECK(!sqlite3_exec(db, sql, NULL, NULL, &why), "%s", why);
    sqlite3_close(db);
}

static inline int clean(kg_cache *c, kg_cache_verify_result *r)
{
    kg_error_clear();
    int ok = kg_cache_verify(c, keep_log, NULL, r) == KG_OK;
    kg_error_clear();
    return ok;
}

#endif
