/* kg_look: NaN and Inf are found wherever they are, in every type, and nothing else is (greatest and subnormal numbers, what lies
 * between the rows of a slice); ranges are those of a plain loop; the same on one thread and two. */
#include "tests/kernels/ops_test.h"

#include "kernels/kernel.h"

static const kg_dtype types[] = {KG_F32, KG_BF16, KG_F16};

static void put_bits(const kg_tensor *t, int64_t row, int64_t col, uint32_t u)
{
    int64_t at = row * t->row + col;
    if (t->dtype == KG_F32)
        ((uint32_t *)ops_host(t))[at] = u;
    else
        ((uint16_t *)ops_host(t))[at] = (uint16_t)u;
}

/* Infinity's bits, and the quietest and loudest of NaN's and the greatest number as distances from them. */
static uint32_t infinity_of(kg_dtype d) { return d == KG_F32 ? 0x7f800000u : d == KG_BF16 ? 0x7f80u : 0x7c00u; }
static uint32_t sign_of(kg_dtype d) { return d == KG_F32 ? 0x80000000u : 0x8000u; }

static int look(ops_machine *m, kg_tensor in, kg_tensor flag, kg_tensor range)
{
    *(int32_t *)ops_host(&flag) = 0x5a5a5a5a;
    OPS_RUN(kg_look(m->x, (kg_look_args){.in = in, .flag = flag, .range = range}));
    CHECK(kg_error_last()->status == KG_OK, "%s", kg_error_last()->message);
    return *(int32_t *)ops_host(&flag);
}

/* One value at one place; then it is as it was. */
static void places(int threads, kg_dtype d, int64_t rows, int64_t cols, int64_t gap)
{
    ops_machine m = ops_open(threads, (size_t)16 << 20);
    uint64_t seed = 7;
    kg_tensor flag = kg_temp(m.x, KG_I32, KG_SHAPE(1)), in = ops_rows(m.x, d, rows, cols, gap, &seed), none = {0};
    CHECK(look(&m, in, flag, none) == 0, "clean: %s [%lld, %lld]", kg_dtype_name(d), (long long)rows, (long long)cols);
    uint32_t inf = infinity_of(d), sign = sign_of(d);
    const struct { uint32_t bits; int is; } value[] = {{inf, KG_HAS_INF}, {inf | sign, KG_HAS_INF}, {inf + 1, KG_HAS_NAN},
        {(inf + 1) | sign, KG_HAS_NAN}, {sign - 1, KG_HAS_NAN}, {inf - 1, 0}, {(inf - 1) | sign, 0}, {1, 0}, {sign, 0}};
    for (int k = 0; k < 24; ++k) {
        int64_t at = k == 0 ? 0 : k == 1 ? rows * cols - 1 : (int64_t)(test_next(&seed) % (uint64_t)(rows * cols));
        int v = k % (int)(sizeof value / sizeof *value);
        float before = (float)ops_get(&in, at / cols, at % cols);
        put_bits(&in, at / cols, at % cols, value[v].bits);
        CHECK(look(&m, in, flag, none) == value[v].is, "%s [%lld, %lld] value %d at %lld", kg_dtype_name(d), (long long)rows,
              (long long)cols, v, (long long)at);
        ops_put(&in, at / cols * in.row + at % cols, before);
    }
    put_bits(&in, 0, 0, inf);
    put_bits(&in, rows - 1, cols - 1, inf + 1);
    CHECK(look(&m, in, flag, none) == (rows * cols > 1 ? KG_HAS_NAN | KG_HAS_INF : KG_HAS_NAN), "both");
    ops_close(&m);
}

