/* Writing one tensor as a safetensors file. ref: github.com/huggingface/safetensors, README, "Format" */
#ifndef KG_NODES_LIB_SAFETENSORS_WRITE_H
#define KG_NODES_LIB_SAFETENSORS_WRITE_H

#include "core/file.h"

/* name: of the tensor; t: its type and shape, dense; bytes: its elements in host memory. provenance: a text for __metadata__, or
 * "". The tensor starts at a multiple of 8. */
kg_status kg_safetensors_write(kg_output *o, const char *name, const kg_tensor *t, const void *bytes, const char *provenance);

#endif
