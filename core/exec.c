/* execute's face, three ways: dry (records a trace), wet (follows it), eager (no trace; tests).
 *
 * Temporaries are a stack that grows down from the top of the arena; what lives longer (outputs, kept tensors, weights) lies below
 * it at planned addresses. A tick is the time between two changes of what lies below: the planner needs the tallest stack of each
 * tick and nothing else, so addresses of temporaries need no planning. Invariant: in a wet run the stack never exceeds its tick's
 * planned height, and every call is the trace's next record, or the run has "left its plan". */
#include "core/file.h"
#include "core/internal.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

int kg_grow(void *array, size_t *cap, size_t n, size_t item)
{
    if (n < *cap)
        return 1;
    size_t room = *cap ? *cap * 2 : 256;
    void *p = realloc(*(void **)array, room * item);
    if (!p) {
        kg_fail(KG_FAILED, "out of host memory for %zu bytes of the trace", room * item);
        return 0;
    }
    *(void **)array = p;
    *cap = room;
    return 1;
}

void kg_trace_free(kg_trace *t)
{
    free(t->records);
    free(t->ticks);
    free(t->uses);
    free(t->keeps);
    memset(t, 0, sizeof *t);
}

int kg_ctx_failed(const kg_ctx *c)
{
    return kg_error_last()->status != KG_OK || atomic_load_explicit(c->stop, memory_order_relaxed);
}

void kg_ctx_path(const kg_ctx *c, const kg_exec *x, char *out, size_t n)
{
    size_t used = 0;
    if (x->type)
        used = (size_t)snprintf(out, n, x->label && x->label[0] ? "%s '%s'" : "%s", x->type->name, x->label);
    for (int i = 0; i < c->depth && used < n; ++i)
        if (c->scope[i].frame == x && c->scope[i].name)
            used += (size_t)snprintf(out + used, n - used, c->scope[i].n > 0 ? " > %s %lld" : " > %s", c->scope[i].name,
                                     (long long)c->scope[i].i);
}

void kg_exec_blame(const kg_exec *x)
{
    if (kg_error_last()->status != KG_OK && !kg_error_last()->path[0]) {
        char path[256] = "";
        kg_ctx_path(x->ctx, x, path, sizeof path);
        kg_error_path(path);
    }
}

static void left_plan(kg_exec *x, const char *what)
{
    kg_fail(KG_FAILED, "the run left its plan: %s (an error of this program, not of the graph)", what);
    kg_exec_blame(x);
}

int kg_exec_record(kg_exec *x, kg_record_kind kind, uint64_t bytes, float seconds)
{
    kg_ctx *c = x->ctx;
    if (c->mode == KG_EAGER || !c->trace)
        return !kg_ctx_failed(c);
    if (kg_ctx_failed(c))
        return 0;
    kg_trace *t = c->trace;
    const kg_record call = {.kind = kind, .bytes = bytes & KG_RECORD_BYTES};
    if (c->mode == KG_DRY) {
        if (!kg_grow(&t->records, &t->cap_records, t->n_records, sizeof *t->records))
            return 0;
        t->records[t->n_records++] = call;
        t->ticks[c->tick].seconds += seconds;
        return 1;
    }
    const kg_record *r = &t->records[c->cursor];
    if (c->cursor >= t->n_records || r->kind != call.kind || (kind != KG_R_ENTER && r->bytes != call.bytes)) {
        left_plan(x, c->cursor >= t->n_records ? "it does more than was planned" : "a call differs from the planned one");
        return 0;
    }
    ++c->cursor;
    return 1;
}

void kg_ctx_tick(kg_ctx *c)
{
    if (!c->trace)
        return;
    kg_trace *t = c->trace;
    if (c->mode == KG_DRY) {
        if (!kg_grow(&t->ticks, &t->cap_ticks, t->n_ticks, sizeof *t->ticks))
            return;
        t->ticks[t->n_ticks++] = (kg_tick){.height = c->height};
        c->tick = (uint32_t)t->n_ticks - 1;
    } else {
        ++c->tick;
        kg_run_tick(c->run, c->tick);
        c->peak = c->height;
        c->limit = c->tick < t->n_ticks ? t->ticks[c->tick].height : 0;
    }
}

