/* Runs a list of the VAE's parts on one chunk of frames: of the decoder's last parts and the encoder's first ones, where frames are
 * largest and nothing changes their rate, one frame after the other (vae.alone), so that no more than a few of these stand at once;
 * small ones run together.
 *
 * Parts that keep shape work in place; the others write a new tensor, and what comes next runs while the old one still stands
 * (temporaries are a stack). For the encoder that costs little: the first level holds most of the bytes. The decoder's last new
 * tensor before its frames part is made ahead of all others, which are gone when the large levels come. The stride of slots is the official
 * one: what a convolution in time looks back at is its own input, after norm and SiLU. ref: wan-spec 5.2 and 5.3. */
#include "kernels/ops.h"
#include "nodes/wan/vae.h"

/* Mean and deviation of the latents that the models were trained on. ref: Wan2.1 wan/modules/vae.py, WanVAE.__init__ */
static const float mean[VAE_LATENT] = {-0.7571f, -0.7089f, -0.9113f, 0.1075f, -0.1745f, 0.9653f, -0.1517f, 1.5508f,
    0.4134f, -0.0715f, 0.5517f, -0.3632f, -0.1922f, -0.9497f, 0.2503f, -0.2921f};
static const float deviation[VAE_LATENT] = {2.8184f, 1.4541f, 2.3275f, 2.6558f, 1.2196f, 1.7708f, 2.6052f, 2.0743f,
    3.2687f, 2.1526f, 2.8652f, 1.5579f, 1.6382f, 1.1253f, 2.8251f, 1.9160f};

/* How many of t frames of height x width run together: those that hold no more than a quarter of a million pixels, or one. */
static int64_t at_once(int64_t t, int64_t height, int64_t width)
{
    return t * height * width <= 1 << 18 ? t : 1;
}

static kg_tensor frames_of(kg_exec *x, kg_tensor like, int64_t t, int64_t h, int64_t w, int64_t c)
{
    return kg_temp(x, like.dtype, KG_SHAPE(t, h, w, c));
}

static void keep(kg_exec *x, const vae_run *r, vae_slot *s, int64_t frames, int64_t h, int64_t w, int64_t c)
{
    s->frames = r->looks_back ? kg_keep(x, r->act, KG_SHAPE(frames, h, w, c)) : (kg_tensor){.dtype = r->act};
    s->room = r->looks_back || kg_conv_joins(x) ? frames : 0;
}

kg_dtype vae_act(int precision)
{
    return precision == KG_PRECISION_F32 ? KG_F32 : precision == KG_PRECISION_F16 ? KG_F16 : KG_BF16;
}

void vae_begin(kg_exec *x, vae_run *r, const vae *v, int list, int port, kg_dtype act, int64_t chunks, int64_t height, int64_t width)
{
    *r = (vae_run){.v = v, .list = list, .port = port, .act = act, .looks_back = chunks > 1};
    float scale[VAE_LATENT], shift[VAE_LATENT];
    for (int i = 0; i < VAE_LATENT; ++i) {
        scale[i] = list == VAE_DECODER ? deviation[i] : 1.0f / deviation[i];
        shift[i] = list == VAE_DECODER ? mean[i] : -mean[i] / deviation[i];
    }
    r->scale = kg_keep(x, KG_F32, KG_SHAPE(VAE_LATENT));
    r->shift = kg_keep(x, KG_F32, KG_SHAPE(VAE_LATENT));
    kg_put(x, r->scale, scale, sizeof scale);
    kg_put(x, r->shift, shift, sizeof shift);
    for (int i = 0; i < v->count[list]; ++i) {
        const vae_part *p = &v->part[list][i];
        if (p->kind == VAE_DOWN) {
            height /= 2;
            width /= 2;
        }
        if (p->kind == VAE_RES || p->kind == VAE_HEAD || (p->kind == VAE_CONV && p->kernel == 3) || (p->kind == VAE_UP && p->time))
            keep(x, r, &r->slot[i][0], 2, height, width, p->in);
        if (p->kind == VAE_RES)
            keep(x, r, &r->slot[i][1], 2, height, width, p->out);
        if (p->kind == VAE_DOWN && p->time)
            keep(x, r, &r->slot[i][0], 1, height, width, p->out);
        if (p->kind == VAE_UP) {
            height *= 2;
            width *= 2;
        }
    }
}

/* ---- looking back ----
 * A convolution in time reads one run of frames: its input is made behind room for the slot's frames, which are copied there
 * first, since what makes the input puts its last frames into the slot. On the first frames of a clip part of that room stays
 * empty, for the device to put zeros in. */
