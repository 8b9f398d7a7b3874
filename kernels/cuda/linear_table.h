/* Algorithms of cuBLASLt by product: what tools/gpu/tune_linear found fastest on random data at the rows that models have. A product
 * that is not here gets the first heuristic. One algorithm serves every number of rows: bits of a row do not depend on it. */
/* table */
static const struct kg_lt_row {
    int cc;
    int64_t n, k;
    kg_dtype in, out;
    int bias, gelu;
    kg_lt_config algorithm;
} kg_lt_table[] = {
    {0, 0, 0, KG_F32, KG_F32, 0, 0, {0, 0, 0, 0, 0, 0, 0}},
};

/* Rows that products of these shapes usually have, when that is not the thousands of a picture: what the first heuristic is asked for. */
/* table */
static const struct { int64_t n, k, rows; } kg_lt_usual[] = {
    {12288, 4096, 512}, {4096, 4096, 512}, {10240, 4096, 512}, {4096, 10240, 512},     /* the text encoder     */
    {3072, 1536, 512}, {6144, 3072, 512}, {10240, 5120, 512},                          /* keys, values of text */
};
