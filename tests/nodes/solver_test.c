/* Schedules and solvers: the published lists and trajectories (Wan's own code), and diffusers' schedulers (tools/golden/sampler.py).
 *
 * Trajectories are those of the scalar field v(x, sigma) = 0.7 x - 0.3 sin(3 sigma) from x = 1: once with the coefficients in double,
 * once through kg_solver_advance on tensors. */
#include "core/error.h"
#include "kernels/kernel.h"
#include "nodes/lib/solver.h"
#include "tests/golden.h"

static const char *const solvers[] = {"unipc", "dpm", "euler"}, *const grids[] = {"official", "diffusers"};

static double field(double x, double sigma) { return 0.7 * x - 0.3 * sin(3 * sigma); }

/* ---- schedules ---- */
static void listed(int solver, int kind, int steps, double shift, const int *first, int n, const int *last, int n_last)
{
    kg_schedule s;
    CHECK(kg_schedule_make(&s, solver, kind, steps, shift) == KG_OK);
    for (int i = 0; i < n; ++i)
        CHECK(s.t[i] == first[i], "%s %s %d steps, shift %g: t[%d] = %g, published %d", solvers[solver], grids[kind],
              steps, shift, i, s.t[i], first[i]);
    for (int i = 0; i < n_last; ++i)
        CHECK(s.t[steps - n_last + i] == last[i], "%s %d steps, shift %g: t %g from the end, published %d", solvers[solver], steps, shift,
              s.t[steps - n_last + i], last[i]);
}
#define INTS(...) (const int[]){__VA_ARGS__}, (int)(sizeof((int[]){__VA_ARGS__}) / sizeof(int))

static void published(void)
{
    listed(KG_SOLVER_UNIPC, KG_SCHEDULE_OFFICIAL, 50, 5,
           INTS(999, 995, 991, 987, 982, 978, 973, 968, 963, 957, 952, 946, 940, 934, 927, 920, 913, 906, 898, 890, 882,
                873, 863, 854, 843, 833, 821, 809, 796, 783, 768, 753, 737, 720, 701, 681, 660, 636, 611, 584, 555, 522,
                487, 448, 405, 356, 302, 241, 172, 92),
           INTS(172, 92));
    listed(KG_SOLVER_UNIPC, KG_SCHEDULE_OFFICIAL, 40, 5, INTS(999, 994, 989, 983, 978, 972, 965), INTS(416, 356, 288, 208, 113));
    listed(KG_SOLVER_UNIPC, KG_SCHEDULE_OFFICIAL, 40, 12, INTS(999, 997, 995, 993, 990, 988, 985, 982, 979),
           INTS(678, 631, 571, 492, 386, 235));
    listed(KG_SOLVER_UNIPC, KG_SCHEDULE_OFFICIAL, 40, 3, INTS(999, 991, 982, 973, 963, 954), INTS(249, 195, 136, 71));
    listed(KG_SOLVER_UNIPC, KG_SCHEDULE_OFFICIAL, 50, 16, INTS(999, 998, 997, 995, 994, 993), INTS(581, 504, 399, 245));
    listed(KG_SOLVER_DPM, KG_SCHEDULE_OFFICIAL, 4, 5, INTS(1000, 937, 833, 625), INTS(625));
    listed(KG_SOLVER_DPM, KG_SCHEDULE_OFFICIAL, 50, 5, INTS(1000, 995, 991, 987, 982, 978), INTS(303, 241, 172, 92));
    listed(KG_SOLVER_DPM, KG_SCHEDULE_OFFICIAL, 40, 12, INTS(1000, 997, 995, 993, 990, 988), INTS(571, 493, 387, 235));
    listed(KG_SOLVER_UNIPC, KG_SCHEDULE_DIFFUSERS, 50, 5, INTS(999, 995, 991, 987, 982, 978), INTS(305, 244, 175, 96));
    listed(KG_SOLVER_UNIPC, KG_SCHEDULE_DIFFUSERS, 50, 3, INTS(999, 993, 986, 979, 971, 964), INTS(208, 162, 113, 60));
    listed(KG_SOLVER_UNIPC, KG_SCHEDULE_DIFFUSERS, 40, 12, INTS(999), INTS(573, 496, 391, 242));
    static const double want[] = {0.99979985, 0.93726546, 0.83305538, 0.62468737, 0};
    kg_schedule s;
    kg_schedule_make(&s, KG_SOLVER_UNIPC, KG_SCHEDULE_OFFICIAL, 4, 5);
    for (int i = 0; i < 5; ++i)
        CHECK(fabs(s.sigma[i] - want[i]) < 1e-8, "sigma[%d] = %.9f", i, s.sigma[i]);
}

