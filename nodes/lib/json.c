/* JSON from files, over cJSON.
 *
 * cJSON bounds the depth itself (1,000). It takes some 64 bytes for every value, so that a header of
 * zeros and commas could take thirty times its size: values are counted before they are parsed. */
#include "nodes/lib/json.h"

#include <string.h>

enum { VALUES_MAX = 1 << 20 };

static int64_t separators(const char *text, size_t n)
{
    int64_t count = 0;
    for (size_t i = 0; i < n; ++i)
        count += text[i] == ',' || text[i] == '[' || text[i] == '{';
    return count;
}

cJSON *kg_json_parse(const char *what, const char *text, size_t n)
{
    if (separators(text, n) > VALUES_MAX) {
        kg_fail(KG_INPUT, "'%s': its JSON holds more than %d values", what, VALUES_MAX);
        return NULL;
    }
    const char *end = NULL;
    cJSON *json = cJSON_ParseWithLengthOpts(text, n + 1, &end, 0); /* + 1: it looks at the NUL */
    size_t at = end && end >= text && end <= text + n ? (size_t)(end - text) : n;
    if (json)
        while (at < n && strchr(" \t\r\n", text[at]) && text[at])
            ++at;
    if (json && at == n)
        return json;
    cJSON_Delete(json);
    kg_fail(KG_INPUT, "'%s': not JSON, at byte %zu of its text", what, at);
    return NULL;
}

int kg_json_whole(const cJSON *item, int64_t *value)
{
    const double most = 9007199254740992.0;
    if (!cJSON_IsNumber(item) || !(item->valuedouble >= 0) || item->valuedouble > most ||
        item->valuedouble != (double)(int64_t)item->valuedouble)
        return 0;
    *value = (int64_t)item->valuedouble;
    return 1;
}
