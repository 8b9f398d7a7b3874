-- What is in a PNG or an MP4, for the tests of the command line:
--     luajit media.lua size FILE       width x height
--     luajit media.lua content FILE    the picture or the frames as stored, without the note on how the file was made
local what, path = arg[1], arg[2]
local f = assert(io.open(path, "rb"))
local text = f:read("*a")
f:close()

local function be32(at)
  local a, b, c, d = text:byte(at, at + 3)
  return ((a * 256 + b) * 256 + c) * 256 + d
end

local function png()
  local content, at = {}, 9
  local size = be32(17) .. "x" .. be32(21)
  while at < #text do
    local n, kind = be32(at), text:sub(at + 4, at + 7)
    if kind ~= "iTXt" then content[#content + 1] = text:sub(at, at + 11 + n) end
    at = at + 12 + n
  end
  return size, table.concat(content)
end

-- The boxes of a range, by type.
local function boxes(from, to)
  local all = {}
  while from < to do
    local n, kind = be32(from), text:sub(from + 4, from + 7)
    all[kind] = { from + 8, from + n }
    from = from + n
  end
  return all
end

local function mp4()
  local top = boxes(1, #text + 1)
  local at = top.moov
  for _, kind in ipairs{ "trak", "mdia", "minf", "stbl", "stsd" } do at = boxes(at[1], at[2])[kind] end
  local entry = at[1] + 8                      -- one sample entry: size, type, 6 reserved, index, 16 more, width, height
  local function be16(i) return text:byte(i) * 256 + text:byte(i + 1) end
  return be16(entry + 32) .. "x" .. be16(entry + 34), text:sub(top.mdat[1], top.mdat[2] - 1)
end

local size, content = (text:sub(2, 4) == "PNG" and png or mp4)()
io.write(what == "size" and size .. "\n" or content)
