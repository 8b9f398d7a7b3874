/* The fronts of everything that works on rows or single elements: memory traffic and no products. */
#include "kernels/check.h"

static double bytes_of(const kg_tensor *t) { return t->rank ? (double)kg_bytes(t) : 0; }

void kg_residual_norm(kg_exec *x, kg_residual_norm_args a)
{
    int64_t rows = kg_rows(&a.x), dim = kg_cols(&a.x);
    if (a.x.rank < 1 || a.x.dtype != KG_F32 || dim < 1 || (a.y.rank && (!kg_is_act(&a.y) || !kg_is_rows(&a.y, rows, dim))) ||
        (a.out.rank && (!kg_is_act(&a.out) || !kg_is_rows(&a.out, rows, dim))) || !kg_is_no_or_vector(&a.gate, dim) ||
        !kg_is_no_or_vector(&a.scale, dim) || !kg_is_no_or_vector(&a.shift, dim) || (!a.y.rank && !a.out.rank)) {
        KG_REFUSE(x, "residual_norm", "x f32, y, out [rows, dim], gate, scale, shift [dim], and a y or an out",
                  "x, y, gate, scale, shift, out", &a.x, &a.y, &a.gate, &a.scale, &a.shift, &a.out);
        return;
    }
    double bytes = bytes_of(&a.x) * (a.y.rank ? 2 : 1) + bytes_of(&a.y) + bytes_of(&a.out);
    if (kg_front(x, "residual_norm", KG_C_ROWS, 8.0 * (double)kg_count(&a.x), bytes) && rows)
        kg_kernels_of(x)->residual_norm(x, &a);
    if (a.y.rank)
        kg_front_out(x, "residual_norm", &a.x);
    kg_front_out(x, "residual_norm", &a.out);
}

void kg_rms_norm(kg_exec *x, kg_rms_norm_args a)
{
    int64_t rows = kg_rows(&a.in), dim = kg_cols(&a.in);
    int rope = !a.rope.rank || (a.rope.rank == 3 && a.rope.dtype == KG_F32 && kg_dense(&a.rope) && a.rope.shape[0] == rows &&
                                a.rope.shape[1] >= 1 && a.rope.shape[2] == 2 && dim % (2 * a.rope.shape[1]) == 0);
    int add = !a.add.rank || (a.in.dtype == KG_F32 && kg_is_act(&a.add) && kg_is_rows(&a.add, rows, dim) && !a.rope.rank);
    if (!kg_is_act(&a.in) || !kg_is_act(&a.out) || dim < 1 || !kg_is_rows(&a.out, rows, dim) || !kg_is_vector(&a.weight, dim) ||
        !rope || !add) {
        KG_REFUSE(x, "rms_norm", "in, out, add [rows, dim], weight [dim], rope f32 [rows, pairs, 2] with dim a multiple of 2 * pairs; "
                  "an add goes with in f32 and no rope", "out, in, add, weight, rope", &a.out, &a.in, &a.add, &a.weight, &a.rope);
        return;
    }
    double bytes = bytes_of(&a.in) * (a.add.rank ? 2 : 1) + bytes_of(&a.add) + bytes_of(&a.out) + bytes_of(&a.rope);
    if (kg_front(x, "rms_norm", KG_C_ROWS, 6.0 * (double)kg_count(&a.in), bytes) && rows)
        kg_kernels_of(x)->rms_norm(x, &a);
    if (a.add.rank)
        kg_front_out(x, "rms_norm", &a.in);
    kg_front_out(x, "rms_norm", &a.out);
}

void kg_rope_table(kg_exec *x, kg_rope_table_args a)
{
    int64_t tokens = a.frames * a.height * a.width;
    if (a.out.rank != 3 || a.out.dtype != KG_F32 || !kg_dense(&a.out) || a.frames < 1 || a.height < 1 || a.width < 1 ||
        a.out.shape[0] != tokens || a.out.shape[2] != 2 || !(a.theta > 0)) {
        KG_REFUSE(x, "rope_table", "out f32 [frames * height * width, head_dim / 2, 2], dense", "out", &a.out);
        return;
    }
    if (kg_front(x, "rope_table", KG_C_ROWS, 40.0 * (double)kg_count(&a.out), bytes_of(&a.out)))
        kg_kernels_of(x)->rope_table(x, &a);
    kg_front_out(x, "rope_table", &a.out);
}

