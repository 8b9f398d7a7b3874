/* Params of a template on their way to the engine, and what lua/child.c lends for it. */
#ifndef KG_LUA_DECLARE_H
#define KG_LUA_DECLARE_H

#include <lua.h>

#include "lua/host.h"

/* Writes the param whose table is at index t. */
void kg_declare_param(kg_writer *out, lua_State *L, int t);

/* A name that the wire can carry, or an error. */
void kg_child_check_name(lua_State *L, const char *s, size_t n);

#endif
