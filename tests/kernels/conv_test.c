/* Convolution, norm over channels, layouts and pixels against plain sums in float64, on every device and instruction set that the
 * machine has, for each type of frames and weights, with bits that do not depend on the number of threads. */
#include "core/key.h"
#include "tests/kernels/ops_test.h"

static const kg_dtype types[] = {KG_F32, KG_F16, KG_BF16};

/* Rounded once where it is stored; on a card 16-bit frames take weights of their own type, which rounds those too. */
static double bound(kg_dtype act, double f32) { return act == KG_F32 ? f32 : act == KG_F16 ? 4e-4 : 3e-3; }

static kg_tensor frames(kg_exec *x, kg_dtype d, int64_t t, int64_t h, int64_t w, int64_t c, uint64_t *seed)
{
    return kg_view(ops_rows(x, d, t * h * w, c, 0, seed), KG_SHAPE(t, h, w, c));
}

static kg_tensor empty(kg_exec *x, kg_dtype d, int64_t t, int64_t h, int64_t w, int64_t c)
{
    return kg_view(ops_out(x, d, t * h * w, c, 0), KG_SHAPE(t, h, w, c));
}

/* All values of t, row-major; malloc. NULL for no tensor. */
static double *values(const kg_tensor *t)
{
    if (!t->rank)
        return NULL;
    int64_t n = kg_count(t), cols = kg_cols(t);
    double *v = malloc((size_t)n * sizeof *v);
    for (int64_t i = 0; i < n; ++i)
        v[i] = ops_get(t, i / cols, i % cols);
    return v;
}

static void copy_values(kg_tensor *to, const kg_tensor *from)
{
    memcpy(ops_host(to), ops_host(from), kg_bytes(from));
}

/* ---- convolution ---- */
typedef struct conv_case {
    int64_t t, h, w, in, out;
    int kt, k, history, stride_t, stride_hw, upsample, split, bias, add;
    kg_dtype type;     /* of weight and bias */
} conv_case;

typedef struct operands { double *in, *history, *weight, *bias, *add; } operands;

static double at(const kg_conv_args *a, const operands *o, int64_t f, int64_t y, int64_t x, int64_t c)
{
    int64_t history = a->history.rank ? a->history.shape[0] : 0, h = a->in.shape[1], w = a->in.shape[2], n = a->in.shape[3];
    int up = a->upsample ? 1 : 0;
    if (f < 0 || y < 0 || x < 0 || y >= h << up || x >= w << up)
        return 0;
    const double *frame = f < history ? o->history + f * h * w * n : o->in + (f - history) * h * w * n;
    return frame[((y >> up) * w + (x >> up)) * n + c];
}

static void reference(const kg_conv_args *a, const operands *p, double *out)
{
    int64_t history = a->history.rank ? a->history.shape[0] : 0, zeros = a->stride_t == 1 ? a->kt - 1 - history : 0;
    int64_t n = a->out.shape[3], in = a->in.shape[3], halves = a->split ? 2 : 1, i = 0;
    int pad = a->kh == 3 && a->stride_hw == 1;
    for (int64_t f = 0; f < a->out.shape[0]; ++f)
        for (int64_t y = 0; y < a->out.shape[1]; ++y)
            for (int64_t x = 0; x < a->out.shape[2]; ++x)
                for (int64_t o = 0; o < n; ++o, ++i) {
                    int64_t channel = f % halves * n + o;
                    double sum = p->bias ? p->bias[channel] : 0;
                    const double *w = p->weight + channel * in * a->kt * a->kh * a->kw;
                    for (int64_t c = 0; c < in; ++c)
                        for (int kt = 0; kt < a->kt; ++kt)
                            for (int ky = 0; ky < a->kh; ++ky)
                                for (int kx = 0; kx < a->kw; ++kx)
                                    sum += *w++ * at(a, p, f / halves * a->stride_t + kt - zeros, y * a->stride_hw + ky - pad,
                                                     x * a->stride_hw + kx - pad, c);
                    out[i] = sum + (p->add ? p->add[i] : 0);
                }
}

