/* The graph's insides, for core's own files (plan, run). */
#ifndef KG_CORE_GRAPH_INTERNAL_H
#define KG_CORE_GRAPH_INTERNAL_H

#include "core/graph.h"

#define KG_GRAPH_PORTS 8

/* A file that was open in infer, and what it holds once that is known. */
typedef struct kg_content { char *path; kg_stamp stamp; unsigned char id[32]; int known; } kg_content;
typedef struct kg_gnode {
    const kg_node_type *type;
    char *label;
    void *asked, *params;          /* as given; as infer resolved it                          */
    int inputs, outputs;
    int from[KG_GRAPH_PORTS], from_port[KG_GRAPH_PORTS];     /* -1: not joined                */
    kg_desc out[KG_GRAPH_PORTS];
    kg_resource *resource;         /* owned                                                   */
    kg_content *files;             /* what its key needs of files                             */
    int file_count;
    int items;                     /* that its outputs have: by its params and inputs `told`, or more */
    int told;
    uint64_t given;                /* params that were given, by their number                 */
    char *writes;                  /* where a sink's file really goes; NULL: nowhere          */
    int wanted;
    int on_cpu;                    /* device = "cpu"                                          */
    kg_key *keys;                  /* memory of kg_graph_key: [output][item], dropped by infer  */
    char *keyed;
} kg_gnode;
struct kg_graph { kg_graph_options options; kg_gnode **node; int count, room, wants; };

void kg_gnode_forget(kg_gnode *n);     /* its keys and files: infer runs again, or it goes  */
/* Sets seen of a node and of all that it needs. */
void kg_graph_mark(const kg_graph *g, int node, char *seen);
int kg_gnode_wanted(const kg_graph *g, int node);
const char *kg_gnode_out(const kg_gnode *n);   /* the path that a sink writes, as it was given; or NULL */
/* Descriptions of the inputs as the node sees them. */
void kg_gnode_inputs(const kg_graph *g, const kg_gnode *n, kg_desc in[KG_GRAPH_PORTS]);
/* Has `from`, which n has just joined, users enough? n counts once, whether it is in the graph already or not. */
kg_status kg_gnode_stream_users(const kg_graph *g, const kg_gnode *n, int from);
/* The streams above n are one chain, called through when a chunk comes, each node by the one before it. */
kg_status kg_gnode_stream_length(const kg_graph *g, const kg_gnode *n);
/* The number of items of a node: that of its list of numbers, and of every list that it takes item by item; one goes with any. */
kg_status kg_gnode_count_items(kg_gnode *n, const kg_desc *in);

/* Hints to the current error: which nodes give what an input takes; which lie between it and what it was given. */
void kg_advise_source(const char *wanted);
void kg_advise_between(const char *have, const char *wanted);

#endif
