/* The copy thread: the plan's loads in order. A load's fill is queued behind the event of the tick from which its place is free, and
 * an event behind the fill tells the compute lane that it is there; nobody waits on the host for a copy.
 *
 * The host tier is carried out here too: its order is the order of the loads. Ranges of a load that the tier keeps are read with
 * stay, listed, and dropped before the first load that lies behind the interval's end, so that what is pinned never exceeds the
 * plan. */
#include "core/run_internal.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define LOAD_TELLS (16 << 20)      /* bytes: below it a load is mostly overhead */

/* Waits until the tick is queued; the event of it. */
static int may_start(kg_run *r, uint32_t after, kg_event *e)
{
    pthread_mutex_lock(&r->lock);
    while (r->reached < after && !atomic_load(&r->stop))
        kg_run_wait_a_little(&r->moved, &r->lock, 50);
    int go = r->reached >= after && !atomic_load(&r->stop);
    *e = r->at_tick[after];
    pthread_mutex_unlock(&r->lock);
    return go;
}

static void upset(kg_run *r, void *at, size_t bytes)
{
    r->chaos = r->chaos * 1664525u + 1013904223u;
    nanosleep(&(struct timespec){.tv_nsec = (r->chaos >> 12) % 3000000}, NULL);
    kg_run_poison(r, KG_LANE_COPY, at, bytes);
}

static kg_status watch(kg_run *r, const kg_file *f)
{
    size_t i = 0;
    while (i < r->n_watch && r->watch[i].file != f)
        ++i;
    if (!kg_grow(&r->watch, &r->cap_watch, r->n_watch, sizeof *r->watch))
        return KG_FAILED;
    r->watch[i] = (kg_watch){.file = f, .load = r->loading};
    r->n_watch += i == r->n_watch;
    return KG_OK;
}

kg_status kg_run_read(kg_run *r, const kg_file *f, uint64_t offset, size_t bytes)
{
    pthread_mutex_lock(&r->lock);
    kg_status s = watch(r, f);
    pthread_mutex_unlock(&r->lock);
    if (s != KG_OK || r->pin_interval < 0)
        return s;
    if (!kg_grow(&r->pins, &r->cap_pins, r->n_pins, sizeof *r->pins))
        return KG_FAILED;
    r->pins[r->n_pins++] = (kg_pin){.file = f, .offset = offset, .bytes = bytes, .interval = r->pin_interval};
    return KG_OK;
}

kg_status kg_run_files_same(kg_run *r, size_t done)
{
    kg_status s = KG_OK;
    size_t kept = 0;
    pthread_mutex_lock(&r->lock);
    for (size_t i = 0; i < r->n_watch && s == KG_OK; ++i) {
        kg_watch w = r->watch[i];
        s = kg_file_same(w.file);
        if (w.load >= done)
            r->watch[kept++] = w;
    }
    if (s == KG_OK)
        r->n_watch = kept;
    pthread_mutex_unlock(&r->lock);
    return s;
}

/* Drops what the host tier keeps no longer at a tick. */
static void drop_pins(kg_run *r, uint32_t tick)
{
    const kg_tier *t = &r->plan->host;
    kg_device *d = r->device;
    size_t kept = 0;
    for (size_t i = 0; i < r->n_pins; ++i) {
        kg_pin p = r->pins[i];
        if (t->intervals[p.interval].last >= tick)
            r->pins[kept++] = p;
        else if (d->ops->drop)
            d->ops->drop(d, p.file, p.offset, p.bytes);
    }
    r->n_pins = kept;
}

/* Does the host tier keep what load i reads? */
static int begin_stay(kg_run *r, size_t i)
{
    const kg_tier *t = &r->plan->host;
    if (!t->n_loads)
        return 0;
    drop_pins(r, r->plan->trace.uses[r->plan->tier.loads[i].use].first);
    const kg_load *l = &t->loads[t->use_load[i]];
    int keeps = t->intervals[l->interval].kind == KG_I_KEPT;
    r->pin_interval = keeps && l->use == i ? l->interval : -1;
    return keeps;
}

/* Loads that came whole from the disk or whole from the page cache tell those rates. On a card the ring of its staging makes the
 * thread wait for the link, so that this is the slower of both. */
static void took(kg_run *r, const kg_ctx *c, double seconds)
{
    double bytes = (double)c->read_bytes;
    kg_rate_load *l = c->warm_bytes >= bytes ? &r->took.warm : &r->took.cold;
    if (bytes >= LOAD_TELLS && (c->warm_bytes >= bytes || c->warm_bytes <= 0)) {
        l->bytes += bytes;
        l->seconds += seconds;
    }
}

static kg_status load(kg_run *r, kg_ctx *c, size_t i)
{
    const kg_plan *p = r->plan;
    const kg_load *l = &p->tier.loads[i];
    const kg_use_site *u = &p->trace.uses[l->use];
    const kg_device_ops *ops = r->device->ops;
    char *at = (char *)p->base + p->tier.intervals[l->interval].at + l->offset;
    kg_event free_at, filled;
    if (!may_start(r, l->after, &free_at))
        return KG_CANCELLED;
    c->stay = begin_stay(r, i);
    r->loading = i;
    kg_status s = l->after ? ops->wait(r->device, KG_LANE_COPY, free_at) : KG_OK;
    if (s == KG_OK && r->chaos)
        upset(r, at, p->use_bytes[l->use]);
    double began = kg_run_now();
    if (s == KG_OK)
        s = kg_fill(c, p->graph->node[u->resource]->resource, u->segment, at, c->weights[0]);
    if (s != KG_OK || kg_error_last()->status != KG_OK)
        return s != KG_OK ? s : kg_error_last()->status;
    filled = ops->record(r->device, KG_LANE_COPY);
    took(r, c, kg_run_now() - began);
    if (kg_error_last()->status != KG_OK)
        return kg_error_last()->status;
    pthread_mutex_lock(&r->lock);
    r->load_event[i] = filled;
    r->issued = i + 1;
    pthread_cond_broadcast(&r->moved);
    pthread_mutex_unlock(&r->lock);
    return KG_OK;
}

void *kg_run_copy_thread(void *run)
{
    kg_run *r = run;
    kg_plan *p = r->plan;
    kg_ctx *c = calloc(1, sizeof *c);
    if (!c)
        kg_fail(KG_FAILED, "out of host memory");
    else
        *c = (kg_ctx){.mode = KG_WET, .device = r->device, .lane = KG_LANE_COPY, .looks = p->options.rates != NULL,
                        .stop = &r->stop, .plan = p, .loader = r};
    if (c && p->fill_interval >= 0) {
        c->top = (char *)p->base + p->tier.intervals[p->fill_interval].at + p->fill_bytes;
        c->limit = p->fill_bytes;
    }
    for (size_t i = 0; i < p->tier.n_loads && c; ++i)
        if (load(r, c, i) != KG_OK) {
            kg_error_path(p->graph->node[p->trace.uses[p->tier.loads[i].use].resource]->type->name);
            break;
        }
    if (kg_error_last()->status != KG_OK)
        kg_run_keep_error(r);
    drop_pins(r, UINT32_MAX);
    free(c);
    return NULL;
}
