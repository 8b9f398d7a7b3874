/* Core over a device whose memory is not the host's and whose lanes are asynchronous (tests/sim.h), with toy nodes: the bits of the
 * host's device under every budget and delay, what is page-locked within the plan, every operation failing at every call, and a run
 * thread that stays near the device. */
#include "tests/toy.h"

#include "tests/sim.h"

#define WIDTH 2048
#define BLOCKS 10
static const char *file = "toy_sim.bin";
static kg_files *files;

/* ---- toy.log { video }: a sink whose work is not waited for; it sums what it is given ---- */
typedef struct toy_log { double sum; int begun, chunks; } toy_log;
static double logged;
static int alive, ended;
static void log_destroy(void *state)
{
    alive -= ((toy_log *)state)->begun;
}
static kg_status log_begin_work(void *arg, const kg_tensor *in, const kg_tensor *out)
{
    (void)in, (void)out;
    (*(toy_log **)arg)->begun = 1;
    ++alive;
    return KG_OK;
}
static kg_status log_work(void *arg, const kg_tensor *in, const kg_tensor *out)
{
    (void)out;
    toy_log *l = *(toy_log **)arg;
    for (int64_t i = 0; i < kg_count(in); ++i)
        l->sum += (double)((float *)in->at)[i] * (double)(i % 7 + 1);
    usleep(300);
    return ++l->chunks == 99 ? kg_fail(KG_FAILED, "the log is full at chunk 99") : KG_OK;
}
static kg_status log_end_work(void *arg, const kg_tensor *in, const kg_tensor *out)
{
    (void)in, (void)out;
    logged = (*(toy_log **)arg)->sum;
    ++ended;
    return KG_OK;
}
static kg_status log_infer(kg_infer *x) { return x->in[0].rank == 1 ? KG_OK : KG_USAGE; }
static kg_status log_begin(kg_exec *x)
{
    toy_log *l = kg_state(x, sizeof *l, log_destroy);
    return kg_work(x, log_begin_work, &l, sizeof l, 0, NULL, 0, NULL, 1000) ? KG_FAILED : KG_OK;
}
typedef struct log_count { toy_log *l; int64_t want; } log_count;
static kg_status log_count_work(void *arg, const kg_tensor *in, const kg_tensor *out)
{
    const log_count *a = arg;
    (void)in;
    *(float *)out->at = (float)a->l->chunks;
    return a->l->chunks == a->want ? KG_OK : kg_fail(KG_FAILED, "%d chunks are logged, not %d", a->l->chunks, (int)a->want);
}
static kg_status log_chunk(kg_exec *x, kg_tensor c, int64_t i)
{
    toy_log *l = kg_state(x, sizeof *l, log_destroy);
    if (kg_work(x, log_work, &l, sizeof l, 1, &c, 0, NULL, 0))
        return KG_FAILED;
    if (i % 16 == 15) {                /* a work that is waited for comes behind those that are not */
        kg_tensor count = kg_temp(x, KG_F32, KG_SHAPE(1));
        kg_work(x, log_count_work, &(log_count){l, i + 1}, sizeof(log_count), 0, NULL, 1, &count, 0);
    }
    return kg_error_last()->status;
}
static kg_status log_end(kg_exec *x)
{
    toy_log *l = kg_state(x, sizeof *l, log_destroy);
    return kg_work(x, log_end_work, &l, sizeof l, 0, NULL, 0, NULL, 0) ? KG_FAILED : KG_OK;
}
KG_NODE(toy_log) = {.name = "toy.log", .doc = "sums on the host", .version = 1, .flags = KG_SINK | KG_UNCACHED,
    .inputs = KG_PORTS({"video", "frames", KG_STREAM, "frames"}), .infer = log_infer, .begin = log_begin, .chunk = log_chunk,
    .end = log_end};

