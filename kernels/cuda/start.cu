/* What is checked before a card is taken, and measured when it is: its kernels, its memory as the driver counts it, its rates.
 *
 * fixed is what the driver charges this process before the pool: the context, the modules, what the libraries hold. NVML says it by
 * process; without NVML it is the difference that starting made in the card's free memory, as far as it can be seen from inside.
 * Rates of products are fractions of what the card could do, by compute capability: what long runs reached under the power limit,
 * not bursts. Copies are measured. Measured figures are rounded to two digits: a plan then is the same from start to start. */
#include "core/system.h"
#include "kernels/cuda/device.h"
#include "kernels/cuda/linear.h"

#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* ---- before a context is made ---- */
static kg_status no_driver(cudaError_t e)
{
    int driver = 0, runtime = 0;
    cudaDriverGetVersion(&driver);
    cudaRuntimeGetVersion(&runtime);
    if (!driver)
        kg_fail(KG_FAILED, "there is no NVIDIA driver here");
    else if (e == cudaErrorInsufficientDriver)
        kg_fail(KG_FAILED, "the NVIDIA driver is for CUDA %d.%d; this build needs one for %d.%d", driver / 1000, driver % 1000 / 10,
                runtime / 1000, runtime % 1000 / 10);
    else
        kg_fail(KG_FAILED, "no card can be used: %s (%d)", cudaGetErrorString(e), (int)e);
    return KG_FAILED;
}

int kg_cuda_count(void)
{
    int n = 0;
    cudaError_t e = cudaGetDeviceCount(&n);
    cudaGetLastError();
    return e == cudaSuccess ? n : 0;
}

kg_status kg_cuda_find(int index, int *cc, int *sms)
{
    int n = 0, major = 0, minor = 0;
    cudaError_t e = cudaGetDeviceCount(&n);
    cudaGetLastError();
    if (e != cudaSuccess)
        return no_driver(e);
    if (index < 0 || index >= n)
        return kg_fail(KG_FAILED, "there is no cuda:%d: %d card%s", index, n, n == 1 ? " is here, cuda:0" : "s are here");
    if (cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, index) != cudaSuccess ||
        cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, index) != cudaSuccess ||
        cudaDeviceGetAttribute(sms, cudaDevAttrMultiProcessorCount, index) != cudaSuccess)
        return no_driver(cudaGetLastError());
    *cc = 10 * major + minor;
    return KG_OK;
}

/* ---- kernels ---- */
extern "C" const void *const __start_kg_cuda_kernels[], *const __stop_kg_cuda_kernels[];

/* Asking for its attributes loads a kernel. The libraries' own are many and stay lazy. */
kg_status kg_cuda_load_kernels(kg_cuda *c)
{
    for (const void *const *k = __start_kg_cuda_kernels; k < __stop_kg_cuda_kernels; ++k) {
        if (!*k)                       /* compilers align large arrays: there are gaps between those of two files */
            continue;
        cudaFuncAttributes a;
        cudaError_t e = cudaFuncGetAttributes(&a, *k);
        if (e == cudaErrorNoKernelImageForDevice || e == cudaErrorInvalidDeviceFunction) {
            kg_fail(KG_FAILED, "cuda:%d has compute capability %d.%d; this build has no kernels for it", c->index, c->cc / 10, c->cc % 10);
            kg_hint("configure it with -DKG_CUDA_ARCHS=\"80;90a\"");
            return KG_FAILED;
        }
        if (kg_cuda_check(c, -1, e, "loading a kernel") != KG_OK)
            return KG_FAILED;
    }
    return KG_OK;
}

/* ---- memory as the driver counts it ---- */
struct nvml_memory { unsigned version; unsigned long long total, reserved, free, used; };      /* nvmlMemory_v2_t      */
struct nvml_process { unsigned pid; unsigned long long used; unsigned gpu, compute; };         /* nvmlProcessInfo_v2_t */
typedef int nvml_call(void);
typedef int nvml_find(const char *, void **);
typedef int nvml_memory_call(void *, nvml_memory *);
typedef int nvml_process_call(void *, unsigned *, nvml_process *);

static void *symbol(const kg_cuda *c, const char *name) { return c->nvml ? dlsym(c->nvml, name) : NULL; }

static void *nvml_card(const kg_cuda *c)
{
    char bus[32] = "";
    void *card = NULL;
    nvml_find *find = (nvml_find *)symbol(c, "nvmlDeviceGetHandleByPciBusId_v2");
    if (!find || cudaDeviceGetPCIBusId(bus, sizeof bus, c->index) != cudaSuccess || find(bus, &card))
        return NULL;
    return card;
}

static size_t card_used(const kg_cuda *c)
{
    nvml_memory m = {};
    m.version = (unsigned)sizeof m | 2u << 24;
    void *card = nvml_card(c);
    nvml_memory_call *get = (nvml_memory_call *)symbol(c, "nvmlDeviceGetMemoryInfo_v2");
    return card && get && !get(card, &m) ? (size_t)m.used : 0;
}

