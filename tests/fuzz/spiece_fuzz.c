/* Any bytes as a sentencepiece model: refused, or a tokenizer that encodes. */
#include <string.h>

#include "nodes/lib/tokenizer.h"
#include "tests/fuzz/fuzz.h"

static uint8_t *put_piece(uint8_t *at, const char *text, float score, int type)
{
    uint8_t n = (uint8_t)strlen(text);
    *at++ = 0x0a;
    *at++ = (uint8_t)(n + 2 + 5 + 2);
    *at++ = 0x0a;
    *at++ = n;
    memcpy(at, text, n);
    at += n;
    *at++ = 0x15;
    memcpy(at, &score, 4);
    at += 4;
    *at++ = 0x18;
    *at++ = (uint8_t)type;
    return at;
}

/* A table that turns "e" into "o": the root's children begin at unit 256, the value of "e" lies there. */
static uint8_t *put_table(uint8_t *at)
{
    uint32_t units[512] = {[0] = 256 << 10, [256 ^ 'e'] = (uint32_t)'e' << 10 | 256 | 'e', [256] = 0x80000000}, bytes = sizeof units;
    size_t n = 4 + sizeof units + 2;
    const uint8_t head[] = {0x1a, (uint8_t)((n + 3) | 128), (uint8_t)((n + 3) >> 7), 0x12, (uint8_t)(n | 128), (uint8_t)(n >> 7)};
    memcpy(at, head, sizeof head);
    memcpy(at + sizeof head, &bytes, 4);
    memcpy(at + sizeof head + 4, units, sizeof units);
    memcpy(at + sizeof head + 4 + sizeof units, "o", 2);
    return at + sizeof head + n;
}

size_t kg_fuzz_seed(int index, uint8_t *out, size_t max)
{
    static const char *const pieces[] = {"\xe2\x96\x81", "a", "r", "e", "d", "\xe2\x96\x81r", "ed", "o", "\xe6\xad\xa3"};
    uint8_t *at = out;
    if (index > 1 || max < 4096)
        return 0;
    at = put_piece(at, "<pad>", 0, 3);
    at = put_piece(at, "</s>", 0, 3);
    at = put_piece(at, "<unk>", 0, 2);
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; ++i)
        at = put_piece(at, pieces[i], -1 - (float)i, 1);
    const uint8_t trainer[] = {0x12, 11, 0x18, 1, 0xc0, 2, 2, 0xd0, 2, 1, 0xd8, 2, 0};     /* unigram; unk 2, eos 1, pad 0 */
    memcpy(at, trainer, sizeof trainer);
    at += sizeof trainer;
    if (index)
        at = put_table(at);
    return (size_t)(at - out);
}

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
