/* Units that make the same calls are traced once: a later one gets a copy of what the first one left in the trace. Six hundred prompts are
 * six hundred equal samplings and decodings, and running each dry would be nearly all of the planning.
 *
 * Two units are equal when their nodes are of the same types in the same order, joined the same way, with equal knobs, descriptions,
 * resources and params (but for what a param row says that execute does not look at: KG_UNTRACED). A node with a prepare step is not
 * taken for equal to any: what it prepared may be anything. If a node said so wrongly its run would leave its plan, and say so. */
#include <stdlib.h>
#include <string.h>

#include "core/key.h"
#include "core/param.h"
#include "core/plan_internal.h"

static void hash_desc(kg_hash *h, const kg_desc *d)
{
    kg_hash_text(h, d->kind ? d->kind : "");
    if (!d->kind)
        return;
    const int64_t numbers[] = {d->dtype, d->rank, d->stream, d->chunks, d->items, d->resource ? d->resource->id : -1};
    kg_hash_bytes(h, numbers, sizeof numbers);
    kg_hash_bytes(h, d->shape, (size_t)d->rank * sizeof *d->shape);
    kg_hash_bytes(h, &d->rate, sizeof d->rate);
}

static void hash_node(const kg_plan *p, kg_hash *h, int node, int first)
{
    const kg_gnode *n = p->graph->node[node];
    const kg_exec *x = &p->node[node].frame;
    kg_hash_text(h, n->type->name);
    kg_params_trace_hash(n->type, n->params, h);
    kg_hash_bytes(h, x->knob, sizeof x->knob);
    kg_hash_bytes(h, &x->first, sizeof x->first);
    for (int i = 0; i < n->inputs; ++i) {
        hash_desc(h, &x->in_desc[i]);
        int from = n->from[i], inside = from >= 0 && p->node[from].unit == p->node[node].unit && p->node[from].state == KG_P_RUN &&
                                        !p->graph->node[from]->resource;
        int where = inside ? from - first : -1, port = inside ? n->from_port[i] : -1;
        kg_hash_bytes(h, &where, sizeof where);
        kg_hash_bytes(h, &port, sizeof port);
        int id = from >= 0 && p->graph->node[from]->resource ? p->graph->node[from]->resource->id : -1;
        kg_hash_bytes(h, &id, sizeof id);
    }
    for (int o = 0; o < n->outputs; ++o)
        hash_desc(h, &n->out[o]);
}

/* 0: this unit is like no other. */
static int digest(const kg_plan *p, int unit, kg_key *key)
{
    kg_hash *h = kg_hash_new();
    int good = h && !kg_plan_on_host(p, p->unit[unit].root);
    KG_EACH_MEMBER (p, unit, i) {
        good &= !p->graph->node[i]->type->prepare;
        hash_node(p, h, i, p->member[p->unit[unit].at]);
    }
    *key = kg_hash_done(h);
    return good;
}

int kg_same_new(kg_same *s, const kg_plan *p)
{
    for (s->room = 64; s->room < 2 * (size_t)p->units; s->room *= 2)
        ;
    s->unit = calloc(s->room, sizeof *s->unit);
    s->seen = calloc((size_t)p->units + 1, sizeof *s->seen);
    return s->unit && s->seen;
}

void kg_same_free(kg_same *s)
{
    free(s->unit);
    free(s->seen);
}

/* The earlier unit that this one equals, or -1; it is known from now on. */
static int find(kg_same *s, const kg_plan *p, int unit)
{
    kg_same_unit *u = &s->seen[unit];
    if (!digest(p, unit, &u->key))
        return -1;
    size_t at;
    memcpy(&at, u->key.b, sizeof at);
    for (at %= s->room; s->unit[at]; at = (at + 1) % s->room)
        if (kg_key_equal(&s->seen[s->unit[at] - 1].key, &u->key))
            return s->unit[at] - 1;
    s->unit[at] = unit + 1;
    return -1;
}

void kg_same_begin(kg_same *s, const kg_plan *p, int unit)
{
    const kg_trace *t = &p->trace;
    s->like = find(s, p, unit);
    s->seen[unit].records = t->n_records;
    s->seen[unit].uses = t->n_uses;
    s->seen[unit].keeps = t->n_keeps;
    s->seen[unit].fronts = t->fronts;
}

void kg_same_end(kg_same *s, const kg_plan *p, const kg_ctx *c, int unit)
{
    const kg_trace *t = &p->trace;
    kg_same_unit *u = &s->seen[unit];
    u->n_records = t->n_records - u->records;
    u->n_uses = t->n_uses - u->uses;
    u->n_keeps = t->n_keeps - u->keeps;
    u->n_fronts = t->fronts - u->fronts;
    u->stage = c->stage_bytes;
}

/* Room for n more items of an array of the trace. */
static int room_for(void *array, size_t *cap, size_t n, size_t more, size_t item)
{
    while (n + more > *cap)
        if (!kg_grow(array, cap, *cap, item))
            return 0;
    return 1;
}

static kg_status copy_ticks(kg_trace *t, const kg_unit *from, uint32_t to)
{
    size_t more = from->last - from->first;
    if (!room_for(&t->ticks, &t->cap_ticks, t->n_ticks, more, sizeof *t->ticks))
        return KG_FAILED;
    memcpy(t->ticks + to, t->ticks + from->first, (more + 1) * sizeof *t->ticks);
    t->n_ticks += more;
    return KG_OK;
}

kg_status kg_same_copy(kg_same *s, kg_plan *p, kg_ctx *c, int unit)
{
    const kg_same_unit *u = &s->seen[s->like];
    const kg_unit *from = &p->unit[s->like];
    kg_trace *t = &p->trace;
    uint32_t ahead = p->unit[unit].first - from->first;
    if (copy_ticks(t, from, c->tick) != KG_OK || !room_for(&t->records, &t->cap_records, t->n_records, u->n_records, sizeof *t->records) ||
        !room_for(&t->uses, &t->cap_uses, t->n_uses, u->n_uses, sizeof *t->uses) ||
        !room_for(&t->keeps, &t->cap_keeps, t->n_keeps, u->n_keeps, sizeof *t->keeps))
        return KG_FAILED;
    if (u->n_records)
        memcpy(t->records + t->n_records, t->records + u->records, u->n_records * sizeof *t->records);
    for (size_t i = 0; i < u->n_uses; ++i) {
        kg_use_site *site = &t->uses[t->n_uses + i];
        *site = t->uses[u->uses + i];
        site->first += ahead;
        site->last += ahead;
    }
    for (size_t i = 0; i < u->n_keeps; ++i) {
        t->keeps[t->n_keeps + i] = t->keeps[u->keeps + i];
        t->keeps[t->n_keeps + i].first += ahead;       /* the last one is the unit's */
    }
    t->n_records += u->n_records;
    t->n_uses += u->n_uses;
    t->n_keeps += u->n_keeps;
    t->fronts += u->n_fronts;
    c->tick += from->last - from->first;
    c->next_use += (uint32_t)u->n_uses;
    c->next_keep += (uint32_t)u->n_keeps;
    c->stage_bytes = u->stage;
    for (int k = 0; k < from->members; ++k) {
        kg_exec *x = &p->node[p->member[p->unit[unit].at + k]].frame;
        const kg_exec *y = &p->node[p->member[from->at + k]].frame;
        x->host_bytes = y->host_bytes;
        x->stage_bytes = y->stage_bytes;
    }
    return KG_OK;
}
