/* The graph: see graph.h. Nodes are kept in the order of adding, which is topological unless kg_graph_join rewired one. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/graph_internal.h"
#include "core/param.h"
#include "core/paths.h"

kg_graph *kg_graph_new(const kg_graph_options *o)
{
    kg_graph *g = calloc(1, sizeof *g);
    if (!g) {
        kg_fail(KG_FAILED, "out of host memory");
        return NULL;
    }
    g->options = *o;
    if (!g->options.max_nodes)
        g->options.max_nodes = 4096;
    return g;
}

static void node_drop(kg_gnode *n)
{
    if (n->params && n->type)
        kg_params_drop(n->type, n->params);
    if (n->asked && n->type)
        kg_params_drop(n->type, n->asked);
    if (n->resource && n->resource->destroy)
        n->resource->destroy(n->resource);
    free(n->params);
    free(n->asked);
    free(n->label);
    free(n->writes);
    kg_gnode_forget(n);
    free(n);
}

void kg_graph_free(kg_graph *g)
{
    if (!g)
        return;
    for (int i = 0; i < g->count; ++i)
        node_drop(g->node[i]);
    free(g->node);
    free(g);
}

static void node_path(const kg_gnode *n)
{
    char path[256];
    if (n->label && n->label[0])
        snprintf(path, sizeof path, "%s '%s'", n->type->name, n->label);
    else
        snprintf(path, sizeof path, "%s", n->type->name);
    kg_error_path(path);
}

static kg_status unknown_type(const char *type)
{
    const kg_node_type *const *all;
    int n = kg_node_types(&all);
    const char **names = calloc((size_t)n + 1, sizeof *names);
    kg_fail(KG_USAGE, "there is no node \"%s\"", type);
    if (names) {
        for (int i = 0; i < n; ++i)
            names[i] = all[i]->name;
        int near = kg_near(type, names, n);
        if (near >= 0)
            kg_hint("did you mean %s?", names[near]);
        else
            kg_hint("kino nodes lists them all");
    }
    free(names);
    return KG_USAGE;
}

static kg_status unknown_argument(const kg_node_type *t, const char *name)
{
    const char *names[64];
    int n = 0;
    for (const kg_port *p = t->inputs; p && p->name && n < 64; ++p)
        names[n++] = p->name;
    for (const kg_param *p = t->params; p && p->name && n < 64; ++p)
        names[n++] = p->name;
    kg_fail(KG_USAGE, "%s has no input or param \"%s\"", t->name, name);
    int near = kg_near(name, names, n);
    if (near >= 0)
        kg_hint("did you mean %s?", names[near]);
    return KG_USAGE;
}

static int port_find(const kg_port *ports, const char *name)
{
    for (int i = 0; ports && ports[i].name; ++i)
        if (!strcmp(ports[i].name, name))
            return i;
    return -1;
}

/* Does output `port` of `from` fit input `input` of n? */
static kg_status join(const kg_graph *g, kg_gnode *n, int input, int from, int port)
{
    const kg_port *in = &n->type->inputs[input];
    if (from < 0 || from >= g->count)
        return kg_fail(KG_USAGE, "input %s names node %d, and there are %d", in->name, from, g->count);
    const kg_gnode *source = g->node[from];
    if (port < 0 || port >= source->outputs)
        return kg_fail(KG_USAGE, "input %s names output %d of %s, which has %d", in->name, port, source->type->name, source->outputs);
    const kg_desc *d = &source->out[port];
    if (!d->kind || !kg_kind_takes(in->kind, d->kind)) {
        kg_fail(KG_USAGE, "input %s takes %s, but %s.%s is %s", in->name, in->kind, source->type->name, source->type->outputs[port].name,
                d->kind ? d->kind : "nothing");
        kg_advise_between(d->kind ? d->kind : "nothing", in->kind);
        return KG_USAGE;
    }
    if (d->stream && !(in->flags & KG_STREAM))
        return kg_fail(KG_USAGE, "input %s takes one %s, but %s.%s is a stream", in->name, in->kind, source->type->name,
                       source->type->outputs[port].name);
    n->from[input] = from;
    n->from_port[input] = port;
    return d->stream ? kg_gnode_stream_users(g, n, from) : KG_OK;
}

