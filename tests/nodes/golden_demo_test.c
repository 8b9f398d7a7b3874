/* The demo's model shows what the prompt says: whose colour is whose, and where the object goes.
 *
 * The prompts are of tuples that training never saw, in pairs that differ only in whose colour is whose or in which end comes last:
 * a text encoder that knows the words alone fails one of each pair. Shapes are judged by tools/demo_model/evaluate.py. */
#include "tests/nodes/golden_run.h"

enum { SIDE = 128, FRAMES = 17, ROW = FRAMES * SIDE };

typedef struct scene { const char *prompt; uint8_t object[3], ground[3]; int dx, dy; } scene;

#define BLACK {15, 15, 15}
#define WHITE {245, 245, 245}
#define BLUE {35, 70, 215}
#define GREEN {45, 175, 70}
#define BLUE_GROUND {60, 110, 215}
#define GREEN_GROUND {55, 130, 75}
static const scene scenes[] = {
    {"a black circle moves up and left over a white background", BLACK, WHITE, -1, -1},
    {"the background is black and a white circle slides from right to left", WHITE, BLACK, -1, 0},
    {"a blue circle drifts to the bottom left on a green background", BLUE, GREEN_GROUND, -1, 1},
    {"across a blue background moves a green square, from left to right", GREEN, BLUE_GROUND, 1, 0},
};

static double gap(const uint8_t *a, const uint8_t *b)
{
    return sqrt((a[0] - b[0]) * (a[0] - b[0]) + (a[1] - b[1]) * (a[1] - b[1]) + (a[2] - b[2]) * (a[2] - b[2]));
}

/* Pixels of a frame that are nearer to the object's colour than to the background's, and their centre. */
static int find(const uint8_t *frame, const scene *c, double *x, double *y)
{
    int n = 0;
    *x = *y = 0;
    for (int i = 0; i < SIDE; ++i)
        for (int j = 0; j < SIDE; ++j) {
            const uint8_t *p = frame + 3 * ((size_t)i * ROW + j);
            if (gap(p, c->object) >= gap(p, c->ground))
                continue;
            ++n;
            *x += j;
            *y += i;
        }
    *x /= n ? n : 1;
    *y /= n ? n : 1;
    return n;
}

static void judge(const uint8_t *sheet, const scene *c)
{
    double x[2], y[2];
    for (int k = 0; k < 2; ++k) {
        const uint8_t *frame = sheet + (size_t)k * 3 * (FRAMES - 1) * SIDE;
        int n = find(frame, c, &x[k], &y[k]);
        const uint8_t *middle = frame + 3 * ((size_t)lround(y[k]) * ROW + (size_t)lround(x[k]));
        CHECK(n > 300 && n < 3000, "'%s': %d pixels of the object", c->prompt, n);
        CHECK(gap(middle, c->object) < 40, "'%s': the object is %d %d %d", c->prompt, middle[0], middle[1], middle[2]);
        CHECK(gap(frame, c->ground) < 40, "'%s': the background is %d %d %d", c->prompt, frame[0], frame[1], frame[2]);
    }
    double gone[2] = {x[1] - x[0], y[1] - y[0]};
    int want[2] = {c->dx, c->dy};
    for (int k = 0; k < 2; ++k)
        CHECK(want[k] ? gone[k] * want[k] > 20 : fabs(gone[k]) < 8, "'%s': goes %.1f, %.1f", c->prompt, gone[0], gone[1]);
}

static void one(const scene *c)
{
    session s;
    int64_t bytes = 0;
    session_open(&s, KG_SOURCE_DIR "/graphs/demo");
    int model = ADD(&s, "wan.model", arg_text("path", "wan_demo.safetensors.index.json"));
    int load = ADD(&s, "text.load", arg_text("path", "umt5_demo.safetensors"));
    int text = ADD(&s, "text.umt5", arg_node("model", load, 0), arg_text("prompt", c->prompt));
    int x = ADD(&s, "wan.sample", arg_node("model", model, 0), arg_node("text", text, 0), arg_node("negative", text, 1),
                arg_int("width", SIDE), arg_int("height", SIDE), arg_int("frames", FRAMES), arg_int("steps", 20),
                arg_real("guidance", 4), arg_real("shift", 3), arg_int("seed", 1));
    int vae = ADD(&s, "wan.vae", arg_text("path", "wan_demo_vae.safetensors"));
    int video = ADD(&s, "wan.decode", arg_node("vae", vae, 0), arg_node("latent", x, 0));
    int sheet = ADD(&s, "image.sheet", arg_node("video", video, 0), arg_int("columns", FRAMES), arg_int("gap", 0));
    uint8_t *pixels = (uint8_t *)session_run(&s, sheet, 0, &bytes);
    CHECK(bytes == (int64_t)SIDE * ROW * 3);
    if (pixels)
        judge(pixels, c);
    free(pixels);
    session_close(&s);
}

int main(void)
{
    for (size_t i = 0; i < sizeof scenes / sizeof *scenes; ++i)
        one(&scenes[i]);
    return TEST_END();
}
