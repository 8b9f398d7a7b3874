/* wan.sample: from noise to a latent. Draws its own noise (as torch's CPU generator does), embeds nothing itself, and keeps the
 * solver's state in tensors that checkpoints save.
 *
 * Seeds and guidance are branches of one evaluation. The knob `together` says how many branches share each pass over the weights:
 * one (least memory, for resident weights) or all (weights are read once a step, for streamed ones); bits are the same.
 * ref: wan-spec 6, 7.1 (Wan2.1 wan/text2video.py; Wan2.2 for two experts). */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/ops.h"
#include "nodes/lib/schedule.h"
#include "nodes/lib/solver.h"
#include "nodes/lib/watch.h"
#include "nodes/wan/dit.h"

typedef struct wan_sample_params {
    int64_t width, height, frames, steps, rng_blocks;
    int solver, schedule, precision, rng;
    double shift, guidance, guidance_low, boundary;
    kg_ints seed;
} wan_sample_params;

enum { IN_MODEL, IN_TEXT, IN_NEGATIVE, IN_LOW, IN_NOISE };
enum { KNOB_TOGETHER, KNOB_FFN };
#define MAX_ITEMS 64
#define VAE_SPACE 8
#define VAE_TIME 4

static const kg_wan_config *config_of(const kg_desc *d) { return d->resource->config; }

/* ---- infer ---- */
static kg_status check_size(const wan_sample_params *p)
{
    int64_t w = (p->width + 8) / 16 * 16, h = (p->height + 8) / 16 * 16;
    if (p->width % 16 == 0 && p->height % 16 == 0)
        return KG_OK;
    int64_t up_w = (p->width + 15) / 16 * 16, up_h = (p->height + 15) / 16 * 16;
    kg_fail(KG_USAGE, "%lldx%lld: width and height must be multiples of 16", (long long)p->width, (long long)p->height);
    kg_hint("the nearest is %lldx%lld; --fit crop renders %lldx%lld and crops it", (long long)(w ? w : 16), (long long)(h ? h : 16),
            (long long)up_w, (long long)up_h);
    return KG_USAGE;
}

static void warn(kg_infer *x, const kg_wan_config *c, int64_t w, int64_t h)
{
    double ratio = w > h ? (double)w / (double)h : (double)h / (double)w, area = (double)(w * h);
    if (ratio > 2.4)
        kg_infer_warn(x, "%lldx%lld is wider than 2.4:1; Wan was trained on 16:9 and near it", (long long)w, (long long)h);
    if (c->dim >= 1536 && (area < 0.5 * 832 * 480 || area > 1.5 * 1280 * 720))
        kg_infer_warn(x, "%lldx%lld is far from the sizes that Wan was trained on (832x480, 1280x720)", (long long)w, (long long)h);
}

/* Official: 5, with two experts 12. diffusers' own advice: 3 up to 480p, 5 above. ref: wan-spec 1.1, trap 10 */
static double auto_shift(const wan_sample_params *p, int experts, double area)
{
    if (p->schedule == KG_SCHEDULE_DIFFUSERS && experts == 1)
        return area > 832 * 480 ? 5 : 3;
    return experts == 2 ? 12 : 5;
}

static kg_status check_inputs(const kg_infer *x, const wan_sample_params *p, const kg_wan_config *c)
{
    for (int i = IN_TEXT; i <= IN_NEGATIVE; ++i)
        if (x->in[i].kind && (x->in[i].rank != 2 || x->in[i].shape[0] != WAN_TEXT_ROWS || x->in[i].shape[1] != c->text_dim))
            return kg_fail(KG_USAGE, "the text embedding has %lld channels, this transformer takes %lld",
                           (long long)x->in[i].shape[1], (long long)c->text_dim);
    if (!x->in[IN_NEGATIVE].kind && (p->guidance != 1 || (x->in[IN_LOW].kind && p->guidance_low != 1)))
        return kg_fail(KG_USAGE, "guidance = %g needs input negative (guidance = 1 does without)", p->guidance);
    if (x->in[IN_LOW].kind) {
        const kg_wan_config *l = config_of(&x->in[IN_LOW]);
        if (l->in_channels != c->in_channels || l->text_dim != c->text_dim)
            return kg_fail(KG_USAGE, "model and model_low are of different families (%lld and %lld channels)",
                           (long long)c->in_channels, (long long)l->in_channels);
    }
    return KG_OK;
}

