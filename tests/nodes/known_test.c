/* Files are named for what they are: forms by their first bytes, models by the names and shapes of their tensors. */
#include "tests/test.h"

#include "core/graph.h"
#include "nodes/lib/known.h"
#include "nodes/lib/safetensors.h"
#include "nodes/lib/sniff.h"
#include "tests/graph.h"
#include "tests/nodes/files.h"
#include "tests/sparse.h"

static kg_files *files;

/* ---- forms ---- */

#define BYTES(s) s, sizeof s - 1
static const struct { const char *bytes; size_t n; kg_form form; const char *what; } forms[] = { /* table */
    {BYTES("GGUF\3\0\0\0\0\0\0\0"), KG_FORM_OTHER, "a GGUF file (version 3)"},
    {BYTES("GGUF\0\0\0\3\0\0\0\0"), KG_FORM_OTHER, "a GGUF file for big-endian machines"},
    {BYTES("PK\3\4\0\0\10\10\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\20\0\0\0archive/data.pkl"), KG_FORM_OTHER,
     "a PyTorch file (a zip with a pickle in it)"},
    {BYTES("PK\3\4\0\0\10\10\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\20\0\0\0archive/data.txt"), KG_FORM_OTHER, "a ZIP archive"},
    {BYTES("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19\x2e"), KG_FORM_OTHER,
     "a PyTorch file of the old form (pickles in a row)"},
    {BYTES("\x80\x04\x95\x10\0\0\0\0\0\0\0}"), KG_FORM_OTHER, "a Python pickle"},
    {BYTES("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 2838276736\n"), KG_FORM_OTHER,
     "a Git LFS pointer to a file of 2.6 GiB (not the file itself)"},
    {BYTES("\n <!DOCTYPE HTML>\n<html>"), KG_FORM_OTHER, "an HTML page (a download that brought a web page)"},
    {BYTES("<?xml version=\"1.0\"?><Error><Code>AccessDenied"), KG_FORM_OTHER, "an XML answer of a server (a failed download)"},
    {BYTES("Entry not found"), KG_FORM_TEXT, "a text that begins \"Entry not found\""},
    {BYTES("{\"weight_map\": {}}"), KG_FORM_JSON, "a JSON file"},
    {BYTES("[1]\n"), KG_FORM_JSON, "a JSON file"},
    {BYTES("\x89PNG\r\n\x1a\n"), KG_FORM_PNG, "a PNG picture"},
    {BYTES("\xff\xd8\xff\xe0\0\x10JFIF"), KG_FORM_OTHER, "a JPEG picture"},
    {BYTES("RIFF\0\0\0\0WEBPVP8 "), KG_FORM_OTHER, "a WebP picture"},
    {BYTES("\0\0\0\x20" "ftypisom"), KG_FORM_VIDEO, "an MP4 file"},
    {BYTES("\0\0\0\x14" "ftypqt  "), KG_FORM_VIDEO, "a QuickTime movie"},
    {BYTES("\x1a\x45\xdf\xa3\x01\0\0\0\0\0\0\x1f\x42\x86\x81\x01\x42\x82\x84webm"), KG_FORM_VIDEO, "a WebM file"},
    {BYTES("-- a graph\nreturn kino.template{}"), KG_FORM_SCRIPT, "a Lua script for kino"},
    {BYTES("\x08\x08\x12\x07pytorch\x1a\x05" "2.1.0"), KG_FORM_OTHER, "an ONNX model"},
    {BYTES("\x0a\x0e\x0a\x05<pad>\x15\0\0\0\0\x18\x03"), KG_FORM_TOKENIZER, "a SentencePiece model (a tokenizer)"},
    {BYTES(""), KG_FORM_OTHER, "empty"},
    {BYTES("\x10\0\0\0\0\0\0\0{\"a\":"), KG_FORM_SAFETENSORS, "a safetensors file"},
    {BYTES("\x01\x02\x03\x04"), KG_FORM_UNKNOWN, "a file of no form that is known here"}};

static void forms_are_named(void)
{
    static const uint8_t zeros[512];
    kg_sniffed s;
    for (size_t i = 0; i < sizeof forms / sizeof *forms; ++i) {
        kg_sniff((const uint8_t *)forms[i].bytes, forms[i].n, forms[i].n, &s);
        CHECK(s.form == forms[i].form && !strcmp(s.what, forms[i].what), "%zu: %d, %s", i, s.form, s.what);
    }
    kg_sniff(zeros, sizeof zeros, 4096, &s);
    CHECK(s.form == KG_FORM_OTHER && strstr(s.what, "zeros"));
    kg_sniff(zeros, 3, 3, &s);
    CHECK(s.form == KG_FORM_UNKNOWN, "three zeros are nothing");
}

