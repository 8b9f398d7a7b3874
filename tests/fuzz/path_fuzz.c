/* Paths from any bytes, as a hostile script would send them: what opens lies below the root, and a folder full of links that lead
 * out changes nothing. What may be written is a new name in the current folder, what was typed, a name after it, or a new one below
 * a typed folder, and nothing else. */
#include "core/paths.h"
#include "tests/fuzz/fuzz.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const seeds[] = {"in.txt", "sub/in.txt", "../out.txt", "sub/../in.txt", "out_link", "out_folder/out.txt",
                                    "up/out.txt", "./sub//in.txt", "/etc/passwd", "/proc/self/environ", "sub/../../out.txt", "new.txt",
                                    "sub/clip.mp4", "sub/clip-7.mp4", "sub/clips.png", "made/a/b.mp4", "made/up/out.txt", "sub/clip/../x"};
static char top[64];
static kg_files *files;

static void made(int failed)
{
    if (failed)
        abort();
}

static void put(const char *path)
{
    FILE *f = fopen(path, "w");
    made(!f || fclose(f));
}

static void remove_tree(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -r '%s'", top);
    made(chdir("/") || system(command));
    kg_files_free(files);
}

static void set_up(void)
{
    snprintf(top, sizeof top, "/tmp/kg_path_fuzz.XXXXXX");
    made(!mkdtemp(top) || chdir(top) || mkdir("root", 0777) || chdir("root") || mkdir("sub", 0777));
    put("in.txt");
    put("sub/in.txt");
    put("../out.txt");
    made(symlink("../out.txt", "out_link") || symlink("..", "out_folder") || symlink("..", "sub/up") || symlink("/", "top") ||
         symlink("/proc/self/root", "magic"));
    files = kg_files_new();
    made(!files || kg_files_root(files, ".", KG_ROOT_PLAIN) || mkdir("made", 0777) || symlink("../..", "made/up") ||
         kg_files_grant_out(files, "sub/clip.mp4") || kg_files_grant_out(files, "made/"));
    atexit(remove_tree);
}

size_t kg_fuzz_seed(int index, uint8_t *out, size_t max)
{
    if (index >= (int)(sizeof seeds / sizeof *seeds) || strlen(seeds[index]) > max)
        return 0;
    memcpy(out, seeds[index], strlen(seeds[index]));
    return strlen(seeds[index]);
}

static void check_inside(const kg_file *f)
{
    char link[64], real[PATH_MAX], root[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", f->fd);
    ssize_t n = readlink(link, real, sizeof real - 1);
    made(n < 0 || snprintf(root, sizeof root, "%s/root/", top) < 0);
    real[n] = 0;
    made(strncmp(real, root, strlen(root)));
}

/* Where it goes by the kernel's account: nothing is there yet, and what it is called was allowed. */
static void check_new(const char *path)
{
    char real[PATH_MAX], root[PATH_MAX];
    struct stat st;
    made(!kg_output_target(path, real) || !lstat(path, &st) || snprintf(root, sizeof root, "%s/root/", top) < 0);
    made(strncmp(real, root, strlen(root)));
    const char *rest = real + strlen(root), *slash = strrchr(rest, '/');
    made((slash ? slash[1] : rest[0]) == '.');
    made(slash && strncmp(rest, "made/", 5) && (strncmp(rest, "sub/clip", 8) || slash != rest + 3));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!files)
        set_up();
    char *path = malloc(size + 1);
    memcpy(path, data, size);
    path[size] = 0;
    kg_error_clear();
    kg_file *f = kg_open(files, path);
    if (f)
        check_inside(f);
    else
        made(!kg_error_last()->message[0]);
    kg_error_clear();
    kg_file_unref(f);
    if (!kg_files_may_write(files, path) && !kg_files_may_replace(files, path))
        check_new(path);
    kg_error_clear();
    free(path);
    return 0;
}
