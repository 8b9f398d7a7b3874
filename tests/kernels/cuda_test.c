/* The CUDA device where there is a card: its pool, copies of every size, files by both ways, lanes that wait for each other, what the
 * driver charges, and its failures, each in a process of its own since a failed kernel ends a context. Without a card: that it says so.
 *
 *     kernels_cuda_test            checks
 *     kernels_cuda_test rates      also how fast a file's bytes reach the card (tools/gpu/check copies) */
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/error.h"
#include "core/file.h"
#include "kernels/kernel.h"
#include "tests/test.h"

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void refusals(void)
{
    CHECK(!kg_cuda_new(-1) && kg_error_last()->status == KG_FAILED && kg_error_last()->message[0]);
    kg_error_clear();
    CHECK(!kg_cuda_new(1000) && kg_error_last()->status == KG_FAILED && kg_error_last()->message[0]);
    kg_error_clear();
    if (!kg_cuda_count()) {
        CHECK(!kg_cuda_new(0) && kg_error_last()->status == KG_FAILED && kg_error_last()->message[0]);
        printf("no card: %s\n", kg_error_last()->message);
    }
    kg_error_clear();
}

static void fill(unsigned char *p, size_t n, uint64_t seed)
{
    for (size_t i = 0; i < n; i += 8) {
        uint64_t v = test_next(&seed);
        memcpy(p + i, &v, n - i < 8 ? n - i : 8);
    }
}

static kg_status settle(kg_device *d, int lane) { return d->ops->sync(d, d->ops->record(d, lane)); }

/* ---- the pool and copies ---- */
static void pool(kg_device *d)
{
    void *base = NULL, *again = NULL;
    size_t bytes = (size_t)100 << 20;
    CHECK(d->profile.discrete && !d->host_memory && d->precision == KG_PRECISION_BF16 && !strcmp(d->class_name, "cuda"));
    CHECK(strstr(d->tag, "cublaslt-") && strstr(d->tag, "cudnn-") && strstr(d->tag, "epoch"), "%s", d->tag);
    CHECK(d->profile.fixed > 1000000 && d->profile.fixed < d->profile.memory, "%zu of %zu", d->profile.fixed, d->profile.memory);
    for (int c = 0; c < KG_CLASSES; ++c)
        CHECK(d->profile.rate[c] > 1e9, "class %d", c);
    CHECK(d->ops->reserve(d, (size_t)1 << 50, &base) == KG_NOFIT && strstr(kg_error_last()->message, "MiB"), "%s",
          kg_error_last()->message);
    CHECK(kg_error_last()->hint[0]);
    kg_error_clear();
    CHECK(d->ops->reserve(d, bytes, &base) == KG_OK && base && (uintptr_t)base % KG_ALIGN == 0, "%s", kg_error_last()->message);
    CHECK(d->ops->reserve(d, bytes, &again) != KG_OK);
    kg_error_clear();
    size_t used = kg_cuda_used(d), planned = d->profile.fixed + bytes;
    printf("driver: %.1f MiB, fixed %.1f + pool %.1f\n", (double)used / 0x1p20, (double)d->profile.fixed / 0x1p20, (double)bytes / 0x1p20);
    CHECK(used <= planned + ((size_t)2 << 20) && used + planned / 50 >= planned, "driver %zu, planned %zu", used, planned);
    d->ops->release(d);
    d->ops->release(d);
    CHECK(d->ops->reserve(d, bytes, &base) == KG_OK, "%s", kg_error_last()->message);
    d->ops->release(d);
}

