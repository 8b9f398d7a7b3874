/* NaN and Inf through the real nodes, on the CPU and on a simulated discrete device, resident and streamed under a cap, with delays and
 * chaos: the run says which node and step, with `finite` the op and the weight, and writes no file. What only looks wrong is warned
 * of: latents beyond the usual range, constant text rows. Sound ones are not. */
#include <unistd.h>

#include "nodes/lib/safetensors.h"
#include "tests/nodes/files.h"
#include "tests/nodes/golden_run.h"
#include "tests/nodes/sim_kernels.h"

/* ---- a copy of the demo's model, in which tensors are spoilt and put back ---- */
static char folder[64];
static unsigned char *before;
static size_t before_bytes;

static void spoil(const char *name, const char *tensor, float value, int whole)
{
    kg_files *files = kg_files_new();
    CHECK(!kg_files_root(files, folder, KG_ROOT_PLAIN));
    kg_file *f = kg_open(files, name);
    kg_safetensors st;
    CHECK(f && kg_safetensors_read(&st, f) == KG_OK, "%s", kg_error_last()->message);
    const kg_weight *w = NULL;
    for (int i = 0; i < st.n; ++i)
        w = strcmp(st.rows[i].name, tensor) ? w : &st.rows[i];
    CHECK(w && w->dtype == KG_BF16, "%s", tensor);
    kg_tensor t = kg_tensor_make(NULL, w->dtype, w->rank, w->shape);
    uint32_t u;
    memcpy(&u, &value, 4);
    before_bytes = kg_bytes(&t);
    before = malloc(before_bytes);
    unsigned char *now = malloc(before_bytes);
    CHECK(!kg_file_read(f, w->offset, before, before_bytes));
    memcpy(now, before, before_bytes);
    for (size_t i = whole ? 0 : before_bytes / 4; i < (whole ? before_bytes / 2 : before_bytes / 4 + 1); ++i)
        memcpy(now + 2 * i, (uint16_t[]){(uint16_t)(u >> 16)}, 2);
    FILE *out = fopen(name, "r+b");
    CHECK(out && !fseek(out, (long)w->offset, SEEK_SET) && fwrite(now, 1, before_bytes, out) == before_bytes && !fclose(out));
    free(now);
    kg_safetensors_free(&st);
    kg_file_unref(f);
    kg_files_free(files);
}

static void put_back(const char *name, const char *tensor)
{
    kg_files *files = kg_files_new();
    CHECK(!kg_files_root(files, folder, KG_ROOT_PLAIN));
    kg_file *f = kg_open(files, name);
    kg_safetensors st;
    CHECK(f && kg_safetensors_read(&st, f) == KG_OK);
    for (int i = 0; i < st.n; ++i)
        if (!strcmp(st.rows[i].name, tensor)) {
            FILE *out = fopen(name, "r+b");
            CHECK(out && !fseek(out, (long)st.rows[i].offset, SEEK_SET) && fwrite(before, 1, before_bytes, out) == before_bytes &&
                  !fclose(out));
        }
    free(before);
    kg_safetensors_free(&st);
    kg_file_unref(f);
    kg_files_free(files);
}

/* ---- runs ---- */
static char warnings[4096];
static void warn(void *arg, const kg_warned *of, const char *text)
{
    (void)arg;
    size_t n = strlen(warnings);
    snprintf(warnings + n, sizeof warnings - n, "%s: %s\n", of ? of->node : "", text);
}

