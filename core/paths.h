/* What the files behind core/file.h share: the table of roots, and paths as text.
 *
 * A path is compared in its plain form: absolute, without "." and double slashes, but with ".." left
 * in, since only the kernel knows where that leads when links are about. A plain form that still
 * holds ".." matches a grant only letter for letter, and is never taken as lying beneath anything
 * by its spelling alone. */
#ifndef KG_CORE_PATHS_H
#define KG_CORE_PATHS_H

#include <limits.h>

#include "core/file.h"

enum { KG_ROOTS_MAX = 64 };
/* A folder as given, its plain form, and where it really lies. */
typedef struct kg_root { char *folder, *plain, *real; int fd, type; } kg_root;
typedef struct kg_path_list { char **items; int n; } kg_path_list;
typedef struct kg_file_table kg_file_table;
/* A file that a run may replace although its name was not typed: the very one that was there when it began. */
typedef struct kg_standing { uint64_t device, inode; int64_t ctime_ns; } kg_standing;
struct kg_files {
    kg_root roots[KG_ROOTS_MAX];
    int n_roots;
    kg_path_list grants, outs, out_folders;    /* plain forms */
    kg_standing *standing;
    int n_standing;
    char *out_words;               /* how an output is typed here: "--out FILE"; NULL: nothing takes one */
    kg_file_table *table;
    kg_identity_memo memo;         /* and what follows: identity.c */
    struct kg_known *known;
    int n_known, room_known;
    const volatile sig_atomic_t *cancel;
};

/* By whose word a path may be written. */
enum {
    KG_OUT_NONE,
    KG_OUT_NEW,                    /* a script's: made, never replaced                                  */
    KG_OUT_AFTER,                  /* a script's, named after a typed one: replaced if it is the one that was there at the start */
    KG_OUT_TYPED                   /* the user's: replaced                                              */
};
kg_status kg_output_permitted(const kg_files *f, const char *path, int *rule);
/* Where the bytes of a typed output go: absolute, through links, a dangling one too. 0: too long, or a loop. */
int kg_output_target(const char *path, char out[PATH_MAX]);
/* The folder in which path's last name lies, as text: "." when path has none. */
void kg_path_folder(const char *path, char out[PATH_MAX]);
/* Is what is there by this name (not through a link) in the list of what may be replaced? */
int kg_output_standing(const kg_files *f, const char *path);
void kg_output_sweep(const char *folder);      /* removes what writers that are dead left there */

/* ---- file_table.c ---- */
kg_file_table *kg_file_table_new(void);            /* one reference                                           */
void kg_file_table_unref(kg_file_table *t);
/* A descriptor that was opened at path, which is taken in any case: the file, or NULL with an error. */
kg_file *kg_file_take(kg_file_table *t, int fd, const char *path);
kg_file *kg_file_find(kg_file_table *t, const kg_stamp *stamp, const char *path);     /* one that is open; NULL, quietly */

/* 0 when path is empty, too long, or the current folder is gone. */
int kg_path_plain(const char *path, char out[PATH_MAX]);
/* Where an open descriptor lies, by the kernel's account; 0 when it does not say. */
int kg_path_of(int fd, char out[PATH_MAX]);
int kg_path_has_dotdot(const char *path);
/* What is left of the plain form `path` beneath the plain form `folder`; NULL elsewhere. */
const char *kg_path_beneath(const char *folder, const char *path);
int kg_path_is_name(const char *name);             /* a file name, without a folder or controls */
int kg_path_listed(const kg_path_list *list, const char *plain);

#endif
