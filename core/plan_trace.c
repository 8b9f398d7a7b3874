/* From nodes to run to a trace: units (a producer and the consumers of its streams) in topological order, run dry. */
#include <stdlib.h>
#include <string.h>

#include "core/param.h"
#include "core/plan_internal.h"

static int stream_source(const kg_plan *p, int node)
{
    const kg_gnode *n = p->graph->node[node];
    for (int i = 0; i < n->inputs; ++i)
        if (n->from[i] >= 0 && n->type->inputs[i].flags & KG_STREAM && p->graph->node[n->from[i]]->out[n->from_port[i]].stream)
            return n->from[i];
    return -1;
}

int kg_plan_root(const kg_plan *p, int node)
{
    for (int s; (s = stream_source(p, node)) >= 0;)
        node = s;
    return node;
}

/* The nodes that run, by the root of their unit: lists in the order of the graph. */
typedef struct roots { int *of, *first, *next; char *mark; } roots;        /* mark of a root: 0 new, 1 being placed, 2 done */

static int runs(const kg_plan *p, int node) { return p->node[node].state == KG_P_RUN && !p->graph->node[node]->resource; }

static void find_roots(const kg_plan *p, roots *r)
{
    for (int i = 0; i < p->count; ++i)
        r->first[i] = -1;
    for (int i = p->count - 1; i >= 0; --i)
        if (runs(p, i)) {
            int root = r->of[i] = kg_plan_root(p, i);
            r->next[i] = r->first[root];
            r->first[root] = i;
        }
}

/* Appends the unit of root after all units that its members need. */
static kg_status place_unit(kg_plan *p, int root, roots *r)
{
    if (r->mark[root] == 2)
        return KG_OK;
    if (r->mark[root] == 1)
        return kg_fail(KG_USAGE, "%s feeds a node of its own stream: split the graph with a cached result",
                       p->graph->node[root]->type->name);
    r->mark[root] = 1;
    for (int m = r->first[root]; m >= 0; m = r->next[m]) {
        const kg_gnode *n = p->graph->node[m];
        for (int i = 0; i < n->inputs; ++i) {
            int from = n->from[i];
            if (from < 0 || !runs(p, from) || from == stream_source(p, m))
                continue;
            kg_status s = place_unit(p, r->of[from], r);
            if (s != KG_OK)
                return s;
        }
    }
    kg_unit *u = &p->unit[p->units];
    *u = (kg_unit){.root = root, .at = p->units ? u[-1].at + u[-1].members : 0};
    for (int m = r->first[root]; m >= 0; m = r->next[m]) {
        p->member[u->at + u->members++] = m;
        p->node[m].unit = p->units;
    }
    ++p->units;
    r->mark[root] = 2;
    return KG_OK;
}

static kg_status make_units(kg_plan *p)
{
    size_t n = (size_t)p->count + 1;
    roots r = {calloc(n, sizeof(int)), calloc(n, sizeof(int)), calloc(n, sizeof(int)), calloc(n, 1)};
    free(p->unit);
    free(p->member);
    p->unit = calloc(n, sizeof *p->unit);
    p->member = calloc(n, sizeof *p->member);
    p->units = 0;
    kg_status s = r.of && r.first && r.next && r.mark && p->unit && p->member ? KG_OK : kg_fail(KG_FAILED, "out of host memory");
    if (s == KG_OK)
        find_roots(p, &r);
    for (int i = 0; i < p->count && s == KG_OK; ++i)
        if (runs(p, i))
            s = place_unit(p, r.of[i], &r);
    free(r.of);
    free(r.first);
    free(r.next);
    free(r.mark);
    return s;
}

/* Room for the values of a node's tensor outputs. */
static kg_status make_values(kg_plan *p, int node)
{
    const kg_gnode *n = p->graph->node[node];
    kg_pnode *q = &p->node[node];
    for (int o = 0; o < n->outputs; ++o) {
        q->interval[o] = -1;
        if (n->out[o].stream || n->resource || q->values[o].item)
            continue;
        int items = n->out[o].items > 1 ? n->out[o].items : 1;
        q->values[o].item = calloc((size_t)items, sizeof(kg_tensor));
        if (!q->values[o].item)
            return kg_fail(KG_FAILED, "out of host memory");
        q->values[o].n = items;
    }
    return KG_OK;
}

