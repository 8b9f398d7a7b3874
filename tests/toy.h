/* A toy family and a toy device, so that core is tested alone: weights are numbers of a file, the "model" mixes them into a vector,
 * frames are streamed to a counting sink. */
#ifndef KG_TESTS_TOY_H
#define KG_TESTS_TOY_H

#include <sys/mman.h>
#include <unistd.h>

#include "core/front.h"
#include "tests/graph.h"
#include "tests/test.h"

/* ---- device: host memory, everything synchronous ---- */
typedef struct toy_device {
    kg_device d;
    void *pool;
    size_t bytes;
    long reads, fail_read, fail_fetch;     /* fail_fetch: counts down */
    int fail_reserve;
    void (*before_read)(long n);
} toy_device;
static kg_status toy_reserve(kg_device *d, size_t bytes, void **base)
{
    toy_device *t = d->self;
    if (t->fail_reserve)
        return kg_fail(KG_FAILED, "injected: no pool of %zu bytes", bytes);
    t->bytes = bytes;
    t->pool = *base = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return KG_OK;
}
static void toy_release(kg_device *d)
{
    toy_device *t = d->self;
    if (t->pool)
        munmap(t->pool, t->bytes);
    t->pool = NULL;
}
static kg_status toy_read(kg_device *d, int lane, void *dst, const kg_file *f, uint64_t offset, size_t bytes, int stay)
{
    toy_device *t = d->self;
    (void)lane, (void)stay;
    if (++t->reads == t->fail_read)
        return kg_fail(KG_FAILED, "injected: read %ld fails", t->fail_read);
    if (t->before_read)
        t->before_read(t->reads);
    return kg_file_read(f, offset, dst, bytes);
}
static kg_status toy_write(kg_device *d, int lane, void *dst, const void *src, size_t bytes)
{
    (void)d, (void)lane;
    memcpy(dst, src, bytes);
    return KG_OK;
}
static kg_status toy_fetch(kg_device *d, int lane, void *dst, const void *src, size_t bytes)
{
    toy_device *t = d->self;
    if (t->fail_fetch && !--t->fail_fetch)
        return kg_fail(KG_FAILED, "injected: a fetch fails");
    return toy_write(d, lane, dst, src, bytes);
}
static kg_event toy_record(kg_device *d, int lane) { (void)d; return (kg_event){.lane = lane}; }
static kg_status toy_wait(kg_device *d, int lane, kg_event e) { (void)d, (void)lane, (void)e; return KG_OK; }
static kg_status toy_sync(kg_device *d, kg_event e) { (void)d, (void)e; return KG_OK; }
static void toy_destroy(kg_device *d) { (void)d; }
static void *toy_host_alloc(kg_device *d, size_t bytes) { (void)d; return malloc(bytes + 1); }
static void toy_host_free(kg_device *d, void *p) { (void)d; free(p); }
static const kg_device_ops toy_ops = {
    .reserve = toy_reserve, .release = toy_release, .read = toy_read, .write = toy_write, .fetch = toy_fetch, .record = toy_record,
    .wait = toy_wait, .sync = toy_sync, .destroy = toy_destroy, .host_alloc = toy_host_alloc, .host_free = toy_host_free};
static inline void toy_open(toy_device *t, size_t memory)
{
    memset(t, 0, sizeof *t);
    t->d = (kg_device){.ops = &toy_ops, .class_name = "toy", .tag = "toy 1", .precision = KG_PRECISION_F32, .host_memory = 1, .self = t};
    t->d.profile = (kg_profile){.name = "toy", .version = 1, .threads = 1, .memory = memory, .disk = 1e9, .copy = 5e10, .launch = 1e-7};
    for (int i = 0; i < KG_CLASSES; ++i)
        t->d.profile.rate[i] = 1e9;
}

