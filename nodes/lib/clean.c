/* Cleaning of prompts.
 *
 * What ftfy.fix_text does with its defaults, but for the repair of text that was decoded in the wrong encoding: here only tables of
 * characters decide. Then html.unescape twice, and every run of white space becomes one space. Normal form C is utf8proc's.
 * ref: diffusers pipeline_wan.py (prompt_clean), Wan2.1 wan/modules/tokenizers.py (whitespace_clean), ftfy 6.3 fix_and_explain */
#include "nodes/lib/clean.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "nodes/lib/clean_text.h"

enum { PASSES_MAX = 64 };      /* each pass of the tables takes off one level of "&amp;amp;"; nobody nests deeper */

void kg_points_add(kg_points *p, int32_t c)
{
    if (p->n == p->room && !p->failed) {
        size_t room = p->room ? p->room * 2 : 256;
        int32_t *more = realloc(p->c, room * sizeof *more);
        if (!more) {
            p->failed = 1;
            kg_fail(KG_FAILED, "out of memory for a text of %zu characters", room);
            return;
        }
        p->c = more;
        p->room = room;
    }
    if (!p->failed)
        p->c[p->n++] = c;
}

void kg_points_utf8(kg_points *p, const char *text)
{
    utf8proc_int32_t c;
    for (utf8proc_ssize_t used; *text; text += used) {
        used = utf8proc_iterate((const utf8proc_uint8_t *)text, -1, &c);
        if (used < 1)
            return;
        kg_points_add(p, c);
    }
}

static int between(int32_t c, int32_t first, int32_t last) { return c >= first && c <= last; }

/* ---- tables of single characters ---- */

