/* Files: what may be opened and written, outputs that are whole or not there, files that change. */
#include "core/file.h"
#include "tests/test.h"

#include <errno.h>
#include <fcntl.h>
#include <dirent.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static char top[64];
static char logged[2048];

static void keep_log(void *arg, const char *line)
{
    (void)arg;
    strncat(logged, line, sizeof logged - strlen(logged) - 1);
}

static const char *at(const char *path)
{
    static char full[8][512];
    static int turn;
    turn = (turn + 1) % 8;
    snprintf(full[turn], sizeof full[turn], "%s/%s", top, path);
    return full[turn];
}

static void put(const char *path, const char *text)
{
    FILE *out = fopen(path, "w");
    CHECK(out != NULL, "%s: %s", path, strerror(errno));
    if (out) {
        fputs(text, out);
        fclose(out);
    }
}

/* 1 when path opens and holds text; the error record is left as it is otherwise. */
static int holds(kg_files *f, const char *path, const char *text)
{
    kg_error_clear();
    kg_file *file = kg_open(f, path);
    char *got = file ? kg_file_text(file, 1000, NULL) : NULL;
    int same = got && !strcmp(got, text);
    free(got);
    kg_file_unref(file);
    return same;
}

static int refused(kg_files *f, const char *path, kg_status status, const char *part)
{
    kg_error_clear();
    kg_file *file = kg_open(f, path);
    const kg_error *e = kg_error_last();
    int ok = !file && e->status == status && strstr(e->message, part) && !kg_exists(f, path);
    if (!ok)
        fprintf(stderr, "'%s': status %d, \"%s\"\n", path, e->status, e->message);
    kg_file_unref(file);
    return ok;
}

/* top/: script/ (plain) with links; models/ with vae/ and links out; outside/ */
static void make_tree(void)
{
    static const char *const folders[] = {"script", "script/sub", "models", "models/vae", "models/unet", "outside",
                                          "outside/snapshot", "work"};
    snprintf(top, sizeof top, "/tmp/kg_file_test.XXXXXX");
    CHECK(mkdtemp(top) != NULL);
    for (size_t i = 0; i < sizeof folders / sizeof *folders; ++i)
        CHECK(!mkdir(at(folders[i]), 0777));
    put(at("script/a.txt"), "a");
    put(at("script/sub/b.txt"), "b");
    put(at("outside/secret.txt"), "secret");
    put(at("outside/blob"), "blob");
    put(at("outside/beside"), "beside");
    put(at("models/vae/wan.safetensors"), "vae");
    put(at("models/vae/both.safetensors"), "vae");
    put(at("models/unet/both.safetensors"), "unet");
    CHECK(!symlink("../outside/secret.txt", at("script/out_link")));
    CHECK(!symlink("sub/b.txt", at("script/in_link")));
    CHECK(!symlink("../outside", at("script/out_folder")));
    CHECK(!symlink("../../outside/blob", at("models/vae/linked.safetensors")));
    CHECK(!symlink("../blob", at("outside/snapshot/index.json")));
    CHECK(!symlink("../beside", at("outside/snapshot/shard.safetensors")));
    CHECK(!mkfifo(at("script/pipe"), 0666));
    CHECK(!chdir(at("work")));
}

static kg_files *with_roots(void)
{
    kg_files *f = kg_files_new();
    CHECK(!kg_files_root(f, at("script"), KG_ROOT_PLAIN));
    CHECK(!kg_files_root(f, ".", KG_ROOT_PLAIN));
    CHECK(!kg_files_root(f, "../models", KG_ROOT_MODELS));
    return f;
}

static void plain_roots(void)
{
    kg_files *f = with_roots();
    CHECK(holds(f, "a.txt", "a"));
    CHECK(holds(f, "sub/b.txt", "b"));
    CHECK(holds(f, "./sub//b.txt", "b"));
    CHECK(holds(f, at("script/sub/b.txt"), "b"));
    CHECK(holds(f, "in_link", "b"));
    CHECK(kg_exists(f, "a.txt") && !kg_exists(f, "none.txt") && !kg_exists(f, "sub"));
    CHECK(refused(f, "../outside/secret.txt", KG_USAGE, "leads out"));
    CHECK(refused(f, "sub/../../outside/secret.txt", KG_USAGE, "leads out"));
    CHECK(refused(f, at("outside/secret.txt"), KG_USAGE, "leads out"));
    CHECK(refused(f, at("script/../outside/secret.txt"), KG_USAGE, "leads out"));
    CHECK(refused(f, at("scripture"), KG_USAGE, "leads out"));
    CHECK(refused(f, "out_link", KG_USAGE, "leads out"));
    CHECK(refused(f, "out_folder/secret.txt", KG_USAGE, "leads out"));
    CHECK(refused(f, "/etc/passwd", KG_USAGE, "leads out"));
    CHECK(refused(f, "", KG_INPUT, "empty"));
    CHECK(refused(f, "sub", KG_INPUT, "directory"));
    CHECK(refused(f, "pipe", KG_INPUT, "pipe"));
    CHECK(refused(f, "none.safetensors", KG_INPUT, "cannot find 'none.safetensors'"));
    CHECK(strstr(kg_error_last()->hint, "script'") && strstr(kg_error_last()->hint, "'../models' and the folders in it"), "%s",
          kg_error_last()->hint);
    kg_error_clear();
    CHECK(kg_files_root(f, at("nowhere"), KG_ROOT_PLAIN) == KG_INPUT);
    kg_error_clear();
    kg_files_free(f);
}

