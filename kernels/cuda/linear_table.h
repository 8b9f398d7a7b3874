/* Algorithms of cuBLASLt by product: what kino tune found fastest on an H100, cuBLASLt 13.1, on random data at the rows that models
 * have, with weights that come from memory. Its speed beside that of the first heuristic, which a product gets that is not here. */
/* table */
static const kg_lt_row kg_lt_table[] = {
    {90, 3072, 1536, 0, KG_BF16, KG_BF16, 1, 0, {66, 165, 35, 0, 2, 0, 7}},    /* Wan 1.3B, text k, v: 1.03 */
    {90, 64, 1536, 0, KG_F32, KG_F32, 1, 0, {55, 19, 31, 0, 0, 0, 0}},         /* head: 1.19 */
    {90, 15360, 5120, 0, KG_BF16, KG_BF16, 1, 0, {66, 24, 35, 0, 7, 0, 5}},    /* q, k, v, Wan 14B: 1.04 */
    {90, 5120, 13824, 0, KG_BF16, KG_BF16, 1, 0, {66, 23, 35, 0, 4, 0, 3}},    /* feed forward down: 1.06 */
    {90, 64, 5120, 0, KG_F32, KG_F32, 1, 0, {55, 19, 31, 0, 0, 0, 0}},         /* head: 1.22 */
    {90, 14336, 3072, 0, KG_BF16, KG_BF16, 1, 1, {66, 24, 35, 0, 7, 0, 5}},    /* feed forward up, Wan 5B: 1.05 */
    {90, 64, 3072, 0, KG_F32, KG_F32, 1, 0, {55, 19, 31, 0, 0, 0, 0}},         /* head: 1.20 */
    {90, 12288, 4096, 640, KG_BF16, KG_BF16, 0, 0, {66, 29, 35, 0, 1, 0, 3}},  /* UMT5-XXL q, k, v: 1.03 */
    {90, 4096, 4096, 128, KG_BF16, KG_BF16, 0, 0, {66, 134, 35, 0, 2, 0, 7}},  /* o: 1.21 */
    {90, 4096, 4096, 256, KG_BF16, KG_BF16, 0, 0, {66, 135, 35, 0, 2, 0, 7}},  /* 1.31 */
    {90, 4096, 4096, 384, KG_BF16, KG_BF16, 0, 0, {66, 165, 35, 0, 0, 0, 4}},  /* 1.33 */
    {90, 20480, 4096, 128, KG_BF16, KG_BF16, 0, 0, {66, 208, 35, 0, 1, 0, 4}}, /* gate, up: 1.02 */
    {90, 20480, 4096, 256, KG_BF16, KG_BF16, 0, 0, {66, 201, 35, 0, 0, 0, 4}}, /* 1.03 */
    {90, 4096, 10240, 128, KG_BF16, KG_BF16, 0, 0, {66, 124, 35, 0, 0, 0, 4}}, /* down: 1.35 */
    {90, 4096, 10240, 256, KG_BF16, KG_BF16, 0, 0, {66, 183, 35, 0, 2, 0, 9}}, /* 1.40 */
    {90, 4096, 10240, 384, KG_BF16, KG_BF16, 0, 0, {66, 165, 35, 0, 0, 0, 4}}, /* 1.23 */
};

/* Rows that products of these shapes usually have, when that is not the thousands of a picture: what the first heuristic is asked for.
 * 0: those of the call itself, in steps of 128. A text is all there at once, never in parts whose bits would have to agree, and
 * what is best for its first 64 tokens, a pass over the weights, is not what is best for 512. */
/* table */
static const kg_lt_rows kg_lt_usual[] = {
    {12288, 4096, 0}, {4096, 4096, 0}, {20480, 4096, 0}, {4096, 10240, 0},             /* the text encoder     */
    {3072, 1536, 512}, {6144, 3072, 512}, {10240, 5120, 512},                          /* keys, values of text */
};
