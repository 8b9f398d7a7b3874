/* Graphs in tests: arguments of nodes, and one run for one value. */
#ifndef KG_TESTS_GRAPH_H
#define KG_TESTS_GRAPH_H

#include "core/run.h"

static inline kg_arg arg_int(const char *name, int64_t i) { return (kg_arg){.name = name, .kind = KG_A_INT, .i = i}; }
static inline kg_arg arg_real(const char *name, double r) { return (kg_arg){.name = name, .kind = KG_A_REAL, .r = r}; }
static inline kg_arg arg_text(const char *name, const char *s) { return (kg_arg){.name = name, .kind = KG_A_TEXT, .s = s}; }
static inline kg_arg arg_node(const char *name, int node, int port)
{
    return (kg_arg){.name = name, .kind = KG_A_NODE, .node = node, .port = port};
}
/* Arguments and their number, as kg_graph_add takes them. */
#define ARGS(...) (kg_arg[]){__VA_ARGS__}, (int)(sizeof((kg_arg[]){__VA_ARGS__}) / sizeof(kg_arg))

/* Runs the graph; value (may be NULL) receives output 0 of node. */
static inline kg_status graph_value(kg_graph *g, const kg_plan_options *o, int node, void *value, size_t bytes)
{
    kg_plan *p = kg_plan_new(g, o);
    kg_run *r = p ? kg_run_start(p) : NULL;
    kg_status s = r ? kg_run_wait(r) : kg_error_last()->status;
    if (r && s == KG_OK && value)
        s = kg_run_value(r, node, 0, 0, value, bytes);
    kg_run_free(r);
    kg_plan_free(p);
    return s;
}

#endif
