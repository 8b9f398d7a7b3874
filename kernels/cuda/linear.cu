/* out = activation(in * weight^T + bias) through cuBLASLt.
 *
 * Three ways, by shapes, types and alignment alone. One row of f32 (a time embedding) is a matrix-vector product of our own that reads
 * weights as they are stored. What is not aligned to 16 bytes is a plain tiled product of our own (both linear_own.cu). All else is
 * cuBLASLt's: weights of another type are converted into scratch first, a slab of rows at a time; bias and GELU are its epilogues, or
 * a pass of ours where it has none. f32 is computed in f32, never in TF32.
 *
 * An algorithm is chosen by (n, k, types, epilogue, compute capability): from the table, else the first heuristic for a fixed number
 * of rows, without split-K. So neither the rows of a call (but for whole texts) nor free memory nor a timing changes a bit. The
 * library's kernels for many rows hand out their tiles by a counter of four bytes, which is all the workspace they have.
 * Prepared products are kept as long as the device's handle; a model uses a few dozen. A plan asks for its own ahead of the run
 * (later.cu). */
#include "kernels/cuda/linear.h"
#include "kernels/cuda/linear_own.h"
#include "kernels/cuda/vec.cuh"

#include <mutex>
#include <new>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/cuda/linear_table.h"

enum { USUAL_ROWS = 8192, CANDIDATES = 32 };
enum : size_t { SLAB = (size_t)32 << 20 };     /* scratch: KG_LT_WORKSPACE, bias, slab */

/* ---- a prepared product ---- */
struct key { cublasLtHandle_t lt; int64_t n, k, m, weight_row, in_row, out_row; int in, out, bias, gelu, cc, forced; };
struct product {
    key is;
    cublasLtMatmulDesc_t op;
    cublasLtMatrixLayout_t weight, in, out;
    cublasLtMatmulAlgo_t algo;
    int adds_bias, adds_gelu;      /* in the epilogue */
    int found;                     /* 0: cuBLASLt has none */
    cublasStatus_t broken;         /* memory, the driver: an error, no refusal */
    std::once_flag prepared;       /* all of it but is and next; by the device's second thread, or by who comes to need it */
    product *next;
};

static struct {
    std::mutex lock;
    product *first;
    int forced;
    kg_lt_config force;
    kg_lt_row tuned[KG_LT_TUNED];
    int n_tuned;
} products;

static cudaDataType_t type_of(int t) { return t == KG_F32 ? CUDA_R_32F : t == KG_BF16 ? CUDA_R_16BF : CUDA_R_16F; }

static void release(product *p)
{
    if (p->op)
        kg_lib.cublasLtMatmulDescDestroy(p->op);
    cublasLtMatrixLayout_t layouts[] = {p->weight, p->in, p->out};
    for (cublasLtMatrixLayout_t l : layouts)
        if (l)
            kg_lib.cublasLtMatrixLayoutDestroy(l);
    p->op = NULL, p->weight = p->in = p->out = NULL;
}

/* 1: success. Another algorithm would be another result, so only what every run of this product here meets is a refusal. */
static int good(product *p, cublasStatus_t e)
{
    if (e == CUBLAS_STATUS_ALLOC_FAILED || e == CUBLAS_STATUS_NOT_INITIALIZED || e == CUBLAS_STATUS_EXECUTION_FAILED)
        p->broken = e;
    return e == CUBLAS_STATUS_SUCCESS;
}

/* cuBLASLt is column-major: out^T [n, m] = (weight^T)^T in^T. Rows of in and out are its columns. */
static int describe(product *p, int64_t m, cublasLtEpilogue_t epilogue)
{
    const key *k = &p->is;
    cublasOperation_t transposed = CUBLAS_OP_T;
    int all = good(p, kg_lib.cublasLtMatmulDescCreate(&p->op, CUBLAS_COMPUTE_32F, CUDA_R_32F)) &&
              good(p, kg_lib.cublasLtMatmulDescSetAttribute(p->op, CUBLASLT_MATMUL_DESC_TRANSA, &transposed, sizeof transposed)) &&
              good(p, kg_lib.cublasLtMatmulDescSetAttribute(p->op, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue, sizeof epilogue)) &&
              good(p, kg_lib.cublasLtMatrixLayoutCreate(&p->weight, type_of(k->in), (uint64_t)k->k, (uint64_t)k->n, k->weight_row)) &&
              good(p, kg_lib.cublasLtMatrixLayoutCreate(&p->in, type_of(k->in), (uint64_t)k->k, (uint64_t)m, k->in_row)) &&
              good(p, kg_lib.cublasLtMatrixLayoutCreate(&p->out, type_of(k->out), (uint64_t)k->n, (uint64_t)m, k->out_row));
    if (!all)
        release(p);
    return all;
}

