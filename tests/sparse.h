/* Models of real size as files that take no room: the header is real, the data is one hole. For plans, which read headers alone. */
#ifndef KG_TESTS_SPARSE_H
#define KG_TESTS_SPARSE_H

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

typedef struct sparse { FILE *head; char *text; size_t length, at; const char *dtype; size_t item; } sparse;

static inline void sparse_open(sparse *s, const char *dtype, size_t item)
{
    *s = (sparse){.dtype = dtype, .item = item};
    s->head = open_memstream(&s->text, &s->length);
    fprintf(s->head, "{\"__metadata__\":{\"format\":\"pt\"}");
}

/* shape ends with 0 */
static inline void sparse_tensor(sparse *s, const int *shape, const char *format, ...)
{
    char name[128];
    size_t bytes = s->item;
    va_list args;
    va_start(args, format);
    vsnprintf(name, sizeof name, format, args);
    va_end(args);
    fprintf(s->head, ",\"%s\":{\"dtype\":\"%s\",\"shape\":[", name, s->dtype);
    for (int i = 0; shape[i]; ++i) {
        fprintf(s->head, i ? ",%d" : "%d", shape[i]);
        bytes *= (size_t)shape[i];
    }
    fprintf(s->head, "],\"data_offsets\":[%zu,%zu]}", s->at, s->at + bytes);
    s->at += bytes;
}
#define SPARSE(s, name, ...) sparse_tensor(s, (const int[]){__VA_ARGS__, 0}, "%s", name)

/* 1: the file is there, as long as its header says. */
static inline int sparse_close(sparse *s, const char *path)
{
    fputc('}', s->head);
    fclose(s->head);
    FILE *f = fopen(path, "wb");
    uint64_t n = s->length;
    int good = f && fwrite(&n, 8, 1, f) == 1 && fwrite(s->text, 1, n, f) == n && !fflush(f) &&
               !ftruncate(fileno(f), (off_t)(8 + n + s->at));
    if (f)
        good = !fclose(f) && good;
    free(s->text);
    return good;
}

/* ---- Wan's transformer ---- */
static inline void sparse_linear(sparse *s, int out, int in, const char *format, ...)
{
    char name[96];
    va_list args;
    va_start(args, format);
    vsnprintf(name, sizeof name, format, args);
    va_end(args);
    sparse_tensor(s, (const int[]){out, in, 0}, "%s.weight", name);
    sparse_tensor(s, (const int[]){out, 0}, "%s.bias", name);
}

static inline void sparse_block(sparse *s, int i, int dim, int ffn)
{
    static const char *const groups[] = {"self_attn", "cross_attn"};
    sparse_tensor(s, (const int[]){1, 6, dim, 0}, "blocks.%d.modulation", i);
    for (int g = 0; g < 2; ++g) {
        for (int k = 0; k < 4; ++k)
            sparse_linear(s, dim, dim, "blocks.%d.%s.%c", i, groups[g], "qkvo"[k]);
        for (int k = 0; k < 2; ++k)
            sparse_tensor(s, (const int[]){dim, 0}, "blocks.%d.%s.norm_%c.weight", i, groups[g], "qk"[k]);
    }
    sparse_tensor(s, (const int[]){dim, 0}, "blocks.%d.norm3.weight", i);
    sparse_tensor(s, (const int[]){dim, 0}, "blocks.%d.norm3.bias", i);
    sparse_linear(s, ffn, dim, "blocks.%d.ffn.0", i);
    sparse_linear(s, dim, ffn, "blocks.%d.ffn.2", i);
}

/* 14B: 5120, 13824, 40; 1.3B: 1536, 8960, 30. In bf16. */
static inline int sparse_wan(const char *path, int dim, int ffn, int layers)
{
    sparse s;
    sparse_open(&s, "BF16", 2);
    SPARSE(&s, "patch_embedding.weight", dim, 16, 1, 2, 2);
    SPARSE(&s, "patch_embedding.bias", dim);
    sparse_linear(&s, dim, 4096, "text_embedding.0");
    sparse_linear(&s, dim, dim, "text_embedding.2");
    sparse_linear(&s, dim, 256, "time_embedding.0");
    sparse_linear(&s, dim, dim, "time_embedding.2");
    sparse_linear(&s, 6 * dim, dim, "time_projection.1");
    for (int i = 0; i < layers; ++i)
        sparse_block(&s, i, dim, ffn);
    SPARSE(&s, "head.modulation", 1, 2, dim);
    sparse_linear(&s, 64, dim, "head.head");
    return sparse_close(&s, path);
}

