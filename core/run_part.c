/* A unit that runs on the host while the rest of the graph runs on a card (device = "cpu" at its node).
 *
 * It has a plan of its own (core/plan.c), with the CPU's arena and residency, inside the room that --ram leaves; here that plan is
 * run to its end while the outer run waits. Values cross through the outer run's compute lane: what the unit reads is fetched when its
 * own run puts given values in place, what it made is written to the planned place on the device. Its events go to the outer queue, its
 * results into the cache under the CPU's tag. */
#include "core/run_internal.h"

static kg_status give(void *arg, int node, int port, int item, void *dst)
{
    kg_run *r = arg;
    return kg_run_fetch(r, dst, &r->plan->node[node].values[port].item[item]);
}

/* Passes its events on until it ends, after: seconds that come behind it; stops it when the outer run stops. */
static kg_status follow(kg_run *r, kg_run *inner, double after)
{
    kg_run_event e = {0};
    while (e.kind != KG_E_DONE && e.kind != KG_E_ERROR) {
        int got = kg_run_poll(inner, &e, 50);
        e.rest += after;
        if (got && (e.kind == KG_E_NODE || e.kind == KG_E_STEP))
            kg_run_push(r, &e);
        if (!got)
            e.kind = KG_E_NODE;
        if (atomic_load(&r->stop))
            kg_run_cancel(inner);
    }
    return kg_run_wait(inner);
}

/* What the unit made goes to the device, where others will look for it. */
static kg_status take_values(kg_run *r, const kg_plan *part, int unit)
{
    const kg_plan *p = r->plan;
    KG_EACH_MEMBER (p, unit, i)
        for (int o = 0; o < p->graph->node[i]->outputs; ++o)
            for (int k = 0; k < p->node[i].values[o].n && p->node[i].interval[o] >= 0; ++k) {
                const kg_tensor *to = &p->node[i].values[o].item[k], *from = &part->node[i].values[o].item[k];
                if (r->device->ops->write(r->device, KG_LANE_COMPUTE, to->at, from->at, kg_bytes(from)) != KG_OK)
                    return kg_error_last()->status;
            }
    return KG_OK;
}

kg_status kg_run_part(kg_run *r, int unit)
{
    kg_plan *part = r->plan->node[r->plan->unit[unit].root].part;
    part->give = give;
    part->give_arg = r;
    kg_run *inner = kg_run_start(part);
    if (!inner)
        return kg_error_last()->status;
    kg_status s = follow(r, inner, kg_run_after(r, &r->plan->unit[unit]));
    if (s == KG_OK)
        s = take_values(r, part, unit);
    kg_run_free(inner);
    return s;
}