/* ---- every reader says it ---- */

static int refused(int node, const char *message, const char *hint)
{
    const kg_error *e = kg_error_last();
    int good = node < 0 && e->status == KG_INPUT && strstr(e->message, message) && strstr(e->hint, hint);
    if (!good)
        fprintf(stderr, "node %d, \"%s\" (%s)\n", node, e->message, e->hint);
    kg_error_clear();
    return good;
}

static int add(kg_graph *g, const char *type, const char *path) { return kg_graph_add(g, type, NULL, ARGS(arg_text("path", path))); }

static void every_reader_names_the_form(void)
{
    static const char *const readers[] = {"wan.model", "wan.vae", "text.load", "latent.load", "image.load"};
    kg_graph *g = kg_graph_new(&(kg_graph_options){.files = files});
    test_write("m.safetensors", BYTES("GGUF\3\0\0\0\0\0\0\0\0\0\0\0"));
    test_write("lfs.safetensors.index.json", forms[6].bytes, forms[6].n);
    test_write("page.model", forms[7].bytes, forms[7].n);
    for (size_t i = 0; i < sizeof readers / sizeof *readers; ++i)
        CHECK(refused(add(g, readers[i], "m.safetensors"), "'m.safetensors' is a GGUF file (version 3), and no", ""));
    CHECK(refused(add(g, "wan.model", "lfs.safetensors.index.json"), "is a Git LFS pointer to a file of 2.6 GiB", "git lfs pull"));
    CHECK(sparse_umt5("umt5.safetensors", 1));
    CHECK(refused(kg_graph_add(g, "text.load", NULL, ARGS(arg_text("path", "umt5.safetensors"), arg_text("tokenizer", "page.model"))),
                  "'page.model' is an HTML page", "/resolve/"));
    kg_graph_free(g);
}

/* ---- models ---- */

typedef struct shape { const char *name; int dims[6]; } shape;

/* A transformer of two blocks with `in` and `out` channels, and more tensors (ended by a NULL name). */
static void write_wan(const char *path, int dim, int in, int out, const shape *more)
{
    sparse s;
    sparse_open(&s, "BF16", 2);
    SPARSE(&s, "patch_embedding.weight", dim, in, 1, 2, 2);
    SPARSE(&s, "patch_embedding.bias", dim);
    sparse_linear(&s, dim, 4096, "text_embedding.0");
    sparse_linear(&s, dim, dim, "text_embedding.2");
    sparse_linear(&s, dim, 256, "time_embedding.0");
    sparse_linear(&s, dim, dim, "time_embedding.2");
    sparse_linear(&s, 6 * dim, dim, "time_projection.1");
    for (int i = 0; i < 2; ++i)
        sparse_block(&s, i, dim, 256);
    SPARSE(&s, "head.modulation", 1, 2, dim);
    sparse_linear(&s, 4 * out, dim, "head.head");
    for (; more && more->name; ++more)
        sparse_tensor(&s, more->dims, "%s", more->name);
    CHECK(sparse_close(&s, path));
}

static void write_tensors(const char *path, const char *dtype, size_t item, const shape *t)
{
    sparse s;
    sparse_open(&s, dtype, item);
    for (; t->name; ++t)
        sparse_tensor(&s, t->dims, "%s", t->name);
    CHECK(sparse_close(&s, path));
}

#define MORE(...) (const shape[]){__VA_ARGS__, {NULL, {0}}}

