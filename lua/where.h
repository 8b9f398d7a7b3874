/* Where in a script an error is, and the way there. */
#ifndef KG_LUA_WHERE_H
#define KG_LUA_WHERE_H

#include <lua.h>

/* Before anything else, with the library of basic functions opened. */
void kg_where_begin(lua_State *L);
/* Compiles a chunk that errors call `shown`, as luaL_loadbufferx would; its calls keep their lines (lua/returns.h). */
int kg_where_load(lua_State *L, const char *shown, const char *text, size_t n);
/* Raises the error at the top of the stack at the script's line. */
int kg_where_raise(lua_State *L);
/* A handler for lua_pcall: errors become text that begins with the script's file:line:. */
int kg_where_handler(lua_State *L);
/* The way to the last error that the handler saw, pushed: "called at main.lua:12, called at more.lua:3"; "" in its own file. */
void kg_where_way(lua_State *L);

#endif
