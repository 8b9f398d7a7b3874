/* What a run writes into its files about their making. Each file has its own: the graph that made it alone (tools/kino_chain.c), from
 * which it can be made again anywhere, with the identities of the models and of the pictures and videos that went in, and what those
 * say of their own making; beside it the script, its params and, packed, its text and those of the modules it required. */
#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/graph_internal.h"
#include "nodes/lib/pack.h"
#include "nodes/lib/provenance.h"
#include "tools/kino_cli.h"

enum { TEXTS_MOST = 64 << 10, MADE_MOST = 64 << 10, CHAIN_MOST = 8 << 20 };

struct kino_note {
    const kg_graph *g;
    char *head, *texts;            /* JSON without its last brace; the packed texts, or NULL               */
    int left_out;                  /* the texts are too long                                               */
    cJSON **file;                  /* by node: what it has read of a file, or NULL                         */
    int n;
};

/* ---- texts ---- */

static char *pack_texts(const kg_script *s)
{
    int n;
    const kg_script_text *t = kg_script_texts(s, &n);
    cJSON *all = cJSON_CreateArray();
    for (int i = 0; i < n; ++i) {
        cJSON *o = cJSON_CreateObject();
        cJSON_AddStringToObject(o, "name", t[i].name);
        cJSON_AddStringToObject(o, "path", t[i].path);
        cJSON_AddStringToObject(o, "text", t[i].text);
        cJSON_AddItemToArray(all, o);
    }
    char *text = cJSON_PrintUnformatted(all), *packed = text ? kg_pack(text, strlen(text), TEXTS_MOST) : NULL;
    cJSON_Delete(all);
    free(text);
    return packed;
}

/* ---- files that went in ---- */

static const char *path_of(const kg_gnode *n)
{
    for (const kg_param *p = n->type->params; p && p->name; ++p)
        if (p->type == KG_T_PATH)
            return *(const char *const *)((const char *)n->params + p->offset);
    return NULL;
}

/* What a picture or a video says of its own making, with no more than it takes; NULL: nothing. */
static cJSON *made(const char *path, kg_files *files)
{
    kg_file *f = kg_open(files, path);
    char *text = f ? kg_provenance_read(f) : NULL;
    cJSON *j = text && strlen(text) <= 4 * MADE_MOST ? cJSON_Parse(text) : NULL;
    kg_file_unref(f);
    free(text);
    kg_error_clear();
    char *again = j ? cJSON_PrintUnformatted(j) : NULL;
    if (again && strlen(again) > MADE_MOST) {
        cJSON_DeleteItemFromObject(j, "texts");
        free(again);
        again = cJSON_PrintUnformatted(j);
    }
    if (!again || strlen(again) > MADE_MOST || !cJSON_IsObject(j)) {
        cJSON_Delete(j);
        j = NULL;
    }
    free(again);
    return j;
}

static cJSON *file_json(const kg_graph *g, int node)
{
    const kg_gnode *n = g->node[node];
    char hex[65];
    kg_key k;
    if (!kg_graph_identity(g, node, &k))
        return NULL;
    cJSON *o = cJSON_CreateObject(), *from = NULL;
    const char *path = path_of(n);
    kg_key_hex(&k, hex);
    cJSON_AddStringToObject(o, "node", n->type->name);
    if (path)
        cJSON_AddStringToObject(o, "path", path);
    cJSON_AddStringToObject(o, "identity", hex);
    if (path && !n->resource && (from = made(path, g->options.files)))
        cJSON_AddItemToObject(o, "made", from);
    return o;
}

/* ---- the note ---- */

/* Every param of the script with its value; of a file that is made again from its note, those that the note has. */
static cJSON *params_json(const kino_options *o, const kg_script_doc *doc, const cJSON *before)
{
    cJSON *params = cJSON_CreateObject();
    const cJSON *b = before ? before->child : NULL;
    for (int i = 0; doc ? i < doc->n : b != NULL; ++i) {
        const char *name = doc ? doc->params[i].name : b->string;
        int v = kino_value_find(o, name);
        const char *text = v >= 0 ? o->value[v].text : doc ? doc->params[i].def : NULL;
        if (text)
            cJSON_AddStringToObject(params, name, text);
        b = doc ? NULL : b->next;
    }
    return params;
}

