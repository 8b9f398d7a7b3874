/* The nodes of kg_bench: `runs` times one forward of the transformer, one decode or encode of the VAE, one encoding of a text. Before
 * each run and after the last one the host is asked (gate): it waits until the device is done, says what the run took, and, when it
 * serves, waits for leave to go on. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "core/exec.h"
#include "kernels/ops.h"
#include "nodes/wan/dit.h"
#include "nodes/wan/vae.h"
#include "tools/bench/bench.h"

bench_gate bench_gate_now;

double bench_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- the gate ---- */
static kg_status ask(void *arg, const kg_tensor *ins, const kg_tensor *outs)
{
    bench_gate *g = &bench_gate_now;
    int64_t done = *(const int64_t *)arg;
    char line[64];
    (void)ins;
    memset(outs[0].at, 0, kg_bytes(&outs[0]));
    if (done)
        printf("%s %s run %lld %.6f\n", g->what, g->precision, (long long)done, bench_now() - g->began);
    else
        printf("ready\n");
    fflush(stdout);
    while (g->serve && g->left <= 0)
        if (!fgets(line, sizeof line, stdin) || sscanf(line, "go %ld", &g->left) != 1)
            return kg_fail(KG_CANCELLED, "no more runs are wanted");
    --g->left;
    g->began = bench_now();
    return KG_OK;
}

/* Work with an output is waited for, after all that was queued before it. */
static void gate(kg_exec *x, kg_tensor flag, int64_t done)
{
    kg_work(x, ask, &done, sizeof done, 0, NULL, 1, &flag, 0);
}

static kg_tensor flag_new(kg_exec *x) { return kg_keep(x, KG_U8, KG_SHAPE(16)); }

/* ---- bench.forward ---- */
typedef struct params { int64_t runs, frames, width, height; int precision, keep; } params;
#define BENCH_PARAMS \
    KG_PARAMS(KG_INT(params, runs, 3, 1, 2000, 1, ""), KG_INT(params, frames, 81, 1, 1025, 4, ""), \
              KG_INT(params, width, 832, 16, 8192, 8, ""), KG_INT(params, height, 480, 16, 8192, 8, ""), \
              KG_PRECISION(params, precision), KG_BOOL(params, keep, 1, "all frames of a decode are the result"))

static kg_dtype act_of(const params *p)
{
    return p->precision == KG_PRECISION_BF16 ? KG_BF16 : p->precision == KG_PRECISION_F16 ? KG_F16 : KG_F32;
}

static kg_status forward_infer(kg_infer *x)
{
    params *p = x->params;
    p->precision = kg_infer_precision(x, p->precision);
    x->out[0] = kg_desc_tensor("latent/wan21", KG_F32, x->in[1].rank, x->in[1].shape);
    return KG_OK;
}

static kg_status forward(kg_exec *x)
{
    const params *p = kg_params(x);
    kg_tensor latent = kg_in(x, 1), text = kg_in(x, 2), flag = flag_new(x);
    const kg_wan_config *c = kg_desc_in(x, 0)->resource->config;
    wan_dit d = {.config = c, .act = act_of(p), .frames = latent.shape[1], .height = latent.shape[2] / 2, .width = latent.shape[3] / 2,
        .contexts = 1, .ffn_chunks = 1};
    d.rope = kg_keep(x, KG_F32, KG_SHAPE(d.frames * d.height * d.width, c->dim / c->heads / 2, 2));
    d.context[0] = kg_keep(x, d.act, KG_SHAPE(WAN_TEXT_ROWS, c->dim));
    kg_rope_table(x, (kg_rope_table_args){.out = d.rope, .frames = d.frames, .height = d.height, .width = d.width, .theta = 10000});
    for (int64_t i = 0; i < p->runs; ++i) {
        gate(x, flag, i);
        if (kg_enter(x, "run", i, p->runs) || wan_dit_context(x, &d, &text) != KG_OK)
            return KG_FAILED;
        wan_dit_forward(x, &d, 500, &(wan_branch){.latent = latent, .velocity = kg_out(x, 0)}, 1);
        if (kg_leave(x))
            return KG_FAILED;
    }
    gate(x, flag, p->runs);
    return KG_OK;
}

