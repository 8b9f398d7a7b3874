/* The table of the CUDA backend, and all of its own kernels loaded at once. */
#include "kernels/cuda/cuda.h"

extern "C" void kg_cuda_scratch_of(kg_kernels *k)
{
    k->linear_scratch = kg_cuda_linear_scratch;
    k->attention_scratch = kg_cuda_attention_scratch;
    k->conv_scratch = kg_cuda_conv_scratch;
    k->joins = 1;
}

kg_kernels kg_cuda_kernel_table(void)
{
    kg_kernels k = {};
    kg_cuda_scratch_of(&k);
    k.linear = kg_cuda_linear;
    k.attention = kg_cuda_attention;
    k.residual_norm = kg_cuda_residual_norm;
    k.rms_norm = kg_cuda_rms_norm;
    k.rope_table = kg_cuda_rope_table;
    k.unary = kg_cuda_unary;
    k.gated_gelu = kg_cuda_gated_gelu;
    k.combine = kg_cuda_combine;
    k.fill = kg_cuda_fill;
    k.rel_bias = kg_cuda_rel_bias;
    k.patchify = kg_cuda_patchify;
    k.unpatchify = kg_cuda_unpatchify;
    k.noise = kg_cuda_noise;
    k.conv = kg_cuda_conv;
    k.conv_pack = kg_cuda_conv_pack;
    k.channel_norm = kg_cuda_channel_norm;
    k.latent_frames = kg_cuda_latent_frames;
    k.pixels = kg_cuda_pixels;
    k.look = kg_cuda_look;
    return k;
}
