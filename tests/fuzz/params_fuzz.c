/* Any bytes as what the command line reads from files: --params (a JSON object) and --from (a file that says how it was made). The
 * first byte chooses. What comes of it is refused, or values with names and texts; a name from --from is one that a param may have. */
#include <cjson/cJSON.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.h"
#include "tools/kino_cli.h"

/* What was taken of --params is what a reader of all of JSON finds there: as many names, and nothing that no command line can say. */
static void compare(const kino_options *o, const uint8_t *text, size_t n)
{
    cJSON *j = cJSON_ParseWithLength((const char *)text, n);
    int members = 0;
    for (const cJSON *v = j ? j->child : NULL; v; v = v->next, ++members)
        if (cJSON_IsNull(v) || cJSON_IsObject(v) || kino_value_find(o, v->string) < 0)
            abort();
    if (!cJSON_IsObject(j) || members != o->values || memchr(text, 0, n))
        abort();
    cJSON_Delete(j);
}

static void drop(kino_options *o)
{
    for (int i = 0; i < o->values; ++i) {
        free((char *)(uintptr_t)o->value[i].name);
        free((char *)(uintptr_t)o->value[i].text);
    }
    if (o->from) {                     /* copies of what the file says */
        free((char *)(uintptr_t)o->target);
        free((char *)(uintptr_t)o->precision);
    }
}

static void check(const kino_options *o)
{
    if (o->values < 0 || o->values > KINO_VALUES)
        abort();
    for (int i = 0; i < o->values; ++i) {
        const char *name = o->value[i].name;
        if (!name || !o->value[i].text || kino_value_find(o, name) != i)
            abort();
        if (o->from && name[strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_")])
            abort();
    }
}

static char path[] = "/dev/shm/kg_params_fuzz.XXXXXX";
static int file;

static void remove_file(void) { unlink(path); }

static void start(void)
{
    if ((file = mkstemp(path)) < 0 || atexit(remove_file))
        abort();
    int null = open("/dev/null", O_WRONLY);
    if (null < 0 || dup2(null, 1) < 0 || setenv("XDG_CONFIG_HOME", "/nowhere", 1))
        abort();
    close(null);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static kino_options o;
    static int started;
    char *argv[] = {"kino", "run", "--params", path, NULL};
    if (!started++)
        start();
    if (!n || ftruncate(file, 0) || pwrite(file, data + 1, n - 1, 0) != (ssize_t)(n - 1))
        return 0;
    memset(&o, 0, sizeof o);
    kg_status s;
    if (data[0] & 1) {
        o.from = path;
        o.cache = "none";
        o.quiet = 1;
        kino_made m = {0};
        s = kino_from(&o, &m);
        kino_made_drop(&m);
    } else
        s = kino_options_read(&o, 4, argv);
    if (!s != (kg_error_last()->status == KG_OK))
        abort();
    check(&o);
    if (s == KG_OK && !o.from)
        compare(&o, data + 1, n - 1);
    drop(&o);
    kg_error_clear();
    return 0;
}

size_t kg_fuzz_seed(int index, uint8_t *out, size_t max)
{
    static const char made[] =
        "{\\\"kinograph\\\":\\\"0.1.0\\\",\\\"script\\\":\\\"graphs/demo/t2v.lua\\\",\\\"params\\\":{\\\"prompt\\\":"
        "\\\"it's a \\\\u001b[31mcircle\\\",\\\"seed\\\":\\\"7\\\"},\\\"precision\\\":\\\"bf16\\\"}";
    static const char *const params[] = {
        "{\"prompt\":\"a red circle\",\"seed\":[1,\"2\",[3]],\"guidance\":4.5,\"crop\":true,\"none\":null}",
        "{\"a\":{},\"a\":\"\\u00e9\",\"\":\"@file\",\"n\":18446744073709551615}", "[]", "{\"a\":1,\"a\":[[2]]}",
        "{\"prompt\":\"\\\\u0000 \\u0000\",\"n\":9007199254740993} {}", "{\"size\":\"128x128\",\"seed\":[1,2],\"n\":-1e300,\"m\":1e-3}"};
    const int texts = (int)(sizeof params / sizeof *params);
    size_t k;
    out[0] = index == texts;
    if (index < texts && strlen(params[index]) < max) {
        memcpy(out + 1, params[index], k = strlen(params[index]));
        return k + 1;
    }
    if (index > texts || max < 1024)
        return 0;
    char *text = (char *)out + 9;      /* a safetensors header that holds it */
    uint64_t length = (uint64_t)snprintf(text, max - 9, "{\"__metadata__\":{\"kinograph\":\"%s\"}}", made);
    memcpy(out + 1, &length, 8);
    return 9 + length;
}
