/* A run: the plan's units on a thread of their own, weights on a second one, events in a queue.
 *
 * The compute thread follows the trace; the copy thread works off the plan's loads, first in first out. They meet in two numbers:
 * the tick that compute has reached (a load may start after its own) and the loads done (a use waits for its own). Whoever fails
 * sets stop; both ends are joined before kg_run_wait returns. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/plan_internal.h"

typedef struct node_clock { double began, saved; int64_t saved_step; } node_clock;
struct kg_run {
    kg_plan *plan;
    kg_ctx *ctx;
    pthread_t compute, copy;
    int computing, copying;
    pthread_mutex_t lock;
    pthread_cond_t moved, queued;
    atomic_int stop, cancelled;
    uint32_t reached;
    size_t loaded;
    kg_error error;                /* the first one of either thread                            */
    kg_status status;
    int finished;
    kg_run_event *events;
    size_t n_events, cap_events, read_events;
    double *until;                 /* by tick: planned seconds of work before it                */
    size_t *top;                   /* by tick: end of what lives below the stack                */
    size_t peak;
    node_clock *clock;             /* by node                                                   */
    char *valued;                  /* by node: a cached value is in place                       */
    double last_step_event;
    unsigned chaos;
};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void kg_device_free(kg_device *d)
{
    if (d)
        d->ops->destroy(d);
}

/* ---- events ---- */
static void push(kg_run *r, const kg_run_event *e)
{
    pthread_mutex_lock(&r->lock);
    if (r->n_events == r->cap_events) {
        size_t room = r->cap_events ? 2 * r->cap_events : 64;
        kg_run_event *p = realloc(r->events, room * sizeof *p);
        if (p) {
            r->events = p;
            r->cap_events = room;
        }
    }
    if (r->n_events < r->cap_events)
        r->events[r->n_events++] = *e;
    pthread_cond_broadcast(&r->queued);
    pthread_mutex_unlock(&r->lock);
}

static void push_node(kg_run *r, int node, const char *state, double seconds)
{
    kg_run_event e = {.kind = KG_E_NODE, .seconds = seconds, .resident = r->plan->tier.busy[r->ctx->tick]};
    const kg_gnode *n = r->plan->graph->node[node];
    snprintf(e.node, sizeof e.node, "%s", n->type->name);
    snprintf(e.label, sizeof e.label, "%s", n->label);
    snprintf(e.state, sizeof e.state, "%s", state);
    push(r, &e);
}

/* Waits on a condition for at most 50 ms: a signal handler that cancels cannot broadcast. */
static void wait_a_little(pthread_cond_t *c, pthread_mutex_t *m, long ms)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_nsec += ms * 1000000;
    t.tv_sec += t.tv_nsec / 1000000000;
    t.tv_nsec %= 1000000000;
    pthread_cond_timedwait(c, m, &t);
}

int kg_run_poll(kg_run *r, kg_run_event *e, int wait_ms)
{
    double until = now() + 1e-3 * wait_ms;
    pthread_mutex_lock(&r->lock);
    while (r->read_events == r->n_events && !r->finished && now() < until)
        wait_a_little(&r->queued, &r->lock, wait_ms < 50 ? wait_ms : 50);
    int got = r->read_events < r->n_events;
    if (got)
        *e = r->events[r->read_events++];
    pthread_mutex_unlock(&r->lock);
    return got;
}

/* ---- hooks of the compute thread ---- */
int kg_run_use(kg_run *r, uint32_t use, void **base)
{
    size_t l = (size_t)r->plan->tier.use_load[use];
    const kg_load *load = &r->plan->tier.loads[l];
    pthread_mutex_lock(&r->lock);
    while (r->loaded <= l && !atomic_load(&r->stop))
        wait_a_little(&r->moved, &r->lock, 50);
    int there = r->loaded > l;
    pthread_mutex_unlock(&r->lock);
    *base = (char *)r->plan->base + r->plan->tier.intervals[load->interval].at + load->offset;
    return !there;
}

void kg_run_tick(kg_run *r, uint32_t tick)
{
    pthread_mutex_lock(&r->lock);
    if (tick > 0 && r->ctx->peak + r->top[tick - 1] > r->peak)
        r->peak = r->ctx->peak + r->top[tick - 1];
    r->reached = tick;
    pthread_cond_broadcast(&r->moved);
    pthread_mutex_unlock(&r->lock);
}

