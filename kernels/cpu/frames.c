/* What a VAE does with frames beside convolution: norm over channels, layouts, pixels. All run at the speed of memory. */
#include "kernels/cpu/cpu.h"

#include <math.h>
#include <string.h>

typedef struct frames_code {
    void (*norm_rows)(int64_t rows, int64_t c, const void *in, kg_dtype type, const float *gamma, int silu, void *out);
    void (*widen_row)(int64_t n, const void *from, kg_dtype type, float *to);
    void (*narrow_row)(int64_t n, const float *from, void *to, kg_dtype type);
    void (*to_bytes)(int64_t n, const void *f, kg_dtype type, int rounded, uint8_t *u);
} frames_code;

#define KG_BODY "kernels/cpu/frames_simd.h"
#include "kernels/cpu/each_isa.h"

enum { NORM_FLOATS = 16384, PIXEL_VALUES = 65536, BUFFER = 256 };      /* values of a task, of a buffer */

static const frames_code *code(void)
{
    static const frames_code *const table[KG_ISAS] = KG_OF_ISA(frames_code);
    return table[kg_cpu_isa()];
}

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

static void *value_at(const kg_tensor *t, int64_t i) { return (char *)t->at + i * (int64_t)kg_dtype_bytes(t->dtype); }

typedef struct norm_job {
    const kg_channel_norm_args *a;
    const float *gamma;
    int64_t rows, c, step;         /* rows of a task */
} norm_job;

static void norm_task(void *arg, int64_t task, int worker)
{
    (void)worker;
    const norm_job *j = arg;
    int64_t first = task * j->step, rows = least(j->step, j->rows - first);
    code()->norm_rows(rows, j->c, value_at(&j->a->in, first * j->c), j->a->in.dtype, j->gamma, j->a->silu,
                      value_at(&j->a->out, first * j->c));
    int64_t from = j->a->also.rank ? j->rows - kg_rows(&j->a->also) : j->rows, skip = from > first ? from - first : 0;
    if (skip < rows)
        memcpy(value_at(&j->a->also, (first + skip - from) * j->c), value_at(&j->a->out, (first + skip) * j->c),
               (size_t)((rows - skip) * j->c) * kg_dtype_bytes(j->a->out.dtype));
}

/* ref: wan-spec 5.1 (Wan2.1 wan/modules/vae.py, RMS_norm): no epsilon in the root, only a floor for the norm. */
void kg_cpu_channel_norm(kg_exec *x, const kg_channel_norm_args *a)
{
    norm_job j = {.a = a, .rows = kg_rows(&a->in), .c = kg_cols(&a->in)};
    j.gamma = a->gamma.at;
    if (a->gamma.dtype != KG_F32) {
        code()->widen_row(j.c, a->gamma.at, a->gamma.dtype, a->scratch.at);
        j.gamma = a->scratch.at;
    }
    j.step = NORM_FLOATS / j.c + 1;
    kg_cpu_for(x, (j.rows + j.step - 1) / j.step, norm_task, &j);
}

typedef struct latent_job { const kg_latent_frames_args *a; int64_t c, t, h, w; } latent_job;

/* n channels of a pixel, from channel `first` on, and the same of the latent, whose planes are `step` apart. */
static void pixel_channels(const latent_job *j, int64_t at, int64_t first, int64_t n, float *plane, int64_t step)
{
    const float *scale = (const float *)j->a->scale.at + first, *shift = (const float *)j->a->shift.at + first;
    float pixel[BUFFER];
    void *stored = value_at(&j->a->frames, at + first);
    if (j->a->to_latent)
        code()->widen_row(n, stored, j->a->frames.dtype, pixel);
    for (int64_t c = 0; c < n; ++c)
        if (j->a->to_latent)
            plane[(first + c) * step] = pixel[c] * scale[c] + shift[c];
        else
            pixel[c] = plane[(first + c) * step] * scale[c] + shift[c];
    if (!j->a->to_latent)
        code()->narrow_row(n, pixel, stored, j->a->frames.dtype);
}

/* One row of one frame. The order of channels changes, the sum is one product and one addition. */
static void latent_task(void *arg, int64_t task, int worker)
{
    (void)worker;
    const latent_job *j = arg;
    int64_t frame = j->a->first + task / j->h, y = task % j->h;
    for (int64_t i = 0; i < j->w; ++i)
        for (int64_t c = 0; c < j->c; c += BUFFER)
            pixel_channels(j, (task * j->w + i) * j->c, c, least(BUFFER, j->c - c),
                           (float *)j->a->latent.at + (frame * j->h + y) * j->w + i, j->t * j->h * j->w);
}

void kg_cpu_latent_frames(kg_exec *x, const kg_latent_frames_args *a)
{
    latent_job j = {.a = a, .c = a->latent.shape[0], .t = a->latent.shape[1], .h = a->latent.shape[2], .w = a->latent.shape[3]};
    kg_cpu_for(x, a->frames.shape[0] * j.h, latent_task, &j);
}

static void pixels_task(void *arg, int64_t task, int worker)
{
    (void)worker;
    const kg_pixels_args *a = arg;
    int64_t first = task * PIXEL_VALUES, n = least(PIXEL_VALUES, kg_count(&a->f) - first);
    uint8_t *u = (uint8_t *)a->u.at + first;
    if (!a->to_float)
        code()->to_bytes(n, value_at(&a->f, first), a->f.dtype, a->rounded, u);
    for (int64_t i = 0; a->to_float && i < n; i += BUFFER) {
        float f[BUFFER];
        int64_t part = least(BUFFER, n - i);
        for (int64_t l = 0; l < part; ++l)
            f[l] = (float)u[i + l] / 255.0f * 2.0f - 1.0f;
        code()->narrow_row(part, f, value_at(&a->f, first + i), a->f.dtype);
    }
}

void kg_cpu_pixels(kg_exec *x, const kg_pixels_args *a)
{
    kg_pixels_args copy = *a;
    kg_cpu_for(x, (kg_count(&a->f) + PIXEL_VALUES - 1) / PIXEL_VALUES, pixels_task, &copy);
}
