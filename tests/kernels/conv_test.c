/* Convolution, norm over channels, layouts and pixels against plain sums in float64, on every instruction set that the machine
 * has, with bits that do not depend on the number of threads. */
#include "core/key.h"
#include "kernels/cpu/cpu.h"
#include "tests/test.h"

static uint64_t seed = 7;

static kg_tensor fill(kg_exec *x, int rank, const int64_t *shape)
{
    kg_tensor t = kg_temp(x, KG_F32, rank, shape);
    for (int64_t i = 0; i < kg_count(&t); ++i)
        ((float *)t.at)[i] = test_uniform(&seed);
    return t;
}

/* The same numbers with the precision of the type. */
static kg_tensor narrow(kg_exec *x, kg_tensor from, kg_dtype type)
{
    kg_tensor t = kg_temp(x, type, from.rank, from.shape);
    float *f = from.at;
    for (int64_t i = 0; i < kg_count(&t); ++i) {
        union { float f; uint32_t u; } u = {f[i]};
        if (type == KG_F32) {
            ((float *)t.at)[i] = f[i];
        } else if (type == KG_BF16) {
            ((uint16_t *)t.at)[i] = (uint16_t)(u.u >> 16);
            u.u &= 0xffff0000u;
        } else {       /* f16 of a value in [2^-14, 1): 10 bits of fraction */
            u.u = (u.u & 0x7fffffff) < 0x38800000 ? 0 : u.u & 0xffffe000u;
            ((uint16_t *)t.at)[i] = (uint16_t)(u.u ? (u.u >> 16 & 0x8000) | ((u.u >> 13 & 0x3ffff) - (112 << 10)) : 0);
        }
        f[i] = u.f;
    }
    return t;
}

typedef struct conv_case {
    int64_t t, h, w, in, out;
    int kt, k, history, stride_t, stride_hw, upsample, split, bias, add;
    kg_dtype type;     /* of weight and bias */
} conv_case;

static float at(const kg_conv_args *a, int64_t f, int64_t y, int64_t x, int64_t c)
{
    int64_t history = a->history.rank ? a->history.shape[0] : 0, h = a->in.shape[1], w = a->in.shape[2], n = a->in.shape[3];
    int up = a->upsample ? 1 : 0;
    if (f < 0 || y < 0 || x < 0 || y >= h << up || x >= w << up)
        return 0;
    const float *frame = f < history ? (const float *)a->history.at + f * h * w * n : (const float *)a->in.at + (f - history) * h * w * n;
    return frame[((y >> up) * w + (x >> up)) * n + c];
}

static void reference(const kg_conv_args *a, const float *weight, const float *bias, const float *add, float *out)
{
    int64_t history = a->history.rank ? a->history.shape[0] : 0, zeros = a->stride_t == 1 ? a->kt - 1 - history : 0;
    int64_t n = a->out.shape[3], in = a->in.shape[3], halves = a->split ? 2 : 1, i = 0;
    int pad = a->kh == 3 && a->stride_hw == 1;
    for (int64_t f = 0; f < a->out.shape[0]; ++f)
        for (int64_t y = 0; y < a->out.shape[1]; ++y)
            for (int64_t x = 0; x < a->out.shape[2]; ++x)
                for (int64_t o = 0; o < n; ++o, ++i) {
                    int64_t channel = f % halves * n + o;
                    double sum = bias ? bias[channel] : 0;
                    const float *w = weight + channel * in * a->kt * a->kh * a->kw;
                    for (int64_t c = 0; c < in; ++c)
                        for (int kt = 0; kt < a->kt; ++kt)
                            for (int ky = 0; ky < a->kh; ++ky)
                                for (int kx = 0; kx < a->kw; ++kx)
                                    sum += (double)*w++ * at(a, f / halves * a->stride_t + kt - zeros, y * a->stride_hw + ky - pad,
                                                             x * a->stride_hw + kx - pad, c);
                    out[i] = (float)(sum + (add ? add[i] : 0));
                }
}

