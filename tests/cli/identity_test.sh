#!/usr/bin/env bash
# A model file counts with all its bytes: one that is damaged where a glance would not see it is another model, and the repaired one is
# the old one again. Only what runs reads files for that.
source "$(dirname "$0")/help.sh"
cp -r "$demo" mine
chmod -R u+w mine
model=$(ls mine/*.safetensors mine/*/*.safetensors 2>/dev/null | xargs ls -S | head -n 1)
small=(run mine/t2v.lua --any_size yes --size 64x64 --frames 5 --steps 4 --out clip.mp4 --json)
cached() { grep -q "\"node\":\"$1\".*\"state\":\"cached\"" out; }
ran() { grep -q "\"node\":\"$1\".*\"state\":\"run\"" out; }
unread() { grep -q 'has not been read to its end yet' err; }
# A byte near the end of the file: an edge of its last tensor.
flip() {
    local at=$(($(stat -c %s "$model") - 3)) byte
    byte=$(od -An -tu1 -j "$at" -N 1 "$model")
    printf "\\$(printf %o $((byte ^ 1)))" | dd of="$model" bs=1 seek="$at" conv=notrunc status=none
}
sleep 2.2                                  # a file of a moment ago is not remembered

# ---- check and plan read no file to its end ----
kino_is 0 check mine/t2v.lua --out clip.mp4
check "check needs no key" test "$(unread; echo $?)" = 1
kino_is 0 plan mine/t2v.lua --any_size yes --size 64x64 --frames 5 --steps 4 --out clip.mp4
check "a plan says what it has not read" unread
kino_is 0 "${small[@]}"
check "the first run samples" ran wan.sample
rm -f clip.mp4 clip.png
kino_is 0 plan mine/t2v.lua --any_size yes --size 64x64 --frames 5 --steps 4 --out clip.mp4
check "a plan takes what is remembered" grep -q 'cached' out
! unread || fail "it was read by the run"

# ---- damaged, repaired ----
rm -f clip.mp4 clip.png
flip
kino_is 0 "${small[@]}"
check "a damaged file is another model" ran wan.sample
rm -f clip.mp4 clip.png
flip
kino_is 0 "${small[@]}"
check "a repaired one gets its own latents" cached wan.sample
finish
