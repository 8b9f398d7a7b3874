/* Writing one tensor as a safetensors file: see safetensors_write.h. */
#include "nodes/lib/safetensors_write.h"

#include <string.h>

#include <cjson/cJSON.h>

#include "nodes/lib/provenance.h"

static const char *type_name(kg_dtype d)
{
    return d == KG_F32 ? "F32" : d == KG_F16 ? "F16" : d == KG_BF16 ? "BF16" : d == KG_U8 ? "U8" : NULL;
}

static int describe(cJSON *root, const char *name, const kg_tensor *t, const char *provenance)
{
    if (*provenance) {
        cJSON *meta = cJSON_AddObjectToObject(root, "__metadata__");
        if (!meta || !cJSON_AddStringToObject(meta, KG_PROVENANCE_KEY, provenance))
            return 0;
    }
    cJSON *row = cJSON_AddObjectToObject(root, name);
    if (!row || !cJSON_AddStringToObject(row, "dtype", type_name(t->dtype)))
        return 0;
    cJSON *shape = cJSON_AddArrayToObject(row, "shape");
    cJSON *offsets = cJSON_AddArrayToObject(row, "data_offsets");
    if (!shape || !offsets)
        return 0;
    for (int i = 0; i < t->rank; ++i)
        cJSON_AddItemToArray(shape, cJSON_CreateNumber((double)t->shape[i]));
    cJSON_AddItemToArray(offsets, cJSON_CreateNumber(0));
    cJSON_AddItemToArray(offsets, cJSON_CreateNumber((double)kg_bytes(t)));
    return cJSON_GetArraySize(shape) == t->rank && cJSON_GetArraySize(offsets) == 2;
}

static kg_status write_header(kg_output *o, const char *json)
{
    static const char spaces[8] = "        ";
    size_t n = strlen(json), pad = (8 - n % 8) % 8;
    uint64_t length = n + pad;         /* little-endian, as the machine is */
    kg_status s = kg_output_write(o, &length, sizeof length);
    if (s == KG_OK)
        s = kg_output_write(o, json, n);
    return s == KG_OK ? kg_output_write(o, spaces, pad) : s;
}

kg_status kg_safetensors_write(kg_output *o, const char *name, const kg_tensor *t, const void *bytes, const char *provenance)
{
    if (!type_name(t->dtype))
        return kg_fail(KG_USAGE, "a tensor of %s cannot be saved", kg_dtype_name(t->dtype));
    cJSON *root = cJSON_CreateObject();
    char *json = root && describe(root, name, t, provenance) ? cJSON_PrintUnformatted(root) : NULL;
    cJSON_Delete(root);
    if (!json)
        return kg_fail(KG_FAILED, "out of host memory");
    kg_status s = write_header(o, json);
    cJSON_free(json);
    return s == KG_OK ? kg_output_write(o, bytes, kg_bytes(t)) : s;
}