static void read_config(const cublasLtMatmulAlgo_t *a, kg_lt_config *c, int *split, int *reduction)
{
    size_t n;
    uint16_t inner = 0, cluster = 0;
    memset(c, 0, sizeof *c);
    *split = *reduction = 0;
    kg_lib.cublasLtMatmulAlgoConfigGetAttribute(a, CUBLASLT_ALGO_CONFIG_ID, &c->id, sizeof c->id, &n);
    kg_lib.cublasLtMatmulAlgoConfigGetAttribute(a, CUBLASLT_ALGO_CONFIG_TILE_ID, &c->tile, sizeof c->tile, &n);
    kg_lib.cublasLtMatmulAlgoConfigGetAttribute(a, CUBLASLT_ALGO_CONFIG_STAGES_ID, &c->stages, sizeof c->stages, &n);
    kg_lib.cublasLtMatmulAlgoConfigGetAttribute(a, CUBLASLT_ALGO_CONFIG_CTA_SWIZZLING, &c->swizzle, sizeof c->swizzle, &n);
    kg_lib.cublasLtMatmulAlgoConfigGetAttribute(a, CUBLASLT_ALGO_CONFIG_CUSTOM_OPTION, &c->custom, sizeof c->custom, &n);
    kg_lib.cublasLtMatmulAlgoConfigGetAttribute(a, CUBLASLT_ALGO_CONFIG_SPLITK_NUM, split, sizeof *split, &n);
    kg_lib.cublasLtMatmulAlgoConfigGetAttribute(a, CUBLASLT_ALGO_CONFIG_REDUCTION_SCHEME, reduction, sizeof *reduction, &n);
    kg_lib.cublasLtMatmulAlgoConfigGetAttribute(a, CUBLASLT_ALGO_CONFIG_INNER_SHAPE_ID, &inner, sizeof inner, &n);
    kg_lib.cublasLtMatmulAlgoConfigGetAttribute(a, CUBLASLT_ALGO_CONFIG_CLUSTER_SHAPE_ID, &cluster, sizeof cluster, &n);
    c->inner = inner, c->cluster = cluster;
}

static int works(cublasLtHandle_t lt, product *p, const cublasLtMatmulAlgo_t *a)
{
    cublasLtMatmulHeuristicResult_t r = {};
    return good(p, kg_lib.cublasLtMatmulAlgoCheck(lt, p->op, p->weight, p->in, p->out, p->out, a, &r)) &&
           r.workspaceSize <= KG_LT_WORKSPACE;
}

static int use_config(cublasLtHandle_t lt, product *p, const kg_lt_config *c)
{
    cublasLtMatmulAlgo_t *a = &p->algo;
    uint16_t inner = (uint16_t)c->inner, cluster = (uint16_t)c->cluster;
    int one = 1, none = 0;
    cudaDataType_t in = type_of(p->is.in), out = type_of(p->is.out);
    return !kg_lib.cublasLtMatmulAlgoInit(lt, CUBLAS_COMPUTE_32F, CUDA_R_32F, in, in, out, out, c->id, a) &&
           !kg_lib.cublasLtMatmulAlgoConfigSetAttribute(a, CUBLASLT_ALGO_CONFIG_TILE_ID, &c->tile, sizeof c->tile) &&
           !kg_lib.cublasLtMatmulAlgoConfigSetAttribute(a, CUBLASLT_ALGO_CONFIG_STAGES_ID, &c->stages, sizeof c->stages) &&
           !kg_lib.cublasLtMatmulAlgoConfigSetAttribute(a, CUBLASLT_ALGO_CONFIG_SPLITK_NUM, &one, sizeof one) &&
           !kg_lib.cublasLtMatmulAlgoConfigSetAttribute(a, CUBLASLT_ALGO_CONFIG_REDUCTION_SCHEME, &none, sizeof none) &&
           !kg_lib.cublasLtMatmulAlgoConfigSetAttribute(a, CUBLASLT_ALGO_CONFIG_CTA_SWIZZLING, &c->swizzle, sizeof c->swizzle) &&
           !kg_lib.cublasLtMatmulAlgoConfigSetAttribute(a, CUBLASLT_ALGO_CONFIG_CUSTOM_OPTION, &c->custom, sizeof c->custom) &&
           !kg_lib.cublasLtMatmulAlgoConfigSetAttribute(a, CUBLASLT_ALGO_CONFIG_INNER_SHAPE_ID, &inner, sizeof inner) &&
           !kg_lib.cublasLtMatmulAlgoConfigSetAttribute(a, CUBLASLT_ALGO_CONFIG_CLUSTER_SHAPE_ID, &cluster, sizeof cluster) &&
           works(lt, p, a);
}

