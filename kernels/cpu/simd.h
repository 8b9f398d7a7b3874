/* Sixteen floats at a time: one source, compiled for each instruction set (kernels/cpu/each_isa.h includes this file for each).
 *
 * GCC's vector types do the arithmetic (one AVX-512 register, two AVX ones or four SSE ones), so the portable form is the same
 * code. Products and sums are fused by v_fma alone, where the instruction set can (the build says -ffp-contract=off): bits differ
 * between instruction sets, never between compilers or threads. Every name here and in a body is spelled through KG_FN, which
 * adds the instruction set's name. */
#ifndef KG_KERNELS_CPU_SIMD_H
#define KG_KERNELS_CPU_SIMD_H

#include "kernels/cpu/cpu.h"

#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define KG_PASTE_(a, b) a##_##b
#define KG_PASTE(a, b) KG_PASTE_(a, b)
#define KG_FN(name) KG_PASTE(name, KG_ISA_NAME)

enum { LANES = 16 };
typedef float vf __attribute__((vector_size(64)));
typedef int32_t vi __attribute__((vector_size(64)));
typedef uint32_t vu __attribute__((vector_size(64)));
typedef uint16_t vh __attribute__((vector_size(32)));
typedef double vd __attribute__((vector_size(128)));
typedef double vd_half __attribute__((vector_size(64)));
typedef int64_t vl __attribute__((vector_size(64)));
typedef float vf_mem __attribute__((vector_size(64), aligned(1), may_alias));
typedef uint16_t vh_mem __attribute__((vector_size(32), aligned(1), may_alias));

#define v_splat KG_FN(v_splat)
#define v_fma KG_FN(v_fma)
#define v_min KG_FN(v_min)
#define v_max KG_FN(v_max)
#define v_half_to_float KG_FN(v_half_to_float)
#define v_float_to_half KG_FN(v_float_to_half)
#define v_float_to_bf16 KG_FN(v_float_to_bf16)
#define v_load_full KG_FN(v_load_full)
#define v_store_full KG_FN(v_store_full)
#define v_load KG_FN(v_load)
#define v_store KG_FN(v_store)
#define v_first KG_FN(v_first)
#define v_sum KG_FN(v_sum)
#define v_sum_double KG_FN(v_sum_double)
#define v_most KG_FN(v_most)
#define v_exp KG_FN(v_exp)
#define v_silu KG_FN(v_silu)
#define v_gelu KG_FN(v_gelu)

#define KG_INLINE static inline __attribute__((always_inline, unused))

#endif

KG_INLINE vf v_splat(float a) { return (vf){a, a, a, a, a, a, a, a, a, a, a, a, a, a, a, a}; }

/* a * b + c, rounded once where there is an instruction for it. */
KG_INLINE vf v_fma(vf a, vf b, vf c)
{
#if defined(__AVX512F__)
    return (vf)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(__FMA__)
    __m256 x[2], y[2], z[2];
    memcpy(x, &a, sizeof x), memcpy(y, &b, sizeof y), memcpy(z, &c, sizeof z);
    for (int i = 0; i < 2; ++i)
        x[i] = _mm256_fmadd_ps(x[i], y[i], z[i]);
    memcpy(&a, x, sizeof x);
    return a;
#else
    return a * b + c;
#endif
}

/* min and max return x, a NaN too, unless x is beyond the bound. */
KG_INLINE vf v_min(vf bound, vf x)
{
#if defined(__AVX512F__)
    return (vf)_mm512_min_ps((__m512)bound, (__m512)x);
#elif defined(__AVX2__)
    __m256 b[2], v[2];
    memcpy(b, &bound, sizeof b), memcpy(v, &x, sizeof v);
    for (int i = 0; i < 2; ++i)
        v[i] = _mm256_min_ps(b[i], v[i]);
    memcpy(&x, v, sizeof v);
    return x;
#else
    vi beyond = x > bound;
    return (vf)((beyond & (vi)bound) | (~beyond & (vi)x));
#endif
}

