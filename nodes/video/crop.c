/* video.crop: the middle of each frame. */
#include <inttypes.h>

#include "core/exec.h"
#include "nodes/lib/media.h"

typedef struct params { int64_t width, height; } params;

static kg_status infer(kg_infer *x)
{
    params *p = x->params;
    const kg_desc *in = &x->in[0];
    kg_status s = kg_frames_check("video", in);
    if (s != KG_OK)
        return s;
    if (!p->width)
        p->width = in->shape[1];
    if (!p->height)
        p->height = in->shape[0];
    if (p->width < 2 || p->height < 2)
        return kg_fail(KG_USAGE, "cannot crop to %" PRId64 "x%" PRId64 ": a side has at least 2 pixels", p->width, p->height);
    if (p->width > in->shape[1] || p->height > in->shape[0])
        return kg_fail(KG_USAGE, "cannot crop frames of %" PRId64 "x%" PRId64 " to %" PRId64 "x%" PRId64, in->shape[1],
                       in->shape[0], p->width, p->height);
    x->out[0] = *in;
    x->out[0].kind = "frames";
    x->out[0].shape[0] = p->height;
    x->out[0].shape[1] = p->width;
    return KG_OK;
}

static kg_status copy(void *arg, const kg_tensor *ins, const kg_tensor *outs)
{
    (void)arg;
    kg_copy_rows(&outs[0], &ins[0]);
    return KG_OK;
}

static kg_status chunk(kg_exec *x, kg_tensor frame, int64_t index)
{
    (void)index;
    const params *p = kg_params(x);
    kg_tensor out = kg_temp(x, KG_U8, KG_SHAPE(p->height, p->width, 3));
    kg_tensor rows = kg_view(out, KG_SHAPE(p->height, 3 * p->width));
    kg_tensor in = kg_picture_part(frame, (frame.shape[1] - p->width) / 2, (frame.shape[0] - p->height) / 2, p->width, p->height);
    if (kg_work(x, copy, NULL, 0, 1, &in, 1, &rows, 0))
        return KG_FAILED;
    return kg_emit(x, 0, out);
}

KG_NODE(video_crop) = { /* table */
    .name = "video.crop",
    .doc = "Cuts the middle out of each frame.",
    .version = 1,
    .flags = KG_UNCACHED,
    .params_size = sizeof(params),
    .inputs = KG_PORTS({"video", "frames|image", KG_STREAM, "frames of 8-bit RGB"}),
    .outputs = KG_PORTS({"video", "frames", KG_STREAM, "frames of the new size"}),
    .params = KG_PARAMS(KG_INT(params, width, 0, 0, KG_SIDE_MAX, 1, "pixels; 0: all there are"),
                        KG_INT(params, height, 0, 0, KG_SIDE_MAX, 1, "pixels; 0: all there are")),
    .infer = infer,
    .chunk = chunk,
};
