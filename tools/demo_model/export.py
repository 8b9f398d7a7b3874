"""Writes the trained weights as graphs/demo/*.safetensors under the official Wan-Video names, bf16.

    python3 export.py --weights DIR        # DIR holds vae-, dit- and text-*.safetensors
    python3 export.py --unpack DIR         # and back: graphs/demo/ as such pieces

The transformer comes in shards with a Hugging Face style index; the text encoder's file carries the
tokenizer as the uint8 tensor `spiece_model` too, as ComfyUI's files do. load() reads all of it back
into the classes of diffusers and transformers. Seconds on any CPU.
"""
import argparse
import json
import os
import re

import torch
from safetensors.torch import load_file, save_file

import captions

LIMIT = 15 * 2 ** 20 - 2 ** 16

DIT = [
    (r"^condition_embedder\.text_embedder\.linear_([12])\.",
     lambda m: "text_embedding.%d." % (2 * int(m[1]) - 2)),
    (r"^condition_embedder\.time_embedder\.linear_([12])\.",
     lambda m: "time_embedding.%d." % (2 * int(m[1]) - 2)),
    (r"^condition_embedder\.time_proj\.", "time_projection.1."),
    (r"^scale_shift_table$", "head.modulation"),
    (r"^proj_out\.", "head.head."),
    (r"\.scale_shift_table$", ".modulation"),
    (r"\.attn1\.", ".self_attn."), (r"\.attn2\.", ".cross_attn."),
    (r"\.to_out\.0\.", ".o."), (r"\.to_([qkv])\.", r".\1."),
    (r"\.norm2\.", ".norm3."),
    (r"\.ffn\.net\.0\.proj\.", ".ffn.0."), (r"\.ffn\.net\.2\.", ".ffn.2."),
]

TEXT = [
    (r"^shared\.", "token_embedding."), (r"^encoder\.final_layer_norm\.", "norm."),
    (r"^encoder\.block\.(\d+)\.layer\.0\.layer_norm\.", r"blocks.\1.norm1."),
    (r"^encoder\.block\.(\d+)\.layer\.1\.layer_norm\.", r"blocks.\1.norm2."),
    (r"^encoder\.block\.(\d+)\.layer\.0\.SelfAttention\.relative_attention_bias\.",
     r"blocks.\1.pos_embedding.embedding."),
    (r"^encoder\.block\.(\d+)\.layer\.0\.SelfAttention\.([qkvo])\.", r"blocks.\1.attn.\2."),
    (r"^encoder\.block\.(\d+)\.layer\.1\.DenseReluDense\.wi_0\.", r"blocks.\1.ffn.gate.0."),
    (r"^encoder\.block\.(\d+)\.layer\.1\.DenseReluDense\.wi_1\.", r"blocks.\1.ffn.fc1."),
    (r"^encoder\.block\.(\d+)\.layer\.1\.DenseReluDense\.wo\.", r"blocks.\1.ffn.fc2."),
]


def _up_block(m):
    """Decoder blocks are flat in the official files: four to a stage, the upsampler last."""
    inner = 3 if m[2] == "upsamplers.0" else int(m[2].split(".")[1])
    return "decoder.upsamples.%d." % (4 * int(m[1]) + inner)


VAE = [
    (r"^quant_conv\.", "conv1."), (r"^post_quant_conv\.", "conv2."),
    (r"^encoder\.down_blocks\.(\d+)\.", r"encoder.downsamples.\1."),
    (r"^decoder\.up_blocks\.(\d+)\.(resnets\.\d+|upsamplers\.0)\.", _up_block),
    (r"^(en|de)coder\.mid_block\.resnets\.([01])\.",
     lambda m: "%scoder.middle.%d." % (m[1], 2 * int(m[2]))),
    (r"^(en|de)coder\.mid_block\.attentions\.0\.", r"\1coder.middle.1."),
    (r"((?:samples\.\d+|middle\.[02])\.)norm1\.", r"\1residual.0."),
    (r"((?:samples\.\d+|middle\.[02])\.)conv1\.", r"\1residual.2."),
    (r"((?:samples\.\d+|middle\.[02])\.)norm2\.", r"\1residual.3."),
    (r"((?:samples\.\d+|middle\.[02])\.)conv2\.", r"\1residual.6."),
    (r"((?:samples\.\d+|middle\.[02])\.)conv_shortcut\.", r"\1shortcut."),
    (r"^(en|de)coder\.conv_in\.", r"\1coder.conv1."),
    (r"^(en|de)coder\.norm_out\.", r"\1coder.head.0."),
    (r"^(en|de)coder\.conv_out\.", r"\1coder.head.2."),
]


