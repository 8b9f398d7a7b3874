-- What a template declares about its params, and how a value becomes what the template's function gets.
-- A value comes from a command line (text) or from another template (any type); both end in the same place.

local host = ...
local raise, near, most, reserved = host.raise, host.near, host.most, host.reserved
local type, pairs, ipairs, next, tonumber, tostring = type, pairs, ipairs, next, tonumber, tostring
local floor, abs, huge, fmt, concat, sort = math.floor, math.abs, math.huge, string.format, table.concat, table.sort
local find, match, gmatch, gsub, sub = string.find, string.match, string.gmatch, string.gsub, string.sub

local WHOLE = 2 ^ 53 - 1                 -- whole numbers are exact up to here; larger seeds are decimal text
local SEED = "18446744073709551615"
local params = {}
local declared = setmetatable({}, { __mode = "k" })
local count = 0

local function show(v)
    if type(v) == "string" then
        v = gsub(v, "%z", "?")           -- or the message would end there
        return #v > 60 and '"' .. sub(v, 1, 57) .. '..."' or '"' .. v .. '"'
    elseif type(v) == "number" then
        return v == floor(v) and abs(v) <= WHOLE and fmt("%d", v) or fmt("%.14g", v)
    end
    return type(v) == "boolean" and tostring(v) or "a " .. type(v)
end
params.show = show

local function suggest(name, names)
    sort(names)
    local best = near(name, names)
    return best and " (did you mean " .. best .. "?)" or ""
end
params.suggest = suggest

-- ---- reading: read.KIND(declaration, value) gives the value, or nil and the complaint ----

local function range(d)
    local steps = d.step > 0 and fmt(" in steps of %.14g", d.step) or ""
    if d.max == huge then
        return fmt("%.14g or more", d.min) .. steps
    elseif d.min == -huge then
        return fmt("%.14g or less", d.max) .. steps
    end
    return fmt("%.14g to %.14g", d.min, d.max) .. steps
end

local function within(d, v)
    if v < d.min or v > d.max then
        return nil, "is out of range: " .. range(d)
    end
    local base = d.min == -huge and 0 or d.min
    if d.step > 0 and (v - base) % d.step ~= 0 then
        local low = v - (v - base) % d.step
        local high = low + d.step
        return nil, "is out of range: " .. range(d) .. "; the nearest " ..
            (high > d.max and fmt("is %.14g", low) or fmt("are %.14g and %.14g", low, high))
    end
    return v
end

local function number(d, v, pattern, what)
    if d.auto then
        if v == "auto" then return v end
        what = what .. ' or "auto"'
    end
    if type(v) == "string" and find(v, pattern) then v = tonumber(v) end
    if type(v) ~= "number" or v ~= v or abs(v) == huge then return nil, "is not " .. what end
    return v, what
end

local read = {}

function read.int(d, v)
    local n, what = number(d, v, "^%s*[+-]?%d+%s*$", "a whole number")
    if not n or n == "auto" then return n, what end
    if n ~= floor(n) then return nil, "is not " .. what end
    if abs(n) > WHOLE then return nil, "is beyond 2^53 - 1, the largest exact whole number" end
    return within(d, n)
end

function read.number(d, v)
    local n, what = number(d, v, "^%s*[+-]?[%d.]+[eE]?[+-]?%d*%s*$", "a number")
    if not n or n == "auto" then return n, what end
    return within(d, n)
end

function read.string(_, v)
    if type(v) ~= "string" then return nil, "is not text" end
    if find(v, "%z") then return nil, "holds a zero byte" end
    return v
end

function read.path(d, v)
    if v == "" then return nil, "is an empty path" end
    return read.string(d, v)
end
read.out = read.path

local words = { ["true"] = true, yes = true, on = true, ["1"] = true,
                ["false"] = false, no = false, off = false, ["0"] = false }
function read.bool(_, v)
    if type(v) == "string" then v = words[v] end
    if type(v) ~= "boolean" then return nil, "is not true or false" end
    return v
end

function read.choice(d, v)
    for _, c in ipairs(d.choices) do
        if c == v then return v end
    end
    local names = {}
    for i, c in ipairs(d.choices) do names[i] = c end
    return nil, "is not one of " .. concat(d.choices, ", ") .. (type(v) == "string" and suggest(v, names) or "")
end

