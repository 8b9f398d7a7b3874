/* The media nodes in graphs: planned, run on the CPU, and read back from what they wrote. */
#include "tests/test.h"

#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include "core/exec.h"
#include "kernels/kernel.h"
#include "nodes/lib/media.h"
#include "nodes/lib/provenance.h"
#include "tests/graph.h"

static const char note[] = "{\"seed\": 7}";
static char *its_note(void *arg, int node)
{
    (void)arg, (void)node;
    return strdup(note);
}
static kg_files *files;
static kg_device *device;

/* ---- a clip: frame t is filled with 10 t, its first pixel with 255 ---- */
typedef struct clip { int64_t frames, width, height; } clip;

static kg_status clip_infer(kg_infer *x)
{
    const clip *p = x->params;
    x->out[0] = kg_desc_tensor("frames", KG_U8, KG_SHAPE(p->height, p->width, 3));
    x->out[0].stream = 1;
    x->out[0].chunks = p->frames;
    x->out[0].rate = 12;
    return KG_OK;
}

static kg_status clip_draw(void *arg, const kg_tensor *ins, const kg_tensor *outs)
{
    (void)ins;
    memset(outs[0].at, (int)(10 * *(int64_t *)arg), kg_bytes(&outs[0]));
    memset(outs[0].at, 255, 3);
    return KG_OK;
}

static kg_status clip_execute(kg_exec *x)
{
    const clip *p = kg_params(x);
    for (int64_t t = 0; t < p->frames; ++t) {
        if (kg_enter(x, "frame", t, p->frames))
            return KG_FAILED;
        kg_tensor f = kg_temp(x, KG_U8, KG_SHAPE(p->height, p->width, 3));
        kg_work(x, clip_draw, &t, sizeof t, 0, NULL, 1, &f, 0);
        kg_emit(x, 0, f);
        kg_leave(x);
    }
    return KG_OK;
}

KG_NODE(test_clip) = { /* table */
    .name = "test.clip", .doc = "A clip to test with.", .version = 1, .flags = KG_UNCACHED, .params_size = sizeof(clip),
    .outputs = KG_PORTS({"video", "frames", KG_STREAM, ""}),
    .params = KG_PARAMS(KG_INT(clip, frames, 5, 1, 1025, 1, ""), KG_INT(clip, width, 8, 2, 4096, 1, ""),
                        KG_INT(clip, height, 6, 2, 4096, 1, "")),
    .infer = clip_infer, .execute = clip_execute,
};

/* ---- a latent: 0, 1, 2, ... in bf16-exact numbers ---- */
static kg_status ramp_infer(kg_infer *x)
{
    x->out[0] = kg_desc_tensor("latent/wan21", KG_F32, KG_SHAPE(2, 3, 4, 5));
    x->out[0].items = 3;
    return KG_OK;
}

static kg_status ramp_draw(void *arg, const kg_tensor *ins, const kg_tensor *outs)
{
    (void)ins;
    for (int i = 0; i < 120; ++i)
        ((float *)outs[0].at)[i] = (float)(i + 200 * *(int *)arg);
    return KG_OK;
}

static kg_status ramp_execute(kg_exec *x)
{
    for (int i = 0; i < 3; ++i) {
        kg_tensor t = kg_out_item(x, 0, i);
        kg_work(x, ramp_draw, &i, sizeof i, 0, NULL, 1, &t, 0);
    }
    return KG_OK;
}

KG_NODE(test_ramp) = { /* table */
    .name = "test.ramp", .doc = "Latents to test with.", .version = 1, .flags = KG_UNCACHED,
    .outputs = KG_PORTS({"latent", "latent/wan21", 0, ""}), .infer = ramp_infer, .execute = ramp_execute,
};

/* ---- helpers ---- */
#define ADD(g, type, ...) kg_graph_add(g, type, NULL, ARGS(__VA_ARGS__))

static kg_graph *graph_new(void)
{
    return kg_graph_new(&(kg_graph_options){.files = files, .precision = KG_PRECISION_F32});
}

