/* Params: see param.h. Whole numbers from a script are exact to 2^53; a larger one comes as decimal text. */
#include "core/param.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIELD(T, p, s) (*(T *)((char *)(s) + (p)->offset))
#define CONST_FIELD(T, p, s) (*(const T *)((const char *)(s) + (p)->offset))

static int is_text(const kg_param *p) { return p->type == KG_T_TEXT || p->type == KG_T_PATH || p->type == KG_T_OUT; }

const kg_param *kg_param_find(const kg_node_type *t, const char *name)
{
    for (const kg_param *p = t->params; p && p->name; ++p)
        if (!strcmp(p->name, name))
            return p;
    return NULL;
}

int kg_param_option(const kg_param *p, const char *word)
{
    size_t n = strlen(word);
    const char *s = p->def_text;
    for (int i = 0;; ++i) {
        size_t m = strcspn(s, "|");
        if (m == n && !memcmp(s, word, n))
            return i;
        if (!s[m])
            return -1;
        s += m + 1;
    }
}

static int option_text(const kg_param *p, int index, char *out, size_t n)
{
    const char *s = p->def_text;
    for (; index > 0; --index)
        s += strcspn(s, "|") + 1;
    return snprintf(out, n, "%.*s", (int)strcspn(s, "|"), s);
}

void kg_params_default(const kg_node_type *t, void *params)
{
    for (const kg_param *p = t->params; p && p->name; ++p)
        switch (p->type) {
        case KG_T_INT: FIELD(int64_t, p, params) = p->flags & KG_AUTO ? KG_AUTO_INT : (int64_t)p->def; break;
        case KG_T_REAL: FIELD(double, p, params) = p->flags & KG_AUTO ? (double)NAN : p->def; break;
        case KG_T_BOOL:
        case KG_T_CHOICE: FIELD(int, p, params) = (int)p->def; break;
        case KG_T_INTS: FIELD(kg_ints, p, params) = (kg_ints){.n = 1}; break;
        default: FIELD(const char *, p, params) = p->def_text ? strdup(p->def_text) : NULL;
        }
}

void kg_params_drop(const kg_node_type *t, void *params)
{
    for (const kg_param *p = t->params; p && p->name; ++p)
        if (is_text(p))
            free((void *)(uintptr_t)FIELD(const char *, p, params));
}

void kg_params_copy(const kg_node_type *t, void *to, const void *from)
{
    memcpy(to, from, t->params_size);
    for (const kg_param *p = t->params; p && p->name; ++p)
        if (is_text(p)) {
            const char *s = CONST_FIELD(char *, p, from);
            FIELD(const char *, p, to) = s ? strdup(s) : NULL;
        }
}

static kg_status out_of_range(const kg_param *p, const char *value)
{
    char range[128];
    if (p->step > 1)
        snprintf(range, sizeof range, "%.15g to %.15g in steps of %.15g", p->min, p->max, p->step);
    else
        snprintf(range, sizeof range, "%.15g to %.15g", p->min, p->max);
    return kg_fail(KG_USAGE, "%s = %s is out of range: %s%s", p->name, value, range, p->flags & KG_AUTO ? ", or \"auto\"" : "");
}

/* A 64-bit whole number from decimal text: -2^63 .. 2^64 - 1 (seeds keep their bits). */
static int whole(const char *s, int64_t *out)
{
    const char *digits = s + (s[0] == '-');
    errno = 0;
    if (!*digits || digits[strspn(digits, "0123456789")])
        return 0;
    *out = s[0] == '-' ? strtoll(s, NULL, 10) : (int64_t)strtoull(s, NULL, 10);
    return !errno;
}

static kg_status set_int(const kg_param *p, void *params, int64_t v)
{
    char text[32];
    snprintf(text, sizeof text, "%" PRId64, v);
    if ((double)v < p->min || (double)v > p->max)
        return out_of_range(p, text);
    if (p->step > 1 && (v - (int64_t)p->min) % (int64_t)p->step) {
        int64_t low = v - (v - (int64_t)p->min) % (int64_t)p->step;
        out_of_range(p, text);
        kg_hint("the nearest are %" PRId64 " and %.0f", low, fmin((double)low + p->step, p->max));
        return KG_USAGE;
    }
    FIELD(int64_t, p, params) = v;
    return KG_OK;
}

