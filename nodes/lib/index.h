/* The index of a sharded set of safetensors files: which tensor is in which file. */
#ifndef KG_NODES_LIB_INDEX_H
#define KG_NODES_LIB_INDEX_H

#include <cjson/cJSON.h>

#include "core/error.h"

#define KG_SHARDS_MAX 4096

typedef struct kg_index_row { const char *tensor, *shard; } kg_index_row;
typedef struct kg_index {
    kg_index_row *rows;        /* sorted by shard, then tensor; every tensor once      */
    int n, shards;             /* number of different shards                           */
    cJSON *json;               /* owns the texts                                       */
} kg_index;

/* text has n bytes and a NUL after them; what: the index's path, for messages. Shard names are plain
 * file names: one that climbs out of the folder is an error that names it. */
kg_status kg_index_parse(kg_index *index, const char *what, const char *text, size_t n);
void kg_index_free(kg_index *index);

#endif
