/* The face: nodes, outputs, labels, values, templates, params, and errors at the script's line. */
#include "tests/lua/lua_test.h"

#define TEMPLATE(params, graph) "return kino.template{ doc = 'd', params = {" params "}, graph = function(p) " graph " end }"

static void nodes(void)
{
    BUILT("return { kino.a.one{} }", 1);
    BUILT("return kino.a.one{}", 1);
    BUILT("#!/usr/bin/env kino\nlocal v = kino.a.one{ 'first', count = 7 }\nreturn { out = kino.a.join{ x = v } }", 2);
    CHECK(toy_copy.count == 3, "defaults of the last node: %d", (int)toy_copy.count);
    BUILT("local t = kino.a.two{}\nreturn { kino.a.join{ x = t.value, y = t.text } }", 2);
    BUILT("return { kino.a.one{ count = 5, frames = 13, scale = 2.5, on = true, mode = 'fast', text = 'häß 圆 😀' } }", 1);
    CHECK(toy_copy.count == 5 && toy_copy.frames == 13 && toy_copy.scale == 2.5 && toy_copy.on == 1 && toy_copy.mode == 1);
    CHECK(!strcmp(toy_text, "häß 圆 😀"), "%s", toy_text);
    BUILT("return { kino.a.one{ scale = 'auto', seed = { 1, '18446744073709551615', 3 } } }", 1);
    CHECK(isnan(toy_copy.scale) && toy_copy.seed.n == 3 && toy_copy.seed.v[1] == -1 && toy_copy.seed.v[2] == 3);
    BUILT("return { kino.a.one{ device = 'cpu' }, kino.a.one{ device = 'auto' } }", 2);
    BUILT("return { kino.a.one{ seed = 9007199254740991 } }", 1);
    CHECK(toy_copy.seed.v[0] == 9007199254740991);
    BUILT("local all = {}\nfor i = 1, 20 do all[i] = kino.a.one{ count = i } end\nreturn { clips = all }", 20);
    CHECK(toy_copy.count == 20);
}

