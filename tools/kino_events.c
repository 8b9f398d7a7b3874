/* What a run says: one progress line for people on a terminal, one line a node elsewhere, or JSON events. */
#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/plain.h"
#include "core/words.h"
#include "kernels/kernel.h"
#include "tools/kino_cli.h"
#include "tools/kino_progress.h"

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
            fprintf(stderr, "%s: %d nodes to run, %d cached; about %s; peak %.0f MiB\n", d->profile.name, s.nodes, s.cached,
                    kg_words_seconds(s.seconds, (char[KG_WORDS]){0}, KG_WORDS), (double)s.peak_device / MIB);
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
    if (e->kind == KG_E_STEP || e->kind == KG_E_NODE)
        cJSON_AddNumberToObject(o, "rest", e->rest);
    print_json(o);
}

/* What people are told of a run, and when. */
typedef struct follower {
    int terminal;                  /* one line there is written over                       */
    double began, at;              /* of the run; of the last event that counted           */
    kino_moment moment;
    kino_pace pace;
} follower;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void say_moment(const follower *f, const char *before, const char *behind)
{
    char line[320];
    kino_moment_line(&f->moment, line, sizeof line);
    fputs(before, stderr);
    kino_print_plain(line, stderr);
    fputs(behind, stderr);
}

/* Away from a terminal, with the time of day: the reader comes later. */
static void say_now_and_then(follower *f)
{
    double t = now(), elapsed = t - f->began;
    f->moment.ago = t - f->at;
    if (f->terminal || !*f->moment.e.node || !kino_pace_due(&f->pace, elapsed, kino_moment_fraction(&f->moment, elapsed)))
        return;
    time_t day = time(NULL);
    struct tm local;
    char clock[16] = "";
    if (localtime_r(&day, &local))
        strftime(clock, sizeof clock, "%H:%M:%S  ", &local);
    say_moment(f, clock, "\n");
}

static void say_node(const follower *f, const kg_run_event *e, const char *what)
{
    char name[160];
    snprintf(name, sizeof name, e->label[0] ? "%s '%s'" : "%s", e->node, e->label);
    kg_plain(name);
    fprintf(stderr, "%s%-28s %12s\n", f->terminal ? "\r\033[K" : "", name, what);
}

static void event_text(follower *f, const kg_run_event *e)
{
    char words[KG_WORDS];
    if (e->kind == KG_E_STEP || (e->kind == KG_E_NODE && !strcmp(e->state, "run"))) {
        f->moment = (kino_moment){.e = *e};
        f->at = now();
    }
    if (e->kind == KG_E_STEP && f->terminal)
        say_moment(f, "\r\033[K", "");
    if (e->kind == KG_E_NODE && !strcmp(e->state, "done"))
        say_node(f, e, kg_words_seconds(e->seconds, words, sizeof words));
    if (e->kind == KG_E_NODE && !strcmp(e->state, "cached"))
        say_node(f, e, "cached");
    if (e->kind == KG_E_DONE)
        fprintf(stderr, "done in %s\n", kg_words_seconds(e->seconds, words, sizeof words));
    if (e->kind == KG_E_ERROR && f->terminal)
        fputs("\r\033[K", stderr);
}

kg_status kino_follow(const kino_options *o, kg_run *r, kg_device *d)
{
    int over = 0, told = 0;
    follower f = {.terminal = kino_steerable(STDERR_FILENO), .began = now()};
    while (!over) {
        kg_run_event e;
        if (kino_interrupted && !told++)
            kg_run_cancel(r);
        int got = kg_run_poll(r, &e, 50);
        over = got && (e.kind == KG_E_DONE || e.kind == KG_E_ERROR);
        if (o->json && got)
            event_json(&e, over ? kg_run_peak(r) : 0, over && !strcmp(d->class_name, "cuda") ? kg_cuda_used(d) : 0);
        if (o->json || o->quiet)
            continue;
        if (got)
            event_text(&f, &e);
        if (!over)
            say_now_and_then(&f);
    }
    return kg_run_wait(r);
}
