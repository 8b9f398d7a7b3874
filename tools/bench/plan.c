/* Times what happens before and beside the computing, at real size:
 *
 *     kg_bench_plan [KINO [ROUNDS]]
 *
 *     trace   one dry run of a 14B text-to-video graph, 832x480, 81 frames, 84 steps: 120,000 fronts
 *     plan    kg_plan_new of the same graph in 50 steps on cards of 12, 16, 20 and 24 GiB: every rung, residency, layout
 *     kino    the whole `kino plan graphs/wan_t2v.lua` of the same files, from start to exit (with the program's path)
 *     many    graph and plan of 600 prompts of the demo on the CPU, and of 300 prompts of a 14B model on the card of 24 GiB
 *     hit     an 8 MiB latent that the cache answers: its plan and its run
 *
 * Models are sparse files (tests/sparse.h): headers are real, data is never read. Medians of ROUNDS (9), then least and most; what
 * the processor worked is said too, which a busy machine stretches less. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cache/cache.h"
#include "core/plan_internal.h"
#include "kernels/kernel.h"
#include "tests/graph.h"
#include "tests/sparse.h"
#include "tools/kino_number.h"

#define TOKENIZER KG_SOURCE_DIR "/graphs/demo/spiece.model"
static char folder[64];
static int rounds = 9;

static const char *in_folder(const char *name)
{
    static char path[4][128];
    static int turn;
    char *p = path[turn++ % 4];
    snprintf(p, sizeof *path, "%s/%s", folder, name);
    return p;
}

static void fail(const char *what)
{
    const kg_error *e = kg_error_last();
    fprintf(stderr, "kg_bench_plan: %s: %s: %s %s\n", what, e->path, e->message, e->hint);
    exit(1);
}

static double read_clock(clockid_t c)
{
    struct timespec t;
    clock_gettime(c, &t);
    return 1e3 * ((double)t.tv_sec + 1e-9 * (double)t.tv_nsec);
}

static double now(void) { return read_clock(CLOCK_MONOTONIC); }
static double worked(void) { return read_clock(CLOCK_THREAD_CPUTIME_ID); }

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void say(const char *what, double *ms, double bar, const char *more)
{
    qsort(ms, (size_t)rounds, sizeof *ms, by_size);
    printf("%-6s %7.1f ms (%.1f to %.1f; the bar is %.0f)  %s\n", what, ms[rounds / 2], ms[0], ms[rounds - 1], bar, more);
    fflush(stdout);
}

/* ---- the graph of graphs/wan_t2v.lua ---- */
static int add(kg_graph *g, const char *type, const kg_arg *args, int n)
{
    int node = kg_graph_add(g, type, NULL, args, n);
    if (node < 0)
        fail(type);
    return node;
}
#define ADD(g, type, ...) add(g, type, ARGS(__VA_ARGS__))

static void make_models(void)
{
    if (!sparse_wan(in_folder("dit.safetensors"), 5120, 13824, 40) || !sparse_umt5(in_folder("umt5.safetensors"), 24) ||
        !sparse_vae(in_folder("vae.safetensors")))
        fail("writing sparse files");
}

static void video_graph(kg_graph *g, int steps)
{
    int model = ADD(g, "wan.model", arg_text("path", in_folder("dit.safetensors")));
    int vae = ADD(g, "wan.vae", arg_text("path", in_folder("vae.safetensors")));
    int load = ADD(g, "text.load", arg_text("path", in_folder("umt5.safetensors")), arg_text("tokenizer", TOKENIZER));
    int text = ADD(g, "text.umt5", arg_node("model", load, 0), arg_text("prompt", "a red circle moves left over a blue background"));
    int x = ADD(g, "wan.sample", arg_node("model", model, 0), arg_node("text", text, 0), arg_node("negative", text, 1),
                arg_int("width", 832), arg_int("height", 480), arg_int("frames", 81), arg_int("steps", steps));
    int frames = ADD(g, "wan.decode", arg_node("vae", vae, 0), arg_node("latent", x, 0));
    int save = ADD(g, "video.save", arg_node("video", frames, 0), arg_text("path", in_folder("out.mp4")));
    kg_graph_want(g, save);
}