static void node_errors(void)
{
    REFUSED("local a = 1\nlocal x = kino.a.ome{}\nreturn { x }", KG_USAGE, "scripts/s.lua:2: there is no a.ome (did you mean a.one?)");
    REFUSED("\n\nreturn { kino.b.one{} }", KG_USAGE, "s.lua:3: there is no kino.b");
    REFUSED("return { kino.a.one{ cuont = 3 } }", KG_USAGE, "did you mean count?");
    REFUSED("return { kino.a.one{ cuont = 3 } }", KG_USAGE, "s.lua:1: a.one has no input or param \"cuont\"");
    REFUSED("return {\n kino.a.one{\n  'big', count = 101 } }", KG_USAGE, "a.one 'big' | scripts/s.lua:");
    REFUSED("return { kino.a.one{ count = 101 } }", KG_USAGE, "count = 101 is out of range: 1 to 100");
    REFUSED("return { kino.a.one{ frames = 82 } }", KG_USAGE, "the nearest are 81 and 85");
    REFUSED("return { kino.a.one{ device = 'gpu' } }", KG_USAGE, "device is \"auto\" or \"cpu\"");
    REFUSED("return { kino.a.one{ device = 3 } }", KG_USAGE, "device is \"auto\" or \"cpu\"");
    REFUSED("return { kino.a.one{ count = 1.5 } }", KG_USAGE, "count wants a whole number");
    REFUSED("return { kino.a.one{ count = 'x' } }", KG_USAGE, "count wants a whole number");
    REFUSED("return { kino.a.one{ count = ' 5' } }", KG_USAGE, "count wants a whole number");
    REFUSED("return { kino.a.one{ count = '+5' } }", KG_USAGE, "count wants a whole number");
    REFUSED("return { kino.a.one{ count = '0x5' } }", KG_USAGE, "count wants a whole number");
    REFUSED("return { kino.a.one{ count = {} } }", KG_USAGE, "count: a table is no value");
    REFUSED("return { kino.a.one{ count = print } }", KG_USAGE, "count is a function: call it");
    REFUSED("return { kino.a.one{ scale = 0/0 } }", KG_USAGE, "scale is not a number");
    REFUSED("return { kino.a.one{ scale = 1/0 } }", KG_USAGE, "scale is infinite");
    REFUSED("return { kino.a.one{ text = 'a\\0b' } }", KG_USAGE, "text holds a zero byte");
    REFUSED("return { kino.a.one{ mode = 'quick' } }", KG_USAGE, "not one of slow|fast|odd");
    REFUSED("return { kino.a.one{ seed = { 'x' } } }", KG_USAGE, "seed: item 1 of the list is no whole number");
    REFUSED("return { kino.a.one{ 'l\\194\\155' } }", KG_USAGE, "s.lua:1: a name");
    REFUSED("return { kino.a.one{ ['a\\n'] = 1 } }", KG_USAGE, "s.lua:1: a name");
    REFUSED("return { kino.a.one(3) }", KG_USAGE, "takes one table of named arguments");
    REFUSED("return { kino.a.one{ 'l', 'm' } }", KG_USAGE, "takes named arguments");
    REFUSED("return { kino.a.one{ 'l\\27[31m' } }", KG_USAGE, "label");
    REFUSED("return { kino.a.join{} }", KG_USAGE, "input x is not joined");
    REFUSED("return { kino.a.join{ x = 3 } }", KG_USAGE, "input x wants a node's output");
    REFUSED("return { kino.a.one{ count = kino.a.one{} } }", KG_USAGE, "param count wants a value, not a node");
    REFUSED("local t = kino.a.two{}\nreturn { kino.a.join{ x = t } }", KG_USAGE, "s.lua:2: x: a.two has the outputs value, text");
    REFUSED("local t = kino.a.two{ 'twin' }\nreturn { kino.a.join{ x = t.txet } }", KG_USAGE,
            "a.two 'twin' has no output \"txet\" (did you mean text?)");
    REFUSED("return { kino.a.join{ x = kino.a.two{}.text } }", KG_USAGE, "input x takes latent, but a.two.text is embedding");
    REFUSED("local v = kino.a.one{}\nv.count = 3", KG_USAGE, "s.lua:2: a.one cannot be changed");
    REFUSED("kino.a.one = 3", KG_USAGE, "kino.a cannot be changed");
    REFUSED("return {}", KG_USAGE, "should return kino.template");
    REFUSED("return 7", KG_USAGE, "the script returned 7");
    REFUSED("local v = kino.a.one{}\nreturn { v, 7 }", KG_USAGE, "returned 7 where a node was expected");
    REFUSED("return { kino.a.one{ }", KG_USAGE, "s.lua:1:");
    REFUSED("error({})", KG_USAGE, "an error that is a table");
    REFUSED("\nerror('mine \27[31mred')", KG_USAGE, "s.lua:2: mine ?[31mred");
    REFUSED_WITH("return { kino.a.one{} }", KG_USAGE, "the script declares none", {"frames", "3"});
}

/* A seed above 2^64 - 1 is refused, not cut; one below it arrives with all its bits. */
static void seeds_of_64_bits(void)
{
    static const char *const refused_[] = {"'18446744073709551616'", "{ '18446744073709551616' }", "{ 1, '99999999999999999999' }",
            "1e19", "{ 1e16 }",
                                           "-1", "{ -1 }", "'-1'", "{ '-1' }", "'1.5'", "{ 1.5 }"};
    char text[128];
    for (size_t i = 0; i < sizeof refused_ / sizeof *refused_; ++i) {
        snprintf(text, sizeof text, "\nreturn kino.a.one{ seed = %s }", refused_[i]);
        REFUSED(text, KG_USAGE, "s.lua:2: seed");
    }
    BUILT("return kino.a.one{ seed = '18446744073709551615' }", 1);
    CHECK(toy_copy.seed.v[0] == -1);
    BUILT("return kino.a.one{ seed = { '18446744073709551614', 9007199254740991 } }", 1);
    CHECK(toy_copy.seed.v[0] == -2 && toy_copy.seed.v[1] == 9007199254740991);
    const char *one = TEMPLATE("seed = kino.seed{ '18446744073709551615' }", "return { kino.a.one{ seed = p.seed } }");
    BUILT(one, 1);
    CHECK(toy_copy.seed.v[0] == -1);
    BUILT_WITH(one, 1, {"seed", "9007199254740993"});
    CHECK(toy_copy.seed.v[0] == 9007199254740993);
    REFUSED_WITH(one, KG_USAGE,
            "param seed: \"18446744073709551616\" is not a whole number from 0 to 2^64 - 1", {"seed", "18446744073709551616"});
    REFUSED_WITH(one, KG_USAGE, "param seed: \"1,2\" is not a whole number", {"seed", "1,2"});
}

