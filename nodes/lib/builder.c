/* A resource from the tensors of a checkpoint.
 *
 * Each weight of a segment is read from one or more sources, stacked along its rows. The resource is the head of `built`, which
 * owns the names, the sources and a reference to each file. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/exec.h"
#include "nodes/lib/weights.h"

typedef struct source { kg_file *file; uint64_t offset; int64_t rows; } source;      /* file: a reference */
typedef struct built {
    kg_resource r;                 /* must be first: destroy gets its address                        */
    source *sources;
    int *first;                    /* sources of weight i: [first[i], first[i + 1])                  */
    int source_count;
    const kg_file **files;         /* the resource's: a reference to each                            */
    void *config;
    void (*config_destroy)(void *);
} built;

struct kg_builder {
    const kg_checkpoint *ck;
    built *b;
    int segments, weights, sources, firsts;    /* room of the arrays */
    int fused;                         /* some weight is not one range of a file */
    kg_fill_fn *fill;
    kg_status status;
};

static void built_free(built *b)
{
    if (!b)
        return;
    for (int i = 0; i < b->source_count; ++i)
        kg_file_unref(b->sources[i].file);
    for (int i = 0; i < b->r.segment_count; ++i)
        free((char *)(uintptr_t)b->r.segments[i].name);
    for (int i = 0; i < b->r.weight_count; ++i)
        free((char *)(uintptr_t)b->r.weights[i].name);
    if (b->config_destroy)
        b->config_destroy(b->config);
    free(b->r.segments);
    free(b->r.weights);
    for (int i = 0; i < b->r.file_count; ++i)
        kg_file_unref((kg_file *)(uintptr_t)b->files[i]);
    free(b->files);
    free(b->sources);
    free(b->first);
    free(b);
}

static void destroy(kg_resource *r) { built_free((built *)r); }

/* Room for one more of n items; 0 when memory is out. */
static int room(kg_builder *b, void *array, int *cap, int n, size_t item)
{
    if (n < *cap)
        return 1;
    int more = *cap ? *cap * 2 : 64;
    void *p = realloc(*(void **)array, (size_t)more * item);
    if (!p) {
        b->status = kg_fail(KG_FAILED, "out of memory for the weights of '%s'", kg_checkpoint_path(b->ck));
        return 0;
    }
    *(void **)array = p;
    *cap = more;
    return 1;
}

static char *copied(kg_builder *b, const char *text)
{
    char *copy = strdup(text);
    if (!copy)
        b->status = kg_fail(KG_FAILED, "out of memory for a name");
    return copy;
}

kg_builder *kg_builder_new(const kg_checkpoint *ck)
{
    kg_builder *b = calloc(1, sizeof *b);
    if (b)
        b->b = calloc(1, sizeof *b->b);
    if (!b || !b->b) {
        kg_fail(KG_FAILED, "out of memory for the weights of '%s'", kg_checkpoint_path(ck));
        free(b);
        return NULL;
    }
    b->ck = ck;
    b->b->r.destroy = destroy;
    return b;
}

void kg_builder_segment(kg_builder *b, const char *format, ...)
{
    char name[128];
    va_list args;
    va_start(args, format);
    vsnprintf(name, sizeof name, format, args);
    va_end(args);
    if (!b || b->status)
        return;
    kg_resource *r = &b->b->r;
    char *copy = copied(b, name);
    if (!copy || !room(b, &r->segments, &b->segments, r->segment_count, sizeof *r->segments)) {
        free(copy);
        return;
    }
    r->segments[r->segment_count++] = (kg_segment){.name = copy, .first = r->weight_count};
}

/* The next weight of the open segment, without sources yet. */
static kg_weight *weight_add(kg_builder *b, const char *name, kg_dtype dtype, int rank, const int64_t *shape)
{
    kg_resource *r = &b->b->r;
    if (!r->segment_count) {
        b->status = kg_fail(KG_FAILED, "weight '%s' belongs to no segment", name);
        return NULL;
    }
    char *copy = copied(b, name);
    if (!copy || !room(b, &r->weights, &b->weights, r->weight_count, sizeof *r->weights) ||
        !room(b, &b->b->first, &b->firsts, r->weight_count + 1, sizeof *b->b->first)) {
        free(copy);
        return NULL;
    }
    kg_weight *w = &r->weights[r->weight_count];
    *w = (kg_weight){.name = copy, .dtype = dtype, .rank = rank};
    memcpy(w->shape, shape, (size_t)rank * sizeof *shape);
    b->b->first[r->weight_count++] = b->b->source_count;
    b->b->first[r->weight_count] = b->b->source_count;
    ++r->segments[r->segment_count - 1].count;
    return w;
}

