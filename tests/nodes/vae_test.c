/* wan.vae, wan.encode and wan.decode through graph, plan and run: bytes against the goldens (golden_vae_test compares floats), bad
 * files and sizes, and memory that does not grow with the clip. */
#include "core/run.h"
#include "kernels/kernel.h"
#include "tests/golden.h"

#include <unistd.h>

/* ---- nodes of the test ---- */
static struct { const void *bytes; uint8_t *frames; int64_t emitted, size; } held;

typedef struct size_params { int64_t frames, height, width; } size_params;

static kg_status latent_infer(kg_infer *x)
{
    const size_params *p = x->params;
    x->out[0] = kg_desc_tensor("latent/wan21", KG_F32, KG_SHAPE(16, p->frames, p->height, p->width));
    return KG_OK;
}

static kg_status latent_execute(kg_exec *x)
{
    kg_tensor t = kg_out(x, 0);
    return kg_put(x, t, held.bytes, kg_bytes(&t)) ? KG_FAILED : KG_OK;
}

#define SIZE_PARAMS \
    KG_PARAMS(KG_INT(size_params, frames, 1, 1, 1000, 0, ""), KG_INT(size_params, height, 1, 1, 4096, 0, ""), \
              KG_INT(size_params, width, 1, 1, 4096, 0, ""))
KG_NODE(test_latent) = {.name = "test.latent", .doc = "a latent", .params_size = sizeof(size_params), .params = SIZE_PARAMS,
    .outputs = KG_PORTS({"latent", "latent/wan21", 0, ""}), .infer = latent_infer, .execute = latent_execute};

static kg_status frames_infer(kg_infer *x)
{
    const size_params *p = x->params;
    x->out[0] = kg_desc_tensor("frames", KG_U8, KG_SHAPE(p->height, p->width, 3));
    x->out[0].stream = 1;
    x->out[0].chunks = p->frames;
    return KG_OK;
}

static kg_status frames_execute(kg_exec *x)
{
    const size_params *p = kg_params(x);
    size_t size = (size_t)(p->height * p->width * 3);
    for (int64_t i = 0; i < p->frames; ++i) {
        if (kg_enter(x, "frame", i, p->frames))
            return KG_FAILED;
        kg_tensor t = kg_temp(x, KG_U8, KG_SHAPE(p->height, p->width, 3));
        kg_put(x, t, (const char *)held.bytes + (size_t)i * size, size);
        if (kg_emit(x, 0, t) || kg_leave(x))
            return KG_FAILED;
    }
    return KG_OK;
}

KG_NODE(test_frames) = {.name = "test.frames", .doc = "frames", .params_size = sizeof(size_params), .params = SIZE_PARAMS,
    .outputs = KG_PORTS({"frames", "frames", KG_STREAM, ""}), .infer = frames_infer, .execute = frames_execute};

static kg_status collect_infer(kg_infer *x)
{
    held.size = x->in[0].shape[0] * x->in[0].shape[1] * 3;
    return KG_OK;
}

static kg_status collect_work(void *arg, const kg_tensor *ins, const kg_tensor *outs)
{
    (void)arg, (void)outs;
    memcpy(held.frames + held.emitted++ * held.size, ins[0].at, (size_t)held.size);
    return KG_OK;
}

static kg_status collect_chunk(kg_exec *x, kg_tensor chunk, int64_t index)
{
    (void)index;
    return kg_work(x, collect_work, NULL, 0, 1, &chunk, 0, NULL, 0) ? KG_FAILED : KG_OK;
}

KG_NODE(test_collect) = {.name = "test.collect", .doc = "keeps frames", .flags = KG_SINK,
    .inputs = KG_PORTS({"frames", "frames", KG_STREAM, ""}), .outputs = KG_PORTS({NULL}), .infer = collect_infer, .chunk = collect_chunk};

/* ---- the machine ---- */
typedef struct bench { kg_files *files; kg_device *device; kg_graph *graph; size_t peak; } bench;

static void bench_open(bench *b, int threads)
{
    *b = (bench){.files = kg_files_new(), .device = kg_cpu_new(threads)};
    b->graph = kg_graph_new(&(kg_graph_options){.files = b->files, .precision = KG_PRECISION_F32});
}

static void bench_close(bench *b)
{
    kg_graph_free(b->graph);
    kg_device_free(b->device);
    kg_files_free(b->files);
}

static int add_vae(bench *b, const char *path)
{
    kg_files_grant(b->files, path);
    return kg_graph_add(b->graph, "wan.vae", NULL, &(kg_arg){.name = "path", .kind = KG_A_TEXT, .s = path}, 1);
}

