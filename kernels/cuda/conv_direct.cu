/* Our own convolutions: one for any shape and type, on ordinary cores, and one for few output channels, on tensor cores.
 *
 * Both read history and frames where they lie and count positions, never memory, for what is outside: zero. Sums are f32 and run
 * in an order fixed by the kernel's taps and channels, so a number does not depend on where its pixel lies in a tile. */
#include "kernels/cuda/conv.cuh"

struct frames_args {
    const void *in, *history, *weight, *bias, *add;
    void *out;
    int64_t pixels;                /* of all output frames, halves apart                            */
    int h, w, c;                   /* of the input                                                  */
    int h_out, w_out, cout;        /* cout: of both halves                                          */
    int history_frames, zeros;     /* zeros: frames before history                                  */
    int kt, side, stride_t, stride, pad, up, halves;
    kg_dtype bias_type;
};

static frames_args args_of(const kg_conv_args *a, const void *weight)
{
    const int64_t *in = a->in.shape, *out = a->out.shape;
    frames_args f = {};
    f.in = a->in.at, f.history = a->history.at, f.weight = weight, f.out = a->out.at;
    f.bias = a->bias.rank ? a->bias.at : NULL;
    f.add = a->add.rank ? a->add.at : NULL;
    f.bias_type = a->bias.dtype;
    f.h = (int)in[1], f.w = (int)in[2], f.c = (int)in[3];
    f.halves = a->split ? 2 : 1;
    f.h_out = (int)out[1], f.w_out = (int)out[2], f.cout = (int)out[3] * f.halves;
    f.pixels = out[0] / f.halves * out[1] * out[2];
    f.history_frames = a->history.rank ? (int)a->history.shape[0] : 0;
    f.zeros = a->stride_t == 1 ? a->kt - 1 - f.history_frames : 0;
    f.kt = a->kt, f.side = a->kh, f.stride_t = a->stride_t, f.stride = a->stride_hw;
    f.pad = a->kh == 3 && a->stride_hw == 1;
    f.up = a->upsample ? 1 : 0;
    return f;
}

/* Frame f of [zeros, history, in]; NULL: zeros. */
template <typename T> __device__ __forceinline__ const T *frame_of(const frames_args &a, int f)
{
    const int64_t size = (int64_t)a.h * a.w * a.c;
    f -= a.zeros;
    if (f < 0)
        return NULL;
    return f < a.history_frames ? (const T *)a.history + f * size : (const T *)a.in + (f - a.history_frames) * size;
}

/* The channels that tap (kt, ky, kx) of output pixel (t, y, x) reads; NULL: zeros. */
template <typename T> __device__ __forceinline__ const T *tap_of(const frames_args &a, int t, int y, int x, int tap)
{
    const int taps = a.side * a.side, ky = tap % taps / a.side, kx = tap % taps % a.side;
    const T *frame = frame_of<T>(a, t * a.stride_t + tap / taps);
    y = y * a.stride + ky - a.pad;
    x = x * a.stride + kx - a.pad;
    if (!frame || y < 0 || x < 0 || y >= a.h << a.up || x >= a.w << a.up)
        return NULL;
    return frame + ((int64_t)(y >> a.up) * a.w + (x >> a.up)) * a.c;
}

/* ---- any shape ----
 * A block makes ROWS pixels x COLS channels, a thread 8 x 4 of them; STEP channels of one tap are in shared memory at a time. */
enum { ROWS = 128, COLS = 64, STEP = 16, DIRECT_THREADS = 256 };

