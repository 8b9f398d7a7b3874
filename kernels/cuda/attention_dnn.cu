/* Attention through cuDNN's graph interface: one fused operation on q, k, v as they lie in a product's rows, heads of 128 and 16 bits.
 *
 * A plan is made for each shape and layout, ahead of its run where that was planned, and kept with its handle; its workspace is within
 * what scratch was planned for (dnn.cu). Offsets are 64 bits wide. What cuDNN refuses (a library before 9.13.1 has no such operation)
 * is remembered, said once, and left to our own kernel. */
#include "kernels/cuda/attention.h"
#include "kernels/cuda/dnn.h"

#include <atomic>
#include <mutex>
#include <new>
#include <string.h>

enum { UID_Q = 1, UID_K, UID_V, UID_O, UID_SCALE, UIDS = UID_SCALE };

struct shape { cudnnHandle_t dnn; int64_t nq, nk, heads, d, q_row, k_row, v_row, out_row; int type; };
struct plan {
    shape is;
    int64_t most;                              /* of workspace */
    kg_engine_place place;
    std::once_flag once;
    kg_part tensor[UIDS + 1], operation, graph;
    kg_engine engine;
    plan *next;
};

static struct { std::mutex lock; plan *first; std::atomic<int> said; } plans;

/* [1, heads, rows, d] in rows of `row` elements; without rows one f32 that the host gives. */
static void tensor(kg_maker *m, kg_part *t, int64_t uid, cudnnDataType_t type, int64_t heads, int64_t rows, int64_t d, int64_t row)
{
    const int64_t size[4] = {1, heads, rows, d}, step[4] = {rows * row, d, row, 1}, one[4] = {1, 1, 1, 1}, align = 16;
    const bool yes = true, no = false;
    kg_dnn_create(m, t, CUDNN_BACKEND_TENSOR_DESCRIPTOR);
    kg_dnn_set(m, t, CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &type);
    kg_dnn_set(m, t, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, 4, rows ? size : one);
    kg_dnn_set(m, t, CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, 4, rows ? step : one);
    kg_dnn_set(m, t, CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, 1, &uid);
    kg_dnn_set(m, t, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, 1, &align);
    kg_dnn_set(m, t, CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, 1, &no);
    if (!rows)
        kg_dnn_set(m, t, CUDNN_ATTR_TENSOR_IS_BY_VALUE, CUDNN_TYPE_BOOLEAN, 1, &yes);
    kg_dnn_finish(m, t);
}

#if CUDNN_VERSION >= 91301
/* The operation on its five tensors, and the graph that consists of it. */
static void build_graph(kg_maker *m, plan *p, cudnnHandle_t dnn)
{
    const shape *s = &p->is;
    const cudnnDataType_t type = kg_dnn_type(s->type);
    tensor(m, &p->tensor[UID_Q], UID_Q, type, s->heads, s->nq, s->d, s->q_row);
    tensor(m, &p->tensor[UID_K], UID_K, type, s->heads, s->nk, s->d, s->k_row);
    tensor(m, &p->tensor[UID_V], UID_V, type, s->heads, s->nk, s->d, s->v_row);
    tensor(m, &p->tensor[UID_O], UID_O, type, s->heads, s->nq, s->d, s->out_row);
    tensor(m, &p->tensor[UID_SCALE], UID_SCALE, CUDNN_DATA_FLOAT, 0, 0, 0, 0);
    kg_dnn_create(m, &p->operation, CUDNN_BACKEND_OPERATION_SDPA_FWD_DESCRIPTOR);
    kg_dnn_join(m, &p->operation, CUDNN_ATTR_OPERATION_SDPA_FWD_QDESC, &p->tensor[UID_Q]);
    kg_dnn_join(m, &p->operation, CUDNN_ATTR_OPERATION_SDPA_FWD_KDESC, &p->tensor[UID_K]);
    kg_dnn_join(m, &p->operation, CUDNN_ATTR_OPERATION_SDPA_FWD_VDESC, &p->tensor[UID_V]);
    kg_dnn_join(m, &p->operation, CUDNN_ATTR_OPERATION_SDPA_FWD_ODESC, &p->tensor[UID_O]);
    kg_dnn_join(m, &p->operation, CUDNN_ATTR_OPERATION_SDPA_FWD_SCALEDESC, &p->tensor[UID_SCALE]);
    kg_dnn_finish(m, &p->operation);
    kg_dnn_graph(m, &p->graph, dnn, 1, &p->operation.d);
}
#else
static void build_graph(kg_maker *m, plan *p, cudnnHandle_t dnn)
{
    (void)p, (void)dnn, (void)tensor;          /* these headers have no such operation */
    m->status = CUDNN_STATUS_NOT_SUPPORTED;
}
#endif

