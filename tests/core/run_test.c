/* Graph edits, plan and run over the toy family: residency never changes a bit, what does not fit is refused, errors say where. */
#include "tests/toy.h"

#define WIDTH 4096
#define BLOCKS 10
static const char *file = "toy_weights.bin";
static kg_files *files;

static kg_graph *graph(int steps, int frames, int *last)
{
    kg_graph *g = kg_graph_new(&(kg_graph_options){.files = files, .precision = KG_PRECISION_F32});
    int m = kg_graph_add(g, "toy.weights", NULL, ARGS(arg_text("path", file), arg_int("blocks", BLOCKS), arg_int("width", WIDTH)));
    int x = kg_graph_add(g, "toy.mix", "main", ARGS(arg_node("model", m, 0), arg_int("steps", steps), arg_int("seed", 3)));
    int f = kg_graph_add(g, "toy.frames", NULL, ARGS(arg_node("latent", x, 0), arg_int("frames", frames)));
    *last = kg_graph_add(g, "toy.sum", NULL, ARGS(arg_node("video", f, 0)));
    CHECK(*last == 3, "%s", kg_error_last()->message);
    kg_graph_want(g, *last);
    return g;
}

static kg_status run(size_t budget, unsigned chaos, float *out, kg_plan_summary *sum, size_t *peak)
{
    toy_device t;
    toy_open(&t, 1 << 30);
    int last;
    kg_graph *g = graph(5, 5, &last);
    kg_plan *p = kg_plan_new(g, &(kg_plan_options){.device = &t.d, .budget = budget, .chaos = chaos});
    kg_status s = p ? KG_OK : kg_error_last()->status;
    if (p) {
        kg_run *r;
        *sum = kg_plan_sum(p);
        s = toy_go(p, &r);
        CHECK(s == KG_OK, "%s: %s", kg_error_last()->path, kg_error_last()->message);
        if (s == KG_OK)
            CHECK(kg_run_value(r, last, 0, 0, out, WIDTH * 4) == KG_OK, "%s", kg_error_last()->message);
        *peak = kg_run_peak(r);
        kg_run_free(r);
        kg_plan_free(p);
    }
    kg_graph_free(g);
    return s;
}

static void residency(void)
{
    static float all[WIDTH], some[WIDTH];
    kg_plan_summary a, b;
    size_t peak, block = WIDTH * 4;
    CHECK(run(0, 0, all, &a, &peak) == KG_OK);
    CHECK(a.loads == BLOCKS, "%lld loads", (long long)a.loads);
    CHECK(peak == a.arena, "peak %zu, arena %zu", peak, a.arena);
    size_t base = a.arena - BLOCKS * block, host = a.peak_device - a.arena;
    for (size_t n = 2; n < BLOCKS; n += 2) {
        CHECK(run(base + n * block + host, (unsigned)n, some, &b, &peak) == KG_OK, "%zu blocks", n);
        CHECK(b.arena <= base + n * block, "%zu blocks: arena %zu of %zu", n, b.arena, base + n * block);
        CHECK(peak <= b.arena && b.loads > BLOCKS);
        CHECK(!memcmp(all, some, sizeof all), "%zu blocks resident change bits", n);
    }
    CHECK(run(base / 2 + host, 0, some, &b, &peak) == KG_NOFIT);
    CHECK(strstr(kg_error_last()->message, "Largest residents"), "%s", kg_error_last()->message);
    kg_error_clear();
    /* The value itself, computed apart. */
    float y[4] = {3, 3, 3, 3};
    FILE *f = fopen(file, "rb");
    static float w[BLOCKS][WIDTH];
    CHECK(fread(w, sizeof w, 1, f) == 1);
    fclose(f);
    for (int s = 0; s < 5; ++s)
        for (int k = 0; k < BLOCKS; ++k)
            for (int i = 0; i < 4; ++i)
                y[i] = 0.999f * y[i] + 0.1f * w[k][i] * (float)(1 + s);
    for (int i = 0; i < 4; ++i)
        CHECK(fabsf(all[i] - 15 * y[i]) < 1e-5f * (1 + fabsf(all[i])), "%g %g", (double)all[i], 15.0 * (double)y[i]);
}

static void refused(int node, kg_status status, const char *message, const char *hint)
{
    const kg_error *e = kg_error_last();
    CHECK(node < 0 && e->status == status && strstr(e->message, message), "%d %d '%s'", node, e->status, e->message);
    CHECK(strstr(e->hint, hint), "hint '%s' lacks '%s'", e->hint, hint);
    kg_error_clear();
}

