/* cuDNN's graph interface: descriptors step by step, then an engine from its heuristics. Fixed by graph, card and version of cuDNN
 * (which are in the numerics tag), never by a timing. */
#include "kernels/cuda/device.h"
#include "kernels/cuda/dnn.h"

#include <chrono>
#include <new>
#include <stdio.h>
#include <string.h>

enum { CONFIGS = 32, NOTES = 64 };

void kg_dnn_create(kg_maker *m, kg_part *p, cudnnBackendDescriptorType_t type)
{
    if (m->status == CUDNN_STATUS_SUCCESS)
        m->status = kg_lib.cudnnBackendCreateDescriptor(type, &p->d);
}

void kg_dnn_set(kg_maker *m, kg_part *p, cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, int64_t n, const void *v)
{
    if (m->status == CUDNN_STATUS_SUCCESS)
        m->status = kg_lib.cudnnBackendSetAttribute(p->d, name, type, n, v);
}

void kg_dnn_finish(kg_maker *m, kg_part *p)
{
    if (m->status == CUDNN_STATUS_SUCCESS)
        m->status = kg_lib.cudnnBackendFinalize(p->d);
}

void kg_dnn_join(kg_maker *m, kg_part *p, cudnnBackendAttributeName_t name, const kg_part *to)
{
    kg_dnn_set(m, p, name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &to->d);
}

static void get(kg_maker *m, const kg_part *p, cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, int64_t room, int64_t *n,
                void *v)
{
    if (m->status == CUDNN_STATUS_SUCCESS)
        m->status = kg_lib.cudnnBackendGetAttribute(p->d, name, type, room, n, v);
}

