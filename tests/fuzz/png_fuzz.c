/* Any bytes as a PNG: refused, or decoded into just the pixels that its header promised. Checksums are made right first, since a
 * fuzzer would never find one. */
#include "tests/fuzz/file.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "nodes/lib/media.h"

static uint32_t crc(const uint8_t *p, size_t n)
{
    uint32_t c = 0xffffffff;
    for (size_t i = 0; i < n; ++i) {
        c ^= p[i];
        for (int k = 0; k < 8; ++k)
            c = c & 1 ? 0xedb88320u ^ c >> 1 : c >> 1;
    }
    return ~c;
}

static void put32(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; ++i)
        p[i] = (uint8_t)(v >> (24 - 8 * i));
}

static void fix_checksums(uint8_t *p, size_t n)
{
    for (size_t at = 8; at + 12 <= n;) {
        size_t bytes = (size_t)p[at] << 24 | (size_t)p[at + 1] << 16 | (size_t)p[at + 2] << 8 | p[at + 3];
        if (bytes > n - at - 12)
            return;
        put32(p + at + 8 + bytes, crc(p + at + 4, bytes + 4));
        at += bytes + 12;
    }
}

static void decode(const kg_file *f)
{
    int64_t width, height;
    if (kg_png_size(f, &width, &height) != KG_OK || width * height > 1 << 16)
        return;
    for (int alpha = 0; alpha < 3; ++alpha) {
        uint8_t *rgb = malloc((size_t)(3 * width * height));
        if (rgb)
            kg_png_read(f, width, height, alpha, rgb);
        free(rgb);
        kg_error_clear();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    uint8_t *copy = malloc(n + 1);
    if (!copy)
        abort();
    memcpy(copy, data, n);
    fix_checksums(copy, n);
    kg_file f = fuzz_file(copy, n);
    decode(&f);
    kg_error_clear();
    free(copy);
    close(f.fd);
    return 0;
}

/* Five pixels square in five types, made here so that no file is needed: stored blocks, which no compressor has to make. */
size_t kg_fuzz_seed(int index, uint8_t *out, size_t max)
{
    static const struct { uint8_t depth, type, interlace; int row; } kinds[] = {
        {8, 2, 0, 15}, {1, 0, 0, 1}, {8, 6, 0, 20}, {16, 4, 0, 20}, {8, 3, 0, 5}};
    uint8_t raw[128] = {0}, header[13] = {0, 0, 0, 5, 0, 0, 0, 5};
    if (index >= (int)(sizeof kinds / sizeof *kinds) || max < 512)
        return 0;
    size_t bytes = 5 * (size_t)(1 + kinds[index].row), at = 8;
    for (size_t i = 0; i < bytes; ++i)
        raw[i] = i % (size_t)(1 + kinds[index].row) ? (uint8_t)(kinds[index].type == 3 ? i % 3 : 37 * i) : (uint8_t)(i % 5);
    header[8] = kinds[index].depth;
    header[9] = kinds[index].type;
    header[12] = kinds[index].interlace;
    uint32_t a = 1, b = 0;             /* adler */
    for (size_t i = 0; i < bytes; ++i) {
        a = (a + raw[i]) % 65521;
        b = (b + a) % 65521;
    }
    uint8_t data[160] = {0x78, 1, 1, (uint8_t)bytes, 0, (uint8_t)~bytes, 0xff};
    memcpy(data + 7, raw, bytes);
    put32(data + 7 + bytes, b << 16 | a);
    const struct { const char *name; const void *p; size_t n; } parts[] = {
        {"IHDR", header, 13}, {"PLTE", "\1\2\3\4\5\6\7\x8\x9", 9}, {"tRNS", "\x80\xff\0", kinds[index].type == 3 ? 3 : 0},
        {"tEXt", "kinograph\0{}", 12}, {"IDAT", data, bytes + 11}, {"IEND", "", 0}};
    memcpy(out, "\x89PNG\r\n\x1a\n", 8);
    for (size_t i = 0; i < sizeof parts / sizeof *parts; ++i) {
        if ((i == 1 && kinds[index].type != 3) || (i == 2 && !parts[i].n))
            continue;
        put32(out + at, (uint32_t)parts[i].n);
        memcpy(out + at + 4, parts[i].name, 4);
        memcpy(out + at + 8, parts[i].p, parts[i].n);
        at += 12 + parts[i].n;
    }
    fix_checksums(out, at);
    return at;
}
