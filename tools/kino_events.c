/* What a run says: one progress line for people on a terminal, one line a node elsewhere, or JSON events. */
#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/plain.h"
#include "kernels/kernel.h"
#include "tools/kino_cli.h"

#define MIB 1048576.0

static void print_json(cJSON *o)
{
    char *text = cJSON_PrintUnformatted(o);
    if (text) {
        kg_plain(text);                /* cJSON lets bytes through that are no UTF-8 */
        puts(text);
    }
    kino_stdout_flush();               /* what fails is told at the end: a run is worth more than its events */
    free(text);
    cJSON_Delete(o);
}

static void error_json(const kg_error *e)
{
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "event", "error");
    cJSON_AddNumberToObject(o, "status", e->status);
    cJSON_AddStringToObject(o, "path", e->path);
    cJSON_AddStringToObject(o, "message", e->message);
    cJSON_AddStringToObject(o, "hint", e->hint);
    print_json(o);
}

void kino_print_plain(const char *s, FILE *to)
{
    for (int bad, n; *s; s += n) {
        n = kg_plain_next(s, &bad);
        if (bad)
            fputc('?', to);
        else
            fwrite(s, 1, (size_t)n, to);
    }
}

void kino_error_print(const kino_options *o)
{
    const kg_error *e = kg_error_last();
    if (o->json)
        error_json(e);
    fprintf(stderr, "kino: %s%s%s%s%s\n", e->path, e->path[0] ? ": " : "", e->message, e->hint[0] ? "\n      " : "", e->hint);
}

static void warning_json(const kg_warned *of, const char *text)
{
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "event", "warning");
    cJSON_AddStringToObject(o, "message", text);
    if (of) {
        cJSON_AddStringToObject(o, "node", of->node);
        cJSON_AddStringToObject(o, "label", of->label);
    }
    print_json(o);
}

/* Of a plan's and the other commands' JSON stdout holds one document: there a warning is on stderr alone. */
void kino_warning(void *options, const kg_warned *of, const char *text)
{
    const kino_options *o = options;
    if (o->json && o->command && (!strcmp(o->command, "run") || !strcmp(o->command, "check")))
        warning_json(of, text);
    fputs("warning: ", stderr);
    if (of) {
        kino_print_plain(of->node, stderr);
        fputs(*of->label ? " '" : "", stderr);
        kino_print_plain(of->label, stderr);
        fputs(*of->label ? "': " : ": ", stderr);
    }
    kino_print_plain(text, stderr);
    fputc('\n', stderr);
}

void kino_plan_event(const kino_options *o, const kg_plan *p, const kg_device *d)
{
    kg_plan_summary s = kg_plan_sum(p);
    if (!o->json) {
        if (!o->quiet)
            fprintf(stderr, "%s: %d nodes to run, %d cached; about %.1f s; peak %.0f MiB\n", d->profile.name, s.nodes, s.cached, s.seconds,
                    (double)s.peak_device / MIB);
        return;
    }
    cJSON *e = cJSON_CreateObject(), *peak = cJSON_CreateObject();
    cJSON_AddStringToObject(e, "event", "plan");
    cJSON_AddNumberToObject(e, "version", 1);
    cJSON_AddStringToObject(e, "device", d->profile.name);
    cJSON_AddNumberToObject(peak, "device", (double)s.peak_device);
    cJSON_AddNumberToObject(peak, "host", (double)s.peak_host);
    cJSON_AddItemToObject(e, "peak", peak);
    cJSON_AddNumberToObject(e, "fixed", (double)d->profile.fixed);
    cJSON_AddNumberToObject(e, "arena", (double)s.arena);
    cJSON_AddNumberToObject(e, "seconds", s.seconds);
    cJSON_AddNumberToObject(e, "nodes", s.nodes);
    cJSON_AddNumberToObject(e, "cached", s.cached);
    print_json(e);
}

/* reported: what the driver of a card charges this process in the end, its pool still there; 0 on the CPU. */
static void event_json(const kg_run_event *e, size_t peak, size_t reported)
{
    static const char *const names[] = {"node", "step", "done", "error"};
    if (e->kind == KG_E_ERROR)
        return;                        /* printed once, at the end, as every error is */
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "event", names[e->kind]);
    if (e->kind != KG_E_DONE) {
        cJSON_AddStringToObject(o, "node", e->node);
        cJSON_AddStringToObject(o, "label", e->label);
        cJSON_AddNumberToObject(o, "resident", (double)e->resident);
    } else {
        cJSON_AddNumberToObject(o, "arena", (double)peak);
        if (reported)
            cJSON_AddNumberToObject(o, "reported", (double)reported);
    }
    if (e->kind == KG_E_NODE)
        cJSON_AddStringToObject(o, "state", e->state);
    if (e->kind == KG_E_STEP) {
        cJSON_AddStringToObject(o, "scope", e->scope);
        cJSON_AddNumberToObject(o, "i", (double)e->i);
        cJSON_AddNumberToObject(o, "n", (double)e->n);
    }
    cJSON_AddNumberToObject(o, e->kind == KG_E_STEP ? "left" : "seconds", e->seconds);
    print_json(o);
}

static void event_text(const kg_run_event *e, int terminal)
{
    char name[160];
    snprintf(name, sizeof name, e->label[0] ? "%s '%s'" : "%s", e->node, e->label);
    if (e->kind == KG_E_STEP && terminal)
        fprintf(stderr, "\r\033[K%s  %s %lld/%lld  %.0f s left  %.0f MiB", name, e->scope, (long long)e->i,
                (long long)e->n, e->seconds, (double)e->resident / MIB);
    if (e->kind == KG_E_NODE && !strcmp(e->state, "done"))
        fprintf(stderr, "%s%-28s %8.2f s\n", terminal ? "\r\033[K" : "", name, e->seconds);
    if (e->kind == KG_E_NODE && !strcmp(e->state, "cached"))
        fprintf(stderr, "%s%-28s cached\n", terminal ? "\r\033[K" : "", name);
    if (e->kind == KG_E_DONE)
        fprintf(stderr, "done in %.2f s\n", e->seconds);
    if (e->kind == KG_E_ERROR && terminal)
        fputs("\r\033[K", stderr);
}

kg_status kino_follow(const kino_options *o, kg_run *r, kg_device *d)
{
    int terminal = kino_steerable(STDERR_FILENO), over = 0, told = 0;
    while (!over) {
        kg_run_event e;
        if (kino_interrupted && !told++)
            kg_run_cancel(r);
        if (!kg_run_poll(r, &e, 50))
            continue;
        over = e.kind == KG_E_DONE || e.kind == KG_E_ERROR;
        if (o->json)
            event_json(&e, over ? kg_run_peak(r) : 0, over && !strcmp(d->class_name, "cuda") ? kg_cuda_used(d) : 0);
        else if (!o->quiet)
            event_text(&e, terminal);
    }
    return kg_run_wait(r);
}
