/* Times of the engine's own forward and decode, for tools/bench/run.sh, which times torch beside it on the same files.
 *
 *     kg_bench dit MODEL INPUTS [--precision f32|bf16] [--runs 3] [--ram BYTES] [--out FILE]
 *     kg_bench vae MODEL INPUTS [--runs 2] [--ram BYTES] [--out FILE]
 *
 * INPUTS holds "latent" and, for dit, "text" (tools/random_model.py inputs). A line a run: "dit f32 run 2 7.412". The first run reads
 * the weights; later ones find them in memory unless --ram is too small. --out: the last result as raw f32. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/run.h"
#include "kernels/kernel.h"
#include "nodes/wan/dit.h"
#include "nodes/wan/vae.h"

typedef struct params { int64_t runs; int precision; } params;

static kg_status like_latent(kg_infer *x)
{
    x->out[0] = kg_desc_tensor("latent/wan21", KG_F32, x->in[1].rank, x->in[1].shape);
    return KG_OK;
}

static kg_status forward(kg_exec *x)
{
    const params *p = kg_params(x);
    kg_tensor latent = kg_in(x, 1), text = kg_in(x, 2);
    const kg_wan_config *c = kg_desc_in(x, 0)->resource->config;
    wan_dit d = {.config = c, .act = p->precision == KG_PRECISION_BF16 ? KG_BF16 : KG_F32, .frames = latent.shape[1],
        .height = latent.shape[2] / 2, .width = latent.shape[3] / 2, .contexts = 1, .ffn_chunks = 1};
    d.rope = kg_keep(x, KG_F32, KG_SHAPE(d.frames * d.height * d.width, c->dim / c->heads / 2, 2));
    d.context[0] = kg_keep(x, d.act, KG_SHAPE(WAN_TEXT_ROWS, c->dim));
    kg_rope_table(x, (kg_rope_table_args){.out = d.rope, .frames = d.frames, .height = d.height, .width = d.width, .theta = 10000});
    for (int64_t i = 0; i < p->runs; ++i) {
        if (kg_enter(x, "run", i, p->runs) || wan_dit_context(x, &d, &text) != KG_OK)
            return KG_FAILED;
        wan_dit_forward(x, &d, 500, &(wan_branch){.latent = latent, .velocity = kg_out(x, 0)}, 1);
        if (kg_leave(x))
            return KG_FAILED;
    }
    return KG_OK;
}

KG_NODE(bench_forward) = {.name = "bench.forward", .doc = "forwards of the transformer", .version = 1, .flags = KG_UNCACHED,
    .params_size = sizeof(params),
    .inputs = KG_PORTS({"model", "resource/wan", 0, ""}, {"latent", "latent", 0, ""}, {"text", "embedding", 0, ""}),
    .outputs = KG_PORTS({"velocity", "latent/wan21", 0, ""}),
    .params = KG_PARAMS(KG_INT(params, runs, 3, 1, 100, 1, ""), KG_PRECISION(params, precision)), .infer = like_latent, .execute = forward};

static kg_status like_frames(kg_infer *x)
{
    const int64_t *l = x->in[1].shape;
    x->out[0] = kg_desc_tensor("image", KG_F32, KG_SHAPE(4 * l[1] - 3, l[2] * 8, l[3] * 8, 3));
    return KG_OK;
}

static void take(kg_exec *x, void *arg, kg_tensor out, int64_t at)
{
    kg_unary(x, (kg_unary_args){.out = kg_at(*(kg_tensor *)arg, at), .in = out, .op = KG_UNARY_COPY});
}

/* A clip begins: no frames before it. */
static void rewind_run(vae_run *r)
{
    r->chunks = 0;
    for (int i = 0; i < VAE_PARTS; ++i)
        r->slot[i][0].n = r->slot[i][1].n = 0;
}

static kg_status decode(kg_exec *x)
{
    const params *p = kg_params(x);
    kg_tensor latent = kg_in(x, 1), out = kg_out(x, 0);
    vae_run r;
    vae_begin(x, &r, kg_desc_in(x, 0)->resource->config, VAE_DECODER, 0, vae_act(p->precision), latent.shape[2], latent.shape[3]);
    for (int64_t i = 0; i < p->runs; ++i) {
        if (kg_enter(x, "run", i, p->runs))
            return KG_FAILED;
        rewind_run(&r);
        for (int64_t t = 0; t < latent.shape[1]; ++t) {
            kg_enter(x, "latent", 0, 0);
            kg_tensor in = kg_temp(x, r.act, KG_SHAPE(1, latent.shape[2], latent.shape[3], latent.shape[0]));
            kg_latent_frames(x, (kg_latent_frames_args){.latent = latent, .frames = in, .first = t, .scale = r.scale, .shift = r.shift});
            kg_tensor part = kg_slice(out, t ? 4 * t - 3 : 0, t ? 4 : 1);
            vae_chunk(x, &r, in, take, &part);
            kg_leave(x);
        }
        if (kg_leave(x))
            return KG_FAILED;
    }
    return KG_OK;
}

