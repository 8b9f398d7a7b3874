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

/* The most columns and rows that a picture has room for. */
typedef struct room { int64_t columns, rows; } room;

static int64_t places(int64_t side, int64_t gap) { return (KG_SIDE_MAX + gap) / (side + gap); }

/* Columns that bring the sheet nearest to 16:9, an empty place counting as much as a tenth of the ratio. */
static int64_t auto_columns(int64_t n, int64_t width, int64_t height, room most)
{
    int64_t best = most.columns;
    double least = INFINITY;
    for (int64_t c = 1; c <= n && c <= most.columns; ++c) {
        int64_t rows = (n + c - 1) / c;
        if (rows > most.rows)
            continue;
        double ratio = (double)(c * width) / (double)(rows * height) / (16.0 / 9);
        double cost = fabs(log(ratio)) + 0.1 * (double)(rows * c - n);
        if (cost < least) {
            least = cost;
            best = c;
        }
    }
    return best;
}

/* How many frames are shown, and in how many columns. A number that was asked for is kept or refused; where all are asked for, it is as
 * many as a picture has room for. */
static kg_status choose(kg_infer *x, params *p, const kg_desc *in)
{
    room most = {places(in->shape[1], p->gap), places(in->shape[0], p->gap)};
    if (p->columns != KG_AUTO_INT && p->columns > in->chunks)
        p->columns = in->chunks;
    if (p->columns > most.columns) {
        kg_fail(KG_USAGE, "columns = %" PRId64 " of %" PRId64 " pixels are wider than the %d that a side may have", p->columns,
                in->shape[1], KG_SIDE_MAX);
        kg_hint("columns = %" PRId64 " at most", most.columns);
        return KG_USAGE;
    }
    int64_t fit = (p->columns == KG_AUTO_INT ? most.columns : p->columns) * most.rows, all = !p->count;
    if (all || p->count > in->chunks)
        p->count = in->chunks;
    if (p->count > fit && !all) {
        kg_fail(KG_USAGE, "a sheet of %" PRId64 " frames of %" PRId64 "x%" PRId64 " has more than %d pixels a side", p->count,
                in->shape[1], in->shape[0], KG_SIDE_MAX);
        kg_hint("count = %" PRId64 " at most, or count = 0 for as many as there is room for", fit);
        return KG_USAGE;
    }
    if (p->count > fit) {
        kg_infer_warn(x, "%" PRId64 " of the %" PRId64 " frames are shown, evenly spread: a picture has at most %d pixels a side", fit,
                      p->count, KG_SIDE_MAX);
        p->count = fit;
    }
    if (p->columns == KG_AUTO_INT)
        p->columns = auto_columns(p->count, in->shape[1], in->shape[0], most);
    if (p->columns > p->count)
        p->columns = p->count;
    return KG_OK;
}

static kg_status infer(kg_infer *x)
{
    params *p = x->params;
    const kg_desc *in = &x->in[0];
    kg_status s = kg_frames_check("video", in);
    if (s == KG_OK)
        s = choose(x, p, in);
    if (s != KG_OK)
        return s;
    int64_t rows = (p->count + p->columns - 1) / p->columns;
    int64_t width = p->columns * (in->shape[1] + p->gap) - p->gap, height = rows * (in->shape[0] + p->gap) - p->gap;
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
    int64_t near = frames > 1 ? index * (p->count - 1) / (frames - 1) : 0;
    for (int64_t place = near > 1 ? near - 1 : 0; place < p->count && place <= near + 2; ++place) {
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
                        KG_INT(params, count, 0, 0, 1025, 1, "frames shown, evenly spread from first to last; 0: all, or as many as fit"),
                        KG_INT(params, gap, 2, 0, 64, 1, "dark pixels between frames")),
    .infer = infer,
    .begin = begin,
    .chunk = chunk,
};
