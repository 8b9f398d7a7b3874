/* How files of the Wan family are recognised. Whatever wan.model and wan.vae do not run is told by its own tensors, official names or
 * diffusers'; experts, and models for other sizes, have the same tensors. ref: wan-spec 1, 1.3, 4.1 */
#include <stdio.h>
#include <string.h>

#include "nodes/lib/known.h"
#include "nodes/wan/dit.h"
#include "nodes/wan/vae.h"

typedef struct transformer { int64_t dim, in, out; int layers; } transformer;

static int read_transformer(kg_checkpoint *ck, transformer *t)
{
    kg_checkpoint_alias(ck, wan_diffusers_names);
    kg_checkpoint_detect(ck, "head.modulation");
    const kg_weight *m = kg_checkpoint_find(ck, "head.modulation"), *p = kg_checkpoint_find(ck, "patch_embedding.weight");
    const kg_weight *h = kg_checkpoint_find(ck, "head.head.weight");
    if (!m || !p || !h || !kg_checkpoint_find(ck, "blocks.0.self_attn.norm_q.weight") || m->rank != 3 || p->rank != 5 || h->rank != 2)
        return 0;
    *t = (transformer){.dim = m->shape[2], .in = p->shape[1], .out = h->shape[0] / 4, .layers = kg_checkpoint_blocks(ck, "blocks.%d.")};
    return 1;
}

/* Parts that only one kind of model has, by one of their tensors. */
static const char *part_of(const kg_checkpoint *ck)
{
    static const struct { const char *tensor, *what; } parts[] = { /* table */
        {"vace_patch_embedding.weight", "a Wan VACE transformer"},
        {"face_adapter.fuser_blocks.0.k_norm.weight", "a Wan2.2 Animate transformer"},
        {"casual_audio_encoder.encoder.final_linear.weight", "a Wan2.2 S2V (speech to video) transformer"},
        {"audio_proj.audio_proj_glob_1.layer.bias", "a HuMo transformer"},
        {"control_adapter.conv.weight", "a Wan Fun-Camera transformer"},
        {"ref_conv.weight", "a Wan Fun-Control transformer with reference pictures"},
        {"img_emb.emb_pos", "a Wan2.1 FLF2V (first and last frame to video) transformer"},
        {"condition_embedder.image_embedder.pos_embed", "a Wan2.1 FLF2V (first and last frame to video) transformer"}};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; ++i)
        if (kg_checkpoint_find(ck, parts[i].tensor))
            return parts[i].what;
    return NULL;
}

static const char *kind_of(const kg_checkpoint *ck, const transformer *t)
{
    const char *part = part_of(ck);
    int clip = kg_checkpoint_find(ck, "img_emb.proj.0.bias") || kg_checkpoint_find(ck, "condition_embedder.image_embedder.norm1.bias");
    if (part)
        return part;
    if (t->out == 48)
        return t->in == 48 ? "a Wan2.2 TI2V transformer (as TI2V-5B)" : "a Wan2.2 transformer for the VAE of TI2V-5B, with a condition";
    if (clip)
        return t->in > t->out + 20 ? "a Wan2.1 Fun-Control transformer" : "a Wan2.1 image-to-video transformer (I2V, or Fun-InP)";
    if (t->in == t->out + 20)
        return "a Wan2.2 image-to-video transformer (as I2V-A14B)";
    return t->in != t->out ? "a Wan transformer with a condition" : NULL;
}

static int transformer_tell(kg_checkpoint *ck, kg_told *told)
{
    transformer t;
    char size[64];
    if (!read_transformer(ck, &t))
        return 0;
    const char *kind = kind_of(ck, &t);
    const char *name = t.dim == 1536 && t.layers == 30 ? "1.3B" : t.dim == 5120 && t.layers == 40 ? "14B"
                     : t.dim == 3072 && t.layers == 30 ? "5B" : NULL;
    snprintf(size, sizeof size, name ? "%s" : "%s%lld wide, %d blocks", name ? name : "", (long long)t.dim, t.layers);
    snprintf(told->what, sizeof told->what, t.in == t.out ? "%s, %s" : "%s, %s, %lld channels in, %lld out",
             kind ? kind : "a Wan text-to-video transformer", size, (long long)t.in, (long long)t.out);
    told->runs = !kind;
    return 1;
}
KG_KNOWN(wan_model) = {.reader = "wan.model", .wants = "a Wan text-to-video transformer", .tell = transformer_tell};

/* gamma is RMS norm's; other families' VAEs have weight and bias there. */
static int vae_tell(kg_checkpoint *ck, kg_told *told)
{
    const kg_weight *z = NULL;
    if (kg_checkpoint_detect(ck, "decoder.middle.0.residual.0.gamma"))
        z = kg_checkpoint_find(ck, "conv2.weight");
    else if (kg_checkpoint_detect(ck, "decoder.mid_block.resnets.0.norm1.gamma"))
        z = kg_checkpoint_find(ck, "post_quant_conv.weight");
    else
        return 0;
    int wide = z && z->rank && z->shape[0] == 48;
    snprintf(told->what, sizeof told->what, wide ? "the VAE of Wan2.2's TI2V-5B (48 channels)" : "a VAE of Wan2.1's kind");
    told->runs = !wide;
    return 1;
}
KG_KNOWN(wan_vae) = {.reader = "wan.vae", .wants = "a VAE of Wan2.1's kind", .tell = vae_tell};
