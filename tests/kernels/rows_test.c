/* Norms, casts, gates, sums, tables and patches against f64: odd sizes, sliced rows, every type, every instruction set; one and two
 * threads. */
#include "tests/kernels/ops_test.h"

static const kg_dtype types[] = {KG_F32, KG_BF16, KG_F16};
static double want[400 * 2100], sum[400 * 2100];

/* Rows of models lie side by side, and a card has forms of its own for them. */
static int aligned;
static int64_t gap(int64_t g) { return aligned ? 0 : g; }

static double gelu(double v) { return 0.5 * v * (1 + tanh(sqrt(2 / M_PI) * (v + 0.044715 * v * v * v))); }
static double at_or(const kg_tensor *t, int64_t i, double none) { return t->rank ? ops_get(t, 0, i) : none; }

static uint64_t residual_norm(int threads, int64_t rows, int64_t dim, int form, double offset)
{
    ops_machine m = ops_open(threads, (size_t)32 << 20);
    uint64_t seed = (uint64_t)form;
    kg_residual_norm_args a = {.x = ops_rows(m.x, KG_F32, rows, dim, gap(form % 3), &seed), .eps = 1e-6, .plus_one = form & 1};
    for (int64_t i = 0; i < rows * a.x.row; ++i)
        OPS_F32(a.x)[i] += (float)offset;
    if (form & 2)
        a.y = ops_rows(m.x, types[form / 4 % 3], rows, dim, gap(form % 5), &seed);
    if (form & 4)
        a.gate = ops_vector(m.x, types[form % 3], dim, &seed);
    if (form & 8)
        a.scale = ops_vector(m.x, types[(form + 1) % 3], dim, &seed), a.shift = ops_vector(m.x, types[(form + 2) % 3], dim, &seed);
    if (!(form & 2) || form & 16)
        a.out = ops_out(m.x, types[form / 2 % 3], rows, dim, gap(2));
    for (int64_t r = 0; r < rows; ++r) {
        double mean = 0, var = 0;
        for (int64_t i = 0; i < dim; ++i) {
            double v = ops_get(&a.x, r, i);
            if (a.y.rank)
                v = (float)(v + (float)(ops_get(&a.y, r, i) * at_or(&a.gate, i, 1)));
            sum[r * dim + i] = v;
            mean += v / (double)dim;
        }
        for (int64_t i = 0; i < dim; ++i)
            var += (sum[r * dim + i] - mean) * (sum[r * dim + i] - mean) / (double)dim;
        for (int64_t i = 0; i < dim; ++i)
            want[r * dim + i] = (sum[r * dim + i] - mean) / sqrt(var + a.eps) *
                                    (a.scale.rank ? at_or(&a.scale, i, 0) + a.plus_one : 1) + at_or(&a.shift, i, 0);
    }
    OPS_RUN(kg_residual_norm(m.x, a));
    CHECK(kg_error_last()->status == KG_OK, "%s", kg_error_last()->message);
    CHECK(ops_error(&a.x, sum) < 1e-6, "residual, form %d: %g", form, ops_error(&a.x, sum));
    if (a.out.rank && dim > 1)
        CHECK(ops_error(&a.out, want) < ops_bound(a.out.dtype, 1e-6 + offset * 2e-7), "norm of %d, form %d: %g", (int)dim, form,
              ops_error(&a.out, want));
    uint64_t h = ops_hash(&a.x) ^ (a.out.rank ? ops_hash(&a.out) : 0);
    ops_close(&m);
    return h;
}

