/* The kernels of the engine: one front per op (kernels/<op>.c: checks, counts, scratch, then dispatch), one function per backend.
 *
 * Backends allocate nothing: scratch comes from the front through the args. Every tensor starts 256-byte aligned, but views (slices)
 * may not. This is the only header where a backend is named. */
#ifndef KG_KERNELS_KERNEL_H
#define KG_KERNELS_KERNEL_H

#include "core/front.h"
#include "kernels/ops.h"

#define KG_EPOCH 1     /* part of the numerics tag; raise it when the output of one of our own kernels changes */

typedef struct kg_kernels {
    size_t (*linear_scratch)(const kg_linear_args *a, int workers);            /* bytes; pure, called when dry too */
    size_t (*attention_scratch)(const kg_attention_args *a, int workers);
    size_t (*conv_scratch)(const kg_conv_args *a, int workers);
    void (*linear)(kg_exec *x, const kg_linear_args *a);
    void (*attention)(kg_exec *x, const kg_attention_args *a);
    void (*residual_norm)(kg_exec *x, const kg_residual_norm_args *a);
    void (*rms_norm)(kg_exec *x, const kg_rms_norm_args *a);
    void (*rope_table)(kg_exec *x, const kg_rope_table_args *a);
    void (*unary)(kg_exec *x, const kg_unary_args *a);
    void (*gated_gelu)(kg_exec *x, const kg_gated_gelu_args *a);
    void (*combine)(kg_exec *x, const kg_combine_args *a);
    void (*patchify)(kg_exec *x, const kg_patchify_args *a);
    void (*unpatchify)(kg_exec *x, const kg_patchify_args *a);
    void (*noise)(kg_exec *x, const kg_noise_args *a);
    void (*conv)(kg_exec *x, const kg_conv_args *a);
    void (*conv_pack)(kg_exec *x, const kg_conv_pack_args *a);
    void (*channel_norm)(kg_exec *x, const kg_channel_norm_args *a);
    void (*latent_frames)(kg_exec *x, const kg_latent_frames_args *a);
    void (*pixels)(kg_exec *x, const kg_pixels_args *a);
} kg_kernels;

static inline const kg_kernels *kg_kernels_of(kg_exec *x) { return kg_exec_device(x)->kernels; }

/* CPU: work in tiles that are fixed by shape, handed out to all cores; on the copy lane it runs serially on the calling thread. */
typedef void kg_tile_fn(void *arg, int64_t tile, int worker);
void kg_cpu_for(kg_exec *x, int64_t tiles, kg_tile_fn *fn, void *arg);

kg_device *kg_cpu_new(int threads);            /* 0: all cores this process may use; with a profile measured or estimated */

#endif
