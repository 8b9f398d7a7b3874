/* Normal noise with the bits of torch's CPU generator, its AVX2 path, for float tensors.
 *
 * Facts (ref: pytorch aten/src/ATen/native/cpu/DistributionTemplates.h, avx_mathfun.h; at::mt19937): a Mersenne Twister seeded with
 * the low 32 bits of the seed. From 16 numbers on, uniforms of 24 bits are drawn for all; then each 16 of them become normals by
 * Box and Muller, the first eight as radius, the last eight as angle, with Cephes' single precision log, sin and cos. When the
 * count is no multiple of 16, the last 16 are drawn anew at the end. Fewer than 16 come from f64 pairs and the C library.
 * torch's compiler fused products and sums where it could; which ones is part of the bits, so each fused one is spelled out here,
 * and no other product feeds a sum. The same bits on every instruction set; without FMA they come from the C library's fmaf.
 *
 * This file includes itself for each instruction set: the part under KG_ISA_NAME is compiled three times. */
#ifndef KG_ISA_NAME
#include "kernels/cpu/cpu.h"
#include "kernels/philox.h"

#include <math.h>

typedef struct noise_fns { void (*blocks)(float *at, int64_t blocks); } noise_fns;

#define KG_BODY "kernels/cpu/noise.c"
#include "kernels/cpu/each_isa.h"

static const noise_fns *const fns[KG_ISAS] = KG_OF_ISA(noise_fns);

/* ref: Matsumoto and Nishimura, "Mersenne Twister", 1998: MT19937 */
enum { MT_N = 624, MT_M = 397, BLOCK = 16, BLOCKS = 2048 };
typedef struct twister { uint32_t s[MT_N]; int at; } twister;

static void seed_twister(twister *t, uint64_t seed)
{
    t->s[0] = (uint32_t)seed;
    for (uint32_t i = 1; i < MT_N; ++i)
        t->s[i] = 1812433253u * (t->s[i - 1] ^ t->s[i - 1] >> 30) + i;
    t->at = MT_N;
}

static uint32_t twisted(uint32_t high, uint32_t low, uint32_t far)
{
    uint32_t y = (high & 0x80000000u) | (low & 0x7fffffffu);
    return far ^ y >> 1 ^ ((0u - (y & 1)) & 0x9908b0dfu);
}

static void twist(twister *t)
{
    uint32_t *s = t->s;
    for (int i = 0; i < MT_N - MT_M; ++i)
        s[i] = twisted(s[i], s[i + 1], s[i + MT_M]);
    for (int i = MT_N - MT_M; i < MT_N - 1; ++i)
        s[i] = twisted(s[i], s[i + 1], s[i + MT_M - MT_N]);
    s[MT_N - 1] = twisted(s[MT_N - 1], s[0], s[MT_M - 1]);
    t->at = 0;
}

static uint32_t draw(twister *t)
{
    if (t->at == MT_N)
        twist(t);
    uint32_t y = t->s[t->at++];
    y ^= y >> 11;
    y ^= y << 7 & 0x9d2c5680u;
    y ^= y << 15 & 0xefc60000u;
    return y ^ y >> 18;
}

static void draw_uniforms(twister *t, float *out, int64_t n)
{
    for (int64_t i = 0; i < n; ++i)
        out[i] = (float)(draw(t) & 0xffffff) * 0x1p-24f;
}

static double draw_double(twister *t)
{
    uint64_t high = draw(t), low = draw(t);
    return (double)((high << 32 | low) & ((UINT64_C(1) << 53) - 1)) * 0x1p-53;
}

/* Fewer than 16: the cosine of a pair first, its sine next. */
static void draw_few(twister *t, float *out, int64_t n)
{
    const double two_pi = 6.28318530717958647692;
    for (int64_t i = 0; i < n; i += 2) {
        double angle = two_pi * draw_double(t), radius = sqrt(-2 * log1p(-draw_double(t)));
        out[i] = (float)(radius * cos(angle));
        if (i + 1 < n)
            out[i + 1] = (float)(radius * sin(angle));
    }
}

