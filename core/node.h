/* What a node type is: one constant table. Help, JSON, the Lua face, range checks, near matches and the key come from it.
 *
 * The table is collected by the linker: KG_NODE puts a pointer to it into the section kg_nodes (link objects, not archives). */
#ifndef KG_CORE_NODE_H
#define KG_CORE_NODE_H

#include "core/error.h"
#include "core/types.h"

typedef struct kg_exec kg_exec;
typedef struct kg_infer kg_infer;
typedef struct kg_prepare kg_prepare;
typedef struct kg_resource kg_resource;
struct kg_file;

/* ---- ports ---- */
/* LIST: a list of values is taken item by item: item i of every output is made of item i (of the one, when it is no list). WHOLE: the
 * node looks at the list itself, of any length. Other ports take one value, and core refuses lists there. */
enum { KG_STREAM = 1, KG_OPTIONAL = 2, KG_LIST = 4, KG_WHOLE = 8 };
typedef struct kg_port {
    const char *name;
    const char *kind;      /* an open slash path: "latent" takes "latent/wan21"; alternatives are joined by "|":
                              latent, embedding, image, frames (ports that take images too: "frames|image"),
                              resource/wan, resource/wan-vae, resource/umt5, file                                          */
    int flags;
    const char *doc;
} kg_port;

/* ---- params ---- */
typedef enum kg_param_type { KG_T_INT, KG_T_REAL, KG_T_BOOL, KG_T_TEXT, KG_T_CHOICE, KG_T_PATH, KG_T_OUT, KG_T_INTS } kg_param_type;
typedef struct kg_ints { int n; int64_t v[64]; } kg_ints;      /* a list of whole numbers (seeds)           */

enum {
    KG_AUTO = 1,           /* takes "auto" (int: INT64_MIN, real: NaN) until infer resolves it              */
    KG_ITEMS = 2,          /* KG_T_INTS: one item of every output per number, and a key of its own each     */
    KG_UNKEYED = 4,        /* does not change the result (file name of a sink is keyed; verbosity is not)   */
    KG_REQUIRED = 8,       /* text and path: no default                                                     */
    KG_UNTRACED = 16       /* execute makes the same calls whatever its value, or whatever the numbers of its list: nodes that
                              differ in nothing else are traced once. Of a KG_T_OUT its ending alone counts          */
};
typedef struct kg_param {
    const char *name;
    kg_param_type type;
    size_t offset;
    int flags;
    double def;            /* int (up to 2^53), real, bool; choice: index                                   */
    const char *def_text;  /* text, path; choice: the options "unipc|dpm++|euler"                           */
    double min, max, step; /* ints and reals; step counts from min; 0: any                                  */
    const char *doc;
} kg_param;
/* The _Generic in each row makes a field of the wrong type a compile error. A choice is an int (index of its option). */
#define KG_FIELD_(S, f, T) (offsetof(S, f) + 0 * sizeof(char[_Generic(((S *)0)->f, T: 1)]))
#define KG_INT(S, f, d, lo, hi, st, doc_) {#f, KG_T_INT, KG_FIELD_(S, f, int64_t), 0, d, NULL, lo, hi, st, doc_}
#define KG_INT_AUTO(S, f, lo, hi, st, doc_) {#f, KG_T_INT, KG_FIELD_(S, f, int64_t), KG_AUTO, 0, NULL, lo, hi, st, doc_}
#define KG_REAL(S, f, d, lo, hi, doc_) {#f, KG_T_REAL, KG_FIELD_(S, f, double), 0, d, NULL, lo, hi, 0, doc_}
#define KG_REAL_AUTO(S, f, lo, hi, doc_) {#f, KG_T_REAL, KG_FIELD_(S, f, double), KG_AUTO, 0, NULL, lo, hi, 0, doc_}
#define KG_BOOL(S, f, d, doc_) {#f, KG_T_BOOL, KG_FIELD_(S, f, int), 0, d, NULL, 0, 1, 0, doc_}
#define KG_TEXT(S, f, d, flags_, doc_) {#f, KG_T_TEXT, KG_FIELD_(S, f, const char *), flags_, 0, d, 0, 0, 0, doc_}
#define KG_CHOICE(S, f, options, d, doc_) {#f, KG_T_CHOICE, KG_FIELD_(S, f, int), 0, d, options, 0, 0, 0, doc_}
#define KG_PATH(S, f, flags_, doc_) {#f, KG_T_PATH, KG_FIELD_(S, f, const char *), flags_, 0, NULL, 0, 0, 0, doc_}
#define KG_OUT(S, f, flags_, doc_) {#f, KG_T_OUT, KG_FIELD_(S, f, const char *), flags_, 0, NULL, 0, 0, 0, doc_}
#define KG_SEEDS(S, f, doc_) {#f, KG_T_INTS, KG_FIELD_(S, f, kg_ints), KG_ITEMS | KG_UNTRACED, 0, NULL, 0, 0, 0, doc_}
#define KG_AUTO_INT INT64_MIN
/* The precision param that every computing node has: 0 auto, 1 f32, 2 bf16, 3 f16; infer resolves auto (kg_infer_precision). */
enum { KG_PRECISION_AUTO, KG_PRECISION_F32, KG_PRECISION_BF16, KG_PRECISION_F16 };
#define KG_PRECISION(S, f) KG_CHOICE(S, f, "auto|f32|bf16|f16", 0, "compute type of products and attention")

/* ---- knobs: choices of the planner ---- */
enum { KG_EXACT = 1, KG_SAVES_MEMORY = 2, KG_SAVES_LOADS = 4 };    /* what its later values are good for */
typedef struct kg_knob_row { const char *name; int flags; int n; int value[6]; const char *doc; } kg_knob_row;

