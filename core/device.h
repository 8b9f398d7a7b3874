/* A device as core sees it: one pool, lanes with first-in first-out order, events, and a profile. Kernels are opaque here.
 *
 * The pool need not be host memory and a lane need not be the calling thread: what is queued on a lane happens later, in order, and an
 * event recorded behind it says when. A device whose memory is the host's (host_memory) may do everything at once. Each lane is fed
 * by one thread at a time; two lanes are fed at the same time. */
#ifndef KG_CORE_DEVICE_H
#define KG_CORE_DEVICE_H

#include "core/node.h"

enum { KG_LANE_COMPUTE, KG_LANE_COPY, KG_LANE_BACK, KG_LANES };

typedef struct kg_profile {        /* measured, or loaded from JSON (core/profile.c); all sizes bytes, rates per second */
    char name[64];
    int version;                   /* of the JSON form: 1                                          */
    int threads;                   /* CPU cores, or multiprocessors                                */
    int discrete;                  /* 1: memory of its own, weights arrive over a copy link        */
    size_t memory;                 /* bytes the device has, or that this process may have          */
    size_t fixed;                  /* bytes the process holds before the pool (context, libraries), measured by the
                                      device after everything was loaded                           */
    size_t host_fixed;             /* discrete: host bytes of the process beside the plan: its own after the start, what
                                      the device's libraries come to take, the device's page-locked ring */
    double rate[8];                /* FLOP/s by kg_class; KG_C_ROWS and KG_C_HOST in bytes/s       */
    double copy;                   /* host to device, bytes/s                                      */
    double disk;                   /* file to host, bytes/s                                        */
    double launch;                 /* seconds one kernel costs at least                            */
} kg_profile;
kg_status kg_profile_load(kg_profile *p, const char *json);       /* text of a JSON object; KG_INPUT when wrong */
int kg_profile_dump(const kg_profile *p, char *out, size_t n);    /* the same form                             */

typedef struct kg_device kg_device;
typedef struct kg_event { uint64_t serial; int lane; } kg_event;
typedef struct kg_device_ops {
    /* The pool, once; not cleared. KG_NOFIT with figures when the device's free memory is below it. */
    kg_status (*reserve)(kg_device *d, size_t bytes, void **base);
    void (*release)(kg_device *d);     /* waits for what is queued on every lane, then gives the pool back; harmless without one */
    /* Queued on a lane. A range of a file: with stay its bytes will be read again and are in the host's budget, so a discrete
     * device may register the mapped range and keep it until drop; without, they pass through its own page-locked ring. */
    kg_status (*read)(kg_device *d, int lane, void *dst, const struct kg_file *f, uint64_t offset, size_t bytes, int stay);
    /* Queued; src may be reused as soon as it returns. */
    kg_status (*write)(kg_device *d, int lane, void *dst, const void *src, size_t bytes);
    /* Queued; dst is valid after an event recorded behind it. Asynchronous only when dst came from host_alloc. */
    kg_status (*fetch)(kg_device *d, int lane, void *dst, const void *src, size_t bytes);
    /* Events may be waited for at any time after, by any lane and thread, more than once. A failing record sets the error (kg_fail)
     * and answers an event that is done. */
    kg_event (*record)(kg_device *d, int lane);
    kg_status (*wait)(kg_device *d, int lane, kg_event e);             /* later work of the lane waits      */
    kg_status (*sync)(kg_device *d, kg_event e);                       /* the caller waits; errors of earlier asynchronous work
                                                                          come out here (kg_fail with what the driver said) */
    void (*destroy)(kg_device *d);
    /* A range that was read with stay need not stay any more (by the bounds of those reads); waits for queued reads of it. May be
     * NULL. */
    void (*drop)(kg_device *d, const struct kg_file *f, uint64_t offset, size_t bytes);
    void *(*host_alloc)(kg_device *d, size_t bytes);                   /* page-locked; NULL with an error   */
    void (*host_free)(kg_device *d, void *p);                          /* harmless with NULL                */
} kg_device_ops;
struct kg_device {
    const kg_device_ops *ops;
    const void *kernels;           /* const kg_kernels *: kernels/kernel.h                         */
    const char *class_name;        /* "cpu", "cuda"                                                */
    char tag[192];                 /* device class, ISA, library versions, kernel epoch            */
    int precision;                 /* what --precision auto means here (KG_PRECISION_...)          */
    int host_memory;               /* 1: tensors are host addresses; work needs no staging         */
    kg_profile profile;
    void *self;
};
void kg_device_free(kg_device *d);

#endif
