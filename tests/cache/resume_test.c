/* Core and cache together: a run that is killed again and again gets to its end, with the bits of one that was left alone. Each life
 * is shorter than the run, so that without checkpoints the end is never reached. */
#include "tests/toy.h"

#include "tests/cache/help.h"
#include "tests/sim.h"

enum { WIDTH = 4096, BLOCKS = 4, STEPS = 100 };

static int simulated;              /* on a device whose memory is not the host's */

/* The graph run with a cache (or none): 1 when it finished, the latent in out. `between` (may be NULL) is called when it is planned. */
static int run(const char *folder, kg_cache *c, float *out, kg_plan_summary *sum, void (*between)(void))
{
    toy_device t;
    sim s;
    kg_run *r = NULL;
    kg_files *files = kg_files_new();
    toy_open(&t, 1 << 30);
    if (simulated)
        sim_open(&s, 1 << 30, 9, 50);
    CHECK(!kg_files_root(files, folder, KG_ROOT_PLAIN));
    kg_graph *g = kg_graph_new(&(kg_graph_options){.files = files, .precision = KG_PRECISION_F32});
    int m = kg_graph_add(g, "toy.weights", NULL, ARGS(arg_text("path", "w.bin"), arg_int("blocks", BLOCKS), arg_int("width", WIDTH)));
    int x = kg_graph_add(g, "toy.mix", "main",
                         ARGS(arg_node("model", m, 0), arg_int("steps", STEPS), {.name = "slow", .kind = KG_A_REAL, .r = 0.0005}));
    CHECK(x == 1 && !kg_graph_want(g, x), "%s", kg_error_last()->message);
    kg_plan *p = kg_plan_new(g, &(kg_plan_options){.device = simulated ? &s.d : &t.d, .cache = c});
    CHECK(p != NULL, "%s", kg_error_last()->message);
    *sum = kg_plan_sum(p);
    if (between)
        between();
    int ok = toy_go(p, &r) == KG_OK && kg_run_value(r, x, 0, 0, out, WIDTH * sizeof *out) == KG_OK;
    CHECK(ok, "%s", kg_error_last()->message);
    kg_run_free(r);
    kg_plan_free(p);
    kg_graph_free(g);
    kg_files_free(files);
    if (simulated)
        sim_close(&s);
    return ok;
}

/* A life: ends by itself with 0, or is killed. */
static void live(const char *cache)
{
    static float out[WIDTH];
    kg_plan_summary sum;
    kg_cache *c = open_at(cache);
    int ok = c && run(top, c, out, &sum, NULL) && !log_lines;
    kg_cache_close(c);
    _exit(!ok);
}

static void killed_and_resumed(const float *want)
{
    static float got[WIDTH];
    uint64_t state = 11;
    int lives = 0, done = 0, status = 1;
    while (!done && lives < 60) {
        pid_t child = fork();
        if (!child)
            live("resume.sqlite");
        ++lives;
        usleep(40000 + (useconds_t)(test_next(&state) % 60000));
        kill(child, SIGKILL);
        CHECK(waitpid(child, &status, 0) == child);
        done = WIFEXITED(status);
        kg_cache *c = open_at("resume.sqlite");
        kg_cache_verify_result r;
        CHECK(c && clean(c, &r), "life %d: %s", lives, logged);
        kg_cache_close(c);
    }
    CHECK(done && !WEXITSTATUS(status) && lives > 1, "%d lives", lives);
    printf("finished in life %d\n", lives);
    kg_cache *c = open_at("resume.sqlite");
    kg_plan_summary sum;
    kg_cache_totals t;
    CHECK(run(top, c, got, &sum, NULL) && sum.cached == 1 && !sum.nodes, "%d cached, %d to run", sum.cached, sum.nodes);
    CHECK(!memcmp(got, want, sizeof got), "resumed and uninterrupted runs differ");
    CHECK(!kg_cache_stat(c, &t) && t.results == 1 && !t.checkpoints, "the checkpoint of a finished node is dropped");
    CHECK(!log_lines, "%s", logged);
    kg_cache_close(c);
}

/* Lives a little in another process. 1: it was killed on its way. */
static int live_a_little(int lives)
{
    int status = 0;
    pid_t child = fork();
    if (!child)
        live("two.sqlite");
    usleep(60000 + 10000 * (useconds_t)lives);
    kill(child, SIGKILL);
    return waitpid(child, &status, 0) == child && WIFSIGNALED(status);
}

static int64_t checkpoint_step(void)
{
    int64_t step = -1;
    sqlite3 *db;
    sqlite3_stmt *q = NULL;
    if (!sqlite3_open(at("two.sqlite"), &db) && !sqlite3_prepare_v2(db, "SELECT step FROM checkpoint", -1, &q, NULL) &&
        sqlite3_step(q) == SQLITE_ROW)
        step = sqlite3_column_int64(q, 0);
    sqlite3_finalize(q);
    sqlite3_close(db);
    return step;
}

static int64_t planned_at;
static void moved_on(void)
{
    planned_at = checkpoint_step();
    for (int lives = 0; lives < 60 && checkpoint_step() == planned_at; ++lives)
        live_a_little(lives);
}

/* Two processes work on the same: what one has planned on is replaced by the other, at a later step or at the end, before it runs. */
static void replaced_after_planning(const float *want)
{
    static float got[WIDTH];
    kg_plan_summary sum;
    for (int lives = 0; lives < 60 && checkpoint_step() < 0; ++lives)
        live_a_little(lives);
    kg_cache *c = open_at("two.sqlite");
    CHECK(checkpoint_step() > 0 && run(top, c, got, &sum, moved_on) && sum.nodes == 1);
    CHECK(planned_at > 0 && !memcmp(got, want, sizeof got), "planned at step %d", (int)planned_at);
    CHECK(!log_lines, "%s", logged);
    kg_cache_close(c);
}

int main(void)
{
    static float want[WIDTH];
    kg_plan_summary sum;
    begin();
    toy_file(at("w.bin"), WIDTH * BLOCKS);
    CHECK(run(top, NULL, want, &sum, NULL) && sum.nodes > 0 && !sum.cached);
    killed_and_resumed(want);
    replaced_after_planning(want);
    remove(at("resume.sqlite"));
    remove(at("resume.sqlite-wal"));
    remove(at("resume.sqlite-shm"));
    simulated = 1;
    killed_and_resumed(want);
    end();
    return TEST_END();
}
