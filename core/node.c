/* The registry of node types, kinds, and small helpers of descriptions and resources. */
#include "core/node.h"

#include <stdlib.h>
#include <string.h>

#include "core/internal.h"

/* The linker's names for the ends of the section; weak, since core alone has no nodes. */
extern const kg_node_type *const __start_kg_nodes[] __attribute__((weak));
extern const kg_node_type *const __stop_kg_nodes[] __attribute__((weak));

int kg_node_types(const kg_node_type *const **all)
{
    *all = __start_kg_nodes;
    return __start_kg_nodes ? (int)(__stop_kg_nodes - __start_kg_nodes) : 0;
}

const kg_node_type *kg_node_type_find(const char *name)
{
    const kg_node_type *const *all;
    int n = kg_node_types(&all);
    for (int i = 0; i < n; ++i)
        if (!strcmp(all[i]->name, name))
            return all[i];
    return NULL;
}

/* One alternative of a port's kind. */
static int takes(const char *port, size_t n, const char *kind)
{
    return !strncmp(port, kind, n) && (kind[n] == 0 || kind[n] == '/');
}

int kg_kind_takes(const char *port, const char *kind)
{
    for (const char *p = port;;) {
        size_t n = strcspn(p, "|");
        if (takes(p, n, kind))
            return 1;
        if (!p[n])
            return 0;
        p += n + 1;
    }
}

kg_desc kg_desc_tensor(const char *kind, kg_dtype d, int rank, const int64_t *shape)
{
    kg_desc t = {.kind = kind, .dtype = d, .rank = rank};
    memcpy(t.shape, shape, (size_t)rank * sizeof *shape);
    return t;
}

int kg_infer_precision(const kg_infer *x, int asked) { return asked == KG_PRECISION_AUTO ? x->precision : asked; }

void kg_resource_seal(kg_resource *r)
{
    for (int s = 0; s < r->segment_count; ++s) {
        kg_segment *g = &r->segments[s];
        g->bytes = 0;
        for (int i = g->first; i < g->first + g->count; ++i) {
            kg_tensor t = kg_tensor_make(NULL, r->weights[i].dtype, r->weights[i].rank, r->weights[i].shape);
            g->bytes += kg_align(kg_bytes(&t));
        }
    }
}
