/* Checkpoints: dialects, prefixes, shards, identity, needs and resources; files are written to a temporary folder. */
#include "nodes/lib/weights.h"

#include <sys/stat.h>
#include <unistd.h>

#include "kernels/kernel.h"
#include "tests/nodes/files.h"
#include "tests/test.h"

static const kg_alias names[] = {{"blocks.%d.self_attn.q", "blocks.%d.attn1.to_q"}, {"blocks.%d.self_attn.k", "blocks.%d.attn1.to_k"},
    {"blocks.%d.norm", "encoder.block.%d.layer.0.layer_norm"}, {"head.modulation", "scale_shift_table"}, {NULL, NULL}};

static void check_error(kg_status status, const char *part)
{
    const kg_error *e = kg_error_last();
    CHECK(e->status == status && strstr(e->message, part), "%d '%s' (wanted '%s')", e->status, e->message, part);
    kg_error_clear();
}

static void test_alias(void)
{
    char out[64];
    CHECK(kg_alias_apply(&names[0], "blocks.12.self_attn.q.bias", out, sizeof out));
    CHECK(!strcmp(out, "blocks.12.attn1.to_q.bias"), "%s", out);
    CHECK(!kg_alias_apply(&names[0], "blocks.12.self_attn.qq.bias", out, sizeof out));
    CHECK(!kg_alias_apply(&names[0], "blocks.x.self_attn.q.bias", out, sizeof out));
    CHECK(!kg_alias_apply(&names[0], "blocks.12.self_attn.q.bias", out, 12));
    CHECK(kg_name_number("blocks.%d.", "blocks.7.a") == 7);
    CHECK(kg_name_number("blocks.%d.", "blocks.07.a") == -1);
    CHECK(kg_name_number("blocks.%d.", "blocks.9999999.a") == -1);
}

static const float data[12] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};

static void test_single(kg_files *f)
{
    test_tensor t[] = {{"model.diffusion_model.blocks.0.attn1.to_q.weight", "F32", 2, {2, 3}, data},
        {"model.diffusion_model.blocks.1.attn1.to_q.weight", "F32", 2, {2, 3}, data + 6},
        {"model.diffusion_model.scale_shift_table", "F32", 1, {2}, data}, {"model.diffusion_model.odd", "U8", 1, {4}, data}};
    test_write_safetensors("one.safetensors", t, 4, "\"k\":\"v\"");
    kg_checkpoint *ck = kg_checkpoint_open(f, "one.safetensors");
    CHECK(ck && kg_checkpoint_count(ck) == 4, "%s", kg_error_last()->message);
    if (!ck)
        return;
    CHECK(!strcmp(kg_checkpoint_meta(ck, "k"), "v"));
    CHECK(!kg_checkpoint_find(ck, "head.modulation"));
    kg_checkpoint_alias(ck, names);
    CHECK(kg_checkpoint_detect(ck, "head.modulation"));
    CHECK(!kg_checkpoint_detect(ck, "nothing") && kg_checkpoint_detect(ck, "head.modulation"));
    CHECK(kg_checkpoint_blocks(ck, "blocks.%d.") == 2);
    const kg_weight *w = kg_checkpoint_find(ck, "blocks.1.self_attn.q.weight");
    CHECK(w && w->shape[0] == 2 && w->shape[1] == 3 && w->dtype == KG_F32 && kg_weight_bytes(w) == 24);
    CHECK(kg_checkpoint_ending(ck, "odd") && !kg_checkpoint_ending(ck, "dd"));
    kg_weight got;
    CHECK(!kg_checkpoint_need(ck, "blocks.0.self_attn.q.weight", KG_SHAPE(2, -1), &got));
    CHECK(kg_checkpoint_need(ck, "blocks.0.self_attn.q.weight", KG_SHAPE(3, -1), &got) == KG_INPUT);
    check_error(KG_INPUT, "tensor 'model.diffusion_model.blocks.0.attn1.to_q.weight' has shape [2, 3], expected [3, any]");
    CHECK(kg_checkpoint_need(ck, "blocks.0.self_attn.k.weight", KG_SHAPE(2, 3), &got) == KG_INPUT);
    CHECK(strstr(kg_error_last()->hint, "attn1.to_q.weight"), "%s", kg_error_last()->hint);
    check_error(KG_INPUT, "holds no tensor 'model.diffusion_model.blocks.0.self_attn.k.weight'");
    CHECK(kg_checkpoint_need(ck, "odd", 0, NULL, &got) == KG_INPUT);
    check_error(KG_INPUT, "has type u8");
    kg_checkpoint_free(ck);
}

