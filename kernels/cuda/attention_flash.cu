/* Our own attention on 16-bit heads of 64 or 128, for cards from sm_80 on: products of 16 x 8 x 16, softmax on the fly (ref: Milakov and
 * Gimelshein, "Online normalizer calculation for softmax", 2018; Dao et al., FlashAttention-2, 2023).
 *
 * A block has 128 queries of one head, a warp 16 of them. Queries stay in registers; keys and values pass through two stages of shared
 * memory, 64 at a time, copied while the stage before is computed on. Probabilities never leave registers: the layout in which a
 * product leaves its sums is the one in which the next takes its left factor. Groups of eight elements lie at their place xor their
 * row's number, so that neither copies nor ldmatrix meet in a bank.
 * Any length: rows beyond the last query are zero and are not written, keys beyond the last are masked, their values zero. out may
 * be q: a warp reads its queries before it writes, and no other reads them. */
#include "kernels/cuda/attention.h"

enum { ROWS = 128, KEYS = 64, STAGES = 2, THREADS = 256 };
#define LOG2E 1.4426950408889634

struct flash_args {
    const void *q, *k, *v;
    const float *bias;             /* [heads, bias_row], of query 0 and key 0; NULL: none */
    void *out;
    int64_t nq, nk, q_row, k_row, v_row, out_row, bias_row;
    float scale;                   /* times log2(e) */
};

__device__ __forceinline__ void copy16(uint32_t to, const void *from, int bytes)
{
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(bytes));
}

__device__ __forceinline__ void load_matrices(uint32_t at, uint32_t r[4])
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(at));
}

__device__ __forceinline__ void load_turned(uint32_t at, uint32_t r[4])
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(at));
}

__device__ __forceinline__ void multiply_add(float c[4], const uint32_t a[4], uint32_t b0, uint32_t b1, kg_bf16)
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

__device__ __forceinline__ void multiply_add(float c[4], const uint32_t a[4], uint32_t b0, uint32_t b1, __half)
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

__device__ __forceinline__ float exp2_of(float x)
{
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

/* 64 keys and their values into a stage. */
template <typename T, int D> __device__ __forceinline__ void load_stage(const flash_args &a, uint32_t stage, int64_t j0)
{
    const T *k = (const T *)a.k + blockIdx.y * (int64_t)D, *v = (const T *)a.v + blockIdx.y * (int64_t)D;
#pragma unroll
    for (int n = 0; n < KEYS * D / 8 / THREADS; ++n) {
        const int i = n * THREADS + (int)threadIdx.x, row = i / (D / 8), group = i % (D / 8);
        const int there = j0 + row < a.nk;
        const int64_t j = there ? j0 + row : 0;
        const uint32_t at = stage + (uint32_t)(row * D + ((group ^ (row & 7)) * 8)) * 2;
        copy16(at, k + j * a.k_row + group * 8, there ? 16 : 0);
        copy16(at + KEYS * D * 2, v + j * a.v_row + group * 8, there ? 16 : 0);
    }
    asm volatile("cp.async.commit_group;");
}

/* Scores of a warp's 16 queries and the stage's keys: s[key / 8][...] as the product leaves them, then scaled, biased and masked. */
template <typename T, int D> __device__ __forceinline__ void scores_of(const flash_args &a, const uint32_t q[D / 16][4], uint32_t keys,
                                                                         int64_t row, int64_t j0, float s[KEYS / 8][4])
{
    const int lane = threadIdx.x % 32;
    const uint32_t base = keys + (uint32_t)((lane / 16 * 8 + lane % 8) * D) * 2;
#pragma unroll
    for (int n = 0; n < KEYS / 8; ++n)
#pragma unroll
        for (int i = 0; i < 4; ++i)
            s[n][i] = 0;
#pragma unroll
    for (int k = 0; k < D / 16; ++k)
#pragma unroll
        for (int n = 0; n < KEYS / 16; ++n) {
            uint32_t b[4];
            load_matrices(base + (uint32_t)(n * 16 * D) * 2 + (uint32_t)(((k * 2 + lane / 8 % 2) ^ (lane & 7)) << 4), b);
            multiply_add(s[2 * n], q[k], b[0], b[1], T());
            multiply_add(s[2 * n + 1], q[k], b[2], b[3], T());
        }
    const float *bias = a.bias ? a.bias + blockIdx.y * a.bias_row : NULL;
    if (!bias && j0 + KEYS <= a.nk) {
#pragma unroll
        for (int n = 0; n < KEYS / 8; ++n)
#pragma unroll
            for (int i = 0; i < 4; ++i)
                s[n][i] *= a.scale;
        return;
    }
#pragma unroll
    for (int n = 0; n < KEYS / 8; ++n)
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            const int64_t j = j0 + n * 8 + lane % 4 * 2 + i % 2, r = row + i / 2 * 8;
            const float more = bias && j < a.nk && r < a.nq ? bias[j - r] * (float)LOG2E : 0;
            s[n][i] = j < a.nk ? fmaf(s[n][i], a.scale, more) : -INFINITY;
        }
}