static void source_add(kg_builder *b, const kg_weight *from)
{
    built *t = b->b;
    if (!room(b, &t->sources, &b->sources, t->source_count, sizeof *t->sources))
        return;
    t->sources[t->source_count++] = (source){kg_file_ref(from->file), from->offset, from->shape[0]};
    t->first[t->r.weight_count] = t->source_count;
}

void kg_builder_weight(kg_builder *b, int rank, const int64_t *shape, const char *format, ...)
{
    char name[KG_NAME_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(name, sizeof name, format, args);
    va_end(args);
    kg_weight found;
    if (!b || b->status || (b->status = kg_checkpoint_need(b->ck, name, rank, shape, &found)))
        return;
    kg_weight *w = weight_add(b, found.name, found.dtype, found.rank, found.shape);
    if (w) {
        source_add(b, &found);
        w->file = found.file;
        w->offset = found.offset;
    }
}

void kg_builder_rows(kg_builder *b, int rank, const int64_t *shape, int n, const char *const *names)
{
    int64_t part[KG_RANK];
    if (!b || b->status)
        return;
    memcpy(part, shape, (size_t)rank * sizeof *shape);
    part[0] /= n;
    kg_weight *made = NULL;
    for (int i = 0; i < n && !b->status; ++i) {
        kg_weight found;
        if ((b->status = kg_checkpoint_need(b->ck, names[i], rank, part, &found)))
            return;
        if (!i)
            made = weight_add(b, found.name, found.dtype, rank, shape);
        if (made && found.dtype != made->dtype)
            b->status = kg_fail(KG_INPUT, "'%s': tensors '%s' (%s) and '%s' (%s) must have one type", found.file->path,
                                made->name, kg_dtype_name(made->dtype), found.name, kg_dtype_name(found.dtype));
        else if (made)
            source_add(b, &found);
    }
    b->fused = 1;
}

void kg_builder_made(kg_builder *b, kg_dtype dtype, int rank, const int64_t *shape, const char *name)
{
    if (b && !b->status)
        weight_add(b, name, dtype, rank, shape);
}

void kg_builder_fill_with(kg_builder *b, kg_fill_fn *fill)
{
    if (b)
        b->fill = fill;
}

kg_status kg_builder_fill(kg_exec *x, const kg_resource *r, int segment, const kg_tensor *out)
{
    const built *b = (const built *)r;
    const kg_segment *s = &r->segments[segment];
    for (int i = 0; i < s->count; ++i) {
        int64_t row = 0;
        for (int j = b->first[s->first + i]; j < b->first[s->first + i + 1]; ++j) {
            const source *from = &b->sources[j];
            if (kg_read(x, kg_slice(out[i], row, from->rows), from->file, from->offset))
                return kg_error_last()->status ? kg_error_last()->status : KG_CANCELLED;
            row += from->rows;
        }
    }
    return KG_OK;
}

/* All files of the checkpoint, whatever part of each is used. */
static kg_status take_files(built *t, const kg_checkpoint *ck)
{
    int n = kg_checkpoint_files(ck);
    t->files = calloc((size_t)n + 1, sizeof *t->files);
    if (!t->files)
        return kg_fail(KG_FAILED, "out of memory for the weights of '%s'", kg_checkpoint_path(ck));
    for (int i = 0; i < n; ++i)
        t->files[i] = kg_file_ref(kg_checkpoint_file(ck, i));
    t->r.files = t->files;
    t->r.file_count = n;
    kg_checkpoint_layout(ck, t->r.layout);
    return KG_OK;
}

kg_resource *kg_builder_done(kg_builder *b, void *config, void (*config_destroy)(void *config))
{
    if (!b) {
        if (config_destroy)
            config_destroy(config);
        return NULL;
    }
    built *t = b->b;
    t->config = config;
    t->config_destroy = config_destroy;
    t->r.config = config;
    t->r.fill = b->fill ? b->fill : b->fused ? kg_builder_fill : NULL;
    kg_status status = b->status ? b->status : take_files(t, b->ck);
    free(b);
    if (status) {
        built_free(t);
        return NULL;
    }
    kg_resource_seal(&t->r);
    return &t->r;
}
