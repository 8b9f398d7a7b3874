/* Opening a checkpoint and finding tensors in it.
 *
 * Invariants: `weights` is sorted by name and holds every name once; each row's bytes lie inside its file, which stays open as
 * long as the checkpoint (kg_safetensors_parse has judged it). */
#include "nodes/lib/weights.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/key.h"
#include "nodes/lib/index.h"
#include "nodes/lib/safetensors.h"
#include "nodes/lib/sniff.h"

enum { TRANSLATORS_MAX = 8, NEAR_MAX = 8192, INDEX_BYTES_MAX = 64 << 20 };

typedef struct shard { kg_file *file; kg_safetensors table; } shard;
typedef struct translator { const kg_alias *table; kg_translate_fn *fn; const void *arg; } translator;

struct kg_checkpoint {
    kg_files *files;
    char *path;                    /* as asked for                                       */
    shard *shards;
    int shard_count;
    kg_weight *weights;
    int count;
    uint8_t *asked;                /* by weight: a node has asked for it                 */
    translator translators[TRANSLATORS_MAX];
    int translator_count;
    const char *prefix;
};

/* ---- opening ---- */

static int by_name(const void *a, const void *b)
{
    return strcmp(((const kg_weight *)a)->name, ((const kg_weight *)b)->name);
}

static const kg_weight *exact(const kg_weight *sorted, int n, const char *name)
{
    const kg_weight key = {.name = name};
    return bsearch(&key, sorted, (size_t)n, sizeof *sorted, by_name);
}

/* Takes the file (which may be NULL after an error). */
static kg_status shard_add(kg_checkpoint *ck, kg_file *file)
{
    if (!file)
        return kg_error_last()->status;
    shard *s = &ck->shards[ck->shard_count++];
    s->file = file;
    kg_status status = kg_safetensors_read(&s->table, file);
    for (int i = 0; !status && i < s->table.n; ++i)
        s->table.rows[i].file = file;
    return status;
}

static kg_status tables_new(kg_checkpoint *ck, int shards, int tensors)
{
    ck->shards = ck->shards ? ck->shards : calloc((size_t)shards, sizeof *ck->shards);
    if (tensors >= 0) {
        ck->weights = calloc((size_t)tensors + 1, sizeof *ck->weights);
        ck->asked = calloc((size_t)tensors + 1, 1);
    }
    if (!ck->shards || (tensors >= 0 && (!ck->weights || !ck->asked)))
        return kg_fail(KG_FAILED, "out of memory for the tensors of '%s'", ck->path);
    return KG_OK;
}

static kg_status open_single(kg_checkpoint *ck, kg_file *file)
{
    kg_status status = tables_new(ck, 1, -1);
    if (status)
        kg_file_unref(file);
    else
        status = shard_add(ck, file);
    if (!status)
        status = tables_new(ck, 1, ck->shards[0].table.n);
    if (status)
        return status;
    ck->count = ck->shards[0].table.n;
    memcpy(ck->weights, ck->shards[0].table.rows, (size_t)ck->count * sizeof *ck->weights);
    qsort(ck->weights, (size_t)ck->count, sizeof *ck->weights, by_name);
    return KG_OK;
}

/* The index says where each tensor is; what a shard holds beside it is not the set's. */
static kg_status open_rows(kg_checkpoint *ck, const kg_index *index, const kg_file *file)
{
    kg_weight *sorted = NULL;
    kg_status status = KG_OK;
    int n = 0;
    for (int i = 0; i < index->n && !status; ++i) {
        const kg_index_row *row = &index->rows[i];
        if (!i || strcmp(index->rows[i - 1].shard, row->shard)) {
            status = shard_add(ck, kg_open_beside(ck->files, file, row->shard));
            if (status)
                break;
            const kg_safetensors *table = &ck->shards[ck->shard_count - 1].table;
            n = table->n;
            sorted = table->rows;
            qsort(sorted, (size_t)n, sizeof *sorted, by_name);
        }
        const kg_weight *w = exact(sorted, n, row->tensor);
        if (w)
            ck->weights[ck->count++] = *w;
        else
            status = kg_fail(KG_INPUT, "'%s': the index has tensor '%s' here, the shard has not",
                             ck->shards[ck->shard_count - 1].file->path, row->tensor);
    }
    qsort(ck->weights, (size_t)ck->count, sizeof *ck->weights, by_name);
    return status;
}