static const char card[] =
    "{\"version\":1,\"name\":\"a card\",\"threads\":128,\"discrete\":true,\"memory\":25769803776,\"fixed\":629145600,"
    "\"rate\":{\"matmul\":4e13,\"matmul16\":1.5e14,\"attention\":1e14,\"conv\":3e13,\"rows\":8e11,\"host\":1e10},"
    "\"copy\":2.2e10,\"disk\":2e9,\"launch\":4e-6}";

static kg_graph *graph_new(kg_files *files, int steps)
{
    kg_graph *g = kg_graph_new(&(kg_graph_options){.files = files, .precision = KG_PRECISION_BF16});
    video_graph(g, steps);
    return g;
}

static kg_plan *plan_new(kg_graph *g, kg_device *d, size_t gib)
{
    kg_plan *p = kg_plan_new(g, &(kg_plan_options){.device = d, .budget = gib << 30, .host_budget = (size_t)64 << 30});
    if (!p)
        fail("plan");
    return p;
}

/* 84 steps are the 120,000 fronts of the promise. */
static void time_trace(kg_files *files, kg_device *d)
{
    double ms[64], cpu = 0;
    char more[128];
    kg_graph *g = graph_new(files, 84);
    kg_plan *p = plan_new(g, d, 24);
    for (int i = 0; i < rounds; ++i) {
        double began = now(), busy = worked();
        if (kg_plan_trace(p) != KG_OK)
            fail("trace");
        ms[i] = now() - began;
        cpu += worked() - busy;
    }
    snprintf(more, sizeof more, "%lld fronts, %zu uses, %zu records, %zu ticks; %.1f ms of processor", (long long)p->trace.fronts,
             p->trace.n_uses, p->trace.n_records, p->trace.n_ticks, cpu / rounds);
    say("trace", ms, 50, more);
    kg_plan_free(p);
    kg_graph_free(g);
}

static void time_plan(kg_files *files, kg_device *d, size_t gib)
{
    double ms[64], cpu = 0;
    char more[128];
    kg_graph *g = graph_new(files, 50);
    for (int i = 0; i < rounds; ++i) {
        double began = now(), busy = worked();
        kg_plan *p = plan_new(g, d, gib);
        ms[i] = now() - began;
        cpu += worked() - busy;
        kg_plan_summary s = kg_plan_sum(p);
        snprintf(more, sizeof more, "%zu GiB: %lld loads of %lld uses, stall %.1f %%; %.1f ms of processor", gib, (long long)s.loads,
                 (long long)s.sites, 100 * kg_plan_stall(p, NULL) / s.seconds, cpu / (i + 1));
        kg_plan_free(p);
    }
    say("plan", ms, 150, more);
    kg_graph_free(g);
}

/* ---- many prompts ---- */
typedef struct many { const char *what, *model, *text, *vae, *tokenizer; int prompts, side, frames, steps, precision; } many;

static void add_prompt(kg_graph *g, const many *m, int i, int model, int load, int vae)
{
    char prompt[32], name[32];
    snprintf(prompt, sizeof prompt, "a red circle, %d", i);
    snprintf(name, sizeof name, "many-%d.mp4", i);
    int text = ADD(g, "text.umt5", arg_node("model", load, 0), arg_text("prompt", prompt));
    int x = ADD(g, "wan.sample", arg_node("model", model, 0), arg_node("text", text, 0), arg_node("negative", text, 1),
                arg_int("width", m->side), arg_int("height", m->side), arg_int("frames", m->frames), arg_int("steps", m->steps),
                arg_int("seed", i));
    int frames = ADD(g, "wan.decode", arg_node("vae", vae, 0), arg_node("latent", x, 0));
    kg_graph_want(g, ADD(g, "video.save", arg_node("video", frames, 0), arg_text("path", in_folder(name))));
    if (m->frames == 17) {             /* the demo's sheet */
        snprintf(name, sizeof name, "many-%d.png", i);
        int sheet = ADD(g, "image.sheet", arg_node("video", frames, 0));
        kg_graph_want(g, ADD(g, "image.save", arg_node("image", sheet, 0), arg_text("path", in_folder(name))));
    }
}

