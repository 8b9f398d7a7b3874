"""What every golden shares: weights made from a recipe, references in float64, files that say how they were made.

A golden is a safetensors file with inputs that have no recipe (ids, pixels) and expected outputs. Its weights are not stored: they
would be many times the size of the rest. The file's metadata holds a recipe (names, shapes, types, centre, spread, seed) from which
this module and tests/golden.h make the same bits: element i of tensor NAME is

    u = splitmix64(fnv1a64(NAME) + seed * 0x9e3779b97f4a7c15, i)     as a signed 24-bit fraction in [-1, 1)
    value = f32(centre + spread * u), rounded to the tensor's type

so both sides use only integer arithmetic, one double product and one double sum. References run in float64 on one thread; results
are stored in f32.
"""
import hashlib
import json
import pathlib
import platform

import numpy as np

DATA = pathlib.Path(__file__).resolve().parents[2] / "tests" / "golden" / "data"
GOLDEN_RATIO = 0x9E3779B97F4A7C15
MASK = (1 << 64) - 1


def fnv1a64(name):
    h = 0xCBF29CE484222325
    for byte in name.encode():
        h = ((h ^ byte) * 0x100000001B3) & MASK
    return h


def uniform(name, seed, count, first=0):
    """count values in [-1, 1), multiples of 2^-23, as float64."""
    base = (fnv1a64(name) + seed * GOLDEN_RATIO + first * GOLDEN_RATIO) & MASK
    with np.errstate(over="ignore"):
        z = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(GOLDEN_RATIO) + np.uint64(base)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    return (z.view(np.int64) >> np.int64(40)).astype(np.float64) * 2.0**-23


def bf16_bits(x):
    """f32 to bf16, to nearest even; finite values only."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def stored(x, dtype):
    """f32 values as a file holds them."""
    return {"bf16": bf16_bits, "f16": np.float16, "f32": np.float32}[dtype](x)


def rounded(x, dtype):
    """What is left of f32 values when they are stored as dtype."""
    if dtype == "bf16":
        return (bf16_bits(x).astype(np.uint32) << 16).view(np.float32)
    return stored(x, dtype).astype(np.float32)


class Tensor:
    """A row of a recipe. live: only the first `live` rows are filled, the others are zero (padded text)."""

    def __init__(self, name, shape, centre, spread, dtype="f32", live=None):
        self.name, self.shape, self.dtype, self.live = name, [int(n) for n in shape], dtype, live
        self.centre, self.spread = float(np.float32(centre)), float(np.float32(spread))

    def row(self):
        return [self.name, self.shape, self.dtype, self.centre, self.spread, self.shape[0] if self.live is None else self.live]

    def values(self, seed):
        count = int(np.prod(self.shape))
        x = (self.centre + self.spread * uniform(self.name, seed, count)).astype(np.float32).reshape(self.shape)
        if self.live is not None:
            x[self.live:] = 0
        return rounded(x, self.dtype)


class Recipe:
    """Files of tensors: {"model.safetensors": [Tensor, ...], ...}.

    index: name of a shard index to write beside them. copies: {file: [tensor]}, tensors of the golden itself that the file holds
    too. raw: {file: tensor}, files that are such a tensor's bytes. seeds: {file: seed} where it is not `seed`.
    """

    def __init__(self, seed, files, index=None, copies=None, raw=None, seeds=None):
        self.seed, self.files, self.index = seed, files, index
        self.copies, self.raw, self.seeds = copies or {}, raw or {}, seeds or {}

    def seed_of(self, file):
        return self.seeds.get(file, self.seed)

    def json(self):
        files = [{"file": f, "seed": self.seed_of(f), "copies": self.copies.get(f, []), "blake2b": self.hash(f),
                  "tensors": [t.row() for t in tensors]} for f, tensors in self.files.items()]
        return json.dumps({"files": files, "index": self.index, "raw": self.raw}, separators=(",", ":"))

    def hash(self, file):
        """Of the bytes of the file's own tensors, in order: whoever follows the recipe can check the result."""
        h = hashlib.blake2b(digest_size=16)
        for t in self.files[file]:
            h.update(stored(t.values(self.seed_of(file)), t.dtype).tobytes())
        return h.hexdigest()

    def values(self, *names):
        """name -> f32 array, of the files named (default: all)."""
        return {t.name: t.values(self.seed_of(f)) for f in names or self.files for t in self.files[f]}


def versions(*modules):
    found = {"python": platform.python_version(), "numpy": np.__version__}
    for m in modules:
        found[m.__name__] = m.__version__
    return found


def store(name, generator, reference, seed, modules, tensors, recipe=None, **more):
    """Writes tests/golden/data/NAME.safetensors."""
    from safetensors.numpy import save_file

    meta = {"generator": f"tools/golden/{generator}", "reference": reference, "seed": str(seed), **versions(*modules)}
    if recipe is not None:
        meta["recipe"] = recipe.json()
    for key, value in more.items():
        meta[key] = value if isinstance(value, str) else json.dumps(value)
    DATA.mkdir(parents=True, exist_ok=True)
    path = DATA / f"{name}.safetensors"
    save_file({k: np.ascontiguousarray(v) for k, v in tensors.items()}, path, metadata=meta)
    path.chmod(0o644)
    print(f"{path.name:28s} {path.stat().st_size:9d} bytes", flush=True)


def f32(t):
    return t.detach().to("cpu").numpy().astype(np.float32)


def float64():
    """A context in which torch code that asks for float32 computes in float64, on one thread."""
    import torch
    from torch.overrides import TorchFunctionMode

    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)

    def widened(a):
        return torch.float64 if a is torch.float32 else a

    class Float64(TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            kwargs = {k: widened(v) for k, v in (kwargs or {}).items()}
            if func is torch.Tensor.float:
                return args[0].double()
            return func(*[widened(a) for a in args], **kwargs)

    return Float64()


def f64(arrays):
    """name -> float64 torch tensors."""
    import torch

    return {k: torch.from_numpy(v.astype(np.float64)) for k, v in arrays.items()}