/* Scores become probabilities under the greatest so far; sums are this thread's own columns. keep: what earlier sums are worth now. */
__device__ __forceinline__ void soften(float s[KEYS / 8][4], float most[2], float sum[2], float keep[2])
{
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        float top = most[half];
#pragma unroll
        for (int n = 0; n < KEYS / 8; ++n)
            top = fmaxf(top, fmaxf(s[n][2 * half], s[n][2 * half + 1]));
        top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, 1));
        top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, 2));
        keep[half] = exp2_of(most[half] - top);
        most[half] = top;
        sum[half] *= keep[half];
#pragma unroll
        for (int n = 0; n < KEYS / 8; ++n)
#pragma unroll
            for (int i = 2 * half; i < 2 * half + 2; ++i) {
                s[n][i] = exp2_of(s[n][i] - top);
                sum[half] += s[n][i];
            }
    }
}

template <typename T, int D> __device__ __forceinline__ void add_values(const float s[KEYS / 8][4], uint32_t values, const float keep[2],
                                                                          float o[D / 8][4])
{
    const int lane = threadIdx.x % 32;
    const uint32_t base = values + (uint32_t)(lane % 16 * D) * 2;
#pragma unroll
    for (int n = 0; n < D / 8; ++n)
#pragma unroll
        for (int i = 0; i < 4; ++i)
            o[n][i] *= keep[i / 2];
#pragma unroll
    for (int k = 0; k < KEYS / 16; ++k) {
        const uint32_t p[4] = {kg_packed(s[2 * k][0], s[2 * k][1], T()), kg_packed(s[2 * k][2], s[2 * k][3], T()),
                               kg_packed(s[2 * k + 1][0], s[2 * k + 1][1], T()), kg_packed(s[2 * k + 1][2], s[2 * k + 1][3], T())};
#pragma unroll
        for (int n = 0; n < D / 16; ++n) {
            uint32_t b[4];
            load_turned(base + (uint32_t)(k * 16 * D) * 2 + (uint32_t)(((n * 2 + lane / 16) ^ (lane & 7)) << 4), b);
            multiply_add(o[2 * n], p, b[0], b[1], T());
            multiply_add(o[2 * n + 1], p, b[2], b[3], T());
        }
    }
}

__device__ __forceinline__ void store_two(float *p, float a, float b) { *(float2 *)p = {a, b}; }
template <typename T> __device__ __forceinline__ void store_two(T *p, float a, float b) { *(uint32_t *)p = kg_packed(a, b, T()); }

