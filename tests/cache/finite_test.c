/* Watched values: a flag that says NaN or Inf ends the run with the path at which it was watched, and nothing that comes after it is
 * kept: no checkpoint of its step, no result, no end of a file. On the host's memory at once, on a simulated card (delays, chaos) when
 * the run waits in any case, with no wait of its own. What older versions kept is found when it is read. */
#include "tests/toy.h"

#include "tests/cache/help.h"
#include "tests/sim.h"

enum { STEPS = 20, NEVER = 1000 };

/* ---- toy.flags { steps, bad, flags, watch }: steps that each watch `flags` values; the last one of step `bad` holds Inf ---- */
typedef struct flags_params { int64_t steps, bad, flags, watch; } flags_params;
static kg_status flags_infer(kg_infer *x)
{
    x->out[0] = kg_desc_tensor("latent/toy", KG_F32, KG_SHAPE(64));
    return KG_OK;
}
static kg_status video_infer(kg_infer *x)
{
    x->out[0] = kg_desc_tensor("latent/toy", KG_F32, KG_SHAPE(64));
    x->out[1] = kg_desc_tensor("frames/toy", KG_F32, KG_SHAPE(64));
    x->out[1].stream = 1;
    x->out[1].chunks = ((const flags_params *)x->params)->steps;
    return KG_OK;
}
static void step(kg_exec *x, const flags_params *p, int64_t i, int emits)
{
    kg_tensor y = kg_out(x, 0), flag = kg_temp(x, KG_I32, KG_SHAPE(1));
    float v[64];
    for (int k = 0; k < 64; ++k)
        v[k] = (float)(100 * i + k);
    kg_put(x, y, v, sizeof v);
    for (int64_t k = 0; k < p->flags; ++k) {
        int32_t bits = i == p->bad && k + 1 == p->flags ? KG_HAS_INF : 0;
        kg_put(x, flag, &bits, sizeof bits);
        if (p->watch)
            kg_flag(x, flag, "the toy's value");
    }
    if (emits)
        kg_emit(x, 1, y);
    kg_save(x, i + 1, p->steps, &y, 1);
}
static kg_status steps(kg_exec *x, int emits)
{
    const flags_params *p = kg_params(x);
    kg_tensor y = kg_out(x, 0);
    if (kg_first(x) > 0)
        kg_restore(x, &y, 1);
    for (int64_t i = kg_first(x); i < p->steps; ++i) {
        if (kg_enter(x, "step", i, p->steps))
            return KG_FAILED;
        step(x, p, i, emits);
        if (kg_leave(x))
            return KG_FAILED;
    }
    return KG_OK;
}
static kg_status flags_execute(kg_exec *x) { return steps(x, 0); }
static kg_status video_execute(kg_exec *x) { return steps(x, 1); }
#define FLAGS_PARAMS KG_PARAMS(KG_INT(flags_params, steps, STEPS, 1, 1000, 0, "steps"), \
    KG_INT(flags_params, bad, NEVER, 0, NEVER, 0, "step"), \
    KG_INT(flags_params, flags, 1, 0, 1000, 0, "a step"), KG_INT(flags_params, watch, 1, 0, 1, 0, ""))
KG_NODE(toy_flags) = {.name = "toy.flags", .doc = "watches", .version = 1, .params_size = sizeof(flags_params),
    .outputs = KG_PORTS({"latent", "latent/toy", 0, ""}), .params = FLAGS_PARAMS, .infer = flags_infer, .execute = flags_execute};
KG_NODE(toy_video) = {.name = "toy.video", .doc = "watches, and emits", .version = 1, .params_size = sizeof(flags_params),
    .outputs = KG_PORTS({"latent", "latent/toy", 0, ""}, {"video", "frames/toy", KG_STREAM, ""}), .params = FLAGS_PARAMS,
    .infer = video_infer, .execute = video_execute};

/* ---- toy.file { video }: work that nobody waits for, as a sink's is: what it wrote, and whether it came to its end ---- */
static int64_t written;
static int ended;
static kg_status write_work(void *arg, const kg_tensor *in, const kg_tensor *out)
{
    (void)arg, (void)out;
    if (in)
        written = (int64_t)(((const float *)in->at)[0] / 100) + 1;
    return KG_OK;
}
static kg_status end_work(void *arg, const kg_tensor *in, const kg_tensor *out)
{
    (void)arg, (void)in, (void)out;
    ended = 1;
    return KG_OK;
}
static kg_status file_infer(kg_infer *x) { return x->in[0].rank == 1 ? KG_OK : KG_USAGE; }
static kg_status file_chunk(kg_exec *x, kg_tensor c, int64_t i)
{
    (void)i;
    return kg_work(x, write_work, NULL, 0, 1, &c, 0, NULL, 0) ? KG_FAILED : KG_OK;
}
static kg_status file_end(kg_exec *x) { return kg_work(x, end_work, NULL, 0, 0, NULL, 0, NULL, 0) ? KG_FAILED : KG_OK; }
KG_NODE(toy_file) = {.name = "toy.file", .doc = "a file", .version = 1, .flags = KG_SINK | KG_UNCACHED,
    .inputs = KG_PORTS({"video", "frames", KG_STREAM, "frames"}), .infer = file_infer, .chunk = file_chunk, .end = file_end};