KG_INLINE vf v_max(vf bound, vf x)
{
#if defined(__AVX512F__)
    return (vf)_mm512_max_ps((__m512)bound, (__m512)x);
#elif defined(__AVX2__)
    __m256 b[2], v[2];
    memcpy(b, &bound, sizeof b), memcpy(v, &x, sizeof v);
    for (int i = 0; i < 2; ++i)
        v[i] = _mm256_max_ps(b[i], v[i]);
    memcpy(&x, v, sizeof v);
    return x;
#else
    vi beyond = x < bound;
    return (vf)((beyond & (vi)bound) | (~beyond & (vi)x));
#endif
}

/* f16: the exponent moves from bias 15 to 127 by a product with 2^112, which is exact for subnormals too. */
KG_INLINE vf v_half_to_float(vh h)
{
#if defined(__AVX512F__)
    return (vf)_mm512_cvtph_ps((__m256i)h);
#else
    vu wide = __builtin_convertvector(h, vu);
    vf f = (vf)((wide & 0x7fff) << 13) * 0x1p112f;
    vi special = f >= v_splat(65536.0f);       /* infinities and NaN keep the largest exponent */
    return (vf)((vu)f | ((vu)special & 0x7f800000) | (wide & 0x8000) << 16);
#endif
}

KG_INLINE vh v_float_to_half(vf f)
{
#if defined(__AVX512F__)
    return (vh)_mm512_cvtps_ph((__m512)f, _MM_FROUND_TO_NEAREST_INT);
#else
    vu u = (vu)f, sign = u >> 16 & 0x8000, a = u & 0x7fffffff;
    vu normal = (a + 0xfff + (a >> 13 & 1) - (112u << 23)) >> 13;
    vu small = (vu)((vf)a + 0.5f) - 0x3f000000;            /* rounds to a multiple of 2^-24 */
    vu is_small = (vu)((vi)a < 0x38800000), is_big = (vu)((vi)a >= 0x477ff000), is_nan = (vu)((vi)a > 0x7f800000);
    vu r = (is_small & small) | (~is_small & normal);
    r = (is_big & (0x7c00 | (is_nan & 0x200))) | (~is_big & r);
    return __builtin_convertvector(r | sign, vh);
#endif
}

/* Rounds to nearest even; NaN stays NaN. */
KG_INLINE vh v_float_to_bf16(vf f)
{
    vu u = (vu)f, is_nan = (vu)(f != f);
    u = (u + 0x7fff + (u >> 16 & 1)) | (is_nan & 0x7fc00000);
    return __builtin_convertvector(u >> 16, vh);
}

KG_INLINE vf v_load_full(const void *p, kg_dtype t, int64_t i)
{
    if (t == KG_F32)
        return *(const vf_mem *)((const float *)p + i);
    vh h = *(const vh_mem *)((const uint16_t *)p + i);
    if (t == KG_BF16)
        return (vf)(__builtin_convertvector(h, vu) << 16);
    return v_half_to_float(h);
}

KG_INLINE void v_store_full(void *p, kg_dtype t, int64_t i, vf v)
{
    if (t == KG_F32)
        *(vf_mem *)((float *)p + i) = v;
    else
        *(vh_mem *)((uint16_t *)p + i) = t == KG_BF16 ? v_float_to_bf16(v) : v_float_to_half(v);
}

/* Lanes i .. i+n of an array of f32, bf16 or f16; the others are zero. */
KG_INLINE vf v_load(const void *p, kg_dtype t, int64_t i, int64_t n)
{
    if (n >= LANES)
        return v_load_full(p, t, i);
#if defined(__AVX512F__)
    unsigned lanes = (1u << n) - 1;
    if (t == KG_F32)
        return (vf)_mm512_maskz_loadu_ps((__mmask16)lanes, (const float *)p + i);
    vh part = (vh)_mm256_maskz_loadu_epi16((__mmask16)lanes, (const uint16_t *)p + i);
    return v_load_full(&part, t, 0);
#else
    size_t size = t == KG_F32 ? 4 : 2;
    float part[LANES] = {0};
    memcpy(part, (const char *)p + (size_t)i * size, (size_t)n * size);
    return v_load_full(part, t, 0);
#endif
}

