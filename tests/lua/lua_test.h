/* What the tests of scripts share: a folder of their own, toy nodes, and one call from a script's text to a graph. */
#ifndef KG_TESTS_LUA_H
#define KG_TESTS_LUA_H

#include <stdarg.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/graph.h"
#include "lua/script.h"
#include "tests/test.h"

/* ---- toy nodes: a.one has one output, a.two has two, a.join takes them, a.read opens a file, a.save is a sink ---- */

typedef struct toy {
    int64_t count, frames;
    double scale;
    int on, mode;
    const char *text, *path, *out;
    kg_ints seed;
} toy;

/* Params of the node that was added last. */
static toy toy_copy;
static char toy_text[64];

static kg_status toy_infer(kg_infer *x)
{
    const int64_t shape[1] = {4};
    for (int i = 0; i < 2; ++i)
        x->out[i] = kg_desc_tensor(i ? "embedding" : "latent", KG_F32, 1, shape);
    toy_copy = *(const toy *)x->params;
    snprintf(toy_text, sizeof toy_text, "%s", toy_copy.text ? toy_copy.text : "(null)");
    if (toy_copy.path) {
        kg_file *f = kg_open(x->files, toy_copy.path);
        if (!f)
            return kg_error_last()->status;
        kg_file_unref(f);
    }
    return toy_copy.out ? kg_files_may_write(x->files, toy_copy.out) : KG_OK;
}

static kg_status toy_execute(kg_exec *x) { return (void)x, KG_OK; }

#define TOY_PARAMS \
    KG_PARAMS(KG_INT(toy, count, 3, 1, 100, 0, "how many"), KG_INT(toy, frames, 81, 1, 1025, 4, "4n+1"), \
              KG_REAL_AUTO(toy, scale, 0, 10, "scale"), KG_BOOL(toy, on, 0, "switch"), \
              KG_CHOICE(toy, mode, "slow|fast|odd", 0, "mode"), KG_TEXT(toy, text, "none", 0, "text"), \
              KG_PATH(toy, path, 0, "a file"), KG_OUT(toy, out, 0, "a file to write"), KG_SEEDS(toy, seed, "seeds"))
#define TOY(id, name_, flags_, inputs_, outputs_) \
    KG_NODE(id) = {.name = name_, .doc = "a toy", .version = 1, .flags = flags_, .params_size = sizeof(toy), .inputs = inputs_, \
                   .outputs = outputs_, .params = TOY_PARAMS, .infer = toy_infer, .execute = toy_execute}

TOY(toy_one, "a.one", 0, NULL, KG_PORTS({"value", "latent", 0, "a value"}));
TOY(toy_two, "a.two", 0, NULL, KG_PORTS({"value", "latent", 0, "a value"}, {"text", "embedding", 0, "another"}));
TOY(toy_join, "a.join", 0, KG_PORTS({"x", "latent", 0, "one"}, {"y", "embedding", KG_OPTIONAL, "two"}),
    KG_PORTS({"value", "latent", 0, "both"}));
TOY(toy_save, "a.save", KG_SINK, KG_PORTS({"x", "latent", 0, "what to save"}), NULL);

/* ---- the folder and the log ---- */

static char test_folder[64] = "/tmp/kg_lua_XXXXXX", test_log[65536];

static void test_log_line(void *arg, const char *line)
{
    (void)arg;
    size_t n = strlen(test_log);
    snprintf(test_log + n, sizeof test_log - n, "%s\n", line);
}

static void test_begin(void)
{
    if (!mkdtemp(test_folder) || chdir(test_folder))
        exit(1);
    mkdir("graphs", 0700);
    mkdir("scripts", 0700);
    kg_log_set(test_log_line, NULL);
}

static int test_end(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", test_folder);
    return chdir("/") || system(command);
}

static void test_write(const char *path, const char *text, size_t n)
{
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(text, 1, n, f) != n || fclose(f))
        exit(1);
}

static double test_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- a script from its text ---- */

typedef struct case_run {
    kg_status status;
    kg_error error;
    kg_graph *g;                   /* free with case_free                                                  */
    kg_files *files;
    kg_script *s;
    double seconds;
} case_run;

static const kg_script_limits test_limits = {.cpu_seconds = 0.2, .wall_seconds = 5, .memory = 24 << 20, .nodes = 64, .edits = 1 << 20};

static case_run case_file(const char *path, const kg_script_limits *l, const kg_script_value *values, int n)
{
    static const char *const templates[] = {"graphs", "nowhere"};
    case_run c = {.files = kg_files_new()};
    kg_script_options o = {.files = c.files, .templates = templates, .template_count = 2, .limits = *l};
    kg_error_clear();
    test_log[0] = 0;
    double start = test_now();
    c.s = kg_script_open(path, &o);
    c.g = kg_graph_new(&(kg_graph_options){.files = c.files, .precision = KG_PRECISION_F32});
    c.status = c.s ? kg_script_build(c.s, values, n, c.g) : kg_error_last()->status;
    c.seconds = test_now() - start;
    kg_error_take(&c.error);
    return c;
}

static case_run case_text(const char *text, const kg_script_value *values, int n)
{
    test_write("scripts/s.lua", text, strlen(text));
    return case_file("scripts/s.lua", &test_limits, values, n);
}

static void case_free(case_run *c)
{
    kg_script_close(c->s);
    kg_graph_free(c->g);
    kg_files_free(c->files);
}

/* The script fails with this status, and the message and hint hold the text. */
static inline void refused(int line, const char *text, kg_status status, const char *holds, const kg_script_value *values, int n)
{
    case_run c = case_text(text, values, n);
    char all[2048];
    snprintf(all, sizeof all, "%s | %s | %s", c.error.path, c.error.message, c.error.hint);
    CHECK(c.status == status && c.error.status == status, "from line %d: status %d: %s", line, c.status, all);
    CHECK(strstr(all, holds), "from line %d: \"%s\" is not in: %s", line, holds, all);
    case_free(&c);
}
#define REFUSED(text, status, holds) refused(__LINE__, text, status, holds, NULL, 0)
#define REFUSED_WITH(text, status, holds, ...) \
    refused(__LINE__, text, status, holds, (kg_script_value[]){__VA_ARGS__}, \
            (int)(sizeof((kg_script_value[]){__VA_ARGS__}) / sizeof(kg_script_value)))

/* The script builds so many nodes. */
static inline void built(int line, const char *text, int nodes, const kg_script_value *values, int n)
{
    case_run c = case_text(text, values, n);
    CHECK(c.status == KG_OK, "from line %d: %s: %s %s", line, c.error.path, c.error.message, c.error.hint);
    CHECK(kg_graph_count(c.g) == nodes, "from line %d: %d nodes, not %d", line, kg_graph_count(c.g), nodes);
    case_free(&c);
}
#define BUILT(text, nodes) built(__LINE__, text, nodes, NULL, 0)
#define BUILT_WITH(text, nodes, ...) \
    built(__LINE__, text, nodes, (kg_script_value[]){__VA_ARGS__}, \
          (int)(sizeof((kg_script_value[]){__VA_ARGS__}) / sizeof(kg_script_value)))

#endif