/* f32 values of t. */
static kg_tensor widen(kg_exec *x, kg_tensor t)
{
    kg_tensor wide = kg_temp(x, KG_F32, t.rank, t.shape);
    kg_unary(x, (kg_unary_args){.out = wide, .in = t, .op = KG_UNARY_COPY});
    return wide;
}

/* Arguments with frames of type act; what they hold is rounded in a's frames too. */
static kg_conv_args with_frames(kg_exec *x, kg_conv_args *a, kg_dtype act)
{
    kg_conv_args b = *a;
    b.in = narrow(x, a->in, act);
    b.out = narrow(x, a->out, act);
    if (a->history.rank)
        b.history = narrow(x, a->history, act);
    if (a->add.rank)
        b.add = b.out;
    return b;
}

static void test_conv(const conv_case *c, kg_dtype act, int threads)
{
    kg_device *d = kg_cpu_new(threads), *one = kg_cpu_new(1);
    kg_exec *x = kg_eager_new(d, (size_t)1 << 30), *y = kg_eager_new(one, (size_t)1 << 28);
    kg_tensor in = fill(x, KG_SHAPE(c->t, c->h, c->w, c->in)), plain = fill(x, KG_SHAPE(c->out, c->in, c->kt, c->k, c->k));
    kg_tensor weight = narrow(x, plain, c->type), packed = kg_temp(x, c->type, KG_SHAPE(kg_conv_padded(c->out), c->in, c->kt, c->k, c->k));
    kg_conv_args a = {.in = in, .weight = packed, .kt = c->kt, .kh = c->k, .kw = c->k, .stride_t = c->stride_t,
        .stride_hw = c->stride_hw, .upsample = c->upsample, .split = c->split};
    int64_t t = c->stride_t == 1 ? c->t : (c->t + c->history - c->kt) / 2 + 1, h = c->h * (c->upsample ? 2 : 1) / c->stride_hw;
    int64_t w = c->w * (c->upsample ? 2 : 1) / c->stride_hw;
    int halves = c->split ? 2 : 1;
    if (c->history)
        a.history = fill(x, KG_SHAPE(c->history, c->h, c->w, c->in));
    kg_tensor bias = fill(x, KG_SHAPE(c->out));
    if (c->bias)
        a.bias = narrow(x, bias, c->type);
    a.out = fill(x, KG_SHAPE(t * halves, h, w, c->out / halves));
    if (c->add)
        a.add = a.out;
    kg_conv_pack(x, (kg_conv_pack_args){.out = packed, .in = weight});
    kg_conv_args b = with_frames(x, &a, act);
    kg_tensor again = kg_temp(x, act, b.out.rank, b.out.shape), want = kg_temp(x, KG_F32, a.out.rank, a.out.shape);
    memcpy(again.at, b.out.at, kg_bytes(&again));
    reference(&a, plain.at, c->bias ? bias.at : NULL, c->add ? a.add.at : NULL, want.at);
    kg_conv(x, b);
    kg_tensor out = widen(x, b.out);
    double error = test_error(out.at, want.at, kg_count(&want));
    CHECK(kg_error_last()->status == KG_OK, "%s", kg_error_last()->message);
    CHECK(error < (act == KG_F32 ? 2e-6 : act == KG_F16 ? 4e-4 : 3e-3),
          "%s: t %d h %d w %d in %d out %d kt %d k %d history %d type %d act %d: error %g", kg_cpu_isa_name(kg_cpu_isa()), (int)c->t,
          (int)c->h, (int)c->w, (int)c->in, (int)c->out, c->kt, c->k, c->history, c->type, act, error);
    out = b.out;
    b.out = again;
    b.add = c->add ? again : b.add;
    kg_conv(y, b);
    CHECK(!memcmp(out.at, again.at, kg_bytes(&out)), "bits depend on the number of threads");
    kg_eager_free(x);
    kg_eager_free(y);
    kg_device_free(d);
    kg_device_free(one);
}

