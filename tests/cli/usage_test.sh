#!/usr/bin/env bash
# What is typed wrong, what is not there, what is broken: each ends with its exit status and names what is meant.
source "$(dirname "$0")/help.sh"
t2v=$demo/t2v.lua

# ---- 0: what only tells ----
kino_is 0 --help
check "help is on stdout" grep -q 'kino run GRAPH.lua' out
kino_is 0 version
kino_is 0 devices
kino_is 0 nodes
check "nodes lists wan.sample" grep -q '^wan.sample ' out
kino_is 0 nodes wan.sample --json
kino_is 0 run "$t2v" --help
check "help of a graph has its params" grep -qE -- '--frames +int .*1\.\.1025' out
kino_is 0 check "$t2v"
kino_is 0 plan "$t2v" --cache none
check "a plan names its nodes" grep -q 'wan.sample' out

# ---- 2: wrong usage ----
refused 2 'kino run GRAPH.lua'
refused 2 'did you mean kino run?' rnu x
refused 2 'wants a graph script' run
refused 2 'did you mean --prompt?' run "$t2v" --promt x
refused 2 'param frames: "82" is out of range: 1 to 1025 in steps of 4; the nearest are 81 and 85' run "$t2v" --frames 82
refused 2 'param seed: "-1" is not a whole number from 0 to 2^64 - 1' run "$t2v" --seed -1
refused 2 'param seed: "18446744073709551616" is not a whole number' run "$t2v" --seed 18446744073709551616
kino_is 0 check "$t2v" --seed 18446744073709551615
# demo_template_is_bound_to_what_its_model_knows
for other in "--size 256x256" "--frames 9" "--frames 33" "--size 128x96" "--size 176x128" "--frames 1"; do
    refused 2 "trained on 17 frames of 128x128" run "$t2v" $other
    says "$t2v:" '--any_size yes'
    kino_is 0 check "$t2v" $other --any_size yes
done
for good in "--size 128x112" "--size 160x144" "--size 100x98 --fit crop"; do kino_is 0 check "$t2v" $good; done
refused 2 'param steps: "many" is not a whole number' run "$t2v" --steps many
refused 2 'param solver: "unpic" is not one of unipc, dpm++, euler (did you mean unipc?)' run "$t2v" --solver unpic
refused 2 'param out: "" is an empty path' run "$t2v" --out ''
refused 2 '100x90: width and height must be multiples of 16' run "$t2v" --any_size yes --size 100x90
says "wan.sample 'main'" "$t2v:" '96x96' '--fit crop renders 112x96'
refused 2 '"10Q" is no size' run "$t2v" --ram 10Q
refused 2 'not "tpu"' run "$t2v" --device tpu
refused 2 'not "f8"' run "$t2v" --precision f8
refused 2 'a CPU computes in f32 or bf16' run "$t2v" --device cpu --precision f16
refused 2 '--threads wants a whole number from 1 to 4096, not "0"' run "$t2v" --threads 0
refused 2 '"extra" is one word too many' run "$t2v" extra
refused 2 '--prompt wants a value' run "$t2v" --prompt
refused 2 'a text is not UTF-8 at byte 1' run "$t2v" --prompt $'a\xff'
says text.umt5
refused 2 'did you mean wan.sample?' nodes wan.smaple
refused 2 'kino inspect wants a file' inspect
refused 2 'kino cache ls|stat|gc|verify' cache lss
refused 2 "cannot write 'no/such/x.mp4': there is no folder 'no/such'" run "$t2v" --out no/such/x.mp4
says video.save "$t2v:"
refused 2 "'.' names no file" run "$t2v" --out .
refused 2 "'home' is a folder" run "$t2v" --out "$(mkdir -p home; echo home)"

refused 2 "'x.png': a video is written to a name that ends in .mp4" run "$t2v" --out x.png
says video.save '--frames 1'

# ---- what is not there yet says so ----
refused 2 '--requantize fit is not there yet' run "$t2v" --requantize fit
refused 2 '--requantize speed is not there yet' run "$t2v" --requantize speed
refused 2 'never, fit or speed, not "some"' run "$t2v" --requantize some
kino_is 0 plan "$t2v" --requantize never
refused 2 'kino batch is not there yet' batch jobs

# ---- tuning is for cards ----
refused 2 'nothing to tune on the CPU' tune --device cpu
refused 2 '--device is auto, cpu or cuda[:N], not "gpu"' tune --device gpu
refused 1 'no ' tune --device cuda:97           # no driver, no CUDA in the build, or no such card

