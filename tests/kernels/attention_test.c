/* Attention against f64: head sizes from 8 to 384, odd counts, several tiles of keys, slices of fused products, relative bias, great
 * scores; out over q; one and two threads. */
#include "tests/kernels/ops_test.h"

typedef struct attention_case {
    int64_t nq, nk, d;
    int heads;
    kg_dtype type, out;
    int fused, bias, over, aligned;
    double scale;
} attention_case;

static void expect(const kg_attention_args *a, double *want)
{
    int64_t nq = kg_rows(&a->q), nk = kg_rows(&a->k), cols = kg_cols(&a->q), d = cols / a->heads, span = (kg_cols(&a->bias) + 1) / 2;
    double *p = malloc((size_t)nk * sizeof *p);
    for (int64_t h = 0; h < a->heads; ++h)
        for (int64_t i = 0; i < nq; ++i) {
            double most = -1e300, sum = 0;
            for (int64_t j = 0; j < nk; ++j) {
                double s = 0;
                for (int64_t c = 0; c < d; ++c)
                    s += ops_get(&a->q, i, h * d + c) * ops_get(&a->k, j, h * d + c);
                p[j] = s * a->scale + (a->bias.rank ? ops_get(&a->bias, h, j - i + span - 1) : 0);
                most = p[j] > most ? p[j] : most;
            }
            for (int64_t j = 0; j < nk; ++j)
                sum += p[j] = exp(p[j] - most);
            for (int64_t c = 0; c < d; ++c) {
                double o = 0;
                for (int64_t j = 0; j < nk; ++j)
                    o += p[j] * ops_get(&a->v, j, h * d + c);
                want[i * cols + h * d + c] = o / sum;
            }
        }
    free(p);
}

/* NONE: bits alone; FIRST: against f64 sums; AGAIN: against the same ones, for the case of the call before. */
enum { NONE, FIRST, AGAIN };
static uint64_t run(const attention_case *c, int threads, int check)
{
    static double *want;
    ops_machine m = ops_open(threads, (size_t)128 << 20);
    uint64_t seed = 11;
    int64_t cols = c->heads * c->d, span = (c->nq > c->nk ? c->nq : c->nk) + 2;
    kg_attention_args a = {.heads = c->heads, .scale = c->scale};
    if (c->fused) {
        kg_tensor qkv = ops_rows(m.x, c->type, c->nq, 3 * cols, 0, &seed);
        a.q = kg_slice_cols(qkv, 0, cols), a.k = kg_slice_cols(qkv, cols, cols), a.v = kg_slice_cols(qkv, 2 * cols, cols);
    } else {
        a.q = ops_rows(m.x, c->type, c->nq, cols, 0, &seed);
        a.k = ops_rows(m.x, c->type, c->nk, cols, c->aligned ? 8 : 3, &seed);
        a.v = ops_rows(m.x, c->type, c->nk, cols, c->aligned ? 16 : 5, &seed);
    }
    a.out = c->over ? a.q : ops_out(m.x, c->out, c->nq, cols, c->aligned ? 8 : 1);
    if (c->bias)
        a.bias = ops_rows(m.x, KG_F32, c->heads, 2 * span - 1, 0, &seed);
    if (check == FIRST) {
        free(want);
        want = malloc((size_t)(c->nq * cols) * sizeof *want);
        expect(&a, want);
    }
    OPS_RUN(kg_attention(m.x, a));
    CHECK(kg_error_last()->status == KG_OK, "%s", kg_error_last()->message);
    if (check != NONE) {
        double error = ops_error(&a.out, want);
        double ulp = c->scale * sqrt((double)c->d) * ldexp(1, -24);    /* half one of the greatest scores: it moves a weight so much */
        double bound = c->type == KG_BF16 ? 6e-3 : ops_bound(c->type == KG_F16 && a.out.dtype == KG_F32 ? KG_F16 : a.out.dtype,
                                                             ulp > 3e-6 ? ulp : 3e-6);
        CHECK(error <= bound, "nq %d nk %d d %d heads %d %s: error %g", (int)c->nq, (int)c->nk, (int)c->d, c->heads,
              kg_dtype_name(c->type), error);
    }
    CHECK(c->over || ops_gaps_kept(&a.out), "wrote between rows");
    uint64_t h = ops_hash(&a.out);
    ops_close(&m);
    return h;
}

