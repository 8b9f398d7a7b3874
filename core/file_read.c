/* Reading an open file, and what identifies its content.
 *
 * Invariant: an identity is remembered only for a file that was left alone for a second before it
 * was hashed and did not change meanwhile: a file system's clock ticks in milliseconds, and two
 * writes within one tick look like one. */
#include "core/key.h"
#include "core/paths.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

kg_file *kg_file_ref(const kg_file *f)
{
    kg_file *file = (kg_file *)(uintptr_t)
        f; /* the count is the one thing that changes in a file that others only read */
    __atomic_add_fetch(&file->refs, 1, __ATOMIC_RELAXED);
    return file;
}

void kg_file_unref(kg_file *f)
{
    if (!f || __atomic_sub_fetch(&f->refs, 1, __ATOMIC_ACQ_REL))
        return;
    close(f->fd);
    free(f->path);
    free(f);
}

kg_status kg_file_read(const kg_file *f, uint64_t offset, void *dst, size_t bytes)
{
    char *to = dst;
    if (offset > INT64_MAX || bytes > INT64_MAX - offset)
        return kg_fail(KG_INPUT, "'%s': a range beyond what a file can hold", f->path);
    while (bytes) {
        size_t part = bytes < (1u << 30) ? bytes : 1u << 30;
        ssize_t n = pread(f->fd, to, part, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return kg_fail(KG_INPUT, "cannot read '%s': %s", f->path, strerror(errno));
        if (!n)
            return kg_fail(KG_INPUT, "'%s' is truncated: it ends at byte %llu, %zu bytes short",
                           f->path, (unsigned long long)offset, bytes);
        to += n;
        offset += (uint64_t)n;
        bytes -= (size_t)n;
    }
    return KG_OK;
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

/* ---- identity ---- */

enum { PAGE = 4096, CHUNK = 1 << 20 };

/* Hashes bytes [from, from + bytes) of the file through a buffer of CHUNK bytes. */
static kg_status hash_range(kg_hash *h, const kg_file *f, uint64_t from, uint64_t bytes,
                            char *buffer)
{
    while (bytes) {
        size_t part = bytes < CHUNK ? (size_t)bytes : CHUNK;
        kg_status status = kg_file_read(f, from, buffer, part);
        if (status)
            return status;
        kg_hash_bytes(h, buffer, part);
        from += part;
        bytes -= part;
    }
    return KG_OK;
}

/* The page of the file that holds the middle of a range, cut to the range; small ranges whole. */
static kg_range middle_page(kg_range r)
{
    if (r.bytes <= PAGE)
        return r;
    uint64_t first = (r.offset + r.bytes / 2) & ~(uint64_t)(PAGE - 1), end = first + PAGE;
    if (first < r.offset)
        first = r.offset;
    if (end > r.offset + r.bytes)
        end = r.offset + r.bytes;
    return (kg_range){first, end - first};
}

static kg_status hash_parts(kg_hash *h, const kg_file *file, uint64_t header,
                            const kg_range *ranges, int n)
{
    char *buffer = malloc(CHUNK);
    if (!buffer)
        return kg_fail(KG_FAILED, "out of memory to read '%s'", file->path);
    kg_hash_bytes(h, &file->size, sizeof file->size);
    kg_status status = hash_range(h, file, 0, header, buffer);
    for (int i = 0; i < n && !status; ++i) {
        kg_range r = middle_page(ranges[i]);
        if (ranges[i].offset > file->size || ranges[i].bytes > file->size - ranges[i].offset)
            status =
                kg_fail(KG_INPUT, "'%s': a tensor lies beyond the end of the file", file->path);
        else
            status = hash_range(h, file, r.offset, r.bytes, buffer);
    }
    free(buffer);
    return status;
}

/* Old enough for its times to tell the next change, and unchanged since it was opened. */
static int settled(const kg_file *f)
{
    struct stat st;
    struct timespec now;
    if (fstat(f->fd, &st) || clock_gettime(CLOCK_REALTIME, &now))
        return 0;
    int64_t mtime = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
    int64_t ctime = (int64_t)st.st_ctim.tv_sec * 1000000000 + st.st_ctim.tv_nsec;
    int64_t latest = mtime > ctime ? mtime : ctime;
    return mtime == f->mtime_ns && ctime == f->ctime_ns && (uint64_t)st.st_size == f->size &&
           (int64_t)now.tv_sec * 1000000000 + now.tv_nsec - latest > 1000000000;
}

static kg_status hash_file(const kg_file *file, uint64_t header, const kg_range *ranges, int n,
                           unsigned char out[32])
{
    kg_hash *h = kg_hash_new();
    if (!h)
        return KG_FAILED;
    kg_status status = hash_parts(h, file, header, ranges, n);
    kg_key key = kg_hash_done(h);
    memcpy(out, key.b, sizeof key.b);
    return status;
}

kg_status kg_file_identity(kg_files *f, const kg_file *file, uint64_t header,
                           const kg_range *ranges, int n, unsigned char out[32])
{
    const kg_identity_memo *memo = &f->memo;
    if (memo->find && memo->find(memo->arg, file, out))
        return KG_OK;
    kg_status status = hash_file(file, header, ranges, n, out);
    if (!status && memo->store && settled(file))
        memo->store(memo->arg, file, out);
    return status;
}

/* Not remembered: the same file may have an identity as weights, and these files are small. */
kg_status kg_file_hash(kg_files *f, const kg_file *file, unsigned char out[32])
{
    (void)f;
    return hash_file(file, file->size, NULL, 0, out);
}