static void prepare(plan *p, cudnnHandle_t dnn)
{
    kg_maker m = {CUDNN_STATUS_SUCCESS};
    char why[256] = "";
    build_graph(&m, p, dnn);
    kg_engine_find(&p->engine, &m, dnn, &p->graph, p->most, &p->place);
    if (p->engine.works || p->engine.broken != CUDNN_STATUS_SUCCESS || plans.said.exchange(1))
        return;
    kg_lib.cudnnGetLastErrorString(why, sizeof why);
    kg_log("cuDNN %zu has no attention for these heads (%s): our own kernel takes it", kg_lib.cudnnGetVersion(),
           why[0] ? why : "no engine fits");
}

/* ---- calls ---- */
int kg_dnn_fits(const kg_attention_args *a)
{
    return a->q.dtype != KG_F32 && a->out.dtype == a->q.dtype && kg_cols(&a->q) == (int64_t)a->heads * 128 && !a->bias.rank &&
           kg_wide_rows(&a->q) && kg_wide_rows(&a->k) && kg_wide_rows(&a->v) && kg_wide_rows(&a->out);
}

/* A bound that plans are held to: cuDNN wants at most two floats a row and head, if anything. */
size_t kg_dnn_scratch(const kg_attention_args *a)
{
    return ((size_t)1 << 20) + (size_t)kg_rows(&a->q) * (size_t)a->heads * 2 * sizeof(float);
}

/* NULL: not on this lane, or an error. *is_new: nobody asked for it before; it is not made yet. */
static plan *plan_of_call(kg_exec *x, const kg_attention_args *a, bool *is_new)
{
    shape s;
    memset(&s, 0, sizeof s);               /* compared byte by byte */
    s.dnn = kg_exec_lane(x) == KG_LANE_COMPUTE ? kg_cuda_dnn(x) : NULL;
    s.nq = kg_rows(&a->q), s.nk = kg_rows(&a->k), s.heads = a->heads, s.d = kg_cols(&a->q) / a->heads;
    s.q_row = a->q.row, s.k_row = a->k.row, s.v_row = a->v.row, s.out_row = a->out.row, s.type = a->q.dtype;
    *is_new = false;
    if (!s.dnn)
        return NULL;
    std::lock_guard<std::mutex> hold(plans.lock);
    for (plan *p = plans.first; p; p = p->next)
        if (!memcmp(&p->is, &s, sizeof s))
            return p;
    plan *p = new (std::nothrow) plan();
    if (!p) {
        kg_front_fail(x, "attention", "out of host memory");
        return NULL;
    }
    p->is = s;
    p->most = (int64_t)kg_dnn_scratch(a);
    s.dnn = NULL;                          /* what is kept is for every handle */
    p->place = kg_engine_place_of(x, "attention", &s, sizeof s);
    p->next = plans.first;
    *is_new = true;
    return plans.first = p;
}

void kg_dnn_prepare(kg_exec *x, const kg_attention_args *a)
{
    bool is_new = false;
    plan *p = kg_rows(&a->q) ? plan_of_call(x, a, &is_new) : NULL;
    cudnnHandle_t own = kg_cuda_dnn_later(x);
    if (is_new)
        kg_cuda_later(x, [p, own] { std::call_once(p->once, prepare, p, own); });
}

int kg_dnn_run(kg_exec *x, const kg_attention_args *a)
{
    bool is_new;
    plan *p = plan_of_call(x, a, &is_new);
    if (!p)
        return kg_exec_lane(x) == KG_LANE_COMPUTE;
    std::call_once(p->once, prepare, p, p->is.dnn);
    if (p->engine.broken != CUDNN_STATUS_SUCCESS)
        return !kg_cuda_dnn_ok(x, p->engine.broken, "looking for an engine of attention");
    if (!p->engine.works)
        return 0;
    const float scale = (float)a->scale;
    const void *at[UIDS] = {a->q.at, a->k.at, a->v.at, a->out.at, &scale};
    const int64_t uid[UIDS] = {UID_Q, UID_K, UID_V, UID_O, UID_SCALE};
    return kg_engine_run(x, &p->engine, p->is.dnn, UIDS, uid, at, a->scratch.at, "attention");
}

extern "C" void kg_cuda_attention_forget(cudnnHandle_t dnn)
{
    std::lock_guard<std::mutex> hold(plans.lock);
    for (plan **at = &plans.first; *at;) {
        plan *p = *at;
        if (p->is.dnn != dnn) {
            at = &p->next;
            continue;
        }
        *at = p->next;
        delete p;
    }
}
