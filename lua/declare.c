/* A template's declarations as the engine hears them: one param of the table that lua/params.lua made and checked,
 * written field by field. */
#include "lua/declare.h"

#include <lauxlib.h>
#include <string.h>

static double number_of(lua_State *L, int t, const char *field)
{
    lua_getfield(L, t, field);
    double d = lua_tonumber(L, -1);
    lua_pop(L, 1);
    return d;
}

static int flag_of(lua_State *L, int t, const char *field)
{
    lua_getfield(L, t, field);
    int v = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return v;
}

/* A text field; 0 when it is nil, and then "" is written. */
static int write_field(kg_writer *out, lua_State *L, int t, const char *field)
{
    size_t n = 0;
    lua_getfield(L, t, field);
    const char *s = lua_tolstring(L, -1, &n);
    kg_write_text(out, s ? s : "", n);
    lua_pop(L, 1);
    return s != NULL;
}

static uint32_t kind_of(lua_State *L, int t)
{
    uint32_t type = 0;
    lua_getfield(L, t, "kind");
    while (type < KG_S_TYPES - 1 && strcmp(kg_script_type_name((kg_script_type)type), lua_tostring(L, -1)))
        ++type;
    lua_pop(L, 1);
    return type;
}

void kg_declare_param(kg_writer *out, lua_State *L, int t)
{
    write_field(out, L, t, "name");
    write_field(out, L, t, "doc");
    kg_write_u32(out, kind_of(L, t));
    lua_getfield(L, t, "text");
    int given = !lua_isnil(L, -1);
    lua_pop(L, 1);
    int required = !given && !flag_of(L, t, "optional");
    kg_write_u32(out, (uint32_t)(required | flag_of(L, t, "auto") << 1 | given << 2));
    write_field(out, L, t, "text");
    kg_write_f64(out, number_of(L, t, "min"));
    kg_write_f64(out, number_of(L, t, "max"));
    kg_write_f64(out, number_of(L, t, "step"));
    lua_getfield(L, t, "choices");
    int n = (int)lua_objlen(L, -1);
    kg_write_u32(out, (uint32_t)n);
    for (int i = 1; i <= n; ++i) {
        size_t bytes;
        lua_rawgeti(L, -1, i);
        const char *s = lua_tolstring(L, -1, &bytes);
        kg_write_text(out, s, bytes);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}
