/* Goldens in tests: expected tensors from tests/golden/data/NAME.safetensors, and the files that its recipe describes (weights,
 * inputs), made in a folder of their own. tools/golden/common.py says what a recipe is; the two make the same bits, and each file's
 * BLAKE2b is checked. Nothing here is the engine's: a fault of its readers cannot hide in both. */
#ifndef KG_TESTS_GOLDEN_H
#define KG_TESTS_GOLDEN_H

#include <blake2.h>
#include <cjson/cJSON.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/test.h"

typedef struct golden {
    char name[64], folder[256];    /* folder: "" when there is no recipe */
    char *bytes, *data;            /* the file, and where its tensors start */
    cJSON *header, *recipe;
} golden;

/* A golden that cannot be read is a broken checkout, not a finding: the test program ends. */
static inline void golden_die(const char *what, const char *name)
{
    fprintf(stderr, "golden: %s: %s\n", what, name);
    exit(1);
}

static inline char *golden_slurp(const char *path, size_t *size)
{
    FILE *f = fopen(path, "rb");
    struct stat s;
    if (!f || fstat(fileno(f), &s))
        golden_die("cannot open", path);
    char *bytes = malloc((size_t)s.st_size + 1);
    *size = fread(bytes, 1, (size_t)s.st_size, f);
    bytes[*size] = 0;
    fclose(f);
    return bytes;
}

/* ---- values of a recipe ---- */
static inline uint64_t golden_name_hash(const char *name)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (; *name; ++name)
        h = (h ^ (unsigned char)*name) * 0x100000001b3u;
    return h;
}

