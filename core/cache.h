/* The cache as core sees it: a table of functions (cache/ implements it over SQLite; NULL is a run without one).
 *
 * All functions are called from any thread and are serialised inside. None fails a run: a broken cache logs, and answers "not
 * there". Results are dense host bytes. */
#ifndef KG_CORE_CACHE_H
#define KG_CORE_CACHE_H

#include "core/file.h"
#include "core/key.h"

typedef struct kg_cache kg_cache;
typedef struct kg_cache_row {
    kg_key key;
    char kind[32];                 /* kind of the value, or "checkpoint"                                */
    kg_dtype dtype;
    int rank;
    int64_t shape[KG_RANK];
    size_t bytes;
    char tag[256];                 /* numerics tag                                                      */
    double seconds;                /* what it cost to make                                              */
    int64_t step;                  /* checkpoints: next step                                            */
} kg_cache_row;

typedef struct kg_cache_ops {
    /* 1 when a good row is there. tag NULL: any tag. Leases it until the cache is closed, so that gc keeps it. */
    int (*find)(kg_cache *c, const kg_key *key, const char *tag, kg_cache_row *row);
    /* Reads (dst NULL: only looks) and verifies the checksum; 0 (and a warning, and the row removed) when it is bad. */
    int (*read)(kg_cache *c, const kg_cache_row *row, void *dst);
    int (*write)(kg_cache *c, const kg_cache_row *row, const void *src);
    /* Checkpoints: one row per key, replaced atomically; found only with an equal tag. write_later copies and returns at once;
     * one writer thread writes; a newer one for the same key replaces one still waiting. */
    int (*checkpoint_find)(kg_cache *c, const kg_key *key, const char *tag, kg_cache_row *row);
    void (*checkpoint_later)(kg_cache *c, const kg_cache_row *row, void *bytes_taken);     /* takes the malloc'd bytes */
    void (*checkpoint_drop)(kg_cache *c, const kg_key *key);
    /* Sinks: is the file that this key wrote still there, unchanged (path, size, mtime, ctime, inode)? */
    int (*sink_find)(kg_cache *c, const kg_key *key, const char *path);
    void (*sink_store)(kg_cache *c, const kg_key *key, const char *path);
    /* The warnings (lines) that a node gave when it made what has this key; an empty text forgets them. find: 1 when there are. */
    int (*warning_find)(kg_cache *c, const kg_key *key, char *lines, size_t n);
    void (*warning_store)(kg_cache *c, const kg_key *key, const char *lines);
    void (*flush)(kg_cache *c);    /* waits for the writer thread                                       */
} kg_cache_ops;
struct kg_cache { const kg_cache_ops *ops; };

#endif
