"""Trains the demo model's transformer and its text encoder together, from VAE latents.

    python3 train_dit.py --vae DIR --out DIR --end 480 --span 0,0.6 --keep /tmp/keep
    python3 train_dit.py --vae DIR --out DIR --end 300 --span 0.6,1 --keep /tmp/keep

The first call draws and encodes clips for `--encode` seconds (60,000 at most) and leaves latents and
optimiser in --keep; the second goes on from there, or from DIR/dit-*.safetensors if that is lost.
Flow matching: x = (1-s) x0 + s noise, target noise - x0, t = 1000 s; s is half uniform and half
logit-normal, both shifted by 3; one caption in ten is empty. bf16 autocast, one CUDA graph a step,
batches of 256. One H100: about 14 minutes in all. `--tiny` is a dry run on a CPU.
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


def caption_pool(device, each):
    """Ids of `each` captions for every seen tuple [tuples, each, TOKENS]; is a background named?"""
    rng, sp = random.Random(7), captions.tokenizer()
    seen, _, kept, _ = captions.parts()
    texts = [captions.caption(rng, row, kept) for row in seen for _ in range(each)]
    ids = torch.tensor(captions.encode(sp, texts), dtype=torch.int16)
    told = torch.tensor([captions.names_background(t) for t in texts])
    shape = (len(seen), each)
    return (ids.view(*shape, captions.TOKENS).to(device), told.view(shape).to(device),
            sp.get_piece_size())


def prepare(a, device):
    """Latents, tuples and captions, from --keep if an earlier call left them there."""
    path = os.path.join(a.keep, "latents.pt")
    if os.path.exists(path):
        latents, cells, index = torch.load(path, map_location=device)
    else:
        latents, cells, index = encode_clips(a.vae, device, a.encode, 4 if a.tiny else a.clips, a.tiny)
        torch.save((latents, cells, index), path)
    pool, told, pieces = caption_pool(device, 2 if a.tiny else 64)
    log("captions ready")
    return (latents, cells, index, pool, told), pieces


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


class Told:
    """Every text row must tell all four attributes: fixed orthonormal directions, cross-entropy.

    A row is one of 512 keys and most of them are padding, so a word that only its own row knows
    reaches the transformer very faintly: without this, shapes were not learned in 6,700 steps.
    """

    def __init__(self, device):
        sizes = [len(clips.SHAPES), len(clips.COLOURS), len(clips.BACKGROUNDS),
                 len(clips.DIRECTIONS)]
        rng = torch.Generator().manual_seed(6)
        basis = torch.linalg.qr(torch.randn(models.WIDTH, sum(sizes), generator=rng))[0]
        self.heads = basis.to(device).split(sizes, 1)
        self.table = clips.id_table(torch, captions.parts()[0], device)

    def loss(self, rows, real, tuples, named):
        want, total = self.table[tuples], 0.0
        count = real.sum().clamp(min=1)
        for i, head in enumerate(self.heads):
            keep = real * named[:, None] if i == 2 else real
            logits = (rows.float() @ head).transpose(1, 2)
            target = want[:, i, None].expand(-1, rows.shape[1])
            miss = torch.nn.functional.cross_entropy(logits, target, reduction="none")
            total = total + (miss * keep).sum() / count
        return total


def make_text_step(text, trainer, told, data, batch, device):
    """The text encoder alone, on captions."""
    _, _, _, pool, named = data

    def step():
        row = torch.randint(len(pool), (batch,), device=device)
        word = torch.randint(pool.shape[1], (batch,), device=device)
        ids = pool[row, word].long()
        with torch.autocast(device, torch.bfloat16, cache_enabled=False):
            rows = models.text_rows(text, ids)
        loss = told.loss(rows, (ids != 0).float(), row, named[row, word].float())
        trainer.update(loss)
        return loss.detach()

    return step


def train_text(text, told, data, device, steps, batch):
    trainer = common.Trainer({"text": text}, 1e-3, device, clip=1.0)
    trainer.set_rate(0, 0, 1)
    step = common.GraphedStep(make_text_step(text, trainer, told, data, batch, device), device)
    for i in range(steps):
        trainer.set_rate(i / steps, i, 100)
        loss = step()
        if i % 100 == 0 or i == steps - 1:
            log("text step", i, "loss %.4f" % float(loss))


def make_step(dit, text, trainer, told, data, batch, device, compiled):
    latents, cells, index, pool, named = data
    empty = torch.zeros(captions.TOKENS, dtype=torch.long, device=device)
    empty[0] = 1

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
        ids = pool[index[pick], word].long()
        drop = torch.rand(batch, device=device) < EMPTY
        ids = torch.where(drop[:, None], empty, ids)
        x0 = latents[pick].float()
        with torch.autocast(device, torch.bfloat16, cache_enabled=False):
            rows = models.text_rows(text, ids)
            padded = models.pad_rows(rows.float(), captions.TOKENS + 1)
            loss, plain = loss_of(x0, cells[pick], torch.randn_like(x0),
                                  sigmas(batch, device), padded)
        real = (ids != 0).float() * ~drop[:, None]
        says = told.loss(rows, real, index[pick], named[index[pick], word].float())
        trainer.update(loss + 0.1 * says)
        return plain.detach()

    return step


def resume(a, trainer, device):
    state = os.path.join(a.keep, "state.pt")
    if os.path.exists(state):
        saved = torch.load(state, map_location=device)
        trainer.load_state(saved)
        log("goes on from step", saved["steps"])
        return saved["steps"]
    try:
        trainer.load(common.load_pieces(os.path.join(a.resume or a.out, "dit")))
        log("goes on from averaged weights")
    except FileNotFoundError:
        pass
    return 0


def save(a, trainer, steps):
    common.save_pieces(trainer.averages(), os.path.join(a.out, "dit"))
    torch.save({**trainer.state(), "steps": steps}, os.path.join(a.keep, "state.pt"))


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--vae", default=".")
    p.add_argument("--out", required=True)
    p.add_argument("--keep", required=True)
    p.add_argument("--resume")
    p.add_argument("--end", type=float, default=480)
    p.add_argument("--span", default="0,1")
    p.add_argument("--encode", type=float, default=60)
    p.add_argument("--clips", type=int, default=60000)
    p.add_argument("--rate", type=float, default=1e-3)
    p.add_argument("--batch", type=int, default=256)
    p.add_argument("--text-steps", type=int, default=0)
    p.add_argument("--tiny", action="store_true")
    a = p.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    for folder in (a.out, a.keep):
        os.makedirs(folder, exist_ok=True)
    torch.manual_seed(1 if a.span.startswith("0,") else 2)
    data, pieces = prepare(a, device)
    torch.manual_seed(3)
    dit, text = models.build_dit().to(device), models.build_text(pieces).to(device)
    models.use_few_rows(dit)
    torch.nn.init.zeros_(dit.proj_out.weight)
    torch.nn.init.zeros_(dit.proj_out.bias)
    trainer = common.Trainer({"dit": dit, "text": text}, a.rate, device, clip=1.0)
    done = resume(a, trainer, device)
    begin, end = (float(v) for v in a.span.split(","))
    told = Told(device)
    if a.text_steps:
        train_text(text, told, data, device, a.text_steps, 4 if a.tiny else a.batch)
        trainer.load({k: p.detach().clone() for k, p in trainer.named.items()})
    trainer.set_rate(begin, done)
    step = make_step(dit, text, trainer, told, data, 2 if a.tiny else a.batch,
                     device, compiled=not a.tiny)
    step = common.GraphedStep(step, device)
    log("ready, graph:", step.graph is not None)
    ready, saved = Clock.now(), []

    def halfway():                              # in case the machine goes away
        if not saved and Clock.now() > ready + 0.65 * (a.end - ready):
            saved.append(common.save_pieces(trainer.averages(), os.path.join(a.out, "dit")))

    done = common.run_until(step, trainer, a.end - 5, device, (begin, end), "dit",
                            2 if a.tiny else 20, done, halfway)
    save(a, trainer, done)
    log("saved")


if __name__ == "__main__":
    main()
