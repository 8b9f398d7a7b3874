-- The style of the house as far as a program can hold it: luajit tools/lint.lua [FOLDER]. ctest runs it (tests/cli/lint_test.sh).
--
-- It reads C, C++ and CUDA line by line and trusts the layout: a function starts in column 0 and ends with a brace in column 0.
-- Each rule below says what it is for; a finding is FILE:LINE: what.

local limit = {
    columns = 140,      -- 100 is what we aim for
    file = 600,
    func = 60,
    global = 120,       -- a CUDA kernel
}

-- Who may include whom. A family (nodes/wan) sees itself, nodes/lib, and what is below; tools and tests see everything.
local sees = {
    core = { "core" },
    kernels = { "core", "kernels" },
    ["nodes/lib"] = { "core", "kernels", "nodes/lib" },
    family = { "core", "kernels", "nodes/lib" },
    cache = { "core", "cache" },
    lua = { "core", "lua" },
}
-- Headers that are a room's own business, and libraries that belong to one room.
local own = {
    ["core/internal.h"] = "core", ["core/plan_internal.h"] = "core", ["core/graph_internal.h"] = "core", ["core/run_internal.h"] = "core",
    ["core/front.h"] = "kernels", ["kernels/kernel.h"] = "kernels",
}
local libraries = {
    { "^sqlite3", "cache" }, { "^lua", "lua" }, { "^lauxlib", "lua" }, { "dnnl", "kernels" }, { "^cuda", "kernels" },
    { "^cublas", "kernels" }, { "^png%.h", "nodes/lib" }, { "^libav", "nodes/lib" }, { "^libsw", "nodes/lib" }, { "^sentencepiece", "nodes/lib" },
}
-- Calls that a library must not make: it neither ends the program, nor writes to its output, nor looks at its environment.
local banned = { "exit", "abort", "printf", "vprintf", "puts", "putchar", "putc", "getenv", "secure_getenv", "system" }

local root = arg[1] or "."
local findings = {}

