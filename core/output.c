/* Writing: how a file becomes visible only when it is whole.
 *
 * Invariant: under the final name there is the old file or the complete new one, at any instant; and what was not typed replaces
 * nothing that was not there when the run began. */
#include "core/paths.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

/* A typed file keeps its mode, and a link that was typed stays a link: what it leads to is written. */
static kg_status settle(kg_output *o, const char *path, int rule)
{
    struct stat st;
    char target[PATH_MAX];
    int n = snprintf(o->path, sizeof o->path, "%s", path), link = rule == KG_OUT_TYPED && !lstat(path, &st) && S_ISLNK(st.st_mode);
    if (link && kg_output_target(path, target))
        n = snprintf(o->path, sizeof o->path, "%s", target);
    if (n >= (int)sizeof o->path)
        return kg_fail(KG_USAGE, "the path of the output is too long: '%.64s...'", path);
    o->replaces = rule;
    int there = !stat(o->path, &st);
    if (there && !S_ISREG(st.st_mode))
        return kg_fail(KG_USAGE, "'%s' is %s; an output is a file", path, S_ISDIR(st.st_mode) ? "a folder" : "no regular file");
    o->mode = there && rule > KG_OUT_NEW ? st.st_mode & 07777 : 0;
    return KG_OK;
}

/* Folders below a typed one are made as they are missing. */
static void make_folders(kg_output *o)
{
    for (char *p = strchr(o->path + 1, '/'); p; p = strchr(p + 1, '/')) {
        *p = 0;
        mkdir(o->path, 0777);          /* if it fails, opening says why */
        *p = '/';
    }
}

static int temp_name(kg_output *o)
{
    uint64_t random = 0;
    if (getrandom(&random, sizeof random, 0) != sizeof random)
        return 0;
    const char *slash = strrchr(o->path, '/');
    int folder = slash ? (int)(slash - o->path) + 1 : 0;
    return snprintf(o->temp, sizeof o->temp, "%.*s.kino-%016llx.tmp", folder, o->path,
                    (unsigned long long)random) < (int)sizeof o->temp;
}

kg_status kg_output_failed(const kg_output *o, int why)
{
    kg_status status = kg_fail(KG_FAILED, "cannot write '%s': %s", o->path, strerror(why));
    if (why == ENOSPC || why == EDQUOT || why == EFBIG)
        kg_hint("the disk, the quota or the limit on file sizes is used up; what was there before "
                "is untouched");
    else if (why == ENOENT)
        kg_hint("the folder does not exist");
    return status;
}

/* Locks a new temporary file. 0: another process has taken it for one that nobody writes, and removes it. Where files cannot be
 * locked nobody can take it. */
static int lock(int fd)
{
    struct stat st;
    if (flock(fd, LOCK_EX | LOCK_NB) && errno == EWOULDBLOCK)
        return 0;
    return fstat(fd, &st) || st.st_nlink > 0;
}

kg_status kg_output_open(kg_output *o, kg_files *f, const char *path)
{
    int rule;
    *o = (kg_output){.fd = -1, .files = f};
    kg_status status = kg_output_permitted(f, path, &rule);
    if (!status)
        status = settle(o, path, rule);
    if (status)
        return status;
    if (rule == KG_OUT_NEW)
        make_folders(o);
    int why = ENAMETOOLONG;
    for (int tries = 0; tries < 4 && o->fd < 0 && temp_name(o); ++tries) {
        o->fd = open(o->temp, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0666);
        why = errno;
        if (o->fd < 0 && why != EEXIST)
            break;
        if (o->fd >= 0 && !lock(o->fd)) {
            close(o->fd);
            o->fd = -1;
        }
    }
    if (o->fd < 0) {
        o->temp[0] = 0;
        return kg_output_failed(o, why);
    }
    if (o->mode)
        fchmod(o->fd, o->mode | 0600);         /* no more readers than the old file has, and ourselves */
    return KG_OK;
}

/* Makes the rename itself durable; a file system that cannot is no reason to fail. */
static void sync_folder(const char *path)
{
    char folder[PATH_MAX];
    kg_path_folder(path, folder);
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return;
    fsync(fd);
    close(fd);
}

