/* Which device a run has: --device, --precision, and kino devices, which shows all that there are. */
#include <cjson/cJSON.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "kernels/kernel.h"
#include "tools/kino_cli.h"

/* For tests of what a failing card does to a run: --fault alloc|copy|kernel:N, the N-th from the start on. */
static kg_status inject(const kino_options *o, kg_device *d)
{
    static const char *const kinds[] = {"", "alloc", "copy", "kernel"};
    const char *colon = o->fault ? strchr(o->fault, ':') : NULL;
    long n = 0;
    if (!colon || !kino_digits(colon + 1, INT_MAX, &n))
        n = 0;
    for (int k = KG_FAULT_ALLOC; k <= KG_FAULT_KERNEL && n > 0; ++k)
        if (strlen(kinds[k]) == (size_t)(colon - o->fault) && !strncmp(o->fault, kinds[k], strlen(kinds[k]))) {
            kg_cuda_fault(d, k, n);
            return KG_OK;
        }
    return kg_fail(KG_USAGE, "--fault is alloc, copy or kernel, a colon and a number, not \"%s\"", o->fault);
}

static kg_device *card(const kino_options *o, int index)
{
    kg_device *d = kg_cuda_new(index);
    if (d && (kino_tuned(d) != KG_OK || (o->fault && inject(o, d) != KG_OK))) {
        kg_device_free(d);
        d = NULL;
    }
    return d;
}

/* Is there a card, or a driver for one? Where there is neither, kino devices says so, and no run repeats it. */
static int card_expected(void)
{
    return kg_cuda_count() > 0 || !access("/proc/driver/nvidia/version", F_OK) || !access("/dev/dxg", F_OK);
}

kg_device *kino_device(const kino_options *o)
{
    const char *name = o->device ? o->device : "auto";
    if (kino_card(name) >= 0)
        return card(o, kino_card(name));
    if (strcmp(name, "auto") && strcmp(name, "cpu")) {
        kg_fail(KG_USAGE, "--device is auto, cpu or cuda[:N], not \"%s\"", name);
        return NULL;
    }
    if (!strcmp(name, "auto") && KG_CUDA_BUILT) {
        kg_device *d = card(o, 0);
        if (d || kg_error_last()->status == KG_USAGE || kg_error_last()->status == KG_INPUT)
            return d;
        if (card_expected())
            kg_log("on the CPU: %s", kg_error_last()->message);
        kg_error_clear();
    }
    if (o->fault) {
        kg_fail(KG_USAGE, "--fault is for cards");
        return NULL;
    }
    return kg_cpu_new(o->threads);
}

kg_status kino_precision(const kino_options *o, const kg_device *d, int *out)
{
    static const char *const names[] = {"auto", "f32", "bf16", "f16"};
    const char *p = o->precision ? o->precision : "auto";
    for (int i = 0; i < 4; ++i)
        if (!strcmp(p, names[i])) {
            *out = i ? i : d->precision;
            if (*out == KG_PRECISION_F16 && !strcmp(d->class_name, "cpu"))
                return kg_fail(KG_USAGE, "--precision f16 is for cards; a CPU computes in f32 or bf16");
            return KG_OK;
        }
    return kg_fail(KG_USAGE, "--precision is auto, f32, bf16 or f16, not \"%s\"", p);
}

/* ---- kino devices ---- */
static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void device_json(const char *name, const kg_device *d, const char *text, double seconds)
{
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "device", name);
    cJSON_AddStringToObject(o, "numerics", d->tag);
    cJSON_AddNumberToObject(o, "start", seconds);
    cJSON_AddItemToObject(o, "profile", cJSON_Parse(text));
    char *line = cJSON_PrintUnformatted(o);
    fputs(line ? line : "{}", stdout);
    free(line);
    cJSON_Delete(o);
}

static void device_text(const char *name, const kg_device *d, const char *text, double seconds)
{
    char words[512] = "";
    if (!strcmp(d->class_name, "cuda"))
        kg_cuda_describe(d, words, sizeof words);
    else
        snprintf(words, sizeof words, "%d threads, %.1f GiB", d->profile.threads, (double)d->profile.memory / 0x1p30);
    printf("%s: %s, %s\n  started in %.2f s, numerics %s\n  profile %s\n", name, d->profile.name, words, seconds, d->tag, text);
}

/* One device's lines; when it cannot be used they say why. */
static void show(const kino_options *o, const char *name, kg_device *d, double seconds, int first)
{
    char text[2048];
    if (o->json && !first)
        fputc(',', stdout);
    if (d) {
        kg_profile_dump(&d->profile, text, sizeof text);
        (o->json ? device_json : device_text)(name, d, text, seconds);
    } else if (o->json) {
        cJSON *e = cJSON_CreateObject();
        cJSON_AddStringToObject(e, "device", name);
        cJSON_AddStringToObject(e, "error", kg_error_last()->message);
        char *line = cJSON_PrintUnformatted(e);
        fputs(line ? line : "{}", stdout);
        free(line);
        cJSON_Delete(e);
    } else {
        printf("%s: cannot be used: %s\n", name, kg_error_last()->message);
    }
    kg_device_free(d);
    kg_error_clear();
}

kg_status kino_devices(kino_options *o)
{
    if (o->json)
        fputc('[', stdout);
    int cards = kg_cuda_count();
    double began = now();
    kg_device *d = kg_cpu_new(o->threads);
    show(o, "cpu", d, now() - began, 1);
    for (int i = 0; i < cards || !i; ++i) {
        char name[32];
        snprintf(name, sizeof name, "cuda:%d", i);
        began = now();
        d = card(o, i);
        show(o, name, d, now() - began, 0);
    }
    if (o->json)
        puts("]");
    return KG_OK;
}
