/* A file's bytes to the card, in the order of the lane, by one of two ways.
 *
 * Passing through: threads read them into page-locked slots (a copy from the page cache is limited by a core, so several share it),
 * each slot's part is copied while the next is filled. Staying: the file is mapped once, the pages of the range are locked where
 * they are in the page cache, and the card reads them from there: no second copy in memory, and the full rate of the link on later
 * passes. Ranges of one segment lie side by side and share pages, which can be locked once only: so a read locks what is not locked
 * yet and copies region by region. What cannot be locked (an odd file system, a driver that does not) passes through. */
#include "kernels/cuda/device.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* ---- page-locked slots ---- */
kg_status kg_ring_new(kg_cuda *c, kg_ring *r, size_t slot)
{
    r->slot = slot;
    r->lane = -1;
    if (kg_cuda_check(c, -1, cudaMallocHost((void **)&r->base, slot * KG_RING_SLOTS), "page-locking host memory") != KG_OK)
        return KG_FAILED;
    for (int i = 0; i < KG_RING_SLOTS; ++i)
        if (kg_cuda_check(c, -1, cudaEventCreateWithFlags(&r->free[i], cudaEventDisableTiming | cudaEventBlockingSync),
                          "making an event") != KG_OK)
            return KG_FAILED;
    return KG_OK;
}

void kg_ring_free(kg_ring *r)
{
    for (int i = 0; i < KG_RING_SLOTS; ++i)
        if (r->free[i])
            cudaEventDestroy(r->free[i]);
    if (r->base)
        cudaFreeHost(r->base);
    *r = {};
}

/* The current slot is full, or another lane comes: an event behind its copies says when it is free again. */
static kg_status next_slot(kg_cuda *c, kg_ring *r, int lane)
{
    if (r->used) {
        if (kg_cuda_check(c, r->lane, cudaEventRecord(r->free[r->current], c->lane[r->lane].stream), "recording an event") != KG_OK)
            return KG_FAILED;
        r->busy[r->current] = 1;
        r->current = (r->current + 1) % KG_RING_SLOTS;
        r->used = 0;
    }
    r->lane = lane;
    if (r->busy[r->current] &&
        kg_cuda_check(c, lane, cudaEventSynchronize(r->free[r->current]), "waiting for a copy to the card") != KG_OK)
        return KG_FAILED;
    r->busy[r->current] = 0;
    return KG_OK;
}

char *kg_ring_take(kg_cuda *c, kg_ring *r, int lane, size_t bytes)
{
    size_t room = (bytes + KG_ALIGN - 1) / KG_ALIGN * KG_ALIGN;
    if ((r->lane != lane || r->used + room > r->slot) && next_slot(c, r, lane) != KG_OK)
        return NULL;
    char *p = r->base + (size_t)r->current * r->slot + r->used;
    r->used += room;
    return p;
}

/* ---- through the ring ---- */
enum : size_t { PIECE = (size_t)8 << 20, STRIPE = (size_t)1 << 20 };   /* bytes of one copy to the card; of one thread's turn */

struct stripes {
    const struct kg_file *file;
    uint64_t offset;
    char *to;
    size_t bytes;
    std::mutex lock;
    kg_error error;                /* the first one of the readers                                 */
    std::atomic<int> failed;
};

static void read_stripe(void *arg, int64_t tile, int worker)
{
    (void)worker;
    stripes *s = (stripes *)arg;
    size_t at = (size_t)tile * STRIPE, n = s->bytes - at < STRIPE ? s->bytes - at : STRIPE;
    if (kg_file_read(s->file, s->offset + at, s->to + at, n) == KG_OK)
        return;
    kg_error e;
    kg_error_take(&e);
    std::lock_guard<std::mutex> hold(s->lock);
    if (!s->failed.exchange(1))
        s->error = e;
}

static int has_failed(void *arg) { return ((stripes *)arg)->failed.load(); }

