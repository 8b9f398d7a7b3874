/* Options from the command line, from --params (a JSON object) and from the config file (a Lua table). */
#include <cjson/cJSON.h>
#include <lauxlib.h>
#include <lua.h>
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
    {"quiet", offsetof(kino_options, quiet)}, {"help", offsetof(kino_options, help)}};

kg_status kino_size(const char *text, size_t *out)
{
    char *end;
    double v = strtod(text, &end);
    const char *units = "KMGT", *u = *end ? strchr(units, *end & ~32) : NULL;
    if (u)
        v *= (double)((size_t)1 << 10 * (u - units + 1));
    if (end == text || !(v > 0) || v > 0x1p60 || (*end && (!u || end[1])))
        return kg_fail(KG_USAGE, "\"%s\" is no size: a number with K, M, G or T, such as 1.5G", text);
    *out = (size_t)v;
    return KG_OK;
}

char *kino_file_text(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (!f) {
        kg_fail(KG_INPUT, "cannot read %s", path);
        return NULL;
    }
    size_t n = 0, cap = 4096;
    char *text = malloc(cap);
    for (size_t got; text && (got = fread(text + n, 1, cap - n - 1, f)) > 0;) {
        n += got;
        if (cap - n < 2 && cap < (size_t)64 << 20) {
            char *more = realloc(text, cap *= 2);
            if (!more)
                free(text);
            text = more;
        }
    }
    fclose(f);
    if (text)
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
        return KG_INPUT;
    for (size_t n = strlen(from_file); n && (from_file[n - 1] == '\n' || from_file[n - 1] == '\r');)
        from_file[--n] = 0;
    return kino_value_put(o, name, from_file);
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
        o->threads = atoi(value);
        return o->threads > 0 ? KG_OK : kg_fail(KG_USAGE, "--threads wants a number above 0, not \"%s\"", value);
    }
    const char **text = text_of(o, name);
    if (!text)
        return value_typed(o, name, value);
    *text = value;
    return KG_OK;
}

/* A JSON value as it would be typed: [1, "2"] is 1,2. malloc; NULL when memory is out. */
static char *json_typed(const cJSON *v)
{
    if (cJSON_IsString(v))
        return strdup(v->valuestring);
    if (!cJSON_IsArray(v))
        return cJSON_PrintUnformatted(v);
    char *all = strdup("");
    for (const cJSON *i = v->child; i && all; i = i->next) {
        char *one = json_typed(i), *more = one ? realloc(all, strlen(all) + strlen(one) + 2) : NULL;
        if (more)
            strcat(strcat(more, i == v->child ? "" : ","), one);
        else
            free(all);
        all = more;
        free(one);
    }
    return all;
}

static kg_status params_file(kino_options *o)
{
    char *text = kino_file_text(o->params);
    cJSON *json = text ? cJSON_Parse(text) : NULL;
    kg_status s = !text ? KG_INPUT : cJSON_IsObject(json) ? KG_OK : kg_fail(KG_INPUT, "%s is no JSON object of params", o->params);
    for (const cJSON *v = json && s == KG_OK ? json->child : NULL; v && s == KG_OK; v = v->next)
        if (kino_value_find(o, v->string) < 0)
            s = kino_value_put(o, v->string, json_typed(v));
    cJSON_Delete(json);
    free(text);
    return s;
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
    if (!strcmp(name, "threads") && lua_type(l, -1) == LUA_TNUMBER && lua_tointeger(l, -1) > 0) {
        o->threads = o->threads ? o->threads : (int)lua_tointeger(l, -1);
        return 1;
    }
    const char **text = lua_isstring(l, -1) ? text_of(o, name) : NULL;
    if (text && !*text)
        *text = strdup(lua_tostring(l, -1));
    return text != NULL;
}

static kg_status config_read(kino_options *o, lua_State *l, const char *path)
{
    if (luaL_loadfile(l, path) || lua_pcall(l, 0, 1, 0))
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
    for (int i = 1; i < argc && s == KG_OK; ++i)
        if (!strcmp(argv[i], "-h"))
            o->help = 1;
        else
            s = strncmp(argv[i], "--", 2) || !argv[i][2] ? word(o, argv[i]) : option(o, argv, argc, &i);
    if (s == KG_OK && o->params)
        s = params_file(o);
    o->typed = o->values;
    return s == KG_OK ? config_file(o) : s;
}
