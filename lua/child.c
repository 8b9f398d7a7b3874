/* The script's process, after the fork: a Lua state between the walls, and one socket.
 *
 * What Lua sees of the host are the plain C functions at the end of this file; lua/face.lua makes the table `kino` of them. The
 * JIT is off and ffi is never opened: hooks, limits and the walls hold for interpreted code, and a bounded allocator ends the
 * process at the first byte too much, caught by no pcall. */
#include <errno.h>
#include <lauxlib.h>
#include <lua.h>
#include <luajit.h>
#include <lualib.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/plain.h"
#include "lua/declare.h"
#include "lua/embedded.h"
#include "lua/host.h"
#include "lua/wall.h"
#include "lua/where.h"

typedef struct child {
    lua_State *L;
    const kg_script_limits *limits;
    const char *const *reserved;   /* names that no param may have; ends with NULL                         */
    lua_Alloc alloc;               /* LuaJIT's own                                                         */
    void *alloc_arg;
    int64_t taken;                 /* bytes, of limits->memory                                             */
    kg_writer out;
    unsigned char *in;             /* the frame at hand                                                    */
    size_t room;
    int describing, plain;         /* a node was made while describing: the script is a plain one          */
    int printed, to_skip;          /* lines; a plain script runs twice and is heard once                   */
} child;

/* ---- the socket ---- */

static void write_all(const void *p, size_t n)
{
    for (const char *at = p; n;) {
        ssize_t m = write(0, at, n);
        if (m <= 0)
            _exit(1);                          /* the engine is gone */
        at += m;
        n -= (size_t)m;
    }
}

static _Noreturn void stop(uint32_t limit)
{
    struct { kg_head head; uint32_t limit; } frame = {{sizeof limit, KG_W_LIMIT}, limit};
    write_all(&frame, sizeof frame);
    _exit(1);
}

static void send_frame(child *c)
{
    if (!kg_write_end(&c->out))
        stop(c->out.failed == KG_WRITE_LARGE ? KG_L_EDITS : KG_L_MEMORY);
    write_all(c->out.at, c->out.n);
}

static void read_all(void *p, size_t n)
{
    for (char *at = p; n;) {
        ssize_t m = read(0, at, n);
        if (m <= 0)
            _exit(0);
        at += m;
        n -= (size_t)m;
    }
}

static uint32_t receive(child *c, kg_reader *r)
{
    kg_head head;
    read_all(&head, sizeof head);
    if (head.bytes > c->room) {
        free(c->in);
        c->in = malloc(head.bytes);
        if (!c->in)
            stop(KG_L_MEMORY);
        c->room = head.bytes;
    }
    read_all(c->in, head.bytes);
    *r = (kg_reader){.at = c->in, .left = head.bytes};
    return head.kind;
}

/* ---- memory ---- */

static void *bounded(void *arg, void *p, size_t old, size_t size)
{
    child *c = arg;
    if (size > old && c->taken + (int64_t)(size - old) > (int64_t)c->limits->memory)
        stop(KG_L_MEMORY);
    void *q = c->alloc(c->alloc_arg, p, old, size);
    if (!q && size)
        stop(KG_L_MEMORY);
    c->taken += (int64_t)size - (int64_t)old;
    return q;
}

static child *child_of(lua_State *L) { return lua_touserdata(L, lua_upvalueindex(1)); }

/* The answer to a request; a refusal is raised. */
static void answer(child *c, lua_State *L, uint32_t wanted, kg_reader *r)
{
    size_t n;
    uint32_t kind = receive(c, r);
    if (kind == wanted)
        return;
    const char *text = kind == KG_W_REFUSED ? kg_read_text(r, SIZE_MAX - 1, &n) : NULL;
    if (!text)
        _exit(1);
    lua_pushlstring(L, text, n);
    kg_where_raise(L);
}

/* ---- host functions ---- */

static int f_raise(lua_State *L)
{
    luaL_checkstring(L, 1);
    lua_settop(L, 1);
    return kg_where_raise(L);
}

/* near(name, names): the nearest one, or nil. */
static int f_near(lua_State *L)
{
    const char *names[1024];
    const char *name = luaL_checkstring(L, 1);
    int n = (int)lua_objlen(L, 2);
    if (n > 1024)
        n = 1024;
    for (int i = 0; i < n; ++i) {
        lua_rawgeti(L, 2, i + 1);
        names[i] = lua_tostring(L, -1);        /* the table keeps it alive */
        lua_pop(L, 1);
        if (!names[i])
            return 0;
    }
    int best = kg_near(name, names, n);
    if (best < 0)
        return 0;
    lua_pushstring(L, names[best]);
    return 1;
}

