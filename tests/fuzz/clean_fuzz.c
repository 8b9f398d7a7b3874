/* Any bytes as a prompt: refused as no UTF-8, or cleaned to UTF-8 that cleaning leaves as it is, without white space at its ends. */
#include <stdlib.h>
#include <string.h>

#include "nodes/lib/clean.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    char *text = malloc(n + 1);
    memcpy(text, data, n);
    text[n] = 0;
    char *clean = kg_clean_text(text);
    if (!clean != (kg_error_last()->status != KG_OK))
        abort();
    if (clean && *clean && (strchr(" \t\n\r", *clean) || strchr(" \t\n\r", clean[strlen(clean) - 1])))
        abort();
    if (clean) {                       /* what is clean is text: it can be read again */
        char *again = kg_clean_text(clean);
        if (!again)
            abort();
        free(again);
    }
    free(clean);
    kg_error_clear();
    free(text);
    return 0;
}

size_t kg_fuzz_seed(int index, uint8_t *out, size_t max)
{
    static const char *const seeds[] = {
        "a red circle moves left over a blue background",
        "  caf\xc3\xa9 &amp;amp; &lt;b&gt; &notit; &#x41;&#65;  ",
        "\xef\xbc\xa1\xef\xac\x81 \xe2\x80\x9cquoted\xe2\x80\x9d \xe2\x91\xa0",
        "\xe4\xb8\x80\xe5\x8f\xaa\xe7\x8c\xab \xf0\x9f\x90\xb1 \xe2\x80\x8d",
        "e\xcc\x81 \xed\x95\x9c \x1b[31mred\x1b[0m \xc2\x85 &EACUTE; &#128;",
        "&#1114112; &#xD800; &#0; &CounterClockwiseContourIntegral;"};
    if (index >= (int)(sizeof seeds / sizeof *seeds) || strlen(seeds[index]) > max)
        return 0;
    memcpy(out, seeds[index], strlen(seeds[index]));
    return strlen(seeds[index]);
}
