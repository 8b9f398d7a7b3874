/* run, plan and check: script to graph to plan to run. The script's process is forked before any device or thread is there. */
#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/kernel.h"
#include "tools/kino_cli.h"

typedef struct session {
    kg_files *files;
    kg_script *script;
    const kg_script_doc *doc;
    kg_device *device, *cpu;       /* cpu: beside a card, for nodes that ask for it */
    kg_cache *cache;
    kg_identity_memo memo;
    kg_graph *graph;
    kino_made made;
    const struct cJSON *chain;     /* of --from: built instead of running a script  */
    kino_note *note;
    kg_rates rates;
} session;

static void help_param(const kg_script_param *p)
{
    char range[96] = "";
    if (isfinite(p->min) && isfinite(p->max))
        snprintf(range, sizeof range, " [%.15g..%.15g]", p->min, p->max);
    printf("  --%-14s %-8s ", p->name, kg_script_type_name(p->type));
    kino_print_plain(p->doc, stdout);
    for (int i = 0; i < p->choice_count; ++i)
        printf("%s%s", i ? "|" : " (", p->choices[i]);
    printf("%s%s", p->choice_count ? ")" : "", range);
    if (p->required)
        printf(" (required)\n");
    else if (p->def && *p->def && strlen(p->def) < 64) {
        fputs(" (default ", stdout);
        kino_print_plain(p->def, stdout);
        puts(")");
    } else
        printf("\n");
}

/* Text of several lines. */
static void print_lines(const char *s)
{
    char *copy = strdup(s), *rest = copy;
    for (char *line; (line = strsep(&rest, "\n"));) {
        kino_print_plain(line, stdout);
        putchar('\n');
    }
    free(copy);
}

static void help(const kino_options *o, const kg_script_doc *d)
{
    kino_print_plain(o->target, stdout);
    putchar('\n');
    if (*d->doc)
        print_lines(d->doc);
    for (int i = 0; i < d->n; ++i)
        help_param(&d->params[i]);
}

static kg_status known_values(const kino_options *o, const kg_script_doc *d)
{
    const char *names[KINO_VALUES];
    int n = 0;
    for (int i = 0; i < d->n && n < KINO_VALUES; ++i)
        names[n++] = d->params[i].name;
    for (int i = 0; i < o->values; ++i) {
        int found = 0;
        for (int k = 0; k < n; ++k)
            found |= !strcmp(names[k], o->value[i].name);
        if (found)
            continue;
        int near = kg_near(o->value[i].name, names, n);
        kg_fail(KG_USAGE, "%s has no param --%s", o->target, o->value[i].name);
        if (near >= 0)
            kg_hint("did you mean --%s?", names[near]);
        else
            kg_hint("kino run %s --help lists them", o->target);
        return KG_USAGE;
    }
    return KG_OK;
}

static kg_status open_script(kino_options *o, session *s)
{
    s->files = kg_files_new();
    kg_files_cancel(s->files, &kino_interrupted);
    static const char *const templates[] = {"graphs"};
    const char *names[KINO_OPTIONS];
    kino_option_names(names);
    if (s->chain)
        return kino_made_roots(o, &s->made, s->files);
    s->script = kg_script_open(o->target, &(kg_script_options){.files = s->files,
                                                               .templates = templates,
                                                               .template_count = 1,
                                                               .texts = s->made.named ? NULL : s->made.texts,
                                                               .text_count = s->made.named ? 0 : s->made.text_count,
                                                               .reserved = names,
                                                               .no_walls = o->no_walls,
                                                               .cancel = &kino_interrupted});
    if (!s->script || !(s->doc = kg_script_describe(s->script)))
        return kg_error_last()->status;
    if (o->help)
        return KG_OK;
    kg_status st = kino_roots(o, s->files);
    if (st == KG_OK)
        st = known_values(o, s->doc);
    return st == KG_OK ? kino_from_outputs(o, s->doc) : st;
}

/* The one output that the file was. */
static kg_status build_chain(const kino_options *o, session *s)
{
    const char *out = o->value[kino_value_find(o, "out")].text;
    kg_status st = kg_files_grant_out(s->files, out);
    int node = st == KG_OK ? kino_chain_build(s->chain, cJSON_GetArraySize(s->chain) - 1, out, s->graph) : -1;
    return node >= 0 ? kg_graph_want(s->graph, node) : kg_error_last()->status;
}

static kg_status build(kino_options *o, session *s)
{
    int precision = 0;
    if (!(s->device = kino_device(o)))
        return kg_error_last()->status;
    kg_status st = kino_precision(o, s->device, &precision);
    if (st != KG_OK)
        return st;
    if (!o->cache || strcmp(o->cache, "none")) {
        kg_cache_options c = {0};
        kino_cache_options(o, &c);
        s->cache = kg_cache_open(&c);
        kg_error_clear();              /* a run goes on without; the log has said why */
    }
    if (s->cache) {
        s->memo = kg_cache_memo(s->cache);
        kg_files_memo(s->files, &s->memo);
        kg_cuda_keep(s->device, s->cache);
    }
    int asked_bf16 = o->precision && !strcmp(o->precision, "bf16");      /* nodes on the CPU beside a card: f32 but for that */
    s->graph = kg_graph_new(&(kg_graph_options){
        .files = s->files, .precision = precision, .cpu_precision = asked_bf16 ? KG_PRECISION_BF16 : KG_PRECISION_F32});
    if (!s->graph)
        return KG_FAILED;
    return s->chain ? build_chain(o, s) : kg_script_build(s->script, o->value, o->values, s->graph);
}

