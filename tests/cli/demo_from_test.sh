#!/usr/bin/env bash
# What a file says of its making is a command that makes it again; sizes that the model cannot render are cropped out of the next one.
source "$(dirname "$0")/help.sh"
mkdir one two

# ---- kino run --from ----
cd one
kino_is 0 run "$demo/t2v.lua" --any_size yes --size 64x64 --frames 5 --steps 3 --seed 7 --fps 12.5 --guidance 3 --prompt "it's a \"red\" circle, 100% \$HOME" \
    --negative '@@home' --precision f32 --cache none --out clip.mp4
cd ../two
for file in ../one/clip.mp4 ../one/clip.png; do
    kino_is 0 run --from $file
    check "$file: one command" [ "$(wc -l <out)" = 1 ]
    check "$file: it names script and params" grep -qF -- "kino run $demo/t2v.lua --prompt " out
    # The command as printed, and --from with a new name: both make the same again.
    mv out command
    (eval "${kino%/*}/$(cat command) --cache none" >out 2>err)
    check "$file: the printed command writes" [ -s clip.mp4 ]
    check "$file: the same video" same clip.mp4 ../one/clip.mp4
    check "$file: the same sheet" same clip.png ../one/clip.png
    kino_is 0 run --from $file --out again.mp4 --cache none
    check "$file: the same frames by --from" same <(content again.mp4) <(content ../one/clip.mp4)
    # A video is made again alone; from the note of a sheet, a video takes the whole script.
    [[ $file == *.png ]] || { [[ ! -e again.png ]] || fail "$file: more than the video is made"; kino_is 0 run --from ${file%.*}.png --out again.png --cache none; }
    check "$file: the same sheet by --from" same <(content again.png) <(content ../one/clip.png)
    # What is typed replaces what the file says; with --json stdout holds events alone.
    kino_is 0 run --from $file --out again.mp4 --cache none --fps 10 --json
    ! grep -qv '^{' out || fail "--json: stdout has more than events"
    check "another rate, the same frames" same <(content again.png) <(content ../one/clip.png)
    kino_is 0 run --from again.mp4
    check "its note has the new rate" grep -qF -- '--fps 10 ' out
    rm -f clip.* again.*
done
cd ..
kino_is 0 inspect one/clip.mp4
check "inspect shows the note" grep -qF '"seed":"7"' out

# A note from a stranger: no control characters on the terminal, no names that a shell would run, no file that was not named.
note() {    # makes hostile.png, whose note is $1
    luajit - "$1" one/clip.png <<'END' >hostile.png
local f = assert(io.open(arg[2], "rb"))
local text = f:read("*a")
local function be32(n) return string.char(math.floor(n / 2^24) % 256, math.floor(n / 2^16) % 256, math.floor(n / 256) % 256, n % 256) end
local body = "kinograph\0\0\0\0\0" .. arg[1]
io.write(text:sub(1, 33), be32(#body), "iTXt", body, "\0\0\0\0", text:sub(34))
END
}
note '{"script":"a\u001b[31m.lua","params":{"prompt":"\u001b]0;x\u0007\u009b2J\\ '"'"'"}}'
kino_is 0 run --from hostile.png
check "no control character" [ "$(tr -d '\12\40-\176' <out | wc -c)" = 0 ]
check "it is written as an escape" grep -qF "\$'a\\x1b[31m.lua'" out
eval "set -- $(cat out)"
check "a shell reads it back" [ "$5" = $'\x1b]0;x\x07\xc2\x9b2J\\ \'' ]
note '{"script":"a.lua","params":{"x; touch ran #":"1"}}'
refused 4 'a param that is none: "x; touch ran #"' run --from hostile.png
note '{"script":"a.lua","params":{"prompt":"@secret"}}'
kino_is 0 run --from hostile.png
check "@ is no file" grep -qF -- '--prompt @@secret' out
echo mine >keep.mp4
cat >twice.lua <<'END'
return kino.template{
  params = { picture = kino.path{}, out = kino.out{ "o.png" }, copy = kino.out{ "c.png" } },
  graph = function(p)
    local i = kino.image.load{ path = p.picture }
    return { kino.image.save{ image = i, path = p.out }, kino.image.save{ image = i, path = p.copy } }
  end,
}
END
note '{"script":"twice.lua","params":{"picture":"one/clip.png","out":"a.png","copy":"keep.mp4"}}'
refused 2 "where --copy is written must be said anew" run --from hostile.png --out b.png --cache none
check "nothing was overwritten" [ "$(cat keep.mp4)" = mine ]
kino_is 0 run --from hostile.png --out b.png --copy c.png --cache none

# ---- --fit crop ----
mkdir crop
cd crop
kino_is 0 run "$demo/t2v.lua" --any_size yes --size 85x48 --fit crop --frames 5 --steps 2 --out clip.mp4
check "the sheet has frames of 85x48: $(size_of clip.png)" [ "$(size_of clip.png)" = $((5 * 85 + 4 * 2))x48 ]
check "a video has even sides: $(size_of clip.mp4)" [ "$(size_of clip.mp4)" = 84x48 ]
says 'the last column of 85x48 frames is left out'
kino_is 0 run "$demo/t2v.lua" --any_size yes --size 86x40 --fit crop --frames 5 --steps 2 --out even.mp4
check "86x40: $(size_of even.mp4)" [ "$(size_of even.mp4)" = 86x40 ]
# It is the middle of what the next size gives.
cat >whole.lua <<'END'
return kino.template{
  params = { sheet = kino.path{}, out = kino.out{ "o.png" }, width = kino.int{ 0 }, height = kino.int{ 0 } },
  graph = function(p)
    local cut = kino.video.crop{ video = kino.image.load{ path = p.sheet }, width = p.width, height = p.height }
    return kino.image.save{ image = kino.image.sheet{ video = cut, columns = 1 }, path = p.out }
  end,
}
END
for args in "--size 96x48" "--size 85x40 --fit crop"; do
    kino_is 0 run "$demo/t2v.lua" --any_size yes $args --frames 1 --steps 2 --out "${args%% --fit*}.mp4"
done
kino_is 0 run whole.lua --sheet "--size 96x48.png" --width 85 --height 40 --out cut.png
check "the middle of 96x48" same <(content cut.png) <(content "--size 85x40.png")
# The same from the template for published models.
kino_is 0 run "$root/graphs/wan_t2v.lua" --prompt 'a red circle' --negative '' --model "$demo/wan_demo.safetensors.index.json" \
    --text_encoder "$demo/umt5_demo.safetensors" --vae "$demo/wan_demo_vae.safetensors" --size 90x52 --fit crop --frames 5 --steps 2 \
    --seed 1,2 --out wan.mp4
for seed in 1 2; do
    check "wan_t2v: $(size_of wan-$seed.mp4)" [ "$(size_of wan-$seed.mp4)" = 90x52 ]
done
refused 2 '854x480: width and height must be multiples of 16' plan "$root/graphs/wan_t2v.lua" --prompt x --model "$demo/wan_demo.safetensors.index.json" \
    --text_encoder "$demo/umt5_demo.safetensors" --vae "$demo/wan_demo_vae.safetensors" --size 854x480
says '--fit crop renders 864x480'
kino_is 0 plan "$root/graphs/wan_t2v.lua" --prompt x --model "$demo/wan_demo.safetensors.index.json" --cache none \
    --text_encoder "$demo/umt5_demo.safetensors" --vae "$demo/wan_demo_vae.safetensors" --size 854x480 --fit crop

finish