/* Errors begin with the script's file and line, wherever the call stands; from another file the way there is said. */
static void errors_have_their_line(void)
{
    REFUSED("\nreturn kino.a.one{ count = 0 }", KG_USAGE, "a.one | scripts/s.lua:2: count = 0");
    REFUSED("\nreturn kino.a.one{\n count = 0,\n}", KG_USAGE, "scripts/s.lua:2: count");
    REFUSED("\nreturn kino.a.ome", KG_USAGE, " | scripts/s.lua:2: there is no a.ome");
    REFUSED("local function f()\n return kino.a.one{ count = 0 } -- a comment\nend\nreturn f(), f()", KG_USAGE, "scripts/s.lua:2: count");
    REFUSED("local f = function(...)\n if ... then return kino.a.one{ ... } else return error('no') end end\nreturn f()", KG_USAGE,
            "s.lua:2: no");
    REFUSED("local s = kino.a.one\n\nreturn s{ count = 0 };", KG_USAGE, "scripts/s.lua:3: count");
    REFUSED("coroutine.wrap(function()\n return kino.a.one{ count = 0 }\nend)()", KG_USAGE, "scripts/s.lua:2: count");
    REFUSED("\ncoroutine.wrap(kino.a.one){ count = 0 }", KG_USAGE, "scripts/s.lua:2: count");
    REFUSED("\nreturn pcall, kino.a.one{ count = 0 }", KG_USAGE, "scripts/s.lua:2: count");
    REFUSED("\nreturn error('mine')", KG_USAGE, " | scripts/s.lua:2: mine");
    REFUSED("\nerror('mine', 0)", KG_USAGE, " | mine |");      /* so it was asked for */
    REFUSED("\nerror({})", KG_USAGE, " | scripts/s.lua:2: the script raised an error that is a table");
    REFUSED("\n\nreturn 7", KG_USAGE, " | scripts/s.lua:3: the script returned 7");
    REFUSED("return kino.template{\n graph = function()\n return 7 end }", KG_USAGE, " | scripts/s.lua:2: the graph returned 7");
    REFUSED("return kino.template{ graph = function()\n return { kino.a.one{}, 7 } end }", KG_USAGE,
            " | scripts/s.lua:1: the graph returned 7");
    REFUSED("return kino.template{ graph = function(p)\n error('no', 2) end }", KG_USAGE, " | scripts/s.lua:2: no");
    REFUSED("return kino.template{ params = {\n x = 3 },\n graph = print }", KG_USAGE, " | scripts/s.lua:1: param x is 3");
}

static void what_is_returned_is_all_returned(void)
{
    BUILT("local function all(...) return ... end\nlocal function f(...) return all(...) end\n"
          "assert(select('#', f(1, nil, nil)) == 3 and select('#', f()) == 0)\n"
          "local s = { f([[a]], \"end\", 'return f(1)', --[==[ return ]] f(2) ]==] 3) }\nassert(#s == 4 and s[3] == 'return f(1)')\n"
          "local function g(n) if n == 0 then return else return all(n, g(n - 1)) end end\nassert(select('#', g(9)) == 9)\n"
          "local function h(x) repeat local y = x; if y then return all{ 1; 2, [3] = function() return all(4) end } end until all(y) end\n"
          "assert(h(1)[3]() == 4)\nreturn (function() return kino.a.one{} end)()", 1);
}

static void way_to_a_helper(void)
{
    const char *helper = "local m = {}\nfunction m.make(n)\n return kino.a.one{ count = n }\nend\nreturn m";
    const char *bad = "\nreturn kino.a.one{ count = 0 }";
    test_write("graphs/helper.lua", helper, strlen(helper));
    test_write("graphs/bad.lua", bad, strlen(bad));
    test_write("graphs/over.lua", "\n\nreturn require 'bad'", 22);
    test_write("graphs/syntax.lua", "\nreturn {", 9);
    REFUSED("local h = require 'helper'\nreturn h.make(0)", KG_USAGE,
            "a.one | graphs/helper.lua:3: count = 0 is out of range: 1 to 100 (called at scripts/s.lua:2)");
    REFUSED("local h = require 'helper'\nlocal function shot()\n return h.make(0) end\nreturn shot()", KG_USAGE,
            "(called at scripts/s.lua:3)");
    REFUSED("return require 'over'", KG_USAGE,
            "graphs/bad.lua:2: count = 0 is out of range: 1 to 100 (required at graphs/over.lua:3, required at "
            "scripts/s.lua:1)");
    REFUSED("\nrequire 'syntax'", KG_USAGE, " | graphs/syntax.lua:2: unexpected symbol near '<eof>' (required at scripts/s.lua:2)");
    REFUSED("\nreturn require 'none'", KG_INPUT, " | scripts/s.lua:2: there is no template");
    REFUSED("local ok, e = pcall(require 'helper'.make, 0)\nerror(e, 0)", KG_USAGE,
            "graphs/helper.lua:3: count = 0 is out of range: 1 to 100 (called "
            "at scripts/s.lua:2)");
}

