/* Any bytes as a file that may say how it was made: refused, or UTF-8 without NUL. */
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "nodes/lib/provenance.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    int fd = memfd_create("fuzz", 0);
    if (fd < 0)
        abort();
    kg_file f = {.path = "fuzz", .fd = fd, .size = n, .refs = 1};
    if (write(fd, data, n) == (ssize_t)n) {
        char *text = kg_provenance_read(&f);
        if (!text != (kg_error_last()->status != KG_OK) || (text && strlen(text) > n))
            abort();
        free(text);
    }
    kg_error_clear();
    close(fd);
    return 0;
}

size_t kg_fuzz_seed(int index, uint8_t *out, size_t max)
{
    static const char png[] = "\x89PNG\r\n\x1a\n\0\0\0\x02IHDRab....\0\0\0\x13iTXtkinograph\0\0\0en\0k\0{}....\0\0\0\0IEND....";
    static const char mp4[] = "\0\0\0\x10" "ftypisom\0\0\0\0\0\0\0\x4amoov\0\0\0\x42udta\0\0\0\x3ameta\0\0\0\0\0\0\0\x08hdlr\0\0\0\x26ilst"
                              "\0\0\0\x1e\251cmt\0\0\0\x16" "data\0\0\0\1\0\0\0\0{\"s\":1}";
    static const char st[] = "\x2d\0\0\0\0\0\0\0{\"__metadata__\":{\"kinograph\":\"{\\\"seed\\\":7}\"}}";
    static const struct { const char *p; size_t n; } seeds[] = {{png, sizeof png - 1}, {mp4, sizeof mp4 - 1}, {st, sizeof st - 1}};
    if (index >= 3 || seeds[index].n > max)
        return 0;
    memcpy(out, seeds[index].p, seeds[index].n);
    return seeds[index].n;
}