/* ---- UMT5-XXL (24 layers) in f16, without its tokenizer ---- */
static inline int sparse_umt5(const char *path, int layers)
{
    enum { DIM = 4096, FFN = 10240 };
    sparse s;
    sparse_open(&s, "F16", 2);
    SPARSE(&s, "token_embedding.weight", 256384, DIM);
    for (int i = 0; i < layers; ++i) {
        for (int k = 0; k < 4; ++k)
            sparse_tensor(&s, (const int[]){DIM, DIM, 0}, "blocks.%d.attn.%c.weight", i, "qkvo"[k]);
        sparse_tensor(&s, (const int[]){32, 64, 0}, "blocks.%d.pos_embedding.embedding.weight", i);
        sparse_tensor(&s, (const int[]){FFN, DIM, 0}, "blocks.%d.ffn.gate.0.weight", i);
        sparse_tensor(&s, (const int[]){FFN, DIM, 0}, "blocks.%d.ffn.fc1.weight", i);
        sparse_tensor(&s, (const int[]){DIM, FFN, 0}, "blocks.%d.ffn.fc2.weight", i);
        for (int k = 1; k <= 2; ++k)
            sparse_tensor(&s, (const int[]){DIM, 0}, "blocks.%d.norm%d.weight", i, k);
    }
    SPARSE(&s, "norm.weight", DIM);
    return sparse_close(&s, path);
}

/* ---- the VAE of Wan2.1 in f32, 96 channels wide ---- */
static inline void sparse_conv(sparse *s, const char *base, const char *part, int out, int in, int kt, int k)
{
    const int flat[] = {out, in, k, k, 0}, deep[] = {out, in, kt, k, k, 0};
    sparse_tensor(s, kt ? deep : flat, "%s%s.weight", base, part);
    sparse_tensor(s, (const int[]){out, 0}, "%s%s.bias", base, part);
}

static inline void sparse_residual(sparse *s, const char *base, int in, int out)
{
    sparse_tensor(s, (const int[]){in, 1, 1, 1, 0}, "%s.residual.0.gamma", base);
    sparse_conv(s, base, ".residual.2", out, in, 3, 3);
    sparse_tensor(s, (const int[]){out, 1, 1, 1, 0}, "%s.residual.3.gamma", base);
    sparse_conv(s, base, ".residual.6", out, out, 3, 3);
    if (in != out)
        sparse_conv(s, base, ".shortcut", out, in, 1, 1);
}

static inline void sparse_middle(sparse *s, const char *side, int c)
{
    char base[64];
    snprintf(base, sizeof base, "%s.middle.0", side);
    sparse_residual(s, base, c, c);
    snprintf(base, sizeof base, "%s.middle.1", side);
    sparse_tensor(s, (const int[]){c, 1, 1, 0}, "%s.norm.gamma", base);
    sparse_conv(s, base, ".to_qkv", 3 * c, c, 0, 1);
    sparse_conv(s, base, ".proj", c, c, 0, 1);
    snprintf(base, sizeof base, "%s.middle.2", side);
    sparse_residual(s, base, c, c);
}

/* Returns the channels at its end. */
static inline int sparse_levels(sparse *s, int up, const int widths[4], int c)
{
    char base[64];
    for (int level = 0, i = 0; level < 4; ++level) {
        for (int k = 0; k < (up ? 3 : 2); ++k, c = widths[level]) {
            snprintf(base, sizeof base, up ? "decoder.upsamples.%d" : "encoder.downsamples.%d", i++);
            sparse_residual(s, base, c, widths[level]);
        }
        if (level == 3)
            break;
        snprintf(base, sizeof base, up ? "decoder.upsamples.%d" : "encoder.downsamples.%d", i++);
        sparse_conv(s, base, ".resample.1", up ? c / 2 : c, c, 0, 3);
        if (up ? level < 2 : level > 0) {
            sparse_tensor(s, (const int[]){up ? 2 * c : c, c, 3, 1, 1, 0}, "%s.time_conv.weight", base);
            sparse_tensor(s, (const int[]){up ? 2 * c : c, 0}, "%s.time_conv.bias", base);
        }
        c = up ? c / 2 : c;
    }
    return c;
}

static inline void sparse_head(sparse *s, const char *base, int in, int out)
{
    sparse_tensor(s, (const int[]){in, 1, 1, 1, 0}, "%s.0.gamma", base);
    sparse_conv(s, base, ".2", out, in, 3, 3);
}

static inline int sparse_vae(const char *path)
{
    sparse s;
    sparse_open(&s, "F32", 4);
    sparse_conv(&s, "conv2", "", 16, 16, 1, 1);
    sparse_conv(&s, "decoder.conv1", "", 384, 16, 3, 3);
    sparse_middle(&s, "decoder", 384);
    sparse_head(&s, "decoder.head", sparse_levels(&s, 1, (const int[]){384, 384, 192, 96}, 384), 3);
    sparse_conv(&s, "encoder.conv1", "", 96, 3, 3, 3);
    int c = sparse_levels(&s, 0, (const int[]){96, 192, 384, 384}, 96);
    sparse_middle(&s, "encoder", c);
    sparse_head(&s, "encoder.head", c, 32);
    sparse_conv(&s, "conv1", "", 32, 32, 1, 1);
    return sparse_close(&s, path);
}

#endif