static kg_graph *many_new(kg_files *files, const many *m)
{
    kg_graph *g = kg_graph_new(&(kg_graph_options){.files = files, .precision = m->precision});
    int model = ADD(g, "wan.model", arg_text("path", m->model)), vae = ADD(g, "wan.vae", arg_text("path", m->vae));
    kg_arg load[] = {arg_text("path", m->text), arg_text("tokenizer", m->tokenizer)};
    int text = add(g, "text.load", load, m->tokenizer ? 2 : 1);
    for (int i = 0; i < m->prompts; ++i)
        add_prompt(g, m, i, model, text, vae);
    return g;
}

static void time_many(kg_files *files, kg_device *d, const many *m)
{
    double ms[64], cpu = 0;
    char more[128], name[32];
    for (int i = 0; i < 2 * m->prompts; ++i) {
        snprintf(name, sizeof name, "many-%d.%s", i / 2, i % 2 ? "png" : "mp4");
        if (kg_files_grant_out(files, in_folder(name)) != KG_OK)
            fail("outputs");
    }
    for (int i = 0; i < rounds; ++i) {
        double began = now(), busy = worked();
        kg_graph *g = many_new(files, m);
        kg_plan *p = plan_new(g, d, 24);
        ms[i] = now() - began;
        cpu += worked() - busy;
        snprintf(more, sizeof more, "%s: %d nodes, %zu uses, %zu ticks; %.1f ms of processor", m->what, kg_graph_count(g), p->trace.n_uses,
                 p->trace.n_ticks, cpu / (i + 1));
        kg_plan_free(p);
        kg_graph_free(g);
    }
    say("many", ms, 1000, more);
}

/* ---- the whole program ---- */
static double program(const char *kino)
{
    const char *args[] = {kino, "plan", KG_SOURCE_DIR "/graphs/wan_t2v.lua", "--quiet", "--cache", in_folder("cache.sqlite"), "--prompt",
        "a red circle", "--model", in_folder("dit.safetensors"), "--text_encoder", in_folder("umt5.safetensors"), "--tokenizer",
        TOKENIZER, "--vae", in_folder("vae.safetensors"), "--ram", "200G", NULL};
    double began = now();
    pid_t pid = fork();
    if (!pid) {
        int null = open("/dev/null", O_WRONLY);
        dup2(null, 1);
        execv(kino, (char *const *)args);
        _exit(127);
    }
    int status;
    if (pid < 0 || waitpid(pid, &status, 0) != pid || status)
        fail("kino plan");
    return now() - began;
}

static void time_program(const char *kino)
{
    double ms[64];
    program(kino);                     /* files identified, pages warm */
    for (int i = 0; i < rounds; ++i)
        ms[i] = program(kino);
    say("kino", ms, 150, "the whole process");
}

/* ---- a cache hit ---- */
typedef struct params { int64_t seed; } params;

static kg_status latent_infer(kg_infer *x)
{
    x->out[0] = kg_desc_tensor("latent/wan21", KG_F32, KG_SHAPE(16, 16, 64, 128));
    return KG_OK;
}

static kg_status latent_execute(kg_exec *x)
{
    kg_noise(x, (kg_noise_args){.out = kg_out(x, 0), .seed = (uint64_t)((const params *)kg_params(x))->seed});
    return KG_OK;
}

KG_NODE(bench_latent) = {.name = "bench.latent", .doc = "8 MiB of noise", .version = 1, .params_size = sizeof(params),
    .outputs = KG_PORTS({"latent", "latent/wan21", 0, ""}), .params = KG_PARAMS(KG_INT(params, seed, 0, 0, 1e9, 0, "")),
    .infer = latent_infer, .execute = latent_execute};

