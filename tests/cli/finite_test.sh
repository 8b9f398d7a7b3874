#!/usr/bin/env bash
# NaN and Inf: a value in a model's file that is none ends the run with 1, named by node, step, op and weight. Nothing of it is kept, no
# output is there, and a run with the repaired file gives what it would have given. --finite changes neither results nor keys.
source "$(dirname "$0")/help.sh"
cp -r "$demo" model
small=(run model/t2v.lua --any_size yes --size 64x64 --frames 5 --steps 8 --out clip.mp4)
poison() { luajit "$root/tests/cli/poison.lua" "model/$1" "$2" "$3"; }
kept() { kino_is 0 cache ls; ! grep -q "$1" out; }
nothing_made() {
    check "no output" [ ! -e clip.mp4 ]
    check "no sheet" [ ! -e clip.png ]
    check "no temporary file" nothing_left
}
dit=wan_demo-00001-of-00002.safetensors

# ---- what a sound model makes, in a cache of its own; --finite is the same run ----
t2v --cache want.sqlite
mkdir want
mv clip.mp4 clip.png want
t2v --finite
check "--finite changes no bit" same <(content clip.mp4) <(content want/clip.mp4)
rm clip.mp4 clip.png
t2v --json
check "and no key" grep -q '"node":"wan.sample".*"state":"cached"' out
rm -r clip.mp4 clip.png "$XDG_CACHE_HOME"

# ---- a bias of the transformer ----
was=$(poison $dit blocks.1.ffn.2.bias nan)
kino_is 1 "${small[@]}"
says "wan.sample 'main' > step 0: NaN in the velocity" "step 0 > forward > block 1 > ffn" "linear: NaN comes out first here" \
    "weight 'blocks.1.ffn.2.bias'" "$dit"
nothing_made
check "no latent is kept" kept latent/wan21
check "the texts are" grep -q embedding/umt5 out
kino_is 1 "${small[@]}" --finite
says "block 1 > ffn" "weight 'blocks.1.ffn.2.bias'"
kino_is 1 "${small[@]}" --cache none
says "wan.sample 'main' > step 0: NaN in the velocity" --finite
kino_is 1 "${small[@]}" --json
check "one error event" [ "$(grep -c '"event":"error"' out)" = 1 ]
check "it names the op" grep -q '"path":"wan.sample .main. > step 0 > forward > block 1 > ffn","message":"linear' out
nothing_made
poison $dit blocks.1.ffn.2.bias "$was" >same
t2v
check "the repaired file gives the right video" same <(content clip.mp4) <(content want/clip.mp4)
rm -r clip.mp4 clip.png "$XDG_CACHE_HOME"

# ---- fused weights: the joined tensors are one, so its first is named, and that it may be another ----
was=$(poison $dit blocks.0.self_attn.v.weight inf)
kino_is 1 "${small[@]}"
says "block 0 > attn: linear:" "weight 'blocks.0.self_attn.q.weight' (or one that is joined to it)" "holds Inf"
poison $dit blocks.0.self_attn.v.weight "$was" >same

# ---- the text encoder: its rows are watched before they are kept ----
was=$(poison umt5_demo.safetensors blocks.1.ffn.fc2.weight inf)
kino_is 1 "${small[@]}" --prompt "a green square"
says "text.umt5 > norm" " in the text" "text.umt5 > layer 1 > ffn: linear:" "holds Inf"
nothing_made
check "nothing was sampled" kept latent/wan21
poison umt5_demo.safetensors blocks.1.ffn.fc2.weight "$was" >same

# ---- the VAE: the latent is good and kept, the video is not written ----
was=$(poison wan_demo_vae.safetensors decoder.conv1.bias nan)
kino_is 1 "${small[@]}"
says "wan.decode > frame 0" "NaN in the frames" "conv: NaN comes out first here; weight 'decoder.conv1.bias'"
nothing_made
poison wan_demo_vae.safetensors decoder.conv1.bias "$was" >same
t2v --json
check "the latent was good" grep -q '"node":"wan.sample".*"state":"cached"' out
check "the same video" same <(content clip.mp4) <(content want/clip.mp4)

finish