static uint64_t rms_norm(int threads, int64_t rows, int heads, int64_t pairs, int form)
{
    ops_machine m = ops_open(threads, (size_t)32 << 20);
    uint64_t seed = (uint64_t)form;
    int64_t dim = heads * pairs * 2;
    kg_rms_norm_args a = {.in = ops_rows(m.x, types[form % 3], rows, dim, aligned ? 8 : 3, &seed), .eps = 1e-6};
    a.weight = ops_vector(m.x, types[form / 3 % 3], dim, &seed);
    if (form & 2)
        a.rope = kg_view(ops_rows(m.x, KG_F32, rows, pairs * 2, 0, &seed), KG_SHAPE(rows, pairs, 2));
    a.out = form & 4 ? a.in : ops_out(m.x, aligned ? a.in.dtype : types[form / 2 % 3], rows, dim, gap(1));
    for (int64_t r = 0; r < rows; ++r) {
        double square = 0;
        for (int64_t i = 0; i < dim; ++i)
            square += ops_get(&a.in, r, i) * ops_get(&a.in, r, i);
        for (int64_t i = 0; i < dim; i += 2) {
            double f = 1 / sqrt(square / (double)dim + a.eps), v[2], cs[2] = {1, 0};
            for (int k = 0; k < 2; ++k) {
                v[k] = ops_get(&a.in, r, i + k) * f * ops_get(&a.weight, 0, i + k);
                if (a.rope.rank)
                    cs[k] = OPS_F32(a.rope)[r * pairs * 2 + i % (pairs * 2) + k];
            }
            want[r * dim + i] = v[0] * cs[0] - v[1] * cs[1];
            want[r * dim + i + 1] = v[0] * cs[1] + v[1] * cs[0];
        }
    }
    OPS_RUN(kg_rms_norm(m.x, a));
    CHECK(kg_error_last()->status == KG_OK, "%s", kg_error_last()->message);
    CHECK(ops_error(&a.out, want) < ops_bound(a.out.dtype, 1e-6), "rms form %d: %g", form, ops_error(&a.out, want));
    uint64_t h = ops_hash(&a.out);
    ops_close(&m);
    return h;
}

/* rms_norm behind an add: out of the add's type or over it, of f32, of another. */
static void added_norm(int64_t dim, int type, int form)
{
    ops_machine m = ops_open(1, (size_t)8 << 20);
    uint64_t seed = 5;
    kg_rms_norm_args a = {.in = ops_rows(m.x, KG_F32, 7, dim, 8, &seed), .add = ops_rows(m.x, types[type], 7, dim, 8, &seed), .eps = 1e-6};
    a.weight = ops_vector(m.x, types[(type + form) % 3], dim, &seed);
    a.out = form == 3 ? a.add : ops_out(m.x, form == 1 ? KG_F32 : form == 2 ? KG_BF16 : types[type], 7, dim, 8);
    for (int64_t r = 0; r < 7; ++r) {
        double square = 0;
        for (int64_t i = 0; i < dim; ++i) {
            sum[r * dim + i] = (float)(ops_get(&a.in, r, i) + ops_get(&a.add, r, i));
            square += sum[r * dim + i] * sum[r * dim + i];
        }
        for (int64_t i = 0; i < dim; ++i)
            want[r * dim + i] = sum[r * dim + i] / sqrt(square / (double)dim + a.eps) * ops_get(&a.weight, 0, i);
    }
    OPS_RUN(kg_rms_norm(m.x, a));
    CHECK(kg_error_last()->status == KG_OK, "%s", kg_error_last()->message);
    CHECK(ops_error(&a.in, sum) < 1e-7 && ops_gaps_kept(&a.in), "sum of %d: %g", (int)dim, ops_error(&a.in, sum));
    CHECK(ops_error(&a.out, want) < ops_bound(a.out.dtype, 1e-6) && ops_gaps_kept(&a.out), "norm of %d, form %d: %g", (int)dim, form,
          ops_error(&a.out, want));
    ops_close(&m);
}

