/* A device as core sees it: one pool, lanes with first-in first-out order, events, and a profile. Kernels are opaque here. */
#ifndef KG_CORE_DEVICE_H
#define KG_CORE_DEVICE_H

#include "core/node.h"

enum { KG_LANE_COMPUTE, KG_LANE_COPY, KG_LANE_BACK, KG_LANES };

typedef struct kg_profile {        /* measured, or loaded from JSON (core/profile.c); all sizes bytes, rates per second */
    char name[64];
    int version;                   /* of the JSON form: 1                                          */
    int threads;                   /* CPU cores, or multiprocessors                                */
    int discrete;                  /* 1: memory of its own, weights arrive over a copy link        */
    size_t memory;                 /* bytes the device has                                         */
    size_t fixed;                  /* bytes the process holds before the pool (context, libraries) */
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
    kg_status (*reserve)(kg_device *d, size_t bytes, void **base);     /* the pool, once, zero-free         */
    void (*release)(kg_device *d);
    /* Queued on a lane. Host memory of write and fetch must stay until the event after them is done. */
    kg_status (*read)(kg_device *d, int lane, void *dst, const struct kg_file *f, uint64_t offset, size_t bytes);
    kg_status (*write)(kg_device *d, int lane, void *dst, const void *src, size_t bytes);
    kg_status (*fetch)(kg_device *d, int lane, void *dst, const void *src, size_t bytes);
    kg_event (*record)(kg_device *d, int lane);
    kg_status (*wait)(kg_device *d, int lane, kg_event e);             /* later work of the lane waits      */
    kg_status (*sync)(kg_device *d, kg_event e);                       /* the caller waits                  */
    void (*destroy)(kg_device *d);
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
