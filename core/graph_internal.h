/* The graph's insides, for core's own files (plan, run). */
#ifndef KG_CORE_GRAPH_INTERNAL_H
#define KG_CORE_GRAPH_INTERNAL_H

#include "core/graph.h"

#define KG_GRAPH_PORTS 8

typedef struct kg_gnode {
    const kg_node_type *type;
    char *label;
    void *asked, *params;          /* as given; as infer resolved it                          */
    int inputs, outputs;
    int from[KG_GRAPH_PORTS], from_port[KG_GRAPH_PORTS];     /* -1: not joined                */
    kg_desc out[KG_GRAPH_PORTS];
    kg_resource *resource;         /* owned                                                   */
    unsigned char *extra;          /* what infer added to the key                             */
    size_t extra_bytes;
    int wanted;
    int on_cpu;                    /* device = "cpu"                                          */
    kg_key *keys;                  /* memory of kg_graph_key: [output][item], dropped by infer  */
    char *keyed;
    int key_items;
} kg_gnode;
struct kg_graph { kg_graph_options options; kg_gnode **node; int count, room, wants; };

int kg_gnode_wanted(const kg_graph *g, int node);
/* Descriptions of the inputs as the node sees them. */
void kg_gnode_inputs(const kg_graph *g, const kg_gnode *n, kg_desc in[KG_GRAPH_PORTS]);

#endif
