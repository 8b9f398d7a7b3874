/* Any bytes as a sentencepiece model: refused, or a tokenizer that encodes. */
#include "nodes/lib/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    int32_t ids[32];
    kg_tokenizer *t = kg_tokenizer_new("fuzz", data, n, 1 << 20);
    if (t) {
        if (kg_tokenizer_ids(t, "a red circle <extra_id_7> \xef\xbc\xa1\xe2\x91\xa0 \xe6\xad\xa3", 32, ids) > 32)
            __builtin_trap();
        kg_tokenizer_free(t);
    }
    kg_error_clear();
    return 0;
}
