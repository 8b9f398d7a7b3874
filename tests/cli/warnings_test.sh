#!/usr/bin/env bash
# Warnings: said with --quiet too, an event each with --json, and said again when the result that they belong to comes from the cache.
source "$(dirname "$0")/help.sh"
for i in $(seq 200); do printf 'a red circle moves right '; done >long.txt
cut='a prompt has more than 512 tokens'
small+=(--prompt @long.txt)
warned() { says "warning: text.umt5: $cut"; check "$1: once" [ "$(grep -c "$cut" err)" = 1 ]; }

# ---- a warning of a cached result is repeated ----
t2v --out clip.mp4 --quiet
warned "when it is made"
check "--quiet says nothing else" [ "$(grep -vc '^warning: ' err)" = 0 ]
t2v --out clip.mp4 --quiet
warned "the file is there"
t2v --out clip.mp4 --quiet --fps 9
warned "the latent is cached, and what warned is not looked at"
kino_is 0 plan "${small[@]:1}" --out clip.mp4 --json
warned "a plan"
check "a plan is one document" [ "$(wc -l <out)" = 1 ]
t2v --out clip.mp4 --quiet --force --force
warned "when it is made anew"
kino_is 0 "${small[@]}" --prompt short --out short.mp4 --quiet
check "a warning belongs to its own result" [ ! -s err ]

# ---- an event for each warning ----
kino_is 0 "${small[@]}" --out clip.mp4 --json --fps 10
check "node and label are named" grep -q "^{\"event\":\"warning\",\"message\":\"$cut.*\"node\":\"text.umt5\",\"label\":\"\"}$" out
mkdir -p odd
kino_is 0 run "$demo/t2v.lua" --any_size yes --size 85x48 --fit crop --frames 5 --steps 2 --out odd/clip.mp4 --json --quiet
check "infer's warnings too" grep -q '"event":"warning".*the last column of 85x48 frames is left out.*"node":"video.save"' out
cat >idle.lua <<'END'
local i = kino.image.load{ path = "odd/clip.png" }
kino.image.sheet{ "idle", video = i }
print("only a note")
return kino.image.save{ image = i, path = "copy.png" }
END
kino_is 0 run idle.lua --json --quiet --cache none
check "a node that does not run" grep -q '"event":"warning","message":"idle.lua: image.sheet .idle. does not run' out
! grep -q "only a note" err || fail "--quiet: a note is said"

# ---- the loss of the cache is said each time ----
echo "a file" >plain
for i in 1 2; do
    kino_is 0 "${small[@]}" --prompt short --out lost-$i.mp4 --cache plain --quiet --json
    says "warning: 'plain' is no cache"
    check "and is an event" grep -q '"event":"warning","message":".plain. is no cache' out
done

finish
