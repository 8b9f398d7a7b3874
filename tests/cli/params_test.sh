#!/usr/bin/env bash
# What may be in --params, in a file that a value is read from, in sizes and counts: read as it stands, or refused with a reason.
source "$(dirname "$0")/help.sh"
cat >say.lua <<'END'
return kino.template{
  doc = "Says its params.",
  params = { text = kino.string{ "none" }, seed = kino.seeds{ 0 }, count = kino.int{ 1 }, out = kino.out{ "o.png" } },
  graph = function(p)
    print("text=" .. p.text, "seed=" .. table.concat(p.seed, "+"), "count=" .. p.count)
    return kino.image.save{ image = kino.image.load{ path = "p.png" }, path = p.out }
  end,
}
END
cp "$root/docs/demo.png" p.png

# given TEXT JSON: what the script is given of these params.
given() { printf '%s' "$2" >params.json; kino_is 0 check say.lua --params params.json; says "$1"; }
# odd STATUS TEXT JSON
odd() { printf '%s' "$3" >params.json; refused "$1" "params.json" check say.lua --params params.json; says "$2"; }

# ---- params_json_is_strict ----
given 'text=a	seed=7+8	count=3' '{"text":"a","seed":[7,"8"],"count":3}'
given 'seed=9007199254740991' '{"seed":9007199254740991}'
given 'seed=18446744073709551615' '{"seed":"18446744073709551615"}'
given 'seed=4007199254740991+3	count=-5' '{"seed":[4007199254740991,3],"count":-5}'
given 'text=a\u0000b' '{"text":"a\\u0000b"}
'
odd 2 'param "seed" is a number that JSON readers round: write it in quotes' '{"seed":9007199254740993}'
odd 2 'is a number that JSON readers round' '{"seed":[1,18446744073709551615]}'
odd 2 'is a number that JSON readers round' '{"count":1e400}'
odd 2 'param "text" is null: leave it out for its default' '{"text":null}'
odd 2 'param "seed" is null' '{"seed":[null]}'
odd 2 'param "text" is an object' '{"text":{"a":1}}'
odd 2 'param "seed" is an object' '{"seed":[{}]}'
odd 2 'param "seed" is a list in a list' '{"seed":[[1]]}'
odd 2 'param "text" is there twice' '{"text":"a","count":2,"text":"b"}'
odd 2 'text behind the object of params, at byte 12' '{"text":"a"} {"count":2}'
odd 2 'a zero byte' '{"text":"a\u0000b"}'
odd 4 'is no JSON object' '["text"]'
odd 4 'it breaks at byte' '{"text":"a",}'
printf '{"text":"a\0b"}' >params.json
refused 2 'params.json is no text: it holds a zero byte' check say.lua --params params.json

# ---- a_folder_is_no_prompt ----
mkdir folder
refused 4 'cannot read folder: Is a directory' check say.lua --text @folder
refused 4 'cannot read folder: Is a directory' check say.lua --params folder
refused 4 'cannot read none: No such file or directory' check say.lua --text @none
printf 'a\0b' >zero.txt
refused 2 'zero.txt is no text: it holds a zero byte' check say.lua --text @zero.txt
truncate -s 65M large.txt
refused 4 'large.txt is larger than the 64 MiB that a text may have' check say.lua --text @large.txt
: >empty.txt
kino_is 0 check say.lua --text @empty.txt
says 'text=	'

# ---- sizes_and_counts_are_read_whole ----
for bad in 0x10G 12Gi 1e3M ' 1G' +1G 1G2 G ''; do
    refused 2 "--ram: \"$bad\" is no size" check say.lua --ram "$bad"
    refused 2 "--vram: \"$bad\" is no size" check say.lua --vram "$bad"
done
says 'powers of 1024' 'GB, TB are powers of 1000'
for good in 12G 12GiB 12GB 1.5g 2000000000; do kino_is 0 check say.lua --ram "$good" --vram "$good"; done
for bad in 2x 0 -1 2.5 0x2 ''; do refused 2 "--threads wants a whole number from 1 to 4096, not \"$bad\"" check say.lua --threads "$bad"; done
refused 2 'not "cuda:1x"' check say.lua --device cuda:1x
config() { mkdir -p config/kinograph; printf '%s\n' "$1" >config/kinograph/config.lua; }
config 'return { ram = "0x10G" }'
refused 2 '--ram: "0x10G" is no size' check say.lua
config 'return { ram = 2000000000, threads = 1 }'
kino_is 0 check say.lua
for bad in 1.5 0 -1 1e10 '"2x"'; do
    config "return { threads = $bad }"
    refused 4 'threads is no option, or its value is none' check say.lua
done
rm -r config
finish
