"""The reference side of tools/gpu/bench: diffusers and transformers with random weights, written once as files that both sides read.

Everything is made on the card, so that even 14 billion weights take seconds. Needs torch, diffusers, transformers, safetensors.
"""
import gc
import statistics
import time
import warnings

import torch

warnings.filterwarnings("ignore")
WAN = dict(patch_size=(1, 2, 2), attention_head_dim=128, in_channels=16, out_channels=16, text_dim=4096, freq_dim=256,
           cross_attn_norm=True, qk_norm="rms_norm_across_heads", eps=1e-6, rope_max_seq_len=1024)
SIZES = {"1.3B": dict(WAN, num_attention_heads=12, num_layers=30, ffn_dim=8960),
         "14B": dict(WAN, num_attention_heads=40, num_layers=40, ffn_dim=13824),
         "smoke": dict(WAN, num_attention_heads=2, num_layers=2, ffn_dim=512, text_dim=256)}
UMT5 = dict(vocab_size=256384, d_model=4096, d_kv=64, d_ff=10240, num_layers=24, num_heads=64, feed_forward_proj="gated-gelu")
UMT5_SMOKE = dict(UMT5, d_model=256, d_ff=512, num_layers=2, num_heads=4)


class Peer:
    """One side of a comparison: forward() runs once; peak is bytes above nothing, weights included."""

    def __init__(self, name, forward, device):
        self.name, self.forward, self.device = name, forward, device

    def sync(self):
        if self.device == "cuda":
            torch.cuda.synchronize()

    def run(self, count):
        """Seconds of each of so many runs."""
        out = []
        for _ in range(count):
            self.sync()
            began = time.perf_counter()
            self.forward()
            self.sync()
            out.append(time.perf_counter() - began)
        return out

    def peak(self):
        if self.device != "cuda":
            return 0
        torch.cuda.reset_peak_memory_stats()
        self.run(1)
        return torch.cuda.max_memory_allocated()


def clean():
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def build(make, device, dtype=torch.bfloat16):
    """A model whose matrices are normal(0, 0.02), biases too; norms stay at one."""
    torch.set_default_dtype(dtype)
    with torch.device(device):
        model = make()
    torch.set_default_dtype(torch.float32)
    torch.manual_seed(1)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.dim() > 1 or name.endswith("bias"):
                p.normal_(0, 0.02)
    return model.eval().requires_grad_(False)


def save(model, path):
    """Its weights as one safetensors file, each tensor once."""
    from safetensors.torch import save_file
    seen, out = set(), {}
    for name, t in model.state_dict().items():
        if t.data_ptr() not in seen:
            seen.add(t.data_ptr())
            out[name] = t.contiguous()
    save_file(out, str(path), metadata={"format": "pt"})


def inputs(path, latent, text_dim):
    """Random latents and text rows that bf16 can hold; both sides read them."""
    from safetensors.torch import save_file
    g = torch.Generator().manual_seed(2)
    values = {"latent": torch.randn(latent, generator=g), "text": torch.randn((512, text_dim), generator=g)}
    values = {k: v.bfloat16().float() for k, v in values.items()}
    save_file(values, str(path))
    return values


# ---- the transformer ----
def dit(size, device):
    from diffusers import WanTransformer3DModel
    return build(lambda: WanTransformer3DModel(**SIZES[size]), device)


def dit_forward(model, values, device):
    p = next(model.parameters()).dtype
    x, text = values["latent"][None].to(device, p), values["text"][None].to(device, p)
    t = torch.tensor([500], device=device)
    return lambda: model(hidden_states=x, timestep=t, encoder_hidden_states=text, return_dict=False)[0]


def compiled(model):
    """With cuDNN's attention, on this model alone: set_attention_backend makes its choice everybody's as well, and it stays so. Models made
    later, in f32, would find no kernel. Behind the with everybody's choice is again what it was."""
    from diffusers.models.attention_dispatch import attention_backend
    with attention_backend():
        model.set_attention_backend("_native_cudnn")
    model.compile_repeated_blocks(fullgraph=True)


# ---- the VAE ----
def vae(device, dtype=torch.bfloat16):
    from diffusers import AutoencoderKLWan
    return build(AutoencoderKLWan, device, dtype)


def scales(model, device):
    """Of a latent as models see it: z = latent * std + mean. [1, 16, 1, 1, 1]"""
    p = next(model.parameters()).dtype
    return [torch.tensor(v, device=device, dtype=p).view(1, -1, 1, 1, 1) for v in (model.config.latents_std, model.config.latents_mean)]


def decode_forward(model, latent, device):
    std, mean = scales(model, device)
    z = latent[None].to(device, std.dtype) * std + mean
    return lambda: model.decode(z, return_dict=False)[0]


def encode_forward(model, frames, height, width, device):
    """Of the frames that kg_bench encode draws; gives the normalised mean."""
    std, mean = scales(model, device)
    x = torch.randn((frames, height, width, 3), generator=torch.Generator().manual_seed(1)) * 0.25
    x = x.permute(3, 0, 1, 2)[None].to(device, std.dtype)
    return lambda: (model.encode(x, return_dict=False)[0].mode() - mean) / std


# ---- the text encoder ----
def umt5(device, config=None):
    """Queries of a tenth: the scores have no scale of their own, and with T5's initial weights they are about one. Scores of thirteen
    would let one key take all: then a rounding decides which, and two right answers have nothing in common."""
    from transformers import UMT5Config, UMT5EncoderModel
    model = build(lambda: UMT5EncoderModel(UMT5Config(**(config or UMT5))), device)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if name.endswith("SelfAttention.q.weight"):
                p.mul_(0.1)
    return model


def prompt_of(model_file, tokens):
    """A text of so many tokens, its end included, and their numbers."""
    import sentencepiece
    sp = sentencepiece.SentencePieceProcessor(model_file=str(model_file))
    words = ["a", "red", "circle", "moves", "left", "over", "blue", "background"]
    text = "a"
    while True:
        fits = [w for w in words if len(sp.encode(f"{text} {w}")) + 1 <= tokens and not text.endswith(w)]
        if not fits:
            break
        text = f"{text} {fits[len(text) % len(fits)]}"
    return text, sp.encode(text) + [sp.eos_id()]


def umt5_forward(model, ids, device):
    x = torch.tensor([ids], device=device)
    return lambda: model(x, torch.ones_like(x)).last_hidden_state


# ---- figures ----
def distance(a, b):
    """Relative L2 of a to b, summed in float64."""
    a, b = a.double().flatten(), b.double().flatten()
    return (torch.linalg.vector_norm(a - b) / torch.linalg.vector_norm(b)).item()


def median(values):
    return statistics.median(values)
