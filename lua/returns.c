/* Tail calls become calls: see returns.h. Only Lua's tokens are told apart, since a `return` is the last statement of its block: what
 * it returns ends at the `end`, `else`, `elseif`, `until`, semicolon or end of text that is on its own level of nesting. */
#include "lua/returns.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { DEEP = 256 };                           /* more than Lua's own parser takes */
static const char OPEN[] = "(\"\")[\"return\"](";

typedef struct place { size_t at; int opens; } place;
typedef struct level { char type; int place, opened; } level;  /* a block 'b', a bracket '(', or a return 'r' */
typedef struct scan {
    const char *s;
    size_t n, at;
    level levels[DEEP];
    int depth, failed;
    place *places;                             /* in the order of the text                                 */
    int count, room;
    size_t end;                                /* of the token before                                      */
} scan;

static int letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (unsigned char)c >= 0x80; }
static int digit(char c) { return c >= '0' && c <= '9'; }
static char at(const scan *x, size_t i) { return i < x->n ? x->s[i] : 0; }

/* Bytes of what a long bracket at i encloses, brackets included; 0: there is none. */
static size_t long_bracket(const scan *x, size_t i)
{
    size_t level = 0, k = i + 1;
    while (at(x, k) == '=')
        ++k, ++level;
    if (at(x, i) != '[' || at(x, k) != '[')
        return 0;
    for (++k; k < x->n; ++k) {
        size_t m = 1;
        if (x->s[k] != ']')
            continue;
        while (m <= level && at(x, k + m) == '=')
            ++m;
        if (m == level + 1 && at(x, k + m) == ']')
            return k + m + 1 - i;
    }
    return x->n - i;
}

static void pass_space(scan *x)
{
    for (;;) {
        char c = at(x, x->at);
        if (x->at < x->n && (c == ' ' || (c >= '\t' && c <= '\r')))
            ++x->at;
        else if (c == '-' && at(x, x->at + 1) == '-') {
            size_t n = long_bracket(x, x->at + 2);
            x->at += 2 + n;
            while (!n && x->at < x->n && x->s[x->at] != '\n' && x->s[x->at] != '\r')
                ++x->at;
        } else
            return;
    }
}

static size_t string_length(const scan *x)
{
    size_t i = x->at + 1;
    while (i < x->n && x->s[i] != x->s[x->at])
        i += 1 + (x->s[i] == '\\');
    return (i < x->n ? i + 1 : x->n) - x->at;
}

static size_t token_length(const scan *x)
{
    char c = x->s[x->at];
    size_t n = 1, bracket = long_bracket(x, x->at);
    if (bracket)
        return bracket;
    if (c == '"' || c == '\'')
        return string_length(x);
    if (letter(c) || digit(c))                 /* a name, or a number up to the sign of its exponent */
        while (letter(at(x, x->at + n)) || digit(at(x, x->at + n)) || (digit(c) && at(x, x->at + n) == '.'))
            ++n;
    return n;
}

static int place_add(scan *x, size_t at, int opens)
{
    if (x->count == x->room) {
        place *more = realloc(x->places, (size_t)(x->room = 2 * x->room + 64) * sizeof *more);
        if (!more)
            return x->failed = 1, 0;
        x->places = more;
    }
    x->places[x->count] = (place){at, opens};
    return x->count++;
}

static void push(scan *x, char type)
{
    if (x->depth == DEEP)
        x->failed = 1;
    else
        x->levels[x->depth++] = (level){.type = type};
}

/* The return on top of the levels ends with the token before. Only a call needs to be kept, and a call ends in one of ) } " ' ]. */
static void end_return(scan *x)
{
    level *top = x->depth ? &x->levels[x->depth - 1] : NULL;
    if (!top || top->type != 'r')
        return;
    if (top->opened && strchr(")}\"']", x->s[x->end - 1]))
        place_add(x, x->end, 0);
    else if (top->opened)
        x->places[top->place].at = SIZE_MAX;   /* none after all */
    --x->depth;
}

static void begin_returned(scan *x)
{
    level *top = x->depth ? &x->levels[x->depth - 1] : NULL;
    if (top && top->type == 'r' && !top->opened) {
        top->place = place_add(x, x->at, 1);
        top->opened = 1;
    }
}

/* One token, of n bytes. */
static void token(scan *x, const char *s, size_t n)
{
    static const char *const words[] = {"end", "until", "else", "elseif", "return", "function", "do", "if", "repeat"};
    int word = 0;
    while (word < 9 && (strlen(words[word]) != n || memcmp(words[word], s, n)))
        ++word;
    if (word < 4 || *s == ';')
        end_return(x);
    if (word < 2 || (n == 1 && strchr(")}]", *s)))
        x->depth -= x->depth > 0;
    else if (word >= 4)
        begin_returned(x);
    if (word > 3 && word < 9)
        push(x, word == 4 ? 'r' : 'b');
    else if (n == 1 && strchr("({[", *s))
        push(x, '(');
}

/* The text with what was found put in. */
static char *written(const scan *x, size_t *n)
{
    char *out = malloc(x->n + (size_t)x->count * sizeof OPEN + 1), *to = out;
    size_t from = 0;
    for (int i = 0; out && i < x->count; ++i) {
        const place *p = &x->places[i];
        if (p->at == SIZE_MAX)
            continue;
        memcpy(to, x->s + from, p->at - from);
        to += p->at - from;
        from = p->at;
        size_t m = p->opens ? sizeof OPEN - 1 : 1;
        memcpy(to, p->opens ? OPEN : ")", m);
        to += m;
    }
    if (out) {
        memcpy(to, x->s + from, x->n - from);
        *n = (size_t)(to - out) + x->n - from;
    }
    return out;
}

char *kg_returns_keep(const char *text, size_t *n)
{
    scan x = {.s = text, .n = *n};
    for (pass_space(&x); x.at < x.n && !x.failed; pass_space(&x)) {
        size_t m = token_length(&x);
        token(&x, text + x.at, m);
        x.at += m;
        x.end = x.at;
    }
    end_return(&x);
    char *out = x.failed || !x.count ? NULL : written(&x, n);
    free(x.places);
    return out;
}
