/* Pictures and videos in files: what is written is read back, by us and by libav; broken files and full disks are refused. */
#include "tests/test.h"

#include <png.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/file.h"
#include "nodes/lib/media.h"
#include "nodes/lib/media_mp4.h"
#include "nodes/lib/provenance.h"

#ifdef KG_AV
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#endif

static const char note[] = "{\"prompt\": \"\xe7\xba\xa2\xe8\x89\xb2 \xf0\x9f\x94\xb4\", \"seed\": 7}";
static kg_files *files;

static int failed_with(kg_status status, const char *part)
{
    const kg_error *e = kg_error_last();
    int good = e->status == status && strstr(e->message, part);
    if (!good)
        fprintf(stderr, "status %d, \"%s\"\n", e->status, e->message);
    kg_error_clear();
    return good;
}

static void write_file(const char *path, const void *p, size_t n)
{
    FILE *f = fopen(path, "wb");
    CHECK(f && fwrite(p, 1, n, f) == n);
    fclose(f);
}

static uint8_t *read_all(const char *path, size_t *n)
{
    kg_file *f = kg_open(files, path);
    uint8_t *p = f ? (uint8_t *)kg_file_text(f, 64 << 20, n) : NULL;
    kg_file_unref(f);
    return p;
}

/* ---- PNG ---- */

static uint8_t *picture(int64_t width, int64_t height)
{
    uint8_t *p = malloc((size_t)(3 * width * height));
    uint64_t s = 5;
    for (int64_t i = 0; i < 3 * width * height; ++i)
        p[i] = (uint8_t)(i / 3 % width * 2 + (int64_t)(test_next(&s) & 7));
    return p;
}

static void test_png_round_trip(void)
{
    enum { W = 61, H = 37 };
    uint8_t *in = picture(W, H), out[3 * W * H];
    int64_t width = 0, height = 0;
    kg_output o;
    CHECK(kg_output_open(&o, files, "round.png") == KG_OK);
    CHECK(kg_png_write(&o, W, H, in, note) == KG_OK && kg_output_commit(&o) == KG_OK);
    kg_file *f = kg_open(files, "round.png");
    CHECK(kg_png_size(f, &width, &height) == KG_OK && width == W && height == H);
    CHECK(kg_png_read(f, W, H, KG_ALPHA_BLACK, out) == KG_OK && !memcmp(in, out, sizeof out));
    char *text = kg_provenance_read(f);
    CHECK(text && !strcmp(text, note));
    free(text);
    CHECK(kg_png_read(f, W + 1, H, KG_ALPHA_BLACK, out) == KG_INPUT && failed_with(KG_INPUT, "changed"));
    kg_file_unref(f);
    free(in);
}

/* Writes raw rows of any PNG type. */
static void make_png(const char *path, int w, int h, int depth, int type, int interlace, const uint8_t *rows, size_t stride,
                     const png_color *palette, const uint8_t *trans, int n)
{
    FILE *f = fopen(path, "wb");
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
    png_infop info = png_create_info_struct(png);
    png_init_io(png, f);
    png_set_IHDR(png, info, (png_uint_32)w, (png_uint_32)h, depth, type, interlace, 0, 0);
    if (palette)
        png_set_PLTE(png, info, palette, n);
    if (trans)
        png_set_tRNS(png, info, trans, n, NULL);
    png_write_info(png, info);
    png_bytep at[64];
    for (int y = 0; y < h; ++y)
        at[y] = (png_bytep)(uintptr_t)(rows + (size_t)y * stride);
    png_write_image(png, at);
    png_write_end(png, NULL);
    png_destroy_write_struct(&png, &info);
    fclose(f);
}

/* The pixels of a file of 2x1 as six numbers. */
static int pixels_are(const char *path, int alpha, int r0, int g0, int b0, int r1, int g1, int b1)
{
    const int want[6] = {r0, g0, b0, r1, g1, b1};
    uint8_t rgb[6];
    kg_file *f = kg_open(files, path);
    int good = f && kg_png_read(f, 2, 1, alpha, rgb) == KG_OK;
    for (int i = 0; i < 6 && good; ++i)
        good = rgb[i] == want[i];
    if (!good)
        fprintf(stderr, "%s: %d %d %d  %d %d %d (%s)\n", path, rgb[0], rgb[1], rgb[2], rgb[3], rgb[4], rgb[5], kg_error_last()->message);
    kg_error_clear();
    kg_file_unref(f);
    return good;
}

