"""Goldens of the Wan 2.1 VAE: diffusers' AutoencoderKLWan in float64, encoding and decoding 1, 5 and 13 frames.

    vae16      official names, f32, base width 16; 24x40 pixels
    vae20      diffusers names, bf16, base width 20; 16x24 pixels, 5 frames
    vae_eps    small activations, so that an epsilon in a norm's root shows

Pixels are stored as the u8 frames they come from ([T, H, W, 3]); expected latents are normalised ([16, T', h, w]); expected frames
are not clamped ([T, H, W, 3]).
"""
import diffusers
import numpy as np
import torch
from diffusers import AutoencoderKLWan
from diffusers.loaders.single_file_utils import convert_wan_vae_to_diffusers

import shapes
from common import Recipe, Tensor, f32, f64, float64, store, uniform

MODULES = (torch, diffusers)
CASES = {  # name: seed, base, (height, width), frames, options
    "vae16": (31, 16, (24, 40), (1, 5, 13), {}),
    "vae20": (32, 20, (16, 24), (5,), {"dtype": "bf16"}),
    "vae_eps": (33, 12, (16, 16), (5,), {"size": 1e-3}),
}


def reference(base, weights):
    model = AutoencoderKLWan(base_dim=base).double().eval().requires_grad_(False)
    model.load_state_dict(f64(weights), strict=True)
    return model


def statistics(model):
    shape = (1, 16, 1, 1, 1)
    return (torch.tensor(v, dtype=torch.float64).reshape(shape) for v in (model.config.latents_mean, model.config.latents_std))


def encode(model, frames):
    """u8 [T,H,W,3] to normalised latents [16,T',h,w]."""
    mean, std = statistics(model)
    x = torch.from_numpy(frames.astype(np.float64)).permute(3, 0, 1, 2)[None] / 255 * 2 - 1
    with torch.no_grad():
        return ((model.encode(x).latent_dist.mode() - mean) / std)[0]


def decode(model, latent):
    """Normalised latents to frames [T,H,W,3] before the clamp."""
    mean, std = statistics(model)
    clamp, torch.clamp = torch.clamp, lambda x, min, max: x
    try:
        with torch.no_grad():
            return model.decode(latent[None] * std + mean).sample[0].permute(1, 2, 3, 0)
    finally:
        torch.clamp = clamp


def pixels(seed, frames, height, width):
    """Frames that are smooth in part and noisy in part, like pictures."""
    t, y, x = np.meshgrid(np.arange(frames), np.arange(height), np.arange(width), indexing="ij")
    smooth = np.stack([np.sin(0.21 * x + 0.3 * t), np.cos(0.17 * y - 0.2 * t), np.sin(0.1 * (x + y) + t)], -1)
    noise = uniform("pixels", seed, smooth.size).reshape(smooth.shape)
    return np.clip(127.5 + 90 * smooth + 37 * noise, 0, 255).astype(np.uint8)


def case(name):
    seed, base, (height, width), counts, options = CASES[name]
    official = shapes.vae(base, **options)
    tensors = diffusers_names(official) if name == "vae20" else official
    latents = [Tensor(f"latent.{n}", (16, (n - 1) // 4 + 1, height // 8, width // 8), 0, 1.7) for n in counts]
    recipe = Recipe(seed, {"model.safetensors": tensors, "inputs.safetensors": latents})
    weights = recipe.values("model.safetensors")
    model = reference(base, weights if name == "vae20" else convert_wan_vae_to_diffusers(dict(weights)))
    given = f64(recipe.values("inputs.safetensors"))
    out = {}
    for n in counts:
        out[f"pixels.{n}"] = pixels(seed, n, height, width)
        out[f"encoded.{n}"] = f32(encode(model, out[f"pixels.{n}"]))
        out[f"decoded.{n}"] = f32(decode(model, given[f"latent.{n}"]))
        print(f"  {name} {n}: latents {out[f'encoded.{n}'].std():.3f}, frames {out[f'decoded.{n}'].std():.3f} "
              f"outside {np.mean(np.abs(out[f'decoded.{n}']) > 1):.4f}")
    store(name, "vae.py", "diffusers.AutoencoderKLWan, float64", seed, MODULES, out, recipe)


def diffusers_names(tensors):
    """By diffusers' own converter: names in, names out."""
    found = convert_wan_vae_to_diffusers({t.name: t for t in tensors})
    for name, t in found.items():
        t.name = name
    return list(found.values())


def make():
    with float64():
        for name in CASES:
            case(name)


if __name__ == "__main__":
    make()
