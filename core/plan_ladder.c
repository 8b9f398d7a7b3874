/* The planner's ladder: a plan is made with the first values of all knobs; while it does not fit or waits for loads, one exact knob
 * of the node that owns the worst place goes a step down, and the fastest rung that fitted wins. What fits on no rung is refused
 * with figures. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/plan_internal.h"

#define STALL_ENOUGH 0.03      /* of the time: below it no rung is worth trying */
#define RUNGS 32               /* tried at most: each is a trace of everything */

static int node_at(const kg_plan *p, uint32_t tick)
{
    for (int u = 0; u < p->units; ++u)
        if (tick >= p->unit[u].first && tick <= p->unit[u].last)
            return p->unit[u].root;
    return -1;
}

static int step_down(kg_plan *p, int node, int saves)
{
    if (node < 0)
        return 0;
    const kg_knob_row *k = p->graph->node[node]->type->knobs;
    for (int i = 0; k && k[i].name; ++i)
        if (k[i].flags & KG_EXACT && k[i].flags & saves && p->node[node].frame.knob[i] + 1 < k[i].n) {
            ++p->node[node].frame.knob[i];
            return 1;
        }
    return 0;
}

static void knobs(kg_plan *p, int (*save)[8], int restore)
{
    for (int i = 0; i < p->count; ++i)
        if (restore)
            memcpy(p->node[i].frame.knob, save[i], sizeof save[i]);
        else
            memcpy(save[i], p->node[i].frame.knob, sizeof save[i]);
}

static kg_status rung(kg_plan *p)
{
    kg_status s = kg_plan_trace(p);
    return s == KG_OK ? kg_plan_lay_out(p) : s;
}

double kg_plan_work(const kg_plan *p)
{
    double s = 0;
    for (size_t i = 0; i < p->trace.n_ticks; ++i)
        s += p->trace.ticks[i].seconds;
    return s;
}

/* The card waits for the link, or the link for the disk: the longer wait is the run's. */
double kg_plan_stall(const kg_plan *p, uint32_t *tick)
{
    const kg_tier *t = p->host.stall > p->tier.stall ? &p->host : &p->tier;
    if (tick)
        *tick = t->stall_tick;
    return t->stall;
}

typedef struct resident { char name[160]; size_t bytes; } resident;

static void largest_three(resident top[3], const char *name, size_t bytes)
{
    for (int i = 0; i < 3; ++i)
        if (bytes > top[i].bytes) {
            memmove(&top[i + 1], &top[i], (size_t)(2 - i) * sizeof *top);
            snprintf(top[i].name, sizeof top[i].name, "%s", name);
            top[i].bytes = bytes;
            return;
        }
}

static kg_status refuse(kg_plan *p)
{
    const kg_tier *t = &p->tier;
    uint32_t at = t->short_tick;
    resident top[3] = {0};
    char name[160];
    int node = node_at(p, at);
    const char *who = node >= 0 ? p->graph->node[node]->type->name : "the graph";
    for (size_t i = 0; i < t->n_intervals; ++i)
        if (t->intervals[i].first <= at && t->intervals[i].last >= at)
            largest_three(top, kg_plan_interval_name(p, &t->intervals[i], name, sizeof name), t->intervals[i].bytes);
    snprintf(name, sizeof name, "temporaries of %s", who);
    largest_three(top, name, p->trace.ticks[at].height);
    for (size_t u = 0; u < p->trace.n_uses; ++u)
        if (p->trace.uses[u].first <= at && p->trace.uses[u].last >= at) {
            const kg_resource *r = p->graph->node[p->trace.uses[u].resource]->resource;
            snprintf(name, sizeof name, "weights of %s, %s", p->graph->node[p->trace.uses[u].resource]->type->name,
                     r->segments[p->trace.uses[u].segment].name);
            largest_three(top, name, p->use_bytes[u]);
        }
    const double mib = 1048576.0;
    const kg_profile *f = &p->options.device->profile;
    double taken = (double)(f->fixed + (f->discrete ? 0 : p->host_peak)), room = (double)kg_plan_room(p);
    double budget = p->options.budget ? (double)p->options.budget : room + taken;
    double missing = (double)t->shortfall + room + taken - budget;         /* what is taken may be more than the budget */
    kg_fail(KG_NOFIT,
            "%s does not fit: %.1f MiB short of a budget of %.1f MiB (%.1f MiB of it taken before the run). Largest "
            "residents: %s %.1f MiB, %s %.1f MiB, %s %.1f MiB",
            who, missing / mib, budget / mib, taken / mib, top[0].name, (double)top[0].bytes / mib, top[1].name,
            (double)top[1].bytes / mib, top[2].name, (double)top[2].bytes / mib);
    /* What is taken before the run is measured anew each time, and differs by some hundred KiB. */
    kg_hint("%s %.0fM would do", f->discrete ? "--vram" : "--ram", (budget + missing) / mib + 3);
    return KG_NOFIT;
}

typedef struct best { int (*knobs)[8]; double time; } best;     /* time below 0: nothing fitted yet */

/* One rung. Its status; *next: the knobs have been changed and another may be tried. */
static kg_status try_rung(kg_plan *p, best *b, int *next)
{
    kg_status s = rung(p);
    *next = 0;
    if (s != KG_OK && s != KG_NOFIT)
        return s;
    uint32_t tick;
    double work = kg_plan_work(p), stall = kg_plan_stall(p, &tick);
    if (s == KG_OK && (b->time < 0 || work + stall < b->time)) {
        b->time = work + stall;
        knobs(p, b->knobs, 0);
    }
    if (s == KG_OK)
        *next = stall > STALL_ENOUGH * work && step_down(p, node_at(p, tick), KG_SAVES_LOADS);
    else if (!p->host.shortfall)
        *next = step_down(p, node_at(p, p->tier.short_tick), KG_SAVES_MEMORY);
    return s;
}

kg_status kg_plan_ladder(kg_plan *p)
{
    best b = {calloc((size_t)p->count + 1, sizeof *b.knobs), -1};
    kg_status s = b.knobs ? KG_OK : kg_fail(KG_FAILED, "out of host memory");
    int next = s == KG_OK;
    for (int i = 0; next && i < RUNGS; ++i)
        s = try_rung(p, &b, &next);
    if (s == KG_NOFIT && b.time < 0)
        s = p->host.shortfall ? kg_plan_refuse_host(p) : refuse(p);
    else if ((s == KG_OK || s == KG_NOFIT) && (next || s == KG_NOFIT || kg_plan_work(p) + kg_plan_stall(p, NULL) > b.time)) {
        knobs(p, b.knobs, 1);
        s = rung(p);
    }
    free(b.knobs);
    return s;
}
