/* A run: the plan's units on a thread of their own, and the face. What else runs at the same time is told in
 * run_internal.h. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/run_internal.h"

double kg_run_now(void)
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

/* Waits on a condition for at most 50 ms: a signal handler that cancels cannot broadcast. */
void kg_run_wait_a_little(pthread_cond_t *c, pthread_mutex_t *m, long ms)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_nsec += ms * 1000000;
    t.tv_sec += t.tv_nsec / 1000000000;
    t.tv_nsec %= 1000000000;
    pthread_cond_timedwait(c, m, &t);
}

/* ---- hooks of the compute thread ---- */
int kg_run_use(kg_run *r, uint32_t use, void **base)
{
    size_t l = (size_t)r->plan->tier.use_load[use];
    const kg_load *load = &r->plan->tier.loads[l];
    pthread_mutex_lock(&r->lock);
    double began = r->issued <= l ? kg_run_now() : 0;
    while (r->issued <= l && !atomic_load(&r->stop))
        kg_run_wait_a_little(&r->moved, &r->lock, 50);
    r->took.waited += began > 0 ? kg_run_now() - began : 0;
    int there = r->issued > l;
    kg_event e = r->load_event[l];
    pthread_mutex_unlock(&r->lock);
    *base = (char *)r->plan->base + r->plan->tier.intervals[load->interval].at + load->offset;
    if (there && l >= r->fenced) {     /* loads are done in order: a later one's event stands for this one's too */
        there = r->device->ops->wait(r->device, KG_LANE_COMPUTE, e) == KG_OK;
        r->fenced = l + 1;
    }
    return !there;
}

void kg_run_tick(kg_run *r, uint32_t tick)
{
    kg_event e = {0};
    if (tick > r->plan->trace.n_ticks)
        return;                        /* after a failure only */
    if (r->awaited[tick])
        e = r->device->ops->record(r->device, KG_LANE_COMPUTE);
    pthread_mutex_lock(&r->lock);
    if (tick > 0 && r->ctx->peak + r->top[tick - 1] > r->peak)
        r->peak = r->ctx->peak + r->top[tick - 1];
    r->at_tick[tick] = e;
    r->reached = tick;
    pthread_cond_broadcast(&r->moved);
    pthread_mutex_unlock(&r->lock);
}

void kg_run_poison(kg_run *r, int lane, void *at, size_t bytes)
{
    if (r->device->host_memory) {
        memset(at, 0xff, bytes);
        return;
    }
    for (size_t done = 0, piece; done < bytes; done += piece) {
        piece = bytes - done < KG_UPSET ? bytes - done : KG_UPSET;
        r->device->ops->write(r->device, lane, (char *)at + done, r->upset, piece);
    }
}

/* ---- progress ---- */
double kg_run_after(const kg_run *r, const kg_unit *u) { return r->until[r->plan->trace.n_ticks] - r->until[u->last + 1]; }

/* The oldest scope that was left is finished. */
static void push_progress(kg_run *r)
{
    kg_progress *p = &r->progress[r->first_progress];
    double t = kg_run_now();
    r->first_progress = (r->first_progress + 1) % KG_PROGRESS;
    --r->n_progress;
    r->n_paced -= (unsigned)p->paced;
    if (p->outer && !r->took.counted++) {
        r->took.first = t;
        r->took.first_tick = p->tick;
    }
    r->took.last = p->outer ? t : r->took.last;
    r->took.last_tick = p->outer ? p->tick : r->took.last_tick;
    if (!p->outer && t - r->last_step_event < 0.5)
        return;
    r->last_step_event = t;
    const kg_unit *u = &r->plan->unit[r->plan->node[p->node].unit];
    double all = r->until[u->last + 1] - r->until[u->first], done = r->until[p->tick] - r->until[u->first];
    double elapsed = t - r->clock[p->node].began;
    p->event.seconds = done > 0 ? elapsed * (all - done) / done : r->until[u->last + 1] - r->until[p->tick];
    p->event.rest = p->event.seconds + kg_run_after(r, u);
    kg_run_push(r, &p->event);
}

/* Waits until no more than so many paced scopes are unfinished. */
static void pace(kg_run *r, unsigned ahead)
{
    while (r->n_paced > ahead && r->n_progress) {
        kg_progress *p = &r->progress[r->first_progress];
        if (p->paced && (r->device->ops->sync(r->device, p->done) != KG_OK || kg_run_look(r, p->flags) != KG_OK))
            return;
        push_progress(r);
    }
    while (r->n_progress && r->device->host_memory)        /* nothing is unfinished that was left */
        push_progress(r);
}

