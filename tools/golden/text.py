"""Goldens of the text encoder: transformers' UMT5EncoderModel in float64, from a prompt to its rows.

    umt5       official names, f32, tokenizer in a .model file of its own
    umt5_hf    transformers' names, bf16, tokenizer in the tensor spiece_model, attention wider than the model
    umt5_eps   small embeddings, so that the epsilon of each norm shows
    umt5_saved written by transformers' save_pretrained (tied embeddings, its names, f32)

Ids come from the sentencepiece library and a hand-made unigram model; the long prompt reaches every relative bucket, the longest
is cut at 512 tokens.
"""
import shutil
import struct

import numpy as np
import sentencepiece
import torch
import transformers
from transformers import UMT5Config, UMT5EncoderModel

import shapes
from common import DATA, Recipe, Tensor, f32, f64, float64, store

MODULES = (torch, transformers, sentencepiece)
WORDS = "a the red blue green yellow white black circle square star moves left right up down over background slowly".split()
LONG = " ".join(f"the {WORDS[i % 18]} {WORDS[(i * 7 + 3) % 18]} qz{chr(97 + i % 26)}" for i in range(40))
PROMPTS = {"short": "a red circle moves left over a blue background", "empty": "", "long": LONG}
CASES = {  # name: seed, (dim, heads, head_dim, ffn, layers), options, prompts
    "umt5": (21, (64, 2, 64, 160, 3), {}, PROMPTS),
    "umt5_hf": (22, (80, 3, 32, 192, 2), {"dtype": "bf16"}, {"short": PROMPTS["short"], "cut": LONG + " " + LONG + " " + LONG}),
    "umt5_eps": (23, (48, 3, 16, 96, 1), {"stream": 2e-3}, {"short": PROMPTS["short"]}),
}


def field(number, value):
    """One protobuf field: int, float, or bytes."""
    if isinstance(value, float):
        return bytes([number << 3 | 5]) + struct.pack("<f", value)
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def varint(n):
    low = n & 127
    return bytes([low | 128]) + varint(n >> 7) if n > 127 else bytes([low])


def spiece():
    """A sentencepiece unigram model (its bytes and number of pieces): specials as in UMT5, letters, and the words of the prompts."""
    normal, unknown, control = 1, 2, 3
    pieces = [("<pad>", 0.0, control), ("</s>", 0.0, control), ("<s>", 0.0, control), ("<unk>", 0.0, unknown), ("\u2581", -3.0, normal)]
    pieces += [(chr(97 + i), -5 - i / 32, normal) for i in range(26)]
    pieces += [("\u2581" + word, -4 - i / 16, normal) for i, word in enumerate(WORDS)]
    out = b"".join(field(1, field(1, p.encode()) + field(2, score) + field(3, kind)) for p, score, kind in pieces)
    trainer = field(3, 1) + field(4, len(pieces)) + field(40, 3) + field(41, 2) + field(42, 1) + field(43, 0)
    return out + field(2, trainer) + field(3, field(1, b"identity")), len(pieces)


SPIECE, VOCAB = spiece()


def ids_of(prompt):
    pieces = sentencepiece.SentencePieceProcessor(model_proto=SPIECE).encode(prompt)
    return pieces[:511] + [1]


def reference(dims, weights):
    dim, heads, head_dim, ffn, layers = dims
    cfg = UMT5Config(vocab_size=VOCAB, d_model=dim, d_kv=head_dim, d_ff=ffn, num_layers=layers, num_heads=heads, feed_forward_proj="gated-gelu",
                     dropout_rate=0.0)
    model = UMT5EncoderModel(cfg).double().eval().requires_grad_(False)
    missing, unexpected = model.load_state_dict(f64(weights), strict=False)
    assert not unexpected and set(missing) <= {"encoder.embed_tokens.weight"}, (missing, unexpected)
    return model


def encode(model, ids):
    """As WanPipeline does: 512 padded ids and a mask, then the live rows."""
    n = len(ids)
    padded = torch.zeros(1, 512, dtype=torch.long)
    padded[0, :n] = torch.tensor(ids)
    mask = (torch.arange(512) < n).long()[None]
    with torch.no_grad():
        return model(padded, attention_mask=mask).last_hidden_state[0, :n]


def case(name):
    seed, dims, options, prompts = CASES[name]
    hf = shapes.umt5_names_to_hf(shapes.umt5(VOCAB, *dims, **options))
    official = shapes.umt5(VOCAB, *dims, **options)
    tensors = hf if name == "umt5_hf" else official
    inside = name != "umt5"
    recipe = Recipe(seed, {"model.safetensors": tensors}, copies={"model.safetensors": ["spiece_model"]} if inside else None,
                    raw=None if inside else {"spiece.model": "spiece_model"})
    values = recipe.values()
    model = reference(dims, {h.name: values[t.name] for h, t in zip(hf, tensors)})
    out = {"spiece_model": np.frombuffer(SPIECE, np.uint8)}
    for key, prompt in prompts.items():
        ids = ids_of(prompt)
        out[f"ids.{key}"], out[f"rows.{key}"] = np.array(ids, np.int32), f32(encode(model, ids))
    store(name, "text.py", "transformers.UMT5EncoderModel, float64", seed, MODULES, out, recipe, prompts=prompts)


def case_saved():
    """A model as transformers itself writes it; outside of float64(), where .float() would be .double()."""
    seed, dims = 24, (32, 2, 16, 64, 2)
    hf = shapes.umt5_names_to_hf(shapes.umt5(VOCAB, *dims))
    ids = ids_of(PROMPTS["short"])
    with float64():
        model = reference(dims, Recipe(seed, {"model": hf}).values())
        rows = encode(model, ids)
    folder = DATA / "umt5_saved"
    shutil.rmtree(folder, ignore_errors=True)
    model.float().save_pretrained(folder)
    (folder / "spiece.model").write_bytes(SPIECE)
    for file in folder.iterdir():
        file.chmod(0o644)
    out = {"ids.short": np.array(ids, np.int32), "rows.short": f32(rows)}
    store("umt5_saved", "text.py", "transformers.UMT5EncoderModel, float64", seed, MODULES, out, prompts={"short": PROMPTS["short"]})


def make():
    with float64():
        for name in CASES:
            case(name)
    case_saved()


if __name__ == "__main__":
    make()
