/* The CUDA device's parts, for the files that make it: device.cu (pool, lanes, events), errors.cu, read.cu (file to card),
 * start.cu (what is checked and measured when it starts). Kernels see kernels/cuda/cuda.h alone. */
#ifndef KG_KERNELS_CUDA_DEVICE_H
#define KG_KERNELS_CUDA_DEVICE_H

#include "kernels/cuda/cuda.h"

extern "C" {
#include "core/cache.h"
#include "core/file.h"
#include "kernels/cpu/cpu.h"
}

#include <atomic>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

/* Page-locked slots that host bytes pass through on their way to the card. A slot is reused when the event behind its last copy is
 * done. Several small copies share a slot as long as they go to one lane. */
enum { KG_RING_SLOTS = 4 };
enum : size_t { KG_RING_READ = (size_t)32 << 20, KG_RING_WRITE = (size_t)1 << 20 };   /* bytes a slot */
struct kg_ring {
    char *base;
    size_t slot;                   /* bytes                                                        */
    size_t used;                   /* of the current slot                                          */
    int current, lane;
    cudaEvent_t free[KG_RING_SLOTS];
    int busy[KG_RING_SLOTS];       /* free[i] was recorded                                         */
};

/* Events by number: event n of a lane is ring[n % size]. One that was recorded over stands for a later one, which is done later:
 * whoever waits for it waits long enough, and for nothing that is not queued yet. */
enum { KG_EVENTS = 256 };
struct kg_lane {
    cudaStream_t stream;
    cudaEvent_t event[KG_EVENTS];
    std::atomic<uint64_t> recorded, done;
    std::atomic<const char *> last;    /* the op launched last, for messages                        */
    kg_ring stage;                     /* of write                                                  */
};

struct kg_region { uint64_t at; size_t bytes; };                   /* page-locked part of a map      */
struct kg_map {                        /* a mapped file                                            */
    kg_stamp stamp;
    char *base;
    size_t mapped;                     /* bytes, whole pages                                       */
    kg_region *region;                 /* sorted, apart                                            */
    int regions, room;
    kg_map *next;
};

struct kg_later {
    std::mutex lock;
    std::condition_variable more;
    std::deque<std::function<void()>> queue;
    std::thread thread;
    cudnnHandle_t dnn;                     /* its own: a handle is for one thread                  */
    bool ends;
};

enum { KG_TOOK_DRIVER, KG_TOOK_LIBRARIES, KG_TOOK_NVML, KG_TOOK_CONTEXT, KG_TOOK_KERNELS, KG_TOOK_HANDLES, KG_TOOK_MEASURES, KG_TOOKS };
struct kg_cuda {
    kg_device device;                  /* first: a kg_device * is a kg_cuda *                      */
    int index, cc, sms;
    double took[KG_TOOKS];             /* seconds of each part of the start                        */
    int register_maps;                 /* read-only maps can be page-locked here, as far as is known */
    kg_kernels kernels;
    kg_lane lane[KG_LANES];
    cublasLtHandle_t lt;
    cudnnHandle_t dnn;
    kg_later later;
    kg_cache *engines;                 /* borrowed: where cuDNN's are kept between starts, or NULL  */
    void *pool;
    size_t free_at_start;
    void *nvml;                        /* the driver's own account of memory, when it is there     */
    size_t used_before;                /* bytes in use on the card before this process came        */

    std::mutex reading;                /* one read at a time: ring, maps                           */
    kg_ring ring;                      /* made when it is first needed: locking pages takes a while */
    kg_map *maps;
    kg_pool *readers;                  /* threads that copy a file's bytes into the ring           */

    std::mutex failing;
    std::atomic<int> broken;           /* error holds the first failure                            */
    kg_error error;
    std::atomic<int> fault;            /* KG_FAULT_..., for tests                                  */
    std::atomic<long> fault_in;
};
static inline kg_cuda *kg_cuda_of_device(const kg_device *d) { return (kg_cuda *)(uintptr_t)d; }

void kg_cuda_current(const kg_cuda *c);            /* makes the card this thread's current one     */

/* errors.cu. A failure of the card itself (not of a request, such as memory that is not there) is kept. */
kg_status kg_cuda_failed(const kg_cuda *c);        /* KG_OK, or the kept error again               */
kg_status kg_cuda_check(kg_cuda *c, int lane, cudaError_t e, const char *what);
int kg_cuda_faulty(kg_cuda *c, int what);          /* 1: this is the one that is to fail           */

void kg_cuda_later_begin(kg_cuda *c);              /* later.cu: once there is a pool                  */
void kg_cuda_later_end(kg_cuda *c);                /* before the plans go that its jobs make          */

/* read.cu */
kg_status kg_ring_new(kg_cuda *c, kg_ring *r, size_t slot);
void kg_ring_free(kg_ring *r);
/* Room for bytes (at most a slot) whose copy is queued on the lane next; NULL with an error. */
char *kg_ring_take(kg_cuda *c, kg_ring *r, int lane, size_t bytes);
kg_status kg_cuda_read(kg_device *d, int lane, void *dst, const struct kg_file *f, uint64_t offset, size_t bytes, int stay);
void kg_cuda_drop(kg_device *d, const struct kg_file *f, uint64_t offset, size_t bytes);
void kg_cuda_unmap(kg_cuda *c);                    /* all maps; nothing is queued any more         */

/* start.cu */
kg_status kg_cuda_find(int index, int *cc, int *sms);              /* before the context           */
kg_status kg_cuda_load_kernels(kg_cuda *c);
kg_status kg_cuda_measure(kg_cuda *c);             /* profile and tag, when all else is there      */
void kg_cuda_memory_before(kg_cuda *c);            /* opens NVML, if there, before the context     */
void kg_cuda_memory_close(kg_cuda *c);

#endif