/* What cuBLASLt proposes for the product as described, without split-K; how many. */
static int proposals(cublasLtHandle_t lt, product *p, cublasLtMatmulAlgo_t *out, int most)
{
    cublasLtMatmulPreference_t want = NULL;
    cublasLtMatmulHeuristicResult_t r[CANDIDATES];
    uint64_t workspace = KG_LT_WORKSPACE;
    uint32_t reductions = CUBLASLT_REDUCTION_SCHEME_NONE, align = 16;
    int found = 0, n = 0;
    if (!good(p, kg_lib.cublasLtMatmulPreferenceCreate(&want)))
        return 0;
    kg_lib.cublasLtMatmulPreferenceSetAttribute(want, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace, sizeof workspace);
    kg_lib.cublasLtMatmulPreferenceSetAttribute(want, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &reductions, sizeof reductions);
    const cublasLtMatmulPreferenceAttributes_t aligns[] = {
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES};
    for (cublasLtMatmulPreferenceAttributes_t a : aligns)
        kg_lib.cublasLtMatmulPreferenceSetAttribute(want, a, &align, sizeof align);
    if (!good(p, kg_lib.cublasLtMatmulAlgoGetHeuristic(lt, p->op, p->weight, p->in, p->out, p->out, want, CANDIDATES, r, &found)))
        found = 0;
    kg_lib.cublasLtMatmulPreferenceDestroy(want);
    for (int i = 0; i < found && n < most; ++i) {
        kg_lt_config c;
        int split, reduction;
        read_config(&r[i].algo, &c, &split, &reduction);
        if (r[i].state == CUBLAS_STATUS_SUCCESS && r[i].workspaceSize <= KG_LT_WORKSPACE && split <= 1 && !reduction)
            out[n++] = r[i].algo;
    }
    return n;
}

static const kg_lt_rows *rows_of(const key *k)
{
    for (const kg_lt_rows &u : kg_lt_usual)
        if (u.n == k->n && u.k == k->k)
            return &u;
    return NULL;
}

static int by_rows(const key *k) { return rows_of(k) && !rows_of(k)->rows; }

static int64_t usual_rows(const key *k)
{
    const kg_lt_rows *u = rows_of(k);
    if (!u)
        return USUAL_ROWS;
    return u->rows ? u->rows : (k->m + 127) / 128 * 128;
}

/* The first proposal for the usual number of rows that runs with the real one; else the first for the real one. */
static int use_proposal(cublasLtHandle_t lt, product *p, cublasLtEpilogue_t epilogue)
{
    cublasLtMatmulAlgo_t algo[CANDIDATES];
    product usual = {};
    usual.is = p->is;
    int n = describe(&usual, usual_rows(&p->is), epilogue) ? proposals(lt, &usual, algo, CANDIDATES) : 0;
    release(&usual);
    p->broken = usual.broken ? usual.broken : p->broken;
    for (int pass = 0; pass < 2; ++pass) {
        for (int i = 0; i < n; ++i)
            if (works(lt, p, &algo[i])) {
                p->algo = algo[i];
                return 1;
            }
        n = proposals(lt, p, algo, CANDIDATES);
    }
    return 0;
}

static int is_for(const kg_lt_row *r, const key *k)
{
    return r->cc == k->cc && r->n == k->n && r->k == k->k && (!r->rows || r->rows == usual_rows(k)) && r->in == k->in && r->out == k->out &&
           r->bias == k->bias && r->gelu == k->gelu;
}

