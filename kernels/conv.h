/* Convolutions over frames, channels last. Causal in time: history frames are an input, so a clip can be fed in chunks.
 * Frames are f32, bf16 or f16 (act); products of 16-bit frames are summed in f32 and rounded once, when they are stored. */
#ifndef KG_KERNELS_CONV_H
#define KG_KERNELS_CONV_H

#include "core/exec.h"

/* The weights of a convolution are packed once, when they are loaded (a resource's fill), into the order that products read:
 * [out_ch / 16, kt, kh * kw, in_ch, 16], in the file's own type. Any 16 output channels (the last ones may be fewer) can be
 * packed alone: they are a slice of out. */
enum { KG_CONV_PANEL = 16 };
static inline int64_t kg_conv_padded(int64_t out_ch) { return (out_ch + KG_CONV_PANEL - 1) / KG_CONV_PANEL * KG_CONV_PANEL; }
typedef struct kg_conv_pack_args {
    kg_tensor out;     /* [kg_conv_padded(out_ch), ...], dtype of in; padding is written as zero            */
    kg_tensor in;      /* [out_ch, in_ch, kt, kh, kw] or [out_ch, in_ch, kh, kw], f32, f16, bf16            */
} kg_conv_pack_args;
void kg_conv_pack(kg_exec *x, kg_conv_pack_args a);

/* out frame t is made of the frames t * stride_t + (0 .. kt-1) of [zeros, history, in]. With stride_t 1 there are as many zeros
 * as make T' = T; with stride_t 2 there are none. Sides are padded by zeros to keep H and W; with stride_hw 2 the padding is
 * one row at the bottom and one column at the right, and H' = H / 2. Kernels are 1x1 or 3x3 wide and 1 to 3 frames long. */
typedef struct kg_conv_args {
    kg_tensor out;     /* act [T', H', W', out_ch]                                                          */
    kg_tensor in;      /* [T, H, W, in_ch], dtype of out                                                    */
    kg_tensor history; /* [0..kt-1, H, W, in_ch] frames before in, dtype of out; rank 0: none               */
    kg_tensor weight;  /* packed by kg_conv_pack                                                            */
    kg_tensor bias;    /* f32, f16, bf16 [out_ch]; rank 0: none                                             */
    kg_tensor add;     /* like out: residual; may be out itself; rank 0: none                               */
    int kt, kh, kw;
    int stride_t, stride_hw;   /* 0 is 1                                                                    */
    int upsample;      /* 1: in is first doubled in H and W by replication                                  */
    int split;         /* 1: out is [2 T', H', W', out_ch / 2]; the halves of the channels are two frames   */
    int joined;        /* 1: in starts where history ends, and the frames that are missing there may be     */
                       /* written: together they are kt - 1 frames, with stride_t 2 those of history       */
    kg_tensor scratch; /* set by the front                                                                  */
} kg_conv_args;
void kg_conv(kg_exec *x, kg_conv_args a);
int kg_conv_joins(kg_exec *x);     /* 0: this device has no use for the room of joined frames that are missing  */

/* Wan's RMS over channels: in / max(|in|, 1e-12) * sqrt(C) * gamma, then SiLU when silu. out may be in. */
typedef struct kg_channel_norm_args {
    kg_tensor out, in; /* act [rows, C], of one dtype                                                       */
    kg_tensor gamma;   /* f32, f16, bf16, C of them                                                         */
    kg_tensor also;    /* like out, of no more rows: a copy of out's last rows; rank 0: none                */
    int silu;
    kg_tensor scratch; /* set by the front                                                                  */
} kg_channel_norm_args;
void kg_channel_norm(kg_exec *x, kg_channel_norm_args a);

/* One range of latent frames between f32 [C, T, H, W] (edges) and act [t, H, W, C]: out = in * scale[c] + shift[c]; f32 [C] vectors. */
typedef struct kg_latent_frames_args {
    kg_tensor latent, frames;
    int64_t first;     /* first frame of latent                                                             */
    int to_latent;     /* 0: frames from latent; 1: latent from frames                                      */
    kg_tensor scale, shift;
} kg_latent_frames_args;
void kg_latent_frames(kg_exec *x, kg_latent_frames_args a);

/* act [H, W, 3] in [-1, 1] to u8 [H, W, 3] (clamp, (x + 1) / 2 * 255, then truncated or rounded), or back (u8 / 255 * 2 - 1). */
typedef struct kg_pixels_args { kg_tensor f, u; int to_float, rounded; } kg_pixels_args;
void kg_pixels(kg_exec *x, kg_pixels_args a);

#endif
