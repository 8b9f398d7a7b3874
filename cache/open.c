/* Opening the database file: where it lies, whether it may lie there, whether it is ours, and what becomes of a broken one. A file
 * that cannot be written is opened for reading, and nothing is kept.
 *
 * Opening is held by a lock on the folder (flock), so that of several processes one makes the file or moves a broken one aside, and
 * the others find the result. SQLite's own locks cannot serve here: a corrupt file has none. */
#include "cache/store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

int kg_cache_path(const kg_cache_options *o, char *out, size_t n)
{
    int m = 0;
    *out = 0;
    if (o->path && *o->path)
        m = snprintf(out, n, "%s", o->path);
    else if (o->cache_home && *o->cache_home == '/')       /* a relative one is to be ignored (XDG base directories) */
        m = snprintf(out, n, "%s/kinograph/cache.sqlite", o->cache_home);
    else if (o->home && *o->home == '/')
        m = snprintf(out, n, "%s/.cache/kinograph/cache.sqlite", o->home);
    if (m > 0 && m < (int)n)
        return 1;
    *out = 0;
    return 0;
}

/* There is no cache, and why: for a run a warning, for administration the error. */
static void __attribute__((format(printf, 2, 3))) lost(int existing, const char *format, ...)
{
    char text[PATH_MAX + 512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (existing)
        kg_fail(KG_INPUT, "%s", text);
    else
        kg_warn("%s, and the run goes on without a cache", text);
}

static void folder_of(const char *path, char out[PATH_MAX])
{
    const char *slash = strrchr(path, '/');
    int n = slash ? (int)(slash - path) : 1;
    snprintf(out, PATH_MAX, "%.*s", n ? n : 1, slash ? path : ".");
}

/* All folders above path, for this user only: what is cached tells what was asked. */
static int make_folders(const char *path)
{
    char folder[PATH_MAX];
    folder_of(path, folder);
    for (char *p = folder + 1;; ++p) {
        char was = *p;
        if (was && was != '/')
            continue;
        *p = 0;
        if (mkdir(folder, 0700) && errno != EEXIST && errno != EROFS && errno != EACCES)
            return 0;
        *p = was;
        if (!was)
            return 1;
    }
}

/* ---- network file systems ---- */

/* The type of the mount that holds a device number: "36 35 98:0 / /mnt rw - ext4 /dev/sda1 rw". */
static int mount_type(dev_t device, char type[64])
{
    char line[4096], wanted[32];
    FILE *in = fopen("/proc/self/mountinfo", "re");
    int found = 0;
    snprintf(wanted, sizeof wanted, "%u:%u", major(device), minor(device));
    while (in && !found && fgets(line, sizeof line, in)) {
        char number[32];
        const char *dash = strstr(line, " - ");
        found = sscanf(line, "%*d %*d %31s", number) == 1 && !strcmp(number, wanted) && dash &&
                sscanf(dash, " - %63s", type) == 1;
    }
    if (in)
        fclose(in);
    return found;
}

static int refuse_remote(const char *folder, const char *path, int existing)
{
    struct statfs fs;
    struct stat st;
    char type[64];
    const char *name;
    if (statfs(folder, &fs) || stat(folder, &st) ||
        !kg_file_system_remote((long)fs.f_type, mount_type(st.st_dev, type) ? type : NULL, &name))
        return 0;
    lost(existing, "the cache '%s' lies on a network file system (%s), where a database of several processes breaks (--cache PATH names"
                   " a file on a local disk)", path, name);
    return 1;
}

/* ---- a broken file ---- */

static int move_aside(const char *path)
{
    static const char *const parts[] = {"", "-wal", "-shm"};
    char from[PATH_MAX + 8], to[PATH_MAX + 32], aside[PATH_MAX + 24];
    struct stat st;
    int n = 1;
    do
        snprintf(aside, sizeof aside, "%s.corrupt-%d", path, n);
    while (!lstat(aside, &st) && ++n < 1000);
    for (int i = 0; i < 3; ++i) {
        snprintf(from, sizeof from, "%s%s", path, parts[i]);
        snprintf(to, sizeof to, "%s%s", aside, parts[i]);
        if (rename(from, to) && !i) {
            kg_warn("the damaged cache '%s' cannot be moved aside: %s", path, strerror(errno));
            return 0;
        }
    }
    kg_warn("the damaged cache has been moved to '%s'; it can be deleted", aside);
    return 1;
}

/* ---- opening ---- */

/* Waits at most 5 s; going on without the lock risks no more than a second try by somebody. */
static int lock_folder(const char *folder)
{
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (int tries = 0; fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) && errno == EWOULDBLOCK && tries < 500; ++tries)
        usleep(10000);
    return fd;
}

