/* text.umt5: a prompt, and a negative one, to rows of text for a transformer.
 *
 * Only real tokens are run; the rows after them are zero, as the transformer expects (it attends to all of them). The rows of both
 * prompts lie one after the other: every product is one for both, so the second costs its rows and no second pass over the weights.
 * ref: wan-spec 2.2, 2.3 (Wan2.1 wan/modules/t5.py, T5SelfAttention.forward) */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/exec.h"
#include "core/plain.h"
#include "kernels/ops.h"
#include "nodes/lib/clean.h"
#include "nodes/lib/tokenizer.h"
#include "nodes/lib/watch.h"
#include "nodes/text/umt5.h"

enum { MODEL };
enum { BRANCHES = 2 };             /* text, negative: also the numbers of the outputs */

typedef struct params { const char *prompt, *negative; int precision; } params;
typedef struct tokens { int n[BRANCHES]; int32_t ids[BRANCHES][UMT5_TOKENS + 1]; } tokens;

static const umt5 *config(const kg_desc *in) { return in->resource->config; }

/* ---- tokens ---- */

/* Bytes of the whole characters that a line of the log quotes. */
static int quoted(const char *text)
{
    int n = 0, bad;
    while (text[n] && n + kg_plain_next(text + n, &bad) <= 40)
        n += kg_plain_next(text + n, &bad);
    return n;
}

static kg_status tokenize(const kg_tokenizer *t, const char *text, int *n, int32_t ids[UMT5_TOKENS + 1])
{
    char *clean = kg_clean_text(text);
    *n = clean ? kg_tokenizer_ids(t, clean, UMT5_TOKENS + 1, ids) : -1;
    free(clean);
    if (*n < 0)
        return kg_error_last()->status;
    if (*n > UMT5_TOKENS) {
        kg_warn("a prompt has more than %d tokens: what comes after them is dropped ('%.*s...')", UMT5_TOKENS, quoted(text), text);
        ids[UMT5_TOKENS - 1] = ids[UMT5_TOKENS];       /* the end token */
        *n = UMT5_TOKENS;
    }
    return KG_OK;
}

/* The tokenizer of the model's file, opened once for all texts of a plan. Measured for 256,000 pieces in 5.0 MiB, like umT5's: VmHWM
 * grew by 80 MiB, the file's own bytes included. */
static const kg_tokenizer *tokenizer(kg_prepare *x, const umt5 *m)
{
    if (m->shared->tokenizer)
        return m->shared->tokenizer;
    char *model = malloc(m->spiece_bytes + 1);
    if (!model)
        kg_fail(KG_FAILED, "out of host memory");
    else if (kg_file_read(m->spiece, m->spiece_offset, model, m->spiece_bytes) == KG_OK)
        m->shared->tokenizer = kg_tokenizer_new(m->spiece->path, model, m->spiece_bytes, m->vocab);
    free(model);
    x->host_bytes = 17 * m->spiece_bytes + (1 << 20);
    return m->shared->tokenizer;
}

static kg_status prepare(kg_prepare *x)
{
    const params *p = x->params;
    tokens *t = calloc(1, sizeof *t);
    const kg_tokenizer *k = t ? tokenizer(x, config(&x->in[MODEL])) : NULL;
    x->result = t;
    x->destroy = free;
    if (!k)
        return t ? kg_error_last()->status : kg_fail(KG_FAILED, "out of host memory");
    kg_status status = tokenize(k, p->prompt, &t->n[0], t->ids[0]);
    return status ? status : tokenize(k, p->negative, &t->n[1], t->ids[1]);
}

/* ---- host work: rows of the embedding; the buckets of relative positions ---- */

typedef struct embed_arg { const umt5 *m; const tokens *t; } embed_arg;

/* outs[0]: the rows of both texts [n, dim], of the table's own type */
static kg_status embed(void *arg, const kg_tensor *ins, const kg_tensor *outs)
{
    const embed_arg *a = arg;
    const umt5 *m = a->m;
    size_t row = (size_t)m->dim * kg_dtype_bytes(m->table_dtype);
    char *out = outs[0].at;
    kg_status status = KG_OK;
    (void)ins;
    for (int b = 0; b < BRANCHES; ++b)
        for (int i = 0; i < a->t->n[b] && !status; ++i, out += row)
            status = kg_file_read(m->table, m->table_offset + (uint64_t)a->t->ids[b][i] * row, out, row);
    return status;
}

