#!/usr/bin/env bash
# What each command says of itself, and how nodes are found by how their names begin.
source "$(dirname "$0")/help.sh"

# ---- version_is_an_option_too ----
kino_is 0 --version
check "kino --version says the version" grep -qE '^kinograph [0-9]+\.[0-9]+' out
cp out long
kino_is 0 version
check "as kino version does" same out long

# ---- each_command_has_help ----
kino_is 0 --help
commands=$(sed -n 's/^kino \([a-z]*\) .*/\1/p' out | sort -u)
check "--help lists the commands" [ "$(wc -w <<<"$commands")" -ge 9 ]
for command in $commands; do
    for asked in "$command --help" "$command -h" "help $command"; do
        kino_is 0 $asked
        check "help of $command is its own" grep -q "^kino $command" out
        check "and short" [ "$(wc -l <out)" -lt 25 -a ! -s err ]
    done
done
kino_is 0 nodes wan --help
check "help of nodes, whatever follows" grep -q '^kino nodes' out
kino_is 0 run --help
check "help of run has its options" grep -q -- '--precision' out
kino_is 0 run "$demo/t2v.lua" --help
check "a graph's help is the graph's" grep -q -- '--prompt' out
refused 2 'did you mean kino run?' help rnu
refused 2 'there is no command "xyzzy"' xyzzy --help

# ---- nodes_by_prefix ----
kino_is 0 nodes
total=$(wc -l <out)
for prefix in wan wan.; do
    kino_is 0 nodes $prefix
    check "nodes $prefix lists wan.sample" grep -q '^wan.sample ' out
    check "nodes $prefix lists nothing else" [ "$(grep -vc '^wan\.' out)" = 0 -a "$(wc -l <out)" -ge 4 -a "$(wc -l <out)" -lt "$total" ]
done
kino_is 0 nodes wan.sa
check "any beginning will do" grep -q '^wan.sample ' out
kino_is 0 nodes wan.sample
check "a name alone is shown in full" grep -q '^  input  model ' out
kino_is 0 nodes wan --json
check "a family as JSON" grep -q '"name":"wan.decode".*"name":"wan.sample"' out
kino_is 0 nodes image.load --json
check "one as JSON" [ "$(grep -o '"name":"[a-z]*\.[a-z]*"' out)" = '"name":"image.load"' ]
refused 2 'did you mean wan.sample?' nodes wan.smaple
refused 2 'did you mean image? kino nodes image lists them' nodes imgae
refused 2 'kino nodes lists all' nodes xyzzyplugh

# ---- a_missing_driver_is_told_by_devices_alone ----
kino_is 0 devices
check "kino devices says of cards what there is" grep -q '^cuda:0: ' out
kino_is 0 devices --json
check "as JSON too" grep -q '"device":"cuda:0"' out
if [[ ! -e /proc/driver/nvidia/version && ! -e /dev/dxg ]]; then
    kino_is 0 plan "$demo/t2v.lua" --cache none
    check "a run without a driver does not speak of it" [ "$(grep -ci 'driver\|cuda' err out)" = $'err:0\nout:0' ]
fi

finish
