/* Any bytes as Lua text: what compiles still compiles when its calls keep their frames, on as many lines. */
#include <lauxlib.h>
#include <lua.h>
#include <stdlib.h>
#include <string.h>

#include "lua/returns.h"
#include "tests/fuzz/fuzz.h"

static int compiles(lua_State *L, const char *text, size_t n)
{
    int bad = luaL_loadbufferx(L, text, n, "=fuzz", "t");
    int much = bad && (strstr(lua_tostring(L, -1), "too many") || strstr(lua_tostring(L, -1), "more than"));
    lua_settop(L, 0);
    return !bad || much;
}

static size_t lines(const char *text, size_t n)
{
    size_t count = 0;
    for (size_t i = 0; i < n; ++i)
        count += text[i] == '\n';
    return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static lua_State *L;
    if (!L && !(L = luaL_newstate()))
        abort();
    char *text = malloc(n ? n : 1);            /* no byte behind the last one */
    memcpy(text, data, n);
    for (size_t i = 0; i < n; ++i)
        text[i] = text[i] ? text[i] : ' ';     /* a zero byte is refused before */
    size_t m = n;
    char *kept = kg_returns_keep(text, &m);
    if (kept && (lines(kept, m) != lines(text, n) || (compiles(L, text, n) && !compiles(L, kept, m))))
        abort();
    free(kept);
    free(text);
    return 0;
}

size_t kg_fuzz_seed(int index, uint8_t *out, size_t max)
{
    static const char *const seeds[] = {
        "local function f(...) if ... then return f{ 1; 2 } else return f'x' end end return (f())",
        "return f(1, function() return g[[x]] end) -- end\n",
        "repeat local a = [==[ return ]] ]==] if a then return a:b'c' end until f{ function() return end }",
        "for i = 1, 0x1p4 do while 1e-3 do return -f(i)[1].x'y' end end --[[ return ]] return;",
        "goto x do ::x:: return f(\"\\\"\\z\n end\") end"};
    if (index >= (int)(sizeof seeds / sizeof *seeds) || strlen(seeds[index]) > max)
        return 0;
    memcpy(out, seeds[index], strlen(seeds[index]));
    return strlen(seeds[index]);
}
