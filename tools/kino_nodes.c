/* kino nodes: what the tables of the node types say, all of them, those of a prefix, or one in full. */
#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/param.h"
#include "tools/kino_cli.h"

static int by_name(const void *a, const void *b)
{
    return strcmp((*(const kg_node_type *const *)a)->name, (*(const kg_node_type *const *)b)->name);
}

static cJSON *ports_json(const kg_port *p)
{
    cJSON *list = cJSON_CreateArray();
    for (; p && p->name; ++p) {
        cJSON *o = cJSON_CreateObject();
        cJSON_AddStringToObject(o, "name", p->name);
        cJSON_AddStringToObject(o, "kind", p->kind);
        cJSON_AddBoolToObject(o, "stream", p->flags & KG_STREAM);
        cJSON_AddBoolToObject(o, "optional", p->flags & KG_OPTIONAL);
        cJSON_AddBoolToObject(o, "list", p->flags & (KG_LIST | KG_WHOLE));
        cJSON_AddStringToObject(o, "doc", p->doc);
        cJSON_AddItemToArray(list, o);
    }
    return list;
}

static const char *type_name(const kg_param *p)
{
    static const char *const names[] = {"int", "real", "bool", "text", "choice", "path", "out", "ints"};
    return names[p->type];
}

static cJSON *node_json(const kg_node_type *t)
{
    cJSON *o = cJSON_CreateObject(), *params = cJSON_CreateArray();
    void *defaults = calloc(1, t->params_size + 1);
    kg_params_default(t, defaults);
    cJSON_AddStringToObject(o, "name", t->name);
    cJSON_AddStringToObject(o, "doc", t->doc);
    cJSON_AddNumberToObject(o, "version", t->version);
    cJSON_AddItemToObject(o, "inputs", ports_json(t->inputs));
    cJSON_AddItemToObject(o, "outputs", ports_json(t->outputs));
    for (const kg_param *p = t->params; p && p->name; ++p) {
        char text[256];
        cJSON *q = cJSON_CreateObject();
        kg_param_text(p, defaults, text, sizeof text);
        cJSON_AddStringToObject(q, "name", p->name);
        cJSON_AddStringToObject(q, "type", type_name(p));
        if (!(p->flags & KG_REQUIRED))
            cJSON_AddStringToObject(q, "default", text);
        if (p->type == KG_T_CHOICE)
            cJSON_AddStringToObject(q, "choices", p->def_text);
        if (p->type == KG_T_INT || p->type == KG_T_REAL) {
            cJSON_AddNumberToObject(q, "min", p->min);
            cJSON_AddNumberToObject(q, "max", p->max);
        }
        cJSON_AddStringToObject(q, "doc", p->doc);
        cJSON_AddItemToArray(params, q);
    }
    cJSON_AddItemToObject(o, "params", params);
    kg_params_drop(t, defaults);
    free(defaults);
    return o;
}

static void node_text(const kg_node_type *t)
{
    printf("%s: %s\n", t->name, t->doc);
    for (int out = 0; out < 2; ++out)
        for (const kg_port *p = out ? t->outputs : t->inputs; p && p->name; ++p)
            printf("  %-6s %-14s %s%s%s%s  %s\n", out ? "output" : "input", p->name, p->kind, p->flags & KG_STREAM ? " stream" : "",
                   p->flags & KG_OPTIONAL ? " optional" : "", p->flags & (KG_LIST | KG_WHOLE) ? " list" : "", p->doc);
    void *defaults = calloc(1, t->params_size + 1);
    kg_params_default(t, defaults);
    for (const kg_param *p = t->params; p && p->name; ++p) {
        char text[256];
        kg_param_text(p, defaults, text, sizeof text);
        printf("  param  %-14s %s%s%s%s  %s\n", p->name, type_name(p), p->flags & KG_REQUIRED ? " required" : " = ",
               p->flags & KG_REQUIRED ? "" : text, p->type == KG_T_CHOICE ? " of " : "",
               p->type == KG_T_CHOICE ? p->def_text : p->doc);
    }
    printf("  param  %-14s %s = %s\n", "device", "choice", "auto of auto|cpu: where the node runs (every node takes it)");
    kg_params_drop(t, defaults);
    free(defaults);
}

/* "wan", "wan." and "wan.sa" are of wan.sample. */
static int shown(const char *target, const char *name)
{
    return !target || !strncmp(target, name, strlen(target));
}

/* No node begins so: a full name, or a family's, that is near. */
static kg_status none(const char *target, const kg_node_type *const *all, int n)
{
    char family[64] = "";
    const char **names = calloc((size_t)n, sizeof *names);
    int dot = (int)strcspn(target, "."), near = -1;
    for (int i = 0; names && i < n; ++i)
        names[i] = all[i]->name;
    kg_fail(KG_USAGE, "there is no node \"%.60s\"", target);
    if (names)
        near = kg_near(target, names, n);
    for (int i = 0; i < n && near < 0 && !*family; ++i) {
        snprintf(family, sizeof family, "%.*s", (int)strcspn(all[i]->name, "."), all[i]->name);
        char head[64];
        snprintf(head, sizeof head, "%.*s", dot, target);
        if (kg_near(head, (const char *const[]){family}, 1) < 0)
            *family = 0;
    }
    if (near >= 0)
        kg_hint("did you mean %s?", names[near]);
    else if (*family)
        kg_hint("did you mean %s? kino nodes %s lists them", family, family);
    else
        kg_hint("kino nodes lists all");
    free(names);
    return KG_USAGE;
}

static void print_list(const kg_node_type *const *all, int n, const kino_options *o)
{
    for (int i = 0; i < n; ++i)
        if (shown(o->target, all[i]->name))
            printf("%-16s %s\n", all[i]->name, all[i]->doc);
}

static void print_json(const kg_node_type *const *all, int n, const kino_options *o, int whole)
{
    cJSON *list = cJSON_CreateArray();
    for (int i = 0; i < n; ++i)
        if (whole ? !strcmp(o->target, all[i]->name) : shown(o->target, all[i]->name))
            cJSON_AddItemToArray(list, node_json(all[i]));
    char *text = cJSON_PrintUnformatted(list);
    puts(text ? text : "[]");
    free(text);
    cJSON_Delete(list);
}

kg_status kino_nodes(kino_options *o)
{
    const kg_node_type *const *all, *one = NULL;
    int n = kg_node_types(&all), found = 0;
    const kg_node_type **sorted = malloc(((size_t)n + 1) * sizeof *sorted);
    if (!sorted)
        return kg_fail(KG_FAILED, "out of host memory");
    memcpy(sorted, all, (size_t)n * sizeof *sorted);
    qsort(sorted, (size_t)n, sizeof *sorted, by_name);
    for (int i = 0; i < n; ++i) {
        found += shown(o->target, sorted[i]->name);
        one = o->target && !strcmp(o->target, sorted[i]->name) ? sorted[i] : one;
    }
    if (!found)
        none(o->target, sorted, n);
    else if (o->json)
        print_json(sorted, n, o, one != NULL);
    else if (one)
        node_text(one);
    else
        print_list(sorted, n, o);
    free(sorted);
    return found ? KG_OK : KG_USAGE;
}