KG_NODE(bench_forward) = {.name = "bench.forward", .doc = "forwards of the transformer", .version = 1, .flags = KG_UNCACHED,
    .params_size = sizeof(params),
    .inputs = KG_PORTS({"model", "resource/wan", 0, ""}, {"latent", "latent", 0, ""}, {"text", "embedding", 0, ""}),
    .outputs = KG_PORTS({"velocity", "latent/wan21", 0, ""}), .params = BENCH_PARAMS, .infer = forward_infer, .execute = forward};

/* ---- bench.decode ---- */
static kg_status decode_infer(kg_infer *x)
{
    params *p = x->params;
    const int64_t *l = x->in[1].shape;
    p->precision = kg_infer_precision(x, p->precision);
    x->out[0] = kg_desc_tensor("image", KG_F32, KG_SHAPE(p->keep ? 4 * l[1] - 3 : 4, l[2] * 8, l[3] * 8, 3));
    return KG_OK;
}

static void take(kg_exec *x, void *arg, kg_tensor out, int64_t at)
{
    kg_unary(x, (kg_unary_args){.out = kg_slice(*(kg_tensor *)arg, at, out.shape[0]), .in = out, .op = KG_UNARY_COPY});
}

/* A clip begins: no frames before it. */
static void rewind_run(vae_run *r)
{
    r->chunks = 0;
    for (int i = 0; i < VAE_PARTS; ++i)
        r->slot[i][0].n = r->slot[i][1].n = 0;
}

static void decode_one(kg_exec *x, vae_run *r, kg_tensor latent, kg_tensor out, int keep)
{
    for (int64_t t = 0; t < latent.shape[1]; ++t) {
        kg_enter(x, "latent", 0, 0);
        kg_tensor in = kg_temp(x, r->act, KG_SHAPE(1, latent.shape[2], latent.shape[3], latent.shape[0]));
        kg_latent_frames(x, (kg_latent_frames_args){.latent = latent, .frames = in, .first = t, .scale = r->scale, .shift = r->shift});
        kg_tensor part = kg_slice(out, t && keep ? 4 * t - 3 : 0, t ? 4 : 1);
        vae_chunk(x, r, in, take, &part);
        kg_leave(x);
    }
}

static kg_status decode(kg_exec *x)
{
    const params *p = kg_params(x);
    kg_tensor latent = kg_in(x, 1), flag = flag_new(x);
    vae_run r;
    vae_begin(x, &r, kg_desc_in(x, 0)->resource->config, VAE_DECODER, 0, act_of(p), latent.shape[1], latent.shape[2], latent.shape[3]);
    for (int64_t i = 0; i < p->runs; ++i) {
        gate(x, flag, i);
        if (kg_enter(x, "run", i, p->runs))
            return KG_FAILED;
        rewind_run(&r);
        decode_one(x, &r, latent, kg_out(x, 0), p->keep);
        if (kg_leave(x))
            return KG_FAILED;
    }
    gate(x, flag, p->runs);
    return KG_OK;
}

KG_NODE(bench_decode) = {.name = "bench.decode", .doc = "decodes of the VAE", .version = 1, .flags = KG_UNCACHED,
    .params_size = sizeof(params), .inputs = KG_PORTS({"model", "resource/wan-vae", 0, ""}, {"latent", "latent", 0, ""}),
    .outputs = KG_PORTS({"frames", "image", 0, ""}), .params = BENCH_PARAMS, .infer = decode_infer, .execute = decode};

/* ---- bench.encode: frames are torch.randn(frames, height, width, 3) of seed 1, a quarter of it ---- */
static kg_status encode_infer(kg_infer *x)
{
    params *p = x->params;
    p->precision = kg_infer_precision(x, p->precision);
    x->out[0] = kg_desc_tensor("latent/wan21", KG_F32, KG_SHAPE(VAE_LATENT, (p->frames - 1) / 4 + 1, p->height / 8, p->width / 8));
    return KG_OK;
}

