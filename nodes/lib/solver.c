/* Solvers: see solver.h. lambda = ln(alpha) - ln(sigma), alpha = 1 - sigma. At sigma 0 the last step gives x = m exactly; at
 * sigma 1 (DPM++) lambda is -inf and the second order term is 0: both are said here, so that no infinity is computed with. */
#include "nodes/lib/solver.h"

#include <math.h>

#include "kernels/ops.h"

static double lambda(double sigma) { return log1p(-sigma) - log(sigma); }

static int order(const kg_schedule *s, int i)
{
    int p = s->steps - i < 2 ? s->steps - i : 2;
    return i + 1 < p ? i + 1 : p;
}

/* The corrector of UniPC: uses the model's answer at step i to redo the step from i - 1. */
static void correct(kg_solver_step *k, const kg_schedule *s, int i)
{
    double si = s->sigma[i], s0 = s->sigma[i - 1], a = 1 - si;
    double h = lambda(si) - lambda(s0), g = -h, phi = expm1(g), b = phi;
    k->corrects = 1;
    k->cl = si / s0;
    k->cm = -a * b * 0.5;
    if (order(s, i - 1) == 2) {
        double rk = (lambda(s->sigma[i - 2]) - lambda(s0)) / h;
        double e = phi / g - 1, b1 = e / b, b2 = 2 * (e / g - 0.5) / b;
        double r0 = (b1 - b2) / (1 - rk), r1 = b1 - r0;
        k->cm = -a * b * r1;
        k->c2 = -a * b * r0 / rk;
    }
    k->c1 = -a * phi - k->cm - k->c2;
}

static void predict_unipc(kg_solver_step *k, const kg_schedule *s, int i)
{
    double si = s->sigma[i], sn = s->sigma[i + 1], h = lambda(sn) - lambda(si), phi = expm1(-h), a = 1 - sn;
    k->yc = sn / si;
    if (order(s, i) == 2)
        k->y1 = -a * phi * 0.5 * h / (lambda(s->sigma[i - 1]) - lambda(si));
    k->ym = -a * phi - k->y1;
}

static void predict_dpm(kg_solver_step *k, const kg_schedule *s, int i)
{
    double si = s->sigma[i], sn = s->sigma[i + 1], an = 1 - sn;
    double e = sn * (1 - si) / (si * an), c = an * (e - 1);
    if (i > 0 && s->sigma[i - 1] < 1) {
        double h = lambda(sn) - lambda(si), r = (lambda(si) - lambda(s->sigma[i - 1])) / h;
        k->y1 = 0.5 * c / r;
    }
    k->yc = sn / si;
    k->ym = -c - k->y1;
}

kg_solver_step kg_solver_coefficients(const kg_schedule *s, int i)
{
    kg_solver_step k = {0};
    if (s->solver == KG_SOLVER_UNIPC && i > 0)
        correct(&k, s, i);
    if (i + 1 == s->steps)
        k.ym = 1;
    else if (s->solver == KG_SOLVER_UNIPC)
        predict_unipc(&k, s, i);
    else
        predict_dpm(&k, s, i);
    return k;
}

int kg_solver_tensors(const kg_solver *s, int solver, kg_tensor out[4])
{
    out[0] = s->x;
    out[1] = s->m[0];
    out[2] = s->m[1];
    out[3] = s->last;
    return solver == KG_SOLVER_EULER ? 1 : solver == KG_SOLVER_DPM ? 2 : 4;
}

static void term(kg_combine_args *a, kg_tensor t, double c)
{
    if (c == 0)
        return;
    a->term[a->n] = t;
    a->coef[a->n++] = c;
}

/* out = x + by * the guided velocity. */
static void follow(kg_exec *x, kg_tensor out, kg_tensor from, const kg_answer *a, double by)
{
    kg_combine_args sum = {.out = out};
    term(&sum, from, 1);
    term(&sum, a->v, a->u.rank ? by * a->scale : by);
    if (a->u.rank)
        term(&sum, a->u, by * (1 - a->scale));
    kg_combine(x, sum);
}

void kg_solver_advance(kg_exec *x, kg_solver *s, const kg_schedule *schedule, int i, kg_answer *answer)
{
    double sigma = schedule->sigma[i];
    kg_watch(x, answer->v, "the velocity");
    if (answer->u.rank)
        kg_watch(x, answer->u, "the velocity without the prompt");
    if (schedule->solver == KG_SOLVER_EULER) {
        follow(x, s->x, s->x, answer, schedule->sigma[i + 1] - sigma);
        return;
    }
    kg_solver_step k = kg_solver_coefficients(schedule, i);
    kg_tensor m = answer->v, c = s->x;
    follow(x, m, s->x, answer, -sigma);
    if (schedule->solver == KG_SOLVER_UNIPC) {
        kg_combine_args a = {.out = c = s->last};
        term(&a, k.corrects ? s->last : s->x, k.corrects ? k.cl : 1);
        term(&a, m, k.cm);
        term(&a, s->m[0], k.c1);
        term(&a, s->m[1], k.c2);
        kg_combine(x, a);
    }
    kg_combine_args y = {.out = s->x};
    term(&y, c, k.yc);
    term(&y, m, k.ym);
    term(&y, s->m[0], k.y1);
    kg_combine(x, y);
    answer->v = schedule->solver == KG_SOLVER_UNIPC ? s->m[1] : s->m[0];
    s->m[1] = s->m[0];
    s->m[0] = m;
}
