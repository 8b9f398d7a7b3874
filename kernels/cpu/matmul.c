/* Products through oneDNN, one tile at a time on the calling thread. This file alone knows oneDNN's matmul.
 *
 * A prepared product is a primitive for one shape and layout. Making one compiles code (some 0.3 ms), so they are kept for the
 * life of the process in a list that only grows; a model uses a few dozen. Scratch is the caller's.
 *
 * Where oneDNN has no bf16 product (processors without AVX-512), and for f16 everywhere, both factors are widened into scratch, a
 * stretch of k at a time, and multiplied in f32: f16 is the card's type, and its reference here. */
#include "kernels/cpu/matmul.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <oneapi/dnnl/dnnl.h>

struct kg_matmul {
    kg_matmul_shape shape;
    dnnl_primitive_t primitive;
    dnnl_memory_desc_t a, b, c, scratch;
    size_t scratch_bytes;
    int64_t widened;               /* 0, or the length of a stretch: the way without bf16 products */
    kg_matmul *next;
};

static struct {
    pthread_mutex_t lock;
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    kg_matmul *first;
} all = {.lock = PTHREAD_MUTEX_INITIALIZER};

static int same(const kg_matmul_shape *a, const kg_matmul_shape *b)
{
    return a->type == b->type && a->m == b->m && a->n == b->n && a->k == b->k && a->lda == b->lda && a->ldb == b->ldb &&
           a->transposed == b->transposed;
}

/* What differs between oneDNN 2 (Debian 12) and 3 (Ubuntu 24.04): descriptions were structures, and are handles. */
#if DNNL_VERSION_MAJOR >= 3
#define DESC(d) (d)
static dnnl_status_t describe(dnnl_memory_desc_t *d, dnnl_data_type_t type, int64_t rows, int64_t cols, int64_t row, int64_t col)
{
    return dnnl_memory_desc_create_with_strides(d, 2, (dnnl_dims_t){rows, cols}, type, (dnnl_dims_t){row, col});
}

static dnnl_status_t find_primitive(const kg_matmul *p, dnnl_primitive_attr_t attr, dnnl_primitive_desc_t *found)
{
    return dnnl_matmul_primitive_desc_create(found, all.engine, p->a, p->b, NULL, p->c, attr);
}

static dnnl_status_t describe_scratch(kg_matmul *p, dnnl_primitive_desc_t found)
{
    return dnnl_memory_desc_clone(&p->scratch, dnnl_primitive_desc_query_md(found, dnnl_query_scratchpad_md, 0));
}
#else
#define DESC(d) (&(d))
static dnnl_status_t describe(dnnl_memory_desc_t *d, dnnl_data_type_t type, int64_t rows, int64_t cols, int64_t row, int64_t col)
{
    return dnnl_memory_desc_init_by_strides(d, 2, (dnnl_dims_t){rows, cols}, type, (dnnl_dims_t){row, col});
}

static dnnl_status_t find_primitive(const kg_matmul *p, dnnl_primitive_attr_t attr, dnnl_primitive_desc_t *found)
{
    dnnl_matmul_desc_t d;
    dnnl_status_t e = dnnl_matmul_desc_init(&d, &p->a, &p->b, NULL, &p->c);
    return e ? e : dnnl_primitive_desc_create(found, &d, attr, all.engine, NULL);
}

static dnnl_status_t describe_scratch(kg_matmul *p, dnnl_primitive_desc_t found)
{
    p->scratch = *dnnl_primitive_desc_query_md(found, dnnl_query_scratchpad_md, 0);
    return dnnl_success;
}
#endif

static dnnl_status_t open_engine(void)
{
    dnnl_status_t e = all.engine ? dnnl_success : dnnl_engine_create(&all.engine, dnnl_cpu, 0);
    return e || all.stream ? e : dnnl_stream_create(&all.stream, all.engine, dnnl_stream_default_flags);
}

/* || stops at the first that fails; its status is the answer. */
static dnnl_status_t prepare(kg_matmul *p)
{
    const kg_matmul_shape *s = &p->shape;
    dnnl_data_type_t type = s->type == KG_F32 ? dnnl_f32 : dnnl_bf16;
    dnnl_primitive_attr_t attr = NULL;
    dnnl_primitive_desc_t found = NULL;
    dnnl_status_t e;
    int failed = (e = open_engine()) || (e = describe(&p->a, type, s->m, s->k, s->lda, 1)) ||
                 (e = describe(&p->b, type, s->k, s->n, s->transposed ? 1 : s->ldb, s->transposed ? s->ldb : 1)) ||
                 (e = describe(&p->c, dnnl_f32, s->m, s->n, s->n, 1)) || (e = dnnl_primitive_attr_create(&attr)) ||
                 (e = dnnl_primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user)) ||
                 (e = find_primitive(p, attr, &found)) || (e = describe_scratch(p, found)) ||
                 (e = dnnl_primitive_create(&p->primitive, found));
    if (!failed)
        p->scratch_bytes = dnnl_memory_desc_get_size(DESC(p->scratch));
    if (found)
        dnnl_primitive_desc_destroy(found);
    if (attr)
        dnnl_primitive_attr_destroy(attr);
    return e;
}