static kg_status device(kg_gnode *n, const kg_arg *a)
{
    n->on_cpu = a->kind == KG_A_TEXT && !strcmp(a->s, "cpu");
    if (n->on_cpu || (a->kind == KG_A_TEXT && !strcmp(a->s, "auto")))
        return KG_OK;
    return kg_fail(KG_USAGE, "device is \"auto\" or \"cpu\"");
}

static kg_status argument(kg_graph *g, kg_gnode *n, const kg_arg *a)
{
    int input = port_find(n->type->inputs, a->name);
    if (input >= 0) {
        if (a->kind != KG_A_NODE) {
            kg_fail(KG_USAGE, "input %s wants a node's output, not a value", a->name);
            kg_advise_source(n->type->inputs[input].kind);
            return KG_USAGE;
        }
        return join(g, n, input, a->node, a->port);
    }
    const kg_param *p = kg_param_find(n->type, a->name);
    if (!p && !strcmp(a->name, "device"))
        return device(n, a);
    if (!p)
        return unknown_argument(n->type, a->name);
    if (a->kind == KG_A_NODE)
        return kg_fail(KG_USAGE, "param %s wants a value, not a node", a->name);
    n->given |= (uint64_t)1 << (p - n->type->params);
    return kg_param_set(p, n->asked, a);
}

static kg_status complete(const kg_gnode *n)
{
    for (int i = 0; i < n->inputs; ++i)
        if (n->from[i] < 0 && !(n->type->inputs[i].flags & KG_OPTIONAL)) {
            const kg_port *in = &n->type->inputs[i];
            kg_fail(KG_USAGE, "input %s is not joined: it was not given, or nil was (it takes %s)", in->name, in->kind);
            kg_advise_source(in->kind);
            return KG_USAGE;
        }
    for (const kg_param *p = n->type->params; p && p->name; ++p)
        if (p->flags & KG_REQUIRED && !*(const char *const *)((const char *)n->asked + p->offset))
            return kg_fail(KG_USAGE, "param %s is missing: %s", p->name, p->doc);
    return KG_OK;
}

/* A plain value at a stream port is a stream of one chunk. */
void kg_gnode_inputs(const kg_graph *g, const kg_gnode *n, kg_desc in[KG_GRAPH_PORTS])
{
    memset(in, 0, sizeof *in * KG_GRAPH_PORTS);
    for (int i = 0; i < n->inputs; ++i) {
        if (n->from[i] < 0)
            continue;
        in[i] = g->node[n->from[i]]->out[n->from_port[i]];
        if (n->type->inputs[i].flags & KG_STREAM && !in[i].stream) {
            in[i].stream = 1;
            in[i].chunks = 1;
        }
    }
}

static kg_status infer(kg_graph *g, kg_gnode *n)
{
    kg_desc in[KG_GRAPH_PORTS];
    kg_gnode_inputs(g, n, in);
    kg_params_drop(n->type, n->params);
    kg_params_copy(n->type, n->params, n->asked);
    kg_gnode_forget(n);
    memset(n->out, 0, sizeof n->out);
    if (kg_gnode_stream_length(g, n) != KG_OK || kg_gnode_count_items(n, in) != KG_OK)
        return KG_USAGE;
    int items = n->items;
    for (int i = 0; i < n->outputs; ++i)
        n->out[i].items = items;
    kg_infer x = {.params = n->params, .in = in, .out = n->out, .files = g->options.files, .precision = g->options.precision, .node = n};
    if (n->on_cpu && g->options.cpu_precision)
        x.precision = g->options.cpu_precision;
    kg_status s = n->type->infer(&x);
    if (x.resource) {
        if (n->resource && n->resource->destroy)
            n->resource->destroy(n->resource);
        n->resource = x.resource;
        for (int i = 0; i < n->resource->file_count; ++i)
            kg_infer_file(&x, n->resource->files[i]);
    }
    if (s != KG_OK || kg_error_last()->status != KG_OK) {
        kg_fail(s ? s : KG_USAGE, "refused without saying why");
        return kg_error_last()->status;
    }
    for (int i = 0; i < n->outputs; ++i) {
        if (n->out[i].items < items)
            n->out[i].items = items;
        if (n->out[i].items > n->items)
            n->items = n->out[i].items;
    }
    return KG_OK;
}