static void copies(kg_device *d)
{
    static const size_t sizes[] = {1, 3, 255, 4096, 1 << 20, (1 << 20) + 1, 9000001, 40 << 20};
    size_t room = (size_t)41 << 20;
    char *base = NULL;
    CHECK(d->ops->reserve(d, room, (void **)&base) == KG_OK, "%s", kg_error_last()->message);
    unsigned char *in = malloc(room), *out = d->ops->host_alloc(d, room);
    CHECK(out, "%s", kg_error_last()->message);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes && out; ++i)
        for (int lane = 0; lane < KG_LANES; ++lane) {
            size_t n = sizes[i];
            fill(in, n, 7 * i + (uint64_t)lane);
            CHECK(d->ops->write(d, lane, base + 5, in, n) == KG_OK);
            memset(in, 0, n < 4096 ? n : 4096);            /* src may be reused at once */
            memset(out, 0xee, n);
            CHECK(d->ops->fetch(d, lane, out, base + 5, n) == KG_OK && settle(d, lane) == KG_OK, "%s", kg_error_last()->message);
            fill(in, n, 7 * i + (uint64_t)lane);
            CHECK(!memcmp(in, out, n), "%zu bytes on lane %d", n, lane);
        }
    d->ops->host_free(d, out);
    d->ops->host_free(d, NULL);
    free(in);
    d->ops->release(d);
}

/* Many small writes wrap the ring of slots; lanes wait for each other's events, old ones too. */
static void lanes(kg_device *d)
{
    enum { N = 3000 };
    char *base = NULL;
    kg_event first = {0}, e = {0};
    uint64_t *out = d->ops->host_alloc(d, N * 8);
    CHECK(d->ops->reserve(d, N * 8, (void **)&base) == KG_OK && out, "%s", kg_error_last()->message);
    for (uint64_t i = 0; i < N; ++i) {
        int a = i % 2 ? KG_LANE_COPY : KG_LANE_COMPUTE, b = i % 2 ? KG_LANE_COMPUTE : KG_LANE_COPY;
        CHECK(d->ops->write(d, a, base + 8 * i, &i, 8) == KG_OK);
        e = d->ops->record(d, a);
        first = i ? first : e;
        CHECK(d->ops->wait(d, b, e) == KG_OK);
    }
    CHECK(d->ops->wait(d, KG_LANE_BACK, e) == KG_OK && d->ops->fetch(d, KG_LANE_BACK, out, base, N * 8) == KG_OK);
    CHECK(settle(d, KG_LANE_BACK) == KG_OK && d->ops->sync(d, first) == KG_OK && d->ops->sync(d, e) == KG_OK, "%s",
          kg_error_last()->message);
    int wrong = 0;
    for (uint64_t i = 0; i < N && out; ++i)
        wrong += out[i] != i;
    CHECK(!wrong, "%d of %d", wrong, N);
    d->ops->host_free(d, out);
    d->ops->release(d);
}

/* ---- files ---- */
typedef struct on_disk { kg_files *files; kg_file *file; char path[64]; unsigned char *bytes; size_t n; } on_disk;

static on_disk file_new(size_t n)
{
    on_disk f = {.files = kg_files_new(), .bytes = malloc(n), .n = n};
    snprintf(f.path, sizeof f.path, "/tmp/kg_cuda_test.%d", (int)getpid());
    fill(f.bytes, n, 99);
    FILE *out = fopen(f.path, "wb");
    CHECK(out && fwrite(f.bytes, 1, n, out) == n && !fclose(out));
    CHECK(kg_files_grant(f.files, f.path) == KG_OK && (f.file = kg_open(f.files, f.path)), "%s", kg_error_last()->message);
    return f;
}

static void file_free(on_disk *f)
{
    kg_file_unref(f->file);
    kg_files_free(f->files);
    unlink(f->path);
    free(f->bytes);
}

static void one_read(kg_device *d, const on_disk *f, char *base, unsigned char *out, uint64_t offset, size_t n, int stay)
{
    memset(out, 0xee, n);
    CHECK(d->ops->read(d, KG_LANE_COPY, base, f->file, offset, n, stay) == KG_OK, "%s", kg_error_last()->message);
    CHECK(d->ops->fetch(d, KG_LANE_COPY, out, base, n) == KG_OK && settle(d, KG_LANE_COPY) == KG_OK, "%s", kg_error_last()->message);
    CHECK(!memcmp(out, f->bytes + offset, n), "%zu bytes from %llu, stay %d", n, (unsigned long long)offset, stay);
}