static void copy(kg_exec *x, kg_tensor out, kg_tensor in)
{
    kg_unary(x, (kg_unary_args){.out = out, .in = in, .op = KG_UNARY_COPY});
}

/* Copies what the slot has to where the input will begin: the oldest frame first. */
static void recall(kg_exec *x, const vae_slot *s, kg_tensor all)
{
    int64_t room = s->room, newest = room - 1 - s->oldest;
    if (!s->n)
        return;
    if (s->n == room && !s->oldest) {
        copy(x, kg_slice(all, 0, room), s->frames);
        return;
    }
    for (int64_t i = room - s->n; i < room; ++i)
        copy(x, kg_slice(all, i, 1), kg_slice(s->frames, i + 1 == room ? newest : s->oldest, 1));
}

/* Where the last of t new frames go; the slot counts them as there. Rank 0: nobody will look back at them. */
static kg_tensor place(vae_slot *s, int64_t t)
{
    int64_t room = s->room, at = s->oldest;
    if (!s->frames.rank)
        return s->frames;
    s->n = s->n + t < room ? s->n + t : room;
    s->oldest = t < room ? room - 1 - at : 0;
    return t < room ? kg_slice(s->frames, at, t) : s->frames;
}

/* all [past + T, H, W, C]: its last T frames are the input, before it are n of the slot's. a says the rest. */
static void causal(kg_exec *x, const vae_slot *s, kg_tensor all, int64_t n, kg_conv_args a)
{
    int64_t room = s->room;
    a.in = kg_slice(all, room, all.shape[0] - room);
    if (n)
        a.history = kg_slice(all, room - n, n);
    a.kt = 3;
    a.joined = 1;
    kg_conv(x, a);
}

/* Room for the slot's frames and t of h x w x c behind it. */
static kg_tensor with_past(kg_exec *x, const vae_slot *s, int64_t t, int64_t h, int64_t w, int64_t c)
{
    return frames_of(x, s->frames, s->room + t, h, w, c);
}

/* The input is another part's output: copied behind the past, and its last frames into the slot. */
static void causal_copy(kg_exec *x, vae_slot *s, kg_tensor in, kg_conv_args a)
{
    int64_t t = in.shape[0], n = s->n;
    kg_tensor all = with_past(x, s, t, in.shape[1], in.shape[2], in.shape[3]);
    recall(x, s, all);
    copy(x, kg_slice(all, s->room, t), in);
    kg_tensor kept = place(s, t);
    if (kept.rank)
        copy(x, kept, kg_slice(in, t - kept.shape[0], kept.shape[0]));
    causal(x, s, all, n, a);
}

/* The input is silu(norm(in)), made where it is read. */
static void causal_norm(kg_exec *x, vae_slot *s, kg_tensor all, kg_tensor in, kg_tensor gamma, kg_conv_args a)
{
    int64_t n = s->n;
    recall(x, s, all);
    kg_channel_norm(x, (kg_channel_norm_args){.out = kg_slice(all, s->room, in.shape[0]), .in = in, .gamma = gamma,
        .also = place(s, in.shape[0]), .silu = 1});
    causal(x, s, all, n, a);
}

/* ---- parts ---- */
/* out = conv(silu(norm(conv(silu(norm(in)))))) + (shortcut of) in; out is in when the width stays. Then a's last frames, which are
 * in its slot, give way to b's past: two frames less at the peak of the largest level. */
static void residual(kg_exec *x, vae_slot *s, const kg_tensor *w, kg_tensor in, kg_tensor out, int shortcut)
{
    const int64_t *n = in.shape, t = n[0], before = s[0].room;
    kg_tensor a, b;
    if (shortcut) {
        a = with_past(x, &s[0], t, n[1], n[2], n[3]);
        b = with_past(x, &s[1], t, n[1], n[2], out.shape[3]);
    } else {
        kg_tensor both = with_past(x, &s[0], 2 * t, n[1], n[2], n[3]);
        a = kg_slice(both, 0, before + t);
        b = kg_slice(both, t, before + t);
    }
    kg_tensor middle = kg_slice(b, before, t);
    causal_norm(x, &s[0], a, in, w[0], (kg_conv_args){.out = middle, .weight = w[1], .bias = w[2], .kh = 3, .kw = 3});
    if (shortcut)
        kg_conv(x, (kg_conv_args){.out = out, .in = in, .weight = w[6], .bias = w[7], .kt = 1, .kh = 1, .kw = 1});
    causal_norm(x, &s[1], b, middle, w[3], (kg_conv_args){.out = out, .weight = w[4], .bias = w[5], .add = out, .kh = 3, .kw = 3});
}

