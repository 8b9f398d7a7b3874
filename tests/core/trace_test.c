/* The trace: equal scopes are stored once, and a run that does anything else than its plan is caught wherever that is. */
#include "core/plan_internal.h"
#include "tests/toy.h"

static const char *const file = "toy_trace.bin";
#define BLOCKS 6
#define STEPS 40

/* ---- toy.stray: a loop that may do something else when it runs for the second time (the first is dry) ---- */
enum { FAITHFUL, OTHER_TEMP, OTHER_FRONT, OTHER_SEGMENT, ONE_BLOCK_MORE, OTHER_ORDER, WAYS };
static int way, executions;

static kg_status stray_infer(kg_infer *x)
{
    x->out[0] = kg_desc_tensor("latent/toy", KG_F32, 1, (int64_t[]){64});
    return KG_OK;
}

static kg_status stray_block(kg_exec *x, int step, int b, int stray)
{
    kg_weights w;
    int here = stray && step == STEPS - 2 && b == 3;
    if (kg_enter(x, "block", b, BLOCKS) || kg_use(x, 0, here && way == OTHER_SEGMENT ? b + 1 : b, &w))
        return KG_FAILED;
    for (int half = 0; half < 2; ++half) {
        if (kg_enter(x, "half", half, 0))
            return KG_FAILED;
        kg_temp(x, KG_F32, 1, (int64_t[]){here && way == OTHER_TEMP ? 1024 : 256});
        if (!here || way != OTHER_ORDER)
            kg_front(x, "first", KG_C_ROWS, 10, 10);
        kg_front(x, here && way == OTHER_FRONT ? "third" : "second", KG_C_ROWS, 10, 10);
        if (here && way == OTHER_ORDER)
            kg_front(x, "first", KG_C_ROWS, 10, 10);
        if (kg_leave(x))
            return KG_FAILED;
    }
    return kg_leave(x) ? KG_FAILED : KG_OK;
}

static kg_status stray_execute(kg_exec *x)
{
    int stray = executions++ && way != FAITHFUL;
    for (int s = 0; s < STEPS; ++s) {
        if (kg_enter(x, "step", s, STEPS))
            return KG_FAILED;
        for (int b = 0; b < BLOCKS + (stray && way == ONE_BLOCK_MORE && s == STEPS - 2); ++b)
            if (stray_block(x, s, b % BLOCKS, stray) != KG_OK)
                return KG_FAILED;
        if (s == 0)
            kg_front(x, "once", KG_C_ROWS, 10, 10);
        if (kg_leave(x))
            return KG_FAILED;
    }
    return KG_OK;
}

KG_NODE(toy_stray) = {.name = "toy.stray", .doc = "may leave its plan", .version = 1, .params_size = sizeof(toy_sum_params),
    .inputs = KG_PORTS({"model", "resource/toy", 0, "weights"}), .outputs = KG_PORTS({"latent", "latent/toy", 0, "nothing"}),
    .infer = stray_infer, .execute = stray_execute};

static kg_graph *graph_of(kg_files *files, const char *type, int steps, int *node)
{
    kg_graph *g = kg_graph_new(&(kg_graph_options){.files = files});
    int m = kg_graph_add(g, "toy.weights", NULL, ARGS(arg_text("path", file), arg_int("blocks", BLOCKS), arg_int("width", 64)));
    *node = steps ? kg_graph_add(g, type, NULL, ARGS(arg_node("model", m, 0), arg_int("steps", steps)))
                  : kg_graph_add(g, type, NULL, ARGS(arg_node("model", m, 0)));
    CHECK(*node >= 0, "%s", kg_error_last()->message);
    kg_graph_want(g, *node);
    return g;
}

static void strays(kg_files *files, toy_device *d)
{
    for (way = 0; way < WAYS; ++way) {
        int node;
        kg_graph *g = graph_of(files, "toy.stray", 0, &node);
        executions = 0;
        kg_plan *p = kg_plan_new(g, &(kg_plan_options){.device = &d->d});
        CHECK(p && executions == 1 && p->trace.fronts == 4 * BLOCKS * STEPS + 1);
        CHECK(p->trace.n_records < 60 + STEPS, "%zu records of %d equal steps", p->trace.n_records, STEPS);
        kg_run *r;
        kg_status s = toy_go(p, &r);
        CHECK(way ? s == KG_FAILED : s == KG_OK, "way %d: status %d", way, s);
        CHECK(!way || strstr(kg_error_last()->message, "left its plan"), "way %d: %s", way, kg_error_last()->message);
        CHECK(!way || strstr(kg_error_last()->path, "step 38"), "way %d: %s", way, kg_error_last()->path);
        kg_error_clear();
        kg_run_free(r);
        kg_plan_free(p);
        kg_graph_free(g);
    }
}

/* A thousand steps take as many records as a few, and give what a run of the same steps in one piece gives. */
static void many_steps(kg_files *files, toy_device *d)
{
    size_t records[2];
    for (int i = 0; i < 2; ++i) {
        int node;
        kg_graph *g = graph_of(files, "toy.mix", i ? 1000 : 10, &node);
        kg_plan *p = kg_plan_new(g, &(kg_plan_options){.device = &d->d});
        CHECK(p != NULL, "%s", kg_error_last()->message);
        records[i] = p->trace.n_records;
        CHECK(p->trace.n_uses == (i ? 1000u : 10u) * BLOCKS);
        kg_run *r;
        float x[64];
        CHECK(toy_go(p, &r) == KG_OK && kg_run_value(r, node, 0, 0, x, sizeof x) == KG_OK, "%s", kg_error_last()->message);
        CHECK(kg_run_peak(r) == kg_plan_sum(p).arena);
        kg_run_free(r);
        kg_plan_free(p);
        kg_graph_free(g);
    }
    CHECK(records[1] == records[0] + 990, "%zu records for 10 steps, %zu for 1000", records[0], records[1]);
}

int main(void)
{
    toy_file(file, 64 * BLOCKS);
    kg_files *files = kg_files_new();
    kg_files_root(files, ".", KG_ROOT_PLAIN);
    toy_device d;
    toy_open(&d, (size_t)1 << 30);
    strays(files, &d);
    many_steps(files, &d);
    kg_files_free(files);
    remove(file);
    return TEST_END();
}
