/* What decoding and encoding take, read off the plans for the real VAE's shapes at two sizes of video: by the kernels of the CPU,
 * and by those of a card, which need not be there for its memory to be planned. The weights are a file of nothing but its header. */
#include <unistd.h>

#include "core/run.h"
#include "kernels/kernel.h"
#include "tests/test.h"

/* ---- a file with the shapes of Wan2.1's VAE ---- */
typedef struct names { FILE *f; uint64_t at; } names;

static void tensor(names *n, const char *name, int rank, const int64_t *shape)
{
    uint64_t count = 1;
    fprintf(n->f, "%s\"%s\":{\"dtype\":\"BF16\",\"shape\":[", n->at ? "," : "", name);
    for (int i = 0; i < rank; ++i) {
        fprintf(n->f, "%s%lld", i ? "," : "", (long long)shape[i]);
        count *= (uint64_t)shape[i];
    }
    fprintf(n->f, "],\"data_offsets\":[%llu,%llu]}", (unsigned long long)n->at, (unsigned long long)(n->at + 2 * count));
    n->at += 2 * count;
}

/* Weight and bias; kt 0: a convolution of frames alone. */
static void conv(names *n, const char *base, const char *rest, int64_t out, int64_t in, int64_t kt, int64_t k)
{
    char name[96];
    snprintf(name, sizeof name, "%s%s.weight", base, rest);
    if (kt)
        tensor(n, name, 5, (int64_t[]){out, in, kt, k, k});
    else
        tensor(n, name, 4, (int64_t[]){out, in, k, k});
    snprintf(name, sizeof name, "%s%s.bias", base, rest);
    tensor(n, name, 1, &out);
}

static void gamma_of(names *n, const char *base, const char *rest, int64_t c, int rank)
{
    char name[96];
    snprintf(name, sizeof name, "%s%s.gamma", base, rest);
    tensor(n, name, rank, (int64_t[]){c, 1, 1, 1});
}

static void block(names *n, const char *base, int64_t in, int64_t out)
{
    gamma_of(n, base, ".residual.0", in, 4);
    conv(n, base, ".residual.2", out, in, 3, 3);
    gamma_of(n, base, ".residual.3", out, 4);
    conv(n, base, ".residual.6", out, out, 3, 3);
    if (in != out)
        conv(n, base, ".shortcut", out, in, 1, 1);
}

static void middle(names *n, const char *side)
{
    char base[64];
    for (int i = 0; i < 3; ++i) {
        snprintf(base, sizeof base, "%s.middle.%d", side, i);
        if (i != 1) {
            block(n, base, 384, 384);
            continue;
        }
        gamma_of(n, base, ".norm", 384, 3);
        conv(n, base, ".to_qkv", 3 * 384, 384, 0, 1);
        conv(n, base, ".proj", 384, 384, 0, 1);
    }
}

typedef struct level { int64_t in, out, time; int resamples; } level;      /* one line of a list below; time: channels, 0 for none */

/* Blocks in -> out; resamples: a change of size from in to out, and of the frame rate to `time` channels. */
static void list(names *n, const char *side, const level *l, int count)
{
    char base[64];
    for (int i = 0; i < count; ++i) {
        snprintf(base, sizeof base, "%s.%d", side, i);
        if (!l[i].resamples)
            block(n, base, l[i].in, l[i].out);
        else
            conv(n, base, ".resample.1", l[i].out, l[i].in, 0, 3);
        if (l[i].time)
            conv(n, base, ".time_conv", l[i].time, l[i].in, 3, 1);
    }
}

