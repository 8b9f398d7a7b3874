/* The demo graph, from prompt to MP4, on a simulated discrete device (tests/sim.h, sim_kernels.h): the bits of the CPU device, with
 * everything resident and under tight budgets, with random delays on every lane and freed memory full of NaN; no node reads the
 * device's memory on the host (that would be a fault); a cancelled run resumes. */
#include <unistd.h>

#include "cache/cache.h"
#include "tests/nodes/files.h"
#include "tests/nodes/golden_run.h"
#include "tests/nodes/sim_kernels.h"

_Static_assert(sizeof(kg_kernels) == 23 * sizeof(void (*)(void)), "a new member: give it to the simulated device, then count it here");

#define LATENT (16 * 2 * 8 * 8)
typedef struct result {
    kg_status status;
    float x[LATENT];
    unsigned char *mp4, *png;
    size_t mp4_bytes, png_bytes;
    kg_plan_summary plan;
} result;

static unsigned char *slurp(const char *path, size_t *n)
{
    FILE *f = fopen(path, "rb");
    unsigned char *p = malloc(1 << 22);
    *n = f ? fread(p, 1, 1 << 22, f) : 0;
    if (f)
        fclose(f);
    remove(path);
    return p;
}

enum { TEXT_ON_CPU = 1, SAMPLE_ON_CPU = 2, DECODE_ON_CPU = 4 };

static int demo(session *s, int steps, int places)
{
    char out[256];
    const char *at[3] = {places & 1 ? "cpu" : "auto", places & 2 ? "cpu" : "auto", places & 4 ? "cpu" : "auto"};
    session_open(s, KG_SOURCE_DIR "/graphs/demo");
    int model = ADD(s, "wan.model", arg_text("path", "wan_demo.safetensors.index.json"));
    int load = ADD(s, "text.load", arg_text("path", "umt5_demo.safetensors"));
    int text = ADD(s, "text.umt5", arg_node("model", load, 0), arg_text("device", at[0]),
                   arg_text("prompt", "a red circle moves left over a blue background"));
    int x = ADD(s, "wan.sample", arg_node("model", model, 0), arg_node("text", text, 0), arg_node("negative", text, 1),
                arg_int("width", 64), arg_int("height", 64), arg_int("frames", 5), arg_int("steps", steps), arg_real("guidance", 4),
                arg_real("shift", 3), arg_int("seed", 1), arg_text("device", at[1]));
    int vae = ADD(s, "wan.vae", arg_text("path", "wan_demo_vae.safetensors"));
    int video = ADD(s, "wan.decode", arg_node("vae", vae, 0), arg_node("latent", x, 0), arg_text("device", at[2]));
    int crop = ADD(s, "video.crop", arg_node("video", video, 0), arg_int("width", 48));
    int sheet = ADD(s, "image.sheet", arg_node("video", crop, 0));
    const char *names[] = {"sim.png", "sim.mp4"};
    for (int i = 0; i < 2; ++i) {
        CHECK(getcwd(out, sizeof out - 16) && strcat(strcat(out, "/"), names[i]) && kg_files_grant_out(s->files, out) == KG_OK);
        if (i)
            ADD(s, "video.save", arg_node("video", video, 0), arg_text("path", out));
        else
            ADD(s, "image.save", arg_node("image", sheet, 0), arg_text("path", out));
    }
    kg_graph_want(s->graph, x);
    return x;
}

static int places;                             /* which nodes ask for the CPU */

