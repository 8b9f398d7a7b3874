/* The form of the database and every statement over it.
 *
 * user_version counts the forms. A newer program adds a script to `migrations` and never changes an old one; it may assume what the
 * scripts before it made. */
#include "cache/store.h"

/* auto_vacuum lets gc give pages back; a number is never used twice (AUTOINCREMENT), so that a lease cannot slip to another row. */
#define ROW_TABLE(T, UNIQUE) \
    "CREATE TABLE " T "(id INTEGER PRIMARY KEY AUTOINCREMENT, key BLOB NOT NULL, tag TEXT NOT NULL, kind TEXT NOT NULL," \
    " dtype TEXT NOT NULL, shape TEXT NOT NULL, bytes INTEGER NOT NULL, checksum INTEGER NOT NULL, seconds REAL NOT NULL," \
    " step INTEGER NOT NULL, made REAL NOT NULL, used REAL NOT NULL, hits INTEGER NOT NULL DEFAULT 0, UNIQUE(" UNIQUE "));" \
    "CREATE TABLE " T "_part(id INTEGER PRIMARY KEY, row INTEGER NOT NULL, n INTEGER NOT NULL, data BLOB NOT NULL," \
    " UNIQUE(row, n));" \
    "CREATE TRIGGER " T "_gone AFTER DELETE ON " T " BEGIN DELETE FROM " T "_part WHERE row = old.id; END;"

static const char *const migrations[KG_CACHE_VERSION] = {
    ROW_TABLE("result", "key, tag")
    ROW_TABLE("checkpoint", "key")
    "CREATE TABLE lease(row INTEGER NOT NULL, pid INTEGER NOT NULL, started INTEGER NOT NULL, host TEXT NOT NULL,"
    " since REAL NOT NULL, PRIMARY KEY(row, pid, started, host)) WITHOUT ROWID;"
    "CREATE TRIGGER result_unleased AFTER DELETE ON result BEGIN DELETE FROM lease WHERE row = old.id; END;"
    "CREATE TABLE sink(key BLOB NOT NULL, path TEXT NOT NULL, size INTEGER NOT NULL, mtime INTEGER NOT NULL,"
    " inode INTEGER NOT NULL, made REAL NOT NULL, PRIMARY KEY(key, path)) WITHOUT ROWID;"
    "CREATE TABLE identity(device INTEGER NOT NULL, inode INTEGER NOT NULL, size INTEGER NOT NULL, mtime INTEGER NOT NULL,"
    " ctime INTEGER NOT NULL, id BLOB NOT NULL, made REAL NOT NULL, PRIMARY KEY(device, inode)) WITHOUT ROWID;",
    "CREATE TABLE warning(key BLOB NOT NULL PRIMARY KEY, lines TEXT NOT NULL, made REAL NOT NULL) WITHOUT ROWID;",
    /* A file whose mtime was put back after a change is told by its ctime. */
    "ALTER TABLE sink ADD COLUMN ctime INTEGER NOT NULL DEFAULT 0;",
    "DELETE FROM identity;"};          /* they were of a part of each file */

#define FOR_TABLES(INDEX, SQL) [INDEX + KG_RESULT] = SQL("result"), [INDEX + KG_CHECKPOINT] = SQL("checkpoint")
#define FIND(T) \
    "SELECT id, " KG_ROW_COLUMNS " FROM " T " WHERE key = ?1 AND (?2 IS NULL OR tag = ?2) ORDER BY used DESC, id DESC LIMIT 1"
#define GET(T) "SELECT " KG_ROW_COLUMNS ", checksum FROM " T " WHERE id = ?1"
#define INSERT(T) \
    "INSERT INTO " T "(" KG_ROW_COLUMNS ", checksum, made, used) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?10)"
#define PART_INSERT(T) "INSERT INTO " T "_part(row, n, data) VALUES(?1, ?2, ?3)"
#define PARTS(T) "SELECT id FROM " T "_part WHERE row = ?1 ORDER BY n"
#define DELETE_ID(T) "DELETE FROM " T " WHERE id = ?1"
#define DELETE_KEY(T) "DELETE FROM " T " WHERE key = ?1 AND (?2 IS NULL OR tag = ?2)"
#define NEXT(T) "SELECT id FROM " T " WHERE id > ?1 ORDER BY id LIMIT 1"
#define DAY "86400.0"