static kg_status fill(kg_cuda *c, const struct kg_file *f, uint64_t offset, char *to, size_t bytes)
{
    if (bytes <= STRIPE)
        return kg_file_read(f, offset, to, bytes);
    stripes s = {};
    s.file = f;
    s.offset = offset;
    s.to = to;
    s.bytes = bytes;
    kg_pool_run(c->readers, kg_pool_threads(c->readers), (int64_t)((bytes + STRIPE - 1) / STRIPE), read_stripe, &s, has_failed, &s);
    if (!s.failed.load())
        return KG_OK;
    kg_error_set(&s.error);
    return s.error.status;
}

static kg_status to_card(kg_cuda *c, int lane, void *dst, const void *src, size_t bytes)
{
    cudaError_t e = kg_cuda_faulty(c, KG_FAULT_COPY)
        ? cudaErrorUnknown : cudaMemcpyAsync(dst, src, bytes, cudaMemcpyHostToDevice, c->lane[lane].stream);
    return kg_cuda_check(c, lane, e, "copying weights to the card");
}

static kg_status read_through(kg_cuda *c, int lane, char *dst, const struct kg_file *f, uint64_t offset, size_t bytes)
{
    kg_status s = c->ring.base ? KG_OK : kg_ring_new(c, &c->ring, KG_RING_READ);
    for (size_t at = 0; at < bytes && s == KG_OK;) {
        size_t n = bytes - at < PIECE ? bytes - at : PIECE;
        char *p = kg_ring_take(c, &c->ring, lane, n);
        s = p ? fill(c, f, offset + at, p, n) : KG_FAILED;
        if (s == KG_OK)
            s = to_card(c, lane, dst + at, p, n);
        at += n;
    }
    return s;
}

/* ---- from locked pages of the map ---- */
static kg_map *map_of(kg_cuda *c, const struct kg_file *f)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    for (kg_map *m = c->maps; m; m = m->next)
        if (kg_stamp_equal(&m->stamp, &f->stamp))
            return m;
    size_t mapped = ((size_t)f->size + page - 1) / page * page;
    void *base = mapped ? mmap(NULL, mapped, PROT_READ, MAP_SHARED, f->fd, 0) : MAP_FAILED;
    kg_map *m = base == MAP_FAILED ? NULL : (kg_map *)calloc(1, sizeof *m);
    if (!m) {
        if (base != MAP_FAILED)
            munmap(base, mapped);
        return NULL;
    }
    m->stamp = f->stamp;
    m->base = (char *)base;
    m->mapped = mapped;
    m->next = c->maps;
    return c->maps = m;
}

static void touch_stripe(void *arg, int64_t tile, int worker)
{
    (void)worker;
    const stripes *s = (const stripes *)arg;
    size_t at = (size_t)tile * STRIPE, n = s->bytes - at < STRIPE ? s->bytes - at : STRIPE;
    madvise(s->to + at, n, 22);    /* MADV_POPULATE_READ: older kernels say no, and locking then reads the pages one by one */
}

/* Locks [at, at + bytes), pages of which none is locked, and puts it in front of region i. 0: it cannot be. */
static int lock_pages(kg_cuda *c, kg_map *m, int i, uint64_t at, size_t bytes)
{
    if (m->regions == m->room) {
        int room = m->room ? 2 * m->room : 64;
        kg_region *p = (kg_region *)realloc(m->region, (size_t)room * sizeof *p);
        if (!p)
            return 0;
        m->region = p;
        m->room = room;
    }
    if (bytes > STRIPE) {
        stripes s = {};
        s.to = m->base + at;
        s.bytes = bytes;
        kg_pool_run(c->readers, kg_pool_threads(c->readers), (int64_t)((bytes + STRIPE - 1) / STRIPE), touch_stripe, &s, has_failed, &s);
    }
    if (cudaHostRegister(m->base + at, bytes, cudaHostRegisterReadOnly) != cudaSuccess) {
        cudaGetLastError();
        return 0;
    }
    memmove(m->region + i + 1, m->region + i, (size_t)(m->regions - i) * sizeof *m->region);
    m->region[i] = {at, bytes};
    ++m->regions;
    return 1;
}