const void *kg_params(kg_exec *x) { return x->params; }
const void *kg_prepared(kg_exec *x) { return x->prepared; }
const kg_desc *kg_desc_in(kg_exec *x, int port) { return x->in[port]; }
const kg_desc *kg_desc_out(kg_exec *x, int port) { return x->out[port]; }
kg_tensor kg_in(kg_exec *x, int port) { return kg_in_item(x, port, 0); }
kg_tensor kg_out(kg_exec *x, int port) { return kg_out_item(x, port, 0); }
kg_tensor kg_in_item(kg_exec *x, int port, int item) { return x->in_values[port]->item[item]; }
kg_tensor kg_out_item(kg_exec *x, int port, int item) { return x->out_values[port]->item[item]; }
kg_device *kg_exec_device(kg_exec *x) { return x->ctx->device; }
int kg_exec_finite(kg_exec *x) { return x->ctx->finite && x->ctx->lane == KG_LANE_COMPUTE; }
int kg_exec_lane(kg_exec *x) { return x->ctx->lane; }
int64_t kg_first(kg_exec *x) { return x->first; }
int kg_knob(kg_exec *x, int knob) { return x->type->knobs[knob].value[x->knob[knob]]; }

const char *kg_provenance(kg_exec *x)
{
    if (!x->provenance && x->ctx->provenance)
        x->provenance = x->ctx->provenance(x->ctx->provenance_arg, x->node);
    return x->provenance ? x->provenance : "";
}

int kg_cancelled(kg_exec *x) { return atomic_load_explicit(x->ctx->stop, memory_order_relaxed); }

/* ---- memory ---- */
kg_tensor kg_temp(kg_exec *x, kg_dtype d, int rank, const int64_t *shape)
{
    kg_ctx *c = x->ctx;
    kg_tensor t = kg_tensor_make(NULL, d, rank, shape);
    size_t bytes = kg_align(kg_bytes(&t));
    if (!kg_exec_record(x, KG_R_TEMP, bytes, 0))
        return t;
    if (c->mode != KG_DRY && c->height + bytes > c->limit) {
        if (c->mode == KG_EAGER || !c->trace)
            kg_fail(KG_FAILED, "the arena of %zu bytes is full", c->limit);
        else
            left_plan(x, "its temporaries exceed the planned height");
        return t;
    }
    c->height += bytes;
    if (c->height > c->peak)
        c->peak = c->height;
    if (c->mode == KG_DRY && c->trace && c->height > c->trace->ticks[c->tick].height)
        c->trace->ticks[c->tick].height = c->height;
    t.at = c->top - c->height;
    if (c->poison)
        kg_run_poison(c->run, c->lane, t.at, bytes);
    return t;
}

kg_tensor kg_keep(kg_exec *x, kg_dtype d, int rank, const int64_t *shape)
{
    kg_ctx *c = x->ctx;
    kg_tensor t = kg_tensor_make(NULL, d, rank, shape);
    size_t bytes = kg_align(kg_bytes(&t));
    if (c->mode == KG_EAGER) {
        t.at = c->bottom + c->kept;
        c->kept += bytes;
        if (c->kept + c->height > c->limit)
            kg_fail(KG_FAILED, "the arena of %zu bytes is full", c->limit);
        return t;
    }
    if (!kg_exec_record(x, KG_R_KEEP, bytes, 0))
        return t;
    kg_ctx_tick(c);
    if (c->mode == KG_DRY) {
        kg_trace *tr = c->trace;
        if (!kg_grow(&tr->keeps, &tr->cap_keeps, tr->n_keeps, sizeof *tr->keeps))
            return t;
        tr->keeps[tr->n_keeps++] = (kg_keep_site){.bytes = bytes, .first = c->tick, .last = UINT32_MAX};
        t.at = KG_DRY_BASE;
    } else {
        t.at = kg_plan_keep(c->plan, c->next_keep);
    }
    ++c->next_keep;
    return t;
}

size_t kg_mark(kg_exec *x) { return x->ctx->height; }
void kg_release(kg_exec *x, size_t mark) { x->ctx->height = mark; }

/* ---- scopes ---- */
/* Wet: a scope that was kept as SAME is followed in the records of the one that it equals. Where the trace goes on afterwards. */
static size_t to_sister(kg_ctx *c)
{
    const kg_trace *t = c->trace;
    size_t at = c->cursor;
    if (!t || at >= t->n_records || t->records[at].kind != KG_R_SAME)
        return 0;
    c->cursor -= t->records[at].bytes;
    return at + 1;
}

