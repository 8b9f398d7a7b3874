/* What a run wrote names its own making: script, params, models, numerics, version. --from turns that back into a command. */
#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/graph_internal.h"
#include "nodes/lib/provenance.h"
#include "tools/kino_cli.h"

char *kino_provenance(const kino_options *o, const kg_script_doc *doc, const kg_graph *g, const kg_device *d)
{
    cJSON *j = cJSON_CreateObject(), *params = cJSON_CreateObject(), *models = cJSON_CreateArray();
    cJSON_AddStringToObject(j, "kinograph", KINO_VERSION);
    cJSON_AddStringToObject(j, "script", o->target);
    for (int i = 0; i < doc->n; ++i) {
        int v = kino_value_find(o, doc->params[i].name);
        const char *text = v >= 0 ? o->value[v].text : doc->params[i].def;
        if (text)
            cJSON_AddStringToObject(params, doc->params[i].name, text);
    }
    cJSON_AddItemToObject(j, "params", params);
    if (o->precision)
        cJSON_AddStringToObject(j, "precision", o->precision);
    for (int i = 0; i < kg_graph_count(g); ++i) {
        const kg_resource *r = g->node[i]->resource;
        char hex[65];
        kg_key k;
        if (!r)
            continue;
        memcpy(k.b, r->identity, sizeof k.b);
        kg_key_hex(&k, hex);
        cJSON *m = cJSON_CreateObject();
        cJSON_AddStringToObject(m, "node", kg_graph_type(g, i)->name);
        cJSON_AddStringToObject(m, "identity", hex);
        cJSON_AddItemToArray(models, m);
    }
    cJSON_AddItemToObject(j, "models", models);
    cJSON_AddStringToObject(j, "numerics", d->tag);
    char *text = cJSON_PrintUnformatted(j);
    cJSON_Delete(j);
    return text;
}

/* A word as a shell takes it. */
static void quote(const char *s)
{
    if (*s && !s[strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=:,./@%")]) {
        fputs(s, stdout);
        return;
    }
    putchar('\'');
    for (; *s; ++s)
        if (*s == '\'')
            fputs("'\\''", stdout);
        else
            putchar(*s);
    putchar('\'');
}

static kg_status take(kino_options *o, const cJSON *j)
{
    const cJSON *script = cJSON_GetObjectItem(j, "script"), *params = cJSON_GetObjectItem(j, "params"),
                *precision = cJSON_GetObjectItem(j, "precision");
    if (!cJSON_IsString(script) || !cJSON_IsObject(params))
        return kg_fail(KG_INPUT, "%s does not say how it was made", o->from);
    if (!o->target)
        o->target = strdup(script->valuestring);
    if (cJSON_IsString(precision) && !o->precision)
        o->precision = strdup(precision->valuestring);
    for (const cJSON *v = params->child; v; v = v->next) {
        if (!cJSON_IsString(v) || kino_value_find(o, v->string) >= 0)
            continue;
        if (o->values < KINO_VALUES)   /* not kino_value_add: a value of a file is never read as @FILE */
            o->value[o->values++] = (kg_script_value){strdup(v->string), strdup(v->valuestring)};
    }
    return KG_OK;
}

kg_status kino_from(kino_options *o)
{
    kg_files *files = kg_files_new();
    kg_status s = kg_files_grant(files, o->from);
    kg_file *f = s == KG_OK ? kg_open(files, o->from) : NULL;
    char *text = f ? kg_provenance_read(f) : NULL;
    cJSON *j = text ? cJSON_Parse(text) : NULL;
    s = text ? take(o, j) : kg_error_last()->status;
    if (s == KG_OK) {
        fputs("kino run ", stdout);
        quote(o->target);
        for (int i = 0; i < o->values; ++i) {
            printf(" --%s ", o->value[i].name);
            quote(o->value[i].text);
        }
        if (o->precision)
            printf(" --precision %s", o->precision);
        putchar('\n');
        fflush(stdout);
    }
    cJSON_Delete(j);
    free(text);
    kg_file_unref(f);
    kg_files_free(files);
    return s;
}
