/* Passes over elements: casts and activations, gated GELU, sums with coefficients, constants. In groups of eight where rows allow it,
 * else one by one. The sums of combine are f64 with no product fused into a sum: the same bits as on the CPU. */
#include "kernels/cuda/vec.cuh"

enum { THREADS = 256 };

/* What a thread works on: element i of row r. Dense tensors come as one row. */
struct grid { int64_t rows, cols; unsigned x, y; };

/* Rows go to grid.y, in turns when there are more of them than it takes. */
static grid grid_over(int64_t rows, int64_t cols, int width)
{
    grid g = {rows, cols / width, 0, 0};
    g.x = (unsigned)((g.cols + THREADS - 1) / THREADS);
    g.y = (unsigned)(rows < 65535 ? rows : 65535);
    return g;
}

/* ---- casts and activations ---- */
struct unary_args { const void *in; void *out; int64_t rows, cols, in_row, out_row; kg_dtype in_type, out_type; int op; };

__device__ __forceinline__ float activated(int op, float v)
{
    return op == KG_UNARY_SILU ? kg_silu(v) : op == KG_UNARY_GELU ? kg_gelu(v) : v;
}

static __global__ void __launch_bounds__(THREADS) unary_any(const unary_args a)
{
    const int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x;
    if (i < a.cols)
        for (int64_t r = blockIdx.y; r < a.rows; r += gridDim.y)
            kg_set(a.out, a.out_type, r * a.out_row + i, activated(a.op, kg_get(a.in, a.in_type, r * a.in_row + i)));
}

template <typename I, typename O> static __global__ void __launch_bounds__(THREADS) unary_wide(const unary_args a)
{
    const int64_t i = ((int64_t)blockIdx.x * THREADS + threadIdx.x) * 8;
    if (i >= a.cols)
        return;
    for (int64_t r = blockIdx.y; r < a.rows; r += gridDim.y) {
        float v[8];
        kg_widen8(kg_load8((const I *)a.in + r * a.in_row + i), v);
#pragma unroll
        for (int k = 0; k < 8; ++k)
            v[k] = activated(a.op, v[k]);
        kg_store8((O *)a.out + r * a.out_row + i, v);
    }
}

template <typename I> static void unary_to(cudaStream_t s, dim3 g, const unary_args &a)
{
    if (a.out_type == KG_F32)
        unary_wide<I, float><<<g, THREADS, 0, s>>>(a);
    else if (a.out_type == KG_BF16)
        unary_wide<I, kg_bf16><<<g, THREADS, 0, s>>>(a);
    else
        unary_wide<I, __half><<<g, THREADS, 0, s>>>(a);
}

extern "C" void kg_cuda_unary(kg_exec *x, const kg_unary_args *k)
{
    unary_args a = {k->in.at, k->out.at, kg_rows(&k->in), kg_cols(&k->in), k->in.row, k->out.row, k->in.dtype, k->out.dtype, k->op};
    if (kg_dense(&k->in) && kg_dense(&k->out))
        a.cols = kg_count(&k->in), a.rows = 1;
    cudaStream_t s = kg_cuda_stream(x);
    const int wide = a.cols % 8 == 0 && (uintptr_t)a.in % 16 == 0 && (uintptr_t)a.out % 16 == 0 &&
                     (a.rows == 1 || (kg_wide_rows(&k->in) && kg_wide_rows(&k->out)));
    const grid g = grid_over(a.rows, a.cols, wide ? 8 : 1);
    const dim3 blocks(g.x, g.y);
    if (!wide)
        unary_any<<<blocks, THREADS, 0, s>>>(a);
    else if (a.in_type == KG_F32)
        unary_to<float>(s, blocks, a);
    else if (a.in_type == KG_BF16)
        unary_to<kg_bf16>(s, blocks, a);
    else
        unary_to<__half>(s, blocks, a);
    kg_cuda_launched(x, "unary");
}

/* ---- out = gelu(gate) * up ---- */
struct gated_args {
    const void *gate, *up;
    void *out;
    int64_t rows, cols, gate_row, up_row, out_row;
    kg_dtype gate_type, up_type, out_type;
};

static __global__ void __launch_bounds__(THREADS) gated_any(const gated_args a)
{
    const int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x;
    if (i < a.cols)
        for (int64_t r = blockIdx.y; r < a.rows; r += gridDim.y)
            kg_set(a.out, a.out_type, r * a.out_row + i,
                   kg_gelu(kg_get(a.gate, a.gate_type, r * a.gate_row + i)) * kg_get(a.up, a.up_type, r * a.up_row + i));
}

template <typename T> static __global__ void __launch_bounds__(THREADS) gated_wide(const gated_args a)
{
    const int64_t i = ((int64_t)blockIdx.x * THREADS + threadIdx.x) * 8;
    if (i >= a.cols)
        return;
    for (int64_t r = blockIdx.y; r < a.rows; r += gridDim.y) {
        const kg_raw<T> first = kg_load8((const T *)a.gate + r * a.gate_row + i), second = kg_load8((const T *)a.up + r * a.up_row + i);
        float gate[8], up[8];
        kg_widen8(first, gate);
        kg_widen8(second, up);
#pragma unroll
        for (int k = 0; k < 8; ++k)
            gate[k] = kg_gelu(gate[k]) * up[k];
        kg_store8((T *)a.out + r * a.out_row + i, gate);
    }
}