static void wire_frame(kg_plan *p, int node)
{
    const kg_gnode *n = p->graph->node[node];
    kg_exec *x = &p->node[node].frame;
    int knob[8];
    memcpy(knob, x->knob, sizeof knob);
    memset(x, 0, sizeof *x);
    memcpy(x->knob, knob, sizeof knob);
    x->type = n->type;
    x->label = n->label;
    x->params = n->params;
    x->prepared = p->node[node].prepared.result;
    x->node = node;
    x->warned = &p->node[node].warned;
    x->first = p->node[node].checkpoint.bytes ? p->node[node].checkpoint.step : 0;
    kg_gnode_inputs(p->graph, n, x->in_desc);
    for (int i = 0; i < n->inputs; ++i) {
        x->in[i] = &x->in_desc[i];
        if (n->from[i] < 0)
            continue;
        const kg_gnode *f = p->graph->node[n->from[i]];
        x->in_resource[i] = f->resource;
        if (!f->resource && !f->out[n->from_port[i]].stream)
            x->in_values[i] = &p->node[n->from[i]].values[n->from_port[i]];
    }
    for (int o = 0; o < n->outputs; ++o) {
        x->out[o] = &n->out[o];
        x->out_values[o] = &p->node[node].values[o];
    }
}

static kg_status wire(kg_plan *p)
{
    kg_status s = KG_OK;
    for (int i = 0; i < p->count && s == KG_OK; ++i)
        if (p->node[i].state != KG_P_SKIP)
            s = make_values(p, i);
    for (int i = 0; i < p->count; ++i)
        if (p->node[i].state == KG_P_RUN)
            wire_frame(p, i);
    for (int i = 0; i < p->count && s == KG_OK; ++i) {
        int source = p->node[i].state == KG_P_RUN ? stream_source(p, i) : -1;
        if (source < 0)
            continue;
        kg_exec *x = &p->node[source].frame;
        const kg_gnode *n = p->graph->node[i];
        for (int k = 0; k < n->inputs; ++k)
            if (n->from[k] == source && n->type->inputs[k].flags & KG_STREAM) {
                if (x->consumers == (int)(sizeof x->consumer / sizeof *x->consumer))
                    return kg_fail(KG_USAGE, "%s feeds more than %d nodes", x->type->name, x->consumers);
                x->consumer_port[x->consumers] = n->from_port[k];
                x->consumer[x->consumers++] = &p->node[i].frame;
            }
    }
    return s;
}

void kg_plan_values(kg_plan *p, void *base)
{
    for (int i = 0; i < p->count; ++i) {
        const kg_gnode *n = p->graph->node[i];
        for (int o = 0; p->node[i].state != KG_P_SKIP && o < n->outputs; ++o) {
            kg_values *v = &p->node[i].values[o];
            char *at = base == (void *)KG_DRY_BASE || p->node[i].interval[o] < 0
                           ? KG_DRY_BASE
                           : (char *)base + p->tier.intervals[p->node[i].interval[o]].at;
            for (int k = 0; k < v->n; ++k) {
                v->item[k] = kg_tensor_make(at, n->out[o].dtype, n->out[o].rank, n->out[o].shape);
                at += kg_align(kg_bytes(&v->item[k]));
            }
        }
    }
}

static void begin_frames(kg_plan *p, kg_ctx *c, int unit)
{
    KG_EACH_MEMBER (p, unit, i) {
        p->node[i].frame.ctx = c;
        p->node[i].frame.chunks = 0;
        p->node[i].frame.jobs = 0;
        memset(p->node[i].frame.job, 0, sizeof p->node[i].frame.job);
    }
}

static int elsewhere(const kg_plan *p, const kg_walk *w, int unit)
{
    return kg_plan_on_host(p, p->unit[unit].root) || (w && w->known && w->known(w->arg));
}

