/* A run's events: what happened and was not read yet, in order.
 *
 * Room for all of them is there from the start, whatever the run does and whether anybody reads: of each node it is said once that it
 * runs or was cached and once that it is done, and where STEPS steps wait, a node's next one takes the place of its last. So nothing
 * but a step is ever lost, and a reader that is slow sees fewer of them. Names are put in when an event is read; the error is the run's
 * own. */
#include <stdio.h>
#include <stdlib.h>

#include "core/run_internal.h"

enum { STEPS = 256 };

static size_t most(const kg_plan *p) { return 3 * (size_t)p->count + 4 + STEPS; }

size_t kg_run_events_bytes(const kg_plan *p) { return most(p) * sizeof(kg_note); }

int kg_run_events_new(kg_run *r)
{
    r->room_notes = most(r->plan);
    r->notes = calloc(r->room_notes, sizeof *r->notes);
    return r->notes != NULL;
}

static kg_note *note_at(const kg_run *r, size_t i) { return &r->notes[(r->first_note + i) % r->room_notes]; }

/* Where this step takes the place of one before it, behind the last event of any node; NULL: it is new. */
static kg_note *same_step(const kg_run *r, const kg_run_event *e)
{
    for (size_t i = r->n_notes; i > 0 && e->kind == KG_E_STEP && r->n_steps >= STEPS && note_at(r, i - 1)->kind == KG_E_STEP; --i)
        if (note_at(r, i - 1)->node == e->id)
            return note_at(r, i - 1);
    return NULL;
}

void kg_run_push(kg_run *r, const kg_run_event *e)
{
    pthread_mutex_lock(&r->lock);
    kg_note *to = same_step(r, e);
    if (!to && r->n_notes < r->room_notes) {
        to = note_at(r, r->n_notes++);
        r->n_steps += e->kind == KG_E_STEP;
    }
    if (to) {
        *to = (kg_note){.kind = e->kind, .node = e->id, .i = e->i, .n = e->n, .seconds = e->seconds, .rest = e->rest,
                        .resident = e->resident};
        snprintf(to->state, sizeof to->state, "%.7s", e->state);
        snprintf(to->scope, sizeof to->scope, "%s", e->scope);
    }
    pthread_cond_broadcast(&r->queued);
    pthread_mutex_unlock(&r->lock);
}

void kg_run_push_node(kg_run *r, int node, const char *state, double seconds)
{
    kg_run_event e = {.kind = KG_E_NODE, .id = node, .seconds = seconds, .resident = r->plan->tier.busy[r->ctx->tick]};
    e.rest = r->until[r->plan->trace.n_ticks] - r->until[r->ctx->tick];
    snprintf(e.state, sizeof e.state, "%s", state);
    kg_run_push(r, &e);
}

static void tell(const kg_run *r, const kg_note *n, kg_run_event *e)
{
    *e = (kg_run_event){.kind = n->kind, .id = n->node, .i = n->i, .n = n->n, .seconds = n->seconds, .rest = n->rest,
                         .resident = n->resident};
    snprintf(e->state, sizeof e->state, "%s", n->state);
    snprintf(e->scope, sizeof e->scope, "%s", n->scope);
    if (n->kind == KG_E_NODE || n->kind == KG_E_STEP) {
        snprintf(e->node, sizeof e->node, "%s", r->plan->graph->node[n->node]->type->name);
        snprintf(e->label, sizeof e->label, "%s", r->plan->graph->node[n->node]->label);
    }
    if (n->kind == KG_E_ERROR)
        e->error = r->error;
}

int kg_run_poll(kg_run *r, kg_run_event *e, int wait_ms)
{
    double until = kg_run_now() + 1e-3 * wait_ms;
    pthread_mutex_lock(&r->lock);
    while (!r->n_notes && !r->finished && kg_run_now() < until)
        kg_run_wait_a_little(&r->queued, &r->lock, wait_ms < 50 ? wait_ms : 50);
    int got = r->n_notes > 0;
    if (got) {
        tell(r, note_at(r, 0), e);
        r->first_note = (r->first_note + 1) % r->room_notes;
        --r->n_notes;
        r->n_steps -= e->kind == KG_E_STEP;
    }
    pthread_mutex_unlock(&r->lock);
    return got;
}