/* Latin ligatures and digraphs, taken apart. */
static const char *ligature(int32_t c)
{
    static const struct { int32_t c; const char *text; } rows[] = {
        {0x132, "IJ"}, {0x133, "ij"}, {0x149, "\u02bcn"}, {0x1c4, "D\u017d"}, {0x1c5, "D\u017e"}, {0x1c6, "d\u017e"}, {0x1c7, "LJ"},
        {0x1c8, "Lj"}, {0x1c9, "lj"}, {0x1ca, "NJ"}, {0x1cb, "Nj"}, {0x1cc, "nj"}, {0x1f1, "DZ"}, {0x1f2, "Dz"}, {0x1f3, "dz"},
        {0xfb00, "ff"}, {0xfb01, "fi"}, {0xfb02, "fl"}, {0xfb03, "ffi"}, {0xfb04, "ffl"}, {0xfb05, "\u017ft"}, {0xfb06, "st"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows && c >= 0x132; ++i)
        if (rows[i].c == c)
            return rows[i].text;
    return NULL;
}

/* C1 control characters are what Windows-1252 has at their place, where it has something. */
static int32_t windows(int32_t c)
{
    kg_points in = {.c = (int32_t[]){'&', '#', '0' + c / 100, '0' + c / 10 % 10, '0' + c % 10, ';'}, .n = 6}, out = {0};
    kg_unescape_loose(&in, &out);
    if (out.n == 1)
        c = out.c[0];
    free(out.c);
    return c;
}

/* Halfwidth and fullwidth forms to the usual ones. */
static void width(kg_points *out, int32_t c)
{
    char text[8] = {0};
    if (c == 0x3000) {
        kg_points_add(out, ' ');
        return;
    }
    if (!between(c, 0xff01, 0xffef)) {
        kg_points_add(out, c);
        return;
    }
    utf8proc_uint8_t *usual = NULL;
    utf8proc_encode_char(c, (utf8proc_uint8_t *)text);
    utf8proc_option_t nfkc = UTF8PROC_NULLTERM | UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT;
    if (utf8proc_map((const utf8proc_uint8_t *)text, 0, &usual, nfkc) > 0)
        kg_points_utf8(out, (const char *)usual);
    else
        kg_points_add(out, c);
    free(usual);
}

static int32_t straight(int32_t c)
{
    if (c == 0x2bc || between(c, 0x2018, 0x201b))
        return '\'';
    return between(c, 0x201c, 0x201f) ? '"' : c;
}

/* Control characters that no text means; white space, joiners and marks of direction stay. */
static int dropped(int32_t c)
{
    return between(c, 0, 8) || c == 0xb || between(c, 0xe, 0x1f) || c == 0x7f || between(c, 0x206a, 0x206f) || c == 0xfeff ||
           between(c, 0xfff9, 0xfffc);
}

static int is_space(int32_t c)
{
    return between(c, 9, 13) || between(c, 0x1c, 0x20) || c == 0x85 || c == 0xa0 || c == 0x1680 || between(c, 0x2000, 0x200a) ||
           c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

/* ---- passes ---- */

static void pass_tables(const kg_points *in, kg_points *out)
{
    for (size_t i = 0; i < in->n; ++i) {
        int32_t c = in->c[i];
        const char *parts = ligature(c);
        if (parts)
            kg_points_utf8(out, parts);
        else
            width(out, between(c, 0x80, 0x9f) ? windows(c) : c);
    }
    for (size_t i = 0; i < out->n; ++i)
        out->c[i] = straight(out->c[i]);
}

/* "\r\n", "\r" and the separators of Unicode are line breaks. */
static void pass_lines(const kg_points *in, kg_points *out)
{
    for (size_t i = 0; i < in->n; ++i) {
        int32_t c = in->c[i];
        if (c == '\r' && i + 1 < in->n && in->c[i + 1] == '\n')
            continue;
        kg_points_add(out, c == '\r' || c == 0x2028 || c == 0x2029 || c == 0x85 ? '\n' : c);
    }
}

static int ascii_letter(int32_t c) { return between(c | 32, 'a', 'z'); }

/* Terminal escapes (ESC [ digits letter) and control characters go. */
static void pass_controls(const kg_points *in, kg_points *out)
{
    for (size_t i = 0; i < in->n; ++i) {
        size_t end = i + 2;
        if (in->c[i] == 27 && end < in->n && in->c[i + 1] == '[') {
            while (end < in->n && (between(in->c[end], '0', '9') || in->c[end] == ';'))
                ++end;
            if (end < in->n && ascii_letter(in->c[end])) {
                i = end;
                continue;
            }
        }
        if (!dropped(in->c[i]))
            kg_points_add(out, in->c[i]);
    }
}

static char *to_utf8(const kg_points *p)
{
    char *text = malloc(p->n * 4 + 1), *to = text;
    if (!text) {
        kg_fail(KG_FAILED, "out of memory for a text of %zu characters", p->n);
        return NULL;
    }
    for (size_t i = 0; i < p->n; ++i)
        to += utf8proc_encode_char(p->c[i], (utf8proc_uint8_t *)to);
    *to = 0;
    return text;
}

static void pass_compose(const kg_points *in, kg_points *out)
{
    char *text = to_utf8(in);
    utf8proc_uint8_t *composed = text ? utf8proc_NFC((const utf8proc_uint8_t *)text) : NULL;
    if (composed)
        kg_points_utf8(out, (const char *)composed);
    else {
        kg_fail(KG_FAILED, "a text could not be normalised");
        out->failed = 1;
    }
    free(composed);
    free(text);
}

/* ---- the whole ---- */

typedef void pass_fn(const kg_points *in, kg_points *out);

/* Rewrites p by one pass; 1 when it changed something. */
static int apply(kg_points *p, pass_fn *pass)
{
    kg_points out = {0};
    if (p->failed)
        return 0;
    pass(p, &out);
    int changed = out.n != p->n || (out.n && memcmp(out.c, p->c, out.n * sizeof *out.c));
    free(p->c);
    *p = out;
    return changed;
}

/* One line (with its line break), until no table changes it any more. html: 0 when a '<' says that this is markup. */
static void fix_line(kg_points *p, int html)
{
    static pass_fn *const passes[] = {pass_tables, pass_lines, pass_controls, pass_compose};
    int changed = 1;
    for (int i = 0; i < PASSES_MAX && changed && !p->failed; ++i) {
        changed = html && apply(p, kg_unescape_strict);
        for (size_t j = 0; j < sizeof passes / sizeof *passes; ++j)
            changed |= apply(p, passes[j]);
    }
}

static void pass_fix(const kg_points *in, kg_points *out)
{
    int html = 1;
    for (size_t i = 0, end; i < in->n && !out->failed; i = end) {
        kg_points line = {0};
        for (end = i; end < in->n && (end == i || in->c[end - 1] != '\n'); ++end) {
            html = html && in->c[end] != '<';
            kg_points_add(&line, in->c[end]);
        }
        fix_line(&line, html);
        for (size_t j = 0; j < line.n; ++j)
            kg_points_add(out, line.c[j]);
        out->failed |= line.failed;
        free(line.c);
    }
}

static void pass_spaces(const kg_points *in, kg_points *out)
{
    int waiting = 0;
    for (size_t i = 0; i < in->n; ++i) {
        if (is_space(in->c[i])) {
            waiting = out->n > 0;
            continue;
        }
        if (waiting)
            kg_points_add(out, ' ');
        waiting = 0;
        kg_points_add(out, in->c[i]);
    }
}

static kg_status from_utf8(const char *text, kg_points *p)
{
    utf8proc_int32_t c;
    for (size_t at = 0; text[at];) {
        utf8proc_ssize_t used = utf8proc_iterate((const utf8proc_uint8_t *)text + at, -1, &c);
        if (used < 1)
            return kg_fail(KG_USAGE, "a text is not UTF-8 at byte %zu", at);
        kg_points_add(p, c);
        at += (size_t)used;
    }
    return p->failed ? KG_FAILED : KG_OK;
}

char *kg_clean_text(const char *text)
{
    static pass_fn *const passes[] = {pass_fix, kg_unescape_loose, kg_unescape_loose, pass_spaces};
    kg_points p = {0};
    kg_status status = from_utf8(text, &p);
    for (size_t i = 0; i < sizeof passes / sizeof *passes && !status; ++i) {
        apply(&p, passes[i]);
        status = p.failed ? KG_FAILED : KG_OK;
    }
    char *out = status ? NULL : to_utf8(&p);
    free(p.c);
    return out;
}