static void demo(session *s)
{
    char out[256];
    session_open(s, folder);
    int model = ADD(s, "wan.model", arg_text("path", "wan_demo.safetensors.index.json"));
    int load = ADD(s, "text.load", arg_text("path", "umt5_demo.safetensors"));
    int text = ADD(s, "text.umt5", arg_node("model", load, 0), arg_text("prompt", "a red circle moves left over a blue background"));
    int x = ADD(s, "wan.sample", arg_node("model", model, 0), arg_node("text", text, 0), arg_node("negative", text, 1),
                arg_int("width", 64), arg_int("height", 64), arg_int("frames", 5), arg_int("steps", 3), arg_real("guidance", 4),
                arg_real("shift", 3), arg_int("seed", 1));
    int vae = ADD(s, "wan.vae", arg_text("path", "wan_demo_vae.safetensors"));
    int video = ADD(s, "wan.decode", arg_node("vae", vae, 0), arg_node("latent", x, 0));
    int again = ADD(s, "wan.encode", arg_node("vae", vae, 0), arg_node("frames", video, 0));
    int sheet = ADD(s, "image.sheet", arg_node("video", video, 0));
    CHECK(getcwd(out, sizeof out - 16) && strcat(out, "/out.png") && kg_files_grant_out(s->files, out) == KG_OK);
    int sink = ADD(s, "image.save", arg_node("image", sheet, 0), arg_text("path", out));
    kg_graph_want(s->graph, again);
    kg_graph_want(s->graph, sink);
}

static kg_status go(kg_device *d, kg_plan_options o, kg_error *e, size_t *arena)
{
    session s;
    demo(&s);
    o.device = d;
    kg_plan *p = kg_plan_new(s.graph, &o);
    kg_run *r = p ? kg_run_start(p) : NULL;
    if (p && arena)
        *arena = kg_plan_sum(p).arena;
    kg_status status = r ? kg_run_wait(r) : kg_error_last()->status;
    *e = *kg_error_last();
    kg_error_clear();
    kg_run_free(r);
    kg_plan_free(p);
    session_close(&s);
    return status;
}

/* place 0: the CPU; 1: the device, all resident; 2: capped so that weights pass through, with delays and chaos. */
static kg_status at(int place, int finite, kg_error *e)
{
    static size_t arena;
    kg_plan_options o = {.finite = finite};
    kg_status status;
    warnings[0] = 0;
    remove("out.png");
    if (!place) {
        kg_device *cpu = kg_cpu_new(2);
        status = go(cpu, o, e, NULL);
        kg_device_free(cpu);
        return status;
    }
    sim_machine *m = calloc(1, sizeof *m);
    sim_machine_open(m, (unsigned)place, place > 1 ? 50 : 0);
    o.chaos = place > 1 ? (unsigned)place : 0;
    o.budget = place > 1 ? arena * 9 / 12 + m->s.d.profile.fixed : 0;
    status = go(&m->s.d, o, e, place > 1 ? NULL : &arena);
    sim_machine_close(m);
    free(m);
    return status;
}

typedef struct fault { const char *file, *tensor; float value; const char *path, *message, *op_path, *op; } fault;
static const fault faults[] = {
    {"wan_demo-00001-of-00002.safetensors", "blocks.1.cross_attn.o.bias", NAN, "wan.sample > step 0", "NaN in the velocity",
     "wan.sample > step 0 > forward > block 1 > cross", "linear: NaN comes out first here; weight 'blocks.1.cross_attn.o.bias'"},
    {"umt5_demo.safetensors", "blocks.0.ffn.fc2.weight", INFINITY, "text.umt5 > norm", "NaN in the text", "text.umt5 > layer 0 > ffn",
     "weight 'blocks.0.ffn.fc2.weight'"},
    {"wan_demo_vae.safetensors", "decoder.head.2.bias", NAN, "wan.decode > frame 0", "NaN in the frames", "wan.decode > frame 0",
     "conv: NaN comes out first here; weight 'decoder.head.2.bias'"},
    {"wan_demo_vae.safetensors", "encoder.conv1.bias", NAN, "wan.encode", "NaN in the latent", "wan.encode > chunk 0 > frame 0",
     "weight 'encoder.conv1.bias'"}};

static void ends_with_a_name(const fault *f)
{
    kg_error e;
    spoil(f->file, f->tensor, f->value, 0);
    for (int place = 0; place < 3; ++place)
        for (int finite = 0; finite < 2; ++finite) {
            kg_status s = at(place, finite, &e);
            const char *path = finite ? f->op_path : f->path, *message = finite ? f->op : f->message;
            CHECK(s == KG_FAILED && e.not_finite == !finite && !strncmp(e.path, path, strlen(path)) && strstr(e.message, message),
                  "place %d, finite %d: %s: %s", place, finite, e.path, e.message);
            CHECK(strstr(f->path, "encode") || access("out.png", F_OK), "%s: a file was written", f->tensor);
        }
    put_back(f->file, f->tensor);
}

