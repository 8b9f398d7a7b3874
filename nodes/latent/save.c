/* latent.save: a latent or an embedding as the one tensor of a safetensors file, with how it was made in its metadata. */
#include "core/exec.h"
#include "nodes/lib/media.h"
#include "nodes/lib/safetensors_write.h"

#include <string.h>

enum { NOTE_BYTES = 512 << 10 };       /* of the note, as it is escaped and written: what most take */

typedef struct params { const char *path, *name; kg_files *files; } params;
typedef struct job { const params *p; const char *provenance; } job;

static kg_status infer(kg_infer *x)
{
    params *p = x->params;
    p->files = x->files;
    if (!*p->name || !strcmp(p->name, "__metadata__"))
        return kg_fail(KG_USAGE, "name = \"%s\" is no name for a tensor", p->name);
    kg_status s = kg_files_may_write(x->files, p->path);
    return s == KG_OK && kg_name_end(p->path, "a latent", ".safetensors") < 0 ? KG_USAGE : s;
}

static kg_status work(void *arg, const kg_tensor *ins, const kg_tensor *outs)
{
    (void)outs;
    const job *j = arg;
    kg_output o;
    kg_status s = kg_output_open(&o, j->p->files, j->p->path);
    if (s != KG_OK)
        return s;
    s = kg_safetensors_write(&o, j->p->name, &ins[0], ins[0].at, j->provenance);
    if (s == KG_OK)
        s = kg_output_commit(&o);
    kg_output_abort(&o);
    return s;
}

static kg_status execute(kg_exec *x)
{
    job j = {.p = kg_params(x), .provenance = kg_provenance(x)};
    kg_tensor in = kg_in(x, 0);
    return kg_work(x, work, &j, sizeof j, 1, &in, 0, NULL, (64 << 10) + NOTE_BYTES);
}

KG_NODE(latent_save) = { /* table */
    .name = "latent.save",
    .doc = "Writes a latent or an embedding to a safetensors file.",
    .version = 1,
    .flags = KG_SINK | KG_UNCACHED,
    .params_size = sizeof(params),
    .inputs = KG_PORTS({"latent", "latent|embedding", 0, "one tensor"}),
    .params = KG_PARAMS(KG_OUT(params, path, KG_REQUIRED, "file to write; its name ends in .safetensors"),
                        KG_TEXT(params, name, "latent", 0, "the tensor's name in it")),
    .infer = infer,
    .execute = execute,
};
