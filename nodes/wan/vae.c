/* wan.vae: the Wan2.1 VAE as a resource, one segment a part. Convolutions are packed when a segment is filled, in the file's own
 * type: in memory a VAE is as large as its file (kernels/cpu/conv.c widens and transforms them when they are used). */
#include <stdlib.h>
#include <string.h>

#include "kernels/conv.h"
#include "nodes/lib/known.h"
#include "nodes/wan/vae.h"

typedef struct params { const char *path; } params;

enum { STRIP_BYTES = 4 << 20 };        /* of a weight that is read at once */

/* Sixteen output channels at least: a panel of the packed form. */
static int64_t strip_rows(const vae_source *s)
{
    size_t row = kg_dtype_bytes(s->dtype);
    for (int i = 1; i < s->rank; ++i)
        row *= (size_t)s->shape[i];
    int64_t rows = (int64_t)(STRIP_BYTES / row) / KG_CONV_PANEL * KG_CONV_PANEL;
    rows = rows ? rows : KG_CONV_PANEL;
    return rows < s->shape[0] ? rows : s->shape[0];
}

/* One strip for each packed weight of a segment, three at most: far below the 64 MiB that a fill may take. */
static kg_status fill_packed(kg_exec *x, const vae_source *s, kg_tensor out)
{
    int64_t shape[KG_RANK], step = strip_rows(s);
    memcpy(shape, s->shape, sizeof shape);
    shape[0] = step;
    kg_tensor room = kg_temp(x, s->dtype, s->rank, shape);
    for (int64_t row = 0; row < s->shape[0]; row += step) {
        kg_tensor strip = kg_slice(room, 0, s->shape[0] - row < step ? s->shape[0] - row : step);
        if (kg_read(x, strip, s->file, s->offset + (uint64_t)row * (kg_bytes(&room) / (size_t)step)))
            return KG_FAILED;
        kg_conv_pack(x, (kg_conv_pack_args){.out = kg_slice(out, row, kg_conv_padded(strip.shape[0])), .in = strip});
    }
    return KG_OK;
}

static kg_status fill(kg_exec *x, const kg_resource *r, int segment, const kg_tensor *out)
{
    const vae *v = r->config;
    const kg_segment *g = &r->segments[segment];
    for (int i = 0; i < g->count; ++i) {
        const vae_source *s = &v->source[g->first + i];
        if (s->packed ? fill_packed(x, s, out[i]) != KG_OK : kg_read(x, out[i], s->file, s->offset))
            return kg_error_last()->status ? kg_error_last()->status : KG_CANCELLED;
    }
    return kg_error_last()->status;
}

static void config_free(void *config)
{
    vae *v = config;
    for (int i = 0; i < VAE_WEIGHTS && v->source[i].file; ++i)
        kg_file_unref(v->source[i].file);
    free(v);
}

static kg_status build(kg_infer *x, kg_checkpoint *file)
{
    vae *v = calloc(1, sizeof *v);
    if (!v)
        return kg_fail(KG_FAILED, "out of host memory");
    v->group = kg_checkpoint_blocks(file, "decoder.up_blocks.0.resnets.%d.");
    kg_checkpoint_translate(file, vae_diffusers_name, &v->group);
    kg_checkpoint_detect(file, "decoder.middle.0.residual.0.gamma");
    kg_builder *b = kg_builder_new(file);
    kg_builder_fill_with(b, fill);
    kg_status s = b ? vae_parts(file, b, v) : KG_FAILED;
    kg_resource *r = kg_builder_done(b, v, config_free);
    if (s == KG_OK && r) {
        x->resource = r;
        x->out[0] = (kg_desc){.kind = "resource/wan-vae", .resource = r};
        return KG_OK;
    }
    if (r)
        r->destroy(r);
    return kg_error_last()->status;
}

static kg_status infer(kg_infer *x)
{
    const params *p = x->params;
    kg_checkpoint *file = kg_checkpoint_open(x->files, p->path);
    if (!file)
        return kg_error_last()->status;
    kg_status s = kg_known_want(file, "wan.vae");
    if (s == KG_OK)
        s = build(x, file);
    kg_checkpoint_free(file);
    return s;
}

KG_NODE(wan_vae) = {
    .name = "wan.vae",
    .doc = "The VAE of Wan2.1 (also of Wan2.2's 14B models), from safetensors with official or diffusers names.",
    .version = 1,
    .params_size = sizeof(params),
    .outputs = KG_PORTS({"vae", "resource/wan-vae", 0, "for wan.encode and wan.decode"}),
    .params = KG_PARAMS(KG_PATH(params, path, KG_REQUIRED, "wan_2.1_vae.safetensors, or diffusers' file")),
    .infer = infer};
