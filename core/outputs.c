/* Who may write where. A path that was typed is the user's word; a script's own names are new files in a few places, so that a graph
 * from a stranger can spoil nothing that is there.
 *
 * Two questions at two times. When a node is added: may this path be written, and would its place take a file? When a run begins:
 * is something there that must stay? Between the two the cache may have said that the file is there, finished. */
#include "core/paths.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- names ---- */

/* A name that a script may choose: not hidden, without control characters. */
static int choosable(const char *name) { return name[0] != '.' && kg_path_is_name(name); }

/* Replaces the folder part of an absolute path by where it really lies, as far as it is there. */
static int settle(char path[PATH_MAX])
{
    char real[PATH_MAX], all[2 * PATH_MAX];
    for (size_t at = strlen(path); at > 0;) {
        while (path[--at] != '/')
            ;
        path[at] = 0;
        int there = realpath(at ? path : "/", real) != NULL;
        path[at] = '/';
        if (!there)
            continue;
        int n = snprintf(all, sizeof all, "%s%s", real[1] ? real : "", path + at);
        if (n >= PATH_MAX)
            return 0;
        memcpy(path, all, (size_t)n + 1);
        return 1;
    }
    return 1;
}

int kg_output_target(const char *path, char out[PATH_MAX])
{
    char link[PATH_MAX];
    struct stat st;
    if (!kg_path_plain(path, out))
        return 0;
    for (int hops = 0; !lstat(out, &st) && S_ISLNK(st.st_mode); ++hops) {
        ssize_t n = readlink(out, link, sizeof link - 1);
        char *name = *link == '/' ? out : strrchr(out, '/') + 1;
        if (n <= 0 || hops == 40 || name - out + n >= PATH_MAX)
            return 0;
        memcpy(name, link, (size_t)n);
        name[n] = 0;
    }
    return settle(out);
}

/* ---- whose word ---- */

/* Does `plain` lie in the folder of a typed path and begin with its stem? */
static int named_after(const char *typed, const char *plain)
{
    const char *name = strrchr(typed, '/') + 1, *dot = strrchr(name, '.');
    if (dot == name)
        return KG_OUT_NONE;
    size_t stem = dot ? (size_t)(dot - typed) : strlen(typed);
    const char *rest = plain + stem, *end = strrchr(plain, '.');
    if (strncmp(typed, plain, stem) || strchr(rest, '/') || !choosable(strrchr(plain, '/') + 1))
        return KG_OUT_NONE;
    int apart = strchr("-_. ", *rest) != NULL, alike = end && end >= rest && ((dot && !strcmp(end, dot)) || !strcmp(end, ".png"));
    return apart && alike ? KG_OUT_AFTER : KG_OUT_NEW;
}

/* Does `plain` lie below a typed folder, really, with folders between of which none is hidden? */
static int below(const char *folder, const char *plain)
{
    char top[PATH_MAX], real[PATH_MAX], name[PATH_MAX];
    const char *rest = kg_path_beneath(folder, plain);
    for (const char *p = rest; p && *p; p += strcspn(p, "/"), p += *p == '/') {
        snprintf(name, sizeof name, "%.*s", (int)strcspn(p, "/"), p);
        if (!choosable(name))
            return 0;
    }
    if (!rest || snprintf(top, sizeof top, "%s/-", folder) >= PATH_MAX || snprintf(real, sizeof real, "%s", plain) >= PATH_MAX ||
        !settle(top) || !settle(real))
        return 0;
    top[strlen(top) - 2] = 0;
    return kg_path_beneath(top[0] ? top : "/", real) != NULL;
}

/* A new file in the current folder. */
static int here(const char *path, const char *plain)
{
    char folder[PATH_MAX];
    const char *name = kg_path_plain(".", folder) ? kg_path_beneath(folder, plain) : NULL;
    return name && !kg_path_has_dotdot(path) && choosable(name);
}

