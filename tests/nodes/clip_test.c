/* Videos read back: what we wrote, and what libav writes in other containers, codecs, formats, ranges and matrices. Then the node in
 * graphs, and files that are cut, lie, or are no video. */
#include "tests/test.h"

#ifdef KG_AV

#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/imgutils.h>
#include <libswscale/swscale.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kernels/kernel.h"
#include "nodes/lib/media_clip.h"
#include "nodes/lib/media_mp4.h"
#include "tests/graph.h"
#include "tests/nodes/files.h"

enum { W = 64, H = 48, FRAMES = 9 };
static kg_files *files;
static kg_device *device;

static int failed_with(kg_status status, const char *part)
{
    const kg_error *e = kg_error_last();
    int good = e->status == status && strstr(e->message, part);
    if (!good)
        fprintf(stderr, "status %d, \"%s\" (wanted \"%s\")\n", e->status, e->message, part);
    kg_error_clear();
    return good;
}

/* Four fields of flat colour, another one in each corner from frame to frame. */
static void draw(uint8_t *rgb, int w, int h, int t)
{
    static const uint8_t colours[5][3] = {{220, 30, 40}, {30, 200, 60}, {40, 60, 230}, {240, 240, 240}, {20, 20, 20}};
    for (int y = 0; y < h; ++y)
        for (int x = 0; x < w; ++x)
            memcpy(rgb + 3 * (y * w + x), colours[((x >= w / 2) + 2 * (y >= h / 2) + t) % 5], 3);
}

/* The middles of the fields of frame t, within `most`. */
static int is_frame(const uint8_t *rgb, int w, int h, int t, int most)
{
    uint8_t *want = malloc((size_t)(3 * w * h));
    int good = 1;
    draw(want, w, h, t);
    for (int q = 0; q < 4; ++q) {
        size_t at = (size_t)(3 * ((h / 4 + q / 2 * h / 2) * w + w / 4 + q % 2 * w / 2));
        for (int c = 0; c < 3; ++c)
            good &= abs(rgb[at + c] - want[at + c]) <= most;
    }
    free(want);
    return good;
}

/* ---- files that libav writes ---- */
typedef struct kind {
    const char *path, *encoder;
    enum AVPixelFormat format;
    int space, full, most;         /* SWS_CS_; what the colours may differ by */
    int b_frames;
} kind;

static int write_packets(AVFormatContext *mux, AVCodecContext *c, AVPacket *p, const AVFrame *f)
{
    int e = avcodec_send_frame(c, f);
    while (e >= 0 && (e = avcodec_receive_packet(c, p)) >= 0) {
        p->stream_index = 0;
        p->duration = 1;
        av_packet_rescale_ts(p, c->time_base, mux->streams[0]->time_base);
        e = av_interleaved_write_frame(mux, p);
    }
    return e == AVERROR(EAGAIN) || e == AVERROR_EOF;
}

static int encode(const kind *k, AVFormatContext *mux, AVCodecContext *c)
{
    static uint8_t rgb[3 * W * H];
    AVFrame *f = av_frame_alloc();
    AVPacket *p = av_packet_alloc();
    struct SwsContext *s = sws_getContext(W, H, AV_PIX_FMT_RGB24, W, H, k->format, SWS_BICUBIC | SWS_ACCURATE_RND, NULL, NULL, NULL);
    const int *table = sws_getCoefficients(k->space);
    sws_setColorspaceDetails(s, table, 1, table, k->full, 0, 1 << 16, 1 << 16);
    f->format = k->format;
    f->width = W;
    f->height = H;
    f->color_range = c->color_range;
    f->colorspace = c->colorspace;
    int good = av_frame_get_buffer(f, 0) >= 0;
    for (int t = 0; t < FRAMES && good; ++t) {
        draw(rgb, W, H, t);
        good = av_frame_make_writable(f) >= 0;
        sws_scale(s, (const uint8_t *[4]){rgb}, (int[4]){3 * W}, 0, H, f->data, f->linesize);
        f->pts = t;
        good = good && write_packets(mux, c, p, f);
    }
    good = good && write_packets(mux, c, p, NULL);
    sws_freeContext(s);
    av_frame_free(&f);
    av_packet_free(&p);
    return good;
}

