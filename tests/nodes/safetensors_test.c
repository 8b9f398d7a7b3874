/* The safetensors reader against files that lie: each case is a header and what must be said about it. */
#include "nodes/lib/safetensors.h"

#include <time.h>

#include "tests/test.h"

/* Parses JSON followed by `data` bytes. */
static kg_status parse(kg_safetensors *s, const char *json, size_t length, uint64_t said, uint64_t data)
{
    char *head = malloc(length + 9);
    for (int i = 0; i < 8; ++i)
        head[i] = (char)(said >> 8 * i);
    memcpy(head + 8, json, length);
    head[8 + length] = 0;
    kg_status status = kg_safetensors_parse(s, "t.safetensors", head, 8 + length, 8 + length + data);
    free(head);
    return status;
}

static void refused(const char *json, uint64_t data, const char *why)
{
    kg_safetensors s;
    kg_status status = parse(&s, json, strlen(json), strlen(json), data);
    CHECK(status == KG_INPUT, "%s", json);
    CHECK(strstr(kg_error_last()->message, "t.safetensors") && strstr(kg_error_last()->message, why), "%s: '%s'", json,
          kg_error_last()->message);
    CHECK(!s.rows && !s.json);
    kg_error_clear();
}

static void taken(const char *json, uint64_t data, int n)
{
    kg_safetensors s;
    CHECK(parse(&s, json, strlen(json), strlen(json), data) == KG_OK && s.n == n, "%s: %s", json, kg_error_last()->message);
    kg_safetensors_free(&s);
    kg_error_clear();
}

#define ROW(name, dtype, shape, from, to) "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":[" from "," to "]}"

static void test_taken(void)
{
    taken("{}", 0, 0);
    taken("{}      ", 0, 0);
    taken("{\"__metadata__\":{\"format\":\"pt\"}}", 0, 0);
    taken("{" ROW("a", "F32", "[2,3]", "0", "24") "," ROW("b", "BF16", "[]", "24", "26") "}  ", 26, 2);
    taken("{" ROW("b", "F16", "[2]", "4", "8") "," ROW("a", "F32", "[1]", "0", "4") "}", 8, 2);
    taken("{" ROW("e", "F8_E4M3", "[0]", "4", "4") "," ROW("a", "F32", "[1]", "0", "4") "}", 4, 2);
    taken("{" ROW("e", "U8", "[0,99999999999]", "0", "0") "," ROW("a", "BOOL", "[1]", "0", "1") "}", 1, 2);
    kg_safetensors s;
    const char *json = "{" ROW("a", "F8_E5M2", "[]", "0", "1") ",\"__metadata__\":{\"k\":\"v\"}}";
    CHECK(!parse(&s, json, strlen(json), strlen(json), 1));
    CHECK(s.rows[0].rank == 1 && s.rows[0].shape[0] == 1 && s.rows[0].dtype == KG_F8_E5M2 && s.rows[0].offset == s.header);
    CHECK(!strcmp(kg_safetensors_meta(&s, "k"), "v") && !kg_safetensors_meta(&s, "w"));
    kg_safetensors_free(&s);
}

