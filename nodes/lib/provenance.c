/* Reading provenance: see provenance.h. Walkers over chunks and boxes that trust no length: each is checked against what encloses
 * it, and their number is bounded, so that a file cannot keep us busy. */
#include "nodes/lib/provenance.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "nodes/lib/sniff.h"

enum { TEXT_MAX = 16 << 20, PARTS_MAX = 1 << 16 };

static uint32_t be32(const uint8_t *b) { return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3]; }

static char *broken(const kg_file *f, const char *what)
{
    kg_fail(KG_INPUT, "'%s' is broken: %s", f->path, what);
    return NULL;
}

static char *absent(const kg_file *f)
{
    kg_fail(KG_INPUT, "'%s' does not say how it was made", f->path);
    kg_hint("kino writes that into the files it makes; other programs may drop it");
    return NULL;
}

static char *unknown(const kg_file *f)
{
    kg_sniffed s;
    if (kg_sniff_file(f, &s) == KG_OK)
        kg_fail(KG_INPUT, "'%s' is %s, and no PNG, MP4 or safetensors file", f->path, s.what);
    return NULL;
}

/* The range of the file as text. */
static char *take(const kg_file *f, uint64_t offset, uint64_t bytes)
{
    if (bytes > TEXT_MAX)
        return broken(f, "its note on how it was made is too long");
    char *text = malloc((size_t)bytes + 1);
    if (!text) {
        kg_fail(KG_FAILED, "out of host memory");
        return NULL;
    }
    int good = kg_file_read(f, offset, text, (size_t)bytes) == KG_OK;
    for (size_t i = 0, n; good && i < bytes; i += n) {
        n = kg_utf8_at((const uint8_t *)text + i, (size_t)bytes - i);
        good = n > 0;
    }
    if (good && bytes) {
        text[bytes] = 0;
        return text;
    }
    free(text);
    return broken(f, "its note on how it was made is no text");
}

/* ---- PNG ---- */

/* iTXt: keyword 0, compressed?, method, language 0, translated keyword 0, text. Others write tEXt: keyword 0, text. */
static char *png_text(const kg_file *f, const char *type, uint64_t at, uint64_t bytes, int *ours)
{
    uint8_t b[sizeof KG_PROVENANCE_KEY + 64];
    size_t key = sizeof KG_PROVENANCE_KEY, have = bytes < sizeof b ? (size_t)bytes : sizeof b;
    *ours = 0;
    if (have < key || kg_file_read(f, at, b, have) != KG_OK || memcmp(b, KG_PROVENANCE_KEY, key))
        return NULL;
    *ours = 1;
    if (!memcmp(type, "tEXt", 4))
        return take(f, at + key, bytes - key);
    size_t i = key + 2;
    if (i > have || b[key])
        return broken(f, "its note on how it was made is compressed, and kino does not do that");
    for (int zeros = 0; zeros < 2; ++i) {
        if (i >= have)
            return broken(f, "the text chunk has no text");
        zeros += !b[i];
    }
    return take(f, at + i, bytes - i);
}

static char *from_png(const kg_file *f)
{
    uint64_t at = 8;
    for (int i = 0; i < PARTS_MAX; ++i) {
        uint8_t b[8];
        if (f->size - at < 12)
            return broken(f, "it ends within a chunk");
        if (kg_file_read(f, at, b, sizeof b) != KG_OK)
            return NULL;
        uint64_t bytes = be32(b);
        const char *type = (const char *)b + 4;
        if (bytes > f->size - at - 12)
            return broken(f, "a chunk is longer than the file");
        if (!memcmp(type, "iTXt", 4) || !memcmp(type, "tEXt", 4)) {
            int ours;
            char *text = png_text(f, type, at + 8, bytes, &ours);
            if (ours || kg_error_last()->status != KG_OK)
                return text;
        }
        at += bytes + 12;
        if (!memcmp(type, "IEND", 4))
            return absent(f);
    }
    return broken(f, "it has too many chunks");
}

/* ---- MP4 ---- */

typedef struct box { uint64_t at, end; } box;      /* its content */

/* Finds the first box of a type in a range. ref: ISO/IEC 14496-12, 4.2: size, type; size 1: 64 bits follow; size 0: to the end. */
static int find_box(const kg_file *f, box in, const char *type, int *budget, box *out)
{
    while (in.at < in.end && in.end - in.at >= 8) {
        uint8_t b[16];
        uint64_t head = 8, left = in.end - in.at;
        if (--*budget < 0 || kg_file_read(f, in.at, b, 8) != KG_OK)
            return 0;
        uint64_t bytes = be32(b);
        if (bytes == 1) {
            head = 16;
            if (left < 16 || kg_file_read(f, in.at + 8, b + 8, 8) != KG_OK)
                return 0;
            bytes = (uint64_t)be32(b + 8) << 32 | be32(b + 12);
        } else if (!bytes) {
            bytes = left;
        }
        if (bytes < head || bytes > left)
            return 0;
        *out = (box){in.at + head, in.at + bytes};
        if (!memcmp(b + 4, type, 4))
            return 1;
        in.at += bytes;
    }
    return 0;
}

static char *from_mp4(const kg_file *f)
{
    static const char *const path[] = {"moov", "udta", "meta", "ilst", "\251cmt", "data"};
    box b = {0, f->size};
    int budget = PARTS_MAX;
    for (size_t i = 0; i < sizeof path / sizeof *path; ++i) {
        if (!find_box(f, b, path[i], &budget, &b))
            return kg_error_last()->status != KG_OK ? NULL : i ? absent(f) : broken(f, "it has no moov box");
        if (!strcmp(path[i], "meta"))
            b.at = b.end - b.at < 4 ? b.end : b.at + 4;        /* version and flags */
    }
    if (b.end - b.at < 8)
        return absent(f);
    return take(f, b.at + 8, b.end - b.at - 8);                /* type (1: UTF-8), locale */
}

/* ---- safetensors ---- */
static char *from_safetensors(const kg_file *f, uint64_t header)
{
    if (header > f->size - 8 || header > TEXT_MAX)
        return broken(f, "its header is longer than the file, or too long");
    char *text = take(f, 8, header);
    cJSON *json = text ? cJSON_ParseWithLength(text, (size_t)header) : NULL;
    const cJSON *note = cJSON_GetObjectItemCaseSensitive(cJSON_GetObjectItemCaseSensitive(json, "__metadata__"), KG_PROVENANCE_KEY);
    char *copy = cJSON_IsString(note) ? strdup(note->valuestring) : NULL;
    cJSON_Delete(json);
    free(text);
    return copy || kg_error_last()->status != KG_OK ? copy : absent(f);
}

char *kg_provenance_read(const kg_file *f)
{
    static const uint8_t png[8] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
    uint8_t b[16];
    if (f->size < sizeof b)
        return unknown(f);
    if (kg_file_read(f, 0, b, sizeof b) != KG_OK)
        return NULL;
    if (!memcmp(b, png, sizeof png))
        return from_png(f);
    if (!memcmp(b + 4, "ftyp", 4))
        return from_mp4(f);
    if (b[8] == '{' && !b[4] && !b[5] && !b[6] && !b[7])
        return from_safetensors(f, (uint64_t)b[3] << 24 | (uint64_t)b[2] << 16 | (uint64_t)b[1] << 8 | b[0]);
    return unknown(f);
}