const char *const kg_sql[SQL_COUNT] = {
    [SQL_BEGIN] = "BEGIN",
    [SQL_BEGIN_WRITE] = "BEGIN IMMEDIATE",
    [SQL_COMMIT] = "COMMIT",
    [SQL_ROLLBACK] = "ROLLBACK",
    FOR_TABLES(SQL_FIND_OF, FIND),
    FOR_TABLES(SQL_GET_OF, GET),
    FOR_TABLES(SQL_INSERT_OF, INSERT),
    FOR_TABLES(SQL_PART_INSERT_OF, PART_INSERT),
    FOR_TABLES(SQL_PARTS_OF, PARTS),
    FOR_TABLES(SQL_DELETE_OF, DELETE_ID),
    FOR_TABLES(SQL_DELETE_KEY_OF, DELETE_KEY),
    FOR_TABLES(SQL_NEXT_OF, NEXT),
    [SQL_HIT] = "UPDATE result SET used = ?2, hits = hits + 1 WHERE id = ?1",
    [SQL_LEASE] = "INSERT OR REPLACE INTO lease SELECT id, ?2, ?3, ?4, ?5 FROM result WHERE id = ?1",
    [SQL_UNLEASE] = "DELETE FROM lease WHERE pid = ?1 AND started = ?2 AND host = ?3",
    [SQL_LEASES] = "SELECT pid, started, host, max(since) FROM lease GROUP BY pid, started, host",
    [SQL_LEASE_DROP] = "DELETE FROM lease WHERE pid = ?1 AND started = ?2 AND host = ?3",
    [SQL_TOTAL] = "SELECT (SELECT coalesce(sum(bytes), 0) FROM result) + (SELECT coalesce(sum(bytes), 0) FROM checkpoint)",
    /* What a row is worth: the seconds that each of its bytes saves, halved by a day without use, a third after two ... */
    [SQL_VICTIMS] = "SELECT id, bytes FROM result WHERE id NOT IN (SELECT row FROM lease)"
                    " ORDER BY seconds / max(bytes, 1) / (1 + max(?1 - used, 0) / " DAY "), used",
    [SQL_OLD_CHECKPOINTS] = "SELECT id, bytes FROM checkpoint WHERE made < ?1",
    [SQL_OLD_SINKS] = "DELETE FROM sink WHERE made < ?1",
    [SQL_OLD_IDENTITIES] = "DELETE FROM identity WHERE made < ?1",
    [SQL_SINK_FIND] = "SELECT size, mtime, inode, ctime FROM sink WHERE key = ?1 AND path = ?2",
    [SQL_SINK_STORE] = "INSERT OR REPLACE INTO sink VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    [SQL_IDENTITY_FIND] = "SELECT id FROM identity WHERE device = ?1 AND inode = ?2 AND size = ?3 AND mtime = ?4 AND ctime = ?5",
    [SQL_IDENTITY_STORE] = "INSERT OR REPLACE INTO identity VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    [SQL_WARNING_FIND] = "SELECT lines, made FROM warning WHERE key = ?1",
    [SQL_WARNING_STORE] = "INSERT OR REPLACE INTO warning VALUES(?1, ?2, ?3)",
    [SQL_WARNING_USED] = "UPDATE warning SET made = ?2 WHERE key = ?1",
    [SQL_WARNING_DROP] = "DELETE FROM warning WHERE key = ?1",
    [SQL_OLD_WARNINGS] = "DELETE FROM warning WHERE made < ?1",
    [SQL_LS] = "SELECT " KG_ROW_COLUMNS ", 0 AS checkpoint, made, used, hits, id IN (SELECT row FROM lease) FROM result UNION ALL"
               " SELECT " KG_ROW_COLUMNS ", 1, made, used, hits, 0 FROM checkpoint ORDER BY used DESC",
    [SQL_STAT] = "SELECT (SELECT count(*) FROM result), (SELECT coalesce(sum(bytes), 0) FROM result),"
                 " (SELECT count(*) FROM checkpoint), (SELECT coalesce(sum(bytes), 0) FROM checkpoint),"
                 " (SELECT count(*) FROM sink), (SELECT count(*) FROM identity), (SELECT count(*) FROM lease),"
                 " (SELECT coalesce(sum(seconds), 0) FROM result), (SELECT coalesce(sum(seconds * hits), 0) FROM result)",
};

/* Runs the scripts that are missing, all or none. A version above ours is left alone; the caller looks at *version. */
int kg_schema_make(sqlite3 *db, int *version)
{
    int code = kg_db_exec(db, "BEGIN IMMEDIATE");
    if (code)
        return code;
    *version = (int)kg_db_number(db, "PRAGMA user_version", -1);
    for (int v = *version; v >= 0 && v < KG_CACHE_VERSION && !code; ++v)
        code = kg_db_exec(db, migrations[v]);
    if (!code && *version >= 0 && *version < KG_CACHE_VERSION) {
        char text[96];
        sqlite3_snprintf(sizeof text, text, "PRAGMA application_id = %d; PRAGMA user_version = %d", KG_CACHE_APPLICATION,
                         KG_CACHE_VERSION);
        code = kg_db_exec(db, text);
        *version = KG_CACHE_VERSION;
    }
    int end = kg_db_exec(db, code ? "ROLLBACK" : "COMMIT");
    return code ? code : end;
}
