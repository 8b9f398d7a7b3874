"""The traps of Wan's numerics, each as a replacement or two in one source file, with the test and the golden that must see it.

The text to replace must occur exactly once: when the source moves on, mutate.py says which trap no longer fits.
"""
from typing import NamedTuple


class Trap(NamedTuple):
    name: str
    what: str
    test: str      # tests/nodes/TEST.c
    golden: str    # whose error must be above its limit
    file: str
    edits: list    # (old, new): old occurs once in the file


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
     "    else if (time)\n        remember(x, s, half);",
     "    else if (time) {\n        kg_tensor copy = frames_of(x, in, 1, out.shape[1], out.shape[2], out.shape[3]);\n"
     "        kg_unary(x, (kg_unary_args){.out = copy, .in = half, .op = KG_UNARY_COPY});\n"
     "        causal(x, s, (kg_conv_args){.out = out, .in = copy, .weight = w[2], .bias = w[3], .kh = 1, .kw = 1, .stride_t = 1});\n    }"),
    ("vae-halves-swapped", "the two frames of an upsampling in time in the wrong order", "vae16", "kernels/cpu/conv.c",
     "        int64_t frame = row / pixels * frames + col / channels;",
     "        int64_t frame = row / pixels * frames + (frames == 2 ? 1 - col / channels : 0);"),
    ("vae-no-history", "chunks that forget the frames before them", "vae16", "nodes/wan/vae_run.c",
     "    if (s->n)\n        a.history =", "    if (s->n && a.kh == 1)\n        a.history ="),
    ("vae-one-frame-history", "a cache of one frame instead of two", "vae16", "nodes/wan/vae_run.c",
     "        a.history = kg_slice(s->frames, s->frames.shape[0] - s->n, s->n);",
     "        a.history = kg_slice(s->frames, s->frames.shape[0] - 1, 1);"),
    ("vae-attention-scale", "the middle's attention without 1/sqrt(channels)", "vae16", "nodes/wan/vae_run.c",
     ".heads = 1, .scale = 1.0 / __builtin_sqrt((double)c)", ".heads = 1, .scale = 1.0"),
    ("vae-attention-norm-silu", "SiLU after the norm of the middle's attention", "vae16", "nodes/wan/vae_run.c",
     "    norm(x, a, in, w[0], 0);", "    norm(x, a, in, w[0], 1);"),
    ("vae-pixels-unit", "pixels in [0, 1] instead of [-1, 1]", "vae16", "kernels/cpu/frames.c",
     "(float)u[i] / 255.0f * 2.0f - 1.0f", "(float)u[i] / 255.0f"),
]