static kg_status make_plan(kino_options *o, session *s, int finite, kg_plan **out)
{
    if (!s->device->host_memory && !s->cpu && !(s->cpu = kg_cpu_new(o->threads)))
        return kg_error_last()->status;
    kg_plan_options p = {.device = s->device,
                         .cpu = s->cpu,
                         .cache = s->cache,
                         .strict = o->strict,
                         .force = o->force,
                         .finite = finite,
                         .dry = !strcmp(o->command, "plan")};
    kg_host_memory host;
    kg_host_memory_read("", &host);
    p.host = &host;
    if (o->ram && kino_size("--ram", o->ram, s->device->profile.discrete ? &p.host_budget : &p.budget) != KG_OK)
        return KG_USAGE;
    if (o->vram && s->device->profile.discrete && kino_size("--vram", o->vram, &p.budget) != KG_OK)
        return KG_USAGE;
    if (!p.dry && kg_graph_identify(s->graph) != KG_OK)        /* what is written says from which files it was made */
        return kg_error_last()->status;
    if (!p.dry && !s->note && !(s->note = kino_note_new(o, s->script, s->doc, &s->made, s->graph, s->device)))
        return kg_error_last()->status;
    p.provenance = p.dry ? NULL : kino_note_of;
    p.provenance_arg = s->note;
    kino_rates_read(&s->rates, s->device);
    p.rates = &s->rates;
    *out = kg_plan_new(s->graph, &p);
    return *out ? KG_OK : kg_error_last()->status;
}

/* A watched value was not finite, and the checks between ops were off: the same run with them on goes on from the last checkpoint, takes
 * what is cached, and ends with the op that made it. Its error is reported instead of the first one. */
static kg_status find_op(kino_options *o, session *s)
{
    kg_error first = *kg_error_last(), second;
    if (!s->cache) {
        kg_hint("--finite runs again with a check after each op, and names the one that made it");
        return first.status;
    }
    kg_error_clear();
    kg_log("%s: %s; looking for the op that made it: once more from the last checkpoint, with a check after each op", first.path,
           first.message);
    kg_plan *p = NULL;
    kg_status st = make_plan(o, s, 1, &p);
    kg_run *r = st == KG_OK ? kg_run_start(p) : NULL;
    if (r)
        kino_follow(o, r, s->device);
    kg_error_take(&second);
    kg_run_free(r);
    kg_plan_free(p);
    kg_error_set(second.status == KG_FAILED || second.status == KG_CANCELLED ? &second : &first);
    if (second.status == KG_OK)
        kg_hint("a second run with a check after each op found none: this machine does not compute the same twice");
    else if (second.status != KG_FAILED && second.status != KG_CANCELLED)
        kg_hint("--finite finds the op, with a larger budget");
    return kg_error_last()->status;
}

static kg_status execute(kino_options *o, session *s)
{
    kg_plan *p = NULL;
    kg_status st = make_plan(o, s, o->finite, &p);
    if (st != KG_OK)
        return st;
    if (!strcmp(o->command, "plan")) {
        char *text = o->json ? kg_plan_json(p) : kg_plan_text(p);
        if (text)
            fputs(text, stdout);
        if (o->json)
            putchar('\n');
        free(text);
    } else {
        kino_plan_event(o, p, s->device);
        kg_run *r = kg_run_start(p);
        st = r ? kino_follow(o, r, s->device) : kg_error_last()->status;
        if (r && st == KG_OK)
            kino_rates_write(&s->rates, s->device);
        kg_run_free(r);
    }
    kg_plan_free(p);
    return st != KG_OK && kg_error_last()->not_finite && !o->finite ? find_op(o, s) : st;
}

static kg_status choices(const kino_options *o)
{
    static const char *const policies[] = {"never", "fit", "speed"};
    for (int i = 0; o->requantize && i < 3; ++i)
        if (!strcmp(o->requantize, policies[i]))
            return i ? kg_fail(KG_USAGE, "--requantize %s is not there yet", o->requantize) : KG_OK;
    return o->requantize ? kg_fail(KG_USAGE, "--requantize is never, fit or speed, not \"%s\"", o->requantize) : KG_OK;
}

kg_status kino_run(kino_options *o)
{
    kg_status st = choices(o);
    session s = {0};
    if (st == KG_OK && o->from) {
        st = kino_from(o, &s.made);
        if (st != KG_OK || !s.made.again) {
            kino_made_drop(&s.made);
            return st;
        }
        s.chain = kino_made_chain(o, &s.made);
    }
    if (st == KG_OK && !o->target)
        st = kg_fail(KG_USAGE, "kino %s wants a graph script", o->command);
    if (st == KG_OK)
        st = open_script(o, &s);
    if (st == KG_OK && o->help)
        help(o, s.doc);
    else {
        if (st == KG_OK)
            st = build(o, &s);
        if (st == KG_OK && strcmp(o->command, "check"))
            st = execute(o, &s);
    }
    kg_script_close(s.script);
    kg_graph_free(s.graph);
    kg_device_free(s.device);          /* it may keep engines in the cache */
    kg_cache_close(s.cache);
    kg_device_free(s.cpu);
    kg_files_free(s.files);
    kino_note_free(s.note);
    kino_made_drop(&s.made);
    return st;
}