static void too_deep_a_recursion(void)
{
    REFUSED("\nlocal function f() return 1 + f() end\nf()", KG_USAGE, " | scripts/s.lua:2: stack overflow: ");
    REFUSED("\nlocal function f() return f() end\nf()", KG_USAGE, " | scripts/s.lua:2: stack overflow: ");
    REFUSED("\nlocal function f(s) return (s:gsub('.', f)) end\nf('a')", KG_USAGE, "scripts/s.lua:");
    REFUSED("local t\nt = kino.template{ graph = function() return { t{} } end }\nreturn t", KG_USAGE,
            " | scripts/s.lua:2: stack overflow: ");
    REFUSED("local t = setmetatable({}, { __index = function(t, k)\n return t[k .. 'x'] end })\nreturn t.x", KG_USAGE, " | scripts/s.lua:");
}

static void wrong_things_say_what_to_do(void)
{
    REFUSED("local a, b = kino.a.one{}, kino.a.one{}\nreturn kino.a.join{ x = { a, b } }", KG_USAGE,
            "s.lua:2: x wants one node, and this is a list with 2: give one of them, as in x = list[1]");
    REFUSED("local t = { out = kino.a.one{} }\nreturn kino.a.join{ x = t }", KG_USAGE,
            "s.lua:2: x wants one node, and this is a table with out: give one "
            "of them, as in x = t.out");
    REFUSED("return kino.a.join{ x = kino.template{ graph = print } }", KG_USAGE, "s.lua:1: x is a template: call it");
    REFUSED("local a\nreturn kino.a.join{ x = a }", KG_USAGE,
            "s.lua:2: input x is not joined: it was not given, or nil was (it takes latent) | ");
    REFUSED("return kino.wan.decode{ latent = kino.wan.none }", KG_USAGE, "there is no wan.none");
    REFUSED("return kino.wan.decode{ vae = 'vae.safetensors' }", KG_USAGE,
            "s.lua:1: input vae wants a node's output, not a value | wan.vae gives one");
    REFUSED("return kino.wan.decode{ vae = nil }", KG_USAGE,
            "input vae is not joined: it was not given, or nil was (it takes resource/wan-vae) | wan.vae");
    REFUSED("local n = kino.latent.noise{ frames = 5 }\nreturn kino.video.save{ video = n, path = 'x.mp4' }", KG_USAGE,
            "but latent.noise.noise is latent/wan21 | wan.decode makes frames of it");
    REFUSED("local n = kino.latent.noise{ frames = 5 }\nreturn kino.image.save{ image = n, path = 'x.png' }", KG_USAGE,
            "| wan.decode makes frames of it, and image.sheet makes image of that");
}

static void caught_errors(void)
{
    BUILT("local ok, e = pcall(kino.a.one, { count = 101 })\nassert(not ok and e:find('out of range'))\nreturn { kino.a.one{} }", 1);
    REFUSED("pcall(kino.a.one, { count = 101 })\nkino.a.one{}\nerror('later')", KG_USAGE, "s.lua:3: later");
}

