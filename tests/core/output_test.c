/* Outputs on bad days: what is made meanwhile, links, files that are read-only, what killed runs leave, and what a script may name. */
#include "core/paths.h"
#include "tests/test.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void put(const char *path, const char *text)
{
    FILE *out = fopen(path, "w");
    CHECK(out != NULL, "%s: %s", path, strerror(errno));
    if (out) {
        fputs(text, out);
        fclose(out);
    }
}

static int holds(const char *path, const char *text)
{
    char got[64] = "";
    FILE *in = fopen(path, "r");
    size_t n = in ? fread(got, 1, sizeof got - 1, in) : 0;
    if (in)
        fclose(in);
    return n == strlen(text) && !memcmp(got, text, n);
}

static int temporaries(const char *folder)
{
    char command[128], line[16] = "";
    snprintf(command, sizeof command, "ls -A %s | grep -c '^\\.kino-'", folder);
    FILE *in = popen(command, "r");
    CHECK(in && fgets(line, sizeof line, in));
    pclose(in);
    return atoi(line);
}

static int failed_with(kg_status status, kg_status wanted, const char *part)
{
    const kg_error *e = kg_error_last();
    int good = status == wanted && e->status == wanted && (strstr(e->message, part) || strstr(e->hint, part));
    if (!good)
        fprintf(stderr, "status %d, \"%s\" \"%s\" (wanted \"%s\")\n", e->status, e->message, e->hint, part);
    kg_error_clear();
    return good;
}

/* A run's way: asked when the graph is made, asked when it begins, opened, written, committed. */
static kg_status begins(kg_files *f, kg_output *o, const char *path, const char *text)
{
    o->fd = -1;
    o->temp[0] = 0;
    kg_status s = kg_files_may_write(f, path);
    if (!s)
        s = kg_files_may_replace(f, path);
    if (!s)
        s = kg_output_open(o, f, path);
    return s ? s : kg_output_write(o, text, strlen(text));
}

static kg_status writes(kg_files *f, const char *path, const char *text)
{
    kg_output o;
    kg_status s = begins(f, &o, path, text);
    if (!s)
        s = kg_output_commit(&o);
    kg_output_abort(&o);
    return s;
}

static void nothing_made_meanwhile_is_replaced(void)
{
    kg_files *f = kg_files_new();
    kg_output o;
    CHECK(!kg_files_grant_out(f, "typed.mp4"));
    CHECK(!begins(f, &o, "named.mp4", "mine"));
    put("named.mp4", "yours");
    CHECK(failed_with(kg_output_commit(&o), KG_FAILED, "it stays as it is"));
    CHECK(holds("named.mp4", "yours") && !temporaries("."));
    CHECK(failed_with(kg_files_may_replace(f, "named.mp4"), KG_USAGE, "is there already"));
    CHECK(!kg_files_may_write(f, "named.mp4"), "a graph may be made all the same");
    CHECK(!begins(f, &o, "typed.mp4", "mine"));
    put("typed.mp4", "yours");
    CHECK(!kg_output_commit(&o) && holds("typed.mp4", "mine"), "what was typed is replaced");
    /* Named after a typed one: the file that was there when the run began, and no other. */
    put("typed-1.mp4", "old");
    CHECK(!writes(f, "typed-1.mp4", "new") && holds("typed-1.mp4", "new"));
    CHECK(!begins(f, &o, "typed-1.mp4", "mine"));
    CHECK(!rename("typed-1.mp4", "aside") && (put("typed-1.mp4", "yours"), 1));
    CHECK(failed_with(kg_output_commit(&o), KG_FAILED, "it stays as it is") && holds("typed-1.mp4", "yours"));
    CHECK(!begins(f, &o, "typed-2.mp4", "mine"));
    put("typed-2.mp4", "yours");
    CHECK(failed_with(kg_output_commit(&o), KG_FAILED, "it stays as it is") && holds("typed-2.mp4", "yours"));
    CHECK(!symlink("nowhere", "dangling.mp4") && failed_with(writes(f, "dangling.mp4", "x"), KG_USAGE, "is there already"));
    kg_files_free(f);
}

/* Kernels and file systems without RENAME_NOREPLACE: by a link, and without links by a look. */
static void without_rename_noreplace(void)
{
    for (int links = 1; links >= 0; --links) {
        pid_t child = fork();
        if (!child) {
            struct sock_filter code[] = {
                BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
                BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_renameat2, 1, 0),
                BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, links ? SYS_renameat2 : SYS_link, 0, 1),
                BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EINVAL),
                BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
            };
            struct sock_fprog program = {sizeof code / sizeof *code, code};
            if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
                _exit(0);                                   /* no filters here: nothing to show */
            int before = test_failures_;
            kg_files *f = kg_files_new();
            kg_output o;
            CHECK(!writes(f, "plain.mp4", "mine") && holds("plain.mp4", "mine"));
            CHECK(!unlink("plain.mp4") && !begins(f, &o, "plain.mp4", "mine"));
            put("plain.mp4", "yours");
            CHECK(failed_with(kg_output_commit(&o), KG_FAILED, "it stays as it is") && holds("plain.mp4", "yours"));
            CHECK(!unlink("plain.mp4") && !temporaries("."));
            kg_files_free(f);
            fflush(NULL);
            _exit(test_failures_ != before);
        }
        int status = 1;
        CHECK(waitpid(child, &status, 0) == child && !status, "links %d: status %d", links, status);
    }
}