/* ---- toy.weights { path, blocks, width }: a resource of f32 blocks ---- */
typedef struct toy_weights_params { const char *path; int64_t blocks, width; } toy_weights_params;
static void toy_weights_destroy(kg_resource *r)
{
    if (r->weight_count)
        kg_file_unref((kg_file *)(uintptr_t)r->weights[0].file);
    free(r->segments);
    free(r->weights);
    free(r);
}
static kg_status toy_weights_infer(kg_infer *x)
{
    toy_weights_params *p = x->params;
    kg_file *f = kg_open(x->files, p->path);
    if (!f)
        return KG_INPUT;
    kg_resource *r = calloc(1, sizeof *r);
    r->segments = calloc((size_t)p->blocks, sizeof *r->segments);
    r->weights = calloc((size_t)p->blocks, sizeof *r->weights);
    r->segment_count = r->weight_count = (int)p->blocks;
    for (int i = 0; i < p->blocks; ++i) {
        r->segments[i] = (kg_segment){.name = "block", .first = i, .count = 1};
        r->weights[i] = (kg_weight){.name = "w",
                                    .dtype = KG_F32,
                                    .rank = 1,
                                    .shape = {p->width},
                                    .file = f,
                                    .offset = (uint64_t)(i * p->width * 4)};
    }
    r->files = &r->weights[0].file;
    r->file_count = 1;
    r->destroy = toy_weights_destroy;
    kg_resource_seal(r);
    x->resource = r;
    x->out[0] = (kg_desc){.kind = "resource/toy", .resource = r};
    return KG_OK;
}
KG_NODE(toy_weights) = {.name = "toy.weights", .doc = "weights", .version = 1, .params_size = sizeof(toy_weights_params),
    .outputs = KG_PORTS({"model", "resource/toy", 0, "weights"}),
    .params = KG_PARAMS(KG_PATH(toy_weights_params, path, KG_REQUIRED, "file"), KG_INT(toy_weights_params, blocks, 4, 1, 1000, 0, "blocks"),
                        KG_INT(toy_weights_params, width, 64, 1, 1 << 20, 0, "numbers a block")),
    .infer = toy_weights_infer};

/* ---- toy.mix { model, steps, seed }: x = 0.9 x + 0.1 w over steps and blocks ---- */
typedef struct toy_mix_params { int64_t steps; kg_ints seed; double slow; const char *mode_text; int mode; } toy_mix_params;
static kg_status toy_mix_infer(kg_infer *x)
{
    const kg_resource *r = x->in[0].resource;
    x->out[0] = kg_desc_tensor("latent/toy", KG_F32, 1, (int64_t[]){r->weights[0].shape[0]});
    return KG_OK;
}
/* No step is forgotten: one too many, or too few, shows in the last bits of the end. */
typedef struct mix_arg { double slow; int64_t step; } mix_arg;
static kg_status mix(void *arg, const kg_tensor *in, const kg_tensor *out)
{
    const float *w = in[0].at;
    float *y = out[0].at, *t = out[1].at;
    usleep((unsigned)(1e6 * ((mix_arg *)arg)->slow));
    for (int64_t i = 0; i < kg_count(in); ++i) {
        t[i] = 0.1f * w[i] * (float)(1 + ((mix_arg *)arg)->step);
        y[i] = 0.999f * y[i] + t[i];
    }
    return KG_OK;
}
static kg_status toy_mix_execute(kg_exec *x)
{
    const toy_mix_params *p = kg_params(x);
    int blocks = kg_desc_in(x, 0)->resource->segment_count;
    for (int k = 0; k < p->seed.n; ++k) {
        float start[1 << 14];
        kg_tensor y = kg_out_item(x, 0, k);
        for (int64_t i = 0; i < kg_count(&y) && i < (1 << 14); ++i)
            start[i] = (float)p->seed.v[k];
        kg_put(x, y, start, kg_bytes(&y));
    }
    int64_t first = kg_first(x);
    kg_tensor y0 = kg_out_item(x, 0, 0);
    if (first > 0)
        kg_restore(x, &y0, 1);
    for (int64_t s = first; s < p->steps; ++s) {
        if (kg_enter(x, "step", s, p->steps))
            return KG_FAILED;
        for (int b = 0; b < blocks; ++b) {
            if (kg_enter(x, "block", b, blocks))
                return KG_FAILED;
            kg_weights w;
            kg_use(x, 0, b, &w);
            kg_tensor t = kg_temp(x, KG_F32, 1, w.t[0].shape);
            for (int k = 0; k < p->seed.n; ++k) {
                kg_tensor y = kg_out_item(x, 0, k);
                kg_work(x, mix, &(mix_arg){p->slow, s}, sizeof(mix_arg), 1, (kg_tensor[]){w.t[0]}, 2, (kg_tensor[]){y, t}, 0);
            }
            kg_front(x, "mix", KG_C_MATMUL, 1e5, 1e3);
            kg_leave(x);
        }
        kg_save(x, s + 1, p->steps, &y0, 1);
        kg_leave(x);
    }
    return KG_OK;
}
KG_NODE(toy_mix) = {.name = "toy.mix", .doc = "mixes", .version = 1, .params_size = sizeof(toy_mix_params),
    .inputs = KG_PORTS({"model", "resource/toy", 0, "weights"}, {"start", "latent", KG_OPTIONAL, "unused"}),
    .outputs = KG_PORTS({"latent", "latent/toy", 0, "mixed"}),
    .params = KG_PARAMS(KG_INT(toy_mix_params, steps, 5, 1, 1000, 0, "steps"), KG_SEEDS(toy_mix_params, seed, "starts"),
                        KG_REAL(toy_mix_params, slow, 0, 0, 10, "seconds a block"),
                        KG_TEXT(toy_mix_params, mode_text, "", KG_UNKEYED, "no effect"),
                        KG_CHOICE(toy_mix_params, mode, "plain|other", 0, "a choice")),
    .infer = toy_mix_infer, .execute = toy_mix_execute};