static int rule_of(const kg_files *f, const char *path, const char *plain)
{
    int best = here(path, plain) ? KG_OUT_NEW : KG_OUT_NONE;
    if (kg_path_listed(&f->outs, plain))
        return KG_OUT_TYPED;
    for (int i = 0; i < f->outs.n; ++i) {
        int rule = named_after(f->outs.items[i], plain);
        best = rule > best ? rule : best;
    }
    for (int i = 0; i < f->out_folders.n && !best; ++i)
        best = below(f->out_folders.items[i], plain) ? KG_OUT_NEW : KG_OUT_NONE;
    return best;
}

/* ---- refusals ---- */

static void hint_rule(const kg_files *f)
{
    kg_hint("a script makes new files in the current folder");
    if (f->out_words)
        kg_hint(", and what is typed on the command line (%s): that file, new ones beside it that begin with its stem, or new ones below "
                "a folder that is typed with a / behind it", f->out_words);
    else
        kg_hint("; a template that declares out = kino.out{} writes where --out FILE says");
}

static kg_status not_allowed(const kg_files *f, const char *path)
{
    kg_status status = kg_fail(KG_USAGE, "a script may not write '%s'", path);
    hint_rule(f);
    return status;
}

static kg_status named(const char *path)
{
    char plain[PATH_MAX];
    if (!path || !kg_path_plain(path, plain))
        return kg_fail(KG_USAGE, "'%s' is no usable path for an output", path ? path : "");
    const unsigned char *s = (const unsigned char *)path;
    for (size_t at = 0, left = strlen(path), n; left; at += n, left -= n)
        if (!(n = kg_utf8_at(s + at, left)))
            return kg_fail(KG_USAGE, "the name of an output is not UTF-8 at byte %zu", at);
    const char *slash = strrchr(path, '/');
    if (!kg_path_is_name(slash ? slash + 1 : path)) {
        kg_status status = kg_fail(KG_USAGE, "'%s' names no file to write", path);
        if (slash && !slash[1])
            kg_hint("a folder is for scripts that name files below it");
        return status;
    }
    return KG_OK;
}

kg_status kg_output_permitted(const kg_files *f, const char *path, int *rule)
{
    char plain[PATH_MAX];
    kg_status status = named(path);
    *rule = status || !kg_path_plain(path, plain) ? KG_OUT_NONE : rule_of(f, path, plain);
    return status || *rule ? status : not_allowed(f, path);
}

/* ---- places ---- */

/* What cannot be written is found before hours of work, not after. A folder below a typed one may be missing yet. */
static kg_status place_there(const kg_files *f, const char *path, int rule)
{
    char plain[PATH_MAX], target[PATH_MAX], folder[PATH_MAX];
    struct stat st;
    kg_path_plain(path, plain);
    int link = rule == KG_OUT_TYPED && !lstat(path, &st) && S_ISLNK(st.st_mode);
    if (link && !kg_output_target(path, target))
        return kg_fail(KG_USAGE, "cannot write '%s': the link leads nowhere", path);
    int makes = rule == KG_OUT_NEW;
    for (int i = 0; i < f->out_folders.n && makes == 1; ++i)
        makes += below(f->out_folders.items[i], plain);
    kg_path_folder(makes > 1 ? plain : link ? target : path, folder);
    while (makes > 1 && stat(folder, &st) && errno == ENOENT)
        kg_path_folder(memcpy(target, folder, sizeof folder), folder);
    if (stat(folder, &st) || !S_ISDIR(st.st_mode))
        return kg_fail(KG_USAGE, "cannot write '%s': %s%s%sthere is no folder '%s'", path, link ? "it is a link to '" : "",
                       link ? target : "", link ? "', and " : "", folder);
    if (access(folder, W_OK | X_OK))
        return kg_fail(KG_USAGE, "cannot write '%s': %s", path, strerror(errno));
    if (!stat(path, &st) && !S_ISREG(st.st_mode)) {
        kg_fail(KG_USAGE, "'%s' is %s; an output is a file", path, S_ISDIR(st.st_mode) ? "a folder" : "no regular file");
        if (S_ISDIR(st.st_mode) && rule == KG_OUT_TYPED)
            kg_hint("'%s/' is for scripts that name files below it", path);
        return KG_USAGE;
    }
    return KG_OK;
}

