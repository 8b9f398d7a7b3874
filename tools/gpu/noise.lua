-- Latents of noise as files, for tools/gpu/check, which draws the same with torch: NAME.safetensors in the current folder for each
-- line of a list.

return kino.template{
  doc = "Noise, a file for each shape and seed.",
  params = {
    draws  = kino.string{ "16 5 16 16 0 noise", doc = "channels, frames, height, width, seed and a name, a line each; @FILE reads them" },
    rng    = kino.choice{ "torch_cpu", "torch_cuda", default = "torch_cpu", doc = "whose generator" },
    blocks = kino.int{ 1056, min = 1, max = 65536, doc = "torch_cuda: see kino nodes latent.noise" },
  },
  graph = function(p)
    local files = {}
    for channels, frames, height, width, seed, name in p.draws:gmatch("(%d+) (%d+) (%d+) (%d+) (%d+) (%w+)") do
      local noise = kino.latent.noise{
        channels = tonumber(channels), frames = tonumber(frames), height = tonumber(height), width = tonumber(width),
        seed = seed, rng = p.rng, rng_blocks = p.blocks,
      }
      files[#files + 1] = kino.latent.save{ latent = noise, path = name .. ".safetensors" }
    end
    return files
  end,
}
