"""The part `rng` of tools/gpu/check: noise of the engine beside torch's of this machine, to the bit.

latent.noise with rng = "torch_cuda" is what torch.randn draws with a generator of the card, and by default what it draws with one of
the CPU. The card's draw depends on how many blocks torch starts, which latent.noise is told (rng_blocks)."""
import json

from machine import Failed, ROOT

SHAPES = [(16, 1, 8, 8), (16, 5, 16, 16), (16, 21, 60, 104), (48, 31, 44, 80), (3, 7, 13, 11), (1, 1, 3, 5)]
SEEDS = [0, 1, 42, 2**40 + 3]


def name(i, seed):
    return f"n{i}s{seed}"


def tensor(path):
    """The one tensor of a safetensors file, f32."""
    import numpy
    data = path.read_bytes()
    end = 8 + int.from_bytes(data[:8], "little")
    about = json.loads(data[8:end])["latent"]
    if about["dtype"] != "F32":
        raise Failed(f"{path.name} holds {about['dtype']}")
    return numpy.frombuffer(data, "<f4", offset=end).reshape(about["shape"])


def apart(ours, theirs):
    """How many values differ, and the largest difference in absolute terms and in steps of the last place."""
    import numpy

    def line(x):                       # the floats in order as integers, without a jump at 0
        bits = x.view(numpy.int32).astype(numpy.int64)
        return numpy.where(bits < 0, -(bits & 0x7fffffff), bits)
    other = int((ours.view(numpy.uint32) != theirs.view(numpy.uint32)).sum())
    return other, float(numpy.abs(ours.astype(numpy.float64) - theirs).max()), int(numpy.abs(line(ours) - line(theirs)).max())


def rows(c, rng, folder, draw):
    """A row a shape: our files beside draw(shape, seed)."""
    import numpy
    for i, shape in enumerate(SHAPES):
        equal, worst = 0, (0, 0.0, 0)
        for seed in SEEDS:
            ours, theirs = tensor(folder / f"{name(i, seed)}.safetensors"), numpy.ascontiguousarray(draw(shape, seed))
            if ours.shape != theirs.shape:
                raise Failed(f"{ours.shape} values instead of {theirs.shape}")
            found = apart(ours, theirs)
            equal += found[0] == 0
            worst = tuple(map(max, worst, found))
        size, words = "x".join(map(str, shape)), f"{equal} of {len(SEEDS)} seeds equal to the bit"
        if worst[0]:
            words += f"; of {ours.size} values at most {worst[0]} differ, by up to {worst[1]:.3g} or {worst[2]} units of the last place"
        c.must(f"{rng} {size}", equal == len(SEEDS), words)


def made(c, rng, *args):
    """One run for all shapes and seeds; its folder, or None."""
    folder = c.folder / rng
    folder.mkdir()
    draws = folder / "draws.txt"
    draws.write_text("".join(f"{' '.join(map(str, shape))} {seed} {name(i, seed)}\n" for i, shape in enumerate(SHAPES) for seed in SEEDS))
    done = c.kino("run", ROOT / "tools/gpu/noise.lua", "--draws", f"@{draws}", "--rng", rng, "--cache", "none", "--quiet", "--device",
                  c.device, *args, cwd=folder)
    return folder if c.must(f"{rng} drawn", done.status == 0, f"{len(SHAPES) * len(SEEDS)} latents, {done.seconds:.2f} s", done) else None


def rng(c):
    import torch
    folder = made(c, "torch_cpu")
    if folder:
        rows(c, "torch_cpu", folder, lambda shape, seed: torch.randn(shape, generator=torch.Generator().manual_seed(seed)).numpy())
    if not torch.cuda.is_available():
        raise Failed("torch has no card here to draw with")
    card = torch.cuda.get_device_properties(0)
    blocks = card.multi_processor_count * (card.max_threads_per_multi_processor // 256)
    folder = made(c, "torch_cuda", "--blocks", blocks)
    if folder:
        rows(c, "torch_cuda", folder, lambda shape, seed: torch.randn(
            shape, generator=torch.Generator("cuda").manual_seed(seed), device="cuda", dtype=torch.float32).cpu().numpy())
    print(f"    torch {torch.__version__}, {blocks} blocks", flush=True)
