"""The small AutoencoderKLWan, and the same weights run over a whole clip at once.

diffusers' class walks through a clip in chunks of 1, 4, 4, ... frames. Without its caches every
layer but the resampler already works on whole clips; whole_clip() gives the resampler its
whole-clip form. `python3 vae.py` checks that both agree (about 1e-6 relative).
"""
import contextlib

import torch
from diffusers import AutoencoderKLWan
from diffusers.models.autoencoders import autoencoder_kl_wan as wan

CONFIG = dict(base_dim=16, z_dim=16, dim_mult=[1, 2, 4, 4], num_res_blocks=2,
              temperal_downsample=[False, True, True])


def build():
    return AutoencoderKLWan(**CONFIG)


def _frames(layer, x):
    b, c, t, h, w = x.shape
    y = layer(x.permute(0, 2, 1, 3, 4).reshape(b * t, c, h, w))
    return y.view(b, t, *y.shape[1:]).permute(0, 2, 1, 3, 4)


def _resample(self, x, feat_cache=None, feat_idx=None):
    """WanResample.forward over a whole clip: frame 0 is never doubled nor seen as history."""
    if self.mode == "upsample3d" and x.shape[2] > 1:
        b, c, t, h, w = x.shape
        u = self.time_conv(x[:, :, 1:]).reshape(b, 2, c, t - 1, h, w)
        u = torch.stack((u[:, 0], u[:, 1]), 3).reshape(b, c, 2 * t - 2, h, w)
        x = torch.cat([x[:, :, :1], u.to(x.dtype)], 2)
    x = _frames(self.resample, x)
    if self.mode == "downsample3d" and x.shape[2] > 1:
        x = torch.cat([x[:, :, :1], self.time_conv(x)], 2)
    return x


@contextlib.contextmanager
def whole_clip():
    kept = wan.WanResample.forward
    wan.WanResample.forward = _resample
    try:
        yield
    finally:
        wan.WanResample.forward = kept


def constants(device="cpu"):
    """Wan's own latent means and deviations, shaped to broadcast."""
    c = AutoencoderKLWan(base_dim=16).config if not hasattr(constants, "c") else constants.c
    constants.c = c
    shape = (1, 16, 1, 1, 1)
    return (torch.tensor(c.latents_mean, device=device).view(shape),
            torch.tensor(c.latents_std, device=device).view(shape))


def encode(vae, clip, mean, std):
    """Normalised latents; run inside whole_clip()."""
    return (vae.quant_conv(vae.encoder(clip))[:, :16].float() - mean) / std


def decode(vae, z, mean, std):
    """Pixels, not clamped; run inside whole_clip()."""
    return vae.decoder(vae.post_quant_conv(z * std + mean)).float()


@torch.no_grad()
def decode_class(vae, z):
    """Normalised latents to pixels by the class's own decode()."""
    mean, std = constants(z.device)
    return vae.decode((z.float() * std + mean).to(vae.dtype)).sample.float()


def check(frames=17, size=64):
    torch.manual_seed(0)
    net, x = build().double(), torch.rand(2, 3, frames, size, size, dtype=torch.double) * 2 - 1
    mean, std = constants()
    with torch.no_grad():
        z = (net.encode(x).latent_dist.mode() - mean) / std
        y = net.decode(z * std + mean).sample
        with whole_clip():
            z2 = (net.quant_conv(net.encoder(x))[:, :16] - mean) / std
            y2 = net.decoder(net.post_quant_conv(z * std + mean)).clamp(-1, 1)
    gap = [float((a - b).norm() / a.norm()) for a, b in ((z, z2), (y, y2))]
    print("whole clip against the class, relative: latents %.1e, pixels %.1e" % tuple(gap))
    print("parameters", sum(p.numel() for p in net.parameters()))
    assert max(gap) < 1e-9


if __name__ == "__main__":
    check()
