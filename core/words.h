/* Figures in words, where people read them: one function for every time that is said. */
#ifndef KG_CORE_WORDS_H
#define KG_CORE_WORDS_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

#define KG_WORDS 32
/* "0.4 s", "42 s", "5 min 12 s", "35 h 12 min", "8 days 4 h": two units at most, rounded; returns out (KG_WORDS bytes do). */
const char *kg_words_seconds(double seconds, char *out, size_t n);

#ifdef __cplusplus
}
#endif

#endif
