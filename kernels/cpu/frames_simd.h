/* The inner loop of kernels/cpu/frames.c, included once for each instruction set. */
KG_INLINE void KG_FN(norm)(int64_t rows, int64_t c, const void *in, kg_dtype type, const float *gamma, int silu, void *out)
{
    for (int64_t r = 0; r < rows; ++r) {
        vf squares = {0};
        for (int64_t i = 0; i < c; i += LANES) {
            vf v = v_load(in, type, r * c + i, c - i);
            squares += v * v;
        }
        float norm = sqrtf(v_sum(squares));
        vf scale = v_splat(sqrtf((float)c) / (norm > 1e-12f ? norm : 1e-12f));
        for (int64_t i = 0; i < c; i += LANES) {
            vf v = v_load(in, type, r * c + i, c - i) * scale * v_load(gamma, KG_F32, i, c - i);
            v_store(out, type, r * c + i, c - i, silu ? v_silu(v) : v);
        }
    }
}

static void KG_FN(norm_rows)(int64_t rows, int64_t c, const void *in, kg_dtype type, const float *gamma, int silu, void *out)
{
    if (type == KG_F32)
        KG_FN(norm)(rows, c, in, KG_F32, gamma, silu, out);
    else
        KG_FN(norm)(rows, c, in, type, gamma, silu, out);
}

static void KG_FN(widen_row)(int64_t n, const void *from, kg_dtype type, float *to)
{
    for (int64_t i = 0; i < n; i += LANES)
        v_store(to, KG_F32, i, n - i, v_load(from, type, i, n - i));
}

static void KG_FN(narrow_row)(int64_t n, const float *from, void *to, kg_dtype type)
{
    for (int64_t i = 0; i < n; i += LANES)
        v_store(to, type, i, n - i, v_load(from, KG_F32, i, n - i));
}

static void KG_FN(to_bytes)(int64_t n, const void *f, kg_dtype type, int rounded, uint8_t *u)
{
    for (int64_t i = 0; i < n; i += LANES) {
        vf v = (v_min(v_splat(1.0f), v_max(v_splat(-1.0f), v_load(f, type, i, n - i))) + 1.0f) * 0.5f * 255.0f;
        vi whole = __builtin_convertvector(rounded ? v + 0.5f : v, vi);
        for (int64_t l = 0; l < LANES && i + l < n; ++l)
            u[i + l] = (uint8_t)whole[l];
    }
}

static const frames_code KG_FN(frames_code) = {KG_FN(norm_rows), KG_FN(widen_row), KG_FN(narrow_row), KG_FN(to_bytes)};
