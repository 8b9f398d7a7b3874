/* What nodes watch: results that are no numbers end the run (kernels/ops.h: kg_watch); results that look wrong are warned of.
 * A line in a node is all that it takes. */
#ifndef KG_NODES_LIB_WATCH_H
#define KG_NODES_LIB_WATCH_H

#include "core/exec.h"

/* The usual range of a normalised latent: mean 0 and deviation 1 a channel, as models make them and VAEs take them. Ordinary ones end
 * at 3 to 6; one that was not normalised, or by another VAE's figures, goes beyond. */
#define KG_LATENT_MOST 10.0
/* latent f32 [channels, frames, height, width], normalised. A warning names channels beyond the range, and constant ones. */
void kg_watch_latent(kg_exec *x, kg_tensor latent, const char *what);
/* rows f32 [n, dim]: of an encoder, one for each token. A warning counts those that are one value throughout. */
void kg_watch_text(kg_exec *x, kg_tensor rows, const char *what);

#endif