static void test_png_types(void)
{
    static const png_color palette[2] = {{10, 20, 30}, {200, 100, 50}};
    static const uint8_t opaque_and_half[2] = {255, 128};
    make_png("grey1.png", 2, 1, 1, PNG_COLOR_TYPE_GRAY, 0, (uint8_t[]){0x40}, 1, NULL, NULL, 0);
    CHECK(pixels_are("grey1.png", 0, 0, 0, 0, 255, 255, 255));
    make_png("grey8.png", 2, 1, 8, PNG_COLOR_TYPE_GRAY, 0, (uint8_t[]){7, 99}, 2, NULL, NULL, 0);
    CHECK(pixels_are("grey8.png", 0, 7, 7, 7, 99, 99, 99));
    make_png("grey16.png", 2, 1, 16, PNG_COLOR_TYPE_GRAY, 0, (uint8_t[]){0x80, 0x80, 0x01, 0xff}, 4, NULL, NULL, 0);
    CHECK(pixels_are("grey16.png", 0, 128, 128, 128, 2, 2, 2));
    make_png("palette.png", 2, 1, 1, PNG_COLOR_TYPE_PALETTE, 0, (uint8_t[]){0x40}, 1, palette, NULL, 2);
    CHECK(pixels_are("palette.png", 0, 10, 20, 30, 200, 100, 50));
    make_png("palette_a.png", 2, 1, 8, PNG_COLOR_TYPE_PALETTE, 0, (uint8_t[]){0, 1}, 2, palette, opaque_and_half, 2);
    CHECK(pixels_are("palette_a.png", KG_ALPHA_BLACK, 10, 20, 30, 100, 50, 25));
    CHECK(pixels_are("palette_a.png", KG_ALPHA_DROP, 10, 20, 30, 200, 100, 50));
    const uint8_t rgba[8] = {10, 20, 30, 0, 200, 100, 50, 128};
    make_png("rgba8.png", 2, 1, 8, PNG_COLOR_TYPE_RGBA, 0, rgba, 8, NULL, NULL, 0);
    CHECK(pixels_are("rgba8.png", KG_ALPHA_BLACK, 0, 0, 0, 100, 50, 25));
    CHECK(pixels_are("rgba8.png", KG_ALPHA_WHITE, 255, 255, 255, 227, 177, 152));
    CHECK(pixels_are("rgba8.png", KG_ALPHA_DROP, 10, 20, 30, 200, 100, 50));
    const uint8_t rgba16[16] = {10, 10, 20, 20, 30, 30, 0, 0, 200, 200, 100, 100, 50, 50, 255, 255};
    make_png("rgba16.png", 2, 1, 16, PNG_COLOR_TYPE_RGBA, 0, rgba16, 16, NULL, NULL, 0);
    CHECK(pixels_are("rgba16.png", KG_ALPHA_WHITE, 255, 255, 255, 200, 100, 50));
    const uint8_t ga[4] = {60, 255, 60, 0};
    make_png("ga.png", 2, 1, 8, PNG_COLOR_TYPE_GRAY_ALPHA, 0, ga, 4, NULL, NULL, 0);
    CHECK(pixels_are("ga.png", KG_ALPHA_BLACK, 60, 60, 60, 0, 0, 0));
    uint8_t *in = picture(33, 29), out[3 * 33 * 29];
    make_png("adam7.png", 33, 29, 8, PNG_COLOR_TYPE_RGB, PNG_INTERLACE_ADAM7, in, 99, NULL, NULL, 0);
    kg_file *f = kg_open(files, "adam7.png");
    CHECK(kg_png_read(f, 33, 29, 0, out) == KG_OK && !memcmp(in, out, sizeof out));
    kg_file_unref(f);
    free(in);
}

static kg_status size_of(const char *path)
{
    int64_t w, h;
    kg_file *f = kg_open(files, path);
    kg_status s = f ? kg_png_size(f, &w, &h) : kg_error_last()->status;
    kg_file_unref(f);
    return s;
}