static void links_as_outputs(void)
{
    struct stat st;
    kg_files *f = kg_files_new();
    CHECK(!mkdir("far", 0777) && !symlink("far/made.mp4", "link.mp4") && !symlink("gone/made.mp4", "lost.mp4") &&
          !symlink("loop.mp4", "loop.mp4") && !symlink("far", "near"));
    CHECK(!kg_files_grant_out(f, "link.mp4") && !kg_files_grant_out(f, "lost.mp4") && !kg_files_grant_out(f, "loop.mp4"));
    CHECK(!writes(f, "link.mp4", "one") && holds("far/made.mp4", "one"), "a dangling link leads to where the file is made");
    CHECK(!lstat("link.mp4", &st) && S_ISLNK(st.st_mode), "and it stays a link");
    CHECK(!writes(f, "link.mp4", "two") && holds("far/made.mp4", "two") && !lstat("link.mp4", &st) && S_ISLNK(st.st_mode));
    CHECK(failed_with(writes(f, "lost.mp4", "x"), KG_USAGE, "there is no folder"));
    CHECK(failed_with(writes(f, "loop.mp4", "x"), KG_USAGE, "leads nowhere"));
    char a[4096], b[4096];
    CHECK(kg_output_target("link.mp4", a) && kg_output_target("near/made.mp4", b) && !strcmp(a, b), "%s and %s", a, b);
    CHECK(kg_output_target("near/./new.mp4", a) && kg_output_target("far/new.mp4", b) && !strcmp(a, b));
    CHECK(kg_output_target("near/not/yet.mp4", a) && kg_output_target("far/not/yet.mp4", b) && !strcmp(a, b));
    kg_files_free(f);
}

static void a_read_only_output_is_refused_at_the_start(void)
{
    struct stat st;
    kg_files *f = kg_files_new();
    put("kept.mp4", "kept");
    CHECK(!chmod("kept.mp4", 0444) && !symlink("kept.mp4", "to_kept.mp4"));
    CHECK(!kg_files_grant_out(f, "kept.mp4") && !kg_files_grant_out(f, "to_kept.mp4"));
    CHECK(!kg_files_may_write(f, "kept.mp4"), "plan and check do not mind");
    CHECK(failed_with(kg_files_may_replace(f, "kept.mp4"), KG_USAGE, "read-only (mode 0444)"));
    CHECK(failed_with(kg_files_may_replace(f, "to_kept.mp4"), KG_USAGE, "read-only"));
    CHECK(!chmod("kept.mp4", 0200) && !writes(f, "kept.mp4", "new"));
    CHECK(!stat("kept.mp4", &st) && (st.st_mode & 0777) == 0200, "the mode is kept");
    kg_files_free(f);
}

/* A writer in a process of its own, which is then killed; it says when its temporary file is there. */
static pid_t writer(const char *path)
{
    int ready[2];
    char byte;
    CHECK(!pipe(ready));
    pid_t child = fork();
    if (!child) {
        kg_output o;
        kg_files *f = kg_files_new();
        kg_files_grant_out(f, path);
        byte = begins(f, &o, path, "half") ? 'n' : 'y';
        if (write(ready[1], &byte, 1) == 1)
            pause();
        _exit(1);
    }
    close(ready[1]);
    CHECK(read(ready[0], &byte, 1) == 1 && byte == 'y');
    close(ready[0]);
    return child;
}

static void what_killed_runs_left_is_removed(void)
{
    kg_files *f = kg_files_new();
    CHECK(!mkdir("left", 0777) && !kg_files_grant_out(f, "left/x.mp4"));
    pid_t dead = writer("left/x.mp4"), alive = writer("left/x.mp4");
    CHECK(temporaries("left") == 2);
    CHECK(!kill(dead, SIGKILL) && waitpid(dead, NULL, 0) == dead && temporaries("left") == 2);
    put("left/.kino-0123456789abcdeg.tmp", "no name of ours");
    put("left/.kino-0123456789abcdef", "nor this");
    CHECK(!mkfifo("left/.kino-0123456789abcdef.tmp", 0666) && !symlink("x", "left/.kino-1123456789abcdef.tmp"));
    CHECK(!writes(f, "left/x.mp4", "whole") && holds("left/x.mp4", "whole"));
    CHECK(temporaries("left") == 5, "the dead one's is gone, the living one's and all that is no such file stay: %d", temporaries("left"));
    CHECK(!kill(alive, SIGKILL) && waitpid(alive, NULL, 0) == alive);
    CHECK(!kg_files_may_replace(f, "left/x.mp4") && temporaries("left") == 4);
    kg_files_free(f);
}

