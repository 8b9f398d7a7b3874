/* Plans of real models for cards of 4, 8, 12 and 24 GB, made without a card: tests/plan/card-*.json are their profiles, snapshots.txt
 * is what the planner made of them. A change of the planner, of a node or of a format shows here as a changed line; when it is meant,
 *
 *     plan_snapshot_test write
 *
 * writes the file anew. Only whole numbers are kept: MiB, loads, the knobs' values. Files are sparse (tests/sparse.h), and the
 * kernels are a card's in that each takes a workspace of 32 MiB and computes nothing. */
#include <cjson/cJSON.h>
#include <unistd.h>

#include "kernels/kernel.h"
#include "tests/graph.h"
#include "tests/sparse.h"
#include "tests/test.h"

#define HERE KG_SOURCE_DIR "/tests/plan/"
#define TOKENIZER KG_SOURCE_DIR "/graphs/demo/spiece.model"
static char folder[64];
static kg_files *files;

static const char *in_folder(const char *name)
{
    static char path[4][128];
    static int turn;
    char *p = path[turn++ % 4];
    snprintf(p, sizeof *path, "%s/%s", folder, name);
    return p;
}

/* ---- a card that is not there ---- */
enum { WORKSPACE = 32 << 20 };
static size_t linear_scratch(kg_exec *x, const kg_linear_args *a, int workers) { return (void)x, (void)a, (void)workers, WORKSPACE; }
static size_t conv_scratch(kg_exec *x, const kg_conv_args *a, int workers) { return (void)x, (void)a, (void)workers, WORKSPACE; }
static size_t attention_scratch(kg_exec *x, const kg_attention_args *a, int workers)
{
    return (void)x, (void)a, (void)workers, WORKSPACE;
}
static const kg_kernels kernels = {.linear_scratch = linear_scratch, .attention_scratch = attention_scratch, .conv_scratch = conv_scratch};

static char *text_of(const char *path)
{
    char *text = NULL;
    size_t n = 0;
    FILE *f = fopen(path, "rb");
    if (f && getdelim(&text, &n, EOF, f) < 0) {
        free(text);
        text = NULL;
    }
    if (f)
        fclose(f);
    return text;
}

static int card(kg_device *d, const char *name)
{
    char path[256];
    snprintf(path, sizeof path, HERE "card-%s.json", name);
    *d = (kg_device){.kernels = &kernels, .class_name = "paper", .tag = "paper", .precision = KG_PRECISION_BF16};
    char *text = text_of(path);
    int good = text && kg_profile_load(&d->profile, text) == KG_OK;
    CHECK(good, "%s: %s", path, text ? kg_error_last()->message : "cannot be read");
    free(text);
    return good;
}

/* ---- graphs ---- */
#define ADD(g, type, ...) add(g, type, ARGS(__VA_ARGS__))

static int add(kg_graph *g, const char *type, const kg_arg *args, int n)
{
    int node = kg_graph_add(g, type, NULL, args, n);
    CHECK(node >= 0, "%s: %s %s", type, kg_error_last()->message, kg_error_last()->hint);
    return node;
}

typedef struct graph { const char *name, *model, *low; int width, height, frames, seeds; } graph;
static const graph graphs[] = {{"1.3B 832x480 81", "1.3b.safetensors", NULL, 832, 480, 81, 1},
    {"1.3B 480x272 33, 4 seeds", "1.3b.safetensors", NULL, 480, 272, 33, 4},
    {"14B 832x480 81", "14b.safetensors", NULL, 832, 480, 81, 1},
    {"14B 1280x720 81", "14b.safetensors", NULL, 1280, 720, 81, 1},
    {"2 x 14B 832x480 81", "14b.safetensors", "low.safetensors", 832, 480, 81, 1}};
static const struct { const char *name; size_t ram; } cards[] = {{"4gb", 16}, {"8gb", 32}, {"12gb", 32}, {"24gb", 64}};

