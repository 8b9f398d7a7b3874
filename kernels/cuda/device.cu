/* A card as a device of core: one pool from one cudaMalloc, three streams as lanes, events by number, page-locked host memory. */
#include "kernels/cuda/device.h"

#include <new>
#include <sched.h>
#include <string.h>
#include <system_error>
#include <thread>
#include <time.h>

/* Not remembered: another card may have been opened on this thread meanwhile. What fails here fails at the next call too. */
void kg_cuda_current(const kg_cuda *c) { cudaSetDevice(c->index); }

/* ---- what kernels ask ---- */
kg_cuda *kg_cuda_of(kg_exec *x) { return kg_cuda_of_device(kg_exec_device(x)); }
cublasLtHandle_t kg_cuda_lt(kg_exec *x) { return kg_cuda_of(x)->lt; }
int kg_cuda_cc(kg_exec *x) { return kg_cuda_of(x)->cc; }
int kg_cuda_sms(kg_exec *x) { return kg_cuda_of(x)->sms; }

cudaStream_t kg_cuda_stream(kg_exec *x)
{
    kg_cuda *c = kg_cuda_of(x);
    kg_cuda_current(c);
    return c->lane[kg_exec_lane(x)].stream;
}

cudnnHandle_t kg_cuda_dnn(kg_exec *x)
{
    kg_cuda *c = kg_cuda_of(x);
    kg_cuda_current(c);
    if (kg_exec_lane(x) == KG_LANE_COMPUTE)
        return c->dnn;
    kg_fail(KG_FAILED, "cuDNN is for the compute lane: its handle has one stream");
    return NULL;
}

/* ---- the pool ---- */
static kg_status not_enough(const kg_cuda *c, size_t bytes, size_t there, size_t total)
{
    const double mib = 1048576.0;
    kg_fail(KG_NOFIT, "cuda:%d: the plan needs %.0f MiB beside the %.0f MiB of this process; %.0f MiB of the card's %.0f are free",
            c->index, (double)bytes / mib, (double)c->device.profile.fixed / mib, (double)there / mib, (double)total / mib);
    double room = ((double)there + (double)c->device.profile.fixed) / mib - 64;
    kg_hint("others hold the rest: end them, or plan for what is free with --vram %.0fM", room > 0 ? room : 0);
    return KG_NOFIT;
}

static kg_status reserve(kg_device *d, size_t bytes, void **base)
{
    kg_cuda *c = kg_cuda_of_device(d);
    size_t there = 0, total = 0;
    kg_cuda_current(c);
    if (c->pool)
        return kg_fail(KG_FAILED, "the pool of cuda:%d is reserved already", c->index);
    if (kg_cuda_check(c, -1, cudaMemGetInfo(&there, &total), "asking for free memory") != KG_OK)
        return KG_FAILED;
    if (bytes > there)
        return not_enough(c, bytes, there, total);
    cudaError_t e = kg_cuda_faulty(c, KG_FAULT_ALLOC) ? cudaErrorMemoryAllocation : cudaMalloc(&c->pool, bytes ? bytes : 1);
    if (e == cudaErrorMemoryAllocation) {
        cudaGetLastError();
        c->pool = NULL;
        return not_enough(c, bytes, there, total);
    }
    if (kg_cuda_check(c, -1, e, "reserving the pool") != KG_OK)
        return KG_FAILED;
    *base = c->pool;
    kg_cuda_later_begin(c);
    return KG_OK;
}

/* Without errors of its own: what failed before has been reported, and a broken context frees its memory with the process. */
static void release(kg_device *d)
{
    kg_cuda *c = kg_cuda_of_device(d);
    kg_cuda_current(c);
    for (int i = 0; i < KG_LANES; ++i)
        if (c->lane[i].stream)
            cudaStreamSynchronize(c->lane[i].stream);
    if (c->pool)
        cudaFree(c->pool);
    c->pool = NULL;
    cudaGetLastError();
}