static char *head(const kino_options *o, const kg_script_doc *doc, const kino_made *m, const kg_device *d)
{
    cJSON *j = cJSON_CreateObject();
    const cJSON *script = cJSON_GetObjectItemCaseSensitive(m->note, "script");
    const cJSON *params = cJSON_GetObjectItemCaseSensitive(m->note, "params");
    cJSON_AddStringToObject(j, "kinograph", KINO_VERSION);
    cJSON_AddStringToObject(j, "script", doc || !cJSON_IsString(script) ? o->target : script->valuestring);
    cJSON_AddItemToObject(j, "params", params_json(o, doc, params));
    if (o->precision)
        cJSON_AddStringToObject(j, "precision", o->precision);
    cJSON_AddStringToObject(j, "numerics", d->tag);
    char *text = cJSON_PrintUnformatted(j);
    cJSON_Delete(j);
    if (text)
        text[strlen(text) - 1] = 0;
    return text;
}

kino_note *kino_note_new(const kino_options *o, const kg_script *script, const kg_script_doc *doc, const kino_made *m, const kg_graph *g,
                         const kg_device *d)
{
    kino_note *n = calloc(1, sizeof *n);
    if (!n || !(n->file = calloc((size_t)kg_graph_count(g) + 1, sizeof *n->file)) || !(n->head = head(o, doc, m, d))) {
        kino_note_free(n);
        kg_fail(KG_FAILED, "out of host memory");
        return NULL;
    }
    n->g = g;
    n->n = kg_graph_count(g);
    const cJSON *packed = cJSON_GetObjectItemCaseSensitive(m->note, "texts");
    if (script)
        n->texts = pack_texts(script);
    else if (cJSON_IsString(packed) && strlen(packed->valuestring) <= TEXTS_MOST)
        n->texts = strdup(packed->valuestring);
    n->left_out = script && !n->texts;
    if (n->left_out)
        kg_warn("%s: its text is not in what it writes: with what it requires it takes more than %d KiB, compressed", o->target,
                TEXTS_MOST >> 10);
    for (int i = 0; i < n->n; ++i)
        n->file[i] = file_json(g, i);
    return n;
}

/* "models" are those of the chain's nodes that carry weights, "sources" other files; "at" is a node's place in "graph". */
static void add_files(const kino_note *n, const int *place, cJSON *j)
{
    cJSON *lists[2] = {cJSON_CreateArray(), cJSON_CreateArray()};
    for (int i = 0; i < n->n; ++i)
        if (place[i] >= 0 && n->file[i]) {
            cJSON *o = cJSON_Duplicate(n->file[i], 1);
            cJSON_AddNumberToObject(o, "at", place[i]);
            cJSON_AddItemToArray(lists[n->g->node[i]->resource ? 0 : 1], o);
        }
    cJSON_AddItemToObject(j, "models", lists[0]);
    cJSON_AddItemToObject(j, "sources", lists[1]);
}

char *kino_note_of(void *note, int node)
{
    const kino_note *n = note;
    cJSON *j = cJSON_CreateObject();
    int *place = malloc(((size_t)n->n + 1) * sizeof *place);
    if (place) {
        cJSON *chain = kino_chain(n->g, node, place);
        add_files(n, place, j);
        cJSON_AddItemToObject(j, "graph", chain);
    }
    if (n->texts)
        cJSON_AddStringToObject(j, "texts", n->texts);
    if (n->left_out)
        cJSON_AddBoolToObject(j, "texts_left_out", 1);
    char *rest = cJSON_PrintUnformatted(j), *all = NULL;
    if (rest && strlen(rest) > CHAIN_MOST)
        rest[1] = 0;                   /* a prompt of megabytes: what there was before has to do */
    size_t room = rest ? strlen(n->head) + strlen(rest) + 2 : 0;
    if (rest && (all = malloc(room)))
        snprintf(all, room, rest[1] ? "%s,%s" : "%s%s", n->head, rest[1] ? rest + 1 : "}");
    cJSON_Delete(j);
    free(rest);
    free(place);
    return all;
}

void kino_note_free(kino_note *n)
{
    if (!n)
        return;
    for (int i = 0; i < n->n; ++i)
        cJSON_Delete(n->file[i]);
    free(n->file);
    free(n->head);
    free(n->texts);
    free(n);
}
