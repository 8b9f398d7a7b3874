/* Attention: which way a call goes, and the way by products.
 *
 * By products, for one head and a chunk of queries after another: scores = q k^T in f32, a softmax over their rows in place, out =
 * p v with v turned so that keys lie side by side. Scratch is bounded whatever the lengths. It serves f32, and heads of a size that
 * nothing else takes (a VAE's one head of 384). out may be q: a chunk's queries are read before its rows of out are written. */
#include "kernels/cuda/attention.h"

#include <atomic>

enum : size_t { SCORES = (size_t)64 << 20 };

static std::atomic<int> forced, taken;

extern "C" int kg_cuda_attention_force(int way)
{
    forced = way;
    return taken;
}

static int way_of(const kg_attention_args *a)
{
    const int force = forced;
    if (force == KG_ATTENTION_PRODUCTS)
        return KG_ATTENTION_PRODUCTS;
    if (kg_dnn_fits(a) && force != KG_ATTENTION_FLASH)
        return KG_ATTENTION_LIBRARY;
    return kg_flash_fits(a) ? KG_ATTENTION_FLASH : KG_ATTENTION_PRODUCTS;
}

/* ---- by products ---- */
struct layout { int64_t d, nq, nk, keys, rows; size_t scores, values; };       /* keys: padded to whole groups; rows: of a chunk */

static size_t whole(size_t bytes) { return (bytes + KG_ALIGN - 1) / KG_ALIGN * KG_ALIGN; }

static layout layout_of(const kg_attention_args *a)
{
    layout l = {};
    l.d = kg_cols(&a->q) / a->heads, l.nq = kg_rows(&a->q), l.nk = kg_rows(&a->k);
    l.keys = (l.nk + 7) / 8 * 8;
    l.rows = (int64_t)(SCORES / ((size_t)l.keys * sizeof(float))) / 128 * 128;
    l.rows = l.rows < 128 ? 128 : l.rows;
    l.rows = l.rows < l.nq ? l.rows : l.nq;
    l.scores = whole((size_t)(l.rows * l.keys) * sizeof(float));
    l.values = whole((size_t)(l.d * l.keys) * kg_dtype_bytes(a->q.dtype));
    return l;
}

struct softmax_args { float *scores; const float *bias; int64_t nk, keys; float scale; };      /* bias of query 0 of the chunk */

__device__ __forceinline__ float block_max(float v, float *room)
{
#pragma unroll
    for (int by = 16; by; by >>= 1)
        v = fmaxf(v, __shfl_xor_sync(0xffffffffu, v, by));
    if (threadIdx.x % 32 == 0)
        room[threadIdx.x / 32] = v;
    __syncthreads();
    v = room[0];
    for (unsigned w = 1; w < blockDim.x / 32; ++w)
        v = fmaxf(v, room[w]);
    __syncthreads();
    return v;
}

/* One row a block. Probabilities of 16 bits take the front half of their row: what is overwritten was read by an earlier stretch, or
 * by this one before the barrier. */
template <typename T> static __global__ void __launch_bounds__(256) softmax(const softmax_args a)
{
    __shared__ float room[8];
    float *s = a.scores + (int64_t)blockIdx.x * a.keys;
    const float *bias = a.bias ? a.bias - blockIdx.x : NULL;
    float most = -INFINITY, sum = 0;
    for (int64_t j = threadIdx.x; j < a.nk; j += 256)
        most = fmaxf(most, bias ? fmaf(s[j], a.scale, bias[j]) : s[j] * a.scale);
    most = block_max(most, room);
    for (int64_t j = threadIdx.x; j < a.nk; j += 256)
        sum += expf((bias ? fmaf(s[j], a.scale, bias[j]) : s[j] * a.scale) - most);
    const float factor = 1 / kg_block_sum(sum, room);
    for (int64_t first = 0; first < a.keys; first += 256) {
        const int64_t j = first + threadIdx.x;
        float p = 0;
        if (j < a.nk)
            p = expf((bias ? fmaf(s[j], a.scale, bias[j]) : s[j] * a.scale) - most) * factor;
        __syncthreads();
        if (j < a.keys)
            kg_narrow((T *)s + j, p);
    }
}

/* out [d, keys] from one head of v [nk, d]; zeros beyond nk. 32 by 32 through shared memory. */
template <typename T>
static __global__ void __launch_bounds__(256) turn(T *out, const T *v, int64_t nk, int64_t keys, int64_t d, int64_t row)
{
    __shared__ float tile[32][33];
    const int64_t j0 = (int64_t)blockIdx.x * 32, c0 = (int64_t)blockIdx.y * 32;
    const int across = threadIdx.x % 32, down = threadIdx.x / 32;
    for (int i = down; i < 32; i += 8)
        tile[i][across] = j0 + i < nk && c0 + across < d ? kg_wide(v[(j0 + i) * row + c0 + across]) : 0.0f;
    __syncthreads();
    for (int i = down; i < 32; i += 8)
        if (c0 + i < d && j0 + across < keys)
            kg_narrow(out + (c0 + i) * keys + j0 + across, tile[across][i]);
}