/* 1 written, 0 not, -1: this libav has no such encoder. */
static int write_kind(const kind *k)
{
    const AVCodec *encoder = avcodec_find_encoder_by_name(k->encoder);
    if (!encoder)
        return -1;
    AVFormatContext *mux = NULL;
    avformat_alloc_output_context2(&mux, NULL, NULL, k->path);
    AVCodecContext *c = avcodec_alloc_context3(encoder);
    c->width = W;
    c->height = H;
    c->pix_fmt = k->format;
    c->time_base = (AVRational){1, 12};
    c->framerate = (AVRational){12, 1};
    c->bit_rate = 4000000;
    c->max_b_frames = k->b_frames;
    c->color_range = k->full ? AVCOL_RANGE_JPEG : AVCOL_RANGE_MPEG;
    c->colorspace = k->space == SWS_CS_ITU709 ? AVCOL_SPC_BT709 : AVCOL_SPC_SMPTE170M;
    c->strict_std_compliance = FF_COMPLIANCE_UNOFFICIAL;
    if (mux->oformat->flags & AVFMT_GLOBALHEADER)
        c->flags |= AV_CODEC_FLAG_GLOBAL_HEADER;
    AVStream *s = avformat_new_stream(mux, NULL);
    s->time_base = c->time_base;
    s->avg_frame_rate = c->framerate;
    int good = avcodec_open2(c, encoder, NULL) >= 0 && avcodec_parameters_from_context(s->codecpar, c) >= 0 &&
               avio_open(&mux->pb, k->path, AVIO_FLAG_WRITE) >= 0 && avformat_write_header(mux, NULL) >= 0 && encode(k, mux, c) &&
               av_write_trailer(mux) >= 0;
    avcodec_free_context(&c);
    if (mux->pb)
        avio_closep(&mux->pb);
    avformat_free_context(mux);
    return good;
}

static void test_kind(const kind *k)
{
    static uint8_t rgb[3 * W * H];
    kg_clip_facts a;
    int written = write_kind(k);
    if (written < 0) {
        printf("%s is not read back: no encoder %s here\n", k->path, k->encoder);
        return;
    }
    kg_file *f = kg_open(files, k->path);
    CHECK(written && kg_clip_look(f, &a) == KG_OK, "%s: %s", k->path, kg_error_last()->message);
    CHECK(a.width == W && a.height == H && a.frames == FRAMES && fabs(a.rate - 12) < 0.01 && !a.warning[0], "%s: %dx%d, %d frames, %g",
          k->path, (int)a.width, (int)a.height, (int)a.frames, a.rate);
    kg_clip *c = kg_clip_open(f);
    for (int t = 0; t < FRAMES && c; ++t)
        CHECK(kg_clip_next(c, W, H, rgb) == KG_OK && is_frame(rgb, W, H, t, k->most), "%s: frame %d: %s", k->path, t,
              kg_error_last()->message);
    CHECK(c && kg_clip_next(c, W, H, rgb) == KG_INPUT && failed_with(KG_INPUT, "ends after 9 frames"));
    kg_clip_free(c);
    kg_file_unref(f);
    kg_error_clear();
}

static void test_kinds(void)
{
    static const kind kinds[] = {
        {"rgb.mkv", "ffv1", AV_PIX_FMT_BGR0, SWS_CS_ITU601, 1, 0, 0},
        {"deep.mkv", "ffv1", AV_PIX_FMT_YUV444P10, SWS_CS_ITU709, 0, 1, 0},
        {"bt601.mkv", "ffv1", AV_PIX_FMT_YUV420P, SWS_CS_ITU601, 0, 2, 0},
        {"grey.mkv", "ffv1", AV_PIX_FMT_YUV422P, SWS_CS_ITU709, 0, 2, 0},
        {"full.avi", "mjpeg", AV_PIX_FMT_YUVJ420P, SWS_CS_ITU601, 1, 6, 0},
        {"old.avi", "mpeg4", AV_PIX_FMT_YUV420P, SWS_CS_ITU601, 0, 8, 0},
        {"order.mp4", "mpeg4", AV_PIX_FMT_YUV420P, SWS_CS_ITU601, 0, 8, 2},
        {"ten.mov", "prores", AV_PIX_FMT_YUV422P10, SWS_CS_ITU709, 0, 6, 0},
        {"late.mp4", "libx264", AV_PIX_FMT_YUV420P, SWS_CS_ITU709, 0, 8, 3},
        {"deep.mp4", "libx264", AV_PIX_FMT_YUV420P10, SWS_CS_ITU709, 0, 8, 3},
        {"late.ts", "libx264", AV_PIX_FMT_YUV420P, SWS_CS_ITU709, 0, 8, 3},
        {"web.webm", "libvpx", AV_PIX_FMT_YUV420P, SWS_CS_ITU601, 0, 10, 0},
        {"web9.webm", "libvpx-vp9", AV_PIX_FMT_YUV420P, SWS_CS_ITU709, 0, 10, 0},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; ++i)
        test_kind(&kinds[i]);
}

/* ---- the node ---- */
#define ADD(g, type, ...) kg_graph_add(g, type, NULL, ARGS(__VA_ARGS__))

static kg_graph *graph_new(void) { return kg_graph_new(&(kg_graph_options){.files = files, .precision = KG_PRECISION_F32}); }

