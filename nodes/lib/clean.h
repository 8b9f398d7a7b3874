/* Cleaning of prompts as the reference pipelines do it: ftfy's character tables, HTML unescaped twice, white space collapsed. */
#ifndef KG_NODES_LIB_CLEAN_H
#define KG_NODES_LIB_CLEAN_H

#include "core/error.h"

/* A new text (malloc). NULL with an error: KG_USAGE when text is not UTF-8 (with the byte), KG_FAILED when memory is out. */
char *kg_clean_text(const char *text);

#endif