static kg_tensor matrix(void *at, kg_dtype type, int64_t rows, int64_t cols, int64_t row)
{
    const int64_t shape[2] = {rows, cols};
    kg_tensor t = kg_tensor_make(at, type, 2, shape);
    t.row = row;
    return t;
}

static kg_tensor head_of(const kg_tensor *t, int64_t first, int64_t rows, int64_t head, int64_t d)
{
    return matrix((char *)t->at + (size_t)(first * t->row + head * d) * kg_dtype_bytes(t->dtype), t->dtype, rows, d, t->row);
}

/* workspace: KG_LT_WORKSPACE bytes; weights of in's type need no other scratch. */
static void multiply(kg_exec *x, kg_tensor out, kg_tensor in, kg_tensor weight, char *workspace)
{
    const int64_t bytes = KG_LT_WORKSPACE;
    kg_linear_args p = {};
    p.out = out, p.in = in, p.weight = weight, p.scratch = kg_tensor_make(workspace, KG_U8, 1, &bytes);
    kg_cuda_linear(x, &p);
}

static void softmax_run(kg_exec *x, kg_dtype type, const softmax_args &s, int64_t rows)
{
    cudaStream_t stream = kg_cuda_stream(x);
    if (type == KG_F32)
        softmax<float><<<(unsigned)rows, 256, 0, stream>>>(s);
    else if (type == KG_BF16)
        softmax<kg_bf16><<<(unsigned)rows, 256, 0, stream>>>(s);
    else
        softmax<__half><<<(unsigned)rows, 256, 0, stream>>>(s);
    kg_cuda_launched(x, "attention");
}

static void turn_run(kg_exec *x, const layout &l, void *out, kg_tensor v)
{
    cudaStream_t s = kg_cuda_stream(x);
    const dim3 blocks((unsigned)((l.keys + 31) / 32), (unsigned)((l.d + 31) / 32));
    if (v.dtype == KG_F32)
        turn<float><<<blocks, 256, 0, s>>>((float *)out, (const float *)v.at, l.nk, l.keys, l.d, v.row);
    else if (v.dtype == KG_BF16)
        turn<kg_bf16><<<blocks, 256, 0, s>>>((kg_bf16 *)out, (const kg_bf16 *)v.at, l.nk, l.keys, l.d, v.row);
    else
        turn<__half><<<blocks, 256, 0, s>>>((__half *)out, (const __half *)v.at, l.nk, l.keys, l.d, v.row);
    kg_cuda_launched(x, "attention");
}

static void by_products(kg_exec *x, const kg_attention_args *a)
{
    const layout l = layout_of(a);
    const kg_dtype type = a->q.dtype;
    char *workspace = (char *)a->scratch.at, *scores = workspace + KG_LT_WORKSPACE, *values = scores + l.scores;
    const int64_t wide = l.keys * (int64_t)(sizeof(float) / kg_dtype_bytes(type));     /* a row of probabilities */
    for (int64_t h = 0; h < a->heads; ++h) {
        turn_run(x, l, values, head_of(&a->v, 0, l.nk, h, l.d));
        for (int64_t i = 0; i < l.nq; i += l.rows) {
            const int64_t rows = l.nq - i < l.rows ? l.nq - i : l.rows;
            multiply(x, matrix(scores, KG_F32, rows, l.nk, l.keys), head_of(&a->q, i, rows, h, l.d), head_of(&a->k, 0, l.nk, h, l.d),
                     workspace);
            softmax_args s = {(float *)scores, NULL, l.nk, l.keys, (float)a->scale};
            if (a->bias.rank)
                s.bias = (const float *)a->bias.at + h * a->bias.row + (kg_cols(&a->bias) - 1) / 2 - i;
            softmax_run(x, type, s, rows);
            multiply(x, head_of(&a->out, i, rows, h, l.d), matrix(scores, type, rows, l.keys, wide),
                     matrix(values, type, l.d, l.keys, l.keys), workspace);
        }
    }
}

extern "C" size_t kg_cuda_attention_scratch(kg_exec *x, const kg_attention_args *a, int workers)
{
    (void)workers;
    const int way = way_of(a);
    if (way == KG_ATTENTION_PRODUCTS) {
        const layout l = layout_of(a);
        return KG_LT_WORKSPACE + l.scores + l.values;
    }
    if (way != KG_ATTENTION_LIBRARY)
        return 0;
    if (kg_cuda_is_card(x))
        kg_dnn_prepare(x, a);
    return kg_dnn_scratch(a);
}

extern "C" void kg_cuda_attention(kg_exec *x, const kg_attention_args *a)
{
    int way = way_of(a);
    if (way == KG_ATTENTION_LIBRARY && !kg_dnn_run(x, a))
        way = KG_ATTENTION_FLASH;              /* takes all that cuDNN may refuse, without scratch */
    if (way == KG_ATTENTION_FLASH)
        kg_flash_run(x, a);
    else if (way == KG_ATTENTION_PRODUCTS)
        by_products(x, a);
    taken = way;
}

KG_CUDA_KERNELS(attention, (const void *)softmax<float>, (const void *)softmax<kg_bf16>, (const void *)softmax<__half>,
                (const void *)turn<float>, (const void *)turn<kg_bf16>, (const void *)turn<__half>);
