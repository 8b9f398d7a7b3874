/* A cache whose header is broken is set aside, said to be, and made anew; one that may not be written is read. */
#include "cache/store.h"
#include "tests/cache/help.h"

/* ---- broken headers ---- */

static void patch(const char *name, long at, const void *bytes, size_t n)
{
    FILE *f = fopen(name, "r+");
    CHECK(f && !fseek(f, at, SEEK_SET) && fwrite(bytes, 1, n, f) == n);
    fclose(f);
}

static const struct damage { const char *what; long at; unsigned char bytes[100]; size_t n; } damages[] = {
    {"the first bytes", 0, "no database", 12},
    {"the whole header", 0, {0x5a, 0xa5, 7}, 100},
    {"the size of a page", 16, {0x13, 0x37}, 2},
    {"who may write", 18, {9}, 1},
    {"who may read", 19, {9}, 1},
    {"our mark", 68, {1, 2, 3, 4}, 4},
    {"a version of nobody", 60, {0x7f, 0xff, 0, 0}, 4},
    {"a version below all", 60, {0xff, 0xff, 0xff, 0xff}, 4},
    {"a version before the tables", 60, {0, 0, 0, 0}, 4},
};

static void a_broken_header_is_set_aside(void)
{
    for (size_t i = 0; i < sizeof damages / sizeof *damages; ++i)
        for (int verifying = 0; verifying < 2; ++verifying) {
            const struct damage *d = &damages[i];
            char name[64], path[256], aside[300];
            snprintf(name, sizeof name, "broken-%zu-%d", i, verifying);
            snprintf(path, sizeof path, "%s", at(name));
            snprintf(aside, sizeof aside, "%s.corrupt-1", path);
            kg_cache *c = kg_cache_open(&(kg_cache_options){.path = path});
            CHECK(c && store(c, 1, 100000));
            kg_cache_close(c);
            patch(path, d->at, d->bytes, d->n);
            log_clear();
            c = kg_cache_open(&(kg_cache_options){.path = path, .existing = verifying});
            CHECK(c && strstr(logged, "is damaged: a new one is started") && strstr(logged, "has been moved to"), "%s: %s", d->what,
                  logged);
            CHECK(!access(aside, F_OK) && c && !holds(c, 1) && store(c, 2, 1000) && holds(c, 2) == 1, "%s", d->what);
            kg_cache_verify_result r;
            CHECK(kg_cache_verify(c, NULL, NULL, &r) == KG_FAILED && r.problems == 1, "%s: it is said to have been damaged", d->what);
            kg_error_clear();
            kg_cache_close(c);
            log_clear();
            c = kg_cache_open(&(kg_cache_options){.path = path});
            CHECK(c && !log_lines && holds(c, 2) == 1 && !kg_cache_verify(c, NULL, NULL, &r), "%s: later runs have one: %s", d->what,
                  logged);
            kg_cache_close(c);
        }
}

static void what_is_no_cache_is_no_cache(void)
{
    const kg_cache_options none = {.path = at("none.sqlite"), .existing = 1};
    CHECK(!kg_cache_open(&none) && kg_error_last()->status == KG_INPUT && strstr(kg_error_last()->message, "there is no cache"));
    kg_error_clear();
    const kg_cache_options text = {.path = at("text"), .existing = 1};
    FILE *f = fopen(text.path, "w");
    fputs("somebody's", f);
    fclose(f);
    CHECK(!kg_cache_open(&text) && kg_error_last()->status == KG_INPUT);
    CHECK(strstr(kg_error_last()->message, "is no cache: it is left alone"));
    kg_error_clear();
}

/* ---- one that may not be written ---- */

/* In a process that may not write, as root may always. */
static int as_nobody(int (*fn)(const char *path), const char *path)
{
    pid_t child = fork();
    if (!child) {
        if (!geteuid() && (setgid(65534) || setuid(65534)))
            _exit(99);
        _exit(fn(path));
    }
    int status;
    CHECK(child > 0 && waitpid(child, &status, 0) == child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* The number of what went wrong. */
static int reads_it(const char *path)
{
    kg_cache_verify_result r;
    char lines[64];
    kg_key k = key_of(1), other = key_of(9);
    log_clear();
    kg_cache *c = kg_cache_open(&(kg_cache_options){.path = path});
    if (!c || !strstr(logged, "nothing is kept"))
        return fprintf(stderr, "%s\n", logged), 1;
    if (holds(c, 1) != 1)
        return 2;
    kg_cache_row row = row_of(5, 1000, "checkpoint");
    c->ops->checkpoint_later(c, &row, fill(5, 1000));
    c->ops->flush(c);
    if (store(c, 2, 1000) || holds(c, 2))
        return 3;
    c->ops->warning_store(c, &other, "x\n");
    c->ops->warning_find(c, &k, lines, sizeof lines);
    c->ops->sink_store(c, &k, path);
    if (kg_cache_verify(c, NULL, NULL, &r) || r.rows != 1)
        return 4;
    kg_cache_close(c);
    return log_lines == 1 ? 0 : (fprintf(stderr, "%s\n", logged), 5);
}

static int refuses_damage(const char *path)
{
    log_clear();
    kg_cache *c = kg_cache_open(&(kg_cache_options){.path = path});
    return c || !strstr(logged, "is damaged and cannot be moved aside");
}

static void one_that_may_not_be_written_is_read(void)
{
    static const struct { const char *name; int file, folder, writer; } ways[] = {
        {"file", 0444, 0777, 0}, {"folder", 0666, 0555, 0}, {"both", 0444, 0555, 0}, {"written", 0444, 0555, 1}, {"log", 0444, 0777, 1}};
    CHECK(!chmod(top, 0755));
    for (size_t i = 0; i < sizeof ways / sizeof *ways; ++i) {
        char folder[256], path[300];
        snprintf(folder, sizeof folder, "%s", at(ways[i].name));
        snprintf(path, sizeof path, "%s/c %%41?.sqlite", folder);
        kg_cache *c = kg_cache_open(&(kg_cache_options){.path = path});
        CHECK(c && store(c, 1, 3 << 20));
        if (ways[i].writer)
            CHECK(sqlite3_wal_checkpoint_v2(((kg_store *)c)->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL) == SQLITE_OK);
        else
            kg_cache_close(c);
        CHECK(!chmod(path, (mode_t)ways[i].file) && !chmod(folder, (mode_t)ways[i].folder));
        int wrong = as_nobody(reads_it, path);
        CHECK(!wrong, "%s: %d", ways[i].name, wrong);
        CHECK(!chmod(folder, 0755));
        if (ways[i].writer)
            kg_cache_close(c);
        patch(path, 0, "no database", 12);
        CHECK(!chmod(folder, 0555) && !as_nobody(refuses_damage, path));
        CHECK(!chmod(folder, 0755));
    }
}

int main(void)
{
    begin();
    a_broken_header_is_set_aside();
    what_is_no_cache_is_no_cache();
    one_that_may_not_be_written_is_read();
    end();
    return TEST_END();
}