const char *kg_gnode_out(const kg_gnode *n)
{
    for (const kg_param *p = n->type->params; p && p->name && n->type->flags & KG_SINK; ++p)
        if (p->type == KG_T_OUT)
            return *(const char *const *)((const char *)n->params + p->offset);
    return NULL;
}

/* Of two nodes that write one file, by whatever name, one would work for nothing. */
static kg_status written_once(const kg_graph *g, kg_gnode *n)
{
    char target[PATH_MAX];
    const char *path = kg_gnode_out(n);
    if (!path || !kg_output_target(path, target))
        return KG_OK;
    for (int i = 0; i < g->count; ++i)
        if (g->node[i]->writes && !strcmp(g->node[i]->writes, target)) {
            const char *other = kg_gnode_out(g->node[i]);
            kg_fail(KG_USAGE, "%s writes '%s' too", g->node[i]->type->name, other);
            if (strcmp(other, path))
                kg_hint("'%s' is that very file, by a link or another spelling", path);
            return KG_USAGE;
        }
    n->writes = strdup(target);
    return n->writes ? KG_OK : kg_fail(KG_FAILED, "out of host memory");
}

static kg_gnode *node_make(kg_graph *g, const kg_node_type *t, const char *label)
{
    (void)g;
    kg_gnode *n = calloc(1, sizeof *n);
    if (!n)
        return NULL;
    n->type = t;
    n->label = strdup(label ? label : "");
    n->params = calloc(1, t->params_size + 1);
    n->asked = calloc(1, t->params_size + 1);
    while (t->inputs && t->inputs[n->inputs].name)
        n->from[n->inputs++] = -1;
    while (t->outputs && t->outputs[n->outputs].name)
        ++n->outputs;
    if (!n->label || !n->params || !n->asked || n->inputs > KG_GRAPH_PORTS || n->outputs > KG_GRAPH_PORTS) {
        node_drop(n);
        return NULL;
    }
    kg_params_default(t, n->asked);
    return n;
}

int kg_graph_add(kg_graph *g, const char *type, const char *label, const kg_arg *args, int count)
{
    const kg_node_type *t = kg_node_type_find(type);
    if (!t)
        return unknown_type(type), -1;
    if (g->count >= g->options.max_nodes)
        return kg_fail(KG_USAGE, "the graph has %d nodes, which is the most it may have", g->count), -1;
    if (g->count == g->room) {
        int room = g->room ? 2 * g->room : 64;
        kg_gnode **p = realloc(g->node, (size_t)room * sizeof *p);
        if (!p)
            return kg_fail(KG_FAILED, "out of host memory"), -1;
        g->node = p;
        g->room = room;
    }
    kg_gnode *n = node_make(g, t, label);
    if (!n)
        return kg_fail(KG_FAILED, "out of host memory"), -1;
    kg_status s = KG_OK;
    for (int i = 0; i < count && s == KG_OK; ++i)
        s = argument(g, n, &args[i]);
    if (s == KG_OK)
        s = complete(n);
    if (s == KG_OK)
        s = infer(g, n);
    if (s == KG_OK)
        s = written_once(g, n);
    if (s != KG_OK) {
        node_path(n);
        node_drop(n);
        return -1;
    }
    g->node[g->count] = n;
    if (n->resource)
        n->resource->id = g->count;
    return g->count++;
}

static int reaches(const kg_graph *g, int from, int target)
{
    if (from == target)
        return 1;
    for (int i = 0; i < g->node[from]->inputs; ++i)
        if (g->node[from]->from[i] >= 0 && reaches(g, g->node[from]->from[i], target))
            return 1;
    return 0;
}

