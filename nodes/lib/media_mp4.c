/* H.264 in MP4 by libav: see media_mp4.h. Without libav at build time this file is empty. */
#ifdef KG_AV

#include "nodes/lib/media_mp4.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/opt.h>
#include <libswscale/swscale.h>

enum { THREADS = 4 };      /* x264's choices depend on their number, so it is not the machine's */

struct kg_mp4 {
    kg_mp4_settings set;
    kg_output out;
    AVFormatContext *mux;
    AVCodecContext *codec;
    AVStream *stream;
    AVFrame *frame;
    AVPacket *packet;
    struct SwsContext *scale;
    uint8_t *rgb;                  /* a frame with room behind it: libswscale reads up to 16 bytes beyond its last row */
    int64_t frames;
};

/* libav's errors are errno values with the sign turned, or its own. */
static kg_status av_failed(const kg_mp4 *m, const char *what, int e)
{
    char text[AV_ERROR_MAX_STRING_SIZE] = "";
    if (e == AVERROR(ENOSPC) || e == AVERROR(EFBIG) || e == AVERROR(EDQUOT) || e == AVERROR(EIO))
        return kg_output_failed(&m->out, AVUNERROR(e));
    av_strerror(e, text, sizeof text);
    return kg_fail(KG_FAILED, "cannot write '%s': %s: %s", m->out.path, what, text);
}

static kg_status set_codec(kg_mp4 *m, const AVCodec *encoder)
{
    AVCodecContext *c = m->codec;
    AVRational rate = av_d2q(m->set.fps, 100000);
    c->width = (int)(m->set.width & ~INT64_C(1));
    c->height = (int)(m->set.height & ~INT64_C(1));
    c->pix_fmt = AV_PIX_FMT_YUV420P;
    c->framerate = rate;
    c->time_base = av_inv_q(rate);
    c->color_range = AVCOL_RANGE_MPEG;
    c->colorspace = AVCOL_SPC_BT709;
    c->color_primaries = AVCOL_PRI_BT709;
    c->color_trc = AVCOL_TRC_BT709;
    c->chroma_sample_location = AVCHROMA_LOC_LEFT;
    c->sample_aspect_ratio = (AVRational){1, 1};
    c->thread_count = THREADS;
    c->flags |= AV_CODEC_FLAG_GLOBAL_HEADER | AV_CODEC_FLAG_BITEXACT;
    char crf[16];
    snprintf(crf, sizeof crf, "%d", m->set.crf);
    av_opt_set(c->priv_data, "preset", m->set.preset, 0);
    av_opt_set(c->priv_data, "crf", crf, 0);
    int e = avcodec_open2(c, encoder, NULL);
    return e < 0 ? av_failed(m, "the encoder does not open", e) : KG_OK;
}

static kg_status open_codec(kg_mp4 *m)
{
    const AVCodec *encoder = avcodec_find_encoder_by_name("libx264");
    if (!encoder) {
        kg_fail(KG_FAILED, "this machine's libavcodec has no libx264, so no H.264 can be written");
        kg_hint("install a build of FFmpeg's libraries with x264 (Debian's libavcodec has it)");
        return KG_FAILED;
    }
    m->codec = avcodec_alloc_context3(encoder);
    return m->codec ? set_codec(m, encoder) : av_failed(m, "encoder", AVERROR(ENOMEM));
}

/* The container opens the temporary file by name, since moving the index to the front reads the file again. */
static kg_status open_mux(kg_mp4 *m)
{
    char url[sizeof m->out.temp + 8];
    snprintf(url, sizeof url, "file:%s", m->out.temp);
    int e = avformat_alloc_output_context2(&m->mux, NULL, "mp4", url);
    if (e < 0)
        return av_failed(m, "container", e);
    m->mux->flags |= AVFMT_FLAG_BITEXACT;
    m->stream = avformat_new_stream(m->mux, NULL);
    if (!m->stream)
        return av_failed(m, "container", AVERROR(ENOMEM));
    m->stream->time_base = m->codec->time_base;
    m->stream->avg_frame_rate = m->codec->framerate;
    e = avcodec_parameters_from_context(m->stream->codecpar, m->codec);
    if (e >= 0 && m->set.provenance && *m->set.provenance)
        e = av_dict_set(&m->mux->metadata, "comment", m->set.provenance, 0);
    if (e >= 0)
        e = avio_open(&m->mux->pb, url, AVIO_FLAG_WRITE);
    AVDictionary *options = NULL;
    if (e >= 0)
        e = av_dict_set(&options, "movflags", "+faststart+write_colr", 0);
    if (e >= 0)
        e = avformat_write_header(m->mux, &options);
    av_dict_free(&options);
    return e < 0 ? av_failed(m, "container", e) : KG_OK;
}

