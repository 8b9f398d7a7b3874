/* What a file is, told from its first bytes: for messages about files that are not what was asked for, and for `kino inspect`.
 *
 * Only what the bytes say is said, a name's ending is no evidence, and what they do not tell is not guessed. */
#ifndef KG_NODES_LIB_SNIFF_H
#define KG_NODES_LIB_SNIFF_H

#include "core/file.h"

/* How a reader would go on. OTHER: known by name, read by nobody here. */
typedef enum kg_form {
    KG_FORM_UNKNOWN, KG_FORM_SAFETENSORS, KG_FORM_JSON, KG_FORM_PNG, KG_FORM_VIDEO, KG_FORM_TOKENIZER, KG_FORM_SCRIPT, KG_FORM_TEXT,
    KG_FORM_OTHER
} kg_form;
typedef struct kg_sniffed {
    kg_form form;
    char what[200];                /* "a GGUF file (version 3)"; printable                                 */
    const char *hint;              /* what to do about it, or NULL                                         */
} kg_sniffed;

enum { KG_SNIFF_BYTES = 1024 };
/* head: the first n bytes of `size`, all of them or KG_SNIFF_BYTES. */
void kg_sniff(const uint8_t *head, size_t n, uint64_t size, kg_sniffed *out);
kg_status kg_sniff_file(const kg_file *f, kg_sniffed *out);

/* KG_INPUT when the file is surely of another form, by what it is: "'m.safetensors' is a GGUF file (version 3), and no safetensors
 * file"; wanted is "safetensors file". KG_OK for the form itself and for what the bytes do not tell: its reader says more. */
kg_status kg_sniff_want(const kg_file *f, kg_form form, const char *wanted);

#endif