static int add_sized(bench *b, const char *type, const void *bytes, int64_t frames, int64_t height, int64_t width)
{
    held.bytes = bytes;
    kg_arg a[] = {{.name = "frames", .kind = KG_A_INT, .i = frames}, {.name = "height", .kind = KG_A_INT, .i = height},
                  {.name = "width", .kind = KG_A_INT, .i = width}};
    return kg_graph_add(b->graph, type, NULL, a, 3);
}

static int add_joined(bench *b, const char *type, const char *port, int vae, int from)
{
    kg_arg a[] = {{.name = port, .kind = KG_A_NODE, .node = from}, {.name = "vae", .kind = KG_A_NODE, .node = vae}};
    return kg_graph_add(b->graph, type, NULL, a, vae < 0 ? 1 : 2);
}

static kg_status bench_run(bench *b, int sink)
{
    kg_graph_want(b->graph, sink);
    kg_plan *p = kg_plan_new(b->graph, &(kg_plan_options){.device = b->device});
    if (!p)
        return kg_error_last()->status;
    b->peak = kg_plan_sum(p).arena;
    kg_run *r = kg_run_start(p);
    kg_status s = r ? kg_run_wait(r) : KG_FAILED;
    kg_run_free(r);
    kg_plan_free(p);
    return s;
}

/* ---- goldens ---- */
static const float *latent_of(const golden *g, int frames, char **file)
{
    size_t size;
    char name[32];
    snprintf(name, sizeof name, "latent.%d", frames);
    *file = golden_slurp(golden_path(g, "inputs.safetensors"), &size);
    uint64_t length;
    memcpy(&length, *file, 8);
    cJSON *header = cJSON_ParseWithLength(*file + 8, length);
    double first = cJSON_GetArrayItem(cJSON_GetObjectItem(cJSON_GetObjectItem(header, name), "data_offsets"), 0)->valuedouble;
    cJSON_Delete(header);
    char *values = malloc(size);
    memcpy(values, *file + 8 + length + (size_t)first, size - 8 - length - (size_t)first);
    free(*file);
    *file = values;
    return (const float *)values;
}

static uint8_t to_byte(float v)
{
    v = fminf(fmaxf(v, -1), 1);
    return (uint8_t)((v + 1) / 2 * 255);
}

/* Bytes may differ by one where a value lies at the border of two. */
static void check_bytes(const golden *g, const char *name)
{
    int64_t count, off = 0, far = 0;
    const float *want = golden_f32(g, name, &count);
    for (int64_t i = 0; i < count; ++i) {
        int d = abs((int)held.frames[i] - to_byte(want[i]));
        off += d != 0;
        far += d > 1;
    }
    CHECK(held.emitted * held.size == count, "%lld values", (long long)(held.emitted * held.size));
    CHECK(!far && off <= count / 1000, "%s: %lld of %lld bytes differ, %lld by more than one", name, (long long)off, (long long)count,
          (long long)far);
}

static void test_decode(const golden *g, int frames)
{
    char out[32], *file;
    snprintf(out, sizeof out, "decoded.%d", frames);
    const float *latent = latent_of(g, frames, &file);
    int64_t count;
    golden_f32(g, out, &count);
    held.frames = calloc((size_t)count, 1);
    held.emitted = 0;
    bench b;
    bench_open(&b, 2);
    int vae = add_vae(&b, golden_path(g, "model.safetensors"));
    int source = add_sized(&b, "test.latent", latent, (frames - 1) / 4 + 1, golden_size(g, out, 1) / 8, golden_size(g, out, 2) / 8);
    int video = add_joined(&b, "wan.decode", "latent", vae, source);
    int sink = add_joined(&b, "test.collect", "frames", -1, video);
    CHECK(sink >= 0, "%s", kg_error_last()->message);
    kg_status s = bench_run(&b, sink);
    CHECK(s == KG_OK, "%s", kg_error_last()->message);
    kg_error_clear();
    check_bytes(g, out);
    bench_close(&b);
    free(held.frames);
    free(file);
}

static void test_golden(const char *name, int cases, const int *frames)
{
    golden g;
    golden_open(&g, name);
    for (int i = 0; i < cases; ++i)
        test_decode(&g, frames[i]);
    golden_close(&g);
}

/* ---- bad input ---- */
static void refused(bench *b, int node, kg_status status, const char *message, const char *hint)
{
    const kg_error *e = kg_error_last();
    CHECK(node < 0 && e->status == status && strstr(e->message, message) && strstr(e->hint, hint), "%d: '%s' hint '%s'", e->status,
          e->message, e->hint);
    kg_error_clear();
    (void)b;
}

