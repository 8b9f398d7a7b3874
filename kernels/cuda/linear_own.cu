/* A plain tiled product, a row times a matrix that is read as it is stored, and the pass behind a product that has no epilogue. */
#include "kernels/cuda/linear_own.h"
#include "kernels/cuda/vec.cuh"

enum { ROW_WARPS = 8, TILE = 64, DEPTH = 16 };

__device__ __forceinline__ float activated(int a, float v)
{
    return a == KG_LINEAR_GELU ? kg_gelu(v) : a == KG_LINEAR_SILU ? kg_silu(v) : v;
}

__device__ __forceinline__ void finish_one(const kg_own_args &a, int64_t row, int64_t col, float v)
{
    if (a.bias)
        v += kg_get(a.bias, a.bias_type, col);
    kg_set(a.out, a.out_type, row * a.out_row + col, activated(a.activation, v));
}

template <typename T> __device__ __forceinline__ float rounded(float v)
{
    T t;
    kg_narrow(&t, v);
    return kg_wide(t);
}

/* Tiles of 64 by 64, four by four a thread; a stretch of k has a sum of its own, so that long rows lose nothing. */
template <typename T> static __global__ void __launch_bounds__(256) plain_product(const kg_own_args a)
{
    __shared__ float in[DEPTH][TILE + 4], weight[DEPTH][TILE + 4];
    const int64_t m0 = (int64_t)blockIdx.y * TILE, n0 = (int64_t)blockIdx.x * TILE;
    const int row = threadIdx.x / 4, deep = threadIdx.x % 4 * 4, ty = threadIdx.x / 16 * 4, tx = threadIdx.x % 16 * 4;
    float total[4][4] = {}, part[4][4] = {};
    for (int64_t k0 = 0; k0 < a.k; k0 += DEPTH) {
        for (int i = deep; i < deep + 4; ++i) {
            const int64_t k = k0 + i;
            in[i][row] = m0 + row < a.m && k < a.k ? kg_wide(((const T *)a.in)[(m0 + row) * a.in_row + k]) : 0.0f;
            weight[i][row] = n0 + row < a.n && k < a.k ? rounded<T>(kg_get(a.weight, a.weight_type, (n0 + row) * a.weight_row + k)) : 0.0f;
        }
        __syncthreads();
#pragma unroll
        for (int i = 0; i < DEPTH; ++i)
#pragma unroll
            for (int r = 0; r < 4; ++r)
#pragma unroll
                for (int c = 0; c < 4; ++c)
                    part[r][c] = fmaf(in[i][ty + r], weight[i][tx + c], part[r][c]);
        __syncthreads();
        if (k0 / DEPTH % 16 == 15 || k0 + DEPTH >= a.k)
            for (int i = 0; i < 16; ++i) {
                total[i / 4][i % 4] += part[i / 4][i % 4];
                part[i / 4][i % 4] = 0;
            }
    }
    for (int r = 0; r < 4; ++r)
        for (int c = 0; c < 4; ++c)
            if (m0 + ty + r < a.m && n0 + tx + c < a.n)
                finish_one(a, m0 + ty + r, n0 + tx + c, total[r][c]);
}

/* One row of f32: a warp an output, lanes take groups of eight in turn. */
static __global__ void __launch_bounds__(ROW_WARPS * 32) row_product(const kg_own_args a)
{
    const int64_t n = (int64_t)blockIdx.x * ROW_WARPS + threadIdx.x / 32;
    float sum = 0;
    if (n >= a.n)
        return;
    for (int64_t k = threadIdx.x % 32 * 8; k < a.k; k += 256) {
        float v[8], w[8], part = 0;
        kg_widen8(kg_load8((const float *)a.in + k), v);
        kg_get8(a.weight, a.weight_type, n * a.weight_row + k, w);
#pragma unroll
        for (int i = 0; i < 8; ++i)
            part = fmaf(v[i], w[i], part);
        sum += part;
    }
#pragma unroll
    for (int by = 16; by; by >>= 1)
        sum += __shfl_xor_sync(0xffffffffu, sum, by);
    if (threadIdx.x % 32 == 0)
        finish_one(a, 0, n, sum);
}

/* Bias and activation of a product that is there already. */
static __global__ void __launch_bounds__(256) finish_pass(const kg_own_args a)
{
    const int64_t col = (int64_t)blockIdx.x * 256 + threadIdx.x;
    if (col < a.n)
        for (int64_t row = blockIdx.y; row < a.m; row += gridDim.y)
            finish_one(a, row, col, kg_get(a.out, a.out_type, row * a.out_row + col));
}

kg_own_args kg_own_of(const kg_linear_args *k)
{
    kg_own_args a = {};
    a.in = k->in.at, a.weight = k->weight.at, a.bias = k->bias.rank ? k->bias.at : NULL, a.out = k->out.at;
    a.m = kg_rows(&k->in), a.n = kg_cols(&k->out), a.k = kg_cols(&k->in);
    a.in_row = k->in.row, a.weight_row = k->weight.row, a.out_row = k->out.row;
    a.weight_type = k->weight.dtype, a.bias_type = k->bias.dtype, a.out_type = k->out.dtype;
    a.activation = k->activation;
    return a;
}

void kg_own_plain(cudaStream_t s, const kg_own_args &a, kg_dtype in)
{
    const dim3 blocks((unsigned)((a.n + TILE - 1) / TILE), (unsigned)((a.m + TILE - 1) / TILE));
    if (in == KG_F32)
        plain_product<float><<<blocks, 256, 0, s>>>(a);
    else if (in == KG_BF16)
        plain_product<kg_bf16><<<blocks, 256, 0, s>>>(a);
    else
        plain_product<__half><<<blocks, 256, 0, s>>>(a);
}

void kg_own_row(cudaStream_t s, const kg_own_args &a)
{
    row_product<<<(unsigned)((a.n + ROW_WARPS - 1) / ROW_WARPS), ROW_WARPS * 32, 0, s>>>(a);
}

void kg_own_finish(cudaStream_t s, const kg_own_args &a)
{
    const dim3 blocks((unsigned)((a.n + 255) / 256), (unsigned)(a.m < 65535 ? a.m : 65535));
    finish_pass<<<blocks, 256, 0, s>>>(a);
}

KG_CUDA_KERNELS(linear, (const void *)plain_product<float>, (const void *)plain_product<kg_bf16>, (const void *)plain_product<__half>,
                (const void *)row_product, (const void *)finish_pass);
