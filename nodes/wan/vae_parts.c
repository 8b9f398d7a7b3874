/* Reads the VAE's structure off a checkpoint: walks the official names in order, and every tensor found says how wide and of what
 * kind the next part is. What does not fit what came before is refused by name, with the shape that would. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/conv.h"
#include "nodes/lib/weights.h"
#include "nodes/wan/vae.h"

enum { ANY = -1 };

typedef struct build {
    const kg_checkpoint *file;
    kg_builder *to;
    vae *v;
    int list, weights, segments;
    int64_t channels;  /* what flows out of the last part */
} build;

static const kg_weight *find(const build *b, const char *base, const char *rest)
{
    char name[160];
    snprintf(name, sizeof name, "%s%s", base, rest);
    return kg_checkpoint_find(b->file, name);
}

static int has(const build *b, const char *base, const char *rest) { return find(b, base, rest) != NULL; }

/* The output channels of a weight, which decide a part's width; ANY when it is not there, so that it is missed by name. */
static int64_t width_of(const build *b, const char *base, const char *rest)
{
    const kg_weight *w = find(b, base, rest);
    return w && w->rank ? w->shape[0] : ANY;
}

/* Adds the tensor base + rest to the open segment. A packed weight's output channels are padded; rows > 0 takes the first rows
 * alone. */
static kg_status add(build *b, const char *base, const char *rest, int packed, int64_t rows, int rank, const int64_t *want)
{
    char name[160];
    kg_weight w;
    snprintf(name, sizeof name, "%s%s", base, rest);
    if (kg_checkpoint_need(b->file, name, rank, want, &w) != KG_OK)
        return KG_INPUT;
    for (int i = 0; i < rank; ++i)
        if (w.shape[i] < 1 || w.shape[i] > 1 << 16)
            return kg_fail(KG_INPUT, "'%s': tensor '%s' has a dimension of %lld", w.file->path, w.name, (long long)w.shape[i]);
    if (b->weights == VAE_WEIGHTS)
        return kg_fail(KG_INPUT, "'%s' has more tensors than a VAE", kg_checkpoint_path(b->file));
    w.shape[0] = rows ? rows : w.shape[0];
    vae_source *s = &b->v->source[b->weights++];
    *s = (vae_source){.file = kg_file_ref(w.file), .offset = w.offset, .dtype = w.dtype, .rank = rank, .packed = packed};
    memcpy(s->shape, w.shape, sizeof s->shape);
    if (packed)
        w.shape[0] = kg_conv_padded(w.shape[0]);
    kg_builder_made(b->to, w.dtype, rank, w.shape, w.name);
    return KG_OK;
}

static kg_status vector(build *b, const char *base, const char *rest, int64_t n, int64_t rows)
{
    return add(b, base, rest, 0, rows, 1, (int64_t[]){n});
}

/* [n, 1, 1, 1], or [n, 1, 1] in attention. */
static kg_status gamma_of(build *b, const char *base, const char *rest, int64_t n, int ones)
{
    return add(b, base, rest, 0, 0, 1 + ones, (int64_t[]){n, 1, 1, 1});
}

/* Weight and bias of a convolution named base + rest: kt frames (0: the weight has no such dimension) and a k x k window. */
static kg_status conv(build *b, const char *base, const char *rest, int64_t out, int64_t in, int kt, int k, int64_t rows)
{
    char weight[64], bias[64];
    snprintf(weight, sizeof weight, "%s.weight", rest);
    snprintf(bias, sizeof bias, "%s.bias", rest);
    kg_status s = kt ? add(b, base, weight, 1, rows, 5, (int64_t[]){out, in, kt, k, k})
                     : add(b, base, weight, 1, rows, 4, (int64_t[]){out, in, k, k});
    return s == KG_OK ? vector(b, base, bias, out, rows) : s;
}

