/* What the world does to a cache: two writers at once, kill -9 in the middle of writes, flipped bytes, a full disk. */
#include "tests/cache/help.h"

#include <sys/resource.h>

/* A child that counts its own failures. */
static pid_t child_of(void)
{
    pid_t child = fork();
    if (!child)
        test_failures_ = 0;
    return child;
}

/* Waits for a child; 1 when it ended by itself and well. */
static int ended_well(pid_t child)
{
    int status = 1;
    return waitpid(child, &status, 0) == child && WIFEXITED(status) && !WEXITSTATUS(status);
}

static void two_writers(void)
{
    enum { EACH = 20 };
    pid_t children[2];
    for (int k = 0; k < 2; ++k)
        if (!(children[k] = child_of())) {
            kg_cache *c = open_at("two.sqlite");           /* made by whichever is first */
            for (uint64_t i = 0; c && i < EACH; ++i) {
                CHECK(store(c, (uint64_t)k * 100 + i, 500000) && holds(c, (uint64_t)k * 100 + i) == 1);
                CHECK(store(c, 1000 + i, 300000));         /* the same rows as the other   */
            }
            CHECK(c && !log_lines, "%s", logged);
            kg_cache_close(c);
            fflush(NULL);
            _exit(test_failures_ != 0);
        }
    CHECK(ended_well(children[0]));
    CHECK(ended_well(children[1]));
    kg_cache *c = open_at("two.sqlite");
    kg_cache_verify_result r;
    CHECK(clean(c, &r) && r.rows == 3 * EACH, "%lld rows", (long long)r.rows);
    for (uint64_t i = 0; i < EACH; ++i)
        CHECK(holds(c, i) == 1 && holds(c, 100 + i) == 1 && holds(c, 1000 + i) == 1);
    kg_cache_close(c);
}

/* Writes results and checkpoints until it is killed. */
static void write_for_ever(uint64_t round)
{
    kg_cache *c = open_at("kill.sqlite");
    for (uint64_t i = 1; c; ++i) {
        kg_cache_row row = row_of(1, 3000000, "checkpoint");
        row.step = (int64_t)(round * 100000 + i);
        c->ops->checkpoint_later(c, &row, fill((uint64_t)row.step, row.bytes));
        store(c, i % 7, 200000 + i % 3 * 100000);
        if (i % 4 == 0)
            c->ops->flush(c);
    }
    _exit(1);
}

/* After each kill: the checkpoint is a whole one and no older than the one before, every result is whole. */
static void killed(void)
{
    int64_t last = 0;
    uint64_t state = 5;
    kg_key k = key_of(1);
    for (uint64_t round = 1; round <= 20; ++round) {
        pid_t child = fork();
        if (!child)
            write_for_ever(round);
        usleep(20000 + (useconds_t)(test_next(&state) % 130000));
        CHECK(!kill(child, SIGKILL) && waitpid(child, NULL, 0) == child);
        kg_cache *c = open_at("kill.sqlite");
        kg_cache_verify_result r;
        kg_cache_row row;
        CHECK(c && clean(c, &r), "round %d: %s", (int)round, logged);
        if (c && c->ops->checkpoint_find(c, &k, "cpu avx2", &row)) {
            void *got = malloc(row.bytes), *want = fill((uint64_t)row.step, row.bytes);
            CHECK(row.step >= last && c->ops->read(c, &row, got) && !memcmp(got, want, row.bytes));
            last = row.step;
            free(got);
            free(want);
        } else
            CHECK(!last, "a checkpoint was there and is lost");
        for (uint64_t i = 0; i < 7; ++i)
            CHECK(c && holds(c, i) >= 0);
        kg_cache_close(c);
    }
    CHECK(last > 100000, "some checkpoint was written");
    CHECK(!log_lines, "%s", logged);
}

/* ---- damage ---- */

static long size_of(const char *path)
{
    struct stat st;
    return stat(path, &st) ? -1 : (long)st.st_size;
}

static void overwrite(const char *path, long offset, const void *bytes, size_t n)
{
    FILE *f = fopen(path, "r+");
    CHECK(f && !fseek(f, offset, SEEK_SET) && fwrite(bytes, 1, n, f) == n);
    fclose(f);
}

/* Where these bytes are in a file; -1 when they are not. */
static long offset_of(const char *path, const void *bytes, size_t n)
{
    long size = size_of(path), found = -1;
    char *all = malloc((size_t)size);
    FILE *f = fopen(path, "r");
    CHECK(f && fread(all, 1, (size_t)size, f) == (size_t)size);
    fclose(f);
    char *at_ = memmem(all, (size_t)size, bytes, n);
    if (at_)
        found = at_ - all;
    free(all);
    return found;
}

static void flipped_bytes(void)
{
    kg_cache *c = open_at("flip.sqlite");
    CHECK(store(c, 1, 1 << 20) && store(c, 2, 1 << 20));
    kg_cache_close(c);
    char *bytes = fill(1, 1 << 20);
    long where = offset_of(at("flip.sqlite"), bytes + 500000, 64);
    CHECK(where > 0);
    overwrite(at("flip.sqlite"), where, "\xff\x00\xff\x01", 4);
    free(bytes);
    log_clear();
    c = open_at("flip.sqlite");
    CHECK(holds(c, 1) == 0 && log_lines == 1 && strstr(logged, "have changed on disk"), "%s", logged);
    CHECK(holds(c, 1) == 0 && log_lines == 1, "removed, and said once: %s", logged);
    CHECK(holds(c, 2) == 1 && store(c, 1, 1 << 20) && holds(c, 1) == 1);
    kg_cache_verify_result r;
    CHECK(clean(c, &r));
    kg_cache_close(c);
}