/* Takes the file. */
static kg_status open_sharded(kg_checkpoint *ck, kg_file *file)
{
    size_t n;
    kg_index index = {0};
    kg_status sure = kg_sniff_want(file, KG_FORM_JSON, "index of safetensors files");
    char *text = sure ? NULL : kg_file_text(file, INDEX_BYTES_MAX, &n);
    kg_status status = text ? kg_index_parse(&index, file->path, text, n) : kg_error_last()->status;
    if (!status)
        status = tables_new(ck, index.shards, index.n);
    if (!status)
        status = open_rows(ck, &index, file);
    kg_index_free(&index);
    free(text);
    kg_file_unref(file);
    return status;
}

static int ends_with(const char *s, const char *end)
{
    size_t n = strlen(s), m = strlen(end);
    return n >= m && !strcmp(s + n - m, end);
}

/* The file that stands for a path: itself, or what a folder of that name holds. */
static kg_file *open_path(kg_files *f, const char *path)
{
    static const char *const usual[] = {
        "diffusion_pytorch_model.safetensors.index.json", "model.safetensors.index.json",
        "diffusion_pytorch_model.safetensors", "model.safetensors"};
    char inside[PATH_MAX];
    size_t n = path ? strlen(path) : 0;
    if (!n || kg_exists(f, path))
        return kg_open(f, path);
    for (size_t i = 0; i < sizeof usual / sizeof *usual; ++i)
        if (snprintf(inside, sizeof inside, "%s%s%s", path, path[n - 1] == '/' ? "" : "/",
                     usual[i]) < (int)sizeof inside && kg_exists(f, inside))
            return kg_open(f, inside);
    kg_file *none = kg_open(f, path);      /* says why */
    kg_hint("a folder of weights holds %s or %s, or the index of its shards", usual[2], usual[3]);
    return none;
}

kg_checkpoint *kg_checkpoint_open(kg_files *f, const char *path)
{
    kg_file *file = open_path(f, path);
    if (!file)
        return NULL;
    kg_checkpoint *ck = calloc(1, sizeof *ck);
    if (!ck || !(ck->path = strdup(file->path))) {
        kg_fail(KG_FAILED, "out of memory to open '%s'", file->path);
        kg_file_unref(file);
        free(ck);
        return NULL;
    }
    ck->files = f;
    ck->prefix = "";
    kg_sniffed s = {0};
    kg_status status = kg_sniff_file(file, &s);
    if (status)
        kg_file_unref(file);
    else
        status = s.form == KG_FORM_JSON || ends_with(file->path, ".json") ? open_sharded(ck, file) : open_single(ck, file);
    if (status) {
        kg_checkpoint_free(ck);
        return NULL;
    }
    return ck;
}

void kg_checkpoint_free(kg_checkpoint *ck)
{
    if (!ck)
        return;
    for (int i = 0; i < ck->shard_count; ++i) {
        kg_safetensors_free(&ck->shards[i].table);
        kg_file_unref(ck->shards[i].file);
    }
    free(ck->shards);
    free(ck->weights);
    free(ck->asked);
    free(ck->path);
    free(ck);
}

const char *kg_checkpoint_path(const kg_checkpoint *ck) { return ck->path; }
int kg_checkpoint_count(const kg_checkpoint *ck) { return ck->count; }
const kg_weight *kg_checkpoint_at(const kg_checkpoint *ck, int i) { return &ck->weights[i]; }

const char *kg_checkpoint_meta(const kg_checkpoint *ck, const char *key)
{
    return kg_safetensors_meta(&ck->shards[0].table, key);
}

/* ---- finding ---- */

static void translator_add(kg_checkpoint *ck, translator t)
{
    if (ck->translator_count < TRANSLATORS_MAX)
        ck->translators[ck->translator_count++] = t;
    else
        kg_fail(KG_FAILED, "more than %d dialects of tensor names", TRANSLATORS_MAX);
}

void kg_checkpoint_alias(kg_checkpoint *ck, const kg_alias *table)
{
    translator_add(ck, (translator){.table = table});
}

void kg_checkpoint_translate(kg_checkpoint *ck, kg_translate_fn *fn, const void *arg)
{
    translator_add(ck, (translator){.fn = fn, .arg = arg});
}