/* Milliseconds of plan and run; the cache is opened anew, as by another process. cpu: of all threads. */
static double latent_run(kg_files *files, int hit, double *planned, double *cpu)
{
    kg_cache *c = kg_cache_open(&(kg_cache_options){.path = in_folder("hits.sqlite")});
    kg_device *d = kg_cpu_new(0);
    kg_graph *g = kg_graph_new(&(kg_graph_options){.files = files, .precision = KG_PRECISION_F32});
    kg_graph_want(g, ADD(g, "bench.latent", arg_int("seed", 7)));
    double began = now(), busy = read_clock(CLOCK_PROCESS_CPUTIME_ID);
    kg_plan *p = kg_plan_new(g, &(kg_plan_options){.device = d, .cache = c});
    *planned = now() - began;
    kg_run *r = p ? kg_run_start(p) : NULL;
    if (!r || kg_run_wait(r) != KG_OK || kg_plan_sum(p).cached != hit)
        fail("a cached latent");
    double took = now() - began;
    *cpu += read_clock(CLOCK_PROCESS_CPUTIME_ID) - busy;
    kg_run_free(r);
    kg_plan_free(p);
    kg_graph_free(g);
    kg_device_free(d);
    kg_cache_close(c);
    return took;
}

static void time_hit(kg_files *files)
{
    double ms[64], planned[64], cpu = 0;
    char more[128];
    latent_run(files, 0, planned, &cpu);
    cpu = 0;
    for (int i = 0; i < rounds; ++i)
        ms[i] = latent_run(files, 1, &planned[i], &cpu);
    qsort(planned, (size_t)rounds, sizeof *planned, by_size);
    snprintf(more, sizeof more, "8 MiB: found and checked (%.1f ms), then read into the arena; %.1f ms of processor", planned[rounds / 2],
             cpu / rounds);
    say("hit", ms, 10, more);
}

int main(int argc, char **argv)
{
    long most = 9;
    if (argc > 2 && (!kino_digits(argv[2], 64, &most) || !most)) {
        fputs("usage: kg_bench_plan [KINO [ROUNDS]]      ROUNDS: 1 to 64\n", stderr);
        return 2;
    }
    rounds = (int)most;
    snprintf(folder, sizeof folder, "/tmp/kg_bench.XXXXXX");
    if (!mkdtemp(folder))
        fail("a temporary folder");
    make_models();
    kg_files *files = kg_files_new();
    if (kg_files_root(files, folder, KG_ROOT_PLAIN) != KG_OK || kg_files_root(files, KG_SOURCE_DIR, KG_ROOT_PLAIN) != KG_OK ||
        kg_files_grant_out(files, in_folder("out.mp4")) != KG_OK)
        fail("folders");
    kg_device *d = kg_cpu_new(0);
#define DEMO KG_SOURCE_DIR "/graphs/demo/"
    if (d)
        time_many(files, d, &(many){"600 of the demo", DEMO "wan_demo.safetensors.index.json", DEMO "umt5_demo.safetensors",
                                    DEMO "wan_demo_vae.safetensors", NULL, 600, 128, 17, 20, KG_PRECISION_F32});
    if (!d || kg_profile_load(&d->profile, card) != KG_OK)
        fail("profile");
    time_trace(files, d);
    for (size_t gib = 12; gib <= 24; gib += 4)
        time_plan(files, d, gib);
    char dit[128], umt5[128], vae[128];        /* in_folder keeps four */
    snprintf(dit, sizeof dit, "%s", in_folder("dit.safetensors"));
    snprintf(umt5, sizeof umt5, "%s", in_folder("umt5.safetensors"));
    snprintf(vae, sizeof vae, "%s", in_folder("vae.safetensors"));
    time_many(files, d, &(many){"300 of 14B", dit, umt5, vae, TOKENIZER, 300, 480, 81, 50, KG_PRECISION_BF16});
    if (argc > 1 && *argv[1])
        time_program(argv[1]);
    time_hit(files);
    kg_device_free(d);
    kg_files_free(files);
    char command[96];
    snprintf(command, sizeof command, "rm -r '%s'", folder);
    return system(command) != 0;
}
