/* Residency as a pure function: a loop of blocks under every budget. The stall is near its bound, intervals never overlap, loads come
 * in order; used-once resources only stream; a gap is held where it fits; the host tier is planned by the same function. */
#include "core/plan_internal.h"
#include "tests/toy.h"

#include <time.h>

#define BLOCKS 40
#define STEPS 20
#define BYTES ((size_t)700 << 20)

typedef struct loop {
    kg_use_site uses[BLOCKS * STEPS];
    size_t bytes[BLOCKS * STEPS];
    kg_tick ticks[2 * BLOCKS * STEPS + 1];
    kg_tier t;
} loop;

static void loop_make(loop *l, int blocks, int steps, double seconds, size_t budget, double bandwidth)
{
    memset(l, 0, sizeof *l);
    for (int i = 0; i < blocks * steps; ++i) {
        l->uses[i] = (kg_use_site){.resource = 0, .segment = i % blocks, .first = (uint32_t)(2 * i), .last = (uint32_t)(2 * i)};
        l->bytes[i] = BYTES;
        l->ticks[2 * i] = (kg_tick){.height = (size_t)1 << 30, .seconds = seconds};
    }
    l->t = (kg_tier){.uses = l->uses,
                     .n_uses = (size_t)(blocks * steps),
                     .n_ticks = (size_t)(2 * blocks * steps + 1),
                     .use_bytes = l->bytes,
                     .ticks = l->ticks,
                     .budget = budget,
                     .bandwidth = bandwidth};
    l->t.busy = calloc(l->t.n_ticks, sizeof(size_t));
    l->t.use_load = calloc(l->t.n_uses, sizeof(int));
    for (size_t i = 0; i < l->t.n_ticks; ++i)
        l->t.busy[i] = l->ticks[i].height;
}

static void loop_free(loop *l)
{
    free(l->t.busy);
    free(l->t.use_load);
    free(l->t.intervals);
    free(l->t.loads);
}

static void check_layout(loop *l, size_t budget)
{
    kg_tier *t = &l->t;
    CHECK(kg_place(t->intervals, t->n_intervals, l->ticks, t->n_ticks, budget) <= budget);
    for (size_t i = 0; i < t->n_intervals; ++i)
        for (size_t k = 0; k < i; ++k) {
            const kg_interval *a = &t->intervals[i], *b = &t->intervals[k];
            int together = a->first <= b->last && b->first <= a->last && a->bytes && b->bytes;
            CHECK(!together || a->at + a->bytes <= b->at || b->at + b->bytes <= a->at);
        }
    for (size_t i = 0; i < t->n_loads; ++i) {
        CHECK(t->loads[i].after <= l->uses[t->loads[i].use].first, "load %zu waits for a tick after its use", i);
        CHECK(!i || t->loads[i].use > t->loads[i - 1].use);
    }
}

/* A card of 4 to 24 GB and 14B blocks, copies at 55 GB/s: within 4 % of the larger of compute and copies. */
static void loops(void)
{
    static loop l;
    const double compute[] = {0.065, 0.008};
    for (int c = 0; c < 2; ++c)
        for (size_t gb = 4; gb <= 32; gb += 4) {
            size_t budget = gb << 30;
            loop_make(&l, BLOCKS, STEPS, compute[c], budget, 55e9);
            CHECK(kg_residency(&l.t) == KG_OK);
            check_layout(&l, budget);
            double work = compute[c] * BLOCKS * STEPS, copies = (double)l.t.n_loads * (double)BYTES / 55e9;
            double bound = work > copies ? work : copies;
            CHECK(work + l.t.stall <= 1.04 * bound + 0.1, "%zu GB, %g s a block: %g s over a bound of %g", gb,
                  compute[c], work + l.t.stall, bound);
            printf("%2zu GB %.3f s a block: %4zu loads, %.2f s, bound %.2f\n", gb, compute[c], l.t.n_loads, work + l.t.stall, bound);
            loop_free(&l);
        }
    loop_make(&l, BLOCKS, STEPS, 0.065, (size_t)1600 << 20, 55e9);
    CHECK(kg_residency(&l.t) == KG_NOFIT && l.t.shortfall == ((size_t)(1024 + 700 - 1600) << 20), "%zu", l.t.shortfall);
    loop_free(&l);
    loop_make(&l, BLOCKS, 1, 0.065, (size_t)64 << 30, 55e9);
    CHECK(kg_residency(&l.t) == KG_OK && l.t.n_intervals == 1 && l.t.intervals[0].kind == KG_I_RING && l.t.intervals[0].b == 8);
    loop_free(&l);
}

