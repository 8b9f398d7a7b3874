// Sentencepiece behind a C face; no exception leaves this file.
//
// Where the library and Hugging Face's fast tokenizer differ, the latter is followed: a character that no piece covers is one
// unknown token, never bytes, and neighbours are one; the special tokens are read where their text stands in the prompt.
#include "nodes/lib/tokenizer.h"

#include <sentencepiece_processor.h>

#include <cstring>
#include <exception>
#include <string>
#include <vector>

#include "nodes/lib/spiece.h"

namespace {
constexpr int kExtra = 300;    // <extra_id_0> .. <extra_id_299>, after the pieces
}

struct kg_tokenizer {
    sentencepiece::SentencePieceProcessor model;
    std::string what;
    kg_special special;
    bool extra;
};

static bool fill_special(kg_tokenizer *t, int64_t rows)
{
    t->special = {t->model.pad_id(), t->model.eos_id(), t->model.unk_id(), t->model.GetPieceSize()};
    if (t->special.eos < 0) {
        kg_fail(KG_INPUT, "'%s': the tokenizer has no end token (</s>)", t->what.c_str());
        return false;
    }
    if (t->special.pieces > rows) {
        kg_fail(KG_INPUT, "'%s': the tokenizer has %d pieces, the embedding only %lld rows", t->what.c_str(), t->special.pieces,
                static_cast<long long>(rows));
        return false;
    }
    t->extra = rows - t->special.pieces >= kExtra;
    return true;
}

kg_tokenizer *kg_tokenizer_new(const char *what, const void *model, size_t n, int64_t rows)
{
    if (n > KG_TOKENIZER_MAX) {
        kg_fail(KG_INPUT, "'%s': a tokenizer of %zu bytes; at most %u are taken", what, n, KG_TOKENIZER_MAX);
        return nullptr;
    }
    if (kg_spiece_check(what, model, n) != KG_OK)
        return nullptr;
    kg_tokenizer *t = nullptr;
    try {
        t = new kg_tokenizer;
        t->what = what;
        const auto status = t->model.LoadFromSerializedProto(absl::string_view(static_cast<const char *>(model), n));
        if (!status.ok())
            kg_fail(KG_INPUT, "'%s' is no sentencepiece model: %s", what, status.ToString().c_str());
        else if (fill_special(t, rows))
            return t;
    } catch (const std::exception &e) {
        kg_fail(KG_INPUT, "'%s': the tokenizer cannot be read: %s", what, e.what());
    }
    delete t;
    return nullptr;
}

void kg_tokenizer_free(kg_tokenizer *t) { delete t; }

kg_special kg_tokenizer_special(const kg_tokenizer *t) { return t->special; }

// Length and id of the special token at s, 0 when there is none.
static size_t special_at(const kg_tokenizer *t, const char *s, int *id)
{
    const struct { const char *text; int id; } named[] = {{"</s>", t->special.eos}, {"<unk>", t->special.unk}, {"<pad>", t->special.pad}};
    for (const auto &token : named)
        if (token.id >= 0 && !std::strncmp(s, token.text, std::strlen(token.text))) {
            *id = token.id;
            return std::strlen(token.text);
        }
    if (!t->extra || std::strncmp(s, "<extra_id_", 10))
        return 0;
    int number = 0;
    size_t n = 10;
    for (; n < 13 && s[n] >= '0' && s[n] <= '9'; ++n)
        number = number * 10 + (s[n] - '0');
    if (n == 10 || s[n] != '>' || number >= kExtra || (n > 11 && s[10] == '0'))
        return 0;
    *id = t->special.pieces + kExtra - 1 - number;
    return n + 1;
}

// Adds the ids of text without special tokens. false with an error.
static bool encode(const kg_tokenizer *t, absl::string_view text, std::vector<int> *ids)
{
    std::vector<int> pieces;
    const auto status = t->model.Encode(text, &pieces);
    if (!status.ok()) {
        kg_fail(KG_FAILED, "'%s': a prompt cannot be encoded: %s", t->what.c_str(), status.ToString().c_str());
        return false;
    }
    bool unknown = false;
    for (int id : pieces) {
        const bool is_unknown = t->model.IsByte(id) || t->model.IsUnknown(id);
        if (!is_unknown)
            ids->push_back(id);
        else if (!unknown)
            ids->push_back(t->special.unk);
        unknown = is_unknown;
    }
    return true;
}

static bool encode_all(const kg_tokenizer *t, const char *text, std::vector<int> *ids)
{
    const char *from = text, *at = text;
    while (*at) {
        int id = 0;
        const size_t n = *at == '<' ? special_at(t, at, &id) : 0;
        if (!n) {
            ++at;
            continue;
        }
        if (at > from && !encode(t, absl::string_view(from, at - from), ids))
            return false;
        ids->push_back(id);
        from = at += n;
    }
    return at == from || encode(t, absl::string_view(from, at - from), ids);
}

int kg_tokenizer_ids(const kg_tokenizer *t, const char *text, int max, int32_t *ids)
{
    try {
        std::vector<int> all;
        if (!encode_all(t, text, &all))
            return -1;
        int n = 0;
        for (; n < max - 1 && n < static_cast<int>(all.size()); ++n)
            ids[n] = all[n];
        ids[n++] = t->special.eos;
        return n;
    } catch (const std::exception &e) {
        kg_fail(KG_FAILED, "'%s': a prompt cannot be encoded: %s", t->what.c_str(), e.what());
        return -1;
    }
}
