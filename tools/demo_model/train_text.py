"""Trains the demo model's text encoder alone, on a CPU, until every row tells what the caption says.

    python3 train_text.py --out DIR --minutes 8        # writes DIR/text-1.safetensors
    python3 train_text.py --measure DIR                # how often it is right, nothing is trained
    python3 train_text.py --measure exported           # the same of graphs/demo/

The loss is told.py's: every row must tell all four attributes. From that alone the encoder learns a
bag of words and stays there: it knows the words, not whose colour is whose, nor which end of "from
left to right" comes last. So in the first part of the time the words that tell something must do so
in their own rows after the first and second layer, where their neighbours decide what they mean, and
the first layer's heads start by looking at these neighbours.

Captions are drawn as they are needed from seen tuples and templates; more than half are of tuples
whose two colours could be either's ("black on white"), and to many a word is added that means nothing
here, so that words of unseen templates do not disturb. The transformer is trained afterwards with this
encoder as it is (train_dit.py).
"""
import argparse
import os
import random
import string

import torch

import captions
import clips
import common
import export
import models
import told
from common import Clock, log

SWAPS = 0.6                    # share of captions whose two colours could be either's
NOISE = 0.3                    # share of captions with one or two words that mean nothing
EMPTY = 0.03                   # share of empty captions, whose row must tell nothing
EARLY = 0.5                    # share of the time in which rows of words are judged too


MARK = 0xE000                  # private characters: the lowest four bits say what a word tells


def mark(words, kinds):
    sign = chr(MARK + sum(1 << k for k in kinds))
    return " ".join(w + sign for w in words.split())


def spread(bits):
    """The lowest four bits as 0 or 1: float [...,4]."""
    return (bits[..., None] >> torch.arange(4) & 1).float()


class Captions:
    """Batches of captions of `rows`, and what is to be learned from them."""

    def __init__(self, rows, templates, seed, swaps=0.0, noise=0.0, empty=0.0):
        self.sp, self.rng, self.rows, self.templates = (captions.tokenizer(), random.Random(seed),
                                                        rows, templates)
        self.table = clips.id_table(torch, rows)
        self.swaps, self.noise, self.empty, self.known = swaps, noise, empty, {}
        self.either = [i for i, r in enumerate(rows)
                       if r[2] in clips.COLOURS and r[1] in clips.BACKGROUNDS]

    def stray_word(self):
        return "".join(self.rng.choices(string.ascii_lowercase, k=self.rng.randint(3, 6)))

    def one(self, row):
        """[(id, bits of what its word tells)] and the bits of all that the caption tells"""
        if self.rng.random() < self.empty:
            return [(1, 0)], 0
        words = captions.caption(self.rng, row, self.templates, mark).split()
        if self.rng.random() < self.noise:
            for _ in range(self.rng.randint(1, 2)):
                words.insert(self.rng.randint(0, len(words)), self.stray_word())
        tokens, told_of = [], 0
        for word in words:
            bits = sum(ord(c) & 15 for c in word if ord(c) >= MARK)
            word = "".join(c for c in word if ord(c) < MARK)
            if word not in self.known:
                self.known[word] = self.sp.encode(word)
            tokens += [(i, bits) for i in self.known[word]]
            told_of |= bits
        return tokens[:captions.TOKENS - 1] + [(1, 0)], told_of

    def batch(self, count):
        """ids [n,t]; attributes [n,4]; which of them are named [n,4]; words' own [n,t,4]"""
        picks = [self.rng.choice(self.either) if self.rng.random() < self.swaps
                 else self.rng.randrange(len(self.rows)) for _ in range(count)]
        rows, told_of = zip(*(self.one(self.rows[i]) for i in picks))
        width = max(len(r) for r in rows)
        ids, bits = torch.tensor([r + [(0, 0)] * (width - len(r)) for r in rows]).unbind(-1)
        return ids, self.table[picks], spread(torch.tensor(told_of)), spread(bits)


@torch.no_grad()
def measure(text, count=2048):
    """Unseen tuples, seen tuples, unseen templates, each with the background named."""
    seen, unseen, kept, hidden = captions.parts()
    for name, rows, words in (("unseen", unseen, kept), ("seen", seen, kept),
                              ("wording", seen, hidden), ("both", unseen, hidden)):
        source = Captions(rows, [t for t in words if "{b}" in t], 1)
        ids, want, _, _ = source.batch(count)
        found, four = told.shares(told.heads(), models.text_rows(text, ids), (ids != 0).float(),
                                  want)
        log(f"{name:8s} all four {100 * four:.2f}; mean of rows, each row:",
            *(f"{k} {100 * m:.2f} {100 * e:.2f}" for k, (m, e) in found.items()))


@torch.no_grad()
def look_around(text):
    """First layer: each head starts by looking at one neighbour (+1, +2, -1, -2)."""
    table = text.encoder.block[0].layer[0].SelfAttention.relative_attention_bias.weight
    for head, bucket in enumerate((17, 18, 1, 2)):
        table[bucket, head] += 5.0


def layers(text, ids):
    """Rows after the first, second and last layer, each normed as the last is."""
    mask = ids != 0
    out = text(input_ids=ids, attention_mask=mask.long(), output_hidden_states=True)
    norm = text.encoder.final_layer_norm
    return norm(out.hidden_states[1]), norm(out.hidden_states[2]), out.last_hidden_state


def train(text, minutes, rate, size):
    seen, _, kept, _ = captions.parts()
    source = Captions(seen, kept, 8, SWAPS, NOISE, EMPTY)
    trainer = common.Trainer({"text": text}, rate, "cpu", decay=0.998, clip=1.0)
    heads, begin, step, sums = told.heads(), Clock.now(), 0, torch.zeros(3)
    while Clock.now() < begin + 60 * minutes:
        done = (Clock.now() - begin) / (60 * minutes)
        trainer.set_rate(done, step, 200)
        ids, want, names, own = source.batch(size)
        first, second, last = layers(text, ids)
        parts = torch.stack([told.loss(heads, first, own, names, want),
                             told.loss(heads, second, own, names, want),
                             told.loss(heads, last, (ids != 0).float(), names, want)])
        early = max(0.0, 1 - done / EARLY)
        trainer.update(early * (parts[0] + parts[1]) + parts[2])
        sums += parts.detach()
        step += 1
        if step % 50 == 0:
            log("step", step, "own words after layer 1 %.4f, 2 %.4f; every row %.4f"
                % tuple((sums / 50).tolist()))
            sums.zero_()
    trainer.load(trainer.averages())
    log("steps", step)


def build():
    torch.manual_seed(5)
    return models.build_text(captions.tokenizer().get_piece_size())


def load(folder):
    if folder == "exported":
        return export.load()[1]
    text = build()
    text.load_state_dict({k[5:]: v for k, v in common.load_pieces(f"{folder}/text").items()},
                         strict=False)
    return text.eval()


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--out")
    p.add_argument("--measure")
    p.add_argument("--minutes", type=float, default=8)
    p.add_argument("--rate", type=float, default=1e-3)
    p.add_argument("--batch", type=int, default=32)
    p.add_argument("--threads", type=int, default=1)
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    if a.measure:
        return measure(load(a.measure))
    text = build()
    look_around(text)
    train(text, a.minutes, a.rate, a.batch)
    os.makedirs(a.out, exist_ok=True)
    common.save_pieces({"text." + k: p.detach() for k, p in text.named_parameters()},
                       os.path.join(a.out, "text"))
    measure(load(a.out))


if __name__ == "__main__":
    main()
