/* A 3x3 convolution of frames that are doubled by replication first, without ever doubling them.
 *
 * Of the nine taps of an output pixel several read one pixel of the small frame: the pixels of one parity see 2x2 of them, through
 * taps that are summed once (in f32, then rounded). So it is one product with 2x2 taps and four times the channels on the small
 * grid, 4/9 of the work, and a pass that puts the four parities where they belong. Row r of the product reads rows r - 1 and r:
 * output row 2 y + p is its row y + p. */
#include "kernels/cuda/conv.cuh"

enum { THREADS = 256 };
static unsigned blocks_of(int64_t n) { return (unsigned)((n + THREADS - 1) / THREADS); }
static size_t round_up(int64_t bytes) { return ((size_t)bytes + 255) / 256 * 256; }

/* The taps of the large frame that fall on tap a of the small one, for outputs of parity p. */
__device__ __forceinline__ int first_tap(int p, int a) { return p ? 2 * a : a; }
__device__ __forceinline__ int last_tap(int p, int a) { return p ? 1 + a : 2 * a; }

/* to [4, n, 2, 2, c] of from [n, 3, 3, c]; a thread sums eight channels. */
static __global__ void fold(void *to, kg_dtype to_type, const void *from, kg_dtype from_type, int64_t n, int64_t c)
{
    const int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x, groups = c / 8, row = i / groups / 4;
    const int tap = (int)(i / groups % 4), parity = (int)(row / n);
    float sum[8] = {};
    if (row >= 4 * n)
        return;
    for (int y = first_tap(parity / 2, tap / 2); y <= last_tap(parity / 2, tap / 2); ++y)
        for (int x = first_tap(parity % 2, tap % 2); x <= last_tap(parity % 2, tap % 2); ++x) {
            float f[8];
            kg_get8(from, from_type, ((row % n) * 9 + y * 3 + x) * c + i % groups * 8, f);
#pragma unroll
            for (int k = 0; k < 8; ++k)
                sum[k] += f[k];
        }
    if (to_type == KG_BF16)
        kg_store8((kg_bf16 *)to + 8 * i, sum);
    else
        kg_store8((__half *)to + 8 * i, sum);
}

static __global__ void repeat(float *to, const void *from, kg_dtype type, int n)
{
    const int i = blockIdx.x * THREADS + threadIdx.x;
    if (i < 4 * n)
        to[i] = kg_get(from, type, i % n);
}

/* out [T, 2 h, 2 w, c] of in [T, h + 1, w + 1, 4, c]; c: groups of eight; n: of out. */
static __global__ void spread(uint4 *out, const uint4 *in, int64_t n, int h, int w, int c)
{
    const int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x;
    if (i >= n)
        return;
    const int64_t pixel = i / c, row = pixel / (2 * w);
    const int x = (int)(pixel % (2 * w)), y = (int)(row % (2 * h)), px = x % 2, py = y % 2;
    const int64_t from = (row / (2 * h) * (h + 1) + y / 2 + py) * (w + 1) + x / 2 + px;
    out[i] = in[(from * 4 + py * 2 + px) * c + i % c];
}

int kg_conv_is_up(const kg_conv_args *a)
{
    return a->in.dtype != KG_F32 && a->upsample && a->kt == 1 && a->stride_t == 1 && !a->add.rank && a->in.shape[3] % 8 == 0 &&
           a->out.shape[3] % 8 == 0;
}

/* Bytes of the parts of scratch: folded weights (or those of the other kernel), four biases, the product; then the workspace. */
static void parts(const kg_conv_args *a, size_t *weight, size_t *bias, size_t *product)
{
    const int64_t *in = a->in.shape, cout = a->out.shape[3];
    const size_t folded = round_up(16 * cout * in[3] * 2), plain = round_up(9 * kg_conv_padded(cout) * in[3] * 2);
    *weight = folded > plain ? folded : plain;
    *bias = a->bias.rank ? round_up(4 * cout * 4) : 0;
    *product = round_up(in[0] * (in[1] + 1) * (in[2] + 1) * 4 * cout * 2);
}

static kg_dnn_shape shape_of(const kg_conv_args *a)
{
    const int64_t *in = a->in.shape, cout = 4 * a->out.shape[3];
    const int64_t x[4] = {in[0], in[3], in[1], in[2]}, w[4] = {cout, in[3], 2, 2}, y[4] = {in[0], cout, in[1] + 1, in[2] + 1};
    kg_dnn_shape s = {};
    s.rank = 4;
    s.act = a->in.dtype;
    s.has_bias = a->bias.rank > 0;
    s.bias = KG_F32;
    for (int i = 0; i < 4; ++i)
        s.x[i] = x[i], s.w[i] = w[i], s.y[i] = y[i];
    for (int i = 0; i < 3; ++i)
        s.stride[i] = 1;
    s.pad[0] = s.pad[1] = 1;
    kg_dnn_dense(4, s.x, s.x_step);
    kg_dnn_dense(4, s.y, s.y_step);
    return s;
}

size_t kg_conv_up_scratch(kg_exec *x, const kg_conv_args *a)
{
    size_t weight, bias, product;
    const kg_dnn_shape s = shape_of(a);
    parts(a, &weight, &bias, &product);
    kg_dnn_conv_prepare(x, &s);
    return weight + bias + product + KG_DNN_WORKSPACE;
}

int kg_conv_up(kg_exec *x, const kg_conv_args *a)
{
    const int64_t *in = a->in.shape, cout = a->out.shape[3], folded = 16 * cout * in[3] / 8, n = kg_count(&a->out) / 8;
    const kg_dnn_shape s = shape_of(a);
    cudaStream_t stream = kg_cuda_stream(x);
    size_t weight, bias, product;
    parts(a, &weight, &bias, &product);
    char *room = (char *)a->scratch.at;
    kg_dnn_data d = {};
    d.x = a->in.at, d.w = room, d.bias = room + weight, d.y = room + weight + bias, d.workspace = room + weight + bias + product;
    fold<<<blocks_of(folded), THREADS, 0, stream>>>(room, a->in.dtype, a->weight.at, a->weight.dtype, cout, in[3]);
    if (a->bias.rank)
        repeat<<<blocks_of(4 * cout), THREADS, 0, stream>>>((float *)d.bias, a->bias.at, a->bias.dtype, (int)cout);
    if (!kg_cuda_launched(x, "conv"))
        return 1;
    if (!kg_dnn_conv(x, &s, &d))
        return 0;
    spread<<<blocks_of(n), THREADS, 0, stream>>>((uint4 *)a->out.at, (const uint4 *)d.y, n, (int)in[1], (int)in[2], (int)cout / 8);
    kg_cuda_launched(x, "conv");
    return 1;
}

KG_CUDA_KERNELS(conv_up, (const void *)fold, (const void *)repeat, (const void *)spread);
