"""The small WanTransformer3DModel and UMT5EncoderModel, and how they are fed while training."""
import math

import torch
import torch.nn.functional as F
from diffusers import WanTransformer3DModel
from transformers import UMT5Config, UMT5EncoderModel

WIDTH, ROWS = 256, 512


def build_text(pieces):
    return UMT5EncoderModel(UMT5Config(
        vocab_size=pieces, d_model=WIDTH, d_kv=64, d_ff=512, num_layers=3, num_heads=4,
        dropout_rate=0.0, feed_forward_proj="gated-gelu", pad_token_id=0, eos_token_id=1))


def build_dit():
    return WanTransformer3DModel(
        patch_size=(1, 2, 2), num_attention_heads=2, attention_head_dim=128, in_channels=16,
        out_channels=16, text_dim=WIDTH, freq_dim=256, ffn_dim=1024, num_layers=8,
        cross_attn_norm=True, qk_norm="rms_norm_across_heads", eps=1e-6)


def text_rows(encoder, ids):
    """Encodes with the mask of real tokens; rows after the end are zero."""
    mask = ids != 0
    hidden = encoder(input_ids=ids, attention_mask=mask.long()).last_hidden_state
    return hidden * mask[..., None]


class FewRows:
    """Cross-attention over n text rows and one zero row that stands for the other 512 - n.

    The rows after the text are all the same vector, so attending to each of them equals attending
    to one of them with log(512 - n) added to its score. Same numbers as WanAttnProcessor over 512
    rows (`python3 models.py` checks it), at a fifteenth of the work.
    """

    def __call__(self, attn, hidden_states, encoder_hidden_states=None, attention_mask=None,
                 rotary_emb=None):
        rows = encoder_hidden_states
        heads = (attn.heads, -1)
        q = attn.norm_q(attn.to_q(hidden_states)).unflatten(2, heads).transpose(1, 2)
        k = attn.norm_k(attn.to_k(rows)).unflatten(2, heads).transpose(1, 2)
        v = attn.to_v(rows).unflatten(2, heads).transpose(1, 2)
        bias = torch.zeros(rows.shape[1], device=rows.device)
        bias[-1] = math.log(ROWS - rows.shape[1] + 1)
        score = (q @ k.transpose(2, 3)).float() / math.sqrt(q.shape[-1]) + bias
        out = score.softmax(-1).to(v.dtype) @ v
        return attn.to_out[0](out.transpose(1, 2).flatten(2).to(hidden_states.dtype))


def use_few_rows(dit):
    one = FewRows()
    for block in dit.blocks:
        block.attn2.set_processor(one)


def use_linear_patches(dit):
    """The patch embedding as a matrix product: its convolution's windows do not overlap, and a
    three-dimensional convolution in bf16 is slow."""
    conv = dit.patch_embedding

    def forward(x):
        b, c, t, h, w = x.shape
        x = x.view(b, c, t, h // 2, 2, w // 2, 2).permute(0, 2, 3, 5, 1, 4, 6)
        x = F.linear(x.reshape(b, -1, 4 * c), conv.weight.flatten(1), conv.bias)
        return x.transpose(1, 2).unflatten(2, (t, h // 2, w // 2))

    conv.forward = forward


def pad_rows(rows, length):
    return F.pad(rows, (0, 0, 0, length - rows.shape[1]))


def check():
    torch.manual_seed(0)
    dit, rows = build_dit().double(), torch.randn(2, 20, WIDTH, dtype=torch.double)
    rows[0, 9:] = 0
    x, t = torch.randn(2, 16, 2, 8, 8, dtype=torch.double), torch.tensor([999.0, 300.0])
    with torch.no_grad():
        full = dit(x, t, pad_rows(rows, ROWS)).sample
        use_few_rows(dit)
        use_linear_patches(dit)
        few = dit(x, t, pad_rows(rows, 21)).sample
    gap = float((full - few).norm() / full.norm())
    print("few rows and linear patches against the class, relative: %.1e" % gap)
    print("parameters", sum(p.numel() for p in dit.parameters()),
          sum(p.numel() for p in build_text(140).parameters()))
    assert gap < 1e-6


if __name__ == "__main__":
    check()
