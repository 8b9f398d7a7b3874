/* What the tests of kernels share: tensors in an eager arena, inputs from a seed, values as doubles, one and two threads. */
#ifndef KG_TESTS_KERNELS_OPS_TEST_H
#define KG_TESTS_KERNELS_OPS_TEST_H

#include "core/error.h"
#include "kernels/cpu/cpu.h"
#include "tests/test.h"

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
        ((float *)t->at)[at] = f;
    else if (t->dtype == KG_BF16)
        ((uint16_t *)t->at)[at] = (uint16_t)(u >> 16);
    else
        ((_Float16 *)t->at)[at] = (_Float16)f;
}

static inline double ops_get(const kg_tensor *t, int64_t row, int64_t col)
{
    int64_t at = row * t->row + col;
    if (t->dtype == KG_F32)
        return ((const float *)t->at)[at];
    if (t->dtype == KG_F16)
        return (double)((const _Float16 *)t->at)[at];
    uint32_t u = (uint32_t)((const uint16_t *)t->at)[at] << 16;
    float f;
    memcpy(&f, &u, 4);
    return f;
}

/* [rows, cols] of random numbers, a slice of rows that are `gap` elements longer (the gap holds NaN). */
static inline kg_tensor ops_rows(kg_exec *x, kg_dtype d, int64_t rows, int64_t cols, int64_t gap, uint64_t *seed)
{
    kg_tensor t = kg_temp(x, d, 2, (int64_t[]){rows, cols + gap});
    for (int64_t i = 0; i < rows * (cols + gap); ++i) {
        float f = test_uniform(seed);
        if (i % (cols + gap) >= cols)
            d == KG_F32 ? (void)(((uint32_t *)t.at)[i] = 0x7fc00000u) : (void)(((uint16_t *)t.at)[i] = d == KG_BF16 ? 0x7fc0 : 0x7e00);
        else
            ops_put(&t, i, f);
    }
    return kg_slice_cols(t, 0, cols);
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
        const unsigned char *p = (const unsigned char *)t->at + (size_t)(r * t->row) * kg_dtype_bytes(t->dtype);
        for (size_t i = 0; i < size; ++i)
            h = (h ^ p[i]) * 0x100000001b3u;
    }
    return h;
}

/* What is left when an output of this type is rounded: bounds for ops_error. */
static inline double ops_bound(kg_dtype d, double f32) { return d == KG_F32 ? f32 : d == KG_F16 ? 6e-4 : 4e-3; }

typedef struct ops_machine { kg_device *device; kg_exec *x; } ops_machine;
static inline ops_machine ops_open(int threads, size_t arena)
{
    ops_machine m = {.device = kg_cpu_new(threads)};
    m.x = m.device ? kg_eager_new(m.device, arena) : NULL;
    if (!m.x) {
        fprintf(stderr, "no device: %s\n", kg_error_last()->message);
        exit(1);
    }
    return m;
}
static inline void ops_close(ops_machine *m)
{
    kg_eager_free(m->x);
    kg_device_free(m->device);
}

#endif