/* types(): { ["wan.sample"] = { "latent" }, ... } */
static int f_types(lua_State *L)
{
    const kg_node_type *const *all;
    int n = kg_node_types(&all);
    lua_createtable(L, 0, n);
    for (int i = 0; i < n; ++i) {
        lua_newtable(L);
        for (int k = 0; all[i]->outputs && all[i]->outputs[k].name; ++k) {
            lua_pushstring(L, all[i]->outputs[k].name);
            lua_rawseti(L, -2, k + 1);
        }
        lua_setfield(L, -2, all[i]->name);
    }
    return 1;
}

static int f_log(lua_State *L)
{
    child *c = child_of(L);
    size_t n;
    const char *text = luaL_checklstring(L, 1, &n);
    if (c->describing)
        ++c->printed;
    else if (c->to_skip > 0) {
        --c->to_skip;
        return 0;
    }
    size_t some = strnlen(text, n < 4096 ? n : 4096);
    kg_write_begin(&c->out, KG_W_LOG);
    kg_write_text(&c->out, text, some);
    send_frame(c);
    return 0;
}

/* 1 when the number is whole and exact. */
static int whole(double d) { return d == floor(d) && fabs(d) <= 0x1p53 - 1; }

static int64_t list_item(lua_State *L, const char *name, int i)
{
    if (lua_type(L, -1) == LUA_TNUMBER && whole(lua_tonumber(L, -1)) && lua_tonumber(L, -1) >= 0)
        return (int64_t)lua_tonumber(L, -1);
    const char *s = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "";
    errno = 0;
    uint64_t v = strtoull(s, NULL, 10);
    if (!*s || s[strspn(s, "0123456789")] || errno) {
        lua_pushfstring(L, "%s: item %d of the list is no whole number from 0 to 2^64 - 1 (beyond 2^53 it is written as text, in quotes)",
                        name, i);
        kg_where_raise(L);
    }
    return (int64_t)v;
}

static void write_list(child *c, lua_State *L, const char *name, int at)
{
    size_t n = lua_objlen(L, at);
    if (n < 1 || n > KG_EDIT_INTS) {
        lua_pushfstring(L, "%s: a table is no value, unless it is a list of 1 to %d whole numbers", name, KG_EDIT_INTS);
        kg_where_raise(L);
    }
    kg_write_u32(&c->out, KG_A_INTS);
    kg_write_u32(&c->out, (uint32_t)n);
    for (int i = 1; i <= (int)n; ++i) {
        lua_rawgeti(L, at, i);
        kg_write_i64(&c->out, list_item(L, name, i));
        lua_pop(L, 1);
    }
}

/* { node =, port = } from the face; any other table is a list. */
static void write_table(child *c, lua_State *L, const char *name, int at)
{
    lua_pushliteral(L, "node");
    lua_rawget(L, at);
    lua_pushliteral(L, "port");
    lua_rawget(L, at);
    if (lua_isnumber(L, -2) && lua_isnumber(L, -1)) {
        kg_write_u32(&c->out, KG_A_NODE);
        kg_write_u32(&c->out, (uint32_t)lua_tointeger(L, -2));
        kg_write_u32(&c->out, (uint32_t)lua_tointeger(L, -1));
    } else
        write_list(c, L, name, at);
    lua_pop(L, 2);
}

static void write_number(child *c, lua_State *L, const char *name, double d)
{
    if (!isfinite(d)) {
        lua_pushfstring(L, "%s is %s, which is no value", name, isnan(d) ? "not a number" : "infinite");
        kg_where_raise(L);
    }
    kg_write_u32(&c->out, whole(d) ? KG_A_INT : KG_A_REAL);
    if (whole(d))
        kg_write_i64(&c->out, (int64_t)d);
    else
        kg_write_f64(&c->out, d);
}

