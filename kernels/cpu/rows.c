/* Norms, casts, gates and sums: passes over rows, at the speed of memory. A tile is a few rows (or a stretch of a dense tensor); sums
 * over a row are f64, in an order fixed by the row's length.
 *
 * This file includes itself for each instruction set: the part under KG_ISA_NAME is compiled three times. */
#ifndef KG_ISA_NAME
#include "kernels/cpu/cpu.h"

#include <math.h>

typedef struct rows_fns {
    void (*residual_norm)(const kg_residual_norm_args *a, int64_t row);
    void (*rms_norm)(const kg_rms_norm_args *a, int64_t row);
    void (*unary)(const kg_unary_args *a, int64_t in, int64_t out, int64_t n);
    void (*gated_gelu)(const kg_gated_gelu_args *a, int64_t row);
    void (*combine)(const kg_combine_args *a, int64_t first, int64_t n);
} rows_fns;

#define KG_BODY "kernels/cpu/rows.c"
#include "kernels/cpu/each_isa.h"

static const rows_fns *const fns[KG_ISAS] = KG_OF_ISA(rows_fns);

enum { STRETCH = 16384 };                      /* elements of a tile, about */

/* A pass: fn on each row, or on each stretch of one long row. */
typedef struct pass {
    const rows_fns *fn;
    const void *a;
    int64_t rows, cols, per_tile;
} pass;

static pass pass_over(const void *args, int64_t rows, int64_t cols)
{
    int64_t per_tile = cols >= STRETCH ? 1 : STRETCH / cols;
    return (pass){.fn = fns[kg_cpu_isa()], .a = args, .rows = rows, .cols = cols, .per_tile = per_tile};
}

static int64_t tiles_of(const pass *p) { return (p->rows + p->per_tile - 1) / p->per_tile; }

static int64_t end_of(const pass *p, int64_t tile)
{
    int64_t end = (tile + 1) * p->per_tile;
    return end < p->rows ? end : p->rows;
}

static void residual_norm_tile(void *arg, int64_t tile, int worker)
{
    (void)worker;
    const pass *p = arg;
    for (int64_t r = tile * p->per_tile; r < end_of(p, tile); ++r)
        p->fn->residual_norm(p->a, r);
}

void kg_cpu_residual_norm(kg_exec *x, const kg_residual_norm_args *a)
{
    pass p = pass_over(a, kg_rows(&a->x), kg_cols(&a->x));
    kg_cpu_for(x, tiles_of(&p), residual_norm_tile, &p);
}

static void rms_norm_tile(void *arg, int64_t tile, int worker)
{
    (void)worker;
    const pass *p = arg;
    for (int64_t r = tile * p->per_tile; r < end_of(p, tile); ++r)
        p->fn->rms_norm(p->a, r);
}

void kg_cpu_rms_norm(kg_exec *x, const kg_rms_norm_args *a)
{
    pass p = pass_over(a, kg_rows(&a->in), kg_cols(&a->in));
    kg_cpu_for(x, tiles_of(&p), rms_norm_tile, &p);
}

static void gated_gelu_tile(void *arg, int64_t tile, int worker)
{
    (void)worker;
    const pass *p = arg;
    for (int64_t r = tile * p->per_tile; r < end_of(p, tile); ++r)
        p->fn->gated_gelu(p->a, r);
}

void kg_cpu_gated_gelu(kg_exec *x, const kg_gated_gelu_args *a)
{
    pass p = pass_over(a, kg_rows(&a->out), kg_cols(&a->out));
    kg_cpu_for(x, tiles_of(&p), gated_gelu_tile, &p);
}