static const kg_lt_config *tabled(const key *k)
{
    for (int i = 0; i < products.n_tuned; ++i)
        if (is_for(&products.tuned[i], k))
            return &products.tuned[i].algorithm;
    for (const kg_lt_row &r : kg_lt_table)
        if (is_for(&r, k))
            return &r.algorithm;
    return NULL;
}

static cublasLtEpilogue_t epilogue_of(int bias, int gelu)
{
    if (gelu)
        return bias ? CUBLASLT_EPILOGUE_GELU_BIAS : CUBLASLT_EPILOGUE_GELU;
    return bias ? CUBLASLT_EPILOGUE_BIAS : CUBLASLT_EPILOGUE_DEFAULT;
}

/* The whole epilogue, or bias alone, or none. GELU of f32 is always a pass of our own: the library's tanh has some eleven bits. */
static void prepare(product *p)
{
    cublasLtHandle_t lt = p->is.lt;
    const kg_lt_config *row = p->is.forced ? &products.force : tabled(&p->is);
    const int gelu = p->is.gelu && p->is.out != KG_F32, bias = p->is.bias, tries[3][2] = {{bias, gelu}, {bias, 0}, {0, 0}};
    for (int i = 0; i < 3 && !p->found && !p->broken; ++i) {
        p->adds_bias = tries[i][0], p->adds_gelu = tries[i][1];
        if (i && p->adds_bias == tries[i - 1][0] && p->adds_gelu == tries[i - 1][1])
            continue;
        const cublasLtEpilogue_t epilogue = epilogue_of(p->adds_bias, p->adds_gelu);
        if (!describe(p, p->is.m, epilogue))
            continue;
        p->found = (row && use_config(lt, p, row)) || (!p->is.forced && use_proposal(lt, p, epilogue));
        if (!p->found)
            release(p);
    }
}

/* The product's place in the list; *made: it was not there. NULL: out of memory. */
static product *place_of(const key *k, int *made)
{
    std::lock_guard<std::mutex> hold(products.lock);
    *made = 0;
    for (product *p = products.first; p; p = p->next)
        if (!memcmp(&p->is, k, sizeof *k))
            return p;
    product *p = new (std::nothrow) product();
    if (!p)
        return NULL;
    *made = 1;
    p->is = *k;
    p->next = products.first;
    products.first = p;
    return p;
}

static product *product_of(const key *k)
{
    int made;
    product *p = place_of(k, &made);
    if (p)
        std::call_once(p->prepared, prepare, p);
    return p;
}

extern "C" void kg_cuda_linear_forget(cublasLtHandle_t lt)
{
    std::lock_guard<std::mutex> hold(products.lock);
    for (product **at = &products.first; *at;) {
        product *p = *at;
        if (p->is.lt == lt) {
            *at = p->next;
            release(p);
            delete p;
        } else {
            at = &p->next;
        }
    }
    if (!products.first)
        products.n_tuned = 0;          /* the next device reads them anew */
}

/* ---- dispatch ---- */
static int aligned(const kg_linear_args *a)
{
    const int64_t group = a->in.dtype == KG_F32 ? 4 : 8;
    return kg_cols(&a->in) % group == 0 && kg_wide_rows(&a->in) && kg_wide_rows(&a->weight) &&
           kg_wide_rows(&a->out);
}

static int one_row(const kg_linear_args *a)
{
    return a->in.dtype == KG_F32 && kg_rows(&a->in) == 1 && kg_cols(&a->in) % 8 == 0;
}

static size_t whole(size_t bytes) { return (bytes + KG_ALIGN - 1) / KG_ALIGN * KG_ALIGN; }
static size_t bias_bytes(const kg_linear_args *a) { return a->bias.rank ? whole((size_t)kg_cols(&a->out) * sizeof(float)) : 0; }

/* Rows of weights that are converted at once; all of them when none is. */
static int64_t slab_rows(const kg_linear_args *a)
{
    const int64_t n = kg_cols(&a->out), most = (int64_t)(SLAB / ((size_t)kg_cols(&a->in) * kg_dtype_bytes(a->in.dtype))) / 256 * 256;
    if (a->weight.dtype == a->in.dtype)
        return n;
    return most >= 256 ? most < n ? most : n : 256 < n ? 256 : n;
}

