/* The CPU as a device: its pool is host memory, its lanes are the threads that call it (core's compute and copy threads), so
 * events are done when they are recorded. The profile holds rates by instruction set and number of cores, not measured ones: a
 * plan then depends on the machine's kind alone, and core corrects the seconds by what runs take. */
#include "core/file.h"
#include "core/system.h"
#include "kernels/cpu/cpu.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <oneapi/dnnl/dnnl.h>

static const kg_kernels cpu_kernels = {
    .linear_scratch = kg_cpu_linear_scratch, .attention_scratch = kg_cpu_attention_scratch, .conv_scratch = kg_cpu_conv_scratch,
    .linear = kg_cpu_linear, .attention = kg_cpu_attention, .residual_norm = kg_cpu_residual_norm, .rms_norm = kg_cpu_rms_norm,
    .rope_table = kg_cpu_rope_table, .unary = kg_cpu_unary, .gated_gelu = kg_cpu_gated_gelu, .combine = kg_cpu_combine,
    .fill = kg_cpu_fill, .rel_bias = kg_cpu_rel_bias,
    .patchify = kg_cpu_patchify, .unpatchify = kg_cpu_unpatchify, .noise = kg_cpu_noise, .conv = kg_cpu_conv,
    .conv_pack = kg_cpu_conv_pack, .channel_norm = kg_cpu_channel_norm, .latent_frames = kg_cpu_latent_frames,
    .pixels = kg_cpu_pixels, .look = kg_cpu_look};

typedef struct cpu {
    kg_device device;
    void *base;                    /* of the mapping */
    size_t mapped;
} cpu;

enum { HUGE = 2 << 20 };

