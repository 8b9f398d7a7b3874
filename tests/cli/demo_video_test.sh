#!/usr/bin/env bash
# graphs/vae_roundtrip.lua: a picture, a video, parts of them, and what it refuses; videos as any script takes them.
source "$(dirname "$0")/help.sh"
vae=(--vae "$demo/wan_demo_vae.safetensors" --cache none)
trip=$root/graphs/vae_roundtrip.lua
"$kino" version | grep -q '^with FFmpeg' || { echo "no FFmpeg in this build: videos are left out"; checks=1; finish; }
kino_is 0 run "$demo/t2v.lua" --any_size yes --size 64x64 --frames 9 --steps 20 --out clip.mp4 --cache none

# Frames of a video, one below the other, as a picture: what a test can compare.
cat >sheet.lua <<'END'
return kino.template{
  params = { video = kino.path{}, out = kino.out{ "o.png" }, first = kino.int{ 0 }, frames = kino.int{ 0 } },
  graph = function(p)
    local v = kino.video.load{ path = p.video, first = p.first, frames = p.frames }
    return kino.image.save{ image = kino.image.sheet{ video = v, columns = 1, gap = 0 }, path = p.out }
  end,
}
END
sheet() { kino_is 0 run sheet.lua --cache none --video "$1" --out "$2" "${@:3}"; }
kino_is 0 run "$trip" --video clip.mp4 --out back.mp4 "${vae[@]}"
check "a video comes back in its size: $(size_of back.mp4)" [ "$(size_of back.mp4)" = 64x64 ]
sheet back.mp4 back.png
check "all nine frames come back: $(size_of back.png)" [ "$(size_of back.png)" = 64x$((9 * 64)) ]
kino_is 0 run "$trip" --video clip.mp4 --frames 5 --size 48x40 --out part.mp4 "${vae[@]}"
sheet part.mp4 part.png
check "five frames of 48x40: $(size_of part.png)" [ "$(size_of part.png)" = 48x$((5 * 40)) ]
kino_is 0 run "$trip" --image part.png --size 48x40 --out one.png "${vae[@]}"
check "one picture: $(size_of one.png)" [ "$(size_of one.png)" = 48x40 ]

# Parts of a video are parts: frames 3 to 5 alone are what they are in the whole.
sheet clip.mp4 whole.png
sheet clip.mp4 three.png --first 3 --frames 3
cat >cut.lua <<'END'
return kino.template{
  params = { sheet = kino.path{}, out = kino.out{ "o.png" }, height = kino.int{ 1 } },
  graph = function(p)
    local cut = kino.video.crop{ video = kino.image.load{ path = p.sheet }, height = p.height }
    return kino.image.save{ image = kino.image.sheet{ video = cut, columns = 1 }, path = p.out }
  end,
}
END
kino_is 0 run cut.lua --sheet whole.png --height $((3 * 64)) --out middle.png --cache none     # of nine: 3, 4 and 5
check "frames 3 to 5" same <(content three.png) <(content middle.png)

refused 2 'one of --image and --video is needed' run "$trip" "${vae[@]}"
refused 2 'one of --image and --video is needed' run "$trip" --image part.png --video clip.mp4 "${vae[@]}"
refused 2 '--frames is of a video' run "$trip" --image part.png --frames 5 "${vae[@]}"
refused 4 "cannot find 'none.mp4'" run "$trip" --video none.mp4 "${vae[@]}"
refused 4 "'part.png' is a PNG picture, and no video that can be read here" run "$trip" --video part.png "${vae[@]}"
says video.load
refused 4 "'clip.mp4' is an MP4 file, and no PNG" run "$trip" --image clip.mp4 "${vae[@]}"
refused 2 "frames = 13, but 'clip.mp4' has 9" run "$trip" --video clip.mp4 --frames 13 "${vae[@]}"
refused 2 'frames of 47x200: width and height must be multiples of 8' run "$trip" --image part.png --size 47x200 "${vae[@]}"
head -c 4000 clip.mp4 >cut.mp4
refused 4 "cut.mp4' is truncated" run "$trip" --video cut.mp4 "${vae[@]}"
finish