/* This process's line in the driver's list; 0 when there is none (another pid namespace, no NVML). */
static size_t process_used(const kg_cuda *c)
{
    nvml_process list[128];
    unsigned n = 128;
    void *card = nvml_card(c);
    nvml_process_call *get = (nvml_process_call *)symbol(c, "nvmlDeviceGetComputeRunningProcesses_v3");
    if (!card || !get || get(card, &n, list))
        return 0;
    for (unsigned i = 0; i < n && i < 128; ++i)
        if (list[i].pid == (unsigned)getpid() && list[i].used != ~0ull)
            return (size_t)list[i].used;
    return 0;
}

void kg_cuda_memory_before(kg_cuda *c)
{
    c->nvml = dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
    nvml_call *init = (nvml_call *)symbol(c, "nvmlInit_v2");
    if (!init || init())
        kg_cuda_memory_close(c);
    c->used_before = card_used(c);
}

void kg_cuda_memory_close(kg_cuda *c)
{
    nvml_call *end = (nvml_call *)symbol(c, "nvmlShutdown");
    if (end)
        end();
    if (c->nvml)
        dlclose(c->nvml);
    c->nvml = NULL;
}

size_t kg_cuda_used(kg_device *d)
{
    kg_cuda *c = kg_cuda_of_device(d);
    size_t mine = process_used(c), all = card_used(c), there = 0, total = 0;
    if (mine)
        return mine;
    if (all)
        return all > c->used_before ? all - c->used_before : 0;
    kg_cuda_current(c);
    return cudaMemGetInfo(&there, &total) == cudaSuccess ? total - there : 0;
}

/* ---- rates ---- */
static double rounded(double v)
{
    double unit = v > 0 ? pow(10, floor(log10(v)) - 1) : 1;
    return round(v / unit) * unit;
}

/* Bytes a second of n copies of `bytes` on the copy lane; 0 when it cannot be said. */
static double copy_rate(kg_cuda *c, void *dst, const void *src, size_t bytes, int n, cudaMemcpyKind kind)
{
    cudaStream_t s = c->lane[KG_LANE_COPY].stream;
    cudaEvent_t begin = NULL, end = NULL;
    float ms = 0;
    cudaEventCreate(&begin);
    cudaEventCreate(&end);
    cudaMemcpyAsync(dst, src, bytes, kind, s);
    cudaEventRecord(begin, s);
    for (int i = 0; i < n; ++i)
        cudaMemcpyAsync(dst, src, bytes, kind, s);
    cudaEventRecord(end, s);
    cudaError_t e = cudaEventSynchronize(end);
    if (e == cudaSuccess)
        e = cudaEventElapsedTime(&ms, begin, end);
    cudaEventDestroy(begin);
    cudaEventDestroy(end);
    return e == cudaSuccess && ms > 0 ? (double)bytes * n / (1e-3 * (double)ms) : 0;
}

enum : size_t { PROBE = (size_t)256 << 20 };   /* beyond any card's L2, and a millisecond's work */

/* The link and the memory, through buffers that are given back: 2 x 256 MiB, or a guess on a card that has not got them. */
static void measure_copies(kg_cuda *c, double *link, double *memory)
{
    char *p = NULL;
    *link = *memory = 0;
    if (cudaMalloc((void **)&p, 2 * PROBE) == cudaSuccess) {
        *link = copy_rate(c, p, c->lane[KG_LANE_COPY].stage.base, KG_RING_SLOTS * KG_RING_WRITE, 16, cudaMemcpyHostToDevice);
        *memory = 2 * copy_rate(c, p + PROBE, p, PROBE, 4, cudaMemcpyDeviceToDevice);
        cudaFree(p);
    }
    cudaGetLastError();
}

/* By compute capability: dense 16-bit and f32 operations a clock and multiprocessor, and what part of them long runs reach. */
struct card_rate { int cc; double op16, op32, matmul, attention, conv; };
static const card_rate rates[] = {             /* table */
    {80, 2048, 128, 0.80, 0.60, 0.60}, {86, 512, 256, 0.85, 0.75, 0.65}, {87, 512, 256, 0.85, 0.75, 0.65},
    {89, 512, 256, 0.85, 0.75, 0.65}, {90, 4096, 256, 0.61, 0.52, 0.52}, {100, 8192, 256, 0.60, 0.50, 0.50},
    {120, 512, 256, 0.85, 0.75, 0.65}};

