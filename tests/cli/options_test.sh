#!/usr/bin/env bash
# Where values come from: the command line, then --params, then the defaults; options also from the config file. What is said where.
source "$(dirname "$0")/help.sh"

# A script that says what it was given, and writes a picture so that there is something to run.
cat >say.lua <<'END'
return kino.template{
  doc = "Says its params.",
  params = {
    text = kino.string{ "none", doc = "a text" }, count = kino.int{ 1, min = 0, max = 9, doc = "a number" },
    on = kino.bool{ false }, seeds = kino.seeds{ 0 }, size = kino.size{ "8x8" },
    picture = kino.path{ "docs/demo.png" }, out = kino.out{ "o.png" },
  },
  graph = function(p)
    print("text=" .. p.text, "count=" .. p.count, "on=" .. tostring(p.on), "seeds=" .. table.concat(p.seeds, "+"), "size=" .. p.size.w)
    return kino.image.save{ image = kino.image.load{ path = p.picture }, path = p.out }
  end,
}
END
cp "$root/docs/demo.png" p.png
given() { kino_is 0 check say.lua --picture p.png "${@:2}"; says "$1"; }

given 'text=none	count=1	on=false	seeds=0	size=8'
given 'text=a b	count=3	on=true	seeds=7+18446744073709551615	size=20' --text 'a b' --count 3 --on yes --seeds 7,18446744073709551615 --size 20x4
given 'text=x=y	count=4' --text=x=y --count=4
given 'text=last' --text first --text last
printf 'from a file\nsecond line\n\n' >words.txt
given 'text=from a file' --text @words.txt
says 'second line	count=1'
given 'text=@words.txt' --text @@words.txt
given 'text=@	' --text @
echo '{"text":"of the file","count":5,"on":true,"seeds":[7,"18446744073709551615"],"size":"16x8"}' >params.json
given 'text=of the file	count=5	on=true	seeds=7+18446744073709551615	size=16' --params params.json
given 'text=typed	count=5' --params params.json --text typed
echo '{"txet":"x"}' >params.json
refused 2 'did you mean --text?' check say.lua --picture p.png --params params.json
echo '{"text":' >params.json
refused 4 'params.json is no JSON object' check say.lua --params params.json

# ---- params named like an option; --set reaches any param ----
for name in ram device models json quiet help set threads from force; do
    printf 'return kino.template{ graph = print,\n params = { %s = kino.string{ "" } } }' $name >like.lua
    refused 2 "like.lua:1: a param cannot be called $name: --$name is an option of kino itself" check like.lua
done
given 'text=a=b	count=4' --set text=a=b --set=count=4
given 'text=from a file' --set text=@words.txt
given 'text=	' --set text=
refused 2 '--set wants NAME=VALUE, not "text"' check say.lua --set text
refused 2 '--set wants NAME=VALUE, not "=3"' check say.lua --set =3
refused 2 'say.lua has no param --txet' check say.lua --set txet=3

# ---- the config file ----
config() { mkdir -p config/kinograph; printf '%s\n' "$1" >config/kinograph/config.lua; }
mkdir m
config 'return { cache = "mine.sqlite", quiet = true, json = false, threads = 1, models = "m" }'
kino_is 0 run say.lua --picture p.png --out o.png
check "quiet, so nothing is said" [ ! -s err -a ! -s out ]
check "the cache is where the config says" [ -s mine.sqlite ]
kino_is 0 run say.lua --picture p.png --out o.png --cache other.sqlite
check "what is typed comes first" [ -s other.sqlite ]
config 'return { ram = "8Q" }'
refused 2 '"8Q" is no size' run say.lua --picture p.png --out o.png
kino_is 0 run say.lua --picture p.png --out o.png --ram 1G
config 'return { colour = "blue" }'
refused 4 'config.lua: colour is no option' check say.lua
config 'return 7'
refused 4 'config.lua must return a table' check say.lua
config 'return {'
refused 4 'config.lua:' check say.lua
config 'return { cache = os.getenv("HOME") }'
refused 4 "attempt to index global 'os'" check say.lua
# one that loops for ever heeds the first TERM
config 'while true do end'
checks=$((checks + 1))
"$kino" check say.lua 2>err &
sleep 0.3
kill $!
wait $!
[[ $? -eq 130 ]] || fail "a config file that loops did not end with 130"
says 'kino: cancelled'
rm -r config

# ---- what is said where ----
kino_is 0 run say.lua --picture p.png --out o.png --force
check "stdout is empty" [ ! -s out ]
says '2 nodes to run' 'image.save' 'done in' 'text=none'
kino_is 0 run say.lua --picture p.png --out o.png --force --quiet
check "--quiet says nothing" [ ! -s err -a ! -s out ]
refused 4 "cannot find 'none.png'" run say.lua --picture none.png --quiet
kino_is 0 run say.lua --picture p.png --out o.png --force --json
! grep -qv '^{"event":.*}$' out || fail "--json: stdout has more than events"
kino_is 4 run say.lua --picture none.png --json
check "an error is an event" grep -q '^{"event":"error","status":4,' out
says "kino: image.load: say.lua:10: cannot find 'none.png'"
kino_is 0 run say.lua --help
check "the doc is there" grep -q '^Says its params.$' out
check "a param with type, doc, range and default" grep -qE -- '--count +int +a number \[0\.\.9\] \(default 1\)' out
check "a terminal is not steered" [ "$(tr -d '\11\12\40-\176' <out | wc -c)" = 0 ]

finish
