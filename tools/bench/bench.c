/* Times of the engine's own work on one model, for tools/bench/run.sh and tools/gpu/bench, which time a peer beside it.
 *
 *     kg_bench dit MODEL INPUTS        a forward; INPUTS holds "latent" and "text" (tools/random_model.py inputs)
 *     kg_bench vae MODEL INPUTS        a decode of "latent"
 *     kg_bench encode MODEL            an encode of --frames frames of --size
 *     kg_bench text MODEL              an encoding of --prompt
 *
 *     --device cpu|cuda[:N]  --precision f32|bf16|f16  --runs N  --ram BYTES  --vram BYTES  --out FILE (the last result as raw f32)
 *     --serve: before a run a line "go N" on stdin gives leave for N of them; without one there are no more runs.
 *
 * A line a run: "dit f32 run 2 7.412000". The first run reads the weights; later ones find them in memory unless that is too small. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/run.h"
#include "kernels/kernel.h"
#include "tests/graph.h"
#include "tools/bench/bench.h"
#include "tools/kino_number.h"

typedef struct options {
    const char *what, *model, *inputs, *precision, *out, *device, *prompt, *size;
    int64_t runs, frames;
    size_t ram, vram;
} options;

static int fail(void)
{
    const kg_error *e = kg_error_last();
    fprintf(stderr, "kg_bench: %s: %s %s\n", e->path, e->message, e->hint);
    return 1;
}

static int load(kg_graph *g, const char *path, const char *name, const char *kind)
{
    return kg_graph_add(g, "latent.load", NULL, (kg_arg[]){arg_text("path", path), arg_text("name", name), arg_text("kind", kind)}, 3);
}

static int model_node(kg_graph *g, const options *o)
{
    const char *type = !strcmp(o->what, "dit") ? "wan.model" : !strcmp(o->what, "text") ? "text.load" : "wan.vae";
    return kg_graph_add(g, type, NULL, (kg_arg[]){arg_text("path", o->model)}, 1);
}

static int build(kg_graph *g, const options *o)
{
    int model = model_node(g, o), latent = 0, text = 0, width = 832, height = 480;
    sscanf(o->size, "%dx%d", &width, &height);
    if (model < 0)
        return -1;
    kg_arg a[8] = {arg_node("model", model, 0), arg_int("runs", o->runs), arg_text("precision", o->precision)};
    if (!strcmp(o->what, "text")) {
        a[3] = arg_text("prompt", o->prompt);
        return kg_graph_add(g, "bench.text", NULL, a, 4);
    }
    if (!strcmp(o->what, "encode")) {
        a[3] = arg_int("frames", o->frames);
        a[4] = arg_int("width", width);
        a[5] = arg_int("height", height);
        return kg_graph_add(g, "bench.encode", NULL, a, 6);
    }
    latent = load(g, o->inputs, "latent", "latent/wan21");
    a[3] = arg_node("latent", latent, 0);
    a[4] = (kg_arg){.name = "keep", .kind = KG_A_BOOL, .i = o->out != NULL};
    if (latent < 0 || strcmp(o->what, "dit"))
        return latent < 0 ? -1 : kg_graph_add(g, "bench.decode", NULL, a, 5);
    text = load(g, o->inputs, "text", "embedding/umt5");
    a[5] = arg_node("text", text, 0);
    return text < 0 ? -1 : kg_graph_add(g, "bench.forward", NULL, a, 6);
}

/* What was planned, and what the process came to. */
static void memory(const kg_plan *p, kg_device *d)
{
    char line[256];
    kg_plan_summary s = kg_plan_sum(p);
    if (d->profile.discrete) {
        printf("peak %.4f GiB, planned %.4f GiB, fixed %.4f GiB\n", (double)kg_cuda_used(d) / 0x1p30, (double)s.peak_device / 0x1p30,
               (double)d->profile.fixed / 0x1p30);
        return;
    }
    FILE *f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof line, f))
        if (!strncmp(line, "VmHWM:", 6))
            printf("peak %.2f GiB, planned %.2f GiB\n", strtod(line + 6, NULL) / (1 << 20), (double)s.peak_device / (1 << 30));
    if (f)
        fclose(f);
}

