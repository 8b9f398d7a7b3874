/* Reading an open file. Each read is followed by a look at the file's stamp: a run lasts for hours, and a file that is changed in
 * place meanwhile would give it some bytes of one content and some of another. */
#include "core/file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* What a read that met the file's end says: the range is the caller's, not what was left of it. */
static kg_status truncated(const kg_file *f, uint64_t offset, size_t bytes)
{
    struct stat st;
    uint64_t size = fstat(f->fd, &st) ? f->size : (uint64_t)st.st_size, end = offset + bytes;
    return kg_fail(KG_INPUT, "'%s' is truncated: it has %llu bytes, and those from %llu to %llu are asked for, %llu bytes short", f->path,
                   (unsigned long long)size, (unsigned long long)offset, (unsigned long long)end,
                   (unsigned long long)(end > size ? end - size : 0));
}

kg_status kg_file_read(const kg_file *f, uint64_t offset, void *dst, size_t bytes)
{
    if (offset > INT64_MAX || bytes > INT64_MAX - offset)
        return kg_fail(KG_INPUT, "'%s': a range beyond what a file can hold", f->path);
    for (size_t at = 0; at < bytes;) {
        size_t part = bytes - at < (1u << 30) ? bytes - at : 1u << 30;
        ssize_t n = pread(f->fd, (char *)dst + at, part, (off_t)(offset + at));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return kg_fail(KG_INPUT, "cannot read '%s': %s", f->path, strerror(errno));
        if (!n)
            return kg_file_same(f) ? kg_error_last()->status : truncated(f, offset, bytes);
        at += (size_t)n;
    }
    return kg_file_same(f);
}

char *kg_file_text(const kg_file *f, size_t max, size_t *bytes)
{
    if (f->size > max) {
        kg_fail(KG_INPUT, "'%s' has %llu bytes; at most %zu are taken", f->path,
                (unsigned long long)f->size, max);
        return NULL;
    }
    size_t n = (size_t)f->size;
    char *text = malloc(n + 1);
    if (!text)
        kg_fail(KG_FAILED, "out of memory for the %zu bytes of '%s'", n, f->path);
    else if (kg_file_read(f, 0, text, n)) {
        free(text);
        text = NULL;
    } else {
        text[n] = 0;
        if (bytes)
            *bytes = n;
    }
    return text;
}