static void test_png_broken(void)
{
    size_t n;
    uint8_t *b = read_all("round.png", &n), rgb[3 * 61 * 37];
    write_file("cut.png", b, n / 2);
    kg_file *f = kg_open(files, "cut.png");
    CHECK(kg_png_read(f, 61, 37, 0, rgb) == KG_INPUT && failed_with(KG_INPUT, "cut.png"));
    kg_file_unref(f);
    write_file("short.png", b, 20);
    CHECK(size_of("short.png") == KG_INPUT && failed_with(KG_INPUT, "short.png"));
    write_file("empty.png", b, 0);
    CHECK(size_of("empty.png") == KG_INPUT && failed_with(KG_INPUT, "empty.png"));
    write_file("photo.png", "\xff\xd8\xff\xe0 and so on", 14);
    CHECK(size_of("photo.png") == KG_INPUT && failed_with(KG_INPUT, "a JPEG"));
    b[16] = 0x7f;                      /* a width of 2^31 - something, and a wrong checksum */
    write_file("wide.png", b, n);
    CHECK(size_of("wide.png") == KG_INPUT && failed_with(KG_INPUT, "wide.png"));
    CHECK(size_of("none.png") == KG_INPUT && failed_with(KG_INPUT, "none.png"));
    free(b);
}

/* ---- provenance of hostile files ---- */

static char *provenance_of(const void *p, size_t n)
{
    write_file("hostile", p, n);
    kg_file *f = kg_open(files, "hostile");
    char *text = kg_provenance_read(f);
    kg_file_unref(f);
    return text;
}

static void test_provenance_hostile(void)
{
    static const char png[] = "\x89PNG\r\n\x1a\n";
    uint8_t b[64] = {0};
    memcpy(b, png, 8);
    memcpy(b + 8, "\xff\xff\xff\xfftEXt", 8);
    CHECK(!provenance_of(b, sizeof b) && failed_with(KG_INPUT, "longer than the file"));
    memcpy(b + 8, "\0\0\0\x0ctEXtkinograph\0\xff\xfe", 20);
    CHECK(!provenance_of(b, sizeof b) && failed_with(KG_INPUT, "no text"));
    memcpy(b + 8, "\0\0\0\x0ctEXtkinograph\0{}", 20);
    char *text = provenance_of(b, sizeof b);
    CHECK(text && !strcmp(text, "{}"));
    free(text);
    memcpy(b + 8, "\0\0\0\x0ciTXtkinograph\0\0\0", 20);
    CHECK(!provenance_of(b, sizeof b) && failed_with(KG_INPUT, "no text"));
    memcpy(b + 8, "\0\0\0\0IEND\0\0\0\0", 12);
    CHECK(!provenance_of(b, sizeof b) && failed_with(KG_INPUT, "does not say"));
    CHECK(!provenance_of("\0\0\0\x10" "ftypisom\0\0\0\0\0\0\0\x07moov", 24) && failed_with(KG_INPUT, "moov"));
    CHECK(!provenance_of("\0\0\0\x10" "ftypisom\0\0\0\0\0\0\0\0moov\0\0\0\0udta", 32) && failed_with(KG_INPUT, "does not say"));
    CHECK(!provenance_of("some text that is no picture", 28) && failed_with(KG_INPUT, "hostile"));
    CHECK(!provenance_of("\xff\0\0\0\0\0\0\0{\"__metadata__\":{}}", 28) && failed_with(KG_INPUT, "longer"));
    static const char st[] = "\x2d\0\0\0\0\0\0\0{\"__metadata__\":{\"kinograph\":\"{\\\"seed\\\":7}\"}}";
    text = provenance_of(st, 8 + 0x2d);
    CHECK(text && !strcmp(text, "{\"seed\":7}"));
    free(text);
    kg_error_clear();
}

/* ---- a full disk ---- */

static int files_here(void)
{
    FILE *p = popen("ls -A | wc -l", "r");
    int n = -1;
    CHECK(p && fscanf(p, "%d", &n) == 1);
    pclose(p);
    return n;
}

static void limit_files(rlim_t bytes)
{
    struct rlimit r;
    getrlimit(RLIMIT_FSIZE, &r);
    r.rlim_cur = bytes;
    setrlimit(RLIMIT_FSIZE, &r);
}

