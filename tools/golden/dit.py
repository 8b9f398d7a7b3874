"""Goldens of the transformer: diffusers' WanTransformer3DModel in float64, one forward for several timesteps.

    dit256     official names, f32, 2 heads, 2 layers, 3x5x7 patches
    dit384     diffusers names in bf16 shards with an index, 3 heads, 3 layers, one frame of 3x9 patches
    dit256h    ComfyUI's prefix, f16, 1 layer, 5x2x3 patches, in a checkpoint
    dit_eps    small activations, so that the epsilon of each norm shows
    dit128     written by diffusers' save_pretrained: its own names, shards and index, bf16
"""
import shutil

import diffusers
import numpy as np
import torch
from diffusers import WanTransformer3DModel
from diffusers.loaders.single_file_utils import convert_wan_transformer_to_diffusers

import shapes
from common import DATA, Recipe, Tensor, f32, f64, float64, store

MODULES = (torch, diffusers)
TIMES = [999.0, 937.5, 500.0, 13.0]
CASES = {  # name: seed, dim, layers, ffn, text_dim, live text rows, latent, options
    "dit256": (11, 256, 2, 512, 64, 9, (16, 3, 10, 14), {}),
    "dit384": (12, 384, 3, 640, 48, 23, (16, 1, 6, 18), {"dtype": "bf16"}),
    "dit256h": (13, 256, 1, 448, 32, 1, (16, 5, 4, 6), {"dtype": "f16"}),
    "dit_eps": (14, 256, 1, 320, 32, 5, (16, 2, 6, 4), {"stream": 2e-3, "qk": 2e-3}),
}


def config(dim, layers, ffn, text_dim):
    return dict(num_attention_heads=dim // 128, attention_head_dim=128, num_layers=layers, ffn_dim=ffn, text_dim=text_dim, in_channels=16,
                out_channels=16)


def reference(config, weights):
    """The model in float64 from official or diffusers names."""
    if any(k.endswith("head.head.weight") for k in weights):
        weights = convert_wan_transformer_to_diffusers(dict(weights))
    model = WanTransformer3DModel(**config).double().eval().requires_grad_(False)
    model.load_state_dict(f64({k: np.asarray(v) for k, v in weights.items()}), strict=True)
    return model


def velocity(model, x, t, text):
    """x [16,T,H,W], t a number, text [512,d]; all float64."""
    with torch.no_grad():
        return model(hidden_states=x[None], timestep=torch.tensor([t], dtype=torch.float64), encoder_hidden_states=text[None]).sample[0]


def inputs(latent, text_dim, live, negative=False):
    rows = [Tensor("latent", latent, 0, 3.0**0.5), Tensor("text", [512, text_dim], 0, 1.7, live=live)]
    return rows + ([Tensor("negative", [512, text_dim], 0, 1.7, live=live + 3)] if negative else [])


def files_of(name, tensors):
    """How the weights are laid out in files, one way a case."""
    if name == "dit384":
        tensors = shapes.wan_names_to_diffusers(tensors)
        third = len(tensors) // 3
        parts = [tensors[:third], tensors[third:2 * third], tensors[2 * third:]]
        stem = "diffusion_pytorch_model"
        return {f"{stem}-{i + 1:05d}-of-00003.safetensors": p for i, p in enumerate(parts)}, f"{stem}.safetensors.index.json"
    if name == "dit256h":
        for t in tensors:
            t.name = "model.diffusion_model." + t.name
    return {"model.safetensors": tensors}, None


def case(name):
    seed, dim, layers, ffn, text_dim, live, latent, options = CASES[name]
    files, index = files_of(name, shapes.dit(dim, layers, ffn, text_dim, **options))
    recipe = Recipe(seed, {**files, "inputs.safetensors": inputs(latent, text_dim, live)}, index)
    model = reference(config(dim, layers, ffn, text_dim), recipe.values(*files))
    given = f64(recipe.values("inputs.safetensors"))
    out = {f"v.{t:g}": f32(velocity(model, given["latent"], t, given["text"])) for t in TIMES}
    store(name, "dit.py", "diffusers.WanTransformer3DModel, float64", seed, MODULES, out, recipe, times=TIMES)


def case_saved():
    """A model as diffusers itself writes it."""
    seed, latent, text_dim = 15, (16, 2, 4, 6), 32
    cfg = config(128, 1, 192, text_dim)
    weights = Recipe(seed, {"model": shapes.dit(128, 1, 192, text_dim, dtype="bf16")})
    folder = DATA / "dit128"
    shutil.rmtree(folder, ignore_errors=True)
    reference(cfg, weights.values()).to(torch.bfloat16).save_pretrained(folder, max_shard_size="200KB")
    for file in folder.iterdir():
        file.chmod(0o644)
    recipe = Recipe(seed, {"inputs.safetensors": inputs(latent, text_dim, 7)})
    given = f64(recipe.values())
    model = reference(cfg, weights.values())  # anew: the cast rounded the RoPE table too
    out = {f"v.{t:g}": f32(velocity(model, given["latent"], t, given["text"])) for t in TIMES}
    store("dit128", "dit.py", "diffusers.WanTransformer3DModel, float64", seed, MODULES, out, recipe, times=TIMES)


def make():
    with float64():
        for name in CASES:
            case(name)
        case_saved()


if __name__ == "__main__":
    make()