void kg_dnn_graph(kg_maker *m, kg_part *p, cudnnHandle_t handle, int64_t n, const cudnnBackendDescriptor_t *operations)
{
    kg_dnn_create(m, p, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
    kg_dnn_set(m, p, CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, 1, &handle);
    kg_dnn_set(m, p, CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR, n, operations);
    kg_dnn_finish(m, p);
}

cudnnDataType_t kg_dnn_type(int64_t t)
{
    return t == KG_F32 ? CUDNN_DATA_FLOAT : t == KG_BF16 ? CUDNN_DATA_BFLOAT16 : CUDNN_DATA_HALF;
}

/* ---- the search ---- */
/* Another engine would be another result, so only what every run of this graph here meets is a refusal. */
static int is_broken(cudnnStatus_t s)
{
    const int category = CUDNN_STATUS_CATEGORY((int)s);
    return category == 1000 || category == 5000 || s == CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED ||
           s == CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED;
}

/* 1: all went well. */
static int ends(kg_engine *e, const kg_maker *m)
{
    if (is_broken(m->status))
        e->broken = m->status;
    return m->status == CUDNN_STATUS_SUCCESS;
}

/* Engines whose sums depend on the order of threads, or that lose precision, are passed over. */
static int is_exact(kg_engine *e, const kg_part *config)
{
    kg_part engine;
    cudnnBackendNumericalNote_t notes[NOTES];
    int64_t n = 0;
    kg_maker m = {CUDNN_STATUS_SUCCESS};
    kg_dnn_create(&m, &engine, CUDNN_BACKEND_ENGINE_DESCRIPTOR);
    get(&m, config, CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &n, &engine.d);
    get(&m, &engine, CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, CUDNN_TYPE_NUMERICAL_NOTE, NOTES, &n, notes);
    if (!ends(e, &m))
        return 0;
    for (int64_t i = 0; i < n && i < NOTES; ++i)
        if (notes[i] == CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC || notes[i] == CUDNN_NUMERICAL_NOTE_WINOGRAD ||
            notes[i] == CUDNN_NUMERICAL_NOTE_FFT || notes[i] == CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS ||
            notes[i] == CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION)
            return 0;
    return 1;
}

static void swap(kg_part *a, kg_part *b)
{
    cudnnBackendDescriptor_t d = a->d;
    a->d = b->d;
    b->d = d;
}

/* Makes the plan of one configuration; it is often only then that cuDNN says no. */
static int try_config(kg_engine *e, cudnnHandle_t handle, kg_part *config, int64_t most)
{
    if (!is_exact(e, config))
        return 0;
    kg_maker m = {CUDNN_STATUS_SUCCESS};
    kg_part execution;
    int64_t bytes = 0, n = 0;
    kg_dnn_create(&m, &execution, CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
    kg_dnn_set(&m, &execution, CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, 1, &handle);
    kg_dnn_join(&m, &execution, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, config);
    kg_dnn_finish(&m, &execution);
    get(&m, &execution, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64, 1, &n, &bytes);
    if (!ends(e, &m) || bytes > most)
        return 0;
    swap(&e->execution, &execution);
    swap(&e->config, config);
    return 1;
}

static int choose(kg_engine *e, cudnnHandle_t handle, const kg_part *graph, int64_t most, cudnnBackendHeurMode_t mode)
{
    kg_part heuristics, config[CONFIGS];
    cudnnBackendDescriptor_t all[CONFIGS];
    int64_t n = 0;
    kg_maker m = {CUDNN_STATUS_SUCCESS};
    kg_dnn_create(&m, &heuristics, CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
    kg_dnn_join(&m, &heuristics, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph);
    kg_dnn_set(&m, &heuristics, CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, &mode);
    kg_dnn_finish(&m, &heuristics);
    for (int i = 0; i < CONFIGS; ++i) {
        kg_dnn_create(&m, &config[i], CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
        all[i] = config[i].d;
    }
    get(&m, &heuristics, CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_TYPE_BACKEND_DESCRIPTOR, CONFIGS, &n, all);
    if (!ends(e, &m))
        return 0;
    swap(&e->heuristics, &heuristics);
    for (int64_t i = 0; i < n && i < CONFIGS && e->broken == CUDNN_STATUS_SUCCESS; ++i)
        if (try_config(e, handle, &config[i], most))
            return 1;
    return 0;
}

/* ---- kept between starts ---- */
/* cuDNN writes a plan as text, what it compiled for it included, and reads it in about a millisecond. */
enum : int64_t { TEXT_MOST = (int64_t)16 << 20 };

void kg_cuda_keep(kg_device *d, kg_cache *cache)
{
    if (!strcmp(d->class_name, "cuda"))
        kg_cuda_of_device(d)->engines = cache;
}

kg_engine_place kg_engine_place_of(kg_exec *x, const char *op, const void *shape, size_t bytes)
{
    kg_engine_place p = {kg_cuda_of(x)->engines, {}};
    kg_hash *h = p.cache ? kg_hash_new() : NULL;
    if (!h) {
        p.cache = NULL;
        return p;
    }
    kg_hash_text(h, "engine 1");
    kg_hash_text(h, kg_cuda_of(x)->device.tag);
    kg_hash_text(h, op);
    kg_hash_bytes(h, shape, bytes);
    p.key = kg_hash_done(h);
    return p;
}

/* What is there and is not taken (of a library that reads no such text, say) is no error: it is looked for, and written anew. */
static int take(kg_engine *e, cudnnHandle_t handle, int64_t most, const kg_engine_place *place)
{
    kg_cache_row row;
    if (!place->cache || !place->cache->ops->find(place->cache, &place->key, NULL, &row) || strcmp(row.kind, "engine") ||
        row.bytes > (size_t)TEXT_MOST)
        return 0;
    char *text = new (std::nothrow) char[row.bytes + 1];
    kg_maker m = {text && place->cache->ops->read(place->cache, &row, text) ? CUDNN_STATUS_SUCCESS : CUDNN_STATUS_BAD_PARAM};
    kg_part execution;
    int64_t bytes = 0, n = 0;
    kg_dnn_create(&m, &execution, CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
    kg_dnn_set(&m, &execution, CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, 1, &handle);
    kg_dnn_set(&m, &execution, CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION, CUDNN_TYPE_CHAR, (int64_t)row.bytes, text);
    kg_dnn_finish(&m, &execution);
    get(&m, &execution, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64, 1, &n, &bytes);
    delete[] text;
    if (!ends(e, &m) || bytes > most)
        return 0;
    swap(&e->execution, &execution);
    return 1;
}

static void keep(const kg_engine *e, const kg_engine_place *place, double seconds)
{
    int64_t n = 0;
    kg_maker m = {CUDNN_STATUS_SUCCESS};
    get(&m, &e->execution, CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION, CUDNN_TYPE_CHAR, 0, &n, NULL);
    char *text = m.status == CUDNN_STATUS_SUCCESS && n > 0 && n <= TEXT_MOST ? new (std::nothrow) char[(size_t)n] : NULL;
    if (!text)
        return;
    kg_cache_row row = {};
    row.key = place->key;
    row.dtype = KG_U8;
    row.rank = 1;
    row.seconds = seconds;
    snprintf(row.kind, sizeof row.kind, "engine");
    get(&m, &e->execution, CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION, CUDNN_TYPE_CHAR, n, &n, text);
    row.shape[0] = n;
    row.bytes = (size_t)n;
    if (m.status == CUDNN_STATUS_SUCCESS)
        place->cache->ops->write(place->cache, &row, text);
    delete[] text;
}

void kg_engine_find(kg_engine *e, const kg_maker *m, cudnnHandle_t handle, const kg_part *graph, int64_t most,
                    const kg_engine_place *place)
{
    const cudnnBackendHeurMode_t modes[] = {CUDNN_HEUR_MODE_A, CUDNN_HEUR_MODE_FALLBACK};
    const auto began = std::chrono::steady_clock::now();
    if (!ends(e, m))
        return;
    e->works = take(e, handle, most, place);
    if (e->works || e->broken != CUDNN_STATUS_SUCCESS)
        return;
    for (cudnnBackendHeurMode_t mode : modes)
        if (!e->works && e->broken == CUDNN_STATUS_SUCCESS)
            e->works = choose(e, handle, graph, most, mode);
    if (e->works && place->cache)
        keep(e, place, std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count());
}

int kg_engine_run(kg_exec *x, const kg_engine *e, cudnnHandle_t handle, int64_t n, const int64_t *names, const void *const *at,
                  const void *workspace, const char *op)
{
    kg_maker m = {CUDNN_STATUS_SUCCESS};
    kg_part pack;
    kg_dnn_create(&m, &pack, CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
    kg_dnn_set(&m, &pack, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, n, names);
    kg_dnn_set(&m, &pack, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, n, at);
    kg_dnn_set(&m, &pack, CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1, &workspace);
    kg_dnn_finish(&m, &pack);
    if (m.status == CUDNN_STATUS_SUCCESS)
        m.status = kg_lib.cudnnBackendExecute(handle, e->execution.d, pack.d);
    if (kg_cuda_dnn_ok(x, m.status, op))
        kg_cuda_launched(x, op);
    return 1;
}
