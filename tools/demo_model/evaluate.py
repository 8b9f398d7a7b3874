"""What the trained model shows against what the prompt said, judged by checker.py.

    python3 evaluate.py --count 256                                     # diffusers' parts
    python3 evaluate.py --count 256 --guidance 3,4,6 --shift 3,5 --sets unseen
    python3 evaluate.py --engine "../../build/kino --device cpu"        # the engine, two seconds a clip
    python3 evaluate.py --prompt "a red circle moves left over a blue background" --sheet x.png

Sets: `unseen` tuples never trained, `seen` tuples, `wording`: sentence templates never trained.
Both engines get the same prompts and seeds. diffusers' parts are the exported weights in its classes
with UniPCMultistepScheduler, batched, f32; --solver euler is plain Euler on the shifted grid.
A whole run of 3 x 256 prompts takes about a minute on one H100.
"""
import argparse
import multiprocessing
import os
import random
import shlex

import numpy as np

import captions
import checker
import engine

SETS = ("unseen", "seen", "wording")
SHOWN = ("colour", "direction", "shape", "background")


def prompts(which, count, seed=11):
    """[(prompt, tuple, seed)]; every prompt names the background."""
    rng = random.Random(f"{which}{seed}")
    seen, unseen, kept, hidden = captions.parts()
    rows = unseen if which == "unseen" else seen
    words = [t for t in (hidden if which == "wording" else kept) if "{b}" in t]
    picks = (rng.sample(rows, len(rows)) * (1 + count // len(rows)))[:count]
    return [(captions.caption(rng, row, words), row, i) for i, row in enumerate(picks)]


# ---- diffusers' parts ---------------------------------------------------------------------------

class Diffusers:
    def __init__(self, frames=17, size=128, batch=256):
        import torch
        import export
        self.torch, self.batch = torch, batch
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
        self.dit, self.text, self.vae = export.load(self.device)
        self.sp = captions.tokenizer()
        self.shape = (16, (frames - 1) // 4 + 1, size // 8, size // 8)

    def rows(self, texts):
        """Text rows padded with zeros to 512, as WanPipeline does."""
        import models
        ids = self.torch.tensor(captions.encode(self.sp, texts, 64), device=self.device)
        return models.pad_rows(models.text_rows(self.text, ids), models.ROWS)

    def velocity(self, x, t, rows, empty, guidance):
        t = self.torch.full((len(x),), float(t), device=self.device)
        v = self.dit(x, t, rows, return_dict=False)[0]
        if guidance <= 1:
            return v
        base = self.dit(x, t, empty.expand(len(x), -1, -1), return_dict=False)[0]
        return base + guidance * (v - base)

    def sample(self, texts, seeds, guidance, shift, steps, solver):
        torch = self.torch
        x = torch.stack([torch.randn(self.shape, generator=torch.Generator().manual_seed(s))
                         for s in seeds]).to(self.device)
        rows, empty = self.rows(texts), self.rows([""])
        if solver == "euler":
            u = np.linspace(1, 0, steps + 1)
            grid = shift * u / (1 + (shift - 1) * u)
            for a, b in zip(grid[:-1], grid[1:]):
                x = x + float(b - a) * self.velocity(x, 1000 * a, rows, empty, guidance)
            return x
        from diffusers import UniPCMultistepScheduler
        plan = UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True,
                                       num_train_timesteps=1000, flow_shift=shift)
        plan.set_timesteps(steps, device=self.device)
        for t in plan.timesteps:
            v = self.velocity(x, t, rows, empty, guidance)
            x = plan.step(v, t, x, return_dict=False)[0]
        return x

    def clips(self, texts, seeds, a, guidance, shift):
        import vae as wan_vae
        out = []
        with self.torch.no_grad():
            for i in range(0, len(texts), self.batch):
                part = slice(i, i + self.batch)
                z = self.sample(texts[part], seeds[part], guidance, shift, a.steps, a.solver)
                for y in z.split(32):
                    y = wan_vae.decode_class(self.vae, y).clamp(-1, 1)
                    y = ((y + 1) * 127.5).round().byte().permute(0, 2, 3, 4, 1)
                    out += list(y.cpu().numpy())
        return out


# ---- the table ----------------------------------------------------------------------------------

def judge_all(frames):
    cores = min(os.cpu_count() or 1, 16)
    if cores < 4 or len(frames) < 8:
        return [checker.judge(f) for f in frames]
    with multiprocessing.get_context("fork").Pool(cores) as pool:
        return pool.map(checker.judge, frames, chunksize=4)


def line(name, verdicts, rows):
    marks = [checker.right(v, r) for v, r in zip(verdicts, rows)]
    shares = [100 * np.mean([m[k] for m in marks]) for k in SHOWN]
    three = 100 * np.mean([m["colour"] and m["direction"] and m["shape"] for m in marks])
    overlap = np.mean([v["overlap"] for v in verdicts])
    print(f"{name:34s} {len(rows):4d} " + " ".join(f"{s:9.1f}" for s in shares)
          + f" {three:9.1f} {overlap:9.3f}", flush=True)
    return marks


def contact_sheet(frames, path, columns=4):
    """Five frames of each clip side by side."""
    from PIL import Image
    strips = [np.concatenate(list(f[::4]), 1) for f in frames]
    blank = np.zeros_like(strips[0])
    strips += [blank] * (-len(strips) % columns)
    rows = [np.concatenate(strips[i:i + columns], 1) for i in range(0, len(strips), columns)]
    Image.fromarray(np.concatenate(rows)).save(path)


def run_sets(a, source):
    print(f"{'set':34s}    n " + " ".join(f"{k:>9s}" for k in SHOWN + ("all three", "overlap")))
    for which in a.sets.split(","):
        texts, rows, seeds = zip(*prompts(which, a.count))
        for shift in (float(v) for v in a.shift.split(",")):
            for guidance in (float(v) for v in a.guidance.split(",")):
                frames = source.clips(texts, seeds, a, guidance, shift)
                verdicts = judge_all(frames)
                marks = line(f"{which} {a.solver} {a.steps} shift {shift:g} cfg {guidance:g}",
                             verdicts, rows)
        if a.sheet:
            contact_sheet(frames[:32], a.sheet.replace(".png", f"-{which}.png"))
        if a.confusion:
            names = list(checker.clips.SHAPES)
            checker.confusion("shape", [r[0] for r in rows], [v["shape"] for v in verdicts], names)
            bad = [(t, v) for t, v, m in zip(texts, verdicts, marks) if not all(m.values())]
            for text, v in bad[:12]:
                print("  wrong:", text, {k: v[k] for k in SHOWN})


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--engine", default="diffusers", help="kino and its options, instead of diffusers' parts")
    p.add_argument("--sets", default=",".join(SETS))
    p.add_argument("--count", type=int, default=256)
    p.add_argument("--steps", type=int, default=20)
    p.add_argument("--solver", default="unipc", choices=["unipc", "euler"])
    p.add_argument("--guidance", default="4")
    p.add_argument("--shift", default="3")
    p.add_argument("--prompt")
    p.add_argument("--seeds", default="0,1,2,3")
    p.add_argument("--sheet")
    p.add_argument("--confusion", action="store_true")
    a = p.parse_args()
    source = Diffusers() if a.engine == "diffusers" else engine.Engine(shlex.split(a.engine))
    if not a.prompt:
        return run_sets(a, source)
    seeds = [int(s) for s in a.seeds.split(",")]
    texts = [a.prompt] * len(seeds)
    frames = source.clips(texts, seeds, a, float(a.guidance), float(a.shift))
    for seed, f in zip(seeds, frames):
        print(seed, checker.judge(f))
    if a.sheet:
        contact_sheet(frames, a.sheet, 1)


if __name__ == "__main__":
    main()