static void test_folder(kg_files *f)
{
    mkdir("plain", 0755);
    test_tensor t = {"x", "F32", 1, {2}, data};
    test_write_safetensors("plain/model.safetensors", &t, 1, NULL);
    kg_checkpoint *ck = kg_checkpoint_open(f, "plain");
    CHECK(ck && kg_checkpoint_find(ck, "x"), "%s", kg_error_last()->message);
    kg_checkpoint_free(ck);
    CHECK(!kg_checkpoint_open(f, "nowhere"));
    CHECK(strstr(kg_error_last()->hint, "model.safetensors"));
    check_error(KG_INPUT, "nowhere");
}

static void index_refused(kg_files *f, const char *text, const char *why)
{
    test_write("set/bad.safetensors.index.json", text, strlen(text));
    CHECK(!kg_checkpoint_open(f, "set/bad.safetensors.index.json"), "%s", text);
    check_error(KG_INPUT, why);
}

static void test_shards(kg_files *f)
{
    mkdir("set", 0755);
    test_tensor a[] = {{"x", "F32", 1, {2}, data}, {"extra", "F32", 1, {1}, data}}, b = {"y", "F32", 1, {3}, data};
    test_write_safetensors("set/a.safetensors", a, 2, NULL);
    test_write_safetensors("set/b.safetensors", &b, 1, NULL);
    const char *index = "{\"metadata\":{},\"weight_map\":{\"y\":\"b.safetensors\",\"x\":\"a.safetensors\"}}";
    test_write("set/model.safetensors.index.json", index, strlen(index));
    kg_checkpoint *ck = kg_checkpoint_open(f, "set");
    CHECK(ck && kg_checkpoint_count(ck) == 2, "%s", kg_error_last()->message);
    unsigned char one[32];
    if (ck) {
        const kg_weight *w = kg_checkpoint_find(ck, "y");
        CHECK(w && strstr(w->file->path, "b.safetensors") && !kg_checkpoint_find(ck, "extra"));
        kg_checkpoint_layout(ck, one);
        CHECK(kg_checkpoint_files(ck) == 2 && kg_checkpoint_file(ck, 1) == w->file);
    }
    kg_checkpoint_free(ck);
    /* The same shards, and an index that takes a tensor from another of them. */
    test_tensor both[] = {{"y", "F32", 1, {3}, data}, {"x", "F32", 1, {2}, data + 4}};
    test_write_safetensors("set/b.safetensors", both, 2, NULL);
    index = "{\"weight_map\":{\"y\":\"b.safetensors\",\"x\":\"a.safetensors\",\"extra\":\"a.safetensors\"}}";
    unsigned char from[2][32];
    for (int i = 0; i < 2; ++i) {
        test_write("set/other.safetensors.index.json", index, strlen(index));
        ck = kg_checkpoint_open(f, "set/other.safetensors.index.json");
        CHECK(ck && kg_checkpoint_files(ck) == 2, "%s", kg_error_last()->message);
        kg_checkpoint_layout(ck, from[i]);
        kg_checkpoint_free(ck);
        index = "{\"weight_map\":{\"y\":\"b.safetensors\",\"x\":\"b.safetensors\",\"extra\":\"a.safetensors\"}}";
    }
    CHECK(memcmp(one, from[0], 32) && memcmp(from[0], from[1], 32), "which tensor comes from which shard is part of the key");
    test_write_safetensors("set/b.safetensors", &b, 1, NULL);
    index_refused(f, "{\"weight_map\":{\"x\":\"../a.safetensors\"}}", "'../a.safetensors' of tensor 'x' is not a plain file name");
    index_refused(f, "{\"weight_map\":{\"x\":\"/etc/passwd\"}}", "'/etc/passwd'");
    index_refused(f, "{\"weight_map\":{\"x\":\"..\"}}", "plain file name");
    index_refused(f, "{\"weight_map\":{\"x\":\"\"}}", "plain file name");
    index_refused(f, "{\"weight_map\":{\"x\":3}}", "is not a text");
    index_refused(f, "{\"weight_map\":{}}", "no weight_map");
    index_refused(f, "{\"weight_map\":[1]}", "no weight_map");
    index_refused(f, "{}", "no weight_map");
    index_refused(f, "{\"weight_map\":{\"x\":\"a.safetensors\"}} x", "not JSON");
    index_refused(f, "{\"weight_map\":{\"x\":\"a.safetensors\",\"x\":\"b.safetensors\"}}", "'x' comes twice");
    index_refused(f, "{\"weight_map\":{\"z\":\"a.safetensors\"}}", "has tensor 'z' here, the shard has not");
    index_refused(f, "{\"weight_map\":{\"z\":\"gone.safetensors\"}}", "gone.safetensors");
}

