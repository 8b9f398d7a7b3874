/* What a run that was cancelled leaves for the next one, asked of the cache itself: it is said to who has to decide whether to wait. */
#include "core/run_internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Appends to a text of so many bytes. */
__attribute__((format(printf, 3, 4))) static void add(char *text, size_t n, const char *format, ...)
{
    va_list args;
    size_t used = strlen(text);
    va_start(args, format);
    vsnprintf(text + used, n - used, format, args);
    va_end(args);
}

static const char *tag_of(const kg_plan *p, int node)
{
    return kg_plan_on_host(p, node) && p->options.cpu ? p->options.cpu->tag : p->options.device->tag;
}

/* Are all values of a node that this run was to make in the cache? */
static int finished(const kg_plan *p, int node)
{
    const kg_gnode *n = p->graph->node[node];
    kg_cache *c = p->options.cache;
    kg_cache_row row;
    int there = 0;
    for (int o = 0; o < n->outputs && !(n->type->flags & (KG_SINK | KG_UNCACHED)); ++o)
        for (int k = 0; k < p->node[node].values[o].n; ++k, ++there) {
            kg_key key = kg_graph_key(p->graph, node, o, k);
            if (!c->ops->find(c, &key, tag_of(p, node), &row))
                return 0;
        }
    return there > 0;
}

void kg_run_say_kept(const kg_run *r, char *out, size_t n)
{
    const kg_plan *p = r->plan;
    kg_cache *c = p->options.cache;
    int results = 0, steps = 0;
    *out = 0;
    if (!c) {
        add(out, n, "nothing is kept: the run has no cache");
        return;
    }
    for (int i = 0; i < p->count; ++i) {
        const kg_gnode *g = p->graph->node[i];
        if (p->node[i].state != KG_P_RUN || g->resource)
            continue;
        kg_key key = kg_plan_checkpoint_key(p, i);
        kg_cache_row row;
        if (finished(p, i))
            ++results;
        else if (c->ops->checkpoint_find(c, &key, tag_of(p, i), &row) && steps++ < 3)
            add(out, n, "%s%s%s%s%s after step %lld", *out ? ", " : "kept: ", g->type->name, *g->label ? " '" : "", g->label,
                *g->label ? "'" : "", (long long)row.step);
    }
    if (steps > 3)
        add(out, n, " and %d more", steps - 3);
    if (results)
        add(out, n, "%s%d finished result%s", *out ? ", " : "kept: ", results, results > 1 ? "s" : "");
    add(out, n, *out ? "; the same command goes on from there" : "nothing was finished yet that is kept");
}
