-- Text to video with a published Wan2.1 model, or with the two experts of Wan2.2 A14B.
-- kino run graphs/wan_t2v.lua --models DIR --prompt "..." --out clip.mp4

local NEGATIVE = "色调艳丽，过曝，静态，细节模糊不清，字幕，风格，作品，画作，画面，静止，整体发灰，最差质量，低质量，JPEG压缩残留，" ..
    "丑陋的，残缺的，多余的手指，画得不好的手部，画得不好的脸部，畸形的，毁容的，形态畸形的肢体，手指融合，静止不动的画面，" ..
    "杂乱的背景，三条腿，背景人很多，倒着走"      -- the official one, which the models were tuned with

local function up16(n) return math.ceil(n / 16) * 16 end

return kino.template{
  doc = "Text to video with a Wan 2.x model.",
  params = {
    prompt       = kino.string{ doc = "what the video shows" },
    negative     = kino.string{ NEGATIVE, doc = "what it does not show" },
    out          = kino.out{ "video.mp4", doc = "MP4 file to write, with --frames 1 PNG; several seeds, or DIR/, give video-SEED.mp4" },
    size         = kino.size{ "832x480", doc = "width x height; multiples of 16 unless fit is crop" },
    fit          = kino.choice{ "exact", "crop", default = "exact", doc = "crop: render the next size up, and cut" },
    frames       = kino.int{ 81, min = 1, max = 1025, step = 4, doc = "4n+1 frames" },
    steps        = kino.int{ 50, min = 1, max = 1000, doc = "denoising steps" },
    guidance     = kino.number{ 5, min = 0, max = 100, doc = "weight of the prompt; Wan's README advises 6 for 1.3B" },
    shift        = kino.number{ "auto", min = 0.01, max = 100, doc = "shift of the schedule; auto: by model and size" },
    solver       = kino.choice{ "unipc", "dpm++", "euler", default = "unipc", doc = "the solver" },
    schedule     = kino.choice{ "official", "diffusers", default = "official", doc = "whose timesteps" },
    seed         = kino.seeds{ 0, doc = "seed; a list shares each pass over the weights" },
    fps          = kino.number{ 16, min = 1, max = 240, doc = "frames a second" },
    model        = kino.path{ "wan2.1_t2v_1.3B_fp16.safetensors", doc = "transformer; with model_low the high-noise expert" },
    model_low    = kino.path{ optional = true, doc = "low-noise expert (Wan2.2 A14B)" },
    boundary     = kino.number{ 0.875, min = 0, max = 1, doc = "where model_low takes over" },
    guidance_low = kino.number{ "auto", min = 0, max = 100, doc = "guidance of model_low; auto: as guidance" },
    text_encoder = kino.path{ "umt5_xxl_fp16.safetensors", doc = "UMT5 encoder" },
    tokenizer    = kino.path{ optional = true, doc = "spiece.model, when it is not in or beside the text encoder" },
    vae          = kino.path{ "wan_2.1_vae.safetensors", doc = "the VAE" },
  },
  graph = function(p)
    local model = kino.wan.model{ path = p.model }
    local low   = p.model_low and kino.wan.model{ "low noise", path = p.model_low } or nil
    local text  = kino.text.umt5{
      model = kino.text.load{ path = p.text_encoder, tokenizer = p.tokenizer },
      prompt = p.prompt, negative = p.negative,
    }
    local crop = p.fit == "crop"
    local x = kino.wan.sample{ "main",
      model = model, text = text.text, negative = text.negative,
      width = crop and up16(p.size.w) or p.size.w, height = crop and up16(p.size.h) or p.size.h, frames = p.frames,
      steps = p.steps, guidance = p.guidance, shift = p.shift, solver = p.solver, schedule = p.schedule, seed = p.seed,
      model_low = low, -- without model_low what is said of it goes on all the same, and is refused there
      boundary = (low or p.boundary ~= 0.875) and p.boundary or nil,
      guidance_low = (low or p.guidance_low ~= "auto") and p.guidance_low or nil,
    }
    local folder = p.out:find("/$")
    local out, several = folder and p.out .. "video.mp4" or p.out, folder or #p.seed > 1
    local stem, dot = out:match("^(.*)(%.%w+)$")
    local picture = p.frames == 1 and out:lower():find("%.png$")
    local vae, videos = kino.wan.vae{ path = p.vae }, {}
    for i, seed in ipairs(p.seed) do
      local latent = #p.seed > 1 and kino.latent.pick{ latent = x, index = i - 1 } or x
      local video  = kino.wan.decode{ vae = vae, latent = latent }
      if crop then video = kino.video.crop{ video = video, width = p.size.w, height = p.size.h } end
      local path = several and (stem or out) .. "-" .. seed .. (dot or "") or out
      if picture then                  -- a sheet of one frame is that picture
        videos[i] = kino.image.save{ image = kino.image.sheet{ video = video, columns = 1, gap = 0 }, path = path }
      else
        videos[i] = kino.video.save{ video = video, path = path, fps = p.fps }
      end
    end
    return videos
  end,
}
