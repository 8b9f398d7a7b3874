/* Leases: which rows a process that is still there relies on.
 *
 * A process is named by its number, the time it was started (numbers come round again) and where numbers hold: this boot of this
 * machine, in this pid namespace. A lease from elsewhere (another container on the same folder) cannot be looked up and holds for
 * a day. */
#include "cache/store.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
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

typedef struct holder { int64_t pid, started; char host[64]; } holder;

/* Those that are not there any more, in one pass over the table, which must not change under it. Their number, or -1. */
static int stale_holders(kg_store *s, holder **out)
{
    sqlite3_stmt *q = kg_db_use(s, SQL_LEASES);
    int n = 0, room = 0, more = q ? 1 : -1;
    while (more > 0 && (more = kg_db_step(s, q)) > 0) {
        holder h = {.pid = sqlite3_column_int64(q, 0), .started = sqlite3_column_int64(q, 1)};
        const char *host = (const char *)sqlite3_column_text(q, 2);
        if (!stale(s, h.pid, h.started, host, sqlite3_column_double(q, 3)))
            continue;
        snprintf(h.host, sizeof h.host, "%s", host ? host : "");
        holder *p = n == room ? realloc(*out, sizeof *p * (size_t)(room = room ? 2 * room : 16)) : *out;
        if (!p) {
            more = -1;
            break;
        }
        *out = p;
        p[n++] = h;
    }
    if (q)
        sqlite3_reset(q);
    return more < 0 ? -1 : n;
}

/* Its number of leases, or -1. */
static int64_t drop_holder(kg_store *s, const holder *h)
{
    sqlite3_stmt *q = kg_db_use(s, SQL_LEASE_DROP);
    if (!q)
        return -1;
    sqlite3_bind_int64(q, 1, h->pid);
    sqlite3_bind_int64(q, 2, h->started);
    sqlite3_bind_text(q, 3, h->host, -1, SQLITE_TRANSIENT);
    return kg_db_finish(s, q) ? -1 : sqlite3_changes(s->db);
}

int64_t kg_lease_drop_stale(kg_store *s)
{
    holder *h = NULL;
    int n = s->read_only ? 0 : stale_holders(s, &h);
    int64_t all = n < 0 ? -1 : 0;
    for (int i = 0; i < n && all >= 0; ++i) {
        int64_t dropped = drop_holder(s, &h[i]);
        all = dropped < 0 ? -1 : all + dropped;
    }
    free(h);
    return all;
}
