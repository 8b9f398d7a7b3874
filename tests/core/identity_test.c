/* Identities of files: all bytes count, threads do not, what is remembered and for how long; and the keys that hang on them. */
#include "tests/toy.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/stat.h>

enum { MIB = 1 << 20, BYTES = 3 * MIB + 12345 };

static char top[64], logged[2048];

static void keep_log(void *arg, const char *line)
{
    (void)arg;
    strncat(logged, line, sizeof logged - strlen(logged) - 2);
    strcat(logged, "\n");
}

/* One byte at `where` is turned over in place. */
static void flip(const char *path, off_t where)
{
    unsigned char byte;
    int fd = open(path, O_RDWR);
    CHECK(fd >= 0 && pread(fd, &byte, 1, where) == 1);
    byte ^= 1;
    CHECK(pwrite(fd, &byte, 1, where) == 1 && !close(fd));
}

static void make(const char *path, size_t bytes)
{
    FILE *out = fopen(path, "w");
    for (size_t i = 0; i < bytes; ++i)
        putc((int)(i * 7 + i / 251), out);
    fclose(out);
}

static kg_files *roots(void)
{
    kg_files *f = kg_files_new();
    CHECK(!kg_files_root(f, ".", KG_ROOT_PLAIN));
    return f;
}

static kg_status identity(kg_files *f, const char *path, unsigned char out[32])
{
    kg_file *file = kg_open(f, path);
    kg_status s = file ? kg_file_identity(f, file, out) : kg_error_last()->status;
    kg_file_unref(file);
    return s;
}

/* ---- the hash ---- */

static void all_bytes_count(void)
{
    static const off_t at[] = {0, 1, 4095, 4096, 100000, MIB - 1, MIB, 2 * MIB + 77, 3 * MIB, BYTES - 1};
    kg_files *f = roots();
    unsigned char base[32], other[32];
    CHECK(!identity(f, "w.bin", base));
    for (size_t i = 0; i < sizeof at / sizeof *at; ++i) {
        flip("w.bin", at[i]);
        CHECK(!identity(f, "w.bin", other) && memcmp(base, other, 32), "byte %lld does not count", (long long)at[i]);
        flip("w.bin", at[i]);
        CHECK(!identity(f, "w.bin", other) && !memcmp(base, other, 32), "repaired at %lld", (long long)at[i]);
    }
    CHECK(!truncate("w.bin", BYTES - 1) && !identity(f, "w.bin", other) && memcmp(base, other, 32));
    make("w.bin", BYTES);
    make("empty.bin", 0);
    CHECK(!identity(f, "empty.bin", other) && memcmp(base, other, 32));
    kg_files_free(f);
}

/* Fixed for ever, whatever machine made it: users' caches are named by it. */
static void threads_do_not_matter(void)
{
    cpu_set_t all, one;
    kg_key a, b;
    char hex[65];
    CHECK(!sched_getaffinity(0, sizeof all, &all));
    CPU_ZERO(&one);
    for (int i = 0; i < CPU_SETSIZE && !CPU_COUNT(&one); ++i)
        if (CPU_ISSET(i, &all))
            CPU_SET(i, &one);
    kg_files *f = roots(), *g = roots();
    CHECK(!identity(f, "w.bin", a.b));
    CHECK(!sched_setaffinity(0, sizeof one, &one) && !identity(g, "w.bin", b.b));
    CHECK(!sched_setaffinity(0, sizeof all, &all) && kg_key_equal(&a, &b));
    kg_key_hex(&a, hex);
    CHECK(!strcmp(hex, "3c6a8a49c1bb81b79e054efbda8ab87d833a3bc4508dd08e2c68aa834c0c0298"), "%s", hex);
    kg_files_free(f);
    kg_files_free(g);
}

/* ---- remembering ---- */

typedef struct memo { int finds, stores; kg_stamp stamp; unsigned char id[32]; } memo;
static int memo_find(void *arg, const kg_stamp *stamp, unsigned char out[32])
{
    memo *m = arg;
    ++m->finds;
    if (!m->stores || !kg_stamp_equal(&m->stamp, stamp))
        return 0;
    memcpy(out, m->id, 32);
    return 1;
}
static void memo_store(void *arg, const kg_stamp *stamp, const unsigned char id[32])
{
    memo *m = arg;
    ++m->stores;
    m->stamp = *stamp;
    memcpy(m->id, id, 32);
}

static kg_files *remembering(memo *m)
{
    kg_files *f = roots();
    kg_files_memo(f, &(kg_identity_memo){m, memo_find, memo_store});
    return f;
}

/* A file of a moment ago may change again without a sign, on a file system that counts seconds. */
static void remembered_when_old(void)
{
    memo m = {0};
    unsigned char base[32], other[32];
    make("new.bin", 1000);
    kg_files *f = remembering(&m);
    CHECK(!identity(f, "new.bin", base) && !m.stores, "a file written a moment ago is not remembered");
    CHECK(!identity(f, "new.bin", other) && m.finds == 1 && !memcmp(base, other, 32), "but by the process that read it");
    kg_files_free(f);
    usleep(2200000);
    f = remembering(&m);
    CHECK(!identity(f, "new.bin", other) && m.stores == 1 && !memcmp(base, other, 32));
    kg_files_free(f);
    m.id[0] ^= 1;                                          /* so that an answer from memory is seen */
    f = remembering(&m);
    CHECK(!identity(f, "new.bin", other) && m.stores == 1 && memcmp(base, other, 32));
    kg_files_free(f);
    flip("new.bin", 500);
    f = remembering(&m);
    CHECK(!identity(f, "new.bin", other) && memcmp(base, other, 32) && memcmp(m.id, other, 32), "another stamp is read anew");
    kg_files_free(f);
}