void kg_run_step(kg_run *r, const kg_exec *x, const kg_scope *s, int outer)
{
    double t = now();
    if (!outer && t - r->last_step_event < 0.5)
        return;
    r->last_step_event = t;
    const kg_scope *o = s;
    int64_t finished = s->i + 1;
    for (int i = 0; i < r->ctx->depth && !outer; ++i)
        if (r->ctx->scope[i].frame == x && r->ctx->scope[i].n > 0) {
            o = &r->ctx->scope[i];
            finished = o->i;
            break;
        }
    const kg_unit *u = &r->plan->unit[r->plan->node[x->node].unit];
    double all = r->until[u->last + 1] - r->until[u->first], done = r->until[r->ctx->tick] - r->until[u->first];
    double elapsed = t - r->clock[x->node].began;
    kg_run_event e = {.kind = KG_E_STEP, .i = finished, .n = o->n, .resident = r->plan->tier.busy[r->ctx->tick]};
    e.seconds = done > 0 ? elapsed * (all - done) / done : r->until[u->last + 1] - r->until[r->ctx->tick];
    snprintf(e.node, sizeof e.node, "%s", x->type->name);
    snprintf(e.label, sizeof e.label, "%s", x->label);
    snprintf(e.scope, sizeof e.scope, "%s", o->name ? o->name : "");
    push(r, &e);
}

/* ---- checkpoints ---- */
static void fetch(kg_run *r, void *dst, const kg_tensor *t)
{
    kg_device *d = r->plan->options.device;
    if (d->ops->fetch(d, KG_LANE_COMPUTE, dst, t->at, kg_bytes(t)) == KG_OK)
        d->ops->sync(d, d->ops->record(d, KG_LANE_COMPUTE));
}

void kg_run_save(kg_run *r, kg_exec *x, int64_t next, int64_t steps, const kg_tensor *tensors, int n)
{
    kg_cache *c = r->plan->options.cache;
    node_clock *k = &r->clock[x->node];
    double t = now();
    if (!c || next >= steps || (t - k->saved < 10 && (double)(next - k->saved_step) < 0.05 * (double)steps))
        return;
    kg_cache_row row = {.key = kg_plan_checkpoint_key(r->plan, x->node),
                        .kind = "checkpoint",
                        .rank = 1,
                        .step = next,
                        .seconds = t - k->began};
    for (int i = 0; i < n; ++i)
        row.bytes += kg_bytes(&tensors[i]);
    row.dtype = KG_U8;
    row.shape[0] = (int64_t)row.bytes;
    snprintf(row.tag, sizeof row.tag, "%s", r->plan->options.device->tag);
    char *bytes = malloc(row.bytes + 1), *at = bytes;
    for (int i = 0; i < n && bytes; ++i) {
        fetch(r, at, &tensors[i]);
        at += kg_bytes(&tensors[i]);
    }
    if (bytes)
        c->ops->checkpoint_later(c, &row, bytes);
    k->saved = t;
    k->saved_step = next;
}

int kg_run_restore(kg_run *r, kg_exec *x, const kg_tensor *tensors, int n)
{
    const kg_cache_row *row = &r->plan->node[x->node].checkpoint;
    size_t bytes = 0;
    for (int i = 0; i < n; ++i)
        bytes += kg_bytes(&tensors[i]);
    char *p = malloc(bytes + 1), *at = p;
    kg_cache *c = r->plan->options.cache;
    int good = p && row->bytes == bytes && c->ops->read(c, row, p);
    kg_device *d = r->plan->options.device;
    for (int i = 0; i < n && good; ++i) {
        good = d->ops->write(d, KG_LANE_COMPUTE, tensors[i].at, at, kg_bytes(&tensors[i])) == KG_OK;
        at += kg_bytes(&tensors[i]);
    }
    if (good)
        good = d->ops->sync(d, d->ops->record(d, KG_LANE_COMPUTE)) == KG_OK;
    free(p);
    if (!good) {
        c->ops->checkpoint_drop(c, &row->key);
        kg_fail(KG_FAILED, "the checkpoint at step %lld cannot be read", (long long)row->step);
        kg_hint("it has been dropped: run again to start from the first step");
    }
    return !good;
}