/* residual_norm with types chosen one by one: y and gate or none, out of y's type, of f32, or none. */
static void block_norms(int64_t dim, int type, int form)
{
    ops_machine m = ops_open(1, (size_t)8 << 20);
    uint64_t seed = 9;
    kg_residual_norm_args a = {.x = ops_rows(m.x, KG_F32, 7, dim, 0, &seed), .plus_one = 1, .eps = 1e-6};
    dim = dim == 6144 ? 5120 : dim;
    a.x = kg_slice_cols(a.x, 0, dim);
    a.scale = ops_vector(m.x, KG_F32, dim, &seed), a.shift = ops_vector(m.x, types[type], dim, &seed);
    a.y = ops_rows(m.x, types[type], 7, dim, 8, &seed);
    a.gate = ops_vector(m.x, KG_F32, dim, &seed);
    if (form < 3)
        a.out = form == 2 ? a.y : ops_out(m.x, form == 1 ? KG_F32 : types[type], 7, dim, 8);
    for (int64_t r = 0; r < 7; ++r) {
        double mean = 0, var = 0;
        for (int64_t i = 0; i < dim; ++i) {
            sum[r * dim + i] = (float)(ops_get(&a.x, r, i) + ops_get(&a.y, r, i) * ops_get(&a.gate, 0, i));
            mean += sum[r * dim + i] / (double)dim;
        }
        for (int64_t i = 0; i < dim; ++i)
            var += (sum[r * dim + i] - mean) * (sum[r * dim + i] - mean) / (double)dim;
        for (int64_t i = 0; i < dim; ++i)
            want[r * dim + i] = (sum[r * dim + i] - mean) / sqrt(var + a.eps) * (ops_get(&a.scale, 0, i) + 1) + ops_get(&a.shift, 0, i);
    }
    OPS_RUN(kg_residual_norm(m.x, a));
    CHECK(kg_error_last()->status == KG_OK, "%s", kg_error_last()->message);
    CHECK(ops_error(&a.x, sum) < 1e-6, "residual of %d: %g", (int)dim, ops_error(&a.x, sum));
    if (a.out.rank)
        CHECK(ops_error(&a.out, want) < ops_bound(a.out.dtype, 1e-6) && ops_gaps_kept(&a.out), "norm of %d: %g", (int)dim,
              ops_error(&a.out, want));
    ops_close(&m);
}

static uint64_t elementwise(int threads, int64_t rows, int64_t cols, int form)
{
    ops_machine m = ops_open(threads, (size_t)64 << 20);
    uint64_t seed = (uint64_t)form;
    kg_tensor in = ops_rows(m.x, types[form % 3], rows, cols, gap(form % 2 * 3), &seed);
    kg_tensor out = ops_out(m.x, types[form / 3 % 3], rows, cols, gap(form % 2));
    int op = form % 7 % 3;
    for (int64_t r = 0; r < rows; ++r)
        for (int64_t i = 0; i < cols; ++i) {
            if (r == 1)                        /* great ones too */
                ops_put(&in, r * in.row + i, (float)ops_get(&in, r, i) * 30);
            double v = ops_get(&in, r, i);
            want[r * cols + i] = op == KG_UNARY_GELU ? gelu(v) : op == KG_UNARY_SILU ? v / (1 + exp(-v)) : v;
        }
    OPS_RUN(kg_unary(m.x, (kg_unary_args){.out = out, .in = in, .op = op}));
    CHECK(ops_error(&out, want) < ops_bound(out.dtype, 3e-7), "unary form %d: %g", form, ops_error(&out, want));
    uint64_t h = ops_hash(&out);
    kg_tensor gate = ops_rows(m.x, types[form % 3], rows, cols, gap(1), &seed);
    kg_tensor up = ops_rows(m.x, types[aligned ? form % 3 : form / 2 % 3], rows, cols, gap(2), &seed);
    kg_tensor gated = ops_out(m.x, types[aligned ? form % 3 : form / 4 % 3], rows, cols, gap(3));
    OPS_RUN(kg_gated_gelu(m.x, (kg_gated_gelu_args){.out = gated, .gate = gate, .up = up}));
    for (int64_t i = 0; i < rows * cols; ++i)
        want[i] = gelu(ops_get(&gate, i / cols, i % cols)) * ops_get(&up, i / cols, i % cols);
    CHECK(ops_error(&gated, want) < ops_bound(gated.dtype, 3e-7), "gated form %d: %g", form, ops_error(&gated, want));
    kg_combine_args c = {.n = 1 + form % 6};
    c.out = ops_rows(m.x, KG_F32, rows, cols, 0, &seed);
    for (int t = 0; t < c.n; ++t) {
        c.term[t] = t == 2 ? c.out : ops_rows(m.x, types[(form + t) % 3], rows, cols, 0, &seed);
        c.coef[t] = 1.5 - t;
    }
    for (int64_t i = 0; i < rows * cols; ++i) {
        want[i] = 0;
        for (int t = 0; t < c.n; ++t)
            want[i] += c.coef[t] * ops_get(&c.term[t], 0, i);
    }
    OPS_RUN(kg_combine(m.x, c));
    CHECK(ops_error(&c.out, want) < 5e-8, "combine form %d: %g", form, ops_error(&c.out, want));
    CHECK(kg_error_last()->status == KG_OK, "%s", kg_error_last()->message);
    h ^= ops_hash(&gated) ^ ops_hash(&c.out) << 1;
    ops_close(&m);
    return h;
}

