/* Norms over rows: memory traffic and no products. One block a row.
 *
 * Two forms each. The fast one is for the widths that transformers have: a row stays in registers, every load is 16 bytes wide
 * and all of a row's are under way before the first is used. The other takes any width, type and alignment, reads a row again
 * from the cache and sums in f64. Sums have an order fixed by the width; nothing depends on the card. */
#include "kernels/cuda/vec.cuh"

/* ---- x += y * gate; out = norm(x) * (one + scale) + shift ---- */
struct norm_args {
    float *x;
    const void *y, *gate, *scale, *shift;
    void *out;
    int64_t x_row, y_row, out_row, dim;
    kg_dtype y_type, gate_type, scale_type, shift_type, out_type;
    float one, eps;
};

/* THREADS * 8 * STEPS is the width. The second pass sums the distances from the rounded mean too: what they sum to is the rest
 * of the mean, so that a mean far above the deviation costs nothing. */
template <typename Y, typename O, int THREADS, int STEPS>
static __global__ void __launch_bounds__(THREADS) residual_norm_wide(const norm_args a)
{
    __shared__ float room[2][THREADS / 32];
    float *x = a.x + (int64_t)blockIdx.x * a.x_row;
    float v[STEPS][8];
    kg_raw<float> raw[STEPS];
    const int at = threadIdx.x * 8;
#pragma unroll
    for (int s = 0; s < STEPS; ++s)
        raw[s] = kg_load8(x + s * THREADS * 8 + at);
    if (a.y) {
        const Y *y = (const Y *)a.y + (int64_t)blockIdx.x * a.y_row;
        kg_raw<Y> more[STEPS];
#pragma unroll
        for (int s = 0; s < STEPS; ++s)
            more[s] = kg_load8_once(y + s * THREADS * 8 + at);
#pragma unroll
        for (int s = 0; s < STEPS; ++s) {
            float add[8], gate[8];
            kg_widen8(raw[s], v[s]);
            kg_widen8(more[s], add);
            if (a.gate)
                kg_get8(a.gate, a.gate_type, s * THREADS * 8 + at, gate);
#pragma unroll
            for (int i = 0; i < 8; ++i)
                v[s][i] = a.gate ? fmaf(add[i], gate[i], v[s][i]) : v[s][i] + add[i];
            kg_store8(x + s * THREADS * 8 + at, v[s]);
        }
    } else {
#pragma unroll
        for (int s = 0; s < STEPS; ++s)
            kg_widen8(raw[s], v[s]);
    }
    if (!a.out)
        return;
    float sum = 0, square = 0, rest = 0;
#pragma unroll
    for (int s = 0; s < STEPS; ++s)
#pragma unroll
        for (int i = 0; i < 8; ++i)
            sum += v[s][i];
    const float mean = kg_block_sum(sum, room[0]) / (THREADS * 8 * STEPS);
#pragma unroll
    for (int s = 0; s < STEPS; ++s)
#pragma unroll
        for (int i = 0; i < 8; ++i) {
            v[s][i] -= mean;
            rest += v[s][i];
            square = fmaf(v[s][i], v[s][i], square);
        }
    rest = kg_block_sum(rest, room[0]) / (THREADS * 8 * STEPS);
    square = kg_block_sum(square, room[1]) / (THREADS * 8 * STEPS);
    const float factor = 1 / sqrtf(fmaxf(square - rest * rest, 0) + a.eps);
    O *out = (O *)a.out + (int64_t)blockIdx.x * a.out_row;
#pragma unroll
    for (int s = 0; s < STEPS; ++s) {
        float scale[8], shift[8];
        if (a.scale)
            kg_get8(a.scale, a.scale_type, s * THREADS * 8 + at, scale);
        if (a.shift)
            kg_get8(a.shift, a.shift_type, s * THREADS * 8 + at, shift);
#pragma unroll
        for (int i = 0; i < 8; ++i) {
            float f = (v[s][i] - rest) * factor;
            f = a.scale ? f * (scale[i] + a.one) : f;
            v[s][i] = a.shift ? f + shift[i] : f;
        }
        kg_store8(out + s * THREADS * 8 + at, v[s]);
    }
}