static kg_status go(kg_device *d, const kg_plan_options *o, int steps, int cancel_at, result *r)
{
    session s;
    int x = demo(&s, steps, places);
    kg_plan_options options = *o;
    options.device = d;
    kg_plan *p = kg_plan_new(s.graph, &options);
    r->status = p ? KG_OK : kg_error_last()->status;
    if (p) {
        kg_run_event e;
        r->plan = kg_plan_sum(p);
        kg_run *run = kg_run_start(p);
        while (cancel_at && kg_run_poll(run, &e, 5000) && e.kind != KG_E_DONE && e.kind != KG_E_ERROR)
            if (e.kind == KG_E_STEP && !strcmp(e.scope, "step") && e.i >= cancel_at)
                kg_run_cancel(run);
        r->status = kg_run_wait(run);
        if (r->status == KG_OK)
            r->status = kg_run_value(run, x, 0, 0, r->x, sizeof r->x);
        CHECK(r->status == KG_OK || cancel_at, "%s: %s", kg_error_last()->path, kg_error_last()->message);
        r->mp4 = slurp("sim.mp4", &r->mp4_bytes);
        r->png = slurp("sim.png", &r->png_bytes);
        kg_run_free(run);
    }
    kg_plan_free(p);
    session_close(&s);
    return r->status;
}

static void free_result(result *r)
{
    free(r->mp4);
    free(r->png);
    r->mp4 = r->png = NULL;
}

static int equal(const result *a, const result *b)
{
    return !memcmp(a->x, b->x, sizeof a->x) && a->mp4_bytes == b->mp4_bytes && !memcmp(a->mp4, b->mp4, a->mp4_bytes) &&
           a->png_bytes == b->png_bytes && !memcmp(a->png, b->png, a->png_bytes);
}

static long stayed;                            /* ranges of files that were kept on the host, over all runs */

/* One run on a fresh simulated device. */
static kg_status simulated(result *r, kg_plan_options o, int steps, int cancel_at, unsigned seed, unsigned delays)
{
    sim_machine *m = calloc(1, sizeof *m);
    sim_machine_open(m, seed, delays);
    o.cpu = places ? m->cpu : NULL;
    o.budget += o.budget ? m->s.d.profile.fixed : 0;
    kg_status s = go(&m->s.d, &o, steps, cancel_at, r);
    CHECK(s == KG_NOFIT || m->s.most_pinned + m->s.d.profile.host_fixed <= r->plan.peak_host, "%zu bytes page-locked, %zu planned",
          m->s.most_pinned, r->plan.peak_host);
    CHECK(!o.host_budget || r->plan.peak_host <= o.host_budget);
    CHECK(m->s.stayed == m->s.dropped);
    stayed += m->s.stayed;
    sim_machine_close(m);
    free(m);
    return s;
}

static void bits(const result *want)
{
    result all = {0}, some = {0};
    CHECK(simulated(&all, (kg_plan_options){0}, 3, 0, 1, 50) == KG_OK && equal(want, &all), "resident");
    int streamed = 0;
    for (unsigned i = 0; i < 12; ++i) {
        size_t arena = all.plan.arena * (12 - i % 7) / 12;
        size_t host = all.plan.peak_host + i * all.plan.loaded / 24;
        kg_plan_options o = {.budget = arena, .chaos = i % 3 ? i : 0, .host_budget = i % 2 ? host : 0};
        kg_status s = simulated(&some, o, 3, 0, 100 + i, i % 4 ? 50 : 0);
        CHECK(s == KG_OK || s == KG_NOFIT, "%u: %d", i, s);
        if (s == KG_OK) {
            CHECK(equal(want, &some), "run %u changes bits", i);
            CHECK(some.plan.arena <= arena);
            streamed += some.plan.loads > all.plan.loads;
            free_result(&some);
        }
        kg_error_clear();
    }
    CHECK(streamed >= 8 && stayed > 20, "%d runs streamed, %ld ranges stayed", streamed, stayed);
    free_result(&all);
}

