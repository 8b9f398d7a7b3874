/* Solvers of the flow: every update is a sum of tensors with coefficients computed here in double, so a step is one or two kernels.
 * ref: wan-spec 6.2 to 6.4 (UniPC of order 2 with corrector and bh2; DPM-Solver++ 2M; Euler). */
#ifndef KG_NODES_LIB_SOLVER_H
#define KG_NODES_LIB_SOLVER_H

#include "core/exec.h"
#include "nodes/lib/schedule.h"

/* Coefficients of step i, over x_last (where the previous predictor began) and the estimates of x0: m = x - sigma v of this step, m1
 * and m2 of the two before.
 *   corrected c = cl x_last + cm m + c1 m1 + c2 m2     (corrects: 0 when c is x)
 *   next      y = yc c + ym m + y1 m1 */
typedef struct kg_solver_step { int corrects; double cl, cm, c1, c2, yc, ym, y1; } kg_solver_step;
kg_solver_step kg_solver_coefficients(const kg_schedule *s, int i);      /* UniPC and DPM++ */

/* The tensors of one sample, all f32 of one shape: kept by the node, saved in checkpoints in the order of kg_solver_tensors. */
typedef struct kg_solver { kg_tensor x, last, m[2]; } kg_solver;
int kg_solver_tensors(const kg_solver *s, int solver, kg_tensor out[4]);   /* how many                      */
/* What a model answered: v of the prompt; with guidance also u without it, and the velocity is u + scale (v - u). u rank 0: v alone. */
typedef struct kg_answer { kg_tensor v, u; double scale; } kg_answer;
/* x becomes the latent of step i + 1; guidance is part of the first sum. a->v is taken into the history, and becomes another tensor to
 * write the next velocity to. What the model answered is watched for NaN and Inf here, for all families. */
void kg_solver_advance(kg_exec *x, kg_solver *s, const kg_schedule *schedule, int i, kg_answer *a);

#endif
