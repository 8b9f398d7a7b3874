/* Official names of the VAE's tensors to those of diffusers, by whole path: "conv1" means four different things there.
 * ref: wan-spec 5.6. The encoder is flat in both; the decoder's levels have `group` residual blocks and an upsampler each. */
#include "nodes/wan/vae.h"

#include <stdio.h>
#include <string.h>

typedef struct pair { const char *from, *to; } pair;

static const char *after(const char *s, const char *prefix)
{
    size_t n = strlen(prefix);
    return strncmp(s, prefix, n) ? NULL : s + n;
}

/* Writes to + rest for the first pair whose from begins s. */
static int replace(const char *s, const pair *pairs, const char *before, char *out, size_t n)
{
    for (; pairs->from; ++pairs) {
        const char *rest = after(s, pairs->from);
        if (rest)
            return snprintf(out, n, "%s%s%s", before, pairs->to, rest) < (int)n;
    }
    return 0;
}

static int block(const char *s, const char *before, char *out, size_t n)
{
    static const pair names[] = {{"residual.0.", "norm1."}, {"residual.2.", "conv1."}, {"residual.3.", "norm2."},
        {"residual.6.", "conv2."}, {"shortcut.", "conv_shortcut."}, {"", ""}, {NULL, NULL}};
    return replace(s, names, before, out, n);
}

/* "7.resample.1.weight" to "<levels>1.upsamplers.0.resample.1.weight" for the decoder, "<levels>7." for the encoder. */
static int level(const char *s, int group, char *out, size_t n)
{
    int i = -1, used = 0;
    char before[64];
    if (sscanf(s, "%d.%n", &i, &used) != 1 || !used || i < 0)
        return 0;
    if (!group)
        snprintf(before, sizeof before, "encoder.down_blocks.%d.", i);
    else if (i % (group + 1) < group)
        snprintf(before, sizeof before, "decoder.up_blocks.%d.resnets.%d.", i / (group + 1), i % (group + 1));
    else
        snprintf(before, sizeof before, "decoder.up_blocks.%d.upsamplers.0.", i / (group + 1));
    return block(s + used, before, out, n);
}

static int middle(const char *s, const char *side, char *out, size_t n)
{
    static const char *const to[3] = {"resnets.0.", "attentions.0.", "resnets.1."};
    char before[64];
    if (s[0] < '0' || s[0] > '2' || s[1] != '.')
        return 0;
    snprintf(before, sizeof before, "%s.mid_block.%s", side, to[s[0] - '0']);
    return block(s + 2, before, out, n);
}

int vae_diffusers_name(const void *arg, const char *official, char *out, size_t n)
{
    int group = *(const int *)arg;
    static const pair names[] = {{"conv1.", "quant_conv."}, {"conv2.", "post_quant_conv."},
        {"encoder.conv1.", "encoder.conv_in."}, {"decoder.conv1.", "decoder.conv_in."}, {"encoder.head.0.", "encoder.norm_out."},
        {"decoder.head.0.", "decoder.norm_out."}, {"encoder.head.2.", "encoder.conv_out."},
        {"decoder.head.2.", "decoder.conv_out."}, {NULL, NULL}};
    const char *rest;
    if ((rest = after(official, "decoder.upsamples.")))
        return group > 0 && level(rest, group, out, n);
    if ((rest = after(official, "encoder.downsamples.")))
        return level(rest, 0, out, n);
    if ((rest = after(official, "decoder.middle.")))
        return middle(rest, "decoder", out, n);
    if ((rest = after(official, "encoder.middle.")))
        return middle(rest, "encoder", out, n);
    return replace(official, names, "", out, n);
}
