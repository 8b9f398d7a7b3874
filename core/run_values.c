/* Values between device, host and cache: finished results, cached ones put in place, checkpoints. */
#include "core/run_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/param.h"

kg_status kg_run_sync(kg_run *r, int lane)
{
    kg_event e = r->device->ops->record(r->device, lane);
    return kg_error_last()->status != KG_OK ? kg_error_last()->status : r->device->ops->sync(r->device, e);
}

kg_status kg_run_fetch(kg_run *r, void *dst, const kg_tensor *t)
{
    size_t all = kg_bytes(t), piece = r->host.stage ? r->plan->stage : all;
    for (size_t at = 0; at < all; at += piece) {
        size_t bytes = all - at < piece ? all - at : piece;
        char *to = r->host.stage ? r->host.stage : (char *)dst + at;
        kg_status s = r->device->ops->fetch(r->device, KG_LANE_COMPUTE, to, (char *)t->at + at, bytes);
        if (s == KG_OK)
            s = kg_run_sync(r, KG_LANE_COMPUTE);
        if (s != KG_OK)
            return s;
        if (r->host.stage)
            memcpy((char *)dst + at, to, bytes);
    }
    return KG_OK;
}

/* ---- checkpoints ---- */
typedef struct checkpoint { kg_cache *cache; const char *bytes; kg_cache_row row; } checkpoint;

/* A run that lacks the memory to keep something goes on: its work is worth more than what the cache would have saved. */
static void not_kept(const char *what, size_t bytes)
{
    kg_warned *was = kg_warn_for(NULL);                    /* of the cache, and of no result */
    kg_warn("out of host memory for %zu bytes: %s is not kept in the cache", bytes, what);
    kg_warn_for(was);
}

/* Hands a copy to the cache's writer. */
static kg_status hand_over(void *arg, const kg_tensor *ins, const kg_tensor *outs)
{
    (void)ins, (void)outs;
    const checkpoint *c = arg;
    void *copy = malloc(c->row.bytes + 1);
    if (copy) {
        memcpy(copy, c->bytes, c->row.bytes);
        c->cache->ops->checkpoint_later(c->cache, &c->row, copy);
    } else
        not_kept("a checkpoint", c->row.bytes);
    return KG_OK;
}

static kg_cache_row checkpoint_row(const kg_run *r, int node, int64_t next, const kg_tensor *tensors, int n, double seconds)
{
    kg_cache_row row = {.key = kg_plan_checkpoint_key(r->plan, node), .kind = "checkpoint", .dtype = KG_U8, .rank = 1, .step = next,
                        .seconds = seconds};
    for (int i = 0; i < n; ++i)
        row.bytes += kg_bytes(&tensors[i]);
    row.shape[0] = (int64_t)row.bytes;
    snprintf(row.tag, sizeof row.tag, "%s", r->device->tag);
    return row;
}

/* Fetches the tensors one behind the other. */
static kg_status gather(kg_run *r, char *at, const kg_tensor *tensors, int n)
{
    for (int i = 0; i < n; ++i) {
        if (r->device->ops->fetch(r->device, KG_LANE_COMPUTE, at, tensors[i].at, kg_bytes(&tensors[i])) != KG_OK)
            return kg_error_last()->status;
        at += kg_bytes(&tensors[i]);
    }
    return KG_OK;
}

void kg_run_save(kg_run *r, kg_exec *x, int64_t next, int64_t steps, const kg_tensor *tensors, int n)
{
    kg_cache *c = r->plan->options.cache;
    kg_clock *k = &r->clock[x->node];
    double t = kg_run_now();
    if (!c || next >= steps || (t - k->saved < 10 && (double)(next - k->saved_step) < 0.05 * (double)steps))
        return;
    k->saved = t;
    k->saved_step = next;
    kg_cache_row row = checkpoint_row(r, x->node, next, tensors, n, t - k->began);
    if (r->device->host_memory) {
        char *bytes = malloc(row.bytes + 1);
        if (!bytes)
            not_kept("a checkpoint", row.bytes);
        else if (gather(r, bytes, tensors, n) == KG_OK)
            c->ops->checkpoint_later(c, &row, bytes);
        else
            free(bytes);
        return;
    }
    checkpoint arg = {.cache = c, .bytes = kg_run_host_slot(r, x), .row = row};
    kg_job *j = kg_run_host_job(r, x);
    j->fn = hand_over;
    j->leaves = 1;
    if (gather(r, (char *)arg.bytes, tensors, n) != KG_OK)
        return;
    j->ready = r->device->ops->record(r->device, KG_LANE_COMPUTE);
    if (kg_error_last()->status != KG_OK)
        return;
    _Static_assert(sizeof arg <= sizeof j->arg, "a checkpoint's job is an argument");
    memcpy(j->arg, &arg, sizeof arg);
    kg_run_host_queue(r, x);
}

int kg_run_restore(kg_run *r, kg_exec *x, const kg_tensor *tensors, int n)
{
    kg_pnode *q = &r->plan->node[x->node];
    size_t bytes = 0;
    for (int i = 0; i < n; ++i)
        bytes += kg_bytes(&tensors[i]);
    const char *at = q->saved;
    kg_cache *c = r->plan->options.cache;
    int good = at && q->checkpoint.bytes == bytes;
    for (int i = 0; i < n && good; ++i) {
        good = !kg_not_finite(at, tensors[i].dtype, (size_t)kg_count(&tensors[i]));    /* of a version that did not watch */
        if (good && r->device->ops->write(r->device, KG_LANE_COMPUTE, tensors[i].at, at, kg_bytes(&tensors[i])) != KG_OK)
            break;
        at += kg_bytes(&tensors[i]);
    }
    free(q->saved);
    q->saved = NULL;
    if (!good) {
        c->ops->checkpoint_drop(c, &q->checkpoint.key);
        kg_fail(KG_FAILED, "the checkpoint at step %lld cannot be read, or holds NaN", (long long)q->checkpoint.step);
        kg_hint("it has been dropped: run again to start from the first step");
    }
    return kg_error_last()->status != KG_OK;
}