/* in and history, apart or with in behind history and what is missing there (NaN, for the device to write). */
static void make_input(kg_exec *x, const conv_case *c, kg_dtype act, int joined, kg_conv_args *a, uint64_t *seed)
{
    kg_tensor in = frames(x, act, c->t, c->h, c->w, c->in, seed), history = {0};
    if (c->history)
        history = frames(x, act, c->history, c->h, c->w, c->in, seed);
    a->in = in;
    a->history = history;
    a->joined = joined;
    if (!joined)
        return;
    int64_t before = c->stride_t == 1 ? c->kt - 1 : c->history;
    kg_tensor all = empty(x, act, before + c->t, c->h, c->w, c->in);
    a->in = kg_slice(all, before, c->t);
    copy_values(&a->in, &in);
    if (c->history) {
        a->history = kg_slice(all, before - c->history, c->history);
        copy_values(&a->history, &history);
    }
}

static uint64_t run_conv(const conv_case *c, kg_dtype act, int joined, int threads, int check)
{
    ops_machine m = ops_open(threads, (size_t)256 << 20);
    kg_exec *x = m.x;
    uint64_t seed = 7;
    int64_t t = c->stride_t == 1 ? c->t : (c->t + c->history - c->kt) / 2 + 1, h = c->h * (c->upsample ? 2 : 1) / c->stride_hw;
    int64_t w = c->w * (c->upsample ? 2 : 1) / c->stride_hw, halves = c->split ? 2 : 1;
    kg_conv_args a = {.kt = c->kt, .kh = c->k, .kw = c->k, .stride_t = c->stride_t, .stride_hw = c->stride_hw,
        .upsample = c->upsample, .split = c->split};
    make_input(x, c, act, joined, &a, &seed);
    int64_t shape[5] = {c->out, c->in, c->kt, c->k, c->k}, row = c->in * c->kt * c->k * c->k;
    kg_tensor weight = kg_view(ops_rows(x, c->type, c->out, row, 0, &seed), 5, shape);
    a.weight = ops_out(x, c->type, kg_conv_padded(c->out), row, 0);
    if (c->bias)
        a.bias = ops_vector(x, c->type, c->out, &seed);
    a.out = c->add ? frames(x, act, t * halves, h, w, c->out / halves, &seed) : empty(x, act, t * halves, h, w, c->out / halves);
    if (c->add)
        a.add = a.out;
    operands p = {values(&a.in), values(&a.history), values(&weight), values(&a.bias), values(&a.add)};
    OPS_RUN((kg_conv_pack(x, (kg_conv_pack_args){.out = a.weight, .in = weight}), kg_conv(x, a)));
    CHECK(kg_error_last()->status == KG_OK, "%s", kg_error_last()->message);
    if (check) {
        double *want = malloc((size_t)kg_count(&a.out) * sizeof *want);
        reference(&a, &p, want);
        double error = ops_error(&a.out, want);
        CHECK(error < bound(act, 2e-6),
              "%s: t %d h %d w %d in %d out %d kt %d k %d history %d joined %d weights %s frames %s: error %g",
              kg_cpu_isa_name(kg_cpu_isa()), (int)c->t, (int)c->h, (int)c->w, (int)c->in, (int)c->out, c->kt, c->k, c->history, joined,
              kg_dtype_name(c->type), kg_dtype_name(act), error);
        free(want);
    }
    uint64_t hash = ops_hash(&a.out);
    free(p.in), free(p.history), free(p.weight), free(p.bias), free(p.add);
    ops_close(&m);
    return hash;
}

