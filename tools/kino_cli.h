/* The command line: what its files share. */
#ifndef KG_TOOLS_KINO_CLI_H
#define KG_TOOLS_KINO_CLI_H

#include <signal.h>
#include <stdio.h>

#include "cache/cache.h"
#include "core/run.h"
#include "lua/script.h"
#include "tools/kino_number.h"

#define KINO_VALUES 256
#define KINO_OPTIONS 64
#define KINO_THREADS 4096
#define KINO_TEXT (64 << 20)           /* bytes of a text from a file, at most */
#define KINO_VERSION "0.1.0"

typedef struct kino_options {
    const char *command, *target;          /* run; GRAPH.lua                                             */
    const char *device, *precision, *vram, *ram, *cache, *models, *allow, *requantize, *params, *from, *fault;
    int strict, force, finite, json, quiet, help, no_walls, threads;
    kg_script_value value[KINO_VALUES];    /* --NAME VALUE, in order; files read, memory kept to the end */
    int values, typed;                     /* of them, those that no --from FILE brought come first      */
} kino_options;

struct cJSON;
typedef struct kino_made {                 /* what the file of --from says of its making               */
    struct cJSON *note, *unpacked;         /* NULL: no --from; the texts                               */
    kg_script_text *texts;
    int text_count;
    int named, again;                      /* the script was typed; it is to be made again             */
    char differ[512];                      /* what is not as it was                                    */
} kino_made;
typedef struct kino_note kino_note;        /* what a run writes into its files                         */

extern volatile sig_atomic_t kino_interrupted;

void kino_stdio_open(void);                                  /* first of all: descriptors 0 to 2 are there  */
void kino_signals(void);                                     /* SIGINT, SIGTERM and SIGHUP count up kino_interrupted */
int kino_stdout_flush(void);                                 /* 0, or the errno of the first write that failed */
kg_status kino_stdout_end(const kino_options *o);            /* KG_FAILED when not all that was said arrived */
int kino_steerable(int fd);                                  /* a terminal that takes escape codes, and may be sent some */

/* Command line, then --params, then the config file, each filling what the one before left open. */
kg_status kino_options_read(kino_options *o, int argc, char **argv);
kg_status kino_params_file(kino_options *o);                 /* --params FILE: a JSON object                */
void kino_error_print(const kino_options *o);                /* the thread's error, for people or as JSON   */
void kino_warning(void *options, const kg_warned *of, const char *text);    /* for kg_warn_set, with --quiet too  */
void kino_print_plain(const char *s, FILE *to);              /* text of a file: nothing steers a terminal   */
char *kino_file_text(const char *path);                      /* malloc; NULL with an error; no zero byte in it */
void kino_option_names(const char *names[KINO_OPTIONS]);     /* all of them, then NULL                      */
int kino_value_find(const kino_options *o, const char *name);
kg_status kino_value_put(kino_options *o, const char *name, char *text);     /* takes text; replaces an earlier one */

int kino_help(const char *command, FILE *to);                /* NULL: all commands; 0: there is no such one */
kg_status kino_help_near(const char *name);                  /* no such command, and which was meant        */
kg_status kino_run(kino_options *o);                         /* run, plan, check                            */
kg_status kino_follow(const kino_options *o, kg_run *r, kg_device *d);       /* events until the end        */
void kino_plan_event(const kino_options *o, const kg_plan *p, const kg_device *d);
kg_status kino_from(kino_options *o, kino_made *m);          /* turns --from FILE into script and values    */
kg_status kino_made_texts(const kino_options *o, kino_made *m);
kg_status kino_made_compare(const kino_options *o, kino_made *m);            /* says what is not as it was  */
/* The part of the graph to build instead of running a script; NULL: more than --out was typed, or an older kino made it. */
const struct cJSON *kino_made_chain(const kino_options *o, const kino_made *m);
kg_status kino_made_roots(const kino_options *o, const kino_made *m, kg_files *files);
void kino_made_values(const kino_made *m);                   /* tells the prompt, the seed ... of this output */
void kino_made_drop(kino_made *m);
kg_status kino_roots(const kino_options *o, kg_files *files);                /* --models, --allow, .        */
/* A sink with all that it needs; place (one a node): where in the array each node is, or -1. */
struct cJSON *kino_chain(const kg_graph *g, int sink, int *place);
/* Adds entry `at` and what it needs; what is written goes to `out`. The node's number, or -1 with an error. */
int kino_chain_build(const struct cJSON *chain, int at, const char *out, kg_graph *g);
kg_status kino_from_outputs(const kino_options *o, const kg_script_doc *d);  /* refuses outputs that the file named */
/* script and doc: NULL when no script ran. */
kino_note *kino_note_new(const kino_options *o, const kg_script *script, const kg_script_doc *doc, const kino_made *m, const kg_graph *g,
                         const kg_device *d);
char *kino_note_of(void *note, int node);                    /* for kg_plan_options.provenance              */
void kino_note_free(kino_note *n);
kg_status kino_nodes(kino_options *o);
kg_status kino_graphs(kino_options *o);
kg_status kino_inspect(kino_options *o);
kg_status kino_cache(kino_options *o);
kg_status kino_devices(kino_options *o);
kg_status kino_version(kino_options *o);
kg_status kino_tune(kino_options *o);
kg_status kino_tuned(kg_device *d);                          /* has a card follow what kino tune found for it */
int kino_config(const char *name, char *out, size_t n);      /* the path of a file of ours there; 0: too long */
void kino_device_name(const char *before, const kg_device *d, char *out, size_t n);     /* a file's name: "before-NVIDIA-H100" */
kg_status kino_folder_of(char *path);                        /* makes the folders that lead to a file       */
void kino_rates_read(kg_rates *r, const kg_device *d);       /* what earlier runs on such a device took     */
void kino_rates_write(const kg_rates *r, const kg_device *d);
kg_device *kino_device(const kino_options *o);               /* NULL with an error                          */
kg_status kino_precision(const kino_options *o, const kg_device *d, int *out);
void kino_cache_options(const kino_options *o, kg_cache_options *c);

#endif
