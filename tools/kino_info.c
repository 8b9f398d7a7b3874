/* Commands that only tell: cache, version. */
#include <cjson/cJSON.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/param.h"
#include "core/words.h"
#include "core/plain.h"
#include "kernels/kernel.h"
#include "tools/kino_cli.h"

kg_status kino_version(kino_options *o)
{
    int walls = kg_script_walls_here();          /* a process of its own, before there are threads */
    int landlock = walls & KG_WALL_LANDLOCK, seccomp = walls & KG_WALL_SECCOMP;
    kg_device *d = kg_cpu_new(1);
    const char *av =
#ifdef KG_AV
        "with";
#else
        "without";
#endif
    if (o->json)
        printf("{\"version\":\"%s\",\"numerics\":\"%s\",\"walls\":{\"seccomp\":%s,\"landlock\":%s}}\n", KINO_VERSION, d ? d->tag : "",
               seccomp ? "true" : "false", landlock ? "true" : "false");
    else
        printf("kinograph %s\nnumerics %s\n%s FFmpeg (video.load, video.save), %s CUDA\n"
               "walls around scripts: %s (files and network), %s (files)%s\n", KINO_VERSION, d ? d->tag : "", av,
               KG_CUDA_BUILT ? "with" : "without", seccomp ? "seccomp" : "no seccomp", landlock ? "Landlock" : "no Landlock",
               seccomp ? "" : ": scripts are refused without --no-walls");
    kg_device_free(d);
    return KG_OK;
}

/* ---- cache ---- */

/* A name from a file, as JSON or for a terminal. */
static void print_name(const char *name, int json)
{
    cJSON *item = json ? cJSON_CreateString(name) : NULL;
    char *text = item ? cJSON_PrintUnformatted(item) : NULL;
    if (text) {
        kg_plain(text);
        fputs(text, stdout);
    } else
        kino_print_plain(name, stdout);
    free(text);
    cJSON_Delete(item);
}

static int list_item(void *arg, const kg_cache_item *i)
{
    char hex[65], words[KG_WORDS];
    kg_key_hex(&i->row.key, hex);
    if (*(int *)arg)
        printf("{\"key\":\"%s\",\"kind\":\"%s\",\"bytes\":%zu,\"seconds\":%.3f,\"hits\":%" PRId64 ",\"step\":%" PRId64
               "}\n",
               hex, i->row.kind, i->row.bytes, i->row.seconds, i->hits, i->row.step);
    else
        printf("%.16s  %-18s %10.1f KiB  %12s  %4" PRId64 " hits\n", hex, i->row.kind, (double)i->row.bytes / 1024,
               kg_words_seconds(i->row.seconds, words, sizeof words), i->hits);
    return 0;
}

static void finding(void *arg, const char *line)
{
    (void)arg;
    puts(line);
}

static kg_status cache_command(const kino_options *o, kg_cache *c)
{
    int json = o->json;
    if (!strcmp(o->target, "ls"))
        return kg_cache_ls(c, list_item, &json) < 0 ? kg_error_last()->status : KG_OK;
    if (!strcmp(o->target, "stat")) {
        kg_cache_totals t;
        kg_status s = kg_cache_stat(c, &t);
        if (s != KG_OK)
            return s;
        fputs(json ? "{\"path\":" : "", stdout);
        print_name(t.path, json);
        uint64_t bytes = t.result_bytes + t.checkpoint_bytes;
        if (json)
            printf(",\"results\":%" PRId64 ",\"checkpoints\":%" PRId64 ",\"bytes\":%" PRIu64 ",\"saved\":%.1f}\n", t.results, t.checkpoints,
                   bytes, t.saved);
        else
            printf(": %" PRId64 " results, %" PRId64 " checkpoints, %" PRIu64 " bytes, %s saved\n", t.results, t.checkpoints, bytes,
                   kg_words_seconds(t.saved, (char[KG_WORDS]){0}, KG_WORDS));
        return KG_OK;
    }
    if (!strcmp(o->target, "gc")) {
        kg_cache_gc_result r;
        kg_status s = kg_cache_gc(c, UINT64_MAX, &r);
        if (s == KG_OK)
            printf("dropped %" PRId64 " results, %" PRId64 " checkpoints, %" PRIu64 " bytes\n", r.results, r.checkpoints, r.bytes);
        return s;
    }
    kg_cache_verify_result r = {0};
    kg_status s = kg_cache_verify(c, finding, NULL, &r);
    printf("%" PRId64 " rows, %" PRIu64 " bytes: %" PRId64 " bad, %" PRId64 " problems\n", r.rows, r.bytes, r.bad, r.problems);
    return s;
}

kg_status kino_cache(kino_options *o)
{
    static const char *const words[] = {"ls", "stat", "gc", "verify"};
    int known = 0;
    for (int i = 0; i < 4 && o->target; ++i)
        known |= !strcmp(o->target, words[i]);
    if (!known)
        return kg_fail(KG_USAGE, "kino cache ls|stat|gc|verify");
    kg_cache_options c = {.existing = 1};
    kino_cache_options(o, &c);
    char path[4096];
    if (strcmp(o->target, "verify") && kg_cache_path(&c, path, sizeof path) && access(path, F_OK)) {
        if (!o->json)
            puts("there is no cache yet");
        return KG_OK;
    }
    kg_cache *cache = kg_cache_open(&c);
    if (!cache)
        return kg_error_last()->status;
    kg_status s = cache_command(o, cache);
    kg_cache_close(cache);
    return s;
}
