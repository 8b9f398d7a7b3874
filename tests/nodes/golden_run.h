/* A graph run for a golden: added node by node, run once on the device and in the precision that tests/device.h names, one output
 * fetched. Every failure is a CHECK with the engine's own message. */
#ifndef KG_TESTS_NODES_GOLDEN_RUN_H
#define KG_TESTS_NODES_GOLDEN_RUN_H

#include "tests/device.h"
#include "tests/golden.h"
#include "tests/graph.h"

typedef struct session { kg_files *files; kg_graph *graph; } session;

#define ADD(s, type, ...) session_add(s, type, ARGS(__VA_ARGS__))

static inline void session_open(session *s, const char *folder)
{
    s->files = kg_files_new();
    CHECK(kg_files_root(s->files, folder, KG_ROOT_PLAIN) == KG_OK, "%s", kg_error_last()->message);
    s->graph = kg_graph_new(&(kg_graph_options){.files = s->files, .precision = test_precision()});
}

static inline void session_close(session *s)
{
    kg_graph_free(s->graph);
    kg_files_free(s->files);
    kg_error_clear();
}

static inline int session_add(session *s, const char *type, const kg_arg *args, int n)
{
    int node = kg_graph_add(s->graph, type, NULL, args, n);
    CHECK(node >= 0, "%s: %s %s", type, kg_error_last()->message, kg_error_last()->hint);
    return node;
}

/* Runs what `node` needs and gives its output as it is stored, most are f32; malloc; NULL (and a failed CHECK) when it fails. */
static inline float *session_run(session *s, int node, int port, int64_t *count)
{
    if (node < 0)
        return NULL;
    const kg_desc *d = kg_graph_desc(s->graph, node, port);
    kg_tensor t = kg_tensor_make(NULL, d->dtype, d->rank, d->shape);
    *count = kg_count(&t);
    float *out = calloc((size_t)*count, sizeof *out);
    kg_device *device = test_device(0);
    kg_graph_want(s->graph, node);
    kg_plan *plan = kg_plan_new(s->graph, &(kg_plan_options){.device = device, .budget = (size_t)2 << 30});
    kg_run *run = plan ? kg_run_start(plan) : NULL;
    int ok = run && kg_run_wait(run) == KG_OK && kg_run_value(run, node, port, 0, out, kg_bytes(&t)) == KG_OK;
    CHECK(ok, "%s: %s %s", kg_error_last()->path, kg_error_last()->message, kg_error_last()->hint);
    kg_run_free(run);
    kg_plan_free(plan);
    test_device_free(device);
    if (!ok)
        free(out);
    return ok ? out : NULL;
}

/* Runs, compares with a tensor of the golden, says the figure. most: in f32. */
static inline void session_compare(session *s, int node, int port, const golden *g, const char *tensor, double most)
{
    int64_t count = 0;
    char name[64];             /* nodes of the test may reuse the caller's buffer */
    snprintf(name, sizeof name, "%s", tensor);
    float *got = session_run(s, node, port, &count);
    if (got)
        golden_compare(g, name, got, count, test_most(most));
    free(got);
}

#endif