static const conv_case conv_cases[] = {      /* table */
    {1, 5, 7, 16, 16, 3, 3, 0, 1, 1, 0, 0, 1, 0, KG_F32},  {1, 5, 7, 20, 33, 3, 3, 1, 1, 1, 0, 0, 1, 1, KG_F32},
    {4, 6, 9, 16, 3, 3, 3, 2, 1, 1, 0, 0, 1, 0, KG_F32},   {2, 6, 4, 3, 48, 3, 3, 2, 1, 1, 0, 0, 0, 0, KG_BF16},
    {3, 4, 4, 17, 40, 3, 3, 0, 1, 1, 0, 0, 1, 1, KG_F16},  {1, 1, 1, 16, 16, 3, 3, 2, 1, 1, 0, 0, 1, 0, KG_F32},
    {2, 33, 31, 48, 96, 3, 3, 2, 1, 1, 0, 0, 1, 1, KG_F32},{4, 40, 24, 32, 16, 3, 3, 1, 1, 1, 0, 0, 1, 0, KG_BF16},
    {2, 5, 3, 32, 16, 1, 3, 0, 1, 1, 1, 0, 1, 0, KG_F32},  {2, 20, 21, 32, 16, 1, 3, 0, 1, 1, 1, 0, 1, 0, KG_F16},
    {2, 6, 8, 16, 16, 1, 3, 0, 1, 2, 0, 0, 1, 0, KG_F32},  {1, 7, 9, 24, 20, 1, 3, 0, 1, 2, 0, 0, 1, 0, KG_F16},
    {2, 6, 8, 16, 32, 3, 1, 2, 1, 1, 0, 1, 1, 0, KG_F32},  {1, 3, 5, 10, 20, 3, 1, 0, 1, 1, 0, 1, 1, 0, KG_BF16},
    {4, 3, 5, 16, 16, 3, 1, 1, 2, 1, 0, 0, 1, 0, KG_F32},  {2, 9, 11, 16, 24, 1, 1, 0, 1, 1, 0, 0, 1, 1, KG_F32},
    {1, 64, 5, 3, 96, 3, 3, 0, 1, 1, 0, 0, 1, 0, KG_F32},  {1, 70, 64, 24, 144, 3, 3, 2, 1, 1, 0, 0, 1, 0, KG_F32},
    {3, 17, 35, 64, 3, 3, 3, 1, 1, 1, 0, 0, 1, 1, KG_F16}, {1, 16, 16, 32, 3, 3, 3, 2, 1, 1, 0, 0, 1, 0, KG_BF16},
    {2, 12, 10, 96, 96, 3, 3, 2, 1, 1, 0, 0, 1, 1, KG_BF16}};

static void test_convs(void)
{
    for (size_t i = 0; i < sizeof conv_cases / sizeof *conv_cases; ++i)
        for (int k = 0; k < 3; ++k) {
            const conv_case *c = &conv_cases[i];
            uint64_t apart = run_conv(c, types[k], 0, 3, 1);
            if (!ops_on_card())
                CHECK(run_conv(c, types[k], 0, 1, 0) == apart, "bits depend on the number of threads");
            if (c->kt > 1)
                CHECK(run_conv(c, types[k], 1, 3, 0) == apart, "bits depend on where history lies");
        }
    CHECK(!*kg_cuda_conv_refused(), "cuDNN has no engine for %s", kg_cuda_conv_refused());
}

/* ---- norm over channels ---- */
static void test_channel_norm(int64_t rows, int64_t c, int silu, kg_dtype type, kg_dtype act)
{
    ops_machine m = ops_open(2, (size_t)64 << 20);
    uint64_t seed = 5;
    kg_tensor in = ops_rows(m.x, act, rows, c, 0, &seed), gamma = ops_vector(m.x, type, c, &seed), out = ops_out(m.x, act, rows, c, 0);
    for (int64_t i = 0; i < c; ++i)
        ops_put(&in, i, 0);            /* a row of zeros stays zero */
    double *want = malloc((size_t)(rows * c) * sizeof *want);
    for (int64_t r = 0; r < rows; ++r) {
        double sum = 0;
        for (int64_t i = 0; i < c; ++i)
            sum += ops_get(&in, r, i) * ops_get(&in, r, i);
        for (int64_t i = 0; i < c; ++i) {
            double n = ops_get(&in, r, i) / fmax(sqrt(sum), 1e-12) * sqrt((double)c) * ops_get(&gamma, 0, i);
            want[r * c + i] = silu ? n / (1 + exp(-n)) : n;
        }
    }
    OPS_RUN(kg_channel_norm(m.x, (kg_channel_norm_args){.out = out, .in = in, .gamma = gamma, .silu = silu}));
    double error = ops_error(&out, want);
    CHECK(error < bound(act, 3e-7), "c %d silu %d gamma %s frames %s: %g", (int)c, silu, kg_dtype_name(type), kg_dtype_name(act), error);
    int64_t kept = rows / 3;
    kg_tensor also = ops_out(m.x, act, kept, c, 0), last = kg_slice(out, rows - kept, kept);
    OPS_RUN(kg_channel_norm(m.x, (kg_channel_norm_args){.out = in, .in = in, .gamma = gamma, .also = also, .silu = silu}));
    CHECK(!memcmp(ops_host(&in), ops_host(&out), kg_bytes(&out)), "in place differs");
    CHECK(!memcmp(ops_host(&also), ops_host(&last), kg_bytes(&last)), "the copy of the last rows differs");
    free(want);
    ops_close(&m);
}