static kg_status run(kg_graph *g, int node, void *value, size_t bytes)
{
    return graph_value(g, &(kg_plan_options){.device = device, .budget = (size_t)1 << 30}, node, value, bytes);
}

/* Frames of our own MP4 as a sheet of one column. */
static void test_node(void)
{
    enum { FIRST = 3, TAKEN = 4 };
    static uint8_t rgb[3 * W * H], sheet[3 * W * H * FRAMES];
    kg_mp4_settings set = {.width = W, .height = H, .fps = 23.976, .crf = 1, .preset = "medium", .provenance = ""};
    kg_mp4 *m = kg_mp4_new(files, "ours.mp4", &set);
    for (int t = 0; t < FRAMES; ++t) {
        draw(rgb, W, H, t);
        CHECK(m && kg_mp4_frame(m, rgb) == KG_OK);
    }
    CHECK(m && kg_mp4_finish(m) == KG_OK);
    kg_mp4_free(m);
    for (int part = 0; part < 2; ++part) {
        int frames = part ? TAKEN : FRAMES, first = part ? FIRST : 0;
        kg_graph *g = graph_new();
        int load = part ? ADD(g, "video.load", arg_text("path", "ours.mp4"), arg_int("first", FIRST), arg_int("frames", TAKEN))
                        : ADD(g, "video.load", arg_text("path", "ours.mp4"));
        CHECK(load >= 0 && fabs(kg_graph_desc(g, load, 0)->rate - 23.976) < 1e-3, "%s", kg_error_last()->message);
        CHECK(kg_graph_desc(g, load, 0)->chunks == frames);
        int node = ADD(g, "image.sheet", arg_node("video", load, 0), arg_int("columns", 1), arg_int("gap", 0));
        kg_graph_want(g, node);
        CHECK(run(g, node, sheet, (size_t)(3 * W * H * frames)) == KG_OK, "%s", kg_error_last()->message);
        for (int t = 0; t < frames; ++t)
            CHECK(is_frame(sheet + 3 * W * H * t, W, H, first + t, 3), "frame %d", first + t);
        kg_graph_free(g);
    }
}

static void refused(kg_status status, const char *why, const char *path, int64_t first, int64_t frames)
{
    kg_graph *g = graph_new();
    CHECK(ADD(g, "video.load", arg_text("path", path), arg_int("first", first), arg_int("frames", frames)) < 0, "%s", path);
    CHECK(!strncmp(kg_error_last()->path, "video.load", 10));
    CHECK(failed_with(status, why));
    kg_graph_free(g);
}

static void test_refused(void)
{
    refused(KG_USAGE, "first = 9, but 'ours.mp4' has the frames 0 to 8", "ours.mp4", 9, 0);
    refused(KG_USAGE, "frames = 5, but 'ours.mp4' has 4 from the first one on", "ours.mp4", 5, 5);
    refused(KG_INPUT, "none.mp4", "none.mp4", 0, 0);
    test_write("text.mp4", "this is no video at all, whatever its name says", 47);
    refused(KG_INPUT, "'text.mp4' is a text that begins \"this is no video at all, whatever its name says\", and no", "text.mp4", 0, 0);
    test_write("empty.mp4", "", 0);
    refused(KG_INPUT, "'empty.mp4' is empty, and no video", "empty.mp4", 0, 0);
    /* What names other files opens none of them. */
    const char *list = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nours.mp4\n#EXT-X-ENDLIST\n";
    const char *concat = "ffconcat version 1.0\nfile ours.mp4\n";
    test_write("list.m3u8", list, strlen(list));
    refused(KG_INPUT, "'list.m3u8' is a text that begins \"#EXTM3U\", and no video", "list.m3u8", 0, 0);
    test_write("concat.mp4", concat, strlen(concat));
    refused(KG_INPUT, "'concat.mp4' is a text that begins \"ffconcat version 1.0\", and no video", "concat.mp4", 0, 0);
    kind gif = {"anim.gif", "gif", AV_PIX_FMT_RGB8, SWS_CS_ITU601, 1, 0, 0};
    kind flash = {"no.mkv", "flv", AV_PIX_FMT_YUV420P, SWS_CS_ITU601, 0, 0, 0};
    CHECK(write_kind(&gif) == 1 && write_kind(&flash) == 1);
    refused(KG_INPUT, "'anim.gif' is a GIF picture, and no video", "anim.gif", 0, 0);
    refused(KG_INPUT, "its video is flv1, which is not read here", "no.mkv", 0, 0);
}

