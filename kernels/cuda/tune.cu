/* The search for cuBLASLt's algorithms, and what it found before: the fastest of what the library proposes for each product of Wan and
 * UMT5, on random data. One that is not faster than the library's first guess by FASTER is not worth other bits. */
#include "kernels/cuda/linear.h"
#include "kernels/cuda/cuda.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { TOKENS = 32760, TEXT = 512, MOST = 32, WEIGHTS = 16 };
static const double FASTER = 1.02;
enum : size_t { ARENA = (size_t)3 << 30, COLD = (size_t)400 << 20 };

static double now()
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void settle(kg_device *d) { d->ops->sync(d, d->ops->record(d, KG_LANE_COMPUTE)); }

/* Normal numbers times size. */
static kg_tensor make(kg_exec *x, kg_dtype type, int64_t rows, int64_t cols, double size)
{
    const int64_t shape[2] = {rows, cols};
    kg_tensor t = kg_temp(x, type, 2, shape);
    const size_t mark = kg_mark(x);
    kg_tensor f = kg_temp(x, KG_F32, 2, shape);
    kg_noise_args noise = {};
    noise.out = f, noise.seed = (uint64_t)(rows * 31 + cols);
    kg_noise(x, noise);
    kg_combine_args scaled = {};
    scaled.out = scaled.term[0] = f, scaled.coef[0] = size, scaled.n = 1;
    kg_combine(x, scaled);
    kg_unary_args cast = {};
    cast.out = t, cast.in = f, cast.op = KG_UNARY_COPY;
    kg_unary(x, cast);
    kg_release(x, mark);
    return t;
}

/* One product with as many weights in turn as make COLD bytes: a model comes back to a layer's when the cache has long lost them. */
struct trial { kg_linear_args a; kg_tensor weight[WEIGHTS]; int weights; };

static void call(kg_exec *x, trial *t, int i)
{
    t->a.weight = t->weight[i % t->weights];
    kg_linear(x, t->a);
}

/* Seconds of one call, a tenth of the time unmeasured first. */
static double measure(kg_exec *x, trial *t, double seconds)
{
    kg_device *d = kg_exec_device(x);
    call(x, t, 0);
    settle(d);
    double began = now();
    call(x, t, 1);
    settle(d);
    const double one = now() - began;
    if (kg_error_last()->status != KG_OK)
        return one;
    const int warm = (int)(0.1 * seconds / one) + 1, n = (int)(seconds / one) + 1;
    for (int i = 0; i < warm; ++i)
        call(x, t, i);
    settle(d);
    began = now();
    for (int i = 0; i < n; ++i)
        call(x, t, i);
    settle(d);
    return (now() - began) / n;
}

/* ---- the products of the models ---- */
struct product { const char *name; int64_t m, n, k; kg_dtype in, out; int bias, gelu; };
#define WAN(name, d, f) \
    {name " qkv", TOKENS, 3 * d, d, KG_BF16, KG_BF16, 1, 0}, {name " square", TOKENS, d, d, KG_BF16, KG_BF16, 1, 0}, \
    {name " ffn 0", TOKENS, f, d, KG_BF16, KG_BF16, 1, 1}, {name " ffn 2", TOKENS, d, f, KG_BF16, KG_BF16, 1, 0}, \
    {name " text kv", TEXT, 2 * d, d, KG_BF16, KG_BF16, 1, 0}, {name " head", TOKENS, 64, d, KG_F32, KG_F32, 1, 0}
#define TEXTS(name, n, k) \
    {name, 80, n, k, KG_BF16, KG_BF16, 0, 0}, {name, 192, n, k, KG_BF16, KG_BF16, 0, 0}, {name, 320, n, k, KG_BF16, KG_BF16, 0, 0}, \
    {name, 448, n, k, KG_BF16, KG_BF16, 0, 0}, {name, 576, n, k, KG_BF16, KG_BF16, 0, 0}
static const product products[] = {   /* table */
    WAN("Wan 1.3B", 1536, 8960),
    WAN("Wan 14B", 5120, 13824),
    WAN("Wan 5B", 3072, 14336),
    TEXTS("UMT5-XXL qkv", 12288, 4096),
    TEXTS("UMT5-XXL o", 4096, 4096),
    TEXTS("UMT5-XXL gate, up", 20480, 4096),
    TEXTS("UMT5-XXL down", 4096, 10240),
};

static trial trial_of(kg_exec *x, const product *p)
{
    const int64_t shape[2] = {p->m, p->n};
    trial t = {};
    kg_linear_args &a = t.a;
    a.activation = p->gelu ? KG_LINEAR_GELU : KG_LINEAR_NONE;
    kg_eager_reset(x);
    a.in = make(x, p->in, p->m, p->k, 1);
    do
        a.weight = t.weight[t.weights++] = make(x, p->in, p->n, p->k, 1 / sqrt((double)p->k));
    while (t.weights < WEIGHTS && (size_t)t.weights * kg_bytes(&a.weight) < COLD);
    a.out = kg_temp(x, p->out, 2, shape);
    if (p->bias) {
        a.bias = make(x, p->out, 1, p->n, 0.1);
        a.bias = kg_view(a.bias, 1, &p->n);
    }
    return t;
}

static void put_line(const kg_lt_row *r, char *out, size_t n)
{
    const kg_lt_config *c = &r->algorithm;
    snprintf(out, n, "linear %d %lld %lld %lld %s %s %d %d  %d %d %d %d %d %d %d", r->cc, (long long)r->n, (long long)r->k,
             (long long)r->rows, kg_dtype_name((kg_dtype)r->in), kg_dtype_name((kg_dtype)r->out), r->bias, r->gelu, c->id, c->tile,
             c->stages, c->swizzle, c->custom, c->inner, c->cluster);
}