/* h f32 [n, dim] */
static int put_rows(kg_exec *x, const umt5 *m, const tokens *t, kg_tensor h)
{
    if (kg_enter(x, "embed", 0, 0))
        return 1;
    kg_tensor rows = kg_temp(x, m->table_dtype, KG_SHAPE(h.shape[0], m->dim));
    kg_work(x, embed, &(embed_arg){m, t}, sizeof(embed_arg), 0, NULL, 1, &rows, 0);
    kg_unary(x, (kg_unary_args){.out = h, .in = rows, .op = KG_UNARY_COPY});
    return kg_leave(x);
}

/* Half of the buckets is for keys after the query. In each half the first half are distances of their own, the rest grows with the
 * logarithm up to a distance of 128. In f32, as torch computes it: the steps lie on whole numbers. */
int umt5_bucket(int64_t distance, int64_t buckets)
{
    int half = (int)buckets / 2, exact = half / 2, first = distance > 0 ? half : 0;
    int64_t m = distance < 0 ? -distance : distance;
    if (m < exact)
        return first + (int)m;
    float steps = logf((float)m / (float)exact) / (float)log(128.0 / exact) * (float)(half - exact);
    int bucket = exact + (int)steps;
    return first + (bucket < half ? bucket : half - 1);
}

/* The bucket of each distance key - query, from 1 - span on. */
static kg_tensor put_buckets(kg_exec *x, const umt5 *m, int64_t span)
{
    int32_t bucket[2 * UMT5_TOKENS - 1];
    for (int64_t i = 0; i < 2 * span - 1; ++i)
        bucket[i] = umt5_bucket(i - span + 1, m->buckets);
    kg_tensor t = kg_temp(x, KG_I32, KG_SHAPE(2 * span - 1));
    kg_put(x, t, bucket, kg_bytes(&t));
    return t;
}

/* ---- the encoder ---- */

/* h += y (when there is one), then out = norm(h). */
static void norm(kg_exec *x, kg_tensor out, kg_tensor h, kg_tensor y, kg_tensor weight)
{
    kg_rms_norm(x, (kg_rms_norm_args){.out = out, .in = h, .add = y, .weight = weight, .eps = 1e-6});
}

/* What goes through the layers: the residual stream f32 [n, dim], and the last sublayer's answer, which the next norm adds to it and
 * writes over. */
typedef struct flow { kg_tensor h, y; kg_dtype act; } flow;

/* Each text's rows see their own. The scale is 1: UMT5 has none. */
static int attend(kg_exec *x, const umt5 *m, const tokens *t, const flow *f, int first_layer, const kg_weights *w, kg_tensor bias)
{
    int64_t n = f->h.shape[0], first = 0;
    if (kg_enter(x, "attention", 0, 0))
        return 1;
    kg_tensor qkv = kg_temp(x, f->act, KG_SHAPE(n, 3 * m->inner)), o = kg_temp(x, f->act, KG_SHAPE(n, m->inner)), none = {0};
    norm(x, f->y, f->h, first_layer ? none : f->y, w->t[UMT5_NORM1]);
    kg_linear(x, (kg_linear_args){.out = qkv, .in = f->y, .weight = w->t[UMT5_QKV]});
    for (int b = 0; b < BRANCHES; first += t->n[b++]) {
        kg_tensor own = kg_slice(qkv, first, t->n[b]);
        kg_attention(x, (kg_attention_args){.out = kg_slice(o, first, t->n[b]), .q = kg_slice_cols(own, 0, m->inner),
            .k = kg_slice_cols(own, m->inner, m->inner), .v = kg_slice_cols(own, 2 * m->inner, m->inner), .bias = bias,
            .heads = (int)m->heads, .scale = 1});
    }
    kg_linear(x, (kg_linear_args){.out = f->y, .in = o, .weight = w->t[UMT5_O]});
    return kg_leave(x);
}

static int feed_forward(kg_exec *x, const umt5 *m, const flow *f, const kg_weights *w)
{
    if (kg_enter(x, "ffn", 0, 0))
        return 1;
    kg_tensor both = kg_temp(x, f->act, KG_SHAPE(f->h.shape[0], 2 * m->ffn)), gate = kg_slice_cols(both, 0, m->ffn);
    norm(x, f->y, f->h, f->y, w->t[UMT5_NORM2]);
    kg_linear(x, (kg_linear_args){.out = both, .in = f->y, .weight = w->t[UMT5_GATE_UP]});
    kg_gated_gelu(x, (kg_gated_gelu_args){.out = gate, .gate = gate, .up = kg_slice_cols(both, m->ffn, m->ffn)});
    kg_linear(x, (kg_linear_args){.out = f->y, .in = gate, .weight = w->t[UMT5_DOWN]});
    return kg_leave(x);
}

