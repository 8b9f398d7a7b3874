/* Convolution on the CPU, in f32 whatever the weights and the frames are stored as: 16-bit pixels are widened when a tile or a row
 * is read and rounded when one is stored.
 *
 * 3x3 kernels with stride 1 go through Winograd's transforms: a tile of m x m outputs costs (m + 2)^2 products per pair of
 * channels instead of 9 m^2, and the taps in time stay a plain sum, 3 frames of one transformed tile being 3 c numbers in a row.
 * F(2x2, 3x3) saves 2.25 times, F(4x4, 3x3) 4 times where there are pixels enough to pay for its larger weights (choose_tiles).
 * Errors were compared on 288 channels: 0.5e-6 and 1.4e-6 relative, 0.9e-6 for a plain sum in order. All else (1x1, strides,
 * taps in time alone) gathers rows of pixels and multiplies them by the packed weights.
 *
 * Invariants: work is cut by shape alone and a task writes what nobody else writes, so bits do not depend on the number of
 * threads. Scratch does not grow with the frame: weights are transformed GROUP_FLOATS at a time (never kept: packed weights cost
 * what the file does), tiles BAND_FLOATS at a time, and a worker holds the products of one block of tiles, 48 columns wide. */
#include "kernels/cpu/cpu.h"

enum { GROUP_COLS = 48, GROUP_PANELS = GROUP_COLS / KG_CONV_PANEL };

typedef struct conv_code {
    void (*product)(int64_t rows, int panels, int64_t k, const float *a, int64_t lda, const float *b, int64_t step, float *c);
    void (*widen)(int64_t n, const void *from, kg_dtype type, int64_t first, float *to);
    void (*narrow)(int64_t n, const float *from, void *to, kg_dtype type, int64_t first);
    void (*finish)(int64_t n, const float *from, const float *bias, const float *add, float *out);
    void (*tile_in[2])(int64_t c, const float *const *pixel, float *v, int64_t step);             /* m 2, m 4 */
    void (*tile_out[2])(int64_t n, const float *points, int64_t step, const float *bias, float *const *out, const float *const *add);
    void (*tile_taps[2])(int64_t c, const void *taps, kg_dtype type, int64_t first, float *u, int64_t step);
} conv_code;

#define KG_BODY "kernels/cpu/conv_simd.h"
#include "kernels/cpu/each_isa.h"

enum {
    BAND_FLOATS = 4 << 20,         /* of transformed tiles: 16 MiB                                    */
    GROUP_FLOATS = 8 << 20,        /* of transformed weights: 32 MiB                                  */
    TILES_PER_TASK = 8,
    GATHER_ROWS = 64
};

typedef struct conv_job {
    const kg_conv_args *a;
    const conv_code *code;
    int64_t cin, cout, panels;     /* panels of 16 output channels, the last one padded             */
    kg_dtype type;                 /* of all frames                                                 */
    int64_t history, frames, zeros;/* frames of history; of [history, in]; of zeros before them     */
    int64_t h, w, t_out, h_out, w_out;
    int taps;                      /* kh * kw                                                       */
    int64_t k;                     /* rows of a panel: kt * cin (Winograd), kt * taps * cin (gather) */
    int m, points;                 /* Winograd's m and (m + 2)^2; 0: gather                         */
    int64_t tiles_x, tiles;        /* of a frame                                                    */
    int64_t block, band;           /* tiles of a task, tiles in v                                   */
    int64_t group;                 /* panels in u                                                   */
    size_t bias_floats, u_floats, v_floats, worker_floats;
    float *bias, *u, *v, *workers; /* [panels * 16], then a row of zeros [cin]; u [points][group][k][16];
                                      v [points][band][frames][cin]; one for each worker            */
    int64_t panel, n_panels;       /* the panels in u now                                           */
    int64_t tile, n_tiles;         /* the tiles in v now                                            */
} conv_job;

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t up(int64_t a, int64_t b) { return (a + b - 1) / b; }

/* Products of one frame's tiles, and what transforming the weights costs, in rows of a product (measured: about 64). */
static double tiles_cost(const conv_job *j, int m)
{
    return (m + 2) * (m + 2) * ((double)(up(j->h_out, m) * up(j->w_out, m) * j->t_out) + 64);
}

