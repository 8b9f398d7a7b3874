/* The part of a graph that one file was made by, as JSON and back: nodes with the params that are not usual, each behind what it reads.
 * The types of nodes say how: nothing here knows one.
 *
 * [{"type": "wan.sample", "label": "main", "params": {"steps": "20", "seed": ["7"]}, "inputs": {"model": [0, 0]}}, ...]: an input is
 * joined to an output (by number) of an earlier entry; a number is text, so that none is rounded. The last entry is the sink. */
#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/graph_internal.h"
#include "core/param.h"
#include "tools/kino_cli.h"

enum { ARGS_MOST = 64, WORD = 64 };

static const void *field(const kg_param *p, const void *params) { return (const char *)params + p->offset; }
static int is_text(const kg_param *p) { return p->type == KG_T_TEXT || p->type == KG_T_PATH || p->type == KG_T_OUT; }

/* ---- to JSON ---- */

static int usual(const kg_param *p, const void *asked, const void *defaults)
{
    char a[WORD], b[WORD];
    if (is_text(p)) {
        const char *s = *(const char *const *)field(p, asked), *d = *(const char *const *)field(p, defaults);
        return s == d || (s && d && !strcmp(s, d));
    }
    if (p->type == KG_T_INTS) {
        const kg_ints *s = field(p, asked), *d = field(p, defaults);
        return s->n == d->n && !memcmp(s->v, d->v, sizeof *s->v * (size_t)s->n);
    }
    kg_param_text(p, asked, a, sizeof a);
    kg_param_text(p, defaults, b, sizeof b);
    return !strcmp(a, b);
}

static cJSON *value_json(const kg_param *p, const void *asked)
{
    char text[WORD];
    if (is_text(p)) {
        const char *s = *(const char *const *)field(p, asked);
        return cJSON_CreateString(s ? s : "");
    }
    if (p->type == KG_T_BOOL)
        return cJSON_CreateBool(*(const int *)field(p, asked));
    if (p->type != KG_T_INTS) {
        kg_param_text(p, asked, text, sizeof text);
        return cJSON_CreateString(text);
    }
    const kg_ints *list = field(p, asked);
    cJSON *all = cJSON_CreateArray();
    for (int i = 0; i < list->n; ++i) {
        snprintf(text, sizeof text, "%llu", (unsigned long long)list->v[i]);
        cJSON_AddItemToArray(all, cJSON_CreateString(text));
    }
    return all;
}

static cJSON *params_json(const kg_gnode *n)
{
    cJSON *o = cJSON_CreateObject();
    void *defaults = calloc(1, n->type->params_size + 1);
    if (defaults)
        kg_params_default(n->type, defaults);
    for (const kg_param *p = n->type->params; p && p->name && defaults; ++p)
        if (!usual(p, n->asked, defaults))
            cJSON_AddItemToObject(o, p->name, value_json(p, n->asked));
    if (defaults)
        kg_params_drop(n->type, defaults);
    free(defaults);
    return o;
}

static cJSON *node_json(const kg_gnode *n, const int *place)
{
    cJSON *o = cJSON_CreateObject(), *inputs = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "type", n->type->name);
    if (*n->label)
        cJSON_AddStringToObject(o, "label", n->label);
    if (n->on_cpu)
        cJSON_AddStringToObject(o, "device", "cpu");
    cJSON_AddItemToObject(o, "params", params_json(n));
    for (int i = 0; i < n->inputs; ++i)
        if (n->from[i] >= 0)
            cJSON_AddItemToObject(inputs, n->type->inputs[i].name, cJSON_CreateIntArray((int[]){place[n->from[i]], n->from_port[i]}, 2));
    cJSON_AddItemToObject(o, "inputs", inputs);
    return o;
}

/* A node behind all that it needs. place: of each node in the chain, -1 for none yet. */
static void append(const kg_graph *g, int node, int *place, cJSON *all)
{
    const kg_gnode *n = g->node[node];
    if (place[node] >= 0)
        return;
    for (int i = 0; i < n->inputs; ++i)
        if (n->from[i] >= 0)
            append(g, n->from[i], place, all);
    cJSON *o = node_json(n, place);
    place[node] = cJSON_GetArraySize(all);
    cJSON_AddItemToArray(all, o);
}

cJSON *kino_chain(const kg_graph *g, int sink, int *place)
{
    cJSON *all = cJSON_CreateArray();
    for (int i = 0; i < kg_graph_count(g); ++i)
        place[i] = -1;
    append(g, sink, place, all);
    return all;
}

/* ---- and back: the JSON is a stranger's ---- */

typedef struct args { kg_arg at[ARGS_MOST]; kg_ints ints; int n; } args;

static kg_status malformed(int node)
{
    return kg_fail(KG_INPUT, "what the file says of its making is malformed (node %d)", node);
}

static kg_arg *next(args *a, const char *name)
{
    if (a->n == ARGS_MOST || !name)
        return NULL;
    a->at[a->n] = (kg_arg){.name = name};
    return &a->at[a->n++];
}

static int whole(const char *s, int64_t *out)
{
    char *end;
    *out = s[0] == '-' ? strtoll(s, &end, 10) : (int64_t)strtoull(s, &end, 10);
    return s[0] && !*end;
}