/* ---- toy.puts { n }: steps of nothing but device work ---- */
typedef struct toy_puts_params { int64_t n; } toy_puts_params;
static kg_status puts_infer(kg_infer *x)
{
    x->out[0] = kg_desc_tensor("latent/toy", KG_F32, KG_SHAPE(64));
    return KG_OK;
}
static kg_status puts_execute(kg_exec *x)
{
    float v[64];
    for (int64_t i = 0; i < ((const toy_puts_params *)kg_params(x))->n; ++i) {
        if (kg_enter(x, "step", i, ((const toy_puts_params *)kg_params(x))->n))
            return KG_FAILED;
        for (int k = 0; k < 64; ++k)
            v[k] = (float)(i + k);
        kg_put(x, kg_out(x, 0), v, sizeof v);
        memset(v, 0, sizeof v);        /* the device has taken them */
        kg_leave(x);
    }
    return KG_OK;
}
KG_NODE(toy_puts) = {.name = "toy.puts", .doc = "puts", .version = 1, .params_size = sizeof(toy_puts_params),
    .outputs = KG_PORTS({"latent", "latent/toy", 0, ""}), .params = KG_PARAMS(KG_INT(toy_puts_params, n, 5, 1, 1000, 0, "steps")),
    .infer = puts_infer, .execute = puts_execute};

/* ---- toy.stir { model, latent, steps }: x = 0.9 x + 0.1 w on the device, which nobody waits for ---- */
typedef struct toy_stir_params { int64_t steps; } toy_stir_params;
static kg_status stir_infer(kg_infer *x)
{
    x->out[0] = x->in[1];
    return KG_OK;
}
static void stir_block(float *y, const float *w, size_t n)
{
    for (size_t i = 0; i < n; ++i)
        y[i] = 0.9f * y[i] + 0.1f * w[i];
}
static void sim_run_stir(sim *s, sim_task *t, int lane)
{
    (void)lane;
    stir_block(sim_real(s, t->dst, t->bytes), sim_real(s, t->src, t->bytes), t->bytes / 4);
}
static void stir(kg_exec *x, kg_tensor y, kg_tensor w)
{
    kg_device *d = kg_exec_device(x);
    if (!kg_front(x, "stir", KG_C_MATMUL, 1e5, 1e3))
        return;
    if (d->host_memory)
        stir_block(y.at, w.at, (size_t)kg_count(&y));
    else
        sim_queue(d->self, kg_exec_lane(x), sim_task_new(sim_run_stir, y.at, w.at, kg_bytes(&y)));
}
static kg_status copy_in(void *arg, const kg_tensor *in, const kg_tensor *out)
{
    (void)arg;
    memcpy(out->at, in->at, kg_bytes(out));
    return KG_OK;
}
static kg_status stir_execute(kg_exec *x)
{
    int64_t steps = ((const toy_stir_params *)kg_params(x))->steps;
    int blocks = kg_desc_in(x, 0)->resource->segment_count;
    kg_tensor in = kg_in(x, 1), y = kg_out(x, 0);
    kg_work(x, copy_in, NULL, 0, 1, &in, 1, &y, 0);
    for (int64_t s = 0; s < steps; ++s)
        for (int b = 0; b < blocks; ++b) {
            kg_weights w;
            if (kg_enter(x, "block", s * blocks + b, steps * blocks) || kg_use(x, 0, b, &w))
                return KG_FAILED;
            stir(x, y, w.t[0]);
            kg_leave(x);
        }
    return KG_OK;
}
KG_NODE(toy_stir) = {.name = "toy.stir", .doc = "stirs", .version = 1, .params_size = sizeof(toy_stir_params),
    .inputs = KG_PORTS({"model", "resource/toy", 0, "weights"}, {"latent", "latent/toy", 0, ""}),
    .outputs = KG_PORTS({"latent", "latent/toy", 0, ""}),
    .params = KG_PARAMS(KG_INT(toy_stir_params, steps, 3, 1, 1000, 0, "steps")), .infer = stir_infer, .execute = stir_execute};

/* ---- toy.rude { n, fail }: leaves scopes that it was told not to enter ---- */
typedef struct toy_rude_params { int64_t n, fail; } toy_rude_params;
static kg_status fail_at(void *arg, const kg_tensor *in, const kg_tensor *out)
{
    (void)in, (void)out;
    return *(int64_t *)arg ? kg_fail(KG_FAILED, "rude") : KG_OK;
}
static kg_status rude_execute(kg_exec *x)
{
    const toy_rude_params *p = kg_params(x);
    for (int64_t i = 0; i < p->n; ++i) {
        int64_t fails = i == p->fail;
        float v[64] = {0};
        kg_enter(x, "outer", i, p->n);
        kg_put(x, kg_out(x, 0), v, sizeof v);
        kg_enter(x, "inner", 0, 0);
        kg_work(x, fail_at, &fails, sizeof fails, 0, NULL, 1, (kg_tensor[]){kg_out(x, 0)}, 0);
        kg_leave(x);
        kg_leave(x);
    }
    return KG_OK;
}
KG_NODE(toy_rude) = {.name = "toy.rude", .doc = "rude", .version = 1, .params_size = sizeof(toy_rude_params),
    .outputs = KG_PORTS({"latent", "latent/toy", 0, ""}),
    .params = KG_PARAMS(KG_INT(toy_rude_params, n, 20, 1, 1000, 0, ""), KG_INT(toy_rude_params, fail, 5, 0, 1000, 0, "")),
    .infer = puts_infer, .execute = rude_execute};