static void one_grid(const golden *g, int solver, int kind, int steps, double shift)
{
    char name[64];
    kg_schedule s;
    int64_t n;
    size_t bytes;
    snprintf(name, sizeof name, "sigma.%s.%s.%d.%g", solvers[solver], grids[kind], steps, shift);
    if (!golden_has(g, name) || kg_schedule_make(&s, solver, kind, steps, shift) != KG_OK)
        return;
    const double *sigma = golden_at(g, name, &bytes);
    n = (int64_t)(bytes / sizeof *sigma);
    CHECK(n == steps + 1, "%s", name);
    for (int64_t i = 0; i < n; ++i)
        CHECK(fabs(sigma[i] - s.sigma[i]) <= 1e-7, "%s[%lld]: %.9f, expected %.9f", name, (long long)i, s.sigma[i], sigma[i]);
    snprintf(name, sizeof name, "t.%s.%s.%d.%g", solvers[solver], grids[kind], steps, shift);
    const double *t = golden_at(g, name, &bytes);
    for (int64_t i = 0; i < n - 1; ++i)
        CHECK(fabs(t[i] - s.t[i]) <= (solver == KG_SOLVER_EULER ? 1e-4 : 0), "%s[%lld]: %.9g, expected %.9g", name,
              (long long)i, s.t[i], t[i]);
}

/* Truncated timesteps of 1 .. 60 steps: equal for every one. */
static void all_steps(const golden *g, int solver, int kind, double shift, int most)
{
    char name[64];
    size_t bytes;
    snprintf(name, sizeof name, "all.%s.%s.%g", solvers[solver], grids[kind], shift);
    const int16_t *t = golden_at(g, name, &bytes);
    int wrong = 0;
    for (int steps = 1; steps <= most; ++steps) {
        kg_schedule s;
        CHECK(kg_schedule_make(&s, solver, kind, steps, shift) == KG_OK);
        for (int i = 0; i < steps; ++i)
            wrong += s.t[i] != *t++;
    }
    CHECK(!wrong, "%s: %d timesteps differ", name, wrong);
}

static void schedules(void)
{
    golden g;
    golden_open(&g, "schedules");
    cJSON *list = cJSON_Parse(golden_meta(&g, "grids")), *shifts = cJSON_Parse(golden_meta(&g, "shifts")), *e;
    int most = atoi(golden_meta(&g, "most_steps"));
    for (int solver = 0; solver < 3; ++solver)
        for (int kind = 0; kind < 2; ++kind) {
            cJSON_ArrayForEach(e, list) one_grid(&g, solver, kind, (int)golden_number(e, 0), golden_number(e, 1));
            if (solver != KG_SOLVER_EULER)
                cJSON_ArrayForEach(e, shifts) all_steps(&g, solver, kind, e->valuedouble, most);
        }
    cJSON_Delete(list);
    cJSON_Delete(shifts);
    golden_close(&g);
}

/* ---- solvers ---- */
static void by_coefficients(const kg_schedule *s, double *out)
{
    double x = 1, last = 0, m1 = 0, m2 = 0;
    for (int i = 0; i < s->steps; ++i) {
        double v = field(x, s->sigma[i]);
        if (s->solver == KG_SOLVER_EULER) {
            out[i] = x += (s->sigma[i + 1] - s->sigma[i]) * v;
            continue;
        }
        kg_solver_step k = kg_solver_coefficients(s, i);
        double m = x - s->sigma[i] * v, c = k.corrects ? k.cl * last + k.cm * m + k.c1 * m1 + k.c2 * m2 : x;
        out[i] = x = k.yc * c + k.ym * m + k.y1 * m1;
        last = c;
        m2 = m1;
        m1 = m;
    }
}

