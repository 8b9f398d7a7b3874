/* Text made small and plain: compressed (zlib), then base64, so that it is a word in JSON. */
#ifndef KG_NODES_LIB_PACK_H
#define KG_NODES_LIB_PACK_H

#include <stddef.h>

/* malloc; NULL, quietly: it takes more than `most` characters, or memory is out. */
char *kg_pack(const char *text, size_t n, size_t most);
/* The text (malloc, NUL-terminated, *n bytes before that); NULL, quietly: it is none, or longer than `most`. Hostile. */
char *kg_unpack(const char *packed, size_t most, size_t *n);

#endif
