/* What the files of cleaning share: text as code points, rewritten from one buffer into the other. */
#ifndef KG_NODES_LIB_CLEAN_TEXT_H
#define KG_NODES_LIB_CLEAN_TEXT_H

#include <stddef.h>
#include <stdint.h>

typedef struct kg_points { int32_t *c; size_t n, room; int failed; } kg_points;

void kg_points_add(kg_points *p, int32_t c);
void kg_points_utf8(kg_points *p, const char *text);       /* well-formed, NUL-terminated */

/* Character references, as html.unescape reads them (loose: "&amp" without a semicolon, "&notit;" in part) and as ftfy does
 * (strict: only whole ones with a semicolon, also in capitals). */
void kg_unescape_loose(const kg_points *in, kg_points *out);
void kg_unescape_strict(const kg_points *in, kg_points *out);

#endif
