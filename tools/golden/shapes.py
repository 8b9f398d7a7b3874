"""Names and shapes of Wan 2.1's tensors in the official files, with centre and spread of random values so that every term matters:
norm weights around 1 with spread, biases and modulations well off 0, products that keep the size of what passes through them.

The lists are checked by use: diffusers' own converters of official files must map them onto its models without a rest.
"""
import math

from common import Tensor


def fan(k, gain=1.0):
    """Spread of uniform weights whose product with k unit values has the standard deviation `gain`."""
    return gain * math.sqrt(3.0 / k)


def linear(name, n, k, gain=1.0, bias=0.3):
    return [(f"{name}.weight", [n, k], 0, fan(k, gain)), (f"{name}.bias", [n], 0, bias)]


def dit_block(p, dim, ffn, qk):
    rows = [(f"{p}.modulation", [1, 6, dim], 0, 0.6)]
    for attn in ("self_attn", "cross_attn"):
        for part in "qkvo":
            gain = qk if part in "qk" else 1.0
            rows += linear(f"{p}.{attn}.{part}", dim, dim, gain, 0.3 * gain)
        rows += [(f"{p}.{attn}.norm_{part}.weight", [dim], 1.1, 0.5) for part in "qk"]
    rows += [(f"{p}.norm3.weight", [dim], 1, 0.5), (f"{p}.norm3.bias", [dim], 0, 0.4)]
    return rows + linear(f"{p}.ffn.0", ffn, dim) + linear(f"{p}.ffn.2", dim, ffn, 1.5)


def dit(dim, layers, ffn, text_dim, channels=16, dtype="f32", stream=1.0, qk=1.0):
    """stream: size of the residual stream's input; qk: size of queries and keys before their norms (small ones show the eps)."""
    rows = [("patch_embedding.weight", [dim, channels, 1, 2, 2], 0, fan(channels * 4, stream)),
            ("patch_embedding.bias", [dim], 0, 0.3 * stream)]
    rows += linear("text_embedding.0", dim, text_dim) + linear("text_embedding.2", dim, dim, 1.5)
    rows += linear("time_embedding.0", dim, 256, 1.4) + linear("time_embedding.2", dim, dim, 2.0)
    rows += linear("time_projection.1", 6 * dim, dim, 0.6, 0.2)
    for i in range(layers):
        rows += dit_block(f"blocks.{i}", dim, ffn, qk)
    rows += [("head.modulation", [1, 2, dim], 0, 0.6)] + linear("head.head", 4 * channels, dim)
    return [Tensor(*r, dtype=dtype) for r in rows]


def conv(name, n, k, *kernel, gain=1.3, bias=0.2):
    return [(f"{name}.weight", [n, k, *kernel], 0, fan(k * math.prod(kernel), gain)), (f"{name}.bias", [n], 0, bias)]


def gamma(name, c, *ones):
    return [(f"{name}.gamma", [c, *ones], 1, 0.5)]


def res(p, k, n, size):
    rows = gamma(f"{p}.residual.0", k, 1, 1, 1) + conv(f"{p}.residual.2", n, k, 3, 3, 3)
    rows += gamma(f"{p}.residual.3", n, 1, 1, 1) + conv(f"{p}.residual.6", n, n, 3, 3, 3, gain=1.3 * size, bias=0.2 * size)
    return rows + (conv(f"{p}.shortcut", n, k, 1, 1, 1, gain=1, bias=0.2 * size) if k != n else [])


def middle(p, c, size):
    attn = gamma(f"{p}.1.norm", c, 1, 1) + conv(f"{p}.1.to_qkv", 3 * c, c, 1, 1) + conv(f"{p}.1.proj", c, c, 1, 1, gain=size, bias=0.2 * size)
    return res(f"{p}.0", c, c, size) + attn + res(f"{p}.2", c, c, size)


def head(p, k, n, gain):
    return gamma(f"{p}.0", k, 1, 1, 1) + conv(f"{p}.2", n, k, 3, 3, 3, gain=gain)


def vae_encoder(base, z, size):
    p, widths = "encoder.downsamples", [base, base * 2, base * 4, base * 4]
    rows, i, c = conv("encoder.conv1", base, 3, 3, 3, 3, gain=1.5 * size, bias=0.2 * size), 0, base
    for stage, width in enumerate(widths):
        for _ in range(2):
            rows += res(f"{p}.{i}", c, width, size)
            i, c = i + 1, width
        if stage < 3:
            rows += conv(f"{p}.{i}.resample.1", c, c, 3, 3, gain=1, bias=0.2 * size)
            rows += conv(f"{p}.{i}.time_conv", c, c, 3, 1, 1, gain=1, bias=0.2 * size) if stage else []
            i += 1
    return rows + middle("encoder.middle", c, size) + head("encoder.head", c, 2 * z, 1.5) + conv("conv1", 2 * z, 2 * z, 1, 1, 1)


