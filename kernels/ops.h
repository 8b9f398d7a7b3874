/* The ops: what model code calls. Shapes in brackets, outermost first; "rows" means all dimensions but the last, flattened.
 * dtype rules: "act" is f32, bf16 or f16 (f16 is slow on the CPU); weights are f32, f16 or bf16 as stored. Sums are f32 at least. */
#ifndef KG_KERNELS_OPS_H
#define KG_KERNELS_OPS_H

#include "core/exec.h"

/* ---- products ---- */
enum { KG_LINEAR_NONE, KG_LINEAR_GELU, KG_LINEAR_SILU };   /* gelu is the tanh form */
typedef struct kg_linear_args {
    kg_tensor out;     /* act [rows, n]                                                                     */
    kg_tensor in;      /* act [rows, k]                                                                     */
    kg_tensor weight;  /* f32, f16, bf16 [n, k]                                                             */
    kg_tensor bias;    /* f32, f16, bf16 [n]; rank 0: none                                                  */
    int activation;    /* applied to in * weight^T + bias                                                   */
    kg_tensor scratch; /* the front's own: leave it empty                                                   */
} kg_linear_args;
/* in of 16 bits: products of that type (other weights are rounded to it), f32 sums. in f32: f32 products whatever the weight. */
void kg_linear(kg_exec *x, kg_linear_args a);

/* Softmax(scale * q k^T + bias) v, heads side by side in the last dimension. */
typedef struct kg_attention_args {
    kg_tensor out;     /* act [nq, heads * d]; may be q itself                                              */
    kg_tensor q, k, v; /* act [nq, heads * d], [nk, heads * d] twice                                        */
    kg_tensor bias;    /* rank 0: none; f32 [heads, 2 * span - 1]: added at [h][j - i + span - 1], key j, query i */
    int heads;
    double scale;
    kg_tensor scratch; /* the front's own: leave it empty                                                   */
} kg_attention_args;
void kg_attention(kg_exec *x, kg_attention_args a);

/* ---- rows ---- */
/* x += y * gate (when y), then out = norm(x) * (plus_one + scale) + shift with layer norm (no mean or variance weights).
 * out rank 0: only the residual. gate rank 0: 1. scale, shift rank 0: 1 and 0. All vectors f32, f16 or bf16 [dim]. out may be y. */
typedef struct kg_residual_norm_args {
    kg_tensor x;       /* f32 [rows, dim], updated in place when there is a y                               */
    kg_tensor y;       /* act [rows, dim] or rank 0                                                         */
    kg_tensor gate;    /* [dim] or rank 0                                                                   */
    kg_tensor scale, shift;
    int plus_one;      /* 1: factor is (1 + scale); 0: factor is scale (an affine norm)                     */
    kg_tensor out;     /* act [rows, dim] or rank 0                                                         */
    double eps;
} kg_residual_norm_args;
void kg_residual_norm(kg_exec *x, kg_residual_norm_args a);

/* in += add (when add), then out = in / sqrt(mean(in^2) + eps) * weight over the last dimension, then RoPE when there is a table
 * (interleaved pairs, per head of 2 * table columns). out may be in or add. */
typedef struct kg_rms_norm_args {
    kg_tensor out, in; /* act [rows, dim]; types may differ. With an add, in is f32, updated in place       */
    kg_tensor add;     /* act [rows, dim] or rank 0; not with a rope                                        */
    kg_tensor weight;  /* [dim] f32, f16, bf16                                                              */
    kg_tensor rope;    /* f32 [rows, pairs, 2] cos, sin; rank 0: none                                       */
    double eps;
} kg_rms_norm_args;
void kg_rms_norm(kg_exec *x, kg_rms_norm_args a);

/* cos, sin of 3-D RoPE positions: token (f, h, w) row-major; pairs = [t | h | w], angles in f64. ref: wan-spec 3.6 (Wan2.1
 * wan/modules/model.py, rope_params, rope_apply). */
typedef struct kg_rope_table_args {
    kg_tensor out;     /* f32 [frames * height * width, head_dim / 2, 2]                                    */
    int64_t frames, height, width;
    double theta;
} kg_rope_table_args;
void kg_rope_table(kg_exec *x, kg_rope_table_args a);

