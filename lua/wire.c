/* Frames and their payloads: see wire.h. */
#include "lua/wire.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/plain.h"
#include "lua/script.h"

/* ---- writing ---- */

void kg_write_bytes(kg_writer *w, const void *p, size_t n)
{
    if (!w->failed && (n > w->most || w->n > w->most - n))
        w->failed = KG_WRITE_LARGE;
    if (w->failed)
        return;
    if (w->n + n > w->room) {
        size_t room = 2 * (w->n + n) + 256;
        unsigned char *at = realloc(w->at, room);
        if (!at) {
            w->failed = KG_WRITE_MEMORY;
            return;
        }
        w->at = at;
        w->room = room;
    }
    if (n)
        memcpy(w->at + w->n, p, n);
    w->n += n;
}

void kg_write_u32(kg_writer *w, uint32_t v) { kg_write_bytes(w, &v, sizeof v); }
void kg_write_i64(kg_writer *w, int64_t v) { kg_write_bytes(w, &v, sizeof v); }
void kg_write_f64(kg_writer *w, double v) { kg_write_bytes(w, &v, sizeof v); }

void kg_write_text(kg_writer *w, const char *s, size_t n)
{
    kg_write_u32(w, (uint32_t)n);
    kg_write_bytes(w, s, n);
    kg_write_bytes(w, "", 1);
}

void kg_write_begin(kg_writer *w, uint32_t kind)
{
    kg_head head = {.kind = kind};
    w->n = 0;
    w->failed = 0;
    kg_write_bytes(w, &head, sizeof head);
}

int kg_write_end(kg_writer *w)
{
    if (w->failed)
        return 0;
    uint32_t bytes = (uint32_t)(w->n - sizeof(kg_head));
    memcpy(w->at, &bytes, sizeof bytes);
    return 1;
}

/* ---- reading ---- */

static const void *take(kg_reader *r, size_t n)
{
    if (r->bad || n > r->left) {
        r->bad = 1;
        return NULL;
    }
    const void *p = r->at;
    r->at += n;
    r->left -= n;
    return p;
}

uint32_t kg_read_u32(kg_reader *r)
{
    uint32_t v = 0;
    const void *p = take(r, sizeof v);
    if (p)
        memcpy(&v, p, sizeof v);
    return v;
}

int64_t kg_read_i64(kg_reader *r)
{
    int64_t v = 0;
    const void *p = take(r, sizeof v);
    if (p)
        memcpy(&v, p, sizeof v);
    return v;
}

double kg_read_f64(kg_reader *r)
{
    double v = 0;
    const void *p = take(r, sizeof v);
    if (p)
        memcpy(&v, p, sizeof v);
    return v;
}

const char *kg_read_text(kg_reader *r, size_t most, size_t *bytes)
{
    size_t n = kg_read_u32(r);
    const char *s = n <= most ? take(r, n + 1) : NULL;
    if (!s || s[n] || memchr(s, 0, n)) {
        r->bad = 1;
        s = "";
        n = 0;
    }
    if (bytes)
        *bytes = n;
    return s;
}

const char *kg_read_name(kg_reader *r, size_t most)
{
    const char *s = kg_read_text(r, most, NULL);
    if (kg_plain_is(s) && !strchr(s, '\t'))
        return s;
    r->bad = 1;
    return "";
}

/* ---- edits ---- */

static void read_ints(kg_reader *r, kg_edit *e, kg_arg *a)
{
    uint32_t n = kg_read_u32(r);
    if (n > (uint32_t)(KG_EDIT_INTS - e->ints_used)) {
        r->bad = 1;
        return;
    }
    a->list = e->ints + e->ints_used;
    a->n = (int)n;
    e->ints_used += (int)n;
    for (int i = 0; i < a->n; ++i)
        e->ints[e->ints_used - a->n + i] = kg_read_i64(r);
}

