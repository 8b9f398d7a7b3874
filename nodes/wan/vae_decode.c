/* wan.decode: latents to frames, one latent frame at a time: the first gives one frame, each later one four. */
#include "kernels/ops.h"
#include "nodes/wan/vae.h"

typedef struct params { int rounding, precision; } params;
enum { IN_VAE, IN_LATENT };

static kg_status infer(kg_infer *x)
{
    params *p = x->params;
    const kg_desc *l = &x->in[IN_LATENT];
    const vae *v = x->in[IN_VAE].resource->config;
    if (l->rank != 4 || l->dtype != KG_F32 || l->shape[0] != VAE_LATENT || l->shape[1] < 1 || l->shape[2] < 1 || l->shape[3] < 1)
        return kg_fail(KG_USAGE, "the latent is not f32 [%d, frames, height, width]", VAE_LATENT);
    int64_t height = l->shape[2] * v->side, width = l->shape[3] * v->side;
    if (height > 16384 || width > 16384)
        return kg_fail(KG_USAGE, "frames of %lldx%lld are more than 16384 pixels wide or high", (long long)width, (long long)height);
    p->precision = kg_infer_precision(x, p->precision);
    x->out[0] = kg_desc_tensor("frames", KG_U8, KG_SHAPE(height, width, 3));
    x->out[0].stream = 1;
    x->out[0].chunks = (l->shape[1] - 1) * v->rate + 1;
    x->out[0].rate = l->rate > 0 ? l->rate : 16;
    return KG_OK;
}

typedef struct output { kg_tensor bytes; int rounded; } output;        /* u8 [frames, H, W, 3] */

static void to_pixels(kg_exec *x, void *arg, kg_tensor frames, int64_t at)
{
    const output *o = arg;
    kg_watch(x, frames, "the frames");
    kg_pixels(x, (kg_pixels_args){.f = frames, .u = kg_slice(o->bytes, at, frames.shape[0]), .rounded = o->rounded});
}

static void decode_frame(kg_exec *x, vae_run *r, kg_tensor latent, int64_t t, output *o)
{
    if (kg_enter(x, "decode", 0, 0))
        return;
    kg_tensor in = kg_temp(x, r->act, KG_SHAPE(1, latent.shape[2], latent.shape[3], latent.shape[0]));
    kg_latent_frames(x, (kg_latent_frames_args){.latent = latent, .frames = in, .first = t, .scale = r->scale, .shift = r->shift});
    vae_chunk(x, r, in, to_pixels, o);
    kg_leave(x);
}

static kg_status execute(kg_exec *x)
{
    const vae *v = kg_desc_in(x, IN_VAE)->resource->config;
    const params *p = kg_params(x);
    kg_tensor latent = kg_in(x, IN_LATENT);
    const int64_t *size = kg_desc_out(x, 0)->shape;
    vae_run r;
    vae_begin(x, &r, v, VAE_DECODER, IN_VAE, vae_act(p->precision), latent.shape[1], latent.shape[2], latent.shape[3]);
    for (int64_t t = 0; t < latent.shape[1]; ++t) {
        if (kg_enter(x, "frame", t, latent.shape[1]))
            return KG_FAILED;
        output o = {kg_temp(x, KG_U8, KG_SHAPE(t ? v->rate : 1, size[0], size[1], 3)), p->rounding};
        decode_frame(x, &r, latent, t, &o);
        for (int64_t i = 0; i < o.bytes.shape[0]; ++i)
            if (kg_emit(x, 0, kg_at(o.bytes, i)))
                return KG_FAILED;
        if (kg_leave(x))
            return KG_FAILED;
    }
    return KG_OK;
}

KG_NODE(wan_decode) = {
    .name = "wan.decode",
    .doc = "Decodes a latent of Wan2.1's VAE into frames, as a stream.",
    .version = 1,
    .flags = KG_UNCACHED,
    .params_size = sizeof(params),
    .inputs = KG_PORTS({"vae", "resource/wan-vae", 0, "from wan.vae"}, {"latent", "latent/wan21", 0, "from wan.sample or wan.encode"}),
    .outputs = KG_PORTS({"frames", "frames", KG_STREAM, "the video, one frame a chunk"}),
    .params = KG_PARAMS(KG_CHOICE(params, rounding, "truncate|round", 0, "how values become bytes: Wan's own code truncates"),
                        KG_PRECISION(params, precision)),
    .infer = infer,
    .execute = execute};
