/* wan.encode: frames to a latent, as they arrive: the first alone, then four at a time. The latent is the mean, never a sample. */
#include "kernels/ops.h"
#include "nodes/lib/watch.h"
#include "nodes/wan/vae.h"

typedef struct params { int precision; } params;
enum { IN_VAE, IN_FRAMES };

static kg_status check_frames(const kg_desc *f, const vae *v)
{
    int64_t whole = (f->chunks - 1) / v->rate * v->rate + 1;
    if (f->chunks == whole)
        return KG_OK;
    kg_fail(KG_USAGE, "%lld frames are not %lldn+1", (long long)f->chunks, (long long)v->rate);
    kg_hint("%lld or %lld frames: --frames %lld", (long long)whole, (long long)(whole + v->rate), (long long)whole);
    return KG_USAGE;
}

static kg_status check_size(const kg_desc *f, const vae *v)
{
    int64_t h = f->shape[0], w = f->shape[1], down = h / v->side * v->side, right = w / v->side * v->side;
    if (h == down && w == right && h > 0 && w > 0)
        return h > 16384 || w > 16384 ? kg_fail(KG_USAGE, "frames of %lldx%lld are too large", (long long)w, (long long)h) : KG_OK;
    down = down ? down : v->side;
    right = right ? right : v->side;
    kg_fail(KG_USAGE, "frames of %lldx%lld: width and height must be multiples of %lld", (long long)w, (long long)h, (long long)v->side);
    kg_hint("the nearest sizes are %lldx%lld and %lldx%lld: --size %lldx%lld", (long long)right, (long long)down,
            (long long)(w == right ? w : right + v->side), (long long)(h == down ? h : down + v->side), (long long)right, (long long)down);
    return KG_USAGE;
}

static kg_status infer(kg_infer *x)
{
    params *p = x->params;
    const kg_desc *f = &x->in[IN_FRAMES];
    const vae *v = x->in[IN_VAE].resource->config;
    if (f->rank != 3 || f->dtype != KG_U8 || f->shape[2] != 3 || f->chunks < 1)
        return kg_fail(KG_USAGE, "the frames are not u8 [height, width, 3]");
    if (check_size(f, v) != KG_OK || check_frames(f, v) != KG_OK)
        return KG_USAGE;
    p->precision = kg_infer_precision(x, p->precision);
    x->out[0] = kg_desc_tensor("latent/wan21", KG_F32,
                               KG_SHAPE(VAE_LATENT, (f->chunks - 1) / v->rate + 1, f->shape[0] / v->side, f->shape[1] / v->side));
    x->out[0].rate = f->rate;
    return KG_OK;
}

typedef struct state { vae_run run; kg_tensor frames; } state;         /* act [rate, H, W, 3]: of the chunk that is gathered */

static kg_status begin(kg_exec *x)
{
    const vae *v = kg_desc_in(x, IN_VAE)->resource->config;
    const int64_t *size = kg_desc_in(x, IN_FRAMES)->shape;
    kg_dtype act = vae_act(((const params *)kg_params(x))->precision);
    state *s = kg_state(x, sizeof *s, NULL);
    if (!s)
        return kg_fail(KG_FAILED, "out of host memory");
    int64_t chunks = kg_desc_out(x, 0)->shape[1];
    s->frames = kg_keep(x, act, KG_SHAPE(chunks > 1 ? v->rate : 1, size[0], size[1], 3));
    vae_begin(x, &s->run, v, VAE_ENCODER, IN_VAE, act, chunks, size[0], size[1]);
    return KG_OK;
}

static void to_latent(kg_exec *x, void *arg, kg_tensor encoded, int64_t at)
{
    const vae_run *r = arg;
    kg_latent_frames(x, (kg_latent_frames_args){.latent = kg_out(x, 0), .frames = encoded, .first = r->chunks + at, .to_latent = 1,
        .scale = r->scale, .shift = r->shift});
}

static kg_status chunk(kg_exec *x, kg_tensor frame, int64_t index)
{
    const vae *v = kg_desc_in(x, IN_VAE)->resource->config;
    state *s = kg_state(x, sizeof *s, NULL);
    if (!s)
        return kg_fail(KG_FAILED, "out of host memory");
    int64_t at = index ? (index - 1) % v->rate : 0;
    kg_pixels(x, (kg_pixels_args){.f = kg_at(s->frames, at), .u = frame, .to_float = 1});
    if (index && at != v->rate - 1)
        return KG_OK;
    if (kg_enter(x, "frame", index ? (index - 1) / v->rate + 1 : 0, kg_desc_out(x, 0)->shape[1]))
        return KG_FAILED;
    vae_chunk(x, &s->run, kg_slice(s->frames, 0, index ? v->rate : 1), to_latent, &s->run);
    return kg_leave(x) ? KG_FAILED : KG_OK;
}

static kg_status end(kg_exec *x)
{
    kg_watch_latent(x, kg_out(x, 0), "the latent");
    return kg_error_last()->status;
}

KG_NODE(wan_encode) = {
    .name = "wan.encode",
    .doc = "Encodes frames, or one image, into a latent of Wan2.1's VAE.",
    .version = 1,
    .params_size = sizeof(params),
    .inputs = KG_PORTS({"vae", "resource/wan-vae", 0, "from wan.vae"},
                       {"frames", "frames|image", KG_STREAM, "4n+1 frames, or an image; sides are multiples of 8"}),
    .outputs = KG_PORTS({"latent", "latent/wan21", 0, "the mean of the encoding, normalised as the models expect it"}),
    .params = KG_PARAMS(KG_PRECISION(params, precision)),
    .infer = infer,
    .begin = begin,
    .chunk = chunk,
    .end = end};
