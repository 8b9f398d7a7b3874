/* Judging a spiece.model.
 *
 * The library trusts the normaliser's table: a double array (darts-clone) walked by the bytes of the prompt, with offsets into
 * strings. A lying one would be read beyond its end, so every node that can be reached is visited here first.
 * ref: wan-spec 2.3 (fields of the protobuf); protobuf's wire format; darts-clone's unit layout */
#include "nodes/lib/spiece.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { MODEL_UNIGRAM = 1, VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5 };

typedef struct span { const unsigned char *at; size_t n; } span;
typedef struct field { uint32_t number; int wire; uint64_t value; span bytes; } field;

static int varint(span *s, uint64_t *value)
{
    *value = 0;
    for (int shift = 0; s->n && shift < 64; shift += 7) {
        unsigned char b = *s->at++;
        --s->n;
        *value |= (uint64_t)(b & 127) << shift;
        if (b < 128)
            return 1;
    }
    return 0;
}

/* The next field of a message; 0 when it is not one. */
static int next(span *s, field *f)
{
    uint64_t key, length;
    if (!varint(s, &key) || key >> 3 == 0 || key >> 32)
        return 0;
    *f = (field){.number = (uint32_t)(key >> 3), .wire = (int)(key & 7)};
    if (f->wire == VARINT)
        return varint(s, &f->value);
    if (f->wire == BYTES ? !varint(s, &length) : f->wire != FIXED32 && f->wire != FIXED64)
        return 0;
    length = f->wire == FIXED32 ? 4 : f->wire == FIXED64 ? 8 : length;
    if (length > s->n)
        return 0;
    f->bytes = (span){s->at, (size_t)length};
    s->at += length;
    s->n -= (size_t)length;
    return 1;
}

/* ---- the normaliser's table ---- */

static uint32_t little32(const unsigned char *p)
{
    return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static uint32_t unit_offset(uint32_t unit) { return (unit >> 10) << ((unit & 512) >> 6); }

/* Visits node i: all its children must lie in the table, its value inside the strings. Children are pushed on the stack. */
static int visit(const unsigned char *table, uint32_t units, size_t strings, uint32_t i, unsigned char *seen, uint32_t *stack,
                 size_t *depth)
{
    uint32_t unit = little32(table + (size_t)i * 4), base = i ^ unit_offset(unit);
    if ((base | 255) >= units)
        return 0;
    if ((unit & 256) && (little32(table + (size_t)base * 4) & 0x7fffffff) >= strings)
        return 0;
    for (uint32_t c = 1; c < 256; ++c) {
        uint32_t child = base ^ c;
        if ((little32(table + (size_t)child * 4) & 0x800000ff) != c || seen[child])
            continue;
        seen[child] = 1;
        stack[(*depth)++] = child;
    }
    return 1;
}

static int walk(const unsigned char *table, uint32_t units, size_t strings)
{
    unsigned char *seen = calloc(units, 1);
    uint32_t *stack = malloc((size_t)units * sizeof *stack);
    size_t depth = 0;
    int good = seen && stack;
    if (good) {
        seen[0] = 1;
        stack[depth++] = 0;
    }
    while (good && depth)
        good = visit(table, units, strings, stack[--depth], seen, stack, &depth);
    free(seen);
    free(stack);
    return good;
}

/* u32 bytes of the double array, the array, then strings that each end with a NUL. */
static int charsmap_good(span s)
{
    if (!s.n)
        return 1;
    if (s.n < 8)
        return 0;
    uint32_t bytes = little32(s.at);
    if (bytes < 1024 || bytes % 4 || bytes >= s.n - 4 || s.at[s.n - 1])
        return 0;
    return walk(s.at + 4, bytes / 4, s.n - 4 - bytes);
}

/* ---- messages ---- */

static kg_status check_piece(const char *what, span s, int index)
{
    field f;
    int named = 0;
    while (s.n) {
        if (!next(&s, &f))
            return kg_fail(KG_INPUT, "'%s': piece %d of the tokenizer is malformed", what, index);
        float score = 0;
        if (f.number == 2 && f.wire == FIXED32)
            memcpy(&score, f.bytes.at, sizeof score);
        if (!isfinite(score))
            return kg_fail(KG_INPUT, "'%s': piece %d of the tokenizer has no finite score", what, index);
        named |= f.number == 1 && f.wire == BYTES && f.bytes.n > 0 && f.bytes.n < 4096 && !memchr(f.bytes.at, 0, f.bytes.n);
    }
    return named ? KG_OK : kg_fail(KG_INPUT, "'%s': piece %d of the tokenizer has no text", what, index);
}

static kg_status check_trainer(const char *what, span s)
{
    field f;
    while (s.n) {
        if (!next(&s, &f))
            return kg_fail(KG_INPUT, "'%s': the tokenizer's settings are malformed", what);
        if (f.number == 3 && f.wire == VARINT && f.value != MODEL_UNIGRAM)
            return kg_fail(KG_INPUT, "'%s': the tokenizer is of type %llu; only unigram (1) is known", what, (unsigned long long)f.value);
    }
    return KG_OK;
}

static kg_status check_normalizer(const char *what, span s)
{
    field f;
    while (s.n) {
        if (!next(&s, &f))
            return kg_fail(KG_INPUT, "'%s': the tokenizer's normaliser is malformed", what);
        if (f.number == 2 && (f.wire != BYTES || !charsmap_good(f.bytes)))
            return kg_fail(KG_INPUT, "'%s': the table of the tokenizer's normaliser is malformed", what);
    }
    return KG_OK;
}

kg_status kg_spiece_check(const char *what, const void *model, size_t n)
{
    span s = {model, n};
    field f;
    int pieces = 0;
    kg_status status = KG_OK;
    while (s.n && !status) {
        if (!next(&s, &f))
            return kg_fail(KG_INPUT, "'%s' is no sentencepiece model: malformed at byte %zu", what, n - s.n);
        if (f.number >= 1 && f.number <= 5 && f.wire != BYTES)
            return kg_fail(KG_INPUT, "'%s' is no sentencepiece model: field %u is no message", what, f.number);
        if (f.number == 1)
            status = check_piece(what, f.bytes, pieces++);
        else if (f.number == 2)
            status = check_trainer(what, f.bytes);
        else if (f.number == 3 || f.number == 5)
            status = check_normalizer(what, f.bytes);
    }
    if (!status && !pieces)
        status = kg_fail(KG_INPUT, "'%s' is no sentencepiece model: it has no pieces", what);
    return status;
}