static void params(void)
{
    const char *all = TEMPLATE(
        "prompt = kino.string{ doc = 'what' }, frames = kino.int{ 81, min = 1, max = 1025, step = 4 }, scale = "
        "kino.number{ 'auto', min = 0 }, "
        "fast = kino.bool{ false }, model = kino.path{ optional = true }, out = kino.out{ 'o.mp4' }, mode = "
        "kino.choice{ 'slow', 'fast', default "
        "= 'slow' }, seed = kino.seeds{ 0 }, take = kino.list{ 1, 2, min = 0, max = 9 }, size = kino.size{ '832x480' }",
        "return { kino.a.one{ text = p.prompt, frames = p.frames, scale = p.scale, on = p.fast, path = p.model, mode = "
        "p.mode, seed = p.seed, "
        "count = p.size.w / 64 } }");
    BUILT_WITH(all, 1, {"prompt", "hello"});
    CHECK(toy_copy.frames == 81 && isnan(toy_copy.scale) && toy_copy.count == 13 && toy_copy.seed.v[0] == 0 && !strcmp(toy_text, "hello"));
    BUILT_WITH(all, 1, {"prompt", "x"}, {"frames", "13"}, {"scale", "2.5"}, {"fast", "yes"}, {"mode", "fast"}, {"size", "640x64"},
               {"seed", "7,18446744073709551615, 9"});
    CHECK(toy_copy.frames == 13 && toy_copy.scale == 2.5 && toy_copy.on && toy_copy.mode == 1 && toy_copy.count == 10);
    CHECK(toy_copy.seed.n == 3 && toy_copy.seed.v[0] == 7 && toy_copy.seed.v[1] == -1 && toy_copy.seed.v[2] == 9);
    REFUSED(all, KG_USAGE, "param prompt is missing: what");
    REFUSED_WITH(all, KG_USAGE, "param frames: \"82\" is out of range: 1 to 1025 in steps of 4; the nearest are 81 and 85", {"prompt", "x"},
                 {"frames", "82"});
    REFUSED_WITH(all, KG_USAGE, "no param \"promtp\" (did you mean prompt?)", {"promtp", "x"});
    REFUSED_WITH(all, KG_USAGE, "not a whole number", {"prompt", "x"}, {"frames", "many"});
    REFUSED_WITH(all, KG_USAGE, "scale: \"-1\" is out of range: 0 or more", {"prompt", "x"}, {"scale", "-1"});
    REFUSED_WITH(all, KG_USAGE, "scale: \"nan\" is not a number or \"auto\"", {"prompt", "x"}, {"scale", "nan"});
    REFUSED_WITH(all, KG_USAGE, "is not true or false", {"prompt", "x"}, {"fast", "maybe"});
    REFUSED_WITH(all, KG_USAGE, "not one of slow, fast (did you mean fast?)", {"prompt", "x"}, {"mode", "fsat"});
    REFUSED_WITH(all, KG_USAGE, "is not a size", {"prompt", "x"}, {"size", "wide"});
    REFUSED_WITH(all, KG_USAGE, "list of whole numbers from 0 to 2^64 - 1", {"prompt", "x"}, {"seed", "18446744073709551616"});
    REFUSED_WITH(all, KG_USAGE, "each 0 to 9", {"prompt", "x"}, {"take", "1,10"});
    REFUSED(TEMPLATE("frames = kino.int{ 3 }", "return { kino.a.one{ count = p.frmaes } }"), KG_USAGE,
            "s.lua:1: the template declares no param \"frmaes\" (did you mean frames?)");
}

static void declarations(void)
{
    REFUSED("return kino.template{ params = { x = kino.int{ 3, mn = 1 } }, graph = print }", KG_USAGE,
            "no field \"mn\" (did you mean min?)");
    REFUSED("return kino.template{\n params = {\n  x = kino.int{ 0, min = 1 } },\n graph = print }", KG_USAGE,
            "default of kino.int, 0, is out");
    REFUSED("return kino.template{ params = { X = kino.int{ 0 } }, graph = print }", KG_USAGE, "\"X\" is no name of a param");
    REFUSED("return kino.template{ params = { x = 3 }, graph = print }", KG_USAGE, "param x is 3");
    REFUSED("return kino.template{ grpah = print }", KG_USAGE, "no field \"grpah\" (did you mean graph?)");
    REFUSED("return kino.template{ params = {} }", KG_USAGE, "needs graph");
    REFUSED("local x = kino.integer{ 3 }", KG_USAGE, "no kino.integer");
    REFUSED("local x = kino.in{ 3 }", KG_USAGE, "s.lua:1:");
}

