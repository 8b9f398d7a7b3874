/* What kernel fronts and backends see of an execution, beyond core/exec.h. Nodes never include this. */
#ifndef KG_CORE_FRONT_H
#define KG_CORE_FRONT_H

#include "core/device.h"
#include "core/exec.h"

/* Classes of work with a rate of their own in the profile. */
typedef enum kg_class { KG_C_MATMUL, KG_C_MATMUL16, KG_C_ATTENTION, KG_C_CONV, KG_C_ROWS, KG_C_HOST, KG_CLASSES } kg_class;

/* Counts one kernel. Returns 1 when the backend is to be called now, 0 when dry or after a failure. */
int kg_front(kg_exec *x, const char *op, kg_class c, double flops, double bytes);
/* A front's refusal of its arguments (wrong shape or dtype): a programming error of a node, reported with its path. */
void kg_front_fail(kg_exec *x, const char *op, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Scratch that lives for one front: mark, kg_temp..., release. */
size_t kg_mark(kg_exec *x);
void kg_release(kg_exec *x, size_t mark);

kg_device *kg_exec_device(kg_exec *x);
int kg_exec_lane(kg_exec *x);                  /* KG_LANE_COMPUTE, or KG_LANE_COPY inside fill               */
int kg_cancelled(kg_exec *x);                  /* polled by CPU fronts for each tile; cheap, thread-safe     */

/* With the plan's `finite` fronts look at what they made before the next one runs. */
int kg_exec_finite(kg_exec *x);
int kg_peek(kg_exec *x, kg_tensor t, int32_t *value);      /* kg_ask without a place in the trace: after a failure was found */
/* The i-th weight of the segments in use, and where it is: 0 when there are no more. port: through
 * which it came. */
int kg_exec_weight(kg_exec *x, int i, const kg_weight **w, kg_tensor *t, const char **port);

/* An execution without graph, plan or trace: kg_temp takes from an arena of its own, kernels run at once. For tests and tune. */
kg_exec *kg_eager_new(kg_device *d, size_t arena_bytes);
void kg_eager_reset(kg_exec *x);               /* frees all temporaries                                      */
void kg_eager_free(kg_exec *x);

#endif
