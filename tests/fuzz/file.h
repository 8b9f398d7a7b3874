/* Bytes as an open file, for the readers that take one. */
#ifndef KG_TESTS_FUZZ_FILE_H
#define KG_TESTS_FUZZ_FILE_H

#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/file.h"

/* Its descriptor is the caller's to close. The stamp is that of the file, since a reader looks whether it is still the same. */
static inline kg_file fuzz_file(const uint8_t *data, size_t n)
{
    struct stat st;
    int fd = memfd_create("fuzz", 0);
    if (fd < 0 || write(fd, data, n) != (ssize_t)n || fstat(fd, &st))
        abort();
    return (kg_file){.path = "fuzz", .fd = fd, .size = n, .refs = 1,
                     .stamp = {.device = st.st_dev, .inode = st.st_ino, .size = n,
                               .mtime_ns = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec,
                               .ctime_ns = (int64_t)st.st_ctim.tv_sec * 1000000000 + st.st_ctim.tv_nsec}};
}

#endif
