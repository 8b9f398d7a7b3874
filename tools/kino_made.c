/* What the file of --from says of its making, beside what is there today: script and modules by text, models and sources by identity. */
#include <cjson/cJSON.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "core/param.h"
#include "nodes/lib/pack.h"
#include "tools/kino_cli.h"

enum { UNPACKED_MOST = 8 << 20, SOURCE_MOST = 1 << 20, TEXTS = 260 };

static const char *text_at(const cJSON *o, const char *name)
{
    const cJSON *v = cJSON_GetObjectItemCaseSensitive(o, name);
    return cJSON_IsString(v) ? v->valuestring : NULL;
}

/* ---- the texts in the file ---- */

kg_status kino_made_texts(const kino_options *o, kino_made *m)
{
    const char *packed = text_at(m->note, "texts");
    size_t n = 0;
    if (!packed)
        return KG_OK;
    char *text = kg_unpack(packed, UNPACKED_MOST, &n);
    m->unpacked = text ? cJSON_ParseWithLength(text, n) : NULL;
    free(text);
    int count = cJSON_IsArray(m->unpacked) ? cJSON_GetArraySize(m->unpacked) : 0;
    m->texts = count && count <= TEXTS ? calloc((size_t)count, sizeof *m->texts) : NULL;
    for (const cJSON *i = m->texts ? m->unpacked->child : NULL; i; i = i->next) {
        kg_script_text *t = &m->texts[m->text_count++];
        *t = (kg_script_text){text_at(i, "name"), text_at(i, "path"), text_at(i, "text")};
        if (!t->name || !t->path || !t->text)
            m->text_count = count + 1;
        if (m->text_count > count)
            break;
    }
    if (!m->texts || m->text_count != count || *m->texts[0].name)
        return kg_fail(KG_INPUT, "%s: the script's text that it holds is broken", o->from);
    return KG_OK;
}

void kino_made_drop(kino_made *m)
{
    cJSON_Delete(m->note);
    cJSON_Delete(m->unpacked);
    free(m->texts);
    *m = (kino_made){0};
}

/* The path that the last entry wrote. */
static const char *written(const cJSON *chain)
{
    const cJSON *sink = cJSON_GetArrayItem(chain, cJSON_GetArraySize(chain) - 1);
    const char *type = text_at(sink, "type");
    const kg_node_type *t = type ? kg_node_type_find(type) : NULL;
    for (const kg_param *p = t ? t->params : NULL; p && p->name; ++p)
        if (p->type == KG_T_OUT)
            return text_at(cJSON_GetObjectItemCaseSensitive(sink, "params"), p->name);
    return NULL;
}

/* A video is not made again from the note of its contact sheet: a name of another kind is one for the script. */
const cJSON *kino_made_chain(const kino_options *o, const kino_made *m)
{
    const cJSON *chain = cJSON_GetObjectItemCaseSensitive(m->note, "graph");
    const char *was = cJSON_IsArray(chain) ? written(chain) : NULL, *dot = was ? strrchr(was, '.') : NULL;
    if (!dot || m->named || o->typed != 1 || strcmp(o->value[0].name, "out"))
        return NULL;
    const char *out = strrchr(o->value[0].text, '.');
    return out && !strcasecmp(out, dot) ? chain : NULL;
}

/* ---- the values of this very output ---- */

static void tell_value(const cJSON *v)
{
    const cJSON *i = cJSON_IsArray(v) ? v->child : v;
    fprintf(stderr, " %s", v->string);
    for (const char *before = "="; i; i = v == i ? NULL : i->next, before = ",") {
        fputs(before, stderr);
        kino_print_plain(cJSON_IsString(i) ? i->valuestring : cJSON_IsTrue(i) ? "true" : "false", stderr);
    }
}