/* Dense tensors are one row, cut in stretches; others go row by row. */
static void unary_tile(void *arg, int64_t tile, int worker)
{
    (void)worker;
    const pass *p = arg;
    const kg_unary_args *a = p->a;
    if (p->rows == 1) {
        int64_t first = tile * STRETCH, n = p->cols - first < STRETCH ? p->cols - first : STRETCH;
        p->fn->unary(a, first, first, n);
        return;
    }
    for (int64_t r = tile * p->per_tile; r < end_of(p, tile); ++r)
        p->fn->unary(a, r * a->in.row, r * a->out.row, p->cols);
}

void kg_cpu_unary(kg_exec *x, const kg_unary_args *a)
{
    int flat = kg_dense(&a->in) && kg_dense(&a->out);
    pass p = flat ? pass_over(a, 1, kg_count(&a->in)) : pass_over(a, kg_rows(&a->in), kg_cols(&a->in));
    kg_cpu_for(x, flat ? (p.cols + STRETCH - 1) / STRETCH : tiles_of(&p), unary_tile, &p);
}

static void combine_tile(void *arg, int64_t tile, int worker)
{
    (void)worker;
    const pass *p = arg;
    int64_t first = tile * STRETCH, n = p->cols - first < STRETCH ? p->cols - first : STRETCH;
    p->fn->combine(p->a, first, n);
}

void kg_cpu_combine(kg_exec *x, const kg_combine_args *a)
{
    pass p = pass_over(a, 1, kg_count(&a->out));
    kg_cpu_for(x, (p.cols + STRETCH - 1) / STRETCH, combine_tile, &p);
}

#else

#define residual_norm_row KG_FN(residual_norm_row)
#define rms_norm_row KG_FN(rms_norm_row)
#define unary_stretch KG_FN(unary_stretch)
#define gated_gelu_row KG_FN(gated_gelu_row)
#define combine_stretch KG_FN(combine_stretch)
#define add_residual KG_FN(add_residual)
#define moments KG_FN(moments)
#define rotate KG_FN(rotate)

KG_INLINE void add_residual(const kg_tensor *add, const kg_tensor *gate, float *x, int64_t row, int64_t dim)
{
    for (int64_t i = 0; i < dim; i += LANES) {
        vf y = v_load(add->at, add->dtype, row * add->row + i, dim - i), sum = v_load(x, KG_F32, i, dim - i);
        sum = gate ? v_fma(y, v_load(gate->at, gate->dtype, i, dim - i), sum) : sum + y;
        v_store(x, KG_F32, i, dim - i, sum);
    }
}

/* Mean, then the mean of the squared distances from it: two passes over a row that is in the first cache. */
KG_INLINE void moments(const float *x, int64_t dim, double *mean, double *variance)
{
    vd sum = {0}, squares = {0};
    for (int64_t i = 0; i < dim; i += LANES)
        sum += __builtin_convertvector(v_load(x, KG_F32, i, dim - i), vd);
    *mean = v_sum_double(sum) / (double)dim;
    for (int64_t i = 0; i < dim; i += LANES) {
        vf d = v_first(v_load(x, KG_F32, i, dim - i) - (float)*mean, dim - i, v_splat(0));
        vd wide = __builtin_convertvector(d, vd);
        squares += wide * wide;
    }
    double off = *mean - (double)(float)*mean; /* what the rounded mean left over */
    *variance = v_sum_double(squares) / (double)dim - off * off;
}

static void residual_norm_row(const kg_residual_norm_args *a, int64_t row)
{
    int64_t dim = kg_cols(&a->x);
    float *x = (float *)a->x.at + row * a->x.row;
    if (a->y.rank)
        add_residual(&a->y, a->gate.rank ? &a->gate : NULL, x, row, dim);
    if (!a->out.rank)
        return;
    double mean, variance;
    moments(x, dim, &mean, &variance);
    float center = (float)mean, factor = (float)(1 / sqrt(variance + a->eps)), one = a->plus_one ? 1.0f : 0.0f;
    for (int64_t i = 0; i < dim; i += LANES) {
        vf v = (v_load(x, KG_F32, i, dim - i) - center) * factor;
        if (a->scale.rank)
            v *= v_load(a->scale.at, a->scale.dtype, i, dim - i) + one;
        if (a->shift.rank)
            v += v_load(a->shift.at, a->shift.dtype, i, dim - i);
        v_store(a->out.at, a->out.dtype, row * a->out.row + i, dim - i, v);
    }
}

