/* Times of the CPU kernels at the shapes of one forward of a 1.3B Wan transformer (884 tokens), and of that forward as a whole.
 *
 *     bench_kernels [THREADS] [f32|bf16] [cpu]      weights are bf16, as in published files
 *
 * With "cpu" the clock is that of the process, divided by THREADS: what a busy machine would give if it were idle.
 */
#include "core/error.h"
#include "kernels/cpu/cpu.h"
#include "tools/kino_number.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { TOKENS = 884, TEXT = 512, DIM = 1536, FFN = 8960, HEADS = 12, LAYERS = 30 };

typedef struct bench {
    kg_exec *x;
    kg_dtype act;
    kg_tensor stream, y, qkv, hidden, text, text_kv;       /* [tokens, ...] */
    kg_tensor square, wide, back, vector, rope;            /* weights */
    double gemm, attention, rows;                          /* seconds of the forward */
} bench;

static int cpu_clock;      /* 0, or the number of threads */

static double now(void)
{
    struct timespec t;
    clock_gettime(cpu_clock ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC, &t);
    return ((double)t.tv_sec + 1e-9 * (double)t.tv_nsec) / (cpu_clock ? cpu_clock : 1);
}

static kg_tensor make(kg_exec *x, kg_dtype d, int64_t rows, int64_t cols)
{
    kg_tensor t = kg_temp(x, KG_F32, KG_SHAPE(rows, cols));
    kg_noise(x, (kg_noise_args){.out = t, .seed = (uint64_t)(rows * cols)});
    if (d == KG_F32)
        return t;
    kg_tensor n = kg_temp(x, d, KG_SHAPE(rows, cols));
    kg_combine(x, (kg_combine_args){.out = t, .term = {t}, .coef = {0.02}, .n = 1});
    kg_unary(x, (kg_unary_args){.out = n, .in = t});
    return n;
}

static void linear(bench *b, kg_tensor out, kg_tensor in, kg_tensor weight, int activation)
{
    double t = now();
    kg_linear(b->x, (kg_linear_args){.out = out, .in = in, .weight = weight, .bias = kg_slice_cols(b->vector, 0, kg_cols(&out)),
                                     .activation = activation});
    b->gemm += now() - t;
}

static void attend(bench *b, kg_tensor out, kg_tensor q, kg_tensor k, kg_tensor v)
{
    double t = now();
    kg_attention(b->x, (kg_attention_args){.out = out, .q = q, .k = k, .v = v, .heads = HEADS, .scale = 0.088388});
    b->attention += now() - t;
}

static void norm(bench *b, kg_tensor y, kg_tensor out)
{
    double t = now();
    kg_tensor m = kg_slice_cols(b->vector, 0, DIM);
    kg_residual_norm(b->x, (kg_residual_norm_args){.x = b->stream, .y = y, .gate = m, .scale = m, .shift = m,
                                                     .plus_one = 1, .out = out, .eps = 1e-6});
    b->rows += now() - t;
}

static void rms(bench *b, kg_tensor t, kg_tensor rope)
{
    double start = now();
    kg_rms_norm(b->x, (kg_rms_norm_args){.out = t, .in = t, .weight = kg_slice_cols(b->vector, 0, DIM), .rope = rope, .eps = 1e-6});
    b->rows += now() - start;
}

static void block(bench *b)
{
    kg_tensor q = kg_slice_cols(b->qkv, 0, DIM), k = kg_slice_cols(b->qkv, DIM, DIM), v = kg_slice_cols(b->qkv, 2 * DIM, DIM);
    kg_tensor tk = kg_slice_cols(b->text_kv, 0, DIM), tv = kg_slice_cols(b->text_kv, DIM, DIM), none = {0};
    norm(b, none, b->y);
    linear(b, q, b->y, b->square, 0), linear(b, k, b->y, b->square, 0), linear(b, v, b->y, b->square, 0);
    rms(b, q, b->rope), rms(b, k, b->rope);
    attend(b, q, q, k, v);
    linear(b, b->y, q, b->square, 0);
    norm(b, b->y, b->y);
    linear(b, q, b->y, b->square, 0), linear(b, tk, b->text, b->square, 0), linear(b, tv, b->text, b->square, 0);
    rms(b, q, none), rms(b, tk, none);
    attend(b, q, q, tk, tv);
    linear(b, b->y, q, b->square, 0);
    norm(b, b->y, b->y);
    linear(b, b->hidden, b->y, b->wide, KG_LINEAR_GELU);
    linear(b, b->y, b->hidden, b->back, 0);
    norm(b, b->y, none);
}