/* Every page in turn is overwritten with noise: never a crash, never wrong bytes, a warning when something is gone; the cache
 * opened after that works, and the broken file was kept. */
static void broken_pages(void)
{
    enum { PAGE = 16384 };
    char noise[PAGE];
    uint64_t state = 3;
    int aside = 0;
    for (int page = 0; page < 24; ++page) {
        char command[300], name[32], beside[64];
        snprintf(name, sizeof name, "page%d.sqlite", page);
        kg_cache *c = open_at(name);
        for (uint64_t i = 0; i < 3; ++i)
            CHECK(store(c, i, 20000));
        kg_cache_close(c);
        if (size_of(at(name)) < (page + 1) * PAGE)
            break;
        for (size_t i = 0; i < PAGE / 8; ++i)
            ((uint64_t *)(void *)noise)[i] = test_next(&state);
        overwrite(at(name), (long)page * PAGE, noise, PAGE);
        log_clear();
        c = open_at(name);
        int whole = c != NULL;
        for (uint64_t i = 0; c && i < 3; ++i) {
            int h = holds(c, i);
            CHECK(h >= 0, "page %d row %d", page, (int)i);
            whole &= h;
        }
        CHECK(whole || log_lines, "page %d: silent loss", page);
        if (c && !whole)
            store(c, 9, 100);
        kg_cache_close(c);
        snprintf(beside, sizeof beside, "%s.corrupt-1", name);
        aside += size_of(at(beside)) > 0;
        c = open_at(name);                                 /* a page that nobody had read shows when it is written */
        if (c && !store(c, 5, 1000)) {
            CHECK(log_lines, "page %d", page);
            kg_cache_close(c);
            c = open_at(name);
        }
        CHECK(c && store(c, 5, 1000) && holds(c, 5) == 1, "page %d: %s", page, logged);
        kg_cache_close(c);
        snprintf(command, sizeof command, "rm -f '%s'*", at(name));
        CHECK(!system(command));
    }
    CHECK(aside >= 3, "%d were moved aside", aside);
}

/* Garbage and a file cut short: moved aside, twice under two names; of several processes one does it. */
static void garbage(void)
{
    for (int round = 1; round <= 2; ++round) {
        char noise[5000], beside[64];
        memset(noise, 'x', sizeof noise);
        FILE *f = fopen(at("garbage.sqlite"), "w");
        fwrite(noise, 1, sizeof noise, f);
        fclose(f);
        pid_t children[3];
        for (int k = 0; k < 3; ++k)
            if (!(children[k] = child_of())) {
                kg_cache *c = open_at("garbage.sqlite");
                CHECK(c && store(c, (uint64_t)k, 1000) && holds(c, (uint64_t)k) == 1, "%s", logged);
                kg_cache_close(c);
                fflush(NULL);
                _exit(test_failures_ != 0);
            }
        for (int k = 0; k < 3; ++k)
            CHECK(ended_well(children[k]));
        kg_cache *c = open_at("garbage.sqlite");
        CHECK(c && holds(c, 0) == 1 && holds(c, 1) == 1 && holds(c, 2) == 1);
        kg_cache_close(c);
        snprintf(beside, sizeof beside, "garbage.sqlite.corrupt-%d", round);
        CHECK(size_of(at(beside)) == 5000);
    }
    CHECK(size_of(at("garbage.sqlite.corrupt-3")) < 0);
    kg_cache *c = open_at("short.sqlite");
    CHECK(store(c, 1, 1 << 20));
    kg_cache_close(c);
    CHECK(!truncate(at("short.sqlite"), 300000));
    log_clear();
    c = open_at("short.sqlite");
    CHECK((!c || holds(c, 1) == 0) && log_lines, "%s", logged);
    kg_cache_close(c);
    c = open_at("short.sqlite");
    CHECK(c && store(c, 2, 1000) && holds(c, 2) == 1);
    kg_cache_close(c);
}

/* A file that cannot grow beyond 2 MiB stands for a full disk. */
static void full_disk(void)
{
    pid_t child = child_of();
    if (!child) {
        signal(SIGXFSZ, SIG_IGN);
        kg_cache *c = open_at("full.sqlite");
        CHECK(store(c, 1, 400000));
        setrlimit(RLIMIT_FSIZE, &(struct rlimit){2 << 20, 2 << 20});
        log_clear();
        CHECK(!store(c, 2, 8 << 20) && log_lines == 1 && strstr(logged, "cannot be written"), "%s", logged);
        CHECK(!store(c, 3, 8 << 20) && log_lines == 1, "said once: %s", logged);
        kg_cache_row row = row_of(1, 8 << 20, "checkpoint");
        c->ops->checkpoint_later(c, &row, fill(1, 8 << 20));
        c->ops->flush(c);
        CHECK(holds(c, 1) == 1 && !holds(c, 2) && log_lines == 1, "what was there can be read: %s", logged);
        kg_cache_close(c);
        fflush(NULL);
        _exit(test_failures_ != 0);
    }
    CHECK(ended_well(child));
    kg_cache *c = open_at("full.sqlite");
    kg_cache_verify_result r;
    CHECK(c && clean(c, &r) && r.rows == 1 && holds(c, 1) == 1);
    kg_cache_close(c);
}

int main(void)
{
    begin();
    two_writers();
    killed();
    flipped_bytes();
    broken_pages();
    garbage();
    full_disk();
    end();
    return TEST_END();
}
