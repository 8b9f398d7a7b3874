/* Position tables, patches and constants: small next to the products, so plain C. A tile is one row of one frame. */
#include "kernels/cpu/cpu.h"

#include <math.h>
#include <string.h>

/* f16 by its bits, for compilers without the type: the exponent moves between bias 15 and 127, subnormals by exact sums. */
static float from_half(uint16_t h)
{
    uint32_t a = (uint32_t)(h & 0x7fff) << 13, sign = (uint32_t)(h & 0x8000) << 16;
    float f;
    if (a >= 0x0f800000u) {                /* infinite, NaN */
        a |= 0x7f800000u;
        memcpy(&f, &a, 4);
    } else {
        memcpy(&f, &a, 4);
        f *= 0x1p112f;
    }
    return sign ? -f : f;
}

static uint16_t to_half(float f)
{
    uint32_t u, a, r;
    memcpy(&u, &f, 4);
    a = u & 0x7fffffffu;
    if (a >= 0x477ff000u)
        r = 0x7c00u | (a > 0x7f800000u ? 0x200u : 0);
    else if (a < 0x38800000u) {
        float small;
        memcpy(&small, &a, 4);
        small += 0.5f;                     /* rounds to a multiple of 2^-24 */
        memcpy(&r, &small, 4);
        r -= 0x3f000000u;
    } else
        r = (a + 0xfffu + (a >> 13 & 1) - (112u << 23)) >> 13;
    return (uint16_t)(r | (u >> 16 & 0x8000u));
}

/* cos and sin of position * theta^(-2 j / size) for each pair of an axis of `size` channels, angles in f64. */
static void axis(float *out, int64_t position, int64_t size, double theta)
{
    for (int64_t j = 0; j < size / 2; ++j) {
        double angle = (double)position * pow(theta, -2.0 * (double)j / (double)size);
        out[2 * j] = (float)cos(angle);
        out[2 * j + 1] = (float)sin(angle);
    }
}

/* ref: Wan2.1 wan/modules/model.py, rope_params and rope_apply: d - 4 (d / 6) channels for time, 2 (d / 6) for height and width. */
static void rope_tile(void *arg, int64_t tile, int worker)
{
    (void)worker;
    const kg_rope_table_args *a = arg;
    int64_t dim = 2 * a->out.shape[1], side = 2 * (dim / 6), time = dim - 2 * side;
    float *out = (float *)a->out.at + tile * a->width * dim;
    for (int64_t w = 0; w < a->width; ++w, out += dim) {
        if (!w) {
            axis(out, tile / a->height, time, a->theta);
            axis(out + time, tile % a->height, side, a->theta);
        } else {
            memcpy(out, out - dim, (size_t)(time + side) * sizeof *out);
        }
        axis(out + time + side, w, side, a->theta);
    }
}

void kg_cpu_rope_table(kg_exec *x, const kg_rope_table_args *a)
{
    kg_rope_table_args copy = *a;
    kg_cpu_for(x, a->frames * a->height, rope_tile, &copy);
}

static float get(const kg_tensor *t, int64_t i)
{
    if (t->dtype == KG_F32)
        return ((const float *)t->at)[i];
    if (t->dtype == KG_F16)
        return from_half(((const uint16_t *)t->at)[i]);
    uint32_t u = (uint32_t)((const uint16_t *)t->at)[i] << 16;
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

/* bf16 rounds to nearest even; NaN stays NaN. */
static void put(const kg_tensor *t, int64_t i, float f)
{
    if (t->dtype == KG_F32) {
        ((float *)t->at)[i] = f;
        return;
    }
    if (t->dtype == KG_F16) {
        ((uint16_t *)t->at)[i] = to_half(f);
        return;
    }
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    ((uint16_t *)t->at)[i] = f != f ? 0x7fc0 : (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

typedef struct patch_job { const kg_patchify_args *a; int to_tokens; } patch_job;

/* Row `tile` of patches: frame tile / (H / 2). */
static void patch_tile(void *arg, int64_t tile, int worker)
{
    (void)worker;
    const patch_job *j = arg;
    const kg_tensor *l = &j->a->latent, *t = &j->a->tokens;
    int64_t channels = l->shape[0], height = l->shape[2], width = l->shape[3], plane = l->shape[1] * height * width;
    float *row = (float *)l->at + 2 * tile * width;        /* of channel 0: frames are whole rows of patches */
    for (int64_t w = 0; w < width / 2; ++w)
        for (int64_t c = 0; c < channels; ++c)
            for (int64_t qr = 0; qr < 4; ++qr) {
                float *at = row + c * plane + (qr / 2) * width + 2 * w + qr % 2;
                int64_t token = (tile * (width / 2) + w) * t->row;
                if (j->to_tokens)
                    put(t, token + c * 4 + qr, *at);
                else
                    *at = get(t, token + qr * channels + c);
            }
}

void kg_cpu_patchify(kg_exec *x, const kg_patchify_args *a)
{
    patch_job j = {a, 1};
    kg_cpu_for(x, a->latent.shape[1] * (a->latent.shape[2] / 2), patch_tile, &j);
}

void kg_cpu_unpatchify(kg_exec *x, const kg_patchify_args *a)
{
    patch_job j = {a, 0};
    kg_cpu_for(x, a->latent.shape[1] * (a->latent.shape[2] / 2), patch_tile, &j);
}

void kg_cpu_fill(kg_exec *x, const kg_fill_args *a)
{
    (void)x;
    for (int64_t i = 0; i < kg_count(&a->out); ++i)
        put(&a->out, i, (float)a->value);
}

void kg_cpu_rel_bias(kg_exec *x, const kg_rel_bias_args *a)
{
    const int32_t *bucket = a->bucket.at;
    int64_t heads = a->out.shape[0], width = a->out.shape[1];
    (void)x;
    for (int64_t i = 0; i < width; ++i)
        for (int64_t h = 0; h < heads; ++h)
            ((float *)a->out.at)[h * width + i] = get(&a->table, bucket[i] * heads + h);
}
