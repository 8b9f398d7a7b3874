/* How files of latents are recognised: one tensor of the rank of a latent, alone or with ComfyUI's marker beside it. */
#include <stdio.h>
#include <string.h>

#include "nodes/lib/known.h"

static int latent_tell(kg_checkpoint *ck, kg_told *told)
{
    int n = kg_checkpoint_count(ck), latents = 0;
    for (int i = 0; i < n; ++i) {
        const kg_weight *w = kg_checkpoint_at(ck, i);
        int named = !strcmp(w->name, "latent") || !strcmp(w->name, "latent_tensor") || !strcmp(w->name, "samples");
        latents += named && (w->rank == 4 || w->rank == 5);
    }
    snprintf(told->what, sizeof told->what, "a latent");
    told->runs = 1;
    return latents == 1 && n <= 2;
}
KG_KNOWN(latent) = {.reader = "latent.load", .wants = "a latent or an embedding", .tell = latent_tell};
