/* Linear layers: tiles of out by 448 rows and 128 columns, fixed by shape. A tile's product goes to scratch and on to out with bias,
 * activation and rounding while it is in the cache. Weights of another type than the products' are widened (or rounded) for one
 * tile at a time, so there is never a second copy of a model; long rows make narrower tiles, so that scratch stays small. Rows of
 * a slice are copied side by side first, once for all the tiles in a row that a worker takes: oneDNN is faster on those, and would
 * allocate for others.
 *
 * This file includes itself for each instruction set: the part under KG_ISA_NAME is compiled three times. */
#ifndef KG_ISA_NAME
#include "kernels/check.h"
#include "kernels/cpu/matmul.h"

#include <stdatomic.h>

typedef struct linear_fns {
    void (*convert)(void *out, kg_dtype to, const void *in, kg_dtype from, int64_t rows, int64_t cols, int64_t in_row);
    void (*finish)(const kg_linear_args *a, const float *c, int64_t row, int64_t rows, int64_t col, int64_t cols);
} linear_fns;

#define KG_BODY "kernels/cpu/linear.c"
#include "kernels/cpu/each_isa.h"

static const linear_fns *const fns[KG_ISAS] = KG_OF_ISA(linear_fns);

enum { M_TILE = 448, N_TILE = 128, LONG = 4096 };