static void test_resource(kg_files *f)
{
    test_tensor t[] = {{"q", "F32", 2, {1, 3}, data}, {"k", "F32", 2, {1, 3}, data + 3}, {"v", "F32", 2, {1, 3}, data + 6},
        {"n", "F32", 1, {3}, data}, {"h", "F16", 2, {1, 3}, data}};
    test_write_safetensors("res.safetensors", t, 5, NULL);
    kg_checkpoint *ck = kg_checkpoint_open(f, "res.safetensors");
    kg_builder *b = kg_builder_new(ck);
    for (int i = 0; i < 100; ++i) {
        kg_builder_segment(b, "block %d", i);
        kg_builder_weight(b, KG_SHAPE(3), "%s", "n");
        kg_builder_rows(b, KG_SHAPE(3, 3), 3, (const char *const[]){"q", "k", "v"});
    }
    kg_resource *r = kg_builder_done(b, malloc(4), free);
    CHECK(r && r->segment_count == 100 && r->weight_count == 200, "%s", kg_error_last()->message);
    kg_checkpoint_free(ck);
    if (r) {
        CHECK(r->segments[99].bytes == 512 && !strcmp(r->segments[99].name, "block 99"));
        kg_device *d = kg_cpu_new(1);
        kg_exec *x = kg_eager_new(d, 1 << 16);
        kg_tensor out[2] = {kg_temp(x, KG_F32, KG_SHAPE(3)), kg_temp(x, KG_F32, KG_SHAPE(3, 3))};
        CHECK(!r->fill(x, r, 99, out));
        CHECK(!memcmp(out[0].at, data, 12) && !memcmp(out[1].at, data, 36));
        kg_eager_free(x);
        kg_device_free(d);
        r->destroy(r);
    }
    ck = kg_checkpoint_open(f, "res.safetensors");
    b = kg_builder_new(ck);
    kg_builder_segment(b, "all");
    kg_builder_rows(b, KG_SHAPE(2, 3), 2, (const char *const[]){"q", "h"});
    CHECK(!kg_builder_done(b, malloc(4), free));
    check_error(KG_INPUT, "must have one type");
    b = kg_builder_new(ck);
    kg_builder_segment(b, "all");
    kg_builder_weight(b, KG_SHAPE(4), "%s", "n");
    kg_builder_weight(b, KG_SHAPE(4), "%s", "gone");
    CHECK(!kg_builder_done(b, NULL, NULL));
    check_error(KG_INPUT, "'n' has shape [3], expected [4]");
    kg_checkpoint_free(ck);
}

int main(void)
{
    char folder[64];
    test_folder_enter(folder, sizeof folder);
    kg_files *f = kg_files_new();
    kg_files_root(f, ".", KG_ROOT_PLAIN);
    test_alias();
    test_single(f);
    test_folder(f);
    test_shards(f);
    test_resource(f);
    kg_files_free(f);
    test_folder_leave(folder);
    return TEST_END();
}
