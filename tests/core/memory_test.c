/* Host memory: every allocation of a plan fails once, and the plan is refused for that or is the one it would have been, and nothing is
 * left behind; what a plan and its run take for themselves is what the plan says they take; events that nobody reads stay few.
 *
 * The allocator's names are this program's, in front of libc's; with a sanitizer they are the sanitizer's, and only the last part runs. */
#include <malloc.h>

#include "core/plan_internal.h"
#include "tests/toy.h"

static long countdown, living;         /* the n-th allocation from now on fails; blocks that are held */
#ifndef KG_SANITIZE
extern void *__libc_malloc(size_t n), *__libc_calloc(size_t n, size_t size), *__libc_realloc(void *p, size_t n);
extern void __libc_free(void *p);
static int fails(void) { return countdown > 0 && !--countdown; }
void *malloc(size_t n)
{
    void *p = fails() ? NULL : __libc_malloc(n);
    living += p != NULL;
    return p;
}
void *calloc(size_t n, size_t size)
{
    void *p = fails() ? NULL : __libc_calloc(n, size);
    living += p != NULL;
    return p;
}
void *realloc(void *old, size_t n)
{
    void *p = fails() ? NULL : __libc_realloc(old, n);
    living += p && !old;
    return p;
}
void free(void *p)
{
    living -= p != NULL;
    __libc_free(p);
}
#endif

enum { BLOCKS = 8, WIDTH = 4096 };
static kg_files *files;

/* Latents of one model, each decoded and summed up. */
static kg_graph *graph(int chains, int steps)
{
    kg_graph *g = kg_graph_new(&(kg_graph_options){.files = files, .precision = KG_PRECISION_F32});
    int m = kg_graph_add(g, "toy.weights", NULL,
                         ARGS(arg_text("path", "toy_memory.bin"), arg_int("blocks", BLOCKS), arg_int("width", WIDTH)));
    for (int i = 0; i < chains; ++i) {
        int x = kg_graph_add(g, "toy.mix", NULL, ARGS(arg_node("model", m, 0), arg_int("steps", steps), arg_int("seed", i)));
        int f = kg_graph_add(g, "toy.frames", NULL, ARGS(arg_node("latent", x, 0), arg_int("frames", 5)));
        kg_graph_want(g, kg_graph_add(g, "toy.sum", NULL, ARGS(arg_node("video", f, 0))));
    }
    return g;
}

static kg_plan *plan(kg_graph *g, toy_device *d, size_t budget)
{
    return kg_plan_new(g, &(kg_plan_options){.device = &d->d, .budget = budget, .host_budget = (size_t)1 << 30});
}

/* budget: everything stays, some of it, or nothing fits. */
static void each_allocation_fails(int discrete, size_t budget)
{
    toy_device d;
    toy_open(&d, (size_t)1 << 30);
    d.d.profile.discrete = discrete;
    kg_graph *g = graph(2, 3);
    kg_plan *p = plan(g, &d, budget);
    kg_status status = kg_error_last()->status;
    kg_plan_summary want = p ? kg_plan_sum(p) : (kg_plan_summary){0};
    kg_plan_free(p);
    kg_error_clear();
    long n = 0, before = living;
    for (int done = 0; !done && n < 100000; ++n) {
        countdown = n + 1;
        p = plan(g, &d, budget);
        done = countdown > 0;
        countdown = 0;
        kg_plan_summary got = p ? kg_plan_sum(p) : want;
        int same = p ? status == KG_OK && got.arena == want.arena && got.loads == want.loads && got.peak_host == want.peak_host
                     : kg_error_last()->status == KG_FAILED || kg_error_last()->status == status;
        CHECK(same && (p != NULL) == (kg_error_last()->status == KG_OK), "allocation %ld of %zu bytes: %s, %s", n, budget,
              p ? "a plan" : "none", kg_error_last()->message);
        kg_plan_free(p);
        kg_error_clear();
        CHECK(living == before, "allocation %ld: %ld blocks are left", n, living - before);
        before = living;
    }
    printf("%s, %zu bytes: %ld allocations\n", discrete ? "a card" : "a CPU", budget, n);
    kg_graph_free(g);
}

static size_t taken(void)
{
    struct mallinfo2 m = mallinfo2();
    return m.uordblks + m.hblkhd;
}