static kg_graph *graph_new(const graph *o)
{
    static const int64_t seeds[] = {1, 2, 3, 4};
    kg_graph *g = kg_graph_new(&(kg_graph_options){.files = files, .precision = KG_PRECISION_BF16});
    int model = ADD(g, "wan.model", arg_text("path", in_folder(o->model))), low = -1;
    int vae = ADD(g, "wan.vae", arg_text("path", in_folder("vae.safetensors")));
    int load = ADD(g, "text.load", arg_text("path", in_folder("umt5.safetensors")), arg_text("tokenizer", TOKENIZER));
    int text = ADD(g, "text.umt5", arg_node("model", load, 0), arg_text("prompt", "a red circle moves left over a blue background"));
    if (o->low)
        low = ADD(g, "wan.model", arg_text("path", in_folder(o->low)));
    kg_arg args[] = {arg_node("model", model, 0), arg_node("text", text, 0), arg_node("negative", text, 1), arg_int("width", o->width),
                     arg_int("height", o->height), arg_int("frames", o->frames), arg_int("steps", 50),
                     {.name = "seed", .kind = KG_A_INTS, .list = seeds, .n = o->seeds}, arg_node("model_low", low, 0)};
    int x = add(g, "wan.sample", args, low < 0 ? 8 : 9);
    for (int i = 0; i < o->seeds; ++i) {
        char name[32];
        snprintf(name, sizeof name, "out-%d.mp4", i);
        int latent = o->seeds > 1 ? ADD(g, "latent.pick", arg_node("latent", x, 0), arg_int("index", i)) : x;
        int frames = ADD(g, "wan.decode", arg_node("vae", vae, 0), arg_node("latent", latent, 0));
        kg_graph_want(g, ADD(g, "video.save", arg_node("video", frames, 0), arg_text("path", in_folder(name))));
    }
    return g;
}

/* ---- lines ---- */
static double number(const cJSON *o, const char *name) { return cJSON_GetNumberValue(cJSON_GetObjectItem(o, name)); }

static double mib(const cJSON *o, const char *name) { return floor(number(o, name) / 1048576); }

static void knobs(const cJSON *plan, char *out, size_t n)
{
    const cJSON *node, *knob;
    size_t used = 0;
    cJSON_ArrayForEach(node, cJSON_GetObjectItem(plan, "nodes"))
        cJSON_ArrayForEach(knob, cJSON_GetObjectItem(node, "knobs"))
            used += (size_t)snprintf(out + used, n - used, " %s=%d", knob->string, knob->valueint);
}

/* Bytes that loads move; -1 where nothing fits. */
static double plan_line(const graph *o, int c, char *line, size_t n)
{
    kg_device d;
    int used = snprintf(line, n, "%s on %s:", o->name, cards[c].name);
    if (!card(&d, cards[c].name))
        return -1;
    kg_graph *g = graph_new(o);
    size_t ram = cards[c].ram << 30, vram = d.profile.memory - d.profile.memory / 10;
    kg_plan *p = kg_plan_new(g, &(kg_plan_options){.device = &d, .budget = vram, .host_budget = ram});
    double loaded = -1;
    if (p) {
        char *text = kg_plan_json(p);
        cJSON *j = cJSON_Parse(text);
        const cJSON *peak = cJSON_GetObjectItem(j, "peak");
        loaded = number(j, "loaded");
        used += snprintf(line + used, n - (size_t)used, " device %.0f host %.0f arena %.0f MiB, %.0f loads of %.0f MiB,",
                         mib(peak, "device"), mib(peak, "host"), mib(j, "arena"), number(j, "loads"), mib(j, "loaded"));
        knobs(j, line + used, n - (size_t)used);
        CHECK(number(peak, "device") <= (double)vram && number(peak, "host") <= (double)ram, "%s", line);
        cJSON_Delete(j);
        free(text);
    } else {
        CHECK(kg_error_last()->status == KG_NOFIT && strstr(kg_error_last()->message, "short of"), "%s", kg_error_last()->message);
        const char *message = kg_error_last()->message, *end = strstr(message, ". Largest");
        snprintf(line + used, n - (size_t)used, " refused: %.*s", end ? (int)(end - message) : 200, message);
    }
    kg_error_clear();
    kg_plan_free(p);
    kg_graph_free(g);
    return loaded;
}

