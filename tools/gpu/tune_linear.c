/* The search for cuBLASLt's algorithms: the fastest of what it proposes for each product of Wan and UMT5, on random data.
 *
 *     tune_linear [SECONDS [NAME]]    prints rows for kernels/cuda/linear_table.h; each algorithm runs for SECONDS (0.2), only products
 *                                     whose name begins so
 *
 * A measure begins with a tenth of its time unmeasured. Clocks move under a power limit: compare figures of one call.
 */
#include "core/error.h"
#include "kernels/cuda/linear.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { TOKENS = 32760, TEXT = 512, MOST = 32 };

static kg_device *device;
static kg_exec *x;
static double seconds = 0.2;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void wait(void) { device->ops->sync(device, device->ops->record(device, KG_LANE_COMPUTE)); }

/* Normal numbers times `size`. */
static kg_tensor make(kg_dtype d, int64_t rows, int64_t cols, double size)
{
    kg_tensor t = kg_temp(x, d, KG_SHAPE(rows, cols));
    size_t mark = kg_mark(x);
    kg_tensor f = kg_temp(x, KG_F32, KG_SHAPE(rows, cols));
    kg_noise(x, (kg_noise_args){.out = f, .seed = (uint64_t)(rows * 31 + cols)});
    kg_combine(x, (kg_combine_args){.out = f, .term = {f}, .coef = {size}, .n = 1});
    kg_unary(x, (kg_unary_args){.out = t, .in = f, .op = KG_UNARY_COPY});
    kg_release(x, mark);
    return t;
}

/* Seconds of one call. */
static double measure(const kg_linear_args *a)
{
    kg_linear(x, *a);
    wait();
    double t = now();
    kg_linear(x, *a);
    wait();
    double one = now() - t;
    int warm = (int)(0.1 * seconds / one) + 1, n = (int)(seconds / one) + 1;
    for (int i = 0; i < warm; ++i)
        kg_linear(x, *a);
    wait();
    t = now();
    for (int i = 0; i < n; ++i)
        kg_linear(x, *a);
    wait();
    return (now() - t) / n;
}

/* ---- the products of the models ---- */
typedef struct product { const char *name; int64_t m, n, k; kg_dtype in, out; int bias, gelu; } product;
#define WAN(name, d, f) \
    {name " qkv", TOKENS, 3 * d, d, KG_BF16, KG_BF16, 1, 0}, {name " square", TOKENS, d, d, KG_BF16, KG_BF16, 1, 0}, \
    {name " ffn 0", TOKENS, f, d, KG_BF16, KG_BF16, 1, 1}, {name " ffn 2", TOKENS, d, f, KG_BF16, KG_BF16, 1, 0}, \
    {name " text kv", TEXT, 2 * d, d, KG_BF16, KG_BF16, 1, 0}, {name " head", TOKENS, 64, d, KG_F32, KG_F32, 1, 0}
static const product products[] = {   /* table */
    WAN("1.3B", 1536, 8960),
    WAN("14B", 5120, 13824),
    WAN("5B", 3072, 14336),
#define TEXTS(name, n, k) \
    {name, 66, n, k, KG_BF16, KG_BF16, 0, 0}, {name, 130, n, k, KG_BF16, KG_BF16, 0, 0}, {name, 513, n, k, KG_BF16, KG_BF16, 0, 0}
    TEXTS("umt5 qkv", 12288, 4096), TEXTS("umt5 o", 4096, 4096), TEXTS("umt5 gate, up", 20480, 4096), TEXTS("umt5 down", 4096, 10240),
};

static kg_linear_args args_of(const product *p)
{
    kg_linear_args a = {.activation = p->gelu ? KG_LINEAR_GELU : KG_LINEAR_NONE};
    kg_eager_reset(x);
    a.in = make(p->in, p->m, p->k, 1);
    a.weight = make(p->in, p->n, p->k, 1 / sqrt((double)p->k));
    a.out = kg_temp(x, p->out, KG_SHAPE(p->m, p->n));
    if (p->bias)
        a.bias = kg_at(make(p->out, 1, p->n, 0.1), 0);
    return a;
}

static void tune(const product *p)
{
    kg_linear_args a = args_of(p);
    kg_lt_config algorithm[MOST], best = {0};
    double first = 0, least = 0, flops = 2e-12 * (double)p->m * (double)p->n * (double)p->k;
    char line[256];
    int n = kg_cuda_linear_algorithms(x, &a, algorithm, MOST);
    for (int k = 0; k < n; ++k) {
        kg_cuda_linear_force(&algorithm[k]);
        double t = measure(&a);
        first = k ? first : t;
        if (!k || t < least)
            best = algorithm[k], least = t;
    }
    kg_cuda_linear_force(NULL);
    if (!n)
        return;
    kg_cuda_linear_row(x, &a, &best, line, sizeof line);
    printf("%s  /* %s, %d rows: %.1f TFLOP/s; the first of %d: %.1f */\n", line, p->name, (int)p->m, flops / least, n, flops / first);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    seconds = argc > 1 ? atof(argv[1]) : seconds;
    device = seconds > 0 ? kg_cuda_new(0) : NULL;
    x = device ? kg_eager_new(device, (size_t)6 << 30) : NULL;
    if (!x) {
        fprintf(stderr, "tune_linear: %s\n", device ? kg_error_last()->message : "no card, or no time");
        return 1;
    }
    printf("/* %s */\n", device->tag);
    for (size_t i = 0; i < sizeof products / sizeof *products && !kg_error_last()->status; ++i)
        if (argc < 3 || !strncmp(products[i].name, argv[2], strlen(argv[2])))
            tune(&products[i]);
    int status = kg_error_last()->status;
    if (status)
        fprintf(stderr, "tune_linear: %s\n", kg_error_last()->message);
    kg_eager_free(x);
    kg_device_free(device);
    return status;
}