/* RGB to Y'CbCr of BT.709 in limited range; chroma samples lie on the left of their pair of pixels, as H.264 has it. */
static kg_status open_scale(kg_mp4 *m)
{
    const int *bt709 = sws_getCoefficients(SWS_CS_ITU709);
    m->scale = sws_alloc_context();
    if (!m->scale)
        return av_failed(m, "colours", AVERROR(ENOMEM));
    av_opt_set_int(m->scale, "srcw", m->codec->width, 0);
    av_opt_set_int(m->scale, "srch", m->codec->height, 0);
    av_opt_set_int(m->scale, "dstw", m->codec->width, 0);
    av_opt_set_int(m->scale, "dsth", m->codec->height, 0);
    av_opt_set_int(m->scale, "src_format", AV_PIX_FMT_RGB24, 0);
    av_opt_set_int(m->scale, "dst_format", AV_PIX_FMT_YUV420P, 0);
    av_opt_set_int(m->scale, "dst_h_chr_pos", 0, 0);
    av_opt_set_int(m->scale, "dst_v_chr_pos", 128, 0);
    av_opt_set_int(m->scale, "sws_flags", SWS_BICUBIC | SWS_ACCURATE_RND | SWS_FULL_CHR_H_INP | SWS_BITEXACT, 0);
    sws_setColorspaceDetails(m->scale, bt709, 1, bt709, 0, 0, 1 << 16, 1 << 16);
    int e = sws_init_context(m->scale, NULL, NULL);
    return e < 0 ? av_failed(m, "colours", e) : KG_OK;
}

static kg_status open_frame(kg_mp4 *m)
{
    m->frame = av_frame_alloc();
    m->packet = av_packet_alloc();
    m->rgb = av_mallocz((size_t)(3 * m->set.width * m->set.height) + AV_INPUT_BUFFER_PADDING_SIZE);
    if (!m->frame || !m->packet || !m->rgb)
        return av_failed(m, "frame", AVERROR(ENOMEM));
    m->frame->format = m->codec->pix_fmt;
    m->frame->width = m->codec->width;
    m->frame->height = m->codec->height;
    m->frame->color_range = m->codec->color_range;
    m->frame->colorspace = m->codec->colorspace;
    int e = av_frame_get_buffer(m->frame, 0);
    return e < 0 ? av_failed(m, "frame", e) : KG_OK;
}

kg_mp4 *kg_mp4_new(kg_files *files, const char *path, const kg_mp4_settings *s)
{
    kg_mp4 *m = calloc(1, sizeof *m);
    if (!m) {
        kg_fail(KG_FAILED, "out of host memory");
        return NULL;
    }
    m->set = *s;
    m->out.fd = -1;
    av_log_set_level(AV_LOG_QUIET);
    if (kg_output_open(&m->out, files, path) == KG_OK && open_codec(m) == KG_OK && open_mux(m) == KG_OK &&
        open_scale(m) == KG_OK && open_frame(m) == KG_OK)
        return m;
    kg_mp4_free(m);
    return NULL;
}

