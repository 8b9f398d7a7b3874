/* Reading videos by libav: see media_clip.h. Without libav at build time this file is empty. */
#ifdef KG_AV

#include "nodes/lib/media_clip.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/display.h>
#include <libavutil/imgutils.h>
#include <libavutil/opt.h>
#include <libavutil/pixdesc.h>
#include <libswscale/swscale.h>

#include "nodes/lib/media.h"
#include "nodes/lib/sniff.h"

enum { IO_BYTES = 64 << 10, FRAMES_MAX = 1 << 20 };
static const char containers[] = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts";
static const char codecs[] = "h264,hevc,vp8,vp9,libdav1d,av1,mpeg4,mpeg2video,mjpeg,prores,ffv1,huffyuv,utvideo,rawvideo,png";

struct kg_clip {
    const kg_file *file;
    uint64_t at;                   /* next byte that libav reads                       */
    AVIOContext *io;
    AVFormatContext *demux;
    AVCodecContext *codec;
    AVPacket *packet;
    AVFrame *frame;
    struct SwsContext *scale;
    int format, space, range, chroma;      /* what scale was made for                  */
    int stream, ended;
    int64_t frames;                /* given so far                                     */
};

static kg_status clip_failed(const kg_clip *c, const char *what, int e)
{
    char text[AV_ERROR_MAX_STRING_SIZE] = "";
    if (e == AVERROR(ENOMEM))
        return kg_fail(KG_FAILED, "out of host memory for '%s'", c->file->path);
    av_strerror(e, text, sizeof text);
    return kg_fail(KG_INPUT, "'%s': %s: %s", c->file->path, what, text);
}

/* ---- the file ---- */
static int read_bytes(void *arg, uint8_t *to, int n)
{
    kg_clip *c = arg;
    uint64_t left = c->at < c->file->size ? c->file->size - c->at : 0;
    size_t some = left < (uint64_t)n ? (size_t)left : (size_t)n;
    if (!some)
        return AVERROR_EOF;
    if (kg_file_read(c->file, c->at, to, some) != KG_OK)
        return AVERROR(EIO);
    c->at += some;
    return (int)some;
}

static int64_t seek(void *arg, int64_t offset, int whence)
{
    kg_clip *c = arg;
    int64_t size = (int64_t)c->file->size, from = 0;
    whence &= ~AVSEEK_FORCE;
    if (whence == AVSEEK_SIZE)
        return size;
    if (whence == SEEK_CUR)
        from = (int64_t)c->at;
    else if (whence == SEEK_END)
        from = size;
    if (offset < -from || offset > INT64_MAX - from)
        return AVERROR(EINVAL);
    c->at = (uint64_t)(from + offset);
    return from + offset;
}

/* What a playlist or a reference names stays closed. */
static int open_nothing(AVFormatContext *s, AVIOContext **pb, const char *url, int flags, AVDictionary **options)
{
    (void)s;
    (void)pb;
    (void)url;
    (void)flags;
    (void)options;
    return AVERROR(EPERM);
}

static kg_status open_demux(kg_clip *c)
{
    uint8_t *buffer = av_malloc(IO_BYTES);
    c->io = buffer ? avio_alloc_context(buffer, IO_BYTES, 0, c, read_bytes, NULL, seek) : NULL;
    if (!c->io)
        av_free(buffer);
    c->demux = c->io ? avformat_alloc_context() : NULL;
    if (!c->demux)
        return clip_failed(c, "opening", AVERROR(ENOMEM));
    c->demux->pb = c->io;
    c->demux->io_open = open_nothing;
    c->demux->flags |= AVFMT_FLAG_CUSTOM_IO;
    AVDictionary *options = NULL;
    av_dict_set(&options, "format_whitelist", containers, 0);
    av_dict_set(&options, "codec_whitelist", codecs, 0);
    int e = avformat_open_input(&c->demux, "", NULL, &options);        /* frees demux when it fails */
    av_dict_free(&options);
    if (e >= 0)
        e = avformat_find_stream_info(c->demux, NULL);
    if (e >= 0)
        return KG_OK;
    if (kg_error_last()->status == KG_OK && kg_sniff_want(c->file, KG_FORM_VIDEO, "video that can be read here") == KG_OK)
        kg_fail(KG_INPUT, "'%s' is no video that can be read here", c->file->path);
    kg_hint("containers: MP4, MOV, Matroska, WebM, AVI, MPEG-TS");
    return KG_INPUT;
}

static void close_demux(kg_clip *c)
{
    avformat_close_input(&c->demux);
    if (c->io)
        av_freep(&c->io->buffer);
    avio_context_free(&c->io);
}