/* ---- runs ---- */
typedef struct outcome { kg_status status; kg_error error; int64_t checkpoint; int cached; } outcome;

static outcome run(kg_device *d, kg_cache *c, const flags_params *p, int sink, unsigned chaos)
{
    outcome o = {.checkpoint = -1};
    kg_run *r = NULL;
    kg_graph *g = kg_graph_new(&(kg_graph_options){.precision = KG_PRECISION_F32});
    int x = kg_graph_add(g, sink ? "toy.video" : "toy.flags", "main",
                         ARGS(arg_int("steps", p->steps), arg_int("bad", p->bad), arg_int("flags", p->flags),
                              arg_int("watch", p->watch)));
    int f = sink ? kg_graph_add(g, "toy.file", NULL, ARGS(arg_node("video", x, 1))) : 0;
    CHECK(x == 0 && f >= 0 && !kg_graph_want(g, sink ? f : x), "%s", kg_error_last()->message);
    written = ended = 0;
    kg_plan *plan = kg_plan_new(g, &(kg_plan_options){.device = d, .cache = c, .chaos = chaos});
    CHECK(plan != NULL, "%s", kg_error_last()->message);
    o.cached = plan ? kg_plan_sum(plan).cached : 0;
    o.status = plan ? toy_go(plan, &r) : KG_FAILED;
    o.error = *kg_error_last();
    kg_error_clear();
    kg_run_free(r);
    if (c) {
        kg_key k = kg_graph_key(g, x, -1, 0), whole;
        kg_hash *h = kg_hash_new();
        kg_hash_text(h, "checkpoint");
        kg_hash_bytes(h, k.b, sizeof k.b);
        whole = kg_hash_done(h);
        kg_cache_row row;
        o.checkpoint = c->ops->checkpoint_find(c, &whole, d->tag, &row) ? row.step : -1;
    }
    kg_plan_free(plan);
    kg_graph_free(g);
    return o;
}

/* The step is named, its checkpoint and all later ones are not there, the file has no end, and no result is kept. */
static void ends_at(kg_device *d, const flags_params *p, unsigned chaos)
{
    kg_cache *c = open_at("flags.sqlite");
    outcome o = run(d, c, p, 1, chaos);
    char path[64];
    snprintf(path, sizeof path, "toy.video 'main' > step %d", (int)p->bad);
    CHECK(o.status == KG_FAILED && o.error.not_finite && !strcmp(o.error.message, "Inf in the toy's value") && !strcmp(o.error.path, path),
          "%s: %s (bad %d, flags %d)", o.error.path, o.error.message, (int)p->bad, (int)p->flags);
    CHECK(o.checkpoint == (p->bad ? p->bad : -1), "a checkpoint at %d, NaN at %d", (int)o.checkpoint, (int)p->bad);
    CHECK(written <= p->bad && !ended, "%d written, NaN at %d", (int)written, (int)p->bad);
    outcome again = run(d, c, p, 0, chaos);
    CHECK(again.status == KG_FAILED && !again.cached && again.checkpoint == o.checkpoint &&
              strstr(again.error.path, strchr(path, '>')), "no result was kept: %s", again.error.path);
    kg_cache_close(c);
    remove(at("flags.sqlite"));
}

static void all_ends(kg_device *d, unsigned chaos)
{
    static const int64_t bad[] = {0, 1, 2, 7, STEPS - 1}, flags[] = {1, 3, 700};       /* 700: more than may be out at once */
    for (int i = 0; i < 5; ++i)
        for (int k = 0; k < 3; ++k)
            ends_at(d, &(flags_params){.steps = STEPS, .bad = bad[i], .flags = flags[k], .watch = 1}, chaos ? chaos + (unsigned)i : 0);
    kg_cache *c = open_at("good.sqlite");
    outcome o = run(d, c, &(flags_params){.steps = STEPS, .bad = NEVER, .flags = 3, .watch = 1}, 1, chaos);
    CHECK(o.status == KG_OK && written == STEPS && ended, "%d %d %s", (int)written, ended, o.error.message);
    run(d, c, &(flags_params){.steps = STEPS, .bad = NEVER, .flags = 3, .watch = 1}, 0, chaos);
    o = run(d, c, &(flags_params){.steps = STEPS, .bad = NEVER, .flags = 3, .watch = 1}, 0, chaos);
    CHECK(o.status == KG_OK && o.cached == 1, "the result is kept");
    kg_cache_close(c);
    remove(at("good.sqlite"));
}

