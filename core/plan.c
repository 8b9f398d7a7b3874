/* The planner: what must run (the cache answers the rest), the trace of it, and where everything lies. core/plan_ladder.c tries
 * it with other knobs while it does not fit or waits for loads. */
#include "core/plan_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/param.h"

kg_key kg_plan_checkpoint_key(const kg_plan *p, int node)
{
    kg_hash *h = kg_hash_new();
    kg_hash_text(h, "checkpoint");
    for (int i = 0; i < p->graph->node[node]->items; ++i) {
        kg_key k = kg_graph_key(p->graph, node, -1, i);
        kg_hash_bytes(h, k.b, sizeof k.b);
    }
    return kg_hash_done(h);
}

int kg_plan_on_host(const kg_plan *p, int node)
{
    return p->options.cpu && !p->whole && !p->options.device->host_memory && p->graph->node[kg_plan_root(p, node)]->on_cpu;
}

int kg_plan_wanted(const kg_plan *p, int node)
{
    return p->whole ? p->node[node].state == KG_P_RUN && !p->graph->node[node]->resource : kg_gnode_wanted(p->graph, node);
}

/* Are all tensor outputs of a node in the cache? Then their rows are leased and remembered. */
static int cached(kg_plan *p, int node)
{
    const kg_gnode *n = p->graph->node[node];
    kg_cache *c = p->options.cache;
    const kg_device *device = kg_plan_on_host(p, node) ? p->options.cpu : p->options.device;
    if (!c || p->node[node].unread || p->options.force > 1 || n->type->flags & (KG_SINK | KG_UNCACHED) || !n->outputs || n->resource)
        return 0;
    for (int o = 0; o < n->outputs; ++o) {
        int items = n->out[o].items > 1 ? n->out[o].items : 1;
        if (n->out[o].stream)
            return 0;
        free(p->node[node].rows[o]);
        p->node[node].rows[o] = calloc((size_t)items, sizeof(kg_cache_row));
        if (!p->node[node].rows[o])
            return 0;                      /* then it is made */
        for (int i = 0; i < items && p->node[node].rows[o]; ++i) {
            kg_key k = kg_graph_key(p->graph, node, o, i);
            kg_tensor t = kg_tensor_make(NULL, n->out[o].dtype, n->out[o].rank, n->out[o].shape);
            kg_cache_row *row = &p->node[node].rows[o][i];
            if (!c->ops->find(c, &k, p->options.strict ? device->tag : NULL, row) || row->bytes != kg_bytes(&t))
                return 0;
            if (!p->options.dry && !c->ops->read(c, row, NULL))
                return 0;              /* what the run relies on is read now: a bad checksum is a miss, not a failure later */
        }
    }
    return 1;
}

static int sink_done(kg_plan *p, int node)
{
    const kg_gnode *n = p->graph->node[node];
    const char *path = kg_gnode_out(n);
    if (!p->options.cache || p->node[node].unread || p->options.force || !path)
        return 0;
    kg_key k = kg_graph_key(p->graph, node, -1, 0);
    return p->options.cache->ops->sink_find(p->options.cache, &k, path);
}

static void need(kg_plan *p, int node)
{
    kg_pnode *q = &p->node[node];
    if (q->state != KG_P_SKIP)
        return;
    if (sink_done(p, node) || cached(p, node)) {
        q->state = KG_P_CACHED;
        return;
    }
    q->state = KG_P_RUN;
    const kg_gnode *n = p->graph->node[node];
    for (int i = 0; i < n->inputs; ++i)
        if (n->from[i] >= 0)
            need(p, n->from[i]);
}

/* ---- warnings of results that are there ---- */
static void reach(const kg_plan *p, int node, char *seen)
{
    if (seen[node])
        return;
    seen[node] = 1;
    const kg_gnode *n = p->graph->node[node];
    for (int i = 0; i < n->inputs; ++i)
        if (n->from[i] >= 0)
            reach(p, n->from[i], seen);
}

static void repeat(kg_plan *p, int node)
{
    const kg_gnode *n = p->graph->node[node];
    kg_cache *c = p->options.cache;
    char lines[KG_WARNINGS];
    kg_warned *was = kg_warn_for(&p->node[node].warned);
    for (int i = 0; i < kg_params_items(n->type, n->params); ++i) {
        kg_key k = kg_graph_key(p->graph, node, -1, i);
        char *rest = c->ops->warning_find(c, &k, lines, sizeof lines) ? lines : NULL;
        for (char *line; rest && (line = strsep(&rest, "\n"));)
            if (*line)
                kg_warn("%s", line);
    }
    kg_warn_for(was);
}

