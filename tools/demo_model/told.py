"""Every row of the encoded text must tell all four attributes: what the text encoder is trained by.

A row is one of 512 keys of the transformer's cross-attention and most of them are padding, so a word
that only its own row knows reaches the pictures very faintly: without this, shapes were not learned
in 6,700 steps. The four attributes have fixed orthonormal directions in a row; a row tells what its
largest component says.
"""
import torch
import torch.nn.functional as F

import captions
import clips
import models

KINDS = ("shape", "colour", "background", "direction")
SIZES = (len(clips.SHAPES), len(clips.COLOURS), len(clips.BACKGROUNDS), len(clips.DIRECTIONS))


def heads(device="cpu"):
    """Four matrices [width, names]; all their columns are orthonormal."""
    rng = torch.Generator().manual_seed(6)
    basis = torch.linalg.qr(torch.randn(models.WIDTH, sum(SIZES), generator=rng))[0]
    return basis.to(device).split(SIZES, 1)


def loss(told, rows, judged, names, want):
    """Relative entropy of what the judged rows tell to what they should, summed over attributes and
    divided by the number of judged rows.

    rows [n,t,width]; judged [n,t] or, for single attributes, [n,t,4]; names [n,4]: 1 where the
    caption speaks of an attribute; of any other a row must tell each name alike. want int64 [n,4]."""
    if judged.dim() == 2:
        judged = judged[..., None].expand(-1, -1, len(told))
    total = 0.0
    for i, head in enumerate(told):
        size = head.shape[1]
        share = F.one_hot(want[:, i], size) * names[:, i, None] + (1 - names[:, i, None]) / size
        said = (rows.float() @ head).log_softmax(-1)
        miss = (torch.xlogy(share, share)[:, None] - share[:, None] * said).sum(-1)
        total = total + (miss * judged[..., i]).sum()
    return total / judged.amax(-1).sum().clamp(min=1)


def shares(told, rows, real, want):
    """{kind: (right by the mean of a caption's rows, right by each row alone)}; all four by mean."""
    found, all_four = {}, torch.ones(len(rows), dtype=torch.bool)
    for i, head in enumerate(told):
        logits = rows @ head
        mean = logits.sum(1).argmax(1) == want[:, i]
        each = ((logits.argmax(2) == want[:, i, None]) * real).sum() / real.sum()
        found[KINDS[i]] = (float(mean.float().mean()), float(each))
        all_four &= mean
    return found, float(all_four.float().mean())
