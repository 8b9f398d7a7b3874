/* Where a test runs. KG_TEST_DEVICE: "cpu" (or nothing) or "cuda". KG_TEST_PRECISION, for goldens: "f32" (or nothing), "bf16", "f16". */
#ifndef KG_TESTS_DEVICE_H
#define KG_TESTS_DEVICE_H

#include "kernels/kernel.h"
#include "tests/test.h"

static inline int test_on_card(void)
{
    const char *name = getenv("KG_TEST_DEVICE");
    return name && !strcmp(name, "cuda");
}

static kg_device *test_card_;      /* stays open to the end: starting one takes a while */

/* A device that was asked for and is not there is no finding: the test program ends. Threads are the CPU's; 0: all. */
static inline kg_device *test_device(int threads)
{
    kg_device *d = test_card_ ? test_card_ : test_on_card() ? kg_cuda_new(0) : kg_cpu_new(threads);
    if (!d) {
        fprintf(stderr, "no device: %s\n", kg_error_last()->message);
        exit(1);
    }
    test_card_ = d->host_memory ? NULL : d;
    return d;
}

static inline void test_device_free(kg_device *d)
{
    if (d != test_card_)
        kg_device_free(d);
}

static inline int test_precision(void)
{
    const char *name = getenv("KG_TEST_PRECISION");
    return !name || !*name || !strcmp(name, "f32") ? KG_PRECISION_F32 : !strcmp(name, "f16") ? KG_PRECISION_F16 : KG_PRECISION_BF16;
}

static inline kg_dtype test_act(void)
{
    static const kg_dtype act[] = {KG_F32, KG_F32, KG_BF16, KG_F16};
    return act[test_precision()];
}

/* The distance that is allowed where f32 is allowed `most`: 16-bit operands round at 2^-9 and 2^-12 each, through a VAE. A
 * test that asks for 16 bits itself says what is allowed there. */
static inline double test_most(double most)
{
    int p = test_precision();
    double least = p == KG_PRECISION_BF16 ? 2e-2 : p == KG_PRECISION_F16 ? 3e-3 : 0;
    return most > least ? most : least;
}

/* Bytes of a tensor on the host; malloc. */
static inline void *test_fetch(kg_device *d, const kg_tensor *t)
{
    void *out = malloc(kg_bytes(t) + 1);
    kg_status s = d->ops->fetch(d, KG_LANE_COMPUTE, out, t->at, kg_bytes(t));
    if (s == KG_OK)
        s = d->ops->sync(d, d->ops->record(d, KG_LANE_COMPUTE));
    CHECK(s == KG_OK, "fetch: %s", kg_error_last()->message);
    return out;
}

#endif
