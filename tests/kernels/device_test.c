/* The CPU device: every tile once whatever the number of workers, nothing after a cancel, the copy lane on its own thread alone, a
 * pool of memory, a profile that can be planned with, and refusals. */
#include "core/internal.h"
#include "tests/kernels/ops_test.h"

enum { TILES = 1000 };
typedef struct counts { atomic_int tile[TILES]; atomic_int worker[8]; kg_ctx *cancel_at_10; } counts;

static void count(void *arg, int64_t tile, int worker)
{
    counts *c = arg;
    atomic_fetch_add(&c->tile[tile], 1);
    atomic_fetch_add(&c->worker[worker], 1);
    if (c->cancel_at_10 && tile == 10)
        atomic_store(c->cancel_at_10->stop, 1);
}

static int sum(const counts *c, int *most)
{
    int n = 0;
    *most = 0;
    for (int i = 0; i < TILES; ++i) {
        int t = atomic_load(&c->tile[i]);
        n += t;
        *most = t > *most ? t : *most;
    }
    return n;
}

static void tiles(int threads)
{
    ops_machine m = ops_open(threads, 1 << 20);
    counts *c = calloc(1, sizeof *c);
    int most;
    for (int job = 0; job < 300; ++job)        /* short jobs, one after another: workers come late to many of them */
        kg_cpu_for(m.x, job % 7, count, c);
    for (int i = 0; i < 7; ++i) {              /* 42 rounds of jobs of 0 to 6 tiles, and jobs of 0 to 5 */
        int want = i < 6 ? 42 * (6 - i) + (5 - i) : 0, got = atomic_load(&c->tile[i]);
        CHECK(got == want, "%d threads, tile %d: %d times, not %d", threads, i, got, want);
    }
    memset(c, 0, sizeof *c);
    kg_cpu_for(m.x, TILES, count, c);
    CHECK(sum(c, &most) == TILES && most == 1, "%d threads", threads);
    memset(c, 0, sizeof *c);
    m.device->profile.threads = 1;             /* scratch is made for as many as the profile says */
    kg_cpu_for(m.x, TILES, count, c);
    CHECK(sum(c, &most) == TILES && most == 1 && atomic_load(&c->worker[0]) == TILES, "a profile of one thread");
    m.device->profile.threads = threads;
    memset(c, 0, sizeof *c);
    m.x->ctx->lane = KG_LANE_COPY;
    kg_cpu_for(m.x, TILES, count, c);
    CHECK(sum(c, &most) == TILES && most == 1 && atomic_load(&c->worker[0]) == TILES, "the copy lane is one thread");
    m.x->ctx->lane = KG_LANE_COMPUTE;
    memset(c, 0, sizeof *c);
    c->cancel_at_10 = m.x->ctx;
    kg_cpu_for(m.x, TILES, count, c);
    CHECK(sum(c, &most) < TILES && most == 1, "%d tiles of %d after a cancel at the tenth", sum(c, &most), TILES);
    free(c);
    ops_close(&m);
}

static void memory(void)
{
    kg_device *d = kg_cpu_new(1);
    void *base = NULL;
    char in[100], out[100] = "";
    memset(in, 7, sizeof in);
    CHECK(d->ops->reserve(d, (size_t)64 << 30, &base) == KG_OK && base, "untouched memory is free: %s", kg_error_last()->message);
    CHECK((uintptr_t)base % KG_ALIGN == 0);
    CHECK(d->ops->write(d, KG_LANE_COPY, (char *)base + 5, in, sizeof in) == KG_OK);
    CHECK(d->ops->fetch(d, KG_LANE_BACK, out, (char *)base + 5, sizeof out) == KG_OK && !memcmp(in, out, sizeof in));
    CHECK(d->ops->sync(d, d->ops->record(d, KG_LANE_COPY)) == KG_OK);
    CHECK(d->ops->wait(d, KG_LANE_COMPUTE, d->ops->record(d, KG_LANE_COPY)) == KG_OK);
    void *host = d->ops->host_alloc(d, sizeof in);
    CHECK(host && d->ops->fetch(d, KG_LANE_COMPUTE, host, (char *)base + 5, sizeof in) == KG_OK && !memcmp(in, host, sizeof in));
    d->ops->host_free(d, host);
    d->ops->host_free(d, NULL);
    d->ops->release(d);
    CHECK(d->ops->reserve(d, SIZE_MAX - 5, &base) == KG_NOFIT);
    kg_error_clear();
    kg_device_free(d);
}

static void profile(void)
{
    kg_device *d = kg_cpu_new(3), *all = kg_cpu_new(0);
    CHECK(d->profile.threads == 3 && all->profile.threads >= 1);
    CHECK(d->profile.memory > ((size_t)64 << 20) && d->profile.fixed > 100000 && d->profile.fixed < d->profile.memory);
    for (int c = 0; c < KG_CLASSES; ++c)
        CHECK(d->profile.rate[c] > 1e8, "class %d", c);
    CHECK(d->profile.copy > 0 && d->profile.disk > 0 && d->profile.launch > 0 && !d->profile.discrete && d->profile.version == 1);
    CHECK(d->host_memory && !strcmp(d->class_name, "cpu") && d->precision == KG_PRECISION_F32);
    CHECK(strstr(d->tag, "epoch") && strstr(d->tag, "onednn-") && strstr(d->tag, kg_cpu_isa_name(kg_cpu_isa())), "%s", d->tag);
    kg_device_free(d);
    kg_device_free(all);
    CHECK(!kg_cpu_new(-1) && kg_error_last()->status == KG_USAGE);
    kg_error_clear();
}

int main(void)
{
    unsetenv("KG_TEST_DEVICE");        /* the CPU's own, whatever device others are tested on */
    tiles(1);
    tiles(2);
    tiles(5);
    memory();
    profile();
    return TEST_END();
}