/* A thread reads again only what it wrote itself. */
static __global__ void __launch_bounds__(256) residual_norm_any(const norm_args a)
{
    __shared__ double room[8];
    float *x = a.x + (int64_t)blockIdx.x * a.x_row;
    const int64_t y = (int64_t)blockIdx.x * a.y_row, out = (int64_t)blockIdx.x * a.out_row;
    double sum = 0, square = 0;
    for (int64_t i = threadIdx.x; i < a.dim; i += 256) {
        float v = x[i];
        if (a.y) {
            float add = kg_get(a.y, a.y_type, y + i);
            v = a.gate ? fmaf(add, kg_get(a.gate, a.gate_type, i), v) : v + add;
            x[i] = v;
        }
        sum += v;
    }
    if (!a.out)
        return;
    const double mean = kg_block_sum(sum, room) / (double)a.dim;
    for (int64_t i = threadIdx.x; i < a.dim; i += 256)
        square += (x[i] - mean) * (x[i] - mean);
    const float factor = (float)(1 / sqrt(kg_block_sum(square, room) / (double)a.dim + a.eps));
    for (int64_t i = threadIdx.x; i < a.dim; i += 256) {
        float v = (float)(x[i] - mean) * factor;
        v = a.scale ? v * (kg_get(a.scale, a.scale_type, i) + a.one) : v;
        v = a.shift ? v + kg_get(a.shift, a.shift_type, i) : v;
        kg_set(a.out, a.out_type, out + i, v);
    }
}

template <typename Y, typename O> static int residual_norm_of(cudaStream_t s, const norm_args &a, unsigned rows)
{
    switch (a.dim) {
    case 1536: residual_norm_wide<Y, O, 64, 3><<<rows, 64, 0, s>>>(a); return 1;
    case 3072: residual_norm_wide<Y, O, 128, 3><<<rows, 128, 0, s>>>(a); return 1;
    case 4096: residual_norm_wide<Y, O, 128, 4><<<rows, 128, 0, s>>>(a); return 1;
    case 5120: residual_norm_wide<Y, O, 128, 5><<<rows, 128, 0, s>>>(a); return 1;
    default: return 0;
    }
}

/* 1 when there is a fast form and it was launched. Without a y (or an out) its type does not matter. */
static int residual_norm_fast(cudaStream_t s, const norm_args &a, unsigned rows)
{
    kg_dtype y = a.y ? a.y_type : a.out_type, o = a.out ? a.out_type : y;
    if (!a.y && (o == KG_F32 || o == KG_BF16 || o == KG_F16))
        y = o;
    if (y == KG_BF16 && o == KG_BF16)
        return residual_norm_of<kg_bf16, kg_bf16>(s, a, rows);
    if (y == KG_F16 && o == KG_F16)
        return residual_norm_of<__half, __half>(s, a, rows);
    if (y == KG_F32 && o == KG_F32)
        return residual_norm_of<float, float>(s, a, rows);
    if (y == KG_BF16 && o == KG_F32)
        return residual_norm_of<kg_bf16, float>(s, a, rows);
    if (y == KG_F16 && o == KG_F32)
        return residual_norm_of<__half, float>(s, a, rows);
    return 0;
}