/* A picture track and a sound track, both as they are: raw video and PCM in QuickTime. */
static int write_with_audio(const char *path)
{
    static uint8_t rgb[3 * W * H], pcm[2 * 2000];
    AVFormatContext *mux = NULL;
    avformat_alloc_output_context2(&mux, NULL, NULL, path);
    AVStream *v = avformat_new_stream(mux, NULL), *a = avformat_new_stream(mux, NULL);
    v->codecpar->codec_type = AVMEDIA_TYPE_VIDEO;
    v->codecpar->codec_id = AV_CODEC_ID_RAWVIDEO;
    v->codecpar->format = AV_PIX_FMT_RGB24;
    v->codecpar->bits_per_coded_sample = 24;
    v->codecpar->width = W;
    v->codecpar->height = H;
    v->time_base = (AVRational){1, 12};
    v->avg_frame_rate = (AVRational){12, 1};
    a->codecpar->codec_type = AVMEDIA_TYPE_AUDIO;
    a->codecpar->codec_id = AV_CODEC_ID_PCM_S16LE;
    a->codecpar->sample_rate = 24000;
    a->codecpar->bits_per_coded_sample = 16;
    av_channel_layout_default(&a->codecpar->ch_layout, 1);
    AVPacket *p = av_packet_alloc();
    int good = avio_open(&mux->pb, path, AVIO_FLAG_WRITE) >= 0 && avformat_write_header(mux, NULL) >= 0;
    for (int t = 0; t < 2 * FRAMES && good; ++t) {
        AVStream *s = t % 2 ? a : v;
        good = av_new_packet(p, t % 2 ? (int)sizeof pcm : (int)sizeof rgb) >= 0;
        memset(p->data, t % 2 ? 0 : 20 * t, (size_t)p->size);
        p->stream_index = s->index;
        p->flags |= AV_PKT_FLAG_KEY;
        p->duration = 1;
        p->pts = p->dts = t / 2;
        av_packet_rescale_ts(p, (AVRational){1, 12}, s->time_base);
        good = good && av_interleaved_write_frame(mux, p) >= 0;
    }
    good = good && av_write_trailer(mux) >= 0;
    av_packet_free(&p);
    avio_closep(&mux->pb);
    avformat_free_context(mux);
    return good;
}

static int warned;
static void count_audio(void *arg, const char *line)
{
    (void)arg;
    warned += strstr(line, "video.load") && strstr(line, "'sound.mov': its audio is left out");
}

static void test_audio_that_is_dropped_is_said(void)
{
    CHECK(write_with_audio("sound.mov"));
    kg_log_set(count_audio, NULL);
    kg_graph *g = graph_new();
    CHECK(ADD(g, "video.load", arg_text("path", "sound.mov")) >= 0, "%s", kg_error_last()->message);
    CHECK(warned == 1, "warned %d times", warned);
    kg_graph_free(g);
    kg_log_set(NULL, NULL);
}

/* Our MP4 has its index in front: cut anywhere it is refused when the graph is made, or gives fewer frames, never other ones. */
static void test_cut(void)
{
    kg_file *f = kg_open(files, "ours.mp4");
    size_t n = 0;
    char *all = f ? kg_file_text(f, 1 << 24, &n) : NULL;
    kg_file_unref(f);
    for (size_t cut = 0; all && cut < n; cut += n / 37) {
        kg_clip_facts facts;
        test_write("cut.mp4", all, cut);
        f = kg_open(files, "cut.mp4");
        CHECK(kg_clip_look(f, &facts) == KG_INPUT, "cut at %zu of %zu", cut, n);
        CHECK(failed_with(KG_INPUT, "cut.mp4"));
        kg_file_unref(f);
    }
    test_write("cut.mp4", all, n - 10);
    refused(KG_INPUT, "'cut.mp4' is truncated: 8 of its 9 frames are there", "cut.mp4", 0, 0);
    /* Changed between graph and run. */
    test_write("cut.mp4", all, n);
    kg_graph *g = graph_new();
    int sheet = ADD(g, "image.sheet", arg_node("video", ADD(g, "video.load", arg_text("path", "cut.mp4")), 0));
    CHECK(sheet >= 0 && kg_graph_want(g, sheet) == KG_OK, "%s", kg_error_last()->message);
    test_write("cut.mp4", all, n / 2);
    CHECK(run(g, sheet, NULL, 0) == KG_INPUT && failed_with(KG_INPUT, "has changed since"));
    kg_graph_free(g);
    free(all);
}

int main(void)
{
    char folder[64];
    test_folder_enter(folder, sizeof folder);
    av_log_set_level(AV_LOG_QUIET);
    files = kg_files_new();
    kg_files_root(files, ".", KG_ROOT_PLAIN);
    kg_files_grant_out(files, "ours.mp4");
    device = kg_cpu_new(2);
    test_kinds();
    test_node();
    test_refused();
    test_audio_that_is_dropped_is_said();
    test_cut();
    kg_device_free(device);
    kg_files_free(files);
    test_folder_leave(folder);
    return TEST_END();
}

#else
int main(void)
{
    puts("no libav in this build: videos are not read");
    return 0;
}
#endif