static kg_status run(kg_graph *g, int node, void *value, size_t bytes)
{
    return graph_value(g, &(kg_plan_options){.device = device, .budget = (size_t)1 << 30, .provenance = its_note}, node, value, bytes);
}

static int failed_with(kg_status status, const char *part)
{
    const kg_error *e = kg_error_last();
    int good = e->status == status && strstr(e->message, part);
    if (!good)
        fprintf(stderr, "status %d, \"%s\"\n", e->status, e->message);
    kg_error_clear();
    return good;
}

static int says_note(const char *path)
{
    kg_file *f = kg_open(files, path);
    char *s = f ? kg_provenance_read(f) : NULL;
    int good = s && !strcmp(s, note);
    free(s);
    kg_file_unref(f);
    return good;
}

/* ---- tests ---- */
static void test_sheet(void)
{
    enum { W = 3 * 8 + 2 * 2, H = 2 * 6 + 2 };
    uint8_t sheet[3 * W * H], again[3 * W * H];
    kg_graph *g = graph_new();
    int video = ADD(g, "test.clip", arg_int("frames", 5));
    int node = ADD(g, "image.sheet", arg_node("video", video, 0), arg_int("columns", 3));
    CHECK(node >= 0, "%s", kg_error_last()->message);
    const kg_desc *d = kg_graph_desc(g, node, 0);
    CHECK(d->shape[0] == H && d->shape[1] == W && d->shape[2] == 3);
    CHECK(ADD(g, "image.save", arg_node("image", node, 0), arg_text("path", "sheet.png")) >= 0);
    kg_graph_want(g, node);
    kg_graph_want(g, 2);
    CHECK(run(g, node, sheet, sizeof sheet) == KG_OK, "%s", kg_error_last()->message);
    for (int t = 0; t < 6; ++t) {
        int x = t % 3 * 10, y = t / 3 * 8;
        CHECK(sheet[3 * (y * W + x)] == (t < 5 ? 255 : 32) && sheet[3 * ((y + 5) * W + x + 7)] == (t < 5 ? 10 * t : 32));
    }
    CHECK(sheet[3 * 8] == 32 && sheet[3 * 6 * W] == 32);
    kg_graph_free(g);
    g = graph_new();
    int load = ADD(g, "image.load", arg_text("path", "sheet.png"));
    kg_graph_want(g, load);
    CHECK(run(g, load, again, sizeof again) == KG_OK && !memcmp(sheet, again, sizeof sheet), "%s", kg_error_last()->message);
    CHECK(says_note("sheet.png"));
    kg_graph_free(g);
}

static void test_sheet_choice(void)
{
    uint8_t sheet[3 * 3 * 2 * 2];
    kg_graph *g = graph_new();
    int video = ADD(g, "test.clip", arg_int("frames", 9), arg_int("width", 2), arg_int("height", 2));
    int node = ADD(g, "image.sheet", arg_node("video", video, 0), arg_int("count", 3), arg_int("columns", 9), arg_int("gap", 0));
    kg_graph_want(g, node);
    CHECK(run(g, node, sheet, sizeof sheet) == KG_OK, "%s", kg_error_last()->message);
    CHECK(sheet[3 * 6 + 3] == 0 && sheet[3 * 8 + 3] == 40 && sheet[3 * 10 + 3] == 80);
    int huge = ADD(g, "test.clip", arg_int("frames", 100), arg_int("width", 4000), arg_int("height", 4000));
    CHECK(ADD(g, "image.sheet", arg_node("video", huge, 0), arg_int("count", 17)) < 0 &&
          strstr(kg_error_last()->hint, "count = 16 at most") && failed_with(KG_USAGE, "a sheet of 17 frames of 4000x4000"));
    CHECK(ADD(g, "image.sheet", arg_node("video", huge, 0), arg_int("columns", 5)) < 0 &&
          strstr(kg_error_last()->hint, "columns = 4 at most") && failed_with(KG_USAGE, "columns = 5 of 4000 pixels"));
    kg_graph_free(g);
}