extern "C" void kg_cuda_residual_norm(kg_exec *x, const kg_residual_norm_args *k)
{
    norm_args a = {};
    a.x = (float *)k->x.at, a.x_row = k->x.row, a.dim = kg_cols(&k->x);
    a.y = k->y.rank ? k->y.at : NULL, a.y_row = k->y.row, a.y_type = k->y.dtype;
    a.gate = k->gate.rank ? k->gate.at : NULL, a.gate_type = k->gate.dtype;
    a.scale = k->scale.rank ? k->scale.at : NULL, a.scale_type = k->scale.dtype;
    a.shift = k->shift.rank ? k->shift.at : NULL, a.shift_type = k->shift.dtype;
    a.out = k->out.rank ? k->out.at : NULL, a.out_row = k->out.row, a.out_type = k->out.dtype;
    a.one = k->plus_one ? 1.0f : 0.0f, a.eps = (float)k->eps;
    const unsigned rows = (unsigned)kg_rows(&k->x);
    cudaStream_t s = kg_cuda_stream(x);
    const int wide = kg_wide_rows(&k->x) && kg_wide_rows(&k->y) && kg_wide_rows(&k->out) && kg_wide_rows(&k->gate) &&
                     kg_wide_rows(&k->scale) && kg_wide_rows(&k->shift);
    if (!wide || !residual_norm_fast(s, a, rows))
        residual_norm_any<<<rows, 256, 0, s>>>(a);
    kg_cuda_launched(x, "residual_norm");
}

/* ---- in += add; out = in / sqrt(mean(in^2) + eps) * weight, then RoPE ---- */
struct rms_args {
    void *in;
    const void *add, *weight;      /* add: NULL, or in is f32 and there is no rope */
    const float *rope;             /* [rows, head / 2, 2] or NULL */
    void *out;
    int64_t in_row, add_row, out_row, dim, head;
    kg_dtype in_type, add_type, weight_type, out_type;
    float eps;
};

/* THREADS * 8 is a multiple of a head, so that a thread's place in its head, and its four angles, are the same in every step. */
template <typename I, typename O, int THREADS, int STEPS>
static __global__ void __launch_bounds__(THREADS) rms_norm_wide(const rms_args a)
{
    __shared__ float room[THREADS / 32];
    const I *in = (const I *)a.in + (int64_t)blockIdx.x * a.in_row;
    O *out = (O *)a.out + (int64_t)blockIdx.x * a.out_row;
    const int at = threadIdx.x * 8;
    kg_raw<I> raw[STEPS];
    float cs[8], square = 0;
#pragma unroll
    for (int s = 0; s < STEPS; ++s)
        raw[s] = kg_load8(in + s * THREADS * 8 + at);
    if (a.rope)
        kg_widen8(kg_load8(a.rope + (int64_t)blockIdx.x * a.head + at % (int)a.head), cs);
#pragma unroll
    for (int s = 0; s < STEPS; ++s) {
        float v[8];
        kg_widen8(raw[s], v);
#pragma unroll
        for (int i = 0; i < 8; ++i)
            square = fmaf(v[i], v[i], square);
    }
    const float factor = 1 / sqrtf(kg_block_sum(square, room) / (THREADS * 8 * STEPS) + a.eps);
#pragma unroll
    for (int s = 0; s < STEPS; ++s) {
        float v[8], w[8];
        kg_widen8(raw[s], v);
        kg_get8(a.weight, a.weight_type, s * THREADS * 8 + at, w);
#pragma unroll
        for (int i = 0; i < 8; ++i)
            v[i] = v[i] * factor * w[i];
        if (a.rope) {
#pragma unroll
            for (int i = 0; i < 8; i += 2) {
                const float even = v[i], odd = v[i + 1];
                v[i] = fmaf(even, cs[i], -odd * cs[i + 1]);
                v[i + 1] = fmaf(odd, cs[i], even * cs[i + 1]);
            }
        }
        kg_store8(out + s * THREADS * 8 + at, v);
    }
}

