-- Many prompts in one run, for figures over hundreds of them: the demo's pipeline once a line of a list, each model loaded once. All
-- frames of a clip lie side by side on one picture, so that no video is coded. A script may make new files in the current folder:
-- they are 1.png, 2.png, ... there. tools/demo_model/engine.py writes the list and takes the pictures apart.

return kino.template{
  doc = "A sheet of all frames for each of many prompts.",
  params = {
    prompts  = kino.string{ "0 a red circle moves left over a blue background", doc = "a seed and a sentence a line; @FILE reads them" },
    frames   = kino.int{ 17, min = 1, max = 1025, step = 4, doc = "4n+1 frames" },
    size     = kino.size{ "128x128", doc = "width x height" },
    steps    = kino.int{ 20, min = 1, max = 1000, doc = "denoising steps" },
    guidance = kino.number{ 4, min = 0, max = 100, doc = "weight of the prompt" },
    shift    = kino.number{ 3, min = 0.01, max = 100, doc = "shift of the schedule" },
    solver   = kino.choice{ "unipc", "dpm++", "euler", default = "unipc", doc = "the solver" },
    schedule = kino.choice{ "official", "diffusers", default = "official", doc = "whose timesteps" },
  },
  graph = function(p)
    local encoder = kino.text.load{ path = "umt5_demo.safetensors" }
    local model   = kino.wan.model{ path = "wan_demo.safetensors.index.json" }
    local vae     = kino.wan.vae{ path = "wan_demo_vae.safetensors" }
    local sheets  = {}
    for seed, prompt in p.prompts:gmatch("(%d+) ([^\n]+)") do
      local text = kino.text.umt5{ model = encoder, prompt = prompt }
      local latent = kino.wan.sample{
        model = model, text = text.text, negative = text.negative, width = p.size.w, height = p.size.h, frames = p.frames,
        steps = p.steps, guidance = p.guidance, shift = p.shift, solver = p.solver, schedule = p.schedule,
        seed = seed,
      }
      local sheet = kino.image.sheet{ video = kino.wan.decode{ vae = vae, latent = latent }, columns = p.frames, gap = 0 }
      sheets[#sheets + 1] = kino.image.save{ image = sheet, path = #sheets + 1 .. ".png" }
    end
    return sheets
  end,
}