static void all_lines(FILE *out)
{
    for (size_t i = 0; i < sizeof graphs / sizeof *graphs; ++i) {
        double before = -1;
        for (int c = 0; c < (int)(sizeof cards / sizeof *cards); ++c) {
            char line[1024];
            double loaded = plan_line(&graphs[i], c, line, sizeof line);
            CHECK(before < 0 || (loaded >= 0 && loaded <= before), "a larger card loads more, or refuses: %s", line);
            before = loaded;
            fprintf(out, "%s\n", line);
        }
    }
}

/* ---- hints ---- */
/* Refused with a hint; the budgets that it names. Its figure is above the asked one by the stated shortfall. */
static int refused(kg_graph *g, kg_device *d, size_t *vram, size_t *ram, const char *what)
{
    kg_plan *p = kg_plan_new(g, &(kg_plan_options){.device = d, .budget = *vram, .host_budget = *ram});
    const char *message = kg_error_last()->message, *hint = kg_error_last()->hint, *end = strstr(message, " MiB short of a budget of ");
    const char *v = strstr(hint, "--vram "), *r = strstr(hint, "--ram ");
    CHECK(!p && kg_error_last()->status == KG_NOFIT && end && (v || r), "%s: %s: %s", what, p ? "a plan" : message, hint);
    double missing = 0, was = end ? atof(end + 26) : 0, now = 0;
    while (end && end > message && end[-1] != ' ')
        missing = atof(--end);
    if (v)
        *vram = (size_t)(now = atof(v + 7)) << 20;
    if (r && d->profile.discrete)
        *ram = (size_t)(now = atof(r + 6)) << 20;
    else if (r)
        *vram = (size_t)(now = atof(r + 6)) << 20;
    CHECK((v && r) || fabs(was + missing - now) < 0.2, "%s: %s: %s", what, message, hint);
    int given = !p && (v || r);
    kg_plan_free(p);
    kg_error_clear();
    return given;
}

static int fits(kg_graph *g, kg_device *d, size_t vram, size_t ram)
{
    kg_plan *p = kg_plan_new(g, &(kg_plan_options){.device = d, .budget = vram, .host_budget = ram});
    int made = p != NULL;
    kg_error_clear();
    kg_plan_free(p);
    return made;
}

/* What the hint of a refusal names was laid out: it fits, and little less does not. */
static void hints_fit(void)
{
    static const struct { const char *name; int discrete; size_t vram, ram; } budgets[] = {
        {"a small card", 1, 500, 65536}, {"a small host", 1, 21000, 60}, {"a small card and host", 1, 900, 60}, {"a small CPU", 0, 500, 0}};
    for (size_t i = 0; i < sizeof graphs / sizeof *graphs; ++i)
        for (size_t k = 0; k < sizeof budgets / sizeof *budgets; ++k) {
            kg_device d;
            char what[96];
            size_t vram = budgets[k].vram << 20, ram = budgets[k].ram << 20, less = (size_t)48 << 20;
            snprintf(what, sizeof what, "%s, %s", graphs[i].name, budgets[k].name);
            if (!card(&d, "24gb"))
                return;
            d.profile.discrete = budgets[k].discrete;
            d.host_memory = !budgets[k].discrete;
            kg_graph *g = graph_new(&graphs[i]);
            size_t was_vram = vram, was_ram = ram;
            if (refused(g, &d, &vram, &ram, what)) {
                CHECK(fits(g, &d, vram, ram), "%s: --vram %zuM --ram %zuM was said and is refused", what, vram >> 20, ram >> 20);
                CHECK(vram <= was_vram || !fits(g, &d, vram - less, ram), "%s: %zuM does too", what, (vram - less) >> 20);
                CHECK(ram <= was_ram || !fits(g, &d, vram, ram - less), "%s: --ram %zuM does too", what, (ram - less) >> 20);
            }
            kg_graph_free(g);
        }
}