static vae_part *part(build *b, vae_part_kind kind, const char *name, int64_t out)
{
    vae *v = b->v;
    if (v->count[b->list] == VAE_PARTS) {
        kg_fail(KG_INPUT, "'%s' has more than %d parts", kg_checkpoint_path(b->file), VAE_PARTS);
        return NULL;
    }
    vae_part *p = &v->part[b->list][v->count[b->list]++];
    *p = (vae_part){.kind = kind, .segment = b->segments++, .in = b->channels, .out = out};
    kg_builder_segment(b->to, "%s", name);
    b->channels = out;
    return p;
}

static kg_status add_conv(build *b, const char *name, int64_t out, int64_t in, int kernel, int64_t rows)
{
    b->channels = in;
    vae_part *p = part(b, VAE_CONV, name, rows ? rows : out);
    if (!p)
        return KG_INPUT;
    p->kernel = kernel;
    return conv(b, name, "", out, in, kernel, kernel, rows);
}

static kg_status add_residual(build *b, const char *base)
{
    int64_t in = b->channels, out = width_of(b, base, ".residual.2.weight");
    vae_part *p = part(b, VAE_RES, base, out);
    kg_status s = p ? gamma_of(b, base, ".residual.0.gamma", in, 3) : KG_INPUT;
    s = s == KG_OK ? conv(b, base, ".residual.2", out, in, 3, 3, 0) : s;
    s = s == KG_OK ? gamma_of(b, base, ".residual.3.gamma", out, 3) : s;
    s = s == KG_OK ? conv(b, base, ".residual.6", out, out, 3, 3, 0) : s;
    return s == KG_OK && in != out ? conv(b, base, ".shortcut", out, in, 1, 1, 0) : s;
}

static kg_status add_attention(build *b, const char *base)
{
    int64_t c = b->channels;
    vae_part *p = part(b, VAE_ATTENTION, base, c);
    kg_status s = p ? gamma_of(b, base, ".norm.gamma", c, 2) : KG_INPUT;
    s = s == KG_OK ? conv(b, base, ".to_qkv", 3 * c, c, 0, 1, 0) : s;
    return s == KG_OK ? conv(b, base, ".proj", c, c, 0, 1, 0) : s;
}

static kg_status add_head(build *b, const char *base, int64_t out)
{
    int64_t in = b->channels;
    vae_part *p = part(b, VAE_HEAD, base, out);
    kg_status s = p ? gamma_of(b, base, ".0.gamma", in, 3) : KG_INPUT;
    return s == KG_OK ? conv(b, base, ".2", out, in, 3, 3, 0) : s;
}

static kg_status add_resample(build *b, const char *base)
{
    int64_t in = b->channels, out = width_of(b, base, ".resample.1.weight");
    int up = b->list == VAE_DECODER, time = has(b, base, ".time_conv.weight");
    vae_part *p = part(b, up ? VAE_UP : VAE_DOWN, base, out);
    if (!p)
        return KG_INPUT;
    p->time = time;
    b->v->side *= up ? 2 : 1;
    b->v->rate *= up && time ? 2 : 1;
    kg_status s = conv(b, base, ".resample.1", out, in, 0, 3, 0);
    if (s != KG_OK || !time)
        return s;
    int64_t to = up ? 2 * in : out, from = up ? in : out;
    s = add(b, base, ".time_conv.weight", 1, 0, 5, (int64_t[]){to, from, 3, 1, 1});
    return s == KG_OK ? vector(b, base, ".time_conv.bias", to, 0) : s;
}

static kg_status add_middle(build *b, const char *side)
{
    char base[64];
    kg_status s = KG_OK;
    for (int i = 0; i < 3 && s == KG_OK; ++i) {
        snprintf(base, sizeof base, "%s.%d", side, i);
        s = i == 1 ? add_attention(b, base) : add_residual(b, base);
    }
    return s;
}

