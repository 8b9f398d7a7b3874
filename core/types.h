/* The vocabulary of the engine: element types, tensors, statuses.
 *
 * A tensor here is an address, a type and a shape, never an owner. Shapes are row-major, outermost first. All dimensions are
 * dense but one: the distance between rows (the last dimension) may be larger than a row, so that a column slice of a fused
 * product (q, k and v in one) is a tensor too. */
#ifndef KG_CORE_TYPES_H
#define KG_CORE_TYPES_H

#include <stddef.h>
#include <stdint.h>

#define KG_RANK 6          /* the most dimensions a tensor has                      */
#define KG_ALIGN 256       /* every tensor that core places starts at a multiple     */

typedef enum kg_dtype {
    KG_F32, KG_F16, KG_BF16, KG_U8, KG_I8, KG_I32, KG_I64, KG_F64, KG_F8_E4M3, KG_F8_E5M2, KG_DTYPES
} kg_dtype;

/* Exit statuses of the command line double as error classes. */
typedef enum kg_status {
    KG_OK = 0,
    KG_FAILED = 1,     /* failed while running                       */
    KG_USAGE = 2,      /* wrong usage, a script or graph error       */
    KG_NOFIT = 3,      /* no plan fits the budget                    */
    KG_INPUT = 4,      /* an input file is missing or malformed      */
    KG_CANCELLED = 130
} kg_status;

typedef struct kg_tensor {
    void *at;              /* device address; nodes never read it (the lint test holds that) */
    int64_t shape[KG_RANK];
    int64_t row;           /* elements from one row to the next; shape[rank - 1] when dense  */
    int rank;
    kg_dtype dtype;
} kg_tensor;

size_t kg_dtype_bytes(kg_dtype d);
const char *kg_dtype_name(kg_dtype d);                  /* "f32", "bf16", ...                               */
int kg_dtype_find(const char *name, kg_dtype *d);       /* 1 when found                                     */

kg_tensor kg_tensor_make(void *at, kg_dtype d, int rank, const int64_t *shape);
int64_t kg_count(const kg_tensor *t);                   /* elements                                         */
int64_t kg_rows(const kg_tensor *t);                    /* elements / shape[rank - 1]                       */
int64_t kg_cols(const kg_tensor *t);                    /* shape[rank - 1]                                  */
size_t kg_bytes(const kg_tensor *t);                    /* bytes of a dense tensor                          */
int kg_dense(const kg_tensor *t);
/* What n floats on the host hold beside numbers, as bits; 0 for types that have no such values. */
enum { KG_HAS_NAN = 1, KG_HAS_INF = 2 };
int kg_not_finite(const void *p, kg_dtype d, size_t n);
const char *kg_not_finite_name(int bits);               /* "NaN", "Inf", "NaN and Inf"                      */

/* Views. Out of range arguments are a programming error (assert). */
kg_tensor kg_slice_cols(kg_tensor t, int64_t first, int64_t count);   /* a range of the last dimension      */
kg_tensor kg_slice(kg_tensor t, int64_t first, int64_t count);        /* a range of the outermost dimension */
kg_tensor kg_at(kg_tensor t, int64_t index);                          /* one of the outermost; rank - 1     */
kg_tensor kg_view(kg_tensor t, int rank, const int64_t *shape);       /* dense; same count                  */

#define KG_SHAPE(...) \
    (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (int64_t[]){__VA_ARGS__}

#endif
