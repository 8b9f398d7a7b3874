/* Philox4x32-10 (ref: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011), and how torch's generator for cards uses it
 * (ref: pytorch aten/src/ATen/native/cuda/DistributionTemplates.h; curand_kernel.h, curand_normal.h): thread i of the grid takes
 * four numbers at a time under counter (round, 0, i), their normals go to i, i + T, i + 2 T and i + 3 T of the round's 4 T elements,
 * T being the threads. The CPU and the card include this. */
#ifndef KG_KERNELS_PHILOX_H
#define KG_KERNELS_PHILOX_H

#include <stdint.h>

#ifdef __NVCC__
#define KG_PHILOX static __host__ __device__ inline
#else
#define KG_PHILOX static inline
#endif

enum { KG_PHILOX_THREADS = 256 };              /* of a block */

typedef struct kg_philox { uint32_t v[4]; } kg_philox;

KG_PHILOX kg_philox kg_philox_draw(uint64_t seed, uint64_t round, uint64_t thread)
{
    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
    kg_philox c = {{(uint32_t)round, (uint32_t)(round >> 32), (uint32_t)thread, (uint32_t)(thread >> 32)}};
    for (int i = 0; i < 10; ++i) {
        uint64_t a = (uint64_t)0xD2511F53u * c.v[0], b = (uint64_t)0xCD9E8D57u * c.v[2];
        kg_philox n = {{(uint32_t)(b >> 32) ^ c.v[1] ^ k0, (uint32_t)b, (uint32_t)(a >> 32) ^ c.v[3] ^ k1, (uint32_t)a}};
        c = n;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return c;
}

/* Threads of the grid for n elements. */
KG_PHILOX int64_t kg_philox_threads(int64_t n, int blocks)
{
    int64_t most = (n + KG_PHILOX_THREADS - 1) / KG_PHILOX_THREADS;
    return (most < blocks ? most : blocks) * KG_PHILOX_THREADS;
}

#endif