static int save(kg_run *r, kg_graph *g, int node, const char *path)
{
    const kg_desc *d = kg_graph_desc(g, node, 0);
    kg_tensor t = kg_tensor_make(NULL, d->dtype, d->rank, d->shape);
    void *bytes = malloc(kg_bytes(&t));
    FILE *f = fopen(path, "wb");
    int ok = f && kg_run_value(r, node, 0, 0, bytes, kg_bytes(&t)) == KG_OK && fwrite(bytes, 1, kg_bytes(&t), f) == kg_bytes(&t);
    if (f)
        ok = !fclose(f) && ok;
    free(bytes);
    return ok ? 0 : fail();
}

static int set(options *o, const char *name, const char *value)
{
    const struct { const char *name; const char **at; } texts[] = {{"--precision", &o->precision}, {"--out", &o->out},
        {"--device", &o->device}, {"--prompt", &o->prompt}, {"--size", &o->size}};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; ++i)
        if (!strcmp(name, texts[i].name)) {
            *texts[i].at = value;
            return 1;
        }
    long n = 0;
    if (!strcmp(name, "--runs") && kino_digits(value, INT_MAX, &n))
        o->runs = n;
    else if (!strcmp(name, "--frames") && kino_digits(value, INT_MAX, &n))
        o->frames = n;
    else if (!strcmp(name, "--ram"))
        return kino_size(name, value, &o->ram) == KG_OK;
    else if (!strcmp(name, "--vram"))
        return kino_size(name, value, &o->vram) == KG_OK;
    else
        return 0;
    return 1;
}

static int options_read(options *o, int argc, char **argv)
{
    *o = (options){.precision = "f32", .runs = 3, .frames = 81, .device = "cpu", .prompt = "a red circle", .size = "832x480"};
    int n = 0;
    for (int i = 1; i < argc; ++i) {
        if (strncmp(argv[i], "--", 2) && n < 3)
            *(const char **[]){&o->what, &o->model, &o->inputs}[n++] = argv[i];
        else if (!strcmp(argv[i], "--serve"))
            bench_gate_now.serve = 1;
        else if (i + 1 == argc || !set(o, argv[i], argv[i + 1]))
            return 0;
        else
            ++i;
    }
    if (n < 2 || o->runs < 1)
        return 0;
    int with_inputs = !strcmp(o->what, "dit") || !strcmp(o->what, "vae");
    return n == (with_inputs ? 3 : 2) && (with_inputs || !strcmp(o->what, "encode") || !strcmp(o->what, "text"));
}

static int work(const options *o, kg_graph *g, int node, kg_device *d)
{
    kg_plan_options p = {.device = d, .budget = d->profile.discrete ? o->vram : o->ram, .host_budget = d->profile.discrete ? o->ram : 0};
    kg_plan *plan = kg_plan_new(g, &p);
    kg_run *r = plan ? kg_run_start(plan) : NULL;
    kg_run_event e;
    if (!r) {
        kg_plan_free(plan);
        return fail();
    }
    for (e.kind = KG_E_NODE; e.kind != KG_E_DONE && e.kind != KG_E_ERROR;)
        while (!kg_run_poll(r, &e, 100))
            ;
    kg_status s = kg_run_wait(r);
    int ended = s == KG_CANCELLED && bench_gate_now.serve, status = s == KG_OK || ended ? 0 : fail();
    if (!status)
        memory(plan, d);
    if (s == KG_OK && o->out)
        status = save(r, g, node, o->out);
    kg_run_free(r);
    kg_plan_free(plan);
    return status;
}

int main(int argc, char **argv)
{
    options o;
    if (!options_read(&o, argc, argv)) {
        fputs("usage: kg_bench dit|vae|encode|text MODEL [INPUTS] [--device cpu|cuda[:N]] [--precision f32|bf16|f16] [--runs N]\n"
              "       [--ram SIZE] [--vram SIZE] [--frames N] [--size WxH] [--prompt TEXT] [--out FILE] [--serve]\n", stderr);
        return 2;
    }
    bench_gate_now.what = o.what;
    bench_gate_now.precision = o.precision;
    kg_files *files = kg_files_new();
    kg_files_grant(files, o.model);
    if (o.inputs)
        kg_files_grant(files, o.inputs);
    kg_graph *g = kg_graph_new(&(kg_graph_options){.files = files, .precision = KG_PRECISION_F32});
    int node = build(g, &o), status = node < 0 ? fail() : 0;
    kg_device *d = NULL;
    if (!status) {
        kg_graph_want(g, node);
        d = kino_card(o.device) < 0 ? kg_cpu_new(0) : kg_cuda_new(kino_card(o.device));
        status = d ? work(&o, g, node, d) : fail();
    }
    kg_device_free(d);
    kg_graph_free(g);
    kg_files_free(files);
    return status;
}
