/* latent.pick: one of a list of latents (several seeds make one) as a value of its own. */
#include <inttypes.h>

#include "core/exec.h"
#include "kernels/ops.h"

typedef struct params { int64_t index; } params;

static kg_status infer(kg_infer *x)
{
    const params *p = x->params;
    const kg_desc *in = &x->in[0];
    int n = in->items > 1 ? in->items : 1;
    if (p->index >= n)
        return kg_fail(KG_USAGE, "index = %" PRId64 " is out of range: input latent has %d, numbered from 0", p->index, n);
    x->out[0] = *in;
    x->out[0].items = 1;
    return KG_OK;
}

static kg_status execute(kg_exec *x)
{
    const params *p = kg_params(x);
    kg_unary(x, (kg_unary_args){.out = kg_out(x, 0), .in = kg_in_item(x, 0, (int)p->index), .op = KG_UNARY_COPY});
    return KG_OK;
}

KG_NODE(latent_pick) = { /* table */
    .name = "latent.pick",
    .doc = "Picks one of a list of latents.",
    .version = 1,
    .flags = KG_UNCACHED,
    .params_size = sizeof(params),
    .inputs = KG_PORTS({"latent", "latent|embedding", KG_WHOLE, "a list: what several seeds make"}),
    .outputs = KG_PORTS({"latent", "latent|embedding", 0, "the one"}),
    .params = KG_PARAMS(KG_INT(params, index, 0, 0, 63, 1, "which one, from 0")),
    .infer = infer,
    .execute = execute,
};