/* All 65536 values of a 16-bit type to f32 and back; f32 values between neighbours round to the nearest, ties to even. */
static void casts(kg_dtype type)
{
    ops_machine m = ops_open(1, (size_t)8 << 20);
    kg_tensor half = kg_temp(m.x, type, KG_SHAPE(65536)), back = kg_temp(m.x, type, KG_SHAPE(65536));
    kg_tensor wide = kg_temp(m.x, KG_F32, KG_SHAPE(65536));
    uint64_t seed = 3;
    int wrong = 0;
    for (int i = 0; i < 65536; ++i)
        OPS_U16(half)[i] = (uint16_t)i;
    OPS_RUN(kg_unary(m.x, (kg_unary_args){.out = wide, .in = half}));
    OPS_RUN(kg_unary(m.x, (kg_unary_args){.out = back, .in = wide}));
    for (int i = 0; i < 65536; ++i) {
        double v = ops_get(&half, 0, i);
        float w = OPS_F32(wide)[i];
        wrong += v == v ? (double)w != v || OPS_U16(back)[i] != i : w == w || ops_get(&back, 0, i) == ops_get(&back, 0, i);
    }
    CHECK(wrong == 0, "%d of 65536 %s values change by a cast and back", wrong, kg_dtype_name(type));
    for (int i = 0; i < 65536; ++i) {
        uint32_t u = (uint32_t)test_next(&seed);
        u = i % 3 ? u : u & 0xfffff000u;       /* ties are among these */
        memcpy(OPS_F32(wide) + i, &u, 4);
    }
    OPS_RUN(kg_unary(m.x, (kg_unary_args){.out = back, .in = wide}));
    for (int i = 0; i < 65536; ++i) {
        float f = OPS_F32(wide)[i];
        if (f == f)
            wrong += ops_get(&back, 0, i) != (double)ops_round(f, type) && fabsf(f) < 3e38f;
    }
    CHECK(wrong == 0, "%d roundings to %s differ", wrong, kg_dtype_name(type));
    ops_close(&m);
}

/* ref: wan-spec 3.6: 22 pairs for time, 21 for height and width at head size 128. */
static uint64_t tables(int threads)
{
    ops_machine m = ops_open(threads, (size_t)8 << 20);
    kg_tensor t = kg_temp(m.x, KG_F32, KG_SHAPE(3 * 4 * 5, 64, 2));
    OPS_RUN(kg_rope_table(m.x, (kg_rope_table_args){.out = t, .frames = 3, .height = 4, .width = 5, .theta = 10000}));
    for (int f = 0, i = 0; f < 3; ++f)
        for (int h = 0; h < 4; ++h)
            for (int w = 0; w < 5; ++w)
                for (int j = 0; j < 64; ++j, i += 2) {
                    double angle = j < 22   ? f * pow(10000, -2.0 * j / 44)
                                   : j < 43 ? h * pow(10000, -2.0 * (j - 22) / 42)
                                            : w * pow(10000, -2.0 * (j - 43) / 42);
                    want[i] = cos(angle), want[i + 1] = sin(angle);
                }
    t = kg_view(t, KG_SHAPE(60, 128));
    CHECK(ops_error(&t, want) < 1e-7, "rope table: %g", ops_error(&t, want));
    uint64_t h = ops_hash(&t);
    ops_close(&m);
    return h;
}

