/* All files are opened here: beneath roots, and counted by reference.
 *
 * Roots for reading are folders (the script's, the current one, --models, --allow); a path typed on the command line is granted by
 * that act. Opening goes through openat2 with RESOLVE_BENEATH where the kernel has it (links below --models are followed by
 * resolving them first and granting what --models holds: Hugging Face caches are links out of the folder). */
#ifndef KG_CORE_FILE_H
#define KG_CORE_FILE_H

#include "core/error.h"

typedef struct kg_files kg_files;
typedef struct kg_file {
    char *path;                    /* as opened, for messages                                    */
    int fd;
    uint64_t size;
    uint64_t device, inode;
    int64_t mtime_ns, ctime_ns;
    int refs;                      /* atomic                                                     */
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
kg_status kg_file_read(const kg_file *f, uint64_t offset, void *dst, size_t bytes);   /* all of it, or an error */
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

/* Identity of a weight file: BLAKE2b-256 over the file's size, its first `header` bytes and the middle 4 KiB page of each range. */
typedef struct kg_range { uint64_t offset, bytes; } kg_range;
kg_status kg_file_identity(kg_files *f, const kg_file *file, uint64_t header, const kg_range *ranges, int n, unsigned char out[32]);
kg_status kg_file_hash(kg_files *f, const kg_file *file, unsigned char out[32]);      /* small files: all of it */
/* Memory of identities across runs (the cache's): keyed by device, inode, size, mtime, ctime. */
typedef struct kg_identity_memo {
    void *arg;
    int (*find)(void *arg, const kg_file *f, unsigned char out[32]);
    void (*store)(void *arg, const kg_file *f, const unsigned char id[32]);
} kg_identity_memo;
void kg_files_memo(kg_files *f, const kg_identity_memo *memo);

/* The part of a range that the system has in its page cache, 0 to 1, from a few of its pages; -1: it does not say. */
double kg_file_warm(const kg_file *f, uint64_t offset, size_t bytes);
/* Length of one well-formed UTF-8 sequence that is no NUL, or 0. */
size_t kg_utf8_at(const unsigned char *s, size_t left);
/* Does a file system of this magic number (statfs) and type (mountinfo; may be NULL) lie on another machine? Locks may not hold there. */
int kg_file_system_remote(long magic, const char *type, const char **name);

#endif
