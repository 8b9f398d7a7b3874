/* out = softmax(scale * q k^T + bias) v, by heads. */
#include "kernels/check.h"

static int fits(const kg_attention_args *a)
{
    int64_t nq = kg_rows(&a->q), nk = kg_rows(&a->k), cols = kg_cols(&a->q);
    if (!kg_is_act(&a->q) || !kg_is_act(&a->out) || a->k.dtype != a->q.dtype || a->v.dtype != a->q.dtype || a->heads < 1 ||
        cols < a->heads || cols % a->heads || nk < 1)
        return 0;
    if (!kg_is_rows(&a->out, nq, cols) || !kg_is_rows(&a->k, nk, cols) || !kg_is_rows(&a->v, nk, cols))
        return 0;
    int64_t span = nq > nk ? nq : nk;
    return !a->bias.rank ||
           (a->bias.dtype == KG_F32 && kg_rows(&a->bias) == a->heads && kg_cols(&a->bias) % 2 && kg_cols(&a->bias) >= 2 * span - 1);
}

void kg_attention(kg_exec *x, kg_attention_args a)
{
    if (!fits(&a)) {
        KG_REFUSE(x, "attention", "q, out [nq, heads * d], k, v [nk, heads * d], bias f32 [heads, 2 * span - 1]",
                  "out, q, k, v, bias", &a.out, &a.q, &a.k, &a.v, &a.bias);
        return;
    }
    const kg_kernels *kernels = kg_kernels_of(x);
    size_t mark = kg_mark(x);
    a.scratch = kg_scratch(x, kernels->attention_scratch(x, &a, kg_front_workers(x)));
    double bytes = (double)kg_bytes(&a.q) + (double)kg_bytes(&a.out) + (double)kg_bytes(&a.k) + (double)kg_bytes(&a.v);
    double flops = 4.0 * (double)kg_rows(&a.q) * (double)kg_rows(&a.k) * (double)kg_cols(&a.q);
    if (kg_front(x, "attention", KG_C_ATTENTION, flops, bytes) && kg_rows(&a.q))
        kernels->attention(x, &a);
    kg_release(x, mark);
    kg_front_out(x, "attention", &a.out);
}
