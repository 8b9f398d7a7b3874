/* A fuzzer in one file: seeds, changed at random, for a number of seconds.
 *
 *     <target> [seconds [start]]     the same start gives the same inputs
 *     <target> FILE...               runs these files once (a crash that was kept, a corpus)
 *     <target> -seeds FOLDER         writes its seeds there, for a fuzzer that sees coverage (tests/fuzz/run)
 *
 * It sees no coverage, so it lives by its seeds. The input that crashed is kept as fuzz-crash.bin. */
#include "tests/fuzz/fuzz.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { MAX = 1 << 16, SEEDS = 64 };
static struct { uint8_t bytes[MAX]; size_t size; } seeds[SEEDS], input;
static int n_seeds;
static char crash[4096 + 32];      /* where a crash is kept: the folder of the start, whatever the target does */
static uint64_t state = 1;

#pragma weak kg_fuzz_seed

static void keep(int signal_number)
{
    int fd = open(crash, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    if (fd < 0 || write(fd, input.bytes, input.size) < 0)
        _exit(2);
    signal(signal_number, SIG_DFL);
    raise(signal_number);
}

/* splitmix64 */
static uint64_t next(void)
{
    uint64_t z = (state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static size_t below(size_t n) { return n ? (size_t)(next() % n) : 0; }

/* Numbers that readers stumble over, as bytes and as text. */
static size_t interesting(uint8_t out[32])
{
    static const uint64_t numbers[] = {0, 1, 0x7f, 0x80, 0xff, 0x7fffffff, 0x80000000, 0xffffffff, 0x7fffffffffffffff, UINT64_MAX};
    static const char *const texts[] = {"-1", "1e999", "null", "{", "[", "\"", "\\u0000", "9223372036854775808", "18446744073709551615"};
    if (below(2)) {
        uint64_t v = numbers[below(sizeof numbers / sizeof *numbers)];
        memcpy(out, &v, 8);
        return (size_t)1 << below(4);
    }
    const char *t = texts[below(sizeof texts / sizeof *texts)];
    memcpy(out, t, strlen(t));
    return strlen(t);
}

static void replace(size_t at, size_t drop, const uint8_t *put, size_t n)
{
    if (input.size - drop + n > MAX)
        return;
    memmove(input.bytes + at + n, input.bytes + at + drop, input.size - at - drop);
    if (n)
        memmove(input.bytes + at, put, n);
    input.size += n - drop;
}

static void change(void)
{
    uint8_t some[32];
    size_t at = below(input.size + 1), left = input.size - at;
    switch (below(6)) {
    case 0:
        if (left)
            input.bytes[at] ^= (uint8_t)(1u << below(8));
        break;
    case 1:
        if (left)
            input.bytes[at] = (uint8_t)next();
        break;
    case 2:
        replace(at, below(left < 64 ? left + 1 : 64), NULL, 0);
        break;
    case 3: {
        size_t n = interesting(some);
        replace(at, below(2) ? (left < n ? left : n) : 0, some, n);
        break;
    }
    case 4: {                                      /* a piece of another seed */
        const uint8_t *from = seeds[below((size_t)n_seeds)].bytes;
        size_t start = below(MAX / 256);
        replace(at, 0, from + start, below(64));
        break;
    }
    default:
        input.size = below(8) ? input.size : at;   /* cut short, now and then */
    }
}

static int run_file(const char *path)
{
    FILE *in = fopen(path, "rb");
    if (!in)
        return 0;
    input.size = fread(input.bytes, 1, MAX, in);
    fclose(in);
    LLVMFuzzerTestOneInput(input.bytes, input.size);
    return 1;
}

static int write_seeds(const char *folder)
{
    int good = 1;
    for (int i = 0; i < n_seeds; ++i) {
        char path[4096 + 32];
        snprintf(path, sizeof path, "%s/seed-%d", folder, i);
        FILE *out = fopen(path, "wb");
        good = out && fwrite(seeds[i].bytes, 1, seeds[i].size, out) == seeds[i].size && good;
        if (out)
            good = !fclose(out) && good;
    }
    return good;
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* The reader must see the end of the input: a copy of its size, so that a sanitizer guards the byte behind it. */
static void run_input(void)
{
    uint8_t *copy = malloc(input.size + !input.size);
    memcpy(copy, input.bytes, input.size);
    LLVMFuzzerTestOneInput(copy, input.size);
    free(copy);
}

int main(int argc, char **argv)
{
    char *end = NULL;
    double limit = argc > 1 ? strtod(argv[1], &end) : 1;
    if (!getcwd(crash, 4096))
        return 2;
    strcat(crash, "/fuzz-crash.bin");
    signal(SIGABRT, keep);
    signal(SIGSEGV, keep);
    while (kg_fuzz_seed && n_seeds < SEEDS && (seeds[n_seeds].size = kg_fuzz_seed(n_seeds, seeds[n_seeds].bytes, MAX)))
        ++n_seeds;
    if (argc == 3 && !strcmp(argv[1], "-seeds"))
        return !write_seeds(argv[2]);
    if (end && *end) {
        int good = 1;
        for (int i = 1; i < argc; ++i)
            good &= run_file(argv[i]);
        return !good;
    }
    state = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    long runs = 0;
    int count = n_seeds ? n_seeds : 1;
    for (double until = now() + limit; now() < until; ++runs) {
        input = seeds[runs % count];
        for (size_t i = runs < count ? 0 : 1 + below(8); i; --i)
            change();
        run_input();
    }
    printf("%ld inputs from %d seeds\n", runs, n_seeds);
    return 0;
}