/* line is empty when the first guess stays. */
static void tune(kg_exec *x, const product *p, double seconds, char *line, size_t room, char *words, size_t words_room)
{
    trial t = trial_of(x, p);
    kg_lt_config algorithm[MOST];
    kg_lt_row row = {};
    double first = 0, least = 0;
    const int n = kg_cuda_linear_algorithms(x, &t.a, algorithm, MOST);
    kg_cuda_linear_row(x, &t.a, &row);
    for (int k = 0; k < n && kg_error_last()->status == KG_OK; ++k) {
        kg_cuda_linear_force(&algorithm[k]);
        const double took = measure(x, &t, seconds);
        first = k ? first : took;
        if (!k || took < least)
            row.algorithm = algorithm[k], least = took;
    }
    kg_cuda_linear_force(NULL);
    *line = 0;
    if (n && first >= FASTER * least)
        put_line(&row, line, room);
    snprintf(words, words_room, "%s, %lld rows: %.1f TFLOP/s, the first of %d algorithms %.1f", p->name, (long long)p->m,
             n ? 2e-12 * (double)p->m * (double)p->n * (double)p->k / least : 0, n,
             n ? 2e-12 * (double)p->m * (double)p->n * (double)p->k / first : 0);
}

extern "C" kg_status kg_cuda_tune(kg_device *d, double seconds, int (*row)(void *arg, const char *line, const char *words), void *arg)
{
    kg_exec *x = kg_eager_new(d, ARENA);
    int ends = 0;
    for (size_t i = 0; x && i < sizeof products / sizeof *products && !ends && kg_error_last()->status == KG_OK; ++i) {
        char line[256], words[256];
        tune(x, &products[i], seconds, line, sizeof line, words, sizeof words);
        if (kg_error_last()->status == KG_OK)
            ends = row(arg, line, words);
    }
    const kg_status s = kg_error_last()->status;
    kg_eager_free(x);
    return ends && s == KG_OK ? kg_fail(KG_CANCELLED, "tuning was ended; what was chosen before stays") : s;
}

/* ---- what was found before ---- */
static int read_line(const char *line, kg_lt_row *r)
{
    kg_lt_config *c = &r->algorithm;
    char in[8], out[8];
    kg_dtype type[2];
    long long n, k, rows;
    int end = 0;
    if (sscanf(line, "linear %d %lld %lld %lld %7s %7s %d %d %d %d %d %d %d %d %d%n", &r->cc, &n, &k, &rows, in, out, &r->bias, &r->gelu,
               &c->id, &c->tile, &c->stages, &c->swizzle, &c->custom, &c->inner, &c->cluster, &end) != 15 || line[end])
        return 0;
    if (n < 1 || k < 1 || rows < 0 || !kg_dtype_find(in, &type[0]) || !kg_dtype_find(out, &type[1]))
        return 0;
    r->n = n, r->k = k, r->rows = rows, r->in = type[0], r->out = type[1];
    return 1;
}

static uint64_t hashed(uint64_t h, const char *s)
{
    for (; *s; ++s)
        h = (h ^ (unsigned char)*s) * 1099511628211u;      /* FNV-1a */
    return h;
}
static const uint64_t HASH = 14695981039346656037u;
static uint32_t folded(uint64_t h) { return (uint32_t)(h ^ h >> 32); }

extern "C" uint32_t kg_cuda_linear_hash(void)
{
    int n;
    const kg_lt_row *r = kg_cuda_linear_table(&n);
    uint64_t h = HASH;
    for (int i = 0; i < n; ++i) {
        char line[256];
        put_line(&r[i], line, sizeof line);
        h = hashed(h, line);
    }
    const kg_lt_rows *u = kg_cuda_linear_usual(&n);
    for (int i = 0; i < n; ++i) {
        char line[96];
        snprintf(line, sizeof line, "usual %lld %lld %lld", (long long)u[i].n, (long long)u[i].k, (long long)u[i].rows);
        h = hashed(h, line);
    }
    return folded(h);
}

static kg_status read_rows(char *text, kg_lt_row *rows, int *n)
{
    int number = 1;                            /* the first line was the tag */
    char *rest = NULL;
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        ++number;
        if (*n == KG_LT_TUNED || !read_line(line, &rows[*n]))
            return kg_fail(KG_INPUT, "line %d is no choice of an algorithm: \"%.80s\"", number, line);
        ++*n;
    }
    return KG_OK;
}

extern "C" kg_status kg_cuda_tuned(kg_device *d, const char *text)
{
    const size_t tag = strlen(d->tag);
    if (strncmp(text, d->tag, tag) || text[tag] != '\n') {
        kg_log("what kino tune found is for other libraries or another card, and is left aside (%.*s)", (int)strcspn(text, "\n"), text);
        return KG_OK;
    }
    char *copy = strdup(text + tag + 1);
    kg_lt_row *rows = (kg_lt_row *)calloc(KG_LT_TUNED, sizeof *rows);
    int n = 0;
    kg_status s = copy && rows ? read_rows(copy, rows, &n) : kg_fail(KG_FAILED, "out of host memory");
    if (s == KG_OK && n) {
        kg_cuda_linear_tuned(rows, n);
        snprintf(d->tag + tag, sizeof d->tag - tag, " tuned %08x", (unsigned)folded(hashed(HASH, text)));
    }
    free(copy);
    free(rows);
    return s;
}