/* With guidance (a scale other than 1) two answers whose guided velocity is the field. */
static void by_tensors(kg_exec *x, const kg_schedule *s, double scale, double *out)
{
    kg_solver state = {kg_keep(x, KG_F32, KG_SHAPE(1)),
                       kg_keep(x, KG_F32, KG_SHAPE(1)),
                       {kg_keep(x, KG_F32, KG_SHAPE(1)), kg_keep(x, KG_F32, KG_SHAPE(1))}};
    kg_answer a = {.v = kg_keep(x, KG_F32, KG_SHAPE(1)), .scale = scale};
    if (scale != 1)
        a.u = kg_keep(x, KG_F32, KG_SHAPE(1));
    float *at = state.x.at;
    *(float *)state.last.at = *(float *)state.m[0].at = *(float *)state.m[1].at = NAN;     /* read before it is written: shows */
    *at = 1;
    for (int i = 0; i < s->steps; ++i) {
        double v = field(*(float *)state.x.at, s->sigma[i]), u = a.u.rank ? *(float *)a.u.at = 0.25f - (float)(i % 4) / 8 : 0;
        *(float *)a.v.at = (float)(u + (v - u) / scale);
        kg_solver_advance(x, &state, s, i, &a);
        out[i] = *(float *)state.x.at;
    }
    kg_eager_reset(x);
}

static void compare(const golden *g, const char *name, const double *got, int n, double most)
{
    size_t bytes;
    const double *want = golden_at(g, name, &bytes);
    double error = 0;
    for (int i = 0; i < n; ++i)
        error = fmax(error, isnan(got[i]) ? INFINITY : fabs(got[i] - want[i]));
    printf("golden %s %s error %.3e limit %.1e\n", g->name, name, error, most);
    CHECK(bytes == n * sizeof *want && error <= most, "%s: off by %.3e", name, error);
}

static void trajectories(kg_exec *x)
{
    static const struct { int steps; double shift; } list[] = {{1, 5}, {2, 5}, {3, 5}, {4, 5}, {8, 5}, {12, 12}};
    golden g;
    golden_open(&g, "solvers");
    for (int solver = 0; solver < 3; ++solver)
        for (int kind = 0; kind < 2; ++kind)
            for (size_t i = 0; i < sizeof list / sizeof *list; ++i) {
                char name[64];
                double got[16];
                kg_schedule s;
                snprintf(name, sizeof name, "x.%s.%s.%d.%g", solvers[solver], grids[kind], list[i].steps, list[i].shift);
                if (!golden_has(&g, name) || kg_schedule_make(&s, solver, kind, list[i].steps, list[i].shift) != KG_OK)
                    continue;
                by_coefficients(&s, got);
                compare(&g, name, got, s.steps, 1e-6);
                for (int guided = 0; guided < 2; ++guided) {
                    by_tensors(x, &s, guided ? 4 : 1, got);
                    compare(&g, name, got, s.steps, 3e-6);
                }
            }
    golden_close(&g);
}

static void published_trajectories(void)
{
    static const struct { int solver, steps; double x[8]; } list[] = {
        {KG_SOLVER_UNIPC, 4, {0.9588845, 0.9020547, 0.8254230, 0.6433352}},
        {KG_SOLVER_UNIPC, 8, {0.9817260, 0.9607802, 0.9364750, 0.9073654, 0.8727407, 0.8319010, 0.7836359, 0.6737390}},
        {KG_SOLVER_DPM, 4, {0.9588960, 0.8990760, 0.8183299, 0.6392016}},
        {KG_SOLVER_DPM, 8, {0.9817315, 0.9601933, 0.9352143, 0.9056536, 0.8706171, 0.8295260, 0.7818517, 0.6724347}}};
    for (size_t k = 0; k < sizeof list / sizeof *list; ++k) {
        kg_schedule s;
        double got[8];
        kg_schedule_make(&s, list[k].solver, KG_SCHEDULE_OFFICIAL, list[k].steps, 5);
        by_coefficients(&s, got);
        for (int i = 0; i < s.steps; ++i)
            CHECK(fabs(got[i] - list[k].x[i]) < 3e-7, "%s, %d steps: x[%d] = %.7f, published %.7f", solvers[s.solver],
                  s.steps, i, got[i], list[k].x[i]);
    }
}

static void refusals(void)
{
    kg_schedule s;
    CHECK(kg_schedule_make(&s, KG_SOLVER_UNIPC, 0, 0, 5) == KG_USAGE);
    kg_error_clear();
    CHECK(kg_schedule_make(&s, KG_SOLVER_UNIPC, 0, KG_STEPS_MAX + 1, 5) == KG_USAGE);
    kg_error_clear();
    CHECK(kg_schedule_make(&s, KG_SOLVER_UNIPC, 0, 20, NAN) == KG_USAGE);
    kg_error_clear();
}

int main(void)
{
    kg_device *device = kg_cpu_new(1);
    kg_exec *x = kg_eager_new(device, 1 << 20);
    published();
    schedules();
    trajectories(x);
    published_trajectories();
    refusals();
    kg_eager_free(x);
    kg_device_free(device);
    return TEST_END();
}
