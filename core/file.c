/* Where files are found and opened. Everything that the engine reads on behalf of a script comes
 * through kg_open.
 *
 * Invariants: a plain root is never left, neither by ".." nor by a link (openat2 with
 * RESOLVE_BENEATH; without it, the opened object's own path is compared before anything is read);
 * what is opened is a regular file; roots and grants are set up before the first open and constant
 * afterwards, so that looking for a file needs no lock. */
#include "core/file.h"

#include "core/paths.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Where a search ended: an open descriptor, or the reason that says most. */
typedef struct found { int fd, why; char path[PATH_MAX]; } found;

static kg_status list_add(kg_path_list *list, const char *path, const char *what)
{
    char plain[PATH_MAX];
    if (!kg_path_plain(path, plain))
        return kg_fail(KG_INPUT, "%s '%s' is no usable path", what, path ? path : "");
    char **items = realloc(list->items, (size_t)(list->n + 1) * sizeof *items);
    char *copy = strdup(plain);
    if (items)
        list->items = items;
    if (!items || !copy) {
        free(copy);
        return kg_fail(KG_FAILED, "out of memory for a path");
    }
    list->items[list->n++] = copy;
    return KG_OK;
}

static void list_free(kg_path_list *list)
{
    for (int i = 0; i < list->n; ++i)
        free(list->items[i]);
    free(list->items);
}

/* ---- roots and grants ---- */

kg_files *kg_files_new(void)
{
    kg_files *f = calloc(1, sizeof *f);
    if (f && (f->table = kg_file_table_new()))
        return f;
    free(f);
    kg_fail(KG_FAILED, "out of memory for the table of roots");
    return NULL;
}

static void root_close(kg_root *r)
{
    close(r->fd);
    free(r->folder);
    free(r->plain);
    free(r->real);
}

void kg_files_free(kg_files *f)
{
    if (!f)
        return;
    for (int i = 0; i < f->n_roots; ++i)
        root_close(&f->roots[i]);
    list_free(&f->grants);
    list_free(&f->outs);
    list_free(&f->out_folders);
    free(f->standing);
    free(f->out_words);
    kg_file_table_unref(f->table);
    free(f->known);
    free(f);
}

kg_status kg_files_root(kg_files *f, const char *folder, int type)
{
    char plain[PATH_MAX], real[PATH_MAX];
    if (!kg_path_plain(folder, plain))
        return kg_fail(KG_INPUT, "'%s' is no usable folder", folder ? folder : "");
    if (f->n_roots == KG_ROOTS_MAX)
        return kg_fail(KG_USAGE, "more than %d folders to read from", KG_ROOTS_MAX);
    kg_root r = {.type = type, .fd = open(plain, O_PATH | O_DIRECTORY | O_CLOEXEC)};
    if (r.fd < 0)
        return kg_fail(KG_INPUT, "cannot open the folder '%s': %s", folder, strerror(errno));
    r.folder = strdup(folder);
    r.plain = strdup(plain);
    r.real = strdup(kg_path_of(r.fd, real) ? real : plain);
    if (!r.folder || !r.plain || !r.real) {
        root_close(&r);
        return kg_fail(KG_FAILED, "out of memory for a path");
    }
    f->roots[f->n_roots++] = r;
    return KG_OK;
}

kg_status kg_files_grant(kg_files *f, const char *path)
{
    return list_add(&f->grants, path, "the input");
}

kg_status kg_files_grant_out(kg_files *f, const char *path)
{
    size_t n = path ? strlen(path) : 0;
    return list_add(n && path[n - 1] == '/' ? &f->out_folders : &f->outs, path, "the output");
}

kg_status kg_files_out_words(kg_files *f, const char *words)
{
    free(f->out_words);
    f->out_words = words ? strdup(words) : NULL;
    return words && !f->out_words ? kg_fail(KG_FAILED, "out of host memory") : KG_OK;
}

/* ---- opening ---- */

/* NONBLOCK: a FIFO must not hang the run. */
enum { OPEN_FLAGS = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, SUBFOLDERS_MAX = 256 };

/* For kernels without openat2 (before 5.6, or a container's filter): opens the object without
 * reading it, asks where it is, and opens it for reading only when that is below the root. */
static int open_beneath_checked(int root_fd, const char *path)
{
    char link[32], root_at[PATH_MAX], at[PATH_MAX];
    if (*path == '/' || kg_path_has_dotdot(path))
        return errno = EXDEV, -1;
    int fd = openat(root_fd, path, O_PATH | O_CLOEXEC), result = -1, why = EXDEV;
    if (fd < 0)
        return -1;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    if (kg_path_of(root_fd, root_at) && kg_path_of(fd, at) && kg_path_beneath(root_at, at)) {
        result = open(link, OPEN_FLAGS);
        why = errno;
    }
    close(fd);
    errno = why;
    return result;
}

