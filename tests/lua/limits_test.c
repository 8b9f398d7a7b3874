/* Untrusted scripts: what runs for ever, eats memory, or reaches for what it must not have. Each ends alone, with the reason. */
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "lua/wall.h"
#include "tests/lua/lua_test.h"

/* The script is stopped for this reason, and in time. */
static void stopped(int line, const char *text, const char *reason)
{
    case_run c = case_text(text, NULL, 0);
    CHECK(c.status == KG_USAGE && strstr(c.error.message, reason), "from line %d: %d: %s", line, c.status, c.error.message);
    CHECK(c.seconds < 6, "from line %d: it took %.2f s", line, c.seconds);
    case_free(&c);
}
#define STOPPED(text, reason) stopped(__LINE__, text, reason)

static void for_ever(void)
{
    STOPPED("while true do end", "s of CPU");
    STOPPED("while true do pcall(function() while true do end end) end", "s of CPU");
    STOPPED("while true do pcall(error) end", "s of CPU");
    STOPPED("local f = coroutine.wrap(function() while true do coroutine.yield() end end)\nwhile true do f() end", "s of CPU");
    STOPPED("coroutine.wrap(function() while true do end end)()", "s of CPU");
    STOPPED("local s = ('a'):rep(40)\nreturn s:find(('a*'):rep(30) .. 'b')", "s of CPU");
    STOPPED("return (' '):rep(2e5):gsub('%s-%s-%s-%s-x', '')", "s of CPU");
    STOPPED("return setmetatable({}, { __index = function(t, k) return t[k .. ''] end }).x", "");
    STOPPED("local t = setmetatable({}, { __tostring = function() while true do end end })\nprint(t)", "s of CPU");
    STOPPED("return kino.template{ graph = function() while true do end end }", "s of CPU");
    STOPPED("table.sort({ 1, 2, 3 }, function() while true do end end)", "s of CPU");
}

static void memory(void)
{
    STOPPED("local s = 'x'\nwhile true do s = s .. s end", "MiB of memory");
    STOPPED("return ('x'):rep(1e9)", "MiB of memory");
    STOPPED("while true do pcall(string.rep, 'x', 1e9) end", "MiB of memory");
    STOPPED("local t = {}\nfor i = 1, 1e9 do t[i] = { i } end", "MiB of memory");
    STOPPED("local t = {}\nfor i = 1, 1e9 do t[i] = coroutine.create(print) end", "MiB of memory");
    STOPPED("local function f() return 1 + f() end\nf()", "stack overflow");
    STOPPED("local function f() local ok = pcall(f) end\nf()\nerror('done')", "");
    STOPPED("local function f(n) coroutine.wrap(f)(n + 1) end\nf(1)", "");
    STOPPED("local s = ('('):rep(1e5)\nreturn s:find(s)", "");
    STOPPED("return unpack({}, 1, 1e7)", "too many results");
}

static void edits(void)
{
    STOPPED("for i = 1, 65 do kino.a.one{} end", "more than 64 nodes");
    STOPPED("for i = 1, 65 do pcall(kino.a.one, { count = 0 }) end", "more than 64 nodes");
    BUILT("local v\nfor i = 1, 64 do v = kino.a.one{} end\nreturn v", 64);
    STOPPED("kino.a.one{ text = ('x'):rep(2e6) }", "KiB of edits");
    STOPPED("local s = ('x'):rep(4000)\nfor i = 1, 300 do print(s) end", "KiB of edits");
    STOPPED("local s = ('x'):rep(4e5)\nkino.a.one{ text = s }\nkino.a.one{ text = s }\nkino.a.one{ text = s }", "KiB of edits");
    STOPPED("local t = {}\nfor i = 1, 2000 do t[i] = i end\nkino.a.one{ seed = t }", "list of 1 to 256");
    STOPPED("local t = {}\nfor i = 1, 200 do t[i] = i end\nkino.a.one{ seed = t }", "1 to 64 numbers");
    STOPPED("local t = {}\nfor i = 1, 100 do t['n' .. i] = i end\nkino.a.one(t)", "no more than 64 arguments");
    STOPPED("kino.a.one{ [('n'):rep(1000)] = 3 }", "too long");
    STOPPED("for i = 1, 1000 do pcall(require, 't' .. i) end\nrequire 'x'", "more than 256 times");
}

