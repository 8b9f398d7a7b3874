/* The cache on disk: results, checkpoints, what sinks wrote, and identities of weight files, in one SQLite file that several
 * processes share. Opened here, used through core/cache.h, administered through the functions below.
 *
 * Nothing here fails a run. A cache that cannot be used is NULL and a warning; one that breaks later answers "not there"; one that
 * cannot be written is read, with a warning. The functions for administration, and opening for it, say what they could not do by the
 * core's error record. */
#ifndef KG_CACHE_CACHE_H
#define KG_CACHE_CACHE_H

#include "core/cache.h"

#define KG_CACHE_BUDGET ((uint64_t)20 << 30)

typedef struct kg_cache_options {
    const char *path;              /* the file; NULL: kinograph/cache.sqlite below cache_home or home/.cache     */
    const char *cache_home;        /* $XDG_CACHE_HOME as the program found it; may be NULL                       */
    const char *home;              /* $HOME; may be NULL                                                         */
    uint64_t budget;               /* bytes of results and checkpoints; 0: KG_CACHE_BUDGET                       */
    int busy_ms;                   /* how long to wait for another process that writes; 0: 10 s                  */
    int existing;                  /* 1: for administration: none is made but in place of a damaged one; NULL with KG_INPUT */
} kg_cache_options;

/* Where the cache is or would be; 0 (and out empty) when no option says. */
int kg_cache_path(const kg_cache_options *o, char *out, size_t n);
kg_cache *kg_cache_open(const kg_cache_options *o);
/* Waits for what is to be written, gives the leases back and closes. NULL does nothing. */
void kg_cache_close(kg_cache *c);
/* For kg_files_memo; valid until the cache is closed. */
kg_identity_memo kg_cache_memo(kg_cache *c);

typedef struct kg_cache_item {
    kg_cache_row row;
    int checkpoint;                /* 0: a result                                                                */
    double made, used;             /* seconds since 1970                                                         */
    int64_t hits;
    int leased;                    /* a process that is still there relies on it                                 */
} kg_cache_item;
typedef struct kg_cache_totals {
    char path[4096];
    int version;                   /* of the schema                                                              */
    uint64_t file_bytes;           /* on disk: database, log, shared memory                                      */
    uint64_t free_bytes;           /* inside the file, for reuse                                                 */
    uint64_t budget;
    int64_t results, checkpoints, sinks, identities, leases;
    uint64_t result_bytes, checkpoint_bytes;
    double seconds;                /* what all results cost to make                                              */
    double saved;                  /* the same, times their hits                                                 */
} kg_cache_totals;
typedef struct kg_cache_gc_result { int64_t results, checkpoints, leases; uint64_t bytes; } kg_cache_gc_result;   /* dropped */
typedef struct kg_cache_verify_result { int64_t rows, bad, problems; uint64_t bytes; } kg_cache_verify_result;

/* Every row, the most recently used first; a non-zero answer of fn (which must not use the cache) ends it and is returned.
 * -1: see the error record. */
int kg_cache_ls(kg_cache *c, int (*fn)(void *arg, const kg_cache_item *item), void *arg);
kg_status kg_cache_stat(kg_cache *c, kg_cache_totals *t);
/* Down to budget bytes (0: nothing but leased rows is kept; UINT64_MAX: the cache's own budget), and gives space back. */
kg_status kg_cache_gc(kg_cache *c, uint64_t budget, kg_cache_gc_result *r);
/* Every row's checksum, then SQLite's own check of the file. fn (may be NULL) hears each finding as a line. Bad rows are
 * removed. KG_FAILED when anything was found. */
kg_status kg_cache_verify(kg_cache *c, void (*fn)(void *arg, const char *line), void *arg, kg_cache_verify_result *r);

#endif
