/* Sizes and counts. What a C library would take besides (signs, blanks, hexadecimal, exponents, "inf") is a slip of whoever typed it,
 * and so is anything behind the number. */
#include "tools/kino_number.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char digits[] = "0123456789";

int kino_digits(const char *text, long most, long *out)
{
    errno = 0;
    *out = *text && !text[strspn(text, digits)] ? strtol(text, NULL, 10) : -1;
    return *out >= 0 && *out <= most && !errno;
}

kg_status kino_count(const char *what, const char *text, long least, long most, long *out)
{
    if (kino_digits(text, most, out) && *out >= least)
        return KG_OK;
    return kg_fail(KG_USAGE, "%s wants a whole number from %ld to %ld, not \"%.60s\"", what, least, most, text);
}

int kino_card(const char *device)
{
    long n = 0;
    if (strncmp(device, "cuda", 4) || (device[4] && device[4] != ':'))
        return -1;
    return device[4] && !kino_digits(device + 5, 1023, &n) ? -1 : (int)n;
}

/* What a unit stands for; 0: it is none. */
static double unit(const char *text)
{
    static const struct { const char *name; double bytes; } units[] = {
        {"", 1}, {"K", 0x1p10}, {"KiB", 0x1p10}, {"KB", 1e3}, {"M", 0x1p20}, {"MiB", 0x1p20}, {"MB", 1e6}, {"G", 0x1p30},
        {"GiB", 0x1p30}, {"GB", 1e9}, {"T", 0x1p40}, {"TiB", 0x1p40}, {"TB", 1e12}};
    for (size_t i = 0; i < sizeof units / sizeof *units; ++i)
        if (!strcasecmp(text, units[i].name))
            return units[i].bytes;
    return 0;
}

kg_status kino_size(const char *what, const char *text, size_t *out)
{
    size_t whole = strspn(text, digits), point = text[whole] == '.', part = point ? strspn(text + whole + 1, digits) : 0;
    double v = whole && part >= point ? strtod(text, NULL) * unit(text + whole + point + part) : 0;
    if (!(v >= 1) || v > 0x1p60) {
        kg_fail(KG_USAGE, "%s: \"%.60s\" is no size", what, text);
        kg_hint("a number, and K, M, G or T for powers of 1024 (so are KiB, MiB, GiB, TiB; KB, MB, GB, TB are powers of 1000): 1.5G");
        return KG_USAGE;
    }
    *out = (size_t)v;
    return KG_OK;
}