/* What does not run since the cache answers for it, or for what needs it, still warns of what it warned of when it ran. */
static void repeat_warnings(kg_plan *p)
{
    char *seen = calloc((size_t)p->count + 1, 1);
    for (int i = 0; i < p->count && seen && p->options.cache; ++i)
        if (kg_gnode_wanted(p->graph, i))
            reach(p, i, seen);
    for (int i = 0; i < p->count && seen && p->options.cache; ++i)
        if (seen[i] && p->node[i].state != KG_P_RUN && !p->graph->node[i]->resource)
            repeat(p, i);
    free(seen);
}

/* The bytes are read here: another process that works on the same may put those of a later step in their place before this run
 * begins, and the plan is made for this one. */
static void find_checkpoint(kg_plan *p, int node)
{
    kg_cache *c = p->options.cache;
    kg_pnode *q = &p->node[node];
    if (!c || q->unread || p->options.force > 1 || p->graph->node[node]->resource)
        return;
    kg_key k = kg_plan_checkpoint_key(p, node);
    int good = 0, there = 1;
    for (int tries = 0; there && !good && tries < 3; ++tries) {
        there = c->ops->checkpoint_find(c, &k, p->options.device->tag, &q->checkpoint);
        if (!there || p->options.dry)
            break;
        free(q->saved);
        q->saved = malloc(q->checkpoint.bytes + 1);
        good = q->saved && c->ops->read(c, &q->checkpoint, q->saved);
    }
    if (!good && !(there && p->options.dry))
        q->checkpoint.bytes = 0;
}

/* The error at hand is this node's. */
static kg_status node_failed(const kg_plan *p, int node)
{
    const kg_gnode *n = p->graph->node[node];
    char path[256];
    snprintf(path, sizeof path, n->label[0] ? "%s '%s'" : "%s", n->type->name, n->label);
    kg_error_path(path);
    return kg_error_last()->status;
}

static kg_status prepare(kg_plan *p)
{
    for (int i = 0; i < p->count; ++i) {
        const kg_gnode *n = p->graph->node[i];
        kg_pnode *q = &p->node[i];
        if (q->state != KG_P_RUN || (kg_plan_on_host(p, i) && !n->resource))
            continue;                      /* a part prepares its own nodes */
        kg_desc in[KG_GRAPH_PORTS];
        kg_gnode_inputs(p->graph, n, in);
        q->prepared = (kg_prepare){.params = n->params, .in = in};
        kg_warned *was = kg_warn_for(&q->warned);
        kg_status s = n->type->prepare ? n->type->prepare(&q->prepared) : KG_OK;
        kg_warn_for(was);
        q->prepared.in = NULL;
        if (s != KG_OK)
            return node_failed(p, i);
        p->prepare_bytes += q->prepared.host_bytes;
        find_checkpoint(p, i);
    }
    return KG_OK;
}

static void settle(const kg_graph *g)
{
    for (int i = 0; i < g->count; ++i)
        if (g->node[i]->resource && g->node[i]->resource->settle)
            g->node[i]->resource->settle(g->node[i]->resource);
}

/* ---- the layout ---- */
static int append(kg_tier *t, kg_interval v)
{
    if (!kg_grow(&t->intervals, &t->cap_intervals, t->n_intervals, sizeof v))
        return -1;
    t->intervals[t->n_intervals] = v;
    return (int)t->n_intervals++;
}

void kg_plan_tier_drop(kg_tier *t)
{
    free(t->intervals);
    free(t->loads);
    free(t->use_load);
    free(t->busy);
    memset(t, 0, sizeof *t);
}

kg_status kg_plan_tier_begin(kg_plan *p, kg_tier *t, size_t budget)
{
    kg_plan_tier_drop(t);
    t->uses = p->trace.uses;
    t->n_uses = p->trace.n_uses;
    t->n_ticks = p->trace.n_ticks;
    t->use_bytes = p->use_bytes;
    t->ticks = p->trace.ticks;
    t->budget = budget;
    t->busy = calloc(t->n_ticks + 1, sizeof *t->busy);
    t->use_load = calloc(t->n_uses + 1, sizeof *t->use_load);
    if (!t->busy || !t->use_load)
        return kg_fail(KG_FAILED, "out of host memory");
    for (size_t i = 0; i < t->n_ticks; ++i)
        t->busy[i] = t->ticks[i].height;
    return KG_OK;
}