/* All frames are asked for, and there is no room for all: as many as fit, the first and the last among them. */
static void test_sheet_of_more_frames_than_fit(void)
{
    kg_graph *g = graph_new();
    int video = ADD(g, "test.clip", arg_int("frames", 100), arg_int("width", 4000), arg_int("height", 4000));
    int wide = ADD(g, "image.sheet", arg_node("video", video, 0));
    int two = ADD(g, "image.sheet", arg_node("video", video, 0), arg_int("columns", 2));
    CHECK(wide >= 0 && two >= 0, "%s", kg_error_last()->message);
    CHECK(kg_graph_desc(g, wide, 0)->shape[0] == 4 * 4002 - 2 && kg_graph_desc(g, wide, 0)->shape[1] == 4 * 4002 - 2);
    CHECK(kg_graph_desc(g, two, 0)->shape[0] == 4 * 4002 - 2 && kg_graph_desc(g, two, 0)->shape[1] == 2 * 4002 - 2);
    int demo = ADD(g, "test.clip", arg_int("frames", 1025), arg_int("width", 2), arg_int("height", 128));
    int sheet = ADD(g, "image.sheet", arg_node("video", demo, 0), arg_int("columns", 6));
    CHECK(sheet >= 0 && kg_graph_desc(g, sheet, 0)->shape[0] == 126 * 130 - 2, "%s", kg_error_last()->message);
    size_t bytes = (size_t)(kg_graph_desc(g, sheet, 0)->shape[0] * kg_graph_desc(g, sheet, 0)->shape[1] * 3);
    uint8_t *pixels = malloc(bytes);
    kg_graph_want(g, sheet);
    CHECK(run(g, sheet, pixels, bytes) == KG_OK, "%s", kg_error_last()->message);
    int places = 0;
    for (int64_t i = 0; i < 756; ++i)
        places += pixels[3 * ((i / 6 * 130) * 22 + i % 6 * 4)] == 255;
    CHECK(places == 756, "%d of 756 places are filled", places);
    free(pixels);
    kg_graph_free(g);
}

static void test_crop_of_one_image(void)
{
    uint8_t out[3 * 4 * 4];
    kg_graph *g = graph_new();
    int image = ADD(g, "image.load", arg_text("path", "sheet.png"));
    int crop = ADD(g, "video.crop", arg_node("video", image, 0), arg_int("width", 4), arg_int("height", 4));
    int sheet = ADD(g, "image.sheet", arg_node("video", crop, 0));
    CHECK(sheet >= 0, "%s", kg_error_last()->message);
    kg_graph_want(g, sheet);
    CHECK(run(g, sheet, out, sizeof out) == KG_OK, "%s", kg_error_last()->message);
    CHECK(out[0] == 10 && out[11] == 10 && out[12] == 32 && out[35] == 32 && out[36] == 40);   /* frame 1, the gap, frame 4 */
    CHECK(ADD(g, "video.crop", arg_node("video", image, 0), arg_int("width", 29)) < 0 && failed_with(KG_USAGE, "28x14 to 29x14"));
    kg_graph_free(g);
}

/* A stream may pass many nodes; how many is said when the graph is made. */
static void test_long_chain_of_crops(void)
{
    uint8_t sheet[3 * 8 * 6];
    kg_graph *g = graph_new();
    int at = ADD(g, "test.clip", arg_int("frames", 3)), node = -1;
    for (int i = 1; i < KG_STREAM_NODES && at >= 0; ++i) {
        at = ADD(g, "video.crop", arg_node("video", at, 0));
        if (i == 30 || i == KG_STREAM_NODES - 2) {
            node = ADD(g, "image.sheet", arg_node("video", at, 0), arg_int("count", 1));
            kg_graph_want(g, node);
            CHECK(run(g, node, sheet, sizeof sheet) == KG_OK && sheet[4] == 10, "%d: %s", i, kg_error_last()->message);
        }
    }
    CHECK(at >= 0, "%s", kg_error_last()->message);
    CHECK(ADD(g, "video.crop", arg_node("video", at, 0)) < 0 && strstr(kg_error_last()->hint, "save it") &&
          failed_with(KG_USAGE, "has passed 256 nodes"));
    kg_graph_free(g);
}