/* ---- values that the cache answers ---- */
static kg_status place_value(kg_run *r, int node)
{
    kg_plan *p = r->plan;
    kg_pnode *q = &p->node[node];
    kg_cache *c = p->options.cache;
    kg_device *d = p->options.device;
    if (q->state != KG_P_CACHED || r->valued[node])
        return KG_OK;
    r->valued[node] = 1;
    for (int o = 0; o < p->graph->node[node]->outputs; ++o)
        for (int k = 0; k < q->values[o].n && q->rows[o] && q->interval[o] >= 0; ++k) {
            void *to = d->host_memory ? q->values[o].item[k].at : malloc(q->rows[o][k].bytes + 1);
            int good = to && c->ops->read(c, &q->rows[o][k], to);
            if (good && !d->host_memory)
                good = d->ops->write(d, KG_LANE_COMPUTE, q->values[o].item[k].at, to, q->rows[o][k].bytes) == KG_OK &&
                       d->ops->sync(d, d->ops->record(d, KG_LANE_COMPUTE)) == KG_OK;
            if (!d->host_memory)
                free(to);
            if (!good) {
                kg_fail(KG_FAILED, "a cached result went bad between plan and run");
                kg_hint("run again: it will be made anew");
                return KG_FAILED;
            }
        }
    push_node(r, node, "cached", 0);
    return KG_OK;
}

static kg_status store_values(kg_run *r, int node)
{
    kg_plan *p = r->plan;
    const kg_gnode *n = p->graph->node[node];
    kg_cache *c = p->options.cache;
    kg_key whole = kg_graph_key(p->graph, node, -1, 0);
    if (!c)
        return KG_OK;
    for (const kg_param *q = n->type->params; q && q->name && n->type->flags & KG_SINK; ++q)
        if (q->type == KG_T_OUT && *(const char *const *)((const char *)n->params + q->offset))
            c->ops->sink_store(c, &whole, *(const char *const *)((const char *)n->params + q->offset));
    for (int o = 0; o < n->outputs && !(n->type->flags & (KG_SINK | KG_UNCACHED)); ++o)
        for (int k = 0; k < p->node[node].values[o].n; ++k) {
            const kg_tensor *t = &p->node[node].values[o].item[k];
            kg_cache_row row = {.key = kg_graph_key(p->graph, node, o, k), .dtype = t->dtype, .rank = t->rank,
                                .bytes = kg_bytes(t), .seconds = now() - r->clock[node].began};
            memcpy(row.shape, t->shape, sizeof row.shape);
            snprintf(row.kind, sizeof row.kind, "%s", n->out[o].kind);
            snprintf(row.tag, sizeof row.tag, "%s", p->options.device->tag);
            void *host = p->options.device->host_memory ? t->at : malloc(row.bytes + 1);
            if (host && !p->options.device->host_memory)
                fetch(r, host, t);
            if (host)
                c->ops->write(c, &row, host);
            if (!p->options.device->host_memory)
                free(host);
        }
    kg_key checkpoint = kg_plan_checkpoint_key(p, node);
    c->ops->checkpoint_drop(c, &checkpoint);
    return KG_OK;
}

static kg_status before(void *arg, kg_plan *p, int unit)
{
    kg_run *r = arg;
    kg_status s = KG_OK;
    for (int i = 0; i < p->count && s == KG_OK; ++i) {
        if (p->node[i].state != KG_P_RUN || p->graph->node[i]->resource || p->node[i].unit != unit)
            continue;
        const kg_gnode *n = p->graph->node[i];
        for (int k = 0; k < n->inputs && s == KG_OK; ++k)
            if (n->from[k] >= 0)
                s = place_value(r, n->from[k]);
        r->clock[i] = (node_clock){.began = now(), .saved = now(), .saved_step = p->node[i].frame.first};
        push_node(r, i, "run", 0);
    }
    return s;
}

static kg_status after(void *arg, kg_plan *p, int unit)
{
    kg_run *r = arg;
    for (int i = 0; i < p->count; ++i)
        if (p->node[i].state == KG_P_RUN && !p->graph->node[i]->resource && p->node[i].unit == unit) {
            store_values(r, i);
            push_node(r, i, "done", now() - r->clock[i].began);
        }
    return KG_OK;
}

/* ---- the two threads ---- */
static void keep_error(kg_run *r)
{
    kg_error e;
    kg_error_take(&e);
    pthread_mutex_lock(&r->lock);
    if (e.status != KG_OK && r->error.status == KG_OK)
        r->error = e;
    pthread_cond_broadcast(&r->moved);
    pthread_mutex_unlock(&r->lock);
    atomic_store(&r->stop, 1);
}