void kg_run_step(kg_run *r, const kg_exec *x, const kg_scope *s, int outer)
{
    const kg_scope *o = s;
    int64_t finished = s->i + 1;
    for (int i = 0; i < r->ctx->depth && !outer; ++i)
        if (r->ctx->scope[i].frame == x && r->ctx->scope[i].n > 0) {
            o = &r->ctx->scope[i];
            finished = o->i;
            break;
        }
    while (r->n_progress == KG_PROGRESS && kg_run_sync(r, KG_LANE_COMPUTE) == KG_OK)
        while (r->n_progress)
            push_progress(r);
    if (r->n_progress == KG_PROGRESS)
        return;
    kg_progress *p = &r->progress[(r->first_progress + r->n_progress) % KG_PROGRESS];
    *p = (kg_progress){.tick = r->ctx->tick, .node = x->node, .outer = outer, .paced = !x->type->chunk};
    p->event = (kg_run_event){.kind = KG_E_STEP, .id = x->node, .i = finished, .n = o->n, .resident = r->plan->tier.busy[r->ctx->tick]};
    snprintf(p->event.scope, sizeof p->event.scope, "%s", o->name ? o->name : "");
    p->flags = r->flags.queued;
    if (p->paced)
        p->done = r->device->ops->record(r->device, KG_LANE_COMPUTE);
    if (kg_error_last()->status == KG_OK) {
        ++r->n_progress;
        r->n_paced += (unsigned)p->paced;
        pace(r, r->device->host_memory ? 0 : KG_AHEAD);
    }
    kg_exec_blame(x);
}

static kg_status before(void *arg, kg_plan *p, int unit)
{
    kg_run *r = arg;
    kg_status s = KG_OK;
    KG_EACH_MEMBER (p, unit, i) {
        const kg_gnode *n = p->graph->node[i];
        for (int k = 0; k < n->inputs && s == KG_OK; ++k)
            if (n->from[k] >= 0)
                s = kg_run_place(r, n->from[k]);
        if (s != KG_OK || kg_plan_on_host(p, i))
            continue;                      /* its own run says so */
        r->clock[i] = (kg_clock){.began = kg_run_now(), .saved = kg_run_now(), .saved_step = p->node[i].frame.first};
        kg_run_push_node(r, i, "run", 0);
    }
    r->took.began = kg_run_now();
    r->took.waited = r->took.counted = 0;
    return s;
}

static kg_status part(void *arg, kg_plan *p, int unit)
{
    (void)p;
    return kg_run_part(arg, unit);
}

/* The unit's work is done on the host and on the device, or it failed. */
static kg_status settle(void *arg, kg_plan *p, int unit, kg_status s)
{
    kg_run *r = arg;
    kg_run_host_settle(r);
    if (s == KG_OK && !r->device->host_memory)
        s = kg_run_sync(r, KG_LANE_COMPUTE);
    if (s == KG_OK)
        s = kg_run_look(r, r->flags.queued);
    if (s == KG_OK && kg_ctx_failed(r->ctx))
        s = KG_CANCELLED;
    if (s == KG_OK)
        s = kg_run_files_same(r, r->fenced);
    while (s == KG_OK && r->n_progress)
        push_progress(r);
    r->n_progress = r->n_paced = 0;
    if (s == KG_OK)
        kg_run_took_unit(r, unit);
    if (s != KG_OK)
        kg_exec_blame(&p->node[p->unit[unit].root].frame);
    return s;
}

static kg_status after(void *arg, kg_plan *p, int unit)
{
    kg_run *r = arg;
    KG_EACH_MEMBER (p, unit, i)
        if (!kg_plan_on_host(p, i)) {
            kg_run_store(r, i);
            kg_exec_blame(&p->node[i].frame);
            kg_run_push_node(r, i, "done", kg_run_now() - r->clock[i].began);
        }
    return kg_error_last()->status;
}

/* ---- the compute thread ---- */
void kg_run_keep_error(kg_run *r)
{
    kg_error e;
    kg_error_take(&e);
    pthread_mutex_lock(&r->lock);
    if (e.status != KG_OK && r->error.status == KG_OK)
        r->error = e;
    atomic_store(&r->stop, 1);
    pthread_cond_broadcast(&r->moved);
    pthread_mutex_unlock(&r->lock);
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
                  .run = r, .plan = p, .provenance = p->options.provenance, .provenance_arg = p->options.provenance_arg,
                  .stop = &r->stop, .poison = r->chaos != 0, .finite = p->options.finite};
    c->limit = p->trace.n_ticks ? p->trace.ticks[0].height : 0;
    for (int i = 0; i < p->count; ++i)
        if (p->node[i].state == KG_P_CACHED && (p->graph->node[i]->type->flags & KG_SINK))
            kg_run_push_node(r, i, "cached", 0);
    if (kg_run_host_start(r) != KG_OK)
        return KG_FAILED;
    if (pthread_create(&r->copy, NULL, kg_run_copy_thread, r))
        return kg_fail(KG_FAILED, "cannot start a thread: %s", strerror(errno));
    r->copying = 1;
    kg_status s = kg_plan_walk(p, c, &(kg_walk){.before = before, .part = part, .settle = settle, .after = after, .arg = r});
    for (int i = 0; i < p->count && s == KG_OK; ++i)
        if (kg_plan_wanted(p, i) && p->node[i].first != UINT32_MAX)
            s = kg_run_place(r, i);
    return s;
}

