/* Residency, streaming, the planner's knobs and company never change a bit: a whole sampling run on a small transformer under
 * falling budgets, with delays on the copy lane and freed memory full of NaN; seeds alone and together; 1 and 2 threads. */
#include "tests/nodes/golden_run.h"

#define LATENT 16 * 3 * 32 * 48
static golden g;

typedef struct result { kg_status status; size_t arena, host; long loads; float x[3][LATENT]; } result;

/* arena: bytes that the layout may take; 0: any. */
static kg_status once(result *r, size_t arena, unsigned chaos, int threads, const int64_t *seeds, int n, int precision)
{
    session s;
    session_open(&s, g.folder);
    int model = ADD(&s, "wan.model", arg_text("path", golden_path(&g, "model.safetensors")));
    int text = ADD(&s, "latent.load", arg_text("path", golden_path(&g, "inputs.safetensors")), arg_text("name", "text"),
                   arg_text("kind", "embedding/umt5"));
    int none = ADD(&s, "latent.load", arg_text("path", golden_path(&g, "inputs.safetensors")),
                   arg_text("name", "negative"), arg_text("kind", "embedding/umt5"));
    int x = ADD(&s, "wan.sample", arg_node("model", model, 0), arg_node("text", text, 0), arg_node("negative", none, 0),
                arg_int("width", 384), arg_int("height", 256), arg_int("frames", 9), arg_int("steps", 3),
                {.name = "seed", .kind = KG_A_INTS, .list = seeds, .n = n},
                arg_text("precision", precision == KG_PRECISION_BF16 ? "bf16" : "f32"));
    kg_graph_want(s.graph, x);
    kg_device *d = kg_cpu_new(threads);
    kg_plan *p = kg_plan_new(
        s.graph,
        &(kg_plan_options){.device = d, .budget = arena ? arena + d->profile.fixed + r->host : 0, .chaos = chaos});
    r->status = p ? KG_OK : kg_error_last()->status;
    if (p) {
        kg_plan_summary sum = kg_plan_sum(p);
        r->arena = sum.arena;
        r->loads = (long)sum.loads;
        r->host = sum.peak_device - sum.arena - d->profile.fixed;
        kg_run *run = kg_run_start(p);
        CHECK(kg_run_wait(run) == KG_OK, "%s: %s", kg_error_last()->path, kg_error_last()->message);
        for (int i = 0; i < n; ++i)
            kg_run_value(run, x, 0, i, r->x[i], sizeof r->x[i]);
        CHECK(kg_run_peak(run) <= sum.arena);
        kg_run_free(run);
        kg_plan_free(p);
    }
    kg_device_free(d);
    session_close(&s);
    return r->status;
}

static void budgets(int precision)
{
    static result all, some;
    const int64_t seeds[] = {5, 6};
    CHECK(once(&all, 0, 0, 2, seeds, 2, precision) == KG_OK);
    int streamed = 0, refused = 0;
    some.host = all.host;
    for (int i = 49; i >= 20 && !refused; --i) {
        size_t room = all.arena * (size_t)i / 50;
        kg_status s = once(&some, room, (unsigned)i, 1 + i % 2, seeds, 2, precision);
        refused += s == KG_NOFIT;
        streamed += s == KG_OK && some.loads > all.loads;
        CHECK(s == KG_NOFIT || (s == KG_OK && some.arena <= room), "%d/50: %d", i, s);
        if (s == KG_OK)
            CHECK(!memcmp(all.x, some.x, 2 * sizeof *all.x), "%d/50 of the arena (%ld loads) change bits", i, some.loads);
    }
    CHECK(streamed >= 2 && refused >= 1, "%d budgets streamed, %d were refused", streamed, refused);
    for (int i = 0; i < 2; ++i) {
        CHECK(once(&some, 0, 3, 2, seeds + i, 1, precision) == KG_OK);
        CHECK(!memcmp(all.x[i], some.x[0], sizeof *all.x), "seed %d alone differs from seed %d in company", (int)seeds[i], (int)seeds[i]);
    }
}

int main(void)
{
    golden_open(&g, "sample");
    budgets(KG_PRECISION_F32);
    budgets(KG_PRECISION_BF16);
    golden_close(&g);
    return TEST_END();
}