kg_status kg_output_write(kg_output *o, const void *p, size_t bytes)
{
    for (const char *from = p; bytes;) {
        ssize_t n = write(o->fd, from, bytes);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return kg_output_failed(o, errno);
        from += n;
        bytes -= (size_t)n;
    }
    return KG_OK;
}

/* Gives the file its name unless something has it. 0, or an errno. */
static int rename_new(const kg_output *o)
{
    struct stat st;
    if (!renameat2(AT_FDCWD, o->temp, AT_FDCWD, o->path, RENAME_NOREPLACE))
        return 0;
    if (errno != EINVAL && errno != ENOSYS && errno != EPERM)
        return errno;
    if (!link(o->temp, o->path)) {             /* a kernel or a file system without this rename */
        unlink(o->temp);
        return 0;
    }
    if (errno == EEXIST || !lstat(o->path, &st))
        return EEXIST;
    return rename(o->temp, o->path) ? errno : 0;       /* one that has no hard links either */
}

static int put_in_place(const kg_output *o)
{
    if (o->replaces == KG_OUT_TYPED || (o->replaces == KG_OUT_AFTER && kg_output_standing(o->files, o->path)))
        return rename(o->temp, o->path) ? errno : 0;
    return rename_new(o);
}

static kg_status made_meanwhile(const kg_output *o)
{
    kg_fail(KG_FAILED, "'%s' was made or changed while this run worked: it stays as it is", o->path);
    kg_hint("what was computed is in the cache: remove that file or write to another name, and run again");
    return KG_FAILED;
}

/* The lock is held until the file has its name: an unlocked temporary file is anybody's. */
kg_status kg_output_commit(kg_output *o)
{
    int why = fsync(o->fd) ? errno : 0;
    if (!why && o->mode && fchmod(o->fd, o->mode))
        kg_warn("'%s' will not keep its mode: %s", o->path, strerror(errno));
    if (!why)
        why = put_in_place(o);
    if (why) {
        kg_output_abort(o);
        return why == EEXIST ? made_meanwhile(o) : kg_output_failed(o, why);
    }
    o->temp[0] = 0;
    close(o->fd);
    o->fd = -1;
    sync_folder(o->path);
    return KG_OK;
}

void kg_output_abort(kg_output *o)
{
    if (o->fd >= 0 && o->temp[0])
        close(o->fd);
    o->fd = -1;
    if (o->temp[0])
        unlink(o->temp);
    o->temp[0] = 0;
}

/* ---- what killed runs left ---- */

static int is_temp(const char *name)
{
    static const char start[] = ".kino-", end[] = ".tmp";
    if (strlen(name) != sizeof start - 1 + 16 + sizeof end - 1 || strncmp(name, start, sizeof start - 1) || strcmp(name + 22, end))
        return 0;
    for (int i = 6; i < 22; ++i)
        if (!isxdigit((unsigned char)name[i]))
            return 0;
    return 1;
}

/* A writer holds a lock for as long as it lives, whatever its process is called here. */
static void sweep_one(int folder, const char *name)
{
    struct stat st, now;
    int fd = openat(folder, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return;
    if (!fstat(fd, &st) && S_ISREG(st.st_mode) && st.st_uid == geteuid() && !flock(fd, LOCK_EX | LOCK_NB) &&
        !fstatat(folder, name, &now, AT_SYMLINK_NOFOLLOW) && now.st_ino == st.st_ino && now.st_dev == st.st_dev)
        unlinkat(folder, name, 0);
    close(fd);
}

/* Not on file systems of other machines, where the lock of another host's writer may not be seen. */
void kg_output_sweep(const char *folder)
{
    struct statfs fs;
    const char *remote;
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 || fstatfs(fd, &fs) || kg_file_system_remote((long)fs.f_type, NULL, &remote) ? NULL : fdopendir(fd);
    for (struct dirent *e; dir && (e = readdir(dir));)
        if (is_temp(e->d_name))
            sweep_one(fd, e->d_name);
    if (dir)
        closedir(dir);
    else if (fd >= 0)
        close(fd);
}
