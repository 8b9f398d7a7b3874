/* Every kernel at the shapes of Wan's models, against what the card can do: milliseconds, TFLOP/s or GB/s, and per cent of the
 * profile's rate for its class (what long runs of such work reach) or of the card's memory.
 *
 *     kg_gpu_kernels [--device cuda[:N]|cpu] [--precision bf16|f16|f32] [--small] [NAME...]      names are matched from the start
 *
 * Inputs are random. Each case runs for a tenth of a second to warm up, then for --seconds (0.3), many launches to a wait. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/error.h"
#include "kernels/kernel.h"
#include "tools/kino_number.h"

typedef struct bench {
    kg_device *device;
    kg_exec *x;
    kg_dtype act;
    kg_tensor noise;           /* f32 [n]: what tensors are filled from                             */
    int small;
    double seconds;
    char **names;
    int n_names, shown;
} bench;

enum { NOISE = 1 << 22 };

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int wait(bench *b)
{
    const kg_device_ops *ops = b->device->ops;
    return ops->sync(b->device, ops->record(b->device, KG_LANE_COMPUTE)) == KG_OK && kg_error_last()->status == KG_OK;
}

/* A random tensor: the noise again and again. */
static kg_tensor make(bench *b, kg_dtype d, int rank, const int64_t *shape)
{
    kg_tensor t = kg_temp(b->x, d, rank, shape);
    int64_t n = kg_count(&t);
    for (int64_t at = 0; at < n; at += NOISE) {
        int64_t part = n - at < NOISE ? n - at : NOISE;
        kg_tensor to = kg_tensor_make((char *)t.at + (size_t)at * kg_dtype_bytes(d), d, 1, &part);
        kg_unary(b->x, (kg_unary_args){.out = to, .in = kg_slice(b->noise, 0, part), .op = KG_UNARY_COPY});
    }
    return t;
}
#define MAKE(b, d, ...) make(b, d, KG_SHAPE(__VA_ARGS__))

typedef struct job {
    enum { LINEAR, ATTENTION, NORM, RMS, GELU, COMBINE, CONV, CHANNEL_NORM, PIXELS, NOISED, COPY } op;
    union {
        kg_linear_args linear;
        kg_attention_args attention;
        kg_residual_norm_args norm;
        kg_rms_norm_args rms;
        kg_gated_gelu_args gelu;
        kg_combine_args combine;
        kg_conv_args conv;
        kg_channel_norm_args channel;
        kg_pixels_args pixels;
        kg_noise_args noise;
        kg_unary_args copy;
    };
} job;

static void call(kg_exec *x, const job *j)
{
    switch (j->op) {
    case LINEAR: kg_linear(x, j->linear); break;
    case ATTENTION: kg_attention(x, j->attention); break;
    case NORM: kg_residual_norm(x, j->norm); break;
    case RMS: kg_rms_norm(x, j->rms); break;
    case GELU: kg_gated_gelu(x, j->gelu); break;
    case COMBINE: kg_combine(x, j->combine); break;
    case CONV: kg_conv(x, j->conv); break;
    case CHANNEL_NORM: kg_channel_norm(x, j->channel); break;
    case PIXELS: kg_pixels(x, j->pixels); break;
    case NOISED: kg_noise(x, j->noise); break;
    case COPY: kg_unary(x, j->copy); break;
    }
}

/* Seconds of one call, in batches that last a while; 0 when it failed. */
static double time_of(bench *b, const job *j)
{
    int batch = 1;
    double took = 0, end = now() + 0.1;
    while (now() < end || batch == 1) {
        double began = now();
        for (int i = 0; i < batch; ++i)
            call(b->x, j);
        if (!wait(b))
            return 0;
        took = (now() - began) / batch;
        batch = took > 0 && 0.02 / took > 2 ? (int)(0.02 / took) : 2;
    }
    int runs = 0;
    double began = now();
    while (now() - began < b->seconds) {
        for (int i = 0; i < batch; ++i)
            call(b->x, j);
        if (!wait(b))
            return 0;
        runs += batch;
    }
    return (now() - began) / runs;
}

static int wanted(const bench *b, const char *name)
{
    for (int i = 0; i < b->n_names; ++i)
        if (!strncmp(name, b->names[i], strlen(b->names[i])))
            return 1;
    return !b->n_names;
}

