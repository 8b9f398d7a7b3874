/* Residency of one tier: which segments stay, which pass through a ring, when each is loaded. A pure function of numbers; it knows no
 * graph and no device, so the host tier of a discrete card is a second call with other numbers. */
#ifndef KG_CORE_RESIDENCY_H
#define KG_CORE_RESIDENCY_H

#include "core/internal.h"

typedef enum kg_interval_kind { KG_I_VALUE, KG_I_KEEP, KG_I_FILL, KG_I_KEPT, KG_I_RING } kg_interval_kind;
typedef struct kg_interval {
    kg_interval_kind kind;
    int a, b;                  /* VALUE: node, port; KEEP: ordinal; KEPT: resource, segment; RING: resource, slots  */
    size_t bytes, at;          /* at: set by kg_place                                                              */
    uint32_t first, last;      /* ticks                                                                            */
} kg_interval;
typedef struct kg_load {
    uint32_t use;              /* the first use that needs it                                                      */
    int interval;              /* index into the intervals                                                         */
    size_t offset;             /* inside the interval (ring slots)                                                 */
    uint32_t after;            /* may start when compute has reached this tick                                     */
} kg_load;

typedef struct kg_tier {
    /* in */
    const kg_use_site *uses;
    size_t n_uses, n_ticks;
    const size_t *use_bytes;   /* by use: bytes of its segment                                                     */
    const kg_tick *ticks;      /* seconds are used                                                                 */
    size_t *busy;              /* by tick: bytes that are no weights; weights are added                            */
    size_t budget;
    double bandwidth;          /* bytes/s of loads                                                                 */
    int discrete;              /* loads may start in earlier phases                                                */
    int lean;                  /* nothing that only saves time: no loads ahead, two slots for what is used once    */
    int passing;               /* what is not kept passes through and takes no room (the host tier of a card)      */
    /* out; intervals and loads are appended */
    kg_interval *intervals;
    size_t n_intervals, cap_intervals;
    kg_load *loads;
    size_t n_loads, cap_loads;
    int *use_load;             /* by use: its load                                                                 */
    const double *load_seconds;/* by load, for kg_tier_stall; NULL: bytes over the bandwidth                       */
    double *waits;             /* by tick: what kg_tier_stall adds to it; may be NULL                              */
    double stall;              /* seconds compute waits for loads                                                  */
    uint32_t stall_tick;       /* where it waits most                                                              */
    size_t shortfall;          /* bytes missing when it does not fit                                               */
    uint32_t short_tick;
} kg_tier;
kg_status kg_residency(kg_tier *t);            /* KG_NOFIT quietly (shortfall set), KG_FAILED with an error        */
double kg_tier_stall(kg_tier *t);              /* simulates the two lanes over t's loads; sets the error without memory */

/* The tallest of ranges of ticks that are raised one after the other (core/heights.c). */
typedef struct kg_heights { size_t *at, n, *add, *most; } kg_heights;
int kg_heights_new(kg_heights *h, size_t *at, size_t n);       /* over an array of the caller's; 0: out of memory */
void kg_heights_raise(kg_heights *h, size_t first, size_t last, size_t bytes);
size_t kg_heights_most(const kg_heights *h, size_t first, size_t last, uint32_t *where);
size_t kg_heights_back(const kg_heights *h, size_t tick, size_t limit);    /* first tick of those before `tick` that are all within */
void kg_heights_done(kg_heights *h);                           /* the array holds all that was raised             */

/* First fit over known lifetimes, in one order after the other until the layout ends at `enough` or below; else in the best of
 * them. Returns the end of the layout: with the stack of `ticks` above it. SIZE_MAX: out of memory. */
size_t kg_place(kg_interval *v, size_t n, const kg_tick *ticks, size_t n_ticks, size_t enough);

#endif