enum { KG_UNARY_COPY, KG_UNARY_SILU, KG_UNARY_GELU };
typedef struct kg_unary_args { kg_tensor out, in; int op; } kg_unary_args;     /* any float types, same count; casts */
void kg_unary(kg_exec *x, kg_unary_args a);

typedef struct kg_gated_gelu_args { kg_tensor out, gate, up; } kg_gated_gelu_args;   /* out = gelu_tanh(gate) * up; act */
void kg_gated_gelu(kg_exec *x, kg_gated_gelu_args a);

/* out = sum of coef[i] * term[i], f64 sums rounded once; out may be a term. Guidance and every solver step are this. */
typedef struct kg_combine_args { kg_tensor out, term[6]; double coef[6]; int n; } kg_combine_args;   /* f32 or bf16/f16 terms, f32 out */
void kg_combine(kg_exec *x, kg_combine_args a);

/* out = value throughout. */
typedef struct kg_fill_args { kg_tensor out; double value; } kg_fill_args;             /* any float type, dense */
void kg_fill_with(kg_exec *x, kg_fill_args a);

/* A bias by relative position, as kg_attention takes it: out[h][i] = table[bucket[i]][h]. */
typedef struct kg_rel_bias_args {
    kg_tensor out;     /* f32 [heads, 2 * span - 1]                                                         */
    kg_tensor table;   /* f32, f16, bf16 [buckets, heads], dense                                            */
    kg_tensor bucket;  /* i32 [2 * span - 1], each in 0 .. buckets - 1                                      */
} kg_rel_bias_args;
void kg_rel_bias(kg_exec *x, kg_rel_bias_args a);

/* latent [C, T, H, W] f32 to tokens [T*(H/2)*(W/2), C*4] act, feature c*4 + q*2 + r; and back from head rows
 * [tokens, 4*C] with feature (q*2 + r)*C + c. ref: wan-spec 3.2, 3.8 */
typedef struct kg_patchify_args { kg_tensor latent, tokens; } kg_patchify_args;
void kg_patchify(kg_exec *x, kg_patchify_args a);      /* writes tokens */
void kg_unpatchify(kg_exec *x, kg_patchify_args a);    /* writes latent */

/* N(0,1) as torch draws it for a float tensor: torch.randn(count, generator=torch.Generator(device).manual_seed(seed)). On the CPU
 * (blocks 0) one stream, the same bits everywhere. On a card a stream for each thread of at most `blocks` blocks of 256, which torch
 * makes the card's multiprocessors times their threads / 256; the same bits on cards, rounded otherwise on the CPU. */
typedef struct kg_noise_args { kg_tensor out; uint64_t seed; int blocks; } kg_noise_args;      /* f32, dense */
enum { KG_NOISE_BLOCKS = 1056 };               /* of an H100 or H200: 132 multiprocessors of 2048 threads   */
void kg_noise(kg_exec *x, kg_noise_args a);

/* ---- numbers that are none ---- */
/* flag = KG_HAS_NAN, KG_HAS_INF or both of what `in` holds, and the least and the greatest value of each row: whole numbers decide, so
 * order does not. -0 is below 0; a NaN lies beyond all that has its sign. */
typedef struct kg_look_args {
    kg_tensor in;      /* f32, f16, bf16 [rows, cols]; with a range f32                                     */
    kg_tensor flag;    /* i32, one                                                                          */
    kg_tensor range;   /* f32 [rows, 2], dense: least, greatest; rank 0: none                               */
} kg_look_args;
void kg_look(kg_exec *x, kg_look_args a);
/* NaN or Inf in t ends the run, which names `what` (a constant) and where it is now; costs one pass and no wait (core/exec.h: kg_flag).
 * kg_watch_rows also writes the range of each row. */
void kg_watch(kg_exec *x, kg_tensor t, const char *what);
void kg_watch_rows(kg_exec *x, kg_tensor t, kg_tensor range, const char *what);

/* ---- frames: channels last, act [T, H, W, C] ---- */
#include "kernels/conv.h"

#endif