static int set_up(sqlite3 *db, int read_only)
{
    /* The size of SQLite's page cache is said after that of a page: it bounds what a large write holds in memory. */
    static const char *const settings[] = {
        ("PRAGMA page_size = " KG_PAGE_TEXT), "PRAGMA auto_vacuum = INCREMENTAL", "PRAGMA journal_mode = WAL",
        "PRAGMA synchronous = NORMAL", "PRAGMA cache_size = -2000", "PRAGMA secure_delete = OFF",
        "PRAGMA journal_size_limit = 67108864", "PRAGMA trusted_schema = OFF", "PRAGMA cell_size_check = ON"};
    int code = SQLITE_OK;
    sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, (int *)NULL);
    for (size_t i = read_only ? 3 : 0; i < sizeof settings / sizeof *settings && !code; ++i)
        code = kg_db_exec(db, settings[i]);
    return code;
}

/* A file that is neither empty nor ours stays as it is: the user has named somebody else's database. One with our tables is ours, and
 * its header is broken. */
static int foreign(sqlite3 *db, int *ours)
{
    *ours = kg_db_number(db, "SELECT count(*) FROM sqlite_master WHERE name IN ('result_part', 'checkpoint_part', 'lease')", 0) == 3;
    return kg_db_number(db, "PRAGMA application_id", 0) != KG_CACHE_APPLICATION &&
           kg_db_number(db, "SELECT count(*) FROM sqlite_master", 0) > 0;
}

/* A version that no program of ours will have is a broken header. */
static int plausible(int version) { return version >= 0 && version < 1000; }

static int made_here(kg_store *s)
{
    s->version = (int)kg_db_number(s->db, "PRAGMA user_version", 0);
    if (s->version > KG_CACHE_VERSION)
        return SQLITE_OK;
    int code = set_up(s->db, s->read_only);
    return code || s->read_only || s->version == KG_CACHE_VERSION ? code : kg_schema_make(s->db, &s->version);
}

/* Looks at the root page of every table, so that a broken file shows now. */
static int look_at_tables(sqlite3 *db)
{
    return kg_db_exec(db, "SELECT (SELECT id FROM result LIMIT 1), (SELECT id FROM result_part LIMIT 1),"
                          " (SELECT id FROM checkpoint LIMIT 1), (SELECT id FROM checkpoint_part LIMIT 1),"
                          " (SELECT row FROM lease LIMIT 1), (SELECT path FROM sink LIMIT 1),"
                          " (SELECT inode FROM identity LIMIT 1), (SELECT made FROM warning LIMIT 1)");
}

/* Is it the world's fault, which may change, and not the file's? A file that is found read only although it may be written has a
 * header that says so. */
static int from_outside(const kg_store *s, int code)
{
    static const int codes[] = {SQLITE_PERM, SQLITE_BUSY, SQLITE_LOCKED, SQLITE_NOMEM, SQLITE_READONLY, SQLITE_IOERR, SQLITE_FULL,
                                SQLITE_CANTOPEN, SQLITE_PROTOCOL, SQLITE_NOLFS, SQLITE_AUTH, SQLITE_INTERRUPT};
    if (code == SQLITE_READONLY && !s->read_only)
        return 0;
    for (size_t i = 0; i < sizeof codes / sizeof *codes; ++i)
        if ((code & 0xff) == codes[i])
            return 1;
    return 0;
}