static void set_rates(const kg_cuda *c, kg_profile *p, double clock, double memory)
{
    const card_rate *r = rates;
    for (size_t i = 0; i < sizeof rates / sizeof *rates; ++i)
        if (rates[i].cc <= c->cc)
            r = &rates[i];
    double all16 = r->op16 * clock * c->sms, all32 = r->op32 * clock * c->sms;
    p->rate[KG_C_MATMUL] = rounded(0.75 * all32);
    p->rate[KG_C_MATMUL16] = rounded(r->matmul * all16);
    p->rate[KG_C_ATTENTION] = rounded(r->attention * all16);
    p->rate[KG_C_CONV] = rounded(r->conv * all16);
    p->rate[KG_C_ROWS] = rounded(memory > 0 ? 0.9 * memory : 5e11);
    p->rate[KG_C_HOST] = 2e9;
}

/* What comes after the start all the same: kernels of cuBLASLt and cuDNN as they are first used, and the pool's last 2 MiB page. */
enum : size_t { KG_CUDA_LATER = (size_t)10 << 20 };

/* The same on the host: what cuDNN and its compiler keep of making engines, at most 345 MiB on an H100 (cuDNN 9.19, driver 580; bf16,
 * twelve shapes: what the process had of its own, without what it had after the start and the rest of its plan). STEP: what is there
 * after the start differs a little from time to time, and a plan is not to. */
enum : size_t { KG_CUDA_HOST_LATER = (size_t)384 << 20, KG_CUDA_HOST_STEP = (size_t)64 << 20 };

kg_status kg_cuda_measure(kg_cuda *c)
{
    cudaDeviceProp card;
    double link, memory;
    int khz = 0, driver = 0;
    size_t total = 0, v = kg_lib.cudnnGetVersion(), lt = kg_lib.cublasLtGetVersion();
    kg_profile *p = &c->device.profile;
    if (kg_cuda_check(c, -1, cudaGetDeviceProperties(&card, c->index), "asking for the card's properties") != KG_OK)
        return KG_FAILED;
    measure_copies(c, &link, &memory);
    cudaDeviceGetAttribute(&khz, cudaDevAttrClockRate, c->index);
    p->version = 1;
    p->threads = c->sms;
    p->discrete = 1;
    snprintf(p->name, sizeof p->name, "%.60s", card.name);
    p->copy = rounded(link > 0 ? link : 12e9);
    p->disk = 1.5e9;
    p->launch = 3e-6;
    set_rates(c, p, khz > 0 ? 1e3 * khz : 1.5e9, memory);
    const size_t own = kg_system_bytes("/proc/self/status", "RssAnon:", 1024);
    p->host_fixed = (own / KG_CUDA_HOST_STEP + 1) * KG_CUDA_HOST_STEP + KG_CUDA_HOST_LATER +
                    KG_RING_SLOTS * (KG_RING_READ + KG_LANES * KG_RING_WRITE);
    cudaDriverGetVersion(&driver);
    snprintf(c->device.tag, sizeof c->device.tag,
             "cuda %.40s sm_%d x%d driver %d.%d cublaslt-%zu.%zu.%zu cudnn-%zu.%zu.%zu table %08x epoch %d", card.name, c->cc, c->sms,
             driver / 1000, driver % 1000 / 10, lt / 10000, lt / 100 % 100, lt % 100, v / 10000, v / 100 % 100, v % 100,
             (unsigned)kg_cuda_linear_hash(), KG_EPOCH);
    if (kg_cuda_check(c, -1, cudaMemGetInfo(&c->free_at_start, &total), "asking for free memory") != KG_OK)
        return KG_FAILED;
    p->fixed = kg_cuda_used(&c->device) + KG_CUDA_LATER;
    p->memory = c->free_at_start + p->fixed;
    return kg_cuda_failed(c);
}

void kg_cuda_describe(const kg_device *d, char *out, size_t n)
{
    const kg_cuda *c = kg_cuda_of_device(d);
    const double gib = 1073741824.0;
    size_t there = 0, total = 0;
    int driver = 0, runtime = 0;
    kg_cuda_current(c);
    cudaMemGetInfo(&there, &total);
    cudaDriverGetVersion(&driver);
    cudaRuntimeGetVersion(&runtime);
    snprintf(out, n, "compute capability %d.%d, %d multiprocessors, %.1f GiB (%.1f free, %.2f of it taken by this process), host to "
             "device %.1f GB/s, memory %.0f GB/s read and written, driver CUDA %d.%d, runtime %d.%d; start: driver %.2f s, NVML %.2f, "
             "context %.2f, kernels %.2f, waiting for libraries %.2f, handles %.2f, measuring %.2f", c->cc / 10, c->cc % 10, c->sms,
             (double)total / gib, (double)there / gib, (double)d->profile.fixed / gib, d->profile.copy / 1e9,
             d->profile.rate[KG_C_ROWS] / 0.9e9, driver / 1000, driver % 1000 / 10, runtime / 1000, runtime % 1000 / 10,
             c->took[KG_TOOK_DRIVER], c->took[KG_TOOK_NVML], c->took[KG_TOOK_CONTEXT], c->took[KG_TOOK_KERNELS],
             c->took[KG_TOOK_LIBRARIES], c->took[KG_TOOK_HANDLES], c->took[KG_TOOK_MEASURES]);
}
