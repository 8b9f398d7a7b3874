/* Packing text: see pack.h. ref: RFC 4648, section 4. */
#include "nodes/lib/pack.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <zlib.h>

static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static void encode(const uint8_t *b, size_t n, char *out)
{
    for (size_t i = 0; i < n; i += 3) {
        uint32_t v = (uint32_t)b[i] << 16 | (i + 1 < n ? (uint32_t)b[i + 1] << 8 : 0) | (i + 2 < n ? b[i + 2] : 0);
        for (int k = 0; k < 4; ++k)
            *out++ = i + (size_t)k > n ? '=' : letters[v >> (18 - 6 * k) & 63];
    }
    *out = 0;
}

char *kg_pack(const char *text, size_t n, size_t most)
{
    uLongf bytes = compressBound((uLong)n);
    uint8_t *small = malloc(bytes);
    char *out = NULL;
    if (small && compress2(small, &bytes, (const Bytef *)text, (uLong)n, 9) == Z_OK && (bytes + 2) / 3 * 4 <= most)
        out = malloc((bytes + 2) / 3 * 4 + 1);
    if (out)
        encode(small, bytes, out);
    free(small);
    return out;
}

/* The bytes, at most as many as there are letters; SIZE_MAX: it is no base64. */
static size_t decode(const char *s, uint8_t *out)
{
    size_t n = strlen(s), made = 0;
    if (!n || n % 4)
        return SIZE_MAX;
    for (size_t i = 0; i < n; i += 4) {
        uint32_t v = 0;
        int pad = i + 4 == n ? (s[n - 1] == '=') + (s[n - 1] == '=' && s[n - 2] == '=') : 0;
        for (int k = 0; k < 4; ++k) {
            const char *at = k < 4 - pad ? strchr(letters, s[i + (size_t)k]) : letters;
            if (!at)
                return SIZE_MAX;
            v = v << 6 | (uint32_t)(at - letters);
        }
        for (int k = 0; k < 3 - pad; ++k)
            out[made++] = (uint8_t)(v >> (16 - 8 * k));
    }
    return made;
}

char *kg_unpack(const char *packed, size_t most, size_t *n)
{
    uint8_t *small = malloc(strlen(packed) + 1);
    char *out = small ? malloc(most + 1) : NULL;
    size_t bytes = out ? decode(packed, small) : SIZE_MAX;
    uLongf size = (uLongf)most;
    if (bytes == SIZE_MAX || uncompress((Bytef *)out, &size, small, (uLong)bytes) != Z_OK || memchr(out, 0, size)) {
        free(out);
        out = NULL;
    } else {
        out[size] = 0;
        *n = size;
    }
    free(small);
    return out;
}
