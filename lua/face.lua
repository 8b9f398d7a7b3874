-- The table `kino` that scripts see, their globals, and the three things the host asks for: load, describe, build.
-- Runs inside the script's process: nothing here is a wall, since the engine checks every edit again.

local host = ...
local params = host.params
local raise, near, add, show, suggest = host.raise, host.near, host.add, params.show, params.suggest
local type, pairs, ipairs, next, select, tostring, setmetatable, setfenv, rawget =
    type, pairs, ipairs, next, select, tostring, setmetatable, setfenv, rawget
local fmt, concat, sort, find, match = string.format, table.concat, table.sort, string.find, string.match

-- ---- node values: empty tables; what they stand for is kept here ----

local what, templates = setmetatable({}, { __mode = "k" }), setmetatable({}, { __mode = "k" })
local Value = { __metatable = "kino value" }

local function value(w)
    local v = setmetatable({}, Value)
    what[v] = w
    return v
end

local function name_of(w)
    return w.type .. (w.label and " '" .. w.label .. "'" or "") .. (w.port and "." .. w.outputs[w.port + 1] or "")
end

function Value.__index(v, name)
    local w = what[v]
    if w.port then raise(name_of(w) .. " is an output: it has no fields") end
    for i, output in ipairs(w.outputs) do
        if output == name then
            return value{ node = w.node, type = w.type, label = w.label, outputs = w.outputs, port = i - 1 }
        end
    end
    raise(fmt("%s has no output %s%s", name_of(w), show(name), suggest(tostring(name), { unpack(w.outputs) })))
end
function Value.__newindex(v) raise(name_of(what[v]) .. " cannot be changed: its arguments are given when it is made") end
function Value.__tostring(v) return name_of(what[v]) end

-- An input's source: the output that was named, or the only one.
local function source(w, argument)
    if w.port then return { node = w.node, port = w.port } end
    if #w.outputs ~= 1 then
        raise(#w.outputs == 0 and fmt("%s: %s has no output", argument, name_of(w)) or
              fmt("%s: %s has the outputs %s: name one of them, as in value.%s", argument, name_of(w),
                  concat(w.outputs, ", "), w.outputs[1]))
    end
    return { node = w.node, port = 0 }
end