static kg_status wrong_type(const kg_param *p, const char *wanted)
{
    return kg_fail(KG_USAGE, "%s wants %s%s", p->name, wanted, p->flags & KG_AUTO ? " or \"auto\"" : "");
}

static kg_status set_number(const kg_param *p, void *params, const kg_arg *a)
{
    if (a->kind == KG_A_TEXT && p->flags & KG_AUTO && !strcmp(a->s, "auto")) {
        if (p->type == KG_T_INT)
            FIELD(int64_t, p, params) = KG_AUTO_INT;
        else
            FIELD(double, p, params) = (double)NAN;
        return KG_OK;
    }
    if (p->type == KG_T_INT) {
        int64_t v = a->i;
        if (a->kind == KG_A_REAL && a->r == floor(a->r) && fabs(a->r) <= 0x1p53)
            v = (int64_t)a->r;
        else if (a->kind == KG_A_TEXT ? !whole(a->s, &v) : a->kind != KG_A_INT)
            return wrong_type(p, "a whole number");
        return set_int(p, params, v);
    }
    double v = a->kind == KG_A_INT ? (double)a->i : a->r;
    if (a->kind == KG_A_TEXT) {
        char *end;
        v = strtod(a->s, &end);        /* it would take blanks, hexadecimal and names of no number too */
        if (!a->s[0] || *end || a->s[strspn(a->s, "0123456789.eE+-")])
            return wrong_type(p, "a number");
    } else if (a->kind != KG_A_INT && a->kind != KG_A_REAL)
        return wrong_type(p, "a number");
    if (!(v >= p->min && v <= p->max)) {
        char text[32];
        snprintf(text, sizeof text, "%.15g", v);
        return out_of_range(p, text);
    }
    FIELD(double, p, params) = v;
    return KG_OK;
}

static kg_status set_ints(const kg_param *p, void *params, const kg_arg *a)
{
    kg_ints *list = &FIELD(kg_ints, p, params);
    if (a->kind == KG_A_INTS) {
        if (a->n < 1 || a->n > (int)(sizeof list->v / sizeof *list->v))
            return kg_fail(KG_USAGE, "%s takes 1 to %zu numbers, not %d", p->name, sizeof list->v / sizeof *list->v, a->n);
        list->n = a->n;
        memcpy(list->v, a->list, (size_t)a->n * sizeof *a->list);
        return KG_OK;
    }
    int64_t v = a->i;
    if (a->kind == KG_A_REAL && a->r == floor(a->r) && fabs(a->r) <= 0x1p53)
        v = (int64_t)a->r;
    else if (a->kind == KG_A_TEXT ? !whole(a->s, &v) : a->kind != KG_A_INT)
        return wrong_type(p, "a whole number or a list of them");
    if (a->kind == KG_A_TEXT ? a->s[0] == '-' : v < 0)
        return kg_fail(KG_USAGE, "%s takes whole numbers from 0 to 2^64 - 1", p->name);
    list->n = 1;
    list->v[0] = v;
    return KG_OK;
}

static kg_status set_choice(const kg_param *p, void *params, const kg_arg *a)
{
    if (a->kind != KG_A_TEXT)
        return wrong_type(p, "a word");
    int i = kg_param_option(p, a->s);
    if (i < 0)
        return kg_fail(KG_USAGE, "%s = \"%s\" is not one of %s", p->name, a->s, p->def_text);
    FIELD(int, p, params) = i;
    return KG_OK;
}

kg_status kg_param_set(const kg_param *p, void *params, const kg_arg *a)
{
    switch (p->type) {
    case KG_T_INT:
    case KG_T_REAL: return set_number(p, params, a);
    case KG_T_INTS: return set_ints(p, params, a);
    case KG_T_CHOICE: return set_choice(p, params, a);
    case KG_T_BOOL:
        if (a->kind != KG_A_BOOL)
            return wrong_type(p, "true or false");
        FIELD(int, p, params) = a->i != 0;
        return KG_OK;
    default:
        if (a->kind != KG_A_TEXT)
            return wrong_type(p, "text");
        free((void *)(uintptr_t)FIELD(const char *, p, params));
        FIELD(const char *, p, params) = strdup(a->s);
        return KG_OK;
    }
}

