/* What a plan promises, measured on the program itself: the memory that `kino run` takes is its plan within 3 % and 2 MiB, whatever
 * oneDNN, libav, SQLite and the tokenizer take, from one frame on (a plan above what is taken refuses runs that fit); and the arena is
 * used up to the planned top.
 *
 *     plan_promise_test            some shapes of each graph
 *     plan_promise_test all        twelve shapes of each graph, as a table
 *
 * Memory is the kernel's own figure for a process that has ended (its largest resident set). */
#include <cjson/cJSON.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/test.h"

#define MIB 1048576.0
#ifdef KG_SANITIZE
#define SANITIZED 1                /* a sanitizer takes memory of its own: the arena alone is looked at */
#else
#define SANITIZED 0
#endif
#define DEMO KG_SOURCE_DIR "/graphs/demo/"
extern char **environ;
static char folder[64], picture[128], cache[128], output[128];

/* ---- a run of the program ---- */
typedef struct measured { double resident, planned, arena, touched; } measured;       /* bytes */

static void take_event(measured *m, const char *line)
{
    cJSON *e = cJSON_Parse(line);
    const char *kind = cJSON_GetStringValue(cJSON_GetObjectItem(e, "event"));
    double arena = cJSON_GetNumberValue(cJSON_GetObjectItem(e, "arena"));
    if (kind && !strcmp(kind, "plan")) {
        m->arena = arena;
        m->planned = cJSON_GetNumberValue(cJSON_GetObjectItem(cJSON_GetObjectItem(e, "peak"), "device"));
    }
    if (kind && !strcmp(kind, "done"))
        m->touched = arena;
    cJSON_Delete(e);
}

static void remove_cache(void)
{
    static const char *const ends[] = {"", "-wal", "-shm"};
    char path[160];
    for (int i = 0; i < 3; ++i) {
        snprintf(path, sizeof path, "%s%s", cache, ends[i]);
        unlink(path);
    }
}

/* 1: the program ran and said what it planned and took. */
static int run(const char *const *args, measured *m)
{
    const char *argv[48] = {"./kino", "run"};
    int n = 2, ends[2], status = -1;
    while (args[n - 2] && n < 40) {
        argv[n] = args[n - 2];
        ++n;
    }
    argv[n++] = "--json";
    argv[n++] = "--cache";
    argv[n++] = cache;
    remove_cache();
    *m = (measured){0};
    posix_spawn_file_actions_t actions;
    pid_t pid;
    if (pipe2(ends, O_CLOEXEC) || posix_spawn_file_actions_init(&actions))
        return 0;
    posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
    int started = !posix_spawn(&pid, argv[0], &actions, NULL, (char *const *)argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    FILE *out = fdopen(ends[0], "r");
    char line[8192];
    while (started && out && fgets(line, sizeof line, out))
        take_event(m, line);
    fclose(out);
    struct rusage usage;
    if (!started || wait4(pid, &status, 0, &usage) != pid || status)
        return 0;
    m->resident = 1024.0 * (double)usage.ru_maxrss;
    return m->planned > 0 && m->touched > 0;
}

/* ---- pictures: stored blocks, so that nothing has to compress ---- */
static uint32_t crc(uint32_t c, const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; ++i) {
        c ^= p[i];
        for (int k = 0; k < 8; ++k)
            c = c & 1 ? 0xedb88320u ^ c >> 1 : c >> 1;
    }
    return c;
}

static void put32(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; ++i)
        p[i] = (uint8_t)(v >> (24 - 8 * i));
}

static void chunk(FILE *f, const char *name, const uint8_t *data, size_t n)
{
    uint8_t head[8], tail[4];
    put32(head, (uint32_t)n);
    memcpy(head + 4, name, 4);
    put32(tail, ~crc(crc(~0u, head + 4, 4), data, n));
    fwrite(head, 1, 8, f);
    fwrite(data, 1, n, f);
    fwrite(tail, 1, 4, f);
}

static int write_picture(const char *path, int width, int height)
{
    size_t row = 1 + 3 * (size_t)width, n = 2;
    uint8_t *data = malloc((size_t)height * (row + 5) + 16), *line = calloc(row, 1), header[13] = {0};
    FILE *f = fopen(path, "wb");
    uint32_t a = 1, b = 0;             /* Adler-32 */
    uint64_t seed = 3;
    memcpy(data, "\x78\x01", 2);
    for (int y = 0; y < height; ++y) {
        for (size_t x = 1; x < row; ++x)
            line[x] = (uint8_t)test_next(&seed);
        for (size_t x = 0; x < row; ++x) {
            a = (a + line[x]) % 65521;
            b = (b + a) % 65521;
        }
        data[n] = y + 1 == height;
        data[n + 1] = (uint8_t)row, data[n + 2] = (uint8_t)(row >> 8);
        data[n + 3] = (uint8_t)~row, data[n + 4] = (uint8_t)(~row >> 8);
        memcpy(data + n + 5, line, row);
        n += row + 5;
    }
    put32(data + n, b << 16 | a);
    put32(header, (uint32_t)width);
    put32(header + 4, (uint32_t)height);
    header[8] = 8, header[9] = 2;      /* bits, RGB */
    fwrite("\x89PNG\r\n\x1a\n", 1, 8, f);
    chunk(f, "IHDR", header, sizeof header);
    chunk(f, "IDAT", data, n + 4);
    chunk(f, "IEND", NULL, 0);
    free(data);
    free(line);
    return !fclose(f);
}

