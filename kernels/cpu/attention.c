/* Attention in tiles of 128 queries by 512 keys or less, one head at a time, fixed by shape. Scores are f32; the greatest score and
 * the sum of a row are carried from tile to tile of keys, and what was summed so far is scaled down when a greater score appears
 * (ref: Milakov and Gimelshein, "Online normalizer calculation for softmax", 2018; Dao et al., FlashAttention, 2022).
 *
 * Both products go through oneDNN; what they read is copied side by side, since rows of a fused product lie a multiple of
 * 4 KiB apart, in the same few lines of the cache, and since oneDNN would allocate room to do it. In bf16 the probabilities, at
 * most 1 before they are divided by their sum, are rounded for the second product; the sum is of the unrounded ones. out may be
 * q: a tile reads its queries before it writes, and no other tile reads them. */
#ifndef KG_ISA_NAME
#include "kernels/check.h"
#include "kernels/cpu/matmul.h"

#include <float.h>
#include <stdatomic.h>

/* One tile's state: rows queries, cols keys; scores become probabilities in place (bf16 ones packed at the front). */
typedef struct softmax_tile {
    float *scores;             /* [rows, cols]                              */
    int64_t rows, cols;
    float *most, *sum, *keep;  /* [rows]: greatest score so far, sum, factor for what was summed before */
    const float *bias;         /* of query 0 and key 0 of the tile, or NULL; query i's starts i elements before */
    float scale;
    kg_dtype type;             /* of the probabilities                      */
} softmax_tile;

typedef struct attention_fns {
    void (*softmax)(const softmax_tile *t);
    void (*merge)(float *sum, const float *add, const float *keep, int64_t rows, int64_t cols);
    void (*finish)(const kg_tensor *out, int64_t row, int64_t col, const float *sum, const float *total, int64_t rows, int64_t cols);
} attention_fns;

#define KG_BODY "kernels/cpu/attention.c"
#include "kernels/cpu/each_isa.h"

static const attention_fns *const fns[KG_ISAS] = KG_OF_ISA(attention_fns);

enum { Q_TILE = 128, K_TILE = 512 };

typedef struct attention_job {
    const kg_attention_args *a;
    const attention_fns *fn;
    int64_t nq, nk, d, q_tile, k_tile, q_tiles;
    const kg_matmul *qk[2][2], *pv[2][2];      /* last tile of queries, last tile of keys */
    size_t worker_bytes;
    atomic_int failed;
} attention_job;

