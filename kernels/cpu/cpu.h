/* The CPU device's inside: its pool of workers, the instruction set its own code uses, and one function per op.
 *
 * Bits never depend on the number of workers: tiles are fixed by shape, a tile is computed by one worker, no sum crosses tiles. */
#ifndef KG_KERNELS_CPU_H
#define KG_KERNELS_CPU_H

#include "kernels/kernel.h"

typedef enum kg_isa { KG_ISA_PORTABLE, KG_ISA_AVX2, KG_ISA_AVX512, KG_ISAS } kg_isa;
kg_isa kg_cpu_isa(void);                       /* the best this machine has, or what kg_cpu_isa_limit left     */
void kg_cpu_isa_limit(kg_isa most);            /* for tests; not while kernels run                              */
const char *kg_cpu_isa_name(kg_isa isa);

typedef struct kg_pool kg_pool;
kg_pool *kg_pool_new(int threads);             /* NULL when a thread cannot be made                             */
void kg_pool_free(kg_pool *p);
int kg_pool_threads(const kg_pool *p);
/* Hands tiles 0 .. tiles-1 to `most` workers at most, the caller among them (worker 0), and returns when all are done. Stops
 * handing out when stop(arg) says so. */
void kg_pool_run(kg_pool *p, int most, int64_t tiles, kg_tile_fn *fn, void *arg, int (*stop)(void *), void *stop_arg);

/* Threads that will call oneDNN say so first (kg_cpu_for does it for its workers): one OpenMP thread each. */
void kg_cpu_single(void);

size_t kg_cpu_linear_scratch(kg_exec *x, const kg_linear_args *a, int workers);
size_t kg_cpu_attention_scratch(kg_exec *x, const kg_attention_args *a, int workers);
size_t kg_cpu_conv_scratch(kg_exec *x, const kg_conv_args *a, int workers);
void kg_cpu_linear(kg_exec *x, const kg_linear_args *a);
void kg_cpu_attention(kg_exec *x, const kg_attention_args *a);
void kg_cpu_residual_norm(kg_exec *x, const kg_residual_norm_args *a);
void kg_cpu_rms_norm(kg_exec *x, const kg_rms_norm_args *a);
void kg_cpu_rope_table(kg_exec *x, const kg_rope_table_args *a);
void kg_cpu_unary(kg_exec *x, const kg_unary_args *a);
void kg_cpu_gated_gelu(kg_exec *x, const kg_gated_gelu_args *a);
void kg_cpu_combine(kg_exec *x, const kg_combine_args *a);
void kg_cpu_fill(kg_exec *x, const kg_fill_args *a);
void kg_cpu_rel_bias(kg_exec *x, const kg_rel_bias_args *a);
void kg_cpu_patchify(kg_exec *x, const kg_patchify_args *a);
void kg_cpu_unpatchify(kg_exec *x, const kg_patchify_args *a);
void kg_cpu_noise(kg_exec *x, const kg_noise_args *a);
void kg_cpu_conv(kg_exec *x, const kg_conv_args *a);
void kg_cpu_conv_pack(kg_exec *x, const kg_conv_pack_args *a);
void kg_cpu_channel_norm(kg_exec *x, const kg_channel_norm_args *a);
void kg_cpu_latent_frames(kg_exec *x, const kg_latent_frames_args *a);
void kg_cpu_pixels(kg_exec *x, const kg_pixels_args *a);
void kg_cpu_look(kg_exec *x, const kg_look_args *a);

#endif
