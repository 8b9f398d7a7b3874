/* Matching tensor names against patterns with "%d" for numbers. */
#include "nodes/lib/names.h"

#include <stdio.h>
#include <string.h>

enum { NUMBERS_MAX = 4, DIGITS_MAX = 6 };

/* Length of the number at s: at most six digits, none of them a leading zero; 0 when there is none. */
static size_t digits(const char *s, int *value)
{
    size_t n = 0;
    *value = 0;
    for (; s[n] >= '0' && s[n] <= '9' && n < DIGITS_MAX; ++n)
        *value = *value * 10 + (s[n] - '0');
    return n > 1 && s[0] == '0' ? 0 : n;
}

/* What is left of name after the pattern, with its numbers; NULL when it does not begin with it. */
static const char *match(const char *pattern, const char *name, int numbers[NUMBERS_MAX])
{
    int n = 0;
    while (*pattern) {
        if (pattern[0] == '%' && pattern[1] == 'd') {
            size_t used = n < NUMBERS_MAX ? digits(name, &numbers[n++]) : 0;
            if (!used)
                return NULL;
            pattern += 2;
            name += used;
        } else if (*pattern++ != *name++)
            return NULL;
    }
    return name;
}

int kg_alias_apply(const kg_alias *row, const char *official, char *out, size_t n)
{
    int numbers[NUMBERS_MAX], next = 0;
    const char *rest = match(row->official, official, numbers);
    if (!rest || (*rest && *rest != '.'))
        return 0;
    size_t used = 0;
    for (const char *p = row->other; *p; ++p) {
        char text[16] = {*p, 0};
        if (p[0] == '%' && p[1] == 'd' && next < NUMBERS_MAX) {
            snprintf(text, sizeof text, "%d", numbers[next++]);
            ++p;
        }
        size_t more = strlen(text);
        if (used + more >= n)
            return 0;
        memcpy(out + used, text, more);
        used += more;
    }
    if (used + strlen(rest) >= n)
        return 0;
    strcpy(out + used, rest);
    return 1;
}

int kg_name_number(const char *pattern, const char *name)
{
    int numbers[NUMBERS_MAX];
    return match(pattern, name, numbers) ? numbers[0] : -1;
}
