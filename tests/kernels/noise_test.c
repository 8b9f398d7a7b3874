/* Noise is bit-equal to torch's: values of torch 2.13 (CPU, AVX2 or better), torch.randn(n, generator=torch.Generator()
 * .manual_seed(seed)): the first three and XXH3-64 of all. On every instruction set, with one and two threads. */
#include "core/key.h"
#include "kernels/philox.h"
#include "tests/kernels/ops_test.h"

static const struct { uint64_t seed; int64_t n; float first[3]; uint64_t hash; } golden[] = {   /* table */
    {UINT64_C(0), 1, {0x1.8a7eb8p+0f}, UINT64_C(0x15b59de9445dbcca)},
    {UINT64_C(7), 15, {-0x1.2ca2e8p-3f, 0x1.92811cp-1f, 0x1.e4c5cep-1f}, UINT64_C(0xc51ddb85d53d33fe)},
    {UINT64_C(18446744073709551615), 15, {0x1.384264p+0f, -0x1.926936p-2f, 0x1.05e840p+0f}, UINT64_C(0xf85e543c5a91b238)},
    {UINT64_C(42), 16, {0x1.ed4a52p+0f, 0x1.7cbea6p+0f, 0x1.cd2acep-1f}, UINT64_C(0x935dde8f25f7f87e)},
    {UINT64_C(42), 17, {0x1.ed4a52p+0f, -0x1.46db0ap-3f, -0x1.fd55c8p-2f}, UINT64_C(0x7793885de0ac5dc9)},
    {UINT64_C(1), 31, {-0x1.868d74p+0f, -0x1.801e62p-1f, -0x1.4ed696p-1f}, UINT64_C(0xa1d03810d3b8dc05)},
    {UINT64_C(3), 33, {-0x1.39ef5ep-4f, 0x1.7084c8p-2f, -0x1.906482p-1f}, UINT64_C(0xaa487a6debde7f11)},
    {UINT64_C(18446744073709551615), 1000, {-0x1.5507b4p+1f, -0x1.174ef6p+0f, 0x1.ce483cp-2f}, UINT64_C(0x3297116df3dbaec0)},
    {UINT64_C(8589934597), 100003, {0x1.d7a2eep+0f, 0x1.09ab94p-1f, -0x1.b6407ap+0f}, UINT64_C(0x007fbc9cd9589573)},
    {UINT64_C(1234), 27000001, {-0x1.c99968p-4f, -0x1.fc821ep-2f, 0x1.4df996p-3f}, UINT64_C(0xb737283e6777fb77)},
    {UINT64_C(9223372036854775808), 65536, {-0x1.20370ap+0f, -0x1.270114p+0f, -0x1.0097acp-2f}, UINT64_C(0xdc997a54d129d003)},
};

static void check(size_t i, int threads)
{
    ops_machine m = ops_open(threads, (size_t)golden[i].n * 4 + 4096);
    kg_tensor out = kg_temp(m.x, KG_F32, KG_SHAPE(golden[i].n));
    OPS_RUN(kg_noise(m.x, (kg_noise_args){.out = out, .seed = golden[i].seed}));
    CHECK(kg_error_last()->status == KG_OK, "%s", kg_error_last()->message);
    for (int64_t k = 0; k < 3 && k < golden[i].n; ++k)
        CHECK(OPS_F32(out)[k] == golden[i].first[k], "seed %llu, %lld numbers, number %d: %a", (unsigned long long)golden[i].seed,
              (long long)golden[i].n, (int)k, (double)OPS_F32(out)[k]);
    uint64_t hash = kg_checksum(ops_host(&out), kg_bytes(&out));
    CHECK(hash == golden[i].hash, "%s, seed %llu, %lld numbers: checksum %016llx", kg_cpu_isa_name(kg_cpu_isa()),
          (unsigned long long)golden[i].seed, (long long)golden[i].n, (unsigned long long)hash);
    ops_close(&m);
}

/* The generator for cards. Its integers are Random123's known answers; its normals, at a few places, are what f64 makes of them (the
 * card's sine and cosine are good to 2^-21). */
static void for_cards(int64_t n, int blocks, int threads)
{
    static const struct { uint64_t seed, round, thread; uint32_t want[4]; } known[] = {
        {0, 0, 0, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {~UINT64_C(0), ~UINT64_C(0), ~UINT64_C(0), {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {UINT64_C(0x299f31d0a4093822), UINT64_C(0x85a308d3243f6a88), UINT64_C(0x0370734413198a2e),
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}}};
    for (size_t i = 0; i < sizeof known / sizeof *known; ++i) {
        kg_philox d = kg_philox_draw(known[i].seed, known[i].round, known[i].thread);
        CHECK(!memcmp(d.v, known[i].want, sizeof d.v), "known answer %d", (int)i);
    }
    ops_machine m = ops_open(threads, (size_t)n * 4 + 4096);
    uint64_t seed = UINT64_C(0x123456789abcdef);
    kg_tensor out = ops_out(m.x, KG_F32, 1, n, 0);
    OPS_RUN(kg_noise(m.x, (kg_noise_args){.out = out, .seed = seed, .blocks = blocks}));
    CHECK(kg_error_last()->status == KG_OK, "%s", kg_error_last()->message);
    int64_t grid = (n + 255) / 256 < blocks ? (n + 255) / 256 * 256 : (int64_t)blocks * 256;
    double most = 0;
    for (int64_t i = 0; i < n; ++i) {
        int64_t round = i / (4 * grid), quarter = i / grid % 4, thread = i % grid;
        kg_philox d = kg_philox_draw(seed, (uint64_t)round, (uint64_t)thread);
        float u = (float)d.v[quarter & 2] * 0x1p-32f + 0x1p-33f;       /* near 1 its rounding is what counts */
        double v = (d.v[quarter | 1] + 0.5) * 0x1p-32 * 2 * M_PI;
        double want = sqrt(-2 * log((double)u)) * (quarter & 1 ? cos(v) : sin(v)), off = fabs(OPS_F32(out)[i] - want);
        most = off > most || off != off ? off : most;
    }
    CHECK(most < 2e-5, "%lld numbers of %d blocks: one is off by %g", (long long)n, blocks, most);
    ops_close(&m);
}

int main(void)
{
    for (int threads = 1; threads <= 2; ++threads) {
        for_cards(5, 1056, threads);
        for_cards(100003, 7, threads);
        for_cards(300000, KG_NOISE_BLOCKS, threads);
    }
    int best = ops_lesser_isas();
    for (int isa = KG_ISA_PORTABLE; isa <= best; ++isa) {
        if (!ops_on_card())
            kg_cpu_isa_limit((kg_isa)isa);
        for (size_t i = 0; i < sizeof golden / sizeof *golden; ++i)
            if ((isa == best || golden[i].n < 1000000) && !ops_too_large(golden[i].n)) {
                check(i, 1);
                check(i, 2);
            }
    }
    return TEST_END();
}