static uint64_t patches(int threads, kg_dtype type)
{
    ops_machine m = ops_open(threads, (size_t)8 << 20);
    enum { C = 3, T = 2, H = 6, W = 10 };
    uint64_t seed = 5;
    kg_tensor flat = ops_rows(m.x, KG_F32, C, T * H * W, 0, &seed), latent = kg_view(flat, KG_SHAPE(C, T, H, W));
    kg_tensor tokens = ops_rows(m.x, type, T * H / 2 * W / 2, 4 * C, 3, &seed);
    OPS_RUN(kg_patchify(m.x, (kg_patchify_args){.latent = latent, .tokens = tokens}));
    int wrong = 0;
    for (int c = 0; c < C; ++c)
        for (int t = 0; t < T; ++t)
            for (int h = 0; h < H; ++h)
                for (int w = 0; w < W; ++w)
                    wrong += ops_get(&tokens, (t * H / 2 + h / 2) * W / 2 + w / 2, c * 4 + h % 2 * 2 + w % 2) !=
                             (double)ops_round((float)ops_get(&flat, c, (t * H + h) * W + w), type);
    CHECK(wrong == 0, "%d features of patches", wrong);
    uint64_t hash = ops_hash(&tokens);
    tokens = ops_rows(m.x, type, T * H / 2 * W / 2, 4 * C, 1, &seed);
    OPS_RUN(kg_unpatchify(m.x, (kg_patchify_args){.latent = latent, .tokens = tokens}));
    for (int c = 0; c < C; ++c)
        for (int t = 0; t < T; ++t)
            for (int h = 0; h < H; ++h)
                for (int w = 0; w < W; ++w)
                    wrong += ops_get(&tokens, (t * H / 2 + h / 2) * W / 2 + w / 2, (h % 2 * 2 + w % 2) * C + c) !=
                             ops_get(&flat, c, (t * H + h) * W + w);
    CHECK(wrong == 0, "%d elements of a latent", wrong);
    hash ^= ops_hash(&flat);
    ops_close(&m);
    return hash;
}

static void constants(kg_dtype type)
{
    enum { HEADS = 5, WIDTH = 77, BUCKETS = 9 };
    ops_machine m = ops_open(1, (size_t)1 << 20);
    uint64_t seed = 21;
    kg_tensor out = ops_out(m.x, KG_F32, HEADS, WIDTH, 0), table = ops_rows(m.x, type, BUCKETS, HEADS, 0, &seed);
    kg_tensor bucket = kg_temp(m.x, KG_I32, KG_SHAPE(WIDTH)), filled = ops_out(m.x, type, 6, 50, 0);
    for (int i = 0; i < WIDTH; ++i)
        ((int32_t *)ops_host(&bucket))[i] = (int32_t)(test_next(&seed) % BUCKETS);
    OPS_RUN(kg_rel_bias(m.x, (kg_rel_bias_args){.out = out, .table = table, .bucket = bucket}));
    int wrong = 0;
    for (int h = 0; h < HEADS; ++h)
        for (int i = 0; i < WIDTH; ++i)
            wrong += ops_get(&out, h, i) != ops_get(&table, ((int32_t *)ops_host(&bucket))[i], h);
    OPS_RUN(kg_fill_with(m.x, (kg_fill_args){.out = kg_slice(filled, 2, 3), .value = -1.5}));
    for (int i = 0; i < 300; ++i) {
        double v = ops_get(&filled, i / 50, i % 50);
        wrong += i >= 100 && i < 250 ? v != -1.5 : v == v;
    }
    CHECK(!wrong && kg_error_last()->status == KG_OK, "%d values: %s", wrong, kg_error_last()->message);
    ops_close(&m);
}