/* weights, mix, stir -> frames -> sum and log */
static kg_graph *graph(int steps, int frames, int *last)
{
    kg_graph *g = kg_graph_new(&(kg_graph_options){.files = files, .precision = KG_PRECISION_F32});
    int m = kg_graph_add(g, "toy.weights", NULL, ARGS(arg_text("path", file), arg_int("blocks", BLOCKS), arg_int("width", WIDTH)));
    int x = kg_graph_add(g, "toy.mix", "main", ARGS(arg_node("model", m, 0), arg_int("steps", steps), arg_int("seed", 3)));
    x = kg_graph_add(g, "toy.stir", NULL, ARGS(arg_node("model", m, 0), arg_node("latent", x, 0), arg_int("steps", steps)));
    int f = kg_graph_add(g, "toy.frames", NULL, ARGS(arg_node("latent", x, 0), arg_int("frames", frames)));
    CHECK(kg_graph_add(g, "toy.log", NULL, ARGS(arg_node("video", f, 0))) == 4, "%s", kg_error_last()->message);
    *last = kg_graph_add(g, "toy.sum", NULL, ARGS(arg_node("video", f, 0)));
    kg_graph_want(g, *last);
    kg_graph_want(g, 4);
    return g;
}

typedef struct result { float sum[WIDTH]; double logged; kg_plan_summary plan; } result;

/* Runs the graph on a device. */
static kg_status run(kg_device *d, size_t budget, size_t host, unsigned chaos, int steps, int frames, result *out)
{
    int last;
    kg_graph *g = graph(steps, frames, &last);
    kg_plan *p = kg_plan_new(g, &(kg_plan_options){.device = d, .budget = budget, .host_budget = host, .chaos = chaos});
    kg_status s = p ? KG_OK : kg_error_last()->status;
    if (p) {
        kg_run *r;
        out->plan = kg_plan_sum(p);
        logged = -1;
        ended = 0;
        s = toy_go(p, &r);
        if (s == KG_OK && (s = kg_run_value(r, last, 0, 0, out->sum, sizeof out->sum)) != KG_OK)
            kg_hint("value");          /* no node is concerned */
        out->logged = logged;
        CHECK(s != KG_OK || ended == 1);
        CHECK(!alive, "states are left");
        kg_run_free(r);
        kg_plan_free(p);
    }
    kg_graph_free(g);
    return s;
}

static void same_bits(void)
{
    static result want, got;
    toy_device t;
    sim s;
    toy_open(&t, 1 << 30);
    CHECK(run(&t.d, 0, 0, 0, 5, 21, &want) == KG_OK, "%s", kg_error_last()->message);
    size_t block = WIDTH * 4, arena = 0, host = 0;
    long streamed = 0, passed = 0, kept = 0;
    for (unsigned seed = 1; seed <= 24; ++seed) {
        sim_open(&s, 1 << 30, seed, seed % 3 ? 400 : 0);
        s.d.profile.fixed = 1 << 20;
        s.d.profile.host_fixed = 4096;
        size_t budget = arena ? arena - (BLOCKS - 1 - seed % BLOCKS) * block + (1 << 20) : 0;
        size_t ram = host ? host + (seed % 4) * 3 * block : 0;
        kg_status status = run(&s.d, budget, ram, seed % 2 ? seed : 0, 5, 21, &got);
        if (status == KG_OK) {
            CHECK(!memcmp(want.sum, got.sum, sizeof want.sum), "seed %u changes bits", seed);
            CHECK(want.logged == got.logged, "seed %u: %g, not %g", seed, got.logged, want.logged);
            CHECK(s.most_pinned + 4096 <= got.plan.peak_host, "%zu bytes page-locked, %zu planned", s.most_pinned, got.plan.peak_host);
            CHECK(!ram || got.plan.peak_host <= ram);
            CHECK(s.stayed == s.dropped);
            streamed += got.plan.loads > BLOCKS;
            kept += s.stayed > 0 && s.stayed < BLOCKS;
            passed += got.plan.loads > BLOCKS && !s.stayed;
        } else {
            CHECK(status == KG_NOFIT && seed % BLOCKS <= 1, "seed %u: %s", seed, kg_error_last()->message);
        }
        arena = arena ? arena : got.plan.arena;
        host = host ? host : got.plan.peak_host;
        kg_error_clear();
        sim_close(&s);
    }
    CHECK(streamed > 8 && kept > 2 && passed > 0, "%ld streamed, %ld kept some on the host, %ld none", streamed, kept, passed);
}

