/* How text encoders are recognised: UMT5, which text.load reads, and those that lie beside it in people's folders. */
#include <stdio.h>

#include "nodes/lib/known.h"
#include "nodes/text/umt5.h"

/* T5 has one table of relative positions for all layers, UMT5 one in each. ref: wan-spec 2.1 */
static int umt5_tell(kg_checkpoint *ck, kg_told *told)
{
    kg_checkpoint_alias(ck, umt5_names);
    kg_checkpoint_detect(ck, "blocks.0.pos_embedding.embedding.weight");
    const kg_weight *w = kg_checkpoint_find(ck, "token_embedding.weight");
    int layers = kg_checkpoint_blocks(ck, "blocks.%d.");
    if (!w || w->rank != 2 || !kg_checkpoint_find(ck, "blocks.0.pos_embedding.embedding.weight") ||
        !kg_checkpoint_find(ck, "blocks.0.attn.q.weight"))
        return 0;
    told->runs = layers < 2 || kg_checkpoint_find(ck, "blocks.1.pos_embedding.embedding.weight") != NULL;
    if (!told->runs)
        snprintf(told->what, sizeof told->what, "a T5 text encoder (its layers share one table of positions)");
    else
        snprintf(told->what, sizeof told->what, "a UMT5 text encoder (%lld words, %lld wide, %d layers)", (long long)w->shape[0],
                 (long long)w->shape[1], layers);
    return 1;
}
KG_KNOWN(text_umt5) = {.reader = "text.load", .wants = "a UMT5 text encoder", .tell = umt5_tell};

/* CLIP in the names of transformers, of OpenCLIP, and of Wan2.1's own file. ref: wan-spec 2.5 */
static int clip_tell(kg_checkpoint *ck, kg_told *told)
{
    int text = kg_checkpoint_ending(ck, "text_model.encoder.layers.0.self_attn.q_proj.weight") != NULL;
    int vision = kg_checkpoint_ending(ck, "vision_model.embeddings.class_embedding") != NULL;
    int open = kg_checkpoint_ending(ck, "transformer.resblocks.0.attn.in_proj_weight") != NULL;
    int own = kg_checkpoint_ending(ck, "visual.transformer.0.attn.to_qkv.weight") != NULL;
    snprintf(told->what, sizeof told->what, "%s", text && vision ? "a CLIP model (texts and pictures)" : text ? "a CLIP text encoder"
             : vision || own ? "a CLIP encoder of pictures" : "an OpenCLIP model");
    return text || vision || open || own;
}
KG_KNOWN(text_clip) = {.tell = clip_tell};

static int language_tell(kg_checkpoint *ck, kg_told *told)
{
    snprintf(told->what, sizeof told->what, "a language model (layers as Llama's or Qwen's)");
    return kg_checkpoint_ending(ck, "model.layers.0.self_attn.q_proj.weight") &&
           kg_checkpoint_ending(ck, "model.layers.0.mlp.up_proj.weight");
}
KG_KNOWN(text_language) = {.tell = language_tell};