/* With an add of out's type. */
template <typename O, int THREADS, int STEPS> static __global__ void __launch_bounds__(THREADS) add_rms_norm_wide(const rms_args a)
{
    __shared__ float room[THREADS / 32];
    float *x = (float *)a.in + (int64_t)blockIdx.x * a.in_row;
    const O *add = (const O *)a.add + (int64_t)blockIdx.x * a.add_row;
    O *out = (O *)a.out + (int64_t)blockIdx.x * a.out_row;
    const int at = threadIdx.x * 8;
    kg_raw<float> raw[STEPS];
    kg_raw<O> more[STEPS];
    float v[STEPS][8], square = 0;
#pragma unroll
    for (int s = 0; s < STEPS; ++s) {
        raw[s] = kg_load8(x + s * THREADS * 8 + at);
        more[s] = kg_load8_once(add + s * THREADS * 8 + at);
    }
#pragma unroll
    for (int s = 0; s < STEPS; ++s) {
        float y[8];
        kg_widen8(raw[s], v[s]);
        kg_widen8(more[s], y);
#pragma unroll
        for (int i = 0; i < 8; ++i) {
            v[s][i] += y[i];
            square = fmaf(v[s][i], v[s][i], square);
        }
        kg_store8(x + s * THREADS * 8 + at, v[s]);
    }
    const float factor = 1 / sqrtf(kg_block_sum(square, room) / (THREADS * 8 * STEPS) + a.eps);
#pragma unroll
    for (int s = 0; s < STEPS; ++s) {
        float w[8];
        kg_get8(a.weight, a.weight_type, s * THREADS * 8 + at, w);
#pragma unroll
        for (int i = 0; i < 8; ++i)
            v[s][i] = v[s][i] * factor * w[i];
        kg_store8(out + s * THREADS * 8 + at, v[s]);
    }
}

/* By pairs when there is a rope, else by elements: a thread reads what it is going to write before it writes. */
static __global__ void __launch_bounds__(256) rms_norm_any(const rms_args a)
{
    __shared__ double room[8];
    const int64_t in = (int64_t)blockIdx.x * a.in_row, out = (int64_t)blockIdx.x * a.out_row;
    double square = 0;
    for (int64_t i = threadIdx.x; i < a.dim; i += 256) {
        float v = kg_get(a.in, a.in_type, in + i);
        if (a.add)
            ((float *)a.in)[in + i] = v += kg_get(a.add, a.add_type, (int64_t)blockIdx.x * a.add_row + i);
        square += (double)v * v;
    }
    const float factor = (float)(1 / sqrt(kg_block_sum(square, room) / (double)a.dim + a.eps));
    if (!a.rope) {
        for (int64_t i = threadIdx.x; i < a.dim; i += 256)
            kg_set(a.out, a.out_type, out + i, kg_get(a.in, a.in_type, in + i) * factor * kg_get(a.weight, a.weight_type, i));
        return;
    }
    for (int64_t i = 2 * threadIdx.x; i < a.dim; i += 512) {
        const float even = kg_get(a.in, a.in_type, in + i) * factor * kg_get(a.weight, a.weight_type, i);
        const float odd = kg_get(a.in, a.in_type, in + i + 1) * factor * kg_get(a.weight, a.weight_type, i + 1);
        const float *cs = a.rope + (int64_t)blockIdx.x * a.head + i % a.head;
        kg_set(a.out, a.out_type, out + i, fmaf(even, cs[0], -odd * cs[1]));
        kg_set(a.out, a.out_type, out + i + 1, fmaf(odd, cs[0], even * cs[1]));
    }
}

template <typename I, typename O> static int rms_norm_of(cudaStream_t s, const rms_args &a, unsigned rows)
{
    if (a.rope && (512 % a.head || a.head % 8))
        return 0;
    switch (a.dim) {
    case 1536: rms_norm_wide<I, O, 64, 3><<<rows, 64, 0, s>>>(a); return 1;
    case 3072: rms_norm_wide<I, O, 128, 3><<<rows, 128, 0, s>>>(a); return 1;
    case 4096: rms_norm_wide<I, O, 128, 4><<<rows, 128, 0, s>>>(a); return 1;
    case 5120: rms_norm_wide<I, O, 128, 5><<<rows, 128, 0, s>>>(a); return 1;
    default: return 0;
    }
}

template <typename O> static int add_rms_norm_of(cudaStream_t s, const rms_args &a, unsigned rows)
{
    switch (a.dim) {
    case 1536: add_rms_norm_wide<O, 64, 3><<<rows, 64, 0, s>>>(a); return 1;
    case 3072: add_rms_norm_wide<O, 128, 3><<<rows, 128, 0, s>>>(a); return 1;
    case 4096: add_rms_norm_wide<O, 128, 4><<<rows, 128, 0, s>>>(a); return 1;
    case 5120: add_rms_norm_wide<O, 128, 5><<<rows, 128, 0, s>>>(a); return 1;
    default: return 0;
    }
}