/* ---- the stream ---- */
static kg_status open_codec(kg_clip *c)
{
    const AVCodec *decoder = NULL;
    c->stream = av_find_best_stream(c->demux, AVMEDIA_TYPE_VIDEO, -1, -1, &decoder, 0);
    if (c->stream == AVERROR_STREAM_NOT_FOUND)
        return kg_fail(KG_INPUT, "'%s' holds no video", c->file->path);
    if (c->stream < 0 || !decoder)
        return kg_fail(KG_INPUT, "'%s': there is no decoder for its video here", c->file->path);
    const AVCodecParameters *p = c->demux->streams[c->stream]->codecpar;
    c->codec = avcodec_alloc_context3(decoder);
    if (!c->codec || avcodec_parameters_to_context(c->codec, p) < 0)
        return clip_failed(c, "decoder", AVERROR(ENOMEM));
    c->codec->thread_count = 1;        /* its memory, and what a broken file becomes, do not depend on the machine */
    c->codec->codec_whitelist = av_strdup(codecs);
    c->codec->pkt_timebase = c->demux->streams[c->stream]->time_base;
    int e = avcodec_open2(c->codec, decoder, NULL);
    if (e >= 0)
        return KG_OK;
    kg_fail(KG_INPUT, "'%s': its video is %s, which is not read here", c->file->path, avcodec_get_name(p->codec_id));
    kg_hint("convert it, for instance to H.264");
    return KG_INPUT;
}

kg_clip *kg_clip_open(const kg_file *f)
{
    kg_clip *c = calloc(1, sizeof *c);
    if (!c) {
        kg_fail(KG_FAILED, "out of host memory");
        return NULL;
    }
    c->file = kg_file_ref(f);
    c->format = AV_PIX_FMT_NONE;
    av_log_set_level(AV_LOG_QUIET);
    c->packet = av_packet_alloc();
    c->frame = av_frame_alloc();
    kg_status s = c->packet && c->frame ? open_demux(c) : kg_fail(KG_FAILED, "out of host memory");
    if (s == KG_OK && open_codec(c) == KG_OK)
        return c;
    kg_clip_free(c);
    return NULL;
}

void kg_clip_free(kg_clip *c)
{
    if (!c)
        return;
    sws_freeContext(c->scale);
    av_frame_free(&c->frame);
    av_packet_free(&c->packet);
    avcodec_free_context(&c->codec);
    close_demux(c);
    kg_file_unref((kg_file *)(uintptr_t)c->file);
    free(c);
}

/* ---- what is known before a frame is decoded ---- */
static const void *display_matrix(const AVStream *s)
{
#if LIBAVFORMAT_VERSION_INT >= AV_VERSION_INT(60, 15, 100)
    const AVPacketSideData *d =
        av_packet_side_data_get(s->codecpar->coded_side_data, s->codecpar->nb_coded_side_data, AV_PKT_DATA_DISPLAYMATRIX);
    return d && d->size >= 9 * sizeof(int32_t) ? d->data : NULL;
#else
    size_t n = 0;
    const void *d = av_stream_get_side_data(s, AV_PKT_DATA_DISPLAYMATRIX, &n);
    return n >= 9 * sizeof(int32_t) ? d : NULL;
#endif
}

static void warn_add(kg_clip_facts *facts, const char *text)
{
    size_t n = strlen(facts->warning);
    snprintf(facts->warning + n, sizeof facts->warning - n, "%s%s", n ? "; " : "", text);
}

static void warnings(const kg_clip *c, kg_clip_facts *facts)
{
    const AVStream *s = c->demux->streams[c->stream];
    const int32_t *turned = display_matrix(s);
    double angle = turned ? av_display_rotation_get(turned) : 0;
    if (angle > 1 || angle < -1)
        warn_add(facts, "it is to be shown turned; its frames come as they are stored");
    if (s->codecpar->color_trc == AVCOL_TRC_SMPTE2084 || s->codecpar->color_trc == AVCOL_TRC_ARIB_STD_B67)
        warn_add(facts, "it is HDR; its colours come as they are stored, and look dull");
    for (unsigned i = 0; i < c->demux->nb_streams; ++i)
        if (c->demux->streams[i]->codecpar->codec_type == AVMEDIA_TYPE_AUDIO) {
            warn_add(facts, "its audio is left out");
            return;
        }
}

/* A frame is shown for each packet that the container does not mark as cut off (MP4's edit lists). A container that says how many
 * packets there are has them all, or the file was cut. */
static int64_t count_frames(kg_clip *c)
{
    int64_t n = 0, whole = 0, said = c->demux->streams[c->stream]->nb_frames;
    while (n <= FRAMES_MAX && av_read_frame(c->demux, c->packet) >= 0) {
        int ours = c->packet->stream_index == c->stream;
        n += ours && !(c->packet->flags & AV_PKT_FLAG_DISCARD);
        whole += ours && !(c->packet->flags & AV_PKT_FLAG_CORRUPT);
        av_packet_unref(c->packet);
    }
    if (n <= FRAMES_MAX && whole < said)
        kg_fail(KG_INPUT, "'%s' is truncated: %" PRId64 " of its %" PRId64 " frames are there", c->file->path, whole, said);
    return n;
}