static void files(kg_device *d)
{
    size_t room = (size_t)70 << 20;
    char *base = NULL;
    on_disk f = file_new(room + 12345);
    CHECK(d->ops->reserve(d, room, (void **)&base) == KG_OK, "%s", kg_error_last()->message);
    unsigned char *out = d->ops->host_alloc(d, room);
    uint64_t seed = 5;
    for (int stay = 0; stay < 2; ++stay) {
        one_read(d, &f, base, out, 0, room, stay);
        one_read(d, &f, base, out, 12345, room, stay);
        for (int i = 0; i < 200; ++i) {                    /* pieces that share pages, in any order; some dropped */
            size_t n = 1 + test_next(&seed) % (i % 5 ? 10000 : 3000000);
            uint64_t at = test_next(&seed) % (f.n - n);
            one_read(d, &f, base, out, at, n, stay);
            if (i % 3 == 0)
                d->ops->drop(d, f.file, at, n);
            if (i % 40 == 0)
                d->ops->drop(d, f.file, 0, f.n);
        }
        one_read(d, &f, base, out, f.n - 7, 7, stay);
        CHECK(d->ops->read(d, KG_LANE_COPY, base, f.file, f.n - 7, 8, stay) == KG_INPUT, "beyond the end, stay %d", stay);
        kg_error_clear();
    }
    d->ops->host_free(d, out);
    file_free(&f);
    d->ops->release(d);
}

/* ---- rates: GB/s, and of what the link was measured to give ---- */
static double pass(kg_device *d, const on_disk *f, char *base, int stay)
{
    enum { PIECE = 50 << 20 };             /* like the weights of a block */
    double began = now();
    for (size_t at = 0; at < f->n; at += PIECE)
        if (d->ops->read(d, KG_LANE_COPY, base + at, f->file, at, f->n - at < PIECE ? f->n - at : PIECE, stay) != KG_OK)
            return 0;
    return settle(d, KG_LANE_COPY) == KG_OK ? (double)f->n / (now() - began) : 0;
}

static void rates(kg_device *d)
{
    char *base = NULL;
    on_disk f = file_new((size_t)1500 << 20);
    CHECK(d->ops->reserve(d, f.n, (void **)&base) == KG_OK, "%s", kg_error_last()->message);
    double link = d->profile.copy, through = pass(d, &f, base, 0), again = pass(d, &f, base, 0);
    double first = pass(d, &f, base, 1), second = pass(d, &f, base, 1), third = pass(d, &f, base, 1);
    printf("link %.1f GB/s; through the ring %.1f, %.1f; staying: first %.1f (%.0f %%), later %.1f, %.1f (%.0f %%)\n", link / 1e9,
           through / 1e9, again / 1e9, first / 1e9, 100 * first / link, second / 1e9, third / 1e9, 100 * third / link);
    CHECK(first >= 0.5 * link, "the first pass at %.0f %% of the link", 100 * first / link);
    CHECK(third >= 0.8 * link, "later passes at %.0f %% of the link", 100 * third / link);
    double began = now();
    d->ops->drop(d, f.file, 0, f.n);
    printf("dropped in %.1f ms a GiB\n", 1e3 * (now() - began) / ((double)f.n / 0x1p30));
    file_free(&f);
    d->ops->release(d);
}

/* ---- failures ---- */
static void fault_alloc(kg_device *d)
{
    void *base = NULL;
    kg_cuda_fault(d, KG_FAULT_ALLOC, 2);
    void *p = d->ops->host_alloc(d, 100);
    CHECK(p && d->ops->reserve(d, 1 << 20, &base) == KG_NOFIT, "%s", kg_error_last()->message);
    kg_error_clear();
    d->ops->host_free(d, p);
    CHECK(d->ops->reserve(d, 1 << 20, &base) == KG_OK, "what is not there leaves the card unharmed: %s", kg_error_last()->message);
}

