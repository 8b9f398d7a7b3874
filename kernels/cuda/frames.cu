/* What a VAE does with frames beside convolution: norm over channels, layouts, pixels. All run at the speed of memory. */
#include "kernels/cuda/vec.cuh"

enum { THREADS = 256 };

/* ---- norm over channels ----
 * A few neighbouring threads share a row: WITHIN of them, STEPS groups of eight channels each, so that 96, 192 and 384 channels
 * keep every thread busy. A row is read once and stays in registers, gamma too, for all rows of a thread. The sum of squares has
 * an order fixed by the number of channels. ref: wan-spec 5.1 (no epsilon in the root, only a floor for the norm) */
struct norm_args {
    const void *in, *gamma;
    void *out, *also;
    int64_t rows, also_from;       /* rows from here on are written to also too                     */
    int c, silu;
    kg_dtype type, gamma_type;
};

__device__ __forceinline__ float norm_factor(float squares, int c) { return sqrtf((float)c) / fmaxf(sqrtf(squares), 1e-12f); }

template <typename T, int WITHIN, int STEPS> __global__ void __launch_bounds__(THREADS) norm_wide(const norm_args a)
{
    enum { C = WITHIN * STEPS * 8, ROWS = THREADS / WITHIN };
    const int at = threadIdx.x % WITHIN * 8;
    float gamma[STEPS][8];
#pragma unroll
    for (int s = 0; s < STEPS; ++s)
        kg_get8(a.gamma, a.gamma_type, s * WITHIN * 8 + at, gamma[s]);
    /* Threads of a warp stay together: shuffles are of all of them. */
    for (int64_t first = (int64_t)blockIdx.x * ROWS; first < a.rows; first += (int64_t)gridDim.x * ROWS) {
        const int64_t row = first + threadIdx.x / WITHIN;
        const bool there = row < a.rows;
        kg_raw<T> raw[STEPS];
        float squares = 0;
#pragma unroll
        for (int s = 0; s < STEPS; ++s)
            raw[s] = kg_load8((const T *)a.in + (there ? row : 0) * C + s * WITHIN * 8 + at);
#pragma unroll
        for (int s = 0; s < STEPS; ++s) {
            float v[8];
            kg_widen8(raw[s], v);
#pragma unroll
            for (int i = 0; i < 8; ++i)
                squares = fmaf(v[i], v[i], squares);
        }
#pragma unroll
        for (int by = WITHIN / 2; by; by >>= 1)
            squares += __shfl_xor_sync(0xffffffffu, squares, by);
        const float factor = norm_factor(squares, C);
#pragma unroll
        for (int s = 0; s < STEPS; ++s) {
            float v[8];
            kg_widen8(raw[s], v);
#pragma unroll
            for (int i = 0; i < 8; ++i) {
                v[i] *= factor * gamma[s][i];
                v[i] = a.silu ? kg_silu(v[i]) : v[i];
            }
            if (there)
                kg_store8((T *)a.out + row * C + s * WITHIN * 8 + at, v);
            if (there && row >= a.also_from)
                kg_store8((T *)a.also + (row - a.also_from) * C + s * WITHIN * 8 + at, v);
        }
    }
}

/* Any number of channels: a warp a row, which it reads twice. */
static __global__ void __launch_bounds__(THREADS) norm_any(const norm_args a)
{
    const int lane = threadIdx.x % 32;
    const int64_t row = (int64_t)blockIdx.x * (THREADS / 32) + threadIdx.x / 32, at = row * a.c;
    if (row >= a.rows)
        return;
    float squares = 0;
    for (int i = lane; i < a.c; i += 32) {
        const float v = kg_get(a.in, a.type, at + i);
        squares = fmaf(v, v, squares);
    }
#pragma unroll
    for (int by = 16; by; by >>= 1)
        squares += __shfl_xor_sync(0xffffffffu, squares, by);
    const float factor = norm_factor(squares, a.c);
    for (int i = lane; i < a.c; i += 32) {
        const float v = kg_get(a.in, a.type, at + i) * (factor * kg_get(a.gamma, a.gamma_type, i));
        kg_set(a.out, a.type, at + i, a.silu ? kg_silu(v) : v);
        if (row >= a.also_from)
            kg_set(a.also, a.type, at + i - a.also_from * a.c, a.silu ? kg_silu(v) : v);
    }
}

typedef void norm_kernel(const norm_args);
struct norm_form { int c, within; norm_kernel *f32, *bf16, *f16; };
#define NORM(within, steps) \
    {within * steps * 8, within, norm_wide<float, within, steps>, norm_wide<kg_bf16, within, steps>, norm_wide<__half, within, steps>}
static const norm_form norm_forms[] = {NORM(4, 3), NORM(8, 3), NORM(16, 3)};       /* 96, 192, 384 channels */
#undef NORM

