/* What the tests of kernels share: tensors in an eager arena, inputs from a seed, values as doubles, one and two threads.
 *
 * One case runs on every device. KG_TEST_DEVICE names it: "cpu" (or nothing) or "cuda". A tensor's address is the device's; its
 * values are written and read through ops_host, which on a card is the same offset in a mirror of the arena. OPS_RUN sends the
 * mirror, calls the op and takes the arena back. Outputs are poisoned with NaN, and so are the gaps between rows. */
#ifndef KG_TESTS_KERNELS_OPS_TEST_H
#define KG_TESTS_KERNELS_OPS_TEST_H

#include "core/error.h"
#include "kernels/cpu/cpu.h"
#include "tests/test.h"

typedef struct ops_machine { kg_device *device; kg_exec *x; } ops_machine;

/* The machine that is open: the ends of its arena (temporaries grow down from there) and of the mirror. */
static struct { ops_machine m; char *top, *mirror_top; void *mirror; kg_device *card; } ops_open_;

static inline int ops_on_card(void)
{
    const char *name = getenv("KG_TEST_DEVICE");
    return name && !strcmp(name, "cuda");
}

/* KG_TEST_SMALL: cases of this many products, elements or sums are left out, for tools under which a kernel takes a hundred times as
 * long. */
static inline int ops_too_large(int64_t n) { return getenv("KG_TEST_SMALL") && n > 1 << 18; }

/* Instruction sets below the best one, which the CPU is tested with too. */
static inline int ops_lesser_isas(void) { return ops_on_card() ? 0 : (int)kg_cpu_isa(); }

static inline void *ops_host(const kg_tensor *t)
{
    return ops_open_.mirror ? ops_open_.mirror_top - (ops_open_.top - (char *)t->at) : t->at;
}
#define OPS_F32(t) ((float *)ops_host(&(t)))
#define OPS_U16(t) ((uint16_t *)ops_host(&(t)))

static inline void ops_copy(int back)
{
    kg_device *d = ops_open_.m.device;
    size_t used = kg_mark(ops_open_.m.x);
    if (!ops_open_.mirror || !used)
        return;
    char *there = ops_open_.top - used, *here = ops_open_.mirror_top - used;
    kg_status s = back ? d->ops->fetch(d, KG_LANE_COMPUTE, here, there, used) : d->ops->write(d, KG_LANE_COMPUTE, there, here, used);
    if (s == KG_OK)
        s = d->ops->sync(d, d->ops->record(d, KG_LANE_COMPUTE));
    CHECK(s == KG_OK, "copy: %s", kg_error_last()->message);
}
#define OPS_RUN(call) (ops_copy(0), (void)(call), ops_copy(1))

static inline float ops_round(float f, kg_dtype t)
{
    if (t == KG_F32)
        return f;
    if (t == KG_F16)
        return (float)(_Float16)f;
    uint32_t u;
    memcpy(&u, &f, 4);
    u = (u + 0x7fff + (u >> 16 & 1)) & 0xffff0000u;
    memcpy(&f, &u, 4);
    return f;
}

static inline void ops_put(kg_tensor *t, int64_t at, float f)
{
    uint32_t u;
    f = ops_round(f, t->dtype);
    memcpy(&u, &f, 4);
    if (t->dtype == KG_F32)
        ((float *)ops_host(t))[at] = f;
    else if (t->dtype == KG_BF16)
        ((uint16_t *)ops_host(t))[at] = (uint16_t)(u >> 16);
    else
        ((_Float16 *)ops_host(t))[at] = (_Float16)f;
}

static inline double ops_get(const kg_tensor *t, int64_t row, int64_t col)
{
    int64_t at = row * t->row + col;
    if (t->dtype == KG_F32)
        return ((const float *)ops_host(t))[at];
    if (t->dtype == KG_F16)
        return (double)((const _Float16 *)ops_host(t))[at];
    uint32_t u = (uint32_t)((const uint16_t *)ops_host(t))[at] << 16;
    float f;
    memcpy(&f, &u, 4);
    return f;
}

static inline void ops_put_nan(const kg_tensor *t, int64_t at)
{
    if (t->dtype == KG_F32)
        ((uint32_t *)ops_host(t))[at] = 0x7fc00000u;
    else
        ((uint16_t *)ops_host(t))[at] = t->dtype == KG_BF16 ? 0x7fc0 : 0x7e00;
}

