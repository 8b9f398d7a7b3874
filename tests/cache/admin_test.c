/* Administration and eviction: what is listed and counted, what goes first, what a lease keeps, what verify finds. */
#include "cache/store.h"
#include "tests/cache/help.h"

typedef struct seen { int n, checkpoints, leased; int64_t hits; } seen;
static int see(void *arg, const kg_cache_item *item)
{
    seen *s = arg;
    ++s->n;
    s->checkpoints += item->checkpoint;
    s->leased += item->leased;
    s->hits += item->hits;
    CHECK(item->made > 1e9 && item->used >= item->made && item->row.bytes == (item->checkpoint ? 1000 : 800));
    return s->n == 100;
}

static void lists(void)
{
    kg_cache *c = open_at("list.sqlite");
    for (uint64_t i = 0; i < 5; ++i)
        CHECK(store(c, i, 800));
    CHECK(holds(c, 1) == 1 && holds(c, 1) == 1);
    kg_cache_row row = row_of(9, 1000, "checkpoint");
    c->ops->checkpoint_later(c, &row, fill(9, 1000));
    c->ops->flush(c);
    seen s = {0};
    CHECK(!kg_cache_ls(c, see, &s) && s.n == 6 && s.checkpoints == 1 && s.leased == 5 && s.hits == 2, "%d %d %d", s.n, s.leased,
          (int)s.hits);
    kg_cache_totals t;
    CHECK(!kg_cache_stat(c, &t) && t.version == KG_CACHE_VERSION && t.results == 5 && t.result_bytes == 4000);
    CHECK(t.checkpoints == 1 && t.checkpoint_bytes == 1000 && t.leases == 5 && t.seconds == 25 && t.saved == 10);
    CHECK(t.budget == KG_CACHE_BUDGET && t.file_bytes > 5000 && !strcmp(t.path, at("list.sqlite")));
    kg_cache_close(c);
    c = kg_cache_open(&(kg_cache_options){.path = at("list.sqlite"), .existing = 1});
    CHECK(c && !kg_cache_stat(c, &t) && t.leases == 0, "closing gives leases back");
    kg_cache_close(c);
}

static void put(kg_cache *c, uint64_t n, size_t bytes, double cost)
{
    kg_cache_row row = row_of(n, bytes, "latent");
    row.seconds = cost;
    void *p = fill(n, bytes);
    CHECK(c->ops->write(c, &row, p));
    free(p);
}

static void eviction(void)
{
    enum { MB = 1 << 20 };
    kg_cache_options o = {.path = at("evict.sqlite"), .budget = 10 * MB};
    char path[256];
    snprintf(path, sizeof path, "%s", o.path);
    o.path = path;
    kg_cache *c = kg_cache_open(&o);
    put(c, 1, 2 * MB, 100);                    /* dear                                  */
    put(c, 2, 2 * MB, 1);                      /* cheap                                 */
    put(c, 3, 2 * MB, 50);
    put(c, 4, 2 * MB, 100);                    /* dear, but not used for a month        */
    kg_cache_close(c);
    meddle("evict.sqlite", "UPDATE result SET used = used - 30 * 86400 WHERE step = 4; UPDATE checkpoint SET made = 0");
    c = kg_cache_open(&o);
    put(c, 5, 3 * MB, 10);
    CHECK(holds(c, 1) == 1 && holds(c, 3) == 1 && holds(c, 5) == 1, "what is dear or new stays");
    CHECK(!holds(c, 2) && !log_lines, "what is cheap goes");
    put(c, 6, 3 * MB, 60);
    CHECK(!holds(c, 4) && holds(c, 1) == 1 && holds(c, 3) == 1, "then what is long unused");
    /* All that is left is leased by this process. */
    put(c, 7, 3 * MB, 0);
    CHECK(holds(c, 1) == 1 && holds(c, 3) == 1 && holds(c, 5) == 1 && holds(c, 6) == 1 && holds(c, 7) == 1);
    kg_cache_gc_result r;
    CHECK(!kg_cache_gc(c, 0, &r) && !r.results, "leased rows stay");
    kg_cache_row big = row_of(8, 11 * MB, "latent");
    CHECK(!c->ops->write(c, &big, NULL), "larger than the whole budget");
    kg_cache_close(c);
    c = kg_cache_open(&o);
    kg_cache_totals t;
    CHECK(!kg_cache_gc(c, UINT64_MAX, &r) && r.results && !kg_cache_stat(c, &t) && t.result_bytes <= o.budget);
    CHECK(!holds(c, 7) && holds(c, 1) == 1);
    kg_cache_close(c);
    c = kg_cache_open(&o);
    CHECK(!kg_cache_gc(c, 0, &r) && !kg_cache_stat(c, &t) && !t.results && t.file_bytes < 1 * MB, "space is given back: %llu",
          (unsigned long long)t.file_bytes);
    kg_cache_close(c);
}

/* The write lock is not held while a table is sorted for each row, or grouped for each holder of leases, that goes. */
static void gc_sorts_once(void)
{
    kg_cache *c = open_at("many.sqlite");
    for (uint64_t i = 0; i < 200; ++i)
        put(c, i, 800, 1 + (double)i);
    kg_cache_close(c);
    meddle("many.sqlite", "INSERT INTO lease SELECT id, id, 1, 'gone', 1 FROM result");
    c = open_at("many.sqlite");
    kg_cache_gc_result r;
    CHECK(!kg_cache_gc(c, 200 * 800, &r) && !r.results && r.leases == 200);
    CHECK(sqlite3_stmt_status(((kg_store *)c)->statements[SQL_LEASES], SQLITE_STMTSTATUS_RUN, 0) == 1);
    CHECK(!kg_cache_gc(c, 80 * 800, &r) && r.results == 120 && r.bytes == 120 * 800);
    CHECK(!holds(c, 119) && holds(c, 120) == 1, "the cheapest have gone");
    CHECK(sqlite3_stmt_status(((kg_store *)c)->statements[SQL_VICTIMS], SQLITE_STMTSTATUS_SORT, 0) == 1);
    kg_cache_close(c);
}