static key key_of(kg_exec *x, const kg_linear_args *a)
{
    key k;
    memset(&k, 0, sizeof k);               /* compared byte by byte */
    k.lt = kg_cuda_lt(x), k.n = kg_cols(&a->out), k.k = kg_cols(&a->in), k.m = kg_rows(&a->in);
    k.weight_row = a->weight.row, k.in_row = k.m > 1 ? a->in.row : k.k, k.out_row = k.m > 1 ? a->out.row : k.n;
    k.in = a->in.dtype, k.out = a->out.dtype, k.bias = a->bias.rank > 0, k.gelu = a->activation == KG_LINEAR_GELU;
    k.cc = kg_cuda_cc(x), k.forced = products.forced;
    return k;
}

/* One product; weights are of in's type, bias of out's. */
static void run_library(kg_exec *x, cudaStream_t s, const kg_linear_args *a)
{
    const key k = key_of(x, a);
    product *p = product_of(&k);
    kg_own_args own = kg_own_of(a);
    if (!p) {
        kg_front_fail(x, "linear", "out of host memory");
        return;
    }
    if (p->broken && !kg_cuda_lt_ok(x, p->broken, "choosing an algorithm"))
        return;
    if (!p->found) {
        kg_own_plain(s, own, a->in.dtype);
        kg_cuda_launched(x, "linear");
        return;
    }
    const float one = 1, zero = 0;
    cublasStatus_t e = CUBLAS_STATUS_SUCCESS;
    {
        std::lock_guard<std::mutex> hold(products.lock);       /* the bias is part of the description */
        if (p->adds_bias)
            e = kg_lib.cublasLtMatmulDescSetAttribute(p->op, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &own.bias, sizeof own.bias);
        if (!e)
            e = kg_lib.cublasLtMatmul(k.lt, p->op, &one, own.weight, p->weight, own.in, p->in, &zero, own.out, p->out, own.out,
                                      p->out, &p->algo, a->scratch.at, KG_LT_WORKSPACE, s);
    }
    if (!kg_cuda_lt_ok(x, e, "cublasLtMatmul") || !kg_cuda_launched(x, "linear"))
        return;
    own.bias = p->adds_bias ? NULL : own.bias;
    own.activation = p->adds_gelu ? KG_LINEAR_NONE : own.activation;
    if (own.bias || own.activation != KG_LINEAR_NONE) {
        kg_own_finish(s, own);
        kg_cuda_launched(x, "linear");
    }
}

static void cast(kg_exec *x, kg_tensor to, kg_tensor from)
{
    kg_unary_args u = {};
    u.out = to, u.in = from, u.op = KG_UNARY_COPY;
    kg_cuda_unary(x, &u);
}

static int converts(const kg_linear_args *a) { return a->weight.dtype != a->in.dtype; }
static int casts_bias(const kg_linear_args *a) { return a->bias.rank && (a->bias.dtype != a->out.dtype || !kg_wide_rows(&a->bias)); }

/* Rows i .. i + rows of the weights as they are where they lie (stored), and the product of their part of the bias and of out, which
 * finds what is converted in scratch. */
static kg_linear_args slab_of(const kg_linear_args *a, int64_t i, int64_t rows, kg_tensor *stored)
{
    const int64_t flat[2] = {kg_cols(&a->out), kg_cols(&a->in)};
    kg_linear_args part = *a;
    char *scratch = (char *)a->scratch.at + KG_LT_WORKSPACE;
    *stored = part.weight = kg_slice(a->weight.rank == 2 ? a->weight : kg_view(a->weight, 2, flat), i, rows);
    if (converts(a))
        part.weight = kg_tensor_make(scratch + bias_bytes(a), a->in.dtype, 2, part.weight.shape);
    part.out = kg_slice_cols(a->out, i, rows);
    if (casts_bias(a))
        part.bias = kg_tensor_make(scratch, a->out.dtype, 1, flat);
    if (a->bias.rank)
        part.bias = kg_slice_cols(part.bias, i, rows);
    return part;
}

/* Weights of another type: slab after slab. */
static void run_slabs(kg_exec *x, cudaStream_t s, const kg_linear_args *a)
{
    const int64_t n = kg_cols(&a->out), step = slab_rows(a);
    if (casts_bias(a))
        cast(x, kg_tensor_make((char *)a->scratch.at + KG_LT_WORKSPACE, a->out.dtype, 1, &n), a->bias);
    for (int64_t i = 0; i < n; i += step) {
        kg_tensor stored;
        const kg_linear_args part = slab_of(a, i, n - i < step ? n - i : step, &stored);
        if (converts(a))
            cast(x, part.weight, stored);
        run_library(x, s, &part);
    }
}

