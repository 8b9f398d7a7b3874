#!/bin/bash
# Times Kinograph beside diffusers on this machine: a 1.3B-shaped transformer in f32 and bf16 and the VAE's decoder, 13 frames of
# 272x208, random weights (made once, 3.4 GB in DIR). Needs a Python with torch, diffusers and safetensors; PYTHON names it.
#     tools/bench/run.sh [DIR [JOB ...]]        DIR: build/bench; JOB: dit-f32 dit-bf16 vae-f32
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
dir=${1:-$root/build/bench}
shift || true
python=${PYTHON:-python3}
build=${BUILD:-$root/build}
mkdir -p "$dir"
cmake -G Ninja -S "$root" -B "$build" -DCMAKE_BUILD_TYPE=Release >/dev/null
ninja -C "$build" kg_bench
for what in dit vae inputs; do
    if [ ! -f "$dir/$what.safetensors" ]; then
        "$python" "$root/tools/random_model.py" $what "$dir/$what.part"
        mv "$dir/$what.part" "$dir/$what.safetensors"
    fi
done
exec "$python" "$root/tools/bench/cpu.py" "$build/kg_bench" "$dir" "$@"