/* Levels: residual blocks and resamplers, numbered without a gap. */
static kg_status add_levels(build *b, const char *side)
{
    char base[64];
    kg_status s = KG_OK;
    for (int i = 0; s == KG_OK; ++i) {
        snprintf(base, sizeof base, "%s.%d", side, i);
        if (has(b, base, ".residual.2.weight"))
            s = add_residual(b, base);
        else if (has(b, base, ".resample.1.weight"))
            s = add_resample(b, base);
        else if (i)
            break;
        else
            s = add_residual(b, base);
    }
    return s;
}

static kg_status add_decoder(build *b)
{
    b->list = VAE_DECODER;
    kg_status s = add_conv(b, "conv2", VAE_LATENT, VAE_LATENT, 1, 0);
    int64_t width = width_of(b, "decoder.conv1", ".weight");
    s = s == KG_OK ? add_conv(b, "decoder.conv1", width, VAE_LATENT, 3, 0) : s;
    s = s == KG_OK ? add_middle(b, "decoder.middle") : s;
    s = s == KG_OK ? add_levels(b, "decoder.upsamples") : s;
    return s == KG_OK ? add_head(b, "decoder.head", 3) : s;
}

/* Half of what the encoder gives are log-variances, which nothing uses: the last convolution keeps the means' rows. */
static kg_status add_encoder(build *b)
{
    b->list = VAE_ENCODER;
    int64_t width = width_of(b, "encoder.conv1", ".weight");
    kg_status s = add_conv(b, "encoder.conv1", width, 3, 3, 0);
    s = s == KG_OK ? add_levels(b, "encoder.downsamples") : s;
    s = s == KG_OK ? add_middle(b, "encoder.middle") : s;
    s = s == KG_OK ? add_head(b, "encoder.head", 2 * VAE_LATENT) : s;
    return s == KG_OK ? add_conv(b, "conv1", 2 * VAE_LATENT, 2 * VAE_LATENT, 1, VAE_LATENT) : s;
}

/* The encoder must undo what the decoder does. */
static kg_status check_scale(const build *b)
{
    int64_t side = 1, rate = 1;
    for (int i = 0; i < b->v->count[VAE_ENCODER]; ++i)
        if (b->v->part[VAE_ENCODER][i].kind == VAE_DOWN) {
            side *= 2;
            rate *= b->v->part[VAE_ENCODER][i].time ? 2 : 1;
        }
    if (side == b->v->side && rate == b->v->rate)
        return KG_OK;
    return kg_fail(KG_INPUT, "'%s': the encoder reduces %lld times in space and %lld in time, the decoder enlarges %lld and %lld times",
                   kg_checkpoint_path(b->file), (long long)side, (long long)rate, (long long)b->v->side, (long long)b->v->rate);
}

/* The level of the largest frames: behind the decoder's last part that enlarges, and up to the encoder's first that reduces. These
 * belong to it too, unless they change the frame rate. */
static void find_alone(vae *v)
{
    v->alone[VAE_DECODER] = 0;
    v->alone[VAE_ENCODER] = 0;
    for (int i = 0; i < v->count[VAE_DECODER]; ++i)
        if (v->part[VAE_DECODER][i].kind == VAE_UP)
            v->alone[VAE_DECODER] = v->part[VAE_DECODER][i].time ? i + 1 : i;
    for (int i = v->count[VAE_ENCODER] - 1; i >= 0; --i)
        if (v->part[VAE_ENCODER][i].kind == VAE_DOWN)
            v->alone[VAE_ENCODER] = v->part[VAE_ENCODER][i].time ? 0 : i + 1;
}

kg_status vae_parts(const kg_checkpoint *file, kg_builder *to, vae *v)
{
    build b = {.file = file, .to = to, .v = v};
    v->side = v->rate = 1;
    if (has(&b, "decoder.upsamples.0.upsamples.0", ".residual.2.weight"))
        return kg_fail(KG_INPUT, "'%s' is the VAE of Wan2.2 TI2V-5B; this node takes that of Wan2.1", kg_checkpoint_path(file));
    kg_status s = add_decoder(&b);
    s = s == KG_OK ? add_encoder(&b) : s;
    find_alone(v);
    return s == KG_OK ? check_scale(&b) : s;
}
