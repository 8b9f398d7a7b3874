"""Goldens of the noise: torch's CPU generator, torch.randn of a flat float tensor, one draw each.

Small draws are stored whole; of all the BLAKE2b-256 of their bytes, so that 27 million values cost 32 bytes. Counts below 16 take
torch's scalar path, from 16 on its vector path (AVX2), whose last 16 values are drawn anew when the count is not a multiple of 16.
"""
import hashlib

import numpy as np
import torch

from common import store

COUNTS = [1, 2, 7, 15, 16, 17, 31, 32, 33, 100, 1001, 6720, 99991, 27000000, 27000013]
SEEDS = [0, 42, 2**63 - 1, 2**32 + 5]


def make():
    torch.set_num_threads(1)
    out = {}
    for seed in SEEDS:
        for count in COUNTS if seed == 42 else COUNTS[:-2]:
            x = torch.randn(count, generator=torch.Generator().manual_seed(seed), dtype=torch.float32).numpy()
            out[f"hash.{seed}.{count}"] = np.frombuffer(hashlib.blake2b(x.tobytes(), digest_size=32).digest(), np.uint8)
            out[f"head.{seed}.{count}"], out[f"tail.{seed}.{count}"] = x[:24], x[-24:]
    store("noise", "noise.py", f"torch.randn on the CPU, {torch.backends.cpu.get_cpu_capability()}", 0, (torch,), out, seeds=[str(s) for s in SEEDS],
          counts=COUNTS)


if __name__ == "__main__":
    make()
