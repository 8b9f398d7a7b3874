/* kino: the program. The one place that sees all rooms. */
#include "tools/kino_cli.h"

#include <locale.h>
#include <stdio.h>
#include <string.h>

static void log_line(void *arg, const char *line)
{
    (void)arg;
    fprintf(stderr, "%s\n", line);
}

/* Help is about the first word that is a command; a graph's own is kino_run's. */
static int help_asked(const kino_options *o)
{
    int graph = o->command && o->target && (!strcmp(o->command, "run") || !strcmp(o->command, "plan") || !strcmp(o->command, "check"));
    return (o->help && !graph) || (o->command && !strcmp(o->command, "help"));
}

static kg_status dispatch(kino_options *o)
{
    static const struct { const char *name; kg_status (*run)(kino_options *); } commands[] = {
        {"run", kino_run}, {"plan", kino_run}, {"check", kino_run}, {"nodes", kino_nodes}, {"graphs", kino_graphs},
        {"inspect", kino_inspect}, {"cache", kino_cache}, {"devices", kino_devices}, {"version", kino_version}, {"tune", kino_tune}};
    if (help_asked(o)) {
        const char *of = o->command && !strcmp(o->command, "help") ? o->target : o->command;
        return kino_help(of, stdout) ? KG_OK : kino_help_near(of);
    }
    if (!o->command) {
        kino_help(NULL, stderr);
        return KG_USAGE;
    }
    for (size_t i = 0; i < sizeof commands / sizeof *commands; ++i)
        if (!strcmp(o->command, commands[i].name))
            return commands[i].run(o);
    if (!strcmp(o->command, "batch"))
        return kg_fail(KG_USAGE, "kino %s is not there yet", o->command);
    return kino_help_near(o->command);
}

int main(int argc, char **argv)
{
    kino_stdio_open();
    setlocale(LC_ALL, "C");
    kino_signals();
    static kino_options o;
    kg_log_set(log_line, NULL);
    kg_warn_set(kino_warning, &o);
    kg_status s = kino_options_read(&o, argc, argv);
    if (o.quiet)
        kg_log_set(NULL, NULL);
    if (s == KG_OK)
        s = dispatch(&o);
    if (s == KG_OK && kg_error_last()->status == KG_OK)
        s = kino_stdout_end(&o);
    if (kg_error_last()->status != KG_OK)
        kino_error_print(&o);
    return (int)s;
}