/* ---- copies ---- */
static kg_status write_host(kg_device *d, int lane, void *dst, const void *src, size_t bytes)
{
    kg_cuda *c = kg_cuda_of_device(d);
    kg_ring *r = &c->lane[lane].stage;
    kg_cuda_current(c);
    for (size_t at = 0; at < bytes;) {
        size_t n = bytes - at < r->slot ? bytes - at : r->slot;
        char *p = kg_ring_take(c, r, lane, n);
        if (!p)
            return KG_FAILED;
        memcpy(p, (const char *)src + at, n);
        cudaError_t e = kg_cuda_faulty(c, KG_FAULT_COPY)
            ? cudaErrorUnknown : cudaMemcpyAsync((char *)dst + at, p, n, cudaMemcpyHostToDevice, c->lane[lane].stream);
        if (kg_cuda_check(c, lane, e, "copying to the card") != KG_OK)
            return KG_FAILED;
        at += n;
    }
    return kg_cuda_failed(c);
}

static kg_status fetch(kg_device *d, int lane, void *dst, const void *src, size_t bytes)
{
    kg_cuda *c = kg_cuda_of_device(d);
    kg_cuda_current(c);
    if (!bytes)
        return kg_cuda_failed(c);
    cudaError_t e = kg_cuda_faulty(c, KG_FAULT_COPY)
        ? cudaErrorUnknown : cudaMemcpyAsync(dst, src, bytes, cudaMemcpyDeviceToHost, c->lane[lane].stream);
    return kg_cuda_check(c, lane, e, "copying from the card");
}

/* ---- events ---- */
static kg_event record(kg_device *d, int lane)
{
    kg_cuda *c = kg_cuda_of_device(d);
    kg_lane *l = &c->lane[lane];
    kg_cuda_current(c);
    uint64_t next = l->recorded.load() + 1;        /* one thread feeds a lane */
    if (kg_cuda_check(c, lane, cudaEventRecord(l->event[next % KG_EVENTS], l->stream), "recording an event") != KG_OK)
        return (kg_event){0, lane};
    l->recorded.store(next, std::memory_order_release);
    return (kg_event){next, lane};
}

static int is_done(const kg_lane *l, uint64_t serial) { return !serial || l->done.load(std::memory_order_acquire) >= serial; }

static kg_status wait_event(kg_device *d, int lane, kg_event e)
{
    kg_cuda *c = kg_cuda_of_device(d);
    kg_cuda_current(c);
    if (e.lane == lane || is_done(&c->lane[e.lane], e.serial))
        return kg_cuda_failed(c);
    return kg_cuda_check(c, lane, cudaStreamWaitEvent(c->lane[lane].stream, c->lane[e.lane].event[e.serial % KG_EVENTS], 0),
                         "waiting for another lane");
}

/* Looks for some microseconds before it sleeps: most waits of a small model are that short. */
static kg_status sync_event(kg_device *d, kg_event e)
{
    kg_cuda *c = kg_cuda_of_device(d);
    kg_lane *l = &c->lane[e.lane];
    kg_cuda_current(c);
    if (is_done(l, e.serial))
        return kg_cuda_failed(c);
    cudaEvent_t event = l->event[e.serial % KG_EVENTS];
    cudaError_t got = cudaErrorNotReady;
    for (int i = 0; i < 20 && got == cudaErrorNotReady; ++i)
        got = cudaEventQuery(event);
    if (got == cudaErrorNotReady) {
        cudaGetLastError();                        /* no error, but kept as one */
        got = cudaEventSynchronize(event);
    }
    if (kg_cuda_check(c, e.lane, got, "waiting for the card") != KG_OK)
        return KG_FAILED;
    uint64_t known = l->done.load();
    while (known < e.serial && !l->done.compare_exchange_weak(known, e.serial))
        ;
    return KG_OK;
}