KG_NODE(bench_decode) = {.name = "bench.decode", .doc = "decodes of the VAE", .version = 1, .flags = KG_UNCACHED,
    .params_size = sizeof(params), .inputs = KG_PORTS({"model", "resource/wan-vae", 0, ""}, {"latent", "latent", 0, ""}),
    .outputs = KG_PORTS({"frames", "image", 0, ""}),
    .params = KG_PARAMS(KG_INT(params, runs, 2, 1, 100, 1, ""), KG_PRECISION(params, precision)), .infer = like_frames, .execute = decode};

/* ---- the program ---- */
typedef struct options { const char *what, *model, *inputs, *precision, *out; int64_t runs; size_t ram; } options;

static int fail(void)
{
    const kg_error *e = kg_error_last();
    fprintf(stderr, "kg_bench: %s: %s\n", e->path, e->message);
    return 1;
}

static int load(kg_graph *g, const char *path, const char *name, const char *kind)
{
    return kg_graph_add(g, "latent.load", NULL, (kg_arg[]){{.name = "path", .kind = KG_A_TEXT, .s = path},
        {.name = "name", .kind = KG_A_TEXT, .s = name}, {.name = "kind", .kind = KG_A_TEXT, .s = kind}}, 3);
}

static int build(kg_graph *g, const options *o)
{
    int dit = !strcmp(o->what, "dit");
    int model = kg_graph_add(g, dit ? "wan.model" : "wan.vae", NULL, (kg_arg[]){{.name = "path", .kind = KG_A_TEXT, .s = o->model}}, 1);
    int latent = model < 0 ? -1 : load(g, o->inputs, "latent", "latent/wan21");
    int text = latent < 0 || !dit ? latent : load(g, o->inputs, "text", "embedding/umt5");
    if (text < 0)
        return -1;
    kg_arg a[] = {{.name = "model", .kind = KG_A_NODE, .node = model}, {.name = "latent", .kind = KG_A_NODE, .node = latent},
                  {.name = "runs", .kind = KG_A_INT, .i = o->runs}, {.name = "precision", .kind = KG_A_TEXT, .s = o->precision},
                  {.name = "text", .kind = KG_A_NODE, .node = text}};
    return kg_graph_add(g, dit ? "bench.forward" : "bench.decode", NULL, a, dit ? 5 : 4);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* The moment a scope "run" ends is the moment its event arrives. */
static void watch(kg_run *r, const options *o)
{
    double last = now();
    kg_run_event e = {.kind = KG_E_NODE};
    int64_t done = 0;
    while (e.kind != KG_E_DONE && e.kind != KG_E_ERROR) {
        if (!kg_run_poll(r, &e, 100) || e.kind != KG_E_STEP || strcmp(e.scope, "run") || e.i <= done)
            continue;
        done = e.i;
        printf("%s %s run %lld %.3f\n", o->what, o->precision, (long long)done, now() - last);
        fflush(stdout);
        last = now();
    }
}

static void peak(const kg_plan *p)
{
    char line[256];
    FILE *f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof line, f))
        if (!strncmp(line, "VmHWM:", 6))
            printf("peak %.2f GiB, planned %.2f GiB\n", strtod(line + 6, NULL) / (1 << 20), (double)kg_plan_sum(p).peak_device / (1 << 30));
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

static int options_read(options *o, int argc, char **argv)
{
    *o = (options){.precision = "f32", .runs = 3};
    int n = 0;
    for (int i = 1; i < argc; ++i) {
        if (strncmp(argv[i], "--", 2)) {
            *(const char **[]){&o->what, &o->model, &o->inputs}[n < 2 ? n : 2] = argv[i];
            ++n;
        } else if (i + 1 == argc)
            return 0;
        else if (!strcmp(argv[i], "--precision"))
            o->precision = argv[++i];
        else if (!strcmp(argv[i], "--out"))
            o->out = argv[++i];
        else if (!strcmp(argv[i], "--runs"))
            o->runs = strtoll(argv[++i], NULL, 10);
        else if (!strcmp(argv[i], "--ram"))
            o->ram = (size_t)strtoull(argv[++i], NULL, 10);
        else
            return 0;
    }
    return n == 3;
}

int main(int argc, char **argv)
{
    options o;
    if (!options_read(&o, argc, argv)) {
        fputs("usage: kg_bench dit|vae MODEL INPUTS [--precision f32|bf16] [--runs N] [--ram BYTES] [--out FILE]\n", stderr);
        return 2;
    }
    kg_files *files = kg_files_new();
    kg_files_grant(files, o.model);
    kg_files_grant(files, o.inputs);
    kg_graph *g = kg_graph_new(&(kg_graph_options){.files = files, .precision = KG_PRECISION_F32});
    int node = build(g, &o);
    if (node < 0)
        return fail();
    kg_graph_want(g, node);
    kg_device *device = kg_cpu_new(0);
    kg_plan *p = kg_plan_new(g, &(kg_plan_options){.device = device, .budget = o.ram});
    kg_run *r = p ? kg_run_start(p) : NULL;
    if (!r)
        return fail();
    watch(r, &o);
    int status = kg_run_wait(r) == KG_OK ? 0 : fail();
    if (!status)
        peak(p);
    if (!status && o.out)
        status = save(r, g, node, o.out);
    kg_run_free(r);
    kg_plan_free(p);
    kg_device_free(device);
    kg_graph_free(g);
    kg_files_free(files);
    return status;
}
