"""The diffusers reference on the CPU as callables: one forward of a Wan transformer, one VAE decode, on the files kg_bench reads."""
import time

import numpy as np
import torch
from diffusers import AutoencoderKLWan, WanTransformer3DModel
from diffusers.loaders.single_file_utils import convert_wan_transformer_to_diffusers, convert_wan_vae_to_diffusers
from safetensors.torch import load_file


def timed(f):
    """Seconds and result of one call."""
    start = time.perf_counter()
    with torch.no_grad():
        out = f()
    return time.perf_counter() - start, out


def transformer(model_path, inputs_path, dtype):
    weights = load_file(model_path)
    dim, layers = weights["head.modulation"].shape[2], sum(k.endswith("ffn.0.bias") for k in weights)
    config = dict(num_attention_heads=dim // 128, attention_head_dim=128, num_layers=layers, ffn_dim=weights["blocks.0.ffn.0.bias"].shape[0],
                  text_dim=weights["text_embedding.0.weight"].shape[1], in_channels=16, out_channels=16)
    with torch.device("meta"):
        model = WanTransformer3DModel(**config)
    rope = WanTransformer3DModel(**{**config, "num_layers": 0}).rope  # its tables are no weights
    model.load_state_dict({k: v.to(dtype) for k, v in convert_wan_transformer_to_diffusers(weights).items()}, strict=True, assign=True)
    model.rope = rope
    given = load_file(inputs_path)
    x, text, t = given["latent"][None].to(dtype), given["text"][None].to(dtype), torch.tensor([500.0])
    model.eval().requires_grad_(False)
    return lambda: timed(lambda: model(hidden_states=x, timestep=t, encoder_hidden_states=text).sample[0].float())


def vae(model_path, inputs_path):
    weights = load_file(model_path)
    model = AutoencoderKLWan(base_dim=weights["encoder.conv1.weight"].shape[0]).eval().requires_grad_(False)
    model.load_state_dict(convert_wan_vae_to_diffusers(weights), strict=True)
    shape = (1, 16, 1, 1, 1)
    mean, std = (torch.tensor(v).reshape(shape) for v in (model.config.latents_mean, model.config.latents_std))
    z = load_file(inputs_path)["latent"][None] * std + mean
    return lambda: timed(lambda: model.decode(z).sample[0].permute(1, 2, 3, 0))


def distance(ours, theirs, clamp):
    """Relative L2; ours is a file of raw f32. A reference decoder clamps to [-1, 1]; kg_bench keeps the floats before that."""
    a, b = np.fromfile(ours, np.float32).astype(np.float64), theirs.contiguous().numpy().astype(np.float64).ravel()
    a = a.clip(-1, 1) if clamp else a
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))
