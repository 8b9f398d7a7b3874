/* What goes over the socket between a script's process and the engine: frames of a kind, a length and a payload.
 *
 * The reader trusts nothing: each length is checked against what is left, text is one piece with a NUL behind it, and a payload
 * must be used up to its last byte. Both ends are one program image, so numbers go as they lie in memory. */
#ifndef KG_LUA_WIRE_H
#define KG_LUA_WIRE_H

#include "core/graph.h"

enum {                             /* from the script's process                                            */
    KG_W_HELLO = 1,                /* u32 walls                                                            */
    KG_W_LOG,                      /* text                                                                 */
    KG_W_REQUIRE,                  /* text name; answered by MODULE or REFUSED                             */
    KG_W_ADD,                      /* see kg_edit; answered by NODE or REFUSED                             */
    KG_W_DECLARED,                 /* see kg_doc_decode                                                    */
    KG_W_WANTED,                   /* u32 n, n times u32 node                                              */
    KG_W_ERROR,                    /* text, text way to it or ""; the process is done                      */
    KG_W_LIMIT,                    /* u32 which, KG_L_*; the process is done                               */
    /* to the script's process */
    KG_W_LOAD = 32,                /* text chunk name, text source                                         */
    KG_W_BUILD,                    /* u32 n, n times text name, text value                                 */
    KG_W_NODE,                     /* u32                                                                  */
    KG_W_MODULE,                   /* text chunk name, text source                                         */
    KG_W_REFUSED                   /* text                                                                 */
};
enum { KG_L_MEMORY = 1, KG_L_EDITS, KG_L_CPU, KG_L_WALL, KG_L_NODES };

typedef struct kg_head { uint32_t bytes, kind; } kg_head;      /* in front of each payload                 */

/* Writing: bytes collect in memory, never more than `most`. */
enum { KG_WRITE_LARGE = 1, KG_WRITE_MEMORY };
typedef struct kg_writer { unsigned char *at; size_t n, room, most; int failed; } kg_writer;
void kg_write_begin(kg_writer *w, uint32_t kind);              /* leaves room for the head                 */
void kg_write_bytes(kg_writer *w, const void *p, size_t n);
void kg_write_u32(kg_writer *w, uint32_t v);
void kg_write_i64(kg_writer *w, int64_t v);
void kg_write_f64(kg_writer *w, double v);
void kg_write_text(kg_writer *w, const char *s, size_t n);
int kg_write_end(kg_writer *w);                                /* 1: w->at[0 .. n) is a frame; 0: w->failed   */

/* Reading: after the first thing that does not fit, `bad` is set and all that follows is zero or "". */
typedef struct kg_reader { const unsigned char *at; size_t left; int bad; } kg_reader;
uint32_t kg_read_u32(kg_reader *r);
int64_t kg_read_i64(kg_reader *r);
double kg_read_f64(kg_reader *r);
const char *kg_read_text(kg_reader *r, size_t most, size_t *n);        /* without a NUL inside; into the payload */
const char *kg_read_name(kg_reader *r, size_t most);           /* plain text (core/plain.h), no tab          */

/* One edit: a node to add. Strings lie in the payload. */
enum { KG_EDIT_ARGS = 64, KG_EDIT_INTS = 256, KG_EDIT_NAME = 128 };
typedef struct kg_edit {
    const char *type, *label;      /* label "" when there is none                                          */
    int n, ints_used;
    kg_arg args[KG_EDIT_ARGS];
    int64_t ints[KG_EDIT_INTS];
} kg_edit;
int kg_edit_decode(const void *payload, size_t bytes, kg_edit *e);     /* 1, or 0 when it is malformed     */

/* Declarations: text doc, u32 n, n params. The result owns a copy of the payload; NULL when malformed. */
struct kg_script_doc;
enum { KG_DOC_PARAMS = 256, KG_DOC_CHOICES = 256, KG_DOC_TEXT = 1 << 16 };
struct kg_script_doc *kg_doc_decode(const void *payload, size_t bytes);
void kg_doc_free(struct kg_script_doc *d);

#endif
