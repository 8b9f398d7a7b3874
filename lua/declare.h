/* Params of a template on their way to the engine. */
#ifndef KG_LUA_DECLARE_H
#define KG_LUA_DECLARE_H

#include <lua.h>

#include "lua/host.h"

/* Writes the param whose table is at index t. */
void kg_declare_param(kg_writer *out, lua_State *L, int t);

#endif
