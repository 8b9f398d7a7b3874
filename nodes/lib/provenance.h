/* What a file says of its own making: the JSON that kg_provenance gave to the node that wrote it. `kino run --from FILE` reads it
 * back.
 *
 * PNG: an uncompressed iTXt chunk with the keyword "kinograph". MP4: the comment tag (moov/udta/meta/ilst/(c)cmt/data), which
 * other programs show too. Safetensors: "kinograph" in __metadata__. What the JSON holds is told in tools/kino_note.c. */
#ifndef KG_NODES_LIB_PROVENANCE_H
#define KG_NODES_LIB_PROVENANCE_H

#include "core/file.h"

#define KG_PROVENANCE_KEY "kinograph"

/* The text (malloc), or NULL with KG_INPUT: not a file of these kinds, broken, or without such a text. The file is hostile: what
 * comes back is UTF-8 without NUL and at most 16 MiB, and nothing more is promised. */
char *kg_provenance_read(const kg_file *f);

#endif
