/* Convolution on a card: which kernels run it, and how its input lies in memory for them.
 *
 * cuDNN takes 16-bit frames whose channels come in eights. It wants one dense tensor and as much padding before as behind, so
 * history and frames are put side by side first where they are not, and a row and a column of zeros are added for a stride of two.
 * Few input channels are gathered, all taps of a pixel side by side, and become a 1x1 product. f32 frames run on our own kernel:
 * cuDNN's products of f32 may round to TF32.
 *
 * Weights are packed [padded out_ch, taps, in_ch] in the file's own type. Where that is not the frames', they are rounded when they
 * are used: as much traffic as reading them once more, and in memory a VAE stays as large as its file. Scratch is a sum over
 * shapes; nothing here depends on what is free. */
#include "kernels/cuda/conv.cuh"

enum way { DIRECT, FEW, GATHER, UP, DNN };

/* What lies where in scratch: weights, bias, the input as cuDNN wants it, its workspace. Bytes, each a multiple of 256. */
struct layout {
    way how;
    int64_t taps, cin, cout;       /* cout: of both halves                                          */
    int64_t row;                   /* GATHER: elements of a gathered pixel, a multiple of 8         */
    int64_t frames, zeros;         /* of [zeros, history, in]                                       */
    size_t weight, bias, input, workspace;
};

static size_t round_up(int64_t bytes) { return ((size_t)bytes + 255) / 256 * 256; }

static way way_of(const kg_conv_args *a, int64_t cout)
{
    const int64_t cin = a->in.shape[3], each = a->out.shape[3];
    if (a->in.dtype == KG_F32)
        return DIRECT;
    if (kg_conv_is_few(a))
        return FEW;
    if (kg_conv_is_up(a))
        return UP;
    if (cin % 8 == 0 && each % 8 == 0 && !a->upsample && (a->kt > 1 ? !a->split || a->stride_t == 1 : !a->split && a->stride_t == 1))
        return DNN;
    return cin < 8 && cout % 8 == 0 && !a->split && !a->upsample ? GATHER : DIRECT;
}

static layout layout_of(const kg_conv_args *a)
{
    const int64_t *in = a->in.shape, *out = a->out.shape;
    layout l = {};
    l.cin = in[3];
    l.cout = out[3] * (a->split ? 2 : 1);
    l.taps = (int64_t)a->kt * a->kh * a->kw;
    l.how = way_of(a, l.cout);
    const int64_t history = a->history.rank ? a->history.shape[0] : 0, padded = kg_conv_padded(l.cout);
    l.zeros = a->stride_t == 1 ? a->kt - 1 - history : 0;
    l.frames = l.zeros + history + in[0];
    l.row = (l.taps * l.cin + 7) / 8 * 8;
    if (l.how == GATHER)
        l.weight = round_up(padded * l.row * 2);
    else if (a->weight.dtype != a->in.dtype)
        l.weight = round_up(padded * l.taps * l.cin * (int64_t)kg_dtype_bytes(a->in.dtype));
    if (l.how != DNN && l.how != GATHER)
        return l;
    l.workspace = KG_DNN_WORKSPACE;
    if (a->bias.rank && a->bias.dtype != a->in.dtype && a->bias.dtype != KG_F32)
        l.bias = round_up(l.cout * 4);
    if (l.how == GATHER)
        l.input = round_up(out[0] * out[1] * out[2] * l.row * 2);
    else if (a->stride_hw == 2)
        l.input = round_up(in[0] * (in[1] + 1) * (in[2] + 1) * l.cin * 2);
    else if (l.frames > in[0] && !a->joined)
        l.input = round_up(l.frames * in[1] * in[2] * l.cin * 2);
    return l;
}

/* ---- weights ---- */
enum { THREADS = 256 };
static unsigned blocks_of(int64_t n) { return (unsigned)((n + THREADS - 1) / THREADS); }

/* n groups of eight, from one type to another. */
static __global__ void convert8(void *to, kg_dtype to_type, const void *from, kg_dtype from_type, int64_t n)
{
    const int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x;
    float f[8];
    if (i >= n)
        return;
    kg_get8(from, from_type, 8 * i, f);
    if (to_type == KG_F32)
        kg_store8((float *)to + 8 * i, f);
    else if (to_type == KG_BF16)
        kg_store8((kg_bf16 *)to + 8 * i, f);
    else
        kg_store8((__half *)to + 8 * i, f);
}

/* [rows, from_row] to [rows, to_row >= from_row], zeros behind. */
static __global__ void convert_rows(void *to, kg_dtype to_type, int64_t to_row, const void *from, kg_dtype from_type, int64_t from_row,
                                    int64_t rows)
{
    const int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x, col = i % to_row;
    if (i < rows * to_row)
        kg_set(to, to_type, i, col < from_row ? kg_get(from, from_type, i / to_row * from_row + col) : 0);
}