/* [rows, cols] of random numbers, a slice of rows that are `gap` elements longer (the gap holds NaN). */
static inline kg_tensor ops_rows(kg_exec *x, kg_dtype d, int64_t rows, int64_t cols, int64_t gap, uint64_t *seed)
{
    kg_tensor t = kg_temp(x, d, 2, (int64_t[]){rows, cols + gap});
    for (int64_t i = 0; i < rows * (cols + gap); ++i) {
        float f = test_uniform(seed);
        if (i % (cols + gap) >= cols)
            ops_put_nan(&t, i);
        else
            ops_put(&t, i, f);
    }
    return kg_slice_cols(t, 0, cols);
}

/* The same for an output: NaN throughout, so that what is not written fails every comparison. */
static inline kg_tensor ops_out(kg_exec *x, kg_dtype d, int64_t rows, int64_t cols, int64_t gap)
{
    kg_tensor t = kg_temp(x, d, 2, (int64_t[]){rows, cols + gap});
    for (int64_t i = 0; i < rows * (cols + gap); ++i)
        ops_put_nan(&t, i);
    return kg_slice_cols(t, 0, cols);
}

/* Nothing was written between the rows of a slice that ops_out or ops_rows made. */
static inline int ops_gaps_kept(const kg_tensor *t)
{
    for (int64_t r = 0; r < kg_rows(t); ++r)
        for (int64_t c = kg_cols(t); c < t->row; ++c)
            if (ops_get(t, r, c) == ops_get(t, r, c))
                return 0;
    return 1;
}

static inline kg_tensor ops_vector(kg_exec *x, kg_dtype d, int64_t n, uint64_t *seed)
{
    return kg_at(ops_rows(x, d, 1, n, 0, seed), 0);
}

/* Relative L2 distance of t from want[rows * cols]. */
static inline double ops_error(const kg_tensor *t, const double *want)
{
    double num = 0, den = 0;
    for (int64_t r = 0; r < kg_rows(t); ++r)
        for (int64_t c = 0; c < kg_cols(t); ++c) {
            double w = want[r * kg_cols(t) + c], e = ops_get(t, r, c) - w;
            num += e * e;
            den += w * w;
        }
    return num == 0 ? 0 : sqrt(num / den);     /* a NaN stays one, and fails every comparison */
}

static inline uint64_t ops_hash(const kg_tensor *t)
{
    uint64_t h = 0xcbf29ce484222325u;
    size_t size = kg_dtype_bytes(t->dtype) * (size_t)kg_cols(t);
    for (int64_t r = 0; r < kg_rows(t); ++r) {
        const unsigned char *p = (const unsigned char *)ops_host(t) + (size_t)(r * t->row) * kg_dtype_bytes(t->dtype);
        for (size_t i = 0; i < size; ++i)
            h = (h ^ p[i]) * 0x100000001b3u;
    }
    return h;
}

/* What is left when an output of this type is rounded: bounds for ops_error. */
static inline double ops_bound(kg_dtype d, double f32) { return d == KG_F32 ? f32 : d == KG_F16 ? 6e-4 : 4e-3; }

static inline void ops_fail(void)
{
    fprintf(stderr, "no device: %s\n", kg_error_last()->message);
    exit(1);
}

/* The card stays open from one case to the next; threads are the CPU's. */
static inline kg_device *ops_device(int threads)
{
    if (!ops_on_card())
        return kg_cpu_new(threads);
    if (!ops_open_.card)
        ops_open_.card = kg_cuda_new(0);
    return ops_open_.card;
}

static inline ops_machine ops_open(int threads, size_t arena)
{
    ops_machine m = {.device = ops_device(threads)};
    m.x = m.device ? kg_eager_new(m.device, arena) : NULL;
    if (!m.x)
        ops_fail();
    ops_open_.m = m;
    if (!m.device->host_memory) {
        ops_open_.mirror = malloc(arena);
        ops_open_.mirror_top = (char *)ops_open_.mirror + arena;
        ops_open_.top = (char *)kg_temp(m.x, KG_U8, KG_SHAPE(1)).at + KG_ALIGN;
        kg_eager_reset(m.x);
    }
    return m;
}

static inline void ops_close(ops_machine *m)
{
    kg_eager_free(m->x);
    if (m->device != ops_open_.card)
        kg_device_free(m->device);
    free(ops_open_.mirror);
    ops_open_.mirror = NULL;
}

#endif
