/* Reading and judging a safetensors header. One pass makes the rows, each checked by itself; two
 * sorts then find names that come twice, overlaps and holes. */
#include "nodes/lib/safetensors.h"

#include <stdlib.h>
#include <string.h>

#include "nodes/lib/json.h"
#include "nodes/lib/sniff.h"

static const struct { const char *name; kg_dtype dtype; } dtypes[] = {
    {"F32", KG_F32}, {"F16", KG_F16},   {"BF16", KG_BF16}, {"U8", KG_U8},
    {"I8", KG_I8},   {"I32", KG_I32},   {"I64", KG_I64},   {"F64", KG_F64},
    {"U32", KG_I32}, {"U64", KG_I64},   {"F8_E8M0", KG_U8},           /* of their size: nobody computes with them */
    {"BOOL", KG_U8}, {"F8_E4M3", KG_F8_E4M3}, {"F8_E5M2", KG_F8_E5M2}};

enum { NAME_MAX_BYTES = 1024 };

uint64_t kg_weight_bytes(const kg_weight *w)
{
    uint64_t n = kg_dtype_bytes(w->dtype);
    for (int i = 0; i < w->rank; ++i)
        n *= (uint64_t)w->shape[i];
    return n;
}

static uint64_t little64(const char *p)
{
    uint64_t v = 0;
    for (int i = 7; i >= 0; --i)
        v = v << 8 | (unsigned char)p[i];
    return v;
}

static kg_status row_dtype(kg_weight *w, const char *what, const cJSON *item)
{
    const char *name = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(item, "dtype"));
    for (size_t i = 0; name && i < sizeof dtypes / sizeof *dtypes; ++i)
        if (!strcmp(dtypes[i].name, name)) {
            w->dtype = dtypes[i].dtype;
            return KG_OK;
        }
    if (!name)
        return kg_fail(KG_INPUT, "'%s': tensor '%s' has no dtype", what, w->name);
    return kg_fail(KG_INPUT, "'%s': tensor '%s' has the unknown dtype '%.32s'", what, w->name,
                   name);
}

/* Fills rank and shape; *bytes is exact or an error is set. */
static kg_status row_shape(kg_weight *w, const char *what, const cJSON *item, uint64_t *bytes)
{
    const cJSON *shape = cJSON_GetObjectItemCaseSensitive(item, "shape"), *dim;
    if (!cJSON_IsArray(shape))
        return kg_fail(KG_INPUT, "'%s': tensor '%s' has no shape", what, w->name);
    *bytes = kg_dtype_bytes(w->dtype);
    cJSON_ArrayForEach(dim, shape) {
        if (w->rank == KG_RANK)
            return kg_fail(KG_INPUT, "'%s': tensor '%s' has more than %d dimensions", what, w->name,
                           KG_RANK);
        int64_t *to = &w->shape[w->rank++];
        if (!kg_json_whole(dim, to))
            return kg_fail(KG_INPUT, "'%s': dimension %d of tensor '%s' is no whole number", what,
                           w->rank - 1, w->name);
        if (__builtin_mul_overflow(*bytes, (uint64_t)*to, bytes) || *bytes > INT64_MAX)
            return kg_fail(KG_INPUT, "'%s': the shape of tensor '%s' overflows", what, w->name);
    }
    if (!w->rank)
        w->shape[w->rank++] = 1;
    return KG_OK;
}