/* ---- the graphs ---- */
typedef struct shape { int width, height, frames; } shape;
typedef int make_fn(shape s, const char **args);

static char size_text[32], frames_text[32];

static int demo(shape s, const char **args)
{
    const char *all[] = {DEMO "t2v.lua", "--any_size", "yes", "--size", size_text, "--frames", frames_text, "--steps", "2", "--out", output,
        NULL};
    (void)s;
    memcpy(args, all, sizeof all);
    return 1;
}

/* Two seeds, and sizes that need a crop. */
static int published(shape s, const char **args)
{
    const char *all[] = {KG_SOURCE_DIR "/graphs/wan_t2v.lua", "--size", size_text, "--frames", frames_text, "--steps", "2", "--seed",
        "1,2", "--fit", "crop", "--shift", "3", "--prompt", "a red circle moves left over a blue background", "--negative", "",
        "--model", DEMO "wan_demo.safetensors.index.json", "--text_encoder", DEMO "umt5_demo.safetensors", "--vae",
        DEMO "wan_demo_vae.safetensors", "--out", output, NULL};
    (void)s;
    memcpy(args, all, sizeof all);
    return 1;
}

static int roundtrip(shape s, const char **args)
{
    const char *all[] = {KG_SOURCE_DIR "/graphs/vae_roundtrip.lua", "--image", picture, "--vae", DEMO "wan_demo_vae.safetensors",
        "--out", output, NULL};
    memcpy(args, all, sizeof all);
    return write_picture(picture, s.width, s.height);
}

/* The first four of each are the default: one picture, two chunks, five. */
static const struct graph { const char *name; make_fn *make; const char *out; shape shapes[12]; } graphs[] = {
    {"demo/t2v.lua", demo, "out.mp4", {{128, 128, 17}, {256, 128, 5}, {480, 272, 1}, {192, 320, 9}, {128, 128, 1}, {128, 128, 65},
        {480, 272, 5}, {272, 480, 17}, {640, 368, 1}, {832, 480, 1}, {832, 480, 17}, {480, 832, 33}}},
    {"vae_roundtrip.lua", roundtrip, "out.png", {{64, 64, 1}, {256, 256, 1}, {128, 520, 1}, {640, 368, 1}, {128, 128, 1},
        {320, 320, 1}, {480, 480, 1}, {512, 320, 1}, {832, 480, 1}, {1024, 1024, 1}, {1280, 720, 1}, {1920, 1080, 1}}},
    {"wan_t2v.lua", published, "out.mp4", {{100, 100, 5}, {128, 128, 9}, {200, 120, 1}, {254, 144, 5}, {64, 64, 1}, {128, 128, 33},
        {300, 200, 13}, {426, 240, 17}, {640, 360, 5}, {854, 480, 1}, {854, 480, 9}, {480, 854, 17}}}};

static void measure(const struct graph *g, shape s)
{
    const char *args[40];
    measured m;
    snprintf(size_text, sizeof size_text, "%dx%d", s.width, s.height);
    snprintf(frames_text, sizeof frames_text, "%d", s.frames);
    snprintf(output, sizeof output, "%s/%s", folder, g->out);
    CHECK(g->make(s, args) && run(args, &m), "%s %s, %s frames: no run", g->name, size_text, frames_text);
    double off = m.resident - m.planned;
    printf("%-18s %9s %3d  plan %7.1f MiB  taken %7.1f  %5.1f %%  arena %7.1f\n", g->name, size_text, s.frames, m.planned / MIB,
           m.resident / MIB, 100 * m.resident / m.planned, m.arena / MIB);
    fflush(stdout);
    CHECK(SANITIZED || fabs(off) <= 0.03 * m.planned + 2 * MIB, "%s %s, %s frames: %.1f MiB taken, %.1f planned", g->name, size_text,
          frames_text, m.resident / MIB, m.planned / MIB);
    CHECK(m.touched == m.arena, "%s %s, %s frames: %.0f bytes of the arena touched, %.0f planned", g->name, size_text, frames_text,
          m.touched, m.arena);
}

int main(int argc, char **argv)
{
    int shapes = argc > 1 && !strcmp(argv[1], "all") ? 12 : 4;
    snprintf(folder, sizeof folder, "/tmp/kg_promise.XXXXXX");
    CHECK(mkdtemp(folder) != NULL);
    setenv("XDG_CONFIG_HOME", folder, 1);
    snprintf(picture, sizeof picture, "%s/in.png", folder);
    snprintf(cache, sizeof cache, "%s/cache.sqlite", folder);
    struct rusage own;
    getrusage(RUSAGE_SELF, &own);
    CHECK(SANITIZED || own.ru_maxrss < 30 << 10, "a figure may be this program's, before it became another: %ld KiB", own.ru_maxrss);
    for (size_t g = 0; g < sizeof graphs / sizeof *graphs; ++g)
        for (int i = 0; i < shapes; ++i)
            measure(&graphs[g], graphs[g].shapes[i]);
    char command[96];
    snprintf(command, sizeof command, "rm -r '%s'", folder);
    CHECK(!system(command));
    return TEST_END();
}
