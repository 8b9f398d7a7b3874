/* Positions of errors: see where.h. Chunks of scripts are "@file", the face's own are "=kino" and are no place that anybody wants to
 * read of. Lua cuts long names of chunks in its own messages: the registry knows what each stands for. */
#include "lua/where.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

#include "lua/returns.h"

enum { WAY_MOST = 4, WAY_FRAMES = 100 };       /* finding a frame takes as many steps as there are above it */
static const char CHUNKS[] = "kg chunks", WAY[] = "kg way", ERROR[] = "kg error";

/* What Lua's messages call a chunk of this name, and what it is. */
static void remember(lua_State *L, const char *name)
{
    lua_Debug d;
    if (luaL_loadbufferx(L, "", 0, name, "t"))
        lua_error(L);
    lua_getinfo(L, ">S", &d);
    lua_getfield(L, LUA_REGISTRYINDEX, CHUNKS);
    lua_pushstring(L, name + 1);
    lua_pushvalue(L, -1);
    lua_setfield(L, -3, d.short_src);
    lua_setfield(L, -2, name + 1);
    lua_pop(L, 1);
}

int kg_where_load(lua_State *L, const char *shown, const char *text, size_t n)
{
    lua_pushfstring(L, "@%s", shown);
    const char *name = lua_tostring(L, -1);
    remember(L, name);
    int status = luaL_loadbufferx(L, text, n, name, "t");
    char *kept = status ? NULL : kg_returns_keep(text, &n);
    if (kept && luaL_loadbufferx(L, kept, n, name, "t"))
        lua_pop(L, 1);                         /* too much of something for Lua: the text as it was */
    else if (kept)
        lua_replace(L, -2);
    free(kept);
    lua_remove(L, -2);
    return status;
}

/* The innermost frame of a script at `level` or above it; 0: there is none. */
static int frame(lua_State *L, int *level, lua_Debug *d)
{
    for (; lua_getstack(L, *level, d); ++*level)
        if (lua_getinfo(L, "Sl", d) && d->currentline > 0 && d->source[0] == '@')
            return 1;
    return 0;
}

/* "file:line: " of the innermost line, or "". */
static void push_where(lua_State *L)
{
    lua_Debug d;
    if (frame(L, &(int){1}, &d))
        lua_pushfstring(L, "%s:%d: ", d.source + 1, d.currentline);
    else
        lua_pushliteral(L, "");
}

int kg_where_raise(lua_State *L)
{
    push_where(L);
    lua_insert(L, -2);
    lua_concat(L, 2);
    return lua_error(L);
}

/* At each call: the last slots of Lua's stack are for who says where it ran full. */
static void on_call(lua_State *L, lua_Debug *d)
{
    (void)d;
    if (lua_checkstack(L, 512))                /* or it raises a "stack overflow" of its own: a frame has at most 255 slots */
        return;
    lua_pushliteral(L, "stack overflow");
    kg_where_raise(L);
}

void kg_where_begin(lua_State *L)
{
    lua_newtable(L);
    lua_setfield(L, LUA_REGISTRYINDEX, CHUNKS);
    lua_getglobal(L, "error");
    lua_setfield(L, LUA_REGISTRYINDEX, ERROR);
    lua_sethook(L, on_call, LUA_MASKCALL, 0);
}

/* Bytes of a "file:line: " in front of s; *file: how many of them are the file's. */
static size_t position(const char *s, size_t *file)
{
    for (const char *p = strchr(s, ':'); p; p = strchr(p + 1, ':')) {
        size_t digits = strspn(p + 1, "0123456789");
        if (digits && p[1 + digits] == ':') {
            *file = (size_t)(p - s);
            return *file + digits + 2 + (p[2 + digits] == ' ');
        }
    }
    return 0;
}

/* Is the function that runs at this level Lua's own `error`? */
static int raised_by_error(lua_State *L, int level)
{
    lua_Debug d;
    if (!lua_getstack(L, level, &d) || !lua_getinfo(L, "f", &d))
        return 0;
    lua_getfield(L, LUA_REGISTRYINDEX, ERROR);
    int same = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
    return same;
}

/* Gives the message at index 1 its place. What error(text, 0) raised was to have none. */
static void place(lua_State *L)
{
    const char *s = lua_tostring(L, 1);
    size_t file = 0, n = position(s, &file);
    if (n) {
        lua_getfield(L, LUA_REGISTRYINDEX, CHUNKS);
        lua_pushlstring(L, s, file);
        lua_rawget(L, -2);
        if (lua_isstring(L, -1)) {
            lua_pushstring(L, s + (strncmp(s, s + n, n) ? file : n + file));       /* a coroutine's caller says the same again */
            lua_concat(L, 2);
            lua_replace(L, 1);
            return;
        }
        lua_pop(L, 2);
    }
    int ours = n && file == 4 && !memcmp(s, "kino", 4);
    if (!ours && raised_by_error(L, 1))
        return;
    push_where(L);
    lua_pushstring(L, s + (ours ? n : 0));
    lua_concat(L, 2);
    lua_replace(L, 1);
}

/* Is this frame where the message at index 1 says it is from? */
static int is_origin(lua_State *L, const lua_Debug *d)
{
    const char *s = lua_tostring(L, 1);
    size_t n = strlen(d->source + 1);
    return !strncmp(s, d->source + 1, n) && s[n] == ':' && atoi(s + n + 1) == d->currentline;
}

/* The lines in other files over which the one in front of the message was reached. What does not compile has no frame. */
static void find_way(lua_State *L)
{
    lua_Debug d, below = {.source = "", .what = raised_by_error(L, 1) ? "" : "main"};
    int level = 1, steps = 0;
    size_t file;
    luaL_checkstack(L, 2 * WAY_MOST + 8, NULL);
    while (level < WAY_FRAMES && frame(L, &level, &d) && !is_origin(L, &d))
        ++level;
    if (level < WAY_FRAMES && frame(L, &level, &d)) {
        below = d;
        ++level;
    } else
        level = position(lua_tostring(L, 1), &file) ? 1 : WAY_FRAMES;
    for (; steps < WAY_MOST && level < WAY_FRAMES && frame(L, &level, &d); below = d, ++level)
        if (strcmp(d.source, below.source)) {
            const char *how = strcmp(below.what, "main") ? "called" : "required";
            lua_pushfstring(L, "%s%s at %s:%d", steps++ ? ", " : "", how, d.source + 1, d.currentline);
        }
    lua_pushliteral(L, "");
    lua_concat(L, steps + 1);
    lua_setfield(L, LUA_REGISTRYINDEX, WAY);
}

int kg_where_handler(lua_State *L)
{
    if (lua_type(L, 1) != LUA_TSTRING) {
        lua_pushfstring(L, "the script raised an error that is a %s, not text", luaL_typename(L, 1));
        lua_replace(L, 1);
        push_where(L);
        lua_insert(L, 1);
        lua_concat(L, 2);
        lua_settop(L, 1);
    } else
        place(L);
    lua_settop(L, 1);
    const char *end = strstr(lua_tostring(L, 1), "stack overflow");
    if (end && !strcmp(end, "stack overflow")) {
        lua_pushliteral(L, ": its functions call each other too deep, or without an end");
        lua_concat(L, 2);
    }
    lua_Debug d;
    if (frame(L, &(int){1}, &d))               /* else it was handled before, with the frames still there */
        find_way(L);
    return 1;
}

void kg_where_way(lua_State *L)
{
    lua_getfield(L, LUA_REGISTRYINDEX, WAY);
    if (!lua_isstring(L, -1)) {
        lua_pop(L, 1);
        lua_pushliteral(L, "");
    }
}
