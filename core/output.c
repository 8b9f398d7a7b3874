/* Writing: who may, and how a file becomes visible only when it is whole.
 *
 * Invariant: under the final name there is the old file or the complete new one, at any instant. */
#include "core/paths.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

/* A script's own choice is a new file in the current folder, by a name that is not hidden. 1: it is one, if it is new. */
static int named_here(const char *path, const char *plain)
{
    char here[PATH_MAX];
    if (!kg_path_plain(".", here))
        return 0;
    const char *name = kg_path_beneath(here, plain);
    return name && !kg_path_has_dotdot(path) && !strchr(name, '/') && name[0] != '.' &&
           kg_path_is_name(name);
}

static kg_status permitted(kg_files *f, const char *path)
{
    char plain[PATH_MAX];
    if (!path || !kg_path_plain(path, plain))
        return kg_fail(KG_USAGE, "'%s' is no usable path for an output", path ? path : "");
    const char *slash = strrchr(path, '/');
    if (!kg_path_is_name(slash ? slash + 1 : path))
        return kg_fail(KG_USAGE, "'%s' names no file to write", path);
    struct stat st;
    const int here = named_here(path, plain);
    if (kg_path_listed(&f->outs, plain) || (here && lstat(plain, &st) && errno == ENOENT))
        return KG_OK;
    if (here && !lstat(plain, &st)) {
        kg_status status = kg_fail(KG_USAGE, "a script may not write '%s': it is there already", path);
        kg_hint("type the path on the command line to have it replaced (--out %s)", path);
        return status;
    }
    kg_status status = kg_fail(KG_USAGE, "a script may not write '%s'", path);
    kg_hint("type the path on the command line (--out FILE); a script itself may only make new "
            "files in the current folder");
    return status;
}

/* Asked when the graph is made: what cannot be written is found before hours of work, not after. */
static kg_status place_there(const char *path)
{
    char folder[PATH_MAX];
    struct stat st;
    const char *slash = strrchr(path, '/');
    snprintf(folder, sizeof folder, "%.*s", slash && slash > path ? (int)(slash - path) : 1, slash ? path : ".");
    if (stat(folder, &st) || !S_ISDIR(st.st_mode))
        return kg_fail(KG_USAGE, "cannot write '%s': there is no folder '%s'", path, folder);
    if (access(folder, W_OK | X_OK))
        return kg_fail(KG_USAGE, "cannot write '%s': %s", path, strerror(errno));
    if (!stat(path, &st) && S_ISDIR(st.st_mode))
        return kg_fail(KG_USAGE, "'%s' is a folder; an output is a file", path);
    return KG_OK;
}

kg_status kg_files_may_write(kg_files *f, const char *path)
{
    kg_status status = permitted(f, path);
    return status ? status : place_there(path);
}

/* ---- outputs ---- */

/* An existing file keeps its mode, and a link to one stays a link: what it leads to is replaced. */
static kg_status resolve_target(kg_output *o, const char *path, mode_t *mode)
{
    struct stat st;
    char real[PATH_MAX];
    *mode = 0;
    const char *target = path;
    if (!stat(path, &st)) {
        if (!S_ISREG(st.st_mode)) {
            kg_status status = kg_fail(KG_USAGE, "'%s' is %s; an output is a file", path,
                                       S_ISDIR(st.st_mode) ? "a folder" : "no regular file");
            kg_hint("name a file");
            return status;
        }
        *mode = st.st_mode & 07777;
        if (realpath(path, real))
            target = real;
    }
    if (snprintf(o->path, sizeof o->path, "%s", target) >= (int)sizeof o->path)
        return kg_fail(KG_USAGE, "the path of the output is too long: '%.64s...'", path);
    return KG_OK;
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

kg_status kg_output_open(kg_output *o, kg_files *f, const char *path)
{
    mode_t mode;
    *o = (kg_output){.fd = -1};
    kg_status status = permitted(f, path);
    if (!status)
        status = resolve_target(o, path, &mode);
    if (status)
        return status;
    int why = ENAMETOOLONG;
    for (int tries = 0; tries < 4 && o->fd < 0 && temp_name(o); ++tries) {
        o->fd = open(o->temp, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0666);
        why = errno;
        if (o->fd < 0 && why != EEXIST)
            break;
    }
    if (o->fd < 0) {
        o->temp[0] = 0;
        return kg_output_failed(o, why);
    }
    if (mode && fchmod(o->fd, mode))
        kg_warn("'%s' will not keep its mode: %s", o->path, strerror(errno));
    return KG_OK;
}

/* Makes the rename itself durable; a file system that cannot is no reason to fail. */
static void sync_folder(const char *path)
{
    char folder[PATH_MAX];
    const char *slash = strrchr(path, '/');
    snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - path) + 1 : 1,
             slash ? path : ".");
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

kg_status kg_output_commit(kg_output *o)
{
    int why = 0;
    if (fsync(o->fd))
        why = errno;
    if (close(o->fd) && !why)
        why = errno;
    o->fd = -1;
    if (!why && rename(o->temp, o->path))
        why = errno;
    if (why) {
        kg_output_abort(o);
        return kg_output_failed(o, why);
    }
    o->temp[0] = 0;
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