/* Dry: a scope has ended. Its records go when the child before it has the same. Distances are relative, so that equal children of
 * equal parents have equal records. */
static void fold(kg_ctx *c, size_t start)
{
    kg_trace *t = c->trace;
    size_t n = t->n_records - start;
    t->records[start].bytes = n & KG_RECORD_BYTES;
    if (!c->depth)
        return;
    kg_scope *parent = &c->scope[c->depth - 1];
    if (n != parent->child_n || memcmp(t->records + parent->child, t->records + start, n * sizeof *t->records) != 0) {
        parent->child = start;
        parent->child_n = n;
        return;
    }
    t->records[start] = (kg_record){.kind = KG_R_SAME, .bytes = (start - parent->child) & KG_RECORD_BYTES};
    t->n_records = start + 1;
}

int kg_enter(kg_exec *x, const char *name, int64_t i, int64_t n)
{
    kg_ctx *c = x->ctx;
    size_t at = c->trace ? c->trace->n_records : 0, back = c->mode == KG_WET ? to_sister(c) : 0;
    if (!kg_exec_record(x, KG_R_ENTER, 0, 0)) {
        kg_exec_blame(x);
        return 1;
    }
    if (c->depth == KG_DEPTH) {
        kg_fail(KG_FAILED, "scopes are nested deeper than %d", KG_DEPTH);
        kg_exec_blame(x);
        return 1;
    }
    c->scope[c->depth++] = (kg_scope){
        .name = name, .i = i, .n = n, .height = c->height, .uses = (uint32_t)c->n_open, .frame = x, .record = at, .back = back};
    return 0;
}

/* Uses opened in the scope end: what they hold below the stack may be replaced from the next tick on. */
static void close_uses(kg_ctx *c, uint32_t keep)
{
    if ((uint32_t)c->n_open == keep)
        return;
    for (int i = (int)keep; i < c->n_open; ++i)
        if (c->mode == KG_DRY && c->trace)
            c->trace->uses[c->open[i].use].last = c->tick;
    c->n_open = (int)keep;
    if (c->mode != KG_EAGER)
        kg_ctx_tick(c);
}

int kg_leave(kg_exec *x)
{
    kg_ctx *c = x->ctx;
    kg_exec_blame(x);
    if (!c->depth)
        return 1;                      /* after a failure: the node did not look at kg_enter's answer */
    kg_scope s = c->scope[c->depth - 1];
    int counted = 0;
    for (int i = 0; i + 1 < c->depth; ++i)
        counted |= c->scope[i].frame == x && c->scope[i].n > 0;
    --c->depth;
    c->height = s.height;
    int go = kg_exec_record(x, KG_R_LEAVE, 0, 0);
    if (c->mode == KG_DRY && c->trace && go)
        fold(c, s.record);
    if (s.back && go)
        c->cursor = s.back;
    close_uses(c, s.uses);
    if (go && c->mode == KG_WET && s.n > 0 && c->run)
        kg_run_step(c->run, x, &s, !counted);
    return !go;
}

/* ---- fronts ---- */
static uint64_t name_hash(const char *s)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (; *s; ++s)
        h = (h ^ (unsigned char)*s) * 0x100000001b3u;
    return h;
}

int kg_front(kg_exec *x, const char *op, kg_class class, double flops, double bytes)
{
    kg_ctx *c = x->ctx;
    float seconds = 0;
    if (c->mode == KG_DRY && c->profile && c->trace) {
        const kg_profile *p = c->profile;
        double work = class >= KG_C_ROWS ? 0 : flops / p->rate[class], traffic = bytes / p->rate[KG_C_ROWS];
        seconds = (float)((work > traffic ? work : traffic) + p->launch);
        ++c->trace->fronts;
    }
    uint64_t h = name_hash(op) ^ (uint64_t)flops * 0x9e3779b97f4a7c15u ^ (uint64_t)bytes;
    return kg_exec_record(x, KG_R_FRONT, h, seconds) && c->mode != KG_DRY;
}

void kg_front_fail(kg_exec *x, const char *op, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    kg_fail(KG_FAILED, "%s: %s", op, text);
    kg_exec_blame(x);
}

