#!/usr/bin/env bash
# Ctrl-C at random moments: exit status 130, and under a final name there is nothing or the whole file; what was done is not lost. A
# second Ctrl-C ends at once. KINO_INTERRUPTS says how many runs are interrupted.
source "$(dirname "$0")/help.sh"
interrupts=${KINO_INTERRUPTS:-15}
RANDOM=11
small+=(--out clip.mp4)
kino_is 0 "${small[@]}" --cache none
start=${EPOCHREALTIME/./}
kino_is 0 "${small[@]}" --cache none --force
whole=$((${EPOCHREALTIME/./} - start))
mkdir want
mv clip.mp4 clip.png want

# start SIGNAL...: a run in the background, its number in pid. A shell lets its background ignore SIGINT; here it is let in.
start() {
    rm -f out err
    env --default-signal=INT,TERM "$kino" "${small[@]}" "$@" >out 2>err &
    pid=$!
}
# Ends with 130, or with 0 when it had been done; whatever is there is whole.
ended() {
    local status=0
    wait $pid 2>/dev/null || status=$?
    [[ $status -eq 130 || $status -eq 0 ]] || { fail "status $status, not 130 or 0"; cat err; }
    for file in clip.mp4 clip.png; do
        [[ ! -e $file ]] || check "$file is whole" same $file want/$file
        [[ $status -ne 0 ]] || check "$file is there" [ -e $file ]
    done
    [[ $status -eq 130 ]]
}
# A run under way has said so on stderr.
wait_for() { until grep -qs "$1" "$2"; do kill -0 $pid 2>/dev/null || return 1; sleep 0.01; done; }

stopped=0
for ((round = 0; stopped < interrupts && round < 3 * interrupts; ++round)); do
    rm -f clip.mp4 clip.png
    start --force --force                  # nothing is taken from the cache
    sleep "$(printf '0.%06d' $((RANDOM * 32768 % (whole > 999999 ? 999999 : whole))))"
    kill -INT $pid 2>/dev/null
    ended && stopped=$((stopped + 1))
    check "nothing is left beside the outputs" nothing_left
done
check "$stopped of $interrupts were interrupted" [ $stopped -eq "$interrupts" ]
kino_is 0 cache verify

# In the middle of a run it says why it ends, also after SIGTERM.
for signal in INT TERM; do
    rm -f clip.mp4 clip.png
    start --force --force --steps 1000
    check "the run began" wait_for "nodes to run" err
    kill -$signal $pid
    check "a run of many steps is interrupted" ended
    says 'kino: cancelled' 'kept'          # ctrl_c_says_what_is_kept
    check "no output" [ ! -e clip.mp4 -a ! -e clip.png ]
    check "nothing is left" nothing_left
done

# The interrupted run has left a checkpoint: the next one goes on from it.
rm -rf "$XDG_CACHE_HOME"
start --steps 60 --json
check "the run has done what a checkpoint is written for" wait_for '"scope":"step","i":[4-9]' out
kill -INT $pid
check "the run was interrupted" ended
grep -q '"event":"error","status":130' out || fail "the error is an event"
says "kept: wan.sample 'main' after step " 'the same command goes on from there'
kino_is 0 "${small[@]}" --steps 60 --json
check "it goes on from a checkpoint" [ "$(grep -m1 '"event":"step","node":"wan.sample"' out | sed 's/.*"i":\([0-9]*\),.*/\1/')" -gt 1 ]

# Without a cache it says that too.
rm -f clip.mp4 clip.png
start --cache none --steps 1000
check "the run began" wait_for "nodes to run" err
kill -INT $pid
check "a run without a cache is interrupted" ended
says 'nothing is kept: the run has no cache'

# A second one ends at once: here kino waits for a file that nobody writes, and the first one alone does not end that.
mkfifo nobody
env --default-signal=INT "$kino" "${small[@]}" --prompt @nobody 2>err &
pid=$!
# Is SIGINT in a mask of the process: caught (SigCgt), waiting (ShdPnd)?
in_mask() { local mask; mask=$(sed -n "s/^$1:[[:space:]]*//p" "/proc/$pid/status" 2>/dev/null); [[ $((0x${mask:-0} & 2)) -ne 0 ]]; }
until in_mask SigCgt || ! kill -0 $pid; do sleep 0.01; done
kill -INT $pid
while in_mask ShdPnd; do sleep 0.01; done
check "the first one is noted" kill -0 $pid
kill -INT $pid
status=0
wait $pid || status=$?
check "the second one ends with 130, not $status" [ $status -eq 130 ]

finish
