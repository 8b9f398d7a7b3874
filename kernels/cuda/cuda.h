/* The CUDA device's inside: what its parts and its kernels share. C-like C++17; what C sees has C names.
 *
 * Invariants. One pool, allocated once; nothing below kernels/cuda allocates device memory after kg_cuda_new returned, so that the
 * planned figure is the driver's: workspaces of libraries are scratch of their fronts. Every launch goes to the stream of its lane.
 * The first error is kept and every later call fails with it (an error of an earlier launch comes out wherever the driver next
 * looks). cuBLASLt and cuDNN are opened at run time: one binary runs with and without them, and without a driver. */
#ifndef KG_KERNELS_CUDA_H
#define KG_KERNELS_CUDA_H

extern "C" {
#include "kernels/kernel.h"
}

#include <cublasLt.h>
#include <cuda_runtime.h>
#include <cudnn.h>
#include <functional>

/* ---- the libraries ---- */
#define KG_LT_FUNCTIONS(F) \
    F(cublasLtGetVersion) F(cublasLtGetStatusString) F(cublasLtCreate) F(cublasLtDestroy) F(cublasLtMatmul) \
    F(cublasLtMatmulDescCreate) F(cublasLtMatmulDescDestroy) F(cublasLtMatmulDescSetAttribute) \
    F(cublasLtMatrixLayoutCreate) F(cublasLtMatrixLayoutDestroy) F(cublasLtMatrixLayoutSetAttribute) \
    F(cublasLtMatmulPreferenceCreate) F(cublasLtMatmulPreferenceDestroy) F(cublasLtMatmulPreferenceSetAttribute) \
    F(cublasLtMatmulAlgoGetHeuristic) F(cublasLtMatmulAlgoGetIds) F(cublasLtMatmulAlgoInit) F(cublasLtMatmulAlgoCheck) \
    F(cublasLtMatmulAlgoCapGetAttribute) F(cublasLtMatmulAlgoConfigSetAttribute) F(cublasLtMatmulAlgoConfigGetAttribute)
#define KG_DNN_FUNCTIONS(F) \
    F(cudnnGetVersion) F(cudnnGetErrorString) F(cudnnGetLastErrorString) F(cudnnCreate) F(cudnnDestroy) F(cudnnSetStream) \
    F(cudnnBackendCreateDescriptor) F(cudnnBackendDestroyDescriptor) F(cudnnBackendFinalize) F(cudnnBackendSetAttribute) \
    F(cudnnBackendGetAttribute) F(cudnnBackendExecute)
struct kg_cuda_libs {
#define KG_FIELD(name) decltype(&::name) name;
    KG_LT_FUNCTIONS(KG_FIELD)
    KG_DNN_FUNCTIONS(KG_FIELD)
#undef KG_FIELD
};
extern kg_cuda_libs kg_lib;        /* filled by kg_cuda_libs_open: kg_lib.cublasLtMatmul(...) */
enum { KG_LT_MAJOR = 13, KG_DNN_MAJOR = 9, KG_DNN_MINOR = 10 };     /* the oldest that are taken; other majors are refused */
kg_status kg_cuda_libs_open(void); /* once a process, thread-safe; KG_FAILED names the library and what was found */

/* ---- the device ---- */
struct kg_cuda;
kg_cuda *kg_cuda_of(kg_exec *x);
int kg_cuda_is_card(kg_exec *x);                   /* 0: a test plans with our scratch and no card: nothing can be prepared */
cudaStream_t kg_cuda_stream(kg_exec *x);           /* of the exec's lane; makes its card this thread's current one */
cublasLtHandle_t kg_cuda_lt(kg_exec *x);           /* one for all lanes: it has no stream                          */
cudnnHandle_t kg_cuda_dnn(kg_exec *x);             /* set to the compute lane's stream; NULL (with an error) on others */
/* Runs job on the device's second thread, with a handle of its own: what a plan can ask for ahead of its run (later.cu). It may come to
 * nothing, and who needs the result makes it then. */
