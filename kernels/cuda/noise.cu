/* Normal noise with the bits of torch's CPU generator (see kernels/cpu/noise.c for what they are), or of its generator for cards.
 *
 * The Mersenne Twister runs in one block: of its 624 new numbers the first 227 depend on old ones alone, the next 227 on those, the
 * rest on these, so a round is three steps of many threads. Box and Muller's part is then one thread a pair, with every product and
 * sum rounded as the CPU's code spells it. Fewer than 16 numbers come from the host's f64 functions, as a kernel's argument. */
#include "kernels/cuda/vec.cuh"
#include "kernels/philox.h"

#include <math.h>

enum { MT_N = 624, MT_M = 397, BLOCK = 16, THREADS = 256 };

__host__ __device__ static inline uint32_t twisted(uint32_t high, uint32_t low, uint32_t far)
{
    const uint32_t y = (high & 0x80000000u) | (low & 0x7fffffffu);
    return far ^ y >> 1 ^ ((0u - (y & 1)) & 0x9908b0dfu);
}

__host__ __device__ static inline uint32_t tempered(uint32_t y)
{
    y ^= y >> 11;
    y ^= y << 7 & 0x9d2c5680u;
    y ^= y << 15 & 0xefc60000u;
    return y ^ y >> 18;
}

__device__ __forceinline__ float uniform_of(uint32_t y) { return (float)(tempered(y) & 0xffffff) * 0x1p-24f; }

/* x in (0, 1]: see cephes_log in kernels/cpu/noise.c. */
__device__ __forceinline__ float cephes_log(float x)
{
    const uint32_t u = __float_as_uint(x);
    float e = __fadd_rn((float)((int)(u >> 23) - 127), 1), m = __uint_as_float((u & 0x807fffff) | 0x3f000000);
    const int low = m < 0.707106781186547524f;
    const float again = low ? m : 0.0f;
    e = __fadd_rn(e, low ? -1.0f : -0.0f);
    m = __fadd_rn(__fadd_rn(m, -1), again);
    const float z = __fmul_rn(m, m);
    float y = 7.0376836292e-2f;
    y = __fmaf_rn(y, m, -1.1514610310e-1f);
    y = __fmaf_rn(y, m, 1.1676998740e-1f);
    y = __fmaf_rn(y, m, -1.2420140846e-1f);
    y = __fmaf_rn(y, m, 1.4249322787e-1f);
    y = __fmaf_rn(y, m, -1.6668057665e-1f);
    y = __fmaf_rn(y, m, 2.0000714765e-1f);
    y = __fmaf_rn(y, m, -2.4999993993e-1f);
    y = __fmaf_rn(y, m, 3.3333331174e-1f);
    y = __fmaf_rn(__fmul_rn(y, m), z, __fmul_rn(e, -2.12194440e-4f));
    y = __fmaf_rn(-z, 0.5f, y);
    return __fmaf_rn(e, 0.693359375f, __fadd_rn(m, y));
}

/* x in [0, 2 pi]: see cephes_sincos in kernels/cpu/noise.c. */
__device__ __forceinline__ void cephes_sincos(float x, float *sine, float *cosine)
{
    int j = (int)__fmul_rn(x, 1.27323954473516f);
    j = (j + 1) & ~1;
    const float whole = (float)j;
    x = __fmaf_rn(whole, -0.78515625f, x);
    x = __fmaf_rn(whole, -2.4187564849853515625e-4f, x);
    x = __fmaf_rn(whole, -3.77489497744594108e-8f, x);
    const float z = __fmul_rn(x, x);
    float c = 2.443315711809948e-5f, s = -1.9515295891e-4f;
    c = __fmaf_rn(c, z, -1.388731625493765e-3f);
    c = __fmaf_rn(c, z, 4.166664568298827e-2f);
    c = __fadd_rn(__fmaf_rn(__fmul_rn(c, z), z, __fmul_rn(z, -0.5f)), 1);
    s = __fmaf_rn(s, z, 8.3321608736e-3f);
    s = __fmaf_rn(s, z, -1.6666654611e-1f);
    s = __fmaf_rn(__fmul_rn(s, z), x, x);
    const int straight = (j & 2) == 0;
    *sine = __uint_as_float(__float_as_uint(straight ? s : c) ^ (uint32_t)(j & 4) << 29);
    *cosine = __uint_as_float(__float_as_uint(straight ? c : s) ^ (uint32_t)(~(j - 2) & 4) << 29);
}