static int64_t at_most(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t steps(int64_t n, int64_t step) { return (n + step - 1) / step; }
static int64_t even(int64_t n, int64_t most) { return n ? steps(n, steps(n, most)) : 1; }

/* Floats of a worker: scores, two results [q, d], three vectors [q], queries, keys or values; rounded up so that parts start at multiples
 * of 64 bytes. */
static int64_t scores_floats(const kg_attention_args *a)
{
    return steps(even(kg_rows(&a->q), Q_TILE) * even(kg_rows(&a->k), K_TILE), LANES) * LANES;
}

static size_t worker_bytes(const kg_attention_args *a)
{
    int64_t d = kg_cols(&a->q) / a->heads;
    int64_t wide = steps(d, LANES) * LANES, keys = even(kg_rows(&a->k), K_TILE);
    return (size_t)(scores_floats(a) + (3 * Q_TILE + keys) * wide + 3 * Q_TILE) * sizeof(float) + KG_MATMUL_SCRATCH;
}

size_t kg_cpu_attention_scratch(kg_exec *x, const kg_attention_args *a, int workers)
{
    (void)x;
    return worker_bytes(a) * (size_t)workers;
}

static int prepare(attention_job *j)
{
    const kg_attention_args *a = j->a;
    for (int i = 0; i < 4; ++i) {
        int last_q = i & 1, last_k = i >> 1;
        int64_t rows = last_q ? j->nq - (j->q_tiles - 1) * j->q_tile : j->q_tile;
        int64_t cols = last_k ? j->nk - (steps(j->nk, j->k_tile) - 1) * j->k_tile : j->k_tile;
        kg_matmul_shape qk = {.type = a->q.dtype, .m = rows, .n = cols, .k = j->d, .lda = j->d, .ldb = j->d, .transposed = 1};
        kg_matmul_shape pv = {.type = a->q.dtype, .m = rows, .n = j->d, .k = cols, .lda = cols, .ldb = j->d};
        if (!(j->qk[last_q][last_k] = kg_matmul_get(qk)) || !(j->pv[last_q][last_k] = kg_matmul_get(pv)))
            return 0;
    }
    return 1;
}

static const void *element(const kg_tensor *t, int64_t row, int64_t col)
{
    return (const char *)t->at + (size_t)(row * t->row + col) * kg_dtype_bytes(t->dtype);
}

static void side_by_side(char *out, const kg_tensor *t, int64_t row, int64_t col, int64_t rows, int64_t cols)
{
    size_t bytes = (size_t)cols * kg_dtype_bytes(t->dtype);
    for (int64_t i = 0; i < rows; ++i)
        memcpy(out + (size_t)i * bytes, element(t, row + i, col), bytes);
}

static void attention_tile(void *arg, int64_t tile, int worker)
{
    attention_job *j = arg;
    const kg_attention_args *a = j->a;
    int64_t head = tile / j->q_tiles, q0 = tile % j->q_tiles * j->q_tile, rows = at_most(j->q_tile, j->nq - q0), col = head * j->d;
    char *scratch = (char *)a->scratch.at + (size_t)worker * j->worker_bytes;
    float *scores = (float *)(void *)scratch, *sum = scores + scores_floats(a);
    int64_t part = Q_TILE * steps(j->d, LANES) * LANES;
    float *add = sum + part, *most = add + part;
    char *q = (char *)(most + 3 * Q_TILE), *kv = q + (size_t)part * sizeof(float), *own = scratch + j->worker_bytes - KG_MATMUL_SCRATCH;
    softmax_tile t = {.scores = scores, .rows = rows, .most = most, .sum = most + Q_TILE, .keep = most + 2 * Q_TILE,
        .scale = (float)a->scale, .type = a->q.dtype};
    int last_q = q0 + j->q_tile >= j->nq, failed = 0;
    for (int64_t i = 0; i < rows; ++i)
        t.most[i] = -FLT_MAX, t.sum[i] = 0;
    side_by_side(q, &a->q, q0, col, rows, j->d);
    for (int64_t k0 = 0; k0 < j->nk; k0 += j->k_tile) {
        int last_k = k0 + j->k_tile >= j->nk;
        t.cols = at_most(j->k_tile, j->nk - k0);
        if (a->bias.rank)
            t.bias = (const float *)a->bias.at + head * a->bias.row + k0 - q0 + (kg_cols(&a->bias) - 1) / 2;
        side_by_side(kv, &a->k, k0, col, t.cols, j->d);
        failed |= kg_matmul_run(j->qk[last_q][last_k], q, kv, scores, own);
        j->fn->softmax(&t);
        side_by_side(kv, &a->v, k0, col, t.cols, j->d);
        failed |= kg_matmul_run(j->pv[last_q][last_k], scores, kv, k0 ? add : sum, own);
        if (k0)
            j->fn->merge(sum, add, t.keep, rows, j->d);
    }
    j->fn->finish(&a->out, q0, col, sum, t.sum, rows, j->d);
    if (failed)
        atomic_store(&j->failed, 1);
}

void kg_cpu_attention(kg_exec *x, const kg_attention_args *a)
{
    attention_job j = {.a = a, .fn = fns[kg_cpu_isa()], .nq = kg_rows(&a->q), .nk = kg_rows(&a->k), .d = kg_cols(&a->q) / a->heads};
    j.q_tile = even(j.nq, Q_TILE);
    j.k_tile = even(j.nk, K_TILE);
    j.q_tiles = steps(j.nq, j.q_tile);
    j.worker_bytes = worker_bytes(a);
    if (!prepare(&j))
        return;
    kg_cpu_for(x, a->heads * j.q_tiles, attention_tile, &j);
    if (atomic_load(&j.failed))
        kg_front_fail(x, "attention", "oneDNN failed: out of host memory?");
}

#else

#define softmax_rows KG_FN(softmax_rows)
#define merge_rows KG_FN(merge_rows)
#define finish_rows KG_FN(finish_rows)
#define score KG_FN(score)

/* Scaled scores of keys k .. k+15 of row i; lanes beyond the last key are as small as can be. */
KG_INLINE vf score(const softmax_tile *t, int64_t i, int64_t k)
{
    int64_t n = t->cols - k;
    vf s = v_load(t->scores, KG_F32, i * t->cols + k, n);
    s = t->bias ? v_fma(s, v_splat(t->scale), v_load(t->bias, KG_F32, k - i, n)) : s * t->scale;
    return v_first(s, n, v_splat(-FLT_MAX));
}

static void softmax_rows(const softmax_tile *tile)
{
    const softmax_tile own = *tile, *t = &own; /* no store can change it */
    for (int64_t i = 0; i < t->rows; ++i) {
        vf top = v_splat(t->most[i]);
        for (int64_t k = 0; k < t->cols; k += LANES)
            top = v_max(top, score(t, i, k));
        float most = v_most(top);
        vf total = v_splat(0), keep = v_exp(v_splat(t->most[i] - most));
        for (int64_t k = 0; k < t->cols; k += LANES) {
            int64_t n = t->cols - k;
            vf p = v_first(v_exp(score(t, i, k) - most), n, v_splat(0));
            total += p;
            v_store(t->scores, t->type, i * t->cols + k, n, p);
        }
        t->keep[i] = keep[0];
        t->sum[i] = t->sum[i] * keep[0] + v_sum(total);
        t->most[i] = most;
    }
}

static void merge_rows(float *sum, const float *add, const float *keep, int64_t rows, int64_t cols)
{
    for (int64_t i = 0; i < rows; ++i)
        for (int64_t k = 0; k < cols; k += LANES) {
            int64_t at = i * cols + k;
            vf before = v_load(sum, KG_F32, at, cols - k), more = v_load(add, KG_F32, at, cols - k);
            v_store(sum, KG_F32, at, cols - k, v_fma(before, v_splat(keep[i]), more));
        }
}

static void finish_rows(const kg_tensor *out, int64_t row, int64_t col, const float *sum, const float *total, int64_t rows,
                        int64_t cols)
{
    for (int64_t i = 0; i < rows; ++i) {
        float factor = 1 / total[i];
        for (int64_t k = 0; k < cols; k += LANES) {
            vf v = v_load(sum, KG_F32, i * cols + k, cols - k) * factor;
            v_store(out->at, out->dtype, (row + i) * out->row + col + k, cols - k, v);
        }
    }
}

static const attention_fns KG_FN(attention_fns) = {softmax_rows, merge_rows, finish_rows};

#endif