/* Growth of VmHWM from before opening to after the last frame (reset in between by /proc/self/clear_refs), libavcodec 59, in KiB, at
 * 128x128, 480x272, 1280x720, 1920x1080: H.264 veryslow (16 references) 2704, 7292, 35792, 76996, which is 4 MiB and 24 frames; HEVC
 * medium of 10 bit 2776, 5792, 24904, 52288; AV1 1736, 3556, 13832, 28784; VP9 880, 1800, 7164, 14736; FFV1 of 4:4:4, which like
 * every codec without references keeps two frames, 700, 1600, 7192, 14304. HEVC and VP9 may keep more references than these did. */
static size_t reader_bytes(const AVCodecParameters *p, int64_t frames)
{
    const AVCodecDescriptor *d = avcodec_descriptor_get(p->codec_id);
    int many = p->codec_id == AV_CODEC_ID_H264 || p->codec_id == AV_CODEC_ID_HEVC, alone = d && d->props & AV_CODEC_PROP_INTRA_ONLY;
    int n = av_image_get_buffer_size(p->format < 0 ? AV_PIX_FMT_YUV444P16 : p->format, p->width, p->height, 64);
    return ((size_t)4 << 20) + (size_t)(many ? 28 : alone ? 4 : 14) * (size_t)(n > 0 ? n : 0) + 96 * (size_t)frames;
}

static kg_status facts_of(kg_clip *c, kg_clip_facts *out)
{
    const AVStream *s = c->demux->streams[c->stream];
    const AVCodecParameters *p = s->codecpar;
    AVRational rate = av_guess_frame_rate(c->demux, c->demux->streams[c->stream], NULL);
    *out = (kg_clip_facts){.width = p->width, .height = p->height, .frames = count_frames(c)};
    warnings(c, out);
    if (kg_error_last()->status != KG_OK)
        return kg_error_last()->status;
    if (out->width < 2 || out->height < 2 || out->width > KG_SIDE_MAX || out->height > KG_SIDE_MAX)
        return kg_fail(KG_INPUT, "'%s' has frames of %" PRId64 "x%" PRId64 "; a side has 2 to %d pixels", c->file->path, out->width,
                       out->height, KG_SIDE_MAX);
    if (out->frames < 1 || out->frames > FRAMES_MAX)
        return out->frames < 1 ? kg_fail(KG_INPUT, "'%s' has no frames", c->file->path)
                               : kg_fail(KG_INPUT, "'%s' has more than %d frames", c->file->path, FRAMES_MAX);
    out->rate = rate.num > 0 && rate.den > 0 ? av_q2d(rate) : 0;
    out->bytes = reader_bytes(p, out->frames);
    return KG_OK;
}

kg_status kg_clip_look(const kg_file *f, kg_clip_facts *facts)
{
    kg_clip *c = kg_clip_open(f);
    kg_status s = c ? facts_of(c, facts) : kg_error_last()->status;
    kg_clip_free(c);
    return s;
}

static kg_clip_stream stream_of(AVFormatContext *demux, AVStream *s)
{
    const AVCodecParameters *p = s->codecpar;
    const char *type = av_get_media_type_string(p->codec_type);
    AVRational rate = av_guess_frame_rate(demux, s, NULL);
    int moves = p->codec_type == AVMEDIA_TYPE_VIDEO;
    return (kg_clip_stream){.type = type ? type : "data", .codec = avcodec_get_name(p->codec_id), .width = moves ? p->width : 0,
                            .height = moves ? p->height : 0, .frames = moves ? s->nb_frames : 0,
                            .rate = !moves ? p->sample_rate : rate.num > 0 && rate.den > 0 ? av_q2d(rate) : 0};
}

kg_status kg_clip_streams(const kg_file *f, kg_clip_stream *streams, int most, int *n)
{
    kg_clip c = {.file = f, .format = AV_PIX_FMT_NONE};
    av_log_set_level(AV_LOG_QUIET);
    kg_status s = open_demux(&c);
    *n = 0;
    for (unsigned i = 0; s == KG_OK && i < c.demux->nb_streams && *n < most; ++i)
        streams[(*n)++] = stream_of(c.demux, c.demux->streams[i]);
    close_demux(&c);
    return s;
}

/* ---- frames ---- */