/* Where a worker keeps 16-bit pixels in f32: those of a tile, or a tile's outputs and what is added to them. */
static size_t wide_floats(const conv_job *j)
{
    int64_t in = 36 * j->cin, out = 2 * 16 * GROUP_COLS;
    return j->type == KG_F32 ? 0 : (size_t)(in > out ? in : out);
}

static void choose_tiles(conv_job *j)
{
    j->m = tiles_cost(j, 4) < tiles_cost(j, 2) ? 4 : 2;
    j->points = (j->m + 2) * (j->m + 2);
    j->k = j->a->kt * j->cin;
    j->tiles_x = up(j->w_out, j->m);
    j->tiles = up(j->h_out, j->m) * j->tiles_x;
    int64_t rows = j->m == 2 ? 128 : 64;
    j->block = least(j->tiles, rows > 8 * j->t_out ? rows / j->t_out / 8 * 8 : 8);
    int64_t band = BAND_FLOATS / (j->points * j->frames * j->cin) / j->block * j->block;
    j->band = least(j->tiles, band > j->block ? band : j->block);
    int64_t group = GROUP_FLOATS / (j->points * j->k * KG_CONV_PANEL) / GROUP_PANELS * GROUP_PANELS;
    j->group = least(j->panels, group > GROUP_PANELS ? group : GROUP_PANELS);
    j->u_floats = (size_t)(j->points * j->group * j->k) * KG_CONV_PANEL;
    j->v_floats = (size_t)(j->points * j->band * j->frames * j->cin);
    j->worker_floats = (size_t)(j->points * j->t_out * j->block) * GROUP_COLS + wide_floats(j);
}

static int in_place(const conv_job *j)         /* a row of the product is a pixel as it stands */
{
    return j->taps == 1 && j->a->kt == 1 && j->a->stride_t == 1 && j->type == KG_F32;
}

static void choose_gather(conv_job *j)
{
    j->k = (int64_t)j->a->kt * j->taps * j->cin;
    j->u_floats = j->a->weight.dtype == KG_F32 ? 0 : (size_t)(j->panels * j->k) * KG_CONV_PANEL;
    j->worker_floats = (size_t)(GATHER_ROWS * GROUP_COLS + KG_CONV_PANEL) + (in_place(j) ? 0 : (size_t)(GATHER_ROWS * j->k));
    j->worker_floats += j->type == KG_F32 ? 0 : 2 * GROUP_COLS;
}

static conv_job plan(const kg_conv_args *a)
{
    const int64_t *in = a->in.shape, *out = a->out.shape;
    int split = a->split ? 2 : 1;
    conv_job j = {.a = a, .type = a->in.dtype, .cin = in[3], .cout = out[3] * split, .h = in[1], .w = in[2],
        .t_out = out[0] / split, .h_out = out[1], .w_out = out[2], .taps = a->kh * a->kw};
    j.panels = up(j.cout, KG_CONV_PANEL);
    j.history = a->history.rank ? a->history.shape[0] : 0;
    j.frames = j.history + in[0];
    j.zeros = a->stride_t == 1 ? a->kt - 1 - j.history : 0;
    j.bias_floats = (size_t)(j.panels * KG_CONV_PANEL + up(j.cin, 16) * 16);
    if (j.taps == 9 && a->stride_hw == 1 && a->stride_t == 1)
        choose_tiles(&j);
    else
        choose_gather(&j);
    j.worker_floats = (j.worker_floats + 63) / 64 * 64;
    j.u_floats = (j.u_floats + 63) / 64 * 64;
    j.v_floats = (j.v_floats + 63) / 64 * 64;
    j.bias_floats = (j.bias_floats + 63) / 64 * 64;
    return j;
}

size_t kg_cpu_conv_scratch(kg_exec *x, const kg_conv_args *a, int workers)
{
    (void)x;
    conv_job j = plan(a);
    return (j.bias_floats + j.u_floats + j.v_floats + j.worker_floats * (size_t)workers) * sizeof(float);
}

/* Value `at` of frame f of [history, in]. */
static const void *value_at(const conv_job *j, int64_t f, int64_t at)
{
    const char *first = f < j->history ? j->a->history.at : j->a->in.at;
    return first + ((f < j->history ? f : f - j->history) * j->h * j->w * j->cin + at) * (int64_t)kg_dtype_bytes(j->type);
}

