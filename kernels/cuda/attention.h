/* The ways of attention on a card, and what the files that implement them share. */
#ifndef KG_KERNELS_CUDA_ATTENTION_H
#define KG_KERNELS_CUDA_ATTENTION_H

#ifdef __cplusplus
extern "C" {
#endif
#include "kernels/kernel.h"

/* Chosen by shape, types and alignment alone. LIBRARY: cuDNN, 16-bit heads of 128. FLASH: our own, 16-bit heads of 64 or 128, with
 * or without bias. PRODUCTS: cuBLASLt's products and a softmax between them, anything. */
enum { KG_ATTENTION_AUTO, KG_ATTENTION_LIBRARY, KG_ATTENTION_FLASH, KG_ATTENTION_PRODUCTS };
/* For tests: the way from now on, where it can (AUTO elsewhere); answers the way that was taken last. */
int kg_cuda_attention_force(int way);
#ifdef __cplusplus
}
#endif

#ifdef __cplusplus
#include "kernels/cuda/vec.cuh"

int kg_flash_fits(const kg_attention_args *a);
void kg_flash_run(kg_exec *x, const kg_attention_args *a);
int kg_dnn_fits(const kg_attention_args *a);
size_t kg_dnn_scratch(const kg_attention_args *a);
int kg_dnn_run(kg_exec *x, const kg_attention_args *a);            /* 0: cuDNN has no plan for it; nothing was done */
#endif

#endif