kg_status kg_graph_join(kg_graph *g, int from, int port, int to, const char *input)
{
    if (to < 0 || to >= g->count)
        return kg_fail(KG_USAGE, "there is no node %d", to);
    kg_gnode *n = g->node[to];
    int i = port_find(n->type->inputs, input);
    kg_status s = KG_OK;
    if (i < 0)
        s = unknown_argument(n->type, input);
    else if (from >= 0 && from < g->count && reaches(g, from, to))
        s = kg_fail(KG_USAGE, "joining %s to input %s makes a cycle", g->node[from]->type->name, input);
    else {
        int old = n->from[i], old_port = n->from_port[i];
        s = join(g, n, i, from, port);
        for (int k = 0; k < g->count && s == KG_OK; ++k)
            if (reaches(g, k, to))
                s = infer(g, g->node[k]);
        if (s != KG_OK) {
            n->from[i] = old;
            n->from_port[i] = old_port;
        }
    }
    if (s != KG_OK)
        node_path(n);
    return s;
}

int kg_graph_output(const kg_graph *g, int node, const char *name)
{
    if (node < 0 || node >= g->count)
        return kg_fail(KG_USAGE, "there is no node %d", node), -1;
    const kg_gnode *n = g->node[node];
    int i = port_find(n->type->outputs, name);
    if (i >= 0)
        return i;
    const char *names[KG_GRAPH_PORTS];
    for (int k = 0; k < n->outputs; ++k)
        names[k] = n->type->outputs[k].name;
    kg_fail(KG_USAGE, "%s has no output \"%s\"", n->type->name, name);
    int near = kg_near(name, names, n->outputs);
    if (near >= 0)
        kg_hint("did you mean %s?", names[near]);
    node_path(n);
    return -1;
}

kg_status kg_graph_want(kg_graph *g, int node)
{
    if (node < 0 || node >= g->count)
        return kg_fail(KG_USAGE, "there is no node %d", node);
    g->node[node]->wanted = 1;
    g->wants = 1;
    return KG_OK;
}

int kg_gnode_wanted(const kg_graph *g, int node)
{
    return g->wants ? g->node[node]->wanted : (g->node[node]->type->flags & KG_SINK) != 0;
}

int kg_graph_count(const kg_graph *g) { return g->count; }
const kg_node_type *kg_graph_type(const kg_graph *g, int node) { return g->node[node]->type; }
const char *kg_graph_label(const kg_graph *g, int node) { return g->node[node]->label; }
const void *kg_graph_params(const kg_graph *g, int node) { return g->node[node]->params; }
const kg_desc *kg_graph_desc(const kg_graph *g, int node, int port) { return &g->node[node]->out[port]; }

void kg_graph_mark(const kg_graph *g, int node, char *seen)
{
    if (seen[node])
        return;
    seen[node] = 1;
    for (int i = 0; i < g->node[node]->inputs; ++i)
        if (g->node[node]->from[i] >= 0)
            kg_graph_mark(g, g->node[node]->from[i], seen);
}

int kg_graph_unreached(const kg_graph *g, int *nodes, int max)
{
    char *seen = calloc((size_t)g->count + 1, 1);
    int n = 0;
    if (!seen)
        return 0;
    for (int i = 0; i < g->count; ++i)
        if (kg_gnode_wanted(g, i))
            kg_graph_mark(g, i, seen);
    for (int i = 0; i < g->count; ++i)
        if (!seen[i]) {
            if (n < max)
                nodes[n] = i;
            ++n;
        }
    free(seen);
    return n;
}

int kg_infer_given(const kg_infer *x, const char *param)
{
    const kg_gnode *n = x->node;
    const kg_param *p = kg_param_find(n->type, param);
    return p && n->given >> (p - n->type->params) & 1;
}

void kg_infer_warn(kg_infer *x, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    const kg_gnode *n = x->node;
    kg_warned here = {.node = n->type->name, .label = n->label}, *was = kg_warn_for(&here);
    kg_warn("%s", text);
    kg_warn_for(was);
    free(here.lines);                  /* infer warns each time */
}
