/* Between linear.cu and tune.cu: which algorithms of cuBLASLt there are for a product, how to try one, how to have it taken. */
#ifndef KG_KERNELS_CUDA_LINEAR_H
#define KG_KERNELS_CUDA_LINEAR_H

#ifdef __cplusplus
extern "C" {
#endif
#include "kernels/kernel.h"

/* An algorithm without split-K: the attributes that cublasLtMatmulAlgoConfigSetAttribute takes. */
typedef struct kg_lt_config { int id, tile, stages, swizzle, custom, inner, cluster; } kg_lt_config;

/* The algorithm of a product; rows: of the calls it is for (linear_table.h: in steps of 128), 0 for all. */
typedef struct kg_lt_row {
    int cc;
    int64_t n, k, rows;
    int in, out, bias, gelu;   /* kg_dtype twice */
    kg_lt_config algorithm;
} kg_lt_row;
typedef struct kg_lt_rows { int64_t n, k, rows; } kg_lt_rows;
enum { KG_LT_TUNED = 256 };

/* The algorithms that cuBLASLt names for the product, best guess first. */
int kg_cuda_linear_algorithms(kg_exec *x, const kg_linear_args *a, kg_lt_config *out, int most);
/* The product's row, its algorithm left open. */
void kg_cuda_linear_row(kg_exec *x, const kg_linear_args *a, kg_lt_row *out);
/* linear_table.h */
const kg_lt_row *kg_cuda_linear_table(int *n);
const kg_lt_rows *kg_cuda_linear_usual(int *n);
/* KG_LT_TUNED rows at most that come before the table's, in place of earlier ones. Before the first product. */
void kg_cuda_linear_tuned(const kg_lt_row *rows, int n);
/* Of both tables: another row makes other bits. */
uint32_t kg_cuda_linear_hash(void);
/* The next products use this one; NULL: their own. For tuning alone: not while another thread runs products. */
void kg_cuda_linear_force(const kg_lt_config *c);

#ifdef __cplusplus
}
#endif
#endif