function read.size(_, v)
    local w, h
    if type(v) == "table" then
        w, h = v.w, v.h
    elseif type(v) == "string" then
        w, h = match(v, "^%s*(%d+)%s*[xX]%s*(%d+)%s*$")
        w, h = tonumber(w), tonumber(h)
    end
    local function side(n) return type(n) == "number" and n >= 1 and n <= 65536 and n == floor(n) end
    if not side(w) or not side(h) then return nil, 'is not a size such as "832x480"' end
    return { w = w, h = h }
end

local function seed(v)
    if type(v) == "string" then
        v = match(v, "^%s*0*(%d+)%s*$")
        if not v or #v > #SEED or (#v == #SEED and v > SEED) then return nil end
        return #v < 15 and tonumber(v) or v
    elseif type(v) == "number" and v >= 0 and v <= WHOLE and v == floor(v) then
        return v < 1e14 and v or fmt("%d", v)          -- beyond, a script's ".." would not show all digits
    end
end

local function list(d, v, item, complaint)
    local all = {}
    if type(v) == "string" then
        for part in gmatch(v .. ",", "([^,]*),") do all[#all + 1] = part end
    elseif type(v) == "table" then
        for i, x in ipairs(v) do all[i] = x end
    else
        all[1] = v
    end
    for i, x in ipairs(all) do
        all[i] = item(d, x)
        if all[i] == nil then return nil, complaint end
    end
    if #all < 1 or #all > 64 then return nil, "is not a list of 1 to 64 numbers" end
    return all
end

function read.seed(_, v)
    local s = seed(v)
    return s, s == nil and "is not a whole number from 0 to 2^64 - 1" or nil
end

function read.seeds(d, v)
    return list(d, v, function(_, x) return seed(x) end, "is not a list of whole numbers from 0 to 2^64 - 1")
end

function read.list(d, v)
    return list(d, v, read.int, "is not a list of whole numbers" ..
        ((d.min > -huge or d.max < huge) and ", each " .. range(d) or ""))
end

-- ---- declaring ----

local fields = { doc = "string", optional = "boolean" }
local more = {
    int = { min = "number", max = "number", step = "number" },
    number = { min = "number", max = "number", step = "number" },
    list = { min = "number", max = "number" },
    choice = { default = "string" },
}

local function check_fields(kind, t)
    for k, v in pairs(t) do
        local wanted = fields[k] or (more[kind] and more[kind][k])
        if type(k) == "number" then
            wanted = type(v)
        elseif not wanted then
            local names = {}
            for name in pairs(fields) do names[#names + 1] = name end
            for name in pairs(more[kind] or {}) do names[#names + 1] = name end
            raise(fmt('kino.%s has no field "%s"%s', kind, tostring(k), suggest(tostring(k), names)))
        end
        if type(v) ~= wanted then
            raise(fmt("%s of kino.%s is %s, and should be a %s", tostring(k), kind, show(v), wanted))
        end
    end
end

-- A bound of a range; math.huge says that there is none.
local function bound(kind, t, name, none)
    local v = t[name]
    if v == nil or v == none then return none end
    if v ~= v or abs(v) == huge then raise(fmt("%s of kino.%s is %s", name, kind, v ~= v and "not a number" or "infinite")) end
    if kind ~= "number" and v ~= floor(v) then raise(fmt("%s of kino.%s is %s, and should be a whole number", name, kind, show(v))) end
    if kind ~= "number" and abs(v) > WHOLE then
        raise(fmt("%s of kino.%s is beyond 2^53 - 1, the largest exact whole number (kino.seed takes 64 bits)", name, kind))
    end
    return v
end

local function check_range(kind, d)
    if d.step < 0 or (d.step == 0 and d.given_step) then raise(fmt("step of kino.%s is %s, and should be above 0", kind, show(d.step))) end
    if d.min > d.max then raise(fmt("min of kino.%s, %s, is above its max, %s", kind, show(d.min), show(d.max))) end
end

local function check_choices(t)
    for _, c in ipairs(t) do
        if type(c) ~= "string" then raise("kino.choice takes words") end
        host.named(c)
    end
    if #t < 1 or #t > most.choices then raise(fmt("kino.choice takes 1 to %d words", most.choices)) end
end

local function default_of(kind, t)
    if kind == "choice" then
        return t.default
    elseif kind == "seeds" or kind == "list" then
        return #t > 0 and { unpack(t) } or nil
    end
    return t[1]
end

local function declare(kind, t)
    if type(t) ~= "table" then
        raise(fmt("kino.%s takes a table, as in kino.%s{ doc = \"...\" }", kind, kind))
    end
    check_fields(kind, t)
    count = count + 1
    local default = default_of(kind, t)
    local d = { kind = kind, order = count, doc = t.doc or "", optional = t.optional or false, auto = default == "auto",
                min = bound(kind, t, "min", -huge), max = bound(kind, t, "max", huge), step = bound(kind, t, "step", 0),
                given_step = t.step, choices = {} }
    if kind == "choice" then
        check_choices(t)
        for i, c in ipairs(t) do d.choices[i] = c end
    elseif kind ~= "int" and kind ~= "number" then
        d.auto = false
    end
    check_range(kind, d)
    if #d.doc > most.text or find(d.doc, "%z") then raise(fmt("doc of kino.%s holds a zero byte or is very long", kind)) end
    if default ~= nil then
        local v, complaint = read[kind](d, default)
        if v == nil then raise(fmt("the default of kino.%s, %s, %s", kind, show(default), complaint)) end
        d.default = v
        d.text = params.text(d)
        if #d.text > most.text then raise(fmt("the default of kino.%s is longer than %d bytes", kind, most.text)) end
    end
    declared[d] = true
    return d
end

for kind in pairs(read) do
    params["kind_" .. kind] = function(t) return declare(kind, t) end
end
params.kinds = read

-- The declarations of a template as a list, in the order in which they were written.
function params.list(t)
    local all, choices = {}, 0
    for name, d in pairs(t) do
        if type(name) ~= "string" or not find(name, "^%l[%l%d_]*$") or #name > most.name then
            raise(fmt("%s is no name of a param: small letters, digits and underscores, %d at most", show(name), most.name))
        elseif reserved[name] then
            raise(fmt("a param cannot be called %s: --%s is an option of kino itself", name, name))
        elseif not declared[d] then
            raise(fmt('param %s is %s, and should be declared as in kino.string{ doc = "..." }', name, show(d)))
        elseif d.name and d.name ~= name then
            raise(fmt("params %s and %s share one declaration", d.name, name))
        end
        d.name = name
        all[#all + 1] = d
        choices = choices + #d.choices
    end
    if #all > most.params then raise(fmt("a template has %d params, and may have %d", #all, most.params)) end
    if choices > most.choices then raise(fmt("the params of a template have %d choices in all, and may have %d", choices, most.choices)) end
    sort(all, function(a, b) return a.order < b.order end)
    return all
end

local function copy(v)
    if type(v) ~= "table" then return v end
    local c = {}
    for k, x in pairs(v) do c[k] = x end
    return c
end

local function unknown(list_, name, what)
    local names = {}
    for i, d in ipairs(list_) do names[i] = d.name end
    raise(fmt("%s no param %s%s", what, show(name), type(name) == "string" and suggest(name, names) or ""))
end

-- The values that a template's function gets: those given, checked, and the defaults. Asking it for a name that was not
-- declared is an error, so that a slip of the pen is no nil.
function params.fill(list_, given)
    local known, p = {}, {}
    for _, d in ipairs(list_) do known[d.name] = d end
    for name in pairs(given) do
        if not known[name] then unknown(list_, name, "the template has") end
    end
    for _, d in ipairs(list_) do
        local v, complaint = given[d.name], nil
        if v == nil then
            v = copy(d.default)
            if v == nil and not d.optional then
                raise(fmt("param %s is missing%s", d.name, d.doc ~= "" and ": " .. d.doc or ""))
            end
        else
            v, complaint = read[d.kind](d, v)
            if v == nil then raise(fmt("param %s: %s %s", d.name, show(given[d.name]), complaint)) end
        end
        p[d.name] = v
    end
    return setmetatable(p, { __index = function(_, name)
        if not known[name] then unknown(list_, name, "the template declares") end
    end })
end

-- A default as it would be typed, or nil.
function params.text(d)
    local v = d.default
    if v == nil then
        return nil
    elseif d.kind == "size" then
        return fmt("%dx%d", v.w, v.h)
    elseif d.kind == "seeds" or d.kind == "list" then
        local all = {}
        for i, x in ipairs(v) do all[i] = type(x) == "number" and fmt("%d", x) or x end
        return concat(all, ",")
    elseif type(v) == "number" then
        return d.kind == "int" and fmt("%d", v) or fmt("%.14g", v)
    end
    return tostring(v)
end

return params