static int layer(kg_exec *x, const umt5 *m, int i, const tokens *t, const flow *f, kg_tensor bucket)
{
    kg_weights w;
    if (kg_enter(x, "layer", i, m->layers) || kg_use(x, MODEL, i, &w))
        return 1;
    kg_tensor bias = kg_temp(x, KG_F32, KG_SHAPE(m->heads, bucket.shape[0]));
    kg_rel_bias(x, (kg_rel_bias_args){.out = bias, .table = w.t[UMT5_BIAS], .bucket = bucket});
    if (attend(x, m, t, f, !i, &w, bias) || feed_forward(x, m, f, &w))
        return 1;
    return kg_leave(x);
}

/* The last norm writes the real rows of an output; the others are zero. */
static int finish(kg_exec *x, const umt5 *m, const tokens *t, const flow *f)
{
    kg_weights w;
    int64_t first = 0;
    if (kg_enter(x, "norm", 0, 0) || kg_use(x, MODEL, (int)m->layers, &w))
        return 1;
    for (int b = 0; b < BRANCHES; first += t->n[b++]) {
        kg_tensor out = kg_out(x, b);
        norm(x, kg_slice(out, 0, t->n[b]), kg_slice(f->h, first, t->n[b]), kg_slice(f->y, first, t->n[b]), w.t[0]);
        if (t->n[b] < UMT5_TOKENS)
            kg_fill_with(x, (kg_fill_args){.out = kg_slice(out, t->n[b], UMT5_TOKENS - t->n[b]), .value = 0});
        kg_watch_text(x, kg_slice(out, 0, t->n[b]), b ? "the negative text" : "the text");
    }
    return kg_leave(x);
}

static kg_status execute(kg_exec *x)
{
    const params *p = kg_params(x);
    const umt5 *m = config(kg_desc_in(x, MODEL));
    const tokens *t = kg_prepared(x);
    flow f = {.act = p->precision == KG_PRECISION_BF16 ? KG_BF16 : KG_F32};
    if (kg_enter(x, NULL, 0, 0))
        return KG_FAILED;
    f.h = kg_temp(x, KG_F32, KG_SHAPE(t->n[0] + t->n[1], m->dim));
    f.y = kg_temp(x, f.act, KG_SHAPE(t->n[0] + t->n[1], m->dim));
    if (put_rows(x, m, t, f.h))
        return KG_FAILED;
    kg_tensor bucket = put_buckets(x, m, t->n[0] > t->n[1] ? t->n[0] : t->n[1]);
    for (int i = 0; i < m->layers; ++i)
        if (layer(x, m, i, t, &f, bucket))
            return kg_error_last()->status;
    finish(x, m, t, &f);
    kg_leave(x);
    return kg_error_last()->status;
}

/* ---- node ---- */

/* Texts that cannot be read are said at the script's line. */
static kg_status check_text(const char *text)
{
    char *clean = kg_clean_text(text);
    free(clean);
    return clean ? KG_OK : kg_error_last()->status;
}

static kg_status infer(kg_infer *x)
{
    params *p = x->params;
    const umt5 *m = config(&x->in[MODEL]);
    int asked = p->precision;
    p->precision = kg_infer_precision(x, asked);
    if (p->precision == KG_PRECISION_F16 && asked == KG_PRECISION_AUTO)
        p->precision = KG_PRECISION_BF16;  /* a run in f16 has its text in bf16 */
    if (p->precision == KG_PRECISION_F16) {
        kg_status status = kg_fail(KG_USAGE, "this encoder overflows in f16");
        kg_hint("precision = 'bf16' or 'f32'");
        return status;
    }
    if (check_text(p->prompt) || check_text(p->negative))
        return kg_error_last()->status;
    for (int b = 0; b < BRANCHES; ++b)
        x->out[b] = kg_desc_tensor("embedding/umt5", KG_F32, KG_SHAPE(UMT5_TOKENS, m->dim));
    return KG_OK;
}

KG_NODE(text_umt5) = {
    .name = "text.umt5",
    .doc = "A prompt and a negative prompt, as rows of text for a transformer.",
    .version = 1,
    .params_size = sizeof(params),
    .inputs = KG_PORTS({"model", "resource/umt5", 0, "from text.load"}),
    .outputs = KG_PORTS({"text", "embedding/umt5", 0, "[512, dim]: the prompt's tokens, then zeros"},
                        {"negative", "embedding/umt5", 0, "the same of the negative prompt"}),
    .params = KG_PARAMS(KG_TEXT(params, prompt, NULL, KG_REQUIRED, "what is to be seen"),
                        KG_TEXT(params, negative, "", 0, "what is not to be seen"), KG_PRECISION(params, precision)),
    .infer = infer,
    .prepare = prepare,
    .execute = execute};
