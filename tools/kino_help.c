/* The commands: what each is called, does and takes. kino --help is the list, kino COMMAND --help one of them in full. */
#include <stdio.h>
#include <string.h>

#include "tools/kino_cli.h"

#define GRAPH_OPTIONS \
    "  --NAME VALUE            a param of the graph; @FILE reads the value from a file, @@ begins a value with @\n" \
    "  --set NAME=VALUE        the same, whatever the name\n" \
    "  --params FILE           a JSON object of such values; what is typed comes first\n" \
    "  --models DIR[:DIR]      where model files are looked for, ComfyUI's folders included\n" \
    "  --allow DIR[:DIR]       more folders that the script may read from\n" \
    "  --device auto|cpu|cuda[:N]            what computes; auto is a card where there is one\n" \
    "  --precision auto|f32|bf16|f16         of products and attention; auto: bf16 on a card, f32 on a CPU\n" \
    "  --ram SIZE, --vram SIZE               the budgets: 12G and 12GiB are 12 * 2^30 bytes, 12GB is 12 * 10^9\n" \
    "  --no-walls              run the script where the kernel has no seccomp to hold it\n" \
    "  --requantize never|fit|speed          may weights be rounded further so that a run fits?\n" \
    "  --threads N             of the CPU; all if you say nothing\n" \
    "  --cache PATH|none       the kept results; ~/.cache/kinograph/cache.sqlite if you say nothing\n" \
    "  --strict                take from the cache only what this very device computed\n" \
    "  --force                 write outputs although they are there; twice: take nothing from the cache\n"

static const struct command { const char *name, *takes, *does, *more; } commands[] = {      /* table */
    {"run", "GRAPH.lua [--NAME VALUE]... [--out FILE]", "runs a graph",
     GRAPH_OPTIONS
     "  --from FILE             says how FILE was made; with --out NEW, makes it again\n"
     "  --finite                looks after each op whether it made NaN or Inf, and names it; slower, the same result\n"
     "  --json                  events on stdout, one JSON object a line\n"
     "  --quiet                 no progress\n"
     "kino run GRAPH.lua --help lists the graph's own params.\n"},
    {"plan", "GRAPH.lua ...", "says what it would take: memory, order, time", GRAPH_OPTIONS "  --json                  the plan as JSON\n"},
    {"check", "GRAPH.lua ...", "builds the graph and stops", GRAPH_OPTIONS},
    {"nodes", "[PREFIX]", "node types, their inputs, outputs and params",
     "  kino nodes              all of them, a line each\n"
     "  kino nodes wan          those whose names begin so\n"
     "  kino nodes wan.sample   one in full\n"
     "  --json                  in full, as a JSON array\n"},
    {"graphs", "", "the graphs that come with the program",
     "  kino run kino/wan_t2v   runs one, from any folder; a script has it by require \"kino/wan_t2v\"\n"
     "  --json                  as a JSON array, with the names of their params\n"},
    {"inspect", "FILE", "what any file is, and how it was made", "  --json                  all of it as one object\n"},
    {"cache", "ls|stat|gc|verify", "kept results",
     "  ls                      every result and checkpoint, the last used first\n"
     "  stat                    how many, how large, and the time they saved\n"
     "  gc                      drops what is over the budget\n"
     "  verify                  reads everything; 1 when something is damaged\n"
     "  --cache PATH            another file than ~/.cache/kinograph/cache.sqlite\n"
     "  --json                  as JSON\n"},
    {"devices", "", "what can compute here", "  --json                  as a JSON array\n"},
    {"tune", "[--device cuda[:N]]", "finds this card's fastest products, once; later runs use them", ""},
    {"version", "", "the program's version and what it was built with", "  --json                  as a JSON object\n"}};
enum { COMMANDS = sizeof commands / sizeof *commands };

static void list(FILE *to)
{
    for (int i = 0; i < COMMANDS; ++i) {
        char line[96];
        snprintf(line, sizeof line, "kino %s %s", commands[i].name, commands[i].takes);
        fprintf(to, "%-54s %s\n", line, commands[i].does);
    }
    fputs("kino run --from FILE [--out NEW]                       says how FILE was made; with --out, makes it again\n"
          "kino COMMAND --help, kino run GRAPH.lua --help         what a command takes; what a graph takes\n"
          "\n"
          "common: --device auto|cpu|cuda[:N]  --precision auto|f32|bf16|f16  --vram SIZE  --ram SIZE  --cache PATH|none\n"
          "        --models DIR[:DIR]  --allow DIR[:DIR]  --requantize never|fit|speed  --strict  --force  --json  --quiet\n"
          "        --params FILE  --set NAME=VALUE  --threads N  --no-walls\n"
          "        SIZE like 1.5G (2^30; so is GiB, GB is 10^9); --NAME @FILE reads the value from a file\n"
          "exit status: 0 done, 1 failed, 2 wrong usage or script, 3 no plan fits, 4 bad input file, 130 cancelled\n", to);
}

int kino_help(const char *name, FILE *to)
{
    for (int i = 0; name && i < COMMANDS; ++i)
        if (!strcmp(name, commands[i].name)) {
            fprintf(to, "kino %s%s%s: %s\n%s", name, *commands[i].takes ? " " : "", commands[i].takes, commands[i].does, commands[i].more);
            return 1;
        }
    if (!name)
        list(to);
    return !name;
}

kg_status kino_help_near(const char *name)
{
    const char *names[COMMANDS];
    for (int i = 0; i < COMMANDS; ++i)
        names[i] = commands[i].name;
    int near = kg_near(name, names, COMMANDS);
    kg_fail(KG_USAGE, "there is no command \"%.60s\"", name);
    kg_hint(near >= 0 ? "did you mean kino %s?" : "kino --help lists the commands", near >= 0 ? names[near] : "");
    return KG_USAGE;
}
