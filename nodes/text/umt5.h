/* The UMT5 encoder as a resource: what text.load makes and text.umt5 runs. */
#ifndef KG_NODES_TEXT_UMT5_H
#define KG_NODES_TEXT_UMT5_H

#include "core/file.h"
#include "core/node.h"
#include "nodes/lib/names.h"

#define UMT5_TOKENS 512        /* rows that the transformer attends to, whatever the prompt */

typedef struct umt5 {          /* config of a resource/umt5 */
    int64_t vocab, dim, inner, heads, ffn, layers, buckets;
    kg_file *table;            /* embedding [vocab, dim]: never loaded, rows are read where they lie */
    uint64_t table_offset;
    kg_dtype table_dtype;
    kg_file *spiece;           /* the tokenizer: a file of its own, or a tensor of the weights' */
    uint64_t spiece_offset;
    size_t spiece_bytes;
    struct umt5_shared { struct kg_tokenizer *tokenizer; } *shared;    /* open from the first prepare of a plan to its settle */
} umt5;

extern const kg_alias umt5_names[];        /* its names in transformers' dialect */

/* Weights of segment "layer N", in this order; the last segment, "norm", has one. */
enum { UMT5_NORM1, UMT5_QKV, UMT5_O, UMT5_BIAS, UMT5_NORM2, UMT5_GATE_UP, UMT5_DOWN };

/* Bucket of the distance key - query. buckets: 32 in all published models. */
int umt5_bucket(int64_t distance, int64_t buckets);

#endif
