/* The one test harness: a test file is a program; CHECK counts, TEST_END reports. */
#ifndef KG_TESTS_TEST_H
#define KG_TESTS_TEST_H

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Atomic int test_failures_, test_checks_;      /* devices of tests have threads that check */
#define CHECK(c, ...) \
    do { \
        ++test_checks_; \
        if (!(c)) { \
            ++test_failures_; \
            fprintf(stderr, "%s:%d: CHECK(%s) ", __FILE__, __LINE__, #c); \
            fprintf(stderr, " " __VA_ARGS__); \
            fputc('\n', stderr); \
        } \
    } while (0)
#define TEST_END() \
    (printf("%s: %d checks, %d failed\n", __FILE__, test_checks_, test_failures_), test_failures_ || !test_checks_)

/* A small generator for inputs: splitmix64, uniform in [-1, 1). */
static inline uint64_t test_next(uint64_t *s)
{
    uint64_t z = (*s += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}
static inline float test_uniform(uint64_t *s) { return (float)((double)(int64_t)test_next(s) * 0x1p-63); }

/* Relative L2 distance of a to b. */
static inline double test_error(const float *a, const float *b, int64_t n)
{
    double num = 0, den = 0;
    for (int64_t i = 0; i < n; ++i) {
        num += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
        den += (double)b[i] * b[i];
    }
    return sqrt(num / (den > 0 ? den : 1));
}

#endif
