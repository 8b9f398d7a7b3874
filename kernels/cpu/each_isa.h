/* Includes KG_BODY once for each instruction set, with KG_ISA_NAME defined. On other machines, and with compilers that do not know
 * the pragma (clang), the three are the same code. */
#define KG_ISA_NAME portable
#include "kernels/cpu/simd.h"
#include KG_BODY
#undef KG_ISA_NAME

#if defined(__x86_64__) && !defined(__clang__)
#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c")
#endif
#define KG_ISA_NAME avx2
#include "kernels/cpu/simd.h"
#include KG_BODY
#undef KG_ISA_NAME
#if defined(__x86_64__) && !defined(__clang__)
#pragma GCC pop_options

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c,prefer-vector-width=512")
#endif
#define KG_ISA_NAME avx512
#include "kernels/cpu/simd.h"
#include KG_BODY
#undef KG_ISA_NAME
#if defined(__x86_64__) && !defined(__clang__)
#pragma GCC pop_options
#endif

#define KG_OF_ISA(table) {&table##_portable, &table##_avx2, &table##_avx512}
