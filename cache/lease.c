/* Leases: which rows a process that is still there relies on.
 *
 * A process is named by its number, the time it was started (numbers come round again) and where numbers hold: this boot of this
 * machine, in this pid namespace. A lease from elsewhere (another container on the same folder) cannot be looked up and holds for
 * a day. */
#include "cache/store.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Field 22 of /proc/PID/stat, counted after the name, which may hold anything; 0 when there is no such process. */
static int64_t start_time(int64_t pid)
{
    char path[64], text[1024];
    snprintf(path, sizeof path, "/proc/%lld/stat", (long long)pid);
    FILE *in = fopen(path, "re");
    size_t n = in ? fread(text, 1, sizeof text - 1, in) : 0;
    if (in)
        fclose(in);
    text[n] = 0;
    const char *p = strrchr(text, ')');
    long long ticks = 0;
    for (int field = 2; p && field < 22; ++field)
        p = strchr(p + 1, ' ');
    return p && sscanf(p, " %lld", &ticks) == 1 ? ticks : 0;
}

void kg_lease_self(kg_store *s)
{
    char boot[40] = "", space[24] = "";
    FILE *in = fopen("/proc/sys/kernel/random/boot_id", "re");
    if (in) {
        if (!fgets(boot, sizeof boot, in))
            boot[0] = 0;
        fclose(in);
    }
    boot[strcspn(boot, "\n")] = 0;
    ssize_t n = readlink("/proc/self/ns/pid", space, sizeof space - 1);
    space[n > 0 ? n : 0] = 0;
    snprintf(s->host, sizeof s->host, "%.36s %.23s", boot, space);
    s->pid = getpid();
    s->started = start_time(s->pid);
}

static void bind_self(kg_store *s, sqlite3_stmt *q, int first)
{
    sqlite3_bind_int64(q, first, s->pid);
    sqlite3_bind_int64(q, first + 1, s->started);
    sqlite3_bind_text(q, first + 2, s->host, -1, SQLITE_STATIC);
}

int kg_lease_take(kg_store *s, int64_t id)
{
    sqlite3_stmt *q = kg_db_use(s, SQL_LEASE);
    if (!q)
        return 0;
    sqlite3_bind_int64(q, 1, id);
    bind_self(s, q, 2);
    sqlite3_bind_double(q, 5, kg_now());
    return !kg_db_finish(s, q) && sqlite3_changes(s->db) == 1;
}

void kg_lease_give_back(kg_store *s)
{
    sqlite3_stmt *q = s->read_only ? NULL : kg_db_use(s, SQL_UNLEASE);
    if (!q)
        return;
    bind_self(s, q, 1);
    kg_db_finish(s, q);
}

static int stale(const kg_store *s, int64_t pid, int64_t started, const char *host, double since)
{
    if (!host || strcmp(host, s->host))
        return kg_now() - since > 86400;
    return (kill((pid_t)pid, 0) && errno == ESRCH) || start_time(pid) != started;
}

/* Drops the first stale holder: its number of leases, 0 when there is none, -1 after a failure. */
static int64_t drop_one(kg_store *s)
{
    sqlite3_stmt *q = kg_db_use(s, SQL_LEASES), *drop = kg_db_use(s, SQL_LEASE_DROP);
    int64_t dropped = 0;
    int more = q && drop ? 0 : -1;
    while (!dropped && !more && (more = kg_db_step(s, q)) > 0) {
        int64_t pid = sqlite3_column_int64(q, 0), started = sqlite3_column_int64(q, 1);
        const char *host = (const char *)sqlite3_column_text(q, 2);
        more = 0;
        if (!stale(s, pid, started, host, sqlite3_column_double(q, 3)))
            continue;
        sqlite3_bind_int64(drop, 1, pid);
        sqlite3_bind_int64(drop, 2, started);
        sqlite3_bind_text(drop, 3, host, -1, SQLITE_TRANSIENT);
        sqlite3_reset(q);
        more = kg_db_finish(s, drop);
        dropped = more ? 0 : sqlite3_changes(s->db);
    }
    if (q)
        sqlite3_reset(q);
    return more < 0 ? -1 : dropped;
}

int64_t kg_lease_drop_stale(kg_store *s)
{
    int64_t all = 0, n = 0;
    while (!s->read_only && (n = drop_one(s)) > 0)
        all += n;
    return all;
}
