/* --params FILE: a JSON object of params, each as it would be typed. What JSON could say and no command line could is refused: null,
 * objects, lists of lists, zero bytes, a name that comes twice, numbers that a double has rounded, and whatever stands behind the
 * object. */
#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/kino_cli.h"

static kg_status refuse(const kino_options *o, const char *name, const char *why)
{
    return kg_fail(KG_USAGE, "%s: param \"%.60s\" %s", o->params, name, why);
}

/* cJSON prints fifteen digits; here is as many as it takes. */
static char *number(double v)
{
    char text[32];
    if (v == floor(v))
        snprintf(text, sizeof text, "%.0f", v);
    else
        for (int digits = 15; digits <= 17 && (snprintf(text, sizeof text, "%.*g", digits, v), strtod(text, NULL) != v); ++digits)
            continue;
    return strdup(text);
}

/* One value that is no list. malloc; NULL with an error. */
static char *typed(const kino_options *o, const char *name, const cJSON *v)
{
    char *text = NULL;
    if (cJSON_IsNull(v))
        refuse(o, name, "is null: leave it out for its default");
    else if (cJSON_IsObject(v))
        refuse(o, name, "is an object, which no param takes");
    else if (cJSON_IsArray(v))
        refuse(o, name, "is a list in a list, which no param takes");
    else if (cJSON_IsNumber(v) && !(fabs(v->valuedouble) < 0x1p53))
        refuse(o, name, "is a number that JSON readers round: write it in quotes");
    else if (cJSON_IsNumber(v))
        text = number(v->valuedouble);
    else
        text = strdup(cJSON_IsString(v) ? v->valuestring : cJSON_IsTrue(v) ? "true" : "false");
    if (!text)
        kg_fail(KG_FAILED, "out of host memory");      /* dropped where the reason is known */
    return text;
}

/* [1, "2"] is 1,2. */
static char *typed_list(const kino_options *o, const char *name, const cJSON *list)
{
    size_t n = 0, room = 1;
    char *all = calloc(1, room);
    for (const cJSON *i = list->child; i && all; i = i->next) {
        char *one = typed(o, name, i);
        size_t len = one ? strlen(one) : 0;
        char *more = one ? realloc(all, room += len + 1) : NULL;
        if (!more) {
            if (one)
                kg_fail(KG_FAILED, "out of host memory");
            free(all);
        } else {
            if (i != list->child)
                more[n++] = ',';
            memcpy(more + n, one, len + 1);
            n += len;
        }
        all = more;
        free(one);
    }
    return all;
}

static kg_status take(kino_options *o, const cJSON *object)
{
    for (const cJSON *v = object->child; v; v = v->next)
        for (const cJSON *w = object->child; w != v; w = w->next)
            if (!strcmp(v->string, w->string))
                return refuse(o, v->string, "is there twice");
    for (const cJSON *v = object->child; v; v = v->next) {
        if (kino_value_find(o, v->string) >= 0)
            continue;                  /* what is typed comes first */
        char *text = cJSON_IsArray(v) ? typed_list(o, v->string, v) : typed(o, v->string, v);
        kg_status s = text ? kino_value_put(o, v->string, text) : kg_error_last()->status;
        if (s != KG_OK)
            return s;
    }
    return KG_OK;
}

/* cJSON ends a string at \u0000 without a word. A backslash takes the next character with it. */
static int zero_escaped(const char *s)
{
    for (; *s; ++s)
        if (*s == '\\' && *++s == 'u' && !strncmp(s + 1, "0000", 4))
            return 1;
        else if (!*s)
            return 0;
    return 0;
}

kg_status kino_params_file(kino_options *o)
{
    char *text = kino_file_text(o->params);
    if (!text)
        return kg_error_last()->status;
    const char *end = text;
    cJSON *json = cJSON_ParseWithOpts(text, &end, 0);
    kg_status s = KG_OK;
    if (!cJSON_IsObject(json)) {
        s = kg_fail(KG_INPUT, "%s is no JSON object of params", o->params);
        if (!json)
            kg_hint("it breaks at byte %zu", (size_t)(end - text));
    } else if (end[strspn(end, " \t\r\n")])
        s = kg_fail(KG_USAGE, "%s: text behind the object of params, at byte %zu", o->params, (size_t)(end - text));
    else if (zero_escaped(text))
        s = kg_fail(KG_USAGE, "%s: \\u0000, a zero byte, is in no param", o->params);
    else
        s = take(o, json);
    cJSON_Delete(json);
    free(text);
    return s;
}