static void test_convs(void)
{
    static const conv_case cases[] = {      /* table */
        {1, 5, 7, 16, 16, 3, 3, 0, 1, 1, 0, 0, 1, 0, KG_F32},  {1, 5, 7, 20, 33, 3, 3, 1, 1, 1, 0, 0, 1, 1, KG_F32},
        {4, 6, 9, 16, 3, 3, 3, 2, 1, 1, 0, 0, 1, 0, KG_F32},   {2, 6, 4, 3, 48, 3, 3, 2, 1, 1, 0, 0, 0, 0, KG_BF16},
        {3, 4, 4, 17, 40, 3, 3, 0, 1, 1, 0, 0, 1, 1, KG_F16},  {1, 1, 1, 16, 16, 3, 3, 2, 1, 1, 0, 0, 1, 0, KG_F32},
        {2, 33, 31, 48, 96, 3, 3, 2, 1, 1, 0, 0, 1, 1, KG_F32},{4, 40, 24, 32, 16, 3, 3, 1, 1, 1, 0, 0, 1, 0, KG_BF16},
        {2, 5, 3, 32, 16, 1, 3, 0, 1, 1, 1, 0, 1, 0, KG_F32},  {2, 20, 21, 32, 16, 1, 3, 0, 1, 1, 1, 0, 1, 0, KG_F16},
        {2, 6, 8, 16, 16, 1, 3, 0, 1, 2, 0, 0, 1, 0, KG_F32},  {1, 7, 9, 24, 20, 1, 3, 0, 1, 2, 0, 0, 1, 0, KG_F16},
        {2, 6, 8, 16, 32, 3, 1, 2, 1, 1, 0, 1, 1, 0, KG_F32},  {1, 3, 5, 10, 20, 3, 1, 0, 1, 1, 0, 1, 1, 0, KG_BF16},
        {4, 3, 5, 16, 16, 3, 1, 1, 2, 1, 0, 0, 1, 0, KG_F32},  {2, 9, 11, 16, 24, 1, 1, 0, 1, 1, 0, 0, 1, 1, KG_F32},
        {1, 64, 5, 3, 96, 3, 3, 0, 1, 1, 0, 0, 1, 0, KG_F32},  {1, 70, 64, 24, 144, 3, 3, 2, 1, 1, 0, 0, 1, 0, KG_F32}};
    for (int isa = KG_ISA_PORTABLE; isa < KG_ISAS; ++isa) {
        kg_cpu_isa_limit((kg_isa)isa);
        if (kg_cpu_isa() != (kg_isa)isa)
            continue;
        for (size_t i = 0; i < sizeof cases / sizeof *cases; ++i)
            for (int act = KG_F32; act <= KG_BF16; ++act)
                test_conv(&cases[i], (kg_dtype)act, 3);
    }
}

static void test_channel_norm(kg_exec *x, int64_t rows, int64_t c, int silu, kg_dtype type, kg_dtype act)
{
    kg_tensor in = fill(x, KG_SHAPE(rows, c)), gamma = fill(x, KG_SHAPE(c)), out = kg_temp(x, act, KG_SHAPE(rows, c));
    kg_tensor stored = narrow(x, gamma, type), want = kg_temp(x, KG_F32, KG_SHAPE(rows, c));
    memset(in.at, 0, (size_t)c * sizeof(float));       /* a row of zeros stays zero */
    kg_tensor frames = narrow(x, in, act);
    for (int64_t r = 0; r < rows; ++r) {
        const float *v = (float *)in.at + r * c;
        double sum = 0;
        for (int64_t i = 0; i < c; ++i)
            sum += (double)v[i] * v[i];
        for (int64_t i = 0; i < c; ++i) {
            double n = v[i] / fmax(sqrt(sum), 1e-12) * sqrt((double)c) * ((float *)gamma.at)[i];
            ((float *)want.at)[r * c + i] = (float)(silu ? n / (1 + exp(-n)) : n);
        }
    }
    kg_channel_norm(x, (kg_channel_norm_args){.out = out, .in = frames, .gamma = stored, .silu = silu});
    double error = test_error(widen(x, out).at, want.at, rows * c);
    CHECK(error < (act == KG_F32 ? 3e-7 : act == KG_F16 ? 4e-4 : 3e-3), "c %d silu %d act %d: %g", (int)c, silu, act, error);
    kg_channel_norm(x, (kg_channel_norm_args){.out = frames, .in = frames, .gamma = stored, .silu = silu});
    CHECK(!memcmp(frames.at, out.at, kg_bytes(&out)), "in place differs");
}

