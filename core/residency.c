/* Residency: see residency.h and the design's section 5.
 *
 * Uses in order fall into phases (runs over one resource). A phase keeps all its segments if they fit; streams through up to 8 slots
 * when each is used once (keeping would only cost memory); otherwise keeps an evenly spread set beside a ring of 1 to 4 slots, the
 * number with the least stall: in a loop, Belady's choice would put all misses side by side and the copy lane would starve there.
 * Invariants: loads are in order of use and a load's `after` is never later than its use, so the two lanes cannot deadlock. */
#include "core/residency.h"

#include <stdlib.h>
#include <string.h>

typedef struct phase { size_t first, last; uint32_t from, to; } phase;     /* uses [first, last], ticks [from, to] */
typedef struct slot { int resource, segment, count; size_t bytes, first_use, last_use; int keep, interval; } slot;

typedef struct work {
    kg_tier *t;
    kg_heights h;          /* of t->busy                                                                           */
    char *pinned;          /* by use: it overlaps a later use, so it has an interval of its own                    */
    phase *phases;
    size_t n_phases;
    int *interval;         /* by use: kept interval or ring; -1                                                    */
    int *slot_of;          /* by use: its segment's slot                                                           */
    slot *slots;           /* segments of the phase at hand                                                        */
    size_t n_slots;
} work;

static int add_interval(work *w, kg_interval v)
{
    kg_tier *t = w->t;
    if (!kg_grow(&t->intervals, &t->cap_intervals, t->n_intervals, sizeof v))
        return -1;
    t->intervals[t->n_intervals] = v;
    kg_heights_raise(&w->h, v.first, v.last, v.bytes);
    return (int)t->n_intervals++;
}

static kg_status no_room(kg_tier *t, uint32_t tick, size_t missing)
{
    if (missing > t->shortfall) {
        t->shortfall = missing;
        t->short_tick = tick;
    }
    return KG_NOFIT;
}

static kg_status pin(work *w)
{
    kg_tier *t = w->t;
    for (size_t u = 0; u < t->n_uses; ++u) {
        w->interval[u] = -1;
        w->pinned[u] = u + 1 < t->n_uses && t->uses[u].last >= t->uses[u + 1].first;
        if (!w->pinned[u])
            continue;
        const kg_use_site *s = &t->uses[u];
        w->interval[u] = add_interval(w, (kg_interval){.kind = KG_I_KEPT, .a = s->resource, .b = s->segment,
                                                       .bytes = t->use_bytes[u], .first = s->first, .last = s->last});
        if (w->interval[u] < 0)
            return KG_FAILED;
    }
    return KG_OK;
}

static void find_phases(work *w)
{
    const kg_tier *t = w->t;
    int resource = -1;
    for (size_t u = 0; u < t->n_uses; ++u) {
        if (w->pinned[u])
            continue;
        if (t->uses[u].resource != resource) {
            resource = t->uses[u].resource;
            w->phases[w->n_phases++] = (phase){.first = u, .from = t->uses[u].first};
        }
        w->phases[w->n_phases - 1].last = u;
        w->phases[w->n_phases - 1].to = t->uses[u].last;
    }
}

/* The distinct segments of a phase, in order of first use. Segments are few hundreds; a map by segment number keeps it linear. */
static int find_slots(work *w, const phase *p)
{
    const kg_tier *t = w->t;
    int most = 0;
    for (size_t u = p->first; u <= p->last; ++u)
        if (t->uses[u].segment > most)
            most = t->uses[u].segment;
    int *map = malloc(((size_t)most + 1) * sizeof *map);
    if (!map)
        return kg_fail(KG_FAILED, "out of host memory"), 0;
    memset(map, -1, ((size_t)most + 1) * sizeof *map);
    w->n_slots = 0;
    for (size_t u = p->first; u <= p->last; ++u) {
        if (w->pinned[u])
            continue;
        int *at = &map[t->uses[u].segment];
        if (*at < 0) {
            *at = (int)w->n_slots;
            w->slots[w->n_slots++] = (slot){.resource = t->uses[u].resource,
                                            .segment = t->uses[u].segment,
                                            .bytes = t->use_bytes[u],
                                            .first_use = u};
        }
        ++w->slots[*at].count;
        w->slots[*at].last_use = u;
        w->slot_of[u] = *at;
    }
    free(map);
    return 1;
}

