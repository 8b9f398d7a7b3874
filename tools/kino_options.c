/* Options from the command line and from the config file (a Lua table); kino_params.c reads --params. */
#include <errno.h>
#include <lauxlib.h>
#include <lua.h>
#include <luajit.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/kino_cli.h"

static const struct { const char *name; size_t at; } texts[] = {
    {"device", offsetof(kino_options, device)}, {"precision", offsetof(kino_options, precision)}, {"vram", offsetof(kino_options, vram)},
    {"ram", offsetof(kino_options, ram)}, {"cache", offsetof(kino_options, cache)}, {"models", offsetof(kino_options, models)},
    {"allow", offsetof(kino_options, allow)}, {"requantize", offsetof(kino_options, requantize)},
    {"params", offsetof(kino_options, params)}, {"from", offsetof(kino_options, from)}, {"fault", offsetof(kino_options, fault)}};
static const struct { const char *name; size_t at; } flags[] = {
    {"strict", offsetof(kino_options, strict)}, {"force", offsetof(kino_options, force)}, {"json", offsetof(kino_options, json)},
    {"finite", offsetof(kino_options, finite)},
    {"quiet", offsetof(kino_options, quiet)}, {"help", offsetof(kino_options, help)}, {"no-walls", offsetof(kino_options, no_walls)}};
static const char *const others[] = {"threads", "set"};          /* read by hand                          */

void kino_option_names(const char *names[KINO_OPTIONS])
{
    enum { TEXTS = sizeof texts / sizeof *texts, FLAGS = sizeof flags / sizeof *flags, OTHERS = sizeof others / sizeof *others };
    _Static_assert(TEXTS + FLAGS + OTHERS < KINO_OPTIONS, "no room for the NULL at the end");
    int n = 0;
    for (int i = 0; i < TEXTS; ++i)
        names[n++] = texts[i].name;
    for (int i = 0; i < FLAGS; ++i)
        names[n++] = flags[i].name;
    for (int i = 0; i < OTHERS; ++i)
        names[n++] = others[i];
    names[n] = NULL;
}

/* What was read of it so far grows by the next piece; 0 at the end, or when there is too much or memory is out. */
static size_t read_more(FILE *f, char **text, size_t *n, size_t *cap)
{
    if (*cap - *n < 2) {
        char *more = *cap < KINO_TEXT ? realloc(*text, *cap * 2) : NULL;
        if (!more)
            return 0;
        *text = more;
        *cap *= 2;
    }
    size_t got = fread(*text + *n, 1, *cap - *n - 1, f);
    *n += got;
    return got;
}

char *kino_file_text(const char *path)
{
    FILE *f = fopen(path, "rb");
    size_t n = 0, cap = 4096;
    char *text = f ? malloc(cap) : NULL;
    errno = f ? 0 : errno;
    while (text && read_more(f, &text, &n, &cap))
        continue;
    kg_status s = KG_OK;
    if (!f || ferror(f))
        s = kg_fail(KG_INPUT, "cannot read %s: %s", path, strerror(errno));
    else if (!text || !feof(f))
        s = kg_fail(KG_INPUT, "%s is larger than the %d MiB that a text may have", path, KINO_TEXT >> 20);
    else if (memchr(text, 0, n))
        s = kg_fail(KG_USAGE, "%s is no text: it holds a zero byte", path);
    if (f)
        fclose(f);
    if (s != KG_OK) {
        free(text);
        return NULL;
    }
    text[n] = 0;
    return text;
}

int kino_value_find(const kino_options *o, const char *name)
{
    for (int i = 0; i < o->values; ++i)
        if (!strcmp(o->value[i].name, name))
            return i;
    return -1;
}

kg_status kino_value_put(kino_options *o, const char *name, char *text)
{
    int at = kino_value_find(o, name);
    if (!text || (at < 0 && o->values == KINO_VALUES)) {
        free(text);
        return text ? kg_fail(KG_USAGE, "more than %d params", KINO_VALUES) : kg_fail(KG_FAILED, "out of host memory");
    }
    if (at < 0)
        o->value[at = o->values++].name = strdup(name);
    else
        free((char *)(uintptr_t)o->value[at].text);
    o->value[at].text = text;
    return KG_OK;
}

/* "@FILE" is the text of that file, "@@..." is "@...". */
static kg_status value_typed(kino_options *o, const char *name, const char *text)
{
    if (text[0] != '@' || !text[1])
        return kino_value_put(o, name, strdup(text));
    if (text[1] == '@')
        return kino_value_put(o, name, strdup(text + 1));
    char *from_file = kino_file_text(text + 1);
    if (!from_file)
        return kg_error_last()->status;
    for (size_t n = strlen(from_file); n && (from_file[n - 1] == '\n' || from_file[n - 1] == '\r');)
        from_file[--n] = 0;
    return kino_value_put(o, name, from_file);
}

/* --set NAME=VALUE: a param, whatever options there are or will be. */
static kg_status set_typed(kino_options *o, const char *text)
{
    size_t n = strcspn(text, "=");
    char *name = n && text[n] ? strndup(text, n) : NULL;
    kg_status s = name ? value_typed(o, name, text + n + 1) : kg_fail(KG_USAGE, "--set wants NAME=VALUE, not \"%s\"", text);
    free(name);
    return s;
}

/* Where the text of this option is kept; NULL: there is no such option. */
static const char **text_of(kino_options *o, const char *name)
{
    for (size_t i = 0; i < sizeof texts / sizeof *texts; ++i)
        if (!strcmp(texts[i].name, name))
            return (const char **)((char *)o + texts[i].at);
    return NULL;
}

static int *flag_of(kino_options *o, const char *name)
{
    for (size_t i = 0; i < sizeof flags / sizeof *flags; ++i)
        if (!strcmp(flags[i].name, name))
            return (int *)((char *)o + flags[i].at);
    return NULL;
}