static void test_latent_frames(kg_exec *x, kg_dtype act)
{
    kg_tensor latent = fill(x, KG_SHAPE(5, 4, 3, 7)), frames = kg_temp(x, act, KG_SHAPE(2, 3, 7, 5));
    double within = act == KG_F32 ? 1e-6 : act == KG_F16 ? 1e-3 : 8e-3;
    kg_tensor scale = fill(x, KG_SHAPE(5)), shift = fill(x, KG_SHAPE(5)), back = fill(x, latent.rank, latent.shape);
    kg_latent_frames(x, (kg_latent_frames_args){.latent = latent, .frames = frames, .first = 1, .scale = scale, .shift = shift});
    kg_tensor wide = widen(x, frames);
    const float *l = latent.at, *f = wide.at, *s = scale.at, *h = shift.at;
    for (int c = 0; c < 5; ++c)
        for (int t = 0; t < 2; ++t)
            for (int i = 0; i < 21; ++i) {
                float want = l[(c * 4 + t + 1) * 21 + i] * s[c] + h[c], got = f[(t * 21 + i) * 5 + c];
                CHECK(fabsf(want - got) <= within, "channel %d frame %d pixel %d: %g, not %g", c, t, i, got, want);
            }
    for (int c = 0; c < 5; ++c) {
        ((float *)shift.at)[c] = -h[c] / s[c];
        ((float *)scale.at)[c] = 1 / s[c];
    }
    memcpy(back.at, latent.at, kg_bytes(&latent));
    kg_latent_frames(x, (kg_latent_frames_args){.latent = back, .frames = frames, .first = 1, .to_latent = 1, .scale = scale,
        .shift = shift});
    CHECK(test_error(back.at, latent.at, kg_count(&latent)) < 10 * within, "%g", test_error(back.at, latent.at, kg_count(&latent)));
}

static void test_pixels(kg_exec *x)
{
    static const float in[10] = {-3, -1, -0.5f, 0, 0.5f, 1, 3, 0.0039f, 0.0040f, -0.999f};
    static const uint8_t cut[10] = {0, 0, 63, 127, 191, 255, 255, 127, 128, 0}, rounded[10] = {0, 0, 64, 128, 191, 255, 255, 128, 128, 0};
    kg_tensor f = kg_temp(x, KG_F32, KG_SHAPE(1, 10, 1)), u = kg_temp(x, KG_U8, KG_SHAPE(1, 10, 1));
    memcpy(f.at, in, sizeof in);
    kg_pixels(x, (kg_pixels_args){.f = f, .u = u});
    CHECK(!memcmp(u.at, cut, sizeof cut));
    kg_pixels(x, (kg_pixels_args){.f = f, .u = u, .rounded = 1});
    CHECK(!memcmp(u.at, rounded, sizeof rounded));
    kg_tensor all = kg_temp(x, KG_F32, KG_SHAPE(256, 1, 1)), bytes = kg_temp(x, KG_U8, KG_SHAPE(256, 1, 1));
    for (int i = 0; i < 256; ++i)
        ((uint8_t *)bytes.at)[i] = (uint8_t)i;
    kg_pixels(x, (kg_pixels_args){.f = all, .u = bytes, .to_float = 1});
    CHECK(((float *)all.at)[0] == -1.0f && ((float *)all.at)[255] == 1.0f && ((float *)all.at)[51] == 51 / 255.0f * 2 - 1);
    kg_pixels(x, (kg_pixels_args){.f = all, .u = bytes, .rounded = 1});
    for (int i = 0; i < 256; ++i)
        CHECK(((uint8_t *)bytes.at)[i] == i, "%d became %d", i, ((uint8_t *)bytes.at)[i]);
    for (int type = KG_F16; type <= KG_BF16; ++type) {     /* bf16 steps near 1 are half of a byte's, f16's far less */
        kg_tensor half = kg_temp(x, (kg_dtype)type, all.rank, all.shape);
        kg_pixels(x, (kg_pixels_args){.f = half, .u = bytes, .to_float = 1});
        kg_pixels(x, (kg_pixels_args){.f = half, .u = bytes, .rounded = 1});
        for (int i = 0; i < 256; ++i)
            CHECK(((uint8_t *)bytes.at)[i] == i, "%d became %d", i, ((uint8_t *)bytes.at)[i]);
    }
}