/* Marks an evenly spread set of at most `room` bytes; returns the largest segment not kept. */
static size_t spread(work *w, size_t room)
{
    double all = 0, c = 0;
    for (size_t i = 0; i < w->n_slots; ++i)
        all += (double)w->slots[i].bytes;
    double f = all > 0 ? (double)room / all : 0;
    size_t largest = 0;
    for (size_t i = 0; i < w->n_slots; ++i) {
        slot *s = &w->slots[i];
        c += f * (double)s->bytes;
        s->keep = f >= 1 || c >= (double)s->bytes;
        if (s->keep && f < 1)
            c -= (double)s->bytes;
        if (!s->keep && s->bytes > largest)
            largest = s->bytes;
    }
    return largest;
}

/* Seconds that the phase's streamed loads take beyond its compute, per pass: the choice between numbers of slots. */
static double phase_stall(const work *w, const phase *p, int slots)
{
    const kg_tier *t = w->t;
    double copy = 0, compute = 0, longest = 0;
    for (size_t i = 0; i < w->n_slots; ++i)
        if (!w->slots[i].keep) {
            double s = (double)w->slots[i].bytes / t->bandwidth;
            copy += s * w->slots[i].count;
            longest = s > longest ? s : longest;
        }
    for (uint32_t i = p->from; i <= p->to; ++i)
        compute += t->ticks[i].seconds;
    if (slots < 2)
        return copy;                      /* nothing overlaps */
    return (copy > compute ? copy - compute : 0) + longest / (slots - 1);
}

static kg_status choose(work *w, const phase *p, int *slots, size_t *slot_bytes)
{
    kg_tier *t = w->t;
    uint32_t where;
    size_t used = kg_heights_most(&w->h, p->from, p->to, &where), all = 0, largest = 0;
    int once = 1;
    for (size_t i = 0; i < w->n_slots; ++i) {
        all += w->slots[i].bytes;
        largest = w->slots[i].bytes > largest ? w->slots[i].bytes : largest;
        once &= w->slots[i].count == 1;
        w->slots[i].keep = 0;
    }
    size_t room = used < t->budget ? t->budget - used : 0;
    *slots = 0;
    *slot_bytes = largest;
    if (t->passing) {
        *slots = 1;
        *slot_bytes = 0;
        if (!once)                     /* what is read once is not worth keeping */
            spread(w, room);
        return KG_OK;
    }
    if (all <= room && (!once || w->n_slots <= 4)) {
        for (size_t i = 0; i < w->n_slots; ++i)
            w->slots[i].keep = 1;
        return KG_OK;
    }
    if (largest > room)
        return no_room(t, where, largest - room);
    if (once) {
        size_t k = room / (largest ? largest : 1);
        size_t most = t->lean ? 2 : 8;
        *slots = (int)(k > most ? most : k);
        if ((size_t)*slots > w->n_slots)
            *slots = (int)w->n_slots;
        return KG_OK;
    }
    double best = -1;
    for (int k = 1; k <= 4 && (size_t)k * largest <= room; ++k) {
        spread(w, room - (size_t)k * largest);
        double stall = phase_stall(w, p, k);
        if (best < 0 || stall < best) {
            best = stall;
            *slots = k;
        }
    }
    *slot_bytes = spread(w, room - (size_t)*slots * largest);
    return KG_OK;
}

static kg_status keep_phase(work *w, const phase *p, int slots, size_t slot_bytes)
{
    kg_tier *t = w->t;
    int ring = -1;
    if (slots > 0) {
        ring = add_interval(w, (kg_interval){.kind = KG_I_RING, .a = t->uses[p->first].resource, .b = slots,
                                             .bytes = (size_t)slots * slot_bytes, .first = p->from, .last = p->to});
        if (ring < 0)
            return KG_FAILED;
    }
    for (size_t i = 0; i < w->n_slots; ++i) {
        slot *s = &w->slots[i];
        s->interval = ring;
        if (s->keep)
            s->interval = add_interval(w, (kg_interval){.kind = KG_I_KEPT, .a = s->resource, .b = s->segment, .bytes = s->bytes,
                                                        .first = p->from, .last = t->uses[s->last_use].last});
        if (s->interval < 0)
            return KG_FAILED;
    }
    for (size_t u = p->first; u <= p->last; ++u)
        if (!w->pinned[u])
            w->interval[u] = w->slots[w->slot_of[u]].interval;
    return KG_OK;
}

/* ---- gaps ---- */
typedef struct kept { int a, b, interval; uint32_t first; } kept;
typedef struct gap { uint32_t returns; int from, to; } gap;         /* intervals of one segment, one after the other */

