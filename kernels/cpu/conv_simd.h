/* The inner loops of kernels/cpu/conv.c, included once for each instruction set.
 *
 * A product is [rows, k] * [k, 16 * panels]: a panel holds 16 columns of the right side, k rows of 16 floats. A block of rows x
 * columns of the result stays in registers while k runs: 8 x 48 with AVX-512, 6 x 16 with AVX2, 2 x 16 without. All sums run
 * over k in order, so a number does not depend on the block that it was computed in. */
#undef BLOCK_WIDTH
#undef BLOCK_PANELS
#undef BLOCK_ROWS
#if defined(__AVX512F__)
#define BLOCK_WIDTH 16
#define BLOCK_PANELS 3
#define BLOCK_ROWS(each) each(8) each(4) each(2) each(1)
#elif defined(__AVX2__)
#define BLOCK_WIDTH 8
#define BLOCK_PANELS 1
#define BLOCK_ROWS(each) each(6) each(4) each(2) each(1)
#else
#define BLOCK_WIDTH 4
#define BLOCK_PANELS 1
#define BLOCK_ROWS(each) each(2) each(1)
#endif

typedef float KG_FN(mv) __attribute__((vector_size(4 * BLOCK_WIDTH), aligned(4), may_alias));
#define mv KG_FN(mv)

/* a * b + c, rounded once where there is an instruction for it; nothing else here is fused. */
KG_INLINE mv KG_FN(m_fma)(mv a, mv b, mv c)
{
#if defined(__AVX512F__)
    return (mv)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(__FMA__)
    return (mv)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#else
    return a * b + c;
#endif
}
#define m_fma KG_FN(m_fma)
#define m_splat(s) ((float)(s) - (mv){0})