/* The next frame into c->frame. 1: there is one, 0: no more, below 0: libav's error. */
static int decode(kg_clip *c)
{
    for (;;) {
        int e = avcodec_receive_frame(c->codec, c->frame);
        if (e >= 0)
            return 1;
        if (e != AVERROR(EAGAIN))
            return e == AVERROR_EOF ? 0 : e;
        do {
            av_packet_unref(c->packet);
            e = c->ended ? AVERROR_EOF : av_read_frame(c->demux, c->packet);
        } while (e >= 0 && c->packet->stream_index != c->stream);
        if (e < 0 && e != AVERROR_EOF)
            return e;
        c->ended = e < 0;
        e = avcodec_send_packet(c->codec, c->ended ? NULL : c->packet);
        if (e < 0 && e != AVERROR_EOF)
            return e;
    }
}

/* Where nothing is said, a picture larger than PAL's is BT.709, as players take it. */
static int space_of(const AVFrame *f)
{
    if (f->colorspace == AVCOL_SPC_UNSPECIFIED || f->colorspace == AVCOL_SPC_RGB)
        return f->width >= 1280 || f->height > 576 ? SWS_CS_ITU709 : SWS_CS_ITU601;
    return (int)f->colorspace;
}

static int is_full(const AVFrame *f)
{
    static const enum AVPixelFormat full[] = {AV_PIX_FMT_YUVJ420P, AV_PIX_FMT_YUVJ422P, AV_PIX_FMT_YUVJ444P, AV_PIX_FMT_YUVJ440P,
                                              AV_PIX_FMT_YUVJ411P};
    for (size_t i = 0; i < sizeof full / sizeof *full; ++i)
        if (f->format == full[i])
            return 1;
    return f->color_range == AVCOL_RANGE_JPEG;
}

/* Chroma samples lie on the left of their pair of pixels unless the file says that they lie between them. */
static int open_scale(kg_clip *c)
{
    const AVFrame *f = c->frame;
    const AVPixFmtDescriptor *d = av_pix_fmt_desc_get(f->format);
    int middle = f->chroma_location == AVCHROMA_LOC_CENTER, top = f->chroma_location == AVCHROMA_LOC_TOPLEFT;
    sws_freeContext(c->scale);
    c->scale = sws_alloc_context();
    if (!c->scale || !d)
        return AVERROR(ENOMEM);
    av_opt_set_int(c->scale, "srcw", f->width, 0);
    av_opt_set_int(c->scale, "srch", f->height, 0);
    av_opt_set_int(c->scale, "dstw", f->width, 0);
    av_opt_set_int(c->scale, "dsth", f->height, 0);
    av_opt_set_int(c->scale, "src_format", f->format, 0);
    av_opt_set_int(c->scale, "dst_format", AV_PIX_FMT_RGB24, 0);
    if (d->log2_chroma_w)
        av_opt_set_int(c->scale, "src_h_chr_pos", middle ? 128 : 0, 0);
    if (d->log2_chroma_h)
        av_opt_set_int(c->scale, "src_v_chr_pos", top ? 0 : 128, 0);
    av_opt_set_int(c->scale, "sws_flags",
                   SWS_BICUBIC | SWS_ACCURATE_RND | SWS_FULL_CHR_H_INT | SWS_FULL_CHR_H_INP | SWS_BITEXACT, 0);
    const int *table = sws_getCoefficients(c->space);
    sws_setColorspaceDetails(c->scale, table, c->range, table, 1, 0, 1 << 16, 1 << 16);
    return sws_init_context(c->scale, NULL, NULL);
}

static kg_status to_rgb(kg_clip *c, uint8_t *rgb)
{
    const AVFrame *f = c->frame;
    int e = 0, space = space_of(f), range = is_full(f);
    if (f->format != c->format || space != c->space || range != c->range || (int)f->chroma_location != c->chroma) {
        c->format = f->format;
        c->space = space;
        c->range = range;
        c->chroma = (int)f->chroma_location;
        e = open_scale(c);
    }
    if (e >= 0)
        e = sws_scale(c->scale, (const uint8_t *const *)f->data, f->linesize, 0, f->height, (uint8_t *[4]){rgb}, (int[4]){3 * f->width});
    return e < 0 ? clip_failed(c, "colours", e) : KG_OK;
}

kg_status kg_clip_next(kg_clip *c, int64_t width, int64_t height, uint8_t *rgb)
{
    int e = decode(c);
    if (e < 0)
        return kg_error_last()->status != KG_OK ? kg_error_last()->status : clip_failed(c, "decoding", e);
    if (!e)
        return kg_fail(KG_INPUT, "'%s' ends after %" PRId64 " frames, before its container says", c->file->path, c->frames);
    if (c->frame->width != width || c->frame->height != height)
        return kg_fail(KG_INPUT, "'%s' changes its size to %dx%d at frame %" PRId64, c->file->path, c->frame->width, c->frame->height,
                       c->frames);
    kg_status s = rgb ? to_rgb(c, rgb) : KG_OK;
    av_frame_unref(c->frame);
    c->frames += s == KG_OK;
    return s;
}

#else
typedef int kg_no_libav;
#endif
