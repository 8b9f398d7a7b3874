/* Any bytes as the beginning of a file: told without reading beyond them, in printable words. */
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "core/plain.h"
#include "nodes/lib/sniff.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    kg_sniffed s;
    size_t head = n < KG_SNIFF_BYTES ? n : KG_SNIFF_BYTES;
    uint8_t *copy = malloc(head + !head);
    if (!copy)
        return 0;
    if (head)
        memcpy(copy, data, head);
    kg_sniff(copy, head, n, &s);
    if (!s.what[0] || !kg_plain_is(s.what))
        abort();
    free(copy);
    return 0;
}

size_t kg_fuzz_seed(int index, uint8_t *out, size_t max)
{
    static const struct { const char *p; size_t n; } seeds[] = {
        {"GGUF\3\0\0\0\0\0\0\0", 12}, {"PK\3\4\0\0\10\10\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\10\0\0\0data.pkl", 38},
        {"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12345678901234567890123\n", 85},
        {"\xef\xbb\xbf <!doctype html>", 19}, {"\n{ \"weight_map\": {", 18}, {"-- \xc3\xa4\nreturn kino.template{}", 29},
        {"\x0a\x0e\x0a\x05<pad>\x15\0\0\0\0", 14}, {"Entry not found", 15}, {"\x10\0\0\0\0\0\0\0{\"a\":", 13}};
    if (index < 0 || index >= (int)(sizeof seeds / sizeof *seeds) || seeds[index].n > max)
        return 0;
    memcpy(out, seeds[index].p, seeds[index].n);
    return seeds[index].n;
}
