/* text.load: a UMT5 encoder and its tokenizer. Every dimension is read from the tensors' shapes, under official names or those of
 * transformers (diffusers' and ComfyUI's files too). ref: wan-spec 2.1, 2.4 */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>

#include "nodes/lib/known.h"
#include "nodes/lib/sniff.h"
#include "nodes/lib/tokenizer.h"
#include "nodes/text/umt5.h"

typedef struct params { const char *path, *tokenizer; } params;

const kg_alias umt5_names[] = { /* table */
    {"token_embedding", "shared"},
    {"token_embedding", "encoder.embed_tokens"},
    {"blocks.%d.norm1", "encoder.block.%d.layer.0.layer_norm"},
    {"blocks.%d.attn", "encoder.block.%d.layer.0.SelfAttention"},
    {"blocks.%d.pos_embedding.embedding", "encoder.block.%d.layer.0.SelfAttention.relative_attention_bias"},
    {"blocks.%d.norm2", "encoder.block.%d.layer.1.layer_norm"},
    {"blocks.%d.ffn.gate.0", "encoder.block.%d.layer.1.DenseReluDense.wi_0"},
    {"blocks.%d.ffn.fc1", "encoder.block.%d.layer.1.DenseReluDense.wi_1"},
    {"blocks.%d.ffn.fc2", "encoder.block.%d.layer.1.DenseReluDense.wo"},
    {"norm", "encoder.final_layer_norm"},
    {NULL, NULL}};

/* ---- dimensions ---- */

static kg_status dimensions(const kg_checkpoint *ck, umt5 *m)
{
    kg_weight w;
    const char *path = kg_checkpoint_path(ck);
    if (kg_checkpoint_need(ck, "token_embedding.weight", KG_SHAPE(-1, -1), &w))
        return KG_INPUT;
    m->vocab = w.shape[0];
    m->dim = w.shape[1];
    m->table = kg_file_ref(w.file);
    m->table_offset = w.offset;
    m->table_dtype = w.dtype;
    if (w.dtype != KG_F32 && w.dtype != KG_F16 && w.dtype != KG_BF16)
        return kg_fail(KG_INPUT, "'%s': '%s' is %s; f32, f16 and bf16 are known", path, w.name, kg_dtype_name(w.dtype));
    m->layers = kg_checkpoint_blocks(ck, "blocks.%d.");
    if (m->vocab < 1 || m->vocab > INT32_MAX || m->dim < 1 || m->layers < 1)
        return kg_fail(KG_INPUT, "'%s' is no UMT5 encoder: %lld embeddings of %lld numbers and %lld layers", path, (long long)m->vocab,
                       (long long)m->dim, (long long)m->layers);
    if (kg_checkpoint_need(ck, "blocks.0.pos_embedding.embedding.weight", KG_SHAPE(-1, -1), &w))
        return KG_INPUT;
    m->buckets = w.shape[0];
    m->heads = w.shape[1];
    if (kg_checkpoint_need(ck, "blocks.0.attn.q.weight", KG_SHAPE(-1, m->dim), &w))
        return KG_INPUT;
    m->inner = w.shape[0];
    if (m->heads < 1 || m->inner < 1 || m->inner % m->heads)
        return kg_fail(KG_INPUT, "'%s': '%s' has %lld rows, which %lld heads do not divide", path, w.name, (long long)m->inner,
                       (long long)m->heads);
    if (m->buckets < 4 || m->buckets % 4 || m->buckets > 128)
        return kg_fail(KG_INPUT, "'%s': %lld buckets of relative positions; a multiple of 4 up to 128 is known", path,
                       (long long)m->buckets);
    if (kg_checkpoint_need(ck, "blocks.0.ffn.gate.0.weight", KG_SHAPE(-1, m->dim), &w))
        return KG_INPUT;
    m->ffn = w.shape[0];
    return m->ffn > 0 ? KG_OK : kg_fail(KG_INPUT, "'%s': '%s' is empty", path, w.name);
}

/* One segment a layer, in the order of the enum in umt5.h. q, k and v are one product, as are the feed forward's gate and up. */
static void segments(kg_builder *b, const umt5 *m)
{
    for (int i = 0; i < m->layers; ++i) {
        char text[3][64], wide[2][64];
        for (int j = 0; j < 3; ++j)
            snprintf(text[j], sizeof text[j], "blocks.%d.attn.%c.weight", i, "qkv"[j]);
        for (int j = 0; j < 2; ++j)
            snprintf(wide[j], sizeof wide[j], "blocks.%d.ffn.%s.weight", i, j ? "fc1" : "gate.0");
        kg_builder_segment(b, "layer %d", i);
        kg_builder_weight(b, KG_SHAPE(m->dim), "blocks.%d.norm1.weight", i);
        kg_builder_rows(b, KG_SHAPE(3 * m->inner, m->dim), 3, (const char *const[]){text[0], text[1], text[2]});
        kg_builder_weight(b, KG_SHAPE(m->dim, m->inner), "blocks.%d.attn.o.weight", i);
        kg_builder_weight(b, KG_SHAPE(m->buckets, m->heads), "blocks.%d.pos_embedding.embedding.weight", i);
        kg_builder_weight(b, KG_SHAPE(m->dim), "blocks.%d.norm2.weight", i);
        kg_builder_rows(b, KG_SHAPE(2 * m->ffn, m->dim), 2, (const char *const[]){wide[0], wide[1]});
        kg_builder_weight(b, KG_SHAPE(m->dim, m->ffn), "blocks.%d.ffn.fc2.weight", i);
    }
    kg_builder_segment(b, "norm");
    kg_builder_weight(b, KG_SHAPE(m->dim), "%s", "norm.weight");
}