/* Every operation may fail at every call: the right status, message and path, nothing left, no hang. */
static void faults(sim_op op)
{
    static result got;
    long n = 1;
    for (int reached = 1; reached; ++n) {
        sim s;
        sim_open(&s, 1 << 30, (unsigned)n, n % 5 ? 0 : 200);
        s.fail_at[op] = n;
        kg_status status = run(&s.d, (BLOCKS / 2 + 8) * WIDTH * 4, 0, n % 4 ? 0 : (unsigned)n, 2, 5, &got);
        const kg_error *e = kg_error_last();
        reached = s.calls[op] >= n;
        kg_status want = !reached ? KG_OK : op == SIM_RESERVE ? KG_NOFIT : KG_FAILED;
        CHECK(status == want, "%s %ld: %d %s", sim_op_name[op], n, status, e->message);
        CHECK(!reached || strstr(e->message, "injected"), "%s %ld: '%s'", sim_op_name[op], n, e->message);
        CHECK(!reached || e->path[0] || op == SIM_RESERVE || op == SIM_HOST_ALLOC || !strcmp(e->hint, "value"), "%s %ld has no path",
              sim_op_name[op], n);
        kg_error_clear();
        sim_close(&s);
    }
    long failed = n - 2;
    CHECK(failed > 0, "%s", sim_op_name[op]);
    printf("%s: %ld calls failed in turn\n", sim_op_name[op], failed);
}

/* A card reads what stays on the host from the pages of a map, when nobody looks: the run finds that the file was changed before it
 * keeps a result or a checkpoint, and before a sink gets another frame. */
static long changed_at;
static void change(long n)
{
    if (n == changed_at)
        toy_change(file);
}

static void changed_while_it_stays(void)
{
    for (int late = 0; late < 2; ++late) {
        sim s;
        toy_cache c = {.face = {&toy_cache_ops}};
        sim_open(&s, 1 << 30, 3, 0);
        kg_plan_options o = {.device = &s.d, .cache = &c.face, .host_budget = 1 << 30};
        int last;
        kg_graph *g = graph(40, 5, &last);
        kg_plan *p = kg_plan_new(g, &o);
        o.budget = kg_plan_sum(p).peak_device - (BLOCKS - 2) * WIDTH * 4;
        kg_plan_free(p);
        p = kg_plan_new(g, &o);
        CHECK(p && kg_plan_sum(p).loads > 80, "it does not stream");
        s.before_read = change;
        changed_at = late ? kg_plan_sum(p).loads - 2 : BLOCKS + 2;
        logged = -1;
        kg_run *r;
        CHECK(toy_go(p, &r) == KG_INPUT && s.stayed > 0, "%ld stayed", s.stayed);
        CHECK(strstr(kg_error_last()->message, "was changed while it was in use"), "%s", kg_error_last()->message);
        CHECK(c.results == late && !c.sinks && logged < 0 && (late ? c.checkpoints > 3 : !c.checkpoints), "%d results, %d checkpoints",
              c.results, c.checkpoints);
        kg_error_clear();
        kg_run_free(r);
        kg_plan_free(p);
        kg_graph_free(g);
        sim_close(&s);
        toy_file(file, BLOCKS * WIDTH);
    }
}

