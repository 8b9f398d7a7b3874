/* image.sheet: a contact sheet, the frames of a video side by side in rows.
 *
 * Which frames are shown follows from their numbers alone, so nothing is kept but the sheet: each chosen frame is copied to its
 * place when it comes by. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "core/exec.h"
#include "nodes/lib/media.h"

typedef struct params { int64_t columns, count, gap; } params;
enum { GAP_GREY = 32 };

/* Columns that bring the sheet nearest to 16:9, an empty place counting as much as a tenth of the ratio. */
static int64_t auto_columns(int64_t n, int64_t width, int64_t height)
{
    int64_t best = 1;
    double least = INFINITY;
    for (int64_t c = 1; c <= n; ++c) {
        int64_t rows = (n + c - 1) / c;
        double ratio = (double)(c * width) / (double)(rows * height) / (16.0 / 9);
        double cost = fabs(log(ratio)) + 0.1 * (double)(rows * c - n);
        if (cost < least) {
            least = cost;
            best = c;
        }
    }
    return best;
}

static kg_status infer(kg_infer *x)
{
    params *p = x->params;
    const kg_desc *in = &x->in[0];
    kg_status s = kg_frames_check("video", in);
    if (s != KG_OK)
        return s;
    if (!p->count || p->count > in->chunks)
        p->count = in->chunks;
    if (p->columns == KG_AUTO_INT)
        p->columns = auto_columns(p->count, in->shape[1], in->shape[0]);
    if (p->columns > p->count)
        p->columns = p->count;
    int64_t rows = (p->count + p->columns - 1) / p->columns;
    int64_t width = p->columns * (in->shape[1] + p->gap) - p->gap, height = rows * (in->shape[0] + p->gap) - p->gap;
    if (width > KG_SIDE_MAX || height > KG_SIDE_MAX) {
        kg_fail(KG_USAGE,
                "a sheet of %" PRId64 " frames of %" PRId64 "x%" PRId64 " has %" PRId64 "x%" PRId64
                " pixels; a side has at most %d", p->count, in->shape[1], in->shape[0], width, height, KG_SIDE_MAX);
        kg_hint("count = N shows N frames, evenly spread");
        return KG_USAGE;
    }
    x->out[0] = kg_desc_tensor("image", KG_U8, KG_SHAPE(height, width, 3));
    return KG_OK;
}

/* The frame at a place: the first and the last one are shown, the others evenly spread. */
static int64_t frame_at(int64_t place, int64_t count, int64_t frames)
{
    return count > 1 ? (2 * place * (frames - 1) + count - 1) / (2 * (count - 1)) : (frames - 1) / 2;
}

static kg_status paint(void *arg, const kg_tensor *ins, const kg_tensor *outs)
{
    (void)arg;
    (void)ins;
    memset(outs[0].at, GAP_GREY, kg_bytes(&outs[0]));
    return KG_OK;
}

static kg_status copy(void *arg, const kg_tensor *ins, const kg_tensor *outs)
{
    (void)arg;
    kg_copy_rows(&outs[0], &ins[0]);
    return KG_OK;
}

static kg_status begin(kg_exec *x)
{
    kg_tensor out = kg_out(x, 0);
    return kg_work(x, paint, NULL, 0, 0, NULL, 1, &out, 0);
}

static kg_status chunk(kg_exec *x, kg_tensor frame, int64_t index)
{
    const params *p = kg_params(x);
    int64_t frames = kg_desc_in(x, 0)->chunks, width = frame.shape[1], height = frame.shape[0];
    kg_tensor in = kg_view(frame, KG_SHAPE(height, 3 * width));
    for (int64_t place = 0; place < p->count; ++place) {
        if (frame_at(place, p->count, frames) != index)
            continue;
        int64_t left = place % p->columns * (width + p->gap), top = place / p->columns * (height + p->gap);
        kg_tensor out = kg_picture_part(kg_out(x, 0), left, top, width, height);
        if (kg_work(x, copy, NULL, 0, 1, &in, 1, &out, 0))
            return KG_FAILED;
    }
    return KG_OK;
}

KG_NODE(image_sheet) = { /* table */
    .name = "image.sheet",
    .doc = "Contact sheet: the frames of a video side by side, in rows.",
    .version = 1,
    .flags = KG_UNCACHED,
    .params_size = sizeof(params),
    .inputs = KG_PORTS({"video", "frames|image", KG_STREAM, "frames of 8-bit RGB"}),
    .outputs = KG_PORTS({"image", "image", 0, "the sheet"}),
    .params = KG_PARAMS(KG_INT_AUTO(params, columns, 1, 1025, 1, "frames in a row; auto: the sheet comes near 16:9"),
                        KG_INT(params, count, 0, 0, 1025, 1, "frames shown, evenly spread, the first and the last among them; 0: all"),
                        KG_INT(params, gap, 2, 0, 64, 1, "dark pixels between frames")),
    .infer = infer,
    .begin = begin,
    .chunk = chunk,
};
