/* latent.load: one tensor of a safetensors file as a latent or an embedding, in f32.
 *
 * A file does not say which model's latents it holds, so the kind is a param; joins hold it against the ports. A latent with a
 * leading 1 (other programs' batch) loses it. The key is the hash of the file and the tensor's name. */
#include <inttypes.h>
#include <string.h>

#include "core/exec.h"
#include "kernels/ops.h"
#include "nodes/lib/known.h"
#include "nodes/lib/media.h"
#include "nodes/lib/safetensors.h"
#include "nodes/lib/watch.h"

typedef struct params { const char *path, *name, *kind; kg_seen seen; kg_dtype dtype; uint64_t offset; } params;

static kg_status check_kind(const char *kind)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789-./_";
    if (strlen(kind) < 32 && strspn(kind, letters) == strlen(kind) && kg_kind_takes("latent|embedding", kind))
        return KG_OK;
    kg_fail(KG_USAGE, "kind = \"%.40s\" is no kind of latent or embedding", kind);
    kg_hint("for example \"latent/wan21\" or \"embedding/umt5\"");
    return KG_USAGE;
}

/* A file of weights in the place of a latent is named for what it is. */
static int is_model(kg_files *files, const params *p)
{
    kg_told t;
    kg_checkpoint *ck = kg_checkpoint_open(files, p->path);
    int is = ck && kg_known_tell(ck, &t, 1) && strcmp(t.reader ? t.reader : "", "latent.load") != 0;
    if (is)
        kg_fail(KG_INPUT, "'%s' is %s, and holds no tensor '%s'", kg_checkpoint_path(ck), t.what, p->name);
    if (is && t.reader && t.runs)
        kg_hint("%s reads it", t.reader);
    kg_checkpoint_free(ck);
    return is;
}

static kg_status no_such_tensor(kg_files *files, const params *p, const kg_safetensors *st, const char *path)
{
    if (is_model(files, p))
        return KG_INPUT;
    const char *names[64];
    int n = 0;
    for (; n < st->n && n < 64; ++n)
        names[n] = st->rows[n].name;
    kg_fail(KG_INPUT, "'%s' has no tensor '%s'", path, p->name);
    int near = kg_near(p->name, names, n);
    if (near >= 0 || n == 1)
        kg_hint("name = \"%.200s\"?", names[near >= 0 ? near : 0]);
    return KG_INPUT;
}

static kg_status take_row(kg_files *files, params *p, const kg_safetensors *st, const char *path, kg_desc *out)
{
    const kg_weight *w = NULL;
    for (int i = 0; i < st->n && !w; ++i)
        if (!strcmp(st->rows[i].name, p->name))
            w = &st->rows[i];
    if (!w)
        return no_such_tensor(files, p, st, path);
    if (w->dtype != KG_F32 && w->dtype != KG_F16 && w->dtype != KG_BF16)
        return kg_fail(KG_INPUT, "'%s': tensor '%s' is %s; f32, f16 and bf16 are read", path, p->name, kg_dtype_name(w->dtype));
    int skip = w->rank == 5 && w->shape[0] == 1 && kg_kind_takes("latent", p->kind);
    p->dtype = w->dtype;
    p->offset = w->offset;
    *out = kg_desc_tensor(p->kind, KG_F32, w->rank - skip, w->shape + skip);
    for (int i = 0; i < out->rank; ++i)
        if (out->shape[i] < 1)
            return kg_fail(KG_INPUT, "'%s': tensor '%s' is empty", path, p->name);
    if (kg_kind_takes("latent", p->kind) && out->rank != 4)
        return kg_fail(KG_INPUT, "'%s': tensor '%s' has %d dimensions; a latent has 4, [channels, frames, height, width]", path,
                       p->name, out->rank);
    return KG_OK;
}

static kg_status infer(kg_infer *x)
{
    params *p = x->params;
    kg_status s = check_kind(p->kind);
    kg_file *f = s == KG_OK ? kg_open(x->files, p->path) : NULL;
    if (!f)
        return kg_error_last()->status;
    kg_safetensors st;
    s = kg_safetensors_read(&st, f);
    if (s == KG_OK) {
        s = take_row(x->files, p, &st, f->path, &x->out[0]);
        kg_safetensors_free(&st);
    }
    if (s == KG_OK)
        kg_infer_file(x, f);
    kg_seen_note(&p->seen, x->files, f);
    kg_file_unref(f);
    return s;
}

static kg_status work(void *arg, const kg_tensor *ins, const kg_tensor *outs)
{
    (void)ins;
    const params *p = *(const params **)arg;
    kg_file *f = kg_seen_open(&p->seen, p->path);
    if (!f)
        return kg_error_last()->status;
    kg_status s = kg_file_read(f, p->offset, outs[0].at, kg_bytes(&outs[0]));
    kg_file_unref(f);
    return s;
}

static kg_status execute(kg_exec *x)
{
    const params *p = kg_params(x);
    kg_tensor out = kg_out(x, 0);
    kg_tensor stored = p->dtype == KG_F32 ? out : kg_temp(x, p->dtype, out.rank, out.shape);
    int stop = kg_work(x, work, &p, sizeof p, 0, NULL, 1, &stored, 0);
    if (p->dtype != KG_F32)
        kg_unary(x, (kg_unary_args){.out = out, .in = stored, .op = KG_UNARY_COPY});
    if (kg_kind_takes("latent/wan21", p->kind))
        kg_watch_latent(x, out, "the latent");
    else
        kg_watch(x, out, "the tensor");
    return stop ? KG_FAILED : KG_OK;
}

KG_NODE(latent_load) = { /* table */
    .name = "latent.load",
    .doc = "Reads a latent or an embedding from a safetensors file.",
    .version = 1,
    .flags = KG_UNCACHED,
    .params_size = sizeof(params),
    .outputs = KG_PORTS({"latent", "latent|embedding", 0, "the tensor in f32, of the kind that was asked for"}),
    .params = KG_PARAMS(KG_PATH(params, path, KG_REQUIRED, "safetensors file"),
                        KG_TEXT(params, name, "latent", 0, "the tensor's name in it"),
                        KG_TEXT(params, kind, "latent/wan21", 0, "what it is: latent/wan21, embedding/umt5, ...")),
    .infer = infer,
    .execute = execute,
};