KG_INLINE void KG_FN(block)(const int rows, const int panels, int64_t k, const float *a, int64_t lda, const float *b, int64_t step,
                            float *c)
{
    enum { PARTS = KG_CONV_PANEL / BLOCK_WIDTH };
    mv sum[8][BLOCK_PANELS * PARTS];
#pragma GCC unroll 8
    for (int i = 0; i < rows; ++i)
#pragma GCC unroll 12
        for (int j = 0; j < panels * PARTS; ++j)
            sum[i][j] = (mv){0};
    for (int64_t l = 0; l < k; ++l, b += KG_CONV_PANEL) {
        mv w[BLOCK_PANELS * PARTS];
#pragma GCC unroll 12
        for (int j = 0; j < panels * PARTS; ++j)
            w[j] = *(const mv *)(b + j / PARTS * step + j % PARTS * BLOCK_WIDTH);
#pragma GCC unroll 8
        for (int i = 0; i < rows; ++i) {
            mv v = m_splat(a[i * lda + l]);
#pragma GCC unroll 12
            for (int j = 0; j < panels * PARTS; ++j)
                sum[i][j] = m_fma(v, w[j], sum[i][j]);
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < rows; ++i)
#pragma GCC unroll 12
        for (int j = 0; j < panels * PARTS; ++j)
            *(mv *)(c + i * GROUP_COLS + j * BLOCK_WIDTH) = sum[i][j];
}

/* One function per block, so that each has the registers to itself. */
#define BLOCK_OF(r, p) \
    __attribute__((noinline, unused)) static void KG_FN(block_##r##_##p)(int64_t k, const float *a, int64_t lda, const float *b, \
                                                                          int64_t step, float *c) \
    { \
        KG_FN(block)(r, p, k, a, lda, b, step, c); \
    }
#if BLOCK_PANELS == 3
#define BLOCKS_OF(r) BLOCK_OF(r, 1) BLOCK_OF(r, 2) BLOCK_OF(r, 3)
#else
#define BLOCKS_OF(r) BLOCK_OF(r, 1)
#endif
BLOCK_ROWS(BLOCKS_OF)
#undef BLOCKS_OF
#undef BLOCK_OF

/* c [rows, panels * 16] with rows GROUP_COLS apart; panels of b are step floats apart. */
static void KG_FN(product)(int64_t rows, int panels, int64_t k, const float *a, int64_t lda, const float *b, int64_t step, float *c)
{
    for (int p = 0; p < panels;) {
        int width = panels - p < BLOCK_PANELS ? panels - p : BLOCK_PANELS;
        const float *at = a, *panel = b + p * step;
        float *out = c + p * KG_CONV_PANEL;
        for (int64_t left = rows; left > 0;) {
            int done = 0;
#if BLOCK_PANELS == 3
#define TRY(r) \
    if (!done && left >= r) { \
        done = r; \
        (width == 3 ? KG_FN(block_##r##_3) : width == 2 ? KG_FN(block_##r##_2) : KG_FN(block_##r##_1))(k, at, lda, panel, step, out); \
    }
#else
#define TRY(r) \
    if (!done && left >= r) { \
        done = r; \
        KG_FN(block_##r##_1)(k, at, lda, panel, step, out); \
    }
#endif
            BLOCK_ROWS(TRY)
#undef TRY
            left -= done;
            at += done * lda;
            out += done * GROUP_COLS;
        }
        p += width;
    }
}

KG_INLINE mv KG_FN(get)(const float *p, int64_t n)
{
    if (n >= BLOCK_WIDTH)
        return *(const mv *)p;
    float part[BLOCK_WIDTH] = {0};
    memcpy(part, p, (size_t)n * sizeof *p);
    return *(const mv *)part;
}

KG_INLINE void KG_FN(set)(float *p, int64_t n, mv v)
{
    if (n >= BLOCK_WIDTH)
        *(mv *)p = v;
    else
        memcpy(p, &v, (size_t)n * sizeof *p);
}

/* ---- Winograd's transforms, one line (s apart) in place ----
 * ref: Lavin and Gray, Fast Algorithms for Convolutional Neural Networks, 2015; the points of F(4x4, 3x3) are 0, +-2/3, +-3/2 and
 * infinity, which lose half a digit less than 0, +-1, +-2: products of neighbours are 1 and the powers stay near it. */
#define POINT_A (2.0f / 3.0f)
#define POINT_B (3.0f / 2.0f)

KG_INLINE void KG_FN(line_in)(const int m, mv *d, const int s)
{
    const float aa = POINT_A * POINT_A, bb = POINT_B * POINT_B;
    if (m == 2) {
        mv d1 = d[s], d2 = d[2 * s];
        d[0] -= d2;
        d[s] = d1 + d2;
        d[2 * s] = d2 - d1;
        d[3 * s] = d1 - d[3 * s];
        return;
    }
    mv d0 = d[0], d1 = d[s], d2 = d[2 * s], d3 = d[3 * s], d4 = d[4 * s];
    mv na = m_splat(-aa), nb = m_splat(-bb), both = m_splat(-(aa + bb));
    mv ea = m_fma(nb, d2, d4), oa = POINT_A * m_fma(nb, d1, d3), eb = m_fma(na, d2, d4), ob = POINT_B * m_fma(na, d1, d3);
    d[0] = m_fma(both, d2, d0) + d4;
    d[s] = ea + oa;
    d[2 * s] = ea - oa;
    d[3 * s] = eb + ob;
    d[4 * s] = eb - ob;
    d[5 * s] += m_fma(both, d3, d1);
}

/* The first m of the line become outputs. */
KG_INLINE void KG_FN(line_out)(const int m, mv *d, const int s)
{
    if (m == 2) {
        mv d1 = d[s], d2 = d[2 * s];
        d[0] += d1 + d2;
        d[s] = d1 - d2 - d[3 * s];
        return;
    }
    mv ea = d[s] + d[2 * s], oa = d[s] - d[2 * s], eb = d[3 * s] + d[4 * s], ob = d[3 * s] - d[4 * s];
    d[0] += ea + eb;
    mv a = m_splat(POINT_A), b = m_splat(POINT_B);
    d[s] = m_fma(a, oa, b * ob);
    d[2 * s] = m_fma(a * a, ea, b * b * eb);
    d[3 * s] = m_fma(a * a * a, oa, m_fma(b * b * b, ob, d[5 * s]));
}

/* Three taps at g[0], g[s], g[2 s] to m + 2 at the same places and on. Row i of the transform is (1, p, p^2) / N for point p, N the
 * product of its distances to the others. */
KG_INLINE void KG_FN(line_taps)(const int m, vf *g, const int s)
{
    const float a = POINT_A, b = POINT_B, na = 1.0f / (2 * a * a * (a * a - b * b)), nb = 1.0f / (2 * b * b * (b * b - a * a));
    vf g0 = g[0], g1 = g[s], g2 = g[2 * s];
    if (m == 2) {
        g[s] = 0.5f * (g0 + g2) + 0.5f * g1;
        g[2 * s] = 0.5f * (g0 + g2) - 0.5f * g1;
        g[3 * s] = g2;
        return;
    }
    vf ea = na * g0 + (na * a * a) * g2, eb = nb * g0 + (nb * b * b) * g2;
    g[s] = ea + (na * a) * g1;
    g[2 * s] = ea - (na * a) * g1;
    g[3 * s] = eb + (nb * b) * g1;
    g[4 * s] = eb - (nb * b) * g1;
    g[5 * s] = g2;
}

/* One tile of (m + 2)^2 pixels of c channels to as many points, step floats apart. */
KG_INLINE void KG_FN(tile_in)(const int m, int64_t c, const float *const *pixel, float *v, int64_t step)
{
    const int p = m + 2;
    for (int64_t ch = 0; ch < c; ch += BLOCK_WIDTH) {
        mv d[36];
#pragma GCC unroll 36
        for (int i = 0; i < p * p; ++i)
            d[i] = KG_FN(get)(pixel[i] + ch, c - ch);
#pragma GCC unroll 6
        for (int i = 0; i < p; ++i)
            KG_FN(line_in)(m, d + i, p);
#pragma GCC unroll 6
        for (int i = 0; i < p; ++i)
            KG_FN(line_in)(m, d + i * p, 1);
#pragma GCC unroll 36
        for (int i = 0; i < p * p; ++i)
            KG_FN(set)(v + i * step + ch, c - ch, d[i]);
    }
}

/* n channels of a tile's points to m^2 pixels (NULL: beyond the frame), plus bias and what add points to. */
KG_INLINE void KG_FN(tile_out)(const int m, int64_t n, const float *points, int64_t step, const float *bias, float *const *out,
                               const float *const *add)
{
    const int p = m + 2;
    for (int64_t ch = 0; ch < n; ch += BLOCK_WIDTH) {
        mv d[36];
#pragma GCC unroll 36
        for (int i = 0; i < p * p; ++i)
            d[i] = *(const mv *)(points + i * step + ch);
#pragma GCC unroll 6
        for (int i = 0; i < p; ++i)
            KG_FN(line_out)(m, d + i, p);
#pragma GCC unroll 6
        for (int i = 0; i < m; ++i)
            KG_FN(line_out)(m, d + i * p, 1);
        mv shift = *(const mv *)(bias + ch);
#pragma GCC unroll 16
        for (int i = 0; i < m * m; ++i)
            if (out[i]) {
                mv v = d[i / m * p + i % m] + shift;
                if (add[i])
                    v += KG_FN(get)(add[i] + ch, n - ch);
                KG_FN(set)(out[i] + ch, n - ch, v);
            }
    }
}

/* [9, c, 16] taps of one panel to points [c, 16], step floats apart. */
KG_INLINE void KG_FN(tile_taps)(const int m, int64_t c, const void *taps, kg_dtype type, int64_t first, float *u, int64_t step)
{
    const int p = m + 2;
    for (int64_t i = 0; i < c; ++i) {
        vf g[36];
#pragma GCC unroll 9
        for (int j = 0; j < 9; ++j)
            g[j / 3 * p + j % 3] = v_load_full(taps, type, first + (j * c + i) * KG_CONV_PANEL);
#pragma GCC unroll 3
        for (int j = 0; j < 3; ++j)
            KG_FN(line_taps)(m, g + j, p);
#pragma GCC unroll 6
        for (int j = 0; j < p; ++j)
            KG_FN(line_taps)(m, g + j * p, 1);
#pragma GCC unroll 36
        for (int j = 0; j < p * p; ++j)
            *(vf_mem *)(u + j * step + i * KG_CONV_PANEL) = g[j];
    }
}

#define TILES_OF(m) \
    static void KG_FN(tile_in_##m)(int64_t c, const float *const *pixel, float *v, int64_t step) \
    { \
        KG_FN(tile_in)(m, c, pixel, v, step); \
    } \
    static void KG_FN(tile_out_##m)(int64_t n, const float *points, int64_t step, const float *bias, float *const *out, \
                                    const float *const *add) \
    { \
        KG_FN(tile_out)(m, n, points, step, bias, out, add); \
    } \
    static void KG_FN(tile_taps_##m)(int64_t c, const void *taps, kg_dtype type, int64_t first, float *u, int64_t step) \
    { \
        if (type == KG_F32) \
            KG_FN(tile_taps)(m, c, taps, KG_F32, first, u, step); \
        else if (type == KG_BF16) \
            KG_FN(tile_taps)(m, c, taps, KG_BF16, first, u, step); \
        else \
            KG_FN(tile_taps)(m, c, taps, KG_F16, first, u, step); \
    }
TILES_OF(2)
TILES_OF(4)
#undef TILES_OF

static void KG_FN(widen)(int64_t n, const void *from, kg_dtype type, int64_t first, float *to)
{
    for (int64_t i = 0; i < n; i += LANES)
        v_store(to, KG_F32, i, n - i, v_load(from, type, first + i, n - i));
}

static void KG_FN(narrow)(int64_t n, const float *from, void *to, kg_dtype type, int64_t first)
{
    for (int64_t i = 0; i < n; i += LANES)
        v_store(to, type, first + i, n - i, v_load(from, KG_F32, i, n - i));
}

/* out = from + bias (+ add) for n channels of one pixel. */
static void KG_FN(finish)(int64_t n, const float *from, const float *bias, const float *add, float *out)
{
    for (int64_t ch = 0; ch < n; ch += BLOCK_WIDTH) {
        mv v = *(const mv *)(from + ch) + *(const mv *)(bias + ch);
        if (add)
            v += KG_FN(get)(add + ch, n - ch);
        KG_FN(set)(out + ch, n - ch, v);
    }
}

static const conv_code KG_FN(conv_code) = {
    .product = KG_FN(product), .widen = KG_FN(widen), .narrow = KG_FN(narrow), .finish = KG_FN(finish),
    .tile_in = {KG_FN(tile_in_2), KG_FN(tile_in_4)}, .tile_out = {KG_FN(tile_out_2), KG_FN(tile_out_4)},
    .tile_taps = {KG_FN(tile_taps_2), KG_FN(tile_taps_4)}};
#undef mv
#undef m_fma
#undef m_splat
