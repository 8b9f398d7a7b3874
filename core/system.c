/* What this process may still take of the host's memory: the least of what the machine has left and of what each of its control groups,
 * from its own up to the root's, has left. A group's use counts without the files that it has read or written: the kernel gives those
 * pages up before it kills anybody.
 *
 * /proc/self/cgroup names the groups. Within a container the name may be the host's while the mount shows the container's group as
 * its root: levels whose files are not there are passed over, and the root's own files are always asked. */
#include "core/system.h"

#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The two versions' names of the same things; the limits that count, NULL for none. */
typedef struct version { const char *mount[2], *limit[2], *use, *inactive, *active; } version;
static const version v1 = {{"/sys/fs/cgroup/memory"}, {"memory.limit_in_bytes"}, "memory.usage_in_bytes", "total_inactive_file ",
                           "total_active_file "};
static const version v2 = {{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"}, {"memory.max", "memory.high"}, "memory.current",
                           "inactive_file ", "active_file "};

/* 1: the line behind the prefix begins with a number. */
static int read_number(const char *path, const char *prefix, unsigned long long *n)
{
    char line[256], *end;
    int found = 0;
    FILE *f = fopen(path, "re");
    while (f && !found && fgets(line, sizeof line, f))
        if (!strncmp(line, prefix, strlen(prefix))) {
            *n = strtoull(line + strlen(prefix), &end, 10);
            found = end > line + strlen(prefix);
        }
    if (f)
        fclose(f);
    return found;
}

size_t kg_system_bytes(const char *path, const char *prefix, size_t unit)
{
    unsigned long long n = 0;
    return read_number(path, prefix, &n) ? (size_t)n * unit : 0;
}

/* 1: a file of a group says a number. */
static int group_says(const char *folder, const char *file, const char *prefix, unsigned long long *n)
{
    char path[2 * PATH_MAX];
    int length = snprintf(path, sizeof path, "%s/%s", folder, file);
    *n = 0;
    return length > 0 && (size_t)length < sizeof path && read_number(path, prefix, n);
}

/* One group: its folder, and the part of it that people know (without the tests' root). */
static void ask_group(const version *v, const char *folder, const char *shown, kg_host_memory *m)
{
    unsigned long long limit, use, inactive, active;
    for (int i = 0; i < 2 && v->limit[i]; ++i) {
        if (!group_says(folder, v->limit[i], "", &limit))
            continue;                      /* "max", or no such group here */
        group_says(folder, v->use, "", &use);
        group_says(folder, "memory.stat", v->inactive, &inactive);
        group_says(folder, "memory.stat", v->active, &active);
        use = use > inactive + active ? use - inactive - active : 0;
        size_t left = limit > use ? (size_t)limit - use : 0;
        m->all = limit < m->all ? (size_t)limit : m->all;
        if (left < m->left) {
            m->left = left;
            snprintf(m->by, sizeof m->by, "%.200s/%s", shown, v->limit[i]);
        }
    }
}

/* The group and all above it, in whichever mount has them. */
static void ask_groups(const version *v, const char *root, const char *group, kg_host_memory *m)
{
    for (int k = 0; k < 2 && v->mount[k]; ++k) {
        char folder[2 * PATH_MAX];
        int n = snprintf(folder, sizeof folder, "%s%s%s", root, v->mount[k], strstr(group, "/..") ? "" : group);
        size_t top = strlen(root) + strlen(v->mount[k]);
        if (n < 0 || (size_t)n >= sizeof folder)
            continue;
        for (char *slash = folder + n; ; *slash = 0) {
            ask_group(v, folder, folder + strlen(root), m);
            slash = strrchr(folder, '/');
            if (!slash || (size_t)(slash - folder) < top)
                break;
        }
    }
}

/* "hierarchy:controllers:path"; version 2 has no controllers. */
static void ask_line(const char *root, char *line, kg_host_memory *m)
{
    line[strcspn(line, "\n")] = 0;
    char *controllers = strchr(line, ':'), *group = controllers ? strchr(++controllers, ':') : NULL;
    if (!group)
        return;
    *group++ = 0;
    if (!*controllers)
        ask_groups(&v2, root, group, m);
    for (char *rest = controllers, *name; (name = strsep(&rest, ",")); )
        if (!strcmp(name, "memory"))
            ask_groups(&v1, root, group, m);
}

void kg_host_memory_read(const char *root, kg_host_memory *m)
{
    char path[PATH_MAX], line[PATH_MAX];
    unsigned long long there;
    size_t all = (size_t)sysconf(_SC_PHYS_PAGES) * (size_t)sysconf(_SC_PAGESIZE);
    snprintf(path, sizeof path, "%s/proc/meminfo", root);
    size_t said = kg_system_bytes(path, "MemTotal:", 1024);
    *m = (kg_host_memory){.all = said ? said : all, .by = "MemAvailable"};
    m->left = read_number(path, "MemAvailable:", &there) ? (size_t)there * 1024 : m->all;
    snprintf(path, sizeof path, "%s/proc/self/cgroup", root);
    FILE *f = fopen(path, "re");
    while (f && fgets(line, sizeof line, f))
        ask_line(root, line, m);
    if (f)
        fclose(f);
}
