/* text.load and text.umt5: against transformers in float64 (tools/golden/text.py) in each dialect and with the tokenizer in each place,
 * zero rows, truncation, both prompts at once, bf16, and files that lack something. */
#include "nodes/text/umt5.h"
#include "tests/nodes/files.h"
#include "tests/nodes/golden_run.h"

static const int thresholds[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 23, 32, 46, 64, 91};      /* least distance of a bucket */

static void test_buckets(void)
{
    for (int64_t d = -520; d <= 520; ++d) {
        int64_t m = d < 0 ? -d : d;
        int bucket = 0;
        while (bucket < 15 && thresholds[bucket + 1] <= m)
            ++bucket;
        CHECK(umt5_bucket(d, 32) == bucket + (d > 0 ? 16 : 0), "%d: %d", (int)d, umt5_bucket(d, 32));
    }
}

static int encode(session *s, const char *path, const char *tokenizer, const char *prompt, const char *negative, const char *precision)
{
    int model = tokenizer ? ADD(s, "text.load", arg_text("path", path), arg_text("tokenizer", tokenizer))
                          : ADD(s, "text.load", arg_text("path", path));
    return model < 0 ? -1
                     : ADD(s, "text.umt5", arg_node("model", model, 0), arg_text("prompt", prompt), arg_text("negative", negative),
                           arg_text("precision", precision));
}

/* The rows of a prompt, given on port `port`, against the golden; the rest must be zero. */
static void compare(session *s, int node, int port, const golden *g, const char *key, double most)
{
    char name[64];
    int64_t count, n;
    snprintf(name, sizeof name, "rows.%s", key);
    golden_f32(g, name, &n);
    float *rows = session_run(s, node, port, &count);
    if (!rows)
        return;
    if (most < 1e-3)
        golden_compare(g, name, rows, n, most);
    else       /* bf16: not what the goldens' limits are about */
        CHECK(test_error(rows, golden_f32(g, name, &n), n) < most, "%s", name);
    int zero = 1;
    for (int64_t i = n; i < count; ++i)
        zero &= rows[i] == 0;
    CHECK(zero && count == 512 * golden_size(g, name, 1), "%s: rows after the text", name);
    free(rows);
}

static void test_golden(const char *name, const char *folder, const char *file, double most, const char *precision)
{
    golden g;
    golden_open(&g, name);
    cJSON *prompts = cJSON_Parse(golden_meta(&g, "prompts")), *p;
    cJSON_ArrayForEach(p, prompts)
    {
        for (int port = 0; port < 2; ++port) {
            session s;
            session_open(&s, folder ? folder : g.folder);
            const char *one = port ? "a red star" : p->valuestring, *two = port ? p->valuestring : "";
            compare(&s, encode(&s, file, NULL, one, two, precision), port, &g, p->string, most);
            session_close(&s);
        }
    }
    cJSON_Delete(prompts);
    golden_close(&g);
}

/* A prepare of its own; how many bytes it has opened. */
static size_t prepare(const kg_desc *model, const void *params)
{
    const kg_node_type *t = kg_node_type_find("text.umt5");
    kg_prepare x = {.params = params, .in = model};
    CHECK(t->prepare(&x) == KG_OK && x.result, "%s", kg_error_last()->message);
    x.destroy(x.result);
    return x.host_bytes;
}

/* All texts of a model share one open tokenizer; when a plan is made it is closed, and its bytes are in the plan. */
static void test_one_tokenizer(void)
{
    golden g;
    session s;
    golden_open(&g, "umt5");
    session_open(&s, g.folder);
    int first = encode(&s, "model.safetensors", NULL, "a cat", "", "f32");
    int second = ADD(&s, "text.umt5", arg_node("model", 0, 0), arg_text("prompt", "a dog"));
    const kg_desc *model = kg_graph_desc(s.graph, 0, 0);
    const umt5 *config = model->resource->config;
    CHECK(prepare(model, kg_graph_params(s.graph, first)) > config->spiece_bytes && config->shared->tokenizer);
    const struct kg_tokenizer *open = config->shared->tokenizer;
    CHECK(prepare(model, kg_graph_params(s.graph, second)) == 0 && config->shared->tokenizer == open);
    model->resource->settle(model->resource);
    CHECK(!config->shared->tokenizer);
    kg_device *device = test_device(0);
    kg_graph_want(s.graph, first);
    kg_graph_want(s.graph, second);
    kg_plan *p = kg_plan_new(s.graph, &(kg_plan_options){.device = device, .budget = (size_t)2 << 30});
    CHECK(p && !config->shared->tokenizer && kg_plan_sum(p).peak_host >= 17 * config->spiece_bytes, "%s", kg_error_last()->message);
    kg_plan_free(p);
    test_device_free(device);
    session_close(&s);
    golden_close(&g);
}