/* ---- toy.frames { latent, frames } -> stream; toy.sum { video } counts it ---- */
typedef struct toy_frames_params { int64_t frames; } toy_frames_params;
static kg_status toy_frames_infer(kg_infer *x)
{
    toy_frames_params *p = x->params;
    x->out[0] = kg_desc_tensor("frames/toy", KG_F32, 1, x->in[0].shape);
    x->out[0].stream = 1;
    x->out[0].chunks = p->frames;
    return KG_OK;
}
static kg_status scale(void *arg, const kg_tensor *in, const kg_tensor *out)
{
    for (int64_t i = 0; i < kg_count(in); ++i)
        ((float *)out->at)[i] = ((float *)in->at)[i] * (float)*(int64_t *)arg;
    return KG_OK;
}
static kg_status toy_frames_execute(kg_exec *x)
{
    const toy_frames_params *p = kg_params(x);
    kg_tensor keep = kg_keep(x, KG_F32, 1, kg_desc_in(x, 0)->shape);
    int64_t one = 1;
    kg_work(x, scale, &one, sizeof one, 1, (kg_tensor[]){kg_in(x, 0)}, 1, &keep, 0);
    for (int64_t i = 1; i <= p->frames; ++i) {
        if (kg_enter(x, "frame", i - 1, p->frames))
            return KG_FAILED;
        kg_tensor t = kg_temp(x, KG_F32, 1, kg_desc_in(x, 0)->shape);
        kg_work(x, scale, &i, sizeof i, 1, &keep, 1, &t, 0);
        kg_emit(x, 0, t);
        kg_leave(x);
    }
    return KG_OK;
}
KG_NODE(toy_frames) = {.name = "toy.frames", .doc = "frames", .version = 1, .params_size = sizeof(toy_frames_params),
    .inputs = KG_PORTS({"latent", "latent", 0, "latent"}), .outputs = KG_PORTS({"video", "frames/toy", KG_STREAM, "frames"}),
    .params = KG_PARAMS(KG_INT(toy_frames_params, frames, 5, 1, 1025, 4, "4n+1")),
    .infer = toy_frames_infer, .execute = toy_frames_execute};

