/* What a run took goes into the rates that its plan was given (core/rates.h). Where the compute thread does the work itself a unit's
 * time is its wall clock without the waits for loads. On a device of its own memory it is the time between the first and the last
 * counted scope that finished: before the first lie what libraries prepare and the loads that nothing hides. */
#include "core/run_internal.h"

#define STALL_HIDES 0.05           /* of the work: beyond it the time is the link's, not the kernels' */

void kg_run_took_unit(kg_run *r, int unit)
{
    const kg_plan *p = r->plan;
    const kg_unit *u = &p->unit[unit];
    char what[256];
    double work = r->until[u->last + 1] - r->until[u->first], planned = work, taken = kg_run_now() - r->took.began - r->took.waited;
    if (!p->options.rates || u->factor <= 0 || kg_plan_on_host(p, u->root))
        return;
    if (!r->device->host_memory) {
        planned = r->until[r->took.last_tick] - r->until[r->took.first_tick];
        taken = r->took.last - r->took.first;
        if (r->took.counted < 2 || u->late_stall > STALL_HIDES * work)
            return;
    }
    kg_plan_unit_name(p, unit, what, sizeof what);
    int64_t fronts = work > 0 ? (int64_t)((double)u->fronts * planned / work) : 0;
    kg_rates_note(p->options.rates, what, planned / u->factor, fronts, taken);
}

void kg_run_took_loads(kg_run *r)
{
    kg_rates *rates = r->plan->options.rates;
    if (!rates || r->plan->whole)      /* a part's loads go over no link */
        return;
    kg_rates_note_load(&rates->cold, r->took.cold.bytes, r->took.cold.seconds);
    kg_rates_note_load(&rates->warm, r->took.warm.bytes, r->took.warm.seconds);
}
