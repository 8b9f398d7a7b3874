/* Any bytes as a safetensors file: refused, or rows that lie inside it. */
#include <stdlib.h>
#include <string.h>

#include "nodes/lib/safetensors.h"
#include "tests/fuzz/fuzz.h"

size_t kg_fuzz_seed(int index, uint8_t *out, size_t max)
{
    static const char *const texts[] = {
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]},\"b\":{\"dtype\":\"BF16\",\"shape\":[],"
        "\"data_offsets\":[24,26]}}",
        "{\"__metadata__\":{\"format\":\"pt\"},\"e\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]},"
        "\"a\":{\"dtype\":\"F8_E4M3\",\"shape\":[26],\"data_offsets\":[0,26]}}"};
    if (index >= 2)
        return 0;
    uint64_t length = strlen(texts[index]);
    if (length + 34 > max)
        return 0;
    memcpy(out, &length, 8);
    memcpy(out + 8, texts[index], length);
    memset(out + 8 + length, 7, 26);
    return length + 34;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    /* The reader gets the header and a NUL; what lies after it is only counted. */
    uint64_t length = 0;
    if (n >= 8)
        memcpy(&length, data, 8);
    size_t head = n < 8 ? n : length < n - 8 ? (size_t)length + 8 : n;
    char *copy = malloc(head + 1);
    if (!copy)
        return 0;
    memcpy(copy, data, head);
    copy[head] = 0;
    kg_safetensors s;
    if (kg_safetensors_parse(&s, "fuzz", copy, head, n) == KG_OK) {
        for (int i = 0; i < s.n; ++i)
            if (s.rows[i].offset > n || kg_weight_bytes(&s.rows[i]) > n - s.rows[i].offset)
                __builtin_trap();
        kg_safetensors_free(&s);
    }
    free(copy);
    kg_error_clear();
    return 0;
}