static int may_start(kg_run *r, uint32_t after_tick)
{
    pthread_mutex_lock(&r->lock);
    while (r->reached < after_tick && !atomic_load(&r->stop))
        wait_a_little(&r->moved, &r->lock, 50);
    int go = r->reached >= after_tick && !atomic_load(&r->stop);
    pthread_mutex_unlock(&r->lock);
    return go;
}

static void upset(kg_run *r, void *at, size_t bytes)
{
    r->chaos = r->chaos * 1664525u + 1013904223u;
    nanosleep(&(struct timespec){.tv_nsec = (r->chaos >> 12) % 3000000}, NULL);
    memset(at, 0xff, bytes);
}

static void *copy_thread(void *arg)
{
    kg_run *r = arg;
    kg_plan *p = r->plan;
    kg_ctx *c = calloc(1, sizeof *c);
    if (!c)
        kg_fail(KG_FAILED, "out of host memory");
    else
        *c = (kg_ctx){.mode = KG_WET, .device = p->options.device, .lane = KG_LANE_COPY, .stop = &r->stop, .plan = p};
    if (c && p->fill_interval >= 0) {
        c->top = (char *)p->base + p->tier.intervals[p->fill_interval].at + p->fill_bytes;
        c->limit = p->fill_bytes;
    }
    for (size_t i = 0; i < p->tier.n_loads && c; ++i) {
        const kg_load *l = &p->tier.loads[i];
        const kg_use_site *u = &p->trace.uses[l->use];
        const kg_resource *res = p->graph->node[u->resource]->resource;
        char *at = (char *)p->base + p->tier.intervals[l->interval].at + l->offset;
        if (!may_start(r, l->after))
            break;
        if (r->chaos)
            upset(r, at, p->use_bytes[l->use]);
        kg_status s = kg_fill(c, res, u->segment, at, c->weights[0]);
        if (s != KG_OK || kg_error_last()->status != KG_OK) {
            kg_error_path(p->graph->node[u->resource]->type->name);
            break;
        }
        pthread_mutex_lock(&r->lock);
        r->loaded = i + 1;
        pthread_cond_broadcast(&r->moved);
        pthread_mutex_unlock(&r->lock);
    }
    if (kg_error_last()->status != KG_OK)
        keep_error(r);
    free(c);
    return NULL;
}

static kg_status work(kg_run *r)
{
    kg_plan *p = r->plan;
    kg_device *d = p->options.device;
    if (d->ops->reserve(d, p->arena ? p->arena : KG_ALIGN, &p->base) != KG_OK)
        return KG_FAILED;
    kg_plan_values(p, p->base);
    kg_ctx *c = r->ctx;
    *c = (kg_ctx){.mode = KG_WET, .device = d, .top = (char *)p->base + p->arena, .trace = &p->trace, .profile = &d->profile,
                  .run = r, .plan = p, .provenance = p->provenance, .stop = &r->stop, .poison = r->chaos && d->host_memory};
    c->limit = p->trace.n_ticks ? p->trace.ticks[0].height : 0;
    for (int i = 0; i < p->count; ++i)
        if (p->node[i].state == KG_P_CACHED && (p->graph->node[i]->type->flags & KG_SINK))
            push_node(r, i, "cached", 0);
    if (pthread_create(&r->copy, NULL, copy_thread, r))
        return kg_fail(KG_FAILED, "cannot start a thread: %s", strerror(errno));
    r->copying = 1;
    kg_status s = kg_plan_walk(p, c, &(kg_walk){.before = before, .after = after, .arg = r});
    for (int i = 0; i < p->count && s == KG_OK; ++i)
        if (kg_gnode_wanted(p->graph, i) && p->node[i].first != UINT32_MAX)
            s = place_value(r, i);
    return s;
}

