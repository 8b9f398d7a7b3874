/* image.load: a PNG file as an image.
 *
 * Its size is read when the node is added, its pixels in the run. The key holds the hash of the file, not its name. Where it is
 * transparent, black shows through (alpha = "white" and "drop" are the other ways; "drop" is what PIL's convert("RGB") does). */
#include "nodes/lib/media.h"

#include "core/exec.h"

typedef struct params { const char *path; int alpha; kg_seen seen; } params;

static kg_status infer(kg_infer *x)
{
    params *p = x->params;
    int64_t width, height;
    kg_file *f = kg_open(x->files, p->path);
    if (!f)
        return kg_error_last()->status;
    kg_status s = kg_png_size(f, &width, &height);
    if (s == KG_OK)
        kg_infer_file(x, f);
    kg_seen_note(&p->seen, x->files, f);
    kg_file_unref(f);
    if (s == KG_OK)
        x->out[0] = kg_desc_tensor("image", KG_U8, KG_SHAPE(height, width, 3));
    return s;
}

static kg_status work(void *arg, const kg_tensor *ins, const kg_tensor *outs)
{
    (void)ins;
    const params *p = *(const params **)arg;
    kg_file *f = kg_seen_open(&p->seen, p->path);
    if (!f)
        return kg_error_last()->status;
    kg_status s = kg_png_read(f, outs[0].shape[1], outs[0].shape[0], p->alpha, outs[0].at);
    kg_file_unref(f);
    return s;
}

static kg_status execute(kg_exec *x)
{
    const params *p = kg_params(x);
    kg_tensor out = kg_out(x, 0);
    return kg_work(x, work, &p, sizeof p, 0, NULL, 1, &out, kg_png_read_bytes(out.shape[1], out.shape[0]));
}

KG_NODE(image_load) = { /* table */
    .name = "image.load",
    .doc = "Reads a picture from a PNG file.",
    .version = 1,
    .flags = KG_UNCACHED,
    .params_size = sizeof(params),
    .outputs = KG_PORTS({"image", "image", 0, "8-bit RGB"}),
    .params = KG_PARAMS(KG_PATH(params, path, KG_REQUIRED, "PNG file: grey, palette, RGB, with alpha or without, 8 or 16 bit"),
                        KG_CHOICE(params, alpha, "black|white|drop", KG_ALPHA_BLACK,
                                  "what shows where it is transparent; drop: the colour the file has there")),
    .infer = infer,
    .execute = execute,
};
