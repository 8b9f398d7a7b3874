/* Wan's transformer, forward. Residual, modulation, statistics, time embedding and head are f32 whatever the compute type. */
#include "nodes/wan/dit.h"

#include <math.h>

#include "kernels/ops.h"

static kg_tensor linear(kg_exec *x, kg_tensor out, kg_tensor in, kg_tensor w, kg_tensor b, int activation)
{
    if (w.rank > 2)                       /* a convolution whose kernel is its stride is a product */
        w = kg_view(w, KG_SHAPE(w.shape[0], kg_count(&w) / w.shape[0]));
    kg_linear(x, (kg_linear_args){.out = out, .in = in, .weight = w, .bias = b, .activation = activation});
    return out;
}

kg_status wan_dit_context(kg_exec *x, const wan_dit *d, const kg_tensor *text)
{
    kg_weights w;
    if (kg_enter(x, "context", 0, 0) || kg_use(x, d->port, WAN_S_TEXT, &w))
        return KG_FAILED;
    kg_tensor h = kg_temp(x, d->act, KG_SHAPE(WAN_TEXT_ROWS, d->config->dim));
    for (int i = 0; i < d->contexts; ++i) {
        kg_tensor in = text[i];
        if (d->act != KG_F32) {
            in = kg_temp(x, d->act, KG_SHAPE(WAN_TEXT_ROWS, d->config->text_dim));
            kg_unary(x, (kg_unary_args){.out = in, .in = text[i], .op = KG_UNARY_COPY});
        }
        linear(x, h, in, w.t[WAN_TEXT_0W], w.t[WAN_TEXT_0B], KG_LINEAR_GELU);
        linear(x, d->context[i], h, w.t[WAN_TEXT_2W], w.t[WAN_TEXT_2B], KG_LINEAR_NONE);
    }
    return kg_leave(x) ? KG_FAILED : KG_OK;
}

/* e = W2 silu(W1 s + b1) + b2 [1, dim], e0 = Wp silu(e) + bp [1, 6 dim]; s is cos first, then sin, from the unrounded t.
 * ref: wan-spec 3.3 (sinusoidal_embedding_1d, WanModel.forward) */
static void time_embedding(kg_exec *x, const wan_dit *d, const kg_weights *w, double t, kg_tensor e, kg_tensor e0)
{
    float s[4096];
    int64_t half = d->config->freq_dim / 2;
    for (int64_t i = 0; i < half; ++i) {
        double a = t * pow(10000, -(double)i / (double)half);
        s[i] = (float)cos(a);
        s[half + i] = (float)sin(a);
    }
    kg_tensor in = kg_temp(x, KG_F32, KG_SHAPE(1, d->config->freq_dim)), h = kg_temp(x, KG_F32, KG_SHAPE(1, d->config->dim));
    kg_put(x, in, s, (size_t)d->config->freq_dim * sizeof *s);
    linear(x, h, in, w->t[WAN_TIME_0W], w->t[WAN_TIME_0B], KG_LINEAR_SILU);
    linear(x, e, h, w->t[WAN_TIME_2W], w->t[WAN_TIME_2B], KG_LINEAR_NONE);
    kg_unary(x, (kg_unary_args){.out = h, .in = e, .op = KG_UNARY_SILU});
    linear(x, e0, h, w->t[WAN_TIME_PW], w->t[WAN_TIME_PB], KG_LINEAR_NONE);
}

/* What one branch carries from block to block: the residual stream and the last sublayer's answer, which is added when the next
 * norm reads the stream. The norm's output takes the answer's place. */
typedef struct flow { kg_tensor x, y; } flow;

static kg_status embed(kg_exec *x, const wan_dit *d, double t, const wan_branch *b, int n, flow *f, kg_tensor e, kg_tensor e0)
{
    kg_weights w;
    if (kg_enter(x, "embed", 0, 0) || kg_use(x, d->port, WAN_S_TIME, &w))
        return KG_FAILED;
    int64_t tokens = d->frames * d->height * d->width;
    time_embedding(x, d, &w, t, e, e0);
    kg_tensor patches = kg_temp(x, d->act, KG_SHAPE(tokens, d->config->in_channels * 4));
    for (int i = 0; i < n; ++i) {
        kg_patchify(x, (kg_patchify_args){.latent = b[i].latent, .tokens = patches});
        linear(x, f[i].x, patches, w.t[WAN_PATCH_W], w.t[WAN_PATCH_B], KG_LINEAR_NONE);
    }
    return kg_leave(x) ? KG_FAILED : KG_OK;
}

static kg_tensor row(kg_tensor m, int i)
{
    kg_tensor r = kg_slice(m, i, 1);
    return kg_view(r, KG_SHAPE(r.shape[1]));
}

