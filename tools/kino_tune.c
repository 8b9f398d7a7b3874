/* kino tune: finds a card's fastest products once and keeps them in the config folder, a file for each kind of card; and what later
 * starts read of it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kernels/kernel.h"
#include "tools/kino_cli.h"

#define SECONDS 0.1

void kino_device_name(const char *before, const kg_device *d, char *out, size_t n)
{
    snprintf(out, n, "%s-%s", before, d->profile.name);
    for (char *c = out; *c; ++c)
        if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_", *c))
            *c = '-';
}

/* <config>/tuned-NVIDIA-H100-80GB-HBM3; 0: too long. */
static int path_of(const kg_device *d, char *out, size_t n)
{
    char name[80];
    kino_device_name("tuned", d, name, sizeof name);
    return kino_config(name, out, n);
}

kg_status kino_tuned(kg_device *d)
{
    char path[4096];
    if (!path_of(d, path, sizeof path) || access(path, R_OK))
        return KG_OK;
    char *text = kino_file_text(path);
    if (!text)
        return kg_error_last()->status;
    kg_status s = kg_cuda_tuned(d, text);
    free(text);
    if (s == KG_INPUT) {
        kg_error e = *kg_error_last();
        s = kg_fail(KG_INPUT, "%s: %s", path, e.message);
        kg_hint("kino tune writes it anew; without the file the built-in choices are taken");
    }
    return s;
}

typedef struct search { FILE *f; int found, tried; } search;

static int take(void *arg, const char *line, const char *words)
{
    search *s = arg;
    ++s->tried;
    if (*line)
        fprintf(s->f, "%s\n", line), ++s->found;
    kg_log("%s%s", words, *line ? "" : ": it stays");
    return kino_interrupted > 0;
}

kg_status kino_folder_of(char *path)
{
    for (char *c = path + 1; *c; ++c)
        if (*c == '/') {
            *c = 0;
            int e = mkdir(path, 0777) && errno != EEXIST ? errno : 0;
            if (e)
                kg_fail(KG_FAILED, "cannot make %s: %s", path, strerror(e));
            *c = '/';
            if (e)
                return KG_FAILED;
        }
    return KG_OK;
}

/* The file is replaced when all of it is there. */
static kg_status tune_into(const kino_options *o, kg_device *d, char *path)
{
    char part[4200];
    snprintf(part, sizeof part, "%s.%ld", path, (long)getpid());
    search s = {.f = kino_folder_of(path) == KG_OK ? fopen(part, "w") : NULL};
    if (!s.f)
        return kg_error_last()->status ? kg_error_last()->status : kg_fail(KG_FAILED, "cannot write %s: %s", part, strerror(errno));
    fprintf(s.f, "%s\n", d->tag);
    kg_status status = kg_cuda_tune(d, SECONDS, take, &s);
    int bad = ferror(s.f) | fclose(s.f);
    if (status == KG_OK && (bad || rename(part, path)))
        status = kg_fail(KG_FAILED, "cannot write %s: %s", path, strerror(errno));
    if (status != KG_OK) {
        unlink(part);
        return status;
    }
    if (o->json)
        printf("{\"event\":\"tuned\",\"tried\":%d,\"found\":%d}\n", s.tried, s.found);
    else
        printf("%s: %d of %d products have a faster algorithm than the library's first\n", path, s.found, s.tried);
    return KG_OK;
}

kg_status kino_tune(kino_options *o)
{
    char path[4096];
    const char *name = o->device && strcmp(o->device, "auto") ? o->device : "cuda";
    if (!strcmp(name, "cpu"))
        return kg_fail(KG_USAGE, "there is nothing to tune on the CPU: its kernels are chosen by shape alone");
    if (kino_card(name) < 0)
        return kg_fail(KG_USAGE, "--device is auto, cpu or cuda[:N], not \"%s\"", name);
    kg_device *d = kg_cuda_new(kino_card(name));
    if (!d)
        return kg_error_last()->status;
    kg_status s = path_of(d, path, sizeof path) ? tune_into(o, d, path) : kg_fail(KG_FAILED, "the config folder's path is too long");
    kg_device_free(d);
    return s;
}
