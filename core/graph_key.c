/* Keys of a graph's values, and what they need of files.
 *
 * A key names what was asked: type, version, params, the content of the files that the node reads, and the keys of its inputs. Content
 * is asked for late (a graph that is only looked at reads no file to its end) and found by the stamp that the file had when infer
 * looked at it: what the graph was made from is what is hashed, or it is an error. */
#include <stdlib.h>
#include <string.h>

#include "core/graph_internal.h"
#include "core/param.h"

void kg_gnode_forget(kg_gnode *n)
{
    for (int i = 0; i < n->file_count; ++i)
        free(n->files[i].path);
    free(n->files);
    free(n->keys);
    free(n->keyed);
    n->files = NULL;
    n->keys = NULL;
    n->keyed = NULL;
    n->file_count = 0;
}

/* ---- files ---- */
void kg_infer_file(kg_infer *x, const kg_file *file)
{
    kg_gnode *n = x->node;
    kg_content *more = realloc(n->files, (size_t)(n->file_count + 1) * sizeof *more);
    char *path = strdup(file->path);
    if (more)
        n->files = more;
    if (!more || !path) {
        free(path);
        kg_fail(KG_FAILED, "out of host memory");
        return;
    }
    n->files[n->file_count++] = (kg_content){.path = path, .stamp = file->stamp};
}

static int known(const kg_graph *g, kg_content *c)
{
    if (!c->known)
        c->known = kg_file_identified(g->options.files, &c->stamp, c->id);
    return c->known;
}

/* A file that is known is looked at too: one that was changed since the graph was made is an error now and not after hours. */
static kg_status identify(const kg_graph *g, kg_content *c)
{
    if (c->known)
        return KG_OK;
    kg_file *f = kg_open_again(g->options.files, &c->stamp, c->path);
    if (f && kg_file_identity(g->options.files, f, c->id) == KG_OK)
        c->known = 1;
    kg_file_unref(f);
    return kg_error_last()->status;
}

static char *needed(const kg_graph *g)
{
    char *seen = calloc((size_t)g->count + 1, 1);
    if (!seen)
        kg_fail(KG_FAILED, "out of host memory");
    for (int i = 0; i < g->count && seen; ++i)
        if (kg_gnode_wanted(g, i))
            kg_graph_mark(g, i, seen);
    return seen;
}

kg_status kg_graph_identify(kg_graph *g)
{
    char *seen = needed(g);
    kg_status s = seen ? KG_OK : KG_FAILED;
    for (int i = 0; i < g->count && s == KG_OK; ++i)
        for (int k = 0; k < g->node[i]->file_count && seen[i] && s == KG_OK; ++k)
            s = identify(g, &g->node[i]->files[k]);
    free(seen);
    return s;
}

/* Whatever needs such a node is one too; a node's inputs come before it, but where a join was made later. */
int kg_graph_unread(const kg_graph *g, char *unread)
{
    int n = 0, found = 1;
    memset(unread, 0, (size_t)g->count);
    for (int i = 0; i < g->count; ++i)
        for (int k = 0; k < g->node[i]->file_count && !unread[i]; ++k)
            n += unread[i] = !known(g, &g->node[i]->files[k]);
    while (n && found) {
        found = 0;
        for (int i = 0; i < g->count; ++i)
            for (int k = 0; k < g->node[i]->inputs && !unread[i]; ++k)
                found += unread[i] = g->node[i]->from[k] >= 0 && unread[g->node[i]->from[k]];
        n += found;
    }
    return n;
}

static void hash_files(const kg_gnode *n, kg_hash *h)
{
    for (int i = 0; i < n->file_count; ++i)
        kg_hash_bytes(h, n->files[i].id, sizeof n->files[i].id);
    if (n->resource)
        kg_hash_bytes(h, n->resource->layout, sizeof n->resource->layout);
}

int kg_graph_identity(const kg_graph *g, int node, kg_key *out)
{
    const kg_gnode *n = g->node[node];
    for (int i = 0; i < n->file_count; ++i)
        if (!known(g, &n->files[i]))
            return 0;
    if (n->file_count == 1)
        memcpy(out->b, n->files[0].id, sizeof out->b);
    else if (n->file_count) {
        kg_hash *h = kg_hash_new();
        hash_files(n, h);
        *out = kg_hash_done(h);
    }
    return n->file_count > 0;
}

/* ---- keys ---- */
static void hash_input(const kg_graph *g, const kg_gnode *n, int i, int item, kg_hash *h)
{
    int all = g->node[n->from[i]]->out[n->from_port[i]].items;
    kg_hash_text(h, n->type->inputs[i].name);
    for (int k = 0; k < (all > 1 ? all : 1); ++k) {
        if (n->type->inputs[i].flags & KG_LIST && all > 1 && k != item)
            continue;
        kg_key key = kg_graph_key(g, n->from[i], n->from_port[i], k);
        kg_hash_bytes(h, key.b, sizeof key.b);
    }
}

static kg_key key_make(const kg_graph *g, int node, int port, int item)
{
    const kg_gnode *n = g->node[node];
    for (int i = 0; i < n->file_count; ++i)
        identify(g, &n->files[i]);
    kg_hash *h = kg_hash_new();
    kg_hash_text(h, "kinograph 2");
    kg_hash_text(h, n->type->name);
    kg_hash_bytes(h, &n->type->version, sizeof n->type->version);
    kg_params_hash(n->type, n->params, item, h);
    if (item >= n->told)
        kg_hash_bytes(h, &item, sizeof item);      /* of a list that neither params nor inputs tell apart */
    kg_hash_bytes(h, &n->file_count, sizeof n->file_count);
    hash_files(n, h);
    for (int i = 0; i < n->inputs; ++i)
        if (n->from[i] >= 0)
            hash_input(g, n, i, item, h);
    if (port >= 0 && port < n->outputs)
        kg_hash_text(h, n->type->outputs[port].name);
    return kg_hash_done(h);
}

kg_key kg_graph_key(const kg_graph *g, int node, int port, int item)
{
    kg_gnode *n = g->node[node];
    int items = n->items;
    if (!n->keys) {
        n->keys = calloc((size_t)((n->outputs + 1) * items), sizeof *n->keys);
        n->keyed = calloc((size_t)((n->outputs + 1) * items), 1);
    }
    if (item < 0 || item >= items || !n->keys || !n->keyed)
        return key_make(g, node, port, item);
    int at = (port < 0 ? n->outputs : port) * items + item;
    if (!n->keyed[at]) {
        n->keys[at] = key_make(g, node, port, item);
        n->keyed[at] = kg_error_last()->status == KG_OK;
    }
    return n->keys[at];
}
