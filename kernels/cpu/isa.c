/* Which instructions our own code may use: asked once of the processor (and of the system, which must save the registers). */
#include "kernels/cpu/cpu.h"

#if defined(__x86_64__)
#include <cpuid.h>

/* Not every compiler's __builtin_cpu_supports knows it: bit 29 of ecx of leaf 1. */
static int has_f16c(void)
{
    unsigned a, b, c, d;
    return __get_cpuid(1, &a, &b, &c, &d) && c >> 29 & 1;
}
#endif

static int limit = KG_ISA_AVX512;

static kg_isa machine(void)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") || !has_f16c())
        return KG_ISA_PORTABLE;
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl"))
        return KG_ISA_AVX512;
    return KG_ISA_AVX2;
#else
    return KG_ISA_PORTABLE;
#endif
}

kg_isa kg_cpu_isa(void)
{
    kg_isa isa = machine();
    return (int)isa < limit ? isa : (kg_isa)limit;
}

void kg_cpu_isa_limit(kg_isa most) { limit = (int)most; }

const char *kg_cpu_isa_name(kg_isa isa)
{
    static const char *const name[KG_ISAS] = {"portable", "avx2", "avx512"};
    return name[isa];
}