static void test_rows(void)
{
    refused("{\"a\":1}", 0, "'a' has no description");
    refused("{\"a\":{}}", 0, "'a' has no dtype");
    refused("{" ROW("a", "F31", "[1]", "0", "4") "}", 4, "'a' has the unknown dtype 'F31'");
    refused("{" ROW("a", "F32", "1", "0", "4") "}", 4, "'a' has no shape");
    refused("{" ROW("a", "F32", "[-1]", "0", "4") "}", 4, "dimension 0 of tensor 'a'");
    refused("{" ROW("a", "F32", "[1,1.5]", "0", "4") "}", 4, "dimension 1 of tensor 'a'");
    refused("{" ROW("a", "F32", "[1e300]", "0", "4") "}", 4, "dimension 0");
    refused("{" ROW("a", "F32", "[\"1\"]", "0", "4") "}", 4, "dimension 0");
    refused("{" ROW("a", "F32", "[1,1,1,1,1,1,1]", "0", "4") "}", 4, "more than 6 dimensions");
    refused("{" ROW("a", "F32", "[4294967296,4294967296]", "0", "0") "}", 0, "shape of tensor 'a' overflows");
    refused("{" ROW("a", "F32", "[4294967296,1073741824]", "0", "0") "}", 0, "overflows");
    refused("{" ROW("a", "F32", "[1]", "0", "8") "}", 8, "'a' has 8 bytes, but its shape takes 4");
    refused("{" ROW("a", "F32", "[1]", "4", "0") "}", 4, "no valid data_offsets");
    refused("{" ROW("a", "F32", "[1]", "-4", "0") "}", 4, "no valid data_offsets");
    refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]}}", 4, "no valid data_offsets");
    refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4, "no valid data_offsets");
    refused("{" ROW("a", "F32", "[2]", "0", "8") "}", 7, "'a' ends 1 bytes beyond the end");
    refused("{" ROW("a", "F32", "[2]", "0", "9007199254740993") "}", 8, "beyond the end");
    refused("{" ROW("a", "F32", "[1]", "0", "4") "," ROW("a", "F32", "[1]", "4", "8") "}", 8, "'a' comes twice");
    refused("{" ROW("a", "F32", "[2]", "0", "8") "," ROW("b", "F32", "[2]", "4", "12") "}", 12, "'a' and 'b' overlap");
    refused("{" ROW("a", "F32", "[2]", "0", "8") "," ROW("b", "F32", "[1]", "4", "8") "}", 8, "overlap");
    refused("{" ROW("a", "F32", "[1]", "0", "4") "," ROW("b", "F32", "[1]", "8", "12") "}", 12, "4 bytes before tensor 'b'");
    refused("{" ROW("a", "F32", "[1]", "0", "4") "}", 6, "2 bytes after the last tensor");
    refused("{}", 1, "1 bytes after");
    refused("{\"__metadata__\":[]}", 0, "__metadata__ is not an object");
    refused("{\"__metadata__\":{\"a\":1}}", 0, "'a' of __metadata__ is not a text");
}

static void test_headers(void)
{
    kg_safetensors s;
    refused("[]", 0, "no JSON object");
    refused("  {}", 0, "no JSON object");
    refused("{", 8, "not JSON");
    refused("{}x", 0, "not JSON");
    refused("{\"a\":}", 0, "not JSON");
    CHECK(parse(&s, "{}", 2, 3, 0) == KG_INPUT && strstr(kg_error_last()->message, "truncated"));
    kg_error_clear();
    CHECK(parse(&s, "{}", 2, 3, 5) == KG_INPUT && strstr(kg_error_last()->message, "truncated inside its header"));
    kg_error_clear();
    CHECK(parse(&s, "{}", 2, UINT64_MAX, 0) == KG_INPUT && strstr(kg_error_last()->message, "header would have"));
    kg_error_clear();
    CHECK(parse(&s, "{}", 2, 100000001, 0) == KG_INPUT && strstr(kg_error_last()->message, "header would have"));
    kg_error_clear();
    CHECK(kg_safetensors_parse(&s, "t", "abc", 3, 3) == KG_INPUT && strstr(kg_error_last()->message, "no safetensors file"));
    kg_error_clear();
    size_t n = 1 << 21;
    char *deep = malloc(n + 1);
    memset(deep, '[', n);
    memcpy(deep, "{\"a\":", 5);
    deep[n] = 0;
    refused(deep, 0, "more than");
    memset(deep + 5, ' ', n - 5);
    memset(deep + 5, '[', 100000);
    refused(deep, 0, "not JSON");
    free(deep);
}

/* A header of 5,000 tensors is read in a few ms. */
static void test_time(void)
{
    char *json = NULL;
    size_t length;
    FILE *m = open_memstream(&json, &length);
    for (int i = 0; i < 5000; ++i)
        fprintf(m, "%c\"blocks.%d.cross_attn.norm_k_img.weight\":{\"dtype\":\"BF16\",\"shape\":[64,2],\"data_offsets\":[%d,%d]}",
                i ? ',' : '{', i, i * 256, i * 256 + 256);
    fprintf(m, "}");
    fclose(m);
    struct timespec a, b;
    kg_safetensors s;
    clock_gettime(CLOCK_MONOTONIC, &a);
    kg_status status = parse(&s, json, length, length, 5000 * 256);
    clock_gettime(CLOCK_MONOTONIC, &b);
    double ms = (double)(b.tv_sec - a.tv_sec) * 1e3 + (double)(b.tv_nsec - a.tv_nsec) * 1e-6;
    printf("header of 5000 tensors (%zu bytes): %.2f ms\n", length, ms);
    CHECK(!status && s.n == 5000 && ms < 500, "%.2f ms", ms);
    kg_safetensors_free(&s);
    free(json);
}

int main(void)
{
    test_taken();
    test_rows();
    test_headers();
    test_time();
    return TEST_END();
}