/* flops 0: a pass over so many bytes. */
static void show(bench *b, const char *name, const job *j, kg_class c, double flops, double bytes)
{
    const kg_profile *p = &b->device->profile;
    double s = time_of(b, j);
    if (!s) {
        printf("%-34s failed: %s\n", name, kg_error_last()->message);
        kg_error_clear();
        return;
    }
    ++b->shown;
    if (flops > 0)
        printf("%-34s %9.3f ms %8.1f TFLOP/s %5.0f %% of the profile's\n", name, 1e3 * s, flops / s / 1e12, 100 * flops / s / p->rate[c]);
    else
        printf("%-34s %9.3f ms %8.0f GB/s    %5.0f %% of the memory's\n", name, 1e3 * s, bytes / s / 1e9,
               100 * bytes / s / (p->rate[KG_C_ROWS] / 0.9));
    fflush(stdout);
}

static double bytes_of(const kg_tensor *t) { return t->rank ? (double)kg_bytes(t) : 0; }

/* ---- cases ---- */
static void linear(bench *b, const char *name, int64_t m, int64_t k, int64_t n, int activation)
{
    if (!wanted(b, name))
        return;
    size_t mark = kg_mark(b->x);
    job j = {.op = LINEAR, .linear = {.out = MAKE(b, b->act, m, n), .in = MAKE(b, b->act, m, k), .weight = MAKE(b, KG_BF16, n, k),
        .bias = MAKE(b, KG_BF16, n), .activation = activation}};
    show(b, name, &j, b->act == KG_F32 ? KG_C_MATMUL : KG_C_MATMUL16, 2.0 * (double)m * (double)k * (double)n, 0);
    kg_release(b->x, mark);
}

static void attention(bench *b, const char *name, int64_t nq, int64_t nk, int heads, int64_t d, int biased)
{
    if (!wanted(b, name))
        return;
    size_t mark = kg_mark(b->x);
    kg_tensor qkv = MAKE(b, b->act, nk, 3 * heads * d), q = kg_slice_cols(qkv, 0, heads * d), none = {0};
    if (nq != nk)
        q = MAKE(b, b->act, nq, heads * d);
    job j = {.op = ATTENTION, .attention = {.out = MAKE(b, b->act, nq, heads * d), .q = q, .k = kg_slice_cols(qkv, heads * d, heads * d),
        .v = kg_slice_cols(qkv, 2 * heads * d, heads * d), .heads = heads, .scale = biased ? 1 : 0.0883883,
        .bias = biased ? MAKE(b, KG_F32, heads, 2 * nk - 1) : none}};
    show(b, name, &j, KG_C_ATTENTION, 4.0 * (double)nq * (double)nk * (double)(heads * d), 0);
    kg_release(b->x, mark);
}

static void rows(bench *b, int64_t m, int64_t dim)
{
    char name[64];
    size_t mark = kg_mark(b->x);
    kg_tensor x = MAKE(b, KG_F32, m, dim), y = MAKE(b, b->act, m, dim), out = MAKE(b, b->act, m, dim), v = MAKE(b, KG_F32, dim);
    kg_tensor rope = MAKE(b, KG_F32, m, 64, 2), qkv = MAKE(b, b->act, m, 3 * dim), q = kg_slice_cols(qkv, 0, dim);
    snprintf(name, sizeof name, "gate residual norm %lldx%lld", (long long)m, (long long)dim);
    job norm = {.op = NORM, .norm = {.x = x, .y = y, .gate = v, .scale = v, .shift = v, .plus_one = 1, .out = out, .eps = 1e-6}};
    if (wanted(b, name))
        show(b, name, &norm, KG_C_ROWS, 0, 2 * bytes_of(&x) + bytes_of(&y) + bytes_of(&out));
    snprintf(name, sizeof name, "norm modulate %lldx%lld", (long long)m, (long long)dim);
    norm.norm.y = norm.norm.gate = (kg_tensor){0};
    if (wanted(b, name))
        show(b, name, &norm, KG_C_ROWS, 0, bytes_of(&x) + bytes_of(&out));
    snprintf(name, sizeof name, "rms rope %lldx%lld", (long long)m, (long long)dim);
    job rms = {.op = RMS, .rms = {.out = q, .in = q, .weight = v, .rope = rope, .eps = 1e-6}};
    if (wanted(b, name))
        show(b, name, &rms, KG_C_ROWS, 0, 2 * bytes_of(&y) + bytes_of(&rope));
    snprintf(name, sizeof name, "add rms %lldx%lld", (long long)m, (long long)dim);
    job added = {.op = RMS, .rms = {.out = y, .in = x, .add = y, .weight = v, .eps = 1e-6}};
    if (wanted(b, name))
        show(b, name, &added, KG_C_ROWS, 0, 2 * bytes_of(&x) + 2 * bytes_of(&y));
    snprintf(name, sizeof name, "copy f32 to act %lldx%lld", (long long)m, (long long)dim);
    job copy = {.op = COPY, .copy = {.out = out, .in = x, .op = KG_UNARY_COPY}};
    if (wanted(b, name))
        show(b, name, &copy, KG_C_ROWS, 0, bytes_of(&x) + bytes_of(&out));
    kg_release(b->x, mark);
}