/* ---- values that the cache answers ---- */
static void place_item(kg_run *r, const kg_cache_row *row, const kg_tensor *t)
{
    kg_cache *c = r->plan->options.cache;
    void *to = r->device->host_memory ? t->at : malloc(row->bytes + 1);
    int good = to && c->ops->read(c, row, to);
    if (!to) {
        kg_fail(KG_FAILED, "out of host memory for %zu bytes of a cached result", row->bytes);
        return;
    }
    if (good && !r->device->host_memory)
        r->device->ops->write(r->device, KG_LANE_COMPUTE, t->at, to, row->bytes);
    if (!r->device->host_memory)
        free(to);
    if (good)
        return;
    kg_fail(KG_FAILED, "a cached result went bad between plan and run");
    kg_hint("run again: it will be made anew");
}

kg_status kg_run_place(kg_run *r, int node)
{
    kg_plan *p = r->plan;
    kg_pnode *q = &p->node[node];
    if ((q->state != KG_P_CACHED && q->state != KG_P_GIVEN) || r->valued[node])
        return KG_OK;
    r->valued[node] = 1;
    for (int o = 0; o < p->graph->node[node]->outputs; ++o)
        for (int k = 0; k < q->values[o].n && q->interval[o] >= 0; ++k)
            if (q->state == KG_P_GIVEN)
                p->give(p->give_arg, node, o, k, q->values[o].item[k].at);
            else if (q->rows[o])
                place_item(r, &q->rows[o][k], &q->values[o].item[k]);
    if (kg_error_last()->status == KG_OK && !r->device->host_memory)
        kg_run_sync(r, KG_LANE_COMPUTE);
    if (kg_error_last()->status == KG_OK && q->state == KG_P_CACHED)
        kg_run_push_node(r, node, "cached", 0);
    else
        kg_error_path(p->graph->node[node]->type->name);
    return kg_error_last()->status;
}

static void store_item(kg_run *r, const kg_cache_row *row, const kg_tensor *t)
{
    kg_cache *c = r->plan->options.cache;
    void *host = r->device->host_memory ? t->at : malloc(row->bytes + 1);
    if (!host)
        not_kept("a result", row->bytes);
    else if (r->device->host_memory || kg_run_fetch(r, host, t) == KG_OK)
        c->ops->write(c, row, host);
    if (!r->device->host_memory)
        free(host);
}

static void keep_warnings(kg_run *r, int node)
{
    const kg_plan *p = r->plan;
    const kg_gnode *n = p->graph->node[node];
    kg_cache *c = p->options.cache;
    for (int i = 0; i < kg_params_items(n->type, n->params); ++i) {
        kg_key k = kg_graph_key(p->graph, node, -1, i);
        c->ops->warning_store(c, &k, p->node[node].warned.lines ? p->node[node].warned.lines : "");
    }
}

void kg_run_store(kg_run *r, int node)
{
    kg_plan *p = r->plan;
    const kg_gnode *n = p->graph->node[node];
    kg_cache *c = p->options.cache;
    if (!c)
        return;
    keep_warnings(r, node);
    kg_key whole = kg_graph_key(p->graph, node, -1, 0);
    if (kg_gnode_out(n))
        c->ops->sink_store(c, &whole, kg_gnode_out(n));
    for (int o = 0; o < n->outputs && !(n->type->flags & (KG_SINK | KG_UNCACHED)); ++o)
        for (int k = 0; k < p->node[node].values[o].n; ++k) {
            const kg_tensor *t = &p->node[node].values[o].item[k];
            kg_cache_row row = {.key = kg_graph_key(p->graph, node, o, k), .dtype = t->dtype, .rank = t->rank,
                                .bytes = kg_bytes(t), .seconds = kg_run_now() - r->clock[node].began};
            memcpy(row.shape, t->shape, sizeof row.shape);
            snprintf(row.kind, sizeof row.kind, "%s", n->out[o].kind);
            snprintf(row.tag, sizeof row.tag, "%s", r->device->tag);
            store_item(r, &row, t);
        }
    kg_key checkpoint = kg_plan_checkpoint_key(p, node);
    if (kg_error_last()->status == KG_OK)
        c->ops->checkpoint_drop(c, &checkpoint);
}

kg_status kg_run_value(kg_run *r, int node, int port, int item, void *dst, size_t bytes)
{
    const kg_plan *p = r->plan;
    if (r->computing || !p->base || node < 0 || node >= p->count || item < 0 || item >= p->node[node].values[port].n)
        return kg_fail(KG_USAGE, "node %d has no value %d.%d of a finished run", node, port, item);
    const kg_tensor *t = &p->node[node].values[port].item[item];
    if (bytes != kg_bytes(t) || !kg_gnode_wanted(p->graph, node))
        return kg_fail(KG_USAGE, "value %d.%d has %zu bytes, %zu were asked; it must be wanted", node, port, kg_bytes(t), bytes);
    return kg_run_fetch(r, dst, t);
}