static int add_rms_norm_fast(cudaStream_t s, const rms_args &a, unsigned rows)
{
    if (a.add_type != a.out_type)
        return 0;
    return a.out_type == KG_BF16  ? add_rms_norm_of<kg_bf16>(s, a, rows)
           : a.out_type == KG_F16 ? add_rms_norm_of<__half>(s, a, rows)
                                  : add_rms_norm_of<float>(s, a, rows);
}

static int rms_norm_fast(cudaStream_t s, const rms_args &a, unsigned rows)
{
    if (a.add)
        return add_rms_norm_fast(s, a, rows);
    if (a.in_type == KG_BF16 && a.out_type == KG_BF16)
        return rms_norm_of<kg_bf16, kg_bf16>(s, a, rows);
    if (a.in_type == KG_F16 && a.out_type == KG_F16)
        return rms_norm_of<__half, __half>(s, a, rows);
    if (a.in_type == KG_F32 && a.out_type == KG_F32)
        return rms_norm_of<float, float>(s, a, rows);
    if (a.in_type == KG_F32 && a.out_type == KG_BF16)
        return rms_norm_of<float, kg_bf16>(s, a, rows);
    return 0;
}

extern "C" void kg_cuda_rms_norm(kg_exec *x, const kg_rms_norm_args *k)
{
    rms_args a = {};
    a.in = k->in.at, a.in_row = k->in.row, a.in_type = k->in.dtype, a.dim = kg_cols(&k->in);
    a.add = k->add.rank ? k->add.at : NULL, a.add_row = k->add.row, a.add_type = k->add.dtype;
    a.out = k->out.at, a.out_row = k->out.row, a.out_type = k->out.dtype;
    a.weight = k->weight.at, a.weight_type = k->weight.dtype;
    a.rope = k->rope.rank ? (const float *)k->rope.at : NULL, a.head = k->rope.rank ? 2 * k->rope.shape[1] : 0;
    a.eps = (float)k->eps;
    const unsigned rows = (unsigned)kg_rows(&k->in);
    cudaStream_t s = kg_cuda_stream(x);
    const int wide = kg_wide_rows(&k->in) && kg_wide_rows(&k->add) && kg_wide_rows(&k->out) && kg_wide_rows(&k->weight) &&
                     (uintptr_t)k->rope.at % 16 == 0;
    if (!wide || !rms_norm_fast(s, a, rows))
        rms_norm_any<<<rows, 256, 0, s>>>(a);
    kg_cuda_launched(x, "rms_norm");
}

#define KERNEL(f) (const void *)f
#define WIDTHS(f, A, B) KERNEL((f<A, B, 64, 3>)), KERNEL((f<A, B, 128, 3>)), KERNEL((f<A, B, 128, 4>)), KERNEL((f<A, B, 128, 5>))
#define ADDED(T) KERNEL((add_rms_norm_wide<T, 64, 3>)), KERNEL((add_rms_norm_wide<T, 128, 3>)), KERNEL((add_rms_norm_wide<T, 128, 4>)), \
    KERNEL((add_rms_norm_wide<T, 128, 5>))
KG_CUDA_KERNELS(rows, KERNEL(residual_norm_any), KERNEL(rms_norm_any), WIDTHS(residual_norm_wide, kg_bf16, kg_bf16),
                WIDTHS(residual_norm_wide, __half, __half), WIDTHS(residual_norm_wide, float, float),
                WIDTHS(residual_norm_wide, kg_bf16, float), WIDTHS(residual_norm_wide, __half, float),
                WIDTHS(rms_norm_wide, kg_bf16, kg_bf16), WIDTHS(rms_norm_wide, __half, __half),
                WIDTHS(rms_norm_wide, float, float), WIDTHS(rms_norm_wide, float, kg_bf16), ADDED(kg_bf16), ADDED(__half), ADDED(float));
