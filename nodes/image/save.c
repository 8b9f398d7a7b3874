/* image.save: an image as a PNG file, with how it was made in a text chunk.
 *
 * Under the final name there is the old file or the complete new one, at any instant (core/file.h, kg_output). */
#include "nodes/lib/media.h"

#include "core/exec.h"

typedef struct params { const char *path; kg_files *files; } params;
typedef struct job { const params *p; const char *provenance; } job;

static kg_status infer(kg_infer *x)
{
    params *p = x->params;
    const kg_desc *in = &x->in[0];
    p->files = x->files;
    if (in->dtype != KG_U8 || in->rank != 3 || in->shape[2] != 3)
        return kg_fail(KG_USAGE, "input image wants 8-bit RGB, [height, width, 3]");
    if (in->shape[0] > KG_SIDE_MAX || in->shape[1] > KG_SIDE_MAX)
        return kg_fail(KG_USAGE, "the image has %lldx%lld pixels; a side has at most %d", (long long)in->shape[1],
                       (long long)in->shape[0], KG_SIDE_MAX);
    kg_status s = kg_files_may_write(x->files, p->path);
    return s == KG_OK && kg_name_end(p->path, "a picture", ".png") < 0 ? KG_USAGE : s;
}

static kg_status work(void *arg, const kg_tensor *ins, const kg_tensor *outs)
{
    (void)outs;
    const job *j = arg;
    kg_output o;
    kg_status s = kg_output_open(&o, j->p->files, j->p->path);
    if (s != KG_OK)
        return s;
    s = kg_png_write(&o, ins[0].shape[1], ins[0].shape[0], ins[0].at, j->provenance);
    if (s == KG_OK)
        s = kg_output_commit(&o);
    kg_output_abort(&o);
    return s;
}

static kg_status execute(kg_exec *x)
{
    job j = {.p = kg_params(x), .provenance = kg_provenance(x)};
    kg_tensor in = kg_in(x, 0);
    return kg_work(x, work, &j, sizeof j, 1, &in, 0, NULL, kg_png_write_bytes(in.shape[1]));
}

KG_NODE(image_save) = { /* table */
    .name = "image.save",
    .doc = "Writes an image to a PNG file that says how it was made.",
    .version = 1,
    .flags = KG_SINK | KG_UNCACHED,
    .params_size = sizeof(params),
    .inputs = KG_PORTS({"image", "image", 0, "8-bit RGB"}),
    .params = KG_PARAMS(KG_OUT(params, path, KG_REQUIRED, "PNG file to write; its name ends in .png")),
    .infer = infer,
    .execute = execute,
};