static int by_segment(const void *x, const void *y)
{
    const kept *p = x, *q = y;
    if (p->a != q->a || p->b != q->b)
        return p->a != q->a ? (p->a > q->a) - (p->a < q->a) : (p->b > q->b) - (p->b < q->b);
    return p->first != q->first ? (p->first > q->first) - (p->first < q->first) : (p->interval > q->interval) - (p->interval < q->interval);
}

static int by_return(const void *x, const void *y)
{
    const gap *p = x, *q = y;
    return p->returns != q->returns ? (p->returns > q->returns) - (p->returns < q->returns) : (p->from > q->from) - (p->from < q->from);
}

/* Soonest return first: the order of Belady. */
static size_t find_gaps(const kg_tier *t, kept *list, gap *gaps)
{
    size_t n = 0, found = 0;
    for (size_t i = 0; i < t->n_intervals; ++i)
        if (t->intervals[i].kind == KG_I_KEPT && t->intervals[i].bytes)
            list[n++] = (kept){t->intervals[i].a, t->intervals[i].b, (int)i, t->intervals[i].first};
    qsort(list, n, sizeof *list, by_segment);
    for (size_t i = 0; i + 1 < n; ++i)
        if (list[i].a == list[i + 1].a && list[i].b == list[i + 1].b && list[i + 1].first > t->intervals[list[i].interval].last)
            gaps[found++] = (gap){list[i + 1].first, list[i].interval, list[i + 1].interval};
    qsort(gaps, found, sizeof *gaps, by_return);
    return found;
}

static int now_in(const int *merged, int i)
{
    while (merged[i] != i)
        i = merged[i];
    return i;
}

/* A segment kept in two phases is held over the gap between them where it fits. */
static kg_status hold(work *w)
{
    kg_tier *t = w->t;
    kept *list = malloc((t->n_intervals + 1) * sizeof *list);
    gap *gaps = malloc((t->n_intervals + 1) * sizeof *gaps);
    int *merged = malloc((t->n_intervals + 1) * sizeof *merged);
    kg_status s = list && gaps && merged ? KG_OK : kg_fail(KG_FAILED, "out of host memory");
    size_t n = s == KG_OK ? find_gaps(t, list, gaps) : 0;
    for (size_t i = 0; i < t->n_intervals && s == KG_OK; ++i)
        merged[i] = (int)i;
    for (size_t i = 0; i < n; ++i) {
        int from = now_in(merged, gaps[i].from);
        kg_interval *a = &t->intervals[from], *b = &t->intervals[gaps[i].to];
        uint32_t where;
        if (a->last + 1 < b->first && kg_heights_most(&w->h, a->last + 1, b->first - 1, &where) + a->bytes > t->budget)
            continue;
        if (a->last + 1 < b->first)
            kg_heights_raise(&w->h, a->last + 1, b->first - 1, a->bytes);
        a->last = b->last;
        b->bytes = 0;                     /* empty: nothing uses it any more */
        merged[gaps[i].to] = from;
    }
    for (size_t u = 0; u < t->n_uses && s == KG_OK; ++u)
        w->interval[u] = now_in(merged, w->interval[u]);
    free(list);
    free(gaps);
    free(merged);
    return s;
}

/* A card's kept segments may be loaded in earlier phases, as far back as there is room. */
static void reach_back(work *w)
{
    kg_tier *t = w->t;
    for (size_t i = 0; i < t->n_intervals && t->discrete && !t->lean; ++i) {
        kg_interval *v = &t->intervals[i];
        if ((v->kind != KG_I_KEPT && v->kind != KG_I_RING) || !v->bytes || v->bytes > t->budget || !v->first)
            continue;
        uint32_t first = (uint32_t)kg_heights_back(&w->h, v->first, t->budget - v->bytes);
        if (first < v->first)
            kg_heights_raise(&w->h, first, v->first - 1, v->bytes);
        v->first = first;
    }
}