extern "C" void kg_cuda_gated_gelu(kg_exec *x, const kg_gated_gelu_args *k)
{
    const gated_args a = {k->gate.at, k->up.at, k->out.at, kg_rows(&k->out), kg_cols(&k->out), k->gate.row, k->up.row, k->out.row,
                          k->gate.dtype, k->up.dtype, k->out.dtype};
    cudaStream_t s = kg_cuda_stream(x);
    const int wide = a.cols % 8 == 0 && a.gate_type == a.out_type && a.up_type == a.out_type && kg_wide_rows(&k->gate) &&
                     kg_wide_rows(&k->up) && kg_wide_rows(&k->out);
    const grid g = grid_over(a.rows, a.cols, wide ? 8 : 1);
    const dim3 blocks(g.x, g.y);
    if (!wide)
        gated_any<<<blocks, THREADS, 0, s>>>(a);
    else if (a.out_type == KG_F32)
        gated_wide<float><<<blocks, THREADS, 0, s>>>(a);
    else if (a.out_type == KG_BF16)
        gated_wide<kg_bf16><<<blocks, THREADS, 0, s>>>(a);
    else
        gated_wide<__half><<<blocks, THREADS, 0, s>>>(a);
    kg_cuda_launched(x, "gated_gelu");
}

/* ---- out = sum of coef[i] * term[i] ---- */
struct combine_args { float *out; const void *term[6]; double coef[6]; kg_dtype type[6]; int n; int64_t count; };

static __global__ void __launch_bounds__(THREADS) combine(const combine_args a)
{
    const int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x;
    if (i >= a.count)
        return;
    double sum = 0;
    for (int t = 0; t < a.n; ++t)
        sum = __dadd_rn(sum, __dmul_rn((double)kg_get(a.term[t], a.type[t], i), a.coef[t]));
    a.out[i] = (float)sum;
}

extern "C" void kg_cuda_combine(kg_exec *x, const kg_combine_args *k)
{
    combine_args a = {};
    a.out = (float *)k->out.at, a.n = k->n, a.count = kg_count(&k->out);
    for (int t = 0; t < k->n; ++t)
        a.term[t] = k->term[t].at, a.type[t] = k->term[t].dtype, a.coef[t] = k->coef[t];
    combine<<<(unsigned)((a.count + THREADS - 1) / THREADS), THREADS, 0, kg_cuda_stream(x)>>>(a);
    kg_cuda_launched(x, "combine");
}

/* ---- constants; a bias by relative position ---- */
static __global__ void __launch_bounds__(THREADS) fill(void *out, kg_dtype type, int64_t count, float value)
{
    const int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x;
    if (i < count)
        kg_set(out, type, i, value);
}

extern "C" void kg_cuda_fill(kg_exec *x, const kg_fill_args *a)
{
    const int64_t count = kg_count(&a->out);
    fill<<<(unsigned)((count + THREADS - 1) / THREADS), THREADS, 0, kg_cuda_stream(x)>>>(a->out.at, a->out.dtype, count, (float)a->value);
    kg_cuda_launched(x, "fill");
}

struct rel_bias_args { float *out; const void *table; const int32_t *bucket; int64_t heads, width; kg_dtype type; };
static __global__ void __launch_bounds__(THREADS) rel_bias(const rel_bias_args a)
{
    const int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x;
    if (i < a.heads * a.width)
        a.out[i] = kg_get(a.table, a.type, a.bucket[i % a.width] * a.heads + i / a.width);
}

extern "C" void kg_cuda_rel_bias(kg_exec *x, const kg_rel_bias_args *k)
{
    const rel_bias_args a = {(float *)k->out.at, k->table.at, (const int32_t *)k->bucket.at, k->out.shape[0], k->out.shape[1],
                             k->table.dtype};
    rel_bias<<<(unsigned)((a.heads * a.width + THREADS - 1) / THREADS), THREADS, 0, kg_cuda_stream(x)>>>(a);
    kg_cuda_launched(x, "rel_bias");
}

#define KERNEL(f) (const void *)f
#define TO_ALL(I) KERNEL((unary_wide<I, float>)), KERNEL((unary_wide<I, kg_bf16>)), KERNEL((unary_wide<I, __half>))
KG_CUDA_KERNELS(elements, KERNEL(unary_any), TO_ALL(float), TO_ALL(kg_bf16), TO_ALL(__half), KERNEL(gated_any),
                KERNEL(gated_wide<float>), KERNEL(gated_wide<kg_bf16>), KERNEL(gated_wide<__half>), KERNEL(combine), KERNEL(fill),
                KERNEL(rel_bias));