/* The noise is the size: a param that says another one is a mistake, one that says nothing is filled in. */
static kg_status take_size(const kg_infer *x, wan_sample_params *p, const kg_desc *n, int64_t channels)
{
    if (n->rank != 4 || n->shape[0] != channels || n->shape[2] % 2 || n->shape[3] % 2)
        return kg_fail(KG_USAGE, "noise must be [%lld, frames, height, width] with even height and width", (long long)channels);
    const struct { const char *name; int64_t *param, noise; } size[] = {{"width", &p->width, n->shape[3] * VAE_SPACE},
        {"height", &p->height, n->shape[2] * VAE_SPACE}, {"frames", &p->frames, (n->shape[1] - 1) * VAE_TIME + 1}};
    for (int i = 0; i < 3; ++i) {
        if (kg_infer_given(x, size[i].name) && *size[i].param != size[i].noise) {
            kg_fail(KG_USAGE, "%s = %lld, but input noise is for %s = %lld", size[i].name, (long long)*size[i].param, size[i].name,
                    (long long)size[i].noise);
            kg_hint("with noise, width, height and frames may be left out");
            return KG_USAGE;
        }
        *size[i].param = size[i].noise;
    }
    return KG_OK;
}

/* Params of an input that is not joined, and of what an input gives already. */
static kg_status check_params(kg_infer *x)
{
    static const char *const low[] = {"guidance_low", "boundary"}, *const draw[] = {"seed", "rng", "rng_blocks"};
    for (int i = 0; i < 2; ++i)
        if (!x->in[IN_LOW].kind && kg_infer_given(x, low[i]))
            return kg_fail(KG_USAGE, "param %s is of input model_low, which is not joined", low[i]);
    for (int i = 0; i < 3; ++i)
        if (x->in[IN_NOISE].kind && kg_infer_given(x, draw[i]))
            kg_infer_warn(x, "%s is for drawing noise, and input noise gives it: it changes nothing", draw[i]);
    return KG_OK;
}

static kg_status infer(kg_infer *x)
{
    wan_sample_params *p = x->params;
    const kg_wan_config *c = config_of(&x->in[IN_MODEL]);
    int64_t shape[4] = {c->in_channels, (p->frames - 1) / VAE_TIME + 1, p->height / VAE_SPACE, p->width / VAE_SPACE};
    if (x->in[IN_NOISE].kind) {
        if (take_size(x, p, &x->in[IN_NOISE], c->in_channels) != KG_OK)
            return KG_USAGE;
        memcpy(shape, x->in[IN_NOISE].shape, sizeof shape);
    } else if (check_size(p) != KG_OK)
        return KG_USAGE;
    kg_status s = check_params(x);
    if (s == KG_OK)
        s = check_inputs(x, p, c);
    if (s != KG_OK)
        return s;
    warn(x, c, shape[3] * VAE_SPACE, shape[2] * VAE_SPACE);
    p->precision = kg_infer_precision(x, p->precision);
    if (isnan(p->guidance_low))
        p->guidance_low = p->guidance;
    if (isnan(p->shift))
        p->shift = auto_shift(p, x->in[IN_LOW].kind ? 2 : 1, (double)(shape[2] * shape[3] * VAE_SPACE * VAE_SPACE));
    x->out[0] = kg_desc_tensor("latent/wan21", KG_F32, 4, shape);
    x->out[0].rate = 16;
    return KG_OK;
}

/* ---- execute ---- */
typedef struct sampling {
    const wan_sample_params *p;
    kg_schedule schedule;
    wan_dit dit[2];            /* high noise (or the only one), low noise                            */
    int experts, items, ready; /* ready: experts whose context is there, as bits                     */
    kg_solver solver[MAX_ITEMS];
    kg_tensor v[MAX_ITEMS], vu[MAX_ITEMS];
} sampling;

static kg_tensor keep_like(kg_exec *x, kg_tensor t) { return kg_keep(x, t.dtype, t.rank, t.shape); }

static void set_up_expert(kg_exec *x, sampling *s, int e, kg_tensor rope)
{
    const kg_desc *o = kg_desc_out(x, 0);
    wan_dit *d = &s->dit[e];
    *d = (wan_dit){.config = config_of(kg_desc_in(x, e ? IN_LOW : IN_MODEL)), .port = e ? IN_LOW : IN_MODEL, .frames = o->shape[1],
                   .height = o->shape[2] / 2, .width = o->shape[3] / 2, .rope = rope, .ffn_chunks = kg_knob(x, KNOB_FFN)};
    d->act = s->p->precision == KG_PRECISION_F32 ? KG_F32 : s->p->precision == KG_PRECISION_F16 ? KG_F16 : KG_BF16;
    d->contexts = kg_desc_in(x, IN_NEGATIVE)->kind ? 2 : 1;
    for (int i = 0; i < d->contexts; ++i)
        d->context[i] = kg_keep(x, d->act, KG_SHAPE(WAN_TEXT_ROWS, d->config->dim));
}

