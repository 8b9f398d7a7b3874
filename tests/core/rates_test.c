/* Seconds: what runs took corrects later estimates and nothing else of a plan; a file's pages in the page cache are told apart. */
#include "core/rates.h"
#include "tests/toy.h"

#define WIDTH 4096
#define BLOCKS 10
static const char *file = "rates_weights.bin";
static kg_files *files;

static void cells(void)
{
    static kg_rates r;
    CHECK(kg_rates_factor(NULL, "cpu a", 1, 10) == 1 && kg_rates_factor(&r, "cpu a", 1, 10) == 1);
    kg_rates_note(&r, "cpu a", 1, 1000, 3);
    kg_rates_note(&r, "cpu a", 1, 10, 2);
    kg_rates_note(&r, "cpu b", 8, 10, 4);
    CHECK(fabs(kg_rates_factor(&r, "cpu a", 2, 2000) - 3) < 1e-12, "of its own size");
    CHECK(fabs(kg_rates_factor(&r, "cpu a", 1000, 2000) - 2) < 1e-12, "of the nearest size");
    CHECK(fabs(kg_rates_factor(&r, "cpu c", 1, 10) - 0.9) < 1e-12, "of all, when the unit is new: %g", kg_rates_factor(&r, "cpu c", 1, 10));
    int n = r.n;
    kg_rates_note(&r, "cpu slept", 1, 10, 1e5);
    kg_rates_note(&r, "cpu nothing", 0, 0, 1);
    CHECK(r.n == n, "what is no rate is not noted");
    for (int i = 0; i < 20; ++i)
        kg_rates_note(&r, "cpu a", 1, 1000, 6);
    CHECK(fabs(kg_rates_factor(&r, "cpu a", 1, 1000) - 6) < 0.1, "a machine that changed is followed: %g",
          kg_rates_factor(&r, "cpu a", 1, 1000));
    kg_rates_note(&r, "cpu a", 1e-3, 1, 1e-2);
    CHECK(fabs(kg_rates_factor(&r, "cpu a", 1, 1000) - 6) < 0.2, "a short run does not outweigh long ones");
}

static void full(void)
{
    static kg_rates r;
    char what[32];
    for (int i = 0; i < KG_RATE_CELLS + 10; ++i) {
        snprintf(what, sizeof what, "cpu %d", i);
        kg_rates_note(&r, what, 10 + i, 10, 20 + i);
    }
    CHECK(r.n == KG_RATE_CELLS);
    CHECK(fabs(kg_rates_factor(&r, what, 1, 1) - (30.0 + KG_RATE_CELLS - 1) / (20.0 + KG_RATE_CELLS - 1) ) < 0.2);
}

static void text(void)
{
    static kg_rates r, again;
    kg_rates_note(&r, "cpu \"quoted\"", 1, 10, 3);
    kg_rates_note_load(&r.cold, 1e9, 0.5);
    char *t = kg_rates_text(&r);
    CHECK(t && kg_rates_read(&again, t) == KG_OK, "%s", kg_error_last()->message);
    CHECK(!memcmp(&r, &again, sizeof r), "%s", t);
    CHECK(kg_rates_load_rate(&again.cold, 1) == 2e9 && kg_rates_load_rate(&again.warm, 7) == 7);
    free(t);
    static const char *const bad[] = {"", "[]", "{\"version\":2,\"units\":[],\"cold\":[0,0],\"warm\":[0,0]}",
        "{\"version\":1,\"units\":[{\"what\":\"a\",\"size\":0,\"planned\":0,\"taken\":1}],\"cold\":[0,0],\"warm\":[0,0]}",
        "{\"version\":1,\"units\":[],\"cold\":[-1,0],\"warm\":[0,0]}"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; ++i) {
        CHECK(kg_rates_read(&again, bad[i]) == KG_INPUT && !again.n, "%s", bad[i]);
        kg_error_clear();
    }
}

static kg_plan_summary planned(kg_rates *rates, int go)
{
    toy_device t;
    toy_open(&t, 1 << 30);
    kg_graph *g = kg_graph_new(&(kg_graph_options){.files = files, .precision = KG_PRECISION_F32});
    int m = kg_graph_add(g, "toy.weights", NULL, ARGS(arg_text("path", file), arg_int("blocks", BLOCKS), arg_int("width", WIDTH)));
    int x = kg_graph_add(g, "toy.mix", "main", ARGS(arg_node("model", m, 0), arg_int("steps", 5), arg_int("seed", 3)));
    int f = kg_graph_add(g, "toy.frames", NULL, ARGS(arg_node("latent", x, 0), arg_int("frames", 5)));
    int last = kg_graph_add(g, "toy.sum", NULL, ARGS(arg_node("video", f, 0)));
    kg_graph_want(g, last);
    kg_plan *p = kg_plan_new(g, &(kg_plan_options){.device = &t.d, .rates = rates});
    CHECK(p != NULL, "%s", kg_error_last()->message);
    kg_plan_summary s = kg_plan_sum(p);
    kg_run *r;
    if (go) {
        CHECK(toy_go(p, &r) == KG_OK, "%s", kg_error_last()->message);
        kg_run_free(r);
    }
    kg_plan_free(p);
    kg_graph_free(g);
    return s;
}

static void plans(void)
{
    static kg_rates none, slow, learnt;
    kg_plan_summary a = planned(NULL, 0), b = planned(&none, 0);
    CHECK(a.seconds == b.seconds && a.seconds > 0);
    kg_rates_note(&slow, "toy another", 1, 1, 4);
    b = planned(&slow, 0);
    CHECK(b.seconds > 2 * a.seconds, "%g, then %g", a.seconds, b.seconds);
    CHECK(b.arena == a.arena && b.peak_host == a.peak_host && b.loads == a.loads && b.fronts == a.fronts, "rates change more than seconds");
    planned(&learnt, 1);
    for (int i = 0; i < learnt.n; ++i)
        CHECK(!strncmp(learnt.cell[i].what, "toy toy.", 8), "%s", learnt.cell[i].what);
}

static void warm(void)
{
    kg_file *f = kg_open(files, file);
    CHECK(f != NULL);
    double w = kg_file_warm(f, 0, WIDTH * 4), tail = kg_file_warm(f, f->size - 5, 5), none = kg_file_warm(f, f->size, 5);
    CHECK(w == 1 || w == -1, "what was just written is there: %g", w);
    CHECK(tail == 1 || tail == -1);
    CHECK(none == -1, "behind the end there is nothing to ask for");
    kg_file_unref(f);
}

int main(void)
{
    static float w[BLOCKS * WIDTH];
    FILE *o = fopen(file, "wb");
    CHECK(o && fwrite(w, sizeof w, 1, o) == 1);
    fclose(o);
    files = kg_files_new();
    kg_files_root(files, ".", KG_ROOT_PLAIN);
    cells();
    full();
    text();
    plans();
    warm();
    kg_files_free(files);
    remove(file);
    return TEST_END();
}