/* ---- page-locked host memory ---- */
static void *host_alloc(kg_device *d, size_t bytes)
{
    kg_cuda *c = kg_cuda_of_device(d);
    void *p = NULL;
    kg_cuda_current(c);
    cudaError_t e = kg_cuda_faulty(c, KG_FAULT_ALLOC) ? cudaErrorMemoryAllocation : cudaMallocHost(&p, bytes ? bytes : 1);
    if (e == cudaErrorMemoryAllocation) {
        cudaGetLastError();
        kg_fail(KG_FAILED, "cuda:%d: %zu bytes of host memory cannot be page-locked", c->index, bytes);
        return NULL;
    }
    return kg_cuda_check(c, -1, e, "page-locking host memory") == KG_OK ? p : NULL;
}

static void host_free(kg_device *d, void *p)
{
    kg_cuda_current(kg_cuda_of_device(d));
    if (p)
        cudaFreeHost(p);
}

/* ---- its life ---- */
static void destroy(kg_device *d)
{
    kg_cuda *c = kg_cuda_of_device(d);
    release(d);
    kg_cuda_unmap(c);
    kg_pool_free(c->readers);
    kg_ring_free(&c->ring);
    kg_cuda_later_end(c);
    if (c->dnn) {
        kg_cuda_attention_forget(c->dnn);
        kg_cuda_conv_forget(c->dnn);
        kg_lib.cudnnDestroy(c->dnn);
    }
    if (c->later.dnn)
        kg_lib.cudnnDestroy(c->later.dnn);
    if (c->lt) {
        kg_cuda_linear_forget(c->lt);
        kg_lib.cublasLtDestroy(c->lt);
    }
    for (int i = 0; i < KG_LANES; ++i) {
        kg_ring_free(&c->lane[i].stage);
        for (int k = 0; k < KG_EVENTS; ++k)
            if (c->lane[i].event[k])
                cudaEventDestroy(c->lane[i].event[k]);
        if (c->lane[i].stream)
            cudaStreamDestroy(c->lane[i].stream);
    }
    cudaGetLastError();
    kg_cuda_memory_close(c);
    delete c;
}

static kg_device_ops make_ops()
{
    kg_device_ops o = {};
    o.reserve = reserve;
    o.release = release;
    o.read = kg_cuda_read;
    o.write = write_host;
    o.fetch = fetch;
    o.record = record;
    o.wait = wait_event;
    o.sync = sync_event;
    o.destroy = destroy;
    o.drop = kg_cuda_drop;
    o.host_alloc = host_alloc;
    o.host_free = host_free;
    return o;
}

static const kg_device_ops *ops()
{
    static const kg_device_ops o = make_ops();
    return &o;
}

int kg_cuda_is_card(kg_exec *x) { return kg_exec_device(x)->ops == ops(); }

static kg_status make_lanes(kg_cuda *c)
{
    int lowest = 0, highest = 0;
    cudaDeviceGetStreamPriorityRange(&lowest, &highest);
    for (int i = 0; i < KG_LANES; ++i) {
        kg_lane *l = &c->lane[i];
        int priority = i == KG_LANE_COMPUTE ? lowest : highest;
        if (kg_cuda_check(c, -1, cudaStreamCreateWithPriority(&l->stream, cudaStreamNonBlocking, priority), "making a stream") != KG_OK)
            return KG_FAILED;
        for (int k = 0; k < KG_EVENTS; ++k)
            if (kg_cuda_check(c, -1, cudaEventCreateWithFlags(&l->event[k], cudaEventDisableTiming | cudaEventBlockingSync),
                              "making an event") != KG_OK)
                return KG_FAILED;
        if (kg_ring_new(c, &l->stage, KG_RING_WRITE) != KG_OK)
            return KG_FAILED;
    }
    return KG_OK;
}