static inline uint16_t golden_bf16(float v)
{
    uint32_t bits;
    memcpy(&bits, &v, 4);
    return (uint16_t)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

static inline size_t golden_width(const char *dtype) { return strcmp(dtype, "f32") ? 2 : 4; }

/* Writes `count` values of the row, all but the first `live` of them zero. */
static inline void golden_fill(void *dst, const char *dtype, const char *name, uint64_t seed, double centre, double spread, int64_t count,
                        int64_t live)
{
    uint64_t state = golden_name_hash(name) + seed * 0x9e3779b97f4a7c15u;
    for (int64_t i = 0; i < count; ++i) {
        double u = (double)((int64_t)test_next(&state) >> 40) * 0x1p-23;
        float v = i < live ? (float)(centre + spread * u) : 0;
        if (!strcmp(dtype, "f32"))
            ((float *)dst)[i] = v;
        else if (!strcmp(dtype, "bf16"))
            ((uint16_t *)dst)[i] = golden_bf16(v);
        else
            ((_Float16 *)dst)[i] = (_Float16)v;
    }
}

/* ---- reading the golden ---- */
static inline const cJSON *golden_entry(const golden *g, const char *tensor)
{
    const cJSON *e = cJSON_GetObjectItemCaseSensitive(g->header, tensor);
    if (!e)
        golden_die("no such tensor", tensor);
    return e;
}

static inline int golden_has(const golden *g, const char *tensor)
{
    return cJSON_GetObjectItemCaseSensitive(g->header, tensor) != NULL;
}

static inline const void *golden_at(const golden *g, const char *tensor, size_t *bytes)
{
    const cJSON *range = cJSON_GetObjectItem(golden_entry(g, tensor), "data_offsets");
    double first = cJSON_GetArrayItem(range, 0)->valuedouble;
    *bytes = (size_t)(cJSON_GetArrayItem(range, 1)->valuedouble - first);
    return g->data + (size_t)first;
}

static inline const float *golden_f32(const golden *g, const char *tensor, int64_t *count)
{
    size_t bytes;
    const float *at = golden_at(g, tensor, &bytes);
    *count = (int64_t)(bytes / sizeof *at);
    return at;
}

static inline int64_t golden_size(const golden *g, const char *tensor, int dimension)
{
    return (int64_t)cJSON_GetArrayItem(cJSON_GetObjectItem(golden_entry(g, tensor), "shape"), dimension)->valuedouble;
}

static inline const char *golden_meta(const golden *g, const char *key)
{
    const cJSON *v = cJSON_GetObjectItem(cJSON_GetObjectItem(g->header, "__metadata__"), key);
    return v ? v->valuestring : NULL;
}

/* ---- making the files of a recipe ---- */
static inline const char *golden_path(const golden *g, const char *file)
{
    static _Thread_local char path[4][512];
    static _Thread_local int turn;
    char *p = path[turn++ & 3];
    snprintf(p, sizeof path[0], "%s/%s", g->folder, file);
    return p;
}

typedef struct golden_writer { FILE *f; cJSON *header; size_t at; blake2b_state hash; } golden_writer;

static inline void golden_declare(golden_writer *w, const char *name, const char *dtype, const cJSON *shape, size_t bytes)
{
    cJSON *e = cJSON_AddObjectToObject(w->header, name);
    cJSON_AddStringToObject(e, "dtype", dtype);
    cJSON_AddItemToObject(e, "shape", cJSON_Duplicate(shape, 1));
    double range[2] = {(double)w->at, (double)(w->at + bytes)};
    cJSON_AddItemToObject(e, "data_offsets", cJSON_CreateDoubleArray(range, 2));
    w->at += bytes;
}

static inline const char *golden_text(const cJSON *row, int i) { return cJSON_GetArrayItem(row, i)->valuestring; }
static inline double golden_number(const cJSON *row, int i) { return cJSON_GetArrayItem(row, i)->valuedouble; }

static inline int64_t golden_count(const cJSON *row)
{
    int64_t n = 1;
    const cJSON *d;
    cJSON_ArrayForEach(d, cJSON_GetArrayItem(row, 1)) n *= (int64_t)d->valuedouble;
    return n;
}

static inline void golden_write_row(golden_writer *w, const cJSON *row, uint64_t seed)
{
    const char *dtype = golden_text(row, 2);
    int64_t count = golden_count(row), rows = (int64_t)golden_number(cJSON_GetArrayItem(row, 1), 0);
    size_t bytes = (size_t)count * golden_width(dtype);
    void *values = malloc(bytes);
    golden_fill(values, dtype, golden_text(row, 0), seed, golden_number(row, 3), golden_number(row, 4), count,
                count / rows * (int64_t)golden_number(row, 5));
    blake2b_update(&w->hash, values, bytes);
    fwrite(values, 1, bytes, w->f);
    free(values);
}

static inline void golden_check_hash(golden_writer *w, const cJSON *file)
{
    uint8_t digest[16];
    char hex[33];
    blake2b_final(&w->hash, digest, sizeof digest);
    for (int i = 0; i < 16; ++i)
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    if (strcmp(hex, cJSON_GetObjectItem(file, "blake2b")->valuestring))
        golden_die("the recipe gave other bytes than when the golden was made", cJSON_GetObjectItem(file, "file")->valuestring);
}

static inline void golden_write_file(const golden *g, const cJSON *file)
{
    golden_writer w = {.header = cJSON_CreateObject()};
    const cJSON *rows = cJSON_GetObjectItem(file, "tensors"), *copies = cJSON_GetObjectItem(file, "copies"), *r;
    cJSON_ArrayForEach(r, rows) {
        const char *dtype = golden_text(r, 2);
        golden_declare(&w, golden_text(r, 0), !strcmp(dtype, "f32") ? "F32" : !strcmp(dtype, "f16") ? "F16" : "BF16",
                       cJSON_GetArrayItem(r, 1), (size_t)golden_count(r) * golden_width(dtype));
    }
    size_t bytes;
    cJSON_ArrayForEach(r, copies) {
        const cJSON *e = golden_entry(g, r->valuestring);
        golden_at(g, r->valuestring, &bytes);
        golden_declare(&w, r->valuestring, cJSON_GetObjectItem(e, "dtype")->valuestring, cJSON_GetObjectItem(e, "shape"), bytes);
    }
    char *text = cJSON_PrintUnformatted(w.header);
    uint64_t length = strlen(text);
    w.f = fopen(golden_path(g, cJSON_GetObjectItem(file, "file")->valuestring), "wb");
    if (!w.f)
        golden_die("cannot write in", g->folder);
    fwrite(&length, 8, 1, w.f);
    fwrite(text, 1, length, w.f);
    blake2b_init(&w.hash, 16);
    cJSON_ArrayForEach(r, rows) golden_write_row(&w, r, (uint64_t)cJSON_GetObjectItem(file, "seed")->valuedouble);
    golden_check_hash(&w, file);
    cJSON_ArrayForEach(r, copies) {
        const void *at = golden_at(g, r->valuestring, &bytes);
        fwrite(at, 1, bytes, w.f);
    }
    fclose(w.f);
    free(text);
    cJSON_Delete(w.header);
}

/* The index names the shards, not the inputs beside them. */
static inline void golden_write_index(const golden *g, const char *name)
{
    cJSON *index = cJSON_CreateObject(), *map = cJSON_AddObjectToObject(index, "weight_map");
    const cJSON *file, *r;
    cJSON_ArrayForEach(file, cJSON_GetObjectItem(g->recipe, "files")) {
        const char *shard = cJSON_GetObjectItem(file, "file")->valuestring;
        if (strcmp(shard, "inputs.safetensors"))
            cJSON_ArrayForEach(r, cJSON_GetObjectItem(file, "tensors")) cJSON_AddStringToObject(map, golden_text(r, 0), shard);
    }
    char *text = cJSON_Print(index);
    FILE *f = fopen(golden_path(g, name), "wb");
    fwrite(text, 1, strlen(text), f);
    fclose(f);
    free(text);
    cJSON_Delete(index);
}

static inline void golden_expand(golden *g, const char *recipe)
{
    const cJSON *e;
    g->recipe = cJSON_Parse(recipe);
    char here[200];
    if (!getcwd(here, sizeof here))
        golden_die("no current folder for", g->name);
    snprintf(g->folder, sizeof g->folder, "%s/golden-XXXXXX", here);
    if (!g->recipe || !mkdtemp(g->folder))
        golden_die("cannot expand", g->name);
    cJSON_ArrayForEach(e, cJSON_GetObjectItem(g->recipe, "files")) golden_write_file(g, e);
    if (cJSON_IsString(cJSON_GetObjectItem(g->recipe, "index")))
        golden_write_index(g, cJSON_GetObjectItem(g->recipe, "index")->valuestring);
    cJSON_ArrayForEach(e, cJSON_GetObjectItem(g->recipe, "raw")) {
        size_t bytes;
        const void *at = golden_at(g, e->valuestring, &bytes);
        FILE *f = fopen(golden_path(g, e->string), "wb");
        fwrite(at, 1, bytes, f);
        fclose(f);
    }
}

static inline void golden_open(golden *g, const char *name)
{
    char path[512];
    size_t size;
    *g = (golden){0};
    snprintf(g->name, sizeof g->name, "%s", name);
    snprintf(path, sizeof path, "%s/tests/golden/data/%s.safetensors", KG_SOURCE_DIR, name);
    g->bytes = golden_slurp(path, &size);
    uint64_t length;
    memcpy(&length, g->bytes, 8);
    g->header = cJSON_ParseWithLength(g->bytes + 8, length);
    g->data = g->bytes + 8 + length;
    if (!g->header)
        golden_die("malformed", path);
    if (golden_meta(g, "recipe"))
        golden_expand(g, golden_meta(g, "recipe"));
}

/* An input that has a recipe, as f32 values, malloc. */
static inline float *golden_input(const golden *g, const char *tensor, int64_t *count)
{
    const cJSON *file, *row;
    cJSON_ArrayForEach(file, cJSON_GetObjectItem(g->recipe, "files")) cJSON_ArrayForEach(row, cJSON_GetObjectItem(file, "tensors"))
    {
        if (strcmp(golden_text(row, 0), tensor))
            continue;
        *count = golden_count(row);
        float *out = malloc((size_t)*count * sizeof *out);
        golden_fill(out, "f32", tensor, (uint64_t)cJSON_GetObjectItem(file, "seed")->valuedouble, golden_number(row, 3),
                    golden_number(row, 4), *count,
                    *count / (int64_t)golden_number(cJSON_GetArrayItem(row, 1), 0) * (int64_t)golden_number(row, 5));
        return out;
    }
    golden_die("no such input", tensor);
    return NULL;
}

/* A folder that lies beside the golden: what a reference library wrote itself. */
static inline const char *golden_saved(const char *name, const char *file)
{
    static _Thread_local char path[512];
    snprintf(path, sizeof path, "%s/tests/golden/data/%s/%s", KG_SOURCE_DIR, name, file);
    return path;
}

static inline void golden_close(golden *g)
{
    const cJSON *e;
    if (g->recipe) {
        cJSON_ArrayForEach(e, cJSON_GetObjectItem(g->recipe, "files")) unlink(golden_path(g, cJSON_GetObjectItem(e, "file")->valuestring));
        cJSON_ArrayForEach(e, cJSON_GetObjectItem(g->recipe, "raw")) unlink(golden_path(g, e->string));
        if (cJSON_IsString(cJSON_GetObjectItem(g->recipe, "index")))
            unlink(golden_path(g, cJSON_GetObjectItem(g->recipe, "index")->valuestring));
        rmdir(g->folder);
    }
    cJSON_Delete(g->recipe);
    cJSON_Delete(g->header);
    free(g->bytes);
}

/* CHECKs that got is `tensor` within `most` in relative L2, and says the figure: the mutation runner reads these lines. */
static inline void golden_compare(const golden *g, const char *tensor, const float *got, int64_t count, double most)
{
    int64_t n;
    const float *want = golden_f32(g, tensor, &n);
    double error = n == count ? test_error(got, want, n) : INFINITY;
    printf("golden %s %s error %.3e limit %.1e\n", g->name, tensor, error, most);
    CHECK(n == count, "%s of %s: %lld values, expected %lld", tensor, g->name, (long long)count, (long long)n);
    CHECK(error <= most, "%s of %s: relative error %.3e, at most %.1e", tensor, g->name, error, most);
}

#endif
