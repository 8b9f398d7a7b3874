/* Core, a cache and a simulated discrete device together: whatever operation fails, at whatever call, the cache is sound afterwards, and
 * a run after it, which takes from the cache what was finished, gives the bits of one that nothing happened to. */
#include "tests/toy.h"

#include "tests/cache/help.h"
#include "tests/sim.h"

enum { WIDTH = 1024, BLOCKS = 4, STEPS = 40 };

static kg_status run(kg_device *d, kg_cache *c, float *out, kg_plan_summary *sum)
{
    kg_run *r = NULL;
    kg_files *files = kg_files_new();
    CHECK(!kg_files_root(files, top, KG_ROOT_PLAIN));
    kg_graph *g = kg_graph_new(&(kg_graph_options){.files = files, .precision = KG_PRECISION_F32});
    int m = kg_graph_add(g, "toy.weights", NULL, ARGS(arg_text("path", "w.bin"), arg_int("blocks", BLOCKS), arg_int("width", WIDTH)));
    int x = kg_graph_add(g, "toy.mix", "main", ARGS(arg_node("model", m, 0), arg_int("steps", STEPS)));
    int f = kg_graph_add(g, "toy.frames", NULL, ARGS(arg_node("latent", x, 0)));
    int y = kg_graph_add(g, "toy.sum", NULL, ARGS(arg_node("video", f, 0)));
    CHECK(y == 3 && !kg_graph_want(g, y), "%s", kg_error_last()->message);
    kg_plan *p = kg_plan_new(g, &(kg_plan_options){.device = d, .cache = c});
    CHECK(p != NULL, "%s", kg_error_last()->message);
    *sum = kg_plan_sum(p);
    kg_status s = toy_go(p, &r);
    if (s == KG_OK)
        s = kg_run_value(r, y, 0, 0, out, WIDTH * sizeof *out);
    kg_run_free(r);
    kg_plan_free(p);
    kg_graph_free(g);
    kg_files_free(files);
    return s;
}

/* Counts calls of each operation in a run with an empty cache. */
static void count(const float *want, long calls[SIM_OPS])
{
    static float got[WIDTH];
    kg_plan_summary sum;
    sim s;
    sim_open(&s, 1 << 30, 1, 0);
    kg_cache *c = open_at("count.sqlite");
    CHECK(run(&s.d, c, got, &sum) == KG_OK && !memcmp(got, want, sizeof got), "%s", kg_error_last()->message);
    memcpy(calls, s.calls, sizeof s.calls);
    kg_cache_close(c);
    sim_close(&s);
}

static void fail_then_finish(const float *want, sim_op op, long n, int *resumed)
{
    static float got[WIDTH];
    kg_plan_summary sum;
    kg_cache_verify_result v;
    sim s;
    sim_open(&s, 1 << 30, (unsigned)n, n % 3 ? 0 : 100);
    s.fail_at[op] = n;
    kg_cache *c = open_at("faults.sqlite");
    kg_status status = run(&s.d, c, got, &sum);
    CHECK(status == KG_FAILED || (status == KG_NOFIT && op == SIM_RESERVE) || s.calls[op] < n, "%s %ld: %d", sim_op_name[op], n, status);
    kg_error_clear();
    CHECK(clean(c, &v) && !log_lines, "%s %ld: %s", sim_op_name[op], n, logged);
    s.fail_at[op] = 0;
    int64_t fronts = sum.fronts;
    CHECK(run(&s.d, c, got, &sum) == KG_OK && !memcmp(got, want, sizeof got), "after %s %ld: %s", sim_op_name[op], n,
          kg_error_last()->message);
    *resumed += sum.fronts < fronts;
    kg_cache_close(c);
    remove(at("faults.sqlite"));
    remove(at("faults.sqlite-wal"));
    remove(at("faults.sqlite-shm"));
    sim_close(&s);
}

int main(void)
{
    static float want[WIDTH];
    kg_plan_summary sum;
    toy_device t;
    long calls[SIM_OPS];
    int resumed = 0, faults = 0;
    begin();
    toy_file(at("w.bin"), WIDTH * BLOCKS);
    toy_open(&t, 1 << 30);
    CHECK(run(&t.d, NULL, want, &sum) == KG_OK);
    count(want, calls);
    for (sim_op op = 0; op < SIM_OPS; ++op)
        for (long n = 1; n <= calls[op]; n += calls[op] / 12 + 1, ++faults)
            fail_then_finish(want, op, n, &resumed);
    CHECK(resumed > faults / 4, "%d of %d runs after a fault had less to do", resumed, faults);
    printf("%d faults, after %d of them a checkpoint or a result was taken up\n", faults, resumed);
    end();
    return TEST_END();
}