/* Renames the tensor in the file's header: the names are equally long. */
static void rename_tensor(const char *path, const char *from, const char *to)
{
    size_t size;
    char *bytes = golden_slurp(path, &size), *at = memmem(bytes, size, from, strlen(from));
    CHECK(at && strlen(from) == strlen(to), "%s", from);
    FILE *f = fopen(path, "r+b");
    if (at && f && !fseek(f, (long)(at - bytes), SEEK_SET))
        fwrite(to, 1, strlen(to), f);
    if (f)
        fclose(f);
    free(bytes);
}

/* A tensor that is missing, one of another shape, and the VAE of Wan2.2. */
static void test_bad_files(const golden *g)
{
    static const struct { const char *from, *to, *message; } bad[] = {
        {"\"decoder.head.2.bias\"", "\"decoder.head.2.bibs\"", "'decoder.head.2.bias'"},
        {"\"decoder.head.2.bibs\"", "\"decoder.head.2.bias\"", NULL},
        {"\"encoder.conv1.bias\":{\"dtype\":\"F32\",\"shape\":[16]", "\"encoder.conv1.bias\":{\"dtype\":\"F16\",\"shape\":[32]",
         "'encoder.conv1.bias' has shape [32], expected [16]"},
        {"\"encoder.conv1.bias\":{\"dtype\":\"F16\",\"shape\":[32]", "\"encoder.conv1.bias\":{\"dtype\":\"F32\",\"shape\":[16]", NULL},
        {"decoder.upsamples.0.residual.2.weight", "decoder.upsamples.0.residual.2.wEight", "decoder.upsamples.0.residual.2.weight"},
        {"decoder.upsamples.0.residual.2.wEight", "decoder.upsamples.0.residual.2.weight", NULL}};
    const char *path = golden_path(g, "model.safetensors");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; ++i) {
        rename_tensor(path, bad[i].from, bad[i].to);
        bench b;
        bench_open(&b, 1);
        int vae = add_vae(&b, path);
        if (bad[i].message)
            refused(&b, vae, KG_INPUT, bad[i].message, "");
        CHECK(bad[i].message || vae >= 0, "%s", kg_error_last()->message);
        bench_close(&b);
    }
}

static void test_refusals(void)
{
    golden g;
    golden_open(&g, "vae16");
    bench b;
    bench_open(&b, 1);
    int vae = add_vae(&b, golden_path(&g, "model.safetensors"));
    CHECK(vae >= 0, "%s", kg_error_last()->message);
    static uint8_t zeros[64 * 64 * 3];
    refused(&b, add_joined(&b, "wan.encode", "frames", vae, add_sized(&b, "test.frames", zeros, 6, 16, 16)), KG_USAGE, "6 frames",
            "5 or 9");
    refused(&b, add_joined(&b, "wan.encode", "frames", vae, add_sized(&b, "test.frames", zeros, 5, 16, 20)), KG_USAGE, "20x16",
            "16x16 and 24x16: --size 16x16");
    refused(&b, add_joined(&b, "wan.encode", "frames", vae, add_sized(&b, "test.frames", zeros, 1, 7, 16)), KG_USAGE, "16x7", "16x8");
    refused(&b, add_vae(&b, golden_path(&g, "inputs.safetensors")), KG_INPUT, "conv2.weight", "");
    bench_close(&b);
    test_bad_files(&g);
    golden_close(&g);
}

/* Four times the frames take the same memory but for the latent itself: histories do not grow. */
static void test_memory(void)
{
    golden g;
    golden_open(&g, "vae16");
    size_t peak[2];
    static float latent[16 * 17 * 4 * 4];
    for (int i = 0; i < 2; ++i) {
        bench b;
        bench_open(&b, 2);
        int64_t frames = i ? 17 : 5;
        held.frames = calloc((size_t)(4 * frames * 32 * 32 * 3), 1);
        held.emitted = 0;
        int vae = add_vae(&b, golden_path(&g, "model.safetensors"));
        int video = add_joined(&b, "wan.decode", "latent", vae, add_sized(&b, "test.latent", latent, frames, 4, 4));
        int sink = add_joined(&b, "test.collect", "frames", -1, video);
            CHECK(bench_run(&b, sink) == KG_OK && held.emitted == 4 * frames - 3, "%s", kg_error_last()->message);
        peak[i] = b.peak;
        free(held.frames);
        bench_close(&b);
    }
    CHECK(peak[1] < peak[0] + peak[0] / 20, "65 frames take %zu bytes, 17 take %zu", peak[1], peak[0]);
    golden_close(&g);
}

int main(void)
{
    test_golden("vae16", 3, (int[]){1, 5, 13});
    test_golden("vae20", 1, (int[]){5});
    test_golden("vae_eps", 1, (int[]){5});
    test_refusals();
    test_memory();
    return TEST_END();
}