static void models_roots(void)
{
    kg_files *f = with_roots();
    CHECK(holds(f, "wan.safetensors", "vae"));
    CHECK(holds(f, "vae/wan.safetensors", "vae"));
    CHECK(holds(f, "linked.safetensors", "blob"));
    CHECK(holds(f, at("models/vae/linked.safetensors"), "blob"));
    logged[0] = 0;
    CHECK(holds(f, "both.safetensors", "unet"));
    CHECK(strstr(logged, "in two folders") != NULL, "%s", logged);
    CHECK(refused(f, "vae/../../outside/secret.txt", KG_USAGE, "leads out"));
    kg_file *file = kg_open(f, "wan.safetensors");
    kg_file *shard = kg_open_beside(f, file, "linked.safetensors");
    CHECK(shard && shard->size == 4);
    static const char *const bad[] = {"../vae/wan.safetensors", "..", ".", "", "/etc/passwd", "a/b", "a\\b", "a\nb"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; ++i) {
        kg_error_clear();
        CHECK(!kg_open_beside(f, file, bad[i]) && kg_error_last()->status == KG_INPUT, "%s", bad[i]);
    }
    kg_error_clear();
    CHECK(!kg_open_beside(f, file, "none") && strstr(kg_error_last()->message, "'none'"));
    kg_error_clear();
    kg_file *again = kg_file_ref(shard);
    kg_file_unref(shard);
    char text[5] = "";
    CHECK(!kg_file_read(again, 0, text, 4) && !strcmp(text, "blob"));
    CHECK(kg_file_read(again, 2, text, 4) == KG_INPUT && strstr(kg_error_last()->message, "2 bytes short"));
    kg_error_clear();
    CHECK(kg_file_read(again, UINT64_MAX - 1, text, 4) == KG_INPUT);
    kg_error_clear();
    CHECK(!kg_file_text(again, 3, NULL) && kg_error_last()->status == KG_INPUT);
    kg_error_clear();
    kg_file_unref(again);
    kg_file_unref(file);
    kg_files_free(f);
}

static void grants(void)
{
    kg_files *f = with_roots();
    CHECK(!kg_files_grant(f, "../outside/snapshot/index.json"));
    CHECK(holds(f, "../outside/snapshot/index.json", "blob"));
    kg_file *file = kg_open(f, "../outside/snapshot/index.json");
    kg_file *shard = kg_open_beside(f, file, "shard.safetensors");
    CHECK(shard && shard->size == 6);
    CHECK(refused(f, "../outside/snapshot/shard.safetensors", KG_USAGE, "leads out"));
    CHECK(refused(f, "../outside/secret.txt", KG_USAGE, "leads out"));
    kg_file_unref(shard);
    kg_file_unref(file);
    CHECK(!kg_files_grant(f, at("outside/")));
    CHECK(holds(f, at("outside/secret.txt"), "secret"));
    CHECK(holds(f, at("outside/snapshot/shard.safetensors"), "beside"));
    CHECK(refused(f, at("outside/snapshot/../../script/pipe"), KG_USAGE, "leads out"));
    CHECK(refused(f, at("outside/none"), KG_INPUT, "cannot find"));
    /* A typed bare name that is not in the current folder is still looked up in the roots. */
    CHECK(!kg_files_grant(f, "wan.safetensors"));
    CHECK(holds(f, "wan.safetensors", "vae"));
    kg_files_free(f);
    /* Beside a file of a plain root, a link out of it stays refused. */
    f = with_roots();
    file = kg_open(f, "a.txt");
    CHECK(file && !kg_open_beside(f, file, "out_link") && kg_error_last()->status == KG_USAGE);
    kg_error_clear();
    shard = kg_open_beside(f, file, "in_link");
    CHECK(shard != NULL);
    kg_file_unref(shard);
    kg_file_unref(file);
    kg_files_free(f);
}