/* One entry of the header. The offsets are relative to the end of the header. */
static kg_status row_parse(kg_weight *w, const char *what, const cJSON *item, uint64_t header,
                           uint64_t size)
{
    uint64_t bytes = 0;
    int64_t from = 0, to = 0;
    w->name = item->string;
    if (!cJSON_IsObject(item))
        return kg_fail(KG_INPUT, "'%s': tensor '%s' has no description", what, w->name);
    if (row_dtype(w, what, item) || row_shape(w, what, item, &bytes))
        return KG_INPUT;
    const cJSON *ends = cJSON_GetObjectItemCaseSensitive(item, "data_offsets");
    if (!cJSON_IsArray(ends) || cJSON_GetArraySize(ends) != 2 ||
        !kg_json_whole(cJSON_GetArrayItem(ends, 0), &from) ||
        !kg_json_whole(cJSON_GetArrayItem(ends, 1), &to) || from > to)
        return kg_fail(KG_INPUT, "'%s': tensor '%s' has no valid data_offsets", what, w->name);
    if ((uint64_t)to > size - header)
        return kg_fail(KG_INPUT,
                       "'%s': tensor '%s' ends %llu bytes beyond the end of the file (truncated?)",
                       what, w->name, (unsigned long long)((uint64_t)to - (size - header)));
    if ((uint64_t)(to - from) != bytes)
        return kg_fail(KG_INPUT, "'%s': tensor '%s' has %llu bytes, but its shape takes %llu", what,
                       w->name, (unsigned long long)(to - from), (unsigned long long)bytes);
    w->offset = header + (uint64_t)from;
    return KG_OK;
}

static int by_name(const void *a, const void *b)
{
    return strcmp((*(const kg_weight *const *)a)->name, (*(const kg_weight *const *)b)->name);
}

/* Empty tensors sort before what starts at the same byte. */
static int by_offset(const void *a, const void *b)
{
    const kg_weight *x = a, *y = b;
    if (x->offset != y->offset)
        return x->offset < y->offset ? -1 : 1;
    uint64_t m = kg_weight_bytes(x), n = kg_weight_bytes(y);
    return m != n ? (m < n ? -1 : 1) : strcmp(x->name, y->name);
}

static kg_status check_names(const kg_safetensors *s, const char *what)
{
    const kg_weight **sorted = malloc(((size_t)s->n + 1) * sizeof *sorted);
    if (!sorted)
        return kg_fail(KG_FAILED, "out of memory for the %d tensors of '%s'", s->n, what);
    for (int i = 0; i < s->n; ++i)
        sorted[i] = &s->rows[i];
    qsort(sorted, (size_t)s->n, sizeof *sorted, by_name);
    kg_status status = KG_OK;
    for (int i = 1; i < s->n && !status; ++i)
        if (!strcmp(sorted[i - 1]->name, sorted[i]->name))
            status = kg_fail(KG_INPUT, "'%s': tensor '%s' comes twice", what, sorted[i]->name);
    free(sorted);
    return status;
}

static kg_status check_layout(kg_safetensors *s, const char *what, uint64_t size)
{
    qsort(s->rows, (size_t)s->n, sizeof *s->rows, by_offset);
    uint64_t end = s->header;
    for (int i = 0; i < s->n; ++i) {
        const kg_weight *w = &s->rows[i];
        if (w->offset < end)
            return kg_fail(KG_INPUT, "'%s': tensors '%s' and '%s' overlap", what,
                           s->rows[i - 1].name, w->name);
        if (w->offset > end)
            return kg_fail(KG_INPUT, "'%s': %llu bytes before tensor '%s' belong to no tensor",
                           what, (unsigned long long)(w->offset - end), w->name);
        end = w->offset + kg_weight_bytes(w);
    }
    if (end != size)
        return kg_fail(KG_INPUT, "'%s': %llu bytes after the last tensor belong to no tensor", what,
                       (unsigned long long)(size - end));
    return KG_OK;
}

static kg_status check_metadata(const char *what, const cJSON *item)
{
    const cJSON *text;
    if (!cJSON_IsObject(item))
        return kg_fail(KG_INPUT, "'%s': __metadata__ is not an object", what);
    cJSON_ArrayForEach(text, item)
        if (!cJSON_IsString(text))
            return kg_fail(KG_INPUT, "'%s': '%s' of __metadata__ is not a text", what,
                           text->string);
    return KG_OK;
}