static int add_values(kg_plan *p, int node)
{
    const kg_gnode *n = p->graph->node[node];
    kg_pnode *q = &p->node[node];
    for (int o = 0; o < n->outputs; ++o) {
        if (q->state == KG_P_SKIP)
            break;
        q->interval[o] = -1;
        if (!q->values[o].n || q->first == UINT32_MAX)
            continue;
        size_t bytes = 0;
        for (int k = 0; k < q->values[o].n; ++k)
            bytes += kg_align(kg_bytes(&q->values[o].item[k]));
        q->interval[o] = append(
            &p->tier,
            (kg_interval){.kind = KG_I_VALUE, .a = node, .b = o, .bytes = bytes, .first = q->first, .last = q->last});
        if (q->interval[o] < 0)
            return 0;
    }
    return 1;
}

/* What has been appended to an empty tier stands in its ticks. */
static kg_status raise_busy(kg_tier *t)
{
    size_t *change = calloc(t->n_ticks + 2, sizeof *change), now = 0;      /* wraps where it falls */
    for (size_t i = 0; i < t->n_intervals && change; ++i) {
        const kg_interval *v = &t->intervals[i];
        size_t end = v->last < t->n_ticks ? v->last + 1 : t->n_ticks;
        if (v->first < end) {
            change[v->first] += v->bytes;
            change[end] -= v->bytes;
        }
    }
    for (size_t i = 0; i < t->n_ticks && change; ++i) {
        now += change[i];
        t->busy[i] += now;
    }
    free(change);
    return change ? KG_OK : kg_fail(KG_FAILED, "out of host memory");
}

/* What is no weight: outputs, kept tensors, the copy lane's scratch. */
static kg_status add_fixed(kg_plan *p)
{
    int good = 1;
    for (int i = 0; i < p->count && good; ++i)
        good = add_values(p, i);
    free(p->keep_interval);
    p->keep_interval = calloc(p->trace.n_keeps + 1, sizeof *p->keep_interval);
    for (size_t k = 0; k < p->trace.n_keeps && good && p->keep_interval; ++k) {
        const kg_keep_site *s = &p->trace.keeps[k];
        p->keep_interval[k] = append(
            &p->tier,
            (kg_interval){.kind = KG_I_KEEP, .a = (int)k, .bytes = s->bytes, .first = s->first, .last = s->last});
        good = p->keep_interval[k] >= 0;
    }
    p->fill_interval = -1;
    if (p->fill_bytes && good)
        good = (p->fill_interval = append(&p->tier, (kg_interval){.kind = KG_I_FILL, .bytes = p->fill_bytes,
                                                                  .last = (uint32_t)p->trace.n_ticks - 1})) >= 0;
    return good && p->keep_interval ? raise_busy(&p->tier) : kg_fail(KG_FAILED, "out of host memory");
}

size_t kg_plan_room(const kg_plan *p)
{
    const kg_profile *f = &p->options.device->profile;
    size_t all = p->options.budget ? p->options.budget : f->memory - f->memory / 10;
    size_t host = f->discrete ? 0 : p->host_peak;
    return all > f->fixed + host ? all - f->fixed - host : 0;
}

/* Residency in a room, then addresses. KG_NOFIT with the shortfall in the tier when either does not fit; the arena is 0 when there
 * was nothing to place. */
static kg_status lay_out_in(kg_plan *p, size_t room, size_t budget, int lean)
{
    const kg_profile *f = &p->options.device->profile;
    kg_tier *t = &p->tier;
    p->arena = 0;
    kg_status s = kg_plan_tier_begin(p, t, room);
    if (s == KG_OK)
        s = add_fixed(p);
    t->bandwidth = f->discrete ? f->copy : f->disk;
    t->discrete = f->discrete;
    t->lean = lean;
    if (s == KG_OK)
        s = kg_residency(t);
    if (s != KG_OK)
        return s;
    p->arena = kg_place(t->intervals, t->n_intervals, t->ticks, t->n_ticks, budget);
    if (p->arena == SIZE_MAX)
        return kg_fail(KG_FAILED, "out of host memory");
    if (p->arena <= budget)
        return KG_OK;
    t->shortfall = p->arena - budget;
    for (uint32_t i = 0; i < t->n_ticks; ++i)
        if (t->busy[i] > t->busy[t->short_tick])
            t->short_tick = i;
    return KG_NOFIT;
}

