/* The parts in Lua, as the build embeds them (lua/embed.cmake). */
#ifndef KG_LUA_EMBEDDED_H
#define KG_LUA_EMBEDDED_H

#include <stddef.h>

extern const unsigned char kg_lua_params[], kg_lua_face[];
extern const size_t kg_lua_params_size, kg_lua_face_size;

#endif