static kg_status rows_parse(kg_safetensors *s, const char *what, uint64_t size)
{
    const cJSON *item;
    size_t room = (size_t)cJSON_GetArraySize(s->json);
    s->rows = calloc(room + 1, sizeof *s->rows);
    if (!s->rows)
        return kg_fail(KG_FAILED, "out of memory for the %zu tensors of '%s'", room, what);
    cJSON_ArrayForEach(item, s->json) {
        if (strlen(item->string) > NAME_MAX_BYTES)
            return kg_fail(KG_INPUT, "'%s': a tensor's name has more than %d bytes", what,
                           NAME_MAX_BYTES);
        kg_status status = !strcmp(item->string, "__metadata__")
                               ? check_metadata(what, item)
                               : row_parse(&s->rows[s->n++], what, item, s->header, size);
        if (status)
            return status;
    }
    kg_status status = check_names(s, what);
    return status ? status : check_layout(s, what, size);
}

/* Length of the JSON, checked against the file. */
static kg_status json_length(const char *what, const char *head, uint64_t size, uint64_t *n)
{
    if (size < 10)
        return kg_fail(KG_INPUT, "'%s' is no safetensors file: it has %llu bytes", what,
                       (unsigned long long)size);
    *n = little64(head);
    if (*n > KG_SAFETENSORS_HEADER_MAX)
        return kg_fail(KG_INPUT,
                       "'%s' is no safetensors file: its header would have %llu bytes "
                       "(at most %u are taken)",
                       what, (unsigned long long)*n, KG_SAFETENSORS_HEADER_MAX);
    if (*n > size - 8)
        return kg_fail(KG_INPUT, "'%s' is truncated: its header has %llu bytes, the file %llu",
                       what, (unsigned long long)*n, (unsigned long long)size);
    return KG_OK;
}

kg_status kg_safetensors_parse(kg_safetensors *s, const char *what, const char *head, size_t n,
                               uint64_t size)
{
    uint64_t length;
    *s = (kg_safetensors){0};
    kg_status status = json_length(what, head, n < 8 ? n : size, &length);
    if (status)
        return status;
    if (length > n - 8)
        return kg_fail(KG_INPUT, "'%s' is truncated inside its header", what);
    if (!length || head[8] != '{')
        return kg_fail(KG_INPUT, "'%s' is no safetensors file: its header is no JSON object", what);
    s->header = 8 + length;
    s->json = kg_json_parse(what, head + 8, (size_t)length);
    status = s->json ? rows_parse(s, what, size) : kg_error_last()->status;
    if (status)
        kg_safetensors_free(s);
    return status;
}

kg_status kg_safetensors_read(kg_safetensors *s, const kg_file *file)
{
    char first[8] = {0};
    uint64_t length;
    *s = (kg_safetensors){0};
    if (file->size >= sizeof first && kg_file_read(file, 0, first, sizeof first))
        return kg_error_last()->status;
    kg_status status = kg_sniff_want(file, KG_FORM_SAFETENSORS, "safetensors file");
    if (!status)
        status = json_length(file->path, first, file->size, &length);
    if (status)
        return status;
    size_t n = (size_t)length + 8;
    char *head = malloc(n + 1);
    if (!head)
        return kg_fail(KG_FAILED, "out of memory for the header of '%s'", file->path);
    head[n] = 0;
    status = kg_file_read(file, 0, head, n);
    if (!status)
        status = kg_safetensors_parse(s, file->path, head, n, file->size);
    free(head);
    return status;
}

void kg_safetensors_free(kg_safetensors *s)
{
    cJSON_Delete(s->json);
    free(s->rows);
    *s = (kg_safetensors){0};
}

const char *kg_safetensors_meta(const kg_safetensors *s, const char *key)
{
    const cJSON *meta = cJSON_GetObjectItemCaseSensitive(s->json, "__metadata__");
    return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(meta, key));
}
