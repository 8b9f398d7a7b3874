/* The seconds that a finished plan is said to take. The ladder has compared its rungs by the profile's built-in rates; here the work
 * of each unit is corrected by what such units took in earlier runs (core/rates.h), and each load by where its bytes are: still on the
 * disk, in the system's page cache, or kept on the host by the plan. Nothing but seconds changes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/file.h"
#include "core/plan_internal.h"

void kg_plan_unit_name(const kg_plan *p, int unit, char *out, size_t n)
{
    size_t used = (size_t)snprintf(out, n, "%s", p->options.device->class_name);
    KG_EACH_MEMBER (p, unit, i)
        if (used < n)
            used += (size_t)snprintf(out + used, n - used, " %s", p->graph->node[i]->type->name);
}

/* One unit's ticks become what is expected. A part's seconds were corrected in its own plan. */
static void correct(kg_plan *p, int unit)
{
    kg_unit *u = &p->unit[unit];
    const kg_plan *part = p->node[u->root].part;
    double work = 0;
    char what[256];
    for (uint32_t t = u->first; t <= u->last && t < p->trace.n_ticks; ++t)
        work += p->trace.ticks[t].seconds;
    kg_plan_unit_name(p, unit, what, sizeof what);
    u->factor = part && work > 0 ? kg_plan_sum(part).seconds / work : kg_rates_factor(p->options.rates, what, work, u->fronts);
    for (uint32_t t = u->first; t <= u->last && t < p->trace.n_ticks; ++t)
        p->trace.ticks[t].seconds *= u->factor;
}

typedef struct source { size_t bytes; double warm; char known, read; } source;     /* of one segment's fill */

/* Where a segment's bytes are now: its fill run dry, with its reads looked up. */
static void look(kg_plan *p, kg_ctx *c, const kg_use_site *s, source *o)
{
    if (kg_fill(c, p->graph->node[s->resource]->resource, s->segment, KG_DRY_BASE, c->weights[0]) == KG_OK)
        *o = (source){.bytes = c->read_bytes, .warm = c->read_bytes ? c->warm_bytes / (double)c->read_bytes : 1, .known = 1};
}

/* Is load i's source on the host already, by the plan of the host tier? */
static int host_has(const kg_plan *p, size_t i)
{
    const kg_tier *t = &p->host;
    const kg_load *l = t->n_loads ? &t->loads[t->use_load[i]] : NULL;
    return l && t->intervals[l->interval].kind == KG_I_KEPT && l->use != i;
}

/* Seconds of load i: its bytes on the link, and from where they are, whichever is longer. stays: what was read once is in the page
 * cache the next time. */
static double load_seconds(kg_plan *p, kg_ctx *c, source *o, size_t i, int stays)
{
    const kg_profile *f = &p->options.device->profile;
    const kg_rates *r = p->options.rates;
    const kg_load *l = &p->tier.loads[i];
    if (!o->known)
        look(p, c, &p->trace.uses[l->use], o);
    double warm = o->read && stays ? 1 : o->warm, bytes = (double)o->bytes;
    double memory = f->copy > 0 ? f->copy : f->disk, cold_rate = r ? kg_rates_load_rate(&r->cold, f->disk) : f->disk;
    double warm_rate = r ? kg_rates_load_rate(&r->warm, memory) : memory;
    double there = host_has(p, i) ? 0 : bytes * (1 - warm) / cold_rate + bytes * warm / warm_rate;
    double link = f->discrete ? (double)p->use_bytes[l->use] / f->copy : 0;
    o->read = 1;
    return there > link ? there : link;
}

static kg_status expect_loads(kg_plan *p, kg_ctx *c, size_t *first, source *sources, double *seconds)
{
    size_t n = 0, all = 0;
    for (int i = 0; i < p->count; ++i) {
        first[i] = n;
        n += p->graph->node[i]->resource ? (size_t)p->graph->node[i]->resource->segment_count : 0;
    }
    for (size_t i = 0; i < p->tier.n_loads; ++i) {
        const kg_use_site *s = &p->trace.uses[p->tier.loads[i].use];
        source *o = &sources[first[s->resource] + (size_t)s->segment];
        if (!o->read)
            all += p->read_bytes[p->tier.loads[i].use];
        o->read = 1;
    }
    for (size_t i = 0; i < n; ++i)
        sources[i].read = 0;
    int stays = all < kg_plan_host_room();
    for (size_t i = 0; i < p->tier.n_loads; ++i) {
        const kg_use_site *s = &p->trace.uses[p->tier.loads[i].use];
        seconds[i] = load_seconds(p, c, &sources[first[s->resource] + (size_t)s->segment], i, stays);
    }
    return kg_error_last()->status;
}

/* Waits by tick become the units'. */
static void spread(kg_plan *p, const double *waits)
{
    for (int u = 0; u < p->units; ++u)
        for (uint32_t t = p->unit[u].first; t <= p->unit[u].last && t < p->trace.n_ticks; ++t) {
            p->unit[u].stall += waits[t];
            if (t - p->unit[u].first > (p->unit[u].last - p->unit[u].first) / 2)
                p->unit[u].late_stall += waits[t];
        }
}

kg_status kg_plan_expect(kg_plan *p)
{
    for (int u = 0; u < p->units; ++u)
        correct(p, u);
    size_t segments = 0;
    for (int i = 0; i < p->count; ++i)
        segments += p->graph->node[i]->resource ? (size_t)p->graph->node[i]->resource->segment_count : 0;
    kg_ctx *c = calloc(1, sizeof *c);
    size_t *first = calloc((size_t)p->count + 1, sizeof *first);
    source *sources = calloc(segments + 1, sizeof *sources);
    double *seconds = calloc(p->tier.n_loads + 1, sizeof *seconds), *waits = calloc(p->trace.n_ticks + 1, sizeof *waits);
    kg_status s = c && first && sources && seconds && waits ? KG_OK : kg_fail(KG_FAILED, "out of host memory");
    if (s == KG_OK) {
        *c = (kg_ctx){.mode = KG_DRY, .device = p->options.device, .lane = KG_LANE_COPY, .looks = 1};
        c->top = KG_DRY_BASE + ((size_t)1 << 46);
        c->stop = &c->own_stop;
        s = expect_loads(p, c, first, sources, seconds);
    }
    if (s == KG_OK) {
        p->tier.load_seconds = seconds;
        p->tier.waits = waits;
        p->tier.stall = kg_tier_stall(&p->tier);
        s = kg_error_last()->status;
        p->tier.load_seconds = NULL;
        p->tier.waits = NULL;
        p->host.stall = 0;             /* it is in the loads' own seconds */
        spread(p, waits);
    }
    free(c);
    free(first);
    free(sources);
    free(seconds);
    free(waits);
    return s;
}