void kg_cuda_channel_norm(kg_exec *x, const kg_channel_norm_args *a)
{
    const int64_t all = kg_rows(&a->in), kept = a->also.rank ? kg_rows(&a->also) : 0;
    const norm_args n = {a->in.at, a->gamma.at, a->out.at, a->also.at, all, all - kept, (int)kg_cols(&a->in), a->silu, a->in.dtype,
                         a->gamma.dtype};
    norm_kernel *run = norm_any;
    int64_t blocks = (n.rows + THREADS / 32 - 1) / (THREADS / 32), most = (int64_t)kg_cuda_sms(x) * 16;
    const int aligned = (uintptr_t)n.in % 16 == 0 && (uintptr_t)n.out % 16 == 0 && (uintptr_t)n.also % 16 == 0 &&
                        (uintptr_t)n.gamma % 16 == 0;
    for (const norm_form &f : norm_forms)
        if (f.c == n.c && aligned) {
            const int64_t rows = THREADS / f.within, needed = (n.rows + rows - 1) / rows;
            run = n.type == KG_F32 ? f.f32 : n.type == KG_BF16 ? f.bf16 : f.f16;
            blocks = needed < most ? needed : most;
        }
    if (!n.rows)
        return;
    run<<<(unsigned)blocks, THREADS, 0, kg_cuda_stream(x)>>>(n);
    kg_cuda_launched(x, "channel_norm");
}

/* ---- layouts ---- */
struct latent_args {
    float *latent;
    void *frames;
    const float *scale, *shift;
    int64_t n, plane, first, length;   /* elements of frames; pixels of a frame; frames of latent before, in all */
    int c, to_latent;
    kg_dtype type;
};

/* One element of frames [t, H, W, C] a thread. Products and sums are rounded apart, as on the CPU. */
static __global__ void __launch_bounds__(THREADS) latent_frames(const latent_args a)
{
    const int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x;
    if (i >= a.n)
        return;
    const int c = (int)(i % a.c);
    const int64_t pixel = i / a.c, frame = a.first + pixel / a.plane;
    float *latent = a.latent + (c * a.length + frame) * a.plane + pixel % a.plane;
    if (a.to_latent)
        *latent = __fadd_rn(__fmul_rn(kg_get(a.frames, a.type, i), a.scale[c]), a.shift[c]);
    else
        kg_set(a.frames, a.type, i, __fadd_rn(__fmul_rn(*latent, a.scale[c]), a.shift[c]));
}

void kg_cuda_latent_frames(kg_exec *x, const kg_latent_frames_args *a)
{
    const int64_t *l = a->latent.shape;
    latent_args n = {(float *)a->latent.at, a->frames.at, (const float *)a->scale.at, (const float *)a->shift.at, kg_count(&a->frames),
                     l[2] * l[3], a->first, l[1], (int)l[0], a->to_latent, a->frames.dtype};
    if (!n.n)
        return;
    latent_frames<<<(unsigned)((n.n + THREADS - 1) / THREADS), THREADS, 0, kg_cuda_stream(x)>>>(n);
    kg_cuda_launched(x, "latent_frames");
}

/* ---- pixels ---- */
enum { PIXELS = 8 };                   /* values of a thread, a block apart from each other */

/* The CPU's arithmetic, step by step: a byte is the same where the float is. */
__device__ __forceinline__ uint8_t byte_of(float f, int rounded)
{
    f = __fmul_rn(__fmul_rn(__fadd_rn(f < -1 ? -1 : f > 1 ? 1 : f, 1), 0.5f), 255);
    return (uint8_t)(int)(rounded ? __fadd_rn(f, 0.5f) : f);
}

static __global__ void __launch_bounds__(THREADS) pixels(void *f, kg_dtype type, uint8_t *u, int64_t n, int to_float, int rounded)
{
    const int64_t first = (int64_t)blockIdx.x * THREADS * PIXELS + threadIdx.x;
#pragma unroll
    for (int k = 0; k < PIXELS; ++k) {
        const int64_t i = first + k * THREADS;
        if (i >= n)
            return;
        if (to_float)
            kg_set(f, type, i, __fadd_rn(__fmul_rn(__fdiv_rn((float)u[i], 255), 2), -1));
        else
            u[i] = byte_of(kg_get(f, type, i), rounded);
    }
}

void kg_cuda_pixels(kg_exec *x, const kg_pixels_args *a)
{
    const int64_t n = kg_count(&a->f), each = THREADS * PIXELS;
    if (!n)
        return;
    pixels<<<(unsigned)((n + each - 1) / each), THREADS, 0, kg_cuda_stream(x)>>>(a->f.at, a->f.dtype, (uint8_t *)a->u.at, n, a->to_float,
                                                                               a->rounded);
    kg_cuda_launched(x, "pixels");
}

#define NORM(within, steps) \
    (const void *)norm_wide<float, within, steps>, (const void *)norm_wide<kg_bf16, within, steps>, \
    (const void *)norm_wide<__half, within, steps>
KG_CUDA_KERNELS(frames, NORM(4, 3), NORM(8, 3), NORM(16, 3), (const void *)norm_any, (const void *)latent_frames, (const void *)pixels);
#undef NORM
