/* Params: one typed struct a node, filled from named arguments and checked against the node's rows. */
#ifndef KG_CORE_PARAM_H
#define KG_CORE_PARAM_H

#include "core/graph.h"

void kg_params_default(const kg_node_type *t, void *params);
/* One argument into its field; strings are copied and owned by the struct. */
kg_status kg_param_set(const kg_param *p, void *params, const kg_arg *a);
void kg_params_drop(const kg_node_type *t, void *params);            /* frees the strings, not the struct             */
void kg_params_copy(const kg_node_type *t, void *to, const void *from);
/* name=value of each one that is not at its default, in declaration order; item >= 0 takes one number of a KG_ITEMS list
 * (of a list of one always that). */
void kg_params_hash(const kg_node_type *t, const void *params, int item, kg_hash *h);
void kg_params_trace_hash(const kg_node_type *t, const void *params, kg_hash *h);    /* what the trace of a node depends on */
int kg_params_items(const kg_node_type *t, const void *params);       /* numbers in its KG_ITEMS list; at least 1      */
int kg_param_text(const kg_param *p, const void *params, char *out, size_t n);   /* value as text, for plans and --help */
int kg_param_option(const kg_param *p, const char *word);             /* index of a choice's option, or -1             */
const kg_param *kg_param_find(const kg_node_type *t, const char *name);

#endif
