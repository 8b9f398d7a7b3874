/* Models of families that kino has not, by a tensor that only they have: so that one in the wrong place is named for what it is. */
#include <stdio.h>
#include <string.h>

#include "nodes/lib/known.h"

/* ref: ComfyUI comfy/model_detection.py; diffusers' state dicts */
static int foreign_tell(kg_checkpoint *ck, kg_told *told)
{
    static const struct { const char *ending, *what; } marks[] = { /* table */
        {"txt_in.individual_token_refiner.blocks.0.norm1.weight", "a HunyuanVideo transformer"},
        {"double_blocks.0.img_attn.norm.key_norm.scale", "a Flux transformer"},
        {"joint_blocks.0.x_block.attn.qkv.weight", "a Stable Diffusion 3 transformer"},
        {"transformer_blocks.0.img_mod.1.weight", "a Qwen-Image transformer"},
        {"adaln_single.emb.timestep_embedder.linear_1.weight", "an LTX-Video or PixArt transformer"},
        {"input_blocks.0.0.weight", "a UNet of Stable Diffusion's kind"},
        {"down_blocks.0.resnets.0.time_emb_proj.weight", "a UNet of Stable Diffusion's kind"},
        {"decoder.mid.block_1.norm1.weight", "a picture VAE of Stable Diffusion's kind"},
        {"decoder.mid_block.resnets.0.norm1.weight", "a VAE of another family than Wan"}};
    for (size_t i = 0; i < sizeof marks / sizeof *marks; ++i)
        if (kg_checkpoint_ending(ck, marks[i].ending)) {
            snprintf(told->what, sizeof told->what, "%s", marks[i].what);
            return 1;
        }
    return 0;
}
KG_KNOWN(foreign) = {.tell = foreign_tell};
