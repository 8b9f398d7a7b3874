/* Files for tests of readers: a temporary folder, raw bytes, and small safetensors files. */
#ifndef KG_TESTS_NODES_FILES_H
#define KG_TESTS_NODES_FILES_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static inline void test_folder_enter(char *folder, size_t n)
{
    snprintf(folder, n, "/tmp/kg-test-XXXXXX");
    if (!mkdtemp(folder) || chdir(folder)) {
        perror(folder);
        exit(1);
    }
}

static inline void test_folder_leave(const char *folder)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    if (chdir("/") || system(command))
        perror(folder);
}

static inline void test_write(const char *path, const void *bytes, size_t n)
{
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(bytes, 1, n, f) != n || fclose(f)) {
        perror(path);
        exit(1);
    }
}

typedef struct test_tensor { const char *name, *dtype; int rank; int64_t shape[6]; const void *data; } test_tensor;

static inline size_t test_tensor_bytes(const test_tensor *t)
{
    size_t n = strstr(t->dtype, "32") ? 4 : strstr(t->dtype, "16") ? 2 : strstr(t->dtype, "64") ? 8 : 1;
    for (int i = 0; i < t->rank; ++i)
        n *= (size_t)t->shape[i];
    return n;
}

/* meta: the inside of __metadata__, or NULL. */
static inline void test_write_safetensors(const char *path, const test_tensor *t, int n, const char *meta)
{
    char *head = NULL;
    size_t length, at = 0;
    FILE *m = open_memstream(&head, &length);
    fprintf(m, "{");
    if (meta)
        fprintf(m, "\"__metadata__\":{%s}%s", meta, n ? "," : "");
    for (int i = 0; i < n; ++i) {
        fprintf(m, "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[", i ? "," : "", t[i].name, t[i].dtype);
        for (int j = 0; j < t[i].rank; ++j)
            fprintf(m, "%s%lld", j ? "," : "", (long long)t[i].shape[j]);
        fprintf(m, "],\"data_offsets\":[%zu,%zu]}", at, at + test_tensor_bytes(&t[i]));
        at += test_tensor_bytes(&t[i]);
    }
    fprintf(m, "}");
    fclose(m);
    FILE *f = fopen(path, "wb");
    if (!f) {
        perror(path);
        exit(1);
    }
    uint64_t size = length;
    fwrite(&size, 8, 1, f);
    fwrite(head, 1, length, f);
    for (int i = 0; i < n; ++i)
        fwrite(t[i].data, 1, test_tensor_bytes(&t[i]), f);
    fclose(f);
    free(head);
}

#endif