static uint64_t ranges(int threads, int64_t rows, int64_t cols, int64_t gap)
{
    ops_machine m = ops_open(threads, (size_t)16 << 20);
    uint64_t seed = 11;
    kg_tensor flag = kg_temp(m.x, KG_I32, KG_SHAPE(1)), range = ops_out(m.x, KG_F32, rows, 2, 0);
    kg_tensor in = ops_rows(m.x, KG_F32, rows, cols, gap, &seed);
    for (int64_t c = 0; c < cols; ++c)
        ops_put(&in, (rows - 1) * in.row + c, -3.25f);     /* a constant row, and one of zeros of both signs */
    for (int64_t c = 0; c < cols && rows > 1; ++c)
        ops_put(&in, c, c % 2 ? -0.0f : 0.0f);
    CHECK(look(&m, in, flag, range) == 0, "clean");
    for (int64_t r = 0; r < rows; ++r) {
        double least = INFINITY, most = -INFINITY;
        for (int64_t c = 0; c < cols; ++c) {
            least = fmin(least, ops_get(&in, r, c));
            most = fmax(most, ops_get(&in, r, c));
        }
        CHECK(ops_get(&range, r, 0) == least && ops_get(&range, r, 1) == most, "row %lld of [%lld, %lld]: %g to %g, not %g to %g",
              (long long)r, (long long)rows, (long long)cols, ops_get(&range, r, 0), ops_get(&range, r, 1), least, most);
    }
    if (rows > 1 && cols > 1)
        CHECK(signbit((float)ops_get(&range, 0, 0)) && !signbit((float)ops_get(&range, 0, 1)), "-0 is below 0, in any order");
    uint64_t hash = ops_hash(&range);
    put_bits(&in, rows / 2, cols / 2, 0x7f800000u);
    CHECK(look(&m, in, flag, range) == KG_HAS_INF && ops_get(&range, rows / 2, 1) == INFINITY, "Inf is the greatest");
    put_bits(&in, rows / 2, cols / 2, 0xffc00000u);
    CHECK(look(&m, in, flag, range) == KG_HAS_NAN && isnan(ops_get(&range, rows / 2, 0)), "NaN lies beyond");
    ops_close(&m);
    return hash;
}

static void refusals(void)
{
    ops_machine m = ops_open(1, 1 << 20);
    uint64_t seed = 1;
    kg_tensor f = ops_rows(m.x, KG_F32, 3, 8, 0, &seed), h = ops_rows(m.x, KG_BF16, 3, 8, 0, &seed), two = kg_slice_cols(f, 0, 2);
    kg_tensor flag = kg_temp(m.x, KG_I32, KG_SHAPE(1)), none = {0};
    const kg_look_args wrong[] = {{.in = flag, .flag = flag}, {.in = f, .flag = f}, {.in = f, .flag = none},
                                  {.in = h, .flag = flag, .range = two}, {.in = f, .flag = flag, .range = two}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; ++i) {
        kg_look(m.x, wrong[i]);
        CHECK(strstr(kg_error_last()->message, "look"), "%zu: %s", i, kg_error_last()->message);
        kg_error_clear();
    }
    ops_close(&m);
}

/* A watched value without a plan: the error, its mark and the path. */
static void watched(void)
{
    ops_machine m = ops_open(1, 1 << 20);
    uint64_t seed = 3;
    kg_tensor in = ops_rows(m.x, KG_BF16, 5, 24, 8, &seed);
    OPS_RUN(kg_watch(m.x, in, "the velocity"));
    CHECK(kg_error_last()->status == KG_OK);
    put_bits(&in, 4, 23, 0x7f80);
    kg_enter(m.x, "step", 3, 8);
    OPS_RUN(kg_watch(m.x, in, "the velocity"));
    const kg_error *e = kg_error_last();
    CHECK(e->status == KG_FAILED && e->not_finite && !strcmp(e->message, "Inf in the velocity") && strstr(e->path, "step 3"), "%s: %s",
          e->path, e->message);
    kg_error_clear();
    ops_close(&m);
}

static void all(void)
{
    static const int64_t shapes[][3] = {{1, 1, 0}, {1, 7, 0}, {3, 5, 0}, {5, 33, 7}, {9, 64, 8}, {300, 3, 0}, {300, 3, 5}, {16, 4096, 0},
                                        {1, 65536, 0}, {3, 65539, 0}, {2, 70001, 16}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; ++i) {
        const int64_t *s = shapes[i];
        if (ops_too_large(s[0] * s[1] * 24))
            continue;
        for (int t = 0; t < 3; ++t)
            places(1 + (int)i % 2, types[t], s[0], s[1], s[2]);
        CHECK(ranges(1, s[0], s[1], s[2]) == ranges(2, s[0], s[1], s[2]), "threads");
    }
}

int main(void)
{
    int best = ops_lesser_isas();
    for (int isa = KG_ISA_PORTABLE; isa <= best; ++isa) {
        if (!ops_on_card())
            kg_cpu_isa_limit((kg_isa)isa);
        all();
    }
    refusals();
    watched();
    return TEST_END();
}
