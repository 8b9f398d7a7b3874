-- Text to frames with a Wan 2.x model, all frames onto one sheet: tools/gpu/bench times it beside diffusers' pipeline, on machines
-- without FFmpeg too.

return kino.template{
  doc = "Wan 2.x, prompt to frames, as a contact sheet.",
  params = {
    prompt   = kino.string{ "a red circle moves left over a blue background", doc = "what the video shows" },
    negative = kino.string{ "", doc = "what it does not show" },
    model        = kino.path{ "dit.safetensors", doc = "transformer" },
    text_encoder = kino.path{ "umt5.safetensors", doc = "text encoder, its tokenizer beside it" },
    vae          = kino.path{ "vae.safetensors", doc = "VAE" },
    out      = kino.out{ "sheet.png", doc = "PNG file to write" },
    size     = kino.size{ "832x480", doc = "width x height" },
    frames   = kino.int{ 81, min = 1, max = 1025, step = 4, doc = "4n+1 frames" },
    steps    = kino.int{ 50, min = 1, max = 1000, doc = "denoising steps" },
    guidance = kino.number{ 5, min = 0, max = 100, doc = "weight of the prompt" },
    seed     = kino.seed{ 0, doc = "another seed gives another video" },
  },
  graph = function(p)
    local text = kino.text.umt5{ model = kino.text.load{ path = p.text_encoder }, prompt = p.prompt, negative = p.negative }
    local latent = kino.wan.sample{ "main",
      model = kino.wan.model{ path = p.model }, text = text.text, negative = text.negative,
      width = p.size.w, height = p.size.h, frames = p.frames, steps = p.steps, guidance = p.guidance, shift = 3, seed = p.seed,
    }
    local video = kino.wan.decode{ vae = kino.wan.vae{ path = p.vae }, latent = latent }
    return { sheet = kino.image.save{ image = kino.image.sheet{ video = video, columns = 9 }, path = p.out } }
  end,
}
