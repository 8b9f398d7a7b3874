#!/usr/bin/env bash
# every_command_and_script_of_the_readme: what stands there as code is taken out of it and run as it stands; only steps and sizes are
# made smaller, published models stand for the demo's, and what installs or takes minutes is left to the tests that do that.
source "$(dirname "$0")/help.sh"
readme=$root/README.md
"$kino" version | grep -q '^with FFmpeg' || { echo "no FFmpeg in this build: no videos to write"; checks=1; finish; }
ln -s "$root/graphs" graphs
ln -s "$root/tools" tools
ln -s "$build" build

# Scripts: first.lua, 2.lua, ... Commands: lines of the other fences, and code between backticks that begins like one.
awk '/^```lua/ { ++n; file = n == 1 ? "first.lua" : n ".lua"; next } /^```/ { file = ""; next } file { print >file }' "$readme"
{
    awk '/^```/ { inside = !inside; plain = $0 == "```"; next } inside && plain' "$readme" | sed 's/ && /\n/g'
    awk '/^```/ { inside = !inside; next } !inside' "$readme" | grep -oE '`[^`]+`' | tr -d '`' | grep -E '^(build/)?kino |^tools/'
} | sed 's/^ *//' | grep -v '^#\|^$' | sort -u >commands
check "there are commands: $(wc -l <commands)" [ "$(wc -l <commands)" -ge 15 ]
check "there is a script" [ -s first.lua ]

# Few steps; the demo's models for published ones.
published=(--models "$demo" --model wan_demo.safetensors.index.json --text_encoder umt5_demo.safetensors --vae wan_demo_vae.safetensors
           --size 64x64 --frames 5 --negative '')
run_it() {
    local line=$1 words
    case $line in
    *'#'*) line=${line%%  #*} ;;
    esac
    eval "words=(${line#build/})"      # quotes are those of a shell
    case $line in
    tools/demo*)
        words=(kino run "$demo/t2v.lua" "${words[@]:1}" --steps 2)
        [[ $line = *' --out '* ]] || words+=(--out demo.mp4) ;;
    *wan_t2v.lua*) words+=("${published[@]}" --steps 2) ;;
    *'kino run '*) words+=(--steps 2 --force) ;;
    esac
    kino_is 0 "${words[@]:1}"
}
while IFS= read -r line; do
    case $line in
    'git clone'* | 'cd '* | tools/test | tools/gpu/* | tools/demo_model/* | tools/deps) ;;      # installs, or takes minutes
    *GRAPH.lua* | *FILE* | *\[* | *'...'* | *COMMAND* | *'|'* | *FROM* | *DIR*)         # a form: the command has help
        word=${line#build/}
        word=${word#kino }
        word=${word%% *}
        kino_is 0 "${word/COMMAND/run}" --help
        check "help of $line" grep -q '^kino ' out ;;
    'kino run' | 'kino plan' | 'kino check')                                        # words of a sentence
        kino_is 0 ${line#kino } --help ;;
    'build/kino '* | 'kino '* | tools/demo | 'tools/demo '*)
        line=$(sed -E 's/^(build\/)?kino ([a-z]+)  .*/\1kino \2/' <<<"$line")          # a list's words behind the command
        [[ $line != *'kino tune' ]] || continue                                        # wants a card
        run_it "$line" ;;
    *) fail "README.md has a command that this test does not know: $line" ;;
    esac
done <commands
check "the demo of the README is written" [ -s green.mp4 -o -s green.png ]

# ---- every_promise_has_its_test ----
names=$(sed '/^## /q' "$readme" | grep -oE '`[a-z]+/[a-z_]+_test`' | tr -d '`')
check "promises name tests: $(wc -w <<<"$names")" [ "$(wc -w <<<"$names")" -ge 12 ]
for name in $names; do
    check "there is $name" [ -f "$root/tests/$name.c" -o -f "$root/tests/$name.sh" ]
done

# ---- scripts_as_pasted ----
for script in *.lua; do
    kino_is 0 check "$script" --models graphs/demo
    kino_is 0 run "$script" --models graphs/demo --steps 2 --out pasted.mp4 --force
done
check "the first script writes both files" [ -s pasted.mp4 -a -s pasted.png ]

# ---- options of the table are options of the program ----
kino_is 0 run --help
for option in $(grep -E '^\| `--' "$readme" | cut -d'|' -f2-6 | grep -oE -- '--[a-z]+' | sort -u); do
    check "kino run --help knows $option" grep -q -- "$option" out
done

finish
