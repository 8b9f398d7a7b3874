/* What the card did, kernel by kernel: a library that CUDA loads into any program, kino and the peers alike.
 *
 *     CUDA_INJECTION64_PATH=build/libkg_profile.so build/kg_bench text ...      (LD_LIBRARY_PATH names the folder of libcupti)
 *     KG_PROFILE=FILE          where the table goes; standard error without
 *     KG_PROFILE_WINDOW=A      only what lies between the first and the last kernel whose name holds A: "patches" is the denoising
 *                              loop of a transformer, from the first forward's first kernel to the last one's last
 *
 * The table: time the card was busy with a kernel and idle, the longest gaps, then kernels by time. Records come from CUPTI: a kernel is
 * measured on the card. Launches cost more than without. */
#include <cupti.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BUFFER = 8 << 20, ALIGN = 8, TOP = 40, GAPS = 8 };

typedef struct span { uint64_t start, end; const char *name; } span;
typedef struct sum { const char *name; uint64_t time, n; } sum;

static struct { pthread_mutex_t lock; span *at; size_t n, room; size_t lost; } all = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* CUPTI keeps a name as long as the record; each is stored once. */
static const char *kept(const char *name)
{
    static struct { char **at; size_t n; } names;
    for (size_t i = names.n; i-- > 0;)
        if (!strcmp(names.at[i], name))
            return names.at[i];
    char **more = realloc(names.at, (names.n + 1) * sizeof *more), *copy = more ? strdup(name) : NULL;
    if (more)
        names.at = more;
    if (!copy)
        return "?";
    return names.at[names.n++] = copy;
}

static void add(const CUpti_ActivityKernel10 *k)
{
    if (all.n == all.room) {
        size_t room = all.room ? all.room * 2 : 1 << 16;
        span *more = realloc(all.at, room * sizeof *more);
        if (!more) {
            ++all.lost;
            return;
        }
        all.at = more, all.room = room;
    }
    all.at[all.n++] = (span){k->start, k->end, kept(k->name)};
}

static void CUPTIAPI give_buffer(uint8_t **buffer, size_t *size, size_t *most)
{
    *buffer = aligned_alloc(ALIGN, BUFFER);
    *size = *buffer ? BUFFER : 0;
    *most = 0;
}

static void CUPTIAPI take_buffer(CUcontext context, uint32_t stream, uint8_t *buffer, size_t size, size_t valid)
{
    CUpti_Activity *r = NULL;
    size_t lost = 0;
    (void)size;
    pthread_mutex_lock(&all.lock);
    while (valid && cuptiActivityGetNextRecord(buffer, valid, &r) == CUPTI_SUCCESS)
        if (r->kind == CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL)
            add((const CUpti_ActivityKernel10 *)r);
    if (cuptiActivityGetNumDroppedRecords(context, stream, &lost) == CUPTI_SUCCESS)
        all.lost += lost;
    pthread_mutex_unlock(&all.lock);
    free(buffer);
}

static int by_start(const void *a, const void *b)
{
    const span *x = a, *y = b;
    return (x->start > y->start) - (x->start < y->start);
}

static int by_time(const void *a, const void *b)
{
    const sum *x = a, *y = b;
    return (x->time < y->time) - (x->time > y->time);
}

/* Those between the first and the last one whose name holds word. */
static size_t window(span *at, size_t n, const char *word, span **first)
{
    size_t from = n, to = 0;
    *first = at;
    if (!word || !*word)
        return n;
    for (size_t i = 0; i < n; ++i)
        if (strstr(at[i].name, word)) {
            from = from == n ? i : from;
            to = i + 1;
        }
    *first = at + from;
    return to > from ? to - from : 0;
}

static void put_gaps(FILE *f, const span *at, size_t n)
{
    struct { uint64_t length; size_t before; } longest[GAPS] = {{0, 0}};
    uint64_t end = at[0].end, idle = 0, small = 0;
    for (size_t i = 1; i < n; ++i) {
        if (at[i].start > end) {
            uint64_t gap = at[i].start - end;
            idle += gap;
            small += gap < 20000 ? gap : 0;
            for (int k = 0; k < GAPS; ++k)
                if (gap > longest[k].length) {
                    memmove(longest + k + 1, longest + k, (size_t)(GAPS - 1 - k) * sizeof *longest);
                    longest[k].length = gap, longest[k].before = i;
                    break;
                }
        }
        end = at[i].end > end ? at[i].end : end;
    }
    const double whole = (double)(end - at[0].start);
    fprintf(f, "profile: %zu kernels in %.3f ms, idle %.3f ms (%.2f %%), of it %.3f ms in gaps below 20 us; %zu records lost\n",
            n, whole / 1e6, (double)idle / 1e6, 100 * (double)idle / whole, (double)small / 1e6, all.lost);
    for (int k = 0; k < GAPS && longest[k].length; ++k)
        fprintf(f, "profile: gap %9.1f us at %9.3f ms, before %.90s\n", (double)longest[k].length / 1e3,
                (double)(at[longest[k].before].start - at[0].start) / 1e6, at[longest[k].before].name);
}

static void put_kernels(FILE *f, const span *at, size_t n)
{
    sum *sums = calloc(n, sizeof *sums);
    size_t kinds = 0;
    uint64_t whole = 0;
    for (size_t i = 0; i < n && sums; ++i) {
        size_t k = 0;
        while (k < kinds && sums[k].name != at[i].name)
            ++k;
        kinds += k == kinds;
        sums[k].name = at[i].name;
        sums[k].time += at[i].end - at[i].start;
        ++sums[k].n;
        whole += at[i].end - at[i].start;
    }
    if (sums)
        qsort(sums, kinds, sizeof *sums, by_time);
    for (size_t k = 0; k < kinds && k < TOP; ++k)
        fprintf(f, "profile: %9.3f ms %5.1f %% %7llu x %10.2f us  %.150s\n", (double)sums[k].time / 1e6,
                100 * (double)sums[k].time / (double)whole, (unsigned long long)sums[k].n, (double)sums[k].time / 1e3 / (double)sums[k].n,
                sums[k].name);
    free(sums);
}

static void report(void)
{
    const char *file = getenv("KG_PROFILE");
    FILE *f = file ? fopen(file, "a") : stderr;
    cuptiActivityFlushAll(CUPTI_ACTIVITY_FLAG_FLUSH_FORCED);
    pthread_mutex_lock(&all.lock);
    span *at = NULL;
    qsort(all.at, all.n, sizeof *all.at, by_start);
    size_t n = window(all.at, all.n, getenv("KG_PROFILE_WINDOW"), &at);
    if (f && n) {
        put_gaps(f, at, n);
        put_kernels(f, at, n);
    } else if (f)
        fputs("profile: no kernel\n", f);
    if (file && f)
        fclose(f);
    pthread_mutex_unlock(&all.lock);
}

/* Called by the CUDA driver before the program's first call of it. */
int InitializeInjection(void);
int InitializeInjection(void)
{
    if (cuptiActivityRegisterCallbacks(give_buffer, take_buffer) != CUPTI_SUCCESS ||
        cuptiActivityEnable(CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL) != CUPTI_SUCCESS) {
        fputs("profile: CUPTI does not start\n", stderr);
        return 0;
    }
    atexit(report);
    return 1;
}