static void edits(void)
{
    int last;
    kg_graph *g = graph(2, 5, &last);
    refused(kg_graph_add(g, "toy.mxi", NULL, NULL, 0), KG_USAGE, "toy.mxi", "toy.mix");
    refused(kg_graph_add(g, "toy.mix", NULL, ARGS(arg_int("stpes", 3))), KG_USAGE, "stpes", "steps");
    refused(kg_graph_add(g, "toy.mix", NULL, ARGS(arg_node("modle", 0, 0))), KG_USAGE, "modle", "model");
    refused(kg_graph_add(g, "toy.mix", NULL, NULL, 0), KG_USAGE, "model is not joined", "");
    refused(kg_graph_add(g, "toy.mix", NULL, ARGS(arg_node("model", 0, 0), arg_int("steps", 0))), KG_USAGE,
            "steps = 0 is out of range: 1 to 1000", "");
    refused(kg_graph_add(g, "toy.frames", NULL, ARGS(arg_node("latent", 1, 0), arg_int("frames", 16))), KG_USAGE,
            "frames = 16", "13 and 17");
    refused(kg_graph_add(g, "toy.mix", NULL, ARGS(arg_node("model", 1, 0))), KG_USAGE,
            "takes resource/toy, but toy.mix.latent is latent/toy", "");
    refused(kg_graph_add(g, "toy.mix", "x", ARGS(arg_node("model", 0, 0), arg_text("mode", "plane"))), KG_USAGE, "plain|other", "");
    refused(kg_graph_add(g, "toy.mix", "x", ARGS(arg_node("model", 0, 7))), KG_USAGE, "output 7", "");
    refused(kg_graph_add(g, "toy.mix", "x", ARGS(arg_node("model", 99, 0))), KG_USAGE, "node 99", "");
    refused(kg_graph_add(g, "toy.weights", NULL, ARGS(arg_text("path", "absent.bin"))), KG_INPUT, "absent.bin", "");
    CHECK(kg_graph_join(g, 1, 0, 1, "start") == KG_USAGE && strstr(kg_error_last()->message, "cycle"), "%s", kg_error_last()->message);
    kg_error_clear();
    int second = kg_graph_add(g, "toy.mix", NULL, ARGS(arg_node("model", 0, 0), arg_node("start", 1, 0)));
    CHECK(second == 4);
    CHECK(kg_graph_join(g, second, 0, 1, "start") == KG_USAGE && strstr(kg_error_last()->message, "cycle"));
    CHECK(kg_graph_count(g) == 5);
    int lost[8];
    CHECK(kg_graph_unreached(g, lost, 8) == 1 && lost[0] == 4);
    kg_error_clear();
    kg_graph_free(g);
}

static void keys(void)
{
    int last;
    kg_graph *a = graph(5, 5, &last), *b = graph(6, 5, &last);
    kg_key k = kg_graph_key(a, 1, 0, 0), l = kg_graph_key(b, 1, 0, 0);
    CHECK(!kg_key_equal(&k, &l));
    int same = kg_graph_add(b, "toy.mix", "another label", ARGS(arg_int("seed", 3), arg_node("model", 0, 0)));
    int text = kg_graph_add(
        b, "toy.mix", NULL,
        ARGS(arg_int("seed", 3), arg_node("model", 0, 0), arg_text("mode_text", "x"), arg_int("steps", 5)));
    l = kg_graph_key(b, same, 0, 0);
    CHECK(kg_key_equal(&k, &l), "a default said and one left out are the same; a label is no part");
    l = kg_graph_key(b, text, 0, 0);
    CHECK(kg_key_equal(&k, &l), "an unkeyed param");
    int64_t seeds[2] = {8, 3};
    int many = kg_graph_add(b, "toy.mix", NULL, ARGS(arg_node("model", 0, 0), {.name = "seed", .kind = KG_A_INTS, .list = seeds, .n = 2}));
    l = kg_graph_key(b, many, 0, 1);
    CHECK(kg_key_equal(&k, &l), "one key per seed");
    kg_graph_free(a);
    kg_graph_free(b);
}

/* Every read may fail: no leak, no hang, the right path. */
static void faults(void)
{
    for (long n = 1; n <= BLOCKS + 2; ++n) {
        toy_device t;
        toy_open(&t, 1 << 30);
        t.fail_read = n;
        int last;
        kg_graph *g = graph(3, 5, &last);
        kg_plan *p = kg_plan_new(g, &(kg_plan_options){.device = &t.d});
        kg_run *r;
        kg_status s = toy_go(p, &r);
        CHECK(n <= BLOCKS ? s == KG_FAILED && strstr(kg_error_last()->path, "toy.weights") : s == KG_OK,
              "read %ld: %d %s", n, s, kg_error_last()->path);
        kg_error_clear();
        kg_run_free(r);
        kg_plan_free(p);
        kg_graph_free(g);
    }
    toy_device t;
    toy_open(&t, 1 << 30);
    t.fail_reserve = 1;
    int last;
    kg_graph *g = graph(3, 5, &last);
    kg_plan *p = kg_plan_new(g, &(kg_plan_options){.device = &t.d});
    kg_run *r;
    CHECK(toy_go(p, &r) == KG_FAILED);
    kg_error_clear();
    kg_run_free(r);
    kg_plan_free(p);
    kg_graph_free(g);
}

