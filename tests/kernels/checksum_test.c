/* A checksum of what each of our own kernels writes, per instruction set, against committed values. A mismatch means that results
 * changed: raise KG_EPOCH in kernels/kernel.h and commit the new values, so that caches of older builds are told apart.
 *
 * Products are oneDNN's, whose version is in the numerics tag: linear and attention are fed so that products are exact in f32
 * (small whole numbers, ones and zeros), and what is checked is our epilogue and softmax. */
#include "core/key.h"
#include "tests/kernels/ops_test.h"

enum { ROWS = 19, COLS = 200, HEADS = 20, HEAD = 100, OPS = 9 };
static const char *const names[OPS] = {"linear", "attention", "residual_norm", "rms_norm", "rope_table",
                                        "unary", "gated_gelu", "combine", "noise"};
static const uint64_t committed[KG_ISAS][OPS] = {   /* table */
    {0xb4258eec69969ed7, 0xe1847495afdbf778, 0x20b51b496115419f, 0xf7c95c4257ffb7e4, 0x7a16331938fa859c,
     0x4de68030d74cfafe, 0xaac109651344519d, 0x1fb5da4ea9638535, 0x50f2997796e9c63f},
    {0xd70cebac977b230f, 0x29d0181d42350007, 0x20b51b496115419f, 0x09f98d443c61c4b1, 0x7a16331938fa859c,
     0x633aeab6e901345f, 0x47acd26ad258fd16, 0x1fb5da4ea9638535, 0x50f2997796e9c63f},
    {0xd70cebac977b230f, 0x29d0181d42350007, 0x20b51b496115419f, 0x09f98d443c61c4b1, 0x7a16331938fa859c,
     0x633aeab6e901345f, 0x47acd26ad258fd16, 0x1fb5da4ea9638535, 0x50f2997796e9c63f},
};

/* Whole numbers from -4 to 4: their products and sums are exact, in any order. */
static kg_tensor whole(kg_exec *x, int64_t rows, int64_t cols, uint64_t *seed)
{
    kg_tensor t = kg_temp(x, KG_F32, KG_SHAPE(rows, cols));
    for (int64_t i = 0; i < rows * cols; ++i)
        ((float *)t.at)[i] = (float)(int)(test_next(seed) % 9) - 4;
    return t;
}

/* Ones, then zeros: a product with it picks the first key's probability. */
static kg_tensor first(kg_exec *x, int64_t rows, int64_t cols)
{
    kg_tensor t = kg_temp(x, KG_F32, KG_SHAPE(rows, cols));
    for (int64_t i = 0; i < rows * cols; ++i)
        ((float *)t.at)[i] = i < cols;
    return t;
}

static kg_tensor call(kg_exec *x, int op, uint64_t *seed)
{
    kg_tensor out = ops_rows(x, KG_F32, ROWS, COLS, 0, seed), a = ops_rows(x, KG_F32, ROWS, COLS, 0, seed);
    kg_tensor b = ops_rows(x, KG_BF16, ROWS, COLS, 0, seed);
    kg_tensor v = ops_vector(x, KG_F16, COLS, seed), table = ops_rows(x, KG_F32, ROWS, HEAD, 0, seed);
    kg_tensor q = whole(x, ROWS, COLS, seed), k = whole(x, ROWS, COLS, seed), narrow = kg_slice_cols(q, 0, 30);
    kg_tensor weight = whole(x, COLS, 30, seed), rope = kg_view(table, KG_SHAPE(ROWS, HEAD / 2, 2));
    switch (op) {
    case 0:
        kg_linear(x, (kg_linear_args){.out = out, .in = narrow, .weight = weight, .bias = v, .activation = KG_LINEAR_GELU});
        break;
    case 1:
        kg_attention(x, (kg_attention_args){.out = out, .q = q, .k = k, .v = first(x, ROWS, COLS), .heads = HEADS, .scale = 0.037});
        break;
    case 2:
        kg_residual_norm(x, (kg_residual_norm_args){.x = a, .y = b, .gate = v, .scale = v, .shift = v, .plus_one = 1, .out = out,
                                                    .eps = 1e-6});
        break;
    case 3: kg_rms_norm(x, (kg_rms_norm_args){.out = out, .in = b, .weight = v, .rope = rope, .eps = 1e-6}); break;
    case 4:
        kg_rope_table(x, (kg_rope_table_args){.out = rope, .frames = 1, .height = 1, .width = ROWS, .theta = 10000});
        return table;
    case 5: kg_unary(x, (kg_unary_args){.out = out, .in = b, .op = KG_UNARY_SILU}); break;
    case 6: kg_gated_gelu(x, (kg_gated_gelu_args){.out = out, .gate = a, .up = b}); break;
    case 7: kg_combine(x, (kg_combine_args){.out = out, .term = {a, b}, .coef = {0.3, -1.7}, .n = 2}); break;
    default: kg_noise(x, (kg_noise_args){.out = out, .seed = 5}); break;
    }
    return out;
}

int main(void)
{
    unsetenv("KG_TEST_DEVICE");        /* the CPU's own, whatever device others are tested on */
    kg_isa best = kg_cpu_isa();
    for (int isa = KG_ISA_PORTABLE; isa <= (int)best; ++isa) {
        kg_cpu_isa_limit((kg_isa)isa);
        ops_machine m = ops_open(1, (size_t)16 << 20);
        for (int op = 0; op < OPS; ++op) {
            uint64_t seed = 1;
            kg_eager_reset(m.x);
            kg_tensor out = call(m.x, op, &seed);
            CHECK(kg_error_last()->status == KG_OK, "%s", kg_error_last()->message);
            uint64_t h = kg_checksum(out.at, kg_bytes(&out));
            CHECK(h == committed[isa][op], "%s on %s is now 0x%016llx: raise KG_EPOCH (kernels/kernel.h), commit the new value",
                  names[op], kg_cpu_isa_name((kg_isa)isa), (unsigned long long)h);
        }
        ops_close(&m);
    }
    return TEST_END();
}