static void test_many_users_of_a_stream(void)
{
    kg_graph *g = graph_new();
    int video = ADD(g, "test.clip", arg_int("frames", 3));
    for (int i = 0; i < KG_STREAM_USERS; ++i)
        CHECK(ADD(g, "image.sheet", arg_node("video", video, 0)) >= 0, "%s", kg_error_last()->message);
    CHECK(ADD(g, "image.sheet", arg_node("video", video, 0)) < 0 && failed_with(KG_USAGE, "streams to 16 nodes already"));
    CHECK(kg_graph_join(g, video, 0, 1, "video") == KG_OK, "%s", kg_error_last()->message);
    kg_graph_free(g);
}

#ifdef KG_AV
static void test_video_save(void)
{
    kg_graph *g = graph_new();
    int video = ADD(g, "test.clip", arg_int("frames", 9), arg_int("width", 64), arg_int("height", 48));
    int crop = ADD(g, "video.crop", arg_node("video", video, 0), arg_int("width", 60), arg_int("height", 40));
    int save = ADD(g, "video.save", arg_node("video", crop, 0), arg_text("path", "clip.mp4"));
    int sheet = ADD(g, "image.sheet", arg_node("video", crop, 0), arg_int("count", 4));
    int save_sheet = ADD(g, "image.save", arg_node("image", sheet, 0), arg_text("path", "clip.png"));
    CHECK(save >= 0 && save_sheet >= 0, "%s", kg_error_last()->message);
    CHECK(run(g, 0, NULL, 0) == KG_OK, "%s", kg_error_last()->message);
    CHECK(says_note("clip.mp4") && says_note("clip.png"));
    CHECK(ADD(g, "video.save", arg_node("video", crop, 0), arg_text("path", "../up.mp4")) < 0 && failed_with(KG_USAGE, "may not write"));
    CHECK(ADD(g, "video.save", arg_node("video", sheet, 0), arg_text("path", "a.mp4"), arg_int("crf", 99)) < 0 &&
          failed_with(KG_USAGE, "out of range"));
    CHECK(ADD(g, "image.save", arg_node("image", crop, 0), arg_text("path", "a.png")) < 0 && kg_error_last()->status == KG_USAGE);
    kg_error_clear();
    kg_graph_free(g);
}

/* A limit on the size of files stands for a full disk: nothing appears under the final name, nothing else stays behind. */
static void test_full_disk(void)
{
    struct rlimit r;
    getrlimit(RLIMIT_FSIZE, &r);
    signal(SIGXFSZ, SIG_IGN);
    kg_graph *g = graph_new();
    int video = ADD(g, "test.clip", arg_int("frames", 20), arg_int("width", 640), arg_int("height", 480));
    CHECK(ADD(g, "video.save", arg_node("video", video, 0), arg_text("path", "full.mp4"), arg_int("crf", 1)) >= 0);
    setrlimit(RLIMIT_FSIZE, &(struct rlimit){1500, r.rlim_max});
    CHECK(run(g, 0, NULL, 0) == KG_FAILED);
    setrlimit(RLIMIT_FSIZE, &r);
    CHECK(!strncmp(kg_error_last()->path, "video.save", 10) && failed_with(KG_FAILED, "full.mp4"));
    CHECK(access("full.mp4", F_OK) && system("! ls -A | grep -q tmp") == 0);
    kg_graph_free(g);
}
#endif