static const kg_weight *prefixed(const kg_checkpoint *ck, const char *name)
{
    char full[KG_NAME_MAX];
    if (!*ck->prefix)
        return exact(ck->weights, ck->count, name);
    if (snprintf(full, sizeof full, "%s%s", ck->prefix, name) >= (int)sizeof full)
        return NULL;
    return exact(ck->weights, ck->count, full);
}

const kg_weight *kg_checkpoint_find(const kg_checkpoint *ck, const char *name)
{
    char other[KG_NAME_MAX];
    const kg_weight *w = prefixed(ck, name);
    for (int i = 0; i < ck->translator_count && !w; ++i) {
        const translator *t = &ck->translators[i];
        if (t->fn && t->fn(t->arg, name, other, sizeof other))
            w = prefixed(ck, other);
        for (const kg_alias *row = t->table; row && row->official && !w; ++row)
            if (kg_alias_apply(row, name, other, sizeof other))
                w = prefixed(ck, other);
    }
    return w;
}

const kg_weight *kg_checkpoint_ending(const kg_checkpoint *ck, const char *part)
{
    for (int i = 0; i < ck->count; ++i) {
        const char *name = ck->weights[i].name;
        if (ends_with(name, part) && (strlen(name) == strlen(part) || name[strlen(name) - strlen(part) - 1] == '.'))
            return &ck->weights[i];
    }
    return NULL;
}

static const char *const prefixes[] = {"", "model.diffusion_model.", "diffusion_model.", "model.", "transformer.", "vae.",
    "first_stage_model.", "text_encoders.umt5xxl.transformer.", "umt5xxl.transformer.", "text_encoder."};
enum { PREFIXES = sizeof prefixes / sizeof *prefixes };

int kg_checkpoint_detect(kg_checkpoint *ck, const char *probe)
{
    for (int i = 0; i < PREFIXES; ++i) {
        ck->prefix = prefixes[i];
        if (kg_checkpoint_find(ck, probe))
            return 1;
    }
    ck->prefix = "";
    return 0;
}

void kg_checkpoint_forget(kg_checkpoint *ck)
{
    ck->translator_count = 0;
    ck->prefix = "";
}

/* Highest number + 1 of a pattern that names may begin with, after the prefix. */
static int numbered(const kg_checkpoint *ck, const char *pattern, int least)
{
    size_t skip = strlen(ck->prefix);
    for (int i = 0; i < ck->count; ++i) {
        const char *name = ck->weights[i].name;
        int n = strncmp(name, ck->prefix, skip) ? -1 : kg_name_number(pattern, name + skip);
        if (n >= least)
            least = n + 1;
    }
    return least;
}

int kg_checkpoint_blocks(const kg_checkpoint *ck, const char *pattern)
{
    int n = numbered(ck, pattern, 0);
    char other[KG_NAME_MAX];
    for (int i = 0; i < ck->translator_count && !n; ++i)
        for (const kg_alias *row = ck->translators[i].table; row && row->official; ++row) {
            const char *end = strncmp(row->official, pattern, strlen(pattern)) ? NULL : strstr(row->other, "%d");
            if (end && snprintf(other, sizeof other, "%.*s.", (int)(end + 2 - row->other), row->other) < (int)sizeof other)
                n = numbered(ck, other, n);
        }
    return n;
}

/* ---- needing ---- */

static void shape_text(char *out, size_t n, int rank, const int64_t *shape)
{
    size_t used = (size_t)snprintf(out, n, "[");
    for (int i = 0; i < rank && used < n; ++i)
        used += (size_t)(shape && shape[i] >= 0
                             ? snprintf(out + used, n - used, "%s%lld", i ? ", " : "", (long long)shape[i])
                             : snprintf(out + used, n - used, "%sany", i ? ", " : ""));
    if (used < n)
        snprintf(out + used, n - used, "]");
}

/* The name in the file nearest to an official one, or to what a dialect makes of it. */
static int nearest(const kg_checkpoint *ck, const char *name, const char *const *names, int n)
{
    char full[KG_NAME_MAX], other[KG_NAME_MAX];
    snprintf(full, sizeof full, "%s%s", ck->prefix, name);
    int near = kg_near(full, names, n);
    for (int i = 0; i < ck->translator_count; ++i)
        for (const kg_alias *row = ck->translators[i].table; row && row->official && near < 0; ++row)
            if (kg_alias_apply(row, name, other, sizeof other) &&
                snprintf(full, sizeof full, "%s%s", ck->prefix, other) < (int)sizeof full)
                near = kg_near(full, names, n);
    return near;
}

