/* The host's part of a card's plan: what the run needs of its memory, and how much of the rest keeps weights. */
#include "core/run_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/system.h"

enum { PER_BLOCK = 32 };       /* what the allocator adds to a block, and a small one's rounding */

/* A node's own, with what the run keeps of it. A part's array spans the whole graph, and only the pages of its own nodes are touched. */
static size_t node_bytes(const kg_plan *p, int node)
{
    const kg_pnode *q = &p->node[node];
    size_t bytes = sizeof *q + sizeof(kg_clock) + 1 + sizeof(kg_unit) + sizeof(int) + q->checkpoint.bytes + (p->whole ? 4096 : 0);
    for (int o = 0; o < KG_GRAPH_PORTS; ++o) {
        size_t items = (size_t)(q->values[o].n > 0 ? q->values[o].n : 1);
        bytes += q->values[o].item ? items * (sizeof(kg_tensor) + 2 * sizeof(kg_interval)) + PER_BLOCK : 0;
        bytes += q->rows[o] ? items * sizeof(kg_cache_row) + PER_BLOCK : 0;
    }
    return bytes + (q->part ? kg_plan_own_bytes(q->part) : 0);
}

/* What grows with the graph; a run's constants, about 1 MiB, are in what the device says is taken beside the plan. Arrays grow by
 * doubling, so that those of loads and intervals, which are not made yet, count twice. The tier of a card's host has its own loads and
 * heights. */
size_t kg_plan_own_bytes(const kg_plan *p)
{
    const kg_trace *t = &p->trace;
    size_t tiers = p->options.device->profile.discrete ? 2 : 1, own = 0;
    for (int i = 0; i < p->count; ++i)
        if (p->node[i].state != KG_P_SKIP || !p->whole)
            own += node_bytes(p, i);
    own += t->cap_records * sizeof *t->records + t->cap_keeps * (sizeof *t->keeps + sizeof(int) + 2 * sizeof(kg_interval));
    own += t->cap_ticks * (sizeof *t->ticks + tiers * sizeof(size_t) + 2 * sizeof(double) + sizeof(kg_event) + 1);
    own += t->cap_uses * sizeof *t->uses;
    own += t->n_uses * (2 * sizeof(size_t) + tiers * (sizeof(int) + 2 * sizeof(kg_load)) + sizeof(kg_event));
    return own + kg_run_events_bytes(p);
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
    const kg_profile *f = &p->options.device->profile;
    size_t flags = p->stage ? KG_FLAGS * (sizeof(int32_t) + sizeof(kg_flag_place)) : 0;
    return kg_plan_own_bytes(p) + flags + unit + value + p->stage + (f->discrete ? f->host_fixed : 0);
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
