#!/usr/bin/env bash
# The templates of graphs/ are in the program: they are found from any folder, by a program that was moved.
source "$(dirname "$0")/help.sh"
mkdir elsewhere moved
cp "$kino" moved/kino
kino=$work/moved/kino
cd elsewhere || exit 1

# ---- kino_graphs_lists_the_templates ----
kino_is 0 graphs
mv out list
for file in "$root"/graphs/*.lua; do
    name=kino/$(basename "$file" .lua) doc=$(sed -n 's/^  doc = "\(.*\)",$/\1/p' "$file")
    check "$name and its doc" grep -qF "$doc" <(grep "^$name " list)
    kino_is 0 run "$name" --help
    check "the help of $name" grep -q -- "^  --out " out
done
check "as many as there are files" [ "$(wc -l <list)" = "$(ls "$root"/graphs/*.lua | wc -l)" ]
kino_is 0 graphs --json
check "as JSON" grep -q '"name":"kino/wan_t2v","doc":"[^"]*","params":\["prompt"' out
refused 2 'kino graphs lists them all' graphs wan

# ---- a_template_runs_from_anywhere ----
models=(--model "$demo/wan_demo.safetensors.index.json" --text_encoder "$demo/umt5_demo.safetensors" --vae "$demo/wan_demo_vae.safetensors")
tiny=(--size 64x64 --frames 5 --steps 3 --prompt x)
kino_is 0 check kino/wan_t2v "${models[@]}" "${tiny[@]}"
kino_is 0 plan kino/wan_t2v "${models[@]}" "${tiny[@]}" --cache none
refused 4 "cannot find 'none.safetensors'" check kino/wan_t2v "${tiny[@]}" --model none.safetensors
says 'wan.model: kino/wan_t2v:'
cat >mine.lua <<'END'
local t2v = require "kino/wan_t2v"
return kino.template{ params = { model = kino.path{}, text_encoder = kino.path{}, vae = kino.path{}, frames = kino.int{ 5 } }, graph = function(p)
  return t2v{ prompt = "x", size = "64x64", frames = p.frames, model = p.model, text_encoder = p.text_encoder, vae = p.vae } end }
END
kino_is 0 check mine.lua "${models[@]}"
refused 2 'mine.lua:3: param frames: 6 is out of range' check mine.lua "${models[@]}" --frames 6
echo 'return require "kino/none"' >none.lua
refused 4 'none.lua:1: there is no template "kino/none"' check none.lua
says 'and what kino graphs lists'
refused 4 "there is no graph 'kino/wan_t2w'" check kino/wan_t2w
says 'did you mean kino/wan_t2v?'

# ---- a_file_of_that_name_comes_first ----
mkdir kino
echo 'error("mine")' >kino/wan_t2v
refused 2 'kino/wan_t2v:1: mine' check kino/wan_t2v
echo 'return error("my own")' >kino/wan_t2v.lua
refused 2 'kino/wan_t2v.lua:1: my own (required at mine.lua:1)' check mine.lua "${models[@]}"

finish
