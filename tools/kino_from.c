/* --from: what a file says of its making, as a command and as values for this one. */
#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/plain.h"
#include "nodes/lib/provenance.h"
#include "tools/kino_cli.h"

static int is_name(const char *s)
{
    return *s && !s[strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789_")];
}

/* A word as a shell takes it. The file may come from a stranger: what must not be shown is written as an escape. */
static void quote(FILE *to, const char *s)
{
    int steers = !kg_plain_is(s);
    if (*s && !s[strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=:,./@%")]) {
        fputs(s, to);
        return;
    }
    fputs(steers ? "$'" : "'", to);
    for (int bad, n; *s; s += n) {
        n = kg_plain_next(s, &bad);
        for (int i = 0; bad && i < n; ++i)
            fprintf(to, "\\x%02x", (unsigned char)s[i]);
        if (!bad && *s == '\'')
            fputs(steers ? "\\'" : "'\\''", to);
        else if (!bad && *s == '\\' && steers)
            fputs("\\\\", to);
        else if (!bad)
            fwrite(s, 1, (size_t)n, to);
    }
    fputc('\'', to);
}

/* What the file says fills what was not typed. It is never read as @FILE. */
static kg_status take(kino_options *o, const cJSON *j)
{
    const cJSON *script = cJSON_GetObjectItem(j, "script"), *params = cJSON_GetObjectItem(j, "params"),
                *precision = cJSON_GetObjectItem(j, "precision");
    if (!cJSON_IsString(script) || !cJSON_IsObject(params))
        return kg_fail(KG_INPUT, "%s does not say how it was made", o->from);
    if (!o->target)
        o->target = strdup(script->valuestring);
    if (cJSON_IsString(precision) && !o->precision)
        o->precision = strdup(precision->valuestring);
    kg_status s = KG_OK;
    for (const cJSON *v = params->child; v && s == KG_OK; v = v->next) {
        if (!is_name(v->string) || !cJSON_IsString(v))
            s = kg_fail(KG_INPUT, "%s: what it says of how it was made has a param that is none: \"%.60s\"", o->from, v->string);
        else if (kino_value_find(o, v->string) < 0)
            s = kino_value_put(o, v->string, strdup(v->valuestring));
    }
    return s;
}

static void print_command(const kino_options *o, FILE *to)
{
    fputs("kino run ", to);
    quote(to, o->target);
    for (int i = 0; i < o->values; ++i) {
        fprintf(to, " --%s ", o->value[i].name);
        if (o->value[i].text[0] == '@')        /* typed, it would name a file */
            fputc('@', to);
        quote(to, o->value[i].text);
    }
    if (o->precision) {
        fputs(" --precision ", to);
        quote(to, o->precision);
    }
    fputc('\n', to);
    fflush(to);
}

/* With --json stdout holds events and nothing else. */
kg_status kino_from(kino_options *o, kino_made *m)
{
    kg_files *files = kg_files_new();
    m->named = o->target != NULL;
    m->again = kino_value_find(o, "out") >= 0;
    kg_status s = kg_files_grant(files, o->from);
    kg_file *f = s == KG_OK ? kg_open(files, o->from) : NULL;
    char *text = f ? kg_provenance_read(f) : NULL;
    m->note = text ? cJSON_Parse(text) : NULL;
    s = text ? take(o, m->note) : kg_error_last()->status;
    free(text);
    kg_file_unref(f);
    kg_files_free(files);
    if (s == KG_OK)
        s = kino_made_texts(o, m);
    if (s == KG_OK && !kino_made_chain(o, m))      /* the command is the whole script's */
        print_command(o, o->json ? stderr : stdout);
    if (s == KG_OK && !m->again && !o->quiet)
        kino_made_values(m);
    return s == KG_OK ? kino_made_compare(o, m) : s;
}

/* An output that the file names was not typed, and what is written is named by who runs it. */
kg_status kino_from_outputs(const kino_options *o, const kg_script_doc *d)
{
    for (int i = o->typed; i < o->values; ++i)
        for (int k = 0; k < d->n; ++k)
            if (d->params[k].type == KG_S_OUT && !strcmp(d->params[k].name, o->value[i].name)) {
                kg_fail(KG_USAGE, "--from: where --%s is written must be said anew", o->value[i].name);
                kg_hint("--%s FILE", o->value[i].name);
                return KG_USAGE;
            }
    return KG_OK;
}
