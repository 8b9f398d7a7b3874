/* One tile of a product, computed on the calling thread: c = a * b. */
#ifndef KG_KERNELS_CPU_MATMUL_H
#define KG_KERNELS_CPU_MATMUL_H

#include "kernels/cpu/cpu.h"

typedef struct kg_matmul_shape {
    kg_dtype type;             /* of a and b: f32, bf16, f16; c and the sums are f32     */
    int64_t m, n, k;           /* a [m, k], b [k, n], c [m, n], c dense                 */
    int64_t lda, ldb;          /* elements from row to row                              */
    int transposed;            /* b is stored [n, k], as weights are                    */
} kg_matmul_shape;

enum { KG_MATMUL_SCRATCH = 1 << 20 };          /* bytes that kg_matmul_run may use, per worker */

typedef struct kg_matmul kg_matmul;
const kg_matmul *kg_matmul_get(kg_matmul_shape s);     /* prepared once, kept; NULL after kg_fail */
int kg_matmul_run(const kg_matmul *p, const void *a, const void *b, float *c, void *scratch);   /* 0: done; any thread */

#endif