/* ---- descriptions ---- */
typedef struct kg_desc {
    const char *kind;              /* NULL: an optional input that is not joined                       */
    kg_dtype dtype;
    int rank;
    int64_t shape[KG_RANK];        /* of a tensor (one item of it), or of one chunk of a stream        */
    int stream;                    /* 1: a stream of `chunks` tensors of this shape                    */
    int64_t chunks;
    int items;                     /* more than one: a list of equal tensors (seeds); 0 and 1 are one  */
    double rate;                   /* frames a second a stream of frames is meant for; 0: not said     */
    const kg_resource *resource;   /* kinds resource/...                                               */
} kg_desc;

struct kg_infer {
    void *params;                  /* resolved in place ("auto")                                       */
    const kg_desc *in;             /* by input port                                                    */
    kg_desc *out;                  /* to be filled, by output port                                     */
    struct kg_files *files;        /* for kg_open (core/file.h)                                        */
    int precision;                 /* the run's --precision, resolved for its device: never AUTO       */
    kg_resource *resource;         /* a resource node sets it; the graph owns it from then on          */
    void *node;                    /* core's own                                                       */
};
int kg_infer_precision(const kg_infer *x, int asked);          /* asked, or the run's when it is AUTO  */
kg_desc kg_desc_tensor(const char *kind, kg_dtype d, int rank, const int64_t *shape);
int kg_infer_given(const kg_infer *x, const char *param);     /* 1: the graph says it, 0: it is at its default   */
void kg_infer_warn(kg_infer *x, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The content of a file is part of the node's key, all of it. It is read for that when a key is first asked for, not here; the file need
 * not stay open. Those of a resource are added by core. */
void kg_infer_file(kg_infer *x, const struct kg_file *file);

/* host_bytes: of what prepare opened (in a resource, for its other users too), the most that it holds until settle. */
struct kg_prepare { const void *params; const kg_desc *in; void *result; void (*destroy)(void *result); size_t host_bytes; };

/* ---- the table ---- */
enum { KG_SINK = 1, KG_UNCACHED = 2 };   /* a sink has an outside effect; an uncached result is cheaper to make than to read */
typedef struct kg_node_type {
    const char *name, *doc;
    int version;                               /* bump when results change for equal params                */
    int flags;
    size_t params_size;
    const kg_port *inputs, *outputs;           /* ended by a NULL name; 8 of each at most                  */
    const kg_param *params;
    const kg_knob_row *knobs;
    kg_status (*infer)(kg_infer *x);
    kg_status (*prepare)(kg_prepare *x);       /* optional host step, before tracing                       */
    kg_status (*execute)(kg_exec *x);          /* nodes without a stream input                             */
    kg_status (*begin)(kg_exec *x);            /* nodes with one: begin, chunk for each chunk, end         */
    kg_status (*chunk)(kg_exec *x, kg_tensor chunk, int64_t index);
    kg_status (*end)(kg_exec *x);
} kg_node_type;
#define KG_PORTS(...) ((const kg_port[]){__VA_ARGS__, {NULL, NULL, 0, NULL}})
#define KG_PARAMS(...) ((const kg_param[]){__VA_ARGS__, {.name = NULL}})
#define KG_KNOBS(...) ((const kg_knob_row[]){__VA_ARGS__, {.name = NULL}})
#define KG_NODE(id) \
    extern const kg_node_type kg_node_##id; \
    static const kg_node_type *const kg_node_ref_##id __attribute__((section("kg_nodes"), used)) = &kg_node_##id; \
    const kg_node_type kg_node_##id

int kg_node_types(const kg_node_type *const **all);             /* number; sorted by the caller if needed   */
const kg_node_type *kg_node_type_find(const char *name);        /* NULL, quietly                            */
int kg_kind_takes(const char *port, const char *kind);          /* "latent" takes "latent/wan21"            */

/* ---- resources: weights in segments ---- */
typedef struct kg_weight {         /* one tensor of a segment, as kg_use gives it                          */
    const char *name;              /* as in the file, for messages                                         */
    kg_dtype dtype;
    int rank;
    int64_t shape[KG_RANK];
    const struct kg_file *file;    /* where its bytes are, when they are one range of a file as they stand */
    uint64_t offset;
} kg_weight;
typedef struct kg_segment {
    const char *name;              /* "block 3"                                                            */
    int first, count;              /* weights[first .. first + count)                                      */
    size_t bytes;                  /* set by kg_resource_seal: sum of aligned tensors                      */
} kg_segment;
struct kg_resource {
    const void *config;            /* the family's; freed by destroy                                       */
    kg_segment *segments;
    kg_weight *weights;
    int segment_count, weight_count;
    /* Writes segment s into out[0 .. count): reads file ranges (kg_read), then kernels. NULL: every weight is read as it
     * stands. Runs on the copy lane; its temporaries stay below 64 MiB. Traced dry like execute.              */
    kg_status (*fill)(kg_exec *x, const kg_resource *r, int segment, const kg_tensor *out);
    void (*settle)(const kg_resource *r);      /* optional: a plan is made; what its users' prepare shared goes back */
    void (*destroy)(kg_resource *r);           /* frees config and what the family owns                    */
    const struct kg_file *const *files;        /* the family's; what they hold is part of the keys of all users, as is  */
    int file_count;
    unsigned char layout[32];      /* what is taken from which of them; all zero where that says nothing   */
    int id;                        /* set by the graph                                                     */
};
void kg_resource_seal(kg_resource *r);         /* computes segment bytes; call once when built             */

#endif
