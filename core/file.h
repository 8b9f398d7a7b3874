/* All files are opened here: beneath roots, and counted by reference.
 *
 * Roots for reading are folders (the script's, the current one, --models, --allow); a path typed on the command line is granted by
 * that act. Opening goes through openat2 with RESOLVE_BENEATH where the kernel has it (links below --models are followed by
 * resolving them first and granting what --models holds: Hugging Face caches are links out of the folder). */
#ifndef KG_CORE_FILE_H
#define KG_CORE_FILE_H

#include <signal.h>

#include "core/error.h"

typedef struct kg_files kg_files;
/* What tells a file's content from that of another time or place, without reading it. The times are never so new that a later write
 * could leave them as they are (but on file systems that count in whole seconds). */
typedef struct kg_stamp { uint64_t device, inode, size; int64_t mtime_ns, ctime_ns; } kg_stamp;
typedef struct kg_file {
    char *path;                    /* as opened, for messages                                    */
    int fd;                        /* shared by all that are open with this stamp                */
    uint64_t size;
    kg_stamp stamp;                /* when it was opened                                         */
    int refs;                      /* atomic                                                     */
    struct kg_opened *opened;
} kg_file;

kg_files *kg_files_new(void);
void kg_files_free(kg_files *f);
enum { KG_ROOT_PLAIN, KG_ROOT_MODELS };        /* links below MODELS are followed wherever they go             */
kg_status kg_files_root(kg_files *f, const char *folder, int type);
kg_status kg_files_grant(kg_files *f, const char *path);           /* one typed path, for reading             */
kg_status kg_files_grant_out(kg_files *f, const char *path);       /* one typed path, for writing; a folder ends in "/" */
kg_status kg_files_out_words(kg_files *f, const char *words);      /* how a refusal says that one is typed: "--out FILE" */

/* Relative paths are looked up in the roots in order (MODELS roots also in one level of sub-folders, ComfyUI's layout:
 * diffusion_models/, text_encoders/, vae/, ...). KG_INPUT naming the path and the roots tried when it is not there. */
kg_file *kg_open(kg_files *f, const char *path);
int kg_exists(kg_files *f, const char *path);                      /* quietly                                 */
/* A file named inside another one (a shard of an index): must be a plain name, and lies beside it. */
kg_file *kg_open_beside(kg_files *f, const kg_file *file, const char *name);
kg_file *kg_file_ref(const kg_file *f);
void kg_file_unref(kg_file *f);
/* All of it, or an error. What it gives is what the file held when it was opened: a file that was changed since, by its size, mtime
 * or ctime after the read, is an error that says so. */
kg_status kg_file_read(const kg_file *f, uint64_t offset, void *dst, size_t bytes);
kg_status kg_file_same(const kg_file *f);          /* the same for what was read in other ways (a map)        */
int kg_stamp_equal(const kg_stamp *a, const kg_stamp *b);
/* A file that was open before, as it was then: the one that is still open, or the one at that path; another one is an error. */
kg_file *kg_open_again(kg_files *f, const kg_stamp *stamp, const char *path);
char *kg_file_text(const kg_file *f, size_t max, size_t *bytes);                      /* whole, NUL-terminated, malloc */

/* May this path be written? What was typed. A script's own choice is a new file: in the current folder, below a typed folder, or
 * beside a typed file by a name that begins with its stem (of typed clip.mp4: clip.png, clip-7.mp4, clips.mp4). Asked when a graph is
 * made: the place must take files, and what is there already does not matter yet. */
kg_status kg_files_may_write(kg_files *f, const char *path);
/* Asked when a run begins that is going to write path: must what is there stay? Of names not typed, only one that follows the typed
 * stem with a sign between ("clip-7.mp4") and ends alike or in .png is replaced, and only the file that is there now. Removes what
 * killed runs left in that folder. */
kg_status kg_files_may_replace(kg_files *f, const char *path);
/* Output under a temporary name beside path, made final by commit in one rename; abort removes it. A full disk never leaves half
 * a file under the final name, and what was made there meanwhile by somebody else stays, unless the path was typed. While it is
 * written the temporary file is locked (flock), so that what a killed writer left behind can be told from what is being written. */
typedef struct kg_output { char path[4096], temp[4096]; int fd, replaces; unsigned mode; const kg_files *files; } kg_output;
kg_status kg_output_open(kg_output *o, kg_files *f, const char *path);
kg_status kg_output_write(kg_output *o, const void *p, size_t bytes);   /* all of it, after what was written before */
kg_status kg_output_failed(const kg_output *o, int why);           /* the error for an errno of writing it    */
kg_status kg_output_commit(kg_output *o);      /* fsync, close, rename                              */
void kg_output_abort(kg_output *o);            /* harmless after commit                             */

/* Identity of a file's content: all its bytes count. Each MiB is hashed with XXH3-128, by as many threads as there are cores, and
 * BLAKE2b-256 joins the size and these. Damage does not pass; against who forges files on purpose it is no signature. A file is read
 * once for it: f remembers it by its stamp, and so does the memo, across runs, when the stamp is old enough for any file system. A
 * reading of seconds is told in the log. Asked by one thread at a time. */
kg_status kg_file_identity(kg_files *f, const kg_file *file, unsigned char out[32]);
int kg_file_identified(kg_files *f, const kg_stamp *stamp, unsigned char out[32]);    /* 1: known, without reading    */
void kg_files_cancel(kg_files *f, const volatile sig_atomic_t *cancel);               /* not 0: KG_CANCELLED          */
/* Memory of identities across runs (the cache's). */
typedef struct kg_identity_memo {
    void *arg;
    int (*find)(void *arg, const kg_stamp *stamp, unsigned char out[32]);
    void (*store)(void *arg, const kg_stamp *stamp, const unsigned char id[32]);
} kg_identity_memo;
void kg_files_memo(kg_files *f, const kg_identity_memo *memo);

/* The part of a range that the system has in its page cache, 0 to 1, from a few of its pages; -1: it does not say. */
double kg_file_warm(const kg_file *f, uint64_t offset, size_t bytes);
/* Length of one well-formed UTF-8 sequence that is no NUL, or 0. */
size_t kg_utf8_at(const unsigned char *s, size_t left);
/* Does a file system of this magic number (statfs) and type (mountinfo; may be NULL) lie on another machine? Locks may not hold there. */
int kg_file_system_remote(long magic, const char *type, const char **name);

#endif
