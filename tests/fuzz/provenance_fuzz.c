/* Any bytes as a file that may say how it was made: refused, or UTF-8 without NUL. What it says may hold packed texts, which unpack to
 * no more than was allowed, and a graph, which is refused or has the node that was asked for. */
#include "tests/fuzz/file.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cjson/cJSON.h>

#include "nodes/lib/pack.h"
#include "nodes/lib/provenance.h"
#include "tools/kino_cli.h"

enum { MOST = 4096 };

static void unpack(const char *packed)
{
    size_t n = 0;
    char *text = kg_unpack(packed, MOST, &n);
    if (text && (n > MOST || strlen(text) != n))
        abort();
    free(text);
}

static void build(const cJSON *chain)
{
    kg_files *files = kg_files_new();
    kg_graph *g = kg_graph_new(&(kg_graph_options){.files = files, .precision = KG_PRECISION_F32});
    int n = cJSON_GetArraySize(chain), node = kino_chain_build(chain, n - 1, "out.png", g);
    if ((node < 0) != (kg_error_last()->status != KG_OK) || node >= kg_graph_count(g))
        abort();
    kg_error_clear();
    kg_graph_free(g);
    kg_files_free(files);
}

static void look(const char *text)
{
    cJSON *j = cJSON_Parse(text);
    const cJSON *texts = cJSON_GetObjectItemCaseSensitive(j, "texts");
    unpack(cJSON_IsString(texts) ? texts->valuestring : text);
    build(cJSON_GetObjectItemCaseSensitive(j, "graph"));
    cJSON_Delete(j);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    kg_file f = fuzz_file(data, n);
    char *text = kg_provenance_read(&f);
    if (!text != (kg_error_last()->status != KG_OK) || (text && strlen(text) > n))
        abort();
    kg_error_clear();
    if (text)
        look(text);
    free(text);
    kg_error_clear();
    close(f.fd);
    return 0;
}

size_t kg_fuzz_seed(int index, uint8_t *out, size_t max)
{
    static const char png[] = "\x89PNG\r\n\x1a\n\0\0\0\x02IHDRab....\0\0\0\x13iTXtkinograph\0\0\0en\0k\0{}....\0\0\0\0IEND....";
    static const char mp4[] = "\0\0\0\x10" "ftypisom\0\0\0\0\0\0\0\x4amoov\0\0\0\x42udta\0\0\0\x3ameta\0\0\0\0\0\0\0\x08hdlr\0\0\0\x26ilst"
                              "\0\0\0\x1e\251cmt\0\0\0\x16" "data\0\0\0\1\0\0\0\0{\"s\":1}";
    static const char st[] = "\x2d\0\0\0\0\0\0\0{\"__metadata__\":{\"kinograph\":\"{\\\"seed\\\":7}\"}}";
    static const struct { const char *p; size_t n; } seeds[] = {{png, sizeof png - 1}, {mp4, sizeof mp4 - 1}, {st, sizeof st - 1}};
    static const char graph[] = "........"
        "{\"__metadata__\":{\"kinograph\":\"{\\\"texts\\\":\\\"eNqLrlbKS8xNVbJSUtJRKkgsyQCyEvVyShOB3JLUihIgtyi1pLQoT8FQ"
        "qTYWAEVODiQ=\\\",\\\"graph\\\":[{\\\"type\\\":\\\"latent.noise\\\",\\\"label\\\":\\\"a\\\",\\\"device\\\":\\\""
        "cpu\\\",\\\"params\\\":{\\\"width\\\":\\\"64\\\",\\\"height\\\":\\\"64\\\",\\\"seed\\\":[\\\"1\\\",\\\"1844674"
        "4073709551615\\\"]},\\\"inputs\\\":{}},{\\\"type\\\":\\\"latent.pick\\\",\\\"params\\\":{\\\"item\\\":\\\"1\\"
        "\"},\\\"inputs\\\":{\\\"latent\\\":[0,0]}},{\\\"type\\\":\\\"latent.save\\\",\\\"params\\\":{\\\"path\\\":\\\""
        "x.safetensors\\\"},\\\"inputs\\\":{\\\"latent\\\":[1,0]}}]}\"}}";
    if (index == 3 && sizeof graph <= max) {
        uint64_t length = sizeof graph - 9;
        memcpy(out, graph, sizeof graph - 1);
        memcpy(out, &length, 8);
        return sizeof graph - 1;
    }
    if (index >= 3 || seeds[index].n > max)
        return 0;
    memcpy(out, seeds[index].p, seeds[index].n);
    return seeds[index].n;
}
