#!/usr/bin/env python3
"""Writes models of real size with random weights, for benchmarks and plans: no download, same bits everywhere.

    python3 tools/random_model.py dit  OUT.safetensors [--size 1.3B|14B]  [--dtype bf16|f16|f32] [--seed N]
    python3 tools/random_model.py vae  OUT.safetensors
    python3 tools/random_model.py umt5 OUT.safetensors          (UMT5-XXL: 11 GB in bf16; add --layers 2 for a short one)
    python3 tools/random_model.py inputs OUT.safetensors [--frames 13] [--width 272] [--height 208]

Official Wan 2.1 names and shapes; values as tools/golden/common.py says, so that a forward stays in range through all layers.
inputs: "latent" [16, T, h, w] and "text" [512, 4096] with 64 live rows. Needs numpy alone.
"""
import argparse
import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "golden"))
import common  # noqa: E402
import shapes  # noqa: E402

import numpy as np  # noqa: E402

CHUNK = 1 << 22  # values made at once
NAMES = {"bf16": "BF16", "f16": "F16", "f32": "F32"}
SIZES = {"1.3B": dict(dim=1536, layers=30, ffn=8960), "14B": dict(dim=5120, layers=40, ffn=13824)}


def tensors_of(a):
    if a.what == "dit":
        return shapes.dit(**{**SIZES[a.size], **({"layers": a.layers} if a.layers else {})}, text_dim=4096, dtype=a.dtype)
    if a.what == "vae":
        return shapes.vae(96, dtype=a.dtype)
    if a.what == "umt5":
        return shapes.umt5(256384, 4096, 64, 64, 10240, a.layers or 24, dtype=a.dtype)
    latent = [16, (a.frames - 1) // 4 + 1, a.height // 8, a.width // 8]
    return [common.Tensor("latent", latent, 0, 3.0**0.5), common.Tensor("text", [512, 4096], 0, 1.7, live=64)]


def header(tensors, seed):
    out, at = {"__metadata__": {"generator": "tools/random_model.py", "seed": str(seed), "format": "pt"}}, 0
    for t in tensors:
        size = int(np.prod(t.shape)) * (4 if t.dtype == "f32" else 2)
        out[t.name] = {"dtype": NAMES[t.dtype], "shape": t.shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(out, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text, at


def write(path, tensors, seed):
    head, size = header(tensors, seed)
    with open(path, "wb") as f:
        f.write(head)
        for t in tensors:
            count = int(np.prod(t.shape))
            live = count if t.live is None else count // t.shape[0] * t.live
            for first in range(0, count, CHUNK):
                n = min(CHUNK, count - first)
                x = (t.centre + t.spread * common.uniform(t.name, seed, n, first)).astype(np.float32)
                x[max(0, live - first):] = 0
                f.write(common.stored(x, t.dtype).tobytes())
    print(f"{path}: {len(tensors)} tensors, {size / 2**30:.2f} GiB")


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("what", choices=["dit", "vae", "umt5", "inputs"])
    p.add_argument("out")
    p.add_argument("--size", choices=list(SIZES), default="1.3B")
    p.add_argument("--dtype", choices=list(NAMES))
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--layers", type=int)
    p.add_argument("--frames", type=int, default=13)
    p.add_argument("--width", type=int, default=272)
    p.add_argument("--height", type=int, default=208)
    a = p.parse_args()
    a.dtype = a.dtype or ("f32" if a.what == "vae" else "bf16")
    write(a.out, tensors_of(a), a.seed)


if __name__ == "__main__":
    main()