/* In place: each frame attends to itself, one head as wide as the channels. */
static void attention(kg_exec *x, const kg_tensor *w, kg_tensor in)
{
    const int64_t *n = in.shape;
    int64_t c = n[3], pixels = n[1] * n[2];
    kg_tensor a = frames_of(x, in, n[0], n[1], n[2], c), qkv = frames_of(x, in, n[0], n[1], n[2], 3 * c);
    kg_channel_norm(x, (kg_channel_norm_args){.out = a, .in = in, .gamma = w[0]});
    kg_conv(x, (kg_conv_args){.out = qkv, .in = a, .weight = w[1], .bias = w[2], .kt = 1, .kh = 1, .kw = 1});
    for (int64_t t = 0; t < n[0]; ++t) {
        kg_tensor f = kg_view(kg_at(qkv, t), KG_SHAPE(pixels, 3 * c));
        kg_attention(x, (kg_attention_args){.out = kg_view(kg_at(a, t), KG_SHAPE(pixels, c)), .q = kg_slice_cols(f, 0, c),
            .k = kg_slice_cols(f, c, c), .v = kg_slice_cols(f, 2 * c, c), .heads = 1, .scale = 1.0 / __builtin_sqrt((double)c)});
    }
    kg_conv(x, (kg_conv_args){.out = in, .in = a, .weight = w[3], .bias = w[4], .add = in, .kt = 1, .kh = 1, .kw = 1});
}

/* With time, every frame but the clip's first becomes two: the halves of a convolution's channels. The first is no history. */
static void upsample(kg_exec *x, const vae_run *r, vae_slot *s, const kg_tensor *w, int time, kg_tensor in, kg_tensor out)
{
    if (time && r->chunks) {
        const int64_t *n = in.shape;
        kg_tensor doubled = frames_of(x, in, 2 * n[0], n[1], n[2], n[3]);
        causal_copy(x, s, in, (kg_conv_args){.out = doubled, .weight = w[2], .bias = w[3], .kh = 1, .kw = 1, .split = 1});
        in = doubled;
    }
    int64_t step = at_once(in.shape[0], out.shape[1], out.shape[2]);
    for (int64_t t = 0; t < in.shape[0]; t += step)        /* a device may need as much room again for what it makes */
        kg_conv(x, (kg_conv_args){.out = kg_slice(out, t, step), .in = kg_slice(in, t, step), .weight = w[0], .bias = w[1], .kt = 1,
            .kh = 3, .kw = 3, .upsample = 1});
}

/* With time, the clip's first frame passes; later ones are halved, over three frames with one of overlap. */
static void downsample(kg_exec *x, const vae_run *r, vae_slot *s, const kg_tensor *w, int time, kg_tensor in, kg_tensor out)
{
    int halve = time && r->chunks;
    kg_tensor half = halve ? frames_of(x, in, in.shape[0], out.shape[1], out.shape[2], out.shape[3]) : out;
    kg_conv(x, (kg_conv_args){.out = half, .in = in, .weight = w[0], .bias = w[1], .kt = 1, .kh = 3, .kw = 3, .stride_hw = 2});
    if (halve)
        causal_copy(x, s, half, (kg_conv_args){.out = out, .weight = w[2], .bias = w[3], .kh = 1, .kw = 1, .stride_t = 2});
    else if (time && r->looks_back)
        copy(x, place(s, 1), kg_slice(half, half.shape[0] - 1, 1));
}

static void convolution(kg_exec *x, vae_slot *s, const vae_part *p, const kg_tensor *w, kg_tensor in, kg_tensor out)
{
    kg_conv_args a = {.out = out, .in = in, .weight = w[0], .bias = w[1], .kt = 1, .kh = p->kernel, .kw = p->kernel};
    if (p->kernel == 3)
        causal_copy(x, s, in, a);
    else
        kg_conv(x, a);
}

static void head(kg_exec *x, vae_slot *s, const kg_tensor *w, kg_tensor in, kg_tensor out)
{
    const int64_t *n = in.shape;
    kg_tensor all = with_past(x, s, n[0], n[1], n[2], n[3]);
    causal_norm(x, s, all, in, w[0], (kg_conv_args){.out = out, .weight = w[1], .bias = w[2], .kh = 3, .kw = 3});
}

static int in_place(const vae_part *p) { return p->kind == VAE_ATTENTION || (p->kind == VAE_RES && p->in == p->out); }