template <typename T> __global__ void __launch_bounds__(DIRECT_THREADS) conv_direct(const frames_args a)
{
    __shared__ __align__(16) float left[STEP][ROWS + 4], right[STEP][COLS + 4];
    const int tid = threadIdx.x, plane = a.h_out * a.w_out, taps = a.kt * a.side * a.side;
    const int row = tid / 2, from = tid % 2 * 8, col = tid / 4, part = tid % 4 * 4;    /* what this thread loads */
    const int64_t pixel = (int64_t)blockIdx.x * ROWS + row;
    const int channel = blockIdx.y * COLS + col, rest = (int)(pixel % plane);
    const T *weight = (const T *)a.weight + (int64_t)channel * taps * a.c;
    const int first = tid / 16 * 8, at = tid % 16 * 4;                                 /* what it sums           */
    float sum[8][4] = {};
    for (int tap = 0; tap < taps; ++tap, weight += a.c) {
        const T *in = pixel < a.pixels ? tap_of<T>(a, (int)(pixel / plane), rest / a.w_out, rest % a.w_out, tap) : NULL;
        for (int c = 0; c < a.c; c += STEP) {
            __syncthreads();
#pragma unroll
            for (int i = 0; i < 8; ++i)
                left[from + i][row] = in && c + from + i < a.c ? kg_wide(in[c + from + i]) : 0;
#pragma unroll
            for (int i = 0; i < 4; ++i)
                right[part + i][col] = channel < a.cout && c + part + i < a.c ? kg_wide(weight[c + part + i]) : 0;
            __syncthreads();
#pragma unroll
            for (int k = 0; k < STEP; ++k) {
                const float4 l0 = *(const float4 *)&left[k][first], l1 = *(const float4 *)&left[k][first + 4];
                const float4 r4 = *(const float4 *)&right[k][at];
                const float l[8] = {l0.x, l0.y, l0.z, l0.w, l1.x, l1.y, l1.z, l1.w}, r[4] = {r4.x, r4.y, r4.z, r4.w};
#pragma unroll
                for (int i = 0; i < 8; ++i)
#pragma unroll
                    for (int j = 0; j < 4; ++j)
                        sum[i][j] = fmaf(l[i], r[j], sum[i][j]);
            }
        }
    }
    const int each = a.cout / a.halves;            /* channels of a frame of out */
#pragma unroll
    for (int i = 0; i < 8; ++i)
#pragma unroll
        for (int j = 0; j < 4; ++j) {
            const int64_t p = (int64_t)blockIdx.x * ROWS + first + i;
            const int o = blockIdx.y * COLS + at + j;
            if (p >= a.pixels || o >= a.cout)
                continue;
            const int64_t to = ((p / plane * a.halves + o / each) * plane + p % plane) * each + o % each;
            float v = sum[i][j] + (a.bias ? kg_get(a.bias, a.bias_type, o) : 0);
            v += a.add ? kg_wide(((const T *)a.add)[to]) : 0;
            kg_narrow((T *)a.out + to, v);
        }
}

void kg_conv_direct(kg_exec *x, const kg_conv_args *a, const void *weight)
{
    const frames_args f = args_of(a, weight);
    const dim3 grid((unsigned)((f.pixels + ROWS - 1) / ROWS), (unsigned)((f.cout + COLS - 1) / COLS));
    cudaStream_t s = kg_cuda_stream(x);
    if (a->in.dtype == KG_F32)
        conv_direct<float><<<grid, DIRECT_THREADS, 0, s>>>(f);
    else if (a->in.dtype == KG_BF16)
        conv_direct<kg_bf16><<<grid, DIRECT_THREADS, 0, s>>>(f);
    else
        conv_direct<__half><<<grid, DIRECT_THREADS, 0, s>>>(f);
    kg_cuda_launched(x, "conv");
}

/* ---- few output channels ----
 * Bound by what it reads, so that eight columns of a tensor-core tile for three channels cost nothing. A block makes SIDE x SIDE
 * pixels of one frame; a warp two rows of them. GROUP channels of the pixels and their border are in shared memory at a time, for
 * nine taps. A pixel takes GROUP + 8 elements there: eight pixels side by side then lie in different banks. */
enum { SIDE = 16, BORDER = SIDE + 2, GROUP = 32, PIXEL = GROUP + 8, FEW = 8, FEW_THREADS = SIDE / 2 * 32 };

__device__ __forceinline__ void product(float c[4], const uint32_t a[4], const uint32_t b[2], kg_bf16)
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
__device__ __forceinline__ void product(float c[4], const uint32_t a[4], const uint32_t b[2], __half)
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/* 16 rows of 16 elements, as the left side of a product: lane l gives the address of row l % 16, half l / 16. */
__device__ __forceinline__ void load_rows(uint32_t a[4], const void *p)
{
    const uint32_t at = (uint32_t)__cvta_generic_to_shared(p);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(a[0]), "=r"(a[1]), "=r"(a[2]), "=r"(a[3]) : "r"(at) : "memory");
}

/* Channels c .. c + GROUP of the block's pixels and their border. */
template <typename T> __device__ __forceinline__ void load_pixels(const frames_args &a, const T *frame, int y0, int x0, int c, T *to)
{
    for (int i = threadIdx.x; i < BORDER * BORDER * (GROUP / 8); i += FEW_THREADS) {
        const int p = i / (GROUP / 8), part = i % (GROUP / 8) * 8, y = y0 + p / BORDER - 1, x = x0 + p % BORDER - 1;
        uint4 v = {0, 0, 0, 0};
        if (y >= 0 && x >= 0 && y < a.h && x < a.w)
            v = *(const uint4 *)(frame + ((int64_t)y * a.w + x) * a.c + c + part);
        *(uint4 *)(to + p * PIXEL + part) = v;
    }
}

