/* Elements and groups of eight: how kernels read and write f32, f16 and bf16. Arithmetic is f32 whatever the type.
 *
 * A group is 16 bytes of a 16-bit type, or twice 16 of f32: one or two wide loads, whose address must be a multiple of 16. */
#ifndef KG_KERNELS_CUDA_VEC_CUH
#define KG_KERNELS_CUDA_VEC_CUH

#include "kernels/cuda/cuda.h"

#include <cuda_bf16.h>
#include <cuda_fp16.h>

typedef __nv_bfloat16 kg_bf16;

__device__ __forceinline__ float kg_wide(float v) { return v; }
__device__ __forceinline__ float kg_wide(__half v) { return __half2float(v); }
__device__ __forceinline__ float kg_wide(kg_bf16 v) { return __bfloat162float(v); }
__device__ __forceinline__ void kg_narrow(float *p, float v) { *p = v; }
__device__ __forceinline__ void kg_narrow(__half *p, float v) { *p = __float2half_rn(v); }
__device__ __forceinline__ void kg_narrow(kg_bf16 *p, float v) { *p = __float2bfloat16_rn(v); }

/* One element of a type that is known when the kernel runs. */
__device__ __forceinline__ float kg_get(const void *p, kg_dtype t, int64_t i)
{
    return t == KG_F32 ? ((const float *)p)[i] : t == KG_BF16 ? kg_wide(((const kg_bf16 *)p)[i]) : kg_wide(((const __half *)p)[i]);
}

__device__ __forceinline__ void kg_set(void *p, kg_dtype t, int64_t i, float v)
{
    if (t == KG_F32)
        ((float *)p)[i] = v;
    else if (t == KG_BF16)
        kg_narrow((kg_bf16 *)p + i, v);
    else
        kg_narrow((__half *)p + i, v);
}

/* Eight of them as they lie: loaded first, widened when they are needed, so that many loads are under way at once. */
template <typename T> struct kg_raw { uint4 v; };
template <> struct kg_raw<float> { float4 v[2]; };

template <typename T> __device__ __forceinline__ kg_raw<T> kg_load8(const T *p) { return {*(const uint4 *)p}; }
template <> __device__ __forceinline__ kg_raw<float> kg_load8(const float *p) { return {{((const float4 *)p)[0], ((const float4 *)p)[1]}}; }
/* Read once and no more: does not stay in the cache. */
template <typename T> __device__ __forceinline__ kg_raw<T> kg_load8_once(const T *p) { return {__ldcs((const uint4 *)p)}; }
template <> __device__ __forceinline__ kg_raw<float> kg_load8_once(const float *p)
{
    return {{__ldcs((const float4 *)p), __ldcs((const float4 *)p + 1)}};
}

__device__ __forceinline__ void kg_widen8(const kg_raw<float> &r, float f[8])
{
    f[0] = r.v[0].x, f[1] = r.v[0].y, f[2] = r.v[0].z, f[3] = r.v[0].w;
    f[4] = r.v[1].x, f[5] = r.v[1].y, f[6] = r.v[1].z, f[7] = r.v[1].w;
}

__device__ __forceinline__ float2 kg_pair(uint32_t u, kg_bf16) { return {__uint_as_float(u << 16), __uint_as_float(u & 0xffff0000u)}; }
__device__ __forceinline__ float2 kg_pair(uint32_t u, __half)
{
    __half2 h;
    memcpy(&h, &u, sizeof h);
    return __half22float2(h);
}

template <typename T> __device__ __forceinline__ void kg_widen8(const kg_raw<T> &r, float f[8])
{
    const uint32_t u[4] = {r.v.x, r.v.y, r.v.z, r.v.w};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        float2 p = kg_pair(u[i], T());
        f[2 * i] = p.x, f[2 * i + 1] = p.y;
    }
}

__device__ __forceinline__ uint32_t kg_packed(float a, float b, kg_bf16)
{
    __nv_bfloat162 h = __floats2bfloat162_rn(a, b);
    uint32_t u;
    memcpy(&u, &h, sizeof u);
    return u;
}
__device__ __forceinline__ uint32_t kg_packed(float a, float b, __half)
{
    __half2 h = __floats2half2_rn(a, b);
    uint32_t u;
    memcpy(&u, &h, sizeof u);
    return u;
}

template <typename T> __device__ __forceinline__ void kg_store8(T *p, const float f[8])
{
    *(uint4 *)p = {kg_packed(f[0], f[1], T()), kg_packed(f[2], f[3], T()), kg_packed(f[4], f[5], T()), kg_packed(f[6], f[7], T())};
}
template <> __device__ __forceinline__ void kg_store8(float *p, const float f[8])
{
    ((float4 *)p)[0] = {f[0], f[1], f[2], f[3]};
    ((float4 *)p)[1] = {f[4], f[5], f[6], f[7]};
}

/* Eight of a vector whose type is known when the kernel runs; aligned like the others. */
__device__ __forceinline__ void kg_get8(const void *p, kg_dtype t, int64_t i, float f[8])
{
    if (t == KG_F32)
        kg_widen8(kg_load8((const float *)p + i), f);
    else if (t == KG_BF16)
        kg_widen8(kg_load8((const kg_bf16 *)p + i), f);
    else
        kg_widen8(kg_load8((const __half *)p + i), f);
}

/* 0.5 x (1 + tanh(u)) = x / (1 + e^(-2u)), u = sqrt(2/pi) (x + 0.044715 x^3) */
__device__ __forceinline__ float kg_gelu(float x) { return x / (1 + expf(-1.5957691216f * x * fmaf(x * x, 0.044715f, 1))); }
__device__ __forceinline__ float kg_silu(float x) { return x / (1 + expf(-x)); }

/* The sum over a block of a multiple of 32 threads, the same for all of them: within warps by halves, then the warps in order.
 * room: one element per warp. Ends with all threads past their reads of what they wrote before. */
template <typename F> __device__ __forceinline__ F kg_block_sum(F v, F *room)
{
#pragma unroll
    for (int by = 16; by; by >>= 1)
        v += __shfl_xor_sync(0xffffffffu, v, by);
    if (threadIdx.x % 32 == 0)
        room[threadIdx.x / 32] = v;
    __syncthreads();
    v = room[0];
    for (unsigned w = 1; w < blockDim.x / 32; ++w)
        v += room[w];
    __syncthreads();
    return v;
}

/* Rows of groups of eight: every row starts at a multiple of 16 bytes. */
static inline int kg_wide_rows(const kg_tensor *t)
{
    return !t->rank || ((uintptr_t)t->at % 16 == 0 && (kg_rows(t) == 1 || t->row * (int64_t)kg_dtype_bytes(t->dtype) % 16 == 0));
}

#endif
