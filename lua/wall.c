/* Limits, Landlock and seccomp: see wall.h. */
#include "lua/wall.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <math.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

/* ---- limits ---- */

static void signals_default(void)
{
    struct sigaction plain = {.sa_handler = SIG_DFL};
    for (int i = 1; i < NSIG; ++i)
        sigaction(i, &plain, NULL);            /* KILL and STOP refuse, which is as good */
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

static void close_from(int first)
{
    if (!syscall(SYS_close_range, first, ~0u, 0))
        return;
    long most = sysconf(_SC_OPEN_MAX);         /* kernels before 5.9 */
    for (int i = first; i < (most > 0 && most < 65536 ? most : 65536); ++i)
        close(i);
}

static int descriptors(int socket)
{
    if (socket && dup2(socket, 0) < 0)
        return 0;
#ifdef KG_SANITIZE
    close(1);                                  /* reports go to standard error */
    close_from(3);
#else
    close_from(1);
#endif
    return 1;
}

static int bound(int what, rlim_t soft, rlim_t hard) { return !setrlimit(what, &(struct rlimit){soft, hard}); }

#ifndef KG_SANITIZE
static int bound_memory(size_t above)
{
    long pages = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    int known = f && fscanf(f, "%ld", &pages) == 1;
    if (f)
        fclose(f);
    if (!known)
        return 1;                              /* no /proc: the allocator's own bound remains */
    rlim_t most = (rlim_t)pages * (rlim_t)sysconf(_SC_PAGESIZE) + above;
    return bound(RLIMIT_AS, most, most);
}
#else
/* A sanitizer's shadow takes terabytes of addresses: only the allocator's bound holds. */
static int bound_memory(size_t above) { return (void)above, 1; }
#endif

/* The timer is fine-grained and tells a long run from other deaths by its signal; the resource limit stands behind it. */
static int bound_time(double seconds)
{
    rlim_t whole = (rlim_t)ceil(seconds) + 1;
    struct itimerval t = {.it_value = {(time_t)seconds, (suseconds_t)((seconds - floor(seconds)) * 1e6)}};
    return !setitimer(ITIMER_PROF, &t, NULL) && bound(RLIMIT_CPU, whole, whole + 1);
}

/* C functions that call Lua back (string.gsub) nest on the stack of the process: it holds what fits on Lua's, which says so when full. */
static int bound_stack(void)
{
    enum { WANTED = 120 << 20 };               /* what the kernel leaves below a stack, at least */
    struct rlimit l;
    return !getrlimit(RLIMIT_STACK, &l) && bound(RLIMIT_STACK, l.rlim_max < WANTED ? l.rlim_max : WANTED, l.rlim_max);
}

int kg_wall_limits(int socket, pid_t parent, const kg_script_limits *l)
{
    signals_default();
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) || getppid() != parent || !descriptors(socket))
        return 0;
    return bound_memory(l->memory) && bound_time(l->cpu_seconds) && bound_stack() && bound(RLIMIT_CORE, 0, 0) && bound(RLIMIT_FSIZE, 0, 0);
}

/* ---- Landlock ---- */

/* ref: Linux Documentation/userspace-api/landlock.rst. Numbers here, since headers are often older than the kernel: version 1
 * has 13 rights of files, 2 adds one (refer), 3 one (truncate), 5 one (ioctl); 4 adds two of TCP, 6 two scopes. */
struct rights { uint64_t files, net, scopes; };

static int landlock_up(void)
{
    enum { CREATE = 444, RESTRICT = 446, ASK_VERSION = 1 };
    long version = syscall(CREATE, NULL, 0, ASK_VERSION);
    if (version < 1)
        return 0;
    int bits = version >= 5 ? 16 : version >= 3 ? 15 : version == 2 ? 14 : 13;
    struct rights all = {.files = (1u << bits) - 1, .net = version >= 4 ? 3 : 0, .scopes = version >= 6 ? 3 : 0};
    size_t bytes = version >= 6 ? sizeof all : version >= 4 ? offsetof(struct rights, scopes) : offsetof(struct rights, net);
    long rules = syscall(CREATE, &all, bytes, 0);
    if (rules < 0)
        return 0;
    long refused = syscall(RESTRICT, (int)rules, 0);
    close((int)rules);
    return !refused;
}

/* ---- seccomp ---- */

#if defined __x86_64__
#define THIS_ARCH AUDIT_ARCH_X86_64
#elif defined __aarch64__
#define THIS_ARCH AUDIT_ARCH_AARCH64
#endif

#ifdef THIS_ARCH
/* What a Lua state over one socket needs: memory, its socket, its end. Anything else is refused with EPERM, so that a libc with
 * other habits than the one tried goes on as if the kernel lacked the call. */
static const int allowed[] = { /* table */
    SYS_read, SYS_write, SYS_munmap, SYS_mremap, SYS_brk, SYS_madvise, SYS_futex, SYS_clock_gettime, SYS_rt_sigreturn,
    SYS_rt_sigprocmask, SYS_exit, SYS_exit_group,
#ifdef KG_SANITIZE
    SYS_sigaltstack,                           /* asked for at each jump of Lua's error handling */
#endif
};
/* Memory that can be executed is not to be had. */
static const int allowed_not_executable[] = {SYS_mmap, SYS_mprotect};

static int seccomp_up(void)
{
    enum { RULES = sizeof allowed / sizeof *allowed, MAPS = 2 };
    struct sock_filter f[4 + 2 * RULES + 5 * MAPS + 1];
    unsigned short n = 0;
    f[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch));
    f[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, THIS_ARCH, 1, 0);
    f[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
    f[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (int i = 0; i < RULES; ++i) {
        f[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)allowed[i], 0, 1);
        f[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    }
    for (int i = 0; i < MAPS; ++i) {
        f[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)allowed_not_executable[i], 0, 4);
        f[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[2]));
        f[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, PROT_EXEC, 1, 0);
        f[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
        f[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM);
    }
    f[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM);
    struct sock_fprog program = {.len = n, .filter = f};
    return !prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}
#else
static int seccomp_up(void) { return 0; }
#endif

int kg_wall_up(void)
{
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        return 0;
    int walls = landlock_up() ? KG_WALL_LANDLOCK : 0;
    bound(RLIMIT_NOFILE, 0, 0);                /* after Landlock, which takes one; the socket is open already */
    return walls | (seccomp_up() ? KG_WALL_SECCOMP : 0);
}
