/* text.load and text.umt5 against transformers' UMT5EncoderModel in float64 (tools/golden/text.py): from a prompt to its 512 rows, the
 * ones after the end token exactly zero. */
#include "tests/nodes/golden_run.h"

enum { ROWS = 512 };

/* The golden's rows are the live ones; all 512 are compared. */
static void compare(const golden *g, const char *key, const float *got, int64_t count, double most)
{
    char name[64];
    int64_t n;
    snprintf(name, sizeof name, "rows.%s", key);
    const float *want = golden_f32(g, name, &n);
    int64_t dim = golden_size(g, name, 1);
    CHECK(count == ROWS * dim, "%s: %lld values", key, (long long)count);
    float *all = calloc((size_t)(ROWS * dim), sizeof *all);
    memcpy(all, want, (size_t)n * sizeof *all);
    double error = test_error(got, all, ROWS * dim);
    int64_t live = 0;
    for (int64_t i = n; i < count; ++i)
        live += got[i] != 0;
    printf("golden %s %s error %.3e limit %.1e\n", g->name, name, error, most);
    CHECK(error <= most, "%s of %s: relative error %.3e, at most %.1e", name, g->name, error, most);
    CHECK(!live, "%s of %s: %lld values after the end token are not 0", name, g->name, (long long)live);
    free(all);
}

/* output: 0 text, 1 negative; the other prompt is another one, so that a mix-up shows. */
static void one(const golden *g, const char *path, const char *tokenizer, const cJSON *prompt, int output, double most)
{
    session s;
    int64_t count;
    session_open(&s, g->folder[0] ? g->folder : KG_SOURCE_DIR "/tests/golden/data");
    kg_arg from[2] = {arg_text("path", path), arg_text("tokenizer", tokenizer)};
    int model = session_add(&s, "text.load", from, tokenizer ? 2 : 1);
    int text = ADD(&s, "text.umt5", arg_node("model", model, 0), arg_text("prompt", output ? "the star" : prompt->valuestring),
                   arg_text("negative", output ? prompt->valuestring : "the blue star moves"));
    float *got = session_run(&s, text, output, &count);
    if (got)
        compare(g, prompt->string, got, count, most);
    free(got);
    session_close(&s);
}

static void all(const char *name, int saved, double most)
{
    golden g;
    golden_open(&g, name);
    char path[512];
    snprintf(path, sizeof path, "%s", saved ? golden_saved(name, "model.safetensors") : golden_path(&g, "model.safetensors"));
    cJSON *prompts = cJSON_Parse(golden_meta(&g, "prompts")), *p;
    cJSON_ArrayForEach(p, prompts) for (int output = 0; output < 2; ++output) one(&g, path, NULL, p, output, most);
    if (!strcmp(name, "umt5"))
        one(&g, path, golden_path(&g, "spiece.model"), cJSON_GetObjectItem(prompts, "short"), 0, most);
    cJSON_Delete(prompts);
    golden_close(&g);
}

int main(void)
{
    all("umt5", 0, 1e-5);
    all("umt5_hf", 0, 1e-5);
    all("umt5_eps", 0, 1e-5);
    all("umt5_saved", 1, 1e-5);
    return TEST_END();
}
