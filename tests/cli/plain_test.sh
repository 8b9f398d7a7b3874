#!/usr/bin/env bash
# Nothing that a script, a prompt or a file says steers the terminal or breaks the JSON: no control character, valid UTF-8.
source "$(dirname "$0")/help.sh"
plain() {
    checks=$((checks + 1))
    [[ $(LC_ALL=C tr -d '\11\12\40-\176\200-\377' <"$1" | wc -c) = 0 ]] || fail "$1 has control characters"
    iconv -f UTF-8 -t UTF-8 <"$1" >/dev/null || fail "$1 is no UTF-8"
}
said() { plain err; plain out; }
steer=$'\e[31m\xc2\x9b1m\xff\r'

# an over-long prompt is logged raw
kino_is 0 plan "$demo/t2v.lua" --cache none --prompt $'\e[31m\xc2\x9b1m\r'"$(printf 'word %.0s' {1..600})"
says 'more than 512 tokens'
said
kino_is 0 plan "$demo/t2v.lua" --cache none --prompt "$(printf '一只猫 %.0s' {1..600})"
says "('一只猫 一只猫 一只猫 一只猫 ...')"
said

# log lines and errors of scripts
cp "$root/docs/demo.png" p.png
printf 'print("a\\27[2Jb\\nc\\194\\155\\255d")\nerror("e\\27[31m\\255\\nkino: done")\n' >s.lua
refused 2 's.lua:2: e?[31m??kino: done' check s.lua
says 'a?[2Jb' 'c???d'
said
kino_is 2 check s.lua --json
check "the error is an event" grep -q '^{"event":"error","status":2,"path":"","message":"s.lua:2: e?\[31m??kino: done"' out
said
printf 'return kino.image.load{ path = "\\27[31m\\255.png" }\n' >s.lua
refused 4 "cannot find '?[31m?.png'" check s.lua --json
said
for label in '\27[31m' 'a\10b' '\194\155' 'a\255' 'a\9b'; do
    printf 'return { kino.image.load{ "'"$label"'", path = "p.png" } }\n' >s.lua
    refused 2 's.lua:1:' check s.lua
    said
done
printf 'return { kino.image.load{ ["pa\\10th"] = "p.png" } }\n' >s.lua
refused 2 's.lua:1: a name is too long or empty, or has control characters' check s.lua

# a template's own words, and values that were typed
printf 'return kino.template{ doc = "one\\27[2J\\ntwo\\255", params = { x = kino.string{ "\\27[31m", doc = "\\27]0;x\\7" } }, graph = print }' >s.lua
kino_is 0 run s.lua --help
check "the doc has its lines" grep -q '^two?$' out
said
kino_is 2 run s.lua "--y$steer" 1 --json
said

finish