static void refused(session *s, const char *type, const kg_arg *args, int n, kg_status status, const char *why)
{
    CHECK(kg_graph_add(s->graph, type, NULL, args, n) < 0, "%s", why);
    const kg_error *e = kg_error_last();
    CHECK(e->status == status && (strstr(e->message, why) || strstr(e->hint, why)),
          "%d '%s' '%s', not '%s'", e->status, e->message, e->hint, why);
    kg_error_clear();
}
#define REFUSED(s, type, status, why, ...) \
    refused(s, type, (const kg_arg[]){__VA_ARGS__}, (int)(sizeof((const kg_arg[]){__VA_ARGS__}) / sizeof(kg_arg)), status, why)

static void test_refused(void)
{
    golden g;
    session s;
    golden_open(&g, "umt5");
    session_open(&s, g.folder);
    REFUSED(&s, "text.load", KG_INPUT, "nothing.safetensors", arg_text("path", "nothing.safetensors"));
    REFUSED(&s, "text.load", KG_INPUT, "no.model", arg_text("path", "model.safetensors"), arg_text("tokenizer", "no.model"));
    int model = ADD(&s, "text.load", arg_text("path", "model.safetensors"));
    REFUSED(&s, "text.umt5", KG_USAGE, "not UTF-8 at byte 2", arg_node("model", model, 0), arg_text("prompt", "ab\xff"));
    REFUSED(&s, "text.umt5", KG_USAGE, "f16", arg_node("model", model, 0), arg_text("prompt", "ab"), arg_text("precision", "f16"));
    REFUSED(&s, "text.umt5", KG_USAGE, "prompt", arg_node("model", model, 0));
    unlink(golden_path(&g, "spiece.model"));
    REFUSED(&s, "text.load", KG_INPUT, "holds no tokenizer", arg_text("path", "model.safetensors"));
    float data[64] = {0};
    test_tensor t[] = {{"token_embedding.weight", "F32", 2, {8, 4}, data},
        {"blocks.0.pos_embedding.embedding.weight", "F32", 2, {32, 1}, data},
        {"blocks.0.attn.q.weight", "F32", 2, {4, 4}, data}};
    test_write_safetensors(golden_path(&g, "model.safetensors"), t, 1, NULL);
    REFUSED(&s, "text.load", KG_INPUT, "0 layers", arg_text("path", "model.safetensors"));
    test_write_safetensors(golden_path(&g, "model.safetensors"), t, 2, NULL);
    REFUSED(&s, "text.load", KG_INPUT, "holds no tensor 'blocks.0.attn.q.weight'", arg_text("path", "model.safetensors"));
    session_close(&s);
    golden_close(&g);
}

int main(void)
{
    static char folder[64];
    test_folder_enter(folder, sizeof folder);
    test_buckets();
    test_golden("umt5", NULL, "model.safetensors", 1e-5, "f32");
    test_golden("umt5_hf", NULL, "model.safetensors", 1e-5, "f32");
    test_golden("umt5_eps", NULL, "model.safetensors", 1e-5, "f32");
    test_golden("umt5_saved", KG_SOURCE_DIR "/tests/golden/data/umt5_saved", "model.safetensors", 1e-5, "f32");
    test_golden("umt5", NULL, "model.safetensors", 2e-2, "bf16");
    test_one_tokenizer();
    test_refused();
    test_folder_leave(folder);
    return TEST_END();
}
