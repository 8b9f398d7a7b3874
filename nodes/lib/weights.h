/* A checkpoint: the tensors of a safetensors file, or of a sharded set with its index, found by their official names whatever
 * dialect the file speaks; and the building of a resource from them.
 *
 *     kg_checkpoint *ck = kg_checkpoint_open(x->files, p->path);
 *     kg_checkpoint_alias(ck, diffusers_names);
 *     kg_checkpoint_detect(ck, "head.modulation");
 *     kg_builder *b = kg_builder_new(ck);
 *     for (int i = 0; i < blocks; ++i) {
 *         kg_builder_segment(b, "block %d", i);
 *         kg_builder_weight(b, KG_SHAPE(dim), "blocks.%d.norm1.weight", i);
 *         kg_builder_rows(b, KG_SHAPE(3 * dim, dim), 3, "blocks.%d.attn.q.weight", ...);
 *     }
 *     x->resource = kg_builder_done(b, config, free);      NULL with an error
 *     kg_checkpoint_free(ck);                              the resource keeps its files open */
#ifndef KG_NODES_LIB_WEIGHTS_H
#define KG_NODES_LIB_WEIGHTS_H

#include "core/file.h"
#include "core/node.h"
#include "nodes/lib/names.h"

typedef struct kg_checkpoint kg_checkpoint;

/* path: a .safetensors file, a *.safetensors.index.json, or a folder that holds one under a usual name. NULL with an error. */
kg_checkpoint *kg_checkpoint_open(kg_files *f, const char *path);
void kg_checkpoint_free(kg_checkpoint *ck);
const char *kg_checkpoint_path(const kg_checkpoint *ck);

/* Tensors as they are in the file, sorted by name. */
int kg_checkpoint_count(const kg_checkpoint *ck);
const kg_weight *kg_checkpoint_at(const kg_checkpoint *ck, int i);
uint64_t kg_weight_bytes(const kg_weight *w);
/* A text of __metadata__ (of a single file, or of the first shard), or NULL. */
const char *kg_checkpoint_meta(const kg_checkpoint *ck, const char *key);

/* The table stays the caller's and must outlive ck. Up to 8 translators, tried in order after the name as it is. */
void kg_checkpoint_alias(kg_checkpoint *ck, const kg_alias *table);
/* The same by a function, for dialects no table can say; arg is its own. It writes the other name, or returns 0. */
typedef int kg_translate_fn(const void *arg, const char *official, char *out, size_t n);
void kg_checkpoint_translate(kg_checkpoint *ck, kg_translate_fn *fn, const void *arg);

/* Finds the prefix under which the official name `probe` is there: none, "model.diffusion_model.", "vae.",
 * "text_encoders.umt5xxl.transformer." and the like. From then on names are asked without it. 1 when found. */
int kg_checkpoint_detect(kg_checkpoint *ck, const char *probe);

/* Forgets dialects and prefix: the file is as just opened. */
void kg_checkpoint_forget(kg_checkpoint *ck);

/* By official name, quietly; NULL when it is not there. */
const kg_weight *kg_checkpoint_find(const kg_checkpoint *ck, const char *name);
/* By the last part of its name as it is in the file ("spiece_model"). */
const kg_weight *kg_checkpoint_ending(const kg_checkpoint *ck, const char *part);
/* It must be there, have this shape (-1: any; shape NULL: any of this rank; rank 0: any) and a type that products can take (f32,
 * f16, bf16). KG_INPUT names the file, the tensor, both shapes, and for a missing one the nearest name. */
kg_status kg_checkpoint_need(const kg_checkpoint *ck, const char *name, int rank, const int64_t *shape, kg_weight *out);
/* The first tensor under the prefix that kg_checkpoint_need was never asked for and that has more than `mark` bytes, or NULL; *n: how
 * many there are. */
const kg_weight *kg_checkpoint_unasked(const kg_checkpoint *ck, uint64_t mark, int *n);
/* Blocks numbered from 0: kg_checkpoint_blocks(ck, "blocks.%d.") is the highest number + 1, in the file's own dialect (of alias
 * rows that begin with the pattern). 0 when there are none. */
int kg_checkpoint_blocks(const kg_checkpoint *ck, const char *pattern);

/* For keys: the files that hold the tensors, in the order of their names, and which tensor is taken from which; zero for one file. */
int kg_checkpoint_files(const kg_checkpoint *ck);
const kg_file *kg_checkpoint_file(const kg_checkpoint *ck, int i);
void kg_checkpoint_layout(const kg_checkpoint *ck, unsigned char out[32]);

/* ---- resources ---- */
typedef struct kg_builder kg_builder;
kg_builder *kg_builder_new(const kg_checkpoint *ck);       /* ck is borrowed until done                          */
/* The first error is kept and told by done; calls after it do nothing. */
void kg_builder_segment(kg_builder *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A tensor as it stands in the file. */
void kg_builder_weight(kg_builder *b, int rank, const int64_t *shape, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* One tensor [shape] from n tensors of the file, one below the other (q, k, v to one product). They are of one type; shape[0] is
 * divided evenly among them. */
void kg_builder_rows(kg_builder *b, int rank, const int64_t *shape, int n, const char *const *names);
/* A tensor that the family's own fill makes. */
void kg_builder_made(kg_builder *b, kg_dtype dtype, int rank, const int64_t *shape, const char *name);
/* The family's own fill; the default reads every weight as kg_builder_weight and kg_builder_rows said (kg_builder_fill). */
typedef kg_status kg_fill_fn(kg_exec *x, const kg_resource *r, int segment, const kg_tensor *out);
void kg_builder_fill_with(kg_builder *b, kg_fill_fn *fill);
kg_status kg_builder_fill(kg_exec *x, const kg_resource *r, int segment, const kg_tensor *out);
/* Takes config (freed with `destroy`, may be NULL) in every case, and frees the builder. NULL with an error. */
kg_resource *kg_builder_done(kg_builder *b, void *config, void (*destroy)(void *config));

#endif