static const float *zero_row(const conv_job *j) { return j->bias + j->panels * KG_CONV_PANEL; }

/* ---- Winograd ---- */
/* One task: the taps of one frame and one panel. */
static void transform_taps(void *arg, int64_t task, int worker)
{
    (void)worker;
    const conv_job *j = arg;
    int64_t panel = task / j->a->kt, t = task % j->a->kt, step = j->group * j->k * KG_CONV_PANEL;
    int64_t first = ((j->panel + panel) * j->a->kt + t) * 9 * j->cin * KG_CONV_PANEL;
    float *u = j->u + (panel * j->k + t * j->cin) * KG_CONV_PANEL;
    j->code->tile_taps[j->m / 4](j->cin, j->a->weight.at, j->a->weight.dtype, first, u, step);
}

/* The pixels of the tile of frame f at row y and column x (one row and column before its outputs), widened in `wide`. */
static void tile_pixels(const conv_job *j, int64_t f, int64_t y, int64_t x, const float **pixel, float *wide)
{
    int side = j->m + 2, shift = j->a->upsample ? 1 : 0;
    for (int i = 0; i < side * side; ++i) {
        int64_t py = y + i / side, px = x + i % side;
        int inside = py >= 0 && py < j->h_out && px >= 0 && px < j->w_out;
        const void *at = inside ? value_at(j, f, ((py >> shift) * j->w + (px >> shift)) * j->cin) : zero_row(j);
        pixel[i] = at;
        if (inside && j->type != KG_F32) {
            j->code->widen(j->cin, at, j->type, 0, wide + i * j->cin);
            pixel[i] = wide + i * j->cin;
        }
    }
}

static void transform_tiles(void *arg, int64_t task, int worker)
{
    const conv_job *j = arg;
    float *wide = j->workers + (size_t)(worker + 1) * j->worker_floats - wide_floats(j);
    int64_t end = least(j->n_tiles, (task + 1) * TILES_PER_TASK), step = j->band * j->frames * j->cin;
    for (int64_t i = task * TILES_PER_TASK; i < end; ++i) {
        int64_t y = (j->tile + i) / j->tiles_x * j->m, x = (j->tile + i) % j->tiles_x * j->m;
        for (int64_t f = 0; f < j->frames; ++f) {
            const float *pixel[36];
            tile_pixels(j, f, y - 1, x - 1, pixel, wide);
            j->code->tile_in[j->m / 4](j->cin, pixel, j->v + (i * j->frames + f) * j->cin, step);
        }
    }
}

/* Writes one tile of one frame, GROUP_COLS channels from col on; 16-bit ones by way of `wide`. */
static void put_tile(const conv_job *j, int64_t t, int64_t tile, int64_t col, const float *points, int64_t step, float *wide)
{
    int64_t y = tile / j->tiles_x * j->m, x = tile % j->tiles_x * j->m, n = least(GROUP_COLS, j->cout - col), at[16];
    float *out[16], *wide_add = wide + 16 * GROUP_COLS;
    const float *add[16];
    for (int i = 0; i < j->m * j->m; ++i) {
        int64_t py = y + i / j->m, px = x + i % j->m;
        int inside = py < j->h_out && px < j->w_out, adds = inside && j->a->add.rank;
        at[i] = ((t * j->h_out + py) * j->w_out + px) * j->cout + col;
        out[i] = !inside ? NULL : j->type == KG_F32 ? (float *)j->a->out.at + at[i] : wide + i * GROUP_COLS;
        add[i] = !adds ? NULL : j->type == KG_F32 ? (const float *)j->a->add.at + at[i] : wide_add + i * GROUP_COLS;
        if (adds && j->type != KG_F32)
            j->code->widen(n, j->a->add.at, j->type, at[i], wide_add + i * GROUP_COLS);
    }
    j->code->tile_out[j->m / 4](n, points, step, j->bias + col, out, add);
    for (int i = 0; j->type != KG_F32 && i < j->m * j->m; ++i)
        if (out[i])
            j->code->narrow(n, out[i], j->a->out.at, j->type, at[i]);
}

