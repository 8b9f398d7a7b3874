/* cuDNN's convolution through its graph interface: one product with bias and residual in its epilogue.
 *
 * A shape's engine is the first that the heuristics name which is deterministic, keeps the precision asked for and needs no more
 * workspace than KG_DNN_WORKSPACE: fixed by shape, card and version of cuDNN (which are in the numerics tag), never by a timing.
 * Planning a run asks for it, a thread of the device's looks for it meanwhile, and it is kept as long as the device's handle. */
#include "kernels/cuda/conv.cuh"

#include <mutex>
#include <new>
#include <stdio.h>
#include <string.h>

static const int64_t X = 'x', W = 'w', BIAS = 'b', ADD = 'a', Y = 'y', BETWEEN = '0';      /* what a plan calls its tensors */
static const int64_t SUMS = KG_F32;
enum { CONFIGS = 32, NOTES = 64 };

struct part {
    cudnnBackendDescriptor_t d = NULL;
    part() {}
    part(const part &) = delete;
    ~part()
    {
        if (d)
            kg_lib.cudnnBackendDestroyDescriptor(d);
    }
};

/* All parts stay while the plan does: a plan may look at what it was made of. */
struct plan {
    kg_dnn_shape shape;
    cudnnHandle_t owner, handle;       /* the device's; that of the thread which makes it */
    std::once_flag once;
    part tensor[8], conv, product, sum[2], add[2], graph, heuristics, config, execution;
    int works = 0;
    plan *next = NULL;
};

/* The first failure is kept and the rest is not tried. */
struct maker { cudnnStatus_t status; };

static void create(maker *m, part *p, cudnnBackendDescriptorType_t type)
{
    if (m->status == CUDNN_STATUS_SUCCESS)
        m->status = kg_lib.cudnnBackendCreateDescriptor(type, &p->d);
}

static void set(maker *m, part *p, cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, int64_t n, const void *v)
{
    if (m->status == CUDNN_STATUS_SUCCESS)
        m->status = kg_lib.cudnnBackendSetAttribute(p->d, name, type, n, v);
}

static void finish(maker *m, part *p)
{
    if (m->status == CUDNN_STATUS_SUCCESS)
        m->status = kg_lib.cudnnBackendFinalize(p->d);
}

static void join(maker *m, part *p, cudnnBackendAttributeName_t name, const part *to)
{
    set(m, p, name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &to->d);
}

static cudnnDataType_t type_of(int64_t t)
{
    return t == KG_F32 ? CUDNN_DATA_FLOAT : t == KG_BF16 ? CUDNN_DATA_BFLOAT16 : CUDNN_DATA_HALF;
}

static void tensor(maker *m, part *p, int64_t name, int64_t type, int64_t rank, const int64_t *size, const int64_t *step, bool between)
{
    cudnnDataType_t t = type_of(type);
    int64_t align = 16;
    create(m, p, CUDNN_BACKEND_TENSOR_DESCRIPTOR);
    set(m, p, CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &t);
    set(m, p, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, rank, size);
    set(m, p, CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, rank, step);
    set(m, p, CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, 1, &name);
    set(m, p, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, 1, &align);
    set(m, p, CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, 1, &between);
    finish(m, p);
}

void kg_dnn_dense(int64_t rank, const int64_t *size, int64_t *step)
{
    int64_t n = size[1];
    step[1] = 1;
    for (int64_t i = rank - 1; i > 1; --i) {
        step[i] = n;
        n *= size[i];
    }
    step[0] = n;
}

