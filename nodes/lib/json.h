/* JSON from files, read as hostile: bounded in depth and in number of values, and whole. */
#ifndef KG_NODES_LIB_JSON_H
#define KG_NODES_LIB_JSON_H

#include <cjson/cJSON.h>

#include "core/error.h"

/* text has n bytes and a NUL after them. NULL with KG_INPUT naming `what` (a path). */
cJSON *kg_json_parse(const char *what, const char *text, size_t n);

/* 1 when the item is a whole number in 0 .. 2^53. */
int kg_json_whole(const cJSON *item, int64_t *value);

#endif
