/* The plan's insides, shared by the files that make it, report it and run it. */
#ifndef KG_CORE_PLAN_INTERNAL_H
#define KG_CORE_PLAN_INTERNAL_H

#include "core/graph_internal.h"
#include "core/residency.h"

#define KG_STAGE_LEAST ((size_t)1 << 20)       /* values on their way to the cache pass through staging in pieces */

#define KG_FLAGS 256                           /* watched values whose flags may be out at once              */
typedef struct kg_flag_place { const char *what; char path[256]; } kg_flag_place;

typedef enum kg_pstate { KG_P_SKIP, KG_P_CACHED, KG_P_GIVEN, KG_P_RUN } kg_pstate;     /* GIVEN: by the outer run of a part */
typedef struct kg_pnode {
    kg_pstate state;
    kg_exec frame;                 /* used dry and wet; ctx differs                                      */
    kg_values values[KG_GRAPH_PORTS];
    int interval[KG_GRAPH_PORTS];  /* of the values: all items of a port in one; -1                      */
    kg_cache_row *rows[KG_GRAPH_PORTS];    /* cached: one an item                                        */
    kg_prepare prepared;
    kg_cache_row checkpoint;       /* bytes 0: none                                                      */
    void *saved;                   /* its bytes, until the run has taken them                            */
    int unit;
    uint32_t first, last;          /* lifetime of its values in ticks                                    */
    kg_warned warned;              /* by prepare and execute: kept with its results                      */
    struct kg_plan *part;          /* root of a unit on the host: the unit's own plan                    */
    int unread;                    /* it has no key yet: that needs a file that this plan does not read  */
} kg_pnode;
typedef struct kg_unit {
    int root;
    int at, members;               /* its nodes, in the order of the graph: kg_plan.member[at ...]         */
    uint32_t first, last;
    int64_t fronts;                /* kernels, as planned                                                */
    double factor;                 /* seconds expected of it over those by built-in rates                */
    double stall, late_stall;      /* expected: waiting for loads; in the second half of its ticks        */
    size_t host;                   /* declared by its nodes                                              */
    size_t stage_at;               /* staging of work with outputs, behind its nodes' slots              */
} kg_unit;

struct kg_plan {
    kg_graph *graph;
    kg_plan_options options;
    kg_pnode *node;
    int count;
    kg_unit *unit;
    int units;
    int *member;                   /* the nodes that run and are no resources, by unit                     */
    kg_trace trace;
    kg_tier tier;                  /* the device's                                                       */
    kg_tier host;                  /* discrete devices: what of it stays pinned on the host              */
    size_t *use_bytes;
    size_t *read_bytes;            /* by use: what filling its segment reads of files, in whole pages    */
    size_t fill_bytes;             /* scratch of the copy lane                                           */
    int fill_interval;
    int *keep_interval;
    double built_in;               /* seconds by the profile's rates                                     */
    size_t prepare_bytes;          /* what prepare held on the host, gone before the run                 */
    size_t arena, host_peak;
    size_t stage;                  /* page-locked staging of host work; 0: tensors are host addresses    */
    void *base;                    /* wet: the arena                                                     */
    const struct kg_plan *whole;   /* of a part: the plan that it belongs to                             */
    kg_status (*give)(void *arg, int node, int port, int item, void *dst);     /* wet, of a part: values from outside */
    void *give_arg;
};