/* The weights in the type of the frames: where they are, or in scratch. Sixteen rows at a time, so in eights too. */
static const void *weights_of(kg_exec *x, const kg_conv_args *a, const layout *l)
{
    const int64_t rows = kg_conv_padded(l->cout), row = l->taps * l->cin, n = rows * row / 8;
    if (!l->weight)
        return a->weight.at;
    if (l->how == GATHER)
        convert_rows<<<blocks_of(rows * l->row), THREADS, 0, kg_cuda_stream(x)>>>(a->scratch.at, a->in.dtype, l->row, a->weight.at,
                                                                                 a->weight.dtype, row, rows);
    else
        convert8<<<blocks_of(n), THREADS, 0, kg_cuda_stream(x)>>>(a->scratch.at, a->in.dtype, a->weight.at, a->weight.dtype, n);
    kg_cuda_launched(x, "conv");
    return a->scratch.at;
}

static const void *bias_of(kg_exec *x, const kg_conv_args *a, const layout *l)
{
    char *room = (char *)a->scratch.at + l->weight;
    if (!l->bias)
        return a->bias.rank ? a->bias.at : NULL;
    convert_rows<<<blocks_of(l->cout), THREADS, 0, kg_cuda_stream(x)>>>(room, KG_F32, l->cout, a->bias.at, a->bias.dtype, l->cout, 1);
    kg_cuda_launched(x, "conv");
    return room;
}

/* ---- inputs: 16-bit elements, eight at a time ---- */
/* out [T, H + 1, W + 1, C] of in [T, H, W, C]: zeros at the bottom and at the right. */
static __global__ void edge_frames(uint4 *out, const uint4 *in, int64_t n, int h, int w, int c)
{
    const int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x;
    if (i >= n)
        return;
    const int64_t pixel = i / c, row = pixel / (w + 1);
    const int x = (int)(pixel % (w + 1)), y = (int)(row % (h + 1));
    uint4 v = {0, 0, 0, 0};
    if (x < w && y < h)
        v = in[((row / (h + 1) * h + y) * w + x) * c + i % c];
    out[i] = v;
}

/* [zeros, history, in], where in is made behind them: nothing is copied. */
static const void *joined_frames(kg_exec *x, const kg_conv_args *a, const layout *l)
{
    const int64_t frame = (int64_t)kg_bytes(&a->in) / a->in.shape[0];
    char *first = (char *)a->in.at - (l->frames - a->in.shape[0]) * frame;
    if (l->zeros)
        kg_cuda_ok(x, cudaMemsetAsync(first, 0, (size_t)(l->zeros * frame), kg_cuda_stream(x)), "conv");
    return first;
}

/* [zeros, history, in], each where it belongs. */
static void join_frames(kg_exec *x, const kg_conv_args *a, const layout *l, char *to)
{
    cudaStream_t s = kg_cuda_stream(x);
    const size_t frame = kg_bytes(&a->in) / (size_t)a->in.shape[0], zeros = (size_t)l->zeros * frame;
    const size_t history = a->history.rank ? kg_bytes(&a->history) : 0;
    if (zeros)
        kg_cuda_ok(x, cudaMemsetAsync(to, 0, zeros, s), "conv");
    if (history)
        kg_cuda_ok(x, cudaMemcpyAsync(to + zeros, a->history.at, history, cudaMemcpyDeviceToDevice, s), "conv");
    kg_cuda_ok(x, cudaMemcpyAsync(to + zeros + history, a->in.at, kg_bytes(&a->in), cudaMemcpyDeviceToDevice, s), "conv");
}

static const void *input_of(kg_exec *x, const kg_conv_args *a, const layout *l)
{
    char *to = (char *)a->scratch.at + l->weight + l->bias;
    const int c = (int)l->cin / 8, h = (int)a->in.shape[1], w = (int)a->in.shape[2];
    cudaStream_t s = kg_cuda_stream(x);
    if (!l->input)
        return l->frames > a->in.shape[0] ? joined_frames(x, a, l) : a->in.at;
    if (a->stride_hw == 2) {
        const int64_t n = a->in.shape[0] * (h + 1) * (w + 1) * c;
        edge_frames<<<blocks_of(n), THREADS, 0, s>>>((uint4 *)to, (const uint4 *)a->in.at, n, h, w, c);
    } else {
        join_frames(x, a, l, to);
    }
    kg_cuda_launched(x, "conv");
    return to;
}

/* ---- few input channels ---- */
struct gather_args {
    const uint16_t *in, *history;
    uint16_t *out;
    int64_t n;                     /* groups of eight elements of out                               */
    int h, w, c, h_out, w_out, row, history_frames, zeros, kt, side, stride_t, stride, pad;
};

