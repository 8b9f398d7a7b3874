/* How much of a file the system has in its page cache: what a load from it will take depends on that alone. Asked when a plan is made,
 * for its seconds. A few pages stand for a range, so that 28 GB of weights are asked about in milliseconds. */
#include "core/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define SAMPLES 4

/* The kernel answers "all of it" for files that the caller neither owns nor may write. */
static int may_know(const kg_file *f)
{
    struct stat s;
    return !geteuid() || (!fstat(f->fd, &s) && s.st_uid == geteuid()) || !faccessat(f->fd, "", W_OK, AT_EMPTY_PATH | AT_EACCESS);
}

double kg_file_warm(const kg_file *f, uint64_t offset, size_t bytes)
{
    const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    uint64_t first = offset / page * page, end = offset + bytes < f->size ? offset + bytes : f->size;
    if (first >= end || !may_know(f))
        return -1;
    size_t n = (size_t)((end - first + page - 1) / page);
    char *map = mmap(NULL, end - first, PROT_READ, MAP_SHARED, f->fd, (off_t)first);
    if (map == MAP_FAILED)
        return -1;
    int samples = n < SAMPLES ? (int)n : SAMPLES, there = 0;
    for (int i = 0; i < samples; ++i) {
        unsigned char in = 0;
        size_t at = (2 * (size_t)i + 1) * n / (2 * (size_t)samples);
        there += !mincore(map + at * page, page, &in) && in & 1;
    }
    munmap(map, end - first);
    return (double)there / samples;
}
