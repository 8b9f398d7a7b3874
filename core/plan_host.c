/* The host's part of a card's plan: what the run needs of its memory, and how much of the rest keeps weights. */
#include "core/plan_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/system.h"

/* What a plan itself takes while it is run: the trace, lifetimes and loads, what core/run.c keeps by tick, checkpoints to resume. */
static size_t own_bytes(const kg_plan *p)
{
    const kg_trace *t = &p->trace;
    size_t saved = 0;
    for (int i = 0; i < p->count; ++i)
        saved += p->node[i].checkpoint.bytes;
    return saved + t->n_records * sizeof *t->records + t->n_ticks * (sizeof *t->ticks + 4 * sizeof(size_t)) +
           t->n_keeps * sizeof *t->keeps +
           t->n_uses * (sizeof *t->uses + 2 * sizeof(size_t) + sizeof(int) + sizeof(kg_load) + sizeof(uint64_t));
}

/* Host memory of a run besides weights: the plan, what units declare, staging, a value on its way to or from the cache. */
size_t kg_plan_host_needs(const kg_plan *p)
{
    size_t unit = 0, value = 0;
    for (int u = 0; u < p->units; ++u)
        unit = p->unit[u].host > unit ? p->unit[u].host : unit;
    for (int i = 0; i < p->count && p->options.cache && p->stage; ++i)
        for (int o = 0; o < KG_GRAPH_PORTS && p->node[i].state != KG_P_SKIP; ++o)
            for (int k = 0; k < p->node[i].values[o].n; ++k)
                value = kg_bytes(&p->node[i].values[o].item[k]) > value ? kg_bytes(&p->node[i].values[o].item[k]) : value;
    return own_bytes(p) + unit + value + p->stage + (p->options.device->profile.discrete ? p->options.device->profile.host_fixed : 0);
}

/* Page-locked weights are taken from everyone: what may be taken now, but a tenth of all memory (or of the group's limit). */
size_t kg_plan_host_room(void)
{
    kg_host_memory m;
    kg_host_memory_read("", &m);
    size_t there = m.left + kg_system_bytes("/proc/self/status", "RssAnon:", 1024);     /* host_fixed counts its own */
    return there > m.all / 5 ? there - m.all / 10 : there / 2;
}

/* The host tier of a card: its uses are the card's loads, in their order; its room is --ram. What it does not keep passes through
 * the device's own ring, which is in host_fixed. */
kg_status kg_plan_host(kg_plan *p)
{
    kg_tier *t = &p->host;
    size_t n = p->tier.n_loads;
    kg_use_site *uses = calloc(n + 1, sizeof *uses);
    size_t *bytes = calloc(n + 1, sizeof *bytes);
    kg_status s = uses && bytes ? kg_plan_tier_begin(p, t, p->options.host_budget) : kg_fail(KG_FAILED, "out of host memory");
    for (size_t i = 0; i < n && s == KG_OK; ++i) {
        const kg_load *l = &p->tier.loads[i];
        uses[i] = p->trace.uses[l->use];
        uses[i].last = uses[i].first;      /* the copy has read it when compute begins to use it */
        bytes[i] = p->read_bytes[l->use];
    }
    if (s == KG_OK) {
        for (size_t i = 0; i < t->n_ticks; ++i)
            t->busy[i] = p->host_peak;
        t->uses = uses;
        t->n_uses = n;
        t->use_bytes = bytes;
        t->passing = 1;
        t->bandwidth = p->options.device->profile.disk;
        s = kg_residency(t);
    }
    for (size_t i = 0; i < t->n_ticks && s == KG_OK; ++i)
        p->host_peak = t->busy[i] > p->host_peak ? t->busy[i] : p->host_peak;
    t->uses = NULL;
    t->use_bytes = NULL;
    t->n_uses = 0;
    free(uses);
    free(bytes);
    return s;
}