/* Untouched pages of the pool cost nothing; large ones spare faults and TLB misses. */
static kg_status reserve(kg_device *d, size_t bytes, void **base)
{
    cpu *c = (cpu *)d;
    size_t want = (bytes + 2 * HUGE - 1) / HUGE * HUGE;
    if (want < bytes)
        return kg_fail(KG_NOFIT, "a pool of %zu bytes is more than there are addresses", bytes);
    void *p = mmap(NULL, want, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        return kg_fail(KG_NOFIT, "cannot reserve a pool of %zu bytes: %s", bytes, strerror(errno));
    madvise(p, want, MADV_HUGEPAGE);
    c->base = p;
    c->mapped = want;
    *base = (void *)(((uintptr_t)p + HUGE - 1) / HUGE * HUGE);
    return KG_OK;
}

static void release(kg_device *d)
{
    cpu *c = (cpu *)d;
    if (c->base)
        munmap(c->base, c->mapped);
    c->base = NULL;
}

static kg_status read_file(kg_device *d, int lane, void *dst, const struct kg_file *f, uint64_t offset, size_t bytes, int stay)
{
    (void)d, (void)lane, (void)stay;
    return kg_file_read(f, offset, dst, bytes);
}

static kg_status copy(kg_device *d, int lane, void *dst, const void *src, size_t bytes)
{
    (void)d, (void)lane;
    if (bytes)
        memcpy(dst, src, bytes);
    return KG_OK;
}

static kg_event record(kg_device *d, int lane)
{
    (void)d;
    return (kg_event){.serial = 0, .lane = lane};
}

static kg_status wait_event(kg_device *d, int lane, kg_event e)
{
    (void)d, (void)lane, (void)e;
    return KG_OK;
}

static kg_status sync_event(kg_device *d, kg_event e)
{
    (void)d, (void)e;
    return KG_OK;
}

static void *host_alloc(kg_device *d, size_t bytes)
{
    (void)d;
    void *p = malloc(bytes ? bytes : 1);
    if (!p)
        kg_fail(KG_FAILED, "out of host memory for %zu bytes", bytes);
    return p;
}

static void host_free(kg_device *d, void *p)
{
    (void)d;
    free(p);
}

static void destroy(kg_device *d)
{
    release(d);
    kg_pool_free(d->self);
    free(d);
}

static const kg_device_ops cpu_ops = {.reserve = reserve, .release = release, .read = read_file, .write = copy, .fetch = copy,
    .record = record, .wait = wait_event, .sync = sync_event, .destroy = destroy,
    .host_alloc = host_alloc, .host_free = host_free};

static int cores(void)
{
    cpu_set_t set;
    int n = sched_getaffinity(0, sizeof set, &set) ? 0 : CPU_COUNT(&set);
    return n > 0 ? n : (int)sysconf(_SC_NPROCESSORS_ONLN);
}

/* What oneDNN will use for 16-bit products on this machine. */
enum { DOT_NONE, DOT_BF16, DOT_AMX };
static int dot16(void)
{
    unsigned isa = (unsigned)dnnl_get_effective_cpu_isa();     /* a set of bits: greater sets hold the smaller ones */
    if ((isa & dnnl_cpu_isa_avx512_core_amx) == dnnl_cpu_isa_avx512_core_amx)
        return DOT_AMX;
    return (isa & dnnl_cpu_isa_avx512_core_bf16) == dnnl_cpu_isa_avx512_core_bf16 ? DOT_BF16 : DOT_NONE;
}

/* What a run comes to take beside its plan: the libraries' code as it is first used, threads, the cache. Measured by
 * tests/plan/promise_test.c, 8 to 11 MiB for all graphs and sizes. */
enum { LATER = 10 << 20 };

static kg_profile profile(int threads)
{
    static const double core_f32[KG_ISAS] = {8e9, 60e9, 150e9}, core_16[3] = {0.6, 1.8, 5.0};   /* FLOP/s; times of f32 */
    double f32 = core_f32[kg_cpu_isa()] * threads, rows = 6e9 * (threads < 8 ? threads : 8);
    kg_profile p = {.version = 1, .threads = threads, .copy = 10e9, .disk = 1.5e9, .launch = 5e-6};
    snprintf(p.name, sizeof p.name, "cpu, %d threads, %s", threads, kg_cpu_isa_name(kg_cpu_isa()));
    kg_host_memory m;
    kg_host_memory_read("", &m);
    p.fixed = kg_system_bytes("/proc/self/status", "VmRSS:", 1024) + LATER;
    p.memory = m.left + p.fixed - LATER;       /* what it may take, and what it has */
    p.rate[KG_C_MATMUL] = f32;
    p.rate[KG_C_MATMUL16] = f32 * core_16[dot16()];
    p.rate[KG_C_ATTENTION] = 0.7 * f32;
    p.rate[KG_C_CONV] = 2.5 * f32;             /* of plain sums: most run as a quarter of the products */
    p.rate[KG_C_ROWS] = rows;
    p.rate[KG_C_HOST] = 2e9;
    return p;
}

kg_device *kg_cpu_new(int threads)
{
    if (threads < 0 || threads > 1024) {
        kg_fail(KG_USAGE, "%d threads: between 1 and 1024, or 0 for all", threads);
        return NULL;
    }
    if (!threads)
        threads = cores();
    cpu *c = calloc(1, sizeof *c);
    kg_pool *pool = c ? kg_pool_new(threads) : NULL;
    if (!pool) {
        free(c);
        kg_fail(KG_FAILED, "cannot start %d threads", threads);
        return NULL;
    }
    const dnnl_version_t *v = dnnl_version();
    kg_device *d = &c->device;
    *d = (kg_device){.ops = &cpu_ops, .kernels = &cpu_kernels, .class_name = "cpu", .precision = KG_PRECISION_F32,
        .host_memory = 1, .self = pool};
    snprintf(d->tag, sizeof d->tag, "cpu %s onednn-%d.%d.%d-isa%x epoch %d", kg_cpu_isa_name(kg_cpu_isa()), v->major, v->minor,
             v->patch, (unsigned)dnnl_get_effective_cpu_isa(), KG_EPOCH);
    d->profile = profile(threads);
    return d;
}