static kg_status make_loads(work *w)
{
    kg_tier *t = w->t;
    int *loaded = malloc((t->n_intervals + 1) * sizeof *loaded);
    uint32_t (*ends)[8] = calloc(t->n_intervals + 1, sizeof *ends);    /* ring slots: when the last user of a slot is done */
    kg_status s = loaded && ends ? KG_OK : kg_fail(KG_FAILED, "out of host memory");
    if (loaded)
        memset(loaded, -1, (t->n_intervals + 1) * sizeof *loaded);
    int *next = calloc(t->n_intervals + 1, sizeof *next);
    if (!next)
        s = kg_fail(KG_FAILED, "out of host memory");
    for (size_t u = 0; u < t->n_uses && s == KG_OK; ++u) {
        int at = w->interval[u];
        const kg_interval *v = &t->intervals[at];
        kg_load l = {.use = (uint32_t)u, .interval = at, .after = v->first};
        if (v->kind != KG_I_RING && loaded[at] >= 0) {
            t->use_load[u] = loaded[at];
            continue;
        }
        if (v->kind == KG_I_RING) {
            int k = next[at]++ % v->b;
            l.offset = (size_t)k * (v->bytes / (size_t)v->b);
            l.after = ends[at][k] > v->first ? ends[at][k] : v->first;
            ends[at][k] = t->uses[u].last + 1;
        }
        if (!kg_grow(&t->loads, &t->cap_loads, t->n_loads, sizeof l)) {
            s = KG_FAILED;
            break;
        }
        loaded[at] = t->use_load[u] = (int)t->n_loads;
        t->loads[t->n_loads++] = l;
    }
    free(loaded);
    free(ends);
    free(next);
    return s;
}

double kg_tier_stall(kg_tier *t)
{
    double copy = 0, stall = 0, worst = 0, now = 0;
    uint32_t tick = 0;
    size_t l = 0;
    double *at = malloc((t->n_ticks + 1) * sizeof *at);        /* when compute reaches each tick */
    double *done = malloc((t->n_loads + 1) * sizeof *done);
    if (!at || !done)
        kg_fail(KG_FAILED, "out of host memory");
    for (size_t u = 0; u < t->n_uses && at && done; ++u) {
        for (; tick < t->uses[u].first; ++tick) {
            at[tick] = now;
            now += t->ticks[tick].seconds;
        }
        at[tick] = now;
        for (; l < t->n_loads && l <= (size_t)t->use_load[u]; ++l) {
            double start = at[t->loads[l].after] > copy ? at[t->loads[l].after] : copy;
            copy = done[l] = start + (t->load_seconds ? t->load_seconds[l] : (double)t->use_bytes[t->loads[l].use] / t->bandwidth);
        }
        double wait = done[t->use_load[u]] - now;
        if (wait > 0) {
            stall += wait;
            now += wait;
            at[tick] = now;
            if (t->waits)
                t->waits[tick] += wait;
            if (wait > worst) {
                worst = wait;
                t->stall_tick = tick;
            }
        }
    }
    free(at);
    free(done);
    return stall;
}

kg_status kg_residency(kg_tier *t)
{
    work w = {.t = t, .pinned = calloc(t->n_uses + 1, 1), .phases = calloc(t->n_uses + 1, sizeof(phase)),
              .interval = calloc(t->n_uses + 1, sizeof(int)), .slot_of = calloc(t->n_uses + 1, sizeof(int)),
              .slots = calloc(t->n_uses + 1, sizeof(slot))};
    int heights = kg_heights_new(&w.h, t->busy, t->n_ticks);
    int there = heights && w.pinned && w.phases && w.interval && w.slot_of && w.slots;
    kg_status s = there ? pin(&w) : kg_fail(KG_FAILED, "out of host memory");
    uint32_t where;
    size_t most = s == KG_OK ? kg_heights_most(&w.h, 0, t->n_ticks, &where) : 0;
    if (most > t->budget)
        no_room(t, where, most - t->budget);
    if (s == KG_OK && t->shortfall)
        s = KG_NOFIT;
    if (s == KG_OK)
        find_phases(&w);
    for (size_t p = 0; p < w.n_phases && s == KG_OK; ++p) {
        int slots;
        size_t bytes;
        s = find_slots(&w, &w.phases[p]) ? choose(&w, &w.phases[p], &slots, &bytes) : KG_FAILED;
        if (s == KG_OK)
            s = keep_phase(&w, &w.phases[p], slots, bytes);
    }
    if (s == KG_OK)
        s = hold(&w);
    if (s == KG_OK) {
        reach_back(&w);
        s = make_loads(&w);
    }
    if (s == KG_OK) {
        t->stall = kg_tier_stall(t);
        s = kg_error_last()->status;
    }
    kg_heights_done(&w.h);
    free(w.pinned);
    free(w.phases);
    free(w.interval);
    free(w.slot_of);
    free(w.slots);
    return s;
}
