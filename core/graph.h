/* The graph: nodes of typed params and joins, checked at every edit. infer runs when a node is added, so an error is raised at the
 * script's line and every shape is known before the run. */
#ifndef KG_CORE_GRAPH_H
#define KG_CORE_GRAPH_H

#include "core/file.h"
#include "core/key.h"
#include "core/node.h"

#define KG_STREAM_NODES 256        /* that a stream passes, one behind the other                           */
#define KG_STREAM_USERS 16         /* of the streams of one node                                           */

typedef enum kg_arg_kind { KG_A_INT, KG_A_REAL, KG_A_BOOL, KG_A_TEXT, KG_A_INTS, KG_A_NODE } kg_arg_kind;
typedef struct kg_arg {            /* one named argument of a node: a param's value or an input's source   */
    const char *name;
    kg_arg_kind kind;
    int64_t i;                     /* INT, BOOL                                                            */
    double r;                      /* REAL                                                                 */
    const char *s;                 /* TEXT (choices, paths, "auto", 64-bit whole numbers as decimals)      */
    const int64_t *list;           /* INTS                                                                 */
    int n;
    int node, port;                /* NODE: output `port` of node `node`                                   */
} kg_arg;

typedef struct kg_graph kg_graph;
typedef struct kg_graph_options {
    kg_files *files;               /* borrowed                                                             */
    int precision;                 /* --precision, resolved for the run's device                           */
    int cpu_precision;             /* the same for nodes with device = "cpu"; 0: as precision              */
    int max_nodes;                 /* 0: 4096                                                              */
} kg_graph_options;
kg_graph *kg_graph_new(const kg_graph_options *o);
void kg_graph_free(kg_graph *g);

/* Every node takes device = "auto" or "cpu": the latter runs it on the host, whatever the run's device; a node with a stream input
 * follows the one that makes the stream. It changes no key, but auto precision is resolved for the device.
 * Number of the new node, or -1 with an error (the graph is unchanged). label may be NULL. Unknown types, ports and params get
 * the near match as a hint; a value out of range names the range; kinds that do not join name both. */
int kg_graph_add(kg_graph *g, const char *type, const char *label, const kg_arg *args, int n);
/* Joins an input again; a cycle is refused. infer of the node and of all that follow runs again. */
kg_status kg_graph_join(kg_graph *g, int from, int port, int to, const char *input);
/* Index of a named output, -1 with an error and the near match. */
int kg_graph_output(const kg_graph *g, int node, const char *name);
/* Only these nodes, what they need, and (when n is 0) all sinks are run. */
kg_status kg_graph_want(kg_graph *g, int node);

int kg_graph_count(const kg_graph *g);
const kg_node_type *kg_graph_type(const kg_graph *g, int node);
const char *kg_graph_label(const kg_graph *g, int node);              /* "" when it has none                  */
const void *kg_graph_params(const kg_graph *g, int node);
const kg_desc *kg_graph_desc(const kg_graph *g, int node, int port);  /* of an output                         */
kg_key kg_graph_key(const kg_graph *g, int node, int port, int item); /* of an output                         */
/* Keys hang on what files hold (kg_infer_file). identify has read all that the wanted nodes' keys need; a key that is asked for without
 * it reads what is missing then, and is none, with an error, when that fails. */
kg_status kg_graph_identify(kg_graph *g);
/* unread[node] is 1 where a key needs a file that is not known; the number of such nodes. Nothing is read. */
int kg_graph_unread(const kg_graph *g, char *unread);
/* Identity of what a node reads of files by itself, over all of them; 0: it reads none, or they are not known. */
int kg_graph_identity(const kg_graph *g, int node, kg_key *out);
int kg_graph_unreached(const kg_graph *g, int *nodes, int max);       /* nodes that nothing wanted needs      */

#endif