static void sound(void)
{
    kg_error e;
    for (int place = 0; place < 3; ++place)
        for (int finite = 0; finite < 2; ++finite)
            CHECK(at(place, finite, &e) == KG_OK && !warnings[0] && !access("out.png", F_OK), "place %d: %s: %s %s", place, e.path,
                  e.message, warnings);
}

/* ---- what only looks wrong ---- */
static kg_status loaded(const float *values, const char *kind)
{
    session s;
    kg_error e;
    const test_tensor t = {"latent", "F32", 4, {16, 1, 8, 8}, values};
    test_write_safetensors("latent.safetensors", &t, 1, NULL);
    session_open(&s, folder);
    int l = ADD(&s, "latent.load", arg_text("path", "latent.safetensors"), arg_text("kind", kind));
    kg_graph_want(s.graph, l);
    kg_device *cpu = kg_cpu_new(1);
    kg_plan *p = kg_plan_new(s.graph, &(kg_plan_options){.device = cpu});
    warnings[0] = 0;
    kg_run *r = kg_run_start(p);
    kg_status status = kg_run_wait(r);
    kg_error_take(&e);
    CHECK(status == KG_OK || (strstr(e.message, " in the ") && strstr(e.path, "latent.load")), "%s: %s", e.path, e.message);
    kg_run_free(r);
    kg_plan_free(p);
    kg_device_free(cpu);
    session_close(&s);
    return status;
}

static void latents_out_of_range(void)
{
    static float v[16 * 64];
    uint64_t seed = 1;
    for (int i = 0; i < 16 * 64; ++i)
        v[i] = 6 * test_uniform(&seed);
    CHECK(loaded(v, "latent/wan21") == KG_OK && !warnings[0], "%s", warnings);
    v[3 * 64 + 5] = -10.5f;
    v[9 * 64] = 31;
    CHECK(loaded(v, "latent/wan21") == KG_OK && strstr(warnings, "latent.load: 2 of 16 channels of the latent leave the usual range") &&
              strstr(warnings, "channel 9 goes from") && strstr(warnings, "to 31)"), "%s", warnings);
    CHECK(loaded(v, "latent/other") == KG_OK && !warnings[0], "the range of another family is not known");
    v[9 * 64] = v[3 * 64 + 5] = 0;
    for (int i = 0; i < 64; ++i)
        v[12 * 64 + i] = 0.5f;
    CHECK(loaded(v, "latent/wan21") == KG_OK && strstr(warnings, "1 of 16 channels of the latent are constant (channel 12 is 0.5"), "%s",
          warnings);
    v[0] = NAN;
    CHECK(loaded(v, "latent/wan21") == KG_FAILED && loaded(v, "latent/other") == KG_FAILED, "a file may hold NaN");
}

static void constant_text(void)
{
    kg_error e;
    spoil("umt5_demo.safetensors", "norm.weight", 0, 1);
    for (int place = 0; place < 2; ++place)
        CHECK(at(place, 0, &e) == KG_OK && strstr(warnings, "rows of the text are constant (row 0 is 0 throughout)") &&
                  strstr(warnings, "text.umt5: "), "place %d: %s %s", place, e.message, warnings);
    put_back("umt5_demo.safetensors", "norm.weight");
}

int main(void)
{
    char command[600];
    test_folder_enter(folder, sizeof folder);
    snprintf(command, sizeof command, "cp '%s'/graphs/demo/* .", KG_SOURCE_DIR);
    CHECK(!system(command));
    kg_warn_set(warn, NULL);
    sound();
    for (size_t i = 0; i < sizeof faults / sizeof *faults; ++i)
        ends_with_a_name(&faults[i]);
    latents_out_of_range();
    constant_text();
    test_folder_leave(folder);
    return TEST_END();
}
