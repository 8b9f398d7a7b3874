#!/usr/bin/env bash
# Where results go: names and containers, folders, names that scripts derive, what is there already, what is made while a run works.
source "$(dirname "$0")/help.sh"
t2v=$demo/t2v.lua
cp "$root/docs/demo.png" in.png
# A script that writes $1 (Lua) without a model; --out is its only option.
saves() { printf 'return kino.template{ params = { in_ = kino.path{ "in.png" }, out = kino.out{ "made.png" } }, graph = function(p)
  local i = kino.image.load{ path = p.in_ }\n %s\n end }\n' "$1" | sed 's/in_/picture/g' >s.lua; }
is_png() { [[ $(head -c 4 "$1" | tail -c 3) == PNG ]]; }

# ---- the container follows the name ----
if "$kino" version | grep -q '^with FFmpeg'; then
    for name in x.gif x.webm x.apng x.webp x.mov x.mkv x.avi frame-%04d.png x x.mp4.txt; do
        refused 2 "'$name': a video is written to a name that ends in .mp4" plan "$t2v" --out "$name"
    done
    says video.save "$t2v:"
    t2v --out X.MP4
    check "X.MP4 is an MP4" grep -qa ftyp X.MP4
    check "its sheet is beside it" is_png X.png
fi
saves 'return kino.image.save{ image = i, path = p.out }'
refused 2 "'x.jpg': a picture is written to a name that ends in .png" plan s.lua --out x.jpg
kino_is 0 run s.lua --out Y.PNG
saves 'return kino.latent.save{ latent = i, path = p.out }'
refused 2 'takes latent' plan s.lua --out x.safetensors
# A picture: the first frame and no more.
t2v --frames 1 --out x.png
check "--frames 1 writes a picture: $(size_of x.png)" [ "$(size_of x.png)" = 64x64 ]
! ls x.mp4 2>/dev/null || fail "and no video"
refused 2 'a picture is one frame' plan "$t2v" --out x2.png
refused 2 'is not UTF-8 at byte 1' plan "$t2v" --out $'a\xff.mp4'
printf 'return { kino.image.save{ image = kino.image.load{ path = "in.png" }, path = "a\\255.png" } }' >raw.lua
refused 2 'is not UTF-8 at byte 1' run raw.lua

# ---- names that a script derives ----
saves 'return { kino.image.save{ image = i, path = p.out }, kino.image.save{ image = i, path = p.out:gsub("%.png$", "_2.png") .. "" } }'
mkdir d
kino_is 0 run s.lua --out d/a.png
check "two are written" is_png d/a_2.png
saves 'return kino.image.save{ image = i, path = "d/other.png" }'
refused 2 "a script may not write 'd/other.png'" plan s.lua --out d/a.png
says 'new ones beside it that begin with its stem' '--out FILE'
saves 'return { kino.image.save{ image = i, path = p.out .. "a.png" }, kino.image.save{ image = i, path = p.out .. "b/c.png" } }'
kino_is 0 plan s.lua --out clips/
check "plan makes no folder" [ ! -e clips ]
kino_is 0 run s.lua --out clips/
check "a typed folder is made, and one below it" is_png clips/b/c.png
kino_is 0 run s.lua --out clips/
says 'done in'
kino_is 0 run "$t2v" --any_size yes --size 64x64 --frames 5 --steps 10 --out fresh/
check "the demo names its files in a typed folder" is_png fresh/demo.png

# ---- what is there already ----
saves 'return kino.image.save{ image = i, path = "named.png" }'
kino_is 0 run s.lua
kino_is 0 run s.lua
says 'image.save' 'cached' 'done in'
refused 2 "a script may not write 'named.png': it is there already" run s.lua --cache none
says '--out FILE' image.save
kino_is 0 plan s.lua --cache none
kino_is 0 check s.lua --cache none
touch -r named.png stamp
printf X | dd of=named.png bs=1 seek=200 conv=notrunc status=none
touch -r stamp named.png
refused 2 'is there already' run s.lua         # changed in place, its time put back: it is another file
rm named.png
printf 'return { kino.image.save{ image = kino.image.load{ path = "in.png" }, path = "plain.png" } }' >plain.lua
kino_is 0 run plain.lua
refused 2 'a template that declares out = kino.out{}' run plain.lua --cache none

saves 'return kino.image.save{ image = i, path = p.out }'
echo kept >locked.png
chmod 0444 locked.png
kino_is 0 check s.lua --out locked.png
kino_is 0 plan s.lua --out locked.png
refused 2 "cannot replace 'locked.png': it is read-only (mode 0444)" run s.lua --out locked.png
! grep -q 'nodes to run' err || fail "it is refused before the run begins"
check "it is as it was" [ "$(cat locked.png)" = kept ]

# ---- links ----
ln -s d e
saves 'return { kino.image.save{ image = i, path = p.out }, kino.image.save{ image = i, path = p.out:gsub("%.png$", "-b.png") .. "" } }'
ln -s l.png d/l-b.png
refused 2 "writes 'd/l.png' too" plan s.lua --out d/l.png
says 'by a link or another spelling'
saves 'return kino.image.save{ image = i, path = p.out }'
ln -s d/made.png dangling.png
kino_is 0 run s.lua --out dangling.png
check "a dangling link stays one" [ -L dangling.png ]
check "and its file is made" is_png d/made.png

# ---- made while the run works ----
cat >long.lua <<'LUA'
return kino.template{ params = { seed = kino.int{ 0 } }, graph = function(p)
  local m = kino.text.load{ path = "umt5_demo.safetensors" }
  local t = kino.text.umt5{ model = m, prompt = "a red circle moves left over a blue background" }
  local x = kino.wan.sample{ model = kino.wan.model{ path = "wan_demo.safetensors.index.json" }, text = t.text, negative = t.negative,
    width = 64, height = 64, frames = 1, steps = 60, seed = p.seed }
  local v = kino.wan.decode{ vae = kino.wan.vae{ path = "wan_demo_vae.safetensors" }, latent = x }
  return kino.image.save{ image = kino.image.sheet{ video = v }, path = "late.png" }
end }
LUA
mkfifo events
"$kino" run long.lua --models "$demo" --json >events 2>err &
pid=$!
exec 5<events
read -r line <&5                       # the plan: what is there has been looked at
kill -STOP $pid
echo theirs >late.png
kill -CONT $pid
cat <&5 >out
status=0
wait $pid || status=$?
check "the run fails: $status" [ $status -eq 1 ]
says "'late.png' was made or changed while this run worked" 'it stays as it is' 'in the cache'
check "what was made meanwhile is untouched" [ "$(cat late.png)" = theirs ]
check "nothing is left" nothing_left
rm late.png
kino_is 0 run long.lua --models "$demo" --json
check "the latent was kept" grep -q '"node":"wan.sample".*"state":"cached"' out
check "and the file is written" is_png late.png

# ---- what killed runs left ----
: >.kino-00112233445566aa.tmp          # nobody holds it: its writer is dead
exec 6>.kino-00112233445566bb.tmp
flock 6
rm late.png
kino_is 0 run long.lua --models "$demo"
check "a dead writer's file is removed" [ ! -e .kino-00112233445566aa.tmp ]
check "a living one's is not" [ -e .kino-00112233445566bb.tmp ]
finish
