/* kino inspect FILE: what a file is, told from its bytes, and what it says of itself: tensors and whose they are, sizes, streams, how it
 * was made. Any file has an answer; the status is 4 only where one is broken or cannot be read. */
#include <cjson/cJSON.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/plain.h"
#include "nodes/lib/known.h"
#include "nodes/lib/media.h"
#include "nodes/lib/media_clip.h"
#include "nodes/lib/provenance.h"
#include "nodes/lib/sniff.h"
#include "tools/kino_cli.h"

enum { TOLD_MAX = 8, STREAMS_MAX = 16 };

/* What is printed: lines for people, or one object. */
typedef struct report { cJSON *json; } report;

static void line(const report *r, const char *key, const char *text)
{
    if (r->json) {
        cJSON_AddStringToObject(r->json, key, text);
        return;
    }
    kino_print_plain(text, stdout);
    putchar('\n');
}

/* What a file is, on a line with its name. */
static void head(const report *r, const char *path, const char *what)
{
    if (r->json) {
        line(r, "file", path);
    } else {
        kino_print_plain(path, stdout);
        fputs(": ", stdout);
    }
    line(r, "what", what);
}

static void number(const report *r, const char *key, double n)
{
    if (r->json)
        cJSON_AddNumberToObject(r->json, key, n);
}

/* How it was made. */
static void note(const report *r, const char *text)
{
    cJSON *json = r->json ? cJSON_Parse(text) : NULL;
    if (json)
        cJSON_AddItemToObject(r->json, "made", json);
    else
        line(r, "made", text);
}

static kg_status made(const report *r, const kg_file *f)
{
    char *text = kg_provenance_read(f);
    if (text) {
        note(r, text);
    } else if (strstr(kg_error_last()->message, "does not say how it was made")) {
        kg_error_clear();
        if (!r->json)
            puts("it does not say how it was made");
    }
    free(text);
    return kg_error_last()->status;
}

/* ---- weights ---- */
static void tensor(const kg_weight *w, cJSON *list)
{
    char shape[128] = "";
    size_t used = 0;
    cJSON *o = list ? cJSON_CreateObject() : NULL, *dims = o ? cJSON_AddArrayToObject(o, "shape") : NULL;
    for (int k = 0; k < w->rank; ++k) {
        used += (size_t)snprintf(shape + used, sizeof shape - used, k ? ",%" PRId64 : "%" PRId64, w->shape[k]);
        if (dims)
            cJSON_AddItemToArray(dims, cJSON_CreateNumber((double)w->shape[k]));
    }
    if (list) {
        cJSON_AddStringToObject(o, "name", w->name);
        cJSON_AddStringToObject(o, "dtype", kg_dtype_name(w->dtype));
        cJSON_AddItemToArray(list, o);
        return;
    }
    kino_print_plain(w->name, stdout);
    printf("%*s %-5s [%s]\n", strlen(w->name) < 56 ? (int)(56 - strlen(w->name)) : 0, "", kg_dtype_name(w->dtype), shape);
}

static void models(const report *r, kg_checkpoint *ck)
{
    kg_told told[TOLD_MAX];
    char how[128];
    int n = kg_known_tell(ck, told, TOLD_MAX), quantised = kg_known_quantised(ck, how, sizeof how);
    cJSON *list = r->json ? cJSON_AddArrayToObject(r->json, "models") : NULL;
    for (int i = 0; i < n; ++i) {
        const kg_told *t = &told[i];
        int reads = t->reader && t->runs && !quantised;
        if (!list) {
            printf("%s%s%s; %s%s\n", t->what, quantised ? ", quantised " : "", how, reads ? t->reader : "",
                   reads ? " reads it" : "this version does not run it");
            continue;
        }
        cJSON *o = cJSON_CreateObject();
        cJSON_AddStringToObject(o, "what", t->what);
        cJSON_AddBoolToObject(o, "runs", reads);
        if (reads)
            cJSON_AddStringToObject(o, "reader", t->reader);
        if (quantised)
            cJSON_AddStringToObject(o, "quantised", how);
        cJSON_AddItemToArray(list, o);
    }
    if (!n && !list)
        printf("of no model that is known here%s%s\n", quantised ? "; quantised " : "", how);
}

static kg_status weights(const report *r, kg_files *files, const char *path)
{
    uint64_t bytes = 0;
    kg_checkpoint *ck = kg_checkpoint_open(files, path);
    if (!ck)
        return kg_error_last()->status;
    cJSON *list = r->json ? cJSON_AddArrayToObject(r->json, "tensors") : NULL;
    for (int i = 0; i < kg_checkpoint_count(ck); ++i) {
        bytes += kg_weight_bytes(kg_checkpoint_at(ck, i));
        tensor(kg_checkpoint_at(ck, i), list);
    }
    if (!list)
        printf("%d tensors, %.1f MiB\n", kg_checkpoint_count(ck), (double)bytes / 1048576.0);
    models(r, ck);
    if (kg_checkpoint_meta(ck, KG_PROVENANCE_KEY))
        note(r, kg_checkpoint_meta(ck, KG_PROVENANCE_KEY));
    kg_checkpoint_free(ck);
    return KG_OK;
}

