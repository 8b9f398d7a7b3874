/* What errors, lines of the log and JSON quote from outside is shown plain: no control character, no byte that is no UTF-8. */
#include "core/error.h"
#include "core/plain.h"
#include "tests/test.h"

static const struct { const char *raw, *shown; } rows[] = {
    {"", ""},
    {"a circle\tmoves \"left\"", "a circle\tmoves \"left\""},
    {"caf\xc3\xa9 \xe4\xb8\x80\xe5\x8f\xaa \xf0\x9f\x90\xb1", "caf\xc3\xa9 \xe4\xb8\x80\xe5\x8f\xaa \xf0\x9f\x90\xb1"},
    {"\x1b[31mred\x07\r\nkino: done", "?[31mred???kino: done"},
    {"a\x7f" "b\xc2\x9b" "31m", "a?b??31m"},
    {"\xe2\x80\xae" "4pm\xe2\x81\xa6 \xe2\x80\xa8x", "???4pm??? ???x"},
    {"cut \xe4\xb8", "cut ??"}, {"\xff\x80x", "??x"}, {"\xc0\xaf\xe0\x80\xaf", "?????"},
    {"\xed\xa0\x80", "???"}, {"\xf4\x90\x80\x80", "????"}, {"\xe4\xb8\x1b", "???"},
};

static void in_place(void)
{
    for (size_t i = 0; i < sizeof rows / sizeof *rows; ++i) {
        char s[64];
        snprintf(s, sizeof s, "%s", rows[i].raw);
        CHECK(kg_plain_is(s) == !strcmp(rows[i].raw, rows[i].shown), "row %zu", i);
        kg_plain(s);
        CHECK(!strcmp(s, rows[i].shown) && kg_plain_is(s), "row %zu: %s", i, s);
    }
}

static char logged[1024];
static void keep(void *arg, const char *line) { (void)arg, snprintf(logged, sizeof logged, "%s", line); }

static void errors_and_the_log_are_plain(void)
{
    kg_log_set(keep, NULL);
    for (size_t i = 1; i < sizeof rows / sizeof *rows; ++i) {
        kg_log("%s", rows[i].raw);
        CHECK(!strcmp(logged, rows[i].shown), "row %zu: %s", i, logged);
        kg_fail(KG_USAGE, "%s", rows[i].raw);
        kg_hint("%s", rows[i].raw);
        kg_error_path(rows[i].raw);
        const kg_error *e = kg_error_last();
        CHECK(!strcmp(e->message, rows[i].shown) && !strcmp(e->hint, rows[i].shown) && !strcmp(e->path, rows[i].shown), "row %zu", i);
        kg_error_clear();
    }
    char text[2048];
    for (size_t i = 0; i + 3 < sizeof text; i += 3)
        memcpy(text + i, "\xe4\xb8\x80", 4);
    kg_log("x%s", text);                       /* cut in the middle of a character */
    CHECK(kg_plain_is(logged), "%s", logged + 1000);
    kg_fail(KG_USAGE, "x%s", text);
    CHECK(kg_plain_is(kg_error_last()->message));
    kg_error_clear();
}

int main(void)
{
    in_place();
    errors_and_the_log_are_plain();
    return TEST_END();
}