/* out [T' * H' * W', row]: all taps of a pixel, [kt, ky, kx, c], zeros behind. */
static __global__ void gather(const gather_args a)
{
    const int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x;
    if (i >= a.n)
        return;
    const int groups = a.row / 8, taps = a.side * a.side, plane = a.h_out * a.w_out;
    const int64_t pixel = i / groups, size = (int64_t)a.h * a.w * a.c;
    const int t = (int)(pixel / plane), rest = (int)(pixel % plane), y0 = rest / a.w_out, x0 = rest % a.w_out;
    __align__(16) uint16_t v[8];
#pragma unroll
    for (int j = 0; j < 8; ++j) {
        const int k = (int)(i % groups) * 8 + j, tap = k / a.c, f = t * a.stride_t + tap / taps - a.zeros;
        const int y = y0 * a.stride + tap % taps / a.side - a.pad, x = x0 * a.stride + tap % taps % a.side - a.pad;
        v[j] = 0;
        if (tap >= a.kt * taps || f < 0 || y < 0 || x < 0 || y >= a.h || x >= a.w)
            continue;
        const uint16_t *frame = f < a.history_frames ? a.history + f * size : a.in + (f - a.history_frames) * size;
        v[j] = frame[((int64_t)y * a.w + x) * a.c + k % a.c];
    }
    *(uint4 *)(a.out + 8 * i) = *(const uint4 *)v;
}

static const void *gathered(kg_exec *x, const kg_conv_args *a, const layout *l)
{
    const int64_t *in = a->in.shape, *out = a->out.shape;
    gather_args g = {};
    g.in = (const uint16_t *)a->in.at, g.history = (const uint16_t *)a->history.at;
    g.out = (uint16_t *)((char *)a->scratch.at + l->weight + l->bias);
    g.n = out[0] * out[1] * out[2] * l->row / 8;
    g.h = (int)in[1], g.w = (int)in[2], g.c = (int)in[3], g.h_out = (int)out[1], g.w_out = (int)out[2], g.row = (int)l->row;
    g.history_frames = a->history.rank ? (int)a->history.shape[0] : 0;
    g.zeros = (int)l->zeros, g.kt = a->kt, g.side = a->kh, g.stride_t = a->stride_t, g.stride = a->stride_hw;
    g.pad = a->kh == 3 && a->stride_hw == 1;
    gather<<<blocks_of(g.n), THREADS, 0, kg_cuda_stream(x)>>>(g);
    kg_cuda_launched(x, "conv");
    return g.out;
}

/* ---- cuDNN ---- */
static void set_sizes(int64_t *to, int64_t n, int64_t c, int64_t d, int64_t h, int64_t w, int64_t rank)
{
    const int64_t all[5] = {n, c, d, h, w}, flat[4] = {n, c, h, w};
    for (int64_t i = 0; i < rank; ++i)
        to[i] = rank == 5 ? all[i] : flat[i];
}

/* A row of gathered pixels, or 1x1x1: one long row. Taps in time alone: time is the height, a frame the width; of a split, one
 * frame. 3x3: frames are apart. 3x3x3: all three dimensions. */
static kg_dnn_shape shape_of(const kg_conv_args *a, const layout *l)
{
    const int64_t *in = a->in.shape, *out = a->out.shape, cout = out[3], t = a->split ? 1 : out[0];
    const int64_t plane = out[1] * out[2], border = a->stride_hw == 2;
    kg_dnn_shape s = {};
    s.act = a->in.dtype;
    s.has_bias = a->bias.rank > 0, s.has_add = a->add.rank > 0;
    s.bias = !s.has_bias || l->bias ? KG_F32 : a->bias.dtype;
    s.rank = l->how == DNN && a->kh == 3 && a->kt > 1 ? 5 : 4;
    for (int i = 0; i < 3; ++i)
        s.stride[i] = 1;
    if (l->how == GATHER || l->taps == 1) {
        set_sizes(s.x, 1, l->how == GATHER ? l->row : l->cin, 1, 1, t * plane, 4);
        set_sizes(s.w, cout, s.x[1], 1, 1, 1, 4);
        set_sizes(s.y, 1, cout, 1, 1, t * plane, 4);
    } else if (a->kh == 1) {
        set_sizes(s.x, 1, l->cin, 1, a->split ? a->kt : l->frames, in[1] * in[2], 4);
        set_sizes(s.w, cout, l->cin, 1, a->kt, 1, 4);
        set_sizes(s.y, 1, cout, 1, t, plane, 4);
        s.stride[0] = a->stride_t;
    } else if (a->kt == 1) {
        set_sizes(s.x, t, l->cin, 1, in[1] + border, in[2] + border, 4);
        set_sizes(s.w, cout, l->cin, 1, 3, 3, 4);
        set_sizes(s.y, t, cout, 1, out[1], out[2], 4);
        s.stride[0] = s.stride[1] = a->stride_hw;
        s.pad[0] = s.pad[1] = a->stride_hw == 1;
    } else {
        set_sizes(s.x, 1, l->cin, l->frames, in[1], in[2], 5);
        set_sizes(s.w, cout, l->cin, a->kt, 3, 3, 5);
        set_sizes(s.y, 1, cout, t, out[1], out[2], 5);
        s.stride[0] = a->stride_t;
        s.pad[1] = s.pad[2] = 1;
    }
    kg_dnn_dense(s.rank, s.x, s.x_step);
    kg_dnn_dense(s.rank, s.y, s.y_step);
    return s;
}