static void set_up(kg_exec *x, sampling *s)
{
    const kg_desc *o = kg_desc_out(x, 0);
    int64_t tokens = o->shape[1] * (o->shape[2] / 2) * (o->shape[3] / 2);
    s->experts = kg_desc_in(x, IN_LOW)->kind ? 2 : 1;
    s->items = kg_desc_out(x, 0)->items;
    kg_tensor rope = kg_keep(x, KG_F32, KG_SHAPE(tokens, 64, 2));
    kg_rope_table(
        x,
        (kg_rope_table_args){
            .out = rope, .frames = o->shape[1], .height = o->shape[2] / 2, .width = o->shape[3] / 2, .theta = 10000});
    for (int e = 0; e < s->experts; ++e)
        set_up_expert(x, s, e, rope);
    for (int i = 0; i < s->items; ++i) {
        kg_solver *k = &s->solver[i];
        k->x = kg_out_item(x, 0, i);
        s->v[i] = keep_like(x, k->x);
        if (s->dit[0].contexts == 2)
            s->vu[i] = keep_like(x, k->x);
        if (s->p->solver != KG_SOLVER_EULER)
            k->m[0] = keep_like(x, k->x);
        if (s->p->solver == KG_SOLVER_UNIPC) {
            k->m[1] = keep_like(x, k->x);
            k->last = keep_like(x, k->x);
        }
    }
}

static void start(kg_exec *x, sampling *s)
{
    kg_tensor state[4 * MAX_ITEMS];
    int n = 0, given = kg_desc_in(x, IN_NOISE)->items;
    for (int i = 0; i < s->items; ++i)
        n += kg_solver_tensors(&s->solver[i], s->p->solver, state + n);
    if (kg_first(x) > 0) {
        kg_restore(x, state, n);
        return;
    }
    for (int i = 0; i < s->items; ++i) {
        if (kg_desc_in(x, IN_NOISE)->kind)
            kg_unary(x, (kg_unary_args){.out = s->solver[i].x, .in = kg_in_item(x, IN_NOISE, given > 1 ? i : 0), .op = KG_UNARY_COPY});
        else
            kg_noise(x, (kg_noise_args){.out = s->solver[i].x, .seed = (uint64_t)s->p->seed.v[i],
                                        .blocks = s->p->rng ? (int)s->p->rng_blocks : 0});
        for (int k = 0; k < 2 && s->p->solver == KG_SOLVER_UNIPC; ++k)      /* unused in the first steps; a checkpoint reads them */
            kg_combine(x, (kg_combine_args){.out = k ? s->solver[i].last : s->solver[i].m[1],
                                            .term = {s->solver[i].x},
                                            .coef = {0},
                                            .n = 1});
        if (s->p->solver != KG_SOLVER_EULER)
            kg_combine(x, (kg_combine_args){.out = s->solver[i].m[0], .term = {s->solver[i].x}, .coef = {0}, .n = 1});
    }
}

/* Velocities of all items: one branch each, two with guidance. ref: wan-spec 6.6 */
static kg_status evaluate(kg_exec *x, sampling *s, int e, double t, double guidance)
{
    wan_branch b[2 * MAX_ITEMS];
    int n = 0, guided = guidance != 1, together = kg_knob(x, KNOB_TOGETHER);
    for (int i = 0; i < s->items; ++i) {
        b[n++] = (wan_branch){.latent = s->solver[i].x, .velocity = s->v[i], .context = 0};
        if (guided)
            b[n++] = (wan_branch){.latent = s->solver[i].x, .velocity = s->vu[i], .context = 1};
    }
    for (int i = 0; i < n; i += together ? n : 1)
        if (wan_dit_forward(x, &s->dit[e], t, b + i, together ? n : 1) != KG_OK)
            return KG_FAILED;
    return KG_OK;
}

static kg_status step(kg_exec *x, sampling *s, int64_t i)
{
    const wan_sample_params *p = s->p;
    double t = s->schedule.t[i];
    int e = s->experts == 2 && t < p->boundary * 1000;
    if (!(s->ready & 1 << e)) {
        kg_tensor text[2] = {kg_in(x, IN_TEXT)};
        if (s->dit[e].contexts == 2)
            text[1] = kg_in(x, IN_NEGATIVE);
        if (wan_dit_context(x, &s->dit[e], text) != KG_OK)
            return KG_FAILED;
        s->ready |= 1 << e;
    }
    double guidance = e ? p->guidance_low : p->guidance;
    kg_status r = evaluate(x, s, e, t, guidance);
    kg_tensor state[4 * MAX_ITEMS];
    int n = 0;
    for (int k = 0; k < s->items && r == KG_OK; ++k) {
        kg_answer a = {.v = s->v[k], .scale = guidance};
        if (guidance != 1)
            a.u = s->vu[k];
        kg_solver_advance(x, &s->solver[k], &s->schedule, (int)i, &a);
        s->v[k] = a.v;
        n += kg_solver_tensors(&s->solver[k], p->solver, state + n);
    }
    if (r == KG_OK)
        kg_save(x, i + 1, p->steps, state, n);
    return r;
}