DIT = [
    ("dit-masked-padding", "cross-attention to the live text rows alone", "dit256", "nodes/wan/dit.c",
     ".q = q, .k = kg_slice_cols(kv, 0, dim), .v = kg_slice_cols(kv, dim, dim),",
     ".q = q, .k = kg_slice(kg_slice_cols(kv, 0, dim), 0, 9), .v = kg_slice(kg_slice_cols(kv, dim, dim), 0, 9),"),
    ("dit-norms-swapped", "norm3 and norm2 swapped", "dit256", "nodes/wan/dit.c",
     ".gate = row(m, 2), .scale = w->t[WAN_NORM3_W], .shift = w->t[WAN_NORM3_B],", ".gate = row(m, 2), .scale = row(m, 4), .shift = row(m, 3), .plus_one = 1,",
     ".x = f->x, .y = f->y, .scale = row(m, 4), .shift = row(m, 3), .plus_one = 1, .out", ".x = f->x, .y = f->y, .scale = w->t[WAN_NORM3_W], .shift = w->t[WAN_NORM3_B], .out"),
    ("dit-norm3-plain", "norm3 without its weights", "dit256", "nodes/wan/dit.c",
     ".gate = row(m, 2), .scale = w->t[WAN_NORM3_W], .shift = w->t[WAN_NORM3_B],", ".gate = row(m, 2),"),
    ("dit-scale-first", "a block's modulation read as scale, shift", "dit256", "nodes/wan/dit.c",
     ".gate = gate, .scale = row(m, 1), .shift = row(m, 0),\n                                                .plus_one = 1, .out = h, .eps = WAN_EPS});\n    kg_enter",
     ".gate = gate, .scale = row(m, 0), .shift = row(m, 1),\n                                                .plus_one = 1, .out = h, .eps = WAN_EPS});\n    kg_enter"),
    ("dit-head-scale-first", "the head's modulation read as scale, shift", "dit256", "nodes/wan/dit.c",
     ".y = f[k].y, .gate = gate, .scale = row(m, 1), .shift = row(m, 0),", ".y = f[k].y, .gate = gate, .scale = row(m, 0), .shift = row(m, 1),"),
    ("dit-scale-no-one", "modulated by s instead of 1 + s", "dit256", "nodes/wan/dit.c",
     ".plus_one = 1, .out = h, .eps = WAN_EPS});\n    kg_enter(x, \"ffn\"", ".out = h, .eps = WAN_EPS});\n    kg_enter(x, \"ffn\""),
    ("dit-no-gate", "the attention's answer added without its gate", "dit256", "nodes/wan/dit.c",
     ".y = f->y, .gate = row(m, 2), .scale", ".y = f->y, .scale"),
    ("dit-table-left-out", "a block's own modulation table left out", "dit256", "nodes/wan/dit.c",
     "KG_SHAPE(6, dim)), e0}, .coef = {1, 1}, .n = 2});", "KG_SHAPE(6, dim)), e0}, .coef = {0, 1}, .n = 2});"),
    ("dit-erf-gelu", "GELU by erf instead of tanh", "dit256", "kernels/cpu/simd.h",
     "    vf u = x * v_fma(x * x, v_splat(0.044715f), v_splat(1.0f)) * -1.5957691216f;\n    return x / (v_exp(u) + 1.0f);",
     "    for (int i = 0; i < LANES; ++i)\n        x[i] = 0.5f * x[i] * (1 + __builtin_erff(x[i] * 0.70710678f));\n    return x;"),
    ("dit-text-silu", "SiLU in the text MLP", "dit256", "nodes/wan/dit.c", "w.t[WAN_TEXT_0B], KG_LINEAR_GELU", "w.t[WAN_TEXT_0B], KG_LINEAR_SILU"),
    ("dit-rope-halves", "RoPE on half-split pairs", "dit256", "kernels/cpu/rows.c",
     "            v_store(a->out.at, a->out.dtype, out + at, n, table ? rotate(v, v_load(table, KG_F32, i, n)) : v);\n        }",
     "            v_store(a->out.at, a->out.dtype, out + at, n, v);\n        }\n"
     "    for (int64_t h = 0; table && h < dim; h += head)\n        for (int64_t i = 0; i < head / 2; ++i) {\n"
     "            float *p = (float *)a->out.at + out + h + i, u = p[0], w = p[head / 2];\n"
     "            p[0] = u * table[2 * i] - w * table[2 * i + 1];\n            p[head / 2] = u * table[2 * i + 1] + w * table[2 * i];\n        }"),
    ("dit-rope-axes", "RoPE's height before its time", "dit256", "kernels/cpu/latent.c",
     "            axis(out, tile / a->height, time, a->theta);\n            axis(out + time, tile % a->height, side, a->theta);",
     "            axis(out, tile % a->height, time, a->theta);\n            axis(out + time, tile / a->height, side, a->theta);"),
    ("dit-rope-split", "RoPE's channels split 40, 44, 44 instead of 44, 42, 42", "dit256", "kernels/cpu/latent.c",
     "side = 2 * (dim / 6), time", "side = 2 * (dim / 6) + 2, time"),
    ("dit-rope-cross", "RoPE in the cross-attention too", "dit256", "nodes/wan/dit.c",
     ".weight = w->t[WAN_CNORM_Q], .eps", ".weight = w->t[WAN_CNORM_Q], .rope = d->rope, .eps"),
    ("dit-sin-first", "time sinusoid with the sines first", "dit256", "nodes/wan/dit.c",
     "        s[i] = (float)cos(a);\n        s[half + i] = (float)sin(a);", "        s[i] = (float)sin(a);\n        s[half + i] = (float)cos(a);"),
    ("dit-time-bf16", "timestep rounded to bf16", "dit256", "nodes/wan/dit.c",
     "        double a = t * pow(10000,", "        float b = (float)t;\n        unsigned u;\n        __builtin_memcpy(&u, &b, 4);\n"
     "        u = (u + 0x7fff + (u >> 16 & 1)) & 0xffff0000u;\n        __builtin_memcpy(&b, &u, 4);\n        double a = b * pow(10000,"),
    ("dit-time-no-silu", "no SiLU between time embedding and projection", "dit256", "nodes/wan/dit.c",
     ".in = e, .op = KG_UNARY_SILU}", ".in = e, .op = KG_UNARY_COPY}"),
    ("dit-rms-per-head", "q and k normed head by head", "dit256", "kernels/cpu/rows.c",
     "        for (int64_t i = 0; i < head; i += LANES) {\n            int64_t at = h + i, n = head - i;",
     "        for (int64_t i = ({ double s = 0; for (int64_t k = 0; k < head; ++k) { double e = ((const float *)a->in.at)[in + h + k]; s += e * e; }\n"
     "                 factor = (float)(1 / sqrt(s / (double)head + a->eps)); (int64_t)0; }); i < head; i += LANES) {\n"
     "            int64_t at = h + i, n = head - i;"),
    ("dit-eps", "epsilon 1e-5 in the norms", "dit_eps", "nodes/wan/dit.h", "#define WAN_EPS 1e-6", "#define WAN_EPS 1e-5"),
    ("dit-patch-order", "patches as channel, column, row", "dit256", "kernels/cpu/latent.c",
     "(qr / 2) * width + 2 * w + qr % 2;", "(j->to_tokens ? (qr % 2) * width + 2 * w + qr / 2 : (qr / 2) * width + 2 * w + qr % 2);"),
    ("dit-unpatch-order", "the head's rows read as channel, row, column", "dit256", "kernels/cpu/latent.c",
     "get(t, token + qr * channels + c)", "get(t, token + c * 4 + qr)"),
    ("dit-attention-scale", "scores divided by sqrt(dim) instead of sqrt(128)", "dit256", "nodes/wan/dit.c",
     "(double)d->config->heads)});\n    linear(x, y, q, w->t[WAN_O_W]", "1)});\n    linear(x, y, q, w->t[WAN_O_W]"),
    ("dit-qk-norms-swapped", "norm_q and norm_k swapped", "dit384", "nodes/wan/model.c",
     '    kg_builder_weight(b, KG_SHAPE(d), "blocks.%d.%s.norm_q.weight", i, group);\n    kg_builder_weight(b, KG_SHAPE(d), "blocks.%d.%s.norm_k.weight", i, group);',
     '    kg_builder_weight(b, KG_SHAPE(d), "blocks.%d.%s.norm_k.weight", i, group);\n    kg_builder_weight(b, KG_SHAPE(d), "blocks.%d.%s.norm_q.weight", i, group);'),
]