/* A line a node, models aside: beside the command, which is the whole script's. */
void kino_made_values(const kino_made *m)
{
    const cJSON *chain = cJSON_GetObjectItemCaseSensitive(m->note, "graph");
    for (const cJSON *n = cJSON_IsArray(chain) ? chain->child : NULL; n; n = n->next) {
        const cJSON *params = cJSON_GetObjectItemCaseSensitive(n, "params");
        const char *type = text_at(n, "type"), *label = text_at(n, "label");
        const kg_node_type *t = type ? kg_node_type_find(type) : NULL;
        int told = 0;
        for (const cJSON *v = t && cJSON_IsObject(params) ? params->child : NULL; v; v = v->next) {
            const kg_param *p = kg_param_find(t, v->string);
            if (!p || p->type == KG_T_PATH || p->type == KG_T_OUT)
                continue;
            if (!told++) {
                fprintf(stderr, "# %s%s", type, label ? " '" : "");
                kino_print_plain(label ? label : "", stderr);
                fputs(label ? "':" : ":", stderr);
            }
            tell_value(v);
        }
        fputs(told ? "\n" : "", stderr);
    }
}

/* ---- differences ---- */

/* As a comment beside the command, or for a machine as a warning; the first ones are kept for the refusal. */
static void __attribute__((format(printf, 4, 5))) tell(const kino_options *o, kino_made *m, int differs, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    size_t used = strlen(m->differ);
    if (differs)
        snprintf(m->differ + used, sizeof m->differ - used, "%s%s", used ? "; " : "", text);
    if (o->json || (m->again && differs && o->force))
        kg_warn("%s: %s", o->from, text);
    else if (!m->again) {
        fputs("# ", stdout);
        kino_print_plain(text, stdout);
        putchar('\n');
    }
}

static int line_of(const char *a, const char *b)
{
    int line = 1;
    for (; *a && *a == *b; ++a, ++b)
        line += *a == '\n';
    return line;
}

static void compare_text(const kino_options *o, kino_made *m, const kg_script_text *t)
{
    kg_files *files = kg_files_new();
    kg_file *f = NULL;
    size_t n;
    char name[160];
    snprintf(name, sizeof name, *t->name ? "module \"%.100s\" (" : "script ", t->name);
    const char *end = *t->name ? ")" : "";
    if (files && kg_files_grant(files, t->path) == KG_OK)
        f = kg_open(files, t->path);
    char *text = f ? kg_file_text(f, SOURCE_MOST, &n) : NULL;
    kg_error_clear();
    if (!text)
        tell(o, m, 0, "%s%s%s cannot be read here: its text in the file is taken", name, t->path, end);
    else if (strcmp(text, t->text))
        tell(o, m, 1, "%s%s%s is not what it was, from line %d on", name, t->path, end, line_of(text, t->text));
    free(text);
    kg_file_unref(f);
    kg_files_free(files);
}

static void compare_file(const kino_options *o, kino_made *m, const cJSON *entry, kg_graph *g)
{
    const cJSON *chain = cJSON_GetObjectItemCaseSensitive(m->note, "graph"), *at = cJSON_GetObjectItemCaseSensitive(entry, "at");
    const char *identity = text_at(entry, "identity"), *path = text_at(entry, "path"), *type = text_at(entry, "node");
    char hex[65] = "";
    kg_key k;
    if (!identity || !cJSON_IsNumber(at))
        return;
    int node = kino_chain_build(chain, at->valueint, "", g);
    if (node >= 0 && kg_graph_want(g, node) == KG_OK && kg_graph_identify(g) == KG_OK && kg_graph_identity(g, node, &k))
        kg_key_hex(&k, hex);
    if (!*hex)
        tell(o, m, 0, "%s '%s' cannot be compared: %s", type ? type : "?", path ? path : "", kg_error_last()->message);
    else if (strcmp(hex, identity))
        tell(o, m, 1, "%s '%s' is another file than it was", type ? type : "?", path ? path : "");
    kg_error_clear();
}