# ---- scripts: the line, the node, the near match ----
script() { printf '%s\n' "$1" >s.lua; }
script 'return { kino.wan.smaple{} }'
refused 2 's.lua:1:' run s.lua
says 'there is no wan.smaple (did you mean wan.sample?)'
script 'local m = kino.wan.model{ path = "'"$demo"'/wan_demo.safetensors.index.json" }
return { kino.wan.sample{ "x", modle = m } }'
refused 2 "s.lua:2: wan.sample has no input or param \"modle\"" run s.lua --allow "$demo"
says "wan.sample 'x'" 'did you mean model?'
script 'return { kino.image.load{ path = "p.png" } }'
refused 4 "s.lua:1: cannot find 'p.png'" run s.lua
script 'return { kino.image.load{ path = 3 } }'
refused 2 'image.load: s.lua:1: path wants text' run s.lua
script 'return {'
refused 2 's.lua:2:' run s.lua
script 'return { kino.image.load{ path = "/etc/hostname" } }'
refused 2 "'/etc/hostname' leads out of the folders" run s.lua
says image.load
script 'return { kino.image.save{ image = kino.image.load{ path = "sheet.png" }, path = "/tmp/kino-never.png" } }'
cp "$root/docs/demo.png" sheet.png
refused 2 "a script may not write '/tmp/kino-never.png'" run s.lua
script 'local i = kino.image.load{ path = "sheet.png" }
return { kino.wan.decode{ latent = i } }'
refused 2 's.lua:2: input latent takes latent/wan21, but image.load.image is image' run s.lua

# ---- 3: no plan fits; the refusal says what would do ----
refused 3 'short of a budget of 60.0 MiB' run "$t2v" --ram 60M --cache none
says 'does not fit' 'Largest residents'
fits=$(sed -n 's/.*--ram \([0-9]*M\) would do.*/\1/p' err)
kino_is 0 plan "$t2v" --cache none --ram "${fits:-?}"

# ---- 4: input files ----
refused 4 "cannot find 'nothing.lua'" run nothing.lua
refused 4 'Is a directory' run "$demo"
refused 4 "cannot find 'none.safetensors'" run "$t2v" --model none.safetensors
says wan.model "$t2v:" "looked in '$demo'"
refused 4 'cannot read none.txt' run "$t2v" --prompt @none.txt
refused 4 'cannot read none.json' run "$t2v" --params none.json
echo '[1]' >list.json
refused 4 'list.json is no JSON object' run "$t2v" --params list.json
head -c 100000 "$demo/wan_demo_vae.safetensors" >cut.safetensors
refused 4 "cut.safetensors" run "$t2v" --vae cut.safetensors
says wan.vae
head -c 6 "$demo/wan_demo_vae.safetensors" >tiny.safetensors
refused 4 "tiny.safetensors" run "$t2v" --vae tiny.safetensors
printf '\xff\xff\xff\xff\xff\x00\x00\x00{}' >huge.safetensors
refused 4 "'huge.safetensors' is no safetensors file: its header would have" run "$t2v" --text_encoder huge.safetensors
says text.load
cp "$demo/spiece.model" .
refused 4 "is a UMT5 text encoder (140 words, 256 wide, 3 layers), and wan.vae wants a VAE" run "$t2v" --vae "$demo/umt5_demo.safetensors"
says wan.vae umt5_demo.safetensors
published=("$root/graphs/wan_t2v.lua" --prompt x --text_encoder "$demo/umt5_demo.safetensors" --vae "$demo/wan_demo_vae.safetensors")
published+=(--model "$demo/wan_demo.safetensors.index.json" --size 128x128 --frames 5)
kino_is 0 plan "${published[@]}"
refused 2 'param boundary is of input model_low, which is not joined' plan "${published[@]}" --boundary 0.9
refused 2 'param guidance_low is of input model_low, which is not joined' plan "${published[@]}" --guidance_low 3
refused 4 "its header would have" plan "${published[@]}" --vae huge.safetensors
refused 4 "name their index" plan "${published[@]}" --model "$demo/wan_demo-00001-of-00002.safetensors"
echo '{"weight_map":{"a":"../../etc/passwd"}}' >climb.safetensors.index.json
refused 4 "'../../etc/passwd' of tensor 'a' is not a plain file name" run "$t2v" --model climb.safetensors.index.json
refused 4 'sheet.png' run "$t2v" --model sheet.png
kino_is 0 inspect list.json
refused 4 "'list.json' is a JSON file, and no PNG, MP4 or safetensors file" run --from list.json
refused 4 "does not say how it was made" run --from "$(luajit "$root/tests/cli/media.lua" content sheet.png >bare; printf '\x89PNG\r\n\x1a\n' | cat - bare >bare.png; echo bare.png)"

finish
