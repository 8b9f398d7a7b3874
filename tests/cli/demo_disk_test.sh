#!/usr/bin/env bash
# A full disk: exit status 1, a message that names the file and the reason, no half file under a final name, what was there before is
# as it was. A limit on the size of files stands for the disk, and where mounting is allowed a small file system is one.
source "$(dirname "$0")/help.sh"
small+=(--out clip.mp4)
limited() { (failed=0; ulimit -f "$1"; shift; kino_is "$@"; exit $failed); }     # KiB that a file may have

echo old >clip.mp4
check "a file that cannot grow" limited 4 1 "${small[@]}" --cache none
says video.save "clip.mp4': File too large" 'what was there before is untouched'
check "the old file is there" [ "$(cat clip.mp4)" = old ]
check "no half picture" [ ! -e clip.png ]
check "nothing is left" nothing_left

# The video fits, the sheet does not: one is whole, the other is not there.
rm clip.mp4
check "a sheet that cannot grow" limited 16 1 "${small[@]}" --cache none
says "image.save: cannot write 'clip.png': File too large"
check "no half picture" [ ! -e clip.png ]
check "nothing is left" nothing_left
mv clip.mp4 cut.mp4
kino_is 0 "${small[@]}" --cache none
check "the video is whole" same cut.mp4 clip.mp4

# The cache cannot grow: the run goes on, says so, and gives the same.
mkdir want
mv clip.mp4 clip.png want
check "a cache that cannot grow" limited 400 0 "${small[@]}"
check "it is said" grep -qE 'cache .* cannot be (used|written)' err
check "the same video" same clip.mp4 want/clip.mp4
kino_is 0 cache verify
rm -rf clip.mp4 clip.png "$XDG_CACHE_HOME"

# The same on a file system of 24 KiB: the sheet has more.
mkdir disk
full() {
    unshare -m bash -c 'mount -t tmpfs -o size=24k none disk && cd disk && "$@" >../out 2>../err; echo $? >../status; ls -A >../left' - \
        "$kino" "${small[@]}" --cache none
}
if unshare -m mount -t tmpfs -o size=24k none disk 2>/dev/null; then
    full
    check "status 1, not $(cat status)" [ "$(cat status)" = 1 ]
    says "cannot write 'clip.png': No space left on device"
    check "the video and nothing else is there" [ "$(cat left)" = clip.mp4 ]
else
    echo "no mounting here: the part with a file system is left out"
fi

finish