/* The pair k of a block of 16 uniforms becomes two normals. */
__device__ __forceinline__ void normal_pair(float radius_of, float angle_of, float *first, float *second)
{
    float sine, cosine;
    const float radius = __fsqrt_rn(__fmul_rn(cephes_log(__fadd_rn(1, -radius_of)), -2));
    cephes_sincos(__fmul_rn(angle_of, 6.28318530717958647692f), &sine, &cosine);
    *first = __fmaf_rn(radius, cosine, 0);
    *second = __fmaf_rn(radius, sine, 0);
}

/* Writes uniforms to out. When n is no multiple of 16 the last whole block and the last 16 are finished here: the 16 numbers drawn
 * after all others take the place of uniforms which that block still needs. */
static __global__ void __launch_bounds__(THREADS) draw(float *out, int64_t n, uint32_t seed)
{
    __shared__ uint32_t state[2][MT_N];
    __shared__ float last[2 * BLOCK];
    const int64_t tail = n % BLOCK ? BLOCK : 0, block = n / BLOCK * BLOCK - BLOCK;     /* of the last whole block */
    if (threadIdx.x == 0) {
        state[0][0] = seed;
        for (uint32_t i = 1; i < MT_N; ++i)
            state[0][i] = 1812433253u * (state[0][i - 1] ^ state[0][i - 1] >> 30) + i;
    }
    __syncthreads();
    for (int64_t round = 0; round * MT_N < n + tail; ++round) {
        const uint32_t *old = state[round & 1];
        uint32_t *now = state[~round & 1];
        for (int part = 0; part < 3; ++part) {
            const int i = part * (MT_N - MT_M) + (int)threadIdx.x;
            const int end = part < 2 ? (part + 1) * (MT_N - MT_M) : MT_N;
            if (i < end) {
                const uint32_t low = i + 1 < MT_N ? old[i + 1] : now[0], far = part ? now[i - (MT_N - MT_M)] : old[i + MT_M];
                const uint32_t y = twisted(old[i], low, far);
                const int64_t at = round * MT_N + i;
                now[i] = y;
                if (at < n)
                    out[at] = uniform_of(y);
                else if (at < n + tail)
                    last[BLOCK + at - n] = uniform_of(y);
            }
            __syncthreads();
        }
    }
    if (!tail)
        return;
    if (threadIdx.x < BLOCK)
        last[threadIdx.x] = out[block + threadIdx.x];
    __syncthreads();
    const int k = threadIdx.x % 8, which = threadIdx.x / 8;
    if (which == 0)
        normal_pair(last[k], last[k + 8], out + block + k, out + block + k + 8);
    __syncthreads();
    if (which == 1)
        normal_pair(last[BLOCK + k], last[BLOCK + k + 8], out + n - BLOCK + k, out + n - BLOCK + k + 8);
}

static __global__ void __launch_bounds__(THREADS) normals(float *out, int64_t blocks)
{
    const int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x, at = i / 8 * BLOCK + i % 8;
    if (i < blocks * 8)
        normal_pair(out[at], out[at + 8], out + at, out + at + 8);
}

struct few { float v[BLOCK]; };
static __global__ void put_few(float *out, int n, const few f)
{
    if ((int)threadIdx.x < n)
        out[threadIdx.x] = f.v[threadIdx.x];
}

