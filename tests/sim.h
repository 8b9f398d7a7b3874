/* A discrete device simulated on the host, so that core's lanes are proven without a card.
 *
 * - Its memory cannot be touched by address: what it hands out lies in a non-canonical range (a read or write by host code is a
 *   fault), and work on it is translated to a mapping of its own.
 * - Each lane is a thread that does what is queued, in order, after random delays; events are done when the lane gets to them.
 * - Page-locked memory is tracked; an asynchronous fetch shows no byte of its source before its turn.
 * - Every operation can be made to fail at its n-th call; work that fails on a lane comes out at the next sync, as with a driver.
 * - Ranges of files that stay are tracked: a drop of what does not stay, or something left at the end, is a failed check. */
#ifndef KG_TESTS_SIM_H
#define KG_TESTS_SIM_H

#include <pthread.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "core/device.h"
#include "core/file.h"
#include "core/front.h"
#include "tests/test.h"

#define SIM_BASE ((uintptr_t)0xcafe000000000000u)

typedef enum sim_op {
    SIM_RESERVE, SIM_READ, SIM_WRITE, SIM_FETCH, SIM_RECORD, SIM_WAIT, SIM_SYNC, SIM_HOST_ALLOC, SIM_QUEUED, SIM_OPS
} sim_op;
static const char *const sim_op_name[SIM_OPS] = {"reserve", "read", "write", "fetch", "record", "wait", "sync", "host_alloc",
                                                 "queued work"};

typedef struct sim sim;
typedef struct sim_task {
    struct sim_task *next;
    void (*run)(sim *s, struct sim_task *t, int lane);
    void *dst;
    const void *src;
    size_t bytes;
    const kg_file *file;
    uint64_t offset, serial;
    int lane;
    void *own;                     /* freed after it                                     */
    max_align_t more[];            /* a kernel's arguments                               */
} sim_task;
typedef struct sim_lane {
    sim *device;
    int index;
    pthread_t thread;
    sim_task *first, **last;
    uint64_t recorded, done;       /* events                                             */
    int busy, length, longest;     /* of its queue                                       */
    pthread_cond_t more;
    uint64_t random;
} sim_lane;
typedef struct sim_range { const kg_file *file; uint64_t offset; size_t bytes; int reads; } sim_range;
typedef struct sim_block { void *at; size_t bytes; } sim_block;

struct sim {
    kg_device d;
    pthread_mutex_t lock;
    pthread_cond_t moved;
    sim_lane lane[KG_LANES];
    int quit;
    char *memory;
    size_t bytes;
    sim_range range[4096];
    sim_block block[64];
    int ranges, blocks;
    size_t pinned, most_pinned, room;      /* room: most that the pool may take             */
    long calls[SIM_OPS], fail_at[SIM_OPS]; /* 0: never                                      */
    char broken[128];              /* what failed on a lane and was not yet said            */
    unsigned delays;               /* microseconds at most; 0: none                         */
    long dropped, stayed;
    void (*before_read)(long n);
};

/* ---- faults ---- */
static int sim_fails(sim *s, sim_op op)
{
    pthread_mutex_lock(&s->lock);
    int fails = ++s->calls[op] == s->fail_at[op];
    pthread_mutex_unlock(&s->lock);
    return fails;
}
#define SIM_FAULT(s, op) \
    if (sim_fails(s, op)) \
        return kg_fail(op == SIM_RESERVE ? KG_NOFIT : KG_FAILED, "injected: %s %ld fails", sim_op_name[op], (s)->fail_at[op])

/* ---- memory ---- */
static void *sim_real(sim *s, const void *at, size_t bytes)
{
    uintptr_t a = (uintptr_t)at - SIM_BASE;
    if (!s->memory || a > s->bytes || bytes > s->bytes - a) {
        fprintf(stderr, "device address %p + %zu is outside of the pool of %zu bytes\n", at, bytes, s->bytes);
        abort();
    }
    return s->memory + a;
}

static void sim_count(sim *s, size_t bytes, int sign)      /* under the lock */
{
    s->pinned += sign > 0 ? bytes : -bytes;
    s->most_pinned = s->pinned > s->most_pinned ? s->pinned : s->most_pinned;
}