/* Two resources in turn, A B A: A is held over B where it fits, else loaded again. */
static void gaps(void)
{
    for (int fits = 0; fits < 2; ++fits) {
        kg_use_site u[12];
        size_t bytes[12];
        kg_tick ticks[12] = {{0}};
        for (uint32_t i = 0; i < 12; ++i) {
            u[i] = (kg_use_site){.resource = i / 4 == 1, .segment = (int)(i % 2), .first = i, .last = i};
            bytes[i] = 1024;
        }
        kg_tier t = {.uses = u,
                     .n_uses = 12,
                     .n_ticks = 12,
                     .use_bytes = bytes,
                     .ticks = ticks,
                     .budget = fits ? 4096 : 2048,
                     .bandwidth = 1e9};
        t.busy = calloc(12, sizeof(size_t));
        t.use_load = calloc(12, sizeof(int));
        CHECK(kg_residency(&t) == KG_OK);
        CHECK(t.n_loads == (fits ? 4u : 6u), "%zu loads", t.n_loads);
        free(t.busy);
        free(t.use_load);
        free(t.intervals);
        free(t.loads);
    }
}

/* A B C B C B A, room for two: what returns soonest is held, so B and C stay and A is loaded again. */
static void soonest_return(void)
{
    const int order[] = {0, 1, 2, 1, 2, 1, 0};
    kg_use_site u[7];
    size_t bytes[7];
    kg_tick ticks[7] = {{0}};
    for (uint32_t i = 0; i < 7; ++i) {
        u[i] = (kg_use_site){.resource = order[i], .segment = 0, .first = i, .last = i};
        bytes[i] = 1024;
    }
    kg_tier t = {.uses = u, .n_uses = 7, .n_ticks = 7, .use_bytes = bytes, .ticks = ticks, .budget = 2048, .bandwidth = 1e9};
    t.busy = calloc(7, sizeof(size_t));
    t.use_load = calloc(7, sizeof(int));
    CHECK(kg_residency(&t) == KG_OK && t.n_loads == 4, "%zu loads", t.n_loads);
    CHECK(t.use_load[3] == t.use_load[1] && t.use_load[5] == t.use_load[1] && t.use_load[4] == t.use_load[2]);
    CHECK(t.use_load[6] != t.use_load[0] && kg_place(t.intervals, t.n_intervals, ticks, 7, 2048) == 2048);
    free(t.busy);
    free(t.use_load);
    free(t.intervals);
    free(t.loads);
}

/* What lives under a tall stack must lie low: in the order given, the ring of the first tick has that place. */
static void under_the_stack(void)
{
    kg_tick ticks[2] = {{.height = 0}, {.height = 60}};
    kg_interval v[] = {{.kind = KG_I_RING, .bytes = 50, .first = 0, .last = 0}, {.kind = KG_I_KEPT, .bytes = 40, .first = 0, .last = 1}};
    CHECK(kg_place(v, 2, ticks, 2, 150) == 150 && v[0].at == 0 && v[1].at == 50, "enough is enough");
    CHECK(kg_place(v, 2, ticks, 2, 100) == 100 && v[1].at == 0 && v[0].at == 40);
    CHECK(kg_place(v, 2, ticks, 2, 90) == 100 && v[1].at == 0, "the best of all orders");
    CHECK(kg_place(v, 0, ticks, 2, 10) == 60, "the stack alone");
}

/* 200,000 uses: fifty videos, each of a transformer of 42 segments in 47 steps and a decoder of 30 over 67 frames. In seconds, not
 * minutes, whether everything fits, a part or next to nothing. */