typedef struct noise_job { const noise_fns *fn; float *out; int64_t blocks; } noise_job;

static void noise_tile(void *arg, int64_t tile, int worker)
{
    (void)worker;
    const noise_job *j = arg;
    int64_t first = tile * BLOCKS, n = j->blocks - first < BLOCKS ? j->blocks - first : BLOCKS;
    j->fn->blocks(j->out + first * BLOCK, n);
}

/* The generator for cards: four elements from one draw. A tile is some threads of all rounds. */
static void philox_tile(void *arg, int64_t tile, int worker)
{
    (void)worker;
    const kg_noise_args *a = arg;
    int64_t n = kg_count(&a->out), threads = kg_philox_threads(n, a->blocks);
    float *out = a->out.at;
    for (int64_t t = tile * KG_PHILOX_THREADS; t < (tile + 1) * KG_PHILOX_THREADS; ++t)
        for (int64_t round = 0; round * 4 * threads + t < n; ++round) {
            kg_philox d = kg_philox_draw(a->seed, (uint64_t)round, (uint64_t)t);
            for (int i = 0; i < 4; ++i) {
                int64_t at = (round * 4 + i) * threads + t;
                float u = (float)d.v[i & 2] * 2.3283064e-10f + 2.3283064e-10f / 2;
                float angle = (float)d.v[i | 1] * (2.3283064e-10f * 6.2831855f) + 2.3283064e-10f * 6.2831855f / 2;
                float radius = sqrtf(-2 * logf(u));
                if (at < n)
                    out[at] = radius * (i & 1 ? cosf(angle) : sinf(angle));
            }
        }
}

void kg_cpu_noise(kg_exec *x, const kg_noise_args *a)
{
    if (a->blocks) {
        kg_noise_args copy = *a;
        kg_cpu_for(x, kg_philox_threads(kg_count(&a->out), a->blocks) / KG_PHILOX_THREADS, philox_tile, &copy);
        return;
    }
    noise_job j = {.fn = fns[kg_cpu_isa()], .out = a->out.at, .blocks = kg_count(&a->out) / BLOCK};
    int64_t n = kg_count(&a->out);
    twister t;
    seed_twister(&t, a->seed);
    if (n < BLOCK) {
        draw_few(&t, j.out, n);
        return;
    }
    draw_uniforms(&t, j.out, n);
    kg_cpu_for(x, (j.blocks + BLOCKS - 1) / BLOCKS, noise_tile, &j);
    if (n % BLOCK) {
        draw_uniforms(&t, j.out + n - BLOCK, BLOCK);
        j.fn->blocks(j.out + n - BLOCK, 1);
    }
}

#else

#define fused KG_FN(fused)
#define root KG_FN(root)
#define choose KG_FN(choose)
#define cephes_log KG_FN(cephes_log)
#define cephes_sincos KG_FN(cephes_sincos)
#define normal_blocks KG_FN(normal_blocks)

/* a * b + c, rounded once on every machine. */
KG_INLINE vf fused(vf a, vf b, vf c)
{
#if defined(__FMA__)
    return v_fma(a, b, c);
#else
    for (int i = 0; i < LANES; ++i)
        a[i] = __builtin_fmaf(a[i], b[i], c[i]);
    return a;
#endif
}

KG_INLINE vf root(vf a)
{
#if defined(__AVX512F__)
    return (vf)_mm512_sqrt_ps((__m512)a);
#else
    for (int i = 0; i < LANES; ++i)
        a[i] = __builtin_sqrtf(a[i]);
    return a;
#endif
}

KG_INLINE vf choose(vi which, vf yes, vf no) { return (vf)((which & (vi)yes) | (~which & (vi)no)); }

