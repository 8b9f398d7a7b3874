"""Trains the demo model's transformer from VAE latents and from rows of the finished text encoder.

    python3 train_dit.py --weights DIR --out DIR --end 480 [--fresh]

DIR holds vae-*.safetensors (train_vae.py), text-*.safetensors (train_text.py) and, unless --fresh,
dit-*.safetensors to go on from (`export.py --unpack DIR` makes all three from graphs/demo/). Clips are
drawn and encoded for `--encode` seconds (60,000 at most), captions are encoded once: the text encoder
stays as it is. Flow matching: x = (1-s) x0 + s noise, target noise - x0, t = 1000 s; s is half uniform
and half logit-normal, both shifted by 3; one caption in ten is empty. bf16 autocast, one CUDA graph a
step, batches of 256; everything ends `--end` seconds after the start. `--tiny` is a dry run on a CPU.
"""
import argparse
import os
import random

import torch

import captions
import clips
import common
import models
import vae as wan_vae
from common import Clock, log

EMPTY = 0.1
OBJECT_WEIGHT = 4.0                    # extra loss on the object's cells, once its place shows


def encode_clips(vae_dir, device, seconds, most, tiny):
    """(latents bf16 [n,16,5,16,16], the object's cells, index of each clip's tuple)"""
    net = wan_vae.build().to(device).eval()
    net.load_state_dict(common.load_pieces(os.path.join(vae_dir, "vae")))
    table = clips.id_table(torch, captions.parts()[0], device)
    mean, std = wan_vae.constants(device)
    frames, size, batch = (5, 64, 2) if tiny else (clips.FRAMES, clips.SIZE, 48)

    def work(clip):
        with torch.autocast(device, torch.bfloat16, cache_enabled=False):
            return wan_vae.encode(net, clip, mean, std).bfloat16()

    fast = work if tiny else torch.compile(work, dynamic=False)
    latents, cells, index, end = [], [], [], None
    with torch.no_grad(), wan_vae.whole_clip():
        while batch * len(latents) < most and (end is None or Clock.now() < end):
            ids = torch.randint(len(table), (batch,), device=device)
            scene = clips.random_scene(torch, ids, table, size, device)
            clip, cover = clips.draw(torch, scene, frames, size)
            latents.append(fast(clip))
            cells.append(object_cells(cover))
            index.append(ids)
            if len(latents) % 20 == 1:
                common.sync(device)
                end = end or Clock.now() + seconds
    latents, cells, index = torch.cat(latents), torch.cat(cells), torch.cat(index)
    log(len(latents), "latents, mean %.3f, deviation %.3f"
        % (float(latents[:512].float().mean()), float(latents[:512].float().std())))
    return latents, cells, index


@torch.no_grad()
def text_pool(weights, device, each):
    """Rows bf16 of `each` captions for every seen tuple [tuples, each, t, width], and of no caption
    [t, width]; t is one more than the longest caption has, so the last row is always zero."""
    rng, sp = random.Random(7), captions.tokenizer()
    seen, _, kept, _ = captions.parts()
    texts = [captions.caption(rng, row, kept) for row in seen for _ in range(each)] + [""]
    ids = torch.tensor(captions.encode(sp, texts), device=device)
    ids = ids[:, :int((ids != 0).sum(1).max()) + 1]
    text = models.build_text(sp.get_piece_size()).to(device).eval()
    saved = common.load_pieces(os.path.join(weights, "text"))
    for name, p in text.named_parameters():
        p.copy_(saved["text." + name])
    rows = torch.cat([models.text_rows(text, part).bfloat16() for part in ids.split(1024)])
    log(len(texts), "captions of at most", ids.shape[1] - 1, "tokens")
    return rows[:-1].view(len(seen), each, *rows.shape[1:]), rows[-1]


def sigmas(n, device):
    u = torch.where(torch.arange(n, device=device) % 2 == 0, torch.rand(n, device=device),
                    torch.sigmoid(torch.randn(n, device=device)))
    return 3 * u / (1 + 2 * u)


def object_cells(cover):
    """Latent cells that the object touches, from its coverage: bool [n,1,t,h,w]."""
    touched = torch.nn.functional.max_pool3d(cover, (1, 8, 8)) > 0.02
    n, _, t, h, w = touched.shape
    later = touched[:, :, 1:].view(n, 1, (t - 1) // 4, 4, h, w).any(3)
    return torch.cat([touched[:, :, :1], later], 2)


def make_step(dit, trainer, data, batch, device, compiled):
    latents, cells, index, pool, nothing = data

    def loss_of(x0, touched, noise, sigma, rows):
        s = sigma[:, None, None, None, None]
        out = dit((1 - s) * x0 + s * noise, 1000 * sigma, rows, return_dict=False)[0]
        miss = (out.float() - (noise - x0)).square()
        weight = 1 + OBJECT_WEIGHT * touched * (s < 0.75)
        return (miss * weight).mean(), miss.mean()

    if compiled:                       # one compilation serves all the blocks
        dit.compile_repeated_blocks(dynamic=False)

    def step():
        pick = torch.randint(len(latents), (batch,), device=device)
        word = torch.randint(pool.shape[1], (batch,), device=device)
        drop = torch.rand(batch, device=device) < EMPTY
        rows = torch.where(drop[:, None, None], nothing, pool[index[pick], word])
        x0 = latents[pick].float()
        with torch.autocast(device, torch.bfloat16, cache_enabled=False):
            loss, plain = loss_of(x0, cells[pick], torch.randn_like(x0),
                                  sigmas(batch, device), rows)
        trainer.update(loss)
        return plain.detach()

    return step


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--weights", required=True)
    p.add_argument("--out", required=True)
    p.add_argument("--fresh", action="store_true")
    p.add_argument("--end", type=float, default=480)
    p.add_argument("--encode", type=float, default=60)
    p.add_argument("--clips", type=int, default=60000)
    p.add_argument("--captions", type=int, default=64)
    p.add_argument("--rate", type=float, default=1e-3)
    p.add_argument("--batch", type=int, default=256)
    p.add_argument("--tiny", action="store_true")
    a = p.parse_args()
    if a.tiny:
        a.clips, a.captions, a.batch = 4, 2, 2
    device = "cuda" if torch.cuda.is_available() else "cpu"
    os.makedirs(a.out, exist_ok=True)
    torch.manual_seed(4)
    data = (*encode_clips(a.weights, device, a.encode, a.clips, a.tiny),
            *text_pool(a.weights, device, a.captions))
    dit = models.build_dit().to(device)
    models.use_few_rows(dit)
    models.use_linear_patches(dit)
    torch.nn.init.zeros_(dit.proj_out.weight)
    torch.nn.init.zeros_(dit.proj_out.bias)
    trainer = common.Trainer({"dit": dit}, a.rate, device, clip=1.0)
    if not a.fresh:
        trainer.load(common.load_pieces(os.path.join(a.weights, "dit")))
    trainer.set_rate(0.0, 0)
    step = common.GraphedStep(make_step(dit, trainer, data, a.batch, device, not a.tiny), device)
    log("ready, graph:", step.graph is not None)
    ready, saved = Clock.now(), []

    def save():
        common.save_pieces(trainer.averages(), os.path.join(a.out, "dit"))

    def halfway():                              # in case the machine goes away
        if not saved and Clock.now() > ready + 0.65 * (a.end - ready):
            saved.append(save())

    common.run_until(step, trainer, a.end - 3, device, name="dit", every=2 if a.tiny else 20,
                     after=halfway)
    save()
    log("saved")


if __name__ == "__main__":
    main()