static void conv(bench *b, const char *name, int64_t t, int64_t h, int64_t w, int64_t in, int64_t out, int kt, int upsample)
{
    if (!wanted(b, name))
        return;
    size_t mark = kg_mark(b->x);
    int64_t up = upsample ? 2 : 1, k = in * kt * 9;
    kg_tensor raw = MAKE(b, KG_BF16, out, in, kt, 3, 3), packed = kg_temp(b->x, KG_BF16, KG_SHAPE(kg_conv_padded(out), k)), none = {0};
    kg_conv_pack(b->x, (kg_conv_pack_args){.out = packed, .in = raw});
    kg_tensor all = MAKE(b, b->act, kt - 1 + t, h, w, in);
    job j = {.op = CONV, .conv = {.out = MAKE(b, b->act, t, h * up, w * up, out), .in = kg_slice(all, kt - 1, t),
        .history = kt > 1 ? kg_slice(all, 0, kt - 1) : none, .joined = 1, .weight = packed, .bias = MAKE(b, KG_BF16, out),
        .kt = kt, .kh = 3, .kw = 3, .upsample = upsample}};
    show(b, name, &j, KG_C_CONV, 2.0 * (double)(t * h * up * w * up) * (double)out * (double)k, 0);
    kg_release(b->x, mark);
}

static void frames(bench *b, int64_t t, int64_t h, int64_t w, int64_t c)
{
    char name[64];
    size_t mark = kg_mark(b->x);
    kg_tensor in = MAKE(b, b->act, t, h, w, c), out = kg_temp(b->x, b->act, KG_SHAPE(t, h, w, c));
    snprintf(name, sizeof name, "channel norm silu %lldx%lldx%lldx%lld", (long long)t, (long long)h, (long long)w, (long long)c);
    job norm = {.op = CHANNEL_NORM, .channel = {.out = out, .in = in, .gamma = MAKE(b, KG_BF16, c), .silu = 1}};
    if (wanted(b, name))
        show(b, name, &norm, KG_C_ROWS, 0, 2 * bytes_of(&in));
    kg_release(b->x, mark);
}

static void others(bench *b)
{
    size_t mark = kg_mark(b->x);
    int64_t m = b->small ? 16 : 512, f = b->small ? 64 : 10240, n = b->small ? 1000 : 16 * 21 * 60 * 104, p = b->small ? 16 : 832;
    job gelu = {.op = GELU, .gelu = {.out = MAKE(b, b->act, m, f), .gate = MAKE(b, b->act, m, f), .up = MAKE(b, b->act, m, f)}};
    if (wanted(b, "gated gelu 512x10240"))
        show(b, "gated gelu 512x10240", &gelu, KG_C_ROWS, 0, 3 * bytes_of(&gelu.gelu.out));
    kg_tensor v = MAKE(b, KG_F32, n);
    job combine = {.op = COMBINE, .combine = {.out = MAKE(b, KG_F32, n), .term = {v, MAKE(b, KG_F32, n), MAKE(b, KG_F32, n)},
        .coef = {1, 0.5, -0.25}, .n = 3}};
    if (wanted(b, "combine 3 latents 480p81"))
        show(b, "combine 3 latents 480p81", &combine, KG_C_ROWS, 0, 4 * bytes_of(&v));
    job noise = {.op = NOISED, .noise = {.out = v, .seed = 7}};
    if (wanted(b, "noise 480p81"))
        show(b, "noise 480p81", &noise, KG_C_ROWS, 0, bytes_of(&v));
    job pixels = {.op = PIXELS, .pixels = {.f = MAKE(b, b->act, 480, p, 3), .u = kg_temp(b->x, KG_U8, KG_SHAPE(480, p, 3))}};
    if (wanted(b, "pixels 480x832"))
        show(b, "pixels 480x832", &pixels, KG_C_ROWS, 0, bytes_of(&pixels.pixels.f) + bytes_of(&pixels.pixels.u));
    kg_release(b->x, mark);
}

