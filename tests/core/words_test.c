/* Hours and days in words. */
#include "core/words.h"
#include "tests/test.h"

int main(void)
{
    static const struct { double seconds; const char *words; } rows[] = {
        {0, "0.0 s"}, {0.04, "0.0 s"}, {1.66, "1.7 s"}, {9.94, "9.9 s"}, {9.96, "10 s"}, {59.4, "59 s"}, {59.6, "1 min 0 s"},
        {119, "1 min 59 s"},
        {3599.4, "59 min 59 s"}, {3599.6, "1 h 0 min"}, {3660, "1 h 1 min"}, {35 * 3600 + 720, "35 h 12 min"}, {172740, "47 h 59 min"},
        {172799, "2 days 0 h"}, {5716434.4, "66 days 4 h"}, {86400 * 2.5, "2 days 12 h"}, {-3, "0 s"}, {NAN, "unknown"},
        {INFINITY, "centuries"},
        {1e300, "centuries"}};
    char words[KG_WORDS];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; ++i)
        CHECK(!strcmp(kg_words_seconds(rows[i].seconds, words, sizeof words), rows[i].words), "%g s: \"%s\"", rows[i].seconds, words);
    for (double s = 0.01; s < 1e9; s *= 1.001) {       /* no 60 of what has a next unit; short */
        kg_words_seconds(s, words, sizeof words);
        CHECK(strlen(words) < 16 && !strstr(words, "60 s") && !strstr(words, "60 min") && !strstr(words, " 24 h"), "%g s: %s", s, words);
    }
    return TEST_END();
}
