/* Addresses of intervals: first fit over known lifetimes, in one order after the other until the layout is low enough.
 *
 * What lives at the same time as an interval is found in a tree over all of them by their first tick, whose nodes know the latest end
 * of those that are placed: an interval costs what it meets, not what there is. */
#include <stdlib.h>
#include <string.h>

#include "core/residency.h"

typedef struct spot { kg_interval *v; size_t height, rank; } spot;    /* height: of the tallest stack above it; rank: by first tick */

typedef struct tree {
    kg_interval **by_first;        /* sorted                                                            */
    uint32_t *ends;                /* heap of nodes: 1 + the latest last tick below that is placed; 0: none */
    size_t n, leaves;
    const kg_interval **met;
    size_t n_met;
} tree;

static int greater(size_t a, size_t b) { return (a < b) - (a > b); }

static int by_first(const void *x, const void *y)
{
    const kg_interval *a = *(kg_interval *const *)x, *b = *(kg_interval *const *)y;
    return a->first != b->first ? (a->first > b->first) - (a->first < b->first) : (a > b) - (a < b);
}

static int by_address(const void *x, const void *y)
{
    const kg_interval *a = *(const kg_interval *const *)x, *b = *(const kg_interval *const *)y;
    return (a->at > b->at) - (a->at < b->at);
}

static void put(tree *t, size_t rank)
{
    size_t i = rank + t->leaves;
    uint32_t end = t->by_first[rank]->last + 1;
    for (; i; i /= 2)
        t->ends[i] = end > t->ends[i] ? end : t->ends[i];
}

/* Placed intervals below node i, which spans `width` ranks from `from` on, that live with v; `most`: ranks that begin in time. */
static void meet(tree *t, size_t i, size_t from, size_t width, size_t most, const kg_interval *v)
{
    if (from >= most || t->ends[i] <= v->first)
        return;
    if (width == 1) {
        t->met[t->n_met++] = t->by_first[from];
        return;
    }
    meet(t, 2 * i, from, width / 2, most, v);
    meet(t, 2 * i + 1, from + width / 2, width / 2, most, v);
}

static size_t begun(const tree *t, uint32_t tick)      /* how many begin at this tick or before */
{
    size_t low = 0, high = t->n;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (t->by_first[middle]->first <= tick)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Lowest address where v fits beside those already placed that live at the same time. */
static size_t fit(tree *t, const kg_interval *v)
{
    size_t at = 0;
    t->n_met = 0;
    meet(t, 1, 0, t->leaves, begun(t, v->last), v);
    qsort(t->met, t->n_met, sizeof *t->met, by_address);
    for (size_t i = 0; i < t->n_met; ++i) {
        const kg_interval *o = t->met[i];
        if (o->at + o->bytes <= at)
            continue;
        if (o->at >= at + v->bytes)
            break;
        at = o->at + o->bytes;
    }
    return at;
}

/* First fit in the order of the spots; the end of the layout. */
static size_t place_all(const spot *spots, size_t n, tree *t)
{
    size_t top = 0;
    memset(t->ends, 0, 2 * t->leaves * sizeof *t->ends);
    for (size_t i = 0; i < n; ++i) {
        kg_interval *v = spots[i].v;
        v->at = fit(t, v);
        put(t, spots[i].rank);
        if (v->at + v->bytes + spots[i].height > top)
            top = v->at + v->bytes + spots[i].height;
    }
    return top;
}

static int as_given(const void *x, const void *y) { return -greater((uintptr_t)((const spot *)x)->v, (uintptr_t)((const spot *)y)->v); }

static int by_bytes(const void *x, const void *y)
{
    int c = greater(((const spot *)x)->v->bytes, ((const spot *)y)->v->bytes);
    return c ? c : as_given(x, y);
}

static int by_stack(const void *x, const void *y)
{
    int c = greater(((const spot *)x)->height, ((const spot *)y)->height);
    return c ? c : by_bytes(x, y);
}

static int by_life(const void *x, const void *y)
{
    const kg_interval *a = ((const spot *)x)->v, *b = ((const spot *)y)->v;
    int c = greater(a->last - a->first, b->last - b->first);
    return c ? c : by_bytes(x, y);
}

/* The intervals that take room, each with the tallest stack of its life. */
static int find_spots(kg_interval *v, size_t n, const kg_tick *ticks, size_t n_ticks, spot *spots, tree *t)
{
    size_t *height = malloc((n_ticks + 1) * sizeof *height);
    kg_heights h = {0};
    uint32_t where;
    for (size_t i = 0; i < n_ticks && height; ++i)
        height[i] = ticks[i].height;
    int good = height && kg_heights_new(&h, height, n_ticks);
    for (size_t i = 0; i < n && good; ++i)
        if (v[i].bytes)
            t->by_first[t->n++] = &v[i];
    if (good)
        qsort(t->by_first, t->n, sizeof *t->by_first, by_first);
    for (size_t i = 0; i < t->n && good; ++i)
        spots[i] = (spot){t->by_first[i], kg_heights_most(&h, t->by_first[i]->first, t->by_first[i]->last, &where), i};
    kg_heights_done(&h);
    free(height);
    return good;
}

size_t kg_place(kg_interval *v, size_t n, const kg_tick *ticks, size_t n_ticks, size_t enough)
{
    static int (*const orders[])(const void *, const void *) = {as_given, by_stack, by_life, by_bytes};
    enum { ORDERS = sizeof orders / sizeof *orders };
    tree t = {.leaves = 1};
    while (t.leaves < n)
        t.leaves *= 2;
    spot *spots = malloc((n + 1) * sizeof *spots);
    t.by_first = malloc((n + 1) * sizeof *t.by_first);
    t.met = malloc((n + 1) * sizeof *t.met);
    t.ends = malloc(2 * t.leaves * sizeof *t.ends);
    size_t stack = 0, least = SIZE_MAX, top = SIZE_MAX;
    int best = 0, good = spots && t.by_first && t.met && t.ends && find_spots(v, n, ticks, n_ticks, spots, &t);
    for (size_t i = 0; i < n_ticks; ++i)
        stack = ticks[i].height > stack ? ticks[i].height : stack;
    for (int k = 0; k <= ORDERS && good && top > enough; ++k) {     /* the last time once more as was best */
        qsort(spots, t.n, sizeof *spots, orders[k < ORDERS ? k : best]);
        size_t end = place_all(spots, t.n, &t);
        top = end > stack ? end : stack;
        if (top < least) {
            least = top;
            best = k;
        }
    }
    free(spots);
    free(t.by_first);
    free(t.met);
    free(t.ends);
    return top;
}