static void all(bench *b)
{
    int64_t m = b->small ? 64 : 32760, m5 = b->small ? 16 : 512, h = b->small ? 16 : 480, w = b->small ? 16 : 832;
    linear(b, "linear 32760x1536x4608", m, 1536, 4608, 0);
    linear(b, "linear 32760x1536x1536", m, 1536, 1536, 0);
    linear(b, "linear 32760x1536x8960 gelu", m, 1536, 8960, KG_LINEAR_GELU);
    linear(b, "linear 32760x8960x1536", m, 8960, 1536, 0);
    if (!b->small) {
        linear(b, "linear 32760x5120x15360", m, 5120, 15360, 0);
        linear(b, "linear 32760x5120x5120", m, 5120, 5120, 0);
        linear(b, "linear 32760x5120x13824 gelu", m, 5120, 13824, KG_LINEAR_GELU);
        linear(b, "linear 32760x13824x5120", m, 13824, 5120, 0);
        linear(b, "linear 512x4096x12288", m5, 4096, 12288, 0);
        linear(b, "linear 512x4096x10240", m5, 4096, 10240, 0);
        linear(b, "linear 512x10240x4096", m5, 10240, 4096, 0);
    }
    attention(b, "attention 32760, 12 x 128", m, m, 12, 128, 0);
    if (!b->small)
        attention(b, "attention 32760, 40 x 128", m, m, 40, 128, 0);
    attention(b, "attention 32760 x 512, 12 x 128", m, m5, 12, 128, 0);
    attention(b, "attention 512, 64 x 64, bias", m5, m5, 64, 64, 1);
    rows(b, m, 1536);
    rows(b, m, 5120);
    conv(b, "conv 3x3x3 96, 4x480x832", 4, h, w, 96, 96, 3, 0);
    conv(b, "conv 3x3x3 96, 1x480x832", 1, h, w, 96, 96, 3, 0);
    conv(b, "conv 3x3x3 192, 4x240x416", 4, h / 2, w / 2, 192, 192, 3, 0);
    conv(b, "conv 3x3x3 384, 2x120x208", 2, h / 4, w / 4, 384, 384, 3, 0);
    conv(b, "conv 3x3x3 384, 1x60x104", 1, b->small ? 4 : 60, b->small ? 4 : 104, 384, 384, 3, 0);
    conv(b, "conv 3x3 up 192 to 96, 1x240x416", 1, h / 2, w / 2, 192, 96, 1, 1);
    conv(b, "conv 3x3x3 96 to 3, 1x480x832", 1, h, w, 96, 3, 3, 0);
    frames(b, 4, h, w, 96);
    frames(b, 4, h / 2, w / 2, 192);
    frames(b, 1, b->small ? 4 : 60, b->small ? 4 : 104, 384);
    others(b);
}

static int options(bench *b, int argc, char **argv, const char **device)
{
    for (int i = 1; i < argc; ++i)
        if (!strcmp(argv[i], "--small"))
            b->small = 1, b->seconds = 0.01;
        else if (!strcmp(argv[i], "--device") && i + 1 < argc)
            *device = argv[++i];
        else if (!strcmp(argv[i], "--seconds") && i + 1 < argc)
            b->seconds = strtod(argv[++i], NULL);
        else if (!strcmp(argv[i], "--precision") && i + 1 < argc)
            b->act = !strcmp(argv[++i], "f32") ? KG_F32 : !strcmp(argv[i], "f16") ? KG_F16 : KG_BF16;
        else if (!strncmp(argv[i], "--", 2))
            return 0;
        else
            b->names[b->n_names++] = argv[i];
    return 1;
}

int main(int argc, char **argv)
{
    const char *device = "cuda";
    char *names[argc + 1];
    bench b = {.act = KG_BF16, .seconds = 0.3, .names = names};
    if (!options(&b, argc, argv, &device)) {
        fputs("usage: kg_gpu_kernels [--device cuda[:N]|cpu] [--precision bf16|f16|f32] [--seconds S] [--small] [NAME...]\n", stderr);
        return 2;
    }
    b.device = kino_card(device) < 0 ? kg_cpu_new(0) : kg_cuda_new(kino_card(device));
    b.x = b.device ? kg_eager_new(b.device, (size_t)(b.small ? 1 : 12) << 30) : NULL;
    if (!b.x) {
        fprintf(stderr, "kg_gpu_kernels: %s\n", kg_error_last()->message);
        return 1;
    }
    b.noise = kg_temp(b.x, KG_F32, KG_SHAPE(NOISE));
    kg_noise(b.x, (kg_noise_args){.out = b.noise, .seed = 3});
    printf("%s\n%s, %s\n", b.device->profile.name, b.device->tag, kg_dtype_name(b.act));
    all(&b);
    kg_eager_free(b.x);
    kg_device_free(b.device);
    return b.shown ? 0 : 1;
}
