"""Trains the demo model's AutoencoderKLWan on clips drawn as they are needed.

    python3 train_vae.py --out DIR --end 540

Two phases, both over whole clips with the class's weights (vae.py): 9 frames of 64x64 with smaller
objects, then 17 frames of 128x128. Each phase is compiled once and runs as one CUDA graph. The rate
falls with the clock, and everything ends `--end` seconds after the start. Writes
DIR/vae-*.safetensors (bf16, diffusers' names) and prints the PSNR of 64 fresh clips through the
class itself in f32. One H100: about 9 minutes. `--tiny` is a dry run of every line on a CPU.
`--only-compile b` fills the compiler's cache for phase b, to be run beside phase a.
"""
import argparse
import os

import torch

import captions
import clips
import common
import vae as wan_vae
from common import Clock, log


def phases(tiny):
    if tiny:
        return {"a": (2, 5, 32), "b": (1, 5, 64)}
    return {"a": (32, 9, 64), "b": (8, 17, 128)}


def make_step(net, trainer, shape, device, compiled=True):
    batch, frames, size = shape
    table = clips.id_table(torch, captions.parts()[0], device)
    mean, std = wan_vae.constants(device)

    def loss_of(clip, cover, noise):
        z = wan_vae.encode(net, clip, mean, std)
        out = wan_vae.decode(net, z + 0.02 * noise, mean, std)
        weight = 1 + 4 * (cover > 0.02).float()
        pixel = (weight * (out - clip).abs()).mean()
        axes = (0, 2, 3, 4)
        shape_loss = z.mean(axes).square().mean() + (z.std(axes) - 1).square().mean()
        return pixel + 1e-3 * z.square().mean() + 1e-2 * shape_loss

    fast = torch.compile(loss_of, dynamic=False) if compiled else loss_of
    z_shape = (batch, 16, (frames - 1) // 4 + 1, size // 8, size // 8)

    def step():
        ids = torch.randint(len(table), (batch,), device=device)
        scene = clips.random_scene(torch, ids, table, size, device)
        clip, cover = clips.draw(torch, scene, frames, size)
        noise = torch.randn(z_shape, device=device)
        with torch.autocast(device, torch.bfloat16, cache_enabled=False):
            loss = fast(clip, cover, noise)
        trainer.update(loss)
        return loss.detach()

    return step


@torch.no_grad()
def evaluate(weights, device, count=64, size=clips.SIZE, frames=clips.FRAMES, batch=8):
    """PSNR through the class, f32, weights rounded to bf16; returns (sorted list, a pair)."""
    tf32 = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cudnn.benchmark = False
    net = wan_vae.build().to(device).eval()
    net.load_state_dict({k: v.bfloat16().float() for k, v in weights.items()})
    torch.manual_seed(12345)
    table = clips.id_table(torch, captions.parts()[1], device)
    found, stats, pair = [], [], None
    mean, std = wan_vae.constants(device)
    for _ in range(0, count, batch):
        ids = torch.randint(len(table), (batch,), device=device)
        clip = clips.draw(torch, clips.random_scene(torch, ids, table, size, device),
                          frames, size)[0]
        z = (net.encode(clip).latent_dist.mode() - mean) / std
        out = wan_vae.decode_class(net, z).clamp(-1, 1)
        mse = (out - clip).square().mean((1, 2, 3, 4))
        found += (10 * torch.log10(4 / mse)).tolist()
        stats.append((float(z.mean()), float(z.std())))
        pair = (clip, out)
    log("latents: mean %.3f, deviation %.3f" % stats[0])
    torch.backends.cudnn.allow_tf32 = tf32
    return sorted(found), pair


def sheet(pair, path):
    from PIL import Image
    rows = [((v[:8, :, ::8] + 1) * 127.5).round().clamp(0, 255).byte().cpu() for v in pair]
    rows = [r.permute(2, 3, 0, 4, 1).reshape(-1, r.shape[0] * r.shape[4], 3) for r in rows]
    Image.fromarray(torch.cat(rows).numpy()).save(path)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--out", required=True)
    p.add_argument("--end", type=float, default=540)
    p.add_argument("--share-a", type=float, default=0.55)
    p.add_argument("--rate", type=float, default=3e-3)
    p.add_argument("--only-compile")
    p.add_argument("--tiny", action="store_true")
    a = p.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.backends.cudnn.benchmark = device == "cuda"
    torch.manual_seed(0)
    os.makedirs(a.out, exist_ok=True)
    net = wan_vae.build().to(device)
    with torch.no_grad():                      # start at Wan's own means
        net.quant_conv.bias[:16] = wan_vae.constants(device)[0].flatten()
    trainer = common.Trainer({"vae": net}, a.rate, device)
    wan_vae.constants(device)
    reserve = 1 if a.tiny else 25
    done = 0
    with wan_vae.whole_clip():
        for name, shape in phases(a.tiny).items():
            if a.only_compile and name not in a.only_compile:
                continue
            step = make_step(net, trainer, shape, device, compiled=not a.tiny)
            if a.only_compile:
                step()
                common.sync(device)
                log("compiled phase", name)
                continue
            trainer.set_rate(0.0, done)
            step = common.GraphedStep(step, device)
            log("phase", name, "ready, graph:", step.graph is not None)
            left = a.end - reserve - Clock.now()
            until = Clock.now() + (left * a.share_a if name == "a" else left)
            span = (0.0, 0.45) if name == "a" else (0.45, 1.0)
            done = common.run_until(step, trainer, until, device, span, "vae " + name,
                                    2 if a.tiny else 20, done)
    if a.only_compile:
        return
    weights = {k[4:]: v for k, v in trainer.averages().items()}
    common.save_pieces(weights, os.path.join(a.out, "vae"))
    size = 64 if a.tiny else clips.SIZE
    psnr, pair = evaluate(weights, device, 8 if a.tiny else 64, size,
                          5 if a.tiny else clips.FRAMES)
    log("PSNR: worst %.1f, median %.1f, best %.1f dB"
        % (psnr[0], psnr[len(psnr) // 2], psnr[-1]))
    sheet(pair, os.path.join(a.out, "vae.png"))


if __name__ == "__main__":
    main()