/* First fit wastes a little. Where that is too much, the same room is tried without what only saves time, then a smaller one. */
kg_status kg_plan_lay_out(kg_plan *p)
{
    p->host_peak = kg_plan_host_needs(p);
    kg_plan_tier_drop(&p->host);
    size_t budget = kg_plan_room(p), room = budget, over = 0;      /* over: least that a layout in this room was above it */
    kg_status s = KG_NOFIT;
    for (int round = 0; round < 16 && s == KG_NOFIT && (!round || over < room); ++round) {
        int lean = round % 2;
        room -= lean ? 0 : over;
        s = lay_out_in(p, room, budget, lean);
        if (s == KG_NOFIT && !p->arena) {
            p->tier.shortfall = room < budget ? over : p->tier.shortfall;
            return s;
        }
        over = lean && over < p->tier.shortfall ? over : p->tier.shortfall;
    }
    return s == KG_OK && p->options.device->profile.discrete ? kg_plan_host(p) : s;
}

/* ---- plans ---- */
static kg_plan *plan_new(kg_graph *g, const kg_plan_options *o)
{
    kg_plan *p = calloc(1, sizeof *p);
    if (p) {
        p->graph = g;
        p->options = *o;
        p->options.host_budget = o->host_budget ? o->host_budget : kg_plan_host_room();
        p->count = g->count;
        p->node = calloc((size_t)g->count + 1, sizeof *p->node);
    }
    if (!p || !p->node) {
        kg_plan_free(p);
        kg_fail(KG_FAILED, "out of host memory");
        return NULL;
    }
    return p;
}

static void own_warnings(kg_plan *p, int node)
{
    p->node[node].warned = (kg_warned){.node = p->graph->node[node]->type->name, .label = p->graph->node[node]->label};
}

static kg_plan *plan_done(kg_plan *p, kg_status s)
{
    if (s == KG_OK)
        s = prepare(p);
    if (s == KG_OK)
        s = kg_plan_ladder(p);
    if (s == KG_OK && !p->whole)
        s = kg_plan_check_host(p);
    p->options.host = NULL;
    if (s == KG_OK) {
        p->built_in = kg_plan_work(p) + kg_plan_stall(p, NULL);
        s = kg_plan_expect(p);
    }
    if (!p->whole)
        settle(p->graph);                  /* parts are made within the whole's ladder */
    if (s == KG_OK)
        return p;
    kg_plan_free(p);
    return NULL;
}

static kg_status check_places(const kg_plan *p)
{
    for (int i = 0; i < p->count; ++i)
        if (p->node[i].state == KG_P_RUN && p->graph->node[i]->on_cpu && !p->options.cpu && !p->options.device->host_memory)
            return kg_fail(KG_USAGE, "%s asks for device = \"cpu\", and this run has none", p->graph->node[i]->type->name);
    return KG_OK;
}

/* What a run would write over is looked at before it starts; a plan that stays one writes nothing. */
static kg_status check_outputs(const kg_plan *p)
{
    for (int i = 0; i < p->count && !p->options.dry; ++i) {
        const char *path = p->node[i].state == KG_P_RUN ? kg_gnode_out(p->graph->node[i]) : NULL;
        if (path && kg_files_may_replace(p->graph->options.files, path) != KG_OK)
            return node_failed(p, i);
    }
    return KG_OK;
}

static void say_unread(const kg_graph *g, int node)
{
    unsigned char id[32];
    for (int k = 0; k < g->node[node]->file_count; ++k)
        if (!kg_file_identified(g->options.files, &g->node[node]->files[k].stamp, id))
            kg_log("'%s' has not been read to its end yet: what hangs on it counts as not cached", g->node[node]->files[k].path);
}

/* Keys are what the cache is asked with. A plan that is only looked at reads no file for them. */
static kg_status make_keys(kg_plan *p)
{
    if (!p->options.cache)
        return KG_OK;
    if (!p->options.dry)
        return kg_graph_identify(p->graph);
    char *unread = malloc((size_t)p->count + 1);
    int n = unread ? kg_graph_unread(p->graph, unread) : 0;
    for (int i = 0; i < p->count && n; ++i)
        if ((p->node[i].unread = unread[i]))
            say_unread(p->graph, i);
    free(unread);
    return unread ? KG_OK : kg_fail(KG_FAILED, "out of host memory");
}

