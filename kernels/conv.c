/* The fronts of convolution and of what surrounds it in a VAE: packing, norm over channels, layouts, pixels. */
#include "kernels/check.h"

static int64_t padded(const kg_conv_args *a) { return kg_conv_padded(a->out.shape[3] * (a->split ? 2 : 1)); }

static int is_frames(const kg_tensor *t) { return t->rank == 4 && kg_is_float(t) && kg_dense(t); }

/* Of one type and shape, whatever the number of frames. */
static int same_pixels(const kg_tensor *a, const kg_tensor *b)
{
    return is_frames(a) && a->dtype == b->dtype && a->shape[1] == b->shape[1] && a->shape[2] == b->shape[2] &&
           a->shape[3] == b->shape[3];
}

static int same_frames(const kg_tensor *a, const kg_tensor *b) { return same_pixels(a, b) && a->shape[0] == b->shape[0]; }

static int kernel_fits(const kg_conv_args *a)
{
    int wide = a->kh == 3;
    return a->kt >= 1 && a->kt <= 3 && a->kh == a->kw && (wide || a->kh == 1) && (a->stride_t == 1 || a->stride_t == 2) &&
           (a->stride_hw == 1 || (a->stride_hw == 2 && wide && a->kt == 1 && !a->upsample)) && (!a->upsample || wide) &&
           (!a->split || !wide);
}

/* The shapes of history, out and add for these kernels and strides. */
static int shapes_fit(const kg_conv_args *a)
{
    const int64_t *in = a->in.shape, *out = a->out.shape;
    int64_t history = a->history.rank ? a->history.shape[0] : 0;
    if (history >= a->kt || (history && !same_pixels(&a->history, &a->in)))
        return 0;
    if (a->joined && history && (const char *)a->history.at + kg_bytes(&a->history) != (const char *)a->in.at)
        return 0;
    int64_t t = a->stride_t == 1 ? in[0] : (history + in[0] - a->kt) / 2 + 1;
    if (in[0] < 1 || t < 1 || out[0] != t * (a->split ? 2 : 1))
        return 0;
    for (int i = 1; i < 3; ++i)
        if (in[i] < a->stride_hw || out[i] != in[i] * (a->upsample ? 2 : 1) / a->stride_hw)
            return 0;
    return !a->add.rank || same_frames(&a->add, &a->out);
}

int kg_conv_joins(kg_exec *x) { return kg_kernels_of(x)->joins; }

void kg_conv(kg_exec *x, kg_conv_args a)
{
    a.stride_t = a.stride_t ? a.stride_t : 1;
    a.stride_hw = a.stride_hw ? a.stride_hw : 1;
    int64_t channels = a.out.shape[3] * (a.split ? 2 : 1), k = a.in.shape[3] * a.kt * a.kh * a.kw;
    if (!is_frames(&a.in) || !is_frames(&a.out) || a.in.dtype != a.out.dtype || !kernel_fits(&a) || !shapes_fit(&a) ||
        !kg_is_float(&a.weight) || kg_count(&a.weight) != padded(&a) * k || !kg_is_no_or_vector(&a.bias, channels)) {
        KG_REFUSE(x, "conv", "shapes or kernel do not fit", "out, in, history, weight, bias, add", &a.out, &a.in, &a.history, &a.weight,
                  &a.bias, &a.add);
        return;
    }
    const kg_kernels *kernels = kg_kernels_of(x);
    size_t mark = kg_mark(x);
    a.scratch = kg_scratch(x, kernels->conv_scratch(x, &a, kg_front_workers(x)));
    double bytes = (double)kg_bytes(&a.in) + (double)kg_bytes(&a.out) + (double)kg_bytes(&a.weight);
    if (kg_front(x, "conv", KG_C_CONV, 2.0 * (double)kg_count(&a.out) * (double)k, bytes))
        kernels->conv(x, &a);
    kg_release(x, mark);
    kg_front_out(x, "conv", &a.out);
}