kg_status kg_files_may_write(kg_files *f, const char *path)
{
    int rule;
    kg_status status = kg_output_permitted(f, path, &rule);
    return status ? status : place_there(f, path, rule);
}

/* ---- what is there already ---- */

static kg_standing standing(const struct stat *st)
{
    return (kg_standing){.device = st->st_dev, .inode = st->st_ino,
                         .ctime_ns = (int64_t)st->st_ctim.tv_sec * 1000000000 + st->st_ctim.tv_nsec};
}

int kg_output_standing(const kg_files *f, const char *path)
{
    struct stat st;
    if (lstat(path, &st))
        return 0;
    kg_standing now = standing(&st);
    for (int i = 0; i < f->n_standing; ++i)
        if (f->standing[i].device == now.device && f->standing[i].inode == now.inode && f->standing[i].ctime_ns == now.ctime_ns)
            return 1;
    return 0;
}

static kg_status note_standing(kg_files *f, const struct stat *st)
{
    kg_standing *all = realloc(f->standing, (size_t)(f->n_standing + 1) * sizeof *all);
    if (!all)
        return kg_fail(KG_FAILED, "out of host memory");
    f->standing = all;
    all[f->n_standing++] = standing(st);
    return KG_OK;
}

static kg_status stays(const kg_files *f, const char *path)
{
    kg_fail(KG_USAGE, "a script may not write '%s': it is there already", path);
    if (f->out_words)
        kg_hint("what is typed is replaced (%s), what a script names is new: remove the file, or type another name", f->out_words);
    else
        kg_hint("what a script names is new: remove the file, or have the script name another; a template that declares out = kino.out{} "
                "replaces what --out FILE says");
    return KG_USAGE;
}

/* May the file be replaced by a rename? Not when it is marked as read-only, and not another user's in a sticky folder such as /tmp. */
static kg_status replaceable(const char *path, const struct stat *st, const char *folder)
{
    struct stat in;
    if (!(st->st_mode & 0222) || access(path, W_OK)) {
        kg_fail(KG_USAGE, "cannot replace '%s': it is read-only (mode %04o)", path, (unsigned)(st->st_mode & 07777));
        kg_hint("chmod u+w '%s' allows it, or write to another name", path);
        return KG_USAGE;
    }
    if (geteuid() && st->st_uid != geteuid() && !stat(folder, &in) && in.st_mode & S_ISVTX && in.st_uid != geteuid())
        return kg_fail(KG_USAGE, "cannot replace '%s': it is another user's, in a folder where each may replace only his own", path);
    return KG_OK;
}

kg_status kg_files_may_replace(kg_files *f, const char *path)
{
    char plain[PATH_MAX], folder[PATH_MAX];
    struct stat st;
    int rule;
    kg_status status = kg_output_permitted(f, path, &rule);
    if (status)
        return status;
    if (rule == KG_OUT_TYPED ? !kg_output_target(path, plain) : !kg_path_plain(path, plain))
        return kg_fail(KG_USAGE, "cannot write '%s': the link leads nowhere", path);
    kg_path_folder(plain, folder);
    kg_output_sweep(folder);
    if (lstat(plain, &st))
        return KG_OK;
    if (rule == KG_OUT_NEW || !S_ISREG(st.st_mode))
        return stays(f, path);
    status = replaceable(path, &st, folder);
    return status || rule == KG_OUT_TYPED ? status : note_standing(f, &st);
}
