/* Any bytes as what a script's process sends: an edit of the graph, and a template's declarations. The first byte chooses. */
#include <stdlib.h>
#include <string.h>

#include "lua/script.h"
#include "lua/wire.h"
#include "tests/fuzz/fuzz.h"

/* Everything that a good edit points at is readable, and every count is within its bounds. */
static size_t touch_edit(const kg_edit *e)
{
    size_t sum = strlen(e->type) + strlen(e->label);
    if (e->n < 0 || e->n > KG_EDIT_ARGS || e->ints_used > KG_EDIT_INTS)
        __builtin_trap();
    for (int i = 0; i < e->n; ++i) {
        const kg_arg *a = &e->args[i];
        sum += strlen(a->name) + (a->kind == KG_A_TEXT ? strlen(a->s) : 0);
        for (int k = 0; a->kind == KG_A_INTS && k < a->n; ++k)
            sum += (size_t)(a->list[k] & 1);
        if (a->kind == KG_A_NODE && (a->node < 0 || a->port < 0))
            __builtin_trap();
    }
    return sum;
}

static size_t touch_doc(const kg_script_doc *d)
{
    size_t sum = strlen(d->doc);
    for (int i = 0; i < d->n; ++i) {
        const kg_script_param *p = &d->params[i];
        sum += strlen(p->name) + strlen(p->doc) + (p->def ? strlen(p->def) : 0) + strlen(kg_script_type_name(p->type));
        for (int k = 0; k < p->choice_count; ++k)
            sum += strlen(p->choices[k]);
    }
    return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static kg_edit edit;
    static volatile size_t seen __attribute__((unused));
    if (!n)
        return 0;
    uint8_t *own = malloc(n);                  /* no byte behind the last one */
    if (!own)
        return 0;
    memcpy(own, data + 1, n - 1);
    if (data[0] & 1) {
        kg_script_doc *d = kg_doc_decode(own, n - 1);
        seen += d ? touch_doc(d) : 0;
        kg_doc_free(d);
    } else if (kg_edit_decode(own, n - 1, &edit))
        seen += touch_edit(&edit);
    free(own);
    return 0;
}

static void text(kg_writer *w, const char *s) { kg_write_text(w, s, strlen(s)); }

static void seed_edit(kg_writer *w)
{
    text(w, "wan.sample");
    text(w, "main");
    kg_write_u32(w, 6);
    text(w, "steps");
    kg_write_u32(w, KG_A_INT);
    kg_write_i64(w, 50);
    text(w, "shift");
    kg_write_u32(w, KG_A_REAL);
    kg_write_f64(w, 2.5);
    text(w, "solver");
    kg_write_u32(w, KG_A_TEXT);
    text(w, "unipc");
    text(w, "seed");
    kg_write_u32(w, KG_A_INTS);
    kg_write_u32(w, 3);
    for (int i = 0; i < 3; ++i)
        kg_write_i64(w, i);
    text(w, "model");
    kg_write_u32(w, KG_A_NODE);
    kg_write_u32(w, 2);
    kg_write_u32(w, 0);
    text(w, "on");
    kg_write_u32(w, KG_A_BOOL);
    kg_write_u32(w, 1);
}

static void seed_doc(kg_writer *w)
{
    text(w, "Makes a video.");
    kg_write_u32(w, 2);
    for (int i = 0; i < 2; ++i) {
        text(w, i ? "solver" : "frames");
        text(w, "doc");
        kg_write_u32(w, i ? KG_S_CHOICE : KG_S_INT);
        kg_write_u32(w, 4);
        text(w, i ? "unipc" : "81");
        kg_write_f64(w, 1);
        kg_write_f64(w, 1025);
        kg_write_f64(w, 4);
        kg_write_u32(w, i ? 2 : 0);
        for (int k = 0; i && k < 2; ++k)
            text(w, k ? "euler" : "unipc");
    }
}

size_t kg_fuzz_seed(int index, uint8_t *out, size_t max)
{
    kg_writer w = {.most = max};
    size_t n = 0;
    kg_write_bytes(&w, index ? "\1" : "\0", 1);
    if (index == 0)
        seed_edit(&w);
    else if (index == 1)
        seed_doc(&w);
    if (index < 2 && !w.failed) {
        memcpy(out, w.at, w.n);
        n = w.n;
    }
    free(w.at);
    return n;
}