kg_status kg_plan_walk(kg_plan *p, kg_ctx *c, const kg_walk *w)
{
    kg_status s = KG_OK;
    for (int u = 0; u < p->units && s == KG_OK; ++u) {
        kg_ctx_tick(c);
        begin_frames(p, c, u);
        if (w && w->before)
            s = w->before(w->arg, p, u);
        if (s == KG_OK)
            s = elsewhere(p, w, u) ? w->part(w->arg, p, u) : kg_unit_execute(&p->node[p->unit[u].root].frame);
        if (w && w->settle)
            s = w->settle(w->arg, p, u, s);
        if (s == KG_OK && w && w->after)
            s = w->after(w->arg, p, u);
        KG_EACH_MEMBER (p, u, i)
            kg_frame_drop_state(&p->node[i].frame);
    }
    if (s == KG_OK)
        kg_ctx_tick(c);
    return s == KG_OK ? kg_error_last()->status : s;
}

typedef struct dry { kg_ctx *c; size_t keeps; kg_same same; } dry;

static kg_status dry_before(void *arg, kg_plan *p, int unit)
{
    dry *d = arg;
    p->unit[unit].first = d->c->tick;
    p->unit[unit].fronts = p->trace.fronts;
    d->keeps = p->trace.n_keeps;
    d->c->stage_bytes = 0;
    kg_same_begin(&d->same, p, unit);
    return KG_OK;
}

static int dry_known(void *arg) { return ((dry *)arg)->same.like >= 0; }

/* A unit on the host is planned once, whatever the device's knobs. */
static kg_status dry_part(void *arg, kg_plan *p, int unit)
{
    dry *d = arg;
    kg_pnode *root = &p->node[p->unit[unit].root];
    if (d->same.like >= 0)
        return kg_same_copy(&d->same, p, d->c, unit);
    if (!root->part)
        root->part = kg_plan_part(p, p->unit[unit].root);
    if (!root->part)
        return kg_error_last()->status;
    if (root->part->prepare_bytes > p->prepare_bytes)
        p->prepare_bytes = root->part->prepare_bytes;
    p->trace.ticks[d->c->tick].seconds += root->part->built_in;
    return KG_OK;
}

static kg_status dry_after(void *arg, kg_plan *p, int unit)
{
    dry *d = arg;
    kg_unit *u = &p->unit[unit];
    u->last = d->c->tick;
    kg_same_end(&d->same, p, d->c, unit);
    u->fronts = p->trace.fronts - u->fronts;
    const kg_plan *part = p->node[u->root].part;
    u->host = part ? part->arena + part->host_peak : 0;
    u->stage_at = 0;
    for (size_t k = d->keeps; k < p->trace.n_keeps; ++k)
        p->trace.keeps[k].last = u->last;
    KG_EACH_MEMBER (p, unit, i) {
        kg_exec *x = &p->node[i].frame;
        u->host += x->host_bytes;
        x->stage_at = u->stage_at;
        u->stage_at += kg_exec_slots(x) * kg_align(x->stage_bytes);
    }
    size_t stage = u->stage_at + d->c->stage_bytes;
    p->stage = stage > p->stage ? stage : p->stage;
    return KG_OK;
}

/* Values live from their unit (cached ones: from the first unit that reads them) to the last unit that reads them. */
static void lifetimes(kg_plan *p)
{
    uint32_t end = (uint32_t)p->trace.n_ticks - 1;
    for (int i = 0; i < p->count; ++i) {
        kg_pnode *q = &p->node[i];
        if (q->state == KG_P_SKIP)
            continue;                      /* of a part, most of the graph */
        q->first = q->state == KG_P_RUN && !p->graph->node[i]->resource ? p->unit[q->unit].first : UINT32_MAX;
        q->last = q->state == KG_P_RUN && !p->graph->node[i]->resource ? p->unit[q->unit].last : 0;
    }
    for (int i = 0; i < p->count; ++i) {
        const kg_gnode *n = p->graph->node[i];
        for (int k = 0; k < n->inputs && p->node[i].state == KG_P_RUN && !n->resource; ++k) {
            if (n->from[k] < 0)
                continue;
            kg_pnode *f = &p->node[n->from[k]];
            const kg_unit *u = &p->unit[p->node[i].unit];
            f->last = u->last > f->last ? u->last : f->last;
            if (f->state != KG_P_RUN && u->first < f->first)
                f->first = u->first;
        }
        if (kg_plan_wanted(p, i) && p->node[i].state != KG_P_SKIP && !(n->type->flags & KG_SINK)) {
            p->node[i].last = end;
            if (p->node[i].first == UINT32_MAX)
                p->node[i].first = end;
        }
    }
}