/* The time is the script's alone: a process that sleeps is none of its own making, so it is made by hand here. */
static void wall_clock(void)
{
    case_run c = {.files = kg_files_new()};
    test_write("scripts/s.lua", "return kino.a.one{}", 19);
    c.s = kg_script_open("scripts/s.lua", &(kg_script_options){.files = c.files, .limits = {.wall_seconds = 0.2, .cpu_seconds = 60}});
    usleep(300000);                            /* the engine's own time */
    CHECK(kg_script_describe(c.s), "%s", kg_error_last()->message);
    case_free(&c);
    kg_script_limits l = test_limits;
    l.cpu_seconds = 60;
    l.wall_seconds = 0.2;
    test_write("scripts/s.lua", "while true do end", 17);
    c = case_file("scripts/s.lua", &l, NULL, 0);
    CHECK(c.status == KG_USAGE && strstr(c.error.message, "took more than 0.2 s") && c.seconds < 1.5, "%s, %.2f s",
          c.error.message, c.seconds);
    case_free(&c);
}

static void cancelled(void)
{
    volatile sig_atomic_t cancel = 1;
    kg_files *files = kg_files_new();
    test_write("scripts/s.lua", "while true do end", 17);
    kg_script *s = kg_script_open("scripts/s.lua", &(kg_script_options){.files = files, .limits = test_limits, .cancel = &cancel});
    CHECK(!kg_script_describe(s) && kg_error_last()->status == KG_CANCELLED, "%s", kg_error_last()->message);
    CHECK(!kg_script_describe(s), "a script that ended was described");
    kg_script_close(s);
    kg_files_free(files);
    kg_error_clear();
}

/* Names that a script must not have, by any road. */
static void out_of_reach(void)
{
    static const char *const names[] = {"os", "io", "ffi", "debug", "jit", "package", "load", "loadstring", "loadfile", "dofile", "getfenv",
                                        "setfenv", "newproxy", "collectgarbage", "gcinfo", "module", "string.dump", "_G.io", "_G._G.os"};
    char text[256];
    for (size_t i = 0; i < sizeof names / sizeof *names; ++i) {
        snprintf(text, sizeof text, "assert(%s == nil)\nreturn kino.a.one{}", names[i]);
        BUILT(text, 1);
    }
    REFUSED("os.execute('id')", KG_USAGE, "s.lua:1: attempt to index global 'os'");
    REFUSED("io.open('/etc/passwd')", KG_USAGE, "attempt to index global 'io'");
    REFUSED("require 'ffi'", KG_INPUT, "there is no template \"ffi\"");
    REFUSED("require 'io'", KG_INPUT, "there is no template");
    REFUSED("local x = 1LL\nreturn require 'ffi'", KG_INPUT, "there is no template");
    REFUSED("local x = 1LL\nreturn kino.a.one{ count = x }", KG_USAGE, "count is a cdata");
    BUILT("local x = 1LL\nassert(getmetatable(x) == 'ffi' and not pcall(function() return x.new end))\nreturn kino.a.one{}", 1);
    BUILT("assert(getmetatable('') == 'string' and not pcall(setmetatable, '', {}))\nreturn kino.a.one{}", 1);
    BUILT("string.find = nil; string.rep = error\nassert(('ab'):find('b') == 2)\nreturn kino.a.one{ 'label' }", 1);
    BUILT("assert(getmetatable(_G) == 'globals' and not pcall(setmetatable, _G, {}))\nreturn kino.a.one{}", 1);
    BUILT("local v = kino.a.one{}\nassert(not pcall(setmetatable, v, {}) and next(v) == nil)\nrawset(v, 'x', 3)\nreturn v", 1);
    BUILT("print = nil; kino = kino; pcall = nil\nreturn kino.a.one{}", 1);
    BUILT("local e = setmetatable({}, { __index = _G })\nassert(e.os == nil)\nreturn kino.a.one{}", 1);
    BUILT("local ok, e = pcall(coroutine.wrap(function() return kino.a.ome end))\nassert(not ok and e:find('did you "
          "mean'))\nreturn kino.a.one{}",
          1);
}