/* Equal samplers are one choice of knobs: forty of them fit where one does. */
static void many_prompts_fit_where_one_does(void)
{
    size_t least[2] = {500, 500};
    for (int k = 0; k < 2; ++k) {
        kg_device d;
        size_t ram = (size_t)64 << 30;
        if (!card(&d, "24gb"))
            return;
        kg_graph *g = kg_graph_new(&(kg_graph_options){.files = files, .precision = KG_PRECISION_BF16});
        int model = ADD(g, "wan.model", arg_text("path", in_folder("1.3b.safetensors")));
        int load = ADD(g, "text.load", arg_text("path", in_folder("umt5.safetensors")), arg_text("tokenizer", TOKENIZER));
        int text = ADD(g, "text.umt5", arg_node("model", load, 0), arg_text("prompt", "a red circle"));
        for (int i = 0; i < (k ? 40 : 1); ++i)
            kg_graph_want(g, ADD(g, "wan.sample", arg_node("model", model, 0), arg_node("text", text, 0), arg_node("negative", text, 1),
                                 arg_int("steps", 4), arg_int("seed", i)));
        least[k] <<= 20;
        CHECK(refused(g, &d, &least[k], &ram, k ? "forty prompts" : "one prompt"));
        CHECK(fits(g, &d, least[k], ram));
        kg_graph_free(g);
    }
    size_t latents = (size_t)39 * 16 * 21 * 60 * 104 * 4;
    CHECK(least[1] <= least[0] + latents + ((size_t)64 << 20), "one: %zuM, forty: %zuM", least[0] >> 20, least[1] >> 20);
    printf("least for one prompt %zu MiB, for forty %zu MiB\n", least[0] >> 20, least[1] >> 20);
}

static void compare(char *got)
{
    char *want = text_of(HERE "snapshots.txt"), *a = got, *b = want ? want : "";
    for (int i = 1; *a || *b; ++i) {
        int n = (int)strcspn(a, "\n"), m = (int)strcspn(b, "\n");
        CHECK(n == m && !strncmp(a, b, (size_t)n), "line %d of tests/plan/snapshots.txt\n  was  %.*s\n  is   %.*s\n"
              "  plan_snapshot_test write writes it anew", i, m, b, n, a);
        a += n + (a[n] != 0);
        b += m + (b[m] != 0);
    }
    free(want);
}

int main(int argc, char **argv)
{
    snprintf(folder, sizeof folder, "/tmp/kg_snapshot.XXXXXX");
    CHECK(mkdtemp(folder) && (files = kg_files_new()) && !kg_files_root(files, folder, KG_ROOT_PLAIN) &&
          !kg_files_root(files, KG_SOURCE_DIR, KG_ROOT_PLAIN));
    for (int i = 0; i < 4; ++i) {
        char name[32];
        snprintf(name, sizeof name, "out-%d.mp4", i);
        CHECK(!kg_files_grant_out(files, in_folder(name)));
    }
    CHECK(sparse_wan(in_folder("1.3b.safetensors"), 1536, 8960, 30) && sparse_wan(in_folder("14b.safetensors"), 5120, 13824, 40) &&
          sparse_wan(in_folder("low.safetensors"), 5120, 13824, 40) && sparse_umt5(in_folder("umt5.safetensors"), 24) &&
          sparse_vae(in_folder("vae.safetensors")));
    char *lines = NULL;
    size_t n;
    FILE *out = open_memstream(&lines, &n);
    all_lines(out);
    fclose(out);
    if (argc > 1 && !strcmp(argv[1], "write")) {
        FILE *f = fopen(HERE "snapshots.txt", "wb");
        CHECK(f && fputs(lines, f) >= 0 && !fclose(f));
    } else
        compare(lines);
    free(lines);
    hints_fit();
    many_prompts_fit_where_one_does();
    kg_files_free(files);
    char command[96];
    snprintf(command, sizeof command, "rm -r '%s'", folder);
    CHECK(!system(command));
    return TEST_END();
}