static int param_arg(args *a, const cJSON *v)
{
    kg_arg *x = next(a, v->string);
    if (!x)
        return 0;
    if (cJSON_IsString(v)) {
        x->kind = KG_A_TEXT;
        x->s = v->valuestring;
        return 1;
    }
    if (cJSON_IsBool(v)) {
        x->kind = KG_A_BOOL;
        x->i = cJSON_IsTrue(v);
        return 1;
    }
    int most = (int)(sizeof a->ints.v / sizeof *a->ints.v), n = cJSON_GetArraySize(v);
    if (!cJSON_IsArray(v) || n > most || a->ints.n)        /* no node has two lists */
        return 0;
    for (const cJSON *i = v->child; i; i = i->next)
        if (!cJSON_IsString(i) || !whole(i->valuestring, &a->ints.v[a->ints.n++]))
            return 0;
    x->kind = KG_A_INTS;
    x->list = a->ints.v;
    x->n = n;
    return 1;
}

static int input_arg(args *a, const cJSON *v, int at, const int *place)
{
    kg_arg *x = next(a, v->string);
    const cJSON *from = cJSON_GetArrayItem(v, 0), *port = cJSON_GetArrayItem(v, 1);
    if (!x || !cJSON_IsArray(v) || !cJSON_IsNumber(from) || !cJSON_IsNumber(port) || from->valueint < 0 || from->valueint >= at)
        return 0;
    x->kind = KG_A_NODE;
    x->node = place[from->valueint];
    x->port = port->valueint;
    return x->node >= 0;
}

static int arguments(args *a, const cJSON *entry, int at, const int *place)
{
    const cJSON *params = cJSON_GetObjectItemCaseSensitive(entry, "params"), *inputs = cJSON_GetObjectItemCaseSensitive(entry, "inputs"),
                *device = cJSON_GetObjectItemCaseSensitive(entry, "device");
    int good = cJSON_IsObject(params) && cJSON_IsObject(inputs);
    for (const cJSON *v = good ? params->child : NULL; v && good; v = v->next)
        good = param_arg(a, v);
    for (const cJSON *v = good ? inputs->child : NULL; v && good; v = v->next)
        good = input_arg(a, v, at, place);
    kg_arg *x = good && cJSON_IsString(device) ? next(a, "device") : NULL;
    if (x) {
        x->kind = KG_A_TEXT;
        x->s = device->valuestring;
    }
    return good;
}

/* What is written goes where it was typed, and nowhere else. */
static void write_to(args *a, const char *type, const char *out)
{
    const kg_node_type *t = kg_node_type_find(type);
    for (const kg_param *p = t ? t->params : NULL; p && p->name; ++p)
        for (int i = 0; i < a->n && p->type == KG_T_OUT; ++i)
            if (!strcmp(a->at[i].name, p->name) && a->at[i].kind == KG_A_TEXT)
                a->at[i].s = out;
}

static kg_status add(const cJSON *entry, int at, const char *out, int *place, kg_graph *g)
{
    args *a = calloc(1, sizeof *a);
    const cJSON *type = cJSON_GetObjectItemCaseSensitive(entry, "type"), *label = cJSON_GetObjectItemCaseSensitive(entry, "label");
    if (!a)
        return kg_fail(KG_FAILED, "out of host memory");
    kg_status s = cJSON_IsString(type) && arguments(a, entry, at, place) ? KG_OK : malformed(at);
    if (s == KG_OK) {
        write_to(a, type->valuestring, out);
        place[at] = kg_graph_add(g, type->valuestring, cJSON_IsString(label) ? label->valuestring : NULL, a->at, a->n);
        s = place[at] < 0 ? kg_error_last()->status : KG_OK;
    }
    free(a);
    return s;
}

/* What entry `at` needs, by number; 0 when the chain is malformed. Entries are behind what they need, so one pass backwards does. */
static int needed(const cJSON *chain, int at, char *need)
{
    need[at] = 1;
    for (int i = at; i >= 0; --i) {
        const cJSON *inputs = need[i] ? cJSON_GetObjectItemCaseSensitive(cJSON_GetArrayItem(chain, i), "inputs") : NULL;
        for (const cJSON *v = inputs ? inputs->child : NULL; v; v = v->next) {
            const cJSON *from = cJSON_GetArrayItem(v, 0);
            if (!cJSON_IsNumber(from) || from->valueint < 0 || from->valueint >= i)
                return 0;
            need[from->valueint] = 1;
        }
    }
    return 1;
}

int kino_chain_build(const cJSON *chain, int at, const char *out, kg_graph *g)
{
    int n = cJSON_IsArray(chain) ? cJSON_GetArraySize(chain) : 0, node = -1;
    if (at < 0 || at >= n || n > 4096)
        return malformed(at), -1;
    char *need = calloc((size_t)n, 1);
    int *place = malloc((size_t)n * sizeof *place);
    kg_status s = need && place ? KG_OK : kg_fail(KG_FAILED, "out of host memory");
    if (s == KG_OK && !needed(chain, at, need))
        s = malformed(at);
    const cJSON *entry = chain->child;
    for (int i = 0; i <= at && s == KG_OK; ++i, entry = entry->next) {
        place[i] = -1;
        if (need[i])
            s = add(entry, i, out, place, g);
    }
    node = s == KG_OK ? place[at] : -1;
    free(need);
    free(place);
    return node;
}