/* "-00001-of-00007" is how shards of one set are numbered. */
static int is_shard(const kg_checkpoint *ck)
{
    const char *of = strstr(ck->path, "-of-");
    return ck->shard_count == 1 && of && of - ck->path > 5 && strspn(of - 5, "0123456789") == 5 && strspn(of + 4, "0123456789") == 5;
}

static kg_status missing(const kg_checkpoint *ck, const char *name)
{
    kg_status status = kg_fail(KG_INPUT, "'%s' holds no tensor '%s%s'", ck->path, ck->prefix, name);
    int n = ck->count < NEAR_MAX ? ck->count : 0;
    const char **names = malloc(((size_t)n + 1) * sizeof *names);
    for (int i = 0; names && i < n; ++i)
        names[i] = ck->weights[i].name;
    int near = names ? nearest(ck, name, names, n) : -1;
    if (is_shard(ck))
        kg_hint("it is one shard of several: name their index, *.safetensors.index.json");
    else if (near >= 0)
        kg_hint("the nearest name in it is '%s'", names[near]);
    free(names);
    return status;
}

kg_status kg_checkpoint_need(const kg_checkpoint *ck, const char *name, int rank, const int64_t *shape, kg_weight *out)
{
    const kg_weight *w = kg_checkpoint_find(ck, name);
    if (!w)
        return missing(ck, name);
    int fits = !rank || w->rank == rank;
    for (int i = 0; fits && shape && i < rank; ++i)
        fits = shape[i] < 0 || shape[i] == w->shape[i];
    if (!fits) {
        char found[192], wanted[192];
        shape_text(found, sizeof found, w->rank, w->shape);
        shape_text(wanted, sizeof wanted, rank, shape);
        return kg_fail(KG_INPUT, "'%s': tensor '%s' has shape %s, expected %s", w->file->path, w->name, found, wanted);
    }
    if (w->dtype != KG_F32 && w->dtype != KG_F16 && w->dtype != KG_BF16)
        return kg_fail(KG_INPUT, "'%s': tensor '%s' has type %s; f32, f16 or bf16 can be computed with", w->file->path, w->name,
                       kg_dtype_name(w->dtype));
    ck->asked[w - ck->weights] = 1;
    if (out)
        *out = *w;
    return KG_OK;
}

/* Is a name of the part of the file that is read? Without a prefix that is all that has none. */
static int in_part(const kg_checkpoint *ck, const char *name)
{
    if (strncmp(name, ck->prefix, strlen(ck->prefix)))
        return 0;
    for (int i = 1; i < PREFIXES && !*ck->prefix; ++i)
        if (!strncmp(name, prefixes[i], strlen(prefixes[i])))
            return 0;
    return 1;
}

const kg_weight *kg_checkpoint_unasked(const kg_checkpoint *ck, uint64_t mark, int *n)
{
    const kg_weight *first = NULL;
    *n = 0;
    for (int i = 0; i < ck->count; ++i)
        if (!ck->asked[i] && in_part(ck, ck->weights[i].name) && kg_weight_bytes(&ck->weights[i]) > mark) {
            first = first ? first : &ck->weights[i];
            ++*n;
        }
    return first;
}

/* ---- for keys ---- */

int kg_checkpoint_files(const kg_checkpoint *ck) { return ck->shard_count; }
const kg_file *kg_checkpoint_file(const kg_checkpoint *ck, int i) { return ck->shards[i].file; }

static int shard_of(const kg_checkpoint *ck, const kg_file *file)
{
    int i = 0;
    while (i < ck->shard_count && ck->shards[i].file != file)
        ++i;
    return i;
}

/* An index may name any shard for a tensor that several of them hold. */
void kg_checkpoint_layout(const kg_checkpoint *ck, unsigned char out[32])
{
    memset(out, 0, sizeof(kg_key));
    if (ck->shard_count == 1)
        return;
    kg_hash *h = kg_hash_new();
    for (int i = 0; i < ck->count; ++i) {
        int shard = shard_of(ck, ck->weights[i].file);
        kg_hash_text(h, ck->weights[i].name);
        kg_hash_bytes(h, &shard, sizeof shard);
    }
    kg_key key = kg_hash_done(h);
    memcpy(out, key.b, sizeof key.b);
}