static void one(bench *b, const char *name, kg_tensor out, kg_tensor in, kg_tensor weight)
{
    double best = 1e9;
    for (int i = 0; i < 5; ++i) {
        b->gemm = 0;
        linear(b, out, in, weight, 0);
        best = b->gemm < best ? b->gemm : best;
    }
    printf("%-34s %8.2f ms %8.1f GFLOP/s\n", name, best * 1e3,
           2e-9 * (double)kg_rows(&in) * (double)kg_cols(&in) * (double)kg_cols(&out) / best);
}

static void one_attention(bench *b, const char *name, kg_tensor q, kg_tensor k, kg_tensor v)
{
    double best = 1e9;
    for (int i = 0; i < 5; ++i) {
        b->attention = 0;
        attend(b, b->y, q, k, v);
        best = b->attention < best ? b->attention : best;
    }
    printf("%-34s %8.2f ms %8.1f GFLOP/s\n", name, best * 1e3, 4e-9 * (double)kg_rows(&q) * (double)kg_rows(&k) * DIM / best);
}

int main(int argc, char **argv)
{
    long threads = 0;
    if (argc > 1 && !kino_digits(argv[1], 4096, &threads)) {
        fputs("usage: bench_kernels [THREADS] [f32|bf16] [cpu]\n", stderr);
        return 2;
    }
    kg_device *d = kg_cpu_new((int)threads);
    kg_exec *x = d ? kg_eager_new(d, (size_t)2 << 30) : NULL;
    if (!x)
        return 1;
    bench b = {.x = x, .act = argc > 2 && !strcmp(argv[2], "bf16") ? KG_BF16 : KG_F32};
    cpu_clock = argc > 3 && !strcmp(argv[3], "cpu") ? d->profile.threads : 0;
    b.stream = make(x, KG_F32, TOKENS, DIM), b.y = make(x, b.act, TOKENS, DIM), b.qkv = make(x, b.act, TOKENS, 3 * DIM);
    b.hidden = make(x, b.act, TOKENS, FFN), b.text = make(x, b.act, TEXT, DIM), b.text_kv = make(x, b.act, TEXT, 2 * DIM);
    b.square = make(x, KG_BF16, DIM, DIM), b.wide = make(x, KG_BF16, FFN, DIM), b.back = make(x, KG_BF16, DIM, FFN);
    b.vector = kg_at(make(x, KG_F32, 1, FFN), 0);
    b.rope = kg_temp(x, KG_F32, KG_SHAPE(TOKENS, 64, 2));
    kg_rope_table(x, (kg_rope_table_args){.out = b.rope, .frames = 4, .height = 13, .width = 17, .theta = 10000});
    printf("%s\n%s, %d threads\n", d->tag, kg_dtype_name(b.act), d->profile.threads);
    one(&b, "linear 884 x 1536 x 1536", b.y, kg_slice_cols(b.qkv, 0, DIM), b.square);
    one(&b, "linear 884 x 1536 x 8960", b.hidden, b.y, b.wide);
    one(&b, "linear 884 x 8960 x 1536", b.y, b.hidden, b.back);
    kg_tensor q = kg_slice_cols(b.qkv, 0, DIM), k = kg_slice_cols(b.qkv, DIM, DIM), v = kg_slice_cols(b.qkv, 2 * DIM, DIM);
    one_attention(&b, "attention 884 x 884, 12 x 128", q, k, v);
    one_attention(&b, "attention 884 x 512, 12 x 128", q, kg_slice_cols(b.text_kv, 0, DIM), kg_slice_cols(b.text_kv, DIM, DIM));
    b.gemm = b.attention = b.rows = 0;
    double t = now();
    for (int i = 0; i < LAYERS; ++i)
        block(&b);
    printf("forward of %d blocks: %.2f s (products %.2f, attention %.2f, rows %.3f)\n", LAYERS, now() - t, b.gemm, b.attention, b.rows);
    if (kg_error_last()->status)
        fprintf(stderr, "%s\n", kg_error_last()->message);
    kg_eager_free(x);
    kg_device_free(d);
    return kg_error_last()->status;
}
