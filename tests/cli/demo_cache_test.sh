#!/usr/bin/env bash
# The cache: what it saves, and that a run goes on without it when it cannot be used. Several runs at once share it.
source "$(dirname "$0")/help.sh"
small+=(--out clip.mp4)
cache=$XDG_CACHE_HOME/kinograph/cache.sqlite
states() { sed -n 's/.*"node":"\([a-z.0-9]*\)".*"state":"\([a-z]*\)".*/\1 \2/p' out | sort -u | tr '\n' ';'; }
ran() { grep -q "\"node\":\"$1\".*\"state\":\"run\"" out; }
cached() { grep -q "\"node\":\"$1\".*\"state\":\"cached\"" out; }

# ---- another --fps: neither text nor sampling ----
kino_is 0 "${small[@]}" --json
check "the first run encodes, samples, decodes: $(states)" ran text.umt5 && ran wan.sample && ran wan.decode
mkdir want
mv clip.mp4 clip.png want
kino_is 0 "${small[@]}" --json --fps 12
check "the second one does not: $(states)" cached wan.sample
! ran text.umt5 && ! ran wan.sample || fail "text or sampling ran again: $(states)"
check "it decodes and encodes" ran wan.decode && ran video.save
check "the frames are the same" same <(content clip.png) <(content want/clip.png)
# The very same again: nothing runs, and the files stay.
kino_is 0 "${small[@]}" --json --fps 12
! grep -q '"state":"run"' out || fail "something ran: $(states)"
check "the video is known to be there" cached video.save
# --force writes it anew; --force twice computes it anew.
kino_is 0 "${small[@]}" --json --fps 12 --force
check "--force writes" ran video.save && cached wan.sample
kino_is 0 "${small[@]}" --json --fps 12 --force --force
check "--force --force computes" ran wan.sample && ran text.umt5
# Another prompt is another text and latent, and no new negative: one row of three more is made.
kino_is 0 "${small[@]}" --json --prompt 'a green square moves up over a white background'
check "another prompt is encoded and sampled" ran text.umt5 && ran wan.sample
kino_is 0 "${small[@]}" --json --strict
check "--strict takes what this device has made" cached wan.sample

# ---- what it tells ----
kino_is 0 cache ls
check "a latent is listed" grep -q latent/wan21 out
kino_is 0 cache stat
check "stat counts" grep -qE '[1-9][0-9]* results, 0 checkpoints' out
kino_is 0 cache verify
check "verify finds nothing" grep -q ' 0 bad, 0 problems' out
kino_is 0 cache gc

# ---- kino cache verify: 0 clean, 1 damaged, 4 no cache ----
kino_is 4 cache verify --cache none.sqlite
says 'there is no cache'
kino_is 0 cache stat --cache none.sqlite
cp "$cache" spoilt.sqlite
kino_is 0 cache verify --cache spoilt.sqlite
printf 'spoilt' | dd of=spoilt.sqlite bs=1 conv=notrunc status=none
kino_is 1 cache verify --cache spoilt.sqlite
says 'is damaged: a new one is started' 'moved to'
kino_is 0 cache verify --cache spoilt.sqlite
echo "a file" >plain
kino_is 4 cache verify --cache plain
says "'plain' is no cache"

# ---- force = true of the config and --force are one ----
mkdir -p "$XDG_CONFIG_HOME/kinograph"
echo 'return { force = true }' >"$XDG_CONFIG_HOME/kinograph/config.lua"
kino_is 0 "${small[@]}" --json --fps 12 --force
check "the latent is cached: $(states)" cached wan.sample && ran video.save
rm "$XDG_CONFIG_HOME/kinograph/config.lua"

# ---- a cache that cannot be used ----
same_video() { check "$1: the same video" same clip.mp4 want/clip.mp4; rm -f clip.mp4 clip.png; }
echo "a file" >plain
rm -f clip.mp4 clip.png
t2v --out clip.mp4 --cache plain/below/cache.sqlite
says 'cannot be written' 'the run goes on without'
same_video unwritable
t2v --out clip.mp4 --cache plain
says "'plain' is no cache"
same_video "no cache"
check "somebody's file is as it was" [ "$(cat plain)" = "a file" ]

head -c 70000 /dev/urandom >"$cache"
rm -f "$cache"-wal "$cache"-shm
t2v --out clip.mp4
says 'is damaged: a new one is started' 'moved to'
same_video damaged
check "the damaged file is kept" [ -s "$cache.corrupt-1" ]
kino_is 0 "${small[@]}" --json
check "the new one works" cached wan.sample
rm -f clip.mp4 clip.png

# Bytes of one row have changed: noticed, made anew.
luajit - "$cache" <<'END'
local f = assert(io.open(arg[1], "r+b"))
local size = f:seek("end")
for at = 65536, size - 16384, 16384 do f:seek("set", at + 5000); f:write("\255\1\255\1") end
f:close()
END
rm -f "$cache"-wal "$cache"-shm
kino_is 0 "${small[@]}"
grep -qE 'changed on disk|is damaged|damaged cache' err || { fail "nothing is said of the changed bytes"; cat err; }
same_video "changed bytes"

# A newer version's file (its number is at byte 60 of SQLite's header) is left alone.
t2v --out clip.mp4
rm -f clip.mp4 clip.png
kino_is 0 cache verify
printf '\0\0\0\143' | dd of="$cache" bs=1 seek=60 conv=notrunc status=none
rm -f "$cache"-wal "$cache"-shm
cp "$cache" newer
t2v --out clip.mp4
says 'newer version' 'the run goes on without'
same_video newer
check "it is left alone" same "$cache" newer
rm -f "$cache"*

# ---- several at once ----
mkdir a b c
for i in a b c; do
    (cd $i && exec "$kino" "${small[@]}" --quiet) &
done
wait
for i in a b c; do
    check "run $i: the same video" same $i/clip.mp4 want/clip.mp4
    check "run $i: the same sheet" same $i/clip.png want/clip.png
done
kino_is 0 cache verify

finish
