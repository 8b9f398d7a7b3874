/* Statements, transactions, and what an error of SQLite means for the run.
 *
 * Every failure ends here: it is logged once by kind, and the caller answers "not there". A corrupt page marks the store damaged
 * (the file is moved aside when it is closed; until then what can be read is read), a full or read-only disk stops writing for a
 * minute. */
#include "cache/store.h"

#include <time.h>

enum { SAID_DAMAGED = 1, SAID_FULL = 2, SAID_BUSY = 4, SAID_OTHER = 8 };

double kg_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static int first_time(kg_store *s, unsigned bit)
{
    int first = !(s->said & bit);
    s->said |= bit;
    return first;
}

void kg_db_error(kg_store *s, int code, const char *what)
{
    const char *why = s->db ? sqlite3_errmsg(s->db) : sqlite3_errstr(code);
    switch (code & 0xff) {
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_FORMAT:
        s->damaged = 1;
        if (first_time(s, SAID_DAMAGED))
            kg_warn("the cache '%s' is damaged (%s): what cannot be read is made anew, and the file is moved aside afterwards",
                   s->path, why);
        break;
    case SQLITE_FULL:
    case SQLITE_IOERR:
    case SQLITE_READONLY:
    case SQLITE_CANTOPEN:
        s->write_again = kg_now() + 60;
        if (first_time(s, SAID_FULL))
            kg_warn("the cache '%s' cannot be written (%s: %s): the run goes on without", s->path, what, why);
        break;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        if (first_time(s, SAID_BUSY))
            kg_warn("the cache '%s' is held by another process (%s): the run goes on without what it asked for", s->path, what);
        break;
    default:
        if (first_time(s, SAID_OTHER))
            kg_warn("the cache '%s': %s: %s", s->path, what, why);
    }
}

int kg_db_may_write(kg_store *s) { return s->db && !s->read_only && (s->write_again == 0 || kg_now() >= s->write_again); }

int kg_db_exec(sqlite3 *db, const char *sql) { return sqlite3_exec(db, sql, NULL, NULL, NULL); }

int64_t kg_db_number(sqlite3 *db, const char *sql, int64_t otherwise)
{
    sqlite3_stmt *q = NULL;
    int64_t n = otherwise;
    if (!sqlite3_prepare_v2(db, sql, -1, &q, NULL) && sqlite3_step(q) == SQLITE_ROW)
        n = sqlite3_column_int64(q, 0);
    sqlite3_finalize(q);
    return n;
}

sqlite3_stmt *kg_db_use(kg_store *s, int sql)
{
    if (!s->db)
        return NULL;
    sqlite3_stmt **q = &s->statements[sql];
    if (!*q) {
        int code = sqlite3_prepare_v3(s->db, kg_sql[sql], -1, SQLITE_PREPARE_PERSISTENT, q, NULL);
        if (code) {
            kg_db_error(s, code, "prepare");
            return NULL;
        }
    }
    sqlite3_reset(*q);
    sqlite3_clear_bindings(*q);
    return *q;
}

int kg_db_step(kg_store *s, sqlite3_stmt *q)
{
    int code = sqlite3_step(q);
    if (code == SQLITE_ROW)
        return 1;
    if (code != SQLITE_DONE)
        kg_db_error(s, code, sqlite3_sql(q));
    sqlite3_reset(q);
    return code == SQLITE_DONE ? 0 : -1;
}

int kg_db_finish(kg_store *s, sqlite3_stmt *q)
{
    int more = kg_db_step(s, q);
    while (more > 0)
        more = kg_db_step(s, q);
    return more;
}

int kg_db_run(kg_store *s, int sql)
{
    sqlite3_stmt *q = kg_db_use(s, sql);
    return q ? kg_db_finish(s, q) : -1;
}

/* SQLite rolls back by itself after some errors. */
int kg_db_end(kg_store *s, int ok)
{
    if (ok && !kg_db_run(s, SQL_COMMIT))
        return 1;
    if (s->db && !sqlite3_get_autocommit(s->db))
        kg_db_run(s, SQL_ROLLBACK);
    return 0;
}

void kg_db_close(kg_store *s)
{
    for (int i = 0; i < SQL_COUNT; ++i) {
        sqlite3_finalize(s->statements[i]);
        s->statements[i] = NULL;
    }
    sqlite3_close(s->db);
    s->db = NULL;
}
