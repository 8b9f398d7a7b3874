/* What tools/gpu/tune_linear sees of linear.cu: which algorithms of cuBLASLt there are for a product, and how to try one. */
#ifndef KG_KERNELS_CUDA_LINEAR_H
#define KG_KERNELS_CUDA_LINEAR_H

#ifdef __cplusplus
extern "C" {
#endif
#include "kernels/kernel.h"

/* An algorithm without split-K: the attributes that cublasLtMatmulAlgoConfigSetAttribute takes. */
typedef struct kg_lt_config { int id, tile, stages, swizzle, custom, inner, cluster; } kg_lt_config;

/* The algorithms that cuBLASLt names for the product, best guess first, and what a row of the table says of their product. */
int kg_cuda_linear_algorithms(kg_exec *x, const kg_linear_args *a, kg_lt_config *out, int most);
void kg_cuda_linear_row(kg_exec *x, const kg_linear_args *a, const kg_lt_config *c, char *out, size_t n);
/* The next products use this one; NULL: their own. For tuning alone: not while another thread runs products. */
void kg_cuda_linear_force(const kg_lt_config *c);

#ifdef __cplusplus
}
#endif
#endif