static void compare_files(const kino_options *o, kino_made *m)
{
    static const char *const lists[] = {"models", "sources"};
    kg_files *files = kg_files_new();
    kg_cache_options c = {.existing = 1};
    kino_cache_options(o, &c);
    kg_cache *cache = !o->cache || strcmp(o->cache, "none") ? kg_cache_open(&c) : NULL;      /* it remembers identities */
    kg_error_clear();
    kg_identity_memo memo = cache ? kg_cache_memo(cache) : (kg_identity_memo){0};
    if (cache)
        kg_files_memo(files, &memo);
    kg_files_cancel(files, &kino_interrupted);
    kino_made_roots(o, m, files);
    kg_graph *g = kg_graph_new(&(kg_graph_options){.files = files, .precision = KG_PRECISION_F32});
    for (size_t i = 0; i < sizeof lists / sizeof *lists && g; ++i) {
        const cJSON *list = cJSON_GetObjectItemCaseSensitive(m->note, lists[i]);
        for (const cJSON *e = cJSON_IsArray(list) ? list->child : NULL; e; e = e->next)
            compare_file(o, m, e, g);
    }
    kg_graph_free(g);
    kg_files_free(files);
    kg_cache_close(cache);
}

kg_status kino_made_compare(const kino_options *o, kino_made *m)
{
    if (!cJSON_IsArray(cJSON_GetObjectItemCaseSensitive(m->note, "graph")))
        return KG_OK;                          /* of an older kino: nothing to compare with */
    if (!m->named && !m->texts)
        tell(o, m, 0, "the script's text is not in the file: whether it is what it was is not known");
    for (int i = 0; i < m->text_count && !m->named; ++i)
        compare_text(o, m, &m->texts[i]);
    compare_files(o, m);
    if (!*m->differ || !m->again || o->force)
        return KG_OK;
    kg_fail(KG_USAGE, "%s would not be made as it was: %s", o->from, m->differ);
    kg_hint("--force makes it from the script in the file, with the models and pictures that are there now; kino run SCRIPT --from FILE"
            " takes today's script");
    return KG_USAGE;
}

/* ---- where its files are looked for ---- */

static kg_status list_roots(kg_files *f, const char *list, int type)
{
    char *copy = strdup(list ? list : ""), *rest = copy;
    kg_status s = KG_OK;
    for (char *folder; s == KG_OK && (folder = strsep(&rest, ":"));)
        if (*folder)
            s = kg_files_root(f, folder, type);
    free(copy);
    return s;
}

kg_status kino_roots(const kino_options *o, kg_files *files)
{
    kg_status s = list_roots(files, o->models, KG_ROOT_MODELS);
    if (s == KG_OK)
        s = list_roots(files, o->allow, KG_ROOT_PLAIN);
    return s == KG_OK ? kg_files_root(files, ".", KG_ROOT_PLAIN) : s;
}

/* As for the script: its folder, where it is here, comes first; what was typed when the file was made is granted as if typed now. */
kg_status kino_made_roots(const kino_options *o, const kino_made *m, kg_files *files)
{
    char folder[4096];
    const char *script = text_at(m->note, "script"), *slash = script ? strrchr(script, '/') : NULL;
    snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - script) + (slash == script) : 1, slash ? script : ".");
    kg_status s = kg_files_root(files, folder, KG_ROOT_PLAIN);
    if (s != KG_OK)
        kg_error_clear();
    const cJSON *chain = cJSON_GetObjectItemCaseSensitive(m->note, "graph"), *params = cJSON_GetObjectItemCaseSensitive(m->note, "params");
    for (const cJSON *n = cJSON_IsArray(chain) ? chain->child : NULL; n; n = n->next) {
        const char *type = text_at(n, "type");
        const kg_node_type *t = type ? kg_node_type_find(type) : NULL;
        for (const kg_param *p = t ? t->params : NULL; p && p->name; ++p) {
            const char *path = p->type == KG_T_PATH ? text_at(cJSON_GetObjectItemCaseSensitive(n, "params"), p->name) : NULL;
            for (const cJSON *v = path && cJSON_IsObject(params) ? params->child : NULL; v; v = v->next)
                if (cJSON_IsString(v) && !strcmp(v->valuestring, path) && kg_files_grant(files, path) != KG_OK)
                    kg_error_clear();
        }
    }
    return kino_roots(o, files);
}
