/* Core and cache together: a run that is killed again and again gets to its end, with the bits of one that was left alone. Each life
 * is shorter than the run, so that without checkpoints the end is never reached. */
#include "tests/toy.h"

#include "tests/cache/help.h"
#include "tests/sim.h"

enum { WIDTH = 4096, BLOCKS = 4, STEPS = 100 };

static int simulated;              /* on a device whose memory is not the host's */

/* The graph run with a cache (or none): 1 when it finished, the latent in out. */
static int run(const char *folder, kg_cache *c, float *out, kg_plan_summary *sum)
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
static void live(void)
{
    static float out[WIDTH];
    kg_plan_summary sum;
    kg_cache *c = open_at("resume.sqlite");
    int ok = c && run(top, c, out, &sum) && !log_lines;
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
            live();
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
    CHECK(run(top, c, got, &sum) && sum.cached == 1 && !sum.nodes, "%d cached, %d to run", sum.cached, sum.nodes);
    CHECK(!memcmp(got, want, sizeof got), "resumed and uninterrupted runs differ");
    CHECK(!kg_cache_stat(c, &t) && t.results == 1 && !t.checkpoints, "the checkpoint of a finished node is dropped");
    CHECK(!log_lines, "%s", logged);
    kg_cache_close(c);
}

int main(void)
{
    static float want[WIDTH];
    kg_plan_summary sum;
    begin();
    toy_file(at("w.bin"), WIDTH * BLOCKS);
    CHECK(run(top, NULL, want, &sum) && sum.nodes > 0 && !sum.cached);
    killed_and_resumed(want);
    remove(at("resume.sqlite"));
    remove(at("resume.sqlite-wal"));
    remove(at("resume.sqlite-shm"));
    simulated = 1;
    killed_and_resumed(want);
    end();
    return TEST_END();
}
