/* Which model a file of weights holds, told from the names and shapes of its tensors.
 *
 * Families say how theirs are recognised: a row each, collected by the linker as the nodes are (KG_NODE). So a file at the wrong place,
 * and one that this version does not run, are refused by what they are. What tensors cannot tell (which of two experts, for which size
 * a model was trained) nobody claims. */
#ifndef KG_NODES_LIB_KNOWN_H
#define KG_NODES_LIB_KNOWN_H

#include "nodes/lib/weights.h"

typedef struct kg_told {
    char what[200];                /* "a Wan text-to-video transformer (14B)"                              */
    int runs;                      /* 0: this version does not run it                                      */
    const char *reader;            /* the row's                                                            */
} kg_told;
typedef struct kg_known {
    const char *reader;            /* the node that reads such files; NULL: none does                      */
    const char *wants;             /* what that node is for: "a Wan transformer"; NULL without a reader    */
    /* 1 with `what` and `runs` filled when the file holds one. Dialects and a prefix that it sets are forgotten afterwards. */
    int (*tell)(kg_checkpoint *ck, kg_told *told);
} kg_known;
#define KG_KNOWN(id) \
    extern const kg_known kg_known_##id; \
    static const kg_known *const kg_known_ref_##id __attribute__((section("kg_known"), used)) = &kg_known_##id; \
    const kg_known kg_known_##id

/* All that a file holds, at most n; their number. */
int kg_known_tell(kg_checkpoint *ck, kg_told *told, int n);
/* How its tensors are quantised, "in fp8 with scales"; 0 when they are not. */
int kg_known_quantised(const kg_checkpoint *ck, char *how, size_t n);

/* For a node that has just opened a file: KG_INPUT by what it is, when it is surely another one than this node runs. */
kg_status kg_known_want(kg_checkpoint *ck, const char *reader);
/* When a node has asked for all that it knows: KG_INPUT when tensors are left that change what the model does. Marks of up to 16 bytes
 * and tensors under the prefixes of other parts do not count. */
kg_status kg_known_rest(const kg_checkpoint *ck, const char *what);

#endif
