/* How often a run says how far it is, and in which words. Pure functions: the clock is the caller's. */
#ifndef KG_TOOLS_KINO_PROGRESS_H
#define KG_TOOLS_KINO_PROGRESS_H

#include "core/run.h"

/* Away from a terminal: a line a minute; earlier when 5 % more are done, but never within five seconds. So a run of seconds says
 * nothing between its nodes, one of minutes twenty lines, one of days one a minute. */
typedef struct kino_pace { double at, fraction; } kino_pace;       /* of the last line: seconds, part of the run that was done */
int kino_pace_due(kino_pace *p, double now, double fraction);

/* What is known of a run at a moment: the last event that counted, and how long ago it came. */
typedef struct kino_moment { kg_run_event e; double ago; } kino_moment;
double kino_moment_fraction(const kino_moment *m, double elapsed);
/* "wan.sample 'main'  step 12/50  1 h 3 min left of it, 1 h 10 min in all  4012 MiB" */
void kino_moment_line(const kino_moment *m, char *out, size_t n);

#endif
