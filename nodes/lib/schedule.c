/* Schedules: see schedule.h. Whole timesteps are truncated from the unrounded 1000 sigma; the solver gets the unrounded sigma. */
#include "nodes/lib/schedule.h"

#include <math.h>

static double shifted(double u, double s) { return s * u / (1 + (s - 1) * u); }

/* numpy's, to the last bit: a sigma that is 0.5 on paper becomes t = 499 or 500 by its rounding. */
static double linspace(double first, double last, int i, int n)
{
    return i == n ? last : i * ((last - first) / n) + first;
}

/* UniPC starts at S(0.999) in float (the official training grid's end); DPM++ and Euler at 1. */
static void official(kg_schedule *s, double shift)
{
    double most = s->solver == KG_SOLVER_UNIPC ? (double)0.999f : 1;
    for (int i = 0; i < s->steps; ++i) {
        double u = linspace(most, 0, i, s->steps);
        s->sigma[i] = shifted(u, shift);
        s->t[i] = s->solver == KG_SOLVER_EULER ? 1000 * s->sigma[i] : trunc(1000 * s->sigma[i]);
        if (s->solver != KG_SOLVER_EULER)
            s->sigma[i] = (double)(float)s->sigma[i];
    }
}

/* ref: diffusers UniPCMultistepScheduler, DPMSolverMultistepScheduler with use_flow_sigmas; FlowMatchEulerDiscreteScheduler,
 * whose ends are shifted twice. */
static void diffusers(kg_schedule *s, double shift)
{
    int n = s->steps;
    for (int i = 0; i < n; ++i) {
        double u = linspace(1, 0.001, i, n);
        if (s->solver == KG_SOLVER_DPM)
            u = 1 - linspace(1, 0.001, n - i, n);                 /* from 0.999 down */
        if (s->solver == KG_SOLVER_EULER) {
            double low = shifted(0.001, shift);
            u = n > 1 ? 1 + (low - 1) * i / (n - 1) : 1;
        }
        double sigma = shifted(u, shift);
        if (s->solver == KG_SOLVER_UNIPC && i == 0 && fabs(sigma - 1) < 1e-6)
            sigma -= 1e-6;
        s->t[i] = s->solver == KG_SOLVER_EULER ? 1000 * sigma : trunc(1000 * sigma);
        s->sigma[i] = (double)(float)sigma;
    }
}

kg_status kg_schedule_make(kg_schedule *s, int solver, int kind, int steps, double shift)
{
    if (steps < 1 || steps > KG_STEPS_MAX || !(shift > 0))
        return kg_fail(KG_USAGE, "a schedule of %d steps with shift %g: 1 to %d steps, shift above 0", steps, shift, KG_STEPS_MAX);
    s->solver = solver;
    s->steps = steps;
    if (kind == KG_SCHEDULE_OFFICIAL)
        official(s, shift);
    else
        diffusers(s, shift);
    s->sigma[steps] = 0;
    return KG_OK;
}