/* What cannot be is refused where it is declared, for every kind; nothing of it is a malformed message. */
static void declarations_that_cannot_be(void)
{
    static const struct { const char *declared, *says; } rows[] = {
        {"kino.int{ 1, step = 0/0 }", "step of kino.int is not a number"}, {"kino.int{ 1, step = 1/0 }", "step of kino.int is infinite"},
        {"kino.int{ 1, step = -1 }", "step of kino.int is -1, and should be above 0"}, {"kino.int{ 1, step = 0 }", "step of kino.int is 0"},
        {"kino.int{ 1, step = 0.5 }", "step of kino.int is 0.5, and should be a whole number"},
        {"kino.int{ 1, min = 0/0 }", "min of kino.int is not a number"}, {"kino.int{ 1, max = 0/0 }", "max of kino.int is not a number"},
        {"kino.int{ 1, min = 1/0 }", "min of kino.int is infinite"}, {"kino.int{ 1, max = -1/0 }", "max of kino.int is infinite"},
        {"kino.int{ 1, min = 0.5 }", "min of kino.int is 0.5"}, {"kino.int{ 1, max = 1e17 }", "max of kino.int is beyond 2^53 - 1"},
        {"kino.int{ 4, min = 5, max = 3 }", "min of kino.int, 5, is above its max, 3"},
        {"kino.int{ 9, max = 3 }", "the default of kino.int, 9, is out of range"}, {"kino.int{ 0/0 }", "the default of kino.int"},
        {"kino.int{ 1/0 }", "the default of kino.int"}, {"kino.int{ 1.5 }", "the default of kino.int, 1.5, is not a whole number"},
        {"kino.int{ 2, min = 1, step = 4 }", "the default of kino.int, 2, is out of range: 1 or more in steps of 4"},
        {"kino.number{ 1, step = 0/0 }", "step of kino.number is not a number"}, {"kino.number{ 1, min = 0/0 }", "min of kino.number"},
        {"kino.number{ 1, step = -0.5 }", "step of kino.number is -0.5"}, {"kino.number{ 0/0 }", "the default of kino.number"},
        {"kino.number{ 1/0 }", "the default of kino.number"}, {"kino.number{ 'auto', min = 2, max = 1 }",
            "min of kino.number, 2, is above"},
        {"kino.list{ 1, min = 0/0 }", "min of kino.list"}, {"kino.list{ 1, max = 0.5 }", "max of kino.list"},
        {"kino.list{ 1, 9, max = 3 }", "the default of kino.list"}, {"kino.list{ 0/0 }", "the default of kino.list"},
        {"kino.seed{ -1 }", "the default of kino.seed, -1, is not a whole number from 0 to 2^64 - 1"},
        {"kino.seed{ '18446744073709551616' }", "the default of kino.seed"}, {"kino.seed{ 1e16 }", "the default of kino.seed"},
        {"kino.seed{ 0/0 }", "the default of kino.seed"}, {"kino.seeds{ 0/0 }", "the default of kino.seeds"},
        {"kino.seed{ 0, min = 1 }", "kino.seed has no field"}, {"kino.size{ '0x8' }", "the default of kino.size"},
        {"kino.choice{}", "kino.choice takes 1 to 256 words"}, {"kino.choice{ 'a\\n' }", "a name is too long or empty, or has control"},
        {"kino.choice{ ('a'):rep(200) }", "a name is too long"}, {"kino.choice{ 'a', default = 'b' }", "the default of kino.choice"},
        {"kino.string{ ('a'):rep(70000) }", "the default of kino.string is longer"},
        {"kino.string{ 'a\\0' }", "the default of kino.string, \"a?\", holds a zero byte"},
        {"kino.string{ doc = ('a'):rep(70000) }", "doc of kino.string"}, {"kino.bool{ 0 }", "the default of kino.bool"},
    };
    char text[256], says[256];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; ++i) {
        snprintf(text, sizeof text, "return kino.template{\n params = {\n  x = %s }, graph = print }", rows[i].declared);
        snprintf(says, sizeof says, " | scripts/s.lua:3: %s", rows[i].says);
        REFUSED(text, KG_USAGE, says);
    }
    REFUSED("return kino.template{ params = { [('a'):rep(200)] = kino.int{} }, graph = print }", KG_USAGE, "s.lua:1: \"aaa");
    REFUSED("local t = {} for i = 1, 300 do t['p' .. i] = kino.int{} end\nreturn kino.template{ params = t, graph = print }", KG_USAGE,
            "s.lua:2: a template has 300 params");
    REFUSED("local t = {} for i = 1, 200 do t['p' .. i] = kino.choice{ 'a', 'b' } end\n"
            "return kino.template{ params = t, graph = print }", KG_USAGE,
            "s.lua:2: the params of a template have 400 choices");
    REFUSED("\nreturn kino.template{ doc = ('a'):rep(70000), graph = print }", KG_USAGE, "s.lua:2: doc of a template");
    BUILT(TEMPLATE("x = kino.int{ 1, min = -math.huge, max = math.huge }", "return kino.a.one{}"), 1);
}