static void all_forms(void)
{
    for (int form = 0; form < 32; ++form) {
        CHECK(residual_norm(1, 37, 100 + form * 7, form, 0) == residual_norm(2, 37, 100 + form * 7, form, 0), "threads");
        CHECK(rms_norm(1, 29, 3, 8 + form, form) == rms_norm(2, 29, 3, 8 + form, form), "threads");
        CHECK(elementwise(1, 23, 90 + form * 31, form) == elementwise(2, 23, 90 + form * 31, form), "threads");
    }
    if (!ops_too_large(300 * 1536))
        residual_norm(2, 300, 1536, 31, 0);
    residual_norm(2, 5, 1536, 24, 1000);       /* a mean far above the deviation */
    residual_norm(1, 3, 1, 0, 0);
    if (!ops_too_large(300 * 1536))
        rms_norm(2, 300, 12, 64, 3);
    aligned = 1;
    for (int form = 0; form < 32; ++form) {
        static const int64_t widths[] = {1536, 3072, 4096, 5120};
        int64_t width = widths[form % 4];
        CHECK(residual_norm(1, 5, width, form, 0) == residual_norm(2, 5, width, form, 0), "bits");
        CHECK(rms_norm(1, 5, (int)(width / 128), 64, form) == rms_norm(2, 5, (int)(width / 128), 64, form), "bits");
        CHECK(elementwise(1, 11, 96 + form * 8, form) == elementwise(2, 11, 96 + form * 8, form), "bits");
    }
    for (int type = 0; type < 3; ++type)       /* what models do: a residual, then a norm of the same type, of f32, or neither */
        for (int form = 0; form < 4; ++form)
            block_norms(1536 + 1536 * form, type, form);
    for (int i = 0; i < 3 * 4 * 5; ++i) {
        static const int64_t widths[] = {1536, 3072, 4096, 5120, 200};
        added_norm(widths[i % 5], i / 5 % 3, i / 15);
    }
    residual_norm(1, 5, 1536, 24, 1000);
    aligned = 0;
    casts(KG_BF16);
    casts(KG_F16);
}

static void refusals(void)
{
    ops_machine m = ops_open(1, 1 << 20);
    uint64_t seed = 1;
    kg_tensor a = ops_rows(m.x, KG_F32, 3, 8, 0, &seed), b = ops_rows(m.x, KG_F32, 3, 9, 0, &seed);
    static const char *const op[] = {"residual_norm", "rms_norm", "rope_table", "unary", "gated_gelu",
                                     "combine", "patchify", "unpatchify", "fill", "rel_bias", "noise"};
    for (int i = 0; i < 11; ++i) {
        switch (i) {
        case 0: kg_residual_norm(m.x, (kg_residual_norm_args){.x = a, .y = b}); break;
        case 1: kg_rms_norm(m.x, (kg_rms_norm_args){.in = a, .out = a, .weight = kg_at(b, 0)}); break;
        case 2: kg_rope_table(m.x, (kg_rope_table_args){.out = a, .frames = 1, .height = 1, .width = 3, .theta = 1e4}); break;
        case 3: kg_unary(m.x, (kg_unary_args){.out = a, .in = b}); break;
        case 4: kg_gated_gelu(m.x, (kg_gated_gelu_args){.out = a, .gate = a, .up = b}); break;
        case 5: kg_combine(m.x, (kg_combine_args){.out = a, .term = {a, b}, .coef = {1, 1}, .n = 2}); break;
        case 6: kg_patchify(m.x, (kg_patchify_args){.latent = a, .tokens = b}); break;
        case 7: kg_unpatchify(m.x, (kg_patchify_args){.latent = a, .tokens = b}); break;
        case 8: kg_fill_with(m.x, (kg_fill_args){.out = kg_slice_cols(a, 0, 4)}); break;
        case 9: kg_rel_bias(m.x, (kg_rel_bias_args){.out = a, .table = b, .bucket = kg_at(b, 0)}); break;
        default: kg_noise(m.x, (kg_noise_args){.out = kg_slice_cols(a, 0, 4)}); break;
        }
        CHECK(kg_error_last()->status != KG_OK && strstr(kg_error_last()->message, op[i]), "%s: %s", op[i], kg_error_last()->message);
        kg_error_clear();
    }
    ops_close(&m);
}

int main(void)
{
    int best = ops_lesser_isas();
    for (int isa = KG_ISA_PORTABLE; isa <= best; ++isa) {
        if (!ops_on_card())
            kg_cpu_isa_limit((kg_isa)isa);
        all_forms();
    }
    CHECK(tables(1) == tables(2), "threads");
    for (int t = 0; t < 3; ++t)
        constants(types[t]);
    CHECK(patches(1, KG_F32) == patches(2, KG_F32), "threads");
    CHECK(patches(1, KG_BF16) == patches(2, KG_BF16), "threads");
    CHECK(patches(1, KG_F16) == patches(2, KG_F16), "threads");
    refusals();
    return TEST_END();
}