/* y may be h, here and below: h is read for the last time before y is written. */
static void self_attention(kg_exec *x, const wan_dit *d, const kg_weights *w, kg_tensor h, kg_tensor y)
{
    int64_t dim = d->config->dim;
    kg_tensor qkv = kg_temp(x, d->act, KG_SHAPE(h.shape[0], 3 * dim));
    linear(x, qkv, h, w->t[WAN_QKV_W], w->t[WAN_QKV_B], KG_LINEAR_NONE);
    kg_tensor q = kg_slice_cols(qkv, 0, dim), k = kg_slice_cols(qkv, dim, dim), v = kg_slice_cols(qkv, 2 * dim, dim);
    kg_rms_norm(x, (kg_rms_norm_args){.out = q, .in = q, .weight = w->t[WAN_NORM_Q], .rope = d->rope, .eps = WAN_EPS});
    kg_rms_norm(x, (kg_rms_norm_args){.out = k, .in = k, .weight = w->t[WAN_NORM_K], .rope = d->rope, .eps = WAN_EPS});
    kg_attention(x, (kg_attention_args){.out = q, .q = q, .k = k, .v = v, .heads = (int)d->config->heads,
                                        .scale = 1 / sqrt((double)dim / (double)d->config->heads)});
    linear(x, y, q, w->t[WAN_O_W], w->t[WAN_O_B], KG_LINEAR_NONE);
}

static void cross_attention(kg_exec *x, const wan_dit *d, const kg_weights *w, kg_tensor kv, kg_tensor h, kg_tensor y)
{
    int64_t dim = d->config->dim;
    kg_tensor q = kg_temp(x, d->act, KG_SHAPE(h.shape[0], dim));
    linear(x, q, h, w->t[WAN_CQ_W], w->t[WAN_CQ_B], KG_LINEAR_NONE);
    kg_rms_norm(x, (kg_rms_norm_args){.out = q, .in = q, .weight = w->t[WAN_CNORM_Q], .eps = WAN_EPS});
    kg_attention(x, (kg_attention_args){.out = q, .q = q, .k = kg_slice_cols(kv, 0, dim), .v = kg_slice_cols(kv, dim, dim),
                                        .heads = (int)d->config->heads, .scale = 1 / sqrt((double)dim / (double)d->config->heads)});
    linear(x, y, q, w->t[WAN_CO_W], w->t[WAN_CO_B], KG_LINEAR_NONE);
}

/* In chunks of rows, so that the wide activation [rows, ffn] need not be there for all tokens at once: by itself it takes no more
 * than q, k and v of all tokens did. y may be h. */
static void feed_forward(kg_exec *x, const wan_dit *d, const kg_weights *w, kg_tensor h, kg_tensor y)
{
    int64_t rows = h.shape[0], chunks = d->ffn_chunks * ((d->config->ffn + 3 * d->config->dim - 1) / (3 * d->config->dim));
    int64_t step = chunks > 1 ? ((rows + chunks - 1) / chunks + 255) / 256 * 256 : rows;
    step += rows % step == 1 ? 256 : 0;        /* a product of one row may round otherwise than one of many */
    kg_tensor g = kg_temp(x, d->act, KG_SHAPE(step < rows ? step : rows, d->config->ffn));
    for (int64_t i = 0; i < rows; i += step) {
        int64_t n = rows - i < step ? rows - i : step;
        kg_tensor part = kg_slice(g, 0, n);
        linear(x, part, kg_slice(h, i, n), w->t[WAN_FFN0_W], w->t[WAN_FFN0_B], KG_LINEAR_GELU);
        linear(x, kg_slice(y, i, n), part, w->t[WAN_FFN2_W], w->t[WAN_FFN2_B], KG_LINEAR_NONE);
    }
}

/* Keys and values of the text for this block. */
static void text_keys(kg_exec *x, const wan_dit *d, const kg_weights *w, kg_tensor context, kg_tensor kv)
{
    linear(x, kv, context, w->t[WAN_CKV_W], w->t[WAN_CKV_B], KG_LINEAR_NONE);
    kg_tensor k = kg_slice_cols(kv, 0, d->config->dim);
    kg_rms_norm(x, (kg_rms_norm_args){.out = k, .in = k, .weight = w->t[WAN_CNORM_K], .eps = WAN_EPS});
}

/* One block on one branch. m: shift, scale, gate of the attention, then of the feed forward [6, dim]; gate: the previous block's
 * last (rank 0 in the first block). ref: wan-spec 3.5 (WanAttentionBlock.forward) */
static void block(kg_exec *x, const wan_dit *d, const kg_weights *w, const flow *f, kg_tensor m, kg_tensor gate, kg_tensor kv)
{
    if (kg_enter(x, NULL, 0, 0))
        return;
    kg_tensor h = f->y, none = {0};
    kg_residual_norm(x, (kg_residual_norm_args){.x = f->x, .y = gate.rank ? f->y : none,
                                                .gate = gate, .scale = row(m, 1), .shift = row(m, 0),
                                                .plus_one = 1, .out = h, .eps = WAN_EPS});
    kg_enter(x, "attn", 0, 0);
    self_attention(x, d, w, h, f->y);
    kg_leave(x);
    kg_residual_norm(x, (kg_residual_norm_args){.x = f->x,
                                                .y = f->y, .gate = row(m, 2), .scale = w->t[WAN_NORM3_W], .shift = w->t[WAN_NORM3_B],
                                                .out = h, .eps = WAN_EPS});
    kg_enter(x, "cross", 0, 0);
    cross_attention(x, d, w, kv, h, f->y);
    kg_leave(x);
    kg_residual_norm(x, (kg_residual_norm_args){.x = f->x, .y = f->y, .scale = row(m, 4), .shift = row(m, 3),
                                                .plus_one = 1, .out = h, .eps = WAN_EPS});
    kg_enter(x, "ffn", 0, 0);
    feed_forward(x, d, w, h, f->y);
    kg_leave(x);
    kg_leave(x);
}