static kg_status word(kino_options *o, const char *a)
{
    if (!o->command)
        o->command = a;
    else if (!o->target)
        o->target = a;
    else
        return kg_fail(KG_USAGE, "\"%s\" is one word too many: params are given as --NAME VALUE", a);
    return KG_OK;
}

static kg_status option(kino_options *o, char **argv, int argc, int *i)
{
    char *name = argv[*i] + 2, *equals = strchr(name, '=');
    int *flag = flag_of(o, name);
    if (equals)
        *equals = 0;
    else if (flag) {
        ++*flag;
        return KG_OK;
    }
    if (!equals && *i + 1 >= argc)
        return kg_fail(KG_USAGE, "--%s wants a value", name);
    const char *value = equals ? equals + 1 : argv[++*i];
    if (!strcmp(name, "threads")) {
        long n = 0;
        kg_status s = kino_count("--threads", value, 1, KINO_THREADS, &n);
        o->threads = (int)n;
        return s;
    }
    if (!strcmp(name, "set"))
        return set_typed(o, value);
    const char **text = text_of(o, name);
    if (!text)
        return value_typed(o, name, value);
    *text = value;
    return KG_OK;
}

/* One entry of the config's table, key and value on the stack; 0: it is no option. */
static int config_entry(kino_options *o, lua_State *l)
{
    static const char *const not_there[] = {"help", "from", "params"};
    const char *name = lua_type(l, -2) == LUA_TSTRING ? lua_tostring(l, -2) : "?";
    for (size_t i = 0; i < sizeof not_there / sizeof *not_there; ++i)
        if (!strcmp(name, not_there[i]))
            return 0;
    if (lua_isboolean(l, -1)) {        /* false changes nothing, but names a flag too; what was typed counts as typed */
        int *flag = flag_of(o, name);
        if (flag && lua_toboolean(l, -1) && !*flag)
            *flag = 1;
        return flag != NULL;
    }
    if (!strcmp(name, "threads") && lua_type(l, -1) == LUA_TNUMBER) {
        lua_Number n = lua_tonumber(l, -1);
        if (!o->threads && n >= 1 && n <= KINO_THREADS)
            o->threads = (int)n;
        return n >= 1 && n <= KINO_THREADS && n == (int)n;
    }
    const char **text = lua_isstring(l, -1) ? text_of(o, name) : NULL;
    if (text && !*text)
        *text = strdup(lua_tostring(l, -1));
    return text != NULL;
}

/* Every so many instructions: whoever waits for a file that loops for ever may end it. */
static void look_up(lua_State *l, lua_Debug *d)
{
    (void)d;
    if (kino_interrupted)
        luaL_error(l, "cancelled");
}

static kg_status config_read(kino_options *o, lua_State *l, const char *path)
{
    luaJIT_setmode(l, 0, LUAJIT_MODE_ENGINE | LUAJIT_MODE_OFF);          /* compiled loops look up never */
    lua_sethook(l, look_up, LUA_MASKCOUNT, 10000);
    int bad = luaL_loadfile(l, path) || lua_pcall(l, 0, 1, 0);
    if (bad && kino_interrupted)
        return kg_fail(KG_CANCELLED, "cancelled");
    if (bad)
        return kg_fail(KG_INPUT, "%s: %s", path, lua_tostring(l, -1));
    if (!lua_istable(l, -1))
        return kg_fail(KG_INPUT, "%s must return a table of options", path);
    for (lua_pushnil(l); lua_next(l, -2); lua_pop(l, 1))
        if (!config_entry(o, l))
            return kg_fail(KG_INPUT, "%s: %s is no option, or its value is none", path,
                           lua_type(l, -2) == LUA_TSTRING ? lua_tostring(l, -2) : "an entry without a name");
    return KG_OK;
}

int kino_config(const char *name, char *out, size_t n)
{
    const char *base = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    int used = base && *base ? snprintf(out, n, "%s/kinograph/%s", base, name)
                             : snprintf(out, n, "%s/.config/kinograph/%s", home ? home : "", name);
    return used > 0 && (size_t)used < n;
}

void kino_cache_options(const kino_options *o, kg_cache_options *c)
{
    c->path = o->cache;
    c->cache_home = getenv("XDG_CACHE_HOME");
    c->home = getenv("HOME");
}

/* return { ram = "8G", models = "/data/models", ... }: the user's own file, run without any library. */
static kg_status config_file(kino_options *o)
{
    char path[4096];
    if (!kino_config("config.lua", path, sizeof path) || access(path, R_OK))
        return KG_OK;
    lua_State *l = luaL_newstate();
    if (!l)
        return kg_fail(KG_FAILED, "out of host memory");
    kg_status s = config_read(o, l, path);
    lua_close(l);
    return s;
}

kg_status kino_options_read(kino_options *o, int argc, char **argv)
{
    kg_status s = KG_OK;
    if (argc == 2 && !strcmp(argv[1], "--version"))
        argv[1] = "version";
    for (int i = 1; i < argc && s == KG_OK; ++i)
        if (!strcmp(argv[i], "-h"))
            o->help = 1;
        else
            s = strncmp(argv[i], "--", 2) || !argv[i][2] ? word(o, argv[i]) : option(o, argv, argc, &i);
    if (s == KG_OK && o->params)
        s = kino_params_file(o);
    o->typed = o->values;
    if (s == KG_OK)
        s = config_file(o);
    size_t bytes;
    if (s == KG_OK && o->ram)
        s = kino_size("--ram", o->ram, &bytes);
    if (s == KG_OK && o->vram)
        s = kino_size("--vram", o->vram, &bytes);
    return s;
}
