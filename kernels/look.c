/* Numbers that are none: the op that looks for them, what watches a value with it, and the check behind every other front that the
 * plan's `finite` asks for. */
#include "kernels/check.h"

#include <stdio.h>

#include "core/file.h"

void kg_look(kg_exec *x, kg_look_args a)
{
    int range = !a.range.rank || (a.in.dtype == KG_F32 && kg_cols(&a.in) >= 1 && a.range.dtype == KG_F32 && kg_dense(&a.range) &&
                                  kg_is_rows(&a.range, kg_rows(&a.in), 2));
    if (!kg_is_float(&a.in) || !a.flag.rank || a.flag.dtype != KG_I32 || kg_count(&a.flag) != 1 || !range) {
        KG_REFUSE(x, "look", "in [rows, cols], flag i32 [1], range f32 [rows, 2] of an in f32", "in, flag, range", &a.in, &a.flag,
                  &a.range);
        return;
    }
    if (kg_front(x, "look", KG_C_ROWS, 0, (double)kg_bytes(&a.in)))
        kg_kernels_of(x)->look(x, &a);
}

void kg_watch_rows(kg_exec *x, kg_tensor t, kg_tensor range, const char *what)
{
    size_t mark = kg_mark(x);
    kg_tensor flag = kg_temp(x, KG_I32, KG_SHAPE(1));
    kg_look(x, (kg_look_args){.in = t, .flag = flag, .range = range});
    kg_flag(x, flag, what);
    kg_release(x, mark);
}

void kg_watch(kg_exec *x, kg_tensor t, const char *what)
{
    kg_tensor none = {0};
    kg_watch_rows(x, t, none, what);
}

/* What a front made is not finite: does a weight that is in use hold such a value itself? Nothing runs after this, so that looking at
 * weights need not be in the plan. */
static void blame(kg_exec *x, const char *op, kg_tensor flag, int made)
{
    char why[448] = "none of the weights in use holds one";
    const kg_weight *w;
    const char *port;
    kg_tensor t;
    for (int i = 0; kg_exec_weight(x, i, &w, &t, &port); ++i) {
        int32_t bits = 0;
        if (!kg_is_float(&t))
            continue;
        kg_kernels_of(x)->look(x, &(kg_look_args){.in = t, .flag = flag});
        if (kg_peek(x, flag, &bits))
            return;
        if (!bits)
            continue;
        if (w->file)
            snprintf(why, sizeof why, "weight '%.120s' of '%.240s' holds %s", w->name, w->file->path, kg_not_finite_name(bits));
        else
            snprintf(why, sizeof why, "weight '%.120s' (or one that is joined to it) of input %s holds %s", w->name, port,
                     kg_not_finite_name(bits));
        break;
    }
    kg_front_fail(x, op, "%s comes out first here; %s", kg_not_finite_name(made), why);
}

void kg_front_out(kg_exec *x, const char *op, const kg_tensor *out)
{
    if (!out->rank || !kg_exec_finite(x))
        return;
    size_t mark = kg_mark(x);
    kg_tensor flag = kg_temp(x, KG_I32, KG_SHAPE(1));
    int32_t made = 0;
    kg_look(x, (kg_look_args){.in = *out, .flag = flag});
    kg_ask(x, flag, &made);
    if (made)
        blame(x, op, flag, made);
    kg_release(x, mark);
}
