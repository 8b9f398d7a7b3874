/* Text to ids as Hugging Face's fast T5 and UMT5 tokenizers give them, over sentencepiece. */
#ifndef KG_NODES_LIB_TOKENIZER_H
#define KG_NODES_LIB_TOKENIZER_H

#include "core/error.h"

#ifdef __cplusplus
extern "C" {
#endif

#define KG_TOKENIZER_MAX (64u << 20)       /* bytes of a model */

typedef struct kg_tokenizer kg_tokenizer;

/* model: the n bytes of a spiece.model, which may go after the call. rows: of the embedding that the ids are for, at least one a
 * piece. what: the file, for messages. NULL with an error. */
kg_tokenizer *kg_tokenizer_new(const char *what, const void *model, size_t n, int64_t rows);
void kg_tokenizer_free(kg_tokenizer *t);

typedef struct kg_special { int pad, eos, unk, pieces; } kg_special;       /* pad -1: the model has none */
kg_special kg_tokenizer_special(const kg_tokenizer *t);

/* Ids of a clean text with the end token: at most max, the end token always last. Returns their number, -1 with an error. Where
 * rows allow, "<extra_id_N>" has the id pieces + 299 - N. */
int kg_tokenizer_ids(const kg_tokenizer *t, const char *text, int max, int32_t *ids);

#ifdef __cplusplus
}
#endif

#endif
