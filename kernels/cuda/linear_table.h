/* Algorithms of cuBLASLt by product: what kino tune found fastest on random data at the rows that models have. A product that is not
 * here gets the first heuristic. */
/* table */
static const kg_lt_row kg_lt_table[] = {
    {0, 0, 0, 0, KG_F32, KG_F32, 0, 0, {0, 0, 0, 0, 0, 0, 0}},
};

/* Rows that products of these shapes usually have, when that is not the thousands of a picture: what the first heuristic is asked for.
 * 0: those of the call itself, in steps of 128. A text is all there at once, never in parts whose bits would have to agree, and
 * what is best for its first 64 tokens, a pass over the weights, is not what is best for 512. */
/* table */
static const struct kg_lt_rows { int64_t n, k, rows; } kg_lt_usual[] = {
    {12288, 4096, 0}, {4096, 4096, 0}, {20480, 4096, 0}, {4096, 10240, 0},             /* the text encoder     */
    {3072, 1536, 512}, {6144, 3072, 512}, {10240, 5120, 512},                          /* keys, values of text */
};