/* A file that is changed in place while a run streams it: the run says so, and keeps nothing that may have come of it. */
static long changed_at;
static void change(long n)
{
    if (n == changed_at)
        toy_change(file);
}

static void changed_while_it_streams(void)
{
    for (int late = 0; late < 2; ++late) {
        toy_device t;
        toy_cache c = {.face = {&toy_cache_ops}};
        toy_open(&t, 1 << 30);
        t.before_read = change;
        kg_graph *g = kg_graph_new(&(kg_graph_options){.files = files, .precision = KG_PRECISION_F32});
        int m = kg_graph_add(g, "toy.weights", NULL, ARGS(arg_text("path", file), arg_int("blocks", BLOCKS), arg_int("width", WIDTH)));
        int x = kg_graph_add(g, "toy.mix", "main", ARGS(arg_node("model", m, 0), arg_int("steps", 40), arg_int("seed", 3)));
        kg_graph_want(g, x);
        kg_plan_options o = {.device = &t.d, .cache = &c.face};
        kg_plan *p = kg_plan_new(g, &o);
        o.budget = kg_plan_sum(p).peak_device - (BLOCKS - 3) * WIDTH * 4;
        kg_plan_free(p);
        p = kg_plan_new(g, &o);
        CHECK(p && kg_plan_sum(p).loads > 40, "it does not stream");
        long first = late ? kg_plan_sum(p).loads - 2 : 1;
        changed_at = first;
        kg_run *r;
        CHECK(toy_go(p, &r) == KG_INPUT);
        CHECK(strstr(kg_error_last()->message, "'toy_weights.bin' was changed while it was in use"), "%s", kg_error_last()->message);
        CHECK(!c.results && (late ? c.checkpoints > 3 : !c.checkpoints), "%d results and %d checkpoints", c.results, c.checkpoints);
        kg_error_clear();
        kg_run_free(r);
        kg_plan_free(p);
        kg_graph_free(g);
        toy_file(file, BLOCKS * WIDTH);
    }
}

/* A checkpoint whose tensors do not come: the run fails, and the room for them is given back (the sanitizers see it). */
static void checkpoint_that_does_not_come(void)
{
    toy_device t;
    toy_cache c = {.face = {&toy_cache_ops}};
    toy_open(&t, 1 << 30);
    t.fail_fetch = 2;
    int last;
    kg_graph *g = graph(40, 5, &last);
    kg_plan *p = kg_plan_new(g, &(kg_plan_options){.device = &t.d, .cache = &c.face});
    kg_run *r;
    CHECK(toy_go(p, &r) == KG_FAILED && strstr(kg_error_last()->message, "injected: a fetch") && c.checkpoints == 1 && !c.results);
    kg_error_clear();
    kg_run_free(r);
    kg_plan_free(p);
    kg_graph_free(g);
}

static void cancel(void)
{
    toy_device t;
    toy_open(&t, 1 << 30);
    kg_graph *g = kg_graph_new(&(kg_graph_options){.files = files});
    int m = kg_graph_add(g, "toy.weights", NULL, ARGS(arg_text("path", file), arg_int("blocks", BLOCKS), arg_int("width", WIDTH)));
    int x = kg_graph_add(
        g, "toy.mix", "main",
        ARGS(arg_node("model", m, 0), arg_int("steps", 1000), {.name = "slow", .kind = KG_A_REAL, .r = 0.001}));
    kg_graph_want(g, x);
    kg_plan *p = kg_plan_new(g, &(kg_plan_options){.device = &t.d});
    kg_run *r = kg_run_start(p);
    usleep(30000);
    kg_run_cancel(r);
    CHECK(kg_run_wait(r) == KG_CANCELLED);
    kg_error_clear();
    kg_run_free(r);
    kg_plan_free(p);
    kg_graph_free(g);
}

int main(void)
{
    toy_file(file, BLOCKS * WIDTH);
    files = kg_files_new();
    kg_files_root(files, ".", KG_ROOT_PLAIN);
    residency();
    edits();
    keys();
    faults();
    changed_while_it_streams();
    checkpoint_that_does_not_come();
    cancel();
    kg_files_free(files);
    remove(file);
    return TEST_END();
}