/* Joins the other threads; nothing is queued that reads or writes what is given back. */
static void wind_up(kg_run *r, int failed)
{
    if (r->copying)
        pthread_join(r->copy, NULL);
    kg_run_host_settle(r);
    if (r->host.stage && failed)
        kg_run_sync(r, KG_LANE_COMPUTE);
    kg_error_clear();                  /* what failed is known */
    kg_run_host_end(r);
}

static void *compute_thread(void *arg)
{
    kg_run *r = arg;
    kg_plan *p = r->plan;
    double began = kg_run_now();
    kg_status s = work(r);
    for (int i = 0; i < p->count; ++i)
        if (p->node[i].state == KG_P_RUN)
            kg_frame_drop_state(&p->node[i].frame);
    if (s != KG_OK && !atomic_load(&r->stop))
        kg_fail(s, "failed without saying why");
    kg_run_keep_error(r);              /* sets stop: the other threads have nothing left to do in any case */
    wind_up(r, s != KG_OK || r->error.status != KG_OK);
    kg_run_took_loads(r);
    kg_run_event e = {.kind = KG_E_DONE, .seconds = kg_run_now() - began};
    if (atomic_load(&r->cancelled) && (s != KG_OK || r->error.status != KG_OK))
        r->error = (kg_error){.status = KG_CANCELLED, .message = "cancelled"};
    if (p->options.cache)
        p->options.cache->ops->flush(p->options.cache);
    if (r->error.status == KG_CANCELLED && !p->whole)
        kg_run_say_kept(r, r->error.hint, sizeof r->error.hint);
    if (r->error.status != KG_OK)
        e.kind = KG_E_ERROR;
    r->status = r->error.status;
    kg_run_push(r, &e);
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
    r->awaited = calloc(n + 2, 1);
    r->at_tick = calloc(n + 2, sizeof *r->at_tick);
    r->load_event = calloc(p->tier.n_loads + 1, sizeof *r->load_event);
    r->upset = malloc(KG_UPSET);
    r->clock = calloc((size_t)p->count + 1, sizeof *r->clock);
    r->valued = calloc((size_t)p->count + 1, 1);
    r->ctx = calloc(1, sizeof *r->ctx);
    if (!r->until || !r->top || !r->awaited || !r->at_tick || !r->load_event || !r->upset || !r->clock || !r->valued || !r->ctx)
        return 0;
    memset(r->upset, 0xff, KG_UPSET);
    for (size_t i = 0; i < p->tier.n_loads; ++i)
        r->awaited[p->tier.loads[i].after] = 1;
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
    r->device = p->options.device;
    r->chaos = p->options.chaos;
    pthread_condattr_t a;
    pthread_condattr_init(&a);
    pthread_condattr_setclock(&a, CLOCK_MONOTONIC);
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->moved, &a);
    pthread_cond_init(&r->queued, &a);
    pthread_cond_init(&r->host.more, &a);
    pthread_cond_init(&r->host.fewer, &a);
    pthread_condattr_destroy(&a);
    if (!kg_run_events_new(r) || !tables(r) || pthread_create(&r->compute, NULL, compute_thread, r)) {
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

void kg_run_free(kg_run *r)
{
    if (!r)
        return;
    if (r->computing) {
        kg_run_cancel(r);
        pthread_join(r->compute, NULL);
    }
    if (r->plan->base)
        r->device->ops->release(r->device);
    r->plan->base = NULL;
    pthread_mutex_destroy(&r->lock);
    pthread_cond_destroy(&r->moved);
    pthread_cond_destroy(&r->queued);
    pthread_cond_destroy(&r->host.more);
    pthread_cond_destroy(&r->host.fewer);
    free(r->notes);
    free(r->until);
    free(r->top);
    free(r->awaited);
    free(r->at_tick);
    free(r->load_event);
    free(r->pins);
    free(r->watch);
    free(r->upset);
    free(r->clock);
    free(r->valued);
    free(r->ctx);
    free(r);
}