static void write_value(child *c, lua_State *L, const char *name, int at)
{
    size_t n;
    const char *s;
    switch (lua_type(L, at)) {
    case LUA_TBOOLEAN:
        kg_write_u32(&c->out, KG_A_BOOL);
        kg_write_u32(&c->out, (uint32_t)lua_toboolean(L, at));
        return;
    case LUA_TNUMBER: write_number(c, L, name, lua_tonumber(L, at)); return;
    case LUA_TTABLE: write_table(c, L, name, at); return;
    case LUA_TSTRING:
        s = lua_tolstring(L, at, &n);
        if (!memchr(s, 0, n)) {
            kg_write_u32(&c->out, KG_A_TEXT);
            kg_write_text(&c->out, s, n);
            return;
        }
        lua_pushfstring(L, "%s holds a zero byte", name);
        break;
    case LUA_TFUNCTION: lua_pushfstring(L, "%s is a function: call it, and give what it returns", name); break;
    default: lua_pushfstring(L, "%s is a %s, which is no value of a param or input", name, luaL_typename(L, at));
    }
    kg_where_raise(L);
}

static void check_name(lua_State *L, const char *s, size_t n)
{
    if (n && n <= KG_EDIT_NAME && !memchr(s, 0, n) && !memchr(s, '\t', n) && kg_plain_is(s))
        return;
    lua_pushliteral(L, "a name is too long or empty, or has control characters or bytes that are no UTF-8");
    kg_where_raise(L);
}

/* add(type, label, { name, value, name, value, ... }): the number of the node. Lua errors may leave from here half-way:
 * the frame is begun anew by whoever is next. */
static int f_add(lua_State *L)
{
    child *c = child_of(L);
    size_t n, m;
    const char *type = luaL_checklstring(L, 1, &n), *label = luaL_checklstring(L, 2, &m);
    if (c->describing) {
        c->plain = 1;
        return luaL_error(L, "a plain script is not run when it is described");
    }
    if (m)
        check_name(L, label, m);
    int pairs = (int)lua_objlen(L, 3) / 2;
    if (pairs > KG_EDIT_ARGS) {
        lua_pushfstring(L, "%s has no more than %d arguments", type, KG_EDIT_ARGS);
        kg_where_raise(L);
    }
    kg_write_begin(&c->out, KG_W_ADD);
    kg_write_text(&c->out, type, n);
    kg_write_text(&c->out, label, m);
    kg_write_u32(&c->out, (uint32_t)pairs);
    for (int i = 0; i < pairs; ++i) {
        lua_rawgeti(L, 3, 2 * i + 1);
        lua_rawgeti(L, 3, 2 * i + 2);
        const char *name = lua_tolstring(L, -2, &n);
        check_name(L, name, n);
        kg_write_text(&c->out, name, n);
        write_value(c, L, name, lua_gettop(L));
        lua_pop(L, 2);
    }
    send_frame(c);
    kg_reader r;
    answer(c, L, KG_W_NODE, &r);
    lua_pushinteger(L, (lua_Integer)kg_read_u32(&r));
    return 1;
}

/* Source text as a function. A first line "#!..." is passed over. */
static int load_text(lua_State *L, kg_reader *r)
{
    size_t n;
    const char *shown = kg_read_text(r, SIZE_MAX - 1, NULL), *text = kg_read_text(r, SIZE_MAX - 1, &n);
    if (n && text[0] == '#') {
        size_t line = strcspn(text, "\n");
        text += line;
        n -= line;
    }
    return kg_where_load(L, shown, text, n);
}

/* module(name): the chunk of a template. */
static int f_module(lua_State *L)
{
    child *c = child_of(L);
    size_t n;
    const char *name = luaL_checklstring(L, 1, &n);
    check_name(L, name, n);
    kg_write_begin(&c->out, KG_W_REQUIRE);
    kg_write_text(&c->out, name, n);
    send_frame(c);
    kg_reader r;
    answer(c, L, KG_W_MODULE, &r);
    return load_text(L, &r) ? lua_error(L) : 1;
}

/* try(f): pcall, but an error has its place. */
static int f_try(lua_State *L)
{
    lua_settop(L, 1);
    lua_pushcfunction(L, kg_where_handler);
    lua_insert(L, 1);
    lua_pushboolean(L, !lua_pcall(L, 0, 1, 1));
    lua_replace(L, 1);
    return 2;
}

/* named(s): an error when s is no name that the engine takes. */
static int f_named(lua_State *L)
{
    size_t n;
    const char *s = luaL_checklstring(L, 1, &n);
    check_name(L, s, n);
    return 0;
}

static int f_rethrow(lua_State *L)
{
    lua_settop(L, 1);
    return lua_error(L);
}

