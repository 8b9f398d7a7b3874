/* The workers of a CPU device. One job at a time; tiles are taken from a counter, so the order is free and the bits are not:
 * a tile's result depends on its number alone.
 *
 * Jobs are short (a pass over rows is a fraction of a millisecond), so a worker looks for the next one for a few microseconds
 * before it sleeps. A job is known by its generation number; a worker that wakes when all tiles are taken does not hold it up. */
#include "kernels/cpu/cpu.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include <oneapi/dnnl/dnnl_config.h>
#if DNNL_CPU_THREADING_RUNTIME == DNNL_RUNTIME_OMP
void omp_set_num_threads(int n);               /* libgomp's, without asking for OpenMP in our own code */
#endif

enum { SPINS = 4000 };                         /* about 20 microseconds of pause instructions */

struct kg_pool {
    int threads;                               /* the caller of kg_pool_run included */
    pthread_t *thread;                         /* [threads - 1] */
    pthread_mutex_t run;                       /* held while a job is out */
    pthread_mutex_t lock;
    pthread_cond_t wake, done;
    atomic_uint generation;                    /* of the last job; changes under lock */
    atomic_int inside;                         /* workers that are at the job; changes under lock */
    int open, quit;                            /* under lock: the job may still be joined; the pool ends */
    atomic_llong next;
    int most;                                  /* workers that may take part: scratch is for so many */
    int64_t tiles;
    kg_tile_fn *fn;
    void *arg;
    int (*stop)(void *);
    void *stop_arg;
};
typedef struct worker { kg_pool *pool; int index; } worker;

void kg_cpu_single(void)
{
#if DNNL_CPU_THREADING_RUNTIME == DNNL_RUNTIME_OMP
    static _Thread_local int said;             /* the number is a property of the calling thread */
    if (!said)
        omp_set_num_threads(1);
    said = 1;
#endif
}

static void pause_cpu(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

static void take_tiles(kg_pool *p, int index)
{
    kg_cpu_single();
    while ((!index || index < p->most) && (!p->stop || !p->stop(p->stop_arg))) {
        int64_t tile = atomic_fetch_add_explicit(&p->next, 1, memory_order_relaxed);
        if (tile >= p->tiles)
            return;
        p->fn(p->arg, tile, index);
    }
}

/* Joins a job newer than seen and returns its generation, or 0 when the pool ends. */
static unsigned join_job(kg_pool *p, unsigned seen)
{
    for (int i = 0; i < SPINS && atomic_load_explicit(&p->generation, memory_order_relaxed) == seen; ++i)
        pause_cpu();
    pthread_mutex_lock(&p->lock);
    while (!p->quit && (!p->open || atomic_load(&p->generation) == seen))
        pthread_cond_wait(&p->wake, &p->lock);
    unsigned now = p->quit ? 0 : atomic_load(&p->generation);
    if (now)
        atomic_fetch_add(&p->inside, 1);
    pthread_mutex_unlock(&p->lock);
    return now;
}

static void leave_job(kg_pool *p)
{
    pthread_mutex_lock(&p->lock);
    if (atomic_fetch_sub(&p->inside, 1) == 1)
        pthread_cond_signal(&p->done);
    pthread_mutex_unlock(&p->lock);
}

static void *work(void *arg)
{
    worker w = *(worker *)arg;
    free(arg);
    for (unsigned seen = 1; (seen = join_job(w.pool, seen)) != 0;) {
        take_tiles(w.pool, w.index);
        leave_job(w.pool);
    }
    return NULL;
}

/* The generation is never 0, which means the end. */
static void open_job(kg_pool *p)
{
    pthread_mutex_lock(&p->lock);
    p->open = 1;
    unsigned g = atomic_load(&p->generation) + 1;
    atomic_store_explicit(&p->generation, g ? g : 1, memory_order_release);
    pthread_cond_broadcast(&p->wake);
    pthread_mutex_unlock(&p->lock);
}

/* Nobody can join any more; returns when all have left. */
static void close_job(kg_pool *p)
{
    for (int i = 0; i < SPINS && atomic_load_explicit(&p->inside, memory_order_relaxed); ++i)
        pause_cpu();
    pthread_mutex_lock(&p->lock);
    p->open = 0;
    while (atomic_load(&p->inside))
        pthread_cond_wait(&p->done, &p->lock);
    pthread_mutex_unlock(&p->lock);
}

kg_pool *kg_pool_new(int threads)
{
    kg_pool *p = calloc(1, sizeof *p);
    if (!p)
        return NULL;
    pthread_mutex_init(&p->run, NULL);
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->wake, NULL);
    pthread_cond_init(&p->done, NULL);
    atomic_store(&p->generation, 1);
    p->threads = 1;
    p->thread = calloc((size_t)threads, sizeof *p->thread);
    while (p->thread && p->threads < threads) {
        worker *w = malloc(sizeof *w);
        if (!w)
            break;
        *w = (worker){p, p->threads};
        if (pthread_create(&p->thread[p->threads - 1], NULL, work, w)) {
            free(w);
            break;
        }
        ++p->threads;
    }
    if (p->threads == threads)
        return p;
    kg_pool_free(p);
    return NULL;
}

void kg_pool_free(kg_pool *p)
{
    if (!p)
        return;
    pthread_mutex_lock(&p->lock);
    p->quit = 1;
    pthread_cond_broadcast(&p->wake);
    pthread_mutex_unlock(&p->lock);
    for (int i = 0; i + 1 < p->threads; ++i)
        pthread_join(p->thread[i], NULL);
    pthread_mutex_destroy(&p->run);
    pthread_mutex_destroy(&p->lock);
    pthread_cond_destroy(&p->wake);
    pthread_cond_destroy(&p->done);
    free(p->thread);
    free(p);
}

int kg_pool_threads(const kg_pool *p) { return p->threads; }

void kg_pool_run(kg_pool *p, int most, int64_t tiles, kg_tile_fn *fn, void *arg, int (*stop)(void *), void *stop_arg)
{
    if (tiles <= 0)
        return;
    pthread_mutex_lock(&p->run);
    p->most = most;
    p->tiles = tiles;
    p->fn = fn;
    p->arg = arg;
    p->stop = stop;
    p->stop_arg = stop_arg;
    atomic_store(&p->next, 0);
    int helped = tiles > 1 && p->threads > 1;
    if (helped)
        open_job(p);
    take_tiles(p, 0);
    if (helped)
        close_job(p);
    pthread_mutex_unlock(&p->run);
}

static int cancelled(void *x) { return kg_cancelled(x); }

void kg_cpu_for(kg_exec *x, int64_t tiles, kg_tile_fn *fn, void *arg)
{
    if (kg_exec_lane(x) == KG_LANE_COMPUTE) {
        kg_pool_run(kg_exec_device(x)->self, kg_exec_device(x)->profile.threads, tiles, fn, arg, cancelled, x);
        return;
    }
    kg_cpu_single();
    for (int64_t tile = 0; tile < tiles && !kg_cancelled(x); ++tile)
        fn(arg, tile, 0);
}
