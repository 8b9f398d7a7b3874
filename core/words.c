/* Times in words. Each unit gives way to the next before its number is hard to picture: 119 s are 1 min 59 s, 50 h are 2 days 2 h. */
#include "core/words.h"

#include <math.h>
#include <stdio.h>

static const char *two(char *out, size_t n, double all, double unit, const char *large, const char *small)
{
    double whole = floor(all / unit);
    snprintf(out, n, "%.0f %s%s %.0f %s", whole, large, large[1] == 'a' && whole > 1 ? "s" : "", all - whole * unit, small);
    return out;
}

const char *kg_words_seconds(double seconds, char *out, size_t n)
{
    double s = round(seconds), minutes = round(seconds / 60), hours = round(seconds / 3600);
    if (!(seconds >= 0) || !(hours < 1e6))
        snprintf(out, n, "%s", seconds > 0 ? "centuries" : seconds < 0 ? "0 s" : "unknown");
    else if (seconds < 9.95)
        snprintf(out, n, "%.1f s", seconds);
    else if (s < 60)
        snprintf(out, n, "%.0f s", s);
    else if (s < 3600)
        two(out, n, s, 60, "min", "s");
    else if (minutes < 48 * 60)
        two(out, n, minutes, 60, "h", "min");
    else
        two(out, n, hours, 24, "day", "h");
    return out;
}
