-- Writes one value into a tensor of a safetensors file: luajit poison.lua FILE TENSOR nan|inf|ELEMENT=HEX
-- nan and inf go into the middle of the tensor; what was there is printed as ELEMENT=HEX, which puts it back.
local path, tensor, value = arg[1], arg[2], arg[3]
local f = assert(io.open(path, "r+b"))
local head = 0
for i = 8, 1, -1 do head = head * 256 + assert(f:read(8)):byte(i); f:seek("set", 0) end
f:seek("set", 8)
local header = f:read(head)
local row = assert(header:match('"' .. tensor:gsub("%p", "%%%0") .. '"%s*:%s*(%b{})'), tensor .. " is not in " .. path)
local first, last = row:match('"data_offsets"%s*:%s*%[(%d+),%s*(%d+)%]')
local f32 = row:match('"dtype"%s*:%s*"(%w+)"') == "F32"
local half = row:match('"dtype"%s*:%s*"(%w+)"') == "F16"
local size = f32 and 4 or 2
local at, hex = value:match("^(%d+)=(%x+)$")
at = tonumber(at) or math.floor((last - first) / size / 2)
local top = f32 and { nan = "0000c07f", inf = "0000807f" } or half and { nan = "007e", inf = "007c" } or { nan = "c07f", inf = "807f" }
hex = hex or assert(top[value], value)
f:seek("set", 8 + head + first + at * size)
local was = f:read(size):gsub(".", function(c) return ("%02x"):format(c:byte()) end)
f:seek("set", 8 + head + first + at * size)
assert(f:write((hex:gsub("%x%x", function(x) return string.char(tonumber(x, 16)) end))))
f:close()
print(at .. "=" .. was)