/* ---- weights ---- */
void kg_segment_tensors(const kg_resource *r, int segment, void *base, kg_tensor *out)
{
    const kg_segment *s = &r->segments[segment];
    size_t at = 0;
    for (int i = 0; i < s->count; ++i) {
        const kg_weight *w = &r->weights[s->first + i];
        out[i] = kg_tensor_make((char *)base + at, w->dtype, w->rank, w->shape);
        at += kg_align(kg_bytes(&out[i]));
    }
}

int kg_use(kg_exec *x, int port, int segment, kg_weights *w)
{
    kg_ctx *c = x->ctx;
    const kg_resource *r = x->in_resource[port];
    w->n = r->segments[segment].count;
    w->t = c->weights[0];
    kg_ctx_tick(c);
    if (!kg_exec_record(x, KG_R_USE, r->segments[segment].bytes, 0))
        return 1;
    if (c->n_open == KG_OPEN_USES || w->n > KG_SEGMENT_WEIGHTS) {
        kg_front_fail(x, "use", "more than %d segments at once, or a segment of more than %d weights", KG_OPEN_USES, KG_SEGMENT_WEIGHTS);
        return 1;
    }
    void *base = KG_DRY_BASE;
    if (c->mode == KG_DRY) {
        kg_trace *t = c->trace;
        if (!kg_grow(&t->uses, &t->cap_uses, t->n_uses, sizeof *t->uses))
            return 1;
        t->uses[t->n_uses++] = (kg_use_site){.resource = r->id, .segment = segment, .first = c->tick, .last = c->tick};
    } else if (c->trace->uses[c->next_use].resource != r->id || c->trace->uses[c->next_use].segment != segment) {
        left_plan(x, "it uses other weights");
        return 1;
    } else if (kg_run_use(c->run, c->next_use, &base)) {
        kg_exec_blame(x);
        return 1;
    }
    c->open[c->n_open].use = c->next_use++;
    w->t = c->weights[c->n_open];
    kg_segment_tensors(r, segment, base, c->weights[c->n_open++]);
    return 0;
}

int kg_exec_weight(kg_exec *x, int i, const kg_weight **w, kg_tensor *t, const char **port)
{
    kg_ctx *c = x->ctx;
    for (int u = 0; u < c->n_open && c->trace; ++u) {
        const kg_use_site *s = &c->trace->uses[c->open[u].use];
        for (int k = 0; x->type && x->type->inputs[k].name; ++k) {
            const kg_resource *r = x->in_resource[k];
            if (!r || r->id != s->resource)
                continue;
            const kg_segment *segment = &r->segments[s->segment];
            if (i < segment->count) {
                *w = &r->weights[segment->first + i];
                *t = c->weights[u][i];
                *port = x->type->inputs[k].name;
                return 1;
            }
            i -= segment->count;
            break;
        }
    }
    return 0;
}

int kg_read(kg_exec *x, kg_tensor t, const struct kg_file *file, uint64_t offset)
{
    kg_ctx *c = x->ctx;
    size_t bytes = kg_bytes(&t), page = 4096, pages = (offset + bytes + page - 1) / page * page - offset / page * page;
    double warm = c->looks ? kg_file_warm(file, offset, bytes) : 0;
    c->read_bytes += pages;
    c->warm_bytes += warm > 0 ? warm * (double)pages : 0;
    if (kg_ctx_failed(c) || c->mode == KG_DRY)
        return kg_ctx_failed(c);
    if (c->stay && kg_run_read(c->loader, file, offset, bytes) != KG_OK)
        return 1;
    return c->device->ops->read(c->device, c->lane, t.at, file, offset, bytes, c->stay) != KG_OK;
}

kg_status kg_fill(kg_ctx *c, const kg_resource *r, int segment, void *base, kg_tensor *out)
{
    kg_exec x = {.ctx = c, .node = -1};
    const kg_segment *s = &r->segments[segment];
    kg_segment_tensors(r, segment, base, out);
    c->height = c->peak = c->read_bytes = 0;
    c->warm_bytes = 0;
    if (r->fill)
        return r->fill(&x, r, segment, out);
    for (int i = 0; i < s->count; ++i)
        if (kg_read(&x, out[i], r->weights[s->first + i].file, r->weights[s->first + i].offset))
            return kg_error_last()->status ? kg_error_last()->status : KG_CANCELLED;
    return KG_OK;
}