/* mix on the host, stir on the device, stir on the host. */
static kg_status between(kg_device *d, kg_device *cpu, unsigned chaos, float *out)
{
    kg_graph *g = kg_graph_new(&(kg_graph_options){.files = files, .precision = KG_PRECISION_F32});
    int m = kg_graph_add(g, "toy.weights", NULL, ARGS(arg_text("path", file), arg_int("blocks", BLOCKS), arg_int("width", WIDTH)));
    int x = kg_graph_add(g, "toy.mix", "host", ARGS(arg_node("model", m, 0), arg_int("seed", 5), arg_text("device", "cpu")));
    x = kg_graph_add(g, "toy.stir", NULL, ARGS(arg_node("model", m, 0), arg_node("latent", x, 0), arg_text("device", "auto")));
    x = kg_graph_add(g, "toy.stir", "host", ARGS(arg_node("model", m, 0), arg_node("latent", x, 0), arg_text("device", "cpu")));
    CHECK(x == 3 && kg_graph_want(g, x) == KG_OK, "%s", kg_error_last()->message);
    CHECK(kg_graph_add(g, "toy.stir", NULL, ARGS(arg_text("device", "gpu"))) < 0 && strstr(kg_error_last()->message, "\"cpu\""));
    kg_error_clear();
    kg_plan *p = kg_plan_new(g, &(kg_plan_options){.device = d, .cpu = cpu, .chaos = chaos});
    CHECK(p != NULL, "%s", kg_error_last()->message);
    kg_run *r;
    kg_status s = toy_go(p, &r);
    if (s == KG_OK)
        s = kg_run_value(r, x, 0, 0, out, WIDTH * sizeof *out);
    kg_run_free(r);
    kg_plan_free(p);
    kg_graph_free(g);
    return s;
}

/* Units on the host beside the device, and faults of what crosses and of the host's own loads. */
static void on_the_host(void)
{
    static float want[WIDTH], got[WIDTH];
    static const sim_op ops[] = {SIM_FETCH, SIM_WRITE, SIM_SYNC, SIM_QUEUED};
    toy_device t;
    toy_open(&t, 1 << 30);
    CHECK(between(&t.d, NULL, 0, want) == KG_OK);
    for (unsigned n = 0; n < 40; ++n) {
        sim s;
        toy_open(&t, 1 << 30);
        sim_open(&s, 1 << 30, n, n % 3 ? 0 : 200);
        if (n >= 8)
            s.fail_at[ops[n % 4]] = n / 4 - 1;
        kg_status status = between(&s.d, &t.d, n % 2 ? n : 0, got);
        int failed = n >= 8 && s.calls[ops[n % 4]] >= s.fail_at[ops[n % 4]];
        CHECK(status == (failed ? KG_FAILED : KG_OK), "%u: %d %s", n, status, kg_error_last()->message);
        CHECK(failed ? !!strstr(kg_error_last()->message, "injected") : !memcmp(want, got, sizeof want), "run %u", n);
        kg_error_clear();
        sim_close(&s);
    }
    for (long n = 1; n <= 2 * BLOCKS; ++n) {
        sim s;
        toy_open(&t, 1 << 30);
        t.fail_read = n;
        sim_open(&s, 1 << 30, 1, 0);
        CHECK(between(&s.d, &t.d, 0, got) == KG_FAILED && !strcmp(kg_error_last()->path, "toy.weights"), "read %ld: '%s'", n,
              kg_error_last()->path);
        kg_error_clear();
        sim_close(&s);
    }
}

/* The run thread stays at most two counted scopes ahead: never more than three puts and their events are queued. */
static void near(void)
{
    sim s;
    sim_open(&s, 1 << 30, 3, 4000);
    kg_graph *g = kg_graph_new(&(kg_graph_options){.files = files, .precision = KG_PRECISION_F32});
    int x = kg_graph_add(g, "toy.puts", NULL, ARGS(arg_int("n", 40)));
    kg_graph_want(g, x);
    kg_plan *p = kg_plan_new(g, &(kg_plan_options){.device = &s.d});
    kg_run *r = kg_run_start(p);
    kg_run_event e = {0};
    int steps = 0;
    float v[64];
    while (kg_run_poll(r, &e, 5000) && e.kind != KG_E_DONE && e.kind != KG_E_ERROR)
        if (e.kind == KG_E_STEP)
            CHECK(e.i == ++steps && e.n == 40, "step %lld is said as %d", (long long)e.i, steps);
    CHECK(kg_run_wait(r) == KG_OK && steps == 40, "%d steps", steps);
    CHECK(kg_run_value(r, x, 0, 0, v, sizeof v) == KG_OK && v[0] == 39 && v[63] == 39 + 63);
    CHECK(s.lane[KG_LANE_COMPUTE].longest <= 6, "%d tasks were queued", s.lane[KG_LANE_COMPUTE].longest);
    kg_run_free(r);
    kg_plan_free(p);
    kg_graph_free(g);
    sim_close(&s);
}