/* x in (0, 1]. x = m 2^e with m in [sqrt(1/2), sqrt(2)); log m by a polynomial in m - 1; ln 2 in two parts. */
KG_INLINE vf cephes_log(vf x)
{
    vf e = __builtin_convertvector((vi)((vu)x >> 23) - 127, vf) + 1.0f;
    vf m = (vf)(((vu)x & 0x807fffff) | 0x3f000000);
    vi low = m < v_splat(0.707106781186547524f);
    vf again = choose(low, m, v_splat(0));
    e = e - choose(low, v_splat(1), v_splat(0));
    m = m - 1.0f + again;
    vf z = m * m, y = v_splat(7.0376836292e-2f);
    y = fused(y, m, v_splat(-1.1514610310e-1f));
    y = fused(y, m, v_splat(1.1676998740e-1f));
    y = fused(y, m, v_splat(-1.2420140846e-1f));
    y = fused(y, m, v_splat(1.4249322787e-1f));
    y = fused(y, m, v_splat(-1.6668057665e-1f));
    y = fused(y, m, v_splat(2.0000714765e-1f));
    y = fused(y, m, v_splat(-2.4999993993e-1f));
    y = fused(y, m, v_splat(3.3333331174e-1f));
    y = fused(y * m, z, e * -2.12194440e-4f);
    y = fused(-z, v_splat(0.5f), y);
    return fused(e, v_splat(0.693359375f), m + y);
}

/* x in [0, 2 pi]. x = j pi/4 + r with j even, pi/4 in three parts; then the polynomial of the octant, and signs by j's bits. */
KG_INLINE void cephes_sincos(vf x, vf *sine, vf *cosine)
{
    vi j = __builtin_convertvector(x * 1.27323954473516f, vi);
    j = (j + 1) & ~1;
    vf y = __builtin_convertvector(j, vf);
    x = fused(y, v_splat(-0.78515625f), x);
    x = fused(y, v_splat(-2.4187564849853515625e-4f), x);
    x = fused(y, v_splat(-3.77489497744594108e-8f), x);
    vf z = x * x, c = v_splat(2.443315711809948e-5f), s = v_splat(-1.9515295891e-4f);
    c = fused(c, z, v_splat(-1.388731625493765e-3f));
    c = fused(c, z, v_splat(4.166664568298827e-2f));
    c = fused(c * z, z, z * -0.5f) + 1.0f;
    s = fused(s, z, v_splat(8.3321608736e-3f));
    s = fused(s, z, v_splat(-1.6666654611e-1f));
    s = fused(s * z, x, x);
    vi straight = (j & 2) == 0;
    *sine = (vf)((vu)choose(straight, s, c) ^ ((vu)(j & 4) << 29));
    *cosine = (vf)((vu)choose(straight, c, s) ^ ((vu)(~(j - 2) & 4) << 29));
}

/* The first halves of two blocks, and the second ones. */
#define FIRST(a, b) __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23)
#define SECOND(a, b) __builtin_shufflevector(a, b, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31)

/* Two blocks at a time: their radii side by side, their angles side by side. */
static void normal_blocks(float *at, int64_t blocks)
{
    for (int64_t i = 0; i < blocks; i += 2) {
        float *p = at + i * LANES, *q = i + 1 < blocks ? p + LANES : p;
        vf a = v_load_full(p, KG_F32, 0), b = v_load_full(q, KG_F32, 0), sine, cosine;
        vf radius = root(cephes_log(1.0f - FIRST(a, b)) * -2.0f);
        cephes_sincos(SECOND(a, b) * 6.28318530717958647692f, &sine, &cosine);
        cosine = fused(radius, cosine, v_splat(0));
        sine = fused(radius, sine, v_splat(0));
        v_store_full(p, KG_F32, 0, FIRST(cosine, sine));
        if (q != p)
            v_store_full(q, KG_F32, 0, SECOND(cosine, sine));
    }
}

static const noise_fns KG_FN(noise_fns) = {normal_blocks};

#endif