/* The same rules where the kernel has no openat2: a filter answers ENOSYS. */
static void without_openat2(void)
{
    pid_t child = fork();
    if (!child) {
        struct sock_filter code[] = {
            BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
            BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat2, 0, 1),
            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        };
        struct sock_fprog program = {sizeof code / sizeof *code, code};
        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
            _exit(0);                                       /* no filters here: nothing to show */
        int before = test_failures_;
        plain_roots();
        models_roots();
        grants();
        fflush(NULL);
        _exit(test_failures_ != before);
    }
    int status = 1;
    CHECK(waitpid(child, &status, 0) == child && !status, "status %d", status);
}

static void may_write(void)
{
    kg_files *f = with_roots();
    CHECK(!kg_files_grant_out(f, at("outside/typed.mp4")));
    CHECK(!kg_files_may_write(f, at("outside/typed.mp4")));
    CHECK(!kg_files_may_write(f, "new.mp4"));
    CHECK(!kg_files_may_write(f, "./new.mp4"));
    put("old.mp4", "old");
    CHECK(!kg_files_may_write(f, "old.mp4"));               /* whether it must stay is asked when a run begins */
    static const char *const bad[] = {".hidden", "../new.mp4", "sub/new.mp4", "/tmp/kg_never.mp4", "", "..", "x/../new.mp4",
                                      "new.mp4/", "new.mp4/.", "."};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; ++i) {
        kg_error_clear();
        CHECK(kg_files_may_write(f, bad[i]) == KG_USAGE, "%s", bad[i]);
    }
    kg_error_clear();
    CHECK(!kg_files_grant_out(f, "old.mp4"));
    CHECK(!kg_files_may_write(f, "old.mp4"));
    CHECK(!kg_files_grant_out(f, "no/folder/x") && kg_files_may_write(f, "no/folder/x") == KG_USAGE);
    CHECK(strstr(kg_error_last()->message, "there is no folder 'no/folder'"));
    kg_error_clear();
    CHECK(!kg_files_grant_out(f, at("script/sub")) && kg_files_may_write(f, at("script/sub")) == KG_USAGE);
    CHECK(strstr(kg_error_last()->message, "is a folder"));
    kg_error_clear();
    kg_files_free(f);
}

static int entries(const char *folder)
{
    int n = 0;
    DIR *dir = opendir(folder);
    while (dir && readdir(dir))
        ++n;
    closedir(dir);
    return n;
}

static void outputs(void)
{
    kg_files *f = with_roots();
    kg_output o;
    int before = entries(".");
    CHECK(!kg_output_open(&o, f, "made.txt") && write(o.fd, "made", 4) == 4);
    CHECK(!kg_exists(f, "made.txt"));
    CHECK(!kg_output_commit(&o));
    kg_output_abort(&o);
    CHECK(holds(f, "made.txt", "made") && entries(".") == before + 1);
    CHECK(kg_files_may_replace(f, "made.txt") == KG_USAGE);
    kg_error_clear();
    CHECK(!kg_files_grant_out(f, "made.txt") && !chmod("made.txt", 0640));
    CHECK(!kg_output_open(&o, f, "made.txt") && write(o.fd, "lost", 4) == 4);
    kg_output_abort(&o);
    CHECK(holds(f, "made.txt", "made") && entries(".") == before + 1);
    CHECK(!kg_output_open(&o, f, "made.txt") && write(o.fd, "new", 3) == 3 && !kg_output_commit(&o));
    struct stat st;
    CHECK(holds(f, "made.txt", "new") && !stat("made.txt", &st) && (st.st_mode & 0777) == 0640);
    CHECK(!symlink("made.txt", "link.txt") && !kg_files_grant_out(f, "link.txt"));
    CHECK(!kg_output_open(&o, f, "link.txt") && write(o.fd, "via", 3) == 3 && !kg_output_commit(&o));
    CHECK(holds(f, "made.txt", "via") && !lstat("link.txt", &st) && S_ISLNK(st.st_mode));
    CHECK(!kg_files_grant_out(f, "/dev/null") && kg_output_open(&o, f, "/dev/null") == KG_USAGE);
    kg_error_clear();
    CHECK(!kg_files_grant_out(f, "no/folder/x") && kg_output_open(&o, f, "no/folder/x") == KG_FAILED);
    CHECK(strstr(kg_error_last()->hint, "folder") != NULL);
    kg_error_clear();
    kg_files_free(f);
}

/* A file that cannot grow: the writer sees the error, the old file stays, nothing is left behind. */
static void full_disk(void)
{
    pid_t child = fork();
    if (!child) {
        kg_files *f = with_roots();
        kg_files_grant_out(f, "made.txt");
        int before = entries("."), failed = test_failures_;
        signal(SIGXFSZ, SIG_IGN);
        setrlimit(RLIMIT_FSIZE, &(struct rlimit){1000, 1000});
        static char much[5000];
        kg_output o;
        CHECK(!kg_output_open(&o, f, "made.txt"));
        CHECK(write(o.fd, much, sizeof much) == 1000 && write(o.fd, much, sizeof much) < 0 && errno == EFBIG);
        kg_output_abort(&o);
        CHECK(entries(".") == before && holds(f, "made.txt", "via"));
        fflush(NULL);
        _exit(test_failures_ != failed);
    }
    int status = 1;
    CHECK(waitpid(child, &status, 0) == child && !status);
}

