/* Plan and run. A plan is made of a graph for one device and budget, by running execute dry; a run executes a plan on a thread of
 * its own, and the caller polls its events. */
#ifndef KG_CORE_RUN_H
#define KG_CORE_RUN_H

#include "core/cache.h"
#include "core/device.h"
#include "core/graph.h"
#include "core/rates.h"
#include "core/system.h"

typedef struct kg_plan kg_plan;
typedef struct kg_run kg_run;

typedef struct kg_plan_options {
    kg_device *device;             /* borrowed                                                             */
    kg_device *cpu;                /* borrowed: for nodes with device = "cpu" when the device is another; may be NULL */
    kg_cache *cache;               /* may be NULL                                                          */
    size_t budget;                 /* bytes, everything the process holds on the device; 0: all but 10 %   */
    size_t host_budget;            /* discrete devices: pinned and anonymous host bytes; 0: what is free, but 10 % of all */
    const kg_host_memory *host;    /* borrowed: what this process may take of the host, whatever the budgets; NULL: not asked */
    int strict;                    /* hits need an equal numerics tag                                      */
    int force;                     /* sinks run even if their file is there; nothing is taken from the cache with 2 */
    int finite;                    /* fronts look at what they made, and an error names the op that made NaN or Inf; bits stay */
    int dry;                       /* plan only: cached rows are not read to see whether they are good     */
    char *(*provenance)(void *arg, int node);  /* malloc: what a sink writes into its file, asked for when it runs; may be NULL */
    void *provenance_arg;
    kg_rates *rates;        /* borrowed: what earlier runs took (core/rates.h), and the run adds to it; may be NULL */
    unsigned chaos;                /* tests: random delays on the copy lane, freed slots filled with NaN   */
} kg_plan_options;
kg_plan *kg_plan_new(kg_graph *g, const kg_plan_options *o);       /* NULL with an error; KG_NOFIT names shortfall and residents */
void kg_plan_free(kg_plan *p);
typedef struct kg_plan_summary {
    size_t peak_device, peak_host; /* bytes, fixed included; on the CPU device both are the same           */
    size_t arena;                  /* top of the placed layout                                             */
    double seconds;                /* estimate                                                             */
    int nodes, cached;             /* nodes to run; nodes answered by the cache                            */
    int64_t fronts, sites, loads;  /* of the trace                                                         */
    size_t loaded;                 /* bytes that weight loads move                                         */
} kg_plan_summary;
kg_plan_summary kg_plan_sum(const kg_plan *p);
char *kg_plan_json(const kg_plan *p);          /* malloc; the form has "version": 1                        */
char *kg_plan_text(const kg_plan *p);          /* malloc; for people                                       */

typedef enum kg_event_kind { KG_E_NODE, KG_E_STEP, KG_E_DONE, KG_E_ERROR } kg_event_kind;
typedef struct kg_run_event {
    kg_event_kind kind;
    int id;                        /* the node's number in the graph                                       */
    char node[64], label[64];      /* type and label                                                       */
    char state[16];                /* NODE: "run", "cached", "done"                                        */
    char scope[32];                /* STEP: name of the scope that counts                                  */
    int64_t i, n;                  /* STEP: i of n finished                                                */
    double seconds;                /* NODE done: taken; STEP: estimated left of this node                  */
    double rest;                   /* NODE, STEP: estimated left of the whole run                          */
    size_t resident;               /* bytes of the arena in use now                                        */
    kg_error error;                /* ERROR                                                                */
} kg_run_event;
kg_run *kg_run_start(kg_plan *p);              /* borrows the plan                                         */
/* 1: an event; 0: none in time. Of steps that were not read in time each node's last one is left; all else stays until it is read. */
int kg_run_poll(kg_run *r, kg_run_event *e, int wait_ms);
void kg_run_cancel(kg_run *r);                 /* from any thread or a signal handler                      */
kg_status kg_run_wait(kg_run *r);              /* joins the thread; events stay readable until free         */
size_t kg_run_peak(const kg_run *r);           /* arena bytes touched at most (measured)                   */
/* A wanted tensor of a finished run, copied to the host; bytes must match. For tests and tools. */
kg_status kg_run_value(kg_run *r, int node, int port, int item, void *dst, size_t bytes);
void kg_run_free(kg_run *r);

#endif