static void test_latents(void)
{
    float got[120];
    kg_graph *g = graph_new();
    int ramp = kg_graph_add(g, "test.ramp", NULL, NULL, 0);
    int pick = ADD(g, "latent.pick", arg_node("latent", ramp, 0), arg_int("index", 2));
    CHECK(ADD(g, "latent.save", arg_node("latent", pick, 0), arg_text("path", "x.safetensors"), arg_text("name", "noise")) >= 0);
    CHECK(run(g, 0, NULL, 0) == KG_OK, "%s", kg_error_last()->message);
    CHECK(says_note("x.safetensors"));
    CHECK(ADD(g, "latent.save", arg_node("latent", ramp, 0), arg_text("path", "y.safetensors")) < 0 && failed_with(KG_USAGE, "list of 3"));
    CHECK(ADD(g, "latent.pick", arg_node("latent", ramp, 0), arg_int("index", 3)) < 0 && failed_with(KG_USAGE, "out of range"));
    CHECK(ADD(g, "latent.load", arg_text("path", "x.safetensors")) < 0 && failed_with(KG_INPUT, "no tensor 'latent'"));
    CHECK(ADD(g, "latent.load", arg_text("path", "x.safetensors"), arg_text("kind", "image")) < 0 && failed_with(KG_USAGE, "no kind"));
    CHECK(ADD(g, "latent.load", arg_text("path", "none.safetensors")) < 0 && failed_with(KG_INPUT, "none.safetensors"));
    int load = ADD(g, "latent.load", arg_text("path", "x.safetensors"), arg_text("name", "noise"));
    CHECK(load >= 0 && kg_graph_desc(g, load, 0)->rank == 4 && !strcmp(kg_graph_desc(g, load, 0)->kind, "latent/wan21"));
    kg_graph_want(g, load);
    CHECK(run(g, load, got, sizeof got) == KG_OK, "%s", kg_error_last()->message);
    int good = 1;
    for (int i = 0; i < 120; ++i)
        good &= got[i] == (float)(i + 400);
    CHECK(good);
    kg_graph_free(g);
}

/* bf16, and a leading batch of 1. */
static void test_latent_of_others(void)
{
    static const char head[] = "{\"samples\":{\"dtype\":\"BF16\",\"shape\":[1,1,1,1,2],\"data_offsets\":[0,4]}}";
    const uint64_t n = sizeof head - 1;
    FILE *f = fopen("bf16.safetensors", "wb");
    fwrite(&n, 8, 1, f);
    fwrite(head, 1, n, f);
    fwrite("\x80\x3f\x00\xc0", 1, 4, f);
    fclose(f);
    float got[2] = {0};
    kg_graph *g = graph_new();
    int load = ADD(g, "latent.load", arg_text("path", "bf16.safetensors"), arg_text("name", "samples"));
    CHECK(load >= 0 && kg_graph_desc(g, load, 0)->rank == 4, "%s", kg_error_last()->message);
    kg_graph_want(g, load);
    CHECK(run(g, load, got, sizeof got) == KG_OK && got[0] == 1 && got[1] == -2, "%s", kg_error_last()->message);
    CHECK(truncate("bf16.safetensors", (off_t)(8 + n + 3)) == 0 && run(g, load, got, sizeof got) == KG_INPUT);
    CHECK(failed_with(KG_INPUT, "bf16.safetensors"));
    kg_graph_free(g);
}

int main(void)
{
    char folder[] = "/tmp/kino_media_XXXXXX", command[64];
    CHECK(mkdtemp(folder) && !chdir(folder));
    files = kg_files_new();
    CHECK(kg_files_root(files, ".", KG_ROOT_PLAIN) == KG_OK);
    device = kg_cpu_new(2);
    test_sheet();
    test_sheet_choice();
    test_sheet_of_more_frames_than_fit();
    test_crop_of_one_image();
    test_long_chain_of_crops();
    test_many_users_of_a_stream();
#ifdef KG_AV
    test_video_save();
    test_full_disk();
#endif
    test_latents();
    test_latent_of_others();
    kg_device_free(device);
    kg_files_free(files);
    snprintf(command, sizeof command, "rm -rf %s", folder);
    CHECK(chdir("/") == 0 && system(command) == 0);
    return TEST_END();
}
