/* The run's insides, shared by its files: run.c (the compute thread and the face), run_load.c (the copy thread), run_host.c (the
 * host lane), run_values.c (cached values and checkpoints), run_flags.c (flags of watched values).
 *
 * Three threads feed three queues. The compute thread follows the trace and queues kernels on the compute lane; the copy thread works
 * off the plan's loads, first in first out, on the copy lane; the host thread does host work for a device whose memory is not the
 * host's. Reached means queued: where one lane must not overtake another it waits for an event, and no host thread waits for a device
 * but at a value's way to the host, at a unit's end, and two blocks behind. Whoever fails sets stop; all are joined before kg_run_wait
 * returns. */
#ifndef KG_CORE_RUN_INTERNAL_H
#define KG_CORE_RUN_INTERNAL_H

#include "core/plan_internal.h"

#define KG_JOBS 64                 /* host work that may wait at once                                       */
#define KG_AHEAD 2                 /* counted scopes that the compute thread is ahead of the device         */
#define KG_PROGRESS 64
#define KG_UPSET ((size_t)64 << 10)

/* An event as it waits: see run_events.c. */
typedef struct kg_note {
    kg_event_kind kind;
    int node;
    char state[8], scope[32];
    int64_t i, n;
    double seconds, rest;
    size_t resident;
} kg_note;
typedef struct kg_clock { double began, saved; int64_t saved_step; } kg_clock;
/* A counted scope that was left but may not be finished yet. */
typedef struct kg_progress { kg_run_event event; kg_event done; uint64_t flags; uint32_t tick; int node, outer, paced; } kg_progress;
typedef struct kg_job {
    kg_work_fn *fn;
    max_align_t arg[KG_WORK_ARG / sizeof(max_align_t)];
    kg_tensor in[KG_WORK_TENSORS], out[KG_WORK_TENSORS];
    kg_event ready;                /* what it reads is there                                                */
    int leaves;                    /* it has an effect that outlives the run: only with files that are the same */
    size_t fenced;                 /* loads that what it reads hangs on                                     */
    uint64_t flags;                /* queued before it: they are looked at before it is carried out         */
    char path[256];                /* of where it was queued                                                */
    kg_warned *warned;
} kg_job;
typedef struct kg_run_host {
    pthread_t thread;
    int running, quit;
    pthread_cond_t more, fewer;    /* with the run's lock                                                   */
    kg_job *jobs;                  /* a ring                                                                */
    uint64_t queued, done;
    char *stage;                   /* page-locked                                                           */
} kg_run_host;
/* Flags of watched values (core/run_flags.c), the n-th in slot n % KG_FLAGS. */
typedef struct kg_run_flags {
    int32_t *slot;                 /* page-locked, behind the staging                                       */
    kg_flag_place *place;          /* where it was watched                                                  */
    uint64_t queued, looked;       /* looked: under the run's lock                                          */
} kg_run_flags;
/* A range of a file that stays on the host until its interval of the host tier ends. */
/* A file that the device may still read when kg_read has returned (from a map's pages): only the run can see that it is the same. */
typedef struct kg_watch { const kg_file *file; size_t load; } kg_watch;     /* the last load that read it */
typedef struct kg_pin { const kg_file *file; uint64_t offset; size_t bytes; int interval; } kg_pin;

/* What the unit at hand took so far, for later estimates. */
typedef struct kg_run_took {
    double began, waited;          /* waited: for loads, where the compute thread waits itself              */
    int counted;                   /* outer scopes that are finished                                        */
    double first, last;            /* when the first and the last of them were                              */
    uint32_t first_tick, last_tick;
    kg_rate_load cold, warm;       /* the copy thread's                                                     */
} kg_run_took;

