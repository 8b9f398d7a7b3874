/* Any bytes as a shard index: refused, or rows whose shards are plain names. */
#include <stdlib.h>
#include <string.h>

#include "nodes/lib/index.h"
#include "tests/fuzz/fuzz.h"

size_t kg_fuzz_seed(int index, uint8_t *out, size_t max)
{
    static const char text[] = "{\"metadata\":{\"total_size\":20},\"weight_map\":{\"x\":\"a.safetensors\",\"y\":\"b.safetensors\"}}";
    if (index || sizeof text > max)
        return 0;
    memcpy(out, text, sizeof text - 1);
    return sizeof text - 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    char *text = malloc(n + 1);
    if (!text)
        return 0;
    memcpy(text, data, n);
    text[n] = 0;
    kg_index index;
    if (kg_index_parse(&index, "fuzz", text, n) == KG_OK) {
        for (int i = 0; i < index.n; ++i)
            if (strchr(index.rows[i].shard, '/') || !index.rows[i].shard[0])
                __builtin_trap();
        kg_index_free(&index);
    }
    free(text);
    kg_error_clear();
    return 0;
}