void kg_conv_pack(kg_exec *x, kg_conv_pack_args a)
{
    int64_t k = a.in.shape[0] ? kg_count(&a.in) / a.in.shape[0] : 0;
    if ((a.in.rank != 4 && a.in.rank != 5) || !kg_is_float(&a.in) || !kg_dense(&a.in) || !kg_dense(&a.out) || !k ||
        a.out.dtype != a.in.dtype || kg_count(&a.out) != kg_conv_padded(a.in.shape[0]) * k) {
        KG_REFUSE(x, "conv_pack", "out is in with its first dimension padded to a multiple of 16", "out, in", &a.out, &a.in);
        return;
    }
    if (kg_front(x, "conv_pack", KG_C_ROWS, 0, 2.0 * (double)kg_bytes(&a.out)))
        kg_kernels_of(x)->conv_pack(x, &a);
    kg_front_out(x, "conv_pack", &a.out);
}

void kg_channel_norm(kg_exec *x, kg_channel_norm_args a)
{
    int64_t c = a.in.rank ? kg_cols(&a.in) : 0;
    if (!kg_is_float(&a.in) || a.out.dtype != a.in.dtype || !kg_dense(&a.in) || !kg_dense(&a.out) || c < 1 ||
        !kg_is_rows(&a.out, kg_rows(&a.in), c) || !kg_is_float(&a.gamma) || kg_count(&a.gamma) != c || !kg_dense(&a.gamma) ||
        (a.also.rank && (a.also.dtype != a.in.dtype || !kg_dense(&a.also) || kg_cols(&a.also) != c || kg_rows(&a.also) > kg_rows(&a.in)))) {
        KG_REFUSE(x, "channel_norm", "out and in are [rows, channels] of one type, gamma [channels], also rows of out",
                  "out, in, gamma, also", &a.out, &a.in, &a.gamma, &a.also);
        return;
    }
    size_t mark = kg_mark(x);
    a.scratch = kg_scratch(x, (size_t)c * sizeof(float));
    if (kg_front(x, "channel_norm", KG_C_ROWS, 0, 2.0 * (double)kg_bytes(&a.in)))
        kg_kernels_of(x)->channel_norm(x, &a);
    kg_release(x, mark);
    kg_front_out(x, "channel_norm", &a.out);
}

void kg_latent_frames(kg_exec *x, kg_latent_frames_args a)
{
    const int64_t *l = a.latent.shape, *f = a.frames.shape;
    if (!is_frames(&a.latent) || a.latent.dtype != KG_F32 || !is_frames(&a.frames) || l[0] != f[3] || l[2] != f[1] ||
        l[3] != f[2] || a.first < 0 || a.first + f[0] > l[1] ||
        a.scale.dtype != KG_F32 || a.shift.dtype != KG_F32 || !kg_is_vector(&a.scale, l[0]) ||
        !kg_is_vector(&a.shift, l[0])) {
        KG_REFUSE(x, "latent_frames", "latent is f32 [C, T, H, W], frames [t, H, W, C], scale and shift f32 [C]",
                  "latent, frames, scale, shift", &a.latent, &a.frames, &a.scale, &a.shift);
        return;
    }
    if (kg_front(x, "latent_frames", KG_C_ROWS, 0, 2.0 * (double)kg_bytes(&a.frames)))
        kg_kernels_of(x)->latent_frames(x, &a);
    kg_front_out(x, "latent_frames", a.to_latent ? &a.latent : &a.frames);
}

void kg_pixels(kg_exec *x, kg_pixels_args a)
{
    if (!kg_is_float(&a.f) || a.u.dtype != KG_U8 || !kg_dense(&a.f) || !kg_dense(&a.u) ||
        !kg_is_rows(&a.u, kg_rows(&a.f), kg_cols(&a.f))) {
        KG_REFUSE(x, "pixels", "f is of floats and u is u8 of the same shape", "f, u", &a.f, &a.u);
        return;
    }
    if (kg_front(x, "pixels", KG_C_ROWS, 0, (double)kg_bytes(&a.f) + (double)kg_bytes(&a.u)))
        kg_kernels_of(x)->pixels(x, &a);
    if (a.to_float)
        kg_front_out(x, "pixels", &a.f);
}
