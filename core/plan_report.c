/* The plan for people and for programs. The JSON form has "version": 1 and sizes in bytes. */
#include <cjson/cJSON.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/plan_internal.h"
#include "core/words.h"

const char *kg_plan_interval_name(const kg_plan *p, const kg_interval *v, char *out, size_t n)
{
    const kg_gnode *g = v->kind == KG_I_KEEP || v->kind == KG_I_FILL ? NULL : p->graph->node[v->a];
    switch (v->kind) {
    case KG_I_VALUE: snprintf(out, n, "%s.%s", g->type->name, g->type->outputs[v->b].name); break;
    case KG_I_KEEP: snprintf(out, n, "a kept tensor"); break;
    case KG_I_FILL: snprintf(out, n, "scratch for loading"); break;
    case KG_I_KEPT: snprintf(out, n, "weights of %s, %s", g->type->name, g->resource->segments[v->b].name); break;
    default: snprintf(out, n, "weights of %s, %d slots", g->type->name, v->b);
    }
    return out;
}

typedef struct unit_sums { double seconds; size_t peak, kept, streamed, loaded; int loads; } unit_sums;

/* The first load for a use at or behind a tick: loads are in the order of uses. */
static size_t first_load(const kg_plan *p, uint32_t tick)
{
    size_t low = 0, high = p->tier.n_loads;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (p->trace.uses[p->tier.loads[middle].use].first < tick)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static unit_sums sums(const kg_plan *p, int unit)
{
    const kg_unit *u = &p->unit[unit];
    unit_sums s = {0};
    for (uint32_t t = u->first; t <= u->last && t < p->trace.n_ticks; ++t) {
        s.seconds += p->trace.ticks[t].seconds;
        s.peak = p->tier.busy[t] > s.peak ? p->tier.busy[t] : s.peak;
    }
    for (size_t i = first_load(p, u->first); i < p->tier.n_loads; ++i) {
        const kg_load *l = &p->tier.loads[i];
        if (p->trace.uses[l->use].first > u->last)
            break;
        ++s.loads;
        s.loaded += p->use_bytes[l->use];
        if (p->tier.intervals[l->interval].kind == KG_I_RING)
            s.streamed += p->use_bytes[l->use];
        else
            s.kept += p->use_bytes[l->use];
    }
    return s;
}

static void add_step(cJSON *steps, const char *what, const char *node, const char *label, size_t bytes, size_t resident, double seconds)
{
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "step", what);
    cJSON_AddStringToObject(o, "node", node);
    cJSON_AddStringToObject(o, "label", label);
    cJSON_AddNumberToObject(o, "bytes", (double)bytes);
    cJSON_AddNumberToObject(o, "resident", (double)resident);
    cJSON_AddNumberToObject(o, "seconds", seconds);
    cJSON_AddItemToArray(steps, o);
}

static cJSON *unit_steps(const kg_plan *p)
{
    cJSON *steps = cJSON_CreateArray();
    for (int u = 0; u < p->units; ++u) {
        unit_sums s = sums(p, u);
        double rate = p->tier.bandwidth;
        KG_EACH_MEMBER (p, u, i) {
            const kg_gnode *n = p->graph->node[i];
            int root = i == p->unit[u].root;
            if (root && s.loads)
                add_step(steps, s.streamed ? "STREAM" : "LOAD", n->type->name, n->label, s.loaded, s.peak, (double)s.loaded / rate);
            add_step(steps, "RUN", n->type->name, n->label, p->node[i].frame.host_bytes, s.peak, root ? s.seconds : 0);
            for (int o = 0; o < n->outputs; ++o)
                if (p->node[i].interval[o] >= 0)
                    add_step(steps, "STORE", n->type->name, n->label, p->tier.intervals[p->node[i].interval[o]].bytes, s.peak, 0);
        }
    }
    return steps;
}

static void add_knobs(cJSON *o, const kg_exec *frame)
{
    const kg_knob_row *k = frame->type ? frame->type->knobs : NULL;
    cJSON *list = k ? cJSON_AddObjectToObject(o, "knobs") : NULL;
    for (int i = 0; list && k[i].name; ++i)
        cJSON_AddNumberToObject(list, k[i].name, k[i].value[frame->knob[i]]);
}

static void add_key(cJSON *o, const kg_graph *g, int node)
{
    char hex[65];
    kg_key k = kg_graph_key(g, node, -1, 0);
    kg_key_hex(&k, hex);
    cJSON_AddStringToObject(o, "key", hex);
}