def official(name, rules):
    for pattern, new in rules:
        name = re.sub(pattern, new, name)
    return name


def renamed(weights, rules):
    out = {official(k, rules): v.to(torch.bfloat16).contiguous() for k, v in weights.items()}
    assert len(out) == len(weights)
    return out


def write_sharded(tensors, stem):
    """stem-00001-of-0000N.safetensors and stem.safetensors.index.json"""
    shards, size = [{}], 0
    for name in sorted(tensors):
        n = tensors[name].numel() * 2
        if size + n > LIMIT:
            shards.append({})
            size = 0
        shards[-1][name] = tensors[name]
        size += n
    where = {}
    for i, shard in enumerate(shards):
        path = "%s-%05d-of-%05d.safetensors" % (stem, i + 1, len(shards))
        save_file(shard, path, metadata={"format": "pt"})
        os.chmod(path, 0o644)
        where.update({k: os.path.basename(path) for k in shard})
    total = sum(t.numel() * 2 for t in tensors.values())
    with open(stem + ".safetensors.index.json", "w") as f:
        json.dump({"metadata": {"total_size": total}, "weight_map": where}, f, indent=1)
        f.write("\n")


def write(folder, out):
    import common
    part = {k: {n.removeprefix(k + "."): v
                for n, v in common.load_pieces(os.path.join(folder, k)).items()}
            for k in ("dit", "text", "vae")}
    out = str(out)
    write_sharded(renamed(part["dit"], DIT), os.path.join(out, "wan_demo"))
    vae, text = renamed(part["vae"], VAE), renamed(part["text"], TEXT)
    spiece = (captions.DEMO / "spiece.model").read_bytes()
    text["spiece_model"] = torch.frombuffer(bytearray(spiece), dtype=torch.uint8)
    for name, tensors in (("wan_demo_vae", vae), ("umt5_demo", text)):
        path = os.path.join(out, name + ".safetensors")
        save_file(tensors, path, metadata={"format": "pt"})
        os.chmod(path, 0o644)


def load(device="cpu", folder=None):
    """(transformer, text encoder, VAE) in f32, read from the exported files."""
    import models
    import vae as wan_vae
    folder = str(folder or captions.DEMO)
    index = json.load(open(os.path.join(folder, "wan_demo.safetensors.index.json")))
    dit_w = {}
    for shard in sorted(set(index["weight_map"].values())):
        dit_w.update(load_file(os.path.join(folder, shard)))
    text_w = load_file(os.path.join(folder, "umt5_demo.safetensors"))
    vae_w = load_file(os.path.join(folder, "wan_demo_vae.safetensors"))
    nets = (models.build_dit(), models.build_text(text_w["token_embedding.weight"].shape[0]),
            wan_vae.build())
    for net, rules, weights in zip(nets, (DIT, TEXT, VAE), (dit_w, text_w, vae_w)):
        named = dict(net.named_parameters())
        assert {official(k, rules) for k in named} == set(weights) - {"spiece_model"}
        with torch.no_grad():
            for k, p in named.items():
                p.copy_(weights[official(k, rules)].view(p.shape))
        net.to(device).eval()
    return nets


def unpack(folder):
    """The exported files as training's own pieces again, to go on from them."""
    import common
    for name, net in zip(("dit", "text", "vae"), load()):
        prefix = "" if name == "vae" else name + "."
        common.save_pieces({prefix + k: p.detach() for k, p in net.named_parameters()},
                           os.path.join(folder, name))


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--weights")
    p.add_argument("--unpack")
    p.add_argument("--out", default=captions.DEMO)
    a = p.parse_args()
    if a.unpack:
        os.makedirs(a.unpack, exist_ok=True)
        return unpack(a.unpack)
    os.makedirs(a.out, exist_ok=True)
    write(a.weights, a.out)
    load(folder=a.out)


if __name__ == "__main__":
    main()