/* ---- files that are open ---- */

/* Shards that hundreds of nodes read are open once each, by whatever name they were found. */
static void one_descriptor_a_file(void)
{
    enum { MANY = 600 };
    static kg_file *one[MANY], *two[MANY];
    kg_files *f = with_roots();
    put("first.bin", "first");
    put("second.bin", "second");
    CHECK(!symlink("second.bin", "link.bin"));
    kg_file *held = kg_open(f, "first.bin");
    int before = entries("/proc/self/fd");
    for (int i = 0; i < MANY; ++i) {
        one[i] = kg_open(f, "first.bin");
        two[i] = kg_open(f, i % 2 ? "second.bin" : "link.bin");
    }
    CHECK(entries("/proc/self/fd") == before + 1, "%d descriptors for two files", entries("/proc/self/fd") - before + 1);
    char text[8] = "";
    CHECK(two[0] && strstr(two[0]->path, "link.bin") && !kg_file_read(two[0], 0, text, 6) && !strcmp(text, "second"));
    kg_files_free(f);                                       /* what is open outlives it */
    before = entries("/proc/self/fd");
    for (int i = 0; i < MANY; ++i) {
        kg_file_unref(one[i]);
        kg_file_unref(two[i]);
    }
    CHECK(entries("/proc/self/fd") == before - 1, "the last one of a file closes it");
    CHECK(held && !kg_file_read(held, 0, text, 5));
    kg_file_unref(held);
    unlink("link.bin");
}

static void truncated_figures(void)
{
    kg_files *f = with_roots();
    put("cut.bin", "0123456789");
    kg_file *file = kg_open(f, "cut.bin");
    char text[16];
    CHECK(kg_file_read(file, 4, text, 9) == KG_INPUT);
    CHECK(strstr(kg_error_last()->message, "it has 10 bytes, and those from 4 to 13 are asked for, 3 bytes short"), "%s",
          kg_error_last()->message);
    kg_error_clear();
    CHECK(!truncate("cut.bin", 5));
    CHECK(kg_file_read(file, 4, text, 6) == KG_INPUT);
    CHECK(strstr(kg_error_last()->message, "'cut.bin' was changed while it was in use: it had 10 bytes, and now it has 5"), "%s",
          kg_error_last()->message);
    kg_error_clear();
    kg_file_unref(file);
    kg_files_free(f);
}

/* Its size as before and its mtime put back, and only a change of what is said about it: each is seen by the next read. */
static void changed_in_place(void)
{
    kg_files *f = with_roots();
    put("live.bin", "before");
    kg_file *file = kg_open(f, "live.bin");
    char text[8] = "";
    CHECK(!kg_file_read(file, 0, text, 6) && !strcmp(text, "before"));
    put("live.bin", "behind");
    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT},
                                {.tv_sec = file->stamp.mtime_ns / 1000000000, .tv_nsec = file->stamp.mtime_ns % 1000000000}};
    CHECK(!utimensat(AT_FDCWD, "live.bin", times, 0));
    CHECK(kg_file_read(file, 0, text, 6) == KG_INPUT && strstr(kg_error_last()->message, "'live.bin' was changed while it was in use"));
    kg_error_clear();
    kg_file *again = kg_open(f, "live.bin");
    CHECK(again && again->stamp.mtime_ns == file->stamp.mtime_ns && !kg_file_read(again, 0, text, 6) && !strcmp(text, "behind"));
    CHECK(!kg_open_again(f, &(kg_stamp){.inode = 1}, "live.bin") && strstr(kg_error_last()->message, "has changed since"));
    kg_error_clear();
    kg_file_unref(again);
    CHECK((again = kg_open_again(f, &file->stamp, "live.bin")) && again->fd == file->fd, "what is open is found by its stamp");
    kg_file_unref(again);
    kg_file_unref(file);
    kg_files_free(f);
}

int main(void)
{
    kg_log_set(keep_log, NULL);
    make_tree();
    plain_roots();
    models_roots();
    grants();
    without_openat2();
    may_write();
    outputs();
    full_disk();
    one_descriptor_a_file();
    truncated_figures();
    changed_in_place();
    char command[128];
    snprintf(command, sizeof command, "rm -r '%s'", top);
    CHECK(!chdir("/") && !system(command));
    return TEST_END();
}