void kg_unary(kg_exec *x, kg_unary_args a)
{
    int same_rows = kg_rows(&a.in) == kg_rows(&a.out) && kg_cols(&a.in) == kg_cols(&a.out);
    int flat = kg_dense(&a.in) && kg_dense(&a.out) && kg_count(&a.in) == kg_count(&a.out);
    if (!kg_is_float(&a.in) || !kg_is_float(&a.out) || (!same_rows && !flat) || a.op < KG_UNARY_COPY || a.op > KG_UNARY_GELU) {
        KG_REFUSE(x, "unary", "in and out of one shape, f32, bf16 or f16", "out, in", &a.out, &a.in);
        return;
    }
    if (kg_front(x, "unary", KG_C_ROWS, (double)kg_count(&a.in), bytes_of(&a.in) + bytes_of(&a.out)) && kg_count(&a.in))
        kg_kernels_of(x)->unary(x, &a);
    kg_front_out(x, "unary", &a.out);
}

void kg_gated_gelu(kg_exec *x, kg_gated_gelu_args a)
{
    int64_t rows = kg_rows(&a.out), cols = kg_cols(&a.out);
    if (!kg_is_act(&a.out) || !kg_is_act(&a.gate) || !kg_is_act(&a.up) || !kg_is_rows(&a.gate, rows, cols) ||
        !kg_is_rows(&a.up, rows, cols)) {
        KG_REFUSE(x, "gated_gelu", "out, gate, up of one shape", "out, gate, up", &a.out, &a.gate, &a.up);
        return;
    }
    double bytes = bytes_of(&a.out) + bytes_of(&a.gate) + bytes_of(&a.up);
    if (kg_front(x, "gated_gelu", KG_C_ROWS, 20.0 * (double)kg_count(&a.out), bytes) && rows > 0 && cols > 0)
        kg_kernels_of(x)->gated_gelu(x, &a);
    kg_front_out(x, "gated_gelu", &a.out);
}

void kg_combine(kg_exec *x, kg_combine_args a)
{
    int fits = a.out.rank > 0 && a.out.dtype == KG_F32 && kg_dense(&a.out) && a.n >= 1 && a.n <= 6;
    double bytes = bytes_of(&a.out);
    for (int i = 0; fits && i < a.n; ++i) {
        fits = kg_is_float(&a.term[i]) && kg_dense(&a.term[i]) && kg_count(&a.term[i]) == kg_count(&a.out);
        bytes += bytes_of(&a.term[i]);
    }
    if (!fits) {
        KG_REFUSE(x, "combine", "1 to 6 dense terms of the count of out, out f32", "out, term 0, term 1, term 2", &a.out, &a.term[0],
                  &a.term[1], &a.term[2]);
        return;
    }
    if (kg_front(x, "combine", KG_C_ROWS, 2.0 * a.n * (double)kg_count(&a.out), bytes) && kg_count(&a.out))
        kg_kernels_of(x)->combine(x, &a);
    kg_front_out(x, "combine", &a.out);
}

void kg_fill_with(kg_exec *x, kg_fill_args a)
{
    if (!kg_is_float(&a.out) || !kg_dense(&a.out)) {
        KG_REFUSE(x, "fill", "out f32, bf16 or f16, dense", "out", &a.out);
        return;
    }
    if (kg_front(x, "fill", KG_C_ROWS, 0, bytes_of(&a.out)) && kg_count(&a.out))
        kg_kernels_of(x)->fill(x, &a);
    kg_front_out(x, "fill", &a.out);
}

void kg_rel_bias(kg_exec *x, kg_rel_bias_args a)
{
    int fits = a.out.rank == 2 && a.out.dtype == KG_F32 && kg_dense(&a.out) && kg_is_float(&a.table) && a.table.rank == 2 &&
               kg_dense(&a.table) && a.table.shape[1] == a.out.shape[0] && a.bucket.rank == 1 && a.bucket.dtype == KG_I32 &&
               a.bucket.shape[0] == a.out.shape[1];
    if (!fits) {
        KG_REFUSE(x, "rel_bias", "out f32 [heads, n], table [buckets, heads], bucket i32 [n]", "out, table, bucket", &a.out, &a.table,
                  &a.bucket);
        return;
    }
    if (kg_front(x, "rel_bias", KG_C_ROWS, 0, 2 * bytes_of(&a.out)) && kg_count(&a.out))
        kg_kernels_of(x)->rel_bias(x, &a);
    kg_front_out(x, "rel_bias", &a.out);
}