static void read_arg(kg_reader *r, kg_edit *e, kg_arg *a)
{
    a->name = kg_read_name(r, KG_EDIT_NAME);
    uint32_t kind = kg_read_u32(r);
    if (kind > KG_A_NODE) {
        r->bad = 1;
        return;
    }
    a->kind = (kg_arg_kind)kind;
    switch (a->kind) {
    case KG_A_INT: a->i = kg_read_i64(r); break;
    case KG_A_BOOL: a->i = kg_read_u32(r) != 0; break;
    case KG_A_REAL:
        a->r = kg_read_f64(r);
        r->bad |= !isfinite(a->r);
        break;
    case KG_A_TEXT: a->s = kg_read_text(r, SIZE_MAX - 1, NULL); break;
    case KG_A_INTS: read_ints(r, e, a); break;
    case KG_A_NODE:
        a->node = (int)(kg_read_u32(r) & INT32_MAX);
        a->port = (int)(kg_read_u32(r) & INT32_MAX);
    }
}

int kg_edit_decode(const void *payload, size_t bytes, kg_edit *e)
{
    kg_reader r = {.at = payload, .left = bytes};
    memset(e, 0, sizeof *e);
    e->type = kg_read_name(&r, KG_EDIT_NAME);
    e->label = kg_read_name(&r, KG_EDIT_NAME);
    uint32_t n = kg_read_u32(&r);
    if (n > KG_EDIT_ARGS)
        return 0;
    e->n = (int)n;
    for (int i = 0; i < e->n; ++i)
        read_arg(&r, e, &e->args[i]);
    return !r.bad && !r.left;
}

/* ---- declarations ---- */

typedef struct doc {               /* what kg_doc_decode allocates, in one piece with its arrays           */
    kg_script_doc face;            /* first: kg_doc_free gets its address                                  */
    kg_script_param params[KG_DOC_PARAMS];
    const char *choices[KG_DOC_CHOICES];
    int choices_used;
    unsigned char payload[];
} doc;

/* A param is a long option too: lower case letters, digits and underscores. */
static int param_name(const char *s)
{
    return s[0] >= 'a' && s[0] <= 'z' && !s[strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789_")];
}

static void read_choices(kg_reader *r, doc *d, kg_script_param *p)
{
    uint32_t n = kg_read_u32(r);
    if (n > (uint32_t)(KG_DOC_CHOICES - d->choices_used)) {
        r->bad = 1;
        return;
    }
    p->choices = d->choices + d->choices_used;
    p->choice_count = (int)n;
    for (int i = 0; i < p->choice_count; ++i)
        d->choices[d->choices_used++] = kg_read_name(r, KG_EDIT_NAME);
}

static void read_param(kg_reader *r, doc *d, kg_script_param *p)
{
    p->name = kg_read_name(r, KG_EDIT_NAME);
    p->doc = kg_read_text(r, KG_DOC_TEXT, NULL);
    uint32_t type = kg_read_u32(r), flags = kg_read_u32(r);
    if (!param_name(p->name) || type >= KG_S_TYPES || flags > 7) {
        r->bad = 1;
        return;
    }
    p->type = (kg_script_type)type;
    p->required = flags & 1;
    p->takes_auto = flags >> 1 & 1;
    const char *def = kg_read_text(r, KG_DOC_TEXT, NULL);
    p->def = flags & 4 ? def : NULL;
    p->min = kg_read_f64(r);
    p->max = kg_read_f64(r);
    p->step = kg_read_f64(r);
    r->bad |= isnan(p->min) || isnan(p->max) || !isfinite(p->step);
    read_choices(r, d, p);
}

kg_script_doc *kg_doc_decode(const void *payload, size_t bytes)
{
    doc *d = calloc(1, sizeof *d + bytes);
    if (!d)
        return NULL;
    if (bytes)
        memcpy(d->payload, payload, bytes);
    kg_reader r = {.at = d->payload, .left = bytes};
    d->face.doc = kg_read_text(&r, KG_DOC_TEXT, NULL);
    d->face.params = d->params;
    uint32_t n = kg_read_u32(&r);
    if (n > KG_DOC_PARAMS)
        r.bad = 1;
    for (uint32_t i = 0; i < n && !r.bad; ++i)
        read_param(&r, d, &d->params[d->face.n++]);
    if (r.bad || r.left) {
        free(d);
        return NULL;
    }
    return &d->face;
}

void kg_doc_free(kg_script_doc *d) { free(d); }
