/* Position tables and patches. */
#include "kernels/cuda/vec.cuh"

enum { THREADS = 256 };

static unsigned blocks_for(int64_t n) { return (unsigned)((n + THREADS - 1) / THREADS); }

/* One thread a pair: cos and sin of position * theta^(-2 j / size), the angle in f64. d - 4 (d / 6) channels are time's, 2 (d / 6)
 * height's and width's. ref: wan-spec 3.6 (Wan2.1 wan/modules/model.py, rope_params, rope_apply) */
static __global__ void __launch_bounds__(THREADS) rope_table(float2 *out, int64_t count, int pairs, int64_t height, int64_t width,
                                                             double theta)
{
    const int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x;
    if (i >= count)
        return;
    const int side = 2 * pairs / 6, time = pairs - 2 * side;   /* pairs of an axis */
    const int64_t token = i / pairs;
    int j = (int)(i % pairs), size = time;
    int64_t position = token / (height * width);
    if (j >= time) {
        j -= time, size = side, position = token / width % height;
        if (j >= side)
            j -= side, position = token % width;
    }
    double s, c;
    sincos((double)position * pow(theta, -2.0 * j / (2.0 * size)), &s, &c);
    out[i] = {(float)c, (float)s};
}

extern "C" void kg_cuda_rope_table(kg_exec *x, const kg_rope_table_args *a)
{
    const int64_t count = kg_count(&a->out) / 2;
    rope_table<<<blocks_for(count), THREADS, 0, kg_cuda_stream(x)>>>((float2 *)a->out.at, count, (int)a->out.shape[1], a->height,
                                                                     a->width, a->theta);
    kg_cuda_launched(x, "rope_table");
}

struct patch_args { float *latent; void *tokens; int64_t count, channels, height, width, plane, row; kg_dtype type; int to_tokens; };

/* One thread an element of a token row [channels * 4]. A row of patches of all frames is two rows of the latent, since height is
 * even. ref: wan-spec 3.2, 3.8 */
static __global__ void __launch_bounds__(THREADS) patches(const patch_args a)
{
    const int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x;
    if (i >= a.count)
        return;
    const int64_t token = i / (4 * a.channels), rows = token / (a.width / 2), w = token % (a.width / 2);
    const int feature = (int)(i % (4 * a.channels));
    const int c = a.to_tokens ? feature / 4 : feature % (int)a.channels, qr = a.to_tokens ? feature % 4 : feature / (int)a.channels;
    float *at = a.latent + c * a.plane + (2 * rows + qr / 2) * a.width + 2 * w + qr % 2;
    if (a.to_tokens)
        kg_set(a.tokens, a.type, token * a.row + feature, *at);
    else
        *at = kg_get(a.tokens, a.type, token * a.row + feature);
}

static void patch(kg_exec *x, const kg_patchify_args *k, int to_tokens, const char *op)
{
    const int64_t *s = k->latent.shape;
    const patch_args a = {(float *)k->latent.at, k->tokens.at, kg_count(&k->latent), s[0], s[2], s[3], s[1] * s[2] * s[3], k->tokens.row,
                          k->tokens.dtype, to_tokens};
    patches<<<blocks_for(a.count), THREADS, 0, kg_cuda_stream(x)>>>(a);
    kg_cuda_launched(x, op);
}

extern "C" void kg_cuda_patchify(kg_exec *x, const kg_patchify_args *a) { patch(x, a, 1, "patchify"); }
extern "C" void kg_cuda_unpatchify(kg_exec *x, const kg_patchify_args *a) { patch(x, a, 0, "unpatchify"); }

KG_CUDA_KERNELS(latent, (const void *)rope_table, (const void *)patches);