/* The shape of what a part makes of frames of this shape; both [T, H, W, C]. */
static void shape_after(const vae_run *r, const vae_part *p, int64_t *shape)
{
    int up = p->kind == VAE_UP, down = p->kind == VAE_DOWN, time = (up || down) && p->time && r->chunks;
    for (int i = time ? 0 : 1; i < 3; ++i)
        shape[i] = up ? 2 * shape[i] : down ? shape[i] / 2 : shape[i];
    shape[3] = p->out;
}

static kg_tensor output(kg_exec *x, const vae_run *r, const vae_part *p, kg_tensor in)
{
    if (in_place(p))
        return in;
    shape_after(r, p, in.shape);
    return kg_temp(x, in.dtype, 4, in.shape);
}

static void run_part(kg_exec *x, vae_run *r, int i, kg_tensor in, kg_tensor out)
{
    const vae_part *p = &r->v->part[r->list][i];
    kg_weights w;
    if (kg_use(x, r->port, p->segment, &w))
        return;
    switch (p->kind) {
    case VAE_CONV: convolution(x, r->slot[i], p, w.t, in, out); break;
    case VAE_RES: residual(x, r->slot[i], w.t, in, out, p->in != p->out); break;
    case VAE_ATTENTION: attention(x, w.t, in); break;
    case VAE_UP: upsample(x, r, r->slot[i], w.t, p->time, in, out); break;
    case VAE_DOWN: downsample(x, r, r->slot[i], w.t, p->time, in, out); break;
    case VAE_HEAD: head(x, r->slot[i], w.t, in, out); break;
    }
}

/* Parts first .. end - 1 on `in`; into `last` when that has a rank. Gives what the last one gave. */
static kg_tensor run_parts(kg_exec *x, vae_run *r, int first, int end, kg_tensor in, kg_tensor last)
{
    for (int i = first; i < end; ++i) {
        const vae_part *p = &r->v->part[r->list][i];
        kg_tensor out = last.rank && i + 1 == end ? last : output(x, r, p, in);
        if (kg_enter(x, "part", i, 0))
            return out;
        run_part(x, r, i, in, out);
        if (kg_leave(x))
            return out;
        in = out;
    }
    return in;
}

/* The decoder's parts before `end`: the new tensors of all but the last that makes one are gone afterwards. */
static kg_tensor run_small(kg_exec *x, vae_run *r, int end, kg_tensor in)
{
    const vae_part *part = r->v->part[r->list];
    kg_tensor none = {0}, out = in;
    int last = end - 1;
    while (last >= 0 && in_place(&part[last]))
        --last;
    for (int i = 0; i <= last; ++i)
        shape_after(r, &part[i], out.shape);
    if (last >= 0) {
        out = kg_temp(x, in.dtype, 4, out.shape);
        if (kg_enter(x, "chunk", r->chunks, 0))
            return out;
        run_parts(x, r, 0, last + 1, in, out);
        if (kg_leave(x))
            return out;
    }
    return run_parts(x, r, last + 1, end, out, none);
}

/* The encoder's first parts, of which the last halves the sides, a frame at a time. */
static kg_tensor gather(kg_exec *x, vae_run *r, int end, kg_tensor in)
{
    if (!end)
        return in;
    const vae_part *p = &r->v->part[r->list][end - 1];
    kg_tensor all = frames_of(x, in, in.shape[0], in.shape[1] / 2, in.shape[2] / 2, p->out);
    int64_t step = at_once(in.shape[0], in.shape[1], in.shape[2]);
    for (int64_t t = 0; t < in.shape[0]; t += step) {
        if (kg_enter(x, "alone", t, 0))
            return all;
        run_parts(x, r, 0, end, kg_slice(in, t, step), kg_slice(all, t, step));
        if (kg_leave(x))
            return all;
    }
    return all;
}

void vae_chunk(kg_exec *x, vae_run *r, kg_tensor in, vae_done_fn *done, void *arg)
{
    int count = r->v->count[r->list], alone = r->v->alone[r->list];
    kg_tensor none = {0};
    if (r->list == VAE_ENCODER) {
        done(x, arg, run_parts(x, r, alone, count, gather(x, r, alone, in), none), 0);
    } else {
        in = run_small(x, r, alone, in);
        int64_t step = at_once(in.shape[0], 2 * in.shape[1], 2 * in.shape[2]);
        for (int64_t t = 0; t < in.shape[0]; t += step) {
            if (kg_enter(x, "alone", t, 0))
                return;
            done(x, arg, run_parts(x, r, alone, count, kg_slice(in, t, step), none), t);
            if (kg_leave(x))
                return;
        }
    }
    ++r->chunks;
}
