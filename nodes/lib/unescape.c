/* HTML character references.
 *
 * ref: Python 3.11 html/__init__.py (unescape) for the loose form, ftfy 6.3 fixes.unescape_html for the strict one; both follow
 * https://html.spec.whatwg.org/multipage/parsing.html#character-reference-state in what numbers mean. */
#include <stdio.h>
#include <string.h>

#include "nodes/lib/clean_text.h"
#include "nodes/lib/entities.h"

enum { LOOSE_MAX = 32, STRICT_MAX = 24, SEMICOLON = ';' };

/* ---- numbers ---- */

/* Windows-1252 for the numbers 128 to 159 that are often meant so; 0 stands for itself. */
static const int32_t windows[32] = {0x20ac, 0x81, 0x201a, 0x192, 0x201e, 0x2026, 0x2020, 0x2021, 0x2c6, 0x2030, 0x160,
    0x2039, 0x152, 0x8d, 0x17d, 0x8f, 0x90, 0x2018, 0x2019, 0x201c, 0x201d, 0x2022, 0x2013, 0x2014, 0x2dc, 0x2122, 0x161,
    0x203a, 0x153, 0x9d, 0x17e, 0x178};

/* What a number means; -1: nothing at all. */
static int32_t numbered(int32_t n)
{
    if (n >= 0x80 && n < 0xa0)
        return windows[n - 0x80];
    if (!n || (n >= 0xd800 && n < 0xe000) || n > 0x10ffff)
        return 0xfffd;
    int control = n < 0x20 && n != '\t' && n != '\n' && n != '\f' && n != '\r';
    int hole = n == 0x7f || n == 0xb || (n >= 0xfdd0 && n < 0xfdf0) || (n & 0xfffe) == 0xfffe;
    return control || hole ? -1 : n;
}

static int digit(int32_t c, int base)
{
    int d = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : 99;
    return d < base ? d : -1;
}

/* Length of "#12" or "#x1f" at p (its semicolon not counted), and its value, held at 0x110000; 0 when there is no digit. */
static size_t number(const int32_t *p, size_t n, int32_t *value)
{
    int base = n > 1 && (p[1] == 'x' || p[1] == 'X') ? 16 : 10;
    size_t first = base == 16 ? 2 : 1, i = first;
    for (*value = 0; i < n && digit(p[i], base) >= 0; ++i)
        *value = *value > 0x10ffff ? 0x110000 : *value * base + digit(p[i], base);
    return i > first ? i : 0;
}

/* ---- names ---- */

static const char *lookup(const kg_entity *table, int count, const char *name)
{
    for (int low = 0, high = count; low < high;) {
        int mid = (low + high) / 2, order = strcmp(name, table[mid].name);
        if (!order)
            return table[mid].text;
        *(order < 0 ? &high : &low) = order < 0 ? mid : mid + 1;
    }
    return NULL;
}

/* The name at p, or the longest beginning of it that is one; returns the length that was read. */
static size_t named(const int32_t *p, size_t n, const char **text)
{
    char name[LOOSE_MAX + 2];
    size_t length = 0;
    for (; length < n && length < LOOSE_MAX && p[length] < 128 && !strchr("\t\n\f <&#;", p[length]); ++length)
        name[length] = (char)p[length];
    if (length < n && length && p[length] == SEMICOLON)
        name[length++] = SEMICOLON;
    for (*text = NULL; length > 1; --length) {
        name[length] = 0;
        if ((*text = lookup(kg_entities, kg_entities_count, name)))
            return length;
    }
    return 0;
}

void kg_unescape_loose(const kg_points *in, kg_points *out)
{
    for (size_t i = 0; i < in->n; ++i) {
        const int32_t *p = in->c + i + 1;
        size_t left = in->n - i - 1, used = 0;
        const char *text = NULL;
        int32_t value;
        if (in->c[i] != '&' || !left) {
            kg_points_add(out, in->c[i]);
        } else if (p[0] == '#' && (used = number(p, left, &value))) {
            i += used + (used < left && p[used] == SEMICOLON);
            if ((value = numbered(value)) >= 0)
                kg_points_add(out, value);
        } else if ((used = named(p, left, &text))) {
            i += used;
            kg_points_utf8(out, text);
        } else {
            kg_points_add(out, '&');
        }
    }
}

/* Length of "name;" or "#number;" at p as the strict form has it, 0 when it is none. */
static size_t strict(const int32_t *p, size_t n, char name[STRICT_MAX + 3])
{
    size_t i = 0, first = n && p[0] == '#';
    for (i = first; i < n && i - first < STRICT_MAX && p[i] < 128 && (digit(p[i], 10) >= 0 || ((p[i] | 32) >= 'a' && (p[i] | 32) <= 'z'));)
        ++i;
    if (i == first || i >= n || p[i] != SEMICOLON)
        return 0;
    for (size_t j = 0; j <= i; ++j)
        name[j] = (char)p[j];
    name[i + 1] = 0;
    return i + 1;
}

void kg_unescape_strict(const kg_points *in, kg_points *out)
{
    for (size_t i = 0; i < in->n; ++i) {
        char name[STRICT_MAX + 3];
        const int32_t *p = in->c + i + 1;
        int32_t value;
        size_t used = in->c[i] == '&' ? strict(p, in->n - i - 1, name) : 0;
        if (used && p[0] == '#') {
            /* A number that the semicolon does not end is left alone, and so is one that means a semicolon. */
            int whole = number(p, used, &value) == used - 1 && (value = numbered(value)) != SEMICOLON;
            if (whole) {
                i += used;
                if (value >= 0)
                    kg_points_add(out, value);
                continue;
            }
            used = 0;
        }
        const char *text = used ? lookup(kg_entities, kg_entities_count, name) : NULL;
        if (used && !text)
            text = lookup(kg_entities_capital, kg_entities_capital_count, name);
        if (text) {
            i += used;
            kg_points_utf8(out, text);
        } else {
            kg_points_add(out, in->c[i]);
        }
    }
}
