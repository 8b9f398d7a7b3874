#!/usr/bin/env bash
# What a file says of its making is its own: it is made again from the file alone, whatever became of the script, and not without a word
# when script, modules, models or pictures are not what they were.
source "$(dirname "$0")/help.sh"
mkdir -p home/parts other models
cp "$demo"/wan_demo* "$demo"/umt5_demo.safetensors models
cat >home/clips.lua <<'END'
local look = require "parts/look"
return kino.template{
  params = { subject = kino.string{ "circle" }, out = kino.out{ "o.png" }, seed = kino.int{ 1 } },
  graph = function(p)
    local model = kino.wan.model{ path = "wan_demo.safetensors.index.json" }
    local te = kino.text.load{ path = "umt5_demo.safetensors" }
    local vae = kino.wan.vae{ path = "wan_demo_vae.safetensors" }
    local made = {}
    for i, colour in ipairs(look) do
      local text = kino.text.umt5{ model = te, prompt = "a " .. colour .. " " .. p.subject .. " moves right over a black background" }
      local x = kino.wan.sample{ "clip " .. i, model = model, text = text.text, width = 64, height = 64, frames = 1,
                                 guidance = 1, seed = i == 1 and "18446744073709551615" or p.seed + i, steps = 2 }
      local frames = kino.wan.decode{ vae = vae, latent = x }
      made[i] = kino.image.save{ image = kino.image.sheet{ video = frames }, path = p.out:gsub("%.png$", "-" .. i .. ".png") }
    end
    return made
  end,
}
END
echo 'return { "red", "green" }' >home/parts/look.lua
common=(--models "$work/models" --cache none --quiet)
cd home
kino_is 0 run clips.lua --subject square --seed 40 --out clip.png "${common[@]}"
cd ..
check "two of them" [ -s home/clip-1.png ] && [ -s home/clip-2.png ]

# ---- the values of this output's own chain ----
cd home
kino_is 0 run --from clip-2.png --models "$work/models" --cache none
says "# text.umt5: prompt=a green square moves right over a black background" "# wan.sample 'clip 2':"
check "the command is the script's: $(cat out)" grep -q '^kino run clips.lua .*--subject square' out
check "and nothing differs" [ "$(wc -l <out)" = 1 ]
cd ..