static kg_status blocks(kg_exec *x, const wan_dit *d, const wan_branch *b, int n, const flow *f, const kg_tensor m[2], kg_tensor e0)
{
    int64_t dim = d->config->dim;
    kg_tensor gate = {0};
    for (int64_t i = 0; i < d->config->layers; ++i) {
        kg_weights w;
        kg_tensor kv[2], now = m[i & 1];
        if (kg_enter(x, "block", i, d->config->layers) || kg_use(x, d->port, WAN_S_BLOCK + (int)i, &w))
            return KG_FAILED;
        kg_combine(x, (kg_combine_args){.out = now, .term = {kg_view(w.t[WAN_MODULATION], KG_SHAPE(6, dim)), e0}, .coef = {1, 1}, .n = 2});
        for (int c = 0; c < d->contexts; ++c) {
            int used = 0;
            for (int k = 0; k < n; ++k)
                used |= b[k].context == c;
            if (!used)
                continue;
            kv[c] = kg_temp(x, d->act, KG_SHAPE(WAN_TEXT_ROWS, 2 * dim));
            text_keys(x, d, &w, d->context[c], kv[c]);
        }
        for (int k = 0; k < n; ++k)
            block(x, d, &w, &f[k], now, gate, kv[b[k].context]);
        gate = row(now, 5);
        if (kg_leave(x))
            return KG_FAILED;
    }
    return KG_OK;
}

/* ref: wan-spec 3.8 (Head.forward): f32 throughout; order shift, scale. */
static kg_status head(kg_exec *x, const wan_dit *d, const wan_branch *b, int n, const flow *f, kg_tensor gate, kg_tensor e)
{
    kg_weights w;
    int64_t dim = d->config->dim, tokens = d->frames * d->height * d->width;
    if (kg_enter(x, "head", 0, 0) || kg_use(x, d->port, WAN_S_BLOCK + (int)d->config->layers, &w))
        return KG_FAILED;
    kg_tensor m = kg_temp(x, KG_F32, KG_SHAPE(2, dim)), old = kg_view(w.t[WAN_HEAD_MODULATION], KG_SHAPE(2, dim));
    for (int i = 0; i < 2; ++i)
        kg_combine(x, (kg_combine_args){.out = kg_slice(m, i, 1), .term = {kg_slice(old, i, 1), e}, .coef = {1, 1}, .n = 2});
    kg_tensor h = kg_temp(x, KG_F32, KG_SHAPE(tokens, dim)), o = kg_temp(x, KG_F32, KG_SHAPE(tokens, 4 * d->config->out_channels));
    for (int k = 0; k < n; ++k) {
        kg_residual_norm(x, (kg_residual_norm_args){.x = f[k].x, .y = f[k].y, .gate = gate, .scale = row(m, 1), .shift = row(m, 0),
                                                    .plus_one = 1, .out = h, .eps = WAN_EPS});
        linear(x, o, h, w.t[WAN_HEAD_W], w.t[WAN_HEAD_B], KG_LINEAR_NONE);
        kg_unpatchify(x, (kg_patchify_args){.latent = b[k].velocity, .tokens = o});
    }
    return kg_leave(x) ? KG_FAILED : KG_OK;
}

kg_status wan_dit_forward(kg_exec *x, const wan_dit *d, double t, const wan_branch *b, int n)
{
    int64_t dim = d->config->dim, tokens = d->frames * d->height * d->width;
    flow f[2 * 64];
    if (kg_enter(x, "forward", 0, 0))
        return KG_FAILED;
    kg_tensor e = kg_temp(x, KG_F32, KG_SHAPE(1, dim)), e0 = kg_temp(x, KG_F32, KG_SHAPE(1, 6 * dim));
    kg_tensor m[2] = {kg_temp(x, KG_F32, KG_SHAPE(6, dim)), kg_temp(x, KG_F32, KG_SHAPE(6, dim))};
    for (int i = 0; i < n; ++i) {
        f[i].x = kg_temp(x, KG_F32, KG_SHAPE(tokens, dim));
        f[i].y = kg_temp(x, d->act, KG_SHAPE(tokens, dim));
    }
    kg_status s = embed(x, d, t, b, n, f, e, e0);
    if (s == KG_OK)
        s = blocks(x, d, b, n, f, m, kg_view(e0, KG_SHAPE(6, dim)));
    if (s == KG_OK)
        s = head(x, d, b, n, f, row(m[(d->config->layers - 1) & 1], 5), e);
    return kg_leave(x) ? KG_FAILED : s;
}