/* Room for a stretch of a and of b in scratch; 0: none at all. */
static int64_t stretch(const kg_matmul_shape *s)
{
    int64_t most = KG_MATMUL_SCRATCH / ((int64_t)sizeof(float) * (s->m + s->n));
    return most < s->k ? most : s->k;
}

const kg_matmul *kg_matmul_get(kg_matmul_shape shape)
{
    kg_cpu_single();
    pthread_mutex_lock(&all.lock);
    kg_matmul *p = all.first;
    while (p && !same(&p->shape, &shape))
        p = p->next;
    if (!p && (p = calloc(1, sizeof *p)) != NULL) {
        p->shape = shape;
        dnnl_status_t e = shape.type == KG_F16 ? open_engine() : prepare(p);
        if (shape.type == KG_F16 || (e == dnnl_unimplemented && shape.type == KG_BF16))
            p->widened = stretch(&shape);
        if (e == dnnl_success || p->widened) {
            p->next = all.first;
            all.first = p;
        } else {
            free(p);
            p = NULL;
        }
    }
    pthread_mutex_unlock(&all.lock);
    if (!p)
        kg_fail(KG_FAILED, "oneDNN has no %s product of [%lld, %lld] x [%lld, %lld]", kg_dtype_name(shape.type),
                (long long)shape.m, (long long)shape.k, (long long)shape.k, (long long)shape.n);
    return p;
}

static float from_bits(uint32_t u)
{
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

/* The exponent moves from bias 15 to 127 by a product with 2^112, exact for subnormals too; infinities and NaN keep the largest. */
static float from_half(uint16_t h)
{
    float f = from_bits((uint32_t)(h & 0x7fff) << 13) * 0x1p112f;
    f = f >= 65536.0f ? from_bits((uint32_t)(h & 0x7fff) << 13 | 0x7f800000) : f;
    return h & 0x8000 ? -f : f;
}

static void widen(kg_dtype type, float *out, const uint16_t *in, int64_t rows, int64_t cols, int64_t row)
{
    for (int64_t r = 0; r < rows; ++r)
        for (int64_t c = 0; c < cols; ++c) {
            uint16_t h = in[r * row + c];
            out[r * cols + c] = type == KG_BF16 ? from_bits((uint32_t)h << 16) : from_half(h);
        }
}

static int run_widened(const kg_matmul *p, const uint16_t *a, const uint16_t *b, float *c, float *scratch)
{
    const kg_matmul_shape *s = &p->shape;
    float *wide_b = scratch + s->m * p->widened;
    int failed = 0;
    for (int64_t k0 = 0; k0 < s->k; k0 += p->widened) {
        int64_t k = s->k - k0 < p->widened ? s->k - k0 : p->widened;
        widen(s->type, scratch, a + k0, s->m, k, s->lda);
        if (s->transposed)
            widen(s->type, wide_b, b + k0, s->n, k, s->ldb);
        else
            widen(s->type, wide_b, b + k0 * s->ldb, k, s->n, s->ldb);
        failed |= dnnl_sgemm('N', s->transposed ? 'T' : 'N', s->m, s->n, k, 1.0f, scratch, k, wide_b, s->transposed ? k : s->n,
                             k0 ? 1.0f : 0.0f, c, s->n) != dnnl_success;
    }
    return failed;
}

int kg_matmul_run(const kg_matmul *p, const void *a, const void *b, float *c, void *scratch)
{
    if (p->widened)
        return run_widened(p, a, b, c, scratch);
    void *own = NULL;
    dnnl_memory_t m[4] = {NULL};
    if (p->scratch_bytes > KG_MATMUL_SCRATCH)      /* seen for no shape; slower, and right */
        scratch = own = aligned_alloc(64, (p->scratch_bytes + 63) & ~(size_t)63);
    int failed = !scratch || dnnl_memory_create(&m[0], DESC(p->a), all.engine, (void *)(uintptr_t)a) ||
                 dnnl_memory_create(&m[1], DESC(p->b), all.engine, (void *)(uintptr_t)b) ||
                 dnnl_memory_create(&m[2], DESC(p->c), all.engine, c) || dnnl_memory_create(&m[3], DESC(p->scratch), all.engine, scratch);
    dnnl_exec_arg_t args[4] = {{DNNL_ARG_SRC, m[0]}, {DNNL_ARG_WEIGHTS, m[1]}, {DNNL_ARG_DST, m[2]}, {DNNL_ARG_SCRATCHPAD, m[3]}};
    failed = failed || dnnl_primitive_execute(p->primitive, all.stream, 4, args) != dnnl_success;
    for (int i = 0; i < 4; ++i)
        if (m[i])
            dnnl_memory_destroy(m[i]);
    free(own);
    return failed;
}