/* ---- streams and units ---- */
kg_status kg_frame_call(kg_exec *x, kg_status (*fn)(kg_exec *))
{
    if (!fn)
        return KG_OK;
    if (kg_enter(x, NULL, 0, 0))
        return kg_error_last()->status ? kg_error_last()->status : KG_CANCELLED;
    kg_warned *was = kg_warn_for(x->warned);
    kg_status s = fn(x);
    kg_warn_for(was);
    if (s != KG_OK && kg_error_last()->status == KG_OK && !kg_cancelled(x))
        kg_fail(s, "failed without saying why");
    kg_exec_blame(x);
    while (x->ctx->depth > 0 && x->ctx->scope[x->ctx->depth - 1].frame == x && x->ctx->scope[x->ctx->depth - 1].name)
        kg_leave(x);       /* scopes left open by an early return */
    kg_leave(x);
    return kg_error_last()->status ? kg_error_last()->status : kg_cancelled(x) ? KG_CANCELLED : KG_OK;
}

kg_status kg_frame_chunk(kg_exec *x, kg_tensor chunk)
{
    const kg_desc *d = NULL;
    for (int i = 0; x->type->inputs[i].name; ++i)
        if (x->type->inputs[i].flags & KG_STREAM)
            d = x->in[i];
    if (kg_enter(x, "chunk", x->chunks, d ? d->chunks : 0))
        return KG_FAILED;
    kg_warned *was = kg_warn_for(x->warned);
    kg_status s = x->type->chunk(x, chunk, x->chunks++);
    kg_warn_for(was);
    if (s != KG_OK && kg_error_last()->status == KG_OK && !kg_cancelled(x))
        kg_fail(KG_FAILED, "failed without saying why");
    kg_exec_blame(x);
    kg_leave(x);
    return kg_error_last()->status;
}

int kg_emit(kg_exec *x, int port, kg_tensor chunk)
{
    if (!kg_exec_record(x, KG_R_EMIT, kg_bytes(&chunk), 0))
        return 1;
    for (int i = 0; i < x->consumers; ++i)
        if (x->consumer_port[i] == port && kg_frame_chunk(x->consumer[i], chunk) != KG_OK)
            return 1;
    return 0;
}

static kg_status all(kg_exec *x, int ending)
{
    kg_status s = KG_OK;
    if (!ending && x->type->chunk)
        s = kg_frame_call(x, x->type->begin);
    if (ending && x->type->chunk)
        s = kg_frame_call(x, x->type->end);
    for (int i = 0; i < x->consumers && s == KG_OK; ++i)
        s = all(x->consumer[i], ending);
    return s;
}

/* A plain tensor joined to a stream port is a stream of one chunk. */
static kg_status feed(kg_exec *x)
{
    for (int i = 0; x->type->inputs[i].name; ++i)
        if (x->type->inputs[i].flags & KG_STREAM && x->in_values[i])
            return kg_frame_chunk(x, x->in_values[i]->item[0]);
    return KG_OK;
}

kg_status kg_unit_execute(kg_exec *root)
{
    kg_status s = all(root, 0);
    if (s == KG_OK)
        s = root->type->chunk ? feed(root) : kg_frame_call(root, root->type->execute);
    return s == KG_OK ? all(root, 1) : s;
}

/* ---- eager ---- */
kg_exec *kg_eager_new(kg_device *d, size_t arena_bytes)
{
    kg_exec *x = calloc(1, sizeof *x);
    kg_ctx *c = calloc(1, sizeof *c);
    void *arena = NULL;
    if (x && c && d->ops->reserve(d, arena_bytes, &arena) == KG_OK) {
        *c = (kg_ctx){.mode = KG_EAGER, .device = d, .top = (char *)arena + arena_bytes, .limit = arena_bytes, .bottom = arena};
        c->stop = &c->own_stop;
        x->ctx = c;
        x->node = -1;
        return x;
    }
    free(x);
    free(c);
    return NULL;
}

void kg_eager_reset(kg_exec *x)
{
    x->ctx->height = x->ctx->kept = 0;
    x->ctx->depth = 0;
}

void kg_eager_free(kg_exec *x)
{
    if (!x)
        return;
    x->ctx->device->ops->release(x->ctx->device);
    free(x->ctx);
    free(x);
}