int kg_params_items(const kg_node_type *t, const void *params)
{
    for (const kg_param *p = t->params; p && p->name; ++p)
        if (p->flags & KG_ITEMS)
            return CONST_FIELD(kg_ints, p, params).n;
    return 1;
}

static int ints_text(const kg_ints *list, char *out, size_t n)
{
    int used = 0;
    for (int i = 0; i < list->n && (size_t)used < n; ++i)
        used += snprintf(out + used, n - (size_t)used, i ? ",%" PRIu64 : "%" PRIu64, (uint64_t)list->v[i]);
    return used;
}

int kg_param_text(const kg_param *p, const void *params, char *out, size_t n)
{
    switch (p->type) {
    case KG_T_INT: {
        int64_t v = CONST_FIELD(int64_t, p, params);
        return v == KG_AUTO_INT ? snprintf(out, n, "auto") : snprintf(out, n, "%" PRId64, v);
    }
    case KG_T_REAL: {
        double v = CONST_FIELD(double, p, params);
        return isnan(v) ? snprintf(out, n, "auto") : snprintf(out, n, "%.17g", v);
    }
    case KG_T_BOOL: return snprintf(out, n, "%s", CONST_FIELD(int, p, params) ? "true" : "false");
    case KG_T_CHOICE: return option_text(p, CONST_FIELD(int, p, params), out, n);
    case KG_T_INTS: return ints_text(&CONST_FIELD(kg_ints, p, params), out, n);
    default: return snprintf(out, n, "%s", CONST_FIELD(char *, p, params) ? CONST_FIELD(char *, p, params) : "");
    }
}

static int is_default(const kg_param *p, const void *params)
{
    switch (p->type) {
    case KG_T_INT: return !(p->flags & KG_AUTO) && CONST_FIELD(int64_t, p, params) == (int64_t)p->def;
    case KG_T_REAL: return !(p->flags & KG_AUTO) && CONST_FIELD(double, p, params) == p->def;
    case KG_T_BOOL:
    case KG_T_CHOICE: return CONST_FIELD(int, p, params) == (int)p->def;
    case KG_T_INTS: return 0;
    default: {
        const char *s = CONST_FIELD(char *, p, params);
        return s == p->def_text || (s && p->def_text && !strcmp(s, p->def_text));
    }
    }
}

void kg_params_hash(const kg_node_type *t, const void *params, int item, kg_hash *h)
{
    for (const kg_param *p = t->params; p && p->name; ++p) {
        if (p->flags & KG_UNKEYED || p->type == KG_T_PATH || is_default(p, params))
            continue;
        kg_hash_text(h, p->name);
        if (is_text(p)) {
            kg_hash_text(h, CONST_FIELD(char *, p, params));
            continue;
        }
        char text[64 * 21];
        if (p->flags & KG_ITEMS && item >= 0) {
            const kg_ints *list = &CONST_FIELD(kg_ints, p, params);
            snprintf(text, sizeof text, "%" PRIu64, (uint64_t)list->v[item < list->n ? item : 0]);
        } else
            kg_param_text(p, params, text, sizeof text);
        kg_hash_text(h, text);
    }
}

void kg_params_trace_hash(const kg_node_type *t, const void *params, kg_hash *h)
{
    for (const kg_param *p = t->params; p && p->name; ++p) {
        char text[64 * 21];
        if (p->type == KG_T_OUT) {
            const char *path = CONST_FIELD(char *, p, params), *dot = path ? strrchr(path, '.') : NULL;
            kg_hash_text(h, dot ? dot : "");
            kg_hash_text(h, path && strchr(path, '%') ? "many" : "");
        } else if (p->flags & KG_UNTRACED && p->type == KG_T_INTS) {
            kg_hash_bytes(h, &CONST_FIELD(kg_ints, p, params).n, sizeof(int));
        } else if (is_text(p)) {
            const char *s = CONST_FIELD(char *, p, params);
            kg_hash_text(h, s && !(p->flags & KG_UNTRACED) ? s : "");
        } else if (!(p->flags & KG_UNTRACED)) {
            kg_param_text(p, params, text, sizeof text);
            kg_hash_text(h, text);
        }
    }
}
