/* What the system says of itself: sizes in its files, and what this process may still take of the host's memory. */
#ifndef KG_CORE_SYSTEM_H
#define KG_CORE_SYSTEM_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The number behind a prefix in one of the system's files, times unit; 0 when it is not there. */
size_t kg_system_bytes(const char *path, const char *prefix, size_t unit);

typedef struct kg_host_memory {
    size_t left;           /* bytes that may be taken beside what is taken now                             */
    size_t all;            /* bytes of the machine, or of the smallest group that this process belongs to  */
    char by[256];          /* what sets `left`, for messages: "MemAvailable", or the file of a group       */
} kg_host_memory;
/* root: "" for this machine; tests give a folder with files of their own below it. */
void kg_host_memory_read(const char *root, kg_host_memory *m);

#ifdef __cplusplus
}
#endif

#endif
