-- A picture or a video through the VAE and back: what encoding and decoding alone cost it. The VAE takes sides that are multiples of 8
-- and 4n+1 frames; --size cuts the middle out of other pictures, --frames takes the first frames.
--
--     kino run graphs/vae_roundtrip.lua --image picture.png --vae wan_2.1_vae.safetensors --out back.png
--     kino run graphs/vae_roundtrip.lua --video clip.mp4 --frames 33 --vae wan_2.1_vae.safetensors --out back.mp4
return kino.template{
  doc = "Encodes a picture or a video with the Wan2.1 VAE and decodes it again.",
  params = {
    image = kino.path{ optional = true, doc = "a PNG file" },
    video = kino.path{ optional = true, doc = "or a video" },
    vae = kino.path{ "wan_2.1_vae.safetensors", doc = "the VAE: official, ComfyUI's or diffusers' file" },
    size = kino.size{ optional = true, doc = "cut to this, as in 832x480" },
    frames = kino.int{ optional = true, min = 1, max = 1025, step = 4, doc = "of a video: so many from its beginning" },
    rounding = kino.choice{ "truncate", "round", default = "truncate", doc = "how values become bytes" },
    out = kino.out{ optional = true, doc = "PNG, or of a video MP4, to write; DIR/: roundtrip.png or roundtrip.mp4 there" },
  },
  graph = function(p)
    if not p.image == not p.video then error("one of --image and --video is needed", 0) end
    if p.image and p.frames then error("--frames is of a video, and --image has one frame", 0) end
    local vae = kino.wan.vae{ path = p.vae }
    local frames = p.image and kino.image.load{ path = p.image } or kino.video.load{ path = p.video, frames = p.frames }
    if p.size then
      frames = kino.video.crop{ video = frames, width = p.size.w, height = p.size.h }
    end
    local latent = kino.wan.encode{ vae = vae, frames = frames }
    local back = kino.wan.decode{ vae = vae, latent = latent, rounding = p.rounding }
    local out = p.out or ""
    if out == "" or out:find("/$") then out = out .. (p.video and "roundtrip.mp4" or "roundtrip.png") end
    if p.video and not (p.frames == 1 and out:lower():find("%.png$")) then
      return { video = kino.video.save{ video = back, path = out } }
    end
    -- A decoder gives a stream of frames; a sheet of its one frame is the picture.
    return { image = kino.image.save{ image = kino.image.sheet{ video = back, columns = 1, gap = 0 }, path = out } }
  end,
}