static kg_status execute(kg_exec *x)
{
    sampling *s = kg_state(x, sizeof *s, NULL);
    if (!s)
        return KG_FAILED;
    s->p = kg_params(x);
    s->ready = 0;
    kg_status r = kg_schedule_make(&s->schedule, s->p->solver, s->p->schedule, (int)s->p->steps, s->p->shift);
    if (r != KG_OK)
        return r;
    set_up(x, s);
    start(x, s);
    for (int64_t i = kg_first(x); i < s->p->steps && r == KG_OK; ++i) {
        if (kg_enter(x, "step", i, s->p->steps))
            return KG_FAILED;
        r = step(x, s, i);
        if (kg_leave(x))
            return KG_FAILED;
    }
    for (int i = 0; i < s->items && r == KG_OK; ++i)
        kg_watch_latent(x, kg_out_item(x, 0, i), "the latent");
    return r;
}

KG_NODE(wan_sample) = {
    .name = "wan.sample",
    .doc = "Denoises a latent with a Wan transformer (two experts with model_low), from its own noise or a given one",
    .version = 2,
    .params_size = sizeof(wan_sample_params),
    .inputs = KG_PORTS({"model", "resource/wan", 0, "the transformer; with model_low the high-noise expert"},
                       {"text", "embedding", 0, "what the video shows, [512, text_dim]"},
                       {"negative", "embedding", KG_OPTIONAL, "what it does not; needed unless guidance is 1"},
                       {"model_low", "resource/wan", KG_OPTIONAL, "low-noise expert, below the boundary"},
                       {"noise", "latent", KG_OPTIONAL | KG_LIST,
                        "initial latent [channels, frames, height, width], or a list; sets the size"}),
    .outputs = KG_PORTS({"latent", "latent/wan21", 0, "[16, (frames - 1) / 4 + 1, height / 8, width / 8]; one per seed"}),
    .params = KG_PARAMS(
        KG_INT(wan_sample_params, width, 832, 16, 8192, 0, "pixels, a multiple of 16"),
        KG_INT(wan_sample_params, height, 480, 16, 8192, 0, "pixels, a multiple of 16"),
        KG_INT(wan_sample_params, frames, 81, 1, 1025, 4, "4n+1 frames"),
        KG_INT(wan_sample_params, steps, 50, 1, KG_STEPS_MAX, 0, "denoising steps"),
        KG_CHOICE(wan_sample_params, solver, "unipc|dpm++|euler", KG_SOLVER_UNIPC, "the solver"),
        KG_CHOICE(wan_sample_params, schedule, "official|diffusers", KG_SCHEDULE_OFFICIAL, "whose grid of timesteps; they differ visibly"),
        KG_REAL_AUTO(wan_sample_params, shift, 0.01, 100, "shift of the schedule; auto: by experts, schedule and size"),
        KG_REAL(wan_sample_params, guidance, 5, 0, 100, "classifier-free guidance scale; 1 needs no negative"),
        KG_REAL_AUTO(wan_sample_params, guidance_low, 0, 100, "guidance of model_low; auto: as guidance"),
        KG_REAL(wan_sample_params, boundary, 0.875, 0, 1, "model_low takes over below this timestep / 1000"),
        KG_SEEDS(wan_sample_params, seed, "seed of the noise; a list gives one latent each, sharing each pass over the weights"),
        KG_CHOICE(wan_sample_params, rng, "torch_cpu|torch_cuda", 0, "whose generator draws the noise, on every device"),
        KG_INT(wan_sample_params, rng_blocks, KG_NOISE_BLOCKS, 1, 65536, 0,
               "torch_cuda: multiprocessors times their threads / 256 of the card it was drawn on"),
        KG_PRECISION(wan_sample_params, precision)),
    .knobs = KG_KNOBS({"together", KG_EXACT | KG_SAVES_LOADS, 2, {0, 1}, "branches that share a pass over the weights: one, all"},
                      {"ffn_chunks", KG_EXACT | KG_SAVES_MEMORY, 4, {1, 2, 4, 8}, "parts of the feed forward's rows"}),
    .infer = infer,
    .execute = execute,
};