/* ---- layouts ---- */
static void test_latent_frames(kg_dtype act)
{
    ops_machine m = ops_open(2, (size_t)16 << 20);
    uint64_t seed = 9;
    kg_exec *x = m.x;
    kg_tensor latent = frames(x, KG_F32, 5, 4, 3, 7, &seed), out = empty(x, act, 2, 3, 7, 5), back = empty(x, KG_F32, 5, 4, 3, 7);
    kg_tensor scale = ops_vector(x, KG_F32, 5, &seed), shift = ops_vector(x, KG_F32, 5, &seed);
    double within = act == KG_F32 ? 1e-6 : act == KG_F16 ? 1e-3 : 8e-3;
    OPS_RUN(kg_latent_frames(x, (kg_latent_frames_args){.latent = latent, .frames = out, .first = 1, .scale = scale, .shift = shift}));
    double *l = values(&latent), *f = values(&out), *s = values(&scale), *h = values(&shift);
    for (int c = 0; c < 5; ++c)
        for (int t = 0; t < 2; ++t)
            for (int i = 0; i < 21; ++i) {
                double want = l[(c * 4 + t + 1) * 21 + i] * s[c] + h[c], got = f[(t * 21 + i) * 5 + c];
                CHECK(fabs(want - got) <= within, "channel %d frame %d pixel %d: %g, not %g", c, t, i, got, want);
            }
    for (int c = 0; c < 5; ++c) {
        ops_put(&shift, c, (float)(-h[c] / s[c]));
        ops_put(&scale, c, (float)(1 / s[c]));
    }
    copy_values(&back, &latent);
    OPS_RUN(kg_latent_frames(x, (kg_latent_frames_args){.latent = back, .frames = out, .first = 1, .to_latent = 1, .scale = scale,
        .shift = shift}));
    double error = ops_error(&back, l);
    CHECK(error < 10 * within, "%g", error);
    free(l), free(f), free(s), free(h);
    ops_close(&m);
}

/* ---- pixels ---- */
static void test_pixels(void)
{
    static const float in[10] = {-3, -1, -0.5f, 0, 0.5f, 1, 3, 0.0039f, 0.0040f, -0.999f};
    static const uint8_t cut[10] = {0, 0, 63, 127, 191, 255, 255, 127, 128, 0}, rounded[10] = {0, 0, 64, 128, 191, 255, 255, 128, 128, 0};
    ops_machine m = ops_open(2, (size_t)16 << 20);
    kg_exec *x = m.x;
    kg_tensor f = kg_temp(x, KG_F32, KG_SHAPE(1, 10, 1)), u = kg_temp(x, KG_U8, KG_SHAPE(1, 10, 1));
    memcpy(ops_host(&f), in, sizeof in);
    OPS_RUN(kg_pixels(x, (kg_pixels_args){.f = f, .u = u}));
    CHECK(!memcmp(ops_host(&u), cut, sizeof cut));
    OPS_RUN(kg_pixels(x, (kg_pixels_args){.f = f, .u = u, .rounded = 1}));
    CHECK(!memcmp(ops_host(&u), rounded, sizeof rounded));
    kg_tensor bytes = kg_temp(x, KG_U8, KG_SHAPE(256, 33, 1));
    uint8_t *b = ops_host(&bytes);
    for (int i = 0; i < 256 * 33; ++i)
        b[i] = (uint8_t)i;
    for (int k = 0; k < 3; ++k) {      /* bf16 steps near 1 are half of a byte's, f16's far less */
        kg_tensor all = kg_temp(x, types[k], bytes.rank, bytes.shape);
        OPS_RUN(kg_pixels(x, (kg_pixels_args){.f = all, .u = bytes, .to_float = 1}));
        for (int i = 0; i < 256 && types[k] == KG_F32; ++i)
            CHECK(OPS_F32(all)[i] == (float)i / 255.0f * 2 - 1, "%d became %g", i, OPS_F32(all)[i]);
        memset(b, 77, 256 * 33);
        OPS_RUN(kg_pixels(x, (kg_pixels_args){.f = all, .u = bytes, .rounded = 1}));
        for (int i = 0; i < 256 * 33; ++i)
            CHECK(b[i] == (uint8_t)i, "%d became %d", i % 256, b[i]);
    }
    ops_close(&m);
}