/* file:PATH, with what a URI would read otherwise escaped. */
static char *uri_of(const char *path, int still)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-";
    char out[3 * PATH_MAX + 8] = "file:", *p = out + 5;
    for (; *path; ++path)
        p += sprintf(p, strchr(plain, *path) ? "%c" : "%%%02x", (unsigned char)*path);
    return sqlite3_mprintf(still ? "%s?immutable=1" : "%s", out);
}

/* A log that a folder without leave to write keeps from being read is passed over: what was there before it is whole. */
static int open_to_read(kg_store *s)
{
    int flags = SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE | SQLITE_OPEN_URI;
    for (int still = 0, code = SQLITE_OK;; still = 1) {
        char *uri = uri_of(s->path, still);
        sqlite3_close(s->db);
        code = uri ? sqlite3_open_v2(uri, &s->db, flags, NULL) : SQLITE_NOMEM;
        sqlite3_free(uri);
        if (!code)
            code = kg_db_exec(s->db, "SELECT count(*) FROM sqlite_master");
        if (!code || still || ((code & 0xff) != SQLITE_CANTOPEN && (code & 0xff) != SQLITE_READONLY))
            return code;
    }
}

static int open_file(kg_store *s, int existing)
{
    int code = s->read_only ? open_to_read(s)
                            : sqlite3_open_v2(s->path, &s->db, SQLITE_OPEN_READWRITE | (existing ? 0 : SQLITE_OPEN_CREATE) |
                                              SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, NULL);
    sqlite3_busy_timeout(s->db, s->busy_ms);
    return code ? code : kg_db_exec(s->db, "SELECT count(*) FROM sqlite_master");
}

/* 1: open and ours. 0: said why not. -1: damaged. */
static int open_database(kg_store *s, int existing)
{
    int code = open_file(s, existing), ours = 0;
    if (!code && foreign(s->db, &ours)) {
        if (ours)
            return -1;
        lost(existing, "'%s' is a database of another program: it is left alone", s->path);
        return 0;
    }
    if (!code)
        code = made_here(s);
    if (!code && !plausible(s->version))
        return -1;
    if (!code && s->version > KG_CACHE_VERSION) {
        lost(existing, "the cache '%s' was made by a newer version of this program: it is left alone", s->path);
        return 0;
    }
    if (!code && !s->read_only)
        code = look_at_tables(s->db);
    if (!code)
        return 1;
    if (!from_outside(s, code))
        return -1;
    lost(existing, "the cache '%s' cannot be used (%s)", s->path, sqlite3_errstr(code));
    return 0;
}

/* May a file that is no database any more be taken for a cache that broke? Not any file that --cache happens to name: something of
 * our header is left, or it has whole pages of ours, or the name of a database. */
static int was_a_cache(const kg_store *s)
{
    char head[72] = "";
    static const char id[4] = {0x4b, 0x49, 0x4e, 0x4f};
    const char *dot = strrchr(s->path, '.');
    struct stat st;
    FILE *in = fopen(s->path, "re");
    size_t n = in ? fread(head, 1, sizeof head, in) : 0;
    int pages = in && !fstat(fileno(in), &st) && st.st_size >= 2 * KG_PAGE && st.st_size % KG_PAGE == 0;
    if (in)
        fclose(in);
    return s->unnamed || pages || (n == sizeof head && (!memcmp(head, "SQLite format 3", 16) || !memcmp(head + 68, id, 4))) ||
           (dot && (!strcmp(dot, ".sqlite") || !strcmp(dot, ".db")));
}

