# What the tests of the command line share. Sourced with the build folder as $1: a folder of their own, with its own cache and config,
# and checks that count. Each test ends with `finish`.
set -u
build=$(cd "$1" && pwd)
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
kino=$build/kino demo=$root/graphs/demo
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
export HOME=$work/home XDG_CACHE_HOME=$work/cache XDG_CONFIG_HOME=$work/config LC_ALL=C
checks=0 failed=0

fail() {
    local at=1
    while [[ ${BASH_SOURCE[$at]} == "${BASH_SOURCE[0]}" ]]; do at=$((at + 1)); done
    echo "${BASH_SOURCE[$at]##*/}:${BASH_LINENO[$((at - 1))]}: $*"
    failed=$((failed + 1))
}

# check WHAT COMMAND...: the command's status is 0.
check() {
    checks=$((checks + 1))
    "${@:2}" || fail "$1"
}

# kino_is STATUS ARGUMENTS...: the exit status of kino; its words are in the files out and err.
kino_is() {
    checks=$((checks + 1))
    local status=0
    "$kino" "${@:2}" >out 2>err || status=$?
    [[ $status -eq $1 ]] || { fail "kino ${*:2}: status $status, not $1"; head -c 2000 err; }
}

# says TEXT...: each is in what the last kino wrote to stderr.
says() {
    local text
    for text in "$@"; do
        checks=$((checks + 1))
        grep -qF -- "$text" err || { fail "not said: $text"; head -c 2000 err; }
    done
}

# refused STATUS TEXT ARGUMENTS...: this status, and this text on stderr.
refused() {
    kino_is "$1" "${@:3}"
    grep -qF -- "$2" err || { fail "kino ${*:3} does not say: $2"; head -c 2000 err; }
}

# The demo, small: 5 frames of 64x64. Arguments go on to kino.
small=(run "$demo/t2v.lua" --any_size yes --size 64x64 --frames 5 --steps 10)
t2v() { kino_is 0 "${small[@]}" "$@"; }

same() { cmp -s "$1" "$2" || { [[ -e $1 && -e $2 ]] && echo "$1 and $2 differ"; return 1; }; }
# What a picture or a video shows, without the note on how it was made.
content() { luajit "$root/tests/cli/media.lua" content "$1"; }
size_of() { luajit "$root/tests/cli/media.lua" size "$1"; }
# No temporary file of an output is left here.
nothing_left() { ! ls -A "${1:-.}" | grep -q '^\.kino-'; }

finish() {
    echo "${BASH_SOURCE[1]##*/}: $checks checks, $failed failed"
    [[ $failed -eq 0 && $checks -gt 0 ]] || exit 1
    exit 0
}
