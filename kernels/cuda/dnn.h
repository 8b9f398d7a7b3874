/* What convolution and attention share of cuDNN's graph interface: descriptors, and the search for an engine. */
#ifndef KG_KERNELS_CUDA_DNN_H
#define KG_KERNELS_CUDA_DNN_H

#include "kernels/cuda/cuda.h"

extern "C" {
#include "core/cache.h"
}

struct kg_part {                       /* a descriptor                                                */
    cudnnBackendDescriptor_t d = NULL;
    kg_part() {}
    kg_part(const kg_part &) = delete;
    ~kg_part()
    {
        if (d)
            kg_lib.cudnnBackendDestroyDescriptor(d);
    }
};

/* The first failure is kept and the rest is not tried. */
struct kg_maker { cudnnStatus_t status; };
void kg_dnn_create(kg_maker *m, kg_part *p, cudnnBackendDescriptorType_t type);
void kg_dnn_set(kg_maker *m, kg_part *p, cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, int64_t n, const void *v);
void kg_dnn_join(kg_maker *m, kg_part *p, cudnnBackendAttributeName_t name, const kg_part *to);
void kg_dnn_finish(kg_maker *m, kg_part *p);
void kg_dnn_graph(kg_maker *m, kg_part *p, cudnnHandle_t handle, int64_t n, const cudnnBackendDescriptor_t *operations);
cudnnDataType_t kg_dnn_type(int64_t dtype);            /* kg_dtype */

/* What a graph is run by. All parts stay while it does: a plan may look at what it was made of. */
struct kg_engine {
    kg_part heuristics, config, execution;
    cudnnStatus_t broken = CUDNN_STATUS_SUCCESS;       /* memory, the driver, a library that is not whole: an error, no refusal */
    int works = 0;
};

/* Where an engine is kept between starts, and under which key: of the device's tag (card, driver, libraries, epoch) and of what the graph
 * was made of. It is the engine that the search would find again, so that nothing depends on whether it was there. */
struct kg_engine_place { kg_cache *cache; kg_key key; };
kg_engine_place kg_engine_place_of(kg_exec *x, const char *op, const void *shape, size_t bytes);

/* The engine kept at a place, or the first of cuDNN's own order, best guesses and then fallbacks, that sums in a fixed order, keeps the
 * precision asked for, can be prepared and needs at most `most` bytes of workspace. m: how making the graph ended. */
void kg_engine_find(kg_engine *e, const kg_maker *m, cudnnHandle_t handle, const kg_part *graph, int64_t most,
                    const kg_engine_place *place);
/* 1: queued, or an error of x. handle: of the compute lane. */
int kg_engine_run(kg_exec *x, const kg_engine *e, cudnnHandle_t handle, int64_t n, const int64_t *names, const void *const *at,
                  const void *workspace, const char *op);

#endif
