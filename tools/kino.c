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

static const char usage[] =
    "kino run GRAPH.lua [--NAME VALUE]... [--params FILE] [--out FILE]   runs a graph\n"
    "kino plan GRAPH.lua ...                says what it would take: memory, order, seconds\n"
    "kino check GRAPH.lua ...               builds the graph and stops\n"
    "kino run --from FILE [--out NEW]       says how FILE was made; with --out, makes it again\n"
    "kino nodes [NAME]                      node types, their inputs, outputs and params\n"
    "kino inspect FILE                      what a model file, PNG or MP4 holds\n"
    "kino cache ls|stat|gc|verify           kept results\n"
    "kino devices                           what can compute here\n"
    "kino tune                              finds this card's fastest products, once; later runs use them\n"
    "kino version\n"
    "kino run GRAPH.lua --help              the graph's own params\n"
    "\n"
    "common: --device auto|cpu|cuda[:N]  --precision auto|f32|bf16|f16  --vram SIZE  --ram SIZE  --cache PATH|none\n"
    "        --models DIR[:DIR]  --allow DIR[:DIR]  --requantize never|fit|speed  --strict  --force  --json  --quiet\n"
    "        --threads N; SIZE like 1.5G; --NAME @FILE reads the value from a file\n"
    "exit status: 0 done, 1 failed, 2 wrong usage or script, 3 no plan fits, 4 bad input file, 130 cancelled\n";

static kg_status dispatch(kino_options *o)
{
    if (!o->command || !strcmp(o->command, "help") || (o->help && !o->target)) {
        int asked = o->command || o->help;
        fputs(usage, asked ? stdout : stderr);
        return asked ? KG_OK : KG_USAGE;
    }
    if (!strcmp(o->command, "run") || !strcmp(o->command, "plan") || !strcmp(o->command, "check"))
        return kino_run(o);
    if (!strcmp(o->command, "nodes"))
        return kino_nodes(o);
    if (!strcmp(o->command, "inspect"))
        return kino_inspect(o);
    if (!strcmp(o->command, "cache"))
        return kino_cache(o);
    if (!strcmp(o->command, "devices"))
        return kino_devices(o);
    if (!strcmp(o->command, "version"))
        return kino_version(o);
    if (!strcmp(o->command, "tune"))
        return kino_tune(o);
    if (!strcmp(o->command, "batch"))
        return kg_fail(KG_USAGE, "kino %s is not there yet", o->command);
    static const char *const all[] = {"run", "plan", "check", "nodes", "inspect", "cache", "devices", "tune", "version"};
    int near = kg_near(o->command, all, (int)(sizeof all / sizeof *all));
    kg_fail(KG_USAGE, "there is no command \"%s\"", o->command);
    kg_hint(near >= 0 ? "did you mean kino %s?" : "kino --help lists the commands", near >= 0 ? all[near] : "");
    return KG_USAGE;
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
