-- The demo's pipeline for machines without FFmpeg: what the decoder gives goes onto a contact sheet alone. tools/gpu/check runs it
-- with --models graphs/demo.

return kino.template{
  doc = "The demo as a contact sheet.",
  params = {
    prompt   = kino.string{ "a red circle moves left over a blue background", doc = "what the video shows" },
    negative = kino.string{ "", doc = "what it does not show" },
    out      = kino.out{ "sheet.png", doc = "PNG file to write: all frames side by side" },
    size     = kino.size{ "128x128", doc = "width x height" },
    frames   = kino.int{ 17, min = 1, max = 1025, step = 4, doc = "4n+1 frames" },
    steps    = kino.int{ 20, min = 1, max = 1000, doc = "denoising steps" },
    guidance = kino.number{ 4, min = 0, max = 100, doc = "weight of the prompt" },
    seed     = kino.seed{ 0, doc = "another seed gives another video" },
    columns  = kino.int{ 6, min = 1, max = 64, doc = "frames side by side" },
    host     = kino.choice{ "none", "text", "decoder", default = "none", doc = "the node that the CPU runs" },
  },
  graph = function(p)
    local function device(node) return p.host == node and "cpu" or "auto" end
    local text = kino.text.umt5{
      model = kino.text.load{ path = "umt5_demo.safetensors" }, prompt = p.prompt, negative = p.negative, device = device("text"),
    }
    local latent = kino.wan.sample{ "main",
      model = kino.wan.model{ path = "wan_demo.safetensors.index.json" }, text = text.text, negative = text.negative,
      width = p.size.w, height = p.size.h, frames = p.frames, steps = p.steps, guidance = p.guidance, shift = 3, seed = p.seed,
    }
    local video = kino.wan.decode{ vae = kino.wan.vae{ path = "wan_demo_vae.safetensors" }, latent = latent, device = device("decoder") }
    return { sheet = kino.image.save{ image = kino.image.sheet{ video = video, columns = p.columns }, path = p.out } }
  end,
}
