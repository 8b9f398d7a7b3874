/* A kernel without Landlock, without seccomp, without both: made by a filter around the program that answers as such a kernel does. */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/test.h"

enum { NO_LANDLOCK = 1, NO_SECCOMP = 2 };
static char folder[] = "/tmp/kg_walls_XXXXXX", kino[4096];

static void lack(int what)
{
    enum { LANDLOCK_CREATE = 444 };
    struct sock_filter f[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, what & NO_LANDLOCK ? LANDLOCK_CREATE : ~0u, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, what & NO_SECCOMP ? SYS_seccomp : ~0u, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, what & NO_SECCOMP ? SYS_prctl : ~0u, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PR_SET_SECCOMP, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EINVAL),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = sizeof f / sizeof *f, .filter = f};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
        _exit(99);
}

/* kino's status below such a kernel; what it says on both streams is in `said`. */
static char said[8192];
static int run(int lacking, const char *const *argv)
{
    int status = 0, out = open("said", O_CREAT | O_TRUNC | O_RDWR, 0600);
    pid_t pid = fork();
    if (!pid) {
        dup2(out, 1);
        dup2(out, 2);
        lack(lacking);
        execv(kino, (char *const *)argv);
        _exit(98);
    }
    waitpid(pid, &status, 0);
    ssize_t n = pread(out, said, sizeof said - 1, 0);
    said[n > 0 ? n : 0] = 0;
    close(out);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}
#define RUN(lacking, ...) run(lacking, (const char *const[]){"kino", __VA_ARGS__, NULL})

/* The walls that this machine itself has: without seccomp there is no filter to try with either. */
static void refused_without_seccomp(void)
{
    CHECK(RUN(0, "version") == 0 && strstr(said, "walls around scripts: seccomp (files and network)"), "%s", said);
    CHECK(RUN(0, "check", "s.lua") == 0, "%s", said);
    CHECK(RUN(NO_LANDLOCK, "check", "s.lua") == 0, "%s", said);
    CHECK(RUN(NO_LANDLOCK, "version") == 0 && strstr(said, "no Landlock (files)\n"), "%s", said);
    CHECK(RUN(NO_LANDLOCK | NO_SECCOMP, "check",
            "s.lua") == 2 && strstr(said, "s.lua is not run: this kernel has none of the walls"), "%s", said);
    CHECK(strstr(said, "--no-walls") && !strstr(said, "ran"), "%s", said);
    CHECK(RUN(NO_LANDLOCK | NO_SECCOMP, "check", "s.lua", "--no-walls") == 0 && strstr(said, "ran"), "%s", said);
    CHECK(RUN(NO_LANDLOCK | NO_SECCOMP, "version") == 0, "%s", said);
    CHECK(strstr(said, "no seccomp (files and network), no Landlock (files): scripts are refused"), "%s", said);
    CHECK(RUN(NO_LANDLOCK | NO_SECCOMP, "version",
            "--json") == 0 && strstr(said, "\"walls\":{\"seccomp\":false,\"landlock\":false}"), "%s", said);
    CHECK(RUN(NO_SECCOMP, "check", "s.lua") == 2 && !strstr(said, "ran"), "%s", said);
    CHECK(strstr(said, "Landlock, which closes files, and not seccomp") || strstr(said, "none of the walls"), "%s", said);
    CHECK(RUN(NO_SECCOMP, "check", "s.lua", "--no-walls") == 0 && strstr(said, "ran"), "%s", said);
}

int main(void)
{
    char command[sizeof folder + 16];
    if (!getcwd(kino, sizeof kino - 8) || !mkdtemp(folder) || chdir(folder))
        return 1;
    strcat(kino, "/kino");
    FILE *f = fopen("s.lua", "w");
    if (!f || fputs("print('ran')\nreturn kino.latent.noise{ frames = 5 }\n", f) < 0 || fclose(f))
        return 1;
    setenv("HOME", folder, 1);
    unsetenv("XDG_CONFIG_HOME");
    refused_without_seccomp();
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return chdir("/") || system(command) || TEST_END();
}
