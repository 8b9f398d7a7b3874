/* Graph scripts: Lua in a process of its own.
 *
 * Scripts are untrusted. kg_script_open forks before the program has a device or a thread; the child keeps one socket, no other
 * descriptor, no file system, no network, a bounded memory and a bounded time, and sends edits of the graph. The parent reads
 * files and builds the graph; it takes each message for hostile. A limit that is passed ends the child alone.
 *
 * A script is run once: describe gives its declarations, build its graph. Any error ends it, and what follows fails too. */
#ifndef KG_LUA_SCRIPT_H
#define KG_LUA_SCRIPT_H

#include <signal.h>

#include "core/graph.h"

typedef struct kg_script kg_script;

typedef struct kg_script_limits {  /* 0: the default                                                       */
    double cpu_seconds;            /* 5                                                                    */
    double wall_seconds;           /* 10, while the parent waits: the engine's own time is not counted     */
    size_t memory;                 /* 256 MiB above what the fork has                                      */
    int nodes;                     /* 4096, refused ones included                                          */
    size_t edits;                  /* 16 MiB: all that the script sends                                    */
} kg_script_limits;

/* The script ("" is its name), or a module by the name that require was given; path is where it was. */
typedef struct kg_script_text { const char *name, *path, *text; } kg_script_text;

typedef struct kg_script_options {
    kg_files *files;               /* borrowed; open makes the script's folder and the template folders roots of it,
                                      and grants the script: call it before other roots are added, so that a
                                      relative path means the script's folder first                        */
    const char *const *templates;  /* folders in which `require` looks after the script's own; missing ones are passed over */
    int template_count;
    const kg_script_text *texts;   /* taken instead of files; borrowed until it is closed; may be NULL     */
    int text_count;
    kg_script_limits limits;
    const char *const *reserved;   /* names that no param of a template may have; ends with NULL; may be NULL */
    int no_walls;                  /* runs where the kernel closes neither files nor the network, too      */
    const volatile sig_atomic_t *cancel;       /* may be NULL; not zero: give up, KG_CANCELLED             */
} kg_script_options;

typedef enum kg_script_type {
    KG_S_STRING, KG_S_INT, KG_S_NUMBER, KG_S_BOOL, KG_S_PATH, KG_S_OUT, KG_S_CHOICE, KG_S_SEED, KG_S_SEEDS, KG_S_LIST, KG_S_SIZE,
    KG_S_TYPES
} kg_script_type;
typedef struct kg_script_param {
    const char *name, *doc;        /* doc is "" when there is none                                         */
    kg_script_type type;
    int required;                  /* no default, and not optional                                         */
    int takes_auto;                /* int and number: the word "auto" too                                  */
    const char *def;               /* as it would be typed; NULL when there is none                        */
    double min, max, step;         /* ints and numbers; infinite when not given; step 0: any               */
    const char *const *choices;    /* of a choice                                                          */
    int choice_count;
} kg_script_param;
typedef struct kg_script_doc { const char *doc; const kg_script_param *params; int n; } kg_script_doc;

/* A value as typed: "81", "832x480", "7,8,9", "true". Typed paths are granted: inputs for reading, outputs for writing
 * (core/file.h says what a script may name after them). */
typedef struct kg_script_value { const char *name, *text; } kg_script_value;

/* NULL with an error when the file cannot be read. The script does not run yet. Where there is no such file, the name of one of the
 * program's own templates is one of those. */
kg_script *kg_script_open(const char *path, const kg_script_options *o);
/* Runs the script up to its template; NULL with an error. A plain script, which returns nodes, has no params. */
const kg_script_doc *kg_script_describe(kg_script *s);
/* Builds the graph, and marks what the script returned as wanted; nodes that nothing wanted needs are logged. Describes first
 * when that was not done. */
kg_status kg_script_build(kg_script *s, const kg_script_value *values, int n, kg_graph *g);
/* What has been read for it so far: the script and what it required, in this order. */
const kg_script_text *kg_script_texts(const kg_script *s, int *n);
void kg_script_close(kg_script *s);
const char *kg_script_template(int i);                         /* "kino/wan_t2v": the program's own; NULL behind the last */

const char *kg_script_type_name(kg_script_type t);             /* "int", "size", ...                       */
/* Which walls the kernel gave the script's process; known once it was described. Seccomp closes files and the network, Landlock
 * files alone (of the network it knows TCP, and that not everywhere): without seccomp a script is refused, KG_USAGE. */
enum { KG_WALL_LANDLOCK = 1, KG_WALL_SECCOMP = 2 };
int kg_script_walls(const kg_script *s);
int kg_script_walls_here(void);                                /* which walls this machine gives           */

#endif
