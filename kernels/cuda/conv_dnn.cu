/* cuDNN's convolution through its graph interface: one product with bias and residual in its epilogue.
 *
 * Planning a run asks for a shape's engine (dnn.cu), a thread of the device's looks for it meanwhile, and it is kept as long as the
 * device's handle. */
#include "kernels/cuda/conv.cuh"
#include "kernels/cuda/dnn.h"

#include <mutex>
#include <new>
#include <stdio.h>
#include <string.h>

static const int64_t X = 'x', W = 'w', BIAS = 'b', ADD = 'a', Y = 'y', BETWEEN = '0';      /* what a plan calls its tensors */
static const int64_t SUMS = KG_F32;

struct plan {
    kg_dnn_shape shape;
    cudnnHandle_t owner;               /* the device's */
    kg_engine_place place;
    std::once_flag once;
    kg_part tensor[8], conv, product, sum[2], add[2], graph;
    kg_engine engine;
    plan *next = NULL;
};

static void tensor(kg_maker *m, kg_part *p, int64_t name, int64_t type, int64_t rank, const int64_t *size, const int64_t *step,
                   bool between)
{
    cudnnDataType_t t = kg_dnn_type(type);
    int64_t align = 16;
    kg_dnn_create(m, p, CUDNN_BACKEND_TENSOR_DESCRIPTOR);
    kg_dnn_set(m, p, CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &t);
    kg_dnn_set(m, p, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, rank, size);
    kg_dnn_set(m, p, CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, rank, step);
    kg_dnn_set(m, p, CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, 1, &name);
    kg_dnn_set(m, p, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, 1, &align);
    kg_dnn_set(m, p, CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, 1, &between);
    kg_dnn_finish(m, p);
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

static void convolution(kg_maker *m, plan *p, kg_part *x, kg_part *w, kg_part *y)
{
    const kg_dnn_shape *s = &p->shape;
    const int64_t dims = s->rank - 2, ones[3] = {1, 1, 1};
    cudnnDataType_t sums = CUDNN_DATA_FLOAT;
    cudnnConvolutionMode_t mode = CUDNN_CROSS_CORRELATION;
    kg_dnn_create(m, &p->conv, CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
    kg_dnn_set(m, &p->conv, CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, CUDNN_TYPE_INT64, 1, &dims);
    kg_dnn_set(m, &p->conv, CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &sums);
    kg_dnn_set(m, &p->conv, CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, 1, &mode);
    kg_dnn_set(m, &p->conv, CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, CUDNN_TYPE_INT64, dims, s->pad);
    kg_dnn_set(m, &p->conv, CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, CUDNN_TYPE_INT64, dims, s->pad);
    kg_dnn_set(m, &p->conv, CUDNN_ATTR_CONVOLUTION_DILATIONS, CUDNN_TYPE_INT64, dims, ones);
    kg_dnn_set(m, &p->conv, CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, CUDNN_TYPE_INT64, dims, s->stride);
    kg_dnn_finish(m, &p->conv);
    const float one = 1, zero = 0;
    kg_dnn_create(m, &p->product, CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR);
    kg_dnn_set(m, &p->product, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA, CUDNN_TYPE_FLOAT, 1, &one);
    kg_dnn_set(m, &p->product, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA, CUDNN_TYPE_FLOAT, 1, &zero);
    kg_dnn_join(m, &p->product, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC, &p->conv);
    kg_dnn_join(m, &p->product, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X, x);
    kg_dnn_join(m, &p->product, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W, w);
    kg_dnn_join(m, &p->product, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y, y);
    kg_dnn_finish(m, &p->product);
}

/* y = x + b, in f32. */
static void addition(kg_maker *m, kg_part *how, kg_part *op, const kg_part *x, const kg_part *b, const kg_part *y)
{
    cudnnPointwiseMode_t mode = CUDNN_POINTWISE_ADD;
    cudnnDataType_t sums = CUDNN_DATA_FLOAT;
    kg_dnn_create(m, how, CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
    kg_dnn_set(m, how, CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, 1, &mode);
    kg_dnn_set(m, how, CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_TYPE_DATA_TYPE, 1, &sums);
    kg_dnn_finish(m, how);
    kg_dnn_create(m, op, CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
    kg_dnn_join(m, op, CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, how);
    kg_dnn_join(m, op, CUDNN_ATTR_OPERATION_POINTWISE_XDESC, x);
    kg_dnn_join(m, op, CUDNN_ATTR_OPERATION_POINTWISE_BDESC, b);
    kg_dnn_join(m, op, CUDNN_ATTR_OPERATION_POINTWISE_YDESC, y);
    kg_dnn_finish(m, op);
}

/* The product, then its additions: what is between two of them is f32 and never in memory. */
static void build_graph(kg_maker *m, plan *p, cudnnHandle_t handle)
{
    const kg_dnn_shape *s = &p->shape;
    int64_t w_step[5], bias[5] = {1, s->y[1], 1, 1, 1}, bias_step[5], additions = s->has_bias + s->has_add;
    kg_part *last = &p->tensor[2];
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
        kg_part *term = &p->tensor[3 + 2 * i], *to = term + 1;
        if (is_bias)
            tensor(m, term, BIAS, s->bias, s->rank, bias, bias_step, false);
        else
            tensor(m, term, ADD, s->act, s->rank, s->y, s->y_step, false);
        tensor(m, to, ends ? Y : BETWEEN + 1, ends ? s->act : SUMS, s->rank, s->y, s->y_step, !ends);
        addition(m, &p->sum[i], &p->add[i], last, term, to);
        ops[1 + i] = p->add[i].d;
        last = to;
    }
    kg_dnn_graph(m, &p->graph, handle, 1 + additions, ops);
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
    kg_maker m = {CUDNN_STATUS_SUCCESS};
    build_graph(&m, p, handle);
    kg_engine_find(&p->engine, &m, handle, &p->graph, KG_DNN_WORKSPACE, &p->place);
    if (!p->engine.works && p->engine.broken == CUDNN_STATUS_SUCCESS)
        refuse(&p->shape);
}

/* NULL: out of host memory. *is_new: nobody asked for it before; it is not made yet. */
static plan *plan_of(kg_exec *x, cudnnHandle_t owner, const kg_dnn_shape *s, bool *is_new)
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
    p->place = kg_engine_place_of(x, "conv", s, sizeof *s);
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
    plan *p = plan_of(x, kg_cuda_dnn(x), s, &is_new);
    cudnnHandle_t own = kg_cuda_dnn_later(x);
    if (is_new)
        kg_cuda_later(x, [p, own] { std::call_once(p->once, make, p, own); });
}

int kg_dnn_conv(kg_exec *x, const kg_dnn_shape *s, const kg_dnn_data *d)
{
    cudnnHandle_t handle = kg_cuda_dnn(x);
    bool is_new = false;
    plan *p = handle ? plan_of(x, handle, s, &is_new) : NULL;
    if (!handle)
        return 1;
    if (!p) {
        kg_front_fail(x, "conv", "out of host memory");
        return 1;
    }
    std::call_once(p->once, make, p, handle);
    if (p->engine.broken != CUDNN_STATUS_SUCCESS)
        return !kg_cuda_dnn_ok(x, p->engine.broken, "looking for an engine of conv");
    if (!p->engine.works)
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
    return kg_engine_run(x, &p->engine, handle, n, names, at, d->workspace, "conv");
}
