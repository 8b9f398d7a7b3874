/* What may be many: chunks of a stream that pass from node to node, and items of a list. Both are bounded here, when a join is made, so
 * that no plan or run meets a limit that the script could not see. */
#include "core/graph_internal.h"
#include "core/param.h"

kg_status kg_gnode_stream_users(const kg_graph *g, const kg_gnode *n, int from)
{
    int users = 0;
    for (int k = 0; k <= g->count; ++k) {
        const kg_gnode *m = k < g->count ? g->node[k] : n;
        for (int i = 0; i < m->inputs && (k == g->count || m != n); ++i)
            users += m->from[i] == from && m->type->inputs[i].flags & KG_STREAM && g->node[from]->out[m->from_port[i]].stream;
    }
    if (users <= KG_STREAM_USERS)
        return KG_OK;
    kg_fail(KG_USAGE, "%s streams to %d nodes already, which is the most", g->node[from]->type->name, KG_STREAM_USERS);
    kg_hint("add it once more for the others");
    return KG_USAGE;
}

kg_status kg_gnode_stream_length(const kg_graph *g, const kg_gnode *n)
{
    const kg_gnode *at = n;
    for (int length = 0, i = 0; i < at->inputs; ++i) {
        if (at->from[i] < 0 || !(at->type->inputs[i].flags & KG_STREAM) || !g->node[at->from[i]]->out[at->from_port[i]].stream)
            continue;
        if (++length == KG_STREAM_NODES) {
            kg_fail(KG_USAGE, "input %s has a stream that has passed %d nodes, which is the most", n->type->inputs[i].name, length);
            kg_hint("save it to a file, and load that");
            return KG_USAGE;
        }
        at = g->node[at->from[i]];
        i = -1;
    }
    return KG_OK;
}

/* A list at a port that takes one value. Which node makes one of many is said by the ports that take a list whole. */
static kg_status no_list(const kg_gnode *n, int i, const kg_desc *d)
{
    const kg_node_type *const *all;
    int types = kg_node_types(&all);
    kg_fail(KG_USAGE, "input %s takes one %s, and this is a list of %d", n->type->inputs[i].name, d->kind, d->items);
    for (int k = 0; k < types; ++k)
        for (const kg_port *p = all[k]->inputs; p && p->name; ++p)
            if (p->flags & KG_WHOLE && kg_kind_takes(p->kind, d->kind)) {
                kg_hint("%s takes one of them, from 0 to %d", all[k]->name, d->items - 1);
                return KG_USAGE;
            }
    return KG_USAGE;
}

kg_status kg_gnode_count_items(kg_gnode *n, const kg_desc *in)
{
    const char *of = "its params";
    int items = kg_params_items(n->type, n->params);
    for (const kg_param *p = n->type->params; p && p->name; ++p)
        of = p->flags & KG_ITEMS ? p->name : of;
    for (int i = 0; i < n->inputs; ++i) {
        const kg_port *p = &n->type->inputs[i];
        if (in[i].items < 2 || p->flags & KG_WHOLE)
            continue;
        if (!(p->flags & KG_LIST))
            return no_list(n, i, &in[i]);
        if (items > 1 && in[i].items != items) {
            kg_fail(KG_USAGE, "input %s is a list of %d, and %s of %d", p->name, in[i].items, of, items);
            kg_hint("lists of one node are of equal length; one value goes with all");
            return KG_USAGE;
        }
        items = in[i].items;
        of = p->name;
    }
    n->items = n->told = items;
    return KG_OK;
}