SAMPLE = [
    ("cfg-order", "guidance with the prompts swapped", "sample", "nodes/wan/sample.c", ".coef = {guidance, 1 - guidance}", ".coef = {1 - guidance, guidance}"),
    ("t-float", "timesteps not truncated", "sample", "nodes/lib/schedule.c",
     "s->solver == KG_SOLVER_EULER ? 1000 * s->sigma[i] : trunc(1000 * s->sigma[i])", "1000 * s->sigma[i]"),
    ("t-rounded", "timesteps rounded instead of truncated", "sample", "nodes/lib/schedule.c",
     "trunc(1000 * s->sigma[i])", "round(1000 * s->sigma[i])"),
    ("grid-from-one", "UniPC's official grid from 1 instead of 0.999", "sample", "nodes/lib/schedule.c", "(double)0.999f : 1", "1.0 : 1"),
    ("grid-other", "diffusers' grid for the official one", "sample", "nodes/lib/schedule.c", "    if (kind == KG_SCHEDULE_OFFICIAL)", "    if (kind < 0)"),
    ("euler-one-shift", "diffusers' Euler grid shifted once", "sample", "nodes/lib/schedule.c", "double low = shifted(0.001, shift);", "double low = 0.001;"),
    ("experts-guidance", "the experts' guidance swapped", "sample", "nodes/wan/sample.c",
     "e ? p->guidance_low : p->guidance", "e ? p->guidance : p->guidance_low"),
    ("experts-boundary", "experts switched at half of the steps", "sample", "nodes/wan/sample.c", "t < p->boundary * 1000", "2 * i >= p->steps"),
    ("experts-history", "solver history lost at the switch", "sample", "nodes/wan/sample.c",
     "        s->ready |= 1 << e;", "        s->ready |= 1 << e;\n        if (e)\n            kg_combine(x, (kg_combine_args){.out = s->solver[0].m[0], .term = {s->solver[0].m[0]}, .coef = {0}, .n = 1});"),
]

SOLVER = [
    ("unipc-no-corrector", "UniPC without its corrector", "solvers", "nodes/lib/solver.c", "s->solver == KG_SOLVER_UNIPC && i > 0", "0"),
    ("unipc-bh1", "UniPC with bh1", "solvers", "nodes/lib/solver.c", "phi = expm1(g), b = phi;", "phi = expm1(g), b = g;"),
    ("unipc-first-order", "UniPC's predictor of order 1", "solvers", "nodes/lib/solver.c", "    if (order(s, i) == 2)", "    if (order(s, i) == 3)"),
    ("solver-lambda", "lambda as -ln(sigma), not ln((1 - sigma) / sigma)", "solvers", "nodes/lib/solver.c", "log1p(-sigma) - log(sigma)", "-log(sigma)"),
    ("dpm-no-history", "DPM++ of order 1", "solvers", "nodes/lib/solver.c", "k->y1 = 0.5 * c / r;", "k->y1 = 0 * c / r;"),
]

