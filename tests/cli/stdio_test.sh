#!/usr/bin/env bash
# Descriptors that are closed or full, pipes that nobody reads, signals that were ignored, terminals that know no escape codes.
source "$(dirname "$0")/help.sh"
cp "$root/docs/demo.png" p.png
cat >copy.lua <<'END'
return kino.template{ doc = "Copies.", params = { out = kino.out{ "o.png" } }, graph = function(p)
  return kino.image.save{ image = kino.image.load{ path = "p.png" }, path = p.out }
end }
END

# status_is STATUS COMMAND...: run by a shell of its own, so that it can redirect.
status_is() {
    checks=$((checks + 1))
    local status=0
    KINO=$kino bash -c "$2" 2>err || status=$?
    [[ $status -eq $1 ]] || { fail "$2: status $status, not $1"; head -c 2000 err; }
}

# ---- closed_descriptors_do_not_become_the_output ----
kino_is 0 run copy.lua --out want.png --cache none
status_is 0 '"$KINO" run copy.lua --out quiet.png --cache none <&- >&-'
check "no word of the program is in the output" same <(content quiet.png) <(content want.png)
status_is 1 '"$KINO" run copy.lua --out events.png --cache none --json <&- >&-'
says 'cannot write to stdout' 'what it wrote is there'
check "no event is in the output" same <(content events.png) <(content want.png)
status_is 0 '"$KINO" run copy.lua --out all.png --cache none <&- >&- 2>&-'
check "nor without stderr" same <(content all.png) <(content want.png)

# ---- stdout_that_is_full_is_an_error ----
for said in nodes "nodes wan.sample" "nodes --json" version devices --help "run copy.lua --help" "run copy.lua --out x.png --json --cache none" \
    "plan copy.lua --cache none" "plan copy.lua --json --cache none" "inspect $demo/wan_demo_vae.safetensors" "inspect want.png" \
    "run --from want.png"; do
    status_is 1 "\"\$KINO\" $said >/dev/full"
    says 'cannot write to stdout: No space left on device'
done
check "what was computed is there all the same" [ -s x.png ]
status_is 0 '"$KINO" run copy.lua --out y.png --cache none >/dev/full'

# ---- a_pipe_that_nobody_reads: status 1; no words for who stopped reading a list ----
status_is 1 'set -o pipefail; (sleep 0.2; "$KINO" nodes; echo $? >status) | true; exit $(cat status)'
check "a list that nobody reads on is no news" [ ! -s err ]
status_is 1 '(sleep 0.2; "$KINO" run copy.lua --out z.png --json --cache none; echo $? >status) | true; exit $(cat status)'
says 'cannot write to stdout: Broken pipe'
check "the run went on" [ -s z.png ]

# ---- hangup_is_as_term_unless_it_was_ignored ----
mkfifo nobody
caught() { sed -n 's/^SigCgt:[[:space:]]*//p' "/proc/$1/status" 2>/dev/null; }
mask() { sed -n "s/^$2:[[:space:]]*//p" "/proc/$1/status" 2>/dev/null; }
# has PID MASK NUMBER: is the signal in that mask of the process?
has() { local m; m=$(mask "$1" "$2"); [[ $((0x${m:-0} >> ($3 - 1) & 1)) -eq 1 ]]; }
# kino, no longer the shell that starts it, has set its handlers.
waiting() { until { [[ $(cat "/proc/$1/comm" 2>/dev/null) = kino ]] && has "$1" SigCgt 15; } || ! kill -0 "$1"; do sleep 0.01; done; }
env --default-signal=HUP "$kino" run copy.lua --out @nobody --text @nobody 2>err &
pid=$!
waiting $pid
check "SIGHUP is caught" has $pid SigCgt 1
kill -HUP $pid
kill -HUP $pid
sleep 0.1
check "a second SIGHUP is nobody who insists" kill -0 $pid
kill -TERM $pid                        # pending signals of one kind are one: this is another kind
status=0
wait $pid || status=$?
check "SIGTERM after it ends at once with 130, not $status" [ $status -eq 130 ]
nohup "$kino" run copy.lua --text @nobody >/dev/null 2>err &
pid=$!
waiting $pid
check "what nohup ignores stays ignored" has $pid SigIgn 1
while kill -TERM $pid 2>/dev/null; do sleep 0.05; done
wait $pid 2>/dev/null

# ---- no_escape_codes_on_a_dumb_terminal ----
if command -v script >/dev/null; then
    screen() { env -u NO_COLOR "$@" script -qec "$kino run $demo/t2v.lua --any_size yes --size 64x64 --frames 5 --steps 4 --out s.mp4 --force --force" /dev/null </dev/null; }
    check "a terminal is sent a line that is written over" grep -q $'\e\[K' <(screen TERM=xterm)
    for plain in TERM=dumb NO_COLOR=1; do
        screen TERM=xterm "$plain" >screen.txt
        check "no escape code with $plain" [ "$(grep -c $'\e' screen.txt)" = 0 -a -s screen.txt ]
    done
fi

finish