static void *compute_thread(void *arg)
{
    kg_run *r = arg;
    kg_plan *p = r->plan;
    double began = now();
    kg_status s = work(r);
    for (int i = 0; i < p->count; ++i)
        if (p->node[i].state == KG_P_RUN)
            kg_frame_drop_state(&p->node[i].frame);
    if (s != KG_OK && !atomic_load(&r->stop))
        kg_fail(s, "failed without saying why");
    keep_error(r);                     /* sets stop: the copy thread has nothing left to do in any case */
    if (r->copying)
        pthread_join(r->copy, NULL);
    kg_run_event e = {.kind = KG_E_DONE, .seconds = now() - began};
    if (atomic_load(&r->cancelled) && (s != KG_OK || r->error.status != KG_OK))
        r->error = (kg_error){.status = KG_CANCELLED, .message = "cancelled"};
    if (r->error.status != KG_OK) {
        e.kind = KG_E_ERROR;
        e.error = r->error;
    }
    r->status = r->error.status;
    if (p->options.cache)
        p->options.cache->ops->flush(p->options.cache);
    push(r, &e);
    pthread_mutex_lock(&r->lock);
    r->finished = 1;
    pthread_cond_broadcast(&r->queued);
    pthread_mutex_unlock(&r->lock);
    return NULL;
}

/* ---- face ---- */
static int tables(kg_run *r)
{
    const kg_plan *p = r->plan;
    size_t n = p->trace.n_ticks;
    r->until = calloc(n + 2, sizeof *r->until);
    r->top = calloc(n + 2, sizeof *r->top);
    r->clock = calloc((size_t)p->count + 1, sizeof *r->clock);
    r->valued = calloc((size_t)p->count + 1, 1);
    r->ctx = calloc(1, sizeof *r->ctx);
    if (!r->until || !r->top || !r->clock || !r->valued || !r->ctx)
        return 0;
    for (size_t i = 0; i < n; ++i)
        r->until[i + 1] = r->until[i] + p->trace.ticks[i].seconds;
    r->until[n + 1] = r->until[n];
    for (size_t k = 0; k < p->tier.n_intervals; ++k) {
        const kg_interval *v = &p->tier.intervals[k];
        for (uint32_t i = v->first; i <= v->last && i < n; ++i)
            if (v->bytes && v->at + v->bytes > r->top[i])
                r->top[i] = v->at + v->bytes;
    }
    return 1;
}

kg_run *kg_run_start(kg_plan *p)
{
    kg_run *r = calloc(1, sizeof *r);
    if (!r) {
        kg_fail(KG_FAILED, "out of host memory");
        return NULL;
    }
    r->plan = p;
    r->chaos = p->options.chaos;
    pthread_condattr_t a;
    pthread_condattr_init(&a);
    pthread_condattr_setclock(&a, CLOCK_MONOTONIC);
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->moved, &a);
    pthread_cond_init(&r->queued, &a);
    pthread_condattr_destroy(&a);
    if (!tables(r) || pthread_create(&r->compute, NULL, compute_thread, r)) {
        kg_fail(KG_FAILED, "cannot start the run: %s", strerror(errno));
        kg_run_free(r);
        return NULL;
    }
    r->computing = 1;
    return r;
}

void kg_run_cancel(kg_run *r)
{
    atomic_store(&r->cancelled, 1);
    atomic_store(&r->stop, 1);
}

kg_status kg_run_wait(kg_run *r)
{
    if (r->computing)
        pthread_join(r->compute, NULL);
    r->computing = 0;
    if (r->error.status != KG_OK)
        kg_error_set(&r->error);
    return r->status;
}

size_t kg_run_peak(const kg_run *r) { return r->peak; }

kg_status kg_run_value(kg_run *r, int node, int port, int item, void *dst, size_t bytes)
{
    const kg_plan *p = r->plan;
    if (r->computing || !p->base || node < 0 || node >= p->count || item < 0 || item >= p->node[node].values[port].n)
        return kg_fail(KG_USAGE, "node %d has no value %d.%d of a finished run", node, port, item);
    const kg_tensor *t = &p->node[node].values[port].item[item];
    if (bytes != kg_bytes(t) || !kg_gnode_wanted(p->graph, node))
        return kg_fail(KG_USAGE, "value %d.%d has %zu bytes, %zu were asked; it must be wanted", node, port, kg_bytes(t), bytes);
    fetch(r, dst, t);
    return KG_OK;
}

void kg_run_free(kg_run *r)
{
    if (!r)
        return;
    if (r->computing) {
        kg_run_cancel(r);
        pthread_join(r->compute, NULL);
    }
    if (r->plan->base)
        r->plan->options.device->ops->release(r->plan->options.device);
    r->plan->base = NULL;
    pthread_mutex_destroy(&r->lock);
    pthread_cond_destroy(&r->moved);
    pthread_cond_destroy(&r->queued);
    free(r->events);
    free(r->until);
    free(r->top);
    free(r->clock);
    free(r->valued);
    free(r->ctx);
    free(r);
}
