/* A spiece.model judged before the library gets it: the protobuf around the pieces, and the table of its normaliser. */
#ifndef KG_NODES_LIB_SPIECE_H
#define KG_NODES_LIB_SPIECE_H

#include "core/error.h"

#ifdef __cplusplus
extern "C" {
#endif

/* KG_INPUT naming `what` and the reason, unless the bytes are a unigram model whose tables lie inside themselves. */
kg_status kg_spiece_check(const char *what, const void *model, size_t n);

#ifdef __cplusplus
}
#endif

#endif