local function report(file, line, format, ...)
    findings[#findings + 1] = ("%s:%d: %s"):format(file, line, format:format(...))
end

-- The text with comments and the content of strings blanked, newlines kept.
local function code_of(text)
    local out, at = {}, 1
    local function blank(s)
        out[#out + 1] = s:gsub("[^\n]", " ")
    end
    while at <= #text do
        local next_at = text:find("[/\"']", at)
        if not next_at then
            break
        end
        out[#out + 1] = text:sub(at, next_at - 1)
        local two, stop = text:sub(next_at, next_at + 1), nil
        if two == "/*" then
            stop = select(2, text:find("*/", next_at + 2, true)) or #text
            blank(text:sub(next_at, stop))
        elseif two == "//" then
            stop = (text:find("\n", next_at, true) or #text + 1) - 1
            blank(text:sub(next_at, stop))
        elseif two:sub(1, 1) == "/" then
            stop = next_at
            out[#out + 1] = "/"
        else
            local quote = two:sub(1, 1)
            stop = next_at + 1
            while stop <= #text and text:sub(stop, stop) ~= quote and text:sub(stop, stop) ~= "\n" do
                stop = stop + (text:sub(stop, stop) == "\\" and 2 or 1)
            end
            out[#out + 1] = quote
            blank(text:sub(next_at + 1, stop - 1))
            out[#out + 1] = text:sub(stop, stop)
        end
        at = stop + 1
    end
    out[#out + 1] = text:sub(at)
    return table.concat(out)
end

local function lines_of(text)
    local lines = {}
    for line in (text:sub(-1) == "\n" and text or text .. "\n"):gmatch("(.-)\n") do
        lines[#lines + 1] = line
    end
    return lines
end

local function room_of(path)
    return path:match("^(nodes/[^/]+)/") or path:match("^[^/]+")
end

local function contains(list, value)
    for _, v in ipairs(list) do
        if v == value then
            return true
        end
    end
end

local function exists(path)
    local f = io.open(root .. "/" .. path)
    return f and f:close()
end

local function check_own_include(file, line, room, path)
    local target = room_of(path)
    if path:match("^%.") or not path:find("/", 1, true) then
        if path ~= "embedded.h" then
            report(file, line, "include \"%s\" is not spelled from the root", path)
        end
        return
    end
    if not exists(path) then
        return report(file, line, "include \"%s\" names no file", path)
    end
    if room == "tests" or room == "tools" then
        return
    end
    local may = sees[room] or (room:match("^nodes/") and sees.family) or {}
    if not contains(may, target) and target ~= room then
        report(file, line, "%s does not include %s (\"%s\")", room, target, path)
    elseif own[path] and own[path] ~= room and not (own[path] == "kernels" and room == "core") then
        report(file, line, "\"%s\" is for %s alone", path, own[path])
    end
end

local function check_include(file, line, text)
    local room = room_of(file)
    local path = text:match('^%s*#%s*include%s+"(.-)"')
    if path then
        check_own_include(file, line, room, path)
    end
    local system = text:match("^%s*#%s*include%s+<(.-)>")
    for _, l in ipairs(system and room ~= "tests" and room ~= "tools" and libraries or {}) do
        if system:find(l[1]) and room ~= l[2] then
            report(file, line, "<%s> is for %s alone", system, l[2])
        end
    end
end

local function check_line(file, line, text, code)
    local room = room_of(file)
    local columns = select(2, text:gsub("[^\128-\191]", ""))
    if columns > limit.columns then
        report(file, line, "%d columns, at most %d", columns, limit.columns)
    end
    if text:find("\t", 1, true) or text:find("%s$") then
        report(file, line, "a tab, or space at the end of the line")
    end
    if text:find("%f[%w]TODO%f[%W]") or text:find("%f[%w]FIXME%f[%W]") then
        report(file, line, "do it or say in an issue why not")
    end
    if code:find("^%s*#%s*if") and code:find("CUDA") and file ~= "kernels/kernel.h" and not file:find("^kernels/cuda/") then
        report(file, line, "a backend is named in kernels/kernel.h alone")
    end
    if room == "tests" or room == "tools" then
        return
    end
    for _, name in ipairs(banned) do
        if code:find("%f[%w_]" .. name .. "%s*%(") then
            report(file, line, "%s() is for tools and tests alone", name)
        end
    end
    if code:find("%f[%w_]fprintf%s*%(%s*std") or code:find("%f[%w_]fputs%s*%(.*,%s*stdout") then
        report(file, line, "a library does not print")
    end
end

-- A tensor's address is for fronts, nodes/lib and host work: nodes may touch it in functions of the kg_work form only.
local function check_address(file, first, last, signature, code)
    if not file:match("^nodes/") or file:match("^nodes/lib/") or signature:find("const kg_tensor %*ins") then
        return
    end
    for i = first, last do
        if code[i]:find("[%w%])]%.at%f[^%w_]") or code[i]:find("%->at%f[^%w_]") then
            report(file, i, "a tensor's address outside host work (a function of ins and outs)")
        end
    end
end

local function check_functions(file, code)
    local start, signature
    for i, c in ipairs(code) do
        if not start and (c == "{" or (c:find("^[%a_].*%)%s*{$") and not c:find("="))) then
            local top = i
            while c == "{" and top > 1 and not code[top - 1]:find("^%s*$") and not code[top - 1]:find("[;}]%s*$") and
                not code[top - 1]:find("^#") do
                top = top - 1
            end
            start, signature = top, table.concat(code, " ", top, i)
        elseif start and c:find("^}") then
            local most = signature:find("__global__") and limit.global or limit.func
            if i - start + 1 > most then
                report(file, start, "a function of %d lines, at most %d", i - start + 1, most)
            end
            check_address(file, start, i, signature, code)
            start = nil
        elseif not start and c:find("^static inline.*{.*}%s*$") then
            check_address(file, i, i, c, code)
        end
    end
end

local function check_file(file)
    local f = assert(io.open(root .. "/" .. file, "rb"))
    local text = f:read("*a")
    f:close()
    local lines, code = lines_of(text), lines_of(code_of(text))
    if #lines > limit.file then
        report(file, #lines, "%d lines, at most %d", #lines, limit.file)
    end
    if not text:find("^/[/*]") then
        report(file, 1, "a file opens with what it is")
    end
    for i, line in ipairs(lines) do
        check_line(file, i, line, code[i])
        check_include(file, i, line)
    end
    check_functions(file, code)
end

local listing = assert(io.popen(("cd '%s' && find core kernels nodes cache lua tests tools -type f \\( -name '*.[ch]' -o -name '*.cc' -o "
    .. "-name '*.cu' -o -name '*.cuh' \\) | sort"):format(root:gsub("'", "'\\''"))))
local count = 0
for file in listing:lines() do
    check_file(file)
    count = count + 1
end
listing:close()
for _, f in ipairs(findings) do
    print(f)
end
print(("%d files, %d findings"):format(count, #findings))
os.exit(#findings == 0 and count > 0 and 0 or 1)