def vae_decoder(base, z, size):
    p, widths = "decoder.upsamples", [base * 4, base * 4, base * 2, base]
    c = widths[0]
    rows = conv("conv2", z, z, 1, 1, 1) + conv("decoder.conv1", c, z, 3, 3, 3, gain=0.7 * size, bias=0.2 * size) + middle("decoder.middle", c, size)
    i = 0
    for stage, width in enumerate(widths):
        for _ in range(3):
            rows += res(f"{p}.{i}", c, width, size)
            i, c = i + 1, width
        if stage < 3:
            rows += conv(f"{p}.{i}.resample.1", c // 2, c, 3, 3, gain=1, bias=0.2 * size)
            rows += conv(f"{p}.{i}.time_conv", 2 * c, c, 3, 1, 1, gain=1, bias=0.2 * size) if stage < 2 else []
            i, c = i + 1, c // 2
    return rows + head("decoder.head", c, 3, 0.45)


def vae(base, z=16, dtype="f32", size=1.0):
    """size: of the activations between blocks (small ones show what a norm adds to its root)."""
    return [Tensor(*r, dtype=dtype) for r in vae_encoder(base, z, size) + vae_decoder(base, z, size)]


def umt5(vocab, dim, heads, head_dim, ffn, layers, dtype="f32", stream=1.0):
    """stream: size of the embeddings (small ones show the eps)."""
    inner = heads * head_dim
    rows = [("token_embedding.weight", [vocab, dim], 0, stream * math.sqrt(3.0))]
    for i in range(layers):
        p = f"blocks.{i}"
        rows += [(f"{p}.norm1.weight", [dim], 1, 0.5), (f"{p}.norm2.weight", [dim], 1, 0.5)]
        # Scores are not divided by sqrt(head_dim): queries and keys that are that much smaller keep the softmax soft.
        small = head_dim ** -0.25
        rows += [(f"{p}.attn.{part}.weight", [inner, dim], 0, fan(dim, small if part in "qk" else 1.0)) for part in "qkv"]
        rows += [(f"{p}.attn.o.weight", [dim, inner], 0, fan(inner, 1.2 * stream)),
                 (f"{p}.pos_embedding.embedding.weight", [32, heads], 0, 1.5),
                 (f"{p}.ffn.gate.0.weight", [ffn, dim], 0, fan(dim)), (f"{p}.ffn.fc1.weight", [ffn, dim], 0, fan(dim)),
                 (f"{p}.ffn.fc2.weight", [dim, ffn], 0, fan(ffn, 1.5 * stream))]
    return [Tensor(*r, dtype=dtype) for r in rows + [("norm.weight", [dim], 1, 0.5)]]


def wan_names_to_diffusers(tensors):
    """Official DiT names to diffusers' (checked against diffusers' own converter in dit.py)."""
    pairs = [("time_embedding.0", "condition_embedder.time_embedder.linear_1"), ("time_embedding.2", "condition_embedder.time_embedder.linear_2"),
             ("text_embedding.0", "condition_embedder.text_embedder.linear_1"), ("text_embedding.2", "condition_embedder.text_embedder.linear_2"),
             ("time_projection.1", "condition_embedder.time_proj"), ("self_attn.", "attn1."), ("cross_attn.", "attn2."),
             (".q.", ".to_q."), (".k.", ".to_k."), (".v.", ".to_v."), (".o.", ".to_out.0."), ("ffn.0.", "ffn.net.0.proj."), ("ffn.2.", "ffn.net.2."),
             ("head.head", "proj_out"), ("head.modulation", "scale_shift_table"), (".modulation", ".scale_shift_table"), ("norm3", "norm2")]
    return renamed(tensors, pairs)


def umt5_names_to_hf(tensors):
    pairs = [("token_embedding.weight", "shared.weight"), ("blocks.", "encoder.block."), ("norm1.", "layer.0.layer_norm."), ("norm2.", "layer.1.layer_norm."),
             ("attn.", "layer.0.SelfAttention."), ("pos_embedding.embedding.", "layer.0.SelfAttention.relative_attention_bias."),
             ("ffn.gate.0.", "layer.1.DenseReluDense.wi_0."), ("ffn.fc1.", "layer.1.DenseReluDense.wi_1."), ("ffn.fc2.", "layer.1.DenseReluDense.wo.")]
    out = renamed(tensors, pairs)
    for t in out:
        t.name = "encoder.final_layer_norm.weight" if t.name == "norm.weight" else t.name
    return out


def renamed(tensors, pairs):
    for t in tensors:
        for a, b in pairs:
            t.name = t.name.replace(a, b)
    return tensors
