/* The CPU's kernels on a simulated discrete device (tests/sim.h): each is queued on the lane it is called for, with its tensors'
 * addresses translated, and runs when the lane gets to it. A kernel's arguments hold no pointers but those of tensors, so every
 * word of them in the device's range of addresses is one. */
#ifndef KG_TESTS_NODES_SIM_KERNELS_H
#define KG_TESTS_NODES_SIM_KERNELS_H

#include "core/internal.h"
#include "kernels/kernel.h"
#include "tests/sim.h"

typedef struct sim_machine {
    sim s;
    kg_device *cpu;
    kg_exec lane[KG_LANES];        /* what the CPU's kernels are given                   */
    kg_ctx *ctx[KG_LANES];
} sim_machine;

typedef void sim_kernel(kg_exec *x, const void *args);

static const kg_kernels *sim_cpu_kernels;      /* one simulated device at a time          */
static sim_machine *sim_now;

static void sim_run_kernel(sim *s, sim_task *t, int lane)
{
    (void)s;
    sim_kernel *const *fn = t->src;
    (*fn)(&sim_now->lane[lane], t->more);
}

static void sim_queue_kernel(kg_exec *x, sim_kernel *const *fn, const void *args, size_t bytes)
{
    sim *s = kg_exec_device(x)->self;
    sim_task *t = calloc(1, sizeof *t + bytes);
    memcpy(t->more, args, bytes);
    for (size_t i = 0; i + sizeof(uintptr_t) <= bytes; i += sizeof(uintptr_t)) {
        uintptr_t word;
        memcpy(&word, (char *)t->more + i, sizeof word);
        if (word >> 48 != SIM_BASE >> 48)
            continue;
        word = (uintptr_t)sim_real(s, (void *)word, 0);
        memcpy((char *)t->more + i, &word, sizeof word);
    }
    t->run = sim_run_kernel;
    t->dst = t->more;              /* it counts as queued work                           */
    t->src = fn;
    sim_queue(s, kg_exec_lane(x), t);
}

#define SIM_KERNEL(op, type) \
    static void sim_do_##op(kg_exec *x, const void *a) { sim_cpu_kernels->op(x, a); } \
    static sim_kernel *const sim_fn_##op = sim_do_##op; \
    static void sim_##op(kg_exec *x, const type *a) { sim_queue_kernel(x, &sim_fn_##op, a, sizeof *a); }
SIM_KERNEL(linear, kg_linear_args)
SIM_KERNEL(attention, kg_attention_args)
SIM_KERNEL(residual_norm, kg_residual_norm_args)
SIM_KERNEL(rms_norm, kg_rms_norm_args)
SIM_KERNEL(rope_table, kg_rope_table_args)
SIM_KERNEL(unary, kg_unary_args)
SIM_KERNEL(gated_gelu, kg_gated_gelu_args)
SIM_KERNEL(combine, kg_combine_args)
SIM_KERNEL(fill, kg_fill_args)
SIM_KERNEL(rel_bias, kg_rel_bias_args)
SIM_KERNEL(patchify, kg_patchify_args)
SIM_KERNEL(unpatchify, kg_patchify_args)
SIM_KERNEL(noise, kg_noise_args)
SIM_KERNEL(conv, kg_conv_args)
SIM_KERNEL(conv_pack, kg_conv_pack_args)
SIM_KERNEL(channel_norm, kg_channel_norm_args)
SIM_KERNEL(latent_frames, kg_latent_frames_args)
SIM_KERNEL(pixels, kg_pixels_args)
SIM_KERNEL(look, kg_look_args)

static kg_kernels sim_kernels = {
    .linear = sim_linear, .attention = sim_attention, .residual_norm = sim_residual_norm, .rms_norm = sim_rms_norm,
    .rope_table = sim_rope_table, .unary = sim_unary, .gated_gelu = sim_gated_gelu, .combine = sim_combine,
    .fill = sim_fill, .rel_bias = sim_rel_bias,
    .patchify = sim_patchify, .unpatchify = sim_unpatchify, .noise = sim_noise, .conv = sim_conv, .conv_pack = sim_conv_pack,
    .channel_norm = sim_channel_norm, .latent_frames = sim_latent_frames, .pixels = sim_pixels, .look = sim_look};

static inline void sim_machine_open(sim_machine *m, unsigned seed, unsigned delays)
{
    m->cpu = kg_cpu_new(2);
    sim_cpu_kernels = m->cpu->kernels;
    sim_kernels.linear_scratch = sim_cpu_kernels->linear_scratch;
    sim_kernels.attention_scratch = sim_cpu_kernels->attention_scratch;
    sim_kernels.conv_scratch = sim_cpu_kernels->conv_scratch;
    sim_open(&m->s, (size_t)4 << 30, seed, delays);
    sim_now = m;
    kg_profile p = m->cpu->profile;
    p.discrete = 1;
    p.fixed = 1 << 20;
    p.host_fixed = 64 << 10;
    p.memory = (size_t)4 << 30;
    m->s.d.profile = p;
    m->s.d.kernels = &sim_kernels;
    snprintf(m->s.d.tag, sizeof m->s.d.tag, "%s", m->cpu->tag);
    for (int i = 0; i < KG_LANES; ++i) {
        m->ctx[i] = calloc(1, sizeof *m->ctx[i]);
        *m->ctx[i] = (kg_ctx){.mode = KG_EAGER, .device = m->cpu, .lane = i};
        m->ctx[i]->stop = &m->ctx[i]->own_stop;
        m->lane[i] = (kg_exec){.ctx = m->ctx[i], .node = -1};
    }
}

static inline void sim_machine_close(sim_machine *m)
{
    sim_close(&m->s);
    for (int i = 0; i < KG_LANES; ++i)
        free(m->ctx[i]);
    kg_device_free(m->cpu);
}

#endif