/* A card has three ways; where one cannot take a case, another does, and is checked again. */
static void every_way(const attention_case *c)
{
    for (int way = KG_ATTENTION_LIBRARY; ops_on_card() && way <= KG_ATTENTION_PRODUCTS; ++way) {
        kg_cuda_attention_force(way);
        uint64_t one = run(c, 1, AGAIN);
        int taken = kg_cuda_attention_force(way);
        CHECK(run(c, 1, NONE) == one, "way %d: the same call gives other bits", way);
        CHECK(way != KG_ATTENTION_PRODUCTS || taken == way);
        if (way == KG_ATTENTION_LIBRARY && c->aligned && c->d == 128 && c->type != KG_F32)
            printf("heads of 128 in %s: %s\n", kg_dtype_name(c->type), taken == way ? "cuDNN" : "our own kernel, cuDNN refused");
        CHECK(way != KG_ATTENTION_FLASH || taken == way || c->type == KG_F32 || (c->d != 64 && c->d != 128) || !c->aligned);
        kg_cuda_attention_force(KG_ATTENTION_AUTO);
    }
}

static void refusals(void)
{
    ops_machine m = ops_open(1, 1 << 20);
    uint64_t seed = 1;
    kg_attention_args a = {.q = ops_rows(m.x, KG_F32, 3, 12, 0, &seed), .k = ops_rows(m.x, KG_F32, 4, 12, 0, &seed),
        .v = ops_rows(m.x, KG_BF16, 4, 12, 0, &seed), .heads = 2, .scale = 1};
    a.out = a.q;
    kg_attention(m.x, a);
    CHECK(strstr(kg_error_last()->message, "v bf16 [4, 12]") != NULL, "%s", kg_error_last()->message);
    kg_error_clear();
    ops_close(&m);
}

int main(void)
{
    static const attention_case cases[] = {
        {.nq = 1, .nk = 1, .d = 8, .heads = 1, .scale = 1}, {.nq = 5, .nk = 3, .d = 64, .heads = 2, .bias = 1, .scale = 1},
        {.nq = 129, .nk = 129, .d = 128, .heads = 2, .fused = 1, .scale = 0.088},
        {.nq = 33, .nk = 1100, .d = 20, .heads = 3, .scale = 0.3},
        {.nq = 140, .nk = 140, .d = 384, .heads = 1, .over = 1, .scale = 0.05},
        {.nq = 520, .nk = 520, .d = 64, .heads = 2, .bias = 1, .scale = 1},
        {.nq = 20, .nk = 600, .d = 16, .heads = 2, .scale = 60},
        {.nq = 257, .nk = 515, .d = 128, .heads = 1, .out = KG_BF16, .scale = 0.088},
        {.nq = 300, .nk = 300, .d = 128, .heads = 3, .out = KG_BF16, .fused = 1, .over = 1, .aligned = 1, .scale = 0.088},
        {.nq = 130, .nk = 512, .d = 128, .heads = 2, .out = KG_BF16, .aligned = 1, .scale = 0.088},
        {.nq = 77, .nk = 77, .d = 64, .heads = 3, .out = KG_BF16, .bias = 1, .aligned = 1, .scale = 1},
        {.nq = 200, .nk = 65, .d = 64, .heads = 2, .aligned = 1, .scale = 0.125},
        {.nq = 136, .nk = 248, .d = 384, .heads = 1, .out = KG_BF16, .aligned = 1, .scale = 0.051}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; ++i)
        for (int t = 0; t < 3 && !ops_too_large(cases[i].nq * cases[i].nk * 4); ++t) {
            static const kg_dtype types[] = {KG_F32, KG_BF16, KG_F16};
            attention_case c = cases[i];
            if (t && c.scale > 1)
                continue;                      /* great scores amplify the rounding of bf16 probabilities' arguments */
            c.type = types[t];
            c.out = c.out == KG_BF16 ? types[t ? t : 1] : c.out;
            uint64_t one = run(&c, 1, FIRST);
            CHECK(run(&c, 2, NONE) == one, "two threads give other bits");
            every_way(&c);
            for (int isa = KG_ISA_PORTABLE; isa < ops_lesser_isas(); ++isa) {
                kg_cpu_isa_limit((kg_isa)isa);
                run(&c, 2, AGAIN);
                kg_cpu_isa_limit(KG_ISA_AVX512);
            }
        }
    refusals();
    return TEST_END();
}
