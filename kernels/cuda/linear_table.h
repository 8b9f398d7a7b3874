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