/* Pairs (a, b) side by side and their (cos, sin): (a cos - b sin, a sin + b cos). */
KG_INLINE vf rotate(vf v, vf table)
{
    const vf sign = {-1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1};
    vf cosine = __builtin_shufflevector(table, table, 0, 0, 2, 2, 4, 4, 6, 6, 8, 8, 10, 10, 12, 12, 14, 14);
    vf sine = __builtin_shufflevector(table, table, 1, 1, 3, 3, 5, 5, 7, 7, 9, 9, 11, 11, 13, 13, 15, 15);
    vf swapped = __builtin_shufflevector(v, v, 1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14);
    return v_fma(v, cosine, swapped * (sine * sign));
}

static void rms_norm_row(const kg_rms_norm_args *a, int64_t row)
{
    int64_t dim = kg_cols(&a->in), head = a->rope.rank ? 2 * a->rope.shape[1] : dim, in = row * a->in.row, out = row * a->out.row;
    const float *table = a->rope.rank ? (const float *)a->rope.at + row * head : NULL;
    vd squares = {0};
    if (a->add.rank)
        add_residual(&a->add, NULL, (float *)a->in.at + in, row, dim);
    for (int64_t i = 0; i < dim; i += LANES) {
        vd wide = __builtin_convertvector(v_load(a->in.at, a->in.dtype, in + i, dim - i), vd);
        squares += wide * wide;
    }
    float factor = (float)(1 / sqrt(v_sum_double(squares) / (double)dim + a->eps));
    for (int64_t h = 0; h < dim; h += head)
        for (int64_t i = 0; i < head; i += LANES) {
            int64_t at = h + i, n = head - i;
            vf v = v_load(a->in.at, a->in.dtype, in + at, n) * factor * v_load(a->weight.at, a->weight.dtype, at, n);
            v_store(a->out.at, a->out.dtype, out + at, n, table ? rotate(v, v_load(table, KG_F32, i, n)) : v);
        }
}

static void unary_stretch(const kg_unary_args *a, int64_t in, int64_t out, int64_t n)
{
    for (int64_t i = 0; i < n; i += LANES) {
        vf v = v_load(a->in.at, a->in.dtype, in + i, n - i);
        v = a->op == KG_UNARY_SILU ? v_silu(v) : a->op == KG_UNARY_GELU ? v_gelu(v) : v;
        v_store(a->out.at, a->out.dtype, out + i, n - i, v);
    }
}

static void gated_gelu_row(const kg_gated_gelu_args *a, int64_t row)
{
    int64_t cols = kg_cols(&a->out);
    for (int64_t i = 0; i < cols; i += LANES) {
        vf gate = v_gelu(v_load(a->gate.at, a->gate.dtype, row * a->gate.row + i, cols - i));
        vf up = v_load(a->up.at, a->up.dtype, row * a->up.row + i, cols - i);
        v_store(a->out.at, a->out.dtype, row * a->out.row + i, cols - i, gate * up);
    }
}

static void combine_stretch(const kg_combine_args *a, int64_t first, int64_t n)
{
    for (int64_t i = first; i < first + n; i += LANES) {
        vd sum = {0};
        for (int t = 0; t < a->n; ++t)
            sum += __builtin_convertvector(v_load(a->term[t].at, a->term[t].dtype, i, first + n - i), vd) * a->coef[t];
        v_store(a->out.at, KG_F32, i, first + n - i, __builtin_convertvector(sum, vf));
    }
}

static const rows_fns KG_FN(rows_fns) = {residual_norm_row, rms_norm_row, unary_stretch, gated_gelu_row, combine_stretch};

#endif
