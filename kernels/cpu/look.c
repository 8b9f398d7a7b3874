/* NaN and Inf, and the range of rows, by the bits: one pass, at the speed of memory. Without a range a dense tensor is cut into
 * stretches; with one a tile is whole rows.
 *
 * This file includes itself for each instruction set: the part under KG_ISA_NAME is compiled three times. */
#ifndef KG_ISA_NAME
#include "kernels/cpu/cpu.h"

typedef struct look_fns {
    int (*bits)(const void *in, kg_dtype type, int64_t n);
    int (*range)(const float *in, int64_t n, float out[2]);
} look_fns;

#define KG_BODY "kernels/cpu/look.c"
#include "kernels/cpu/each_isa.h"

enum { STRETCH = 65536 };                      /* elements of a tile, about */

typedef struct look_job {
    const look_fns *fn;
    const kg_look_args *a;
    int64_t rows, cols, row, last, per_tile;   /* last: elements of the last row */
} look_job;

static void look_tile(void *arg, int64_t tile, int worker)
{
    (void)worker;
    const look_job *j = arg;
    const kg_tensor *in = &j->a->in;
    int64_t end = (tile + 1) * j->per_tile < j->rows ? (tile + 1) * j->per_tile : j->rows;
    int bits = 0;
    for (int64_t r = tile * j->per_tile; r < end; ++r) {
        const char *at = (const char *)in->at + r * j->row * (int64_t)kg_dtype_bytes(in->dtype);
        if (j->a->range.rank)
            bits |= j->fn->range((const float *)(const void *)at, j->cols, (float *)j->a->range.at + 2 * r);
        else
            bits |= j->fn->bits(at, in->dtype, r + 1 == j->rows ? j->last : j->cols);
    }
    if (bits)
        __atomic_fetch_or((int32_t *)j->a->flag.at, bits, __ATOMIC_RELAXED);
}

void kg_cpu_look(kg_exec *x, const kg_look_args *a)
{
    static const look_fns *const fns[KG_ISAS] = KG_OF_ISA(look_fns);
    look_job j = {.fn = fns[kg_cpu_isa()], .a = a, .rows = kg_rows(&a->in), .cols = kg_cols(&a->in), .row = a->in.row};
    int64_t count = kg_count(&a->in);
    *(int32_t *)a->flag.at = 0;
    if (!count)
        return;
    if (!a->range.rank && kg_dense(&a->in)) {
        j.cols = j.row = count < STRETCH ? count : STRETCH;
        j.rows = (count + j.cols - 1) / j.cols;
    }
    j.last = j.cols == kg_cols(&a->in) ? j.cols : count - (j.rows - 1) * j.cols;
    j.per_tile = j.cols >= STRETCH ? 1 : STRETCH / j.cols;
    kg_cpu_for(x, (j.rows + j.per_tile - 1) / j.per_tile, look_tile, &j);
}
#else

typedef int16_t KG_FN(v16) __attribute__((vector_size(64)));
#define v16 KG_FN(v16)

KG_INLINE int KG_FN(any)(const void *v)
{
    uint64_t part[8], all = 0;
    memcpy(part, v, sizeof part);
    for (int i = 0; i < 8; ++i)
        all |= part[i];
    return all != 0;
}

/* Without the sign, infinity is the least of what is not finite: less infinity, such a value keeps a clear sign bit. (Comparisons would
 * be taken apart lane by lane where a vector is wider than a register.) What it is is asked once something was found. */
static int KG_FN(bits)(const void *in, kg_dtype type, int64_t n)
{
    const char *at = in;
    size_t left = (size_t)n * kg_dtype_bytes(type);
    const v16 top = (v16){0} + (int16_t)(type == KG_F16 ? 0x7c00 : 0x7f80);
    vi found = {0};
    for (; left >= 64; at += 64, left -= 64) {
        vi v;
        memcpy(&v, at, sizeof v);
        if (type == KG_F32)
            found |= ~((v & 0x7fffffff) - 0x7f800000);
        else
            found |= (vi) ~(((v16)v & 0x7fff) - top);
    }
    found &= type == KG_F32 ? INT32_MIN : (int32_t)0x80008000;
    int64_t tail = (int64_t)(left / kg_dtype_bytes(type));
    return KG_FN(any)(&found) ? kg_not_finite(in, type, (size_t)n) : kg_not_finite(at, type, (size_t)tail);
}

/* Floats are ordered like whole numbers when the bits behind a set sign are turned around; twice gives the float again. */
static int KG_FN(range)(const float *in, int64_t n, float out[2])
{
    vi nan = {0}, inf = {0}, least = (vi){0} + INT32_MAX, most = (vi){0} + INT32_MIN;
    for (int64_t i = 0; i < n; i += LANES) {
        vf f = n - i >= LANES ? v_load_full(in, KG_F32, i) : v_splat(in[i]);
        for (int64_t l = 1; n - i < LANES && l < n - i; ++l)
            f[l] = in[i + l];
        vi u = (vi)f, a = u & 0x7fffffff, k = u ^ (u >> 31 & 0x7fffffff), below = k < least, above = k > most;
        nan |= a > 0x7f800000;
        inf |= a == 0x7f800000;
        least = (below & k) | (~below & least);
        most = (above & k) | (~above & most);
    }
    int32_t end[2] = {least[0], most[0]};
    for (int l = 1; l < LANES; ++l) {
        end[0] = least[l] < end[0] ? least[l] : end[0];
        end[1] = most[l] > end[1] ? most[l] : end[1];
    }
    for (int i = 0; i < 2; ++i)
        end[i] ^= end[i] >> 31 & 0x7fffffff;
    memcpy(out, end, sizeof end);
    return (KG_FN(any)(&nan) ? KG_HAS_NAN : 0) | (KG_FN(any)(&inf) ? KG_HAS_INF : 0);
}

static const look_fns KG_FN(look_fns) = {KG_FN(bits), KG_FN(range)};
#undef v16

#endif
