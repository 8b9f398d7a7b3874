/* latent.noise: whose generator draws it, and that what the draw depends on is in the key. */
#include "tests/nodes/golden_run.h"

enum { COUNT = 4 * 2 * 6 * 10 };

static int add(session *s, const char *rng, int64_t blocks)
{
    return ADD(s, "latent.noise", arg_int("channels", 4), arg_int("frames", 2), arg_int("height", 6), arg_int("width", 10),
               arg_int("seed", 7), arg_text("rng", rng), arg_int("rng_blocks", blocks));
}

/* What the kernel itself writes. */
static float *drawn(int blocks)
{
    kg_device *d = test_device(0);
    kg_exec *x = kg_eager_new(d, 1 << 20);
    kg_tensor t = kg_temp(x, KG_F32, KG_SHAPE(COUNT));
    kg_noise(x, (kg_noise_args){.out = t, .seed = 7, .blocks = blocks});
    float *f = test_fetch(d, &t);
    kg_eager_free(x);
    kg_device_free(d);
    return f;
}

int main(void)
{
    static const struct { const char *rng; int64_t blocks; int kernel; } forms[] = {
        {"torch_cpu", 1056, 0}, {"torch_cuda", 1056, 1056}, {"torch_cuda", 1, 1}};
    session s;
    kg_key key[3];
    float *got[3];
    session_open(&s, "/tmp");
    for (int i = 0; i < 3; ++i) {
        int64_t n = 0;
        int node = add(&s, forms[i].rng, forms[i].blocks);
        float *want = drawn(forms[i].kernel);
        key[i] = kg_graph_key(s.graph, node, 0, 0);
        got[i] = session_run(&s, node, 0, &n);
        CHECK(got[i] && n == COUNT && !memcmp(got[i], want, COUNT * sizeof *want), "%s, %d blocks", forms[i].rng, (int)forms[i].blocks);
        for (int k = 0; k < i; ++k)
            CHECK(!kg_key_equal(&key[i], &key[k]) && memcmp(got[i], got[k], COUNT * sizeof(float)), "%d and %d are one", i, k);
        free(want);
    }
    for (int i = 0; i < 3; ++i)
        free(got[i]);
    session_close(&s);
    return TEST_END();
}