static int renew(kg_store *s, int existing)
{
    kg_db_close(s);
    if (!was_a_cache(s)) {
        lost(existing, "'%s' is no cache: it is left alone", s->path);
        return 0;
    }
    if (s->read_only) {
        lost(existing, "the cache '%s' is damaged and cannot be moved aside", s->path);
        return 0;
    }
    kg_warn("the cache '%s' is damaged: a new one is started", s->path);
    s->renewed = move_aside(s->path);
    int state = s->renewed ? open_database(s, 0) : 0;
    if (state < 0)
        lost(existing, "the cache '%s' cannot be made anew", s->path);
    return state;
}

static int open_or_renew(kg_store *s, int existing)
{
    char folder[PATH_MAX];
    struct stat st;
    folder_of(s->path, folder);
    int lock = lock_folder(folder);
    int state = open_database(s, existing);
    if (state < 0)
        state = renew(s, existing);
    s->inode = stat(s->path, &st) ? 0 : st.st_ino;
    if (lock >= 0)
        close(lock);
    return state > 0;
}

/* The file that this process found damaged, unless another one has been faster. */
static void move_damaged(const kg_store *s)
{
    char folder[PATH_MAX];
    struct stat st;
    folder_of(s->path, folder);
    int lock = lock_folder(folder);
    if (!stat(s->path, &st) && st.st_ino == s->inode)
        move_aside(s->path);
    if (lock >= 0)
        close(lock);
}

static void store_free(kg_store *s)
{
    kg_db_close(s);
    pthread_mutex_destroy(&s->lock);
    free(s->scratch);
    free(s);
}

/* Is there a place for it? Says why not. */
static int place_ready(kg_store *s, int existing)
{
    char folder[PATH_MAX];
    folder_of(s->path, folder);
    int there = !access(s->path, F_OK);
    if (existing && !there)
        lost(existing, "there is no cache at '%s'", s->path);
    else if (!there && (!make_folders(s->path) || access(folder, W_OK | X_OK)))
        lost(existing, "the cache '%s' cannot be written (%s)", s->path, strerror(errno));
    else {
        s->read_only = there && (access(s->path, W_OK) || access(folder, W_OK | X_OK));
        const char *why = strerror(errno);
        if (s->read_only && !existing)
            kg_warn("the cache '%s' cannot be written (%s): what it holds is used, and nothing is kept", s->path, why);
        return !refuse_remote(folder, s->path, existing);
    }
    return 0;
}

static int named(kg_store *s, const kg_cache_options *o)
{
    s->unnamed = !o->path || !*o->path;
    if (!kg_cache_path(o, s->path, sizeof s->path)) {
        lost(o->existing, "no place for the cache is known (neither --cache nor XDG_CACHE_HOME nor HOME)");
        return 0;
    }
    return 1;
}

kg_cache *kg_cache_open(const kg_cache_options *o)
{
    kg_store *s = calloc(1, sizeof *s);
    if (!s || !(s->scratch = malloc(KG_PART))) {
        free(s);
        lost(o->existing, "out of memory for the cache");
        return NULL;
    }
    pthread_mutex_init(&s->lock, NULL);
    s->face.ops = &kg_store_ops;
    s->budget = o->budget ? o->budget : KG_CACHE_BUDGET;
    s->busy_ms = o->busy_ms ? o->busy_ms : 10000;
    if (!named(s, o) || !place_ready(s, o->existing) || !open_or_renew(s, o->existing)) {
        store_free(s);
        return NULL;
    }
    kg_lease_self(s);
    if (!kg_writer_start(s)) {
        lost(o->existing, "no thread for the cache");
        kg_writer_stop(s);
        store_free(s);
        return NULL;
    }
    return &s->face;
}

void kg_cache_close(kg_cache *c)
{
    kg_store *s = (kg_store *)c;
    if (!s)
        return;
    kg_writer_stop(s);
    if (!s->damaged)
        kg_lease_give_back(s);
    kg_db_close(s);
    if (s->damaged && !s->read_only)
        move_damaged(s);
    store_free(s);
}