/* Any node may run on the CPU: the values cross, and the bits are the same (the kernels are). */
static void on_the_cpu(const result *want)
{
    result got = {0};
    for (places = 1; places < 8; ++places) {
        kg_plan_options o = {.chaos = (unsigned)places};
        CHECK(simulated(&got, o, 3, 0, 40 + (unsigned)places, 50) == KG_OK && equal(want, &got), "places %d", places);
        free_result(&got);
    }
    places = SAMPLE_ON_CPU;
    sim_machine *m = calloc(1, sizeof *m);
    sim_machine_open(m, 1, 0);
    session s;
    demo(&s, 3, places);
    CHECK(!kg_plan_new(s.graph, &(kg_plan_options){.device = &m->s.d}) && kg_error_last()->status == KG_USAGE &&
              strstr(kg_error_last()->message, "wan.sample asks for device"), "%s", kg_error_last()->message);
    kg_error_clear();
    kg_plan *p = kg_plan_new(s.graph, &(kg_plan_options){.device = &m->s.d, .cpu = m->cpu});
    char *json = p ? kg_plan_json(p) : NULL;
    size_t peak = p ? kg_plan_sum(p).peak_host : 0;
    CHECK(json && strstr(json, "\"device\":\"cpu\"") && peak > m->s.d.profile.host_fixed + (1 << 20));
    free(json);
    kg_plan_free(p);
    p = kg_plan_new(s.graph, &(kg_plan_options){.device = &m->s.d, .cpu = m->cpu, .host_budget = peak});
    CHECK(p && kg_plan_sum(p).peak_host <= peak, "what it takes without a budget does: the process is not counted twice");
    kg_plan_free(p);
    p = kg_plan_new(s.graph, &(kg_plan_options){.device = &m->s.d, .cpu = m->cpu, .host_budget = peak / 8});
    const char *said = strstr(kg_error_last()->hint, "--ram ");
    CHECK(!p && kg_error_last()->status == KG_NOFIT && said, "%s", kg_error_last()->hint);
    size_t ram = said ? strtoull(said + 6, NULL, 10) << 20 : 0;
    kg_error_clear();
    p = kg_plan_new(s.graph, &(kg_plan_options){.device = &m->s.d, .cpu = m->cpu, .host_budget = ram});
    CHECK(p && ram <= peak + (16 << 20), "the hint fits, the part on the CPU included: %zu, %s", ram, kg_error_last()->message);
    kg_plan_free(p);
    session_close(&s);
    sim_machine_close(m);
    free(m);
    places = 0;
}

static void resumes(void)
{
    result want = {0}, part = {0}, rest = {0};
    kg_cache *c = kg_cache_open(&(kg_cache_options){.path = "sim.sqlite"});
    CHECK(c && simulated(&want, (kg_plan_options){0}, 8, 0, 5, 0) == KG_OK);
    CHECK(simulated(&part, (kg_plan_options){.cache = c}, 8, 3, 6, 50) == KG_CANCELLED);
    kg_error_clear();
    CHECK(simulated(&rest, (kg_plan_options){.cache = c}, 8, 0, 7, 50) == KG_OK);
    CHECK(rest.plan.cached == 1, "the text is cached");
    CHECK(places || rest.plan.fronts < part.plan.fronts, "the sampler resumes: %lld of %lld fronts", (long long)rest.plan.fronts,
          (long long)part.plan.fronts);
    CHECK(equal(&want, &rest), "a resumed run differs");
    free_result(&want);
    free_result(&part);
    free_result(&rest);
    kg_cache_close(c);
    remove("sim.sqlite");
    remove("sim.sqlite-wal");
    remove("sim.sqlite-shm");
}

int main(void)
{
    char folder[64];
    result want = {0};
    test_folder_enter(folder, sizeof folder);
    kg_device *cpu = kg_cpu_new(2);
    CHECK(go(cpu, &(kg_plan_options){0}, 3, 0, &want) == KG_OK);
    kg_device_free(cpu);
    bits(&want);
    on_the_cpu(&want);
    resumes();
    places = SAMPLE_ON_CPU;
    resumes();
    free_result(&want);
    test_folder_leave(folder);
    return TEST_END();
}