template <typename T, typename O, int D> static __global__ void __launch_bounds__(THREADS) flash(const flash_args a)
{
    extern __shared__ __align__(128) unsigned char room[];
    const uint32_t stages = (uint32_t)__cvta_generic_to_shared(room);
    const int lane = threadIdx.x % 32;
    const int64_t row = (int64_t)blockIdx.x * ROWS + threadIdx.x / 32 * 16 + lane / 4;
    const T *query = (const T *)a.q + blockIdx.y * (int64_t)D + lane % 4 * 2;
    uint32_t q[D / 16][4];
    float o[D / 8][4] = {}, most[2] = {-INFINITY, -INFINITY}, sum[2] = {0, 0};
    load_stage<T, D>(a, stages, 0);
#pragma unroll
    for (int k = 0; k < D / 16; ++k)
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            const int64_t r = row + i % 2 * 8;
            q[k][i] = r < a.nq ? *(const uint32_t *)(query + r * a.q_row + k * 16 + i / 2 * 8) : 0;
        }
    for (int64_t j0 = 0, n = 0; j0 < a.nk; j0 += KEYS, ++n) {
        const uint32_t stage = stages + (uint32_t)(n & 1) * (KEYS * D * 4);
        asm volatile("cp.async.wait_group 0;");
        __syncthreads();
        if (j0 + KEYS < a.nk)
            load_stage<T, D>(a, stages + (uint32_t)(~n & 1) * (KEYS * D * 4), j0 + KEYS);
        float s[KEYS / 8][4], keep[2];
        scores_of<T, D>(a, q, stage, row, j0, s);
        soften(s, most, sum, keep);
        add_values<T, D>(s, stage + KEYS * D * 2, keep, o);
    }
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        sum[half] += __shfl_xor_sync(0xffffffffu, sum[half], 1);
        sum[half] += __shfl_xor_sync(0xffffffffu, sum[half], 2);
        const int64_t r = row + half * 8;
        const float factor = 1 / sum[half];
        O *out = (O *)a.out + r * a.out_row + blockIdx.y * (int64_t)D + lane % 4 * 2;
        if (r < a.nq)
#pragma unroll
            for (int n = 0; n < D / 8; ++n)
                store_two(out + n * 8, o[n][2 * half] * factor, o[n][2 * half + 1] * factor);
    }
}

int kg_flash_fits(const kg_attention_args *a)
{
    const int64_t d = kg_cols(&a->q) / a->heads;
    return a->q.dtype != KG_F32 && (a->out.dtype == a->q.dtype || a->out.dtype == KG_F32) && (d == 64 || d == 128) && a->heads < 65536 &&
           kg_wide_rows(&a->q) && kg_wide_rows(&a->k) && kg_wide_rows(&a->v) && kg_wide_rows(&a->out);
}

template <typename T, typename O, int D> static void launch(kg_exec *x, const flash_args &a, int heads)
{
    const size_t shared = (size_t)STAGES * 2 * KEYS * D * sizeof(T);
    const dim3 blocks((unsigned)((a.nq + ROWS - 1) / ROWS), (unsigned)heads);
    cudaStream_t s = kg_cuda_stream(x);
    const void *kernel = (const void *)flash<T, O, D>;
    if (!kg_cuda_ok(x, cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)shared), "attention"))
        return;
    flash<T, O, D><<<blocks, THREADS, shared, s>>>(a);
    kg_cuda_launched(x, "attention");
}

template <typename T> static void launch_of(kg_exec *x, const kg_attention_args *k, const flash_args &a)
{
    const int wide = kg_cols(&k->q) / k->heads == 128, full = k->out.dtype == KG_F32;
    if (wide && full)
        launch<T, float, 128>(x, a, k->heads);
    else if (wide)
        launch<T, T, 128>(x, a, k->heads);
    else if (full)
        launch<T, float, 64>(x, a, k->heads);
    else
        launch<T, T, 64>(x, a, k->heads);
}

void kg_flash_run(kg_exec *x, const kg_attention_args *k)
{
    flash_args a = {};
    a.q = k->q.at, a.k = k->k.at, a.v = k->v.at, a.out = k->out.at;
    a.nq = kg_rows(&k->q), a.nk = kg_rows(&k->k);
    a.q_row = k->q.row, a.k_row = k->k.row, a.v_row = k->v.row, a.out_row = k->out.row;
    a.scale = (float)(k->scale * LOG2E);
    if (k->bias.rank)
        a.bias = (const float *)k->bias.at + (kg_cols(&k->bias) - 1) / 2, a.bias_row = k->bias.row;
    if (k->q.dtype == KG_BF16)
        launch_of<kg_bf16>(x, k, a);
    else
        launch_of<__half>(x, k, a);
}

#define KERNEL(f) (const void *)f
#define SIZES(T, O) KERNEL((flash<T, O, 64>)), KERNEL((flash<T, O, 128>))
KG_CUDA_KERNELS(flash, SIZES(kg_bf16, kg_bf16), SIZES(kg_bf16, float), SIZES(__half, __half), SIZES(__half, float));
