/* Named character references, as tables. */
#ifndef KG_NODES_LIB_ENTITIES_H
#define KG_NODES_LIB_ENTITIES_H

typedef struct kg_entity { const char *name, *text; } kg_entity;     /* "eacute;" or "eacute"; UTF-8 */

/* Sorted by name, as bytes. The second holds names in capitals that HTML does not know ("EACUTE;"). */
extern const kg_entity kg_entities[], kg_entities_capital[];
extern const int kg_entities_count, kg_entities_capital_count;

#endif
