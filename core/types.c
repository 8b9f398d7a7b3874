/* Tensors as values: sizes, names and views. Nothing here touches memory but the last. */
#include "core/types.h"

#include <assert.h>
#include <string.h>

static const struct { const char *name; size_t bytes; } dtypes[KG_DTYPES] = {
    [KG_F32] = {"f32", 4}, [KG_F16] = {"f16", 2}, [KG_BF16] = {"bf16", 2}, [KG_U8] = {"u8", 1}, [KG_I8] = {"i8", 1},
    [KG_I32] = {"i32", 4}, [KG_I64] = {"i64", 8}, [KG_F64] = {"f64", 8}, [KG_F8_E4M3] = {"f8_e4m3", 1},
    [KG_F8_E5M2] = {"f8_e5m2", 1}};

size_t kg_dtype_bytes(kg_dtype d) { return dtypes[d].bytes; }

const char *kg_dtype_name(kg_dtype d) { return dtypes[d].name; }

int kg_dtype_find(const char *name, kg_dtype *d)
{
    for (int i = 0; i < KG_DTYPES; ++i)
        if (!strcmp(dtypes[i].name, name)) {
            *d = (kg_dtype)i;
            return 1;
        }
    return 0;
}

kg_tensor kg_tensor_make(void *at, kg_dtype d, int rank, const int64_t *shape)
{
    assert(rank >= 1 && rank <= KG_RANK);
    kg_tensor t = {.at = at, .rank = rank, .dtype = d, .row = shape[rank - 1]};
    memcpy(t.shape, shape, (size_t)rank * sizeof *shape);
    return t;
}

int64_t kg_count(const kg_tensor *t)
{
    int64_t n = t->rank > 0;
    for (int i = 0; i < t->rank; ++i)
        n *= t->shape[i];
    return n;
}

int64_t kg_cols(const kg_tensor *t) { return t->rank ? t->shape[t->rank - 1] : 0; }

int64_t kg_rows(const kg_tensor *t)
{
    int64_t n = t->rank > 0;
    for (int i = 0; i + 1 < t->rank; ++i)
        n *= t->shape[i];
    return n;
}

size_t kg_bytes(const kg_tensor *t) { return (size_t)kg_count(t) * kg_dtype_bytes(t->dtype); }

int kg_dense(const kg_tensor *t) { return t->row == kg_cols(t) || kg_rows(t) <= 1; }

static void *offset(const kg_tensor *t, int64_t elements)
{
    return (void *)((uintptr_t)t->at + (uintptr_t)elements * kg_dtype_bytes(t->dtype));
}

kg_tensor kg_slice_cols(kg_tensor t, int64_t first, int64_t count)
{
    assert(t.rank && first >= 0 && count >= 0 && first + count <= kg_cols(&t));
    t.at = offset(&t, first);
    t.shape[t.rank - 1] = count;
    return t;
}

/* Elements between two neighbours of the outermost dimension. */
static int64_t outer_stride(const kg_tensor *t)
{
    int64_t n = t->rank > 1 ? t->row : 1;
    for (int i = 1; i + 1 < t->rank; ++i)
        n *= t->shape[i];
    return n;
}

kg_tensor kg_slice(kg_tensor t, int64_t first, int64_t count)
{
    assert(t.rank && first >= 0 && count >= 0 && first + count <= t.shape[0]);
    t.at = offset(&t, first * outer_stride(&t));
    t.shape[0] = count;
    if (t.rank == 1)
        t.row = count;
    return t;
}

kg_tensor kg_at(kg_tensor t, int64_t index)
{
    assert(t.rank > 1);
    t = kg_slice(t, index, 1);
    memmove(t.shape, t.shape + 1, (size_t)(t.rank - 1) * sizeof *t.shape);
    --t.rank;
    return t;
}

kg_tensor kg_view(kg_tensor t, int rank, const int64_t *shape)
{
    assert(kg_dense(&t));
    kg_tensor v = kg_tensor_make(t.at, t.dtype, rank, shape);
    assert(kg_count(&v) == kg_count(&t));
    return v;
}

/* Whatever is not finite has the largest exponent; a fraction beside it makes it NaN. */
static int of_bits(uint32_t u, uint32_t inf) { return u < inf ? 0 : u == inf ? KG_HAS_INF : KG_HAS_NAN; }

/* Is there any such value? Eight bytes at a time: one more in the lowest bit of a full exponent carries into the sign's place, and no
 * further. */
static int any_full(const char *p, size_t bytes, uint64_t exponent, uint64_t lowest, uint64_t sign)
{
    uint64_t found = 0, v[4];
    for (; bytes >= sizeof v; p += sizeof v, bytes -= sizeof v) {
        memcpy(v, p, sizeof v);
        for (int i = 0; i < 4; ++i)
            found |= (v[i] & exponent) + lowest;
    }
    memset(v, 0, sizeof v);
    memcpy(v, p, bytes);
    for (int i = 0; i < 4; ++i)
        found |= (v[i] & exponent) + lowest;
    return (found & sign) != 0;
}

static int any_not_finite(const void *p, kg_dtype d, size_t n)
{
    if (d == KG_F32)
        return any_full(p, 4 * n, 0x7f8000007f800000u, 0x0080000000800000u, 0x8000000080000000u);
    if (d == KG_F16)
        return any_full(p, 2 * n, 0x7c007c007c007c00u, 0x0400040004000400u, 0x8000800080008000u);
    return d == KG_BF16 && any_full(p, 2 * n, 0x7f807f807f807f80u, 0x0080008000800080u, 0x8000800080008000u);
}

int kg_not_finite(const void *p, kg_dtype d, size_t n)
{
    int bits = 0;
    if (!any_not_finite(p, d, n))
        return 0;
    if (d == KG_F32)
        for (size_t i = 0; i < n; ++i) {
            uint32_t u;
            memcpy(&u, (const char *)p + 4 * i, 4);
            bits |= of_bits(u & 0x7fffffffu, 0x7f800000u);
        }
    if (d == KG_F16 || d == KG_BF16)
        for (size_t i = 0; i < n; ++i) {
            uint16_t u;
            memcpy(&u, (const char *)p + 2 * i, 2);
            bits |= of_bits(u & 0x7fffu, d == KG_F16 ? 0x7c00u : 0x7f80u);
        }
    return bits;
}

const char *kg_not_finite_name(int bits)
{
    return bits == KG_HAS_NAN ? "NaN" : bits == KG_HAS_INF ? "Inf" : "NaN and Inf";
}
