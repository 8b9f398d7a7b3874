#!/usr/bin/env bash
# kino inspect says of any file what it is, whoever made it and whatever its name; 4 only for what is broken.
source "$(dirname "$0")/help.sh"

# shows TEXT...: each is in what the last kino wrote to stdout.
shows() {
    local text
    for text in "$@"; do check "inspect shows: $text" grep -qF -- "$text" out; done
}

# ---- ours ----
t2v --out Clip.mp4 --cache none
mv Clip.mp4 X.MP4
kino_is 0 inspect X.MP4
shows 'X.MP4: an MP4 file' 'video: h264, 64x64, 5 frames, 8 a second' '"prompt"'
kino_is 0 inspect Clip.png
shows 'Clip.png: a PNG picture' "$(size_of Clip.png) pixels" '"prompt"'
kino_is 0 inspect --json X.MP4
shows '"what":"an MP4 file"' '"codec":"h264","width":64,"height":64' '"made":{'
check "one object" [ "$(wc -l <out)" = 1 ]

# ---- a script, whatever its name ----
cp "$demo/t2v.lua" script.LUA
kino_is 0 inspect script.LUA
shows 'script.LUA: a Lua script for kino'

# ---- strangers' ----
luajit "$root/tests/cli/media.lua" content Clip.png >bare
printf '\x89PNG\r\n\x1a\n' | cat - bare >foreign.png
kino_is 0 inspect foreign.png
shows 'foreign.png: a PNG picture' "$(size_of Clip.png) pixels" 'it does not say how it was made'
printf '\xff\xd8\xff\xe0\0\x10JFIF\0' >photo.png
kino_is 0 inspect photo.png
shows 'photo.png: a JPEG picture'
printf 'version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 2838276736\n' >model.safetensors
kino_is 0 inspect model.safetensors
shows 'a Git LFS pointer to a file of 2.6 GiB'
: >empty.mp4
kino_is 0 inspect empty.mp4
shows 'empty.mp4: empty'
printf 'x\033[31m\n' >escape
kino_is 0 inspect escape
check "no control character" [ "$(tr -d '\12\40-\176' <out | wc -c)" = 0 ]

# ---- weights ----
kino_is 0 inspect "$demo/wan_demo_vae.safetensors"
shows "a VAE of Wan2.1's kind; wan.vae reads it" '194 tensors'
kino_is 0 inspect "$demo/wan_demo.safetensors.index.json"
shows 'a Wan text-to-video transformer, 256 wide, 8 blocks; wan.model reads it'
kino_is 0 inspect --json "$demo/umt5_demo.safetensors"
shows '"reader":"text.load"' '"runs":true'

# ---- broken ----
head -c 60 X.MP4 >broken.mp4
refused 4 'broken.mp4' inspect broken.mp4
head -c 40 Clip.png >broken.png
refused 4 'broken.png' inspect broken.png
head -c 1000 "$demo/wan_demo_vae.safetensors" >broken.safetensors
refused 4 'broken.safetensors' inspect broken.safetensors
refused 4 'none.png' inspect none.png
finish