/* Another process that is there keeps its row; once it is gone (killed), the row may go. */
static void leases_of_others(void)
{
    int there[2];
    char got;
    CHECK(!pipe(there));
    kg_cache *c = open_at("lease.sqlite");
    put(c, 1, 1000, 1);
    put(c, 2, 1000, 1);
    kg_cache_close(c);
    pid_t child = fork();
    if (!child) {
        kg_cache *mine = open_at("lease.sqlite");
        got = (char)(holds(mine, 1) == 1);
        if (write(there[1], &got, 1) == 1)
            pause();
        _exit(1);
    }
    CHECK(read(there[0], &got, 1) == 1 && got == 1);
    c = open_at("lease.sqlite");
    kg_cache_gc_result r;
    CHECK(!kg_cache_gc(c, 0, &r) && r.results == 1 && !r.leases);
    CHECK(!kill(child, SIGKILL) && waitpid(child, NULL, 0) == child);
    CHECK(!kg_cache_gc(c, 0, &r) && r.results == 1 && r.leases == 1);
    kg_cache_close(c);
    close(there[0]);
    close(there[1]);
    /* A lease of a process number that now belongs to another, and one from another machine. */
    c = open_at("lease.sqlite");
    put(c, 3, 1000, 1);
    put(c, 4, 1000, 1);
    kg_cache_close(c);
    char sql[256];
    snprintf(sql, sizeof sql, "INSERT INTO lease SELECT id, %d, 12345, '%s', strftime('%%s') FROM result WHERE step = 3", getpid(),
             ((kg_store *)(c = open_at("lease.sqlite")))->host);
    meddle("lease.sqlite", sql);
    meddle("lease.sqlite", "INSERT INTO lease SELECT id, 1, 1, 'elsewhere', strftime('%s') FROM result WHERE step = 4");
    CHECK(!kg_cache_gc(c, 0, &r) && r.results == 1 && r.leases == 1 && !holds(c, 3) && holds(c, 4) == 1);
    kg_cache_close(c);
}

static void old_checkpoints(void)
{
    kg_cache *c = open_at("old.sqlite");
    for (uint64_t i = 1; i <= 2; ++i) {
        kg_cache_row row = row_of(i, 1000, "checkpoint");
        c->ops->checkpoint_later(c, &row, fill(i, 1000));
    }
    c->ops->flush(c);
    meddle("old.sqlite", "UPDATE checkpoint SET made = made - 31 * 86400 WHERE step = 1");
    kg_cache_gc_result r;
    kg_cache_row row;
    kg_key first = key_of(1), second = key_of(2);
    CHECK(!kg_cache_gc(c, UINT64_MAX, &r) && r.checkpoints == 1 && r.bytes == 1000);
    CHECK(!c->ops->checkpoint_find(c, &first, "cpu avx2", &row) && c->ops->checkpoint_find(c, &second, "cpu avx2", &row));
    kg_cache_close(c);
}

static void verification(void)
{
    kg_cache *c = open_at("verify.sqlite");
    kg_cache_verify_result r;
    put(c, 1, 5 << 20, 1);
    put(c, 2, 1000, 1);
    put(c, 3, 1000, 1);
    put(c, 4, 1000, 1);
    put(c, 5, 1000, 1);
    CHECK(clean(c, &r) && r.rows == 5 && r.bytes == (5 << 20) + 4000);
    /* One byte of the second part; a shape; a part that is gone; one too many. */
    meddle("verify.sqlite", "UPDATE result_part SET data = zeroblob(length(data)) WHERE n = 1;"
                            "UPDATE result SET shape = '[4,62]' WHERE step = 2; DELETE FROM result_part WHERE row = 3;"
                            "INSERT INTO result_part(row, n, data) VALUES(4, 1, x'00')");
    log_clear();
    CHECK(kg_cache_verify(c, keep_log, NULL, &r) == KG_FAILED && r.rows == 5 && r.bad == 4 && !r.problems, "%s", logged);
    CHECK(log_lines == 4 && strstr(logged, "result 1: its checksum"), "%s", logged);
    kg_error_clear();
    CHECK(clean(c, &r) && r.rows == 1 && holds(c, 5) == 1);
    kg_cache_close(c);
}

static void network_file_systems(void)
{
    const char *name = "";
    CHECK(kg_file_system_remote(0x6969, "nfs4", &name) && !strcmp(name, "NFS"));
    CHECK(kg_file_system_remote((long)(int)0xff534d42, "cifs", &name) && !strcmp(name, "CIFS"));
    CHECK(kg_file_system_remote(0x65735546, "fuse.sshfs", &name) && kg_file_system_remote(0x65735546, NULL, &name));
    CHECK(!kg_file_system_remote(0x65735546, "fuse.fuse-overlayfs", &name));
    CHECK(!kg_file_system_remote(0xef53, "ext4", &name) && !kg_file_system_remote(0x01021994, "tmpfs", &name));
}

int main(void)
{
    begin();
    lists();
    eviction();
    gc_sorts_once();
    leases_of_others();
    old_checkpoints();
    verification();
    network_file_systems();
    end();
    return TEST_END();
}
