/* What may be shown: see plain.h. */
#include "core/plain.h"

#include <string.h>

/* Length of the UTF-8 sequence at s, 0 when it is none (cut, overlong, a surrogate, beyond U+10FFFF). *c: its code point. */
static int decode(const unsigned char *s, unsigned *c)
{
    static const unsigned least[] = {0, 0, 0x80, 0x800, 0x10000};
    int n = s[0] < 0x80 ? 1 : s[0] >> 5 == 6 ? 2 : s[0] >> 4 == 14 ? 3 : s[0] >> 3 == 30 ? 4 : 0;
    *c = n == 1 ? s[0] : n ? s[0] & (0x7fu >> n) : 0;
    for (int i = 1; i < n; ++i) {              /* the NUL behind a cut sequence ends this */
        if (s[i] >> 6 != 2)
            return 0;
        *c = *c << 6 | (s[i] & 63u);
    }
    return *c < least[n] || *c > 0x10ffff || (*c >= 0xd800 && *c < 0xe000) ? 0 : n;
}

static int steers(unsigned c)
{
    return (c < 32 && c != '\t') || (c >= 0x7f && c < 0xa0) || (c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069);
}

int kg_plain_next(const char *s, int *bad)
{
    unsigned c;
    int n = decode((const unsigned char *)s, &c);
    *bad = !n || steers(c);
    return n ? n : 1;
}

int kg_plain_is(const char *s)
{
    for (int bad; *s; s += kg_plain_next(s, &bad))
        if (kg_plain_next(s, &bad), bad)
            return 0;
    return 1;
}

void kg_plain(char *s)
{
    for (int bad, n; *s; s += n) {
        n = kg_plain_next(s, &bad);
        if (bad)
            memset(s, '?', (size_t)n);
    }
}
