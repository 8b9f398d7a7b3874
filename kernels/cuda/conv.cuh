/* Convolution on a card: what its files share. conv.cu picks a way by shape and type and lays inputs out; conv_dnn.cu runs cuDNN's
 * tensor-core products, conv_up.cu those of doubled frames; conv_direct.cu has our own kernels, for f32 and for the shapes that
 * cuDNN has no engine for. */
#ifndef KG_KERNELS_CUDA_CONV_CUH
#define KG_KERNELS_CUDA_CONV_CUH

#include "kernels/cuda/vec.cuh"

/* One product of cuDNN, of 16-bit frames with f32 sums: y = conv(x, w) (+ bias) (+ add), nothing padded but what pad says. All
 * dimensions are in cuDNN's order, [frames, channels, (depth,) height, width], whatever lies where in memory: steps are elements.
 * Filled over zeros, since plans are found by comparing bytes. */
typedef struct kg_dnn_shape {
    int64_t x[5], x_step[5], w[5], y[5], y_step[5];    /* add lies like y, w is dense [K, (depth,) height, width, C] */
    int64_t stride[3], pad[3];
    int64_t rank, has_bias, has_add;                   /* rank: 4 or 5                                              */
    int64_t act, bias;                                 /* kg_dtype; bias: act or f32                                */
} kg_dnn_shape;
typedef struct kg_dnn_data { const void *x, *w, *bias, *add; void *y, *workspace; } kg_dnn_data;
enum : size_t { KG_DNN_WORKSPACE = (size_t)64 << 20 };  /* the most an engine may use: constant, so that the choice is */

/* 1: queued (or failed, which is then the error). 0: cuDNN has no deterministic engine for this shape within the workspace.
 * The engine of a shape is found once and kept with the handle. */
int kg_dnn_conv(kg_exec *x, const kg_dnn_shape *s, const kg_dnn_data *d);
void kg_dnn_conv_prepare(kg_exec *x, const kg_dnn_shape *s);       /* while a plan is made: the run finds the engine ready */
void kg_dnn_dense(int64_t rank, const int64_t *size, int64_t *step);       /* steps of a dense tensor, channels last */

/* 3x3 over doubled 16-bit frames, channels in eights, no add; scratch as said. 0: as kg_dnn_conv. */
int kg_conv_is_up(const kg_conv_args *a);
size_t kg_conv_up_scratch(kg_exec *x, const kg_conv_args *a);      /* prepares it too */
int kg_conv_up(kg_exec *x, const kg_conv_args *a);

/* Any shape and type; weight is of the frames' type, [padded out_ch, taps, in_ch]. Sums run over taps, then channels, in f32. */
void kg_conv_direct(kg_exec *x, const kg_conv_args *a, const void *weight);
/* 16-bit frames, 3x3, strides of 1, at most 8 output channels, in_ch a multiple of 32: the last convolution of a decoder. */
int kg_conv_is_few(const kg_conv_args *a);
void kg_conv_few(kg_exec *x, const kg_conv_args *a, const void *weight);

#endif