static void convolution(maker *m, plan *p, part *x, part *w, part *y)
{
    const kg_dnn_shape *s = &p->shape;
    const int64_t dims = s->rank - 2, ones[3] = {1, 1, 1};
    cudnnDataType_t sums = CUDNN_DATA_FLOAT;
    cudnnConvolutionMode_t mode = CUDNN_CROSS_CORRELATION;
    create(m, &p->conv, CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
    set(m, &p->conv, CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, CUDNN_TYPE_INT64, 1, &dims);
    set(m, &p->conv, CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &sums);
    set(m, &p->conv, CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, 1, &mode);
    set(m, &p->conv, CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, CUDNN_TYPE_INT64, dims, s->pad);
    set(m, &p->conv, CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, CUDNN_TYPE_INT64, dims, s->pad);
    set(m, &p->conv, CUDNN_ATTR_CONVOLUTION_DILATIONS, CUDNN_TYPE_INT64, dims, ones);
    set(m, &p->conv, CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, CUDNN_TYPE_INT64, dims, s->stride);
    finish(m, &p->conv);
    const float one = 1, zero = 0;
    create(m, &p->product, CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR);
    set(m, &p->product, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA, CUDNN_TYPE_FLOAT, 1, &one);
    set(m, &p->product, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA, CUDNN_TYPE_FLOAT, 1, &zero);
    join(m, &p->product, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC, &p->conv);
    join(m, &p->product, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X, x);
    join(m, &p->product, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W, w);
    join(m, &p->product, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y, y);
    finish(m, &p->product);
}

/* y = x + b, in f32. */
static void addition(maker *m, part *how, part *op, const part *x, const part *b, const part *y)
{
    cudnnPointwiseMode_t mode = CUDNN_POINTWISE_ADD;
    cudnnDataType_t sums = CUDNN_DATA_FLOAT;
    create(m, how, CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
    set(m, how, CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, 1, &mode);
    set(m, how, CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_TYPE_DATA_TYPE, 1, &sums);
    finish(m, how);
    create(m, op, CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
    join(m, op, CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, how);
    join(m, op, CUDNN_ATTR_OPERATION_POINTWISE_XDESC, x);
    join(m, op, CUDNN_ATTR_OPERATION_POINTWISE_BDESC, b);
    join(m, op, CUDNN_ATTR_OPERATION_POINTWISE_YDESC, y);
    finish(m, op);
}

/* The product, then its additions: what is between two of them is f32 and never in memory. */
static void build_graph(maker *m, plan *p)
{
    const kg_dnn_shape *s = &p->shape;
    int64_t w_step[5], bias[5] = {1, s->y[1], 1, 1, 1}, bias_step[5], additions = s->has_bias + s->has_add;
    part *last = &p->tensor[2];
    cudnnBackendDescriptor_t ops[3];
    kg_dnn_dense(s->rank, s->w, w_step);
    kg_dnn_dense(s->rank, bias, bias_step);
    tensor(m, &p->tensor[0], X, s->act, s->rank, s->x, s->x_step, false);
    tensor(m, &p->tensor[1], W, s->act, s->rank, s->w, w_step, false);
    tensor(m, last, additions ? BETWEEN : Y, additions ? SUMS : s->act, s->rank, s->y, s->y_step, additions > 0);
    convolution(m, p, &p->tensor[0], &p->tensor[1], last);
    ops[0] = p->product.d;
    for (int64_t i = 0; i < additions; ++i) {
        bool is_bias = s->has_bias && !i, ends = i + 1 == additions;
        part *term = &p->tensor[3 + 2 * i], *to = term + 1;
        if (is_bias)
            tensor(m, term, BIAS, s->bias, s->rank, bias, bias_step, false);
        else
            tensor(m, term, ADD, s->act, s->rank, s->y, s->y_step, false);
        tensor(m, to, ends ? Y : BETWEEN + 1, ends ? s->act : SUMS, s->rank, s->y, s->y_step, !ends);
        addition(m, &p->sum[i], &p->add[i], last, term, to);
        ops[1 + i] = p->add[i].d;
        last = to;
    }
    create(m, &p->graph, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
    set(m, &p->graph, CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, 1, &p->handle);
    set(m, &p->graph, CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1 + additions, ops);
    finish(m, &p->graph);
}

/* Engines whose sums depend on the order of threads, or that lose precision, are passed over. */
static int engine_fits(const part *config)
{
    part engine;
    cudnnBackendNumericalNote_t notes[NOTES];
    int64_t n = 0;
    maker m = {CUDNN_STATUS_SUCCESS};
    create(&m, &engine, CUDNN_BACKEND_ENGINE_DESCRIPTOR);
    if (m.status == CUDNN_STATUS_SUCCESS)
        m.status = kg_lib.cudnnBackendGetAttribute(config->d, CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &n, &engine.d);
    if (m.status == CUDNN_STATUS_SUCCESS)
        m.status = kg_lib.cudnnBackendGetAttribute(engine.d, CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, CUDNN_TYPE_NUMERICAL_NOTE, NOTES, &n, notes);
    if (m.status != CUDNN_STATUS_SUCCESS)
        return 0;
    for (int64_t i = 0; i < n && i < NOTES; ++i)
        if (notes[i] == CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC || notes[i] == CUDNN_NUMERICAL_NOTE_WINOGRAD ||
            notes[i] == CUDNN_NUMERICAL_NOTE_FFT || notes[i] == CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS ||
            notes[i] == CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION)
            return 0;
    return 1;
}

static void swap(part *a, part *b)
{
    cudnnBackendDescriptor_t d = a->d;
    a->d = b->d;
    b->d = d;
}

/* Makes the plan of one configuration; it is often only then that cuDNN says no. */
static int try_config(plan *p, part *config)
{
    if (!engine_fits(config))
        return 0;
    maker m = {CUDNN_STATUS_SUCCESS};
    part execution;
    int64_t bytes = 0, n = 0;
    create(&m, &execution, CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
    set(&m, &execution, CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, 1, &p->handle);
    join(&m, &execution, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, config);
    finish(&m, &execution);
    if (m.status == CUDNN_STATUS_SUCCESS)
        m.status = kg_lib.cudnnBackendGetAttribute(execution.d, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64, 1, &n, &bytes);
    if (m.status != CUDNN_STATUS_SUCCESS || bytes > (int64_t)KG_DNN_WORKSPACE)
        return 0;
    swap(&p->execution, &execution);
    swap(&p->config, config);
    return 1;
}

static int choose(plan *p, cudnnBackendHeurMode_t mode)
{
    part heuristics, config[CONFIGS];
    cudnnBackendDescriptor_t all[CONFIGS];
    int64_t n = 0;
    maker m = {CUDNN_STATUS_SUCCESS};
    create(&m, &heuristics, CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
    join(&m, &heuristics, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, &p->graph);
    set(&m, &heuristics, CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, &mode);
    finish(&m, &heuristics);
    for (int i = 0; i < CONFIGS; ++i) {
        create(&m, &config[i], CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
        all[i] = config[i].d;
    }
    if (m.status == CUDNN_STATUS_SUCCESS)
        m.status = kg_lib.cudnnBackendGetAttribute(heuristics.d, CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_TYPE_BACKEND_DESCRIPTOR, CONFIGS, &n,
                                                   all);
    if (m.status != CUDNN_STATUS_SUCCESS)
        return 0;
    swap(&p->heuristics, &heuristics);
    for (int64_t i = 0; i < n && i < CONFIGS; ++i)
        if (try_config(p, &config[i]))
            return 1;
    return 0;
}

/* The plans of all handles: a card has one, and there are some forty shapes. */
static std::mutex plans_lock;
static plan *plans;
static char refused[192];              /* the last shape that cuDNN had no engine for */

static void refuse(const kg_dnn_shape *s)
{
    std::lock_guard<std::mutex> hold(plans_lock);
    int n = snprintf(refused, sizeof refused, "%s", kg_dtype_name((kg_dtype)s->act));
    const int64_t *const sizes[3] = {s->x, s->w, s->y};
    for (int i = 0; i < 3; ++i)
        for (int64_t k = 0; k < s->rank && n < (int)sizeof refused - 24; ++k)
            n += snprintf(refused + n, sizeof refused - (size_t)n, "%s%lld", k ? "x" : i ? ", " : " ", (long long)sizes[i][k]);
}

extern "C" const char *kg_cuda_conv_refused(void) { return refused; }

static void make(plan *p, cudnnHandle_t handle)
{
    maker m = {CUDNN_STATUS_SUCCESS};
    p->handle = handle;
    build_graph(&m, p);
    p->works = m.status == CUDNN_STATUS_SUCCESS && (choose(p, CUDNN_HEUR_MODE_A) || choose(p, CUDNN_HEUR_MODE_FALLBACK));
    if (!p->works)
        refuse(&p->shape);
}

/* NULL: out of host memory. *is_new: nobody asked for it before; it is not made yet. */
static plan *plan_of(cudnnHandle_t owner, const kg_dnn_shape *s, bool *is_new)
{
    std::lock_guard<std::mutex> hold(plans_lock);
    *is_new = false;
    for (plan *p = plans; p; p = p->next)
        if (p->owner == owner && !memcmp(&p->shape, s, sizeof *s))
            return p;
    plan *p = new (std::nothrow) plan;
    if (!p)
        return NULL;
    p->shape = *s;
    p->owner = owner;
    p->next = plans;
    *is_new = true;
    return plans = p;
}

extern "C" void kg_cuda_conv_forget(cudnnHandle_t handle)
{
    std::lock_guard<std::mutex> hold(plans_lock);
    for (plan **at = &plans; *at;) {
        plan *p = *at;
        if (p->owner == handle) {
            *at = p->next;
            delete p;
        } else {
            at = &p->next;
        }
    }
}

void kg_dnn_conv_prepare(kg_exec *x, const kg_dnn_shape *s)
{
    if (!kg_cuda_is_card(x) || kg_exec_lane(x) != KG_LANE_COMPUTE)
        return;
    bool is_new = false;
    plan *p = plan_of(kg_cuda_dnn(x), s, &is_new);
    cudnnHandle_t own = kg_cuda_dnn_later(x);
    if (is_new)
        kg_cuda_later(x, [p, own] { std::call_once(p->once, make, p, own); });
}

int kg_dnn_conv(kg_exec *x, const kg_dnn_shape *s, const kg_dnn_data *d)
{
    cudnnHandle_t handle = kg_cuda_dnn(x);
    bool is_new = false;
    plan *p = handle ? plan_of(handle, s, &is_new) : NULL;
    if (!handle)
        return 1;
    if (!p)
        return 0;
    std::call_once(p->once, make, p, handle);
    if (!p->works)
        return 0;
    int64_t names[5] = {X, W, Y}, n = 3;
    const void *at[5] = {d->x, d->w, d->y};
    if (s->has_bias) {
        names[n] = BIAS;
        at[n++] = d->bias;
    }
    if (s->has_add) {
        names[n] = ADD;
        at[n++] = d->add;
    }
    maker m = {CUDNN_STATUS_SUCCESS};
    part pack;
    create(&m, &pack, CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
    set(&m, &pack, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, n, names);
    set(&m, &pack, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, n, at);
    set(&m, &pack, CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1, &d->workspace);
    finish(&m, &pack);
    if (m.status == CUDNN_STATUS_SUCCESS)
        m.status = kg_lib.cudnnBackendExecute(handle, p->execution.d, pack.d);
    if (kg_cuda_dnn_ok(x, m.status, "conv"))
        kg_cuda_launched(x, "conv");
    return 1;
}
