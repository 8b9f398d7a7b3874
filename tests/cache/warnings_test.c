/* A warning belongs to the node that gives it, in whatever it does (prepare, execute, host work on another thread): each is given once
 * a run, is kept with the node's results, and is given again when the cache answers for the node or for what needs it. */
#include "tests/toy.h"

#include "tests/cache/help.h"
#include "tests/sim.h"

typedef struct careful_params { int64_t quiet; } careful_params;

static kg_status careful_infer(kg_infer *x)
{
    x->out[0] = kg_desc_tensor("latent/toy", KG_F32, 1, (int64_t[]){64});
    kg_infer_warn(x, "inferred");
    return KG_OK;
}

static int loud(const void *params) { return !((const careful_params *)params)->quiet; }

static kg_status careful_prepare(kg_prepare *x)
{
    if (loud(x->params))
        kg_warn("prepared");
    return KG_OK;
}

static kg_status work(void *arg, const kg_tensor *ins, const kg_tensor *outs)
{
    (void)ins;
    if (outs)
        memset(outs[0].at, 0, kg_bytes(&outs[0]));
    if (loud(*(const void **)arg))
        kg_warn(outs ? "worked" : "wrote");
    return KG_OK;
}

static kg_status careful_execute(kg_exec *x)
{
    kg_tensor y = kg_out(x, 0);
    const void *p = kg_params(x);
    if (loud(p))
        kg_warn("executed\n");         /* dry, on every rung, and wet */
    kg_work(x, work, &p, sizeof p, 0, NULL, 1, &y, 0);
    return kg_work(x, work, &p, sizeof p, 1, &y, 0, NULL, 0);
}

KG_NODE(test_careful) = {.name = "test.careful", .doc = "warns", .version = 1, .params_size = sizeof(careful_params),
    .outputs = KG_PORTS({"x", "latent/toy", 0, ""}), .infer = careful_infer, .prepare = careful_prepare, .execute = careful_execute,
    .params = KG_PARAMS(KG_INT(careful_params, quiet, 0, 0, 1, 0, "not a word"))};

static kg_status plain_infer(kg_infer *x)
{
    x->out[0] = x->in[0];
    return KG_OK;
}

static kg_status plain_execute(kg_exec *x)
{
    kg_tensor y = kg_out(x, 0);
    static const float zero[64];
    kg_put(x, y, zero, sizeof zero);
    return KG_OK;
}

KG_NODE(test_plain) = {.name = "test.plain", .doc = "does not warn", .version = 1,
    .inputs = KG_PORTS({"x", "latent/toy", 0, ""}), .outputs = KG_PORTS({"y", "latent/toy", 0, ""}), .infer = plain_infer,
    .execute = plain_execute};

typedef struct heard { int inferred, prepared, executed, worked, wrote, all; } heard;

static void hear(void *arg, const kg_warned *of, const char *text)
{
    heard *h = arg;
    CHECK(of && !strcmp(of->node, "test.careful") && !strcmp(of->label, "one"), "%s", text);
    h->inferred += !strcmp(text, "inferred");
    h->prepared += !strcmp(text, "prepared");
    h->executed += !strncmp(text, "executed", 8);
    h->worked += !strcmp(text, "worked");
    h->wrote += !strcmp(text, "wrote");
    ++h->all;
}

/* The whole is wanted, or the careful node alone; cached: nodes that the cache answers. */
static void run(kg_device *d, kg_cache *c, int whole, int quiet, int force, int cached, int warnings)
{
    heard h = {0};
    kg_run *r = NULL;
    kg_warn_set(hear, &h);
    kg_graph *g = kg_graph_new(&(kg_graph_options){.precision = KG_PRECISION_F32});
    int one = kg_graph_add(g, "test.careful", "one", ARGS(arg_int("quiet", quiet)));
    int two = kg_graph_add(g, "test.plain", NULL, ARGS(arg_node("x", one, 0)));
    CHECK(two == 1 && !kg_graph_want(g, whole ? two : one), "%s", kg_error_last()->message);
    kg_plan *p = kg_plan_new(g, &(kg_plan_options){.device = d, .cache = c, .force = force});
    CHECK(p && kg_plan_sum(p).cached == cached && toy_go(p, &r) == KG_OK, "%s", kg_error_last()->message);
    CHECK(h.inferred == 1 && h.prepared == warnings && h.executed == warnings && h.worked == warnings && h.wrote == warnings, "%d %d %d %d",
          h.prepared, h.executed, h.worked, h.wrote);
    CHECK(h.all == 1 + 4 * warnings, "%d", h.all);
    kg_run_free(r);
    kg_plan_free(p);
    kg_graph_free(g);
    kg_warn_set(NULL, NULL);
}

int main(void)
{
    sim s;
    begin();
    sim_open(&s, 1 << 30, 1, 0);
    kg_cache *c = open_at("warnings.sqlite");
    run(&s.d, NULL, 1, 0, 0, 0, 1);
    run(&s.d, c, 1, 0, 0, 0, 1);
    run(&s.d, c, 0, 0, 0, 1, 1);               /* its own row answers */
    run(&s.d, c, 1, 0, 0, 1, 1);               /* the row of what needs it does */
    run(&s.d, c, 1, 0, 2, 0, 1);               /* made anew */
    run(&s.d, c, 1, 1, 0, 0, 0);               /* another key has none */
    run(&s.d, c, 1, 1, 0, 1, 0);
    CHECK(!log_lines, "%s", logged);
    kg_cache_close(c);
    sim_close(&s);
    end();
    return TEST_END();
}
