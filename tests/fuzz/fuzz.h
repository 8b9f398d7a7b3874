/* A fuzz target: one file tests/fuzz/<reader>_fuzz.c with the two functions below. It is linked with libFuzzer where the compiler
 * is clang (option KG_LIBFUZZER), else with driver.c, which needs no tool and is what ctest runs for a second. */
#ifndef KG_TESTS_FUZZ_H
#define KG_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

/* Reads the bytes as its reader would. Must neither crash nor leak nor leave an error behind; returns 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
/* Good inputs to start from: writes number `index` and returns its size, 0 when there are no more. May be left out. */
size_t kg_fuzz_seed(int index, uint8_t *out, size_t max);

#endif