static void cancelled(void)
{
    volatile sig_atomic_t stop = 1;
    memo m = {0};
    unsigned char id[32];
    kg_files *f = remembering(&m);
    kg_files_cancel(f, &stop);
    CHECK(identity(f, "w.bin", id) == KG_CANCELLED && !m.stores);
    kg_error_clear();
    stop = 0;
    CHECK(!identity(f, "w.bin", id));
    kg_files_free(f);
}

/* Between the graph and its keys, and while it is hashed: it is an error that names the file. */
static void changed_before_it_was_read(void)
{
    memo m = {0};
    unsigned char id[32];
    kg_files *f = remembering(&m);
    kg_file *file = kg_open(f, "w.bin");
    flip("w.bin", 9);
    CHECK(kg_file_identity(f, file, id) == KG_INPUT && strstr(kg_error_last()->message, "'w.bin' was changed") && !m.stores);
    kg_error_clear();
    CHECK(!kg_file_identified(f, &file->stamp, id));
    kg_file_unref(file);
    flip("w.bin", 9);
    kg_files_free(f);
}

/* ---- keys ---- */

static kg_graph *graph(kg_files *f, int *x)
{
    kg_graph *g = kg_graph_new(&(kg_graph_options){.files = f, .precision = KG_PRECISION_F32});
    int w = kg_graph_add(g, "toy.weights", NULL, ARGS(arg_text("path", "w.bin"), arg_int("blocks", 2), arg_int("width", 16)));
    *x = kg_graph_add(g, "toy.mix", NULL, ARGS(arg_node("model", w, 0), arg_int("seed", 3)));
    CHECK(*x == 1 && !kg_graph_want(g, *x), "%s", kg_error_last()->message);
    return g;
}

static kg_key key_now(kg_files *f)
{
    int x;
    kg_graph *g = graph(f, &x);
    kg_key k = kg_graph_key(g, x, 0, 0);
    CHECK(!kg_error_last()->status, "%s", kg_error_last()->message);
    kg_graph_free(g);
    return k;
}

/* A file damaged where no weight of the graph lies, and repaired. */
static void keys_of_a_damaged_file(void)
{
    kg_files *f = roots();
    kg_key good = key_now(f);
    flip("w.bin", BYTES - 5);
    kg_key bad = key_now(f);
    CHECK(!kg_key_equal(&good, &bad), "a damaged file has the key of the good one");
    flip("w.bin", BYTES - 5);
    kg_key again = key_now(f);
    CHECK(kg_key_equal(&good, &again), "a repaired file has not the key that it had");
    kg_files_free(f);
}

/* Neither building a graph nor planning it dry reads a file to its end; the plan says what that means. */
static void late(void)
{
    memo m = {0};
    int x;
    char unread[2], *json;
    kg_key k;
    toy_cache cache = {.face = {&toy_cache_ops}};
    toy_device t;
    toy_open(&t, 1 << 30);
    kg_files *f = remembering(&m);
    volatile sig_atomic_t stop = 1;                        /* whatever reads a file to its end fails */
    kg_files_cancel(f, &stop);
    kg_graph *g = graph(f, &x);
    CHECK(kg_graph_unread(g, unread) == 2 && unread[0] && unread[x] && !kg_graph_identity(g, 0, &k));
    logged[0] = 0;
    kg_plan_options o = {.device = &t.d, .cache = &cache.face, .dry = 1};
    kg_plan *p = kg_plan_new(g, &o);
    CHECK(p && strstr(logged, "'w.bin' has not been read to its end yet: what hangs on it counts as not cached"), "%s", logged);
    json = kg_plan_json(p);
    CHECK(json && !strstr(json, "\"key\""));
    free(json);
    kg_plan_free(p);
    o.dry = 0;
    CHECK(!kg_plan_new(g, &o) && kg_error_last()->status == KG_CANCELLED, "a plan to be run needs keys");
    kg_error_clear();
    stop = 0;
    CHECK(kg_graph_identify(g) == KG_OK && !kg_graph_unread(g, unread) && kg_graph_identity(g, 0, &k));
    o.dry = 1;
    logged[0] = 0;
    p = kg_plan_new(g, &o);
    json = p ? kg_plan_json(p) : NULL;
    CHECK(!logged[0] && json && strstr(json, "\"key\""));
    free(json);
    kg_plan_free(p);
    kg_graph_free(g);
    kg_files_free(f);
}

static void replaced_before_its_key(void)
{
    int x;
    kg_files *f = roots();
    kg_graph *g = graph(f, &x);
    flip("w.bin", 0);
    CHECK(kg_graph_identify(g) == KG_INPUT && strstr(kg_error_last()->message, "'w.bin' was changed"), "%s", kg_error_last()->message);
    kg_error_clear();
    kg_graph_free(g);
    flip("w.bin", 0);
    kg_files_free(f);
}

int main(void)
{
    kg_log_set(keep_log, NULL);
    snprintf(top, sizeof top, "/tmp/kg_identity_test.XXXXXX");
    CHECK(mkdtemp(top) && !chdir(top));
    make("w.bin", BYTES);
    all_bytes_count();
    threads_do_not_matter();
    remembered_when_old();
    cancelled();
    changed_before_it_was_read();
    keys_of_a_damaged_file();
    late();
    replaced_before_its_key();
    char command[128];
    snprintf(command, sizeof command, "rm -r '%s'", top);
    CHECK(!chdir("/") && !system(command));
    return TEST_END();
}