static void params_named_like_an_option(void)
{
    static const char *const reserved[] = {"ram", "device", NULL};
    const char *text = "return kino.template{ params = { device = kino.int{ 1 } },\n graph = print }";
    kg_files *files = kg_files_new();
    test_write("scripts/s.lua", text, strlen(text));
    kg_script *s = kg_script_open("scripts/s.lua", &(kg_script_options){.files = files, .reserved = reserved});
    CHECK(s && !kg_script_describe(s));
    CHECK(!strcmp(kg_error_last()->message, "scripts/s.lua:1: a param cannot be called device: --device is an option of kino itself"), "%s",
          kg_error_last()->message);
    kg_error_clear();
    kg_script_close(s);
    kg_files_free(files);
}

static void described(void)
{
    kg_files *files = kg_files_new();
    const char *text = "return kino.template{ doc = 'Makes it.', params = { b = kino.string{ doc = 'be' },\n"
                       "a = kino.int{ 81, min = 1, max = 1025, step = 4 }, c = kino.choice{ 'u', 'v', default = 'v' }, "
                       "seed = kino.seeds{ 7, '18446744073709551615' }, size = kino.size{ '832x480' }, shift = kino.number{ 'auto' }, "
                       "low = kino.path{ optional = true } }, graph = function() end }";
    test_write("scripts/d.lua", text, strlen(text));
    kg_script *s = kg_script_open("scripts/d.lua", &(kg_script_options){.files = files});
    const kg_script_doc *d = s ? kg_script_describe(s) : NULL;
    CHECK(d && d->n == 7 && !strcmp(d->doc, "Makes it."), "%s", kg_error_last()->message);
    if (d && d->n == 7) {
        const kg_script_param *p = d->params;
        CHECK(!strcmp(p[0].name, "b") && p[0].type == KG_S_STRING && p[0].required && !p[0].def && !strcmp(p[0].doc, "be"));
        CHECK(!strcmp(p[1].name, "a") && p[1].type == KG_S_INT && !strcmp(p[1].def, "81") && p[1].min == 1 &&
              p[1].max == 1025 && p[1].step == 4);
        CHECK(p[2].type == KG_S_CHOICE && p[2].choice_count == 2 && !strcmp(p[2].choices[1], "v") && !strcmp(p[2].def, "v"));
        CHECK(!strcmp(p[3].def, "7,18446744073709551615") && p[3].type == KG_S_SEEDS);
        CHECK(!strcmp(p[4].def, "832x480") && p[4].type == KG_S_SIZE);
        CHECK(!strcmp(p[5].def, "auto") && p[5].takes_auto && isinf(p[5].max));
        CHECK(!p[6].required && !p[6].def && p[6].type == KG_S_PATH);
        CHECK(kg_script_describe(s) == d);
    }
    kg_script_close(s);
    kg_files_free(files);
}

static void nested(void)
{
    const char *inner = "local n = ...\nreturn kino.template{ params = { frames = kino.int{ 81, min = 1, max = 1025, step = 4 } },\n"
                        "graph = function(p) return { x = kino.a.one{ 'inner', frames = p.frames } } end }";
    test_write("graphs/inner.lua", inner, strlen(inner));
    test_write("scripts/mine.lua", inner, strlen(inner));
    BUILT("local t = require 'inner'\nreturn { t{ frames = 5 }, t{} }", 2);
    BUILT("local t = require 'mine'\nreturn t{ frames = 5 }", 1);
    BUILT("local t = require 'inner'\nlocal g = t{ frames = 5 }\nreturn { kino.a.join{ x = g.x } }", 2);
    REFUSED("local t = require 'inner'\n\nlocal g = t{ frames = 6 }", KG_USAGE, "s.lua:3: param frames: 6 is out of range");
    REFUSED("local t = require 'inner'\nlocal g = t{ frmaes = 6 }", KG_USAGE,
            "s.lua:2: the template has no param \"frmaes\" (did you mean frames?)");
    REFUSED("local t = require 'outer'", KG_INPUT, "s.lua:1: there is no template \"outer\"");
    REFUSED("local t = require '../scripts/mine'", KG_USAGE, "is no name of one");
    REFUSED("local t = require '/etc/passwd'", KG_USAGE, "is no name of one");
    REFUSED("require 's'", KG_USAGE, "");
    test_write("graphs/loop.lua", "local x = require 'loop'", 24);
    REFUSED("require 'loop'", KG_USAGE, "graphs/loop.lua:1: the template \"loop\" requires itself");
    test_write("graphs/broken.lua", "return = 3", 10);
    REFUSED("require 'broken'", KG_USAGE, "broken.lua:1:");
    test_write("graphs/globals.lua", "leak = 3\nreturn 1", 17);
    REFUSED("require 'globals'\nerror(tostring(leak))", KG_USAGE, "nil");
}