/* ---- lanes ---- */
static void *sim_lane_thread(void *arg)
{
    sim_lane *l = arg;
    sim *s = l->device;
    pthread_mutex_lock(&s->lock);
    while (1) {
        while (!l->first && !s->quit)
            pthread_cond_wait(&l->more, &s->lock);
        if (!l->first)
            break;
        sim_task *t = l->first;
        l->first = t->next;
        if (!l->first)
            l->last = &l->first;
        --l->length;
        l->busy = 1;
        int fails = t->dst && ++s->calls[SIM_QUEUED] == s->fail_at[SIM_QUEUED];
        if (fails)
            snprintf(s->broken, sizeof s->broken, "injected: queued work %ld fails", s->fail_at[SIM_QUEUED]);
        pthread_mutex_unlock(&s->lock);
        uint64_t dice = test_next(&l->random);
        if (s->delays && dice % 8 == 0)
            nanosleep(&(struct timespec){.tv_nsec = (long)(dice >> 8) % (1000 * (long)s->delays)}, NULL);
        if (!fails)
            t->run(s, t, l->index);
        free(t->own);
        free(t);
        pthread_mutex_lock(&s->lock);
        l->busy = 0;
        if (!l->first)
            pthread_cond_broadcast(&s->moved);
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

static void sim_queue(sim *s, int lane, sim_task *t)
{
    pthread_mutex_lock(&s->lock);
    t->next = NULL;
    *s->lane[lane].last = t;
    s->lane[lane].last = &t->next;
    if (++s->lane[lane].length > s->lane[lane].longest)
        s->lane[lane].longest = s->lane[lane].length;
    pthread_cond_signal(&s->lane[lane].more);
    pthread_mutex_unlock(&s->lock);
}

static sim_task *sim_task_new(void (*run)(sim *, sim_task *, int), void *dst, const void *src, size_t bytes)
{
    sim_task *t = calloc(1, sizeof *t);
    *t = (sim_task){.run = run, .dst = dst, .src = src, .bytes = bytes};
    return t;
}

static void sim_idle(sim *s, int lane)                     /* under the lock */
{
    while (s->lane[lane].first || s->lane[lane].busy)
        pthread_cond_wait(&s->moved, &s->lock);
}

/* Waits for an event, under the lock; one that never comes is a deadlock of the code under test. */
static void sim_await(sim *s, kg_event e)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    t.tv_sec += 60;
    while (s->lane[e.lane].done < e.serial)
        if (pthread_cond_timedwait(&s->moved, &s->lock, &t)) {
            fprintf(stderr, "event %llu of lane %d is never done\n", (unsigned long long)e.serial, e.lane);
            abort();
        }
}

/* ---- operations ---- */
static kg_status sim_reserve(kg_device *d, size_t bytes, void **base)
{
    sim *s = d->self;
    SIM_FAULT(s, SIM_RESERVE);
    if (s->room && bytes > s->room)
        return kg_fail(KG_NOFIT, "the plan needs %zu bytes and the device has %zu free: others use it", bytes, s->room);
    s->memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CHECK(s->memory != MAP_FAILED);
    s->bytes = bytes;
    if (bytes < (size_t)64 << 20)
        memset(s->memory, 0xff, bytes);
    *base = (void *)SIM_BASE;
    return KG_OK;
}

static void sim_release(kg_device *d)
{
    sim *s = d->self;
    pthread_mutex_lock(&s->lock);
    for (int i = 0; i < KG_LANES; ++i)
        sim_idle(s, i);
    s->broken[0] = 0;
    pthread_mutex_unlock(&s->lock);
    if (s->memory)
        munmap(s->memory, s->bytes);
    s->memory = NULL;
}

static void sim_run_copy_in(sim *s, sim_task *t, int lane)
{
    (void)lane;
    memcpy(sim_real(s, t->dst, t->bytes), t->src, t->bytes);
}

static void sim_run_copy_out(sim *s, sim_task *t, int lane)
{
    (void)lane;
    memcpy(t->dst, sim_real(s, t->src, t->bytes), t->bytes);
}

/* As a card reads the pages of a map: whether the file is still the same is for others to see. */
static void sim_run_read(sim *s, sim_task *t, int lane)
{
    (void)lane;
    int good = pread(t->file->fd, sim_real(s, t->dst, t->bytes), t->bytes, (off_t)t->offset) == (ssize_t)t->bytes;
    pthread_mutex_lock(&s->lock);
    if (!good)
        snprintf(s->broken, sizeof s->broken, "a range of '%.60s' cannot be read", t->file->path);
    for (int i = 0; i < s->ranges; ++i)
        if (s->range[i].file == t->file && s->range[i].offset == t->offset && s->range[i].bytes == t->bytes)
            --s->range[i].reads;
    pthread_mutex_unlock(&s->lock);
}

static void sim_stay(sim *s, const kg_file *f, uint64_t offset, size_t bytes)
{
    pthread_mutex_lock(&s->lock);
    int i = 0;
    while (i < s->ranges && !(s->range[i].file == f && s->range[i].offset == offset && s->range[i].bytes == bytes))
        ++i;
    if (i == s->ranges) {
        CHECK(i < (int)(sizeof s->range / sizeof *s->range), "too many ranges stay");
        s->range[s->ranges++] = (sim_range){.file = f, .offset = offset, .bytes = bytes};
        sim_count(s, bytes, 1);
        ++s->stayed;
    }
    ++s->range[i].reads;
    pthread_mutex_unlock(&s->lock);
}

static kg_status sim_read(kg_device *d, int lane, void *dst, const kg_file *f, uint64_t offset, size_t bytes, int stay)
{
    sim *s = d->self;
    SIM_FAULT(s, SIM_READ);
    if (s->before_read)
        s->before_read(s->calls[SIM_READ]);
    sim_task *t = sim_task_new(stay ? sim_run_read : sim_run_copy_in, dst, NULL, bytes);
    t->file = f;
    t->offset = offset;
    if (stay) {
        sim_stay(s, f, offset, bytes);
    } else {
        t->src = t->own = malloc(bytes + 1);
        if (kg_file_read(f, offset, t->own, bytes) != KG_OK) {
            free(t->own);
            free(t);
            return kg_error_last()->status;
        }
    }
    sim_queue(s, lane, t);
    return KG_OK;
}

static void sim_drop(kg_device *d, const kg_file *f, uint64_t offset, size_t bytes)
{
    sim *s = d->self;
    pthread_mutex_lock(&s->lock);
    int i = 0;
    while (i < s->ranges && !(s->range[i].file == f && s->range[i].offset == offset && s->range[i].bytes == bytes))
        ++i;
    CHECK(i < s->ranges, "a drop of what does not stay: %zu bytes at %llu", bytes, (unsigned long long)offset);
    if (i < s->ranges && s->range[i].reads)
        sim_idle(s, KG_LANE_COPY);
    if (i < s->ranges) {
        sim_count(s, bytes, -1);
        s->range[i] = s->range[--s->ranges];
        ++s->dropped;
    }
    pthread_mutex_unlock(&s->lock);
}

static kg_status sim_write(kg_device *d, int lane, void *dst, const void *src, size_t bytes)
{
    sim *s = d->self;
    SIM_FAULT(s, SIM_WRITE);
    sim_task *t = sim_task_new(sim_run_copy_in, dst, NULL, bytes);
    t->src = t->own = malloc(bytes + 1);
    memcpy(t->own, src, bytes);
    sim_queue(s, lane, t);
    return KG_OK;
}

static kg_status sim_fetch(kg_device *d, int lane, void *dst, const void *src, size_t bytes)
{
    sim *s = d->self;
    SIM_FAULT(s, SIM_FETCH);
    int locked = 0;
    pthread_mutex_lock(&s->lock);
    for (int i = 0; i < s->blocks; ++i)
        locked |= (char *)dst >= (char *)s->block[i].at && (char *)dst + bytes <= (char *)s->block[i].at + s->block[i].bytes;
    pthread_mutex_unlock(&s->lock);
    memset(dst, 0xff, bytes);
    sim_queue(s, lane, sim_task_new(sim_run_copy_out, dst, src, bytes));
    pthread_mutex_lock(&s->lock);
    if (!locked)
        sim_idle(s, lane);
    pthread_mutex_unlock(&s->lock);
    return KG_OK;
}

static void sim_run_event(sim *s, sim_task *t, int lane)
{
    pthread_mutex_lock(&s->lock);
    s->lane[lane].done = t->serial;
    pthread_cond_broadcast(&s->moved);
    pthread_mutex_unlock(&s->lock);
}

static kg_event sim_record(kg_device *d, int lane)
{
    sim *s = d->self;
    if (sim_fails(s, SIM_RECORD)) {
        kg_fail(KG_FAILED, "injected: record %ld fails", s->fail_at[SIM_RECORD]);
        return (kg_event){.lane = lane};
    }
    sim_task *t = sim_task_new(sim_run_event, NULL, NULL, 0);
    t->serial = ++s->lane[lane].recorded;
    kg_event e = {.serial = t->serial, .lane = lane};
    sim_queue(s, lane, t);
    return e;
}

static void sim_run_wait(sim *s, sim_task *t, int lane)
{
    (void)lane;
    pthread_mutex_lock(&s->lock);
    sim_await(s, (kg_event){.serial = t->serial, .lane = t->lane});
    pthread_mutex_unlock(&s->lock);
}

static kg_status sim_wait(kg_device *d, int lane, kg_event e)
{
    sim *s = d->self;
    SIM_FAULT(s, SIM_WAIT);
    sim_task *t = sim_task_new(sim_run_wait, NULL, NULL, 0);
    t->serial = e.serial;
    t->lane = e.lane;
    sim_queue(s, lane, t);
    return KG_OK;
}

static kg_status sim_sync(kg_device *d, kg_event e)
{
    sim *s = d->self;
    SIM_FAULT(s, SIM_SYNC);
    pthread_mutex_lock(&s->lock);
    sim_await(s, e);
    char why[sizeof s->broken];
    memcpy(why, s->broken, sizeof why);
    pthread_mutex_unlock(&s->lock);
    return why[0] ? kg_fail(KG_FAILED, "%s", why) : KG_OK;
}

static void *sim_host_alloc(kg_device *d, size_t bytes)
{
    sim *s = d->self;
    if (sim_fails(s, SIM_HOST_ALLOC)) {
        kg_fail(KG_FAILED, "injected: host_alloc %ld fails", s->fail_at[SIM_HOST_ALLOC]);
        return NULL;
    }
    void *p = malloc(bytes + 1);
    memset(p, 0xff, bytes);
    pthread_mutex_lock(&s->lock);
    s->block[s->blocks++] = (sim_block){p, bytes};
    sim_count(s, bytes, 1);
    pthread_mutex_unlock(&s->lock);
    return p;
}

static void sim_host_free(kg_device *d, void *p)
{
    sim *s = d->self;
    pthread_mutex_lock(&s->lock);
    for (int i = 0; i < s->blocks && p; ++i)
        if (s->block[i].at == p) {
            sim_count(s, s->block[i].bytes, -1);
            s->block[i] = s->block[--s->blocks];
            break;
        }
    pthread_mutex_unlock(&s->lock);
    free(p);
}

static void sim_destroy(kg_device *d) { (void)d; }

static const kg_device_ops sim_ops = {
    .reserve = sim_reserve, .release = sim_release, .read = sim_read, .write = sim_write, .fetch = sim_fetch, .record = sim_record,
    .wait = sim_wait, .sync = sim_sync, .destroy = sim_destroy, .drop = sim_drop, .host_alloc = sim_host_alloc, .host_free = sim_host_free};

/* ---- opening and closing ---- */
static inline void sim_open(sim *s, size_t memory, unsigned seed, unsigned delays)
{
    memset(s, 0, sizeof *s);
    s->d = (kg_device){.ops = &sim_ops, .class_name = "sim", .tag = "sim 1", .precision = KG_PRECISION_F32, .self = s};
    s->d.profile = (kg_profile){.name = "sim", .version = 1, .threads = 1, .discrete = 1, .memory = memory, .disk = 1e9,
                                .copy = 5e10, .launch = 1e-7};
    for (int i = 0; i < KG_CLASSES; ++i)
        s->d.profile.rate[i] = 1e9;
    s->delays = delays;
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->moved, NULL);
    for (int i = 0; i < KG_LANES; ++i) {
        sim_lane *l = &s->lane[i];
        *l = (sim_lane){.device = s, .index = i, .last = &l->first, .random = seed * 16 + (unsigned)i};
        pthread_cond_init(&l->more, NULL);
        CHECK(!pthread_create(&l->thread, NULL, sim_lane_thread, l));
    }
}

/* Nothing may be left: no pool, no page-locked byte, no range that stays. */
static inline void sim_close(sim *s)
{
    pthread_mutex_lock(&s->lock);
    s->quit = 1;
    for (int i = 0; i < KG_LANES; ++i)
        pthread_cond_signal(&s->lane[i].more);
    pthread_mutex_unlock(&s->lock);
    for (int i = 0; i < KG_LANES; ++i) {
        pthread_join(s->lane[i].thread, NULL);
        pthread_cond_destroy(&s->lane[i].more);
    }
    CHECK(!s->memory, "the pool is left");
    CHECK(!s->blocks && !s->ranges && !s->pinned, "%d blocks and %d ranges are left page-locked", s->blocks, s->ranges);
    pthread_mutex_destroy(&s->lock);
    pthread_cond_destroy(&s->moved);
}

#endif