/* A node whose key needs a file that has not been read yet has none here. */
static cJSON *node_list(const kg_plan *p)
{
    cJSON *list = cJSON_CreateArray();
    char *unread = malloc((size_t)p->count + 1);
    if (unread)
        kg_graph_unread(p->graph, unread);
    for (int i = 0; i < p->count; ++i) {
        const kg_gnode *n = p->graph->node[i];
        if (p->node[i].state == KG_P_SKIP || n->resource)
            continue;
        cJSON *o = cJSON_CreateObject();
        cJSON_AddStringToObject(o, "node", n->type->name);
        cJSON_AddStringToObject(o, "label", n->label);
        cJSON_AddStringToObject(o, "state", p->node[i].state == KG_P_CACHED ? "cached" : "run");
        if (unread && !unread[i])
            add_key(o, p->graph, i);
        if (kg_plan_on_host(p, i))
            cJSON_AddStringToObject(o, "device", "cpu");
        if (p->node[i].frame.first > 0)
            cJSON_AddNumberToObject(o, "resumes", (double)p->node[i].frame.first);
        if (p->node[i].state == KG_P_RUN)
            add_knobs(o, &p->node[i].frame);
        cJSON_AddItemToArray(list, o);
    }
    free(unread);
    return list;
}

char *kg_plan_json(const kg_plan *p)
{
    kg_plan_summary s = kg_plan_sum(p);
    cJSON *o = cJSON_CreateObject(), *peak = cJSON_CreateObject();
    cJSON_AddNumberToObject(o, "version", 1);
    cJSON_AddStringToObject(o, "device", p->options.device->profile.name);
    cJSON_AddNumberToObject(peak, "device", (double)s.peak_device);
    cJSON_AddNumberToObject(peak, "host", (double)s.peak_host);
    cJSON_AddItemToObject(o, "peak", peak);
    cJSON_AddNumberToObject(o, "fixed", (double)p->options.device->profile.fixed);
    cJSON_AddNumberToObject(o, "arena", (double)s.arena);
    cJSON_AddNumberToObject(o, "seconds", s.seconds);
    cJSON_AddNumberToObject(o, "stall", kg_plan_stall(p, NULL));
    cJSON_AddNumberToObject(o, "fronts", (double)s.fronts);
    cJSON_AddNumberToObject(o, "sites", (double)s.sites);
    cJSON_AddNumberToObject(o, "loads", (double)s.loads);
    cJSON_AddNumberToObject(o, "loaded", (double)s.loaded);
    cJSON_AddItemToObject(o, "nodes", node_list(p));
    cJSON_AddItemToObject(o, "steps", unit_steps(p));
    char *text = cJSON_PrintUnformatted(o);
    cJSON_Delete(o);
    return text;
}

typedef struct text { char *at; size_t n, cap; } text;

__attribute__((format(printf, 2, 3))) static void say(text *t, const char *format, ...)
{
    va_list args;
    char line[512];
    va_start(args, format);
    int n = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    size_t len = n < 0 ? 0 : (size_t)n < sizeof line ? (size_t)n : sizeof line - 1;
    while (t->n + len + 1 > t->cap)
        if (!kg_grow(&t->at, &t->cap, t->cap, 1))
            return;
    memcpy(t->at + t->n, line, len + 1);
    t->n += len;
}

char *kg_plan_text(const kg_plan *p)
{
    const double mib = 1048576.0;
    kg_plan_summary s = kg_plan_sum(p);
    text t = {0};
    char words[KG_WORDS];
    say(&t, "%-28s %-8s %12s %10s %10s %10s\n", "node", "state", "time", "peak MiB", "kept MiB", "stream MiB");
    for (int i = 0; i < p->count; ++i)
        if (p->node[i].state == KG_P_CACHED)
            say(&t, "%-28s %-8s\n", p->graph->node[i]->type->name, "cached");
    for (int u = 0; u < p->units; ++u) {
        unit_sums m = sums(p, u);
        KG_EACH_MEMBER (p, u, i) {
            const kg_gnode *n = p->graph->node[i];
            char name[96];
            snprintf(name, sizeof name, n->label[0] ? "%s '%s'" : "%s", n->type->name, n->label);
            const char *state = kg_plan_on_host(p, i) ? "on cpu" : "run";
            if (i == p->unit[u].root)
                say(&t, "%-28s %-8s %12s %10.1f %10.1f %10.1f\n", name, p->node[i].frame.first ? "resume" : state,
                    kg_words_seconds(m.seconds, words, sizeof words), (double)m.peak / mib, (double)m.kept / mib, (double)m.streamed / mib);
            else
                say(&t, "  + %-24s %-8s\n", name, "run");
        }
    }
    const char *name = p->options.device->profile.name;
    double fixed = (double)p->options.device->profile.fixed / mib, arena = (double)s.arena / mib, host = (double)p->host_peak / mib;
    kg_words_seconds(s.seconds, words, sizeof words);
    if (p->options.device->profile.discrete)
        say(&t, "peak %.1f MiB: %.1f taken before the run, %.1f arena; on the host %.1f MiB; about %s on %s\n",
            (double)s.peak_device / mib, fixed, arena, host, words, name);
    else
        say(&t, "peak %.1f MiB: %.1f taken before the run, %.1f arena, %.1f libraries; about %s on %s\n",
            (double)s.peak_device / mib, fixed, arena, host, words, name);
    return t.at;
}