/* One task: three panels of a block of tiles, all points and frames. */
static void multiply_tiles(void *arg, int64_t task, int worker)
{
    const conv_job *j = arg;
    int64_t blocks = up(j->n_tiles, j->block), first = task % blocks * j->block, panel = task / blocks * GROUP_PANELS;
    int64_t rows = least(j->block, j->n_tiles - first), lda = j->frames * j->cin, panel_step = j->k * KG_CONV_PANEL;
    int panels = (int)least(GROUP_PANELS, j->n_panels - panel);
    float *points = j->workers + (size_t)worker * j->worker_floats, *wide = points + j->worker_floats - wide_floats(j);
    for (int64_t p = 0; p < j->points; ++p)
        for (int64_t t = 0; t < j->t_out; ++t) {
            int64_t skip = t < j->zeros ? j->zeros - t : 0, frame = t < j->zeros ? 0 : t - j->zeros;
            const float *v = j->v + ((p * j->band + first) * j->frames + frame) * j->cin;
            const float *u = j->u + (p * j->group + panel) * panel_step + skip * j->cin * KG_CONV_PANEL;
            float *c = points + (p * j->t_out + t) * j->block * GROUP_COLS;
            j->code->product(rows, panels, (j->a->kt - skip) * j->cin, v, lda, u, panel_step, c);
        }
    for (int64_t t = 0; t < j->t_out; ++t)
        for (int64_t i = 0; i < rows; ++i)
            put_tile(j, t, j->tile + first + i, (j->panel + panel) * KG_CONV_PANEL, points + (t * j->block + i) * GROUP_COLS,
                     j->t_out * j->block * GROUP_COLS, wide);
}

static void run_tiles(kg_exec *x, conv_job *j)
{
    for (j->panel = 0; j->panel < j->panels; j->panel += j->group) {
        j->n_panels = least(j->group, j->panels - j->panel);
        kg_cpu_for(x, j->n_panels * j->a->kt, transform_taps, j);
        for (j->tile = 0; j->tile < j->tiles; j->tile += j->band) {
            j->n_tiles = least(j->band, j->tiles - j->tile);
            kg_cpu_for(x, up(j->n_tiles, TILES_PER_TASK), transform_tiles, j);
            kg_cpu_for(x, up(j->n_panels, GROUP_PANELS) * up(j->n_tiles, j->block), multiply_tiles, j);
        }
    }
}

/* ---- gather ---- */
static void widen_panel(void *arg, int64_t panel, int worker)
{
    (void)worker;
    const conv_job *j = arg;
    int64_t n = j->k * KG_CONV_PANEL;
    j->code->widen(n, j->a->weight.at, j->a->weight.dtype, panel * n, j->u + panel * n);
}

/* All taps of output pixel `row` side by side: [kt, kh * kw, cin]. */
static void gather_row(const conv_job *j, int64_t row, float *to)
{
    int64_t t = row / (j->h_out * j->w_out), y = row / j->w_out % j->h_out, x = row % j->w_out;
    int stride = j->a->stride_hw, pad = j->taps == 9 && stride == 1;
    for (int kt = 0; kt < j->a->kt; ++kt)
        for (int i = 0; i < j->taps; ++i, to += j->cin) {
            int64_t f = t * j->a->stride_t + kt - j->zeros, py = y * stride + i / j->a->kw - pad, px = x * stride + i % j->a->kw - pad;
            if (f < 0 || py < 0 || py >= j->h || px < 0 || px >= j->w)
                memset(to, 0, (size_t)j->cin * sizeof *to);
            else
                j->code->widen(j->cin, value_at(j, f, (py * j->w + px) * j->cin), j->type, 0, to);
        }
}

/* Bias and residual for columns col .. col + n of one output pixel; with split, columns beyond half go to the next frame. */
static void put_row(const conv_job *j, int64_t row, int64_t col, int64_t n, const float *from, float *wide)
{
    int64_t channels = j->a->out.shape[3], pixels = j->h_out * j->w_out, frames = j->a->split ? 2 : 1;
    while (n > 0) {
        int64_t part = least(n, channels - col % channels);
        int64_t frame = row / pixels * frames + col / channels;
        int64_t at = (frame * pixels + row % pixels) * channels + col % channels;
        const float *add = !j->a->add.rank ? NULL : j->type == KG_F32 ? (const float *)j->a->add.at + at : wide + GROUP_COLS;
        if (add && j->type != KG_F32)
            j->code->widen(part, j->a->add.at, j->type, at, wide + GROUP_COLS);
        j->code->finish(part, from, j->bias + col, add, j->type == KG_F32 ? (float *)j->a->out.at + at : wide);
        if (j->type != KG_F32)
            j->code->narrow(part, wide, j->a->out.at, j->type, at);
        col += part;
        from += part;
        n -= part;
    }
}

