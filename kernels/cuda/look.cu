/* NaN and Inf, and the range of rows, by the bits. Whole numbers are compared, so that neither order nor rounding decides anything;
 * only a thread that found something writes the flag. */
#include "kernels/cuda/vec.cuh"

enum { THREADS = 256 };

/* u: bits without the sign; inf: those of infinity. */
__device__ __forceinline__ int bits_of(uint32_t u, uint32_t inf) { return u < inf ? 0 : u == inf ? KG_HAS_INF : KG_HAS_NAN; }

/* A word of a row: one f32, or two of a 16-bit type. */
__device__ __forceinline__ int bits_of_word(uint32_t u, kg_dtype t)
{
    if (t == KG_F32)
        return bits_of(u & 0x7fffffffu, 0x7f800000u);
    const uint32_t inf = t == KG_BF16 ? 0x7f80u : 0x7c00u;
    return bits_of(u & 0x7fffu, inf) | bits_of(u >> 16 & 0x7fffu, inf);
}

__device__ __forceinline__ int bits_at(const void *p, kg_dtype t, int64_t i)
{
    return t == KG_F32 ? bits_of_word(((const uint32_t *)p)[i], t) : bits_of_word(((const uint16_t *)p)[i], t);
}

/* Whole groups of 16 bytes of a dense tensor, then the elements that are left. */
static __global__ void __launch_bounds__(THREADS) look_dense(const void *in, kg_dtype type, int64_t groups, int64_t count, int32_t *flag)
{
    const int64_t first = (int64_t)blockIdx.x * THREADS + threadIdx.x, step = (int64_t)gridDim.x * THREADS;
    const int64_t done = groups * (type == KG_F32 ? 4 : 8);
    int bits = 0;
    for (int64_t i = first; i < groups; i += step) {
        const uint4 v = ((const uint4 *)in)[i];
        bits |= bits_of_word(v.x, type) | bits_of_word(v.y, type) | bits_of_word(v.z, type) | bits_of_word(v.w, type);
    }
    for (int64_t i = done + first; i < count; i += step)
        bits |= bits_at(in, type, i);
    if (bits)
        atomicOr(flag, bits);
}

/* Rows at a distance: one element a thread and turn. */
static __global__ void __launch_bounds__(THREADS) look_rows(const void *in, kg_dtype type, int64_t count, int64_t cols, int64_t row,
                                                            int32_t *flag)
{
    int bits = 0;
    for (int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x; i < count; i += (int64_t)gridDim.x * THREADS)
        bits |= bits_at(in, type, i / cols * row + i % cols);
    if (bits)
        atomicOr(flag, bits);
}

/* Floats are ordered like whole numbers when the bits behind a set sign are turned around; twice gives the float again. */
__device__ __forceinline__ int32_t ordered(int32_t u) { return u ^ (u >> 31 & 0x7fffffff); }

/* A block is a row. out [rows, 2] */
static __global__ void __launch_bounds__(THREADS) look_range(const int32_t *in, int64_t cols, int64_t row, int32_t *out, int32_t *flag)
{
    __shared__ int32_t least_of[THREADS / 32], most_of[THREADS / 32];
    int32_t least = INT32_MAX, most = INT32_MIN;
    int bits = 0;
    in += blockIdx.x * row;
    for (int64_t i = threadIdx.x; i < cols; i += THREADS) {
        const int32_t u = in[i], k = ordered(u);
        bits |= bits_of((uint32_t)u & 0x7fffffffu, 0x7f800000u);
        least = min(least, k);
        most = max(most, k);
    }
    if (bits)
        atomicOr(flag, bits);
#pragma unroll
    for (int by = 16; by; by >>= 1) {
        least = min(least, __shfl_xor_sync(0xffffffffu, least, by));
        most = max(most, __shfl_xor_sync(0xffffffffu, most, by));
    }
    if (threadIdx.x % 32 == 0) {
        least_of[threadIdx.x / 32] = least;
        most_of[threadIdx.x / 32] = most;
    }
    __syncthreads();
    if (threadIdx.x)
        return;
    for (int w = 1; w < THREADS / 32; ++w) {
        least = min(least, least_of[w]);
        most = max(most, most_of[w]);
    }
    out[2 * blockIdx.x] = ordered(least);
    out[2 * blockIdx.x + 1] = ordered(most);
}

/* Enough blocks to fill the card; the rest in turns. */
static unsigned blocks_for(kg_exec *x, int64_t work)
{
    const int64_t most = 8 * (int64_t)kg_cuda_sms(x), want = (work + THREADS - 1) / THREADS;
    return (unsigned)(want < 1 ? 1 : want < most ? want : most);
}

extern "C" void kg_cuda_look(kg_exec *x, const kg_look_args *a)
{
    const kg_tensor *in = &a->in;
    const int64_t count = kg_count(in), rows = kg_rows(in);
    cudaStream_t s = kg_cuda_stream(x);
    int32_t *flag = (int32_t *)a->flag.at;
    if (!kg_cuda_ok(x, cudaMemsetAsync(flag, 0, sizeof *flag, s), "look") || !count)
        return;
    if (a->range.rank) {
        look_range<<<(unsigned)rows, THREADS, 0, s>>>((const int32_t *)in->at, kg_cols(in), in->row, (int32_t *)a->range.at, flag);
    } else if (kg_dense(in)) {
        const int64_t group = 16 / (int64_t)kg_dtype_bytes(in->dtype), groups = (uintptr_t)in->at % 16 ? 0 : count / group;
        look_dense<<<blocks_for(x, groups ? groups : count), THREADS, 0, s>>>(in->at, in->dtype, groups, count, flag);
    } else {
        look_rows<<<blocks_for(x, count), THREADS, 0, s>>>(in->at, in->dtype, count, kg_cols(in), in->row, flag);
    }
    kg_cuda_launched(x, "look");
}

KG_CUDA_KERNELS(look, (const void *)look_dense, (const void *)look_rows, (const void *)look_range);
