/* Linear layers against f64 sums: odd sizes, sliced rows, every type of weight and output, each activation; one and two threads. */
#include "kernels/kernel.h"
#include "tests/kernels/ops_test.h"

typedef struct linear_case { int64_t rows, n, k, gap; kg_dtype in, weight, out; int bias, activation; } linear_case;

static double activate(int activation, double v)
{
    if (activation == KG_LINEAR_SILU)
        return v / (1 + exp(-v));
    if (activation == KG_LINEAR_GELU)
        return 0.5 * v * (1 + tanh(sqrt(2 / M_PI) * (v + 0.044715 * v * v * v)));
    return v;
}

static void expect(const kg_linear_args *a, double *want)
{
    int64_t rows = kg_rows(&a->in), n = kg_cols(&a->out), k = kg_cols(&a->in);
    for (int64_t r = 0; r < rows; ++r)
        for (int64_t i = 0; i < n; ++i) {
            double sum = a->bias.rank ? ops_get(&a->bias, 0, i) : 0;
            for (int64_t j = 0; j < k; ++j) {
                double w = ops_get(&a->weight, i, j);
                sum += ops_get(&a->in, r, j) * ops_round((float)w, a->in.dtype);
            }
            want[r * n + i] = activate(a->activation, sum);
        }
}

/* NONE: bits alone; FIRST: against f64 sums; AGAIN: against the same ones, for the case of the call before. */
enum { NONE, FIRST, AGAIN };
static uint64_t run(const linear_case *c, int threads, int check)
{
    static double *want;
    ops_machine m = ops_open(threads, (size_t)128 << 20);
    uint64_t seed = 7;
    kg_linear_args a = {.activation = c->activation};
    a.in = ops_rows(m.x, c->in, c->rows, c->k, c->gap, &seed);
    a.weight = ops_rows(m.x, c->weight, c->n, c->k, 0, &seed);
    a.out = ops_out(m.x, c->out, c->rows, c->n, c->gap);
    if (c->bias >= 0)
        a.bias = ops_vector(m.x, (kg_dtype)c->bias, c->n, &seed);
    OPS_RUN(kg_linear(m.x, a));
    CHECK(kg_error_last()->status == KG_OK, "%s", kg_error_last()->message);
    CHECK(ops_gaps_kept(&a.out), "wrote between rows");
    if (check == FIRST) {
        free(want);
        want = malloc((size_t)(c->rows * c->n) * sizeof *want);
        expect(&a, want);
    }
    if (check != NONE) {
        double error = ops_error(&a.out, want);
        double f32 = ops_on_card() && c->in != KG_F32 ? 1e-5 : 2e-6;       /* tensor cores cut what falls off a sum */
        CHECK(error <= ops_bound(c->out, f32), "[%d x %d x %d] in %s weight %s out %s: error %g", (int)c->rows, (int)c->n, (int)c->k,
              kg_dtype_name(c->in), kg_dtype_name(c->weight), kg_dtype_name(c->out), error);
    }
    uint64_t h = ops_hash(&a.out);
    ops_close(&m);
    return h;
}

static void refusals(void)
{
    ops_machine m = ops_open(1, 1 << 20);
    uint64_t seed = 1;
    kg_linear_args a = {.in = ops_rows(m.x, KG_F32, 3, 5, 0, &seed), .weight = ops_rows(m.x, KG_F32, 4, 6, 0, &seed),
        .out = ops_rows(m.x, KG_F32, 3, 4, 0, &seed)};
    kg_linear(m.x, a);
    CHECK(strstr(kg_error_last()->message, "weight f32 [4, 6]") != NULL, "%s", kg_error_last()->message);
    kg_error_clear();
    ops_close(&m);
}

/* What kino tune found: taken for the same tag, with a hash of it; left aside for another; a wrong line is named. Card 0 is no card. */
static void tuned(void)
{
    static const char good[] = "cuda sm_0 x1\nlinear 0 64 64 0 bf16 bf16 1 0  66 452 35 0 3 0 5\n";
    static const char *const wrong[] = {
        "linear 0 64 64 0 bf16 bf16 1 0  66 452 35 0 3 0", "linear 0 64 64 0 bf16 bf17 1 0  66 452 35 0 3 0 5",
        "linear 0 64 0 0 bf16 bf16 1 0  66 452 35 0 3 0 5", "linear 0 64 64 0 bf16 bf16 1 0  66 452 35 0 3 0 5 x", "something"};
    kg_device d = {.tag = "cuda sm_0 x1"};
    CHECK(kg_cuda_tuned(&d, good) == KG_OK && !strncmp(d.tag, "cuda sm_0 x1 tuned ", 19) && strlen(d.tag) == 27, "%s", d.tag);
    kg_device other = {.tag = "cuda sm_0 x2"};
    CHECK(kg_cuda_tuned(&other, good) == KG_OK && !strcmp(other.tag, "cuda sm_0 x2"), "%s", other.tag);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; ++i) {
        char text[256];
        kg_device e = {.tag = "cuda sm_0 x1"};
        snprintf(text, sizeof text, "%s%s\n", good, wrong[i]);
        CHECK(kg_cuda_tuned(&e, text) == KG_INPUT && strstr(kg_error_last()->message, "line 3"), "%s", kg_error_last()->message);
        CHECK(!strcmp(e.tag, "cuda sm_0 x1"), "%s", e.tag);
        kg_error_clear();
    }
}

int main(void)
{
    if (KG_CUDA_BUILT)
        tuned();
    static const kg_dtype types[] = {KG_F32, KG_F16, KG_BF16};
    static const int64_t shapes[][4] = {            /* rows, n, k, gap */
        {1, 5, 7, 0}, {3, 1, 1, 2}, {17, 130, 33, 3}, {449, 129, 70, 1}, {64, 257, 2049, 0}, {2, 300, 4100, 5}, {1, 256, 256, 0},
        {5, 96, 100, 0}, {33, 136, 192, 8}, {300, 264, 72, 0}, {7, 512, 40, 16}};
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; ++s)
        for (int i = 0; i < 18 && !ops_too_large(shapes[s][0] * shapes[s][1] * shapes[s][2]); ++i) {
            linear_case c = {.rows = shapes[s][0], .n = shapes[s][1], .k = shapes[s][2], .gap = shapes[s][3]};
            c.in = i < 12 ? i % 2 ? KG_BF16 : KG_F32 : KG_F16;
            c.out = i < 12 ? i / 2 % 2 ? KG_BF16 : KG_F32 : i % 2 ? KG_F16 : KG_F32;
            c.weight = types[i < 12 ? i / 4 : i / 2 % 3];
            c.bias = (int)(s + (size_t)i) % 4 - 1;
            c.bias = c.bias < 0 ? -1 : (int)types[c.bias];
            c.activation = (int)(s + (size_t)i) % 3;
            uint64_t one = run(&c, 1, FIRST);
            CHECK(run(&c, 2, NONE) == one, "two threads give other bits");
            for (int isa = KG_ISA_PORTABLE; isa < ops_lesser_isas(); ++isa) {
                kg_cpu_isa_limit((kg_isa)isa);
                run(&c, 2, AGAIN);
                kg_cpu_isa_limit(KG_ISA_AVX512);
            }
        }
    refusals();
    return TEST_END();
}