/* blame(f, message): the error of what f returned. Its line is f's, of a whole file the last one. */
static int f_blame(lua_State *L)
{
    lua_Debug d;
    lua_settop(L, 2);
    lua_pushvalue(L, 1);
    lua_getinfo(L, ">S", &d);
    lua_pushfstring(L, "%s:%d: %s", d.source + 1, d.linedefined ? d.linedefined : d.lastlinedefined, lua_tostring(L, 2));
    return lua_error(L);
}

/* What `return` gives: see lua/returns.h. */
static int f_keep(lua_State *L) { return lua_gettop(L); }

static int f_plain(lua_State *L)
{
    lua_pushboolean(L, child_of(L)->plain);
    return 1;
}

/* freeze_strings(methods): strings have these methods, and their metatable is out of reach. */
static int f_freeze_strings(lua_State *L)
{
    lua_pushliteral(L, "");
    lua_getmetatable(L, -1);
    lua_pushvalue(L, 1);
    lua_setfield(L, -2, "__index");
    lua_pushliteral(L, "string");
    lua_setfield(L, -2, "__metatable");
    return 0;
}

/* ---- the state ---- */

static const luaL_Reg functions[] = {
    {"raise", f_raise}, {"near", f_near}, {"types", f_types}, {"log", f_log}, {"add", f_add}, {"module", f_module}, {"try", f_try},
    {"rethrow", f_rethrow}, {"blame", f_blame}, {"keep", f_keep}, {"named", f_named}, {"plain", f_plain},
    {"freeze_strings", f_freeze_strings}, {NULL, NULL},
};

/* Runs an embedded part with the host's table as its argument; leaves its result. */
static void run_part(lua_State *L, const unsigned char *text, size_t n, int host)
{
    if (luaL_loadbufferx(L, (const char *)text, n, "=kino", "t"))
        lua_error(L);
    lua_pushvalue(L, host);
    lua_call(L, 1, 1);
}

/* Into the host's table at index 2: what the wire carries at most, and the names that no param may have. */
static void set_limits(lua_State *L, const child *c)
{
    static const struct { const char *name; int most; } rows[] = {
        {"name", KG_EDIT_NAME}, {"text", KG_DOC_TEXT}, {"params", KG_DOC_PARAMS}, {"choices", KG_DOC_CHOICES}};
    lua_newtable(L);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; ++i) {
        lua_pushinteger(L, rows[i].most);
        lua_setfield(L, -2, rows[i].name);
    }
    lua_setfield(L, 2, "most");
    lua_newtable(L);
    for (const char *const *name = c->reserved; name && *name; ++name) {
        lua_pushboolean(L, 1);
        lua_setfield(L, -2, *name);
    }
    lua_setfield(L, 2, "reserved");
}

/* Libraries, host functions, the face; leaves the face. */
static int state_fill(lua_State *L)
{
    static const lua_CFunction libraries[] = {luaopen_base, luaopen_table, luaopen_string, luaopen_math, luaopen_bit};
    child *c = lua_touserdata(L, 1);
    lua_settop(L, 1);
    for (size_t i = 0; i < sizeof libraries / sizeof *libraries; ++i) {
        lua_pushcfunction(L, libraries[i]);
        lua_call(L, 0, 0);
    }
    kg_where_begin(L);
    lua_newtable(L);
    for (const luaL_Reg *f = functions; f->name; ++f) {
        lua_pushlightuserdata(L, c);
        lua_pushcclosure(L, f->func, 1);
        lua_setfield(L, 2, f->name);
    }
    lua_pushvalue(L, LUA_GLOBALSINDEX);
    lua_setfield(L, 2, "globals");
    set_limits(L, c);
    run_part(L, kg_lua_params, kg_lua_params_size, 2);
    lua_setfield(L, 2, "params");
    run_part(L, kg_lua_face, kg_lua_face_size, 2);
    return 1;
}

/* Calls the C function with one light argument; its result or its error, which has its place, stays on the stack. */
static int protected_call(child *c, lua_CFunction f, void *arg, int results)
{
    int base = lua_gettop(c->L) + 1;
    lua_pushcfunction(c->L, kg_where_handler);
    lua_pushcfunction(c->L, f);
    lua_pushlightuserdata(c->L, arg);
    int status = lua_pcall(c->L, 1, results, base);
    lua_remove(c->L, base);
    return status;
}