/* One segment's fill, run dry once: all its uses share what that tells. */
static kg_status trace_fill(kg_plan *p, kg_ctx *c, const kg_use_site *s, size_t *read)
{
    kg_status e = kg_fill(c, p->graph->node[s->resource]->resource, s->segment, KG_DRY_BASE, c->weights[0]);
    *read = c->read_bytes;
    p->fill_bytes = c->peak > p->fill_bytes ? c->peak : p->fill_bytes;
    return e;
}

static kg_status trace_fills(kg_plan *p, kg_ctx *c)
{
    size_t segments = 0, *first = calloc((size_t)p->count + 1, sizeof *first), *read = NULL;    /* by node; by segment of all */
    for (int i = 0; i < p->count && first; ++i) {
        first[i] = segments;
        segments += p->graph->node[i]->resource ? (size_t)p->graph->node[i]->resource->segment_count : 0;
    }
    read = malloc((segments + 1) * sizeof *read);
    kg_status e = first && read ? KG_OK : kg_fail(KG_FAILED, "out of host memory");
    if (e == KG_OK)
        memset(read, 0xff, (segments + 1) * sizeof *read);
    p->fill_bytes = 0;
    for (size_t u = 0; u < p->trace.n_uses && e == KG_OK; ++u) {
        const kg_use_site *s = &p->trace.uses[u];
        size_t *known = &read[first[s->resource] + (size_t)s->segment];
        if (*known == SIZE_MAX)
            e = trace_fill(p, c, s, known);
        p->use_bytes[u] = p->graph->node[s->resource]->resource->segments[s->segment].bytes;
        p->read_bytes[u] = *known;
    }
    free(first);
    free(read);
    return e;
}

kg_status kg_plan_trace(kg_plan *p)
{
    kg_ctx *c = calloc(1, sizeof *c);
    if (!c)
        return kg_fail(KG_FAILED, "out of host memory");
    kg_trace_free(&p->trace);
    kg_status s = make_units(p);
    if (s == KG_OK)
        s = wire(p);
    kg_plan_values(p, KG_DRY_BASE);
    *c = (kg_ctx){.mode = KG_DRY, .device = p->options.device, .top = KG_DRY_BASE + ((size_t)1 << 46), .trace = &p->trace,
                  .profile = &p->options.device->profile, .plan = p, .finite = p->options.finite};
    c->stop = &c->own_stop;
    p->stage = p->options.device->host_memory ? 0 : KG_STAGE_LEAST;
    kg_ctx_tick(c);
    dry d = {.c = c};
    if (s == KG_OK)
        s = kg_error_last()->status;
    if (s == KG_OK && !kg_same_new(&d.same, p))
        s = kg_fail(KG_FAILED, "out of host memory");
    if (s == KG_OK)
        s = kg_plan_walk(p, c, &(kg_walk){.before = dry_before, .part = dry_part, .known = dry_known, .after = dry_after, .arg = &d});
    kg_same_free(&d.same);
    for (int u = 0; s != KG_OK && u < p->count; ++u)
        kg_frame_drop_state(&p->node[u].frame);
    if (s == KG_OK) {
        lifetimes(p);
        free(p->use_bytes);
        free(p->read_bytes);
        p->use_bytes = calloc(p->trace.n_uses + 1, sizeof *p->use_bytes);
        p->read_bytes = calloc(p->trace.n_uses + 1, sizeof *p->read_bytes);
        c->trace = NULL;
        c->lane = KG_LANE_COPY;
        s = p->use_bytes && p->read_bytes ? trace_fills(p, c) : kg_fail(KG_FAILED, "out of host memory");
    }
    free(c);
    return s;
}
