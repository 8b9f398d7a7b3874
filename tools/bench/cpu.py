#!/usr/bin/env python3
"""Kinograph and diffusers on the same cores, files and inputs, one after the other, round by round: only the ratio counts.

    python3 tools/bench/cpu.py BENCH DIR [--rounds 3] [dit-f32] [dit-bf16] [vae-f32]

BENCH is the kg_bench program, DIR holds dit.safetensors, vae.safetensors and inputs.safetensors (tools/bench/run.sh makes them all).
Prints both medians, their ratio, and the relative L2 distance of the results.
"""
import argparse
import os
import pathlib
import statistics
import subprocess
import sys
import warnings

warnings.filterwarnings("ignore")
import torch  # noqa: E402

import cpu_peers  # noqa: E402

JOBS = {"dit-f32": ("dit", "f32"), "dit-bf16": ("dit", "bf16"), "vae-f32": ("vae", "f32")}


def ours(bench, folder, what, precision, out):
    """Seconds of the second run: the first reads the weights."""
    args = [bench, what, folder / f"{what}.safetensors", folder / "inputs.safetensors", "--precision", precision, "--runs", "2", "--out", out]
    done = subprocess.run(args, stdout=subprocess.PIPE, text=True, check=True)
    return [float(line.split()[4]) for line in done.stdout.splitlines() if f"{what} {precision} run" in line][-1]


def compare(bench, folder, job, rounds):
    what, precision = JOBS[job]
    files, out = (folder / f"{what}.safetensors", folder / "inputs.safetensors"), folder / "ours.f32"
    theirs = cpu_peers.vae(*files) if what == "vae" else cpu_peers.transformer(*files, torch.bfloat16 if precision == "bf16" else torch.float32)
    _, result = theirs()  # warm
    a, b = [], []
    for _ in range(rounds):
        a.append(ours(bench, folder, what, precision, out))
        b.append(theirs()[0])
    x, y = statistics.median(a), statistics.median(b)
    print(f"{job:10s} kinograph {x:7.2f} s   diffusers {y:7.2f} s   ratio {x / y:.2f}   distance {cpu_peers.distance(out, result, what == 'vae'):.1e}   "
          f"({', '.join(f'{p:.2f}/{q:.2f}' for p, q in zip(a, b))})", flush=True)
    out.unlink()


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("bench", type=pathlib.Path)
    p.add_argument("folder", type=pathlib.Path)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("jobs", nargs="*", default=list(JOBS))
    a = p.parse_intermixed_args()
    unknown = set(a.jobs) - set(JOBS)
    if unknown:
        sys.exit(f"no such job: {', '.join(sorted(unknown))}; there are {', '.join(JOBS)}")
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    print(f"torch {torch.__version__}, {len(os.sched_getaffinity(0))} cores, {a.rounds} rounds", flush=True)
    for job in a.jobs:
        compare(a.bench, a.folder, job, a.rounds)


if __name__ == "__main__":
    main()