TEXT = [
    ("text-scaled", "the text encoder's attention with 1/sqrt(d)", "umt5", "nodes/text/umt5.c",
     ".heads = (int)m->heads, .scale = 1}", ".heads = (int)m->heads, .scale = 1 / sqrt((double)(m->inner / m->heads))}"),
    ("text-bias-once", "relative positions in the first layer alone, as in T5", "umt5", "nodes/text/umt5.c",
     "kg_work(x, spread, NULL,", "kg_work(x, i ? zero : spread, NULL,"),
    ("text-bias-sign", "relative positions as query - key", "umt5", "nodes/text/umt5.c", "umt5_bucket(i - span + 1,", "umt5_bucket(span - 1 - i,"),
    ("text-bias-rounded", "buckets of positions rounded, not truncated", "umt5", "nodes/text/umt5.c", "exact + (int)steps", "exact + (int)lroundf(steps)"),
    ("text-gate-swapped", "GELU on the wrong branch", "umt5", "nodes/text/umt5.c", ".gate = gate, .up = up", ".gate = up, .up = gate"),
    ("text-norm-eps", "RMS norm with 1e-5", "umt5_eps", "nodes/text/umt5.c", ".eps = 1e-6", ".eps = 1e-5"),
    ("text-embedding-scaled", "embeddings times sqrt(dim)", "umt5", "nodes/text/umt5.c",
     "*out++ = widened(", "*out++ = sqrtf((float)m->dim) * widened("),
    ("text-no-final-norm", "no norm after the last layer", "umt5", "nodes/text/umt5.c",
     "norm(x, kg_slice(out, 0, n), h[b], w.t[0]);", "kg_unary(x, (kg_unary_args){.out = kg_slice(out, 0, n), .in = h[b]});"),
    ("text-norms-swapped", "the two norms of a layer swapped", "umt5_hf", "nodes/text/umt5.c",
     "h, w->t[UMT5_NORM1]", "h, w->t[UMT5_NORM2 ]", "h, w->t[UMT5_NORM2]", "h, w->t[UMT5_NORM1]"),
    ("text-padding", "padding attended inside the encoder", "umt5", "nodes/text/umt5.c",
     "    return KG_OK;\n}\n\nstatic kg_status prepare", "    *n = UMT5_TOKENS;\n    return KG_OK;\n}\n\nstatic kg_status prepare"),
    ("text-no-end", "prompts that do not end in </s>", "umt5", "nodes/lib/tokenizer.cc", "ids[n++] = t->special.eos;", "ids[n++] = t->special.pad;"),
    ("text-bias-shared", "the first layer's table of relative positions for all layers", "umt5", "nodes/text/load.c",
     '"blocks.%d.pos_embedding.embedding.weight", i);', '"blocks.%d.pos_embedding.embedding.weight", 0 * i);'),
    ("text-bucket-off", "buckets off by one", "umt5", "nodes/text/umt5.c", "int bucket = exact + (int)steps;", "int bucket = exact + 1 + (int)steps;"),
    ("text-bucket-distance", "the wide buckets up to a distance of 256", "umt5", "nodes/text/umt5.c", "(float)log(128.0 / exact)", "(float)log(256.0 / exact)"),
    ("text-erf-gelu", "GELU by erf instead of tanh", "umt5", "kernels/cpu/simd.h",
     "    vf u = x * v_fma(x * x, v_splat(0.044715f), v_splat(1.0f)) * -1.5957691216f;\n    return x / (v_exp(u) + 1.0f);",
     "    for (int i = 0; i < LANES; ++i)\n        x[i] = 0.5f * x[i] * (1 + __builtin_erff(x[i] * 0.70710678f));\n    return x;"),
    ("text-cut-end", "a prompt cut at 512 pieces without its end token", "umt5_hf", "nodes/text/umt5.c",
     "        ids[UMT5_TOKENS - 1] = ids[UMT5_TOKENS];", "        (void)0;"),
]


def rows(test, table):
    """A row has one replacement, or two: old, new, old, new."""
    return [Trap(name, what, test, golden, file, [(e[i], e[i + 1]) for i in range(0, len(e), 2)]) for name, what, golden, file, *e in table]


TRAPS = (rows("text_test", TEXT) + rows("golden_dit_test", DIT) + rows("golden_sample_test", SAMPLE) + rows("solver_test", SOLVER) +
         rows("golden_vae_test", VAE))