static void all_names(names *n)
{
    static const level down[] = {{96, 96, 0, 0}, {96, 96, 0, 0}, {96, 96, 0, 1}, {96, 192, 0, 0}, {192, 192, 0, 0}, {192, 192, 192, 1},
        {192, 384, 0, 0}, {384, 384, 0, 0}, {384, 384, 384, 1}, {384, 384, 0, 0}, {384, 384, 0, 0}};
    static const level up[] = {{384, 384, 0, 0}, {384, 384, 0, 0}, {384, 384, 0, 0}, {384, 192, 768, 1}, {192, 384, 0, 0}, {384, 384, 0, 0},
        {384, 384, 0, 0}, {384, 192, 768, 1}, {192, 192, 0, 0}, {192, 192, 0, 0}, {192, 192, 0, 0}, {192, 96, 0, 1}, {96, 96, 0, 0},
        {96, 96, 0, 0}, {96, 96, 0, 0}};
    conv(n, "encoder.conv1", "", 96, 3, 3, 3);
    list(n, "encoder.downsamples", down, 11);
    middle(n, "encoder");
    gamma_of(n, "encoder.head", ".0", 384, 4);
    conv(n, "encoder.head", ".2", 32, 384, 3, 3);
    conv(n, "conv1", "", 32, 32, 1, 1);
    conv(n, "conv2", "", 16, 16, 1, 1);
    conv(n, "decoder.conv1", "", 384, 16, 3, 3);
    middle(n, "decoder");
    list(n, "decoder.upsamples", up, 15);
    gamma_of(n, "decoder.head", ".0", 96, 4);
    conv(n, "decoder.head", ".2", 3, 96, 3, 3);
}

/* Bytes behind the header are holes. 1: written. */
static int write_vae(const char *path)
{
    names n = {.f = fopen(path, "wb")};
    uint64_t header = 0;
    if (!n.f)
        return 0;
    fwrite(&header, 1, sizeof header, n.f);
    fputc('{', n.f);
    all_names(&n);
    fputc('}', n.f);
    long end = ftell(n.f);
    header = (uint64_t)end - 8;
    rewind(n.f);
    fwrite(&header, 1, sizeof header, n.f);
    return !fclose(n.f) && !truncate(path, end + (off_t)n.at);
}

/* ---- nodes around ---- */
typedef struct size_params { int64_t frames, height, width; } size_params;

static kg_status latent_infer(kg_infer *x)
{
    const size_params *p = x->params;
    x->out[0] = kg_desc_tensor("latent/wan21", KG_F32, KG_SHAPE(16, p->frames, p->height, p->width));
    return KG_OK;
}

static kg_status latent_execute(kg_exec *x)
{
    kg_noise(x, (kg_noise_args){.out = kg_out(x, 0), .seed = 1});
    return KG_OK;
}

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
    for (int64_t i = 0; i < p->frames; ++i) {
        if (kg_enter(x, "frame", i, p->frames))
            return KG_FAILED;
        if (kg_emit(x, 0, kg_temp(x, KG_U8, KG_SHAPE(p->height, p->width, 3))) || kg_leave(x))
            return KG_FAILED;
    }
    return KG_OK;
}

static kg_status take_infer(kg_infer *x)
{
    (void)x;
    return KG_OK;
}

static kg_status take_work(void *arg, const kg_tensor *ins, const kg_tensor *outs)
{
    (void)arg, (void)ins, (void)outs;
    return KG_OK;
}

static kg_status take_chunk(kg_exec *x, kg_tensor chunk, int64_t index)
{
    (void)index;
    return kg_work(x, take_work, NULL, 0, 1, &chunk, 0, NULL, 0) ? KG_FAILED : KG_OK;
}

#define SIZE_PARAMS \
    .params_size = sizeof(size_params), .params = KG_PARAMS(KG_INT(size_params, frames, 1, 1, 1000, 0, ""), \
        KG_INT(size_params, height, 1, 1, 4096, 0, ""), KG_INT(size_params, width, 1, 1, 4096, 0, ""))
KG_NODE(test_latent) = {.name = "test.latent", .doc = "a latent", SIZE_PARAMS, .outputs = KG_PORTS({"latent", "latent/wan21", 0, ""}),
    .infer = latent_infer, .execute = latent_execute};
KG_NODE(test_frames) = {.name = "test.frames", .doc = "frames", SIZE_PARAMS, .outputs = KG_PORTS({"frames", "frames", KG_STREAM, ""}),
    .infer = frames_infer, .execute = frames_execute};
