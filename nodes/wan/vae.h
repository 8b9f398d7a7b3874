/* The Wan2.1 VAE: what its nodes share.
 *
 * A VAE is two lists of parts (decoder, encoder), read off the file's tensors: how many there are, their widths and which of them
 * change the rate in space or time all come from names and shapes. A part is a segment of the resource. Both lists run on a chunk
 * of frames at a time, channels last; a part that looks back in time keeps the last frames of its input (vae_slot), so memory
 * does not grow with the clip. ref: Wan2.1 wan/modules/vae.py; the numerics that are easy to get wrong are in README.md. */
#ifndef KG_NODES_WAN_VAE_H
#define KG_NODES_WAN_VAE_H

#include "core/exec.h"

enum { VAE_DECODER, VAE_ENCODER, VAE_PARTS = 64, VAE_WEIGHTS = 8 * 2 * VAE_PARTS, VAE_LATENT = 16 };

typedef enum vae_part_kind {
    VAE_CONV,          /* weight, bias: 1x1x1 or causal 3x3x3                                                   */
    VAE_RES,           /* gamma, weight, bias, gamma, weight, bias; when the width changes: shortcut weight, bias */
    VAE_ATTENTION,     /* gamma, qkv weight, bias, proj weight, bias                                            */
    VAE_UP,            /* weight, bias; with time: weight and bias of the convolution in time                   */
    VAE_DOWN,          /* likewise                                                                              */
    VAE_HEAD           /* gamma, weight, bias                                                                   */
} vae_part_kind;
typedef struct vae_part {
    vae_part_kind kind;
    int segment;
    int64_t in, out;   /* channels                                                                              */
    int kernel;        /* VAE_CONV: 1 or 3                                                                      */
    int time;          /* VAE_UP, VAE_DOWN: the frame rate changes too                                          */
} vae_part;

/* Where a weight comes from, and its shape there (a packed one has other dimensions in memory). */
typedef struct vae_source {
    struct kg_file *file;  /* a reference */
    uint64_t offset;
    kg_dtype dtype;
    int rank, packed;
    int64_t shape[KG_RANK];
} vae_source;

typedef struct vae {
    vae_part part[2][VAE_PARTS];
    int count[2];
    int alone[2];      /* from this part of the decoder on, and before this part of the encoder: frame by frame     */
    int64_t side;      /* pixels of a latent's side: 8                                                          */
    int64_t rate;      /* frames of a latent frame after the first: 4                                           */
    int group;         /* residual blocks of a level of the decoder, in diffusers' names                        */
    vae_source source[VAE_WEIGHTS];    /* of each weight of the resource                                       */
} vae;

/* Fills v and the resource's segments from a checkpoint. */
struct kg_checkpoint;
struct kg_builder;
kg_status vae_parts(const struct kg_checkpoint *file, struct kg_builder *to, vae *v);
/* The diffusers name of an official tensor (kg_translate_fn; arg is an int, see group above). */
int vae_diffusers_name(const void *arg, const char *official, char *out, size_t n);

/* ---- running ---- */
typedef struct vae_slot {
    kg_tensor frames;          /* [1 or 2, H, W, C] of act: what a convolution looks back at; rank 0 in a clip of one chunk */
    int64_t room;              /* frames that are left free before an input                                         */
    int64_t n, oldest;         /* how many of them are there, and which goes first (of two)                         */
} vae_slot;
typedef struct vae_run {
    const vae *v;
    int list, port;            /* VAE_DECODER or VAE_ENCODER; the port of the resource                              */
    kg_dtype act;              /* of all frames                                                                     */
    vae_slot slot[VAE_PARTS][2];
    int looks_back;            /* 0: the clip is one chunk                                                          */
    int64_t chunks;            /* chunks done before this one                                                       */
    kg_tensor scale, shift;    /* f32 [VAE_LATENT]: latent = encoded * scale + shift, or encoded = latent * scale + shift */
} vae_run;

/* The type of frames for a KG_PRECISION that infer has resolved. */
kg_dtype vae_act(int precision);
/* Keeps what the list needs for a clip of so many chunks, frames of type act, height x width at its input. Nobody looks back in a
 * clip of one chunk. */
void vae_begin(kg_exec *x, vae_run *r, const vae *v, int list, int port, kg_dtype act, int64_t chunks, int64_t height, int64_t width);
/* Runs the next chunk, act [T, H, W, C], through the list and gives the result to done: the decoder's in parts of one or more
 * frames, of which `at` is the first one's place; the encoder's at once. */
typedef void vae_done_fn(kg_exec *x, void *arg, kg_tensor out, int64_t at);
void vae_chunk(kg_exec *x, vae_run *r, kg_tensor in, vae_done_fn *done, void *arg);

#endif
