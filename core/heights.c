/* Bytes by tick, where ranges are raised and the highest tick of a range is asked: ticks come in blocks, so that a range costs its ends
 * and one step for each block between them, whatever the length of a run. Meanwhile a tick's height is at[tick] + add[its block]. */
#include <stdlib.h>

#include "core/residency.h"

enum { BLOCK = 256 };

static size_t end_of(const kg_heights *h, size_t block) { return (block + 1) * BLOCK < h->n ? (block + 1) * BLOCK : h->n; }

static void measure(kg_heights *h, size_t block)
{
    size_t most = 0;
    for (size_t i = block * BLOCK; i < end_of(h, block); ++i)
        most = h->at[i] > most ? h->at[i] : most;
    h->most[block] = most + h->add[block];
}

int kg_heights_new(kg_heights *h, size_t *at, size_t n)
{
    size_t blocks = (n + BLOCK - 1) / BLOCK;
    *h = (kg_heights){.at = at, .n = n, .add = calloc(blocks + 1, sizeof *h->add), .most = calloc(blocks + 1, sizeof *h->most)};
    for (size_t b = 0; b < blocks && h->add && h->most; ++b)
        measure(h, b);
    return h->add && h->most;
}

void kg_heights_raise(kg_heights *h, size_t first, size_t last, size_t bytes)
{
    for (size_t i = first; i <= last && i < h->n; ) {
        size_t block = i / BLOCK, end = end_of(h, block);
        if (i == block * BLOCK && end - 1 <= last) {
            h->add[block] += bytes;
            h->most[block] += bytes;
            i = end;
            continue;
        }
        for (; i < end && i <= last; ++i)
            h->at[i] += bytes;
        measure(h, block);
    }
}

size_t kg_heights_most(const kg_heights *h, size_t first, size_t last, uint32_t *where)
{
    size_t most = 0;
    *where = (uint32_t)first;
    for (size_t i = first; i <= last && i < h->n; ) {
        size_t block = i / BLOCK, end = end_of(h, block);
        if (h->most[block] <= most && i == block * BLOCK && end - 1 <= last) {
            i = end;
            continue;
        }
        for (; i < end && i <= last; ++i)
            if (h->at[i] + h->add[block] > most) {
                most = h->at[i] + h->add[block];
                *where = (uint32_t)i;
            }
    }
    return most;
}

size_t kg_heights_back(const kg_heights *h, size_t tick, size_t limit)
{
    while (tick > 0) {
        size_t block = (tick - 1) / BLOCK;
        if (tick == end_of(h, block) && h->most[block] <= limit)
            tick = block * BLOCK;
        else if (h->at[tick - 1] + h->add[block] <= limit)
            --tick;
        else
            break;
    }
    return tick;
}

void kg_heights_done(kg_heights *h)
{
    for (size_t i = 0; i < h->n && h->add; ++i)
        h->at[i] += h->add[i / BLOCK];
    free(h->add);
    free(h->most);
    *h = (kg_heights){0};
}