static void bytecode(void)
{
    case_run c = case_text("\033LJ\2\n", NULL, 0);
    CHECK(c.status == KG_USAGE && strstr(c.error.message, "compiled Lua"), "%s", c.error.message);
    case_free(&c);
    test_write("graphs/code.lua", "\033LJ\2\n\0\0", 7);
    REFUSED("require 'code'", KG_USAGE, "code.lua is no text");
    test_write("scripts/s.lua", "return\0 1", 9);
    c = case_file("scripts/s.lua", &test_limits, NULL, 0);
    CHECK(c.status == KG_USAGE && strstr(c.error.message, "zero byte"), "%s", c.error.message);
    case_free(&c);
}

static void files(void)
{
    case_run c = case_file("scripts/none.lua", &test_limits, NULL, 0);
    CHECK(c.status == KG_INPUT && strstr(c.error.message, "none.lua"), "%s", c.error.message);
    case_free(&c);
    c = case_file("nowhere/none.lua", &test_limits, NULL, 0);
    CHECK(c.status == KG_INPUT && strstr(c.error.message, "none.lua"), "%s", c.error.message);
    case_free(&c);
    c = case_file("scripts", &test_limits, NULL, 0);
    CHECK(c.status == KG_INPUT, "%s", c.error.message);
    case_free(&c);
    CHECK(!symlink("/etc/passwd", "scripts/link.lua"));
    REFUSED("require 'link'", KG_INPUT, "there is no template \"link\"");
}

/* ---- the walls, tried from the inside ---- */

enum { FILES = 1, NETWORK = 2, PROCESSES = 4, DESCRIPTORS = 8 };

static int probe(int mask)
{
    int open_ones = 0;
    if (mask & FILES && (open("/etc/passwd", O_RDONLY) >= 0 || open("/tmp/kg_lua_probe", O_CREAT | O_WRONLY, 0600) >= 0))
        open_ones |= FILES;
    if (mask & NETWORK && socket(AF_INET, SOCK_STREAM, 0) >= 0)
        open_ones |= NETWORK;
    if (mask & PROCESSES && syscall(SYS_fork) >= 0)
        open_ones |= PROCESSES;
    if (mask & DESCRIPTORS)
        for (int i = 3; i < 64; ++i)
            if (write(i, "", 0) >= 0 || read(i, &(char){0}, 0) >= 0)
                open_ones |= DESCRIPTORS;
    return open_ones;
}

static void walls(void)
{
    int mine[2], answer[2], got[2] = {-1, -1};
    kg_script_limits l = test_limits;
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, mine) || pipe(answer))
        exit(1);
    l.memory = 1u << 30;
    pid_t parent = getpid(), pid = fork();
    if (!pid) {
        if (!kg_wall_limits(mine[1], parent, &l))
            _exit(1);
        got[0] = probe(DESCRIPTORS);
        int up = kg_wall_up(), found = got[0] | probe(up & KG_WALL_SECCOMP ? FILES | NETWORK | PROCESSES : up ? FILES : 0);
        int words[2] = {up, found};
        _exit(write(0, words, sizeof words) != sizeof words);
    }
    int status;
    CHECK(waitpid(pid, &status, 0) == pid && status == 0, "status %x", (unsigned)status);
    CHECK(read(mine[0], got, sizeof got) == sizeof got);
    printf("walls of this kernel: %s, %s\n", got[0] & KG_WALL_LANDLOCK ? "Landlock" : "no Landlock",
           got[0] & KG_WALL_SECCOMP ? "seccomp" : "no seccomp");
    CHECK(got[1] == 0, "what is open behind the walls: %d", got[1]);
    for (int i = 0; i < 2; ++i) {
        close(mine[i]);
        close(answer[i]);
    }
    case_run c = case_text("return kino.a.one{}", NULL, 0);
    CHECK(kg_script_walls(c.s) == got[0], "%d and %d", kg_script_walls(c.s), got[0]);
    case_free(&c);
}

/* No process stays behind, whatever became of its script. */
static void no_orphans(void) { CHECK(waitpid(-1, NULL, WNOHANG) < 0, "a process was not reaped"); }

int main(void)
{
    test_begin();
    for_ever();
    memory();
    edits();
    wall_clock();
    cancelled();
    out_of_reach();
    bytecode();
    files();
    walls();
    no_orphans();
    test_end();
    return TEST_END();
}
