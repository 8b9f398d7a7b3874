/* Noise is torch's, bit for bit (tools/golden/noise.py): counts around the block of 16, odd ones, and 27 million. */
#include "tests/device.h"
#include "tests/golden.h"

static void one(kg_exec *x, const golden *g, const char *seed, int64_t count)
{
    char name[64];
    kg_tensor t = kg_temp(x, KG_F32, 1, &count);
    kg_noise(x, (kg_noise_args){.out = t, .seed = strtoull(seed, NULL, 10)});
    float *got = test_fetch(kg_exec_device(x), &t);
    uint8_t digest[32];
    size_t bytes;
    int64_t edge = count < 24 ? count : 24, n;
    blake2b(digest, got, NULL, sizeof digest, (size_t)count * sizeof *got, 0);
    snprintf(name, sizeof name, "hash.%s.%lld", seed, (long long)count);
    CHECK(!memcmp(digest, golden_at(g, name, &bytes), sizeof digest), "seed %s, %lld values: other bits than torch",
          seed, (long long)count);
    for (int tail = 0; tail < 2; ++tail) {
        snprintf(name, sizeof name, "%s.%s.%lld", tail ? "tail" : "head", seed, (long long)count);
        const float *want = golden_f32(g, name, &n);
        golden_compare(g, name, got + (tail ? count - edge : 0), edge, 0);
        CHECK(n == edge && !memcmp(got + (tail ? count - edge : 0), want, (size_t)n * sizeof *want), "%s", name);
    }
    free(got);
    kg_eager_reset(x);
}

int main(void)
{
    golden g;
    golden_open(&g, "noise");
    kg_device *device = test_device(0);
    kg_exec *x = kg_eager_new(device, (size_t)27000013 * 4 + (1 << 20));
    cJSON *counts = cJSON_Parse(golden_meta(&g, "counts")), *seeds = cJSON_Parse(golden_meta(&g, "seeds")), *c, *s;
    cJSON_ArrayForEach(s, seeds) cJSON_ArrayForEach(c, counts)
    {
        char name[64];
        snprintf(name, sizeof name, "hash.%s.%.0f", s->valuestring, c->valuedouble);
        if (golden_has(&g, name))
            one(x, &g, s->valuestring, (int64_t)c->valuedouble);
    }
    cJSON_Delete(counts);
    cJSON_Delete(seeds);
    kg_eager_free(x);
    test_device_free(device);
    golden_close(&g);
    return TEST_END();
}
