/* The kernels of the engine: one front per op (kernels/<op>.c: checks, counts, scratch, then dispatch), one function per backend.
 *
 * Backends allocate nothing: scratch comes from the front through the args. Every tensor starts 256-byte aligned, but views (slices)
 * may not. This is the only header where a backend is named. */
#ifndef KG_KERNELS_KERNEL_H
#define KG_KERNELS_KERNEL_H

#include "core/cache.h"
#include "core/front.h"
#include "kernels/ops.h"

/* Part of the numerics tag; raise it when the output of one of our own kernels changes, or the way in which a library's are chosen. */
#define KG_EPOCH 1

typedef struct kg_kernels {
    size_t (*linear_scratch)(kg_exec *x, const kg_linear_args *a, int workers);   /* bytes, by shapes and device; also when dry */
    size_t (*attention_scratch)(kg_exec *x, const kg_attention_args *a, int workers);
    size_t (*conv_scratch)(kg_exec *x, const kg_conv_args *a, int workers);
    int joins;         /* convolution writes zeros where joined frames are missing (kg_conv_joins)                          */
    void (*linear)(kg_exec *x, const kg_linear_args *a);
    void (*attention)(kg_exec *x, const kg_attention_args *a);
    void (*residual_norm)(kg_exec *x, const kg_residual_norm_args *a);
    void (*rms_norm)(kg_exec *x, const kg_rms_norm_args *a);
    void (*rope_table)(kg_exec *x, const kg_rope_table_args *a);
    void (*unary)(kg_exec *x, const kg_unary_args *a);
    void (*gated_gelu)(kg_exec *x, const kg_gated_gelu_args *a);
    void (*combine)(kg_exec *x, const kg_combine_args *a);
    void (*fill)(kg_exec *x, const kg_fill_args *a);
    void (*rel_bias)(kg_exec *x, const kg_rel_bias_args *a);
    void (*patchify)(kg_exec *x, const kg_patchify_args *a);
    void (*unpatchify)(kg_exec *x, const kg_patchify_args *a);
    void (*noise)(kg_exec *x, const kg_noise_args *a);
    void (*conv)(kg_exec *x, const kg_conv_args *a);
    void (*conv_pack)(kg_exec *x, const kg_conv_pack_args *a);
    void (*channel_norm)(kg_exec *x, const kg_channel_norm_args *a);
    void (*latent_frames)(kg_exec *x, const kg_latent_frames_args *a);
    void (*pixels)(kg_exec *x, const kg_pixels_args *a);
    void (*look)(kg_exec *x, const kg_look_args *a);
} kg_kernels;

static inline const kg_kernels *kg_kernels_of(kg_exec *x) { return (const kg_kernels *)kg_exec_device(x)->kernels; }

/* CPU: work in tiles that are fixed by shape, handed out to all cores; on the copy lane it runs serially on the calling thread. */
typedef void kg_tile_fn(void *arg, int64_t tile, int worker);
void kg_cpu_for(kg_exec *x, int64_t tiles, kg_tile_fn *fn, void *arg);

kg_device *kg_cpu_new(int threads);            /* 0: all cores this process may use; with a profile measured or estimated */

/* CUDA: NULL with an error that says why (no driver, an old one, no such card, libraries missing or of another version, a card
 * this build has no kernels for). A build without CUDA has none of it and says so. */
enum { KG_FAULT_NONE, KG_FAULT_ALLOC, KG_FAULT_COPY, KG_FAULT_KERNEL };
/* Attention's ways on a card, chosen by shape, types and alignment alone. LIBRARY: cuDNN, 16-bit heads of 128. FLASH: our own, 16-bit
 * heads of 64 or 128, with or without bias. PRODUCTS: cuBLASLt's products and a softmax between them, anything. */
enum { KG_ATTENTION_AUTO, KG_ATTENTION_LIBRARY, KG_ATTENTION_FLASH, KG_ATTENTION_PRODUCTS };
#ifdef KG_CUDA
enum { KG_CUDA_BUILT = 1 };
int kg_cuda_count(void);                       /* cards that the driver shows; 0 quietly without a driver  */
kg_device *kg_cuda_new(int index);
void kg_cuda_describe(const kg_device *d, char *out, size_t n);    /* one line for people                  */
size_t kg_cuda_used(kg_device *d);             /* bytes of the card that the driver charges this process   */
/* For tests: the n-th allocation (of the pool or the host), copy or launch from now on fails; a launch as kernels really do. */
void kg_cuda_fault(kg_device *d, int what, long n);
/* For tests: the way from now on, where it can (AUTO elsewhere); answers the way that was taken last. */
int kg_cuda_attention_force(int way);
void kg_cuda_scratch_of(kg_kernels *k);        /* sets what says a card's scratch, for planning without one            */
const char *kg_cuda_conv_refused(void);        /* the last shape that cuDNN refused and our own kernel took; "" for none */
/* The fastest of cuBLASLt's algorithms for the products of known models, each tried for so many seconds. row gets a line that
 * kg_cuda_tuned reads ("" where the first guess stays) and words on it; non-zero ends with KG_CANCELLED. */
kg_status kg_cuda_tune(kg_device *d, double seconds, int (*row)(void *arg, const char *line, const char *words), void *arg);
/* The device's tag, then such lines: followed from now on, before the device's first run, and their hash joins its tag. Of another
 * tag: said and left aside. KG_INPUT names a line that is wrong. */
kg_status kg_cuda_tuned(kg_device *d, const char *text);
/* Engines that cuDNN compiled are kept there, and later starts take them from it: seconds become milliseconds. NULL: nowhere. The cache is
 * borrowed, until the device is freed or another is named. Not for other devices. */
void kg_cuda_keep(kg_device *d, kg_cache *cache);
#else
enum { KG_CUDA_BUILT = 0 };
static inline int kg_cuda_count(void) { return 0; }
static inline kg_device *kg_cuda_new(int index)
{
    kg_fail(KG_FAILED, "cuda:%d: this build has no CUDA", index);
    return NULL;
}
static inline void kg_cuda_describe(const kg_device *d, char *out, size_t n) { (void)d, (void)n, *out = 0; }
static inline size_t kg_cuda_used(kg_device *d) { return (void)d, (size_t)0; }
static inline void kg_cuda_fault(kg_device *d, int what, long n) { (void)d, (void)what, (void)n; }
static inline int kg_cuda_attention_force(int way) { return way; }
static inline void kg_cuda_scratch_of(kg_kernels *k) { (void)k; }
static inline const char *kg_cuda_conv_refused(void) { return ""; }
static inline kg_status kg_cuda_tune(kg_device *d, double seconds, int (*row)(void *, const char *, const char *), void *arg)
{
    return (void)d, (void)seconds, (void)row, (void)arg, KG_OK;
}
static inline kg_status kg_cuda_tuned(kg_device *d, const char *text) { return (void)d, (void)text, KG_OK; }
static inline void kg_cuda_keep(kg_device *d, kg_cache *cache) { (void)d, (void)cache; }
#endif

#endif