static void many_uses(void)
{
    enum { VIDEOS = 50, DIT = 42 * 47, VAE = 30 * 67, USES = VIDEOS * (DIT + VAE) };
    kg_use_site *u = calloc(USES, sizeof *u);
    size_t *bytes = calloc(USES, sizeof *bytes);
    kg_tick *ticks = calloc(2 * USES, sizeof *ticks);
    for (uint32_t i = 0; i < USES; ++i) {
        int at = (int)(i % (DIT + VAE)), vae = at >= DIT;
        u[i] = (kg_use_site){.resource = vae, .segment = vae ? (at - DIT) % 30 : at % 42, .first = 2 * i, .last = 2 * i};
        bytes[i] = vae ? 8 << 20 : 64 << 20;
        ticks[2 * i] = (kg_tick){.height = 512 << 20, .seconds = vae ? 0.002 : 0.02};
    }
    for (size_t budget = (size_t)1 << 30; budget <= (size_t)4 << 30; budget <<= 1) {
        kg_tier t = {.uses = u, .n_uses = USES, .n_ticks = 2 * USES, .use_bytes = bytes, .ticks = ticks, .budget = budget,
                     .bandwidth = 2e10, .discrete = 1};
        t.busy = calloc(2 * USES, sizeof(size_t));
        t.use_load = calloc(USES, sizeof(int));
        for (size_t i = 0; i < 2 * USES; ++i)
            t.busy[i] = ticks[i].height;
        clock_t began = clock();
        CHECK(kg_residency(&t) == KG_OK && kg_place(t.intervals, t.n_intervals, ticks, 2 * USES, budget) <= budget + budget / 8);
        double seconds = (double)(clock() - began) / CLOCKS_PER_SEC;
        CHECK(budget < (size_t)4 << 30 || t.n_loads == 72, "all fit, and there are %zu loads", t.n_loads);
        CHECK(seconds < 5, "%zu GiB: %.2f s", budget >> 30, seconds);
        printf("%d uses in %zu GiB: %zu intervals, %zu loads, %.3f s\n", USES, budget >> 30, t.n_intervals, t.n_loads, seconds);
        free(t.busy);
        free(t.use_load);
        free(t.intervals);
        free(t.loads);
    }
    free(u);
    free(bytes);
    free(ticks);
}

/* The same toy graph on a profile of a card: a host tier comes with it. */
static void card(void)
{
    toy_file("toy_residency.bin", 64 * 4096);
    kg_files *files = kg_files_new();
    kg_files_root(files, ".", KG_ROOT_PLAIN);
    toy_device d;
    toy_open(&d, (size_t)1 << 30);
    d.d.profile.discrete = 1;
    kg_graph *g = kg_graph_new(&(kg_graph_options){.files = files});
    int m = kg_graph_add(g, "toy.weights", NULL,
                         ARGS(arg_text("path", "toy_residency.bin"), arg_int("blocks", 64), arg_int("width", 4096)));
    int x = kg_graph_add(g, "toy.mix", NULL, ARGS(arg_node("model", m, 0), arg_int("steps", 10)));
    kg_graph_want(g, x);
    for (int part = 1; part <= 4; ++part) {
        size_t weights = 64 * 4096 * 4;
        kg_plan *p = kg_plan_new(g, &(kg_plan_options){.device = &d.d,
                                                       .budget = weights * (size_t)part / 4 + 65536,
                                                       .host_budget = weights / 2});
        CHECK(p != NULL, "%s", kg_error_last()->message);
        kg_plan_summary s = kg_plan_sum(p);
        CHECK(s.peak_device <= weights * (size_t)part / 4 + 65536 && s.peak_host <= weights / 2);
        CHECK(part < 4 ? p->host.n_loads > 64 : p->host.n_loads == 64, "part %d: %zu host loads of %zu", part,
              p->host.n_loads, p->tier.n_loads);
        char *json = kg_plan_json(p), *text = kg_plan_text(p);
        CHECK(json && strstr(json, "\"version\":1") && text && strstr(text, "toy.mix"));
        free(json);
        free(text);
        kg_plan_free(p);
    }
    kg_graph_free(g);
    kg_files_free(files);
    remove("toy_residency.bin");
}

int main(void)
{
    loops();
    gaps();
    soonest_return();
    under_the_stack();
    many_uses();
    card();
    return TEST_END();
}