/* ---- tokenizer ---- */

/* A file of its own is part of the key; the tensor in the weights' file is part of their identity. Takes the file. */
static kg_status tokenizer_file(kg_infer *x, kg_file *file, umt5 *m)
{
    if (!file)
        return kg_error_last()->status;
    m->spiece = file;
    m->spiece_bytes = (size_t)file->size;
    if (file->size > KG_TOKENIZER_MAX)
        return kg_fail(KG_INPUT, "'%s' is no tokenizer: it has %llu bytes", file->path, (unsigned long long)file->size);
    kg_status status = kg_sniff_want(file, KG_FORM_TOKENIZER, "tokenizer (spiece.model)");
    if (!status)
        kg_infer_file(x, file);
    return status ? status : kg_error_last()->status;
}

static kg_status tokenizer_find(kg_infer *x, const kg_checkpoint *ck, const char *path, umt5 *m)
{
    char inside[4096];
    if (path && *path) {
        if (!kg_exists(x->files, path) && snprintf(inside, sizeof inside, "%s/spiece.model", path) < (int)sizeof inside &&
            kg_exists(x->files, inside))
            path = inside;
        return tokenizer_file(x, kg_open(x->files, path), m);
    }
    const kg_weight *w = kg_checkpoint_ending(ck, "spiece_model");
    if (w && w->dtype == KG_U8 && kg_weight_bytes(w) <= KG_TOKENIZER_MAX) {
        m->spiece = kg_file_ref(w->file);
        m->spiece_offset = w->offset;
        m->spiece_bytes = (size_t)kg_weight_bytes(w);
        return KG_OK;
    }
    kg_file *beside = kg_open_beside(x->files, m->table, "spiece.model");
    if (beside)
        return tokenizer_file(x, beside, m);
    kg_error_clear();
    kg_status status = kg_fail(KG_INPUT, "'%s' holds no tokenizer (a tensor 'spiece_model'), and there is no 'spiece.model' beside it",
                               kg_checkpoint_path(ck));
    kg_hint("tokenizer = PATH names the spiece.model of the text encoder");
    return status;
}

/* ---- node ---- */

/* Opening umT5's tokenizer takes some 80 MiB and half a second: all texts of a graph share one, and no run keeps it. */
static void settle(const kg_resource *r)
{
    const umt5 *m = r->config;
    if (!m->shared->tokenizer)
        return;
    kg_tokenizer_free(m->shared->tokenizer);
    m->shared->tokenizer = NULL;
    malloc_trim(0);
}

static void config_free(void *config)
{
    umt5 *m = config;
    if (m->shared)
        kg_tokenizer_free(m->shared->tokenizer);
    free(m->shared);
    kg_file_unref(m->table);
    kg_file_unref(m->spiece);
    free(m);
}

static kg_status build(kg_infer *x, kg_checkpoint *ck)
{
    const params *p = x->params;
    kg_checkpoint_alias(ck, umt5_names);
    kg_checkpoint_detect(ck, "token_embedding.weight");
    umt5 *m = calloc(1, sizeof *m);
    if (!m)
        return kg_fail(KG_FAILED, "out of host memory");
    m->shared = calloc(1, sizeof *m->shared);
    kg_status status = m->shared ? dimensions(ck, m) : kg_fail(KG_FAILED, "out of host memory");
    if (!status)
        status = tokenizer_find(x, ck, p->tokenizer, m);
    kg_builder *b = status ? NULL : kg_builder_new(ck);
    if (b)
        segments(b, m);
    kg_resource *r = kg_builder_done(b, m, config_free);
    if (!r)
        return kg_error_last()->status;
    r->settle = settle;
    x->resource = r;
    x->out[0] = (kg_desc){.kind = "resource/umt5", .resource = r};
    return KG_OK;
}

static kg_status infer(kg_infer *x)
{
    const params *p = x->params;
    kg_checkpoint *ck = kg_checkpoint_open(x->files, p->path);
    if (!ck)
        return kg_error_last()->status;
    kg_status status = kg_known_want(ck, "text.load");
    if (!status)
        status = build(x, ck);
    kg_checkpoint_free(ck);
    return status;
}

KG_NODE(text_load) = {
    .name = "text.load",
    .doc = "A UMT5 text encoder from safetensors, with its tokenizer.",
    .version = 1,
    .params_size = sizeof(params),
    .outputs = KG_PORTS({"model", "resource/umt5", 0, "for text.umt5"}),
    .params = KG_PARAMS(KG_PATH(params, path, KG_REQUIRED, "umt5_xxl_fp16.safetensors, or a folder or index of shards"),
                        KG_PATH(params, tokenizer, 0, "spiece.model; left out: the file's own tensor, or the file beside it")),
    .infer = infer};
