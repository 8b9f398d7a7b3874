/* wan.model: a Wan transformer from a file, every dimension read off its tensors. Names may be official (ComfyUI's too) or
 * diffusers'. ref: wan-spec 1.3, 4.1 */
#include <stdio.h>
#include <stdlib.h>

#include "nodes/lib/known.h"
#include "nodes/wan/dit.h"

typedef struct wan_model_params { const char *path; } wan_model_params;

const kg_alias wan_diffusers_names[] = { /* table */
    {"text_embedding.0", "condition_embedder.text_embedder.linear_1"},
    {"text_embedding.2", "condition_embedder.text_embedder.linear_2"},
    {"time_embedding.0", "condition_embedder.time_embedder.linear_1"},
    {"time_embedding.2", "condition_embedder.time_embedder.linear_2"},
    {"time_projection.1", "condition_embedder.time_proj"},
    {"blocks.%d.modulation", "blocks.%d.scale_shift_table"},
    {"blocks.%d.self_attn.q", "blocks.%d.attn1.to_q"},
    {"blocks.%d.self_attn.k", "blocks.%d.attn1.to_k"},
    {"blocks.%d.self_attn.v", "blocks.%d.attn1.to_v"},
    {"blocks.%d.self_attn.o", "blocks.%d.attn1.to_out.0"},
    {"blocks.%d.self_attn.norm_q", "blocks.%d.attn1.norm_q"},
    {"blocks.%d.self_attn.norm_k", "blocks.%d.attn1.norm_k"},
    {"blocks.%d.norm3", "blocks.%d.norm2"},
    {"blocks.%d.cross_attn.q", "blocks.%d.attn2.to_q"},
    {"blocks.%d.cross_attn.k", "blocks.%d.attn2.to_k"},
    {"blocks.%d.cross_attn.v", "blocks.%d.attn2.to_v"},
    {"blocks.%d.cross_attn.o", "blocks.%d.attn2.to_out.0"},
    {"blocks.%d.cross_attn.norm_q", "blocks.%d.attn2.norm_q"},
    {"blocks.%d.cross_attn.norm_k", "blocks.%d.attn2.norm_k"},
    {"blocks.%d.ffn.0", "blocks.%d.ffn.net.0.proj"},
    {"blocks.%d.ffn.2", "blocks.%d.ffn.net.2"},
    {"head.modulation", "scale_shift_table"},
    {"head.head", "proj_out"},
    {NULL, NULL}};

static kg_status dimensions(const kg_checkpoint *ck, kg_wan_config *c)
{
    kg_weight w;
    if (kg_checkpoint_need(ck, "head.modulation", KG_SHAPE(1, 2, -1), &w) != KG_OK)
        return KG_INPUT;
    c->dim = w.shape[2];
    if (c->dim % 128 || c->dim <= 0)
        return kg_fail(KG_INPUT, "%s: head.modulation has %lld channels, not a multiple of the head size 128",
                       kg_checkpoint_path(ck), (long long)c->dim);
    c->heads = c->dim / 128;
    c->layers = kg_checkpoint_blocks(ck, "blocks.%d.");
    if (kg_checkpoint_need(ck, "blocks.0.ffn.0.weight", KG_SHAPE(-1, c->dim), &w) != KG_OK)
        return KG_INPUT;
    c->ffn = w.shape[0];
    if (kg_checkpoint_need(ck, "patch_embedding.weight", KG_SHAPE(c->dim, -1, 1, 2, 2), &w) != KG_OK)
        return KG_INPUT;
    c->in_channels = w.shape[1];
    if (kg_checkpoint_need(ck, "head.head.weight", KG_SHAPE(-1, c->dim), &w) != KG_OK)
        return KG_INPUT;
    c->out_channels = w.shape[0] / 4;
    if (kg_checkpoint_need(ck, "text_embedding.0.weight", KG_SHAPE(c->dim, -1), &w) != KG_OK)
        return KG_INPUT;
    c->text_dim = w.shape[1];
    if (kg_checkpoint_need(ck, "time_embedding.0.weight", KG_SHAPE(c->dim, -1), &w) != KG_OK)
        return KG_INPUT;
    c->freq_dim = w.shape[1];
    if (c->freq_dim % 2 || c->freq_dim > 4096)
        return kg_fail(KG_INPUT,
                       "%s: time_embedding.0.weight takes %lld frequencies, an even number up to 4096 is needed",
                       kg_checkpoint_path(ck), (long long)c->freq_dim);
    return KG_OK;
}