/* The host waits for the card as often as without flags. */
static void no_wait_of_its_own(void)
{
    long syncs[2];
    for (int watch = 0; watch < 2; ++watch) {
        sim s;
        sim_open(&s, 1 << 30, 1, 0);
        CHECK(run(&s.d, NULL, &(flags_params){.steps = STEPS, .bad = NEVER, .flags = 5, .watch = watch}, 0, 0).status == KG_OK);
        syncs[watch] = s.calls[SIM_SYNC];
        sim_close(&s);
    }
    CHECK(syncs[0] == syncs[1], "%ld waits, %ld with flags", syncs[0], syncs[1]);
}

/* What is page-locked for flags is in the plan (tests/nodes/sim_test.c holds that too); every operation may fail. */
static void faults(void)
{
    sim s;
    long calls[SIM_OPS];
    const flags_params p = {.steps = 6, .bad = NEVER, .flags = 2, .watch = 1};
    sim_open(&s, 1 << 30, 1, 0);
    CHECK(run(&s.d, NULL, &p, 1, 0).status == KG_OK);
    memcpy(calls, s.calls, sizeof calls);
    sim_close(&s);
    for (sim_op op = 0; op < SIM_OPS; ++op)
        for (long n = 1; n <= calls[op]; n += calls[op] / 8 + 1) {
            sim_open(&s, 1 << 30, (unsigned)n, 50);
            s.fail_at[op] = n;
            outcome o = run(&s.d, NULL, &p, 1, 0);
            CHECK(o.status != KG_OK && strstr(o.error.message, "injected") && !o.error.not_finite, "%s %ld: %s", sim_op_name[op], n,
                  o.error.message);
            sim_close(&s);
        }
}

/* A result that an older version kept is a miss, said and removed; a checkpoint ends the run once, and is dropped. */
static void kept_before(void)
{
    toy_device t;
    toy_open(&t, 1 << 30);
    kg_cache *c = open_at("old.sqlite");
    const flags_params p = {.steps = STEPS, .bad = NEVER, .flags = 1, .watch = 1};
    float bad[64] = {0};
    bad[63] = NAN;
    kg_cache_row row = {.kind = "latent/toy", .dtype = KG_F32, .rank = 1, .shape = {64}, .bytes = sizeof bad};
    snprintf(row.tag, sizeof row.tag, "%s", t.d.tag);
    kg_graph *g = kg_graph_new(&(kg_graph_options){.precision = KG_PRECISION_F32});
    kg_graph_add(g, "toy.flags", "main", ARGS(arg_int("steps", STEPS), arg_int("bad", NEVER), arg_int("flags", 1), arg_int("watch", 1)));
    row.key = kg_graph_key(g, 0, 0, 0);
    CHECK(c->ops->write(c, &row, bad));
    log_clear();
    outcome o = run(&t.d, c, &p, 0, 0);
    CHECK(o.status == KG_OK && !o.cached && strstr(logged, "NaN or Inf is in result"), "%s", logged);
    o = run(&t.d, c, &p, 0, 0);
    CHECK(o.status == KG_OK && o.cached == 1, "it was made anew");

    kg_key k = kg_graph_key(g, 0, -1, 0);
    kg_hash *h = kg_hash_new();
    kg_hash_text(h, "checkpoint");
    kg_hash_bytes(h, k.b, sizeof k.b);
    kg_cache *fresh = open_at("old-checkpoint.sqlite");
    kg_cache_row point = {.key = kg_hash_done(h), .kind = "checkpoint", .dtype = KG_U8, .rank = 1, .shape = {sizeof bad}, .step = 7,
                          .bytes = sizeof bad};
    snprintf(point.tag, sizeof point.tag, "%s", t.d.tag);
    void *copy = malloc(sizeof bad);
    memcpy(copy, bad, sizeof bad);
    fresh->ops->checkpoint_later(fresh, &point, copy);
    fresh->ops->flush(fresh);
    o = run(&t.d, fresh, &p, 0, 0);
    CHECK(o.status == KG_FAILED && strstr(o.error.message, "step 7") && strstr(o.error.message, "NaN") && o.checkpoint < 0, "%s",
          o.error.message);
    CHECK(run(&t.d, fresh, &p, 0, 0).status == KG_OK, "then from the first step");
    kg_graph_free(g);
    kg_cache_close(c);
    kg_cache_close(fresh);
}

int main(void)
{
    toy_device t;
    begin();
    toy_open(&t, 1 << 30);
    all_ends(&t.d, 0);
    for (unsigned i = 0; i < 3; ++i) {
        sim s;
        sim_open(&s, 1 << 30, i, i ? 60 : 0);
        all_ends(&s.d, i);
        sim_close(&s);
    }
    no_wait_of_its_own();
    faults();
    kept_before();
    end();
    return TEST_END();
}
