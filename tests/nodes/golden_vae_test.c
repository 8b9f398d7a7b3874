/* The Wan 2.1 VAE against diffusers' AutoencoderKLWan in float64 (tools/golden/vae.py).
 *
 * wan.decode gives bytes, too coarse to compare: a node of this test runs the decoder's parts and keeps the floats. Another one
 * makes the stream of frames that wan.encode takes. */
#include "nodes/wan/vae.h"
#include "kernels/ops.h"
#include "tests/nodes/golden_run.h"

static const golden *now;      /* what the nodes below read; set before the graph is built */
static int64_t frames;

static const char *named(const char *stem)
{
    static _Thread_local char name[64];
    snprintf(name, sizeof name, "%s.%lld", stem, (long long)frames);
    return name;
}

/* ---- test.pixels: the golden's frames as a stream ---- */
static kg_status pixels_infer(kg_infer *x)
{
    const char *name = named("pixels");
    x->out[0] = kg_desc_tensor("frames", KG_U8, KG_SHAPE(golden_size(now, name, 1), golden_size(now, name, 2), 3));
    x->out[0].stream = 1;
    x->out[0].chunks = frames;
    return KG_OK;
}

static kg_status pixels_execute(kg_exec *x)
{
    size_t bytes;
    const char *at = golden_at(now, named("pixels"), &bytes);
    bytes /= (size_t)frames;
    for (int64_t t = 0; t < frames; ++t) {
        kg_enter(x, "frame", t, frames);
        kg_tensor f = kg_temp(x, KG_U8, kg_desc_out(x, 0)->rank, kg_desc_out(x, 0)->shape);
        kg_put(x, f, at + (size_t)t * bytes, bytes);
        kg_emit(x, 0, f);
        kg_leave(x);
    }
    return KG_OK;
}

KG_NODE(test_pixels) = {.name = "test.pixels", .doc = "frames of a golden", .version = 1, .flags = KG_UNCACHED,
    .outputs = KG_PORTS({"frames", "frames", KG_STREAM, ""}), .infer = pixels_infer, .execute = pixels_execute};

/* ---- test.latent: the recipe's latent ---- */
static kg_status latent_infer(kg_infer *x)
{
    const char *name = named("pixels");
    x->out[0] = kg_desc_tensor("latent/wan21", KG_F32,
        KG_SHAPE(VAE_LATENT, (frames - 1) / 4 + 1, golden_size(now, name, 1) / 8, golden_size(now, name, 2) / 8));
    return KG_OK;
}

static kg_status latent_execute(kg_exec *x)
{
    kg_tensor out = kg_out(x, 0);
    int64_t n;
    float *values = golden_input(now, named("latent"), &n);
    kg_put(x, out, values, (size_t)n * sizeof *values);
    free(values);
    return KG_OK;
}

KG_NODE(test_latent) = {.name = "test.latent", .doc = "latent of a golden", .version = 1, .flags = KG_UNCACHED,
    .outputs = KG_PORTS({"latent", "latent/wan21", 0, ""}), .infer = latent_infer, .execute = latent_execute};

/* ---- test.decode: wan.decode without the last step to bytes ---- */
typedef struct decode_params { int precision; } decode_params;

static kg_status decode_infer(kg_infer *x)
{
    decode_params *p = x->params;
    p->precision = kg_infer_precision(x, p->precision);
    const int64_t *l = x->in[1].shape;
    x->out[0] = kg_desc_tensor("image", KG_F32, KG_SHAPE(4 * l[1] - 3, l[2] * 8, l[3] * 8, 3));
    return KG_OK;
}

static void keep_frames(kg_exec *x, void *arg, kg_tensor out, int64_t at)
{
    kg_unary(x, (kg_unary_args){.out = kg_slice(*(kg_tensor *)arg, at, out.shape[0]), .in = out, .op = KG_UNARY_COPY});
}

static kg_status decode_execute(kg_exec *x)
{
    kg_tensor latent = kg_in(x, 1), out = kg_out(x, 0);
    vae_run r;
    const decode_params *p = kg_params(x);
    vae_begin(x, &r, kg_desc_in(x, 0)->resource->config, VAE_DECODER, 0, vae_act(p->precision), latent.shape[1], latent.shape[2],
              latent.shape[3]);
    for (int64_t t = 0; t < latent.shape[1]; ++t) {
        kg_enter(x, "frame", t, latent.shape[1]);
        kg_tensor in = kg_temp(x, r.act, KG_SHAPE(1, latent.shape[2], latent.shape[3], VAE_LATENT));
        kg_latent_frames(x, (kg_latent_frames_args){.latent = latent, .frames = in, .first = t, .scale = r.scale, .shift = r.shift});
        kg_tensor part = kg_slice(out, t ? 4 * t - 3 : 0, t ? 4 : 1);
        vae_chunk(x, &r, in, keep_frames, &part);
        kg_leave(x);
    }
    return KG_OK;
}

KG_NODE(test_decode) = {.name = "test.decode", .doc = "decoded floats", .version = 1, .flags = KG_UNCACHED,
    .inputs = KG_PORTS({"vae", "resource/wan-vae", 0, ""}, {"latent", "latent/wan21", 0, ""}),
    .params_size = sizeof(decode_params), .params = KG_PARAMS(KG_PRECISION(decode_params, precision)),
    .outputs = KG_PORTS({"frames", "image", 0, ""}), .infer = decode_infer, .execute = decode_execute};

/* Two dozen convolutions, each of which rounds: more than test_most allows a 16-bit run. precision: "auto" is the environment's. */
static void compare(session *s, int node, const golden *g, const char *tensor, const char *precision)
{
    int p = !strcmp(precision, "bf16") ? KG_PRECISION_BF16 : test_precision();
    int64_t n = 0;
    char name[64];
    snprintf(name, sizeof name, "%s", tensor);
    float *got = session_run(s, node, 0, &n);
    if (got)
        golden_compare(g, name, got, n, p == KG_PRECISION_F32 ? 1e-5 : p == KG_PRECISION_BF16 ? 2e-2 : 3e-3);
    free(got);
}

static void one(const golden *g, int64_t count, const char *precision)
{
    session s;
    now = g;
    frames = count;
    session_open(&s, g->folder);
    int model = ADD(&s, "wan.vae", arg_text("path", golden_path(g, "model.safetensors")));
    int encoded = ADD(&s, "wan.encode", arg_text("precision", precision), arg_node("vae", model, 0),
                      arg_node("frames", session_add(&s, "test.pixels", NULL, 0), 0));
    compare(&s, encoded, g, named("encoded"), precision);
    session_close(&s);
    session_open(&s, g->folder);
    model = ADD(&s, "wan.vae", arg_text("path", golden_path(g, "model.safetensors")));
    int decoded = ADD(&s, "test.decode", arg_text("precision", precision), arg_node("vae", model, 0),
                      arg_node("latent", session_add(&s, "test.latent", NULL, 0), 0));
    compare(&s, decoded, g, named("decoded"), precision);
    session_close(&s);
}

int main(void)
{
    golden g;
    golden_open(&g, "vae16");
    one(&g, 1, "auto");
    one(&g, 5, "auto");
    one(&g, 13, "auto");
    one(&g, 13, "bf16");
    golden_close(&g);
    golden_open(&g, "vae20");
    one(&g, 5, "auto");
    golden_close(&g);
    golden_open(&g, "vae_eps");
    one(&g, 5, "auto");
    golden_close(&g);
    return TEST_END();
}