/* A log that fails late: the error of work that nobody waits for ends the run, under the path of the chunk that failed. */
static void late_error(void)
{
    static result got;
    sim s;
    sim_open(&s, 1 << 30, 5, 100);
    CHECK(run(&s.d, 0, 0, 0, 1, 101, &got) == KG_FAILED);
    CHECK(strstr(kg_error_last()->message, "the log is full at chunk 99"), "%s", kg_error_last()->message);
    CHECK(!strcmp(kg_error_last()->path, "toy.log > chunk 98"), "%s", kg_error_last()->path);
    kg_error_clear();
    sim_close(&s);
}

/* Scopes that are left without having been entered do no harm: the node's failure comes out, under its path. */
static void unbalanced(void)
{
    for (int host = 0; host < 2; ++host) {
        toy_device t;
        sim s;
        toy_open(&t, 1 << 30);
        sim_open(&s, 1 << 30, 1, 0);
        kg_graph *g = kg_graph_new(&(kg_graph_options){.files = files, .precision = KG_PRECISION_F32});
        int x = kg_graph_add(g, "toy.rude", NULL, NULL, 0);
        kg_graph_want(g, x);
        kg_plan *p = kg_plan_new(g, &(kg_plan_options){.device = host ? &t.d : &s.d});
        kg_run *r;
        CHECK(toy_go(p, &r) == KG_FAILED && !strcmp(kg_error_last()->message, "rude"), "%s", kg_error_last()->message);
        CHECK(!strcmp(kg_error_last()->path, "toy.rude > outer 5 > inner"), "%s", kg_error_last()->path);
        kg_error_clear();
        kg_run_free(r);
        kg_plan_free(p);
        kg_graph_free(g);
        sim_close(&s);
    }
}

/* What does not fit is refused before anything is done: with figures from the device, or by the plan, naming --ram. */
static void refusals(void)
{
    static result got;
    sim s;
    sim_open(&s, 1 << 30, 5, 0);
    s.room = 1000;
    CHECK(run(&s.d, 0, 0, 0, 1, 5, &got) == KG_NOFIT && strstr(kg_error_last()->message, "1000 free"), "%s", kg_error_last()->message);
    CHECK(!s.calls[SIM_READ] && !s.calls[SIM_WRITE]);
    kg_error_clear();
    s.room = 0;
    CHECK(run(&s.d, 0, 1 << 20, 0, 1, 5, &got) == KG_NOFIT && strstr(kg_error_last()->message, "the host's part does not fit"), "%s",
          kg_error_last()->message);
    CHECK(strstr(kg_error_last()->hint, "--ram"), "%s", kg_error_last()->hint);
    kg_error_clear();
    sim_close(&s);
}

/* A cancel while the device is far behind: the run ends with nothing left. */
static void cancelled(void)
{
    for (unsigned seed = 0; seed < 12; ++seed) {
        int last;
        sim s;
        sim_open(&s, 1 << 30, seed, 1000);
        kg_graph *g = graph(50, 5, &last);
        kg_plan *p = kg_plan_new(g, &(kg_plan_options){.device = &s.d, .chaos = seed});
        kg_run *r = kg_run_start(p);
        usleep(seed * 4000);
        kg_run_cancel(r);
        CHECK(kg_run_wait(r) == KG_CANCELLED && !alive);
        kg_error_clear();
        kg_run_free(r);
        kg_plan_free(p);
        kg_graph_free(g);
        sim_close(&s);
    }
}

int main(void)
{
    toy_file(file, BLOCKS * WIDTH);
    files = kg_files_new();
    kg_files_root(files, ".", KG_ROOT_PLAIN);
    same_bits();
    changed_while_it_stays();
    on_the_host();
    near();
    late_error();
    unbalanced();
    refusals();
    cancelled();
    for (sim_op op = 0; op < SIM_OPS; ++op)
        faults(op);
    kg_files_free(files);
    remove(file);
    return TEST_END();
}