# ---- from another folder, the script being gone: that one output and no other ----
mkdir away
mv home/clips.lua home/parts away
cd other
kino_is 0 run --from ../home/clip-2.png --models "$work/models" --cache none --quiet
check "its text is in the file" grep -q '^# script clips.lua cannot be read here: its text in the file is taken' out
check "and the module's" grep -q '^# module "parts/look" (parts/look.lua) cannot be read here' out
kino_is 0 run --from ../home/clip-2.png --out x.png "${common[@]}"
check "x.png alone: $(ls)" [ "$(ls)" = "$(printf 'err\nout\nx.png')" ]
check "it is the same" same <(content x.png) <(content ../home/clip-2.png)
! same <(content ../home/clip-1.png) <(content ../home/clip-2.png) >/dev/null || fail "both clips are one"
# A file made so says as much again.
kino_is 0 run --from x.png --out y.png "${common[@]}"
check "the third generation is the same" same <(content y.png) <(content ../home/clip-2.png)
# With another param the script in the file runs, and its module is there.
kino_is 0 run --from x.png --out z.png --subject circle "${common[@]}"
check "the whole script: $(ls z*)" [ -s z-1.png ] && [ -s z-2.png ]
! same <(content z-2.png) <(content x.png) >/dev/null || fail "the param changes nothing"
cd ..
mv away/* home

# ---- differences are said, and refused without --force ----
cd home
kino_is 0 run --from clip-1.png --out again.png "${common[@]}"
cp clips.lua kept.lua
sed -i 's/steps = 2/steps = 3/' clips.lua
kino_is 0 run --from clip-1.png --models "$work/models" --cache none --quiet
check "an edited script is said: $(tail -1 out)" grep -q '^# script clips.lua is not what it was, from line 12 on$' out
kino_is 0 run --from clip-1.png --models "$work/models" --cache none --quiet --json
check "as an event" grep -q '"event":"warning".*is not what it was' out
refused 2 'clip-1.png would not be made as it was: script clips.lua is not what it was' run --from clip-1.png --out new.png "${common[@]}"
says '--force makes it from the script in the file'
check "nothing was made" [ ! -e new.png ]
kino_is 0 run --from clip-1.png --out new.png --force "${common[@]}"
says 'warning: clip-1.png: script clips.lua is not what it was'
check "--force takes the file's own" same <(content new.png) <(content clip-1.png)
kino_is 0 run clips.lua --from clip-1.png --out today.png "${common[@]}"
check "a script that is named is run" [ -s today-1.png ] && [ -s today-2.png ]
! same <(content today-1.png) <(content clip-1.png) >/dev/null || fail "the edit changes nothing"
mv kept.lua clips.lua
echo '-- more' >>parts/look.lua
refused 2 'module "parts/look" (parts/look.lua) is not what it was, from line 2 on' run --from clip-1.png --out no.png "${common[@]}"
echo 'return { "red", "green" }' >parts/look.lua
# Other weights under the name of the old ones: a bit of every value.
luajit - ../models/wan_demo_vae.safetensors <<'END'
local f = assert(io.open(arg[1], "r+b"))
local a, b, c = f:read(3):byte(1, 3)
f:seek("set", 8 + a + 256 * b + 65536 * c)
local at, data = f:seek(), f:read("*a")
f:seek("set", at)
f:write((data:gsub("(.)(.)", function(low, high) return string.char(bit.bxor(low:byte(), 0x20)) .. high end)))
f:close()
END
kino_is 0 run --from clip-1.png --models "$work/models" --cache none --quiet
check "other weights are said: $(tail -1 out)" grep -q "^# wan.vae 'wan_demo_vae.safetensors' is another file than it was$" out
refused 2 "wan.vae 'wan_demo_vae.safetensors' is another file than it was" run --from clip-1.png --out no.png "${common[@]}"
kino_is 0 run --from clip-1.png --out forced.png --force "${common[@]}"
! same <(content forced.png) <(content clip-1.png) >/dev/null || fail "the weights change nothing"
cp "$demo"/wan_demo_vae.safetensors ../models
mv ../models/umt5_demo.safetensors ..
kino_is 0 run --from clip-1.png --models "$work/models" --cache none --quiet
check "a model that is gone is said: $(tail -1 out)" grep -q "^# text.load 'umt5_demo.safetensors' cannot be compared: cannot find" out
refused 4 'umt5_demo.safetensors' run --from clip-1.png --out no.png "${common[@]}"
mv ../umt5_demo.safetensors ../models

# ---- what was made from a picture says from which, and how that was made ----
cat >copy.lua <<'END'
return kino.image.save{ image = kino.image.load{ path = "clip-1.png" }, path = "copy.png" }
END
kino_is 0 run copy.lua "${common[@]}"
kino_is 0 inspect copy.png
check "the source's identity and making" grep -q '"sources":\[{"node":"image.load","path":"clip-1.png","identity":"[0-9a-f]\{64\}","made":{"kinograph":.*"subject":"square"' out
kino_is 0 run --from copy.png --out copied.png "${common[@]}"
check "copied" same <(content copied.png) <(content clip-1.png)
cp clip-2.png clip-1.png
refused 2 "image.load 'clip-1.png' is another file than it was" run --from copy.png --out no.png "${common[@]}"

# ---- 64 KiB of text at most ----
{ echo -n '-- '; head -c 80000 /dev/urandom | base64 -w0; echo; cat copy.lua; } >long.lua
sed -i 's/copy.png/long.png/' long.lua
kino_is 0 run long.lua "${common[@]}"
says 'warning: long.lua: its text is not in what it writes'
kino_is 0 inspect long.png
check "the file says so" grep -q '"texts_left_out":true' out
! grep -q '"texts":"[^"]*"}$' out || fail "it holds the text"
kino_is 0 run --from long.png "${common[@]}"
check "and --from does" grep -q "^# the script's text is not in the file" out
kino_is 0 run --from long.png --out long-again.png "${common[@]}"
check "its graph is" same <(content long-again.png) <(content long.png)

finish
