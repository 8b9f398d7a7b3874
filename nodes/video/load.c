/* video.load: a video file as a stream of frames, decoded as they are taken.
 *
 * Size, rate and number of frames are read from the container when the node is added; the frames are decoded in the run, one by one,
 * and nothing of the clip is kept but what the decoder looks back to. The key holds the hash of the file, not its name. */
#ifdef KG_AV

#include <inttypes.h>

#include "core/exec.h"
#include "nodes/lib/media.h"
#include "nodes/lib/media_clip.h"

typedef struct params { const char *path; int64_t first, frames; kg_seen seen; size_t bytes; } params;
typedef struct state { kg_clip *clip; } state;
typedef struct job { state *s; const params *p; } job;

static kg_status choose(kg_infer *x, params *p, const kg_clip_facts *c)
{
    if (p->first >= c->frames)
        return kg_fail(KG_USAGE, "first = %" PRId64 ", but '%s' has the frames 0 to %" PRId64, p->first, p->path, c->frames - 1);
    if (p->frames > c->frames - p->first) {
        kg_fail(KG_USAGE, "frames = %" PRId64 ", but '%s' has %" PRId64 "%s", p->frames, p->path, c->frames - p->first,
                p->first ? " from the first one on" : "");
        kg_hint("frames = 0 takes all");
        return KG_USAGE;
    }
    if (!p->frames)
        p->frames = c->frames - p->first;
    if (c->warning[0])
        kg_infer_warn(x, "'%s': %s", p->path, c->warning);
    x->out[0] = kg_desc_tensor("frames", KG_U8, KG_SHAPE(c->height, c->width, 3));
    x->out[0].stream = 1;
    x->out[0].chunks = p->frames;
    x->out[0].rate = c->rate;
    p->bytes = c->bytes;
    return KG_OK;
}

static kg_status infer(kg_infer *x)
{
    params *p = x->params;
    kg_clip_facts c;
    kg_file *f = kg_open(x->files, p->path);
    if (!f)
        return kg_error_last()->status;
    kg_status s = kg_clip_look(f, &c);
    if (s == KG_OK)
        s = choose(x, p, &c);
    if (s == KG_OK)
        kg_infer_file(x, f);
    kg_seen_note(&p->seen, x->files, f);
    kg_file_unref(f);
    return s;
}

static void destroy(void *arg)
{
    state *s = arg;
    kg_clip_free(s->clip);
}

/* outs[0]: u8 [height, width, 3] */
static kg_status next(void *arg, const kg_tensor *ins, const kg_tensor *outs)
{
    (void)ins;
    const job *j = arg;
    int64_t height = outs[0].shape[0], width = outs[0].shape[1];
    int opening = !j->s->clip;
    if (opening) {
        kg_file *f = kg_seen_open(&j->p->seen, j->p->path);
        j->s->clip = f ? kg_clip_open(f) : NULL;
        kg_file_unref(f);
    }
    kg_status s = j->s->clip ? KG_OK : kg_error_last()->status;
    for (int64_t i = 0; opening && i < j->p->first && s == KG_OK; ++i)
        s = kg_clip_next(j->s->clip, width, height, NULL);
    return s == KG_OK ? kg_clip_next(j->s->clip, width, height, outs[0].at) : s;
}

static kg_status execute(kg_exec *x)
{
    const params *p = kg_params(x);
    const int64_t *size = kg_desc_out(x, 0)->shape;
    job j = {.s = kg_state(x, sizeof(state), destroy), .p = p};
    for (int64_t i = 0; i < p->frames; ++i) {
        if (kg_enter(x, "frame", i, p->frames))
            return KG_FAILED;
        kg_tensor frame = kg_temp(x, KG_U8, KG_SHAPE(size[0], size[1], 3));
        if (kg_work(x, next, &j, sizeof j, 0, NULL, 1, &frame, i ? 0 : p->bytes) || kg_emit(x, 0, frame) || kg_leave(x))
            return KG_FAILED;
    }
    return KG_OK;
}

KG_NODE(video_load) = { /* table */
    .name = "video.load",
    .doc = "Reads a video file, frame by frame.",
    .version = 1,
    .flags = KG_UNCACHED,
    .params_size = sizeof(params),
    .outputs = KG_PORTS({"video", "frames", KG_STREAM, "frames of 8-bit RGB, as they are stored"}),
    .params = KG_PARAMS(KG_PATH(params, path, KG_REQUIRED, "MP4, MOV, Matroska, WebM, AVI or MPEG-TS, of the usual codecs"),
                        KG_INT(params, first, 0, 0, 1 << 20, 1, "number of the first frame that is taken"),
                        KG_INT(params, frames, 0, 0, 1 << 20, 1, "how many are taken; 0: all")),
    .infer = infer,
    .execute = execute,
};

#else
typedef int kg_no_libav;
#endif
