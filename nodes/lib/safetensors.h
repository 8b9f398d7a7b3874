/* The header of a safetensors file: 8 bytes (little-endian length), JSON, then the tensors' bytes.
 *
 * A file is hostile until this reader has accepted it: then every row lies inside the file, no two
 * rows share a byte, no byte belongs to none, and sizes agree with types and shapes.
 * ref: the safetensors format, github.com/huggingface/safetensors, README, "Format" */
#ifndef KG_NODES_LIB_SAFETENSORS_H
#define KG_NODES_LIB_SAFETENSORS_H

#include <cjson/cJSON.h>

#include "core/file.h"
#include "core/node.h"

#define KG_SAFETENSORS_HEADER_MAX 100000000u

typedef struct kg_safetensors {
    kg_weight *rows;       /* in the order of their bytes; a scalar (shape []) is a [1]; file is unset */
    int n;
    uint64_t header;       /* bytes before the first tensor                                       */
    cJSON *json;           /* owns the names                                                      */
} kg_safetensors;

/* head: the file's first bytes (length and JSON, then a NUL); size: bytes of the whole file.
 * what: its path, for messages. */
kg_status kg_safetensors_parse(kg_safetensors *s, const char *what, const char *head, size_t n,
                               uint64_t size);
kg_status kg_safetensors_read(kg_safetensors *s, const kg_file *file);
void kg_safetensors_free(kg_safetensors *s);

/* A text of the file's __metadata__, or NULL. */
const char *kg_safetensors_meta(const kg_safetensors *s, const char *key);

uint64_t kg_weight_bytes(const kg_weight *w);

#endif