static kg_status make_handles(kg_cuda *c)
{
    cublasStatus_t lt = kg_lib.cublasLtCreate(&c->lt);
    if (lt != CUBLAS_STATUS_SUCCESS)
        return kg_fail(KG_FAILED, "cuda:%d: cuBLASLt does not start: %s", c->index, kg_lib.cublasLtGetStatusString(lt));
    cudnnStatus_t dnn = kg_lib.cudnnCreate(&c->dnn);
    if (dnn == CUDNN_STATUS_SUCCESS)
        dnn = kg_lib.cudnnSetStream(c->dnn, c->lane[KG_LANE_COMPUTE].stream);
    if (dnn == CUDNN_STATUS_SUCCESS)
        dnn = kg_lib.cudnnCreate(&c->later.dnn);
    if (dnn != CUDNN_STATUS_SUCCESS)
        return kg_fail(KG_FAILED, "cuda:%d: cuDNN does not start: %s", c->index, kg_lib.cudnnGetErrorString(dnn));
    return KG_OK;
}

/* Threads that copy files' bytes: a few cores are left for the run itself and an encoder. */
static int reader_count()
{
    cpu_set_t set;
    int cores = sched_getaffinity(0, sizeof set, &set) ? 2 : CPU_COUNT(&set);
    return cores > 10 ? 8 : cores > 3 ? cores - 2 : 2;
}

static double now()
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static kg_status start_context(kg_cuda *c)
{
    double began = now();
    cudaError_t e = cudaInitDevice(c->index, cudaDeviceScheduleBlockingSync, cudaInitDeviceFlagsAreValid);
    if (e == cudaSuccess)
        e = cudaSetDevice(c->index);
    if (e != cudaSuccess)
        return kg_fail(KG_FAILED, "cuda:%d does not start: %s (%d)", c->index, cudaGetErrorString(e), (int)e);
    c->took[KG_TOOK_CONTEXT] = now() - began;
    began = now();
    if (kg_cuda_load_kernels(c) != KG_OK || make_lanes(c) != KG_OK)
        return KG_FAILED;
    c->took[KG_TOOK_KERNELS] = now() - began;
    return KG_OK;
}

static kg_status start(kg_cuda *c)
{
    double began = now();
    kg_cuda_memory_before(c);              /* opens a library too: before those that take long, as one is opened at a time */
    c->took[KG_TOOK_NVML] = now() - began;
    began = now();
    std::thread libraries;                                         /* hundreds of MB to map, while the context is made */
    try {
        libraries = std::thread([] { (void)kg_cuda_libs_open(); });
    } catch (const std::system_error &) {                          /* no thread: one after the other */
    }
    kg_status s = start_context(c);
    if (libraries.joinable())
        libraries.join();
    if (s != KG_OK || kg_cuda_libs_open() != KG_OK)                /* says on this thread what the other one found */
        return KG_FAILED;
    c->took[KG_TOOK_LIBRARIES] = now() - began - c->took[KG_TOOK_CONTEXT] - c->took[KG_TOOK_KERNELS];
    began = now();
    if (make_handles(c) != KG_OK)
        return KG_FAILED;
    c->took[KG_TOOK_HANDLES] = now() - began;
    began = now();
    if (!(c->readers = kg_pool_new(reader_count())))
        return kg_fail(KG_FAILED, "cannot start %d threads", reader_count());
    s = kg_cuda_measure(c);
    c->took[KG_TOOK_MEASURES] = now() - began;
    return s;
}

kg_device *kg_cuda_new(int index)
{
    int cc = 0, sms = 0;
    const double began = now();
    if (kg_cuda_find(index, &cc, &sms) != KG_OK)
        return NULL;
    kg_cuda *c = new (std::nothrow) kg_cuda();
    if (!c) {
        kg_fail(KG_FAILED, "out of host memory");
        return NULL;
    }
    c->took[KG_TOOK_DRIVER] = now() - began;       /* the first question starts it */
    c->index = index;
    c->cc = cc;
    c->sms = sms;
    c->register_maps = 1;
    c->kernels = kg_cuda_kernel_table();
    c->device.ops = ops();
    c->device.kernels = &c->kernels;
    c->device.class_name = "cuda";
    c->device.precision = KG_PRECISION_BF16;
    c->device.self = c;
    if (start(c) == KG_OK)
        return &c->device;
    destroy(&c->device);
    return NULL;
}
