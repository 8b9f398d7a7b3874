/* Attention through cuDNN's graph interface: one fused operation on q, k, v as they lie in a product's rows, heads of 128 and 16 bits.
 *
 * A plan is made for each shape and layout, ahead of its run where that was planned, and kept with its handle. The engine is the
 * first of cuDNN's own order that can be prepared and whose workspace is within what scratch was planned for; its kernels sum in a
 * fixed order. Offsets are 64 bits wide. What cuDNN refuses (a library before 9.13.1 has no such operation) is remembered, said once,
 * and left to our own kernel. */
#include "kernels/cuda/attention.h"

#include <atomic>
#include <mutex>
#include <new>
#include <string.h>

enum { UID_Q = 1, UID_K, UID_V, UID_O, UID_SCALE, UIDS = UID_SCALE, CONFIGS = 8 };

struct shape { cudnnHandle_t dnn; int64_t nq, nk, heads, d, q_row, k_row, v_row, out_row; int type; };
struct plan {
    shape is;
    int64_t most;                              /* of workspace */
    std::once_flag once;
    cudnnBackendDescriptor_t ready;            /* NULL: refused */
    int64_t workspace;
    plan *next;
};

static struct { std::mutex lock; plan *first; std::atomic<int> said; } plans;

/* ---- descriptors; each call is 1 when all is well ---- */
typedef cudnnBackendDescriptor_t descriptor;

static int set(descriptor d, cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, int64_t n, const void *values)
{
    return kg_lib.cudnnBackendSetAttribute(d, name, type, n, values) == CUDNN_STATUS_SUCCESS;
}

static int set_one(descriptor d, cudnnBackendAttributeName_t name, descriptor value)
{
    return set(d, name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &value);
}

static int create(cudnnBackendDescriptorType_t type, descriptor *d)
{
    *d = NULL;
    return kg_lib.cudnnBackendCreateDescriptor(type, d) == CUDNN_STATUS_SUCCESS;
}

static int finalize(descriptor d) { return kg_lib.cudnnBackendFinalize(d) == CUDNN_STATUS_SUCCESS; }

static void destroy(descriptor d)
{
    if (d)
        kg_lib.cudnnBackendDestroyDescriptor(d);
}

/* [1, heads, rows, d] in rows of `row` elements; without rows one f32 that the host gives. */
static int tensor(descriptor *t, int64_t uid, cudnnDataType_t type, int64_t heads, int64_t rows, int64_t d, int64_t row)
{
    const int64_t size[4] = {1, heads, rows, d}, step[4] = {rows * row, d, row, 1}, one[4] = {1, 1, 1, 1}, align = 16;
    const bool yes = true, no = false;
    return create(CUDNN_BACKEND_TENSOR_DESCRIPTOR, t) && set(*t, CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &type) &&
           set(*t, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, 4, rows ? size : one) &&
           set(*t, CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, 4, rows ? step : one) &&
           set(*t, CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, 1, &uid) &&
           set(*t, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, 1, &align) &&
           set(*t, CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, 1, &no) &&
           (rows || set(*t, CUDNN_ATTR_TENSOR_IS_BY_VALUE, CUDNN_TYPE_BOOLEAN, 1, &yes)) && finalize(*t);
}

#if CUDNN_VERSION >= 91301
/* The operation on its five tensors, and the graph that consists of it. */
static int graph_of(const shape *s, cudnnHandle_t dnn, descriptor t[UIDS + 1], descriptor *operation, descriptor *graph)
{
    const cudnnDataType_t type = s->type == KG_BF16 ? CUDNN_DATA_BFLOAT16 : CUDNN_DATA_HALF;
    return tensor(&t[UID_Q], UID_Q, type, s->heads, s->nq, s->d, s->q_row) &&
           tensor(&t[UID_K], UID_K, type, s->heads, s->nk, s->d, s->k_row) &&
           tensor(&t[UID_V], UID_V, type, s->heads, s->nk, s->d, s->v_row) &&
           tensor(&t[UID_O], UID_O, type, s->heads, s->nq, s->d, s->out_row) &&
           tensor(&t[UID_SCALE], UID_SCALE, CUDNN_DATA_FLOAT, 0, 0, 0, 0) &&
           create(CUDNN_BACKEND_OPERATION_SDPA_FWD_DESCRIPTOR, operation) &&
           set_one(*operation, CUDNN_ATTR_OPERATION_SDPA_FWD_QDESC, t[UID_Q]) &&
           set_one(*operation, CUDNN_ATTR_OPERATION_SDPA_FWD_KDESC, t[UID_K]) &&
           set_one(*operation, CUDNN_ATTR_OPERATION_SDPA_FWD_VDESC, t[UID_V]) &&
           set_one(*operation, CUDNN_ATTR_OPERATION_SDPA_FWD_ODESC, t[UID_O]) &&
           set_one(*operation, CUDNN_ATTR_OPERATION_SDPA_FWD_SCALEDESC, t[UID_SCALE]) && finalize(*operation) &&
           create(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR, graph) && set_one(*graph, CUDNN_ATTR_OPERATIONGRAPH_OPS, *operation) &&
           set(*graph, CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, 1, &dnn) && finalize(*graph);
}
#else
static int graph_of(const shape *s, cudnnHandle_t dnn, descriptor t[UIDS + 1], descriptor *operation, descriptor *graph)
{
    (void)s, (void)dnn, (void)t, (void)operation, (void)graph, (void)tensor;      /* these headers have no such operation */
    return 0;
}
#endif

