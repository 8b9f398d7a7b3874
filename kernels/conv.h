/* Convolutions over frames, channels last. Causal in time: history frames are an input, so a clip can be fed in chunks. */
#ifndef KG_KERNELS_CONV_H
#define KG_KERNELS_CONV_H

#include "core/exec.h"

/* The weights of a convolution are packed once, when they are loaded (a resource's fill), into the device's own layout. */
typedef struct kg_conv_pack_args {
    kg_tensor out;     /* f32 (or 16 bits as in), count as in                                               */
    kg_tensor in;      /* [out_ch, in_ch, kt, kh, kw] or [out_ch, in_ch, kh, kw], f32, f16, bf16            */
} kg_conv_pack_args;
void kg_conv_pack(kg_exec *x, kg_conv_pack_args a);

/* See kernels/conv.c for the rules; time taps look back: output frame t sees input frames t-kt+1 .. t of [history, in]. */
typedef struct kg_conv_args {
    kg_tensor out;     /* f32 [T', H', W', out_ch]                                                          */
    kg_tensor in;      /* f32 [T, H, W, in_ch]                                                              */
    kg_tensor history; /* f32 [0..kt-1, H, W, in_ch] frames before in (rank 0: none); missing ones are zero */
    kg_tensor weight;  /* packed by kg_conv_pack                                                            */
    kg_tensor bias;    /* [out_ch]; rank 0: none                                                            */
    kg_tensor add;     /* f32 like out: residual; rank 0: none                                              */
    int kt, kh, kw;
    int stride_t, stride_hw;   /* 1 or 2; with stride_hw 2 the padding is right and bottom only (0,1,0,1)   */
    int upsample;      /* 1: in is first doubled in H and W by replication                                  */
} kg_conv_args;
void kg_conv(kg_exec *x, kg_conv_args a);

/* Wan's RMS over channels: in / max(|in|, 1e-12) * sqrt(C) * gamma, then SiLU when silu. out may be in. */
typedef struct kg_channel_norm_args { kg_tensor out, in, gamma; int silu; } kg_channel_norm_args;
void kg_channel_norm(kg_exec *x, kg_channel_norm_args a);

/* One range of latent frames between [C, T, H, W] (edges) and [t, H, W, C]: out = in * scale[c] + shift[c]; f32 [C] vectors. */
typedef struct kg_latent_frames_args {
    kg_tensor latent, frames;
    int64_t first;     /* first frame of latent                                                             */
    int to_latent;     /* 0: frames from latent; 1: latent from frames                                      */
    kg_tensor scale, shift;
} kg_latent_frames_args;
void kg_latent_frames(kg_exec *x, kg_latent_frames_args a);

/* f32 [H, W, 3] in [-1, 1] to u8 [H, W, 3] (clamp, (x + 1) / 2 * 255, then truncated or rounded), or back (u8 / 255 * 2 - 1). */
typedef struct kg_pixels_args { kg_tensor f, u; int to_float, rounded; } kg_pixels_args;
void kg_pixels(kg_exec *x, kg_pixels_args a);

#endif
