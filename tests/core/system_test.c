/* What this process may still take of the host's memory, on machines that are made up: files of /proc and /sys below a folder. */
#include "core/system.h"

#include <sys/stat.h>
#include <unistd.h>

#include "core/run.h"
#include "tests/test.h"

static char root[64];

/* A file below the root, folders and all. */
static void put(const char *name, const char *text)
{
    char path[512];
    snprintf(path, sizeof path, "%s%s", root, name);
    for (char *p = path + strlen(root) + 1; (p = strchr(p, '/')); ++p) {
        *p = 0;
        mkdir(path, 0700);
        *p = '/';
    }
    FILE *f = fopen(path, "w");
    CHECK(f && fputs(text, f) >= 0 && !fclose(f), "%s", path);
}

static void machine(const char *cgroup)
{
    char command[96];
    snprintf(command, sizeof command, "rm -rf '%s'/*", root);
    CHECK(!system(command));
    put("/proc/meminfo", "MemTotal:       16000 kB\nMemFree:         1000 kB\nMemAvailable:    8000 kB\n");
    put("/proc/self/cgroup", cgroup);
}

static void expect(const char *what, size_t left, size_t all, const char *by)
{
    kg_host_memory m;
    kg_host_memory_read(root, &m);
    CHECK(m.left == left && m.all == all && !strcmp(m.by, by), "%s: %zu of %zu by %s", what, m.left, m.all, m.by);
}

#define V1 "/sys/fs/cgroup/memory"
#define V2 "/sys/fs/cgroup"
#define KIB(n) ((size_t)(n) * 1024)

static void no_group(void)
{
    machine("");
    expect("MemAvailable alone", KIB(8000), KIB(16000), "MemAvailable");
    machine("0::/a/b\n4:memory:/a/b\n");
    expect("groups without files", KIB(8000), KIB(16000), "MemAvailable");
    put("/proc/meminfo", "MemTotal:       16000 kB\n");
    expect("an old kernel", KIB(16000), KIB(16000), "MemAvailable");
}

/* Version 2: "max" is none, the smallest of all levels counts, files in memory are no use, memory.high counts as memory.max. */
static void version_2(void)
{
    machine("0::/user/run\n");
    put(V2 "/user/memory.max", "max\n");
    put(V2 "/user/memory.current", "6000000\n");
    put(V2 "/user/run/memory.max", "5000000\n");
    put(V2 "/user/run/memory.high", "max\n");
    put(V2 "/user/run/memory.current", "3000000\n");
    put(V2 "/user/run/memory.stat", "anon 1\nfile 2500000\ninactive_anon 9\ninactive_file 1200000\nactive_file 800000\nactive_anon 7\n");
    expect("its own group", 4000000, 5000000, V2 "/user/run/memory.max");
    put(V2 "/user/run/memory.high", "4000000\n");
    expect("high", 3000000, 4000000, V2 "/user/run/memory.high");
    put(V2 "/user/memory.max", "6500000\n");
    expect("the group above", 500000, 4000000, V2 "/user/memory.max");
    put(V2 "/user/memory.current", "7000000\n");
    expect("nothing is left", 0, 4000000, V2 "/user/memory.max");
}

static void version_1(void)
{
    machine("9:name=systemd:/x\n4:cpu,memory:/user/run\n0::/\n");
    put(V1 "/memory.limit_in_bytes", "9223372036854771712\n");
    put(V1 "/memory.usage_in_bytes", "5000000\n");
    put(V1 "/user/run/memory.limit_in_bytes", "2000000\n");
    put(V1 "/user/run/memory.usage_in_bytes", "1500000\n");
    put(V1 "/user/run/memory.stat", "cache 1000000\nactive_file 1\ntotal_inactive_file 300000\ntotal_active_file 700000\n");
    expect("without files", 1500000, 2000000, V1 "/user/run/memory.limit_in_bytes");
}

/* A container sees its own group as the mount's root, under the host's name; or a name above its root. */
static void container(void)
{
    machine("4:memory:/docker/0123\n");
    put(V1 "/memory.limit_in_bytes", "3000000\n");
    put(V1 "/memory.usage_in_bytes", "1000000\n");
    expect("the host's name", 2000000, 3000000, V1 "/memory.limit_in_bytes");
    machine("0::/../../other\n");
    put(V2 "/memory.max", "3000000\n");
    put(V2 "/memory.current", "1000000\n");
    put("/other/memory.max", "1\n");
    expect("a name above the root", 2000000, 3000000, V2 "/memory.max");
}

int main(void)
{
    snprintf(root, sizeof root, "/tmp/kg_system.XXXXXX");
    CHECK(mkdtemp(root) != NULL);
    no_group();
    version_2();
    version_1();
    container();
    kg_host_memory m;
    kg_host_memory_read("", &m);
    CHECK(m.left > 0 && m.left <= m.all && m.by[0], "this machine: %zu of %zu", m.left, m.all);
    char command[96];
    snprintf(command, sizeof command, "rm -r '%s'", root);
    CHECK(!system(command));
    return TEST_END();
}
