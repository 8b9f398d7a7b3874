/* What the files of attention share on a card; the ways are told apart in kernels/kernel.h. */
#ifndef KG_KERNELS_CUDA_ATTENTION_H
#define KG_KERNELS_CUDA_ATTENTION_H

#include "kernels/cuda/vec.cuh"

int kg_flash_fits(const kg_attention_args *a);
void kg_flash_run(kg_exec *x, const kg_attention_args *a);
int kg_dnn_fits(const kg_attention_args *a);
size_t kg_dnn_scratch(const kg_attention_args *a);
void kg_dnn_prepare(kg_exec *x, const kg_attention_args *a);       /* while a plan is made: the run finds it ready  */
int kg_dnn_run(kg_exec *x, const kg_attention_args *a);            /* 0: cuDNN has no plan for it; nothing was done */

#endif
