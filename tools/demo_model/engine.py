"""Clips of the demo model made by the engine: one run for many prompts (prompts.lua), frames read off
PNGs, so neither FFmpeg nor a start of the program for each prompt comes in between.
"""
import pathlib
import subprocess
import tempfile

import numpy as np

import captions

GRAPH = pathlib.Path(__file__).resolve().parent / "prompts.lua"
FRAMES = 17


def arguments(folder, texts, seeds):
    """Writes the prompts' list into an empty folder; the words after `kino`, to be run in there."""
    path = pathlib.Path(folder) / "prompts.txt"
    path.write_text("".join(f"{seed} {text}\n" for text, seed in zip(texts, seeds)))
    return ["run", str(GRAPH), "--models", str(captions.DEMO), "--cache", "none",
            "--prompts", f"@{path}", "--frames", str(FRAMES)]


def frames(folder, count):
    """uint8 [17,h,w,3] of each prompt, once the run is done."""
    from PIL import Image
    out = []
    for i in range(count):
        sheet = np.asarray(Image.open(pathlib.Path(folder) / f"{i + 1}.png").convert("RGB"))
        h, w = sheet.shape[0], sheet.shape[1] // FRAMES
        out.append(sheet.reshape(h, FRAMES, w, 3).transpose(1, 0, 2, 3))
    return out


def clips(kino, texts, seeds, *more):
    """`kino`: the program and options of its own; `more`: values of the graph's params."""
    with tempfile.TemporaryDirectory() as folder:
        program = str(pathlib.Path(kino[0]).resolve())
        done = subprocess.run([program, *arguments(folder, texts, seeds), *kino[1:], *map(str, more),
                               "--quiet"], cwd=folder, stderr=subprocess.PIPE, text=True)
        if done.returncode:
            raise SystemExit(done.stderr)
        return frames(folder, len(texts))


class Engine:
    """What evaluate.Diffusers is for diffusers' parts."""

    def __init__(self, kino):
        self.kino = kino

    def clips(self, texts, seeds, a, guidance, shift):
        return clips(self.kino, texts, seeds, "--guidance", guidance, "--shift", shift,
                     "--steps", a.steps, "--solver", a.solver)
