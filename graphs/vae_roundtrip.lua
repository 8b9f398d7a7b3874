-- A picture through the VAE and back: what encoding and decoding alone cost it. The VAE takes sides that are multiples of 8; --size
-- cuts the middle out of other pictures.
--
--     kino run graphs/vae_roundtrip.lua --image picture.png --vae wan_2.1_vae.safetensors --out back.png
return kino.template{
  doc = "Encodes a picture with the Wan2.1 VAE and decodes it again.",
  params = {
    image = kino.path{ doc = "a PNG file" },
    vae = kino.path{ "wan_2.1_vae.safetensors", doc = "the VAE: official, ComfyUI's or diffusers' file" },
    size = kino.size{ optional = true, doc = "cut to this, as in 832x480" },
    rounding = kino.choice{ "truncate", "round", default = "truncate", doc = "how values become bytes" },
    out = kino.out{ "roundtrip.png", doc = "PNG file to write" },
  },
  graph = function(p)
    local vae = kino.wan.vae{ path = p.vae }
    local picture = kino.image.load{ path = p.image }
    if p.size then
      picture = kino.video.crop{ video = picture, width = p.size.w, height = p.size.h }
    end
    local latent = kino.wan.encode{ vae = vae, frames = picture }
    local back = kino.wan.decode{ vae = vae, latent = latent, rounding = p.rounding }
    -- A decoder gives a stream of frames; a sheet of its one frame is the picture.
    return { image = kino.image.save{ image = kino.image.sheet{ video = back, columns = 1, gap = 0 }, path = p.out } }
  end,
}