static void fault_copy(kg_device *d)
{
    char *base = NULL, bytes[64] = "";
    CHECK(d->ops->reserve(d, 1 << 20, (void **)&base) == KG_OK);
    kg_cuda_fault(d, KG_FAULT_COPY, 3);
    CHECK(d->ops->write(d, KG_LANE_COMPUTE, base, bytes, 64) == KG_OK && d->ops->fetch(d, KG_LANE_BACK, bytes, base, 64) == KG_OK);
    CHECK(d->ops->write(d, KG_LANE_COPY, base, bytes, 64) == KG_FAILED && strstr(kg_error_last()->message, "cuda:"), "%s",
          kg_error_last()->message);
    kg_error_clear();
    CHECK(d->ops->write(d, KG_LANE_COMPUTE, base, bytes, 64) == KG_FAILED, "every later call fails");
    kg_error_clear();
    CHECK(settle(d, KG_LANE_COMPUTE) == KG_FAILED);
}

static void fault_kernel(kg_device *d)
{
    kg_exec *x = kg_eager_new(d, 1 << 20);
    kg_tensor a = kg_temp(x, KG_F32, KG_SHAPE(16, 64));
    kg_cuda_fault(d, KG_FAULT_KERNEL, 2);
    for (int i = 0; i < 4; ++i)
        kg_unary(x, (kg_unary_args){.out = a, .in = a, .op = KG_UNARY_COPY});
    CHECK(settle(d, KG_LANE_COMPUTE) == KG_FAILED && strstr(kg_error_last()->message, "cuda:"), "%s", kg_error_last()->message);
    fprintf(stderr, "a kernel's failure reads: %s\n", kg_error_last()->message);
    kg_error_clear();
    CHECK(settle(d, KG_LANE_COPY) == KG_FAILED, "the other lanes fail as well");
    kg_error_clear();
    CHECK(!d->ops->host_alloc(d, 100) && kg_error_last()->status == KG_FAILED);
    kg_eager_free(x);
}

/* In a process of its own, opened there: a context does not live through fork. */
static void apart(void (*fn)(kg_device *))
{
    fflush(stdout);
    pid_t child = fork();
    if (!child) {
        kg_device *d = kg_cuda_new(0);
        CHECK(d, "%s", kg_error_last()->message);
        if (d)
            fn(d);
        kg_device_free(d);
        _exit(test_failures_ ? 1 : 0);
    }
    int status = 0;
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && !WEXITSTATUS(status), "status %x", status);
}

/* Asked in a process of its own too: this one must not have a context before it forks. */
static int any_card(void)
{
    int status = 0;
    pid_t child = fork();
    if (!child)
        _exit(kg_cuda_count() > 0);
    return waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status);
}

int main(int argc, char **argv)
{
    int card = any_card();
    CHECK(card || !getenv("KG_TEST_DEVICE") || strcmp(getenv("KG_TEST_DEVICE"), "cuda"), "KG_TEST_DEVICE asks for a card");
    if (card) {
        apart(fault_alloc);
        apart(fault_copy);
        apart(fault_kernel);
    }
    refusals();
    kg_device *d = card ? kg_cuda_new(0) : NULL;
    CHECK(d || !card, "%s", kg_error_last()->message);
    if (d) {
        char words[512];
        kg_cuda_describe(d, words, sizeof words);
        printf("%s: %s\n", d->profile.name, words);
        pool(d);
        copies(d);
        lanes(d);
        files(d);
        if (argc > 1 && !strcmp(argv[1], "rates"))
            rates(d);
    }
    kg_device_free(d);
    return TEST_END();
}
