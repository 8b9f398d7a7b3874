/* Numbers as they are typed: sizes and counts, read whole or not at all. For every program of tools/. */
#ifndef KG_TOOLS_KINO_NUMBER_H
#define KG_TOOLS_KINO_NUMBER_H

#include "core/error.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Bytes: "1500000000", "1.5G" and "1.5GiB" (times 2^30), "1.5GB" (times 10^9); so with K, M and T. what: the option, for the error. */
kg_status kino_size(const char *what, const char *text, size_t *out);
/* A whole number in decimal digits, from least to most. */
kg_status kino_count(const char *what, const char *text, long least, long most, long *out);
int kino_digits(const char *text, long most, long *out);       /* the same without an error: 1, or 0 */
int kino_card(const char *device);                             /* N of "cuda[:N]"; -1: it is neither */

#ifdef __cplusplus
}
#endif

#endif
