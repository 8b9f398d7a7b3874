-- Text to video with the small model beside this file: shapes in colours that move, 17 frames of 128x128.
-- kino run graphs/demo/t2v.lua --prompt "a red circle moves left over a blue background" --out demo.mp4

local min, max = math.min, math.max
local function up16(n) return math.ceil(n / 16) * 16 end

return kino.template{
  doc = "A coloured shape that moves, from a sentence.",
  params = {
    prompt   = kino.string{ "a red circle moves left over a blue background", doc = "what the video shows" },
    negative = kino.string{ "", doc = "what it does not show" },
    out      = kino.out{ "demo.mp4", doc = "MP4 file to write, a PNG sheet beside it; with --frames 1 a PNG; DIR/: demo.mp4 there" },
    size     = kino.size{ "128x128", doc = "width x height: 112 to 160, which is what this model can; it knows 128x128" },
    fit      = kino.choice{ "exact", "crop", default = "exact", doc = "crop: render the next size up, and cut" },
    frames   = kino.int{ 17, min = 1, max = 1025, step = 4, doc = "this model knows 17 alone" },
    any_size = kino.bool{ false, doc = "take other sizes and lengths too; what they show is no shape that moves" },
    steps    = kino.int{ 20, min = 1, max = 1000, doc = "denoising steps" },
    guidance = kino.number{ 4, min = 0, max = 100, doc = "weight of the prompt" },
    shift    = kino.number{ 3, min = 0.01, max = 100, doc = "shift of the schedule" },
    solver   = kino.choice{ "unipc", "dpm++", "euler", default = "unipc", doc = "the solver" },
    schedule = kino.choice{ "official", "diffusers", default = "official", doc = "whose timesteps" },
    seed     = kino.seed{ 0, doc = "another seed gives another video" },
    fps      = kino.number{ 8, min = 1, max = 240, doc = "frames a second" },
    model        = kino.path{ "wan_demo.safetensors.index.json", doc = "transformer" },
    text_encoder = kino.path{ "umt5_demo.safetensors", doc = "text encoder" },
    vae          = kino.path{ "wan_demo_vae.safetensors", doc = "VAE" },
  },
  graph = function(p)
    local model  = kino.wan.model{ path = p.model }
    local text   = kino.text.umt5{ model = kino.text.load{ path = p.text_encoder }, prompt = p.prompt, negative = p.negative }
    local crop   = p.fit == "crop"
    local w, h   = crop and up16(p.size.w) or p.size.w, crop and up16(p.size.h) or p.size.h
    if not p.any_size and (min(w, h) < 112 or max(w, h) > 160 or p.frames ~= 17) then
      error(("%dx%d, %d frames: the demo's model was trained on 17 frames of 128x128; it holds for 17 frames with sides from 112 to 160, " ..
        "and shows nothing worth seeing elsewhere (--any_size yes renders it all the same)"):format(w, h, p.frames))
    end
    local latent = kino.wan.sample{ "main",
      model = model, text = text.text, negative = text.negative,
      width = w, height = h, frames = p.frames,
      steps = p.steps, guidance = p.guidance, shift = p.shift, solver = p.solver, schedule = p.schedule, seed = p.seed,
    }
    local video = kino.wan.decode{ vae = kino.wan.vae{ path = p.vae }, latent = latent }
    if crop then video = kino.video.crop{ video = video, width = p.size.w, height = p.size.h } end
    local out = p.out:find("/$") and p.out .. "demo.mp4" or p.out
    if p.frames == 1 and out:lower():find("%.png$") then       -- a sheet of one frame is that picture
      return { image = kino.image.save{ image = kino.image.sheet{ video = video, columns = 1, gap = 0 }, path = out } }
    end
    local sheet = kino.image.sheet{ video = video, columns = 6 }
    return {
      video = kino.video.save{ video = video, path = out, fps = p.fps },
      sheet = kino.image.save{ image = sheet, path = out:gsub("%.%w+$", "") .. ".png" },
    }
  end,
}