/* An execution plan of one engine's configuration, when it can be prepared and its workspace is small enough. */
static int plan_of(plan *p, cudnnHandle_t dnn, descriptor config)
{
    int64_t n = 0;
    if (create(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR, &p->ready) && set_one(p->ready, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, config) &&
        set(p->ready, CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, 1, &dnn) && finalize(p->ready) &&
        kg_lib.cudnnBackendGetAttribute(p->ready, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64, 1, &n, &p->workspace) ==
            CUDNN_STATUS_SUCCESS && p->workspace <= p->most)
        return 1;
    destroy(p->ready);
    p->ready = NULL;
    return 0;
}

static int choose(plan *p, cudnnHandle_t dnn, descriptor graph)
{
    const cudnnBackendHeurMode_t mode = CUDNN_HEUR_MODE_A;
    descriptor search = NULL, config[CONFIGS] = {};
    int64_t found = 0;
    int made = 0, good = create(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR, &search) &&
                         set_one(search, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph) &&
                         set(search, CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, &mode) && finalize(search);
    while (good && made < CONFIGS && create(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR, &config[made]))
        ++made;
    if (good)
        good = made && kg_lib.cudnnBackendGetAttribute(search, CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_TYPE_BACKEND_DESCRIPTOR, made, &found,
                                                       config) == CUDNN_STATUS_SUCCESS;
    for (int64_t i = 0; good && i < found && i < made && !p->ready; ++i)
        plan_of(p, dnn, config[i]);
    for (int i = 0; i < made; ++i)
        destroy(config[i]);
    destroy(search);
    return p->ready != NULL;
}

static void prepare(plan *p, cudnnHandle_t dnn)
{
    descriptor t[UIDS + 1] = {}, operation = NULL, graph = NULL;
    char why[256] = "";
    if (!graph_of(&p->is, dnn, t, &operation, &graph) || !choose(p, dnn, graph)) {
        kg_lib.cudnnGetLastErrorString(why, sizeof why);
        if (!plans.said.exchange(1))
            kg_log("cuDNN %zu has no attention for these heads (%s): our own kernel takes it", kg_lib.cudnnGetVersion(),
                   why[0] ? why : "no engine fits");
    }
    destroy(graph);
    destroy(operation);
    for (descriptor d : t)
        destroy(d);
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

/* NULL: none can be had. *is_new: nobody asked for it before; it is not made yet. */
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
    if (!p)
        return NULL;
    p->is = s;
    p->most = (int64_t)kg_dnn_scratch(a);
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
        return 0;
    std::call_once(p->once, prepare, p, p->is.dnn);
    if (!p->ready)
        return 0;
    float scale = (float)a->scale;
    void *at[UIDS] = {a->q.at, a->k.at, a->v.at, a->out.at, &scale}, *room = a->scratch.at;
    const int64_t uid[UIDS] = {UID_Q, UID_K, UID_V, UID_O, UID_SCALE};
    descriptor pack = NULL;
    const int good = create(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR, &pack) &&
                     set(pack, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, UIDS, at) &&
                     set(pack, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, UIDS, uid) &&
                     set(pack, CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1, &room) && finalize(pack);
    cudnnStatus_t e = good ? kg_lib.cudnnBackendExecute(p->is.dnn, p->ready, pack) : CUDNN_STATUS_INTERNAL_ERROR;
    destroy(pack);
    if (kg_cuda_dnn_ok(x, e, "cuDNN attention"))
        kg_cuda_launched(x, "attention");
    return 1;
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
        destroy(p->ready);
        delete p;
    }
}