static int open_beneath(int root_fd, const char *path)
{
    struct open_how how = {.flags = OPEN_FLAGS, .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
    long fd = -1;
    for (int tries = 0; tries < 8; ++tries) { /* EAGAIN: a rename elsewhere disturbed the walk */
        fd = syscall(SYS_openat2, root_fd, path, &how, sizeof how);
        if (fd >= 0 || errno != EAGAIN)
            break;
    }
    if (fd < 0 && (errno == ENOSYS || errno == EPERM || errno == EAGAIN))
        return open_beneath_checked(root_fd, path);
    return (int)fd;
}

/* ENOENT is the least that can be said; any other reason is kept. */
static void note(found *out, const char *path)
{
    if (out->why == ENOENT || !out->why) {
        out->why = errno == ENOTDIR ? ENOENT : errno;
        snprintf(out->path, sizeof out->path, "%s", path);
    }
}

/* Takes fd (or errno, when it is -1) as the answer for path; folders do not count. */
static int take(found *out, int fd, const char *path)
{
    struct stat st;
    if (fd >= 0 && !fstat(fd, &st) && S_ISDIR(st.st_mode)) {
        close(fd);
        fd = -1;
        errno = EISDIR;
    }
    if (fd < 0) {
        note(out, path);
        return 0;
    }
    out->fd = fd;
    snprintf(out->path, sizeof out->path, "%s", path);
    return 1;
}

/* Opens root/path; links that lead out are followed below models folders only. */
static int try_root(const kg_root *r, const char *path, found *out)
{
    char full[PATH_MAX];
    int bare = !strcmp(r->folder, ".");
    int n = snprintf(full, sizeof full, "%s%s%s", bare ? "" : r->folder, bare ? "" : "/", path);
    if (n >= (int)sizeof full) {
        errno = ENAMETOOLONG;
        return take(out, -1, r->folder);
    }
    int fd = open_beneath(r->fd, path);
    if (fd < 0 && errno == EXDEV && r->type == KG_ROOT_MODELS && !kg_path_has_dotdot(path))
        fd = openat(r->fd, path, OPEN_FLAGS);
    return take(out, fd, full);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The direct sub-folders of a models folder, sorted, so that the choice does not hang on the file
 * system's order. */
static int subfolders(const kg_root *r, char *names[SUBFOLDERS_MAX])
{
    int n = 0, fd = openat(r->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir) {
        if (fd >= 0)
            close(fd);
        return 0;
    }
    for (struct dirent *e; n < SUBFOLDERS_MAX && (e = readdir(dir));) {
        struct stat st;
        if (e->d_name[0] == '.' ||
            (e->d_type != DT_DIR && e->d_type != DT_LNK && e->d_type != DT_UNKNOWN))
            continue;
        if (!fstatat(fd, e->d_name, &st, 0) && S_ISDIR(st.st_mode) &&
            (names[n] = strdup(e->d_name)))
            ++n;
    }
    closedir(dir);
    qsort(names, (size_t)n, sizeof *names, by_name);
    return n;
}

/* ComfyUI's layout: one level of folders by what a file is for. A name that two of them hold is
 * worth a warning. */
static int try_subfolders(const kg_root *r, const char *path, found *out)
{
    char *names[SUBFOLDERS_MAX], below[PATH_MAX];
    int n = subfolders(r, names), got = 0;
    for (int i = 0; i < n; ++i) {
        found other = {.fd = -1, .why = ENOENT};
        if (snprintf(below, sizeof below, "%s/%s", names[i], path) < (int)sizeof below &&
            try_root(r, below, got ? &other : out) && got++) {
            kg_warn("'%s' is in two folders: '%s' is taken, '%s' is not", path, out->path,
                   other.path);
            close(other.fd);
        }
        free(names[i]);
    }
    return got;
}

static int held_by_grant(const char *grant, const char *plain)
{
    const char *rest = kg_path_beneath(grant, plain);
    return !strcmp(grant, plain) || (rest && !kg_path_has_dotdot(rest));
}

/* A typed path, or one beneath a typed folder. The user named it: links may lead anywhere. */
static int try_grants(const kg_files *f, const char *path, const char *plain, found *out)
{
    for (int i = 0; i < f->grants.n; ++i)
        if (held_by_grant(f->grants.items[i], plain))
            return take(out, open(plain, OPEN_FLAGS), path);
    return 0;
}

/* What is left of an absolute path in plain form beneath a root, by either of the root's names. */
static const char *beneath_root(const kg_root *r, const char *plain)
{
    const char *rest = kg_path_beneath(r->plain, plain);
    if (!rest || kg_path_has_dotdot(rest))
        rest = kg_path_beneath(r->real, plain);
    return rest && !kg_path_has_dotdot(rest) ? rest : NULL;
}

static int try_roots(const kg_files *f, const char *path, const char *plain, found *out)
{
    for (int i = 0; i < f->n_roots; ++i) {
        const kg_root *r = &f->roots[i];
        const char *rest = *path == '/' ? beneath_root(r, plain) : path;
        if (!rest)
            continue;
        if (try_root(r, rest, out))
            return 1;
        if (*path != '/' && r->type == KG_ROOT_MODELS && !kg_path_has_dotdot(path) &&
            try_subfolders(r, path, out))
            return 1;
    }
    return 0;
}

/* An absolute path that nothing holds is refused without a look at the disk. */
static int held(const kg_files *f, const char *plain)
{
    for (int i = 0; i < f->n_roots; ++i)
        if (beneath_root(&f->roots[i], plain) || !strcmp(f->roots[i].plain, plain))
            return 1;
    for (int i = 0; i < f->grants.n; ++i)
        if (held_by_grant(f->grants.items[i], plain))
            return 1;
    return 0;
}

static int search(const kg_files *f, const char *path, found *out)
{
    char plain[PATH_MAX];
    *out = (found){.fd = -1, .why = ENAMETOOLONG};
    if (!kg_path_plain(path, plain))
        return 0;
    out->why = *path != '/' || held(f, plain) ? ENOENT : EXDEV;
    return try_grants(f, path, plain, out) || try_roots(f, path, plain, out);
}

static void hint_roots(const kg_files *f)
{
    kg_hint(f->n_roots ? "looked in" : "no folder to look in was given");
    for (int i = 0; i < f->n_roots; ++i)
        kg_hint("%s '%s'%s", i ? "," : "", f->roots[i].folder,
                f->roots[i].type == KG_ROOT_MODELS ? " and the folders in it" : "");
}

static kg_status not_found(const kg_files *f, const char *path, const found *out)
{
    kg_status status;
    if (out->why == ENOENT) {
        status = kg_fail(KG_INPUT, "cannot find '%s'", path);
        hint_roots(f);
    } else if (out->why == EXDEV || out->why == ELOOP) {
        status = kg_fail(KG_USAGE, "'%s' leads out of the folders that may be read", path);
        kg_hint("--allow DIR or --models DIR opens a folder, and a path typed on the command line "
                "is always allowed");
    } else
        status = kg_fail(KG_INPUT, "cannot open '%s': %s", out->path[0] ? out->path : path,
                         strerror(out->why));
    return status;
}

kg_file *kg_open(kg_files *f, const char *path)
{
    found out;
    if (!path || !*path) {
        kg_fail(KG_INPUT, "an empty path");
        return NULL;
    }
    if (!search(f, path, &out)) {
        not_found(f, path, &out);
        return NULL;
    }
    return kg_file_take(f->table, out.fd, out.path);
}

kg_file *kg_open_again(kg_files *f, const kg_stamp *stamp, const char *path)
{
    char plain[PATH_MAX];
    kg_file *file = kg_file_find(f->table, stamp, path);
    if (file || kg_error_last()->status || !kg_path_plain(path, plain))
        return file;
    file = kg_open(f, plain);
    if (!file || kg_stamp_equal(&file->stamp, stamp))
        return file;
    kg_fail(KG_INPUT, "'%s' has changed since the graph was made", path);
    kg_file_unref(file);
    return NULL;
}

int kg_exists(kg_files *f, const char *path)
{
    found out;
    struct stat st;
    if (!path || !*path || !search(f, path, &out))
        return 0;
    int regular = !fstat(out.fd, &st) && S_ISREG(st.st_mode);
    close(out.fd);
    return regular;
}

/* Beside a file found in a root, that root's rules hold; beside a typed one the user has allowed
 * what its index names. Beside means beside the name that was opened, not beside what a link of
 * that name leads to: the shards of a Hugging Face snapshot are links next to the index. */
kg_file *kg_open_beside(kg_files *f, const kg_file *file, const char *name)
{
    char self[PATH_MAX], path[PATH_MAX];
    if (!name || !kg_path_is_name(name)) {
        kg_fail(KG_INPUT, "'%s' names '%s', which is not a plain file name", file->path,
                name ? name : "");
        return NULL;
    }
    const char *slash = strrchr(file->path, '/');
    int folder = slash ? (int)(slash - file->path) + 1 : 0;
    found out = {.fd = -1, .why = ENOENT};
    int fits = snprintf(path, sizeof path, "%.*s%s", folder, file->path, name) < (int)sizeof path;
    if (fits && kg_path_plain(file->path, self)) {
        if (kg_path_listed(&f->grants, self)) {
            out.fd = open(path, OPEN_FLAGS);
            out.why = errno;
        } else {
            char plain[PATH_MAX];
            if (kg_path_plain(path, plain))
                search(f, plain, &out);
        }
    }
    if (out.fd >= 0)
        return kg_file_take(f->table, out.fd, path);
    if (out.why == EXDEV || out.why == ELOOP)
        not_found(f, path, &out);
    else
        kg_fail(KG_INPUT, "'%s' names '%s', which cannot be opened beside it: %s", file->path, name,
                strerror(out.why));
    return NULL;
}