static void to_latent(kg_exec *x, void *arg, kg_tensor encoded, int64_t at)
{
    const vae_run *r = arg;
    kg_latent_frames(x, (kg_latent_frames_args){.latent = kg_out(x, 0), .frames = encoded, .first = r->chunks + at, .to_latent = 1,
        .scale = r->scale, .shift = r->shift});
}

static kg_tensor random_frames(kg_exec *x, const params *p)
{
    kg_tensor all = kg_keep(x, act_of(p), KG_SHAPE(p->frames, p->height, p->width, 3));
    kg_enter(x, "frames", 0, 0);
    kg_tensor noise = kg_temp(x, KG_F32, KG_SHAPE(p->frames, p->height, p->width, 3));
    kg_noise(x, (kg_noise_args){.out = noise, .seed = 1});
    kg_combine(x, (kg_combine_args){.out = noise, .term = {noise}, .coef = {0.25}, .n = 1});
    kg_unary(x, (kg_unary_args){.out = all, .in = noise, .op = KG_UNARY_COPY});
    kg_leave(x);
    return all;
}

static kg_status encode(kg_exec *x)
{
    const params *p = kg_params(x);
    kg_tensor flag = flag_new(x), all = random_frames(x, p);
    vae_run r;
    vae_begin(x, &r, kg_desc_in(x, 0)->resource->config, VAE_ENCODER, 0, act_of(p), (p->frames + 3) / 4, p->height, p->width);
    for (int64_t i = 0; i < p->runs; ++i) {
        gate(x, flag, i);
        if (kg_enter(x, "run", i, p->runs))
            return KG_FAILED;
        rewind_run(&r);
        for (int64_t t = 0; t < p->frames; t += t ? 4 : 1) {
            kg_enter(x, "frame", 0, 0);
            vae_chunk(x, &r, kg_slice(all, t, t ? 4 : 1), to_latent, &r);
            kg_leave(x);
        }
        if (kg_leave(x))
            return KG_FAILED;
    }
    gate(x, flag, p->runs);
    return KG_OK;
}

KG_NODE(bench_encode) = {.name = "bench.encode", .doc = "encodes of the VAE", .version = 1, .flags = KG_UNCACHED,
    .params_size = sizeof(params), .inputs = KG_PORTS({"model", "resource/wan-vae", 0, ""}),
    .outputs = KG_PORTS({"latent", "latent/wan21", 0, ""}), .params = BENCH_PARAMS, .infer = encode_infer, .execute = encode};

/* ---- bench.text: text.umt5 itself, again and again; its params come first ---- */
extern const kg_node_type kg_node_text_umt5;
typedef struct text_params { const char *prompt, *negative; int precision; int64_t runs; } text_params;

static kg_status text_infer(kg_infer *x) { return kg_node_text_umt5.infer(x); }
static kg_status text_prepare(kg_prepare *x) { return kg_node_text_umt5.prepare(x); }

static kg_status text(kg_exec *x)
{
    const text_params *p = kg_params(x);
    kg_tensor flag = flag_new(x);
    for (int64_t i = 0; i < p->runs; ++i) {
        gate(x, flag, i);
        if (kg_enter(x, "run", i, p->runs) || kg_node_text_umt5.execute(x) != KG_OK || kg_leave(x))
            return KG_FAILED;
    }
    gate(x, flag, p->runs);
    return KG_OK;
}

KG_NODE(bench_text) = {.name = "bench.text", .doc = "encodings of a text", .version = 1, .flags = KG_UNCACHED,
    .params_size = sizeof(text_params), .inputs = KG_PORTS({"model", "resource/umt5", 0, ""}),
    .outputs = KG_PORTS({"text", "embedding/umt5", 0, ""}, {"negative", "embedding/umt5", 0, ""}),
    .params = KG_PARAMS(KG_TEXT(text_params, prompt, NULL, KG_REQUIRED, ""), KG_TEXT(text_params, negative, "", 0, ""),
                        KG_PRECISION(text_params, precision), KG_INT(text_params, runs, 3, 1, 2000, 1, "")),
    .infer = text_infer, .prepare = text_prepare, .execute = text};