static void test_full_disk(void)
{
    enum { W = 400, H = 300 };
    uint8_t *in = malloc(3 * W * H);
    uint64_t s = 9;
    for (int i = 0; i < 3 * W * H; ++i)
        in[i] = (uint8_t)test_next(&s);
    signal(SIGXFSZ, SIG_IGN);
    write_file("full.png", "old", 3);
    int before = files_here();
    limit_files(50000);
    kg_output o;
    CHECK(kg_output_open(&o, files, "full.png") == KG_OK);
    CHECK(kg_png_write(&o, W, H, in, "") == KG_FAILED && failed_with(KG_FAILED, "full.png"));
    kg_output_abort(&o);
#ifdef KG_AV
    kg_mp4_settings set = {.width = W, .height = H, .fps = 16, .crf = 1, .preset = "ultrafast", .provenance = ""};
    kg_mp4 *m = kg_mp4_new(files, "full.png", &set);
    kg_status status = m ? KG_OK : KG_FAILED;
    for (int i = 0; i < 40 && status == KG_OK; ++i)
        status = kg_mp4_frame(m, in);
    if (status == KG_OK)
        status = kg_mp4_finish(m);
    CHECK(status == KG_FAILED && failed_with(KG_FAILED, "full.png"));
    kg_mp4_free(m);
#endif
    limit_files(RLIM_INFINITY);
    size_t n;
    char *old = (char *)read_all("full.png", &n);
    CHECK(old && !strcmp(old, "old") && files_here() == before);
    free(old);
    free(in);
}

/* ---- MP4 ---- */
#ifdef KG_AV

/* Four fields of flat colour that change with the frame. */
static void draw(uint8_t *rgb, int w, int h, int t)
{
    static const uint8_t colours[4][3] = {{220, 30, 40}, {30, 200, 60}, {40, 60, 230}, {240, 240, 240}};
    for (int y = 0; y < h; ++y)
        for (int x = 0; x < w; ++x)
            memcpy(rgb + 3 * (y * w + x), colours[((x >= w / 2) + 2 * (y >= h / 2) + t / 4) & 3], 3);
}

static void write_clip(const char *path, int w, int h, int frames, double fps, const char *preset)
{
    uint8_t *rgb = malloc((size_t)(3 * w * h));
    kg_mp4_settings set = {.width = w, .height = h, .fps = fps, .crf = 17, .preset = preset, .provenance = note};
    kg_mp4 *m = kg_mp4_new(files, path, &set);
    CHECK(m, "%s", kg_error_last()->message);
    for (int t = 0; t < frames && m; ++t) {
        draw(rgb, w, h, t);
        CHECK(kg_mp4_frame(m, rgb) == KG_OK);
    }
    CHECK(m && kg_mp4_finish(m) == KG_OK, "%s", kg_error_last()->message);
    kg_mp4_free(m);
    free(rgb);
}

/* BT.709 limited range to RGB, written from the standard's luma weights. */
static void to_rgb(const AVFrame *f, int x, int y, double rgb[3])
{
    double l = (f->data[0][y * f->linesize[0] + x] - 16) / 219.0;
    double u = (f->data[1][y / 2 * f->linesize[1] + x / 2] - 128) / 224.0, v = (f->data[2][y / 2 * f->linesize[2] + x / 2] - 128) / 224.0;
    double r = l + 2 * (1 - 0.2126) * v, b = l + 2 * (1 - 0.0722) * u;
    rgb[0] = 255 * r;
    rgb[1] = 255 * (l - 0.2126 * r - 0.0722 * b) / 0.7152;
    rgb[2] = 255 * b;
}

static int check_frame(const AVFrame *f, int w, int h, int t)
{
    uint8_t *want = malloc((size_t)(3 * w * h));
    int good = f->width == (w & ~1) && f->height == (h & ~1);
    draw(want, w, h, t);
    for (int q = 0; q < 4 && good; ++q) {
        int x = w / 4 + q % 2 * w / 2, y = h / 4 + q / 2 * h / 2;
        double rgb[3];
        to_rgb(f, x, y, rgb);
        for (int c = 0; c < 3; ++c)
            good &= fabs(rgb[c] - want[3 * (y * w + x) + c]) < 4;
    }
    free(want);
    return good;
}