void kg_cuda_later(kg_exec *x, std::function<void()> job);
cudnnHandle_t kg_cuda_dnn_later(kg_exec *x);
int kg_cuda_cc(kg_exec *x);                        /* 90, 80, ...                                                  */
int kg_cuda_sms(kg_exec *x);
enum : size_t { KG_LT_WORKSPACE = 4096 };          /* cuBLASLt's: kernels for many rows count their tiles in four bytes of it */

/* ---- errors: 1 when all is well. "what" is the op or call; safe from several threads; every call fails after the first error ---- */
int kg_cuda_ok(kg_exec *x, cudaError_t e, const char *what);
int kg_cuda_lt_ok(kg_exec *x, cublasStatus_t e, const char *what);
int kg_cuda_dnn_ok(kg_exec *x, cudnnStatus_t e, const char *what);  /* adds cuDNN's own last words                  */
int kg_cuda_launched(kg_exec *x, const char *op);  /* after every launch of our own kernels, and after library calls that launch */

/* Kernels are loaded when the device starts, so that none is loaded behind the plan: each .cu file names all of its own once,
 * KG_CUDA_KERNELS(rows, (const void *)rms<float>, (const void *)rms<__half>), and the linker collects them. A kernel that needs
 * more than 48 KiB of shared memory says so where it is launched (cudaFuncSetAttribute). */
#define KG_CUDA_KERNELS(id, ...) \
    static const void *const kg_kernels_of_##id[] __attribute__((section("kg_cuda_kernels"), used)) = {__VA_ARGS__}

/* ---- one function an op: the table of kernels/kernel.h (kernels/cuda/table.cu) ---- */
extern "C" {
size_t kg_cuda_linear_scratch(kg_exec *x, const kg_linear_args *a, int workers);
size_t kg_cuda_attention_scratch(kg_exec *x, const kg_attention_args *a, int workers);
size_t kg_cuda_conv_scratch(kg_exec *x, const kg_conv_args *a, int workers);
void kg_cuda_linear(kg_exec *x, const kg_linear_args *a);
void kg_cuda_attention(kg_exec *x, const kg_attention_args *a);
void kg_cuda_residual_norm(kg_exec *x, const kg_residual_norm_args *a);
void kg_cuda_rms_norm(kg_exec *x, const kg_rms_norm_args *a);
void kg_cuda_rope_table(kg_exec *x, const kg_rope_table_args *a);
void kg_cuda_unary(kg_exec *x, const kg_unary_args *a);
void kg_cuda_gated_gelu(kg_exec *x, const kg_gated_gelu_args *a);
void kg_cuda_combine(kg_exec *x, const kg_combine_args *a);
void kg_cuda_fill(kg_exec *x, const kg_fill_args *a);
void kg_cuda_rel_bias(kg_exec *x, const kg_rel_bias_args *a);
void kg_cuda_patchify(kg_exec *x, const kg_patchify_args *a);
void kg_cuda_unpatchify(kg_exec *x, const kg_patchify_args *a);
void kg_cuda_noise(kg_exec *x, const kg_noise_args *a);
void kg_cuda_conv(kg_exec *x, const kg_conv_args *a);
void kg_cuda_conv_pack(kg_exec *x, const kg_conv_pack_args *a);
void kg_cuda_channel_norm(kg_exec *x, const kg_channel_norm_args *a);
void kg_cuda_latent_frames(kg_exec *x, const kg_latent_frames_args *a);
void kg_cuda_pixels(kg_exec *x, const kg_pixels_args *a);
void kg_cuda_look(kg_exec *x, const kg_look_args *a);
void kg_cuda_attention_forget(cudnnHandle_t dnn);  /* drops the plans that were made with a handle, before it goes */
void kg_cuda_conv_forget(cudnnHandle_t dnn);
void kg_cuda_linear_forget(cublasLtHandle_t lt);
}
kg_kernels kg_cuda_kernel_table(void);

#endif
