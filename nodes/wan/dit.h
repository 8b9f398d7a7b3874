/* Wan's transformer: what its resource holds and how one forward is called.
 *
 * Segments of the resource: text (context MLP), time (time embedding and patch embedding), one per block, head. q, k and v lie in one
 * product, as do k and v of the cross-attention. ref: wan-spec 3 (Wan2.1 wan/modules/model.py). */
#ifndef KG_NODES_WAN_DIT_H
#define KG_NODES_WAN_DIT_H

#include "core/exec.h"
#include "nodes/lib/names.h"

typedef struct kg_wan_config {
    int64_t dim, heads, layers, ffn, in_channels, out_channels, text_dim, freq_dim;
} kg_wan_config;

extern const kg_alias wan_diffusers_names[];

enum { WAN_S_TEXT, WAN_S_TIME, WAN_S_BLOCK };          /* block i is WAN_S_BLOCK + i; head follows the last  */
enum { WAN_TEXT_0W, WAN_TEXT_0B, WAN_TEXT_2W, WAN_TEXT_2B };
enum { WAN_TIME_0W, WAN_TIME_0B, WAN_TIME_2W, WAN_TIME_2B, WAN_TIME_PW, WAN_TIME_PB, WAN_PATCH_W, WAN_PATCH_B };
enum {
    WAN_MODULATION, WAN_QKV_W, WAN_QKV_B, WAN_NORM_Q, WAN_NORM_K, WAN_O_W, WAN_O_B, WAN_NORM3_W, WAN_NORM3_B, WAN_CQ_W, WAN_CQ_B,
    WAN_CKV_W, WAN_CKV_B, WAN_CNORM_Q, WAN_CNORM_K, WAN_CO_W, WAN_CO_B, WAN_FFN0_W, WAN_FFN0_B, WAN_FFN2_W, WAN_FFN2_B
};
enum { WAN_HEAD_MODULATION, WAN_HEAD_W, WAN_HEAD_B };
#define WAN_TEXT_ROWS 512      /* keys of the cross-attention: always all of them, zero rows included        */
#define WAN_EPS 1e-6

/* Everything that stays for a whole sampling run. */
typedef struct wan_dit {
    const kg_wan_config *config;
    int port;                  /* the resource's                                                            */
    kg_dtype act;              /* f32 or bf16: type of products and attention                               */
    int64_t frames, height, width;     /* of the patch grid                                                 */
    kg_tensor rope;            /* f32 [tokens, 64, 2]                                                       */
    kg_tensor context[2];      /* act [512, dim]: prompt, negative                                          */
    int contexts;
    int ffn_chunks;            /* times the parts that the feed forward has by itself                      */
} wan_dit;
/* One evaluation: the velocity of `latent` under context `context`. */
typedef struct wan_branch { kg_tensor latent, velocity; int context; } wan_branch;

/* Fills d->context[i] from text[i] (f32 [512, text_dim]). */
kg_status wan_dit_context(kg_exec *x, const wan_dit *d, const kg_tensor *text);
/* All branches at timestep t, each block's weights used once for all of them. */
kg_status wan_dit_forward(kg_exec *x, const wan_dit *d, double t, const wan_branch *b, int n);

#endif
