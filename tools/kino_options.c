/* Options from the command line, from --params (a JSON object) and from the config file (a Lua table). */
#include <cjson/cJSON.h>
#include <lauxlib.h>
#include <lua.h>
#include <stddef.h>
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

kg_status kino_value_add(kino_options *o, const char *name, const char *text)
{
    if (o->values == KINO_VALUES)
        return kg_fail(KG_USAGE, "more than %d params", KINO_VALUES);
    char *from_file = NULL;
    if (text[0] == '@' && text[1]) {
        if (!(from_file = kino_file_text(text + 1)))
            return KG_INPUT;
        for (size_t n = strlen(from_file); n && (from_file[n - 1] == '\n' || from_file[n - 1] == '\r');)
            from_file[--n] = 0;
    }
    o->value[o->values++] = (kg_script_value){strdup(name), from_file ? from_file : strdup(text)};
    return KG_OK;
}

static int set_text(kino_options *o, const char *name, const char *value, int weak)
{
    for (size_t i = 0; i < sizeof texts / sizeof *texts; ++i)
        if (!strcmp(texts[i].name, name)) {
            const char **field = (const char **)((char *)o + texts[i].at);
            if (!*field || !weak)
                *field = value;
            return 1;
        }
    return 0;
}

static int set_flag(kino_options *o, const char *name)
{
    for (size_t i = 0; i < sizeof flags / sizeof *flags; ++i)
        if (!strcmp(flags[i].name, name))
            return ++*(int *)((char *)o + flags[i].at);
    return 0;
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
    if (equals)
        *equals = 0;
    else if (set_flag(o, name))
        return KG_OK;
    if (!equals && *i + 1 >= argc)
        return kg_fail(KG_USAGE, "--%s wants a value", name);
    const char *value = equals ? equals + 1 : argv[++*i];
    if (!strcmp(name, "threads")) {
        o->threads = atoi(value);
        return o->threads > 0 ? KG_OK : kg_fail(KG_USAGE, "--threads wants a number above 0, not \"%s\"", value);
    }
    return set_text(o, name, value, 0) ? KG_OK : kino_value_add(o, name, value);
}

static kg_status params_file(kino_options *o)
{
    char *text = kino_file_text(o->params);
    cJSON *json = text ? cJSON_Parse(text) : NULL;
    kg_status s = !text ? KG_INPUT : cJSON_IsObject(json) ? KG_OK : kg_fail(KG_INPUT, "%s is no JSON object of params", o->params);
    for (const cJSON *v = json && s == KG_OK ? json->child : NULL; v && s == KG_OK; v = v->next) {
        if (kino_value_find(o, v->string) >= 0)
            continue;
        char *plain = cJSON_IsString(v) ? strdup(v->valuestring) : cJSON_PrintUnformatted(v);
        if (cJSON_IsArray(v) && plain && strlen(plain) > 1) {        /* [1,2] as typed: 1,2 */
            plain[strlen(plain) - 1] = 0;
            memmove(plain, plain + 1, strlen(plain));
        }
        if (plain && o->values < KINO_VALUES)
            o->value[o->values++] = (kg_script_value){strdup(v->string), plain};
    }
    cJSON_Delete(json);
    free(text);
    return s;
}

/* return { ram = "8G", models = "/data/models", ... }: the user's own file, run without any library. */
static kg_status config_file(kino_options *o)
{
    char path[4096];
    const char *base = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    if (base && *base)
        snprintf(path, sizeof path, "%s/kinograph/config.lua", base);
    else
        snprintf(path, sizeof path, "%s/.config/kinograph/config.lua", home ? home : "");
    if (access(path, R_OK))
        return KG_OK;
    lua_State *l = luaL_newstate();
    kg_status s = KG_OK;
    if (!l || luaL_loadfile(l, path) || lua_pcall(l, 0, 1, 0))
        s = kg_fail(KG_INPUT, "%s: %s", path, l ? lua_tostring(l, -1) : "out of memory");
    else if (!lua_istable(l, -1))
        s = kg_fail(KG_INPUT, "%s must return a table of options", path);
    for (lua_pushnil(l); s == KG_OK && lua_next(l, -2); lua_pop(l, 1)) {
        const char *name = lua_type(l, -2) == LUA_TSTRING ? lua_tostring(l, -2) : "?";
        const char *value = lua_isstring(l, -1) ? lua_tostring(l, -1) : NULL;
        if (lua_isboolean(l, -1) && strcmp(name, "help") && lua_toboolean(l, -1)
                ? !set_flag(o, name)
                : !value || !set_text(o, name, strdup(value), 1))
            s = kg_fail(KG_INPUT, "%s: %s is no option", path, name);
    }
    if (l)
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
    return s == KG_OK ? config_file(o) : s;
}