KG_INLINE void v_store(void *p, kg_dtype t, int64_t i, int64_t n, vf v)
{
    if (n >= LANES) {
        v_store_full(p, t, i, v);
        return;
    }
#if defined(__AVX512F__)
    unsigned lanes = (1u << n) - 1;
    if (t == KG_F32)
        _mm512_mask_storeu_ps((float *)p + i, (__mmask16)lanes, (__m512)v);
    else
        _mm256_mask_storeu_epi16((uint16_t *)p + i, (__mmask16)lanes,
                                 (__m256i)(t == KG_BF16 ? v_float_to_bf16(v) : v_float_to_half(v)));
#else
    size_t size = t == KG_F32 ? 4 : 2;
    float part[LANES];
    v_store_full(part, t, 0, v);
    memcpy((char *)p + (size_t)i * size, part, (size_t)n * size);
#endif
}

/* The first n lanes of v, the others as in rest. */
KG_INLINE vf v_first(vf v, int64_t n, vf rest)
{
    if (n >= LANES)
        return v;
    vi lane = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}, first = lane < (int32_t)n;
    return (vf)((first & (vi)v) | (~first & (vi)rest));
}

/* Lane i of the result is lane i + by, around the end. */
#define V_ROTATE(v, by) \
    __builtin_shufflevector(v, v, by, by + 1, by + 2, by + 3, by + 4, by + 5, by + 6, by + 7, by + 8, by + 9, by + 10, by + 11, by + 12, \
                            by + 13, by + 14, by + 15)

/* The order of these sums is fixed: halves are added until one is left. */
KG_INLINE float v_sum(vf v)
{
    v += V_ROTATE(v, 8);
    v += V_ROTATE(v, 4);
    v += V_ROTATE(v, 2);
    v += V_ROTATE(v, 1);
    return v[0];
}

KG_INLINE double v_sum_double(vd v)
{
    vd_half half[2];
    memcpy(half, &v, sizeof half);
    vd_half s = half[0] + half[1];
    s += __builtin_shufflevector(s, s, 4, 5, 6, 7, 0, 1, 2, 3);
    s += __builtin_shufflevector(s, s, 2, 3, 4, 5, 6, 7, 0, 1);
    s += __builtin_shufflevector(s, s, 1, 2, 3, 4, 5, 6, 7, 0);
    return s[0];
}

KG_INLINE float v_most(vf v)
{
    v = v_max(v, V_ROTATE(v, 8));
    v = v_max(v, V_ROTATE(v, 4));
    v = v_max(v, V_ROTATE(v, 2));
    v = v_max(v, V_ROTATE(v, 1));
    return v[0];
}

/* e^x within 2 units in the last place: x = n ln 2 + r, |r| <= ln 2 / 2, a polynomial in r (fitted for least relative error,
 * 3e-9), and n added to the exponent. Bounded to [-87.3, 88.3], where no number leaves the normal range. */
KG_INLINE vf v_exp(vf x)
{
    x = v_min(v_splat(88.3f), v_max(v_splat(-87.3f), x));
    vf shifted = v_fma(x, v_splat(1.44269504f), v_splat(12582912.0f));     /* n in the low bits: 1.5 * 2^23 holds no fraction */
    vf n = shifted - 12582912.0f;
    vf r = v_fma(n, v_splat(2.12194440e-4f), v_fma(n, v_splat(-0.693359375f), x));
    vf p = v_splat(0x1.6a23ccp-10f);
    p = v_fma(p, r, v_splat(0x1.123a20p-7f));
    p = v_fma(p, r, v_splat(0x1.5558f2p-5f));
    p = v_fma(p, r, v_splat(0x1.555492p-3f));
    p = v_fma(p, r, v_splat(0x1.fffffcp-2f));
    p = v_fma(p, r * r, r) + 1.0f;
    return (vf)((vu)p + ((vu)shifted << 23));
}

KG_INLINE vf v_silu(vf x) { return x / (v_exp(-x) + 1.0f); }

/* 0.5 x (1 + tanh(u)) = x / (1 + e^(-2u)), u = sqrt(2/pi) (x + 0.044715 x^3) */
KG_INLINE vf v_gelu(vf x)
{
    vf u = x * v_fma(x * x, v_splat(0.044715f), v_splat(1.0f)) * -1.5957691216f;
    return x / (v_exp(u) + 1.0f);
}
