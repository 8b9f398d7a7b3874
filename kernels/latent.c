/* The fronts of what makes latents and takes them apart: patches and noise. */
#include "kernels/check.h"

/* latent f32 [C, T, H, W], H and W even, and tokens [T * H/2 * W/2, 4 * C]. */
static int patches_fit(const kg_patchify_args *a)
{
    const kg_tensor *l = &a->latent;
    return l->rank == 4 && l->dtype == KG_F32 && kg_dense(l) && l->shape[2] % 2 == 0 && l->shape[3] % 2 == 0 && kg_count(l) > 0 &&
           kg_is_act(&a->tokens) && kg_is_rows(&a->tokens, l->shape[1] * l->shape[2] / 2 * (l->shape[3] / 2), 4 * l->shape[0]);
}

static int patch_front(kg_exec *x, const char *op, const kg_patchify_args *a)
{
    if (patches_fit(a))
        return kg_front(x, op, KG_C_ROWS, (double)kg_count(&a->latent), (double)kg_bytes(&a->latent) + (double)kg_bytes(&a->tokens));
    KG_REFUSE(x, op, "latent f32 [C, T, H, W] with H and W even, tokens [T * H/2 * W/2, 4 * C]", "latent, tokens", &a->latent,
              &a->tokens);
    return 0;
}

void kg_patchify(kg_exec *x, kg_patchify_args a)
{
    if (patch_front(x, "patchify", &a))
        kg_kernels_of(x)->patchify(x, &a);
    kg_front_out(x, "patchify", &a.tokens);
}

void kg_unpatchify(kg_exec *x, kg_patchify_args a)
{
    if (patch_front(x, "unpatchify", &a))
        kg_kernels_of(x)->unpatchify(x, &a);
    kg_front_out(x, "unpatchify", &a.latent);
}

void kg_noise(kg_exec *x, kg_noise_args a)
{
    if (a.out.rank < 1 || a.out.dtype != KG_F32 || !kg_dense(&a.out) || a.blocks < 0) {
        KG_REFUSE(x, "noise", "out f32, dense", "out", &a.out);
        return;
    }
    if (kg_front(x, "noise", KG_C_ROWS, 40.0 * (double)kg_count(&a.out), 4.0 * (double)kg_bytes(&a.out)) && kg_count(&a.out))
        kg_kernels_of(x)->noise(x, &a);
    kg_front_out(x, "noise", &a.out);
}
