/* Wan's transformer against diffusers' WanTransformer3DModel in float64 (tools/golden/dit.py): one forward at several timesteps, from
 * files in each dialect. wan.sample adds a sampler; a node of this test calls the forward alone. */
#include "nodes/wan/dit.h"
#include "kernels/ops.h"
#include "tests/nodes/golden_run.h"

typedef struct params { double t; } params;
enum { IN_MODEL, IN_LATENT, IN_TEXT };

static kg_status infer(kg_infer *x)
{
    x->out[0] = kg_desc_tensor("latent/wan21", KG_F32, x->in[IN_LATENT].rank, x->in[IN_LATENT].shape);
    return KG_OK;
}

static kg_status execute(kg_exec *x)
{
    const params *p = kg_params(x);
    kg_tensor latent = kg_in(x, IN_LATENT), text = kg_in(x, IN_TEXT);
    const kg_wan_config *c = kg_desc_in(x, IN_MODEL)->resource->config;
    wan_dit d = {.config = c, .port = IN_MODEL, .act = test_act(), .frames = latent.shape[1], .height = latent.shape[2] / 2,
        .width = latent.shape[3] / 2, .contexts = 1, .ffn_chunks = 1};
    d.rope = kg_keep(x, KG_F32, KG_SHAPE(d.frames * d.height * d.width, c->dim / c->heads / 2, 2));
    d.context[0] = kg_keep(x, d.act, KG_SHAPE(WAN_TEXT_ROWS, c->dim));
    kg_rope_table(x, (kg_rope_table_args){.out = d.rope, .frames = d.frames, .height = d.height, .width = d.width, .theta = 10000});
    if (wan_dit_context(x, &d, &text) != KG_OK)
        return KG_FAILED;
    return wan_dit_forward(x, &d, p->t, &(wan_branch){.latent = latent, .velocity = kg_out(x, 0), .context = 0}, 1);
}

KG_NODE(test_velocity) = {.name = "test.velocity", .doc = "one forward", .version = 1, .flags = KG_UNCACHED, .params_size = sizeof(params),
    .inputs = KG_PORTS({"model", "resource/wan", 0, ""}, {"latent", "latent", 0, ""}, {"text", "embedding", 0, ""}),
    .outputs = KG_PORTS({"velocity", "latent/wan21", 0, ""}), .params = KG_PARAMS(KG_REAL(params, t, 0, 0, 1000, "")), .infer = infer,
    .execute = execute};

static void one(const char *name, const char *file, int saved, double most)
{
    golden g;
    char key[32];
    golden_open(&g, name);
    cJSON *times = cJSON_Parse(golden_meta(&g, "times")), *t;
    cJSON_ArrayForEach(t, times)
    {
        session s;
        session_open(&s, g.folder);
        if (saved)
            kg_files_root(s.files, KG_SOURCE_DIR "/tests/golden/data", KG_ROOT_PLAIN);
        int model = ADD(&s, "wan.model", arg_text("path", saved ? golden_saved(name, file) : golden_path(&g, file)));
        int latent = ADD(&s, "latent.load", arg_text("path", golden_path(&g, "inputs.safetensors")), arg_text("name", "latent"));
        int text = ADD(&s, "latent.load", arg_text("path", golden_path(&g, "inputs.safetensors")), arg_text("name", "text"),
                       arg_text("kind", "embedding/umt5"));
        snprintf(key, sizeof key, "v.%g", t->valuedouble);
        session_compare(&s, ADD(&s, "test.velocity", arg_node("model", model, 0), arg_node("latent", latent, 0), arg_node("text", text, 0),
                                arg_real("t", t->valuedouble)), 0, &g, key, most);
        session_close(&s);
    }
    cJSON_Delete(times);
    golden_close(&g);
}

int main(void)
{
    one("dit256", "model.safetensors", 0, 1e-5);
    one("dit384", "diffusion_pytorch_model.safetensors.index.json", 0, 1e-5);
    one("dit256h", "model.safetensors", 0, 1e-5);
    one("dit_eps", "model.safetensors", 0, 1e-5);
    one("dit128", "diffusion_pytorch_model.safetensors.index.json", 1, 1e-5);
    return TEST_END();
}