/* The first region that ends behind at. */
static int region_at(const kg_map *m, uint64_t at)
{
    int low = 0, high = m->regions;
    while (low < high) {
        int mid = (low + high) / 2;
        if (m->region[mid].at + m->region[mid].bytes > at)
            high = mid;
        else
            low = mid + 1;
    }
    return low;
}

static void pages_of(const kg_map *m, uint64_t offset, size_t bytes, uint64_t *first, uint64_t *end)
{
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    *first = offset / page * page;
    *end = (offset + bytes + page - 1) / page * page;
    if (*end > m->mapped)
        *end = m->mapped;
}

/* Region by region from the range's first page on, each locked when it is not yet. *at: what has been queued, also on failure. */
static kg_status read_locked(kg_cuda *c, kg_map *m, int lane, char *dst, uint64_t offset, size_t bytes, size_t *at)
{
    uint64_t first, end;
    pages_of(m, offset, bytes, &first, &end);
    int i = region_at(m, first);
    for (uint64_t here = first; here < end; ++i) {
        int there = i < m->regions && m->region[i].at <= here;
        uint64_t stop = i < m->regions && m->region[i].at < end ? m->region[i].at : end;
        if (!there && !lock_pages(c, m, i, here, (size_t)(stop - here))) {
            c->register_maps = 0;
            kg_log("cuda:%d: pages of a weight file cannot be locked: they are copied on every pass", c->index);
            return KG_OK;
        }
        here = m->region[i].at + m->region[i].bytes;
        size_t n = (size_t)((here < offset + bytes ? here : offset + bytes) - (offset + *at));
        if (to_card(c, lane, dst + *at, m->base + offset + *at, n) != KG_OK)
            return KG_FAILED;
        *at += n;
    }
    return KG_OK;
}

kg_status kg_cuda_read(kg_device *d, int lane, void *dst, const struct kg_file *f, uint64_t offset, size_t bytes, int stay)
{
    kg_cuda *c = kg_cuda_of_device(d);
    size_t at = 0;
    kg_cuda_current(c);
    std::lock_guard<std::mutex> hold(c->reading);
    kg_status s = kg_cuda_failed(c);
    if (s != KG_OK || !bytes)
        return s;
    kg_map *m = stay && c->register_maps && offset <= f->size && bytes <= f->size - offset ? map_of(c, f) : NULL;
    if (m)
        s = read_locked(c, m, lane, (char *)dst, offset, bytes, &at);
    return s == KG_OK && at < bytes ? read_through(c, lane, (char *)dst + at, f, offset + at, bytes - at) : s;
}

/* ---- and away ---- */
static void unlock(kg_map *m, int first, int end)
{
    for (int i = first; i < end; ++i)
        cudaHostUnregister(m->base + m->region[i].at);
    cudaGetLastError();
    memmove(m->region + first, m->region + end, (size_t)(m->regions - end) * sizeof *m->region);
    m->regions -= end - first;
}

void kg_cuda_drop(kg_device *d, const struct kg_file *f, uint64_t offset, size_t bytes)
{
    kg_cuda *c = kg_cuda_of_device(d);
    kg_cuda_current(c);
    std::lock_guard<std::mutex> hold(c->reading);
    for (kg_map *m = c->maps; m; m = m->next) {
        if (!kg_stamp_equal(&m->stamp, &f->stamp))
            continue;
        uint64_t first, end;
        pages_of(m, offset, bytes, &first, &end);
        int i = region_at(m, first);
        while (i < m->regions && m->region[i].at < first)      /* a neighbour's, which shares a page */
            ++i;
        int k = i;
        while (k < m->regions && m->region[k].at >= first && m->region[k].at + m->region[k].bytes <= end)
            ++k;
        for (int lane = 0; lane < KG_LANES && k > i; ++lane)
            cudaStreamSynchronize(c->lane[lane].stream);
        unlock(m, i, k);
    }
}

void kg_cuda_unmap(kg_cuda *c)
{
    while (c->maps) {
        kg_map *m = c->maps;
        c->maps = m->next;
        unlock(m, 0, m->regions);
        munmap(m->base, m->mapped);
        free(m->region);
        free(m);
    }
}
