/* All that a node's execute (begin, chunk, end, fill) may call.
 *
 * The same code runs twice: dry to plan (temporaries get addresses and no memory, fronts check and count) and wet to work (each call
 * advances a cursor over the trace and gets the planned address). So execute depends on nothing but params, descriptions and
 * kg_knob, and a value read from the device may only make it do less. After a failure every call is a no-op and kg_enter says
 * stop (non-zero). */
#ifndef KG_CORE_EXEC_H
#define KG_CORE_EXEC_H

#include "core/node.h"

typedef struct kg_weights { int n; const kg_tensor *t; } kg_weights;     /* in the order of the segment's weights */

const void *kg_params(kg_exec *x);
const kg_desc *kg_desc_in(kg_exec *x, int port);       /* kind NULL when the port is not joined                 */
const kg_desc *kg_desc_out(kg_exec *x, int port);
const void *kg_prepared(kg_exec *x);                   /* the result of prepare                                 */
kg_tensor kg_in(kg_exec *x, int port);                 /* item 0                                                */
kg_tensor kg_out(kg_exec *x, int port);
kg_tensor kg_in_item(kg_exec *x, int port, int item);
kg_tensor kg_out_item(kg_exec *x, int port, int item);
kg_tensor kg_temp(kg_exec *x, kg_dtype d, int rank, const int64_t *shape);   /* until kg_leave of the innermost scope  */
kg_tensor kg_keep(kg_exec *x, kg_dtype d, int rank, const int64_t *shape);   /* until execute (end) returns            */
int kg_enter(kg_exec *x, const char *name, int64_t i, int64_t n);            /* 0: go on; n > 0: progress i of n        */
int kg_leave(kg_exec *x);                              /* 0: go on                                              */
int kg_use(kg_exec *x, int port, int segment, kg_weights *w);                /* until this scope is left; 0: go on      */
int kg_put(kg_exec *x, kg_tensor t, const void *p, size_t bytes);            /* small host constants                    */

/* Host work and every outside effect; fn is not called when dry. Inputs and outputs are staged to host memory; an output holds what was
 * there before, outputs do not overlap, and there are 8 of each at most. arg is copied (arg_bytes, 512 at most). A node's works run in
 * order, but those without outputs may run later and on another thread: what arg points to lives as long as the node (params,
 * prepared, state), what fn touches of the state the node itself does not, and its error surfaces at a later kg_enter. host_bytes:
 * what fn allocates at most and keeps (counted into the plan while the node lives). */
typedef kg_status kg_work_fn(void *arg, const kg_tensor *ins, const kg_tensor *outs);
int kg_work(kg_exec *x, kg_work_fn *fn, const void *arg, size_t arg_bytes, int n_in, const kg_tensor *ins, int n_out,
            const kg_tensor *outs, size_t host_bytes);
void *kg_state(kg_exec *x, size_t bytes, void (*destroy)(void *));           /* zeroed; the same over begin, chunk, end;
                                                                                destroyed on every way out; also when dry  */
int kg_ask(kg_exec *x, kg_tensor t, int32_t *flag);    /* one device int32 to the host; dry answers 0            */
/* A device int32 of KG_HAS_NAN, KG_HAS_INF (kernels/ops.h: kg_watch) that ends the run when it is not 0: "NaN in WHAT", and the path of
 * here. It comes to the host behind what is queued and is looked at when the run waits in any case; no checkpoint, result or
 * host work that follows is carried out before it was. what: a constant. */
int kg_flag(kg_exec *x, kg_tensor flag, const char *what);
int kg_knob(kg_exec *x, int knob);                     /* the planner's choice: a value of the row               */
int kg_emit(kg_exec *x, int port, kg_tensor chunk);    /* next chunk of a stream output                          */

/* Checkpoints. kg_first: first step to run (0: no checkpoint); the planner fixes it. With a checkpoint, kg_restore fills the
 * tensors that kg_save was given, in the same order, before the first step. */
int64_t kg_first(kg_exec *x);
int kg_restore(kg_exec *x, const kg_tensor *tensors, int n);
int kg_save(kg_exec *x, int64_t next_step, int64_t steps, const kg_tensor *tensors, int n);

/* JSON text that names script, params, models and version of this run, for what a sink writes; "" when there is none. */
const char *kg_provenance(kg_exec *x);

/* For fill only: bytes of a file into a dense tensor. */
int kg_read(kg_exec *x, kg_tensor t, const struct kg_file *file, uint64_t offset);

#endif
