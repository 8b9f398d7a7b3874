/* The planner's ladder: a plan is made with the first values of all knobs; while it does not fit or waits for loads, one exact knob
 * of the node that owns the worst place, and of all nodes like it, goes a step down, and the fastest rung that fitted wins. What fits
 * on no rung is refused (core/plan_refuse.c). */
#include <stdlib.h>
#include <string.h>

#include "core/plan_internal.h"

#define STALL_ENOUGH 0.03      /* of the time: below it no rung is worth trying */
#define RUNGS 32               /* tried at most: each is a trace of everything */

int kg_plan_node_at(const kg_plan *p, uint32_t tick)
{
    int low = 0, high = p->units;      /* units follow one another */
    while (low < high) {
        int middle = (low + high) / 2;
        if (p->unit[middle].last < tick)
            low = middle + 1;
        else
            high = middle;
    }
    return low < p->units && tick >= p->unit[low].first ? p->unit[low].root : -1;
}

/* Would the same knob do the same for both? Six hundred equal samplers are one choice, not six hundred rungs. */
static int alike(const kg_plan *p, int a, int b)
{
    const kg_gnode *x = p->graph->node[a], *y = p->graph->node[b];
    int same = p->node[b].state == KG_P_RUN && x->type == y->type &&
               !memcmp(p->node[a].frame.knob, p->node[b].frame.knob, sizeof p->node[a].frame.knob);
    for (int o = 0; o < x->outputs && same; ++o)
        same = x->out[o].rank == y->out[o].rank && x->out[o].items == y->out[o].items &&
               !memcmp(x->out[o].shape, y->out[o].shape, sizeof x->out[o].shape);
    for (int i = 0; i < x->inputs && same; ++i) {
        const kg_resource *r = p->node[a].frame.in_resource[i], *q = p->node[b].frame.in_resource[i];
        same = r == q;
    }
    return same;
}

static int step_down(kg_plan *p, int node, int saves)
{
    const kg_knob_row *k = node >= 0 ? p->graph->node[node]->type->knobs : NULL;
    for (int i = 0; k && k[i].name; ++i) {
        if (!(k[i].flags & KG_EXACT && k[i].flags & saves && p->node[node].frame.knob[i] + 1 < k[i].n))
            continue;
        for (int m = 0; m < p->count; ++m)
            if (m != node && alike(p, node, m))
                ++p->node[m].frame.knob[i];
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
        *next = stall > STALL_ENOUGH * work && step_down(p, kg_plan_node_at(p, tick), KG_SAVES_LOADS);
    else if (!p->host.shortfall && kg_error_last()->status == KG_OK)
        *next = step_down(p, kg_plan_node_at(p, p->tier.short_tick), KG_SAVES_MEMORY);
    return s;
}

kg_status kg_plan_climb(kg_plan *p)
{
    best b = {calloc((size_t)p->count + 1, sizeof *b.knobs), -1};
    kg_status s = b.knobs ? KG_OK : kg_fail(KG_FAILED, "out of host memory");
    int next = s == KG_OK;
    for (int i = 0; next && i < RUNGS; ++i)
        s = try_rung(p, &b, &next);
    if (b.time >= 0 && (s == KG_NOFIT || (s == KG_OK && (next || kg_plan_work(p) + kg_plan_stall(p, NULL) > b.time)))) {
        knobs(p, b.knobs, 1);
        s = rung(p);
    }
    free(b.knobs);
    return s;
}

kg_status kg_plan_ladder(kg_plan *p)
{
    kg_status s = kg_plan_climb(p);
    return s == KG_NOFIT ? kg_plan_refuse(p) : s;
}