/* While a plan is made, for the device's second thread: choosing for the demo's products took a quarter of a second of each start. */
static void prepare_slabs(kg_exec *x, const kg_linear_args *a)
{
    const int64_t n = kg_cols(&a->out), step = slab_rows(a);
    for (int64_t i = 0; i < n; i += step) {
        kg_tensor stored;
        const kg_linear_args part = slab_of(a, i, n - i < step ? n - i : step, &stored);
        const key k = key_of(x, &part);
        int made = 0;
        product *p = k.forced ? NULL : place_of(&k, &made);
        if (made)
            kg_cuda_later(x, [p] { std::call_once(p->prepared, prepare, p); });
    }
}

extern "C" size_t kg_cuda_linear_scratch(kg_exec *x, const kg_linear_args *a, int workers)
{
    (void)workers;
    if (one_row(a) || !aligned(a) || !kg_rows(&a->in))
        return 0;
    if (kg_cuda_is_card(x))
        prepare_slabs(x, a);
    const size_t slab = (size_t)(slab_rows(a) * kg_cols(&a->in)) * kg_dtype_bytes(a->in.dtype);
    return KG_LT_WORKSPACE + bias_bytes(a) + (converts(a) ? whole(slab) : 0);
}

extern "C" void kg_cuda_linear(kg_exec *x, const kg_linear_args *a)
{
    cudaStream_t s = kg_cuda_stream(x);
    const kg_own_args own = kg_own_of(a);
    if (one_row(a) && kg_wide_rows(&a->in) && kg_wide_rows(&a->weight)) {
        kg_own_row(s, own);
    } else if (one_row(a) || !aligned(a)) {
        kg_own_plain(s, own, a->in.dtype);
    } else {
        run_slabs(x, s, a);
        return;
    }
    kg_cuda_launched(x, "linear");
}

/* ---- for tuning ---- */
/* The usual rows come first, so the first one is what a product without a row in the table gets. What is proposed for half, twice and
 * four times as many is tried as well: the library names few, and their order is a guess. */
extern "C" int kg_cuda_linear_algorithms(kg_exec *x, const kg_linear_args *a, kg_lt_config *out, int most)
{
    const key is = key_of(x, a);
    const cublasLtEpilogue_t epilogue = epilogue_of(is.bias, is.gelu && is.out != KG_F32);
    const int64_t usual = usual_rows(&is), rows[] = {usual, usual / 2, 2 * usual, 4 * usual};
    int n = 0;
    for (int64_t m : rows) {
        cublasLtMatmulAlgo_t algo[CANDIDATES];
        product p = {};
        p.is = is;
        const int found = describe(&p, m, epilogue) ? proposals(is.lt, &p, algo, CANDIDATES) : 0;
        for (int i = 0; i < found && n < most; ++i) {
            int split, reduction, known = 0;
            read_config(&algo[i], &out[n], &split, &reduction);
            for (int k = 0; k < n; ++k)
                known |= !memcmp(&out[k], &out[n], sizeof *out);
            n += !known;
        }
        release(&p);
    }
    return n;
}

extern "C" void kg_cuda_linear_row(kg_exec *x, const kg_linear_args *a, kg_lt_row *out)
{
    const key k = key_of(x, a);
    *out = {k.cc, k.n, k.k, by_rows(&k) ? usual_rows(&k) : 0, k.in, k.out, k.bias, k.gelu, {}};
}

extern "C" const kg_lt_row *kg_cuda_linear_table(int *n)
{
    *n = (int)(sizeof kg_lt_table / sizeof *kg_lt_table);
    return kg_lt_table;
}

extern "C" const kg_lt_rows *kg_cuda_linear_usual(int *n)
{
    *n = (int)(sizeof kg_lt_usual / sizeof *kg_lt_usual);
    return kg_lt_usual;
}

extern "C" void kg_cuda_linear_tuned(const kg_lt_row *rows, int n)
{
    products.n_tuned = n < KG_LT_TUNED ? n : (int)KG_LT_TUNED;
    memcpy(products.tuned, rows, (size_t)products.n_tuned * sizeof *rows);
}

extern "C" void kg_cuda_linear_force(const kg_lt_config *c)
{
    static int number;
    products.forced = c ? ++number : 0;
    if (c)
        products.force = *c;
}