size_t kg_cuda_conv_scratch(kg_exec *x, const kg_conv_args *a, int workers)
{
    (void)workers;
    const layout l = layout_of(a);
    if (l.how == UP)
        return kg_conv_up_scratch(x, a);
    if (l.how == DNN || l.how == GATHER) {
        const kg_dnn_shape s = shape_of(a, &l);
        kg_dnn_conv_prepare(x, &s);
    }
    return l.weight + l.bias + l.input + l.workspace;
}

/* A split is the same product for each frame of out: two in a row read the same frames with other weights. 0: cuDNN cannot. */
static int run_dnn(kg_exec *x, const kg_conv_args *a, const layout *l, const void *weight)
{
    const kg_dnn_shape s = shape_of(a, l);
    const int64_t products = a->split ? a->out.shape[0] : 1, rows = a->out.shape[3], row = l->how == GATHER ? l->row : l->taps * l->cin;
    const int64_t pixels = a->out.shape[1] * a->out.shape[2], bias_bytes = rows * (s.bias == KG_F32 ? 4 : 2);
    const char *bias = (const char *)bias_of(x, a, l), *in = (const char *)(l->how == GATHER ? gathered(x, a, l) : input_of(x, a, l));
    kg_dnn_data d = {};
    d.workspace = (char *)a->scratch.at + l->weight + l->bias + l->input;
    for (int64_t i = 0; i < products; ++i) {
        d.x = in + i / 2 * pixels * l->cin * 2;
        d.w = (const char *)weight + i % 2 * rows * row * 2;
        d.bias = bias ? bias + i % 2 * bias_bytes : NULL;
        d.add = s.has_add ? (const char *)a->add.at + i * pixels * rows * 2 : NULL;
        d.y = (char *)a->out.at + i * pixels * rows * 2;
        if (!kg_dnn_conv(x, &s, &d))
            return 0;
    }
    return 1;
}

void kg_cuda_conv(kg_exec *x, const kg_conv_args *a)
{
    layout l = layout_of(a);
    if (l.how == UP && kg_conv_up(x, a))
        return;
    const void *weight = weights_of(x, a, &l);
    if (l.how == FEW) {
        kg_conv_few(x, a, weight);
        return;
    }
    if (l.how != DIRECT && l.how != UP && run_dnn(x, a, &l, weight))
        return;
    if (l.how == GATHER) {         /* its weights have longer rows: as they are packed now */
        l.how = DIRECT;
        weight = a->weight.dtype == a->in.dtype ? a->weight.at : weights_of(x, a, &l);
    }
    kg_conv_direct(x, a, weight);
}

/* ---- packing ---- */
/* out [padded out_ch, taps, in_ch] of in [out_ch, in_ch, taps]. */
template <typename T> static __global__ void pack(T *out, const T *in, int64_t n, int64_t out_ch, int in_ch, int taps)
{
    const int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x;
    if (i >= n)
        return;
    const int c = (int)(i % in_ch), tap = (int)(i / in_ch % taps);
    const int64_t o = i / in_ch / taps;
    out[i] = o < out_ch ? in[(o * in_ch + c) * taps + tap] : T(0);
}

void kg_cuda_conv_pack(kg_exec *x, const kg_conv_pack_args *a)
{
    const int64_t out_ch = a->in.shape[0], in_ch = a->in.shape[1], n = kg_count(&a->out);
    const int taps = (int)(kg_count(&a->in) / (out_ch * in_ch));
    cudaStream_t s = kg_cuda_stream(x);
    if (a->in.dtype == KG_F32)
        pack<<<blocks_of(n), THREADS, 0, s>>>((uint32_t *)a->out.at, (const uint32_t *)a->in.at, n, out_ch, (int)in_ch, taps);
    else
        pack<<<blocks_of(n), THREADS, 0, s>>>((uint16_t *)a->out.at, (const uint16_t *)a->in.at, n, out_ch, (int)in_ch, taps);
    kg_cuda_launched(x, "conv_pack");
}

KG_CUDA_KERNELS(conv, (const void *)convert8, (const void *)convert_rows, (const void *)edge_frames, (const void *)gather,
                (const void *)pack<uint16_t>, (const void *)pack<uint32_t>);