/* What our own loops write, per instruction set: another value needs another KG_EPOCH (kernels/kernel.h). */
static void test_checksums(kg_exec *x, kg_isa isa)
{
    static const uint64_t committed[KG_ISAS][4] = {   /* table */
        {0x5781863c912cc227, 0xd3328d135a88de1e, 0xb923483ceaacae5c, 0xeda0526a4c1248d0},
        {0x3738a94d8e264b4b, 0x9b8f2be62452a207, 0x2ddae3ffa3170df7, 0xf42d11af79eba149},
        {0x3738a94d8e264b4b, 0x9b8f2be62452a207, 0x2ddae3ffa3170df7, 0xf42d11af79eba149}};
    static const char *const names[4] = {"F(2x2)", "F(4x4)", "gather", "channel_norm"};
    seed = 11;
    for (int i = 0; i < 4; ++i) {
        int64_t side = i == 1 ? 64 : 9, k = i == 2 ? 1 : 3;
        kg_tensor in = fill(x, KG_SHAPE(1, side, side, 20)), w = fill(x, KG_SHAPE(48, 20, 3, k, k));
        kg_tensor out = fill(x, KG_SHAPE(1, side, side, 40));
        kg_tensor gamma = fill(x, KG_SHAPE(20)), history = fill(x, KG_SHAPE(2, side, side, 20)), bias = fill(x, KG_SHAPE(40));
        if (i < 3)
            kg_conv(x, (kg_conv_args){.out = out, .in = in, .history = history, .weight = w, .bias = bias, .kt = 3, .kh = (int)k,
                .kw = (int)k});
        else
            kg_channel_norm(x, (kg_channel_norm_args){.out = out = in, .in = in, .gamma = gamma, .silu = 1});
        uint64_t h = kg_checksum(out.at, kg_bytes(&out));
        CHECK(h == committed[isa][i], "%s on %s is now 0x%016llx", names[i], kg_cpu_isa_name(isa), (unsigned long long)h);
    }
}

static void test_refusals(kg_exec *x)
{
    kg_tensor in = fill(x, KG_SHAPE(1, 4, 4, 16)), out = fill(x, KG_SHAPE(1, 4, 5, 16)), w = fill(x, KG_SHAPE(16, 16, 1, 3, 3));
    kg_conv(x, (kg_conv_args){.out = out, .in = in, .weight = w, .kt = 1, .kh = 3, .kw = 3});
    CHECK(kg_error_last()->status == KG_FAILED && strstr(kg_error_last()->message, "conv"), "%s", kg_error_last()->message);
    kg_error_clear();
}

int main(void)
{
    test_convs();
    kg_device *d = kg_cpu_new(2);
    for (int isa = KG_ISA_PORTABLE; isa < KG_ISAS; ++isa) {
        kg_cpu_isa_limit((kg_isa)isa);
        kg_exec *x = kg_eager_new(d, (size_t)64 << 20);
        for (int act = KG_F32; act <= KG_BF16; ++act) {
            test_channel_norm(x, 37, 96, 1, KG_F32, (kg_dtype)act);
            test_channel_norm(x, 1000, 20, 1, KG_BF16, (kg_dtype)act);
            test_channel_norm(x, 5, 3, 0, KG_F16, (kg_dtype)act);
            test_latent_frames(x, (kg_dtype)act);
        }
        test_pixels(x);
        test_refusals(x);
        if (kg_cpu_isa() == (kg_isa)isa)
            test_checksums(x, (kg_isa)isa);
        kg_eager_free(x);
    }
    kg_device_free(d);
    return TEST_END();
}