/* What our own loops write on the CPU, per instruction set: another value needs another KG_EPOCH (kernels/kernel.h). */
static void test_checksums(kg_isa isa)
{
    static const uint64_t committed[KG_ISAS][4] = {   /* table */
        {0x5781863c912cc227, 0xd3328d135a88de1e, 0xb923483ceaacae5c, 0xeda0526a4c1248d0},
        {0x3738a94d8e264b4b, 0x9b8f2be62452a207, 0x2ddae3ffa3170df7, 0xf42d11af79eba149},
        {0x3738a94d8e264b4b, 0x9b8f2be62452a207, 0x2ddae3ffa3170df7, 0xf42d11af79eba149}};
    static const char *const names[4] = {"F(2x2)", "F(4x4)", "gather", "channel_norm"};
    ops_machine m = ops_open(2, (size_t)64 << 20);
    kg_exec *x = m.x;
    uint64_t seed = 11;
    for (int i = 0; i < 4; ++i) {
        int64_t side = i == 1 ? 64 : 9, k = i == 2 ? 1 : 3;
        kg_tensor in = frames(x, KG_F32, 1, side, side, 20, &seed), w = ops_rows(x, KG_F32, 48, 60 * k * k, 0, &seed);
        kg_tensor out = frames(x, KG_F32, 1, side, side, 40, &seed), gamma = ops_vector(x, KG_F32, 20, &seed);
        kg_tensor history = frames(x, KG_F32, 2, side, side, 20, &seed), bias = ops_vector(x, KG_F32, 40, &seed);
        if (i < 3)
            kg_conv(x, (kg_conv_args){.out = out, .in = in, .history = history, .weight = w, .bias = bias, .kt = 3, .kh = (int)k,
                .kw = (int)k});
        else
            kg_channel_norm(x, (kg_channel_norm_args){.out = out = in, .in = in, .gamma = gamma, .silu = 1});
        uint64_t h = kg_checksum(out.at, kg_bytes(&out));
        CHECK(h == committed[isa][i], "%s on %s is now 0x%016llx", names[i], kg_cpu_isa_name(isa), (unsigned long long)h);
    }
    ops_close(&m);
}

static void test_refusals(void)
{
    ops_machine m = ops_open(1, (size_t)16 << 20);
    uint64_t seed = 1;
    kg_tensor in = frames(m.x, KG_F32, 1, 4, 4, 16, &seed), out = frames(m.x, KG_F32, 1, 4, 5, 16, &seed);
    kg_tensor other = frames(m.x, KG_F16, 1, 4, 4, 16, &seed);
    kg_tensor w = ops_rows(m.x, KG_F32, 16, 16 * 9, 0, &seed);
    const kg_conv_args bad[] = {{.out = out, .in = in, .weight = w, .kt = 1, .kh = 3, .kw = 3},
        {.out = other, .in = in, .weight = w, .kt = 1, .kh = 3, .kw = 3},
        {.out = in, .in = in, .history = in, .joined = 1, .weight = w, .kt = 1, .kh = 3, .kw = 3}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; ++i) {
        kg_conv(m.x, bad[i]);
        CHECK(kg_error_last()->status == KG_FAILED && strstr(kg_error_last()->message, "conv"), "%s", kg_error_last()->message);
        kg_error_clear();
    }
    ops_close(&m);
}

int main(void)
{
    for (int isa = ops_on_card() ? (int)kg_cpu_isa() : KG_ISA_PORTABLE; isa <= ops_lesser_isas() || ops_on_card(); ++isa) {
        kg_cpu_isa_limit((kg_isa)isa);
        test_convs();
        for (int k = 0; k < 3; ++k) {
            test_channel_norm(37, 96, 1, KG_F32, types[k]);
            test_channel_norm(1000, 20, 1, KG_BF16, types[k]);
            test_channel_norm(5, 3, 0, KG_F16, types[k]);
            test_channel_norm(70, 192, 0, KG_F16, types[k]);
            test_channel_norm(1003, 384, 1, KG_BF16, types[k]);
            test_latent_frames(types[k]);
        }
        test_pixels();
        if (ops_on_card())
            break;
        test_checksums((kg_isa)isa);
        kg_cpu_isa_limit(KG_ISA_AVX512);
    }
    test_refusals();
    return TEST_END();
}
