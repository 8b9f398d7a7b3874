/* What the files of cache/ share: one connection, its statements, and the state of a process.
 *
 * A function whose comment says "locked" is called with store.lock held. Two tables of the same form hold rows: results and
 * checkpoints (KG_RESULT, KG_CHECKPOINT index their statements); the bytes of a row lie in parts of at most KG_PART bytes, so
 * that no statement moves more and no row has SQLite's limit. */
#ifndef KG_CACHE_STORE_H
#define KG_CACHE_STORE_H

#include <limits.h>
#include <pthread.h>
#include <sqlite3.h>

#include "cache/cache.h"

#define KG_PART ((size_t)1 << 20)
#define KG_PAGE 16384
#define KG_PAGE_TEXT "16384"
#define KG_CACHE_APPLICATION 0x4b494e4f    /* "KINO" */
#define KG_CACHE_VERSION 4

enum { KG_RESULT, KG_CHECKPOINT, KG_TABLES };
/* Statements; those named with _OF exist for both tables: SQL_FIND_OF + table. */
enum {
    SQL_BEGIN, SQL_BEGIN_WRITE, SQL_COMMIT, SQL_ROLLBACK,
    SQL_FIND_OF, SQL_GET_OF = SQL_FIND_OF + KG_TABLES, SQL_INSERT_OF = SQL_GET_OF + KG_TABLES,
    SQL_PART_INSERT_OF = SQL_INSERT_OF + KG_TABLES, SQL_PARTS_OF = SQL_PART_INSERT_OF + KG_TABLES,
    SQL_DELETE_OF = SQL_PARTS_OF + KG_TABLES, SQL_DELETE_KEY_OF = SQL_DELETE_OF + KG_TABLES,
    SQL_NEXT_OF = SQL_DELETE_KEY_OF + KG_TABLES,
    SQL_HIT = SQL_NEXT_OF + KG_TABLES, SQL_LEASE, SQL_UNLEASE, SQL_LEASES, SQL_LEASE_DROP,
    SQL_TOTAL, SQL_VICTIMS, SQL_OLD_CHECKPOINTS, SQL_OLD_SINKS, SQL_OLD_IDENTITIES,
    SQL_SINK_FIND, SQL_SINK_STORE, SQL_IDENTITY_FIND, SQL_IDENTITY_STORE,
    SQL_WARNING_FIND, SQL_WARNING_STORE, SQL_WARNING_USED, SQL_WARNING_DROP, SQL_OLD_WARNINGS,
    SQL_LS, SQL_STAT, SQL_COUNT
};

typedef struct pending { kg_cache_row row; void *bytes; struct pending *next; } pending;
typedef struct kg_writer {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t change;
    pending *first;
    kg_key writing;                /* what the thread has in hand, while busy                      */
    int busy, quit, running;
} kg_writer;

typedef struct kg_store {
    kg_cache face;                 /* first: a kg_cache * is a kg_store *                          */
    char path[PATH_MAX];
    pthread_mutex_t lock;          /* for all that follows up to the writer                        */
    sqlite3 *db;
    sqlite3_stmt *statements[SQL_COUNT];
    unsigned char *scratch;        /* KG_PART bytes                                                */
    uint64_t budget;
    int busy_ms;
    int version;                   /* of the schema                                                */
    int read_only;                 /* neither the file nor its folder may be written               */
    int unnamed;                   /* it lies where ours lie: nobody named the file                */
    int renewed;                   /* what was there was damaged, and was moved aside              */
    int damaged;                   /* SQLite found the file corrupt: it is moved aside when closed */
    uint64_t inode;                /* of the file that was opened                                  */
    unsigned said;                 /* warnings given, one bit each                                 */
    double write_again;            /* after a full disk: no writing before this time               */
    int64_t pid, started;          /* this process, for leases: id, start time, and where ids hold */
    char host[64];
    kg_writer writer;
    kg_warned *was;                /* what the thread inside worked for: a cache that breaks is no node's warning */
} kg_store;

void kg_store_enter(kg_store *s);
void kg_store_leave(kg_store *s);

/* ---- db.c: statements and errors; all locked ---- */
sqlite3_stmt *kg_db_use(kg_store *s, int sql);         /* reset and unbound; NULL on failure, logged     */
int kg_db_step(kg_store *s, sqlite3_stmt *q);          /* 1: a row; 0: the end; -1: failed, logged        */
int kg_db_run(kg_store *s, int sql);                   /* a statement without values: 0, or -1            */
int kg_db_finish(kg_store *s, sqlite3_stmt *q);        /* steps to the end and resets: 0, or -1           */
int kg_db_end(kg_store *s, int ok);                    /* COMMIT or ROLLBACK: 1 when committed            */
void kg_db_error(kg_store *s, int code, const char *what);
int kg_db_exec(sqlite3 *db, const char *sql);          /* SQLite's code                                   */
int64_t kg_db_number(sqlite3 *db, const char *sql, int64_t otherwise);
void kg_db_close(kg_store *s);
int kg_db_may_write(kg_store *s);                      /* 0 for a while after a full disk                 */
double kg_now(void);

/* ---- schema.c ---- */
extern const char *const kg_sql[SQL_COUNT];
int kg_schema_make(sqlite3 *db, int *version);         /* SQLite's code; makes or migrates                */

/* ---- rows.c: all locked ---- */
int kg_row_put(kg_store *s, int table, const kg_cache_row *row, const void *src);
/* The row used last, of any tag or of one; its number, or 0. Its bytes are not looked at. */
int64_t kg_row_find(kg_store *s, int table, const kg_key *key, const char *tag, kg_cache_row *row);
int kg_row_read(kg_store *s, int table, const kg_cache_row *row, void *dst);       /* NULL: only checked */
int kg_row_remove(kg_store *s, int table, int64_t id);
/* 1 good, 0 bad, -1 could not tell (another process removed it, or SQLite failed). Adds what was read to *bytes. */
int kg_row_check(kg_store *s, int table, int64_t id, uint64_t *bytes);
int kg_row_parse(sqlite3_stmt *q, int first, int table, kg_cache_row *row);    /* columns of KG_ROW_COLUMNS */
#define KG_ROW_COLUMNS "key, tag, kind, dtype, shape, bytes, seconds, step"
enum { KG_ROW_WIDTH = 8 };

/* ---- lease.c, evict.c: locked ---- */
void kg_lease_self(kg_store *s);
int kg_lease_take(kg_store *s, int64_t id);            /* 0 when the row is gone                          */
void kg_lease_give_back(kg_store *s);
int64_t kg_lease_drop_stale(kg_store *s);
/* Both in a transaction of the caller's; 0 after a failure. kg_evict does nothing while the budget is kept, and goes a little
 * below it when not, so that not every write evicts; kg_collect drops all that is stale, and rows down to the target: at most so many
 * bytes of them, or one. */
int kg_evict(kg_store *s, kg_cache_gc_result *r);
int kg_collect(kg_store *s, uint64_t target, int64_t most, kg_cache_gc_result *r);

/* ---- writer.c ---- */
int kg_writer_start(kg_store *s);
void kg_writer_stop(kg_store *s);
void kg_checkpoint_later(kg_cache *c, const kg_cache_row *row, void *bytes_taken);
void kg_checkpoint_drop(kg_cache *c, const kg_key *key);
void kg_cache_flush(kg_cache *c);

/* ---- ops.c ---- */
extern const kg_cache_ops kg_store_ops;

#endif