static int state_new(child *c)
{
    c->L = luaL_newstate();
    if (!c->L)
        return 0;
    lua_State *L = c->L;
    luaJIT_setmode(L, 0, LUAJIT_MODE_ENGINE | LUAJIT_MODE_OFF);
    c->alloc = lua_getallocf(L, &c->alloc_arg);
    c->taken = (int64_t)lua_gc(L, LUA_GCCOUNT, 0) * 1024;
    lua_setallocf(L, bounded, c);
    return !protected_call(c, state_fill, c, 1);       /* the face stays at index 1 */
}

/* ---- what the engine asks for ---- */

typedef struct order { child *c; kg_reader r; } order;

static int do_describe(lua_State *L)
{
    order *o = lua_touserdata(L, 1);
    child *c = o->c;
    lua_getfield(L, LUA_REGISTRYINDEX, "face");
    lua_getfield(L, -1, "describe");
    c->describing = 1;
    if (load_text(L, &o->r))
        lua_error(L);
    lua_call(L, 1, 2);
    c->describing = 0;
    int doc = lua_gettop(L) - 1, all = doc + 1, n = (int)lua_objlen(L, all);
    size_t bytes;
    const char *text = lua_tolstring(L, doc, &bytes);
    kg_write_begin(&c->out, KG_W_DECLARED);
    kg_write_text(&c->out, text, bytes);
    kg_write_u32(&c->out, (uint32_t)n);
    for (int i = 1; i <= n; ++i) {
        lua_rawgeti(L, all, i);
        kg_declare_param(&c->out, L, lua_gettop(L));
        lua_pop(L, 1);
    }
    c->to_skip = c->plain ? c->printed : 0;
    return 0;
}

static int do_build(lua_State *L)
{
    order *o = lua_touserdata(L, 1);
    child *c = o->c;
    lua_getfield(L, LUA_REGISTRYINDEX, "face");
    lua_getfield(L, -1, "build");
    lua_newtable(L);
    for (uint32_t i = kg_read_u32(&o->r); i; --i) {
        size_t n;
        lua_pushstring(L, kg_read_text(&o->r, SIZE_MAX - 1, NULL));
        const char *text = kg_read_text(&o->r, SIZE_MAX - 1, &n);
        lua_pushlstring(L, text, n);
        lua_rawset(L, -3);
    }
    lua_call(L, 1, 1);
    uint32_t n = (uint32_t)lua_objlen(L, -1);
    kg_write_begin(&c->out, KG_W_WANTED);
    kg_write_u32(&c->out, n);
    for (uint32_t i = 1; i <= n; ++i) {
        lua_rawgeti(L, -1, (int)i);
        kg_write_u32(&c->out, (uint32_t)lua_tointeger(L, -1));
        lua_pop(L, 1);
    }
    return 0;
}

/* The error on top of the stack, as text. */
static void send_error(child *c)
{
    const char *s = lua_isstring(c->L, -1) ? lua_tostring(c->L, -1) : "the script raised an error that cannot be told";
    kg_write_begin(&c->out, KG_W_ERROR);
    kg_write_text(&c->out, s, strnlen(s, 8192));
    kg_where_way(c->L);
    s = lua_tostring(c->L, -1);
    kg_write_text(&c->out, s, strnlen(s, 8192));
    send_frame(c);
    _exit(1);
}

static void say_hello(child *c, int walls)
{
    kg_write_begin(&c->out, KG_W_HELLO);
    kg_write_u32(&c->out, (uint32_t)walls);
    send_frame(c);
}

_Noreturn void kg_child_main(int socket, pid_t parent, const kg_script_limits *l, const char *const *reserved)
{
    child c = {.limits = l, .reserved = reserved, .out.most = l->edits};
    if (!kg_wall_limits(socket, parent, l) || !state_new(&c))
        _exit(1);
    lua_setfield(c.L, LUA_REGISTRYINDEX, "face");
    say_hello(&c, kg_wall_up());
    for (;;) {
        order o = {.c = &c};
        uint32_t kind = receive(&c, &o.r);
        if (kind != KG_W_LOAD && kind != KG_W_BUILD)
            _exit(1);
        if (protected_call(&c, kind == KG_W_LOAD ? do_describe : do_build, &o, 0))
            send_error(&c);
        send_frame(&c);
        lua_settop(c.L, 0);
    }
}
