/* What the files of core share and nobody else sees: the trace and the execution context. */
#ifndef KG_CORE_INTERNAL_H
#define KG_CORE_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "core/device.h"
#include "core/exec.h"
#include "core/front.h"
#include "core/graph.h"
#include "core/run.h"

#define KG_PORTS_MAX 8
#define KG_DEPTH (2 * KG_STREAM_NODES + 24)
#define KG_OPEN_USES 16
#define KG_SEGMENT_WEIGHTS 256
#define KG_SLOTS 8
#define KG_WORK_ARG 512
#define KG_WORK_TENSORS 8

/* ---- the trace ---- */
typedef enum kg_record_kind {
    KG_R_ENTER, KG_R_LEAVE, KG_R_TEMP, KG_R_KEEP, KG_R_USE, KG_R_FRONT, KG_R_PUT, KG_R_WORK, KG_R_ASK, KG_R_FLAG, KG_R_EMIT, KG_R_SAVE,
    KG_R_RESTORE, KG_R_SAME
} kg_record_kind;
/* One call of the face, as the run must make it again. A scope that does what the one before it under the same parent did is kept as
 * one SAME: a thousand equal steps of equal blocks are one block, one step and a thousand records. */
typedef struct kg_record {
    uint64_t kind : 8;
    uint64_t bytes : 56;       /* TEMP, KEEP, USE, PUT, EMIT: bytes; FRONT: hash of name and work; ENTER: records to its end;
                                  SAME: how far back the equal scope begins                          */
} kg_record;
#define KG_RECORD_BYTES (((uint64_t)1 << 56) - 1)
/* Time between two changes of what lives below the stack. */
typedef struct kg_tick { size_t height; double seconds; } kg_tick;     /* tallest stack; work              */
typedef struct kg_use_site { int resource, segment; uint32_t first, last; } kg_use_site;   /* ticks [first, last]     */
typedef struct kg_keep_site { size_t bytes; uint32_t first, last; } kg_keep_site;

typedef struct kg_trace {
    kg_record *records;
    kg_tick *ticks;
    kg_use_site *uses;
    kg_keep_site *keeps;
    size_t n_records, n_ticks, n_uses, n_keeps, cap_records, cap_ticks, cap_uses, cap_keeps;
    int64_t fronts;
} kg_trace;
void kg_trace_free(kg_trace *t);

/* ---- execution ---- */
typedef enum kg_mode { KG_DRY, KG_WET, KG_EAGER } kg_mode;
typedef struct kg_ctx kg_ctx;
typedef struct kg_values { kg_tensor *item; int n; } kg_values;

struct kg_exec {               /* one node's view (a frame)                                                 */
    kg_ctx *ctx;
    const kg_node_type *type;
    const char *label;
    const void *params;
    const void *prepared;
    int node;                  /* in the graph; -1: none (fill, eager)                                       */
    const kg_desc *in[KG_PORTS_MAX], *out[KG_PORTS_MAX];
    kg_desc in_desc[KG_PORTS_MAX];
    const kg_values *in_values[KG_PORTS_MAX];
    kg_values *out_values[KG_PORTS_MAX];
    const kg_resource *in_resource[KG_PORTS_MAX];
    int knob[8];
    int64_t first;             /* first step to run                                                          */
    size_t host_bytes;         /* most that one kg_work of it declared                                       */
    size_t stage_bytes;        /* most that one host work without outputs, or a checkpoint, stages           */
    size_t stage_at;           /* its slots in the run's staging memory                                      */
    uint64_t job[KG_SLOTS];    /* wet: the last job of each slot                                             */
    unsigned jobs;
    void *state;
    size_t state_bytes;
    void (*state_destroy)(void *);
    kg_exec *consumer[KG_STREAM_USERS];        /* of its stream outputs                                      */
    int consumer_port[KG_STREAM_USERS];        /* which output port feeds it                                 */
    int consumers;
    char *provenance;          /* of its file, once it was asked for                                         */
    kg_warned *warned;         /* what it warned of                                                          */
    int64_t chunks;            /* chunks that it was given                                                   */
};

/* Jobs of a node that may be out at once. Frames come in bursts (a latent frame gives four): with room for two bursts an encoder
 * works while the device makes the next one. */
static inline unsigned kg_exec_slots(const kg_exec *x) { return x->type->chunk ? KG_SLOTS : 2; }

typedef struct kg_scope {
    const char *name;
    int64_t i, n;
    size_t height;
    uint32_t uses;
    const kg_exec *frame;
    size_t record;             /* dry: its ENTER                                                             */
    size_t child, child_n;     /* dry: records of its last child that was kept                               */
    size_t back;               /* wet: where the trace goes on behind it; 0: at the next record              */
} kg_scope;