static void transformers_that_do_not_run_are_refused_by_what_they_are(void)
{
    const struct { int in, out; const shape *more; const char *what; } kinds[] = { /* table */
        {48, 48, NULL, "is a Wan2.2 TI2V transformer (as TI2V-5B), 128 wide, 2 blocks, which this version does not run"},
        {36, 16, NULL, "is a Wan2.2 image-to-video transformer (as I2V-A14B), 128 wide, 2 blocks, 36 channels in, 16 out, which"},
        {36, 16, MORE({"img_emb.proj.0.bias", {1280}}), "is a Wan2.1 image-to-video transformer (I2V, or Fun-InP)"},
        {36, 16, MORE({"img_emb.proj.0.bias", {1280}}, {"img_emb.emb_pos", {1, 514, 1280}}), "is a Wan2.1 FLF2V"},
        {48, 16, MORE({"img_emb.proj.0.bias", {1280}}), "is a Wan2.1 Fun-Control transformer"},
        {36, 16, MORE({"condition_embedder.image_embedder.norm1.bias", {1280}}), "is a Wan2.1 image-to-video transformer"},
        {52, 16, NULL, "is a Wan transformer with a condition, 128 wide, 2 blocks, 52 channels in, 16 out"},
        {16, 16, MORE({"vace_patch_embedding.weight", {128, 96, 1, 2, 2}}), "is a Wan VACE transformer"},
        {32, 16, MORE({"control_adapter.conv.weight", {128, 96, 1, 2}}), "is a Wan Fun-Camera transformer"},
        {36, 16, MORE({"face_adapter.fuser_blocks.0.k_norm.weight", {128}}), "is a Wan2.2 Animate transformer"},
        {16, 16, MORE({"casual_audio_encoder.encoder.final_linear.weight", {128, 128}}), "is a Wan2.2 S2V"},
        {16, 16, MORE({"audio_proj.audio_proj_glob_1.layer.bias", {128}}), "is a HuMo transformer"},
        {16, 16, MORE({"blocks.0.cam_encoder.weight", {128, 12}}, {"blocks.1.cam_encoder.weight", {128, 12}}),
         "is no plain Wan text-to-video transformer: it has 2 tensors more ('blocks.0.cam_encoder.weight' is the first)"}};
    kg_graph *g = kg_graph_new(&(kg_graph_options){.files = files});
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; ++i) {
        write_wan("t.safetensors", 128, kinds[i].in, kinds[i].out, kinds[i].more);
        CHECK(refused(add(g, "wan.model", "t.safetensors"), kinds[i].what, ""), "%zu", i);
    }
    write_wan("t.safetensors", 128, 16, 16, MORE({"marker", {4}}, {"vae.encoder.conv1.weight", {4, 4, 4}}));
    CHECK(add(g, "wan.model", "t.safetensors") >= 0, "%s", kg_error_last()->message);
    kg_error_clear();
    kg_graph_free(g);
}

static void wrong_pairings_are_named(void)
{
    kg_graph *g = kg_graph_new(&(kg_graph_options){.files = files});
    CHECK(sparse_vae("vae.safetensors") && sparse_umt5("umt5.safetensors", 2) && sparse_wan("wan.safetensors", 1536, 8960, 30));
    write_tensors("lora.safetensors", "F16", 2, MORE({"diffusion_model.blocks.0.self_attn.q.lora_A.weight", {16, 1536}},
        {"diffusion_model.blocks.0.self_attn.q.lora_B.weight", {1536, 16}}));
    write_tensors("clip.safetensors", "F16", 2, MORE({"text_model.encoder.layers.0.self_attn.q_proj.weight", {768, 768}}));
    write_tensors("open.safetensors", "F16", 2, MORE({"token_embedding.weight", {49408, 768}},
        {"transformer.resblocks.0.attn.in_proj_weight", {2304, 768}}));
    write_tensors("vision.safetensors", "F16", 2, MORE({"vision_model.embeddings.class_embedding", {1280}}));
    write_tensors("t5.safetensors", "F16", 2, MORE({"shared.weight", {32128, 64}},
        {"encoder.block.0.layer.0.SelfAttention.q.weight", {64, 64}}, {"encoder.block.1.layer.0.SelfAttention.q.weight", {64, 64}},
        {"encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight", {32, 8}}));
    write_tensors("vae22.safetensors", "F32", 4, MORE({"decoder.middle.0.residual.0.gamma", {640, 1, 1, 1}},
        {"conv2.weight", {48, 48, 1, 1, 1}}));
    write_tensors("latent.safetensors", "F32", 4, MORE({"latent", {16, 5, 8, 8}}));
    const struct { const char *reader, *path, *message, *hint; } pairs[] = { /* table */
        {"wan.model", "vae.safetensors", "is a VAE of Wan2.1's kind, and wan.model wants a Wan text-to-video", "wan.vae reads it"},
        {"wan.model", "umt5.safetensors", "is a UMT5 text encoder (256384 words, 4096 wide, 2 layers), and wan.model", "text.load"},
        {"wan.model", "lora.safetensors", "is a LoRA (changes to another model's weights), and wan.model", ""},
        {"wan.model", "clip.safetensors", "is a CLIP text encoder, and wan.model", ""},
        {"wan.model", "vision.safetensors", "is a CLIP encoder of pictures, and wan.model", ""},
        {"wan.model", "latent.safetensors", "is a latent, and wan.model", "latent.load reads it"},
        {"wan.vae", "wan.safetensors", "is a Wan text-to-video transformer, 1.3B, and wan.vae wants a VAE", "wan.model reads it"},
        {"wan.vae", "vae22.safetensors", "is the VAE of Wan2.2's TI2V-5B (48 channels), which this version does not run", ""},
        {"text.load", "t5.safetensors", "is a T5 text encoder (its layers share one table", ""},
        {"text.load", "open.safetensors", "is an OpenCLIP model, and text.load wants a UMT5", ""},
        {"text.load", "wan.safetensors", "is a Wan text-to-video transformer, 1.3B, and text.load", "wan.model reads it"},
        {"latent.load", "vae.safetensors", "is a VAE of Wan2.1's kind, and holds no tensor 'latent'", "wan.vae reads it"}};
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; ++i)
        CHECK(refused(add(g, pairs[i].reader, pairs[i].path), pairs[i].message, pairs[i].hint), "%zu", i);
    kg_graph_free(g);
}