static void names_that_a_script_derives(void)
{
    enum { NO, MAKES, REPLACES };
    static const struct { const char *typed, *path; int may; } rows[] = {
        {"d/clip.mp4", "d/clip.png", REPLACES}, {"d/clip.mp4", "d/clip-7.mp4", REPLACES}, {"d/clip.mp4", "d/clip_sheet.png", REPLACES},
        {"d/clip.mp4", "d/clip.7.mp4", REPLACES}, {"d/clip.mp4", "d/./clip-7.png", REPLACES}, {"d/clip", "d/clip.png", REPLACES},
        {"d/clip.mp4", "d/clips.mp4", MAKES}, {"d/clip.mp4", "d/clip7.png", MAKES}, {"d/clip.mp4", "d/clip.safetensors", MAKES},
        {"d/clip.mp4", "d/clip-a b.mov", MAKES}, {"d/clip.mp4", "d/clip", MAKES}, {"../x/d/clip.mp4", "../x/d/clip.png", REPLACES},
        {"d/clip.mp4", "d/other.png", NO}, {"d/clip.mp4", "e/clip.png", NO}, {"d/clip.mp4", "d/clip-/x.mp4", NO},
        {"d/clip.mp4", "d/clip-../x.mp4", NO}, {"d/clip.mp4", "d/../d/clip.png", NO}, {"d/.mp4", "d/.png", NO},
        {"d/clip.mp4", "d/cli.mp4", NO}, {"d/clip.mp4", "d/clip\n.png", NO},
        {"d/", "d/a.mp4", MAKES}, {"d/", "d/new/b.png", MAKES}, {"./d//", "d/a.mp4", MAKES}, {"d/", "d/.a.mp4", NO},
        {"d/", "d/.n/a.mp4", NO},
        {"d/", "d/../a.mp4/x", NO}, {"d/", "e/a.mp4", NO}, {"d/", "d/out/a.mp4", NO}, {"d/", "d", NO}, {"d/e/", "d/a.mp4", NO},
        {"not/yet/", "not/yet/a.mp4", MAKES}, {"not/yet/", "not/a.mp4", NO},
    };
    char folder[64];
    snprintf(folder, sizeof folder, "/tmp/kg_output_names.XXXXXX");
    CHECK(mkdtemp(folder) && !chdir(folder) && !mkdir("x", 0777) && !chdir("x") && !mkdir("d", 0777) && !mkdir("e", 0777) &&
          !symlink("../e", "d/out"));
    for (size_t i = 0; i < sizeof rows / sizeof *rows; ++i) {
        kg_files *f = kg_files_new();
        CHECK(!kg_files_grant_out(f, rows[i].typed));
        kg_status s = writes(f, rows[i].path, "one");
        CHECK(s == (rows[i].may ? KG_OK : KG_USAGE), "%s: %s: %s", rows[i].typed, rows[i].path, kg_error_last()->message);
        kg_error_clear();
        s = rows[i].may ? writes(f, rows[i].path, "two") : KG_USAGE;
        CHECK(s == (rows[i].may == REPLACES ? KG_OK : KG_USAGE), "%s: %s again: %s", rows[i].typed, rows[i].path, kg_error_last()->message);
        CHECK(!rows[i].may || holds(rows[i].path, s ? "one" : "two"));
        kg_error_clear();
        CHECK(!rows[i].may || !unlink(rows[i].path));
        kg_files_free(f);
    }
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    CHECK(!chdir("/") && !system(command));
}

static void refusals_state_the_rule(void)
{
    kg_files *f = kg_files_new();
    CHECK(failed_with(kg_files_may_write(f, "/no/x.mp4"), KG_USAGE, "a template that declares out = kino.out{}"));
    CHECK(!kg_files_out_words(f, "--video FILE"));
    CHECK(failed_with(kg_files_may_write(f, "/no/x.mp4"), KG_USAGE,
                      "(--video FILE): that file, new ones beside it that begin with its stem"));
    CHECK(failed_with(kg_files_may_write(f, "a\xff.mp4"), KG_USAGE, "not UTF-8 at byte 1"));
    CHECK(!kg_files_grant_out(f, "\xe4.mp4") && failed_with(kg_files_may_write(f, "\xe4.mp4"), KG_USAGE, "not UTF-8 at byte 0"));
    CHECK(!kg_files_grant_out(f, "far") && failed_with(kg_files_may_write(f, "far"), KG_USAGE, "'far/' is for scripts"));
    CHECK(failed_with(kg_files_may_write(f, "far/"), KG_USAGE, "names no file"));
    kg_files_free(f);
}

int main(void)
{
    char top[64], command[128];
    snprintf(top, sizeof top, "/tmp/kg_output_test.XXXXXX");
    CHECK(mkdtemp(top) && !chdir(top));
    nothing_made_meanwhile_is_replaced();
    without_rename_noreplace();
    links_as_outputs();
    a_read_only_output_is_refused_at_the_start();
    what_killed_runs_left_is_removed();
    refusals_state_the_rule();
    names_that_a_script_derives();
    snprintf(command, sizeof command, "rm -rf '%s'", top);
    CHECK(!chdir("/") && !system(command));
    return TEST_END();
}
