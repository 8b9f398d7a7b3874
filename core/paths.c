/* Paths as text. No file is touched here; the kernel is asked for names only. */
#include "core/paths.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int kg_path_plain(const char *path, char out[PATH_MAX])
{
    if (!path || !*path || strlen(path) >= PATH_MAX)
        return 0;
    size_t n = 0;
    if (*path != '/') {
        if (!getcwd(out, PATH_MAX))
            return 0;
        n = strlen(out);
        n -= n == 1;
    }
    for (const char *p = path; *p;) {
        size_t part = strcspn(p, "/");
        if (part && !(part == 1 && *p == '.')) {
            if (n + part + 2 > PATH_MAX)
                return 0;
            out[n++] = '/';
            memcpy(out + n, p, part);
            n += part;
        }
        p += part + (p[part] == '/');
    }
    if (!n)
        out[n++] = '/';
    out[n] = 0;
    return 1;
}

int kg_path_of(int fd, char out[PATH_MAX])
{
    char link[32];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, out, PATH_MAX - 1);
    if (n < 0)
        return 0;
    out[n] = 0;
    return 1;
}

int kg_path_has_dotdot(const char *path)
{
    for (const char *p = path; *p;) {
        size_t part = strcspn(p, "/");
        if (part == 2 && p[0] == '.' && p[1] == '.')
            return 1;
        p += part + (p[part] == '/');
    }
    return 0;
}

const char *kg_path_beneath(const char *folder, const char *path)
{
    size_t n = strlen(folder);
    if (n == 1)
        return path[1] ? path + 1 : NULL;
    return !strncmp(path, folder, n) && path[n] == '/' && path[n + 1] ? path + n + 1 : NULL;
}

int kg_path_is_name(const char *name)
{
    if (!*name || !strcmp(name, ".") || !strcmp(name, "..") || strlen(name) > NAME_MAX)
        return 0;
    for (const unsigned char *p = (const unsigned char *)name; *p; ++p)
        if (*p == '/' || *p == '\\' || *p < 32 || *p == 127)
            return 0;
    return 1;
}

size_t kg_utf8_at(const unsigned char *s, size_t left)
{
    static const uint32_t least[5] = {0, 1, 0x80, 0x800, 0x10000};
    size_t n = s[0] < 0x80 ? 1 : s[0] < 0xc0 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : s[0] < 0xf8 ? 4 : 0;
    if (!n || n > left)
        return 0;
    uint32_t c = n == 1 ? s[0] : s[0] & (0xffu >> (n + 1));
    for (size_t i = 1; i < n; ++i) {
        if ((s[i] & 0xc0) != 0x80)
            return 0;
        c = c << 6 | (s[i] & 0x3f);
    }
    return c >= least[n] && c <= 0x10ffff && (c < 0xd800 || c > 0xdfff) ? n : 0;
}

void kg_path_folder(const char *path, char out[PATH_MAX])
{
    const char *slash = strrchr(path, '/');
    snprintf(out, PATH_MAX, "%.*s", slash && slash > path ? (int)(slash - path) : 1, slash ? path : ".");
}

int kg_path_listed(const kg_path_list *list, const char *plain)
{
    for (int i = 0; i < list->n; ++i)
        if (!strcmp(list->items[i], plain))
            return 1;
    return 0;
}