struct kg_run {
    kg_plan *plan;
    kg_device *device;
    kg_ctx *ctx;
    pthread_t compute, copy;
    int computing, copying;
    pthread_mutex_t lock;
    pthread_cond_t moved, queued;
    atomic_int stop, cancelled;
    uint32_t reached;              /* tick whose work before it is queued                                   */
    char *awaited;                 /* by tick: a load waits for it                                          */
    kg_event *at_tick;             /* of awaited ticks                                                      */
    size_t issued;                 /* loads that are queued                                                 */
    kg_event *load_event;
    size_t fenced;                 /* loads that the compute lane has waited for                            */
    kg_run_host host;
    kg_run_flags flags;
    kg_pin *pins;
    size_t n_pins, cap_pins;
    int pin_interval;              /* of the load at hand; -1: its ranges are listed already                */
    size_t loading;                /* the load at hand                                                      */
    kg_watch *watch;
    size_t n_watch, cap_watch;
    unsigned char *upset;          /* chaos: bytes that are no numbers                                      */
    kg_error error;                /* the first one of any thread                                           */
    kg_status status;
    int finished;
    kg_note *notes;                /* events that nobody has read yet: a ring                               */
    size_t room_notes, first_note, n_notes, n_steps;
    kg_progress progress[KG_PROGRESS];     /* a ring, oldest first                                          */
    unsigned first_progress, n_progress, n_paced;
    double *until;                 /* by tick: planned seconds of work before it                            */
    size_t *top;                   /* by tick: end of what lives below the stack                            */
    size_t peak;
    kg_clock *clock;               /* by node                                                               */
    char *valued;                  /* by node: a cached value is in place                                   */
    double last_step_event;
    kg_run_took took;
    unsigned chaos;
};

double kg_run_now(void);
double kg_run_after(const kg_run *r, const kg_unit *u);            /* planned seconds of work behind a unit        */
void kg_run_wait_a_little(pthread_cond_t *c, pthread_mutex_t *m, long ms);
void kg_run_keep_error(kg_run *r);             /* takes this thread's error, if there is one, and stops the run */
int kg_run_events_new(kg_run *r);              /* 0: out of memory                                              */
size_t kg_run_events_bytes(const kg_plan *p);  /* of a run's events, read or not                                */
void kg_run_push(kg_run *r, const kg_run_event *e);
void kg_run_push_node(kg_run *r, int node, const char *state, double seconds);
kg_status kg_run_sync(kg_run *r, int lane);    /* this thread waits for all that is queued on a lane            */

void *kg_run_copy_thread(void *run);
/* Are the files that loads have read as they were? Asked before anything is kept of what was computed, when the first `done` loads
 * have arrived for good: what they read need not stay the same any more. */
kg_status kg_run_files_same(kg_run *r, size_t done);

kg_status kg_run_host_start(kg_run *r);            /* nothing for a device of host memory                           */
void kg_run_host_settle(kg_run *r);                /* waits until no job is left                                    */
void kg_run_host_end(kg_run *r);                   /* after settling: joins the thread, gives staging back          */
char *kg_run_host_slot(kg_run *r, kg_exec *x);     /* room for the node's next job, once its last but one is done   */
kg_job *kg_run_host_job(kg_run *r, const kg_exec *x);
void kg_run_host_queue(kg_run *r, kg_exec *x);

/* Looks at the first so many flags of this run, which are on the host: the caller has waited for what was queued before them. Any
 * thread; KG_FAILED with the error of the first that is not 0. */
kg_status kg_run_look(kg_run *r, uint64_t flags);

/* Whole tensors to and from the host; to: in pieces through staging, when no host work is out. */
kg_status kg_run_fetch(kg_run *r, void *dst, const kg_tensor *t);
kg_status kg_run_place(kg_run *r, int node);   /* a value that the cache or an outer run answers, once          */
void kg_run_store(kg_run *r, int node);

void kg_run_took_unit(kg_run *r, int unit);    /* it ended well: its seconds go into the rates of the plan    */
void kg_run_took_loads(kg_run *r);             /* the copy thread has been joined                           */
kg_status kg_run_part(kg_run *r, int unit);    /* a unit on the host                                            */
void kg_run_say_kept(const kg_run *r, char *out, size_t n);        /* of a run that was cancelled, once the writer is done */

#endif
