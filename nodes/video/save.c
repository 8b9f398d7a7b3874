/* video.save: frames as an H.264 MP4 that plays in browsers, encoded as they come.
 *
 * Nothing of the clip is kept but what the encoder looks ahead. The file appears under its name when it is complete, at the end;
 * a run that fails or is cancelled leaves what was there before. It says how it was made in its comment tag. */
#ifdef KG_AV

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "core/exec.h"
#include "nodes/lib/media.h"
#include "nodes/lib/media_mp4.h"

typedef struct params { const char *path; double fps; int64_t crf; int preset; kg_files *files; } params;
typedef struct state { kg_mp4 *mp4; } state;
typedef struct job { state *s; const params *p; const char *provenance; int64_t width, height; } job;

static const char *const presets[] = {"ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow"};

/* The container follows from the name. */
static kg_status container(const kg_infer *x, const params *p)
{
    if (kg_name_end(p->path, "a video", KG_MP4_ENDS) >= 0)
        return KG_OK;
    size_t n = strlen(p->path);
    if (n > 4 && !strcasecmp(p->path + n - 4, ".png"))
        kg_hint(x->in[0].chunks > 1 ? "a picture is one frame (with the templates of kino --frames 1), written by image.save"
                                    : "image.save writes a picture");
    return KG_USAGE;
}

static kg_status infer(kg_infer *x)
{
    params *p = x->params;
    const kg_desc *in = &x->in[0];
    p->files = x->files;
    kg_status s = kg_frames_check("video", in);
    if (s != KG_OK)
        return s;
    if (p->fps == 0)
        p->fps = in->rate > 0 ? in->rate : 16;
    if (p->fps < 0.1)
        return kg_fail(KG_USAGE, "fps = %g is out of range: 0.1 to 240, or 0 for the video's own", p->fps);
    if (in->shape[0] % 2 || in->shape[1] % 2)
        kg_infer_warn(x, "H.264 in 4:2:0 has even sides: the last %s of %lldx%lld frames is left out",
                      in->shape[0] % 2 && in->shape[1] % 2 ? "row and column" : in->shape[0] % 2 ? "row" : "column",
                      (long long)in->shape[1], (long long)in->shape[0]);
    s = kg_files_may_write(x->files, p->path);
    return s == KG_OK ? container(x, p) : s;
}

static void destroy(void *arg)
{
    state *s = arg;
    kg_mp4_free(s->mp4);
}

static kg_status open_work(void *arg, const kg_tensor *ins, const kg_tensor *outs)
{
    (void)ins;
    (void)outs;
    const job *j = arg;
    kg_mp4_settings set = {.width = j->width, .height = j->height, .fps = j->p->fps, .crf = (int)j->p->crf,
                           .preset = presets[j->p->preset], .provenance = j->provenance};
    j->s->mp4 = kg_mp4_new(j->p->files, j->p->path, &set);
    return j->s->mp4 ? KG_OK : kg_error_last()->status;
}

static kg_status frame_work(void *arg, const kg_tensor *ins, const kg_tensor *outs)
{
    (void)outs;
    state *s = *(state **)arg;
    return kg_mp4_frame(s->mp4, ins[0].at);
}

static kg_status end_work(void *arg, const kg_tensor *ins, const kg_tensor *outs)
{
    (void)ins;
    (void)outs;
    state *s = *(state **)arg;
    return kg_mp4_finish(s->mp4);
}

static kg_status begin(kg_exec *x)
{
    const kg_desc *in = kg_desc_in(x, 0);
    job j = {.s = kg_state(x, sizeof(state), destroy), .p = kg_params(x), .provenance = kg_provenance(x),
             .width = in->shape[1], .height = in->shape[0]};
    return kg_work(x, open_work, &j, sizeof j, 0, NULL, 0, NULL, kg_mp4_bytes(j.width, j.height, in->chunks, j.p->preset));
}

static kg_status chunk(kg_exec *x, kg_tensor frame, int64_t index)
{
    (void)index;
    state *s = kg_state(x, sizeof(state), destroy);
    return kg_work(x, frame_work, &s, sizeof s, 1, &frame, 0, NULL, 0);
}

static kg_status end(kg_exec *x)
{
    state *s = kg_state(x, sizeof(state), destroy);
    return kg_work(x, end_work, &s, sizeof s, 0, NULL, 0, NULL, 0);
}

KG_NODE(video_save) = { /* table */
    .name = "video.save",
    .doc = "Writes frames to an H.264 MP4 that plays in browsers and says how it was made.",
    .version = 1,
    .flags = KG_SINK | KG_UNCACHED,
    .params_size = sizeof(params),
    .inputs = KG_PORTS({"video", "frames|image", KG_STREAM, "frames of 8-bit RGB; an odd last row or column is left out"}),
    .params = KG_PARAMS(KG_OUT(params, path, KG_REQUIRED, "MP4 file to write; its name ends in .mp4"),
                        KG_REAL(params, fps, 0, 0, 240, "frames a second; 0: what the video was made for, else 16"),
                        KG_INT(params, crf, 17, 1, 51, 1, "x264's quality: 17 looks like the frames, 23 is smaller"),
                        KG_CHOICE(params, preset, KG_MP4_PRESETS, KG_MP4_MEDIUM, "x264's speed against size")),
    .infer = infer,
    .begin = begin,
    .chunk = chunk,
    .end = end,
};

#else
typedef int kg_no_libav;
#endif
