/* out = activation(in * weight^T + bias). */
#include "kernels/check.h"

void kg_linear(kg_exec *x, kg_linear_args a)
{
    int64_t rows = kg_rows(&a.in), k = kg_cols(&a.in), n = kg_cols(&a.out);
    if (!kg_is_act(&a.in) || !kg_is_act(&a.out) || !kg_is_rows(&a.out, rows, n) || !kg_is_float(&a.weight) || k < 1 ||
        n < 1 || !kg_is_rows(&a.weight, n, k) || !kg_is_no_or_vector(&a.bias, n) || a.activation < KG_LINEAR_NONE ||
        a.activation > KG_LINEAR_SILU) {
        KG_REFUSE(x, "linear", "out [rows, n] is in [rows, k] * weight [n, k] + bias [n]", "out, in, weight, bias", &a.out, &a.in,
                  &a.weight, &a.bias);
        return;
    }
    const kg_kernels *kernels = kg_kernels_of(x);
    size_t mark = kg_mark(x);
    a.scratch = kg_scratch(x, kernels->linear_scratch(x, &a, kg_front_workers(x)));
    double bytes = (double)kg_bytes(&a.in) + (double)kg_bytes(&a.out) + (double)kg_bytes(&a.weight);
    if (kg_front(x, "linear", a.in.dtype == KG_F32 ? KG_C_MATMUL : KG_C_MATMUL16, 2.0 * (double)rows * (double)n * (double)k, bytes) &&
        rows)
        kernels->linear(x, &a);
    kg_release(x, mark);
    kg_front_out(x, "linear", &a.out);
}
