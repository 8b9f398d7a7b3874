/* Cleaning and tokenizing against ftfy, html.unescape and Hugging Face's tokenizer (tools/golden/tokenizer.py), and models that lie. */
#include "nodes/lib/tokenizer.h"

#include <cjson/cJSON.h>

#include "nodes/lib/clean.h"
#include "tests/test.h"

#define DATA KG_SOURCE_DIR "/tests/golden/data/"

static char *slurp(const char *path, size_t *n)
{
    FILE *f = fopen(path, "rb");
    if (!f) {
        perror(path);
        exit(1);
    }
    fseek(f, 0, SEEK_END);
    *n = (size_t)ftell(f);
    rewind(f);
    char *text = malloc(*n + 1);
    *n = fread(text, 1, *n, f);
    text[*n] = 0;
    fclose(f);
    return text;
}

static void test_case(const kg_tokenizer *t, const cJSON *item)
{
    const char *text = cJSON_GetObjectItem(item, "text")->valuestring, *want = cJSON_GetObjectItem(item, "clean")->valuestring;
    const cJSON *ids = cJSON_GetObjectItem(item, "ids");
    char *clean = kg_clean_text(text);
    CHECK(clean && !strcmp(clean, want), "\n  text '%.300s'\n  ours '%.300s'\n  ftfy '%.300s'", text, clean ? clean : "(none)", want);
    int32_t got[512];
    int n = clean ? kg_tokenizer_ids(t, want, 512, got) : -1, same = n == cJSON_GetArraySize(ids);
    int i = 0;
    for (const cJSON *id = ids->child; id && same; id = id->next, ++i)
        same = got[i] == id->valueint;
    CHECK(same, "'%.100s': %d ids, not %d; id %d is %d", want, n, cJSON_GetArraySize(ids), i - 1, i && n >= i ? got[i - 1] : -1);
    free(clean);
}

static void test_goldens(const char *model, size_t n)
{
    size_t length;
    char *text = slurp(DATA "tokenizer.json", &length);
    cJSON *json = cJSON_Parse(text);
    int pieces = cJSON_GetObjectItem(json, "pieces")->valueint;
    kg_tokenizer *t = kg_tokenizer_new("t", model, n, pieces + 384);
    CHECK(t, "%s", kg_error_last()->message);
    if (t) {
        kg_special s = kg_tokenizer_special(t);
        CHECK(s.pad == 0 && s.eos == 1 && s.unk == 3 && s.pieces == pieces);
        const cJSON *item;
        cJSON_ArrayForEach(item, cJSON_GetObjectItem(json, "cases")) test_case(t, item);
        int32_t ids[4];
        CHECK(kg_tokenizer_ids(t, "", 4, ids) == 1 && ids[0] == 1);
        CHECK(kg_tokenizer_ids(t, "a cat a cat a cat", 4, ids) == 4 && ids[3] == 1);
    }
    kg_tokenizer_free(t);
    cJSON_Delete(json);
    free(text);
}

static void refused(const void *model, size_t n, int64_t rows, const char *why)
{
    kg_tokenizer *t = kg_tokenizer_new("some.model", model, n, rows);
    const kg_error *e = kg_error_last();
    CHECK(!t && e->status == KG_INPUT && strstr(e->message, why) && strstr(e->message, "some.model"), "'%s', not '%s'", e->message, why);
    kg_tokenizer_free(t);
    kg_error_clear();
}

/* Where in the model the table of the normaliser begins: field 3, then its field 2. */
static size_t find_table(const unsigned char *m, size_t n)
{
    for (size_t i = n - 2000; i + 8 < n; ++i)
        if (m[i] == 0x12 && m[i + 1] > 127 && !(m[i + 3] & 3) && m[i + 5] == 0 && m[i + 6] == 0)
            return i + 3;
    return 0;
}

static void test_refused(const char *model, size_t n)
{
    unsigned char *copy = malloc(n + 16);
    memcpy(copy, model, n);
    refused("", 0, 1000, "it has no pieces");
    refused("abcdef", 6, 1000, "malformed");
    refused("\x0a\x02\x12\x00", 4, 1000, "piece 0");
    refused("\x0a\x03\x0a\x01" "a", 5, 1000, "some.model");
    refused(model, n - 5, 1000, "some.model");
    refused(model, n, 10, "rows");
    memcpy(copy + n, "\x12\x02\x18\x02", 4);
    refused(copy, n + 4, 1000, "type 2");
    memcpy(copy + n, "\x1a\x04\x12\x02\x01\x02", 6);
    refused(copy, n + 6, 1000, "table of the tokenizer's normaliser");
    size_t table = find_table(copy, n);
    CHECK(table);
    if (table) {
        memset(copy + table + 4, 0xff, 4);
        refused(copy, n, 1000, "table of the tokenizer's normaliser");
    }
    free(copy);
    CHECK(!kg_clean_text("abc\xff") && strstr(kg_error_last()->message, "not UTF-8 at byte 3"));
    kg_error_clear();
    CHECK(!kg_clean_text("\xed\xa0\x80") && kg_error_last()->status == KG_USAGE);
    kg_error_clear();
}

int main(void)
{
    size_t n;
    char *model = slurp(DATA "tokenizer.model", &n);
    test_goldens(model, n);
    test_refused(model, n);
    free(model);
    return TEST_END();
}