-- A table where a node or a value is wanted may hold nodes: one of them was meant.
local function check_table(name, t)
    if templates[t] then raise(fmt("%s is a template: call it with its params, and give a node of what it returns", name)) end
    local names, nodes = {}, 0
    for k, v in next, t do
        if what[v] then
            nodes = nodes + 1
            if type(k) == "string" then names[#names + 1] = k end
        end
    end
    sort(names)
    if names[1] then
        raise(fmt("%s wants one node, and this is a table with %s: give one of them, as in %s = t.%s", name, concat(names, ", "), name, names[1]))
    elseif nodes > 0 then
        raise(fmt("%s wants one node, and this is a list with %d: give one of them, as in %s = list[1], or make a node for each in a loop",
                  name, nodes, name))
    end
end

local function argument_names(kind, args)
    local names = {}
    for k in next, args do
        if type(k) == "string" then
            names[#names + 1] = k
        elseif k ~= 1 then
            raise(fmt("%s takes named arguments (and a label in front)", kind))
        end
    end
    sort(names)                          -- the first error is the same one each time
    return names
end

local function construct(kind, outputs)
    return function(args, extra)
        if type(args) ~= "table" or what[args] or extra ~= nil then
            raise(fmt("%s takes one table of named arguments: kino.%s{ name = value }", kind, kind))
        end
        local label, flat = args[1], {}
        if label ~= nil and (type(label) ~= "string" or #label > 64 or find(label, "%c")) then
            raise(fmt("%s takes named arguments; the one in front is a label, a word or two of text", kind))
        end
        for _, name in ipairs(argument_names(kind, args)) do
            local v = args[name]
            flat[#flat + 1] = name
            if type(v) == "table" and not what[v] then check_table(name, v) end
            flat[#flat + 1] = what[v] and source(what[v], name) or v
        end
        return value{ node = add(kind, label or "", flat), type = kind, label = label, outputs = outputs }
    end
end

-- ---- the table kino ----

-- A table that scripts read and cannot change; a name it lacks is an error with the near match.
local function frozen(t, title, prefix)
    return setmetatable({}, {
        __metatable = title,
        __newindex = function() raise(title .. " cannot be changed") end,
        __index = function(_, name)
            local v = rawget(t, name)
            if v ~= nil then return v end
            local names = {}
            for k in pairs(t) do names[#names + 1] = prefix .. k end
            raise(fmt("there is no %s%s", prefix .. tostring(name), suggest(prefix .. tostring(name), names)))
        end,
    })
end

local kino = {}
for kind in pairs(params.kinds) do kino[kind] = params["kind_" .. kind] end

local function add_types()
    local prefixes = {}
    for kind, outputs in pairs(host.types()) do
        local prefix, node = match(kind, "^(.+)%.([^.]+)$")
        if prefix then
            prefixes[prefix] = prefixes[prefix] or {}
            prefixes[prefix][node] = construct(kind, outputs)
        end
    end
    for prefix, nodes in pairs(prefixes) do
        kino[prefix] = frozen(nodes, "kino." .. prefix, prefix .. ".")
    end
end
add_types()

-- ---- templates ----

local Template = { __metatable = "kino template" }
local template_fields = { doc = "string", params = "table", graph = "function" }

function kino.template(t)
    if type(t) ~= "table" then raise("kino.template takes a table: { doc = ..., params = ..., graph = function(p) ... end }") end
    for k, v in pairs(t) do
        if type(v) ~= template_fields[k] then
            raise(template_fields[k] and fmt("%s of a template is %s, and should be a %s", k, show(v), template_fields[k]) or
                  fmt("a template has no field %s%s", show(k), suggest(tostring(k), { "doc", "params", "graph" })))
        end
    end
    if not t.graph then raise("a template needs graph = function(p) ... end") end
    if #(t.doc or "") > host.most.text or find(t.doc or "", "%z") then raise("doc of a template holds a zero byte or is very long") end
    local v = setmetatable({}, Template)
    templates[v] = { doc = t.doc or "", params = params.list(t.params or {}), graph = t.graph }
    return v
end

local function run(t, given)
    if type(given) ~= "table" or what[given] then raise("a template takes one table of params: t{ name = value }") end
    return t.graph(params.fill(t.params, given))
end
function Template.__call(v, given) return run(templates[v], given or {}) end
function Template.__index() raise("a template has no fields; it is called with its params: t{ name = value }") end
function Template.__newindex() raise("a template cannot be changed") end

-- ---- globals ----

local allowed = {}
for name in ([[_VERSION assert error ipairs next pairs pcall rawequal rawget rawset select setmetatable getmetatable tonumber tostring
               type unpack xpcall bit coroutine math string table]]):gmatch("%S+") do
    allowed[name] = true
end
local base = host.globals
for name in pairs(base) do
    if not allowed[name] then base[name] = nil end
end
base.string.dump = nil
local methods = {}                       -- a script that changes its table `string` changes no method
for k, f in pairs(base.string) do methods[k] = f end
methods["return"] = host.keep            -- behind each `return f(x)`, see lua/returns.h
host.freeze_strings(methods)
base.kino = frozen(kino, "kino", "kino.")

function base.print(...)
    local words = {}
    for i = 1, select("#", ...) do words[i] = tostring((select(i, ...))) end
    host.log(concat(words, "\t"))
end

-- Each chunk has globals of its own: a template cannot trip over another one's.
local function chunk(f)
    local env = setmetatable({}, { __index = base, __metatable = "globals" })
    env._G = env
    return setfenv(f, env)
end

local loaded, LOADING = {}, {}
function base.require(name)
    if type(name) ~= "string" then raise("require takes the name of a template") end
    if loaded[name] == LOADING then raise(fmt('the template "%s" requires itself', name)) end
    if loaded[name] == nil then
        local f = host.module(name)
        loaded[name] = LOADING
        local v = chunk(f)()
        loaded[name] = v == nil and true or v
    end
    return loaded[name]
end

-- ---- what the host asks for ----

local face = {}
local main, template

-- The script up to its template. A plain script makes nodes at once, which stops it here (host.plain): it is run when built.
function face.describe(f)
    main = f
    local ok, result = host.try(chunk(f))
    if host.plain() then return "", {} end
    if not ok then host.rethrow(result) end
    template = templates[result]
    if not template then
        host.blame(f, "the script returned " .. show(result) .. ", and should return kino.template{...} or a table of nodes")
    end
    return template.doc, template.params
end

-- The nodes in what f returned.
local function collect(f, v, wanted, depth)
    if what[v] then
        wanted[#wanted + 1] = what[v].node
    elseif type(v) == "table" and depth < 8 and not templates[v] then
        for _, x in pairs(v) do collect(f, x, wanted, depth + 1) end
    else
        host.blame(f, "the graph returned " .. show(v) .. " where a node was expected")
    end
    return wanted
end

function face.build(given)
    local result
    if template then
        result = run(template, given)
    else
        if next(given) then raise(fmt('there is no param "%s": the script declares none', (next(given)))) end
        loaded = {}
        result = chunk(main)()
    end
    local from = template and template.graph or main
    local wanted = collect(from, result, {}, 0)
    if #wanted == 0 then host.blame(from, "the graph returned no node: return { video = kino.video.save{...} }") end
    sort(wanted)
    return wanted
end

return face