static int64_t at_most(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t steps(int64_t n, int64_t step) { return (n + step - 1) / step; }

/* Tiles of equal height, or nearly: 884 rows are 2 of 442. */
static int64_t tile_height(int64_t m) { return m ? steps(m, steps(m, M_TILE)) : 1; }

static int converts(const kg_linear_args *a) { return a->weight.dtype != a->in.dtype; }
static int64_t tile_width(const kg_linear_args *a) { return converts(a) && kg_cols(&a->in) > LONG ? N_TILE / 2 : N_TILE; }

static int sliced(const kg_linear_args *a) { return a->in.row != kg_cols(&a->in); }
static size_t whole_lines(size_t bytes) { return (bytes + 63) / 64 * 64; }

/* A worker has: the number of the rows it copied, those rows, the product's tile, converted weights, and room for oneDNN. */
typedef struct parts { size_t rows, c, weights, own, all; } parts;

static parts worker_parts(const kg_linear_args *a)
{
    int64_t k = kg_cols(&a->in), height = tile_height(kg_rows(&a->in));
    size_t size = kg_dtype_bytes(a->in.dtype);
    parts p = {.rows = 64};
    p.c = p.rows + (sliced(a) ? whole_lines((size_t)(height * k) * size) : 0);
    p.weights = p.c + (size_t)(height * N_TILE) * sizeof(float);
    p.own = p.weights + (converts(a) ? whole_lines((size_t)(tile_width(a) * k) * size) : 0);
    p.all = p.own + KG_MATMUL_SCRATCH;
    return p;
}

size_t kg_cpu_linear_scratch(kg_exec *x, const kg_linear_args *a, int workers)
{
    (void)x;
    return worker_parts(a).all * (size_t)workers;
}

typedef struct linear_job {
    const kg_linear_args *a;
    const linear_fns *fn;
    int64_t m, n, k, m_tile, n_tile, n_tiles;
    int convert;                               /* weights are not of the products' type */
    const kg_matmul *product[2][2];            /* last tile of m, last of n */
    parts part;
    atomic_int failed;
} linear_job;

static int prepare(linear_job *j)
{
    for (int i = 0; i < 4; ++i) {
        int last_m = i & 1, last_n = i >> 1;
        kg_matmul_shape s = {.type = j->a->in.dtype, .k = j->k, .lda = j->k, .transposed = 1};
        s.m = last_m ? j->m - (steps(j->m, j->m_tile) - 1) * j->m_tile : j->m_tile;
        s.n = last_n ? j->n - (j->n_tiles - 1) * j->n_tile : at_most(j->n_tile, j->n);
        s.ldb = j->convert ? j->k : j->a->weight.row;
        if (!(j->product[last_m][last_n] = kg_matmul_get(s)))
            return 0;
    }
    return 1;
}

/* The tile's rows of in, side by side. */
static const char *rows_of(const linear_job *j, char *scratch, int64_t m0, int64_t rows)
{
    const kg_linear_args *a = j->a;
    size_t size = kg_dtype_bytes(a->in.dtype), bytes = (size_t)j->k * size;
    const char *in = (const char *)a->in.at + (size_t)(m0 * a->in.row) * size;
    int64_t *have = (int64_t *)(void *)scratch;
    if (!sliced(a))
        return in;
    for (int64_t r = 0; *have != m0 && r < rows; ++r)
        memcpy(scratch + j->part.rows + (size_t)r * bytes, in + (size_t)(r * a->in.row) * size, bytes);
    *have = m0;
    return scratch + j->part.rows;
}

static void linear_tile(void *arg, int64_t tile, int worker)
{
    linear_job *j = arg;
    const kg_linear_args *a = j->a;
    int64_t m0 = tile / j->n_tiles * j->m_tile, n0 = tile % j->n_tiles * j->n_tile;
    int64_t rows = at_most(j->m_tile, j->m - m0), cols = at_most(j->n_tile, j->n - n0);
    char *scratch = (char *)a->scratch.at + (size_t)worker * j->part.all;
    float *c = (float *)(void *)(scratch + j->part.c);
    const char *in = rows_of(j, scratch, m0, rows);
    const char *weight = (const char *)a->weight.at + (size_t)(n0 * a->weight.row) * kg_dtype_bytes(a->weight.dtype);
    if (j->convert) {
        j->fn->convert(scratch + j->part.weights, a->in.dtype, weight, a->weight.dtype, cols, j->k, a->weight.row);
        weight = scratch + j->part.weights;
    }
    if (kg_matmul_run(j->product[m0 + j->m_tile >= j->m][n0 + j->n_tile >= j->n], in, weight, c, scratch + j->part.own))
        atomic_store(&j->failed, 1);
    j->fn->finish(a, c, m0, rows, n0, cols);
}

void kg_cpu_linear(kg_exec *x, const kg_linear_args *a)
{
    linear_job j = {.a = a, .fn = fns[kg_cpu_isa()], .m = kg_rows(&a->in), .n = kg_cols(&a->out), .k = kg_cols(&a->in)};
    j.convert = converts(a);
    j.m_tile = tile_height(j.m);
    j.n_tile = tile_width(a);
    j.n_tiles = steps(j.n, j.n_tile);
    j.part = worker_parts(a);
    if (!prepare(&j))
        return;
    for (int w = 0; w < kg_front_workers(x); ++w)
        *(int64_t *)(void *)((char *)a->scratch.at + (size_t)w * j.part.all) = -1;
    kg_cpu_for(x, steps(j.m, j.m_tile) * j.n_tiles, linear_tile, &j);
    if (atomic_load(&j.failed))
        kg_front_fail(x, "linear", "oneDNN failed: out of host memory?");
}

#else

#define convert_tile KG_FN(convert_tile)
#define finish_tile KG_FN(finish_tile)
#define activate KG_FN(activate)

static void convert_tile(void *out, kg_dtype to, const void *in, kg_dtype from, int64_t rows, int64_t cols, int64_t in_row)
{
    for (int64_t r = 0; r < rows; ++r)
        for (int64_t i = 0; i < cols; i += LANES)
            v_store(out, to, r * cols + i, cols - i, v_load(in, from, r * in_row + i, cols - i));
}

KG_INLINE vf activate(int activation, vf v)
{
    return activation == KG_LINEAR_GELU ? v_gelu(v) : activation == KG_LINEAR_SILU ? v_silu(v) : v;
}

static void finish_tile(const kg_linear_args *a, const float *c, int64_t row, int64_t rows, int64_t col, int64_t cols)
{
    for (int64_t r = 0; r < rows; ++r)
        for (int64_t i = 0; i < cols; i += LANES) {
            vf v = v_load(c, KG_F32, r * cols + i, cols - i);
            if (a->bias.rank)
                v += v_load(a->bias.at, a->bias.dtype, col + i, cols - i);
            v_store(a->out.at, a->out.dtype, (row + r) * a->out.row + col + i, cols - i, activate(a->activation, v));
        }
}

static const linear_fns KG_FN(linear_fns) = {convert_tile, finish_tile};

#endif