static void quantised_files_are_named(void)
{
    const struct { const char *dtype, *more, *how; } forms8[] = {
        {"F8_E4M3", NULL, "quantised in fp8 (e4m3), which this version does not read"},
        {"F8_E5M2", NULL, "quantised in fp8 (e5m2)"},
        {"F8_E4M3", "blocks.0.self_attn.q.scale_weight", "quantised in fp8 with scales (scaled_fp8)"},
        {"I8", "blocks.0.self_attn.q.weight_scale", "in 8 bits or less, with scales"},
        {"U8", "blocks.0.self_attn.q.weight_scale_2", "in nvfp4"},
        {"I8", "blocks.0.self_attn.q.comfy_quant", "in a form of ComfyUI's (comfy_quant)"}};
    kg_graph *g = kg_graph_new(&(kg_graph_options){.files = files});
    for (size_t i = 0; i < sizeof forms8 / sizeof *forms8; ++i) {
        const shape t[] = {{"head.modulation", {1, 2, 128}}, {"patch_embedding.weight", {128, 16, 1, 2, 2}},
            {"head.head.weight", {64, 128}}, {"blocks.0.self_attn.norm_q.weight", {128}}, {forms8[i].more, {1}}, {NULL, {0}}};
        write_tensors("q.safetensors", forms8[i].dtype, 1, t);
        CHECK(refused(add(g, "wan.model", "q.safetensors"), forms8[i].how, "f32, f16 or bf16"), "%zu", i);
    }
    kg_graph_free(g);
}

/* A file may hold several models, as ComfyUI's checkpoints do: each reader takes its own. */
static void checkpoints_of_several_models(void)
{
    kg_told told[4];
    write_tensors("all.safetensors", "F16", 2, MORE({"model.diffusion_model.head.modulation", {1, 2, 128}},
        {"model.diffusion_model.patch_embedding.weight", {128, 16, 1, 2, 2}}, {"model.diffusion_model.head.head.weight", {64, 128}},
        {"model.diffusion_model.blocks.0.self_attn.norm_q.weight", {128}}, {"vae.decoder.middle.0.residual.0.gamma", {384, 1, 1, 1}}));
    kg_checkpoint *ck = kg_checkpoint_open(files, "all.safetensors");
    CHECK(ck && kg_known_tell(ck, told, 4) == 2 && kg_known_want(ck, "wan.vae") == KG_OK && kg_known_want(ck, "wan.model") == KG_OK,
          "%s", kg_error_last()->message);
    CHECK(ck && kg_known_want(ck, "text.load") == KG_INPUT);
    kg_error_clear();
    kg_checkpoint_free(ck);
}

int main(void)
{
    char folder[64];
    test_folder_enter(folder, sizeof folder);
    files = kg_files_new();
    CHECK(kg_files_root(files, ".", KG_ROOT_PLAIN) == KG_OK);
    forms_are_named();
    every_reader_names_the_form();
    transformers_that_do_not_run_are_refused_by_what_they_are();
    wrong_pairings_are_named();
    quantised_files_are_named();
    checkpoints_of_several_models();
    kg_files_free(files);
    test_folder_leave(folder);
    return TEST_END();
}
