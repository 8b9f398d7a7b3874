/* Names of tensors in two dialects: families ask by the official ones, files may use others. */
#ifndef KG_NODES_LIB_NAMES_H
#define KG_NODES_LIB_NAMES_H

#include <stddef.h>

/* A row of an alias table; the table ends with {NULL, NULL}. "%d" stands for a number. A row is about a whole name, or about
 * its leading part up to a '.' (the rest is kept):
 *     {"blocks.%d.self_attn.q", "blocks.%d.attn1.to_q"}      also for .weight and .bias
 * An official name may have several rows, for several dialects. */
typedef struct kg_alias { const char *official, *other; } kg_alias;

#define KG_NAME_MAX 1100

/* Writes what a row makes of an official name; 0 when the row is not about it, or out is too small. */
int kg_alias_apply(const kg_alias *row, const char *official, char *out, size_t n);

/* The number at the first "%d" of a pattern that begins name, and is followed by what the pattern has next; -1 when it does not:
 * ("blocks.%d.", "blocks.12.norm1.weight") is 12. */
int kg_name_number(const char *pattern, const char *name);

#endif
