/* Any bytes as a safetensors file: refused, or rows that lie inside it. */
#include <stdlib.h>
#include <string.h>

#include "nodes/lib/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

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