/* A plan and its run, at three sizes: what is taken is at most what was said, and not a small part of it. */
static void own_bytes(void)
{
    for (int chains = 10; chains <= 1000; chains *= 10) {
        toy_device d;
        toy_open(&d, (size_t)1 << 30);
        kg_graph *g = graph(chains, 20);
        kg_plan_free(plan(g, &d, 0));          /* keys are kept by the graph */
        size_t before = taken();
        kg_plan *p = plan(g, &d, 0);
        CHECK(p != NULL, "%s", kg_error_last()->message);
        kg_run *r = kg_run_start(p);
        CHECK(r && kg_run_wait(r) == KG_OK, "%s", kg_error_last()->message);
        size_t own = kg_plan_own_bytes(p), more = taken() - before;
        printf("%d chains: %zu bytes said, %zu taken\n", chains, own, more);
        CHECK(more <= own + (1 << 20), "%d chains: %zu bytes said, %zu taken", chains, own, more);
        CHECK(chains < 100 || own <= 2 * more, "%d chains: %zu bytes said, only %zu taken", chains, own, more);
        kg_run_free(r);
        kg_plan_free(p);
        kg_graph_free(g);
    }
}

/* A budget that was said is no leave to take what is not there: refused with figures, and with a budget that was laid out. */
static void more_than_this_process_may_take(void)
{
    toy_device d;
    toy_open(&d, (size_t)1 << 30);
    kg_graph *g = graph(2, 3);
    kg_host_memory may = {.left = (size_t)16 << 20, .all = (size_t)1 << 30, .by = "a group"};
    kg_plan_options o = {.device = &d.d, .budget = (size_t)1 << 30, .host = &may};
    kg_plan *p = kg_plan_new(g, &o);
    CHECK(p != NULL, "%s", kg_error_last()->message);
    size_t takes = p ? kg_plan_sum(p).peak_host : 0;
    kg_plan_free(p);
    may.left = takes - 1;
    CHECK(!kg_plan_new(g, &o) && kg_error_last()->status == KG_NOFIT && strstr(kg_error_last()->message, "a group"), "%s",
          kg_error_last()->message);
    kg_error_clear();
    o.dry = 1;
    CHECK((p = kg_plan_new(g, &o)) != NULL, "a plan that stays one: %s", kg_error_last()->message);
    kg_plan_free(p);
    o = (kg_plan_options){.device = &d.d, .budget = 65536, .host = &may};
    CHECK(!kg_plan_new(g, &o) && strstr(kg_error_last()->hint, "this process may take"), "%s: %s", kg_error_last()->message,
          kg_error_last()->hint);
    kg_error_clear();
    kg_graph_free(g);
}

/* Nobody reads until the run has ended: nodes began and ended each, and the last step of each is there. */
static void events_that_nobody_reads(void)
{
    toy_device d;
    toy_open(&d, (size_t)1 << 30);
    kg_graph *g = graph(3, 500);
    kg_plan *p = plan(g, &d, 0);
    kg_run *r = kg_run_start(p);
    CHECK(r && kg_run_wait(r) == KG_OK);
    kg_run_event e = {0};
    int began = 0, done = 0, steps = 0, last = 0, all = 0;
    for (; kg_run_poll(r, &e, 0); ++all) {
        began += e.kind == KG_E_NODE && !strcmp(e.state, "run");
        done += e.kind == KG_E_NODE && !strcmp(e.state, "done");
        steps += e.kind == KG_E_STEP;
        last += e.kind == KG_E_STEP && !strcmp(e.node, "toy.mix") && e.i == 500 && e.n == 500;
    }
    CHECK(began == 9 && done == 9 && e.kind == KG_E_DONE, "%d began, %d are done", began, done);
    CHECK(last == 3 && steps <= 256 + 9 && all == began + done + steps + 1, "%d steps, %d of them the last", steps, last);
    kg_run_free(r);
    kg_plan_free(p);
    kg_graph_free(g);
}

int main(void)
{
    toy_file("toy_memory.bin", BLOCKS * WIDTH);
    files = kg_files_new();
    kg_files_root(files, ".", KG_ROOT_PLAIN);
#ifndef KG_SANITIZE
    size_t weights = (size_t)BLOCKS * WIDTH * 4;
    for (int discrete = 0; discrete < 2; ++discrete)
        for (int part = 0; part < 3; ++part)
            each_allocation_fails(discrete, part == 2 ? 4096 : part ? weights / 2 + 262144 : weights * 4 + 1048576);
    own_bytes();
#else
    (void)each_allocation_fails, (void)own_bytes;
#endif
    events_that_nobody_reads();
    more_than_this_process_may_take();
    kg_files_free(files);
    remove("toy_memory.bin");
    return TEST_END();
}