static void attention(kg_builder *b, const kg_wan_config *c, int i, int cross)
{
    const char *names[3][2] = {{"q", "cross_attn.k"}, {"k", "cross_attn.v"}, {"v", NULL}};
    char text[2][3][96];
    const char *list[2][3];
    int64_t d = c->dim;
    int n = cross ? 2 : 3;
    for (int k = 0; k < n; ++k)
        for (int bias = 0; bias < 2; ++bias) {
            snprintf(text[bias][k], sizeof text[bias][k], cross ? "blocks.%d.%s.%s" : "blocks.%d.self_attn.%s.%s", i,
                     names[k][cross], bias ? "bias" : "weight");
            list[bias][k] = text[bias][k];
        }
    const char *group = cross ? "cross_attn" : "self_attn";
    if (cross) {
        kg_builder_weight(b, KG_SHAPE(d, d), "blocks.%d.cross_attn.q.weight", i);
        kg_builder_weight(b, KG_SHAPE(d), "blocks.%d.cross_attn.q.bias", i);
    }
    kg_builder_rows(b, KG_SHAPE(n * d, d), n, list[0]);
    kg_builder_rows(b, KG_SHAPE(n * d), n, list[1]);
    kg_builder_weight(b, KG_SHAPE(d), "blocks.%d.%s.norm_q.weight", i, group);
    kg_builder_weight(b, KG_SHAPE(d), "blocks.%d.%s.norm_k.weight", i, group);
    kg_builder_weight(b, KG_SHAPE(d, d), "blocks.%d.%s.o.weight", i, group);
    kg_builder_weight(b, KG_SHAPE(d), "blocks.%d.%s.o.bias", i, group);
}

static void pair(kg_builder *b, int64_t out, int64_t in, const char *name)
{
    kg_builder_weight(b, KG_SHAPE(out, in), "%s.weight", name);
    kg_builder_weight(b, KG_SHAPE(out), "%s.bias", name);
}

/* The order of weights is that of the enums in dit.h. */
static void segments(kg_builder *b, const kg_wan_config *c)
{
    int64_t d = c->dim;
    kg_builder_segment(b, "text embedding");
    pair(b, d, c->text_dim, "text_embedding.0");
    pair(b, d, d, "text_embedding.2");
    kg_builder_segment(b, "time and patch embedding");
    pair(b, d, c->freq_dim, "time_embedding.0");
    pair(b, d, d, "time_embedding.2");
    pair(b, 6 * d, d, "time_projection.1");
    kg_builder_weight(b, KG_SHAPE(d, c->in_channels, 1, 2, 2), "patch_embedding.weight");
    kg_builder_weight(b, KG_SHAPE(d), "patch_embedding.bias");
    for (int i = 0; i < c->layers; ++i) {
        kg_builder_segment(b, "block %d", i);
        kg_builder_weight(b, KG_SHAPE(1, 6, d), "blocks.%d.modulation", i);
        attention(b, c, i, 0);
        kg_builder_weight(b, KG_SHAPE(d), "blocks.%d.norm3.weight", i);
        kg_builder_weight(b, KG_SHAPE(d), "blocks.%d.norm3.bias", i);
        attention(b, c, i, 1);
        kg_builder_weight(b, KG_SHAPE(c->ffn, d), "blocks.%d.ffn.0.weight", i);
        kg_builder_weight(b, KG_SHAPE(c->ffn), "blocks.%d.ffn.0.bias", i);
        kg_builder_weight(b, KG_SHAPE(d, c->ffn), "blocks.%d.ffn.2.weight", i);
        kg_builder_weight(b, KG_SHAPE(d), "blocks.%d.ffn.2.bias", i);
    }
    kg_builder_segment(b, "head");
    kg_builder_weight(b, KG_SHAPE(1, 2, d), "head.modulation");
    pair(b, 4 * c->out_channels, d, "head.head");
}

static kg_status build(kg_infer *x, kg_checkpoint *ck)
{
    kg_checkpoint_alias(ck, wan_diffusers_names);
    kg_checkpoint_detect(ck, "head.modulation");
    kg_wan_config *c = calloc(1, sizeof *c);
    kg_status s = c ? dimensions(ck, c) : kg_fail(KG_FAILED, "out of host memory");
    if (s != KG_OK) {
        free(c);
        return s;
    }
    kg_builder *b = kg_builder_new(ck);
    segments(b, c);
    x->resource = kg_builder_done(b, c, free);
    return x->resource ? kg_known_rest(ck, "Wan text-to-video transformer") : KG_INPUT;
}

static kg_status infer(kg_infer *x)
{
    const wan_model_params *p = x->params;
    kg_checkpoint *ck = kg_checkpoint_open(x->files, p->path);
    if (!ck)
        return KG_INPUT;
    kg_status s = kg_known_want(ck, "wan.model");
    if (s == KG_OK)
        s = build(x, ck);
    kg_checkpoint_free(ck);
    x->out[0] = (kg_desc){.kind = "resource/wan", .resource = x->resource};
    return s;
}

KG_NODE(wan_model) = {
    .name = "wan.model",
    .doc = "A Wan 2.1 or 2.2 text-to-video transformer from a safetensors file, an index of shards, or a folder of them",
    .version = 1,
    .params_size = sizeof(wan_model_params),
    .outputs = KG_PORTS({"model", "resource/wan", 0, "the weights"}),
    .params = KG_PARAMS(KG_PATH(wan_model_params, path, KG_REQUIRED, "transformer weights")),
    .infer = infer,
};
