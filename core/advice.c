/* Hints for inputs that were given the wrong thing or nothing, out of the tables of the nodes themselves. */
#include <string.h>

#include "core/graph_internal.h"

enum { NAMED = 3 };

/* Does this output give what the port takes? One that may be of several kinds says too little. */
static int gives(const kg_port *out, const char *takes) { return !strchr(out->kind, '|') && kg_kind_takes(takes, out->kind); }

/* An output of t that the port takes, or NULL. */
static const kg_port *output(const kg_node_type *t, const char *takes)
{
    for (const kg_port *p = t->outputs; p && p->name; ++p)
        if (gives(p, takes))
            return p;
    return NULL;
}

static int takes(const kg_node_type *t, const char *kind)
{
    for (const kg_port *p = t->inputs; p && p->name; ++p)
        if (kg_kind_takes(p->kind, kind))
            return 1;
    return 0;
}

void kg_advise_source(const char *wanted)
{
    const kg_node_type *const *all;
    int n = kg_node_types(&all), found = 0;
    for (int i = 0; i < n && found < NAMED; ++i)
        if (output(all[i], wanted))
            kg_hint("%s%s", found++ ? ", " : "", all[i]->name);
    if (found)
        kg_hint(found > 1 ? " give one" : " gives one");
}

/* One node between, else two. */
void kg_advise_between(const char *have, const char *wanted)
{
    const kg_node_type *const *all;
    int n = kg_node_types(&all), found = 0;
    for (int i = 0; i < n && found < NAMED; ++i)
        if (takes(all[i], have) && output(all[i], wanted))
            kg_hint("%s%s makes %s of it", found++ ? ", " : "", all[i]->name, output(all[i], wanted)->kind);
    for (int i = 0; i < n && !found; ++i)
        for (int k = 0; k < n && !found && takes(all[i], have); ++k)
            for (const kg_port *p = all[i]->outputs; p && p->name && !found; ++p)
                if (!strchr(p->kind, '|') && takes(all[k], p->kind) && output(all[k], wanted)) {
                    kg_hint("%s makes %s of it, and %s makes %s of that", all[i]->name, p->kind, all[k]->name,
                            output(all[k], wanted)->kind);
                    found = 1;
                }
}
