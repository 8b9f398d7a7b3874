/* Reading and judging a *.safetensors.index.json: {"metadata": {...}, "weight_map": {tensor: shard}}. */
#include "nodes/lib/index.h"

#include <stdlib.h>
#include <string.h>

#include "nodes/lib/json.h"

static int by_tensor(const void *a, const void *b)
{
    return strcmp(((const kg_index_row *)a)->tensor, ((const kg_index_row *)b)->tensor);
}

static int by_shard(const void *a, const void *b)
{
    int order = strcmp(((const kg_index_row *)a)->shard, ((const kg_index_row *)b)->shard);
    return order ? order : by_tensor(a, b);
}

static kg_status check_row(const char *what, const cJSON *item)
{
    const char *shard = cJSON_GetStringValue(item);
    if (!shard)
        return kg_fail(KG_INPUT, "'%s': the shard of tensor '%s' is not a text", what, item->string);
    if (!*shard || strchr(shard, '/') || strchr(shard, '\\') || !strcmp(shard, ".") ||
        !strcmp(shard, ".."))
        return kg_fail(KG_INPUT, "'%s': the shard '%s' of tensor '%s' is not a plain file name", what,
                       shard, item->string);
    return KG_OK;
}

static kg_status check_rows(kg_index *index, const char *what)
{
    qsort(index->rows, (size_t)index->n, sizeof *index->rows, by_tensor);
    for (int i = 1; i < index->n; ++i)
        if (!strcmp(index->rows[i - 1].tensor, index->rows[i].tensor))
            return kg_fail(KG_INPUT, "'%s': tensor '%s' comes twice", what, index->rows[i].tensor);
    qsort(index->rows, (size_t)index->n, sizeof *index->rows, by_shard);
    for (int i = 0; i < index->n; ++i)
        index->shards += !i || strcmp(index->rows[i - 1].shard, index->rows[i].shard);
    if (index->shards > KG_SHARDS_MAX)
        return kg_fail(KG_INPUT, "'%s' names %d shards; at most %d are taken", what, index->shards,
                       KG_SHARDS_MAX);
    return KG_OK;
}

static kg_status rows_parse(kg_index *index, const char *what)
{
    const cJSON *map = cJSON_GetObjectItemCaseSensitive(index->json, "weight_map"), *item;
    if (!cJSON_IsObject(map) || !map->child)
        return kg_fail(KG_INPUT, "'%s' is no index of safetensors files: it has no weight_map", what);
    size_t room = (size_t)cJSON_GetArraySize(map);
    index->rows = calloc(room, sizeof *index->rows);
    if (!index->rows)
        return kg_fail(KG_FAILED, "out of memory for the %zu tensors of '%s'", room, what);
    cJSON_ArrayForEach(item, map) {
        if (check_row(what, item))
            return KG_INPUT;
        index->rows[index->n++] = (kg_index_row){item->string, item->valuestring};
    }
    return check_rows(index, what);
}

kg_status kg_index_parse(kg_index *index, const char *what, const char *text, size_t n)
{
    *index = (kg_index){.json = kg_json_parse(what, text, n)};
    kg_status status = index->json ? rows_parse(index, what) : kg_error_last()->status;
    if (status)
        kg_index_free(index);
    return status;
}

void kg_index_free(kg_index *index)
{
    cJSON_Delete(index->json);
    free(index->rows);
    *index = (kg_index){0};
}
