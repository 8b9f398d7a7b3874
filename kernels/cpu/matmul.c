/* Products through oneDNN, one tile at a time on the calling thread. This file alone knows oneDNN's matmul.
 *
 * A prepared product is a primitive for one shape and layout. Making one compiles code (some 0.3 ms), so they are kept for the
 * life of the process in a list that only grows; a model uses a few dozen. Scratch is the caller's. */
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

static dnnl_status_t prepare(kg_matmul *p)
{
    const kg_matmul_shape *s = &p->shape;
    dnnl_data_type_t type = s->type == KG_F32 ? dnnl_f32 : dnnl_bf16;
    dnnl_dims_t da = {s->m, s->k}, db = {s->k, s->n}, dc = {s->m, s->n};
    dnnl_dims_t sa = {s->lda, 1}, sb = {s->transposed ? 1 : s->ldb, s->transposed ? s->ldb : 1}, sc = {s->n, 1};
    dnnl_matmul_desc_t desc;
    dnnl_primitive_attr_t attr = NULL;
    dnnl_primitive_desc_t made = NULL;
    dnnl_status_t e = dnnl_success;
    (void)(!all.engine && ((e = dnnl_engine_create(&all.engine, dnnl_cpu, 0)) ||
                           (e = dnnl_stream_create(&all.stream, all.engine, dnnl_stream_default_flags))));
    (void)(e || (e = dnnl_memory_desc_init_by_strides(&p->a, 2, da, type, sa)) ||
           (e = dnnl_memory_desc_init_by_strides(&p->b, 2, db, type, sb)) ||
           (e = dnnl_memory_desc_init_by_strides(&p->c, 2, dc, dnnl_f32, sc)) ||
           (e = dnnl_matmul_desc_init(&desc, &p->a, &p->b, NULL, &p->c)) || (e = dnnl_primitive_attr_create(&attr)) ||
           (e = dnnl_primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user)) ||
           (e = dnnl_primitive_desc_create(&made, &desc, attr, all.engine, NULL)));
    if (!e) {
        p->scratch = *dnnl_primitive_desc_query_md(made, dnnl_query_scratchpad_md, 0);
        p->scratch_bytes = dnnl_memory_desc_get_size(&p->scratch);
        e = dnnl_primitive_create(&p->primitive, made);
    }
    if (made)
        dnnl_primitive_desc_destroy(made);
    if (attr)
        dnnl_primitive_attr_destroy(attr);
    return e;
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
        if (prepare(p) == dnnl_success) {
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

int kg_matmul_run(const kg_matmul *p, const void *a, const void *b, float *c, void *scratch)
{
    void *own = NULL;
    dnnl_memory_t m[4] = {NULL};
    if (p->scratch_bytes > KG_MATMUL_SCRATCH)      /* seen for no shape; slower, and right */
        scratch = own = aligned_alloc(64, (p->scratch_bytes + 63) & ~(size_t)63);
    int failed = !scratch || dnnl_memory_create(&m[0], &p->a, all.engine, (void *)(uintptr_t)a) ||
                 dnnl_memory_create(&m[1], &p->b, all.engine, (void *)(uintptr_t)b) ||
                 dnnl_memory_create(&m[2], &p->c, all.engine, c) || dnnl_memory_create(&m[3], &p->scratch, all.engine, scratch);
    dnnl_exec_arg_t args[4] = {{DNNL_ARG_SRC, m[0]}, {DNNL_ARG_WEIGHTS, m[1]}, {DNNL_ARG_DST, m[2]}, {DNNL_ARG_SCRATCHPAD, m[3]}};
    failed = failed || dnnl_primitive_execute(p->primitive, all.stream, 4, args) != dnnl_success;
    for (int i = 0; i < 4; ++i)
        if (m[i])
            dnnl_memory_destroy(m[i]);
    free(own);
    return failed;
}