static void unreached(void)
{
    case_run c = case_text("print('hello', 3, nil)\nlocal a = kino.a.one{ 'idle' }\nprint('twice\\27?')\nreturn { kino.a.one{} }", NULL, 0);
    CHECK(c.status == KG_OK && strstr(test_log, "a.one 'idle' does not run"), "%s", test_log);
    CHECK(!strncmp(test_log, "hello\t3\tnil\ntwice??\n", 20), "%s", test_log);
    int nodes[2];
    CHECK(kg_graph_unreached(c.g, nodes, 2) == 1 && nodes[0] == 0);
    case_free(&c);
}

static void outputs(void)
{
    const char *save = TEMPLATE("out = kino.out{ 'new.mp4' }",
                                "return { kino.a.save{ x = kino.a.one{}, out = p.out }, kino.a.save{ x = kino.a.one{}, "
                                "out = p.out:gsub('%.mp4$', '.png') .. '' }, kino.a.save{ x = kino.a.one{}, out = "
                                "p.out:gsub('%.mp4$', '-7.mp4') .. '' } }");
    BUILT(save, 6);
    mkdir("there", 0700);
    BUILT_WITH(save, 6, {"out", "there/clip.mp4"});
    BUILT_WITH(save, 6, {"out", "/tmp/kg_lua_clip.mp4"});
    test_write("new.mp4", "", 0);
    BUILT(save, 6);                    /* whether it must stay is asked when a run begins */
    BUILT_WITH(save, 6, {"out", "new.mp4"});
    REFUSED_WITH(TEMPLATE("out = kino.out{}", "return { kino.a.save{ x = kino.a.one{}, out = '/tmp/else.mp4' } }"),
                 KG_USAGE, "may not write", {"out", "there/clip.mp4"});
    REFUSED_WITH(TEMPLATE("out = kino.out{}", "return { kino.a.save{ x = kino.a.one{}, out = 'there/other.mp4' } }"),
                 KG_USAGE, "may not write", {"out", "there/clip.mp4"});
    REFUSED_WITH(TEMPLATE("out = kino.out{}", "return { kino.a.save{ x = kino.a.one{}, out = 'there/clip-/../../x.mp4' } }"), KG_USAGE,
                 "may not write", {"out", "there/clip.mp4"});
}

static void inputs(void)
{
    const char *typed = TEMPLATE("model = kino.path{ '/etc/hostname' }", "return { kino.a.one{ path = p.model } }");
    REFUSED(typed, KG_USAGE, "'/etc/hostname' leads out of the folders");
    BUILT_WITH(typed, 1, {"model", "/etc/passwd"});
    REFUSED("return { kino.a.one{ path = '../../../../etc/passwd' } }", KG_USAGE, "leads out of the folders");
    REFUSED("return { kino.a.one{ path = 'nothing.safetensors' } }", KG_INPUT, "cannot find 'nothing.safetensors'");
    test_write("scripts/weights.bin", "x", 1);
    BUILT("return { kino.a.one{ path = 'weights.bin' } }", 1);
}

int main(void)
{
    test_begin();
    nodes();
    node_errors();
    seeds_of_64_bits();
    errors_have_their_line();
    what_is_returned_is_all_returned();
    way_to_a_helper();
    too_deep_a_recursion();
    wrong_things_say_what_to_do();
    caught_errors();
    params();
    declarations();
    declarations_that_cannot_be();
    params_named_like_an_option();
    described();
    nested();
    unreached();
    outputs();
    inputs();
    test_end();
    return TEST_END();
}