kg_key kg_plan_checkpoint_key(const kg_plan *p, int node);
int kg_plan_root(const kg_plan *p, int node);          /* of its unit: what makes the stream that it reads, or itself      */
int kg_plan_on_host(const kg_plan *p, int node);       /* does its unit run on the host, apart from the device?            */
int kg_plan_wanted(const kg_plan *p, int node);        /* do its values live to the end?                                   */
kg_plan *kg_plan_part(const kg_plan *whole, int root); /* the plan of a unit on the host; NULL with an error               */
kg_status kg_plan_tier_begin(kg_plan *p, kg_tier *t, size_t budget);
void kg_plan_tier_drop(kg_tier *t);
size_t kg_plan_host_needs(const kg_plan *p);
size_t kg_plan_own_bytes(const kg_plan *p);            /* what the plan and its run take for themselves                */
size_t kg_plan_host_room(void);                        /* the budget when nobody said one                           */
kg_status kg_plan_host(kg_plan *p);                    /* the host tier; KG_NOFIT quietly, p->host.shortfall set           */
kg_status kg_plan_refuse(kg_plan *p);                   /* KG_NOFIT with figures; tries other budgets, so that the plan is spent */
kg_status kg_plan_check_host(kg_plan *p);              /* refuses what is planned above what this process may take */
#define KG_EACH_MEMBER(p, u, i) \
    for (int k_ = (p)->unit[u].at, i; k_ < (p)->unit[u].at + (p)->unit[u].members && ((i = (p)->member[k_]), 1); ++k_)
/* Makes units, runs them dry, fills trace and lifetimes. */
kg_status kg_plan_trace(kg_plan *p);
/* Residency and addresses for the trace. KG_NOFIT quietly, with the shortfall in a tier. */
kg_status kg_plan_lay_out(kg_plan *p);
/* Both for every rung of knobs that is worth trying; the best one is in the plan, or the error says what is missing. */
kg_status kg_plan_ladder(kg_plan *p);
kg_status kg_plan_climb(kg_plan *p);           /* the same, but KG_NOFIT is quiet                          */
int kg_plan_node_at(const kg_plan *p, uint32_t tick);  /* root of the unit; -1                              */
size_t kg_plan_room(const kg_plan *p);         /* of the arena                                             */
kg_status kg_plan_expect(kg_plan *p);          /* a finished plan's seconds: what is expected, instead of built-in rates */
void kg_plan_unit_name(const kg_plan *p, int unit, char *out, size_t n);       /* for core/rates.h                     */
double kg_plan_work(const kg_plan *p);         /* seconds of computing                                     */
double kg_plan_stall(const kg_plan *p, uint32_t *tick);    /* seconds of waiting, and where most of them; NULL */
/* Units that are traced once (core/plan_same.c). Begin says in `like` which earlier unit this one equals, -1: none. */
typedef struct kg_same_unit {
    kg_key key;
    size_t records, uses, keeps, n_records, n_uses, n_keeps, stage;
    int64_t fronts, n_fronts;
} kg_same_unit;
typedef struct kg_same { int *unit; size_t room; kg_same_unit *seen; int like; } kg_same;    /* unit: a table of numbers + 1 */
int kg_same_new(kg_same *s, const kg_plan *p);
void kg_same_free(kg_same *s);
void kg_same_begin(kg_same *s, const kg_plan *p, int unit);
void kg_same_end(kg_same *s, const kg_plan *p, const kg_ctx *c, int unit);
kg_status kg_same_copy(kg_same *s, kg_plan *p, kg_ctx *c, int unit);
/* Runs all units in order in a context: dry here, wet in core/run.c. The hooks may be NULL. */
typedef struct kg_walk {
    kg_status (*before)(void *arg, kg_plan *p, int unit);
    kg_status (*part)(void *arg, kg_plan *p, int unit);                    /* instead of executing a unit on the host */
    int (*known)(void *arg);                                               /* dry: part is called for this unit too   */
    kg_status (*settle)(void *arg, kg_plan *p, int unit, kg_status s);     /* before states are destroyed, on every way out */
    kg_status (*after)(void *arg, kg_plan *p, int unit);                   /* when all went well                    */
    void *arg;
} kg_walk;
kg_status kg_plan_walk(kg_plan *p, kg_ctx *c, const kg_walk *w);
/* Addresses of all values from a base; dry: the dry base. */
void kg_plan_values(kg_plan *p, void *base);
const char *kg_plan_interval_name(const kg_plan *p, const kg_interval *v, char *out, size_t n);

#endif
