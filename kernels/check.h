/* What fronts ask about their arguments, and the one way in which they refuse them. */
#ifndef KG_KERNELS_CHECK_H
#define KG_KERNELS_CHECK_H

#include "kernels/kernel.h"

static inline int kg_is_float(const kg_tensor *t)
{
    return t->rank > 0 && (t->dtype == KG_F32 || t->dtype == KG_BF16 || t->dtype == KG_F16);
}
/* What activations may be: the same types, f16 slowly on the CPU. */
static inline int kg_is_act(const kg_tensor *t) { return kg_is_float(t); }
/* A vector of n floats, or none at all. */
static inline int kg_is_vector(const kg_tensor *t, int64_t n) { return kg_is_float(t) && kg_rows(t) == 1 && kg_cols(t) == n; }
static inline int kg_is_no_or_vector(const kg_tensor *t, int64_t n) { return !t->rank || kg_is_vector(t, n); }
static inline int kg_is_rows(const kg_tensor *t, int64_t rows, int64_t cols)
{
    return t->rank > 0 && kg_rows(t) == rows && kg_cols(t) == cols;
}

/* Reports "OP: WHY: a f32 [3, 4], b bf16 [4]" through kg_front_fail; names are "a, b". */
void kg_refuse(kg_exec *x, const char *op, const char *why, const char *names, int n, const kg_tensor *const *tensors);
#define KG_REFUSE(x, op, why, names, ...) \
    kg_refuse(x, op, why, names, (int)(sizeof((const kg_tensor *[]){__VA_ARGS__}) / sizeof(const kg_tensor *)), \
              (const kg_tensor *const[]){__VA_ARGS__})

/* The end of a front: with the plan's `finite`, NaN or Inf in what it made (rank 0: nothing) ends the run here, and names the op and the
 * weight that holds it, if one does. */
void kg_front_out(kg_exec *x, const char *op, const kg_tensor *out);

/* Scratch of a front: bytes that last until kg_release(x, mark). */
kg_tensor kg_scratch(kg_exec *x, size_t bytes);
int kg_front_workers(kg_exec *x);              /* 1 in a fill, which runs on the copy lane */

#endif
