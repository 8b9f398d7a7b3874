/* Ranges of rows, from the kernel that looks for NaN in the same pass, come to the host as work that nobody waits for. */
#include "nodes/lib/watch.h"

#include <math.h>

#include "kernels/ops.h"

enum { FEW = 64 };                 /* a row of fewer values may well be constant */

typedef struct seen { const char *what; int64_t cols; } seen;

/* Rows of the range [n, 2] that are one value throughout; first: the first of them. (Its value + 0 is 0 for both zeros.) */
static int64_t constant(const kg_tensor *range, int64_t *first)
{
    const float *r = range->at;
    int64_t n = 0;
    for (int64_t i = range->shape[0] - 1; i >= 0; --i)
        if (r[2 * i] == r[2 * i + 1]) {
            *first = i;
            ++n;
        }
    return n;
}

static kg_status judge_latent(void *arg, const kg_tensor *ins, const kg_tensor *outs)
{
    (void)outs;
    const seen *s = arg;
    const float *r = ins[0].at;
    int64_t channels = ins[0].shape[0], beyond = 0, worst = 0, first = 0, flat = constant(&ins[0], &first);
    double most = 0;
    for (int64_t i = 0; i < channels; ++i) {
        double far = fmax(fabs((double)r[2 * i]), fabs((double)r[2 * i + 1]));
        if (!isfinite(far))
            return KG_OK;                      /* its flag ends the run */
        beyond += far > KG_LATENT_MOST;
        worst = far > most ? i : worst;
        most = fmax(far, most);
    }
    if (beyond)
        kg_warn("%lld of %lld channels of %s leave the usual range of -%g to %g (channel %lld goes from %.3g to %.3g): is it of another "
                "VAE, or not normalised?", (long long)beyond, (long long)channels, s->what, KG_LATENT_MOST, KG_LATENT_MOST,
                (long long)worst, (double)r[2 * worst], (double)r[2 * worst + 1]);
    if (flat && s->cols >= FEW)
        kg_warn("%lld of %lld channels of %s are constant (channel %lld is %.3g throughout): the picture will be wrong", (long long)flat,
                (long long)channels, s->what, (long long)first, (double)r[2 * first] + 0.0);
    return KG_OK;
}

static kg_status judge_text(void *arg, const kg_tensor *ins, const kg_tensor *outs)
{
    (void)outs;
    const seen *s = arg;
    int64_t first = 0, flat = constant(&ins[0], &first);
    if (flat && s->cols >= FEW)
        kg_warn("%lld of %lld rows of %s are constant (row %lld is %.3g throughout): the prompt will not be followed; is the encoder's "
                "file whole?", (long long)flat, (long long)ins[0].shape[0], s->what, (long long)first,
                (double)((const float *)ins[0].at)[2 * first] + 0.0);
    return KG_OK;
}

/* t [rows, cols] */
static void watch(kg_exec *x, kg_tensor t, const char *what, kg_work_fn *judge)
{
    if (!kg_rows(&t))
        return;
    seen s = {.what = what, .cols = kg_cols(&t)};
    if (kg_enter(x, NULL, 0, 0))
        return;
    kg_tensor range = kg_temp(x, KG_F32, KG_SHAPE(t.shape[0], 2));
    kg_watch_rows(x, t, range, what);
    kg_work(x, judge, &s, sizeof s, 1, &range, 0, NULL, 0);
    kg_leave(x);
}

void kg_watch_latent(kg_exec *x, kg_tensor latent, const char *what)
{
    int64_t channels = latent.shape[0];
    watch(x, kg_view(latent, KG_SHAPE(channels, kg_count(&latent) / channels)), what, judge_latent);
}

void kg_watch_text(kg_exec *x, kg_tensor rows, const char *what) { watch(x, rows, what, judge_text); }