struct kg_ctx {
    kg_mode mode;
    kg_device *device;
    int lane;
    char *top;                 /* the stack of temporaries grows down from here                              */
    size_t height, limit, peak;/* limit: wet, of this tick; eager, of the arena                              */
    char *bottom;              /* eager: kept tensors grow up from here                                      */
    size_t kept;
    kg_scope scope[KG_DEPTH];
    int depth;
    kg_trace *trace;
    size_t cursor;             /* wet: next record                                                           */
    uint32_t tick;             /* now                                                                        */
    uint32_t next_use, next_keep;
    struct { uint32_t use; } open[KG_OPEN_USES];
    int n_open;
    kg_tensor weights[KG_OPEN_USES][KG_SEGMENT_WEIGHTS];   /* handed out by kg_use; a ring over open uses     */
    const kg_profile *profile;
    struct kg_run *run;        /* wet only                                                                   */
    const kg_plan *plan;
    char *(*provenance)(void *arg, int node);
    void *provenance_arg;
    atomic_int *stop;          /* cancel or failure; never NULL                                              */
    atomic_int own_stop;
    int poison;                /* tests: fresh temporaries are filled with NaN                               */
    int finite;                /* fronts look at what they made                                              */
    struct kg_run *loader;     /* fill, wet: the run whose copy thread it is                                */
    int stay;                  /* fill: the bytes it reads are kept on the host                              */
    size_t read_bytes;         /* fill: what it reads of files, in whole pages                               */
    int looks;                 /* fill: reads are looked up in the page cache before they are done           */
    double warm_bytes;         /* what of them was there                                                     */
    size_t stage_bytes;        /* dry: most that one host work with outputs stages, in this unit             */
};

int kg_ctx_failed(const kg_ctx *c);
/* Ends a tick (what lives below the stack changes here). */
void kg_ctx_tick(kg_ctx *c);
void kg_ctx_path(const kg_ctx *c, const kg_exec *x, char *out, size_t n);
/* Calls fn with a scope around it and errors given their path. */
kg_status kg_frame_call(kg_exec *x, kg_status (*fn)(kg_exec *));
kg_status kg_frame_chunk(kg_exec *x, kg_tensor chunk);
void kg_frame_drop_state(kg_exec *x);
/* Frees the tree below a frame of a unit: begin for all consumers, execute, end. */
kg_status kg_unit_execute(kg_exec *root);
/* Fills one segment into out with its own stack (top, limit); dry: height receives what it needs. */
kg_status kg_fill(kg_ctx *c, const kg_resource *r, int segment, void *base, kg_tensor *out);
void kg_segment_tensors(const kg_resource *r, int segment, void *base, kg_tensor *out);

/* One call of the face: adds (dry) or checks (wet) its record; 1: go on. */
int kg_exec_record(kg_exec *x, kg_record_kind kind, uint64_t bytes, float seconds);
void kg_exec_blame(const kg_exec *x);          /* an error without a path gets this frame's                 */
size_t kg_tensor_span(const kg_tensor *t);     /* bytes from its first element to its last, gaps included    */

/* Hooks of the wet run (core/run*.c). */
int kg_run_use(struct kg_run *r, uint32_t use, void **base);       /* waits until the segment is there          */
void kg_run_tick(struct kg_run *r, uint32_t tick);                 /* compute has reached this tick             */
void kg_run_step(struct kg_run *r, const kg_exec *x, const kg_scope *s, int outer);
void kg_run_poison(struct kg_run *r, int lane, void *at, size_t bytes);
int kg_run_work(struct kg_run *r, kg_exec *x, kg_work_fn *fn, const void *arg, size_t arg_bytes, int n_in, const kg_tensor *ins,
                int n_out, const kg_tensor *outs);
kg_status kg_run_read(struct kg_run *r, const struct kg_file *f, uint64_t offset, size_t bytes);       /* a read that stays */
int kg_run_flag(struct kg_run *r, const kg_exec *x, kg_tensor flag, const char *what);
void kg_flag_fail(int bits, const char *what, const char *path);       /* the error of a flag that is not 0       */
void kg_run_save(struct kg_run *r, kg_exec *x, int64_t next, int64_t steps, const kg_tensor *t, int n);
int kg_run_restore(struct kg_run *r, kg_exec *x, const kg_tensor *t, int n);
void *kg_plan_keep(const kg_plan *p, uint32_t keep);               /* its planned offset from the arena's base  */

#define KG_DRY_BASE ((char *)(uintptr_t)0xdead000000000000u)       /* non-canonical: touching it is a fault     */
static inline size_t kg_align(size_t n) { return (n + KG_ALIGN - 1) & ~(size_t)(KG_ALIGN - 1); }

/* Doubles an array's room when n items fill it; 0 when memory is out. */
int kg_grow(void *array, size_t *cap, size_t n, size_t item);

#endif
