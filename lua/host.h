/* The engine's side of a script's process, for lua/'s own files and its tests. */
#ifndef KG_LUA_HOST_H
#define KG_LUA_HOST_H

#include <sys/types.h>

#include "lua/embedded.h"
#include "lua/script.h"
#include "lua/wire.h"

struct kg_script {
    int fd;                        /* -1: ended                                                            */
    pid_t pid;
    char *path, *folder;           /* the script's; folder is "." when path has none                       */
    const kg_embedded *embedded;   /* it is one of the program's own; path is its name and no file         */
    kg_files *files;
    char **templates;
    int template_count;
    const kg_script_text *given;   /* texts instead of files                                               */
    int given_count;
    kg_script_text *texts;         /* that were read; owned                                                */
    int text_count;
    kg_script_limits limits;       /* no zero left                                                         */
    const char *const *reserved;
    int no_walls;
    const volatile sig_atomic_t *cancel;

    unsigned char *payload;        /* of the frame at hand                                                 */
    size_t room;
    size_t received;               /* bytes of all frames                                                  */
    double waited;                 /* seconds                                                              */
    int adds, requires, walls;
    kg_writer out;
    kg_script_doc *doc;

    kg_error refused;              /* of the last edit that was refused, and its text as it was sent       */
    char refusal[2048];
    kg_edit edit;
};

/* A script at the other end of `socket`, which is process `pid`: what kg_script_open makes, and tests make without Lua. */
kg_script *kg_host_new(const char *path, const kg_script_options *o);
/* The text that stands for a file; NULL: there is none. */
const kg_script_text *kg_host_given(const kg_script *s, const char *name);
kg_status kg_host_keep_text(kg_script *s, const char *name, const char *path, const char *text);
/* One frame from the script's process, within the limits. Payload: s->payload, *bytes. */
kg_status kg_host_receive(kg_script *s, uint32_t *kind, size_t *bytes);
kg_status kg_host_send(kg_script *s);          /* what s->out holds                                        */
/* Ends the process and says why; KG_USAGE. */
kg_status kg_host_limit(kg_script *s, int which);
kg_status kg_host_malformed(kg_script *s);
void kg_host_end(kg_script *s);
/* The first word of a script's process: which walls it has. Too few end it, before it is sent the script. */
kg_status kg_host_greet(kg_script *s);
/* Answers edits, lines of the log and requires until a frame of kind `until` comes; g may be NULL. */
kg_status kg_host_serve(kg_script *s, kg_graph *g, uint32_t until, size_t *bytes);

/* The script's process: never returns (lua/child.c). */
_Noreturn void kg_child_main(int socket, pid_t parent, const kg_script_limits *l, const char *const *reserved);

#endif
