"""The traps of Wan's numerics, each as one replacement in one source file, with the test and the golden that must see it.

Numbers in brackets are those of the list of numerical traps in nodes/wan/README.md where it has one.
"""
from typing import NamedTuple


class Trap(NamedTuple):
    name: str
    what: str
    test: str      # tests/nodes/TEST.c
    golden: str    # whose error must be above its limit
    file: str
    old: str       # occurs once in the file
    new: str


VAE = [
    ("vae-first-history", "frame 0 as history of the decoder's upsampling in time", "vae16", "nodes/wan/vae_run.c",
     "    kg_conv(x, (kg_conv_args){.out = out, .in = in, .weight = w[0], .bias = w[1], .kt = 1, .kh = 3, .kw = 3, .upsample = 1});",
     "    if (time && !r->chunks)\n        remember(x, s, in);\n"
     "    kg_conv(x, (kg_conv_args){.out = out, .in = in, .weight = w[0], .bias = w[1], .kt = 1, .kh = 3, .kw = 3, .upsample = 1});"),
    ("vae-pad-left-top", "downsampling padded left and top", "vae16", "kernels/cpu/conv.c",
     "pad = j->taps == 9 && stride == 1;", "pad = j->taps == 9;"),
    ("vae-no-shortcut", "the residual of a widening block without its 1x1 convolution", "vae16", "nodes/wan/vae_run.c",
     ".weight = w[4], .bias = w[5], .add = out, .kh = 3", ".weight = w[4], .bias = w[5], .add = shortcut ? (kg_tensor){0} : out, .kh = 3"),
    ("vae-norm-eps", "RMS norm with 1e-6 in its root", "vae_eps", "kernels/cpu/frames_simd.h",
     "        vf scale = v_splat(sqrtf((float)c) / (norm > 1e-12f ? norm : 1e-12f));",
     "        vf scale = v_splat(1.0f / sqrtf(norm * norm / (float)c + 1e-6f));"),
    ("vae-latent-raw", "latents neither scaled nor shifted", "vae16", "nodes/wan/vae_run.c",
     "    kg_put(x, r->scale, scale, sizeof scale);\n    kg_put(x, r->shift, shift, sizeof shift);",
     "    for (int i = 0; i < VAE_LATENT; ++i) {\n        scale[i] = 1;\n        shift[i] = 0;\n    }\n"
     "    kg_put(x, r->scale, scale, sizeof scale);\n    kg_put(x, r->shift, shift, sizeof shift);"),
    ("vae-down-first", "the encoder's first frame goes through the convolution in time", "vae16", "nodes/wan/vae_run.c",
     "    int halve = time && r->chunks;\n    kg_tensor half = halve ?", "    int halve = time;\n    kg_tensor half = halve && r->chunks ?"),
    ("vae-halves-swapped", "the two frames of an upsampling in time in the wrong order", "vae16", "kernels/cpu/conv.c",
     "        int64_t frame = row / pixels * frames + col / channels;",
     "        int64_t frame = row / pixels * frames + (frames == 2 ? 1 - col / channels : 0);"),
    ("vae-no-history", "chunks that forget the frames before them", "vae16", "nodes/wan/vae_run.c",
     "    if (s->n)\n        a.history =", "    if (0 && s->n)\n        a.history ="),
    ("vae-one-frame-history", "a cache of one frame instead of two", "vae16", "nodes/wan/vae_run.c",
     "        a.history = kg_slice(s->frames, s->frames.shape[0] - s->n, s->n);",
     "        a.history = kg_slice(s->frames, s->frames.shape[0] - 1, 1);"),
    ("vae-attention-scale", "the middle's attention without 1/sqrt(channels)", "vae16", "nodes/wan/vae_run.c",
     ".heads = 1, .scale = 1.0 / __builtin_sqrt((double)c)", ".heads = 1, .scale = 1.0"),
    ("vae-attention-norm-silu", "SiLU after the norm of the middle's attention", "vae16", "nodes/wan/vae_run.c",
     "    norm(x, a, in, w[0], 0);", "    norm(x, a, in, w[0], 1);"),
    ("vae-logvar", "log-variance taken for the mean", "vae16", "nodes/wan/vae_names.c", "", ""),
    ("vae-pixels-unit", "pixels in [0, 1] instead of [-1, 1]", "vae16", "kernels/cpu/frames.c",
     "(float)u[i] / 255.0f * 2.0f - 1.0f", "(float)u[i] / 255.0f"),
]
VAE = [t for t in VAE if t[4]]

TRAPS = [Trap(name, what, "golden_vae_test", golden, file, old, new) for name, what, golden, file, old, new in VAE]
