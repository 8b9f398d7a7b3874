/* How far a run is, away from a terminal: how often it says so, and what. */
#include "tests/test.h"
#include "tools/kino_progress.h"

/* Lines of a run of so many seconds, polled every so often, and the longest silence in seconds and in parts of the run. */
typedef struct lines { int n; double least, most, part; } lines;

static lines run(double seconds, double every)
{
    kino_pace p = {0};
    lines l = {.least = INFINITY};
    double last = 0;
    for (double t = 0; t < seconds; t += every) {
        double before = p.fraction;
        if (!kino_pace_due(&p, t, t / seconds))
            continue;
        ++l.n;
        l.least = fmin(l.least, t - last);
        l.most = fmax(l.most, t - last);
        l.part = fmax(l.part, p.fraction - before);
        last = t;
    }
    return l;
}

static void a_line_a_minute_or_each_five_percent(void)
{
    lines days = run(35 * 3600, 1), hour = run(3600, 0.25), minutes = run(600, 0.25), minute = run(60, 0.05), moment = run(4.9, 0.05);
    CHECK(days.least >= 60 && days.most <= 61 && days.part < 0.05 && days.n >= 35 * 59, "%d lines, %g to %g s", days.n,
          days.least, days.most);
    CHECK(hour.most <= 60.5 && hour.part < 0.051 && hour.n >= 59, "%d", hour.n);
    CHECK(minutes.n >= 18 && minutes.n <= 20 && minutes.part < 0.051, "%d", minutes.n);
    CHECK(minute.least >= 5 && minute.n <= 12, "%d", minute.n);
    CHECK(!moment.n, "%d", moment.n);
}

static void a_silent_block_does_not_silence_the_run(void)
{
    kino_pace p = {0};
    int n = 0;
    for (double t = 0; t < 3600; t += 0.05)            /* an hour in which nothing is finished */
        n += kino_pace_due(&p, t, 0.01);
    CHECK(n == 59 || n == 60, "%d", n);
}

static void says_node_step_times_memory(void)
{
    kino_moment m = {.e = {.kind = KG_E_STEP, .node = "wan.sample", .label = "main", .scope = "step", .i = 12, .n = 50,
                           .seconds = 3780, .rest = 4200, .resident = (size_t)4012 << 20}};
    char line[256];
    kino_moment_line(&m, line, sizeof line);
    CHECK(!strcmp(line, "wan.sample 'main'  step 12/50  1 h 3 min left of it, 1 h 10 min in all  4012 MiB"), "%s", line);
    m.ago = 4000;
    kino_moment_line(&m, line, sizeof line);
    CHECK(!strcmp(line, "wan.sample 'main'  step 12/50  0.0 s left of it, 3 min 20 s in all  4012 MiB"), "%s", line);
    CHECK(kino_moment_fraction(&m, 200) == 0.5 && kino_moment_fraction(&m, 0) == 0);
    m = (kino_moment){.e = {.kind = KG_E_NODE, .node = "wan.decode", .rest = 90}};
    kino_moment_line(&m, line, sizeof line);
    CHECK(!strcmp(line, "wan.decode  1 min 30 s in all  0 MiB"), "%s", line);
}

int main(void)
{
    a_line_a_minute_or_each_five_percent();
    a_silent_block_does_not_silence_the_run();
    says_node_step_times_memory();
    return TEST_END();
}
