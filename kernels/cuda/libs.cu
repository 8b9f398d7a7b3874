/* cuBLASLt and cuDNN, opened at run time: their majors are in the names asked for, their minors are checked. Where they are looked
 * for: what the loader knows (LD_LIBRARY_PATH, the cache), the run path of the program (the toolkit it was built with). */
#include "kernels/cuda/cuda.h"

#include <dlfcn.h>
#include <mutex>
#include <stdio.h>

kg_cuda_libs kg_lib;

struct entry { const char *name; void **at; };

static int resolve(void *library, const entry *list, int n, const char **missing)
{
    for (int i = 0; i < n; ++i)
        if (!(*list[i].at = dlsym(library, list[i].name))) {
            *missing = list[i].name;
            return 0;
        }
    return 1;
}

/* A message, or an empty one when the library is there with all that is called. */
static void open_one(const char *file, const char *what, const entry *list, int n, char *why, size_t room)
{
    void *library = dlopen(file, RTLD_NOW | RTLD_LOCAL);
    const char *missing = NULL;
    why[0] = 0;
    if (!library)
        snprintf(why, room, "%s cannot be opened: %s", what, dlerror());
    else if (!resolve(library, list, n, &missing))
        snprintf(why, room, "%s (%s) has no %s: it is older than this build asks for", what, file, missing);
}

static void open_all(char *why, size_t room)
{
#define KG_ENTRY(name) {#name, (void **)&kg_lib.name},
    const entry lt[] = {KG_LT_FUNCTIONS(KG_ENTRY)}, dnn[] = {KG_DNN_FUNCTIONS(KG_ENTRY)};
#undef KG_ENTRY
    char file[64];
    snprintf(file, sizeof file, "libcublasLt.so.%d", KG_LT_MAJOR);
    open_one(file, "cuBLASLt", lt, (int)(sizeof lt / sizeof *lt), why, room);
    if (why[0])
        return;
    size_t v = kg_lib.cublasLtGetVersion();
    if (v / 10000 != KG_LT_MAJOR) {
        snprintf(why, room, "cuBLASLt %zu.%zu.%zu is there; this build is for %d.x", v / 10000, v / 100 % 100, v % 100, KG_LT_MAJOR);
        return;
    }
    snprintf(file, sizeof file, "libcudnn.so.%d", KG_DNN_MAJOR);
    open_one(file, "cuDNN", dnn, (int)(sizeof dnn / sizeof *dnn), why, room);
    if (why[0])
        return;
    v = kg_lib.cudnnGetVersion();
    if (v / 10000 != KG_DNN_MAJOR || v < KG_DNN_MAJOR * 10000 + KG_DNN_MINOR * 100)
        snprintf(why, room, "cuDNN %zu.%zu.%zu is there; this build wants %d.%d or a later %d.x", v / 10000, v / 100 % 100, v % 100,
                 KG_DNN_MAJOR, KG_DNN_MINOR, KG_DNN_MAJOR);
}

kg_status kg_cuda_libs_open(void)
{
    static std::mutex lock;
    static int done;
    static char why[512];
    std::lock_guard<std::mutex> hold(lock);
    if (!done)
        open_all(why, sizeof why);
    done = 1;
    if (!why[0])
        return KG_OK;
    kg_fail(KG_FAILED, "%s", why);
    kg_hint("install the CUDA 13 toolkit's cuBLAS and cuDNN 9, or name their folder in LD_LIBRARY_PATH");
    return KG_FAILED;
}
