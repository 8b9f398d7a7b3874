/* The pace and the words of progress. A run of days is followed in a log: it never falls silent, and never floods. */
#include "tools/kino_progress.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/words.h"

int kino_pace_due(kino_pace *p, double now, double fraction)
{
    double since = now - p->at;
    if (since < 60 && (since < 5 || fraction < p->fraction + 0.05))
        return 0;
    *p = (kino_pace){now, fraction};
    return 1;
}

double kino_moment_fraction(const kino_moment *m, double elapsed)
{
    double rest = fmax(0, m->e.rest - m->ago);
    return elapsed > 0 ? elapsed / (elapsed + rest) : 0;
}

void kino_moment_line(const kino_moment *m, char *out, size_t n)
{
    const kg_run_event *e = &m->e;
    char left[KG_WORDS], rest[KG_WORDS], step[96] = "", node[64] = "";
    kg_words_seconds(fmax(0, e->seconds - m->ago), left, sizeof left);
    kg_words_seconds(fmax(0, e->rest - m->ago), rest, sizeof rest);
    if (e->kind == KG_E_STEP) {
        snprintf(step, sizeof step, "  %s %lld/%lld", e->scope, (long long)e->i, (long long)e->n);
        snprintf(node, sizeof node, "%s left of it, ", left);
    }
    snprintf(out, n, *e->label ? "%s '%s'%s  %s%s in all  %.0f MiB" : "%s%s%s  %s%s in all  %.0f MiB", e->node, e->label, step, node, rest,
             (double)e->resident / 0x1p20);
}
