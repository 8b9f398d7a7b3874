/* Products of our own: what cuBLASLt does not take, and what one row does not need it for. */
#ifndef KG_KERNELS_CUDA_LINEAR_OWN_H
#define KG_KERNELS_CUDA_LINEAR_OWN_H

#include "kernels/cuda/cuda.h"

/* out [m, n] = activation(in [m, k] * weight [n, k]^T + bias); rows in elements. */
struct kg_own_args {
    const void *in, *weight, *bias;
    void *out;
    int64_t m, n, k, in_row, weight_row, out_row;
    kg_dtype weight_type, bias_type, out_type;
    int activation;
};
kg_own_args kg_own_of(const kg_linear_args *k);

/* Queued on s; the caller asks how that went. */
void kg_own_plain(cudaStream_t s, const kg_own_args &a, kg_dtype in);      /* any shape and alignment; sums in f32 */
void kg_own_row(cudaStream_t s, const kg_own_args &a);                     /* one row of f32, k in eights          */
void kg_own_finish(cudaStream_t s, const kg_own_args &a);                  /* bias and activation of out as it is  */

#endif
