/* The refusal: who does not fit, by how much, what is largest there, and a budget that does. That figure is no guess: a plan of this very
 * graph was made with it before it is said, every rung and the host's part included. What is there when the device starts differs by
 * some hundred KiB from process to process, so it is SLACK above the least that was found. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/plan_internal.h"
#include "core/system.h"

#define MIB ((size_t)1 << 20)
#define SLACK (3 * MIB)
#define LAYOUTS 16             /* tried at most, of the rung that was the last one tried                         */
#define CLIMBS 16              /* tried at most: plans from the first rung on                                    */

static double mib(size_t bytes) { return (double)bytes / (double)MIB; }
static size_t up(size_t bytes) { return (bytes + MIB - 1) / MIB * MIB; }

/* ---- a budget that would do ---- */
typedef struct budgets { size_t device, host; } budgets;       /* host: beside a discrete device */

static budgets asked(const kg_plan *p)
{
    const kg_profile *f = &p->options.device->profile;
    return (budgets){p->options.budget ? p->options.budget : f->memory - f->memory / 10, p->options.host_budget};
}

static void set(kg_plan *p, budgets b)
{
    for (int i = 0; i < p->count && b.host != p->options.host_budget; ++i) {       /* planned for what --ram left them */
        kg_plan_free(p->node[i].part);
        p->node[i].part = NULL;
    }
    p->options.budget = b.device;
    p->options.host_budget = b.host;
}

/* By what was short in the last plan; a part on the host does not say by how much: ever greater steps. */
static budgets grown(const kg_plan *p, budgets b, size_t *step)
{
    const kg_profile *f = &p->options.device->profile;
    size_t taken = f->fixed + (f->discrete ? 0 : p->host_peak);
    if (kg_error_last()->status != KG_OK)
        b.host = up(b.host + (*step *= 2));
    else if (p->host.shortfall)
        b.host = up(b.host + p->host.shortfall);
    else
        b.device = up((b.device > taken ? b.device : taken) + p->tier.shortfall + 1);
    return b;
}

static kg_status climb(kg_plan *p, budgets b)
{
    kg_error_clear();
    set(p, b);
    for (int i = 0; i < p->count; ++i)
        memset(p->node[i].frame.knob, 0, sizeof p->node[i].frame.knob);
    return kg_plan_climb(p);
}

/* Halves the distance to the last host budget that was too small, while that is worth a try. */
static budgets tighter(kg_plan *p, budgets good, size_t low)
{
    while (good.host > low + 8 * MIB) {
        budgets b = {good.device, up((good.host + low) / 2)};
        if (climb(p, b) == KG_OK)
            good = b;
        else
            low = b.host;
    }
    return good;
}

/* A budget that a plan was made with; 0: none was found. */
static int would_do(kg_plan *p, budgets *b)
{
    const budgets first = *b;
    size_t step = 8 * MIB, low = 0;
    int part = kg_error_last()->status != KG_OK;
    kg_status s = KG_NOFIT;
    for (int i = 0; i < LAYOUTS && !part && s == KG_NOFIT; ++i) {
        set(p, *b = grown(p, *b, &step));
        s = kg_plan_lay_out(p);
    }
    for (int i = 0; i < CLIMBS && (s == KG_OK || s == KG_NOFIT); ++i) {
        if (i || part) {
            part |= kg_error_last()->status != KG_OK;
            low = b->host;
            *b = grown(p, *b, &step);
        }
        budgets more = {b->device + (b->device > first.device ? SLACK : 0), b->host + (b->host > first.host ? SLACK : 0)};
        s = climb(p, more);
        if (s == KG_OK)
            *b = part ? tighter(p, more, low) : more;
        if (s == KG_OK)
            return 1;
    }
    return 0;
}

/* ---- words ---- */
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

static void residents(const kg_plan *p, uint32_t at, const char *who, resident top[3])
{
    const kg_tier *t = &p->tier;
    char name[160];
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
}

/* What is said before and behind the figures of a device that is too small; of the plan as it is now. */
typedef struct words { char who[160], rest[560]; } words;

