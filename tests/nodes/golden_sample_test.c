/* wan.sample against diffusers' transformer and schedulers in float64 (tools/golden/sampler.py): solvers, grids, guidance, two
 * experts. */
#include "tests/nodes/golden_run.h"

static int load(session *s, const golden *g, const char *name, const char *kind)
{
    return ADD(s, "latent.load", arg_text("path", golden_path(g, "inputs.safetensors")), arg_text("name", name), arg_text("kind", kind));
}

/* A run as the golden's metadata lists it: [solver, grid, steps, shift, guidance, null or [boundary, guidance of the low expert]]. */
static void one(const golden *g, const cJSON *run, double most)
{
    session s;
    char key[64];
    const cJSON *experts = cJSON_GetArrayItem(run, 5);
    const char *solver = strcmp(golden_text(run, 0), "dpm") ? golden_text(run, 0) : "dpm++";
    session_open(&s, g->folder);
    int model = ADD(&s, "wan.model", arg_text("path", golden_path(g, "model.safetensors")));
    kg_arg a[16] = {arg_node("model", model, 0),
                    arg_node("text", load(&s, g, "text", "embedding/umt5"), 0),
                    arg_node("noise", load(&s, g, "latent", "latent/wan21"), 0),
                    arg_text("solver", solver),
                    arg_text("schedule", golden_text(run, 1)),
                    arg_int("steps", (int64_t)golden_number(run, 2)),
                    arg_real("shift", golden_number(run, 3)),
                    arg_real("guidance", golden_number(run, 4))};
    int n = 8;
    if (golden_number(run, 4) != 1)
        a[n++] = arg_node("negative", load(&s, g, "negative", "embedding/umt5"), 0);
    if (cJSON_IsArray(experts)) {
        a[n++] = arg_node("model_low", ADD(&s, "wan.model", arg_text("path", golden_path(g, "low.safetensors"))), 0);
        a[n++] = arg_real("boundary", golden_number(experts, 0));
        a[n++] = arg_real("guidance_low", golden_number(experts, 1));
    }
    snprintf(key, sizeof key, "x.%s", run->string);
    session_compare(&s, session_add(&s, "wan.sample", a, n), 0, g, key, most);
    session_close(&s);
}

int main(void)
{
    golden g;
    golden_open(&g, "sample");
    cJSON *runs = cJSON_Parse(golden_meta(&g, "runs")), *run;
    cJSON_ArrayForEach(run, runs) one(&g, run, 1e-5);
    cJSON_Delete(runs);
    golden_close(&g);
    return TEST_END();
}
