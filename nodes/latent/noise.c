/* latent.noise: N(0,1) as torch's generators draw it, for sharing one start between nodes or runs. */
#include "kernels/ops.h"

typedef struct latent_noise_params {
    int64_t channels, frames, height, width, rng_blocks;
    kg_ints seed;
    int rng;
} latent_noise_params;

static kg_status infer(kg_infer *x)
{
    const latent_noise_params *p = x->params;
    int64_t shape[4] = {p->channels, p->frames, p->height, p->width};
    x->out[0] = kg_desc_tensor("latent/wan21", KG_F32, 4, shape);
    return KG_OK;
}

static kg_status execute(kg_exec *x)
{
    const latent_noise_params *p = kg_params(x);
    for (int i = 0; i < p->seed.n; ++i)
        kg_noise(x, (kg_noise_args){.out = kg_out_item(x, 0, i), .seed = (uint64_t)p->seed.v[i],
                                    .blocks = p->rng ? (int)p->rng_blocks : 0});
    return KG_OK;
}

KG_NODE(latent_noise) = {
    .name = "latent.noise",
    .doc = "Noise of a latent's shape, bit-equal to torch.randn with a CPU generator of this seed",
    .version = 1,
    .flags = KG_UNCACHED,
    .params_size = sizeof(latent_noise_params),
    .outputs = KG_PORTS({"noise", "latent/wan21", 0, "[channels, frames, height, width]"}),
    .params = KG_PARAMS(KG_INT(latent_noise_params, channels, 16, 1, 1024, 0, "channels"),
                        KG_INT(latent_noise_params, frames, 21, 1, 1025, 0, "latent frames: (frames - 1) / 4 + 1"),
                        KG_INT(latent_noise_params, height, 60, 1, 4096, 0, "pixels / 8"),
                        KG_INT(latent_noise_params, width, 104, 1, 4096, 0, "pixels / 8"),
                        KG_SEEDS(latent_noise_params, seed, "seed"),
                        KG_CHOICE(latent_noise_params, rng, "torch_cpu|torch_cuda", 0, "whose generator, on every device"),
                        KG_INT(latent_noise_params, rng_blocks, KG_NOISE_BLOCKS, 1, 65536, 0,
                               "torch_cuda: multiprocessors times their threads / 256 of the card it was drawn on")),
    .infer = infer,
    .execute = execute,
};