static words of_device(const kg_plan *p)
{
    words w = {{0}};
    resident top[3] = {0};
    int node = kg_plan_node_at(p, p->tier.short_tick);
    const kg_profile *f = &p->options.device->profile;
    const char *who = node >= 0 ? p->graph->node[node]->type->name : "the graph";
    residents(p, p->tier.short_tick, who, top);
    snprintf(w.who, sizeof w.who, "%s%s does not fit", who, p->whole ? " on the CPU" : "");
    snprintf(w.rest, sizeof w.rest,
             "(%.1f MiB of it taken before the run). Largest residents: %.100s %.1f MiB, %.100s %.1f MiB, %.100s %.1f MiB",
             mib(f->fixed + (f->discrete ? 0 : p->host_peak)), top[0].name, mib(top[0].bytes), top[1].name, mib(top[1].bytes),
             top[2].name, mib(top[2].bytes));
    return w;
}

static words of_host(const kg_plan *p)
{
    words w = {"the host's part does not fit", {0}};
    size_t stays = p->options.device->profile.host_fixed;
    snprintf(w.rest, sizeof w.rest, "(%.1f MiB of the process and the device, %.1f MiB staging, %.1f MiB for host work and values)",
             mib(stays), mib(p->stage), mib(p->host_peak - stays - p->stage));
    return w;
}

/* Bytes of the host that the plan may take in all. */
static size_t may_take(const kg_plan *p)
{
    const kg_profile *f = &p->options.device->profile;
    size_t has = kg_system_bytes("/proc/self/status", f->discrete ? "RssAnon:" : "VmRSS:", 1024);
    return p->options.host->left + (f->discrete || has < f->fixed ? has : f->fixed);       /* fixed holds what comes later, too */
}

static void hint(const kg_plan *p, budgets was, budgets b)
{
    int discrete = p->options.device->profile.discrete;
    size_t ram = discrete ? b.host : b.device;
    int grew = discrete ? b.host > was.host : b.device > was.device;
    if (grew && p->options.host && ram > may_take(p))
        kg_hint("%.0f MiB would do, and this process may take %.0f MiB of the host's memory (%s)", mib(ram), mib(may_take(p)),
                p->options.host->by);
    else if (discrete && b.device > was.device && grew)
        kg_hint("--vram %.0fM --ram %.0fM would do", mib(b.device), mib(b.host));
    else
        kg_hint("%s %.0fM would do", grew ? "--ram" : "--vram", mib(grew ? ram : b.device));
}

kg_status kg_plan_refuse(kg_plan *p)
{
    words w = {{0}};
    kg_error e;
    int part = kg_error_last()->status != KG_OK, host = !part && p->host.shortfall > 0;
    if (!part)
        w = host ? of_host(p) : of_device(p);
    if (p->whole)                      /* the whole knows what its budget would have to be */
        return part ? KG_NOFIT : kg_fail(KG_NOFIT, "%s. %s", w.who, strstr(w.rest, "Largest"));
    const budgets was = asked(p);
    budgets b = was;
    e = *kg_error_last();              /* it tells would_do what was short, too */
    int found = would_do(p, &b);
    host |= part;
    size_t from = host ? was.host : was.device, to = host ? b.host : b.device;
    kg_error_clear();
    if (part)
        kg_error_set(&e);
    else
        kg_fail(KG_NOFIT, "%s: %.1f MiB short of a budget of %.1f MiB %s", w.who, mib(to > from ? to - from : 0), mib(from), w.rest);
    if (part && found)
        kg_hint("%.1f MiB short of a budget of %.1f MiB: ", mib(to - from), mib(from));
    if (found)
        hint(p, was, b);
    return KG_NOFIT;
}

kg_status kg_plan_check_host(kg_plan *p)
{
    const kg_host_memory *m = p->options.host;
    size_t takes = kg_plan_sum(p).peak_host;
    if (!m || takes <= may_take(p))
        return KG_OK;
    if (p->options.dry) {
        kg_warn("the plan takes %.0f MiB of the host's memory, and this process may take %.0f MiB now (%s)", mib(takes),
                mib(may_take(p)), m->by);
        return KG_OK;
    }
    size_t may = may_take(p), less = may > 2 * SLACK ? (may - SLACK) / MIB * MIB : MIB;
    budgets b = asked(p);
    *(p->options.device->profile.discrete ? &b.host : &b.device) = less;
    kg_status s = climb(p, b);
    kg_error_clear();
    kg_fail(KG_NOFIT, "the plan takes %.1f MiB of the host's memory, and this process may take %.1f MiB (%s)", mib(takes), mib(may), m->by);
    if (s == KG_OK)
        kg_hint("--ram %.0fM would do", mib(less));
    else
        kg_hint("no plan of it fits there: free memory, or make less at once");
    return KG_NOFIT;
}