/* ---- fewer than 16, on the host ---- */
struct twister { uint32_t s[MT_N]; int at; };

static double draw_double(twister *t)
{
    const uint64_t high = tempered(t->s[t->at]), low = tempered(t->s[t->at + 1]);
    t->at += 2;
    return (double)((high << 32 | low) & ((UINT64_C(1) << 53) - 1)) * 0x1p-53;
}

static few draw_few(int64_t n, uint64_t seed)
{
    few f = {};
    twister t;
    t.at = 0;
    t.s[0] = (uint32_t)seed;
    for (uint32_t i = 1; i < MT_N; ++i)
        t.s[i] = 1812433253u * (t.s[i - 1] ^ t.s[i - 1] >> 30) + i;
    for (int i = 0; i < 4 * BLOCK; ++i)        /* more than 32 are never used, and each depends on old ones alone */
        t.s[i] = twisted(t.s[i], t.s[i + 1], t.s[i + MT_M]);
    for (int64_t i = 0; i < n; i += 2) {
        const double angle = 6.28318530717958647692 * draw_double(&t), radius = sqrt(-2 * log1p(-draw_double(&t)));
        f.v[i] = (float)(radius * cos(angle));
        if (i + 1 < n)
            f.v[i + 1] = (float)(radius * sin(angle));
    }
    return f;
}

/* The generator for cards. Spelled as curand_normal.h spells it, which torch is built with: the compiler fuses the same. */
static __device__ __forceinline__ float2 philox_pair(uint32_t x, uint32_t y)
{
    float2 r;
    const float u = x * 2.3283064e-10f + (2.3283064e-10f / 2);
    const float v = y * (2.3283064e-10f * 6.2831855f) + ((2.3283064e-10f * 6.2831855f) / 2);
    const float s = sqrtf(-2.0f * logf(u));
    __sincosf(v, &r.x, &r.y);
    r.x *= s;
    r.y *= s;
    return r;
}

static __global__ void __launch_bounds__(KG_PHILOX_THREADS) philox_normals(float *out, int64_t n, uint64_t seed)
{
    const int64_t threads = (int64_t)gridDim.x * KG_PHILOX_THREADS, t = (int64_t)blockIdx.x * KG_PHILOX_THREADS + threadIdx.x;
    for (int64_t round = 0; round * 4 * threads + t < n; ++round) {
        const kg_philox d = kg_philox_draw(seed, (uint64_t)round, (uint64_t)t);
        const float2 first = philox_pair(d.v[0], d.v[1]), second = philox_pair(d.v[2], d.v[3]);
        const float four[4] = {first.x, first.y, second.x, second.y};
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            const int64_t at = (round * 4 + i) * threads + t;
            if (at < n)
                out[at] = four[i];
        }
    }
}

extern "C" void kg_cuda_noise(kg_exec *x, const kg_noise_args *a)
{
    const int64_t n = kg_count(&a->out), blocks = n / BLOCK - (n % BLOCK ? 1 : 0);
    float *out = (float *)a->out.at;
    cudaStream_t s = kg_cuda_stream(x);
    if (a->blocks) {
        philox_normals<<<(unsigned)(kg_philox_threads(n, a->blocks) / KG_PHILOX_THREADS), KG_PHILOX_THREADS, 0, s>>>(out, n, a->seed);
    } else if (n < BLOCK) {
        put_few<<<1, 32, 0, s>>>(out, (int)n, draw_few(n, a->seed));
    } else {
        draw<<<1, THREADS, 0, s>>>(out, n, (uint32_t)a->seed);
        if (blocks > 0)
            normals<<<(unsigned)((blocks * 8 + THREADS - 1) / THREADS), THREADS, 0, s>>>(out, blocks);
    }
    kg_cuda_launched(x, "noise");
}

KG_CUDA_KERNELS(noise, (const void *)draw, (const void *)normals, (const void *)put_few,
                (const void *)philox_normals);
