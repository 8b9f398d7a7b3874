"""Finishes the exported text encoder on a CPU: which colour is whose?

    python3 train_text.py --minutes 6          # reads and rewrites graphs/demo/umt5_demo.safetensors
    python3 train_text.py --minutes 0          # only measures

train_dit.py makes every text row tell the four attributes along fixed directions (Told), and the
transformer learns to read them there. Its 5 seconds of that left the colours of object and background
mixed up in one sentence of six. This goes on with the same loss on the encoder alone, over captions
of the seen tuples and templates; all of a row that lies outside those directions is held where it
was, so that the transformer, which stays as it is, reads the rows as before.
"""
import argparse
import random

import torch
from safetensors.torch import load_file, save_file

import captions
import clips
import common
import export
import models
from common import Clock, log
from train_dit import Told

KINDS = ("shape", "colour", "background", "direction")


def batch_of(rng, sp, rows, templates, count, focus=0.0):
    """(ids cut to the longest, index of each tuple in rows, is its background named?)

    `focus` is the share of tuples whose two colours could be either's: black on white."""
    swaps = [i for i, r in enumerate(rows) if r[2] in clips.COLOURS and r[1] in clips.BACKGROUNDS]
    picks = [rng.choice(swaps) if rng.random() < focus else rng.randrange(len(rows))
             for _ in range(count)]
    texts = [captions.caption(rng, rows[i], templates) for i in picks]
    ids = torch.tensor(captions.encode(sp, texts))
    ids = ids[:, :int((ids != 0).sum(1).max())]
    named = torch.tensor([captions.names_background(t) for t in texts]).float()
    return ids, torch.tensor(picks), named


@torch.no_grad()
def measure(text, told, sp, rows, templates, name, count=512):
    """How often the mean of a caption's rows tells each attribute."""
    templates = [t for t in templates if "{b}" in t]
    ids, picks, _ = batch_of(random.Random(1), sp, rows, templates, count)
    mean = models.text_rows(text, ids).sum(1)
    table = clips.id_table(torch, rows)
    right = [float(((mean @ h).argmax(1) == table[picks, i]).float().mean())
             for i, h in enumerate(told.heads)]
    log(f"{name:8s}", *(f"{k} {100 * r:.1f}" for k, r in zip(KINDS, right)))


@torch.no_grad()
def look_around(text):
    """First layer: each head starts by looking at one neighbour (+1, +2, -1, -2).

    Whose colour it is stands next to it in the sentence; from a bag of words the encoder did not
    find that by itself in 1,200 steps.
    """
    table = text.encoder.block[0].layer[0].SelfAttention.relative_attention_bias.weight
    for head, bucket in enumerate((17, 18, 1, 2)):
        table[bucket, head] += 10.0


def train(text, told, sp, rows, templates, minutes, rate, size):
    old = models.build_text(sp.get_piece_size()).eval()
    old.load_state_dict(text.state_dict())
    look_around(text)
    basis = torch.cat(list(told.heads), 1)
    trainer = common.Trainer({"text": text}, rate, "cpu", decay=0.99, clip=1.0)
    rng, begin, step = random.Random(8), Clock.now(), 0
    while Clock.now() < begin + 60 * minutes:
        trainer.set_rate((Clock.now() - begin) / (60 * minutes), step, 30)
        ids, picks, named = batch_of(rng, sp, rows, templates, size, 0.75)
        real = (ids != 0).float()
        new = models.text_rows(text, ids)
        with torch.no_grad():
            kept = models.text_rows(old, ids)
        gap = new - kept
        gap = gap - (gap @ basis) @ basis.T
        anchor = (gap.square().sum(-1) * real).sum() / real.sum()
        says = told.loss(new, real, picks, named)
        trainer.update(says + 0.01 * anchor)
        if step % 50 == 0:
            log("step", step, "says %.4f anchor %.3f" % (float(says), float(anchor)))
        step += 1
    trainer.load({k: v for k, v in trainer.averages().items()})
    log("steps", step)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--minutes", type=float, default=6)
    p.add_argument("--rate", type=float, default=1e-3)
    p.add_argument("--batch", type=int, default=64)
    p.add_argument("--threads", type=int, default=2)
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    text, sp, told = export.load()[1], captions.tokenizer(), Told("cpu")
    seen, unseen, kept, hidden = captions.parts()

    def show():
        measure(text, told, sp, unseen, kept, "unseen")
        measure(text, told, sp, seen, kept, "seen")
        measure(text, told, sp, seen, hidden, "wording")

    show()
    if not a.minutes:
        return
    train(text, told, sp, seen, kept, a.minutes, a.rate, a.batch)
    path = captions.DEMO / "umt5_demo.safetensors"
    tensors = load_file(path)
    for name, value in export.renamed(dict(text.named_parameters()), export.TEXT).items():
        tensors[name] = value.detach()
    save_file(tensors, path, metadata={"format": "pt"})
    path.chmod(0o644)
    show()


if __name__ == "__main__":
    main()