/* [9, FEW, GROUP] weights of frame kt; rows beyond out_ch are there, and zero. */
template <typename T> __device__ __forceinline__ void load_taps(const frames_args &a, int kt, int c, T *to)
{
    for (int i = threadIdx.x; i < 9 * FEW * (GROUP / 8); i += FEW_THREADS) {
        const int row = i / (GROUP / 8), part = i % (GROUP / 8) * 8, tap = row / FEW, o = row % FEW;
        const T *from = (const T *)a.weight + ((int64_t)(o * a.kt + kt) * 9 + tap) * a.c + c + part;
        *(uint4 *)(to + row * PIXEL + part) = *(const uint4 *)from;
    }
}

template <typename T> __global__ void __launch_bounds__(FEW_THREADS) conv_few(const frames_args a)
{
    __shared__ __align__(16) T pixels[BORDER * BORDER * PIXEL], taps[9 * FEW * PIXEL];
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, y0 = blockIdx.y * SIDE, x0 = blockIdx.x * SIDE, t = blockIdx.z;
    float sum[2][4] = {};
    for (int kt = 0; kt < a.kt; ++kt) {
        const T *frame = frame_of<T>(a, t + kt);
        if (!frame)
            continue;
        for (int c = 0; c < a.c; c += GROUP) {
            __syncthreads();
            load_pixels(a, frame, y0, x0, c, pixels);
            load_taps(a, kt, c, taps);
            __syncthreads();
            for (int tap = 0; tap < 9; ++tap)
#pragma unroll
                for (int k = 0; k < GROUP; k += 16) {
                    const T *w = taps + (tap * FEW + lane / 4) * PIXEL + k + lane % 4 * 2;
                    const uint32_t right[2] = {*(const uint32_t *)w, *(const uint32_t *)(w + 8)};
#pragma unroll
                    for (int r = 0; r < 2; ++r) {
                        uint32_t left[4];
                        const int p = (2 * warp + r + tap / 3) * BORDER + lane % 16 + tap % 3;
                        load_rows(left, pixels + p * PIXEL + k + lane / 16 * 8);
                        product(sum[r], left, right, T());
                    }
                }
        }
    }
#pragma unroll
    for (int r = 0; r < 2; ++r)
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            const int y = y0 + 2 * warp + r, x = x0 + lane / 4 + i / 2 * 8, o = lane % 4 * 2 + i % 2;
            if (y >= a.h || x >= a.w || o >= a.cout)
                continue;
            const int64_t to = (((int64_t)t * a.h + y) * a.w + x) * a.cout + o;
            float v = sum[r][i] + (a.bias ? kg_get(a.bias, a.bias_type, o) : 0);
            v += a.add ? kg_wide(((const T *)a.add)[to]) : 0;
            kg_narrow((T *)a.out + to, v);
        }
}

int kg_conv_is_few(const kg_conv_args *a)
{
    return a->in.dtype != KG_F32 && a->kh == 3 && a->stride_t == 1 && a->stride_hw == 1 && !a->upsample && !a->split &&
           a->out.shape[3] <= FEW && a->in.shape[3] % GROUP == 0 && a->out.shape[0] < 65536 && a->out.shape[1] <= 65535 * SIDE;
}

void kg_conv_few(kg_exec *x, const kg_conv_args *a, const void *weight)
{
    const frames_args f = args_of(a, weight);
    const dim3 grid((unsigned)((f.w + SIDE - 1) / SIDE), (unsigned)((f.h + SIDE - 1) / SIDE), (unsigned)a->out.shape[0]);
    if (a->in.dtype == KG_BF16)
        conv_few<kg_bf16><<<grid, FEW_THREADS, 0, kg_cuda_stream(x)>>>(f);
    else
        conv_few<__half><<<grid, FEW_THREADS, 0, kg_cuda_stream(x)>>>(f);
    kg_cuda_launched(x, "conv");
}

KG_CUDA_KERNELS(conv_direct, (const void *)conv_direct<float>, (const void *)conv_direct<kg_bf16>, (const void *)conv_direct<__half>,
                (const void *)conv_few<kg_bf16>, (const void *)conv_few<__half>);