kg_plan *kg_plan_new(kg_graph *g, const kg_plan_options *o)
{
    kg_plan *p = plan_new(g, o);
    if (!p)
        return NULL;
    if (make_keys(p) != KG_OK) {
        kg_plan_free(p);
        return NULL;
    }
    int wanted = 0;
    for (int i = 0; i < p->count; ++i)
        own_warnings(p, i);
    for (int i = 0; i < p->count; ++i)
        if (kg_gnode_wanted(g, i)) {
            ++wanted;
            need(p, i);
        }
    if (!wanted)
        return plan_done(p, kg_fail(KG_USAGE, "the graph has nothing to run: no node was returned and none writes a file"));
    repeat_warnings(p);
    kg_status s = check_places(p);
    return plan_done(p, s == KG_OK ? check_outputs(p) : s);
}

/* The unit's nodes run, with their resources; all else they read is given. Its room is what --ram leaves: the process's own memory is in
 * the card's host_fixed, and is not to be taken off once more as the CPU's. */
kg_plan *kg_plan_part(const kg_plan *whole, int root)
{
    kg_plan_options o = whole->options;
    o.device = o.cpu;
    o.cpu = NULL;
    size_t taken = whole->stage + whole->options.device->profile.host_fixed, all = whole->options.host_budget;
    o.budget = (all > taken ? all - taken : 1) + o.device->profile.fixed;
    o.host_budget = 0;
    o.host = NULL;
    kg_plan *p = plan_new(whole->graph, &o);
    if (!p)
        return NULL;
    p->whole = whole;
    for (int i = 0; i < p->count; ++i) {
        const kg_gnode *n = p->graph->node[i];
        p->node[i].unread = whole->node[i].unread;
        if (whole->node[i].state != KG_P_RUN || n->resource || kg_plan_root(whole, i) != root)
            continue;
        p->node[i].state = KG_P_RUN;
        own_warnings(p, i);
        for (int k = 0; k < n->inputs; ++k)
            if (n->from[k] >= 0 && p->node[n->from[k]].state == KG_P_SKIP)
                p->node[n->from[k]].state = p->graph->node[n->from[k]]->resource ? KG_P_RUN : KG_P_GIVEN;
    }
    return plan_done(p, KG_OK);
}

void kg_plan_free(kg_plan *p)
{
    if (!p)
        return;
    for (int i = 0; i < p->count && p->node; ++i) {
        kg_pnode *q = &p->node[i];
        for (int o = 0; o < KG_GRAPH_PORTS; ++o) {
            free(q->values[o].item);
            free(q->rows[o]);
        }
        kg_plan_free(q->part);
        free(q->saved);
        free(q->warned.lines);
        if (q->prepared.destroy)
            q->prepared.destroy(q->prepared.result);
    }
    kg_trace_free(&p->trace);
    kg_plan_tier_drop(&p->tier);
    kg_plan_tier_drop(&p->host);
    free(p->node);
    free(p->unit);
    free(p->member);
    free(p->use_bytes);
    free(p->read_bytes);
    free(p->keep_interval);
    free(p);
}

void *kg_plan_keep(const kg_plan *p, uint32_t keep)
{
    return (char *)p->base + p->tier.intervals[p->keep_interval[keep]].at;
}

kg_plan_summary kg_plan_sum(const kg_plan *p)
{
    const kg_profile *f = &p->options.device->profile;
    kg_plan_summary s = {.arena = p->arena,
                         .fronts = p->trace.fronts,
                         .sites = (int64_t)p->trace.n_uses,
                         .loads = (int64_t)p->tier.n_loads};
    size_t here = f->discrete ? 0 : p->arena, host = here + p->host_peak > p->prepare_bytes ? here + p->host_peak : p->prepare_bytes;
    s.peak_device = f->fixed + (f->discrete ? p->arena : host);
    s.peak_host = f->discrete ? host : s.peak_device;
    s.seconds = kg_plan_work(p) + kg_plan_stall(p, NULL);
    for (size_t i = 0; i < p->tier.n_loads; ++i)
        s.loaded += p->use_bytes[p->tier.loads[i].use];
    for (int i = 0; i < p->count; ++i) {
        s.nodes += p->node[i].state == KG_P_RUN && !p->graph->node[i]->resource;
        s.cached += p->node[i].state == KG_P_CACHED;
    }
    return s;
}