typedef struct toy_sum_params { double unused; } toy_sum_params;
static kg_status toy_sum_infer(kg_infer *x)
{
    x->out[0] = kg_desc_tensor("latent/sum", KG_F32, 1, x->in[0].shape);
    return KG_OK;
}
static kg_status add_up(void *arg, const kg_tensor *in, const kg_tensor *out)
{
    for (int64_t i = 0; i < kg_count(in); ++i)
        ((float *)out->at)[i] = (*(int64_t *)arg ? ((float *)out->at)[i] : 0) + ((float *)in->at)[i];
    return KG_OK;
}
static kg_status toy_sum_begin(kg_exec *x)
{
    int *seen = kg_state(x, sizeof *seen, NULL);
    if (seen)
        *seen = 0;
    return KG_OK;
}
static kg_status toy_sum_chunk(kg_exec *x, kg_tensor c, int64_t i)
{
    ++*(int *)kg_state(x, sizeof(int), NULL);
    kg_tensor out = kg_out(x, 0);
    kg_work(x, add_up, &i, sizeof i, 1, &c, 1, &out, 1 << 20);
    return KG_OK;
}
static kg_status toy_sum_end(kg_exec *x)
{
    int seen = *(int *)kg_state(x, sizeof(int), NULL);
    if (seen != kg_desc_in(x, 0)->chunks)
        return kg_fail(KG_FAILED, "%d chunks of %lld", seen, (long long)kg_desc_in(x, 0)->chunks);
    return KG_OK;
}
KG_NODE(toy_sum) = {.name = "toy.sum", .doc = "sums", .version = 1, .params_size = sizeof(toy_sum_params),
    .inputs = KG_PORTS({"video", "frames|latent", KG_STREAM, "frames"}), .outputs = KG_PORTS({"sum", "latent/sum", 0, "sum"}),
    .infer = toy_sum_infer, .begin = toy_sum_begin, .chunk = toy_sum_chunk, .end = toy_sum_end};

/* ---- a cache that holds nothing and counts what it is given ---- */
typedef struct toy_cache { kg_cache face; int results, checkpoints, sinks; int64_t step; } toy_cache;
static int toy_find(kg_cache *c, const kg_key *key, const char *tag, kg_cache_row *row)
{
    (void)c, (void)key, (void)tag, (void)row;
    return 0;
}
static int toy_no_bytes(kg_cache *c, const kg_cache_row *row, void *dst) { (void)c, (void)row, (void)dst; return 0; }
static int toy_store(kg_cache *c, const kg_cache_row *row, const void *src) { (void)row, (void)src; return ++((toy_cache *)c)->results; }
static void toy_later(kg_cache *c, const kg_cache_row *row, void *bytes)
{
    ++((toy_cache *)c)->checkpoints;
    ((toy_cache *)c)->step = row->step;
    free(bytes);
}
static void toy_key(kg_cache *c, const kg_key *key) { (void)c, (void)key; }
static int toy_sink_find(kg_cache *c, const kg_key *key, const char *path) { (void)c, (void)key, (void)path; return 0; }
static void toy_sink_store(kg_cache *c, const kg_key *key, const char *path) { (void)key, (void)path; ++((toy_cache *)c)->sinks; }
static void toy_flush(kg_cache *c) { (void)c; }
static int toy_warning_find(kg_cache *c, const kg_key *key, char *lines, size_t n) { (void)c, (void)key, (void)lines, (void)n; return 0; }
static void toy_warning_store(kg_cache *c, const kg_key *key, const char *lines) { (void)c, (void)key, (void)lines; }
static const kg_cache_ops toy_cache_ops = {
    .warning_find = toy_warning_find, .warning_store = toy_warning_store,
    .find = toy_find, .read = toy_no_bytes, .write = toy_store, .checkpoint_find = toy_find, .checkpoint_later = toy_later,
    .checkpoint_drop = toy_key, .sink_find = toy_sink_find, .sink_store = toy_sink_store, .flush = toy_flush};

/* ---- helpers ---- */
static inline void toy_file(const char *path, int64_t numbers)
{
    FILE *f = fopen(path, "wb");
    uint64_t s = 7;
    for (int64_t i = 0; i < numbers; ++i) {
        float v = test_uniform(&s);
        fwrite(&v, sizeof v, 1, f);
    }
    fclose(f);
}

/* One number of such a file gets another value in place, after the clock of the file system has moved on. */
static inline void toy_change(const char *path)
{
    float v = 9;
    usleep(20000);
    FILE *f = fopen(path, "r+b");
    fseek(f, 64, SEEK_SET);
    fwrite(&v, sizeof v, 1, f);
    fclose(f);
}

/* Runs a plan to its end; the status of the run. */
static inline kg_status toy_go(kg_plan *p, kg_run **out)
{
    kg_run *r = kg_run_start(p);
    kg_run_event e;
    do
        while (kg_run_poll(r, &e, 1000))
            if (e.kind == KG_E_DONE || e.kind == KG_E_ERROR)
                goto finished;
    while (1);
finished:
    *out = r;
    return kg_run_wait(r);
}

#endif