KG_NODE(test_take) = {.name = "test.take", .doc = "takes frames", .flags = KG_SINK, .inputs = KG_PORTS({"frames", "frames", KG_STREAM, ""}),
    .outputs = KG_PORTS({NULL}), .infer = take_infer, .chunk = take_chunk};

/* ---- plans ---- */
/* The CPU device, or what planning sees of a card: scratch, and memory of its own. */
static kg_device *device_of(int card, kg_kernels *k, kg_device *room)
{
    kg_device *cpu = kg_cpu_new(1);
    *k = *(const kg_kernels *)cpu->kernels;
    *room = *cpu;
    room->kernels = k;
    room->profile.memory = (size_t)140 << 30;
    if (card) {
        kg_cuda_scratch_of(k);
        room->class_name = "cuda";
        room->host_memory = 0;
        room->profile.discrete = 1;
        room->profile.fixed = 0;
    }
    return cpu;
}

static int build(kg_graph *g, const char *path, int encode, int64_t height, int64_t width)
{
    kg_arg size[] = {{.name = "frames", .kind = KG_A_INT, .i = encode ? 81 : 21}, {.name = "height", .kind = KG_A_INT, .i = height},
                     {.name = "width", .kind = KG_A_INT, .i = width}};
    int vae = kg_graph_add(g, "wan.vae", NULL, &(kg_arg){.name = "path", .kind = KG_A_TEXT, .s = path}, 1);
    int from = kg_graph_add(g, encode ? "test.frames" : "test.latent", NULL, size, 3);
    kg_arg a[] = {{.name = encode ? "frames" : "latent", .kind = KG_A_NODE, .node = from}, {.name = "vae", .kind = KG_A_NODE, .node = vae}};
    int node = kg_graph_add(g, encode ? "wan.encode" : "wan.decode", NULL, a, 2);
    return encode ? node : kg_graph_add(g, "test.take", NULL, &(kg_arg){.name = "frames", .kind = KG_A_NODE, .node = node}, 1);
}

/* most: GiB, the weights included. */
static void planned(const char *path, int card, int encode, int64_t height, int64_t width, double most)
{
    kg_kernels kernels;
    kg_device d, *cpu = device_of(card, &kernels, &d);
    kg_files *files = kg_files_new();
    kg_files_grant(files, path);
    kg_graph *g = kg_graph_new(&(kg_graph_options){.files = files, .precision = KG_PRECISION_BF16});
    int node = build(g, path, encode, encode ? height : height / 8, encode ? width : width / 8);
    CHECK(node >= 0, "%s", kg_error_last()->message);
    kg_graph_want(g, node);
    kg_plan *p = kg_plan_new(g, &(kg_plan_options){.device = &d});
    CHECK(p, "%s", kg_error_last()->message);
    double arena = p ? (double)kg_plan_sum(p).arena / 0x1p30 : 0;
    printf("%s on %s, 81 frames of %lldx%lld in bf16: %.3f GiB\n", encode ? "encode" : "decode", card ? "a card" : "the CPU",
           (long long)width, (long long)height, arena);
    CHECK(arena > 0.5 && arena <= most, "%g GiB", arena);
    kg_plan_free(p);
    kg_graph_free(g);
    kg_files_free(files);
    kg_device_free(cpu);
}

int main(void)
{
    char path[] = "/tmp/kg_vae_memory_XXXXXX.safetensors";
    int f = mkstemps(path, 12);
    CHECK(f >= 0 && !close(f) && write_vae(path), "%s", path);
    for (int card = 0; card <= KG_CUDA_BUILT; ++card) {
        planned(path, card, 0, 480, 832, 2.6);
        planned(path, card, 0, 720, 1280, 5.5);
        planned(path, card, 1, 480, 832, 2.0);
        planned(path, card, 1, 720, 1280, 4.2);
    }
    unlink(path);
    return TEST_END();
}