/* Gives the encoder a frame (NULL: no more) and writes what it has ready. */
static kg_status encode(kg_mp4 *m, const AVFrame *frame)
{
    int e = avcodec_send_frame(m->codec, frame);
    while (e >= 0) {
        e = avcodec_receive_packet(m->codec, m->packet);
        if (e == AVERROR(EAGAIN) || e == AVERROR_EOF)
            return KG_OK;
        if (e < 0)
            break;
        m->packet->stream_index = m->stream->index;
        m->packet->duration = 1;
        av_packet_rescale_ts(m->packet, m->codec->time_base, m->stream->time_base);
        e = av_interleaved_write_frame(m->mux, m->packet);
        if (e >= 0)
            e = m->mux->pb->error;
    }
    return av_failed(m, "encoding", e);
}

kg_status kg_mp4_frame(kg_mp4 *m, const uint8_t *rgb)
{
    const uint8_t *from[4] = {m->rgb};
    int stride[4] = {(int)(3 * m->set.width)};
    int e = av_frame_make_writable(m->frame);
    if (e < 0)
        return av_failed(m, "frame", e);
    memcpy(m->rgb, rgb, (size_t)(3 * m->set.width * m->set.height));
    e = sws_scale(m->scale, from, stride, 0, m->codec->height, m->frame->data, m->frame->linesize);
    if (e < 0)
        return av_failed(m, "colours", e);
    m->frame->pts = m->frames++;
    return encode(m, m->frame);
}

kg_status kg_mp4_finish(kg_mp4 *m)
{
    kg_status s = encode(m, NULL);
    if (s != KG_OK)
        return s;
    int e = av_write_trailer(m->mux);
    avio_flush(m->mux->pb);
    if (e >= 0)
        e = m->mux->pb->error;
    int closed = avio_closep(&m->mux->pb);
    if (e >= 0)
        e = closed;
    return e < 0 ? av_failed(m, "index", e) : kg_output_commit(&m->out);
}

void kg_mp4_free(kg_mp4 *m)
{
    if (!m)
        return;
    if (m->mux && m->mux->pb)
        avio_closep(&m->mux->pb);
    avformat_free_context(m->mux);
    avcodec_free_context(&m->codec);
    av_frame_free(&m->frame);
    av_packet_free(&m->packet);
    sws_freeContext(m->scale);
    av_free(m->rgb);
    kg_output_abort(&m->out);
    free(m);
}

/* Growth of VmHWM from before opening to after the last of 70 to 80 noisy frames, libavcodec 59, x264 164, 4 threads, in KiB:
 * 128x128 medium 18772, veryslow 27884; 480x272 medium 47536; 1280x720 ultrafast 49084, veryfast 125492, medium 232192; 832x480 by
 * preset 21876, 48444, 57432, 72148, 87260, 104388, 121640, 144816, 213824. All lie below 20 MiB + pixels * the numbers here. A clip
 * that is shorter than what the encoder looks ahead takes less, by frames alone until a preset's own most: medium after 1, 5, 9, 17
 * and 33 frames of 480x272 9596, 16988, 22452, 27204, 36824; of 832x480 14284, 32236, 45804, 57284, 80752; of 1280x720 36968, 73900,
 * 102000, 127080, 177548; slow, slower and veryslow up to 12 % more. */
size_t kg_mp4_bytes(int64_t width, int64_t height, int64_t frames, int preset)
{
    static const double by_preset[] = {40, 90, 128, 155, 200, 255, 290, 355, 540};
    static const struct { double frames, mib, pixel; } at[] = {{1, 7.5, 33}, {5, 9.5, 72}, {9, 11.5, 101}, {17, 13, 128}, {33, 16, 180},
                                                                {65, 22, 284}};
    double pixels = (double)(width * height), most = 20 * 1048576.0 + pixels * by_preset[preset], n = (double)frames;
    int i = 1;
    while (i < 5 && n > at[i].frames)
        ++i;
    double part = (n - at[i - 1].frames) / (at[i].frames - at[i - 1].frames);
    double mib = at[i - 1].mib + part * (at[i].mib - at[i - 1].mib), pixel = at[i - 1].pixel + part * (at[i].pixel - at[i - 1].pixel);
    double bytes = (mib * 1048576 + pixels * pixel) * (preset > KG_MP4_MEDIUM ? 1.12 : 1);
    return (size_t)(bytes < most ? bytes : most);
}

#else
typedef int kg_no_libav;
#endif
