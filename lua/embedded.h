/* What is written in Lua, as the build embeds it (lua/embed.cmake); each text has a NUL behind it. */
#ifndef KG_LUA_EMBEDDED_H
#define KG_LUA_EMBEDDED_H

#include <stddef.h>

extern const unsigned char kg_lua_params[], kg_lua_face[];
extern const size_t kg_lua_params_size, kg_lua_face_size;

/* The templates of graphs/, by the names under which they are found from anywhere: "kino/wan_t2v". */
typedef struct kg_embedded { const char *name; const unsigned char *text; } kg_embedded;
extern const kg_embedded kg_lua_graphs[];      /* in the order of their names; ends with a row without one */
const kg_embedded *kg_embedded_find(const char *name);         /* NULL: there is none                      */

#endif
