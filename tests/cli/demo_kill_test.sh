#!/usr/bin/env bash
# Whole runs of the demo, killed (kill -9) at random instants and run again: the latent, the decoded frames and the files are those of
# a run that was left alone, and the cache is whole after each kill. KINO_KILLS says how many runs are killed, KINO_KILL_SIZE how
# large they are.
source "$(dirname "$0")/help.sh"
kills=${KINO_KILLS:-50}
read -ra size <<<"${KINO_KILL_SIZE:---size 64x64 --frames 5 --steps 12}"
RANDOM=7

# The sampler of graphs/demo/t2v.lua again: its latent is in the cache and is written to a file.
cat >latent.lua <<'END'
return kino.template{
  params = { size = kino.size{ "128x128" }, frames = kino.int{ 17 }, steps = kino.int{ 20 }, out = kino.out{ "x.safetensors" },
             folder = kino.string{} },
  graph = function(p)
    local text = kino.text.umt5{ model = kino.text.load{ path = p.folder .. "/umt5_demo.safetensors" },
                                 prompt = "a red circle moves left over a blue background", negative = "" }
    local latent = kino.wan.sample{ model = kino.wan.model{ path = p.folder .. "/wan_demo.safetensors.index.json" }, text = text.text,
      negative = text.negative, width = p.size.w, height = p.size.h, frames = p.frames, steps = p.steps, guidance = 4, shift = 3 }
    return kino.latent.save{ latent = latent, path = p.out }
  end,
}
END
latent() { kino_is 0 run latent.lua "${size[@]}" --folder "$demo" --allow "$demo" --json --out latent.safetensors "$@"; }
go=(run "$demo/t2v.lua" --any_size yes "${size[@]}" --out clip.mp4)
seconds() { echo "${EPOCHREALTIME/./}"; }

# What a run gives that is left alone, and about how many microseconds it takes.
latent --cache none
mv latent.safetensors want.safetensors
kino_is 0 "${go[@]}" --cache none
start=$(seconds)
kino_is 0 "${go[@]}" --cache none --force
whole=$(($(seconds) - start))
mkdir want
mv clip.mp4 clip.png want

# Starts a run and kills it at a random instant; 1 when it had ended before.
kill_one() {
    local pid status=0
    "$kino" "${go[@]}" --quiet 2>/dev/null &
    pid=$!
    sleep "$(printf '0.%06d' $((RANDOM * 32768 % (whole > 999999 ? 999999 : whole))))"
    kill -9 $pid 2>/dev/null
    wait $pid 2>/dev/null || status=$?
    for file in clip.mp4 clip.png; do
        [[ ! -e $file ]] || check "$file is the whole file" same $file want/$file
    done
    if [[ -e $XDG_CACHE_HOME/kinograph/cache.sqlite ]]; then
        kino_is 0 cache verify
    else
        kino_is 4 cache verify             # it was killed before there was one
    fi
    [[ $status -eq 137 ]]
}

killed=0 resumed=0 cached=0
for ((round = 0; killed < kills && round < 3 * kills; ++round)); do
    rm -rf "$XDG_CACHE_HOME" clip.mp4 clip.png latent.safetensors .kino-*
    kill_one || continue
    killed=$((killed + 1))
    ((round % 3)) || kill_one              # some are killed again on their way
    kino_is 0 "${go[@]}" --json
    mv out events
    first=$(grep '"event":"step","node":"wan.sample"' events | head -n 1 | sed 's/.*"i":\([0-9]*\),.*/\1/')
    [[ -z $first ]] && cached=$((cached + 1))
    [[ ${first:-0} -gt 1 ]] && resumed=$((resumed + 1))
    check "the video after kill $killed" same clip.mp4 want/clip.mp4
    check "the frames after kill $killed" same clip.png want/clip.png
    latent
    check "the latent after kill $killed is the cache's" grep -q '"node":"wan.sample".*"state":"cached"' out
    check "the latent after kill $killed" cmp -s latent.safetensors want.safetensors
    kino_is 0 cache verify
done
echo "$killed killed: $resumed went on from a checkpoint, $cached had their latent, $((killed - resumed - cached)) began anew"
check "$kills runs were killed" [ $killed -eq "$kills" ]
check "some went on from a checkpoint" [ $resumed -gt 0 ]
finish