static void gather_rows(void *arg, int64_t task, int worker)
{
    const conv_job *j = arg;
    int64_t first = task * GATHER_ROWS, rows = least(GATHER_ROWS, j->t_out * j->h_out * j->w_out - first);
    float *product = j->workers + (size_t)worker * j->worker_floats, *row = product + GATHER_ROWS * GROUP_COLS;
    float *wide = product + j->worker_floats - 2 * GROUP_COLS;         /* of 16-bit frames */
    const float *left = in_place(j) ? (const float *)j->a->in.at + first * j->cin : row;
    const float *weights = j->u_floats ? j->u : j->a->weight.at;
    for (int64_t i = 0; i < rows && left == row; ++i)
        gather_row(j, first + i, row + i * j->k);
    for (int64_t panel = 0; panel < j->panels; panel += GROUP_PANELS) {
        int64_t col = panel * KG_CONV_PANEL, step = j->k * KG_CONV_PANEL;
        j->code->product(rows, (int)least(GROUP_PANELS, j->panels - panel), j->k, left, j->k, weights + panel * step, step, product);
        for (int64_t i = 0; i < rows; ++i)
            put_row(j, first + i, col, least(GROUP_COLS, j->cout - col), product + i * GROUP_COLS, wide);
    }
}

static void run_gather(kg_exec *x, conv_job *j)
{
    if (j->u_floats)
        kg_cpu_for(x, j->panels, widen_panel, j);
    kg_cpu_for(x, up(j->t_out * j->h_out * j->w_out, GATHER_ROWS), gather_rows, j);
}

void kg_cpu_conv(kg_exec *x, const kg_conv_args *a)
{
    static const conv_code *const code[KG_ISAS] = KG_OF_ISA(conv_code);
    conv_job j = plan(a);
    j.code = code[kg_cpu_isa()];
    j.bias = a->scratch.at;
    j.u = j.bias + j.bias_floats;
    j.v = j.u + j.u_floats;
    j.workers = j.v + j.v_floats;
    memset(j.bias, 0, j.bias_floats * sizeof *j.bias);
    if (a->bias.rank)
        j.code->widen(j.cout, a->bias.at, a->bias.dtype, 0, j.bias);
    if (j.m)
        run_tiles(x, &j);
    else
        run_gather(x, &j);
}

/* ---- packing ---- */
typedef struct pack_job { const kg_conv_pack_args *a; int64_t out_ch, in_ch, taps, size; } pack_job;

static void pack_panel(void *arg, int64_t panel, int worker)
{
    (void)worker;
    const pack_job *j = arg;
    const char *in = j->a->in.at;
    char *out = (char *)j->a->out.at + panel * KG_CONV_PANEL * j->in_ch * j->taps * j->size;
    for (int64_t c = 0; c < j->in_ch; ++c)
        for (int64_t tap = 0; tap < j->taps; ++tap)
            for (int64_t i = 0; i < KG_CONV_PANEL; ++i) {
                int64_t o = panel * KG_CONV_PANEL + i;
                char *to = out + ((tap * j->in_ch + c) * KG_CONV_PANEL + i) * j->size;
                const char *from = in + ((o * j->in_ch + c) * j->taps + tap) * j->size;
                if (o >= j->out_ch)
                    memset(to, 0, (size_t)j->size);
                else if (j->size == 2)
                    memcpy(to, from, 2);
                else
                    memcpy(to, from, 4);
            }
}

void kg_cpu_conv_pack(kg_exec *x, const kg_conv_pack_args *a)
{
    pack_job j = {.a = a, .out_ch = a->in.shape[0], .in_ch = a->in.shape[1], .size = (int64_t)kg_dtype_bytes(a->in.dtype)};
    j.taps = kg_count(&a->in) / (j.out_ch * j.in_ch);
    kg_cpu_for(x, kg_conv_padded(j.out_ch) / KG_CONV_PANEL, pack_panel, &j);
}