static void check_clip(const char *path, int w, int h, int frames, double fps)
{
    AVFormatContext *in = NULL;
    CHECK(avformat_open_input(&in, path, NULL, NULL) == 0 && avformat_find_stream_info(in, NULL) >= 0);
    AVStream *s = in->streams[0];
    const AVCodecParameters *p = s->codecpar;
    CHECK(in->nb_streams == 1 && p->codec_id == AV_CODEC_ID_H264 && p->format == AV_PIX_FMT_YUV420P);
    CHECK(p->color_space == AVCOL_SPC_BT709 && p->color_range == AVCOL_RANGE_MPEG && p->color_primaries == AVCOL_PRI_BT709 &&
          p->color_trc == AVCOL_TRC_BT709);
    CHECK(fabs(av_q2d(s->avg_frame_rate) - fps) < 1e-3 && s->nb_frames == frames);
    CHECK(fabs((double)in->duration / AV_TIME_BASE - frames / fps) < 2e-3, "%g", (double)in->duration / AV_TIME_BASE);
    AVDictionaryEntry *tag = av_dict_get(in->metadata, "comment", NULL, 0);
    CHECK(tag && !strcmp(tag->value, note));
    CHECK(!av_dict_get(in->metadata, "creation_time", NULL, 0) && !av_dict_get(in->metadata, "encoder", NULL, 0));
    AVCodecContext *c = avcodec_alloc_context3(avcodec_find_decoder(p->codec_id));
    avcodec_parameters_to_context(c, p);
    CHECK(avcodec_open2(c, NULL, NULL) == 0);
    AVPacket *packet = av_packet_alloc();
    AVFrame *f = av_frame_alloc();
    int seen = 0, good = 1;
    for (int more = 1; more;) {
        more = av_read_frame(in, packet) >= 0;
        avcodec_send_packet(c, more ? packet : NULL);
        av_packet_unref(packet);
        while (!avcodec_receive_frame(c, f))
            good &= check_frame(f, w, h, seen++);
    }
    CHECK(seen == frames && good, "%d of %d frames", seen, frames);
    av_frame_free(&f);
    av_packet_free(&packet);
    avcodec_free_context(&c);
    avformat_close_input(&in);
}

static const uint8_t *find(const uint8_t *b, size_t n, const char *type) { return memmem(b, n, type, 4); }

static void test_mp4(void)
{
    size_t n = 0, m = 0;
    write_clip("clip.mp4", 128, 96, 17, 16, "medium");
    check_clip("clip.mp4", 128, 96, 17, 16);
    uint8_t *a = read_all("clip.mp4", &n);
    CHECK(a && find(a, n, "moov") && find(a, n, "moov") < find(a, n, "mdat"));
    write_clip("again.mp4", 128, 96, 17, 16, "medium");
    uint8_t *b = read_all("again.mp4", &m);
    CHECK(b && n == m && !memcmp(a, b, n));
    kg_file *f = kg_open(files, "clip.mp4");
    char *text = kg_provenance_read(f);
    CHECK(text && !strcmp(text, note), "%s", kg_error_last()->message);
    free(text);
    kg_file_unref(f);
    write_clip("odd.mp4", 33, 47, 5, 23.976, "veryfast");
    check_clip("odd.mp4", 33, 47, 5, 23.976);
    write_clip("one.mp4", 64, 48, 1, 24, "medium");
    check_clip("one.mp4", 64, 48, 1, 24);
    write_clip("tiny.mp4", 2, 2, 2, 1, "medium");
    free(a);
    free(b);
}

static void test_mp4_abandoned(void)
{
    uint8_t rgb[3 * 32 * 32];
    int before = files_here();
    kg_mp4_settings set = {.width = 32, .height = 32, .fps = 16, .crf = 20, .preset = "fast", .provenance = ""};
    kg_mp4 *m = kg_mp4_new(files, "left.mp4", &set);
    draw(rgb, 32, 32, 0);
    CHECK(m && kg_mp4_frame(m, rgb) == KG_OK);
    kg_mp4_free(m);
    CHECK(files_here() == before && access("left.mp4", F_OK));
    CHECK(!kg_mp4_new(files, "no/such/folder.mp4", &set) && failed_with(KG_USAGE, "may not write"));
    kg_error_clear();
}
#endif

int main(void)
{
    char folder[] = "/tmp/kino_media_XXXXXX";
    CHECK(mkdtemp(folder) && !chdir(folder));
    files = kg_files_new();
    CHECK(kg_files_root(files, ".", KG_ROOT_PLAIN) == KG_OK);
    static const char *const outs[] = {"round.png", "full.png", "clip.mp4", "again.mp4", "odd.mp4", "one.mp4", "tiny.mp4"};
    for (size_t i = 0; i < sizeof outs / sizeof *outs; ++i)
        kg_files_grant_out(files, outs[i]);
    test_png_round_trip();
    test_png_types();
    test_png_broken();
    test_provenance_hostile();
    test_full_disk();
#ifdef KG_AV
    test_mp4();
    test_mp4_abandoned();
#endif
    kg_files_free(files);
    if (chdir("/") == 0) {
        char command[128];
        snprintf(command, sizeof command, "rm -rf %s", folder);
        CHECK(system(command) == 0);
    }
    return TEST_END();
}
