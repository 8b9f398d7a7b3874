/* Noise schedules of flow matching: sigma[0 .. steps], the last 0, and the timestep that the model is given for each step.
 * ref: wan-spec 6.1 (Wan2.1 wan/utils/fm_solvers*.py; diffusers' flow schedulers). */
#ifndef KG_NODES_LIB_SCHEDULE_H
#define KG_NODES_LIB_SCHEDULE_H

#include "core/error.h"

enum { KG_SOLVER_UNIPC, KG_SOLVER_DPM, KG_SOLVER_EULER };            /* the order of "unipc|dpm++|euler"   */
enum { KG_SCHEDULE_OFFICIAL, KG_SCHEDULE_DIFFUSERS };                /* "official|diffusers"               */
#define KG_STEPS_MAX 1000

typedef struct kg_schedule {
    int solver, steps;
    double sigma[KG_STEPS_MAX + 1];    /* falling, sigma[steps] = 0                                       */
    double t[KG_STEPS_MAX];            /* model timestep: whole (truncated) for UniPC and DPM++           */
} kg_schedule;
/* shift > 0; steps 1 .. KG_STEPS_MAX. */
kg_status kg_schedule_make(kg_schedule *s, int solver, int kind, int steps, double shift);

#endif
