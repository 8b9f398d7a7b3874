/* Any bytes on their way to a terminal: as long as before, without a control character, and UTF-8 that is left as it is. */
#include <stdlib.h>
#include <string.h>

#include "core/plain.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    char *raw = calloc(1, n + 1), *text = calloc(1, n + 1);
    if (n)
        memcpy(raw, data, n);
    memcpy(text, raw, n + 1);
    kg_plain(text);
    if (strlen(text) != strlen(raw) || !kg_plain_is(text) || (kg_plain_is(raw) && strcmp(raw, text)))
        abort();
    for (const char *s = text; *s; ++s)
        if (((unsigned char)*s < 32 && *s != '\t') || *s == 127)
            abort();
    free(raw);
    free(text);
    return 0;
}

size_t kg_fuzz_seed(int index, uint8_t *out, size_t max)
{
    static const char *const seeds[] = {"a red circle \x1b[31m\xc2\x9b", "caf\xc3\xa9 \xe4\xb8\x80 \xf0\x9f\x90\xb1 \xe2\x80\xae",
                                        "\xed\xa0\x80\xc0\xaf\xf4\x90\x80\x80\xff"};
    if (index >= (int)(sizeof seeds / sizeof *seeds) || strlen(seeds[index]) > max)
        return 0;
    memcpy(out, seeds[index], strlen(seeds[index]));
    return strlen(seeds[index]);
}
