/* Lua text whose calls keep their frames. */
#ifndef KG_LUA_RETURNS_H
#define KG_LUA_RETURNS_H

#include <stddef.h>

/* In Lua a call behind `return` takes the place of its caller, whose line is lost to errors. This writes `return f(x)` as
 * `return("")["return"](f(x))`: the method "return" of strings (lua/face.lua, beyond a script's reach) gives all that it is given,
 * and f is called from a frame that has a line. No line moves. text compiles; malloc, *n in and out; NULL: leave it as it is. */
char *kg_returns_keep(const char *text, size_t *n);

#endif