/* ---- pictures and videos ---- */

static kg_status picture(const report *r, const kg_file *f)
{
    int64_t width, height;
    kg_status s = kg_png_size(f, &width, &height);
    if (s != KG_OK)
        return s;
    number(r, "width", (double)width);
    number(r, "height", (double)height);
    if (!r->json)
        printf("%" PRId64 "x%" PRId64 " pixels\n", width, height);
    return made(r, f);
}

#ifdef KG_AV
static void stream(const kg_clip_stream *s, cJSON *list)
{
    if (list) {
        cJSON *o = cJSON_CreateObject();
        cJSON_AddStringToObject(o, "type", s->type);
        cJSON_AddStringToObject(o, "codec", s->codec);
        if (s->width)
            cJSON_AddNumberToObject(o, "width", (double)s->width), cJSON_AddNumberToObject(o, "height", (double)s->height);
        if (s->rate > 0)
            cJSON_AddNumberToObject(o, "rate", s->rate);
        if (s->frames)
            cJSON_AddNumberToObject(o, "frames", (double)s->frames);
        cJSON_AddItemToArray(list, o);
        return;
    }
    printf("%s: %s", s->type, s->codec);
    if (s->width)
        printf(", %" PRId64 "x%" PRId64, s->width, s->height);
    if (s->frames)
        printf(", %" PRId64 " frames", s->frames);
    if (s->rate > 0)
        printf(s->width ? ", %g a second" : ", %g Hz", s->rate);
    putchar('\n');
}

static kg_status streams(const report *r, const kg_file *f)
{
    kg_clip_stream s[STREAMS_MAX];
    int n = 0;
    kg_status status = kg_clip_streams(f, s, STREAMS_MAX, &n);
    cJSON *list = r->json && status == KG_OK ? cJSON_AddArrayToObject(r->json, "streams") : NULL;
    for (int i = 0; i < n && status == KG_OK; ++i)
        stream(&s[i], list);
    return status;
}
#else
static kg_status streams(const report *r, const kg_file *f)
{
    (void)f;
    if (!r->json)
        puts("this kino was built without FFmpeg: it cannot look at the streams");
    return KG_OK;
}
#endif

/* ---- any file ---- */
static int is_index(const char *path)
{
    static const char end[] = ".index.json";
    size_t n = strlen(path);
    return n >= sizeof end && !strcmp(path + n - sizeof end + 1, end);
}

static kg_status one_file(const report *r, kg_files *files, const kg_file *f, const char *path)
{
    kg_sniffed s;
    kg_status status = kg_sniff_file(f, &s);
    if (status != KG_OK)
        return status;
    head(r, path, s.what);
    number(r, "bytes", (double)f->size);
    if (s.form == KG_FORM_SAFETENSORS || (s.form == KG_FORM_JSON && is_index(path)))
        return weights(r, files, path);
    if (s.form == KG_FORM_PNG)
        return picture(r, f);
    if (s.form == KG_FORM_VIDEO) {
        status = streams(r, f);
        return status == KG_OK && !strncmp(s.what, "an MP4", 6) ? made(r, f) : status;      /* others have no note of ours */
    }
    if (s.form == KG_FORM_SCRIPT && !r->json)
        printf("kino run FILE --help lists what it takes\n");
    return KG_OK;
}

kg_status kino_inspect(kino_options *o)
{
    struct stat st;
    if (!o->target)
        return kg_fail(KG_USAGE, "kino inspect wants a file");
    kg_files *files = kg_files_new();
    report r = {.json = o->json ? cJSON_CreateObject() : NULL};
    kg_status s = kg_files_grant(files, o->target);
    if (s == KG_OK && !stat(o->target, &st) && S_ISDIR(st.st_mode)) {
        head(&r, o->target, "a folder");
        s = weights(&r, files, o->target);
    } else if (s == KG_OK) {
        kg_file *f = kg_open(files, o->target);
        s = f ? one_file(&r, files, f, o->target) : kg_error_last()->status;
        kg_file_unref(f);
    }
    char *text = r.json && s == KG_OK ? cJSON_PrintUnformatted(r.json) : NULL;
    if (text) {
        kg_plain(text);
        puts(text);
    }
    free(text);
    cJSON_Delete(r.json);
    kg_files_free(files);
    return s;
}
