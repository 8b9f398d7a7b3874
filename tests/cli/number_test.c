/* Sizes and counts as they are typed: read whole, or refused. */
#include "tests/test.h"
#include "tools/kino_number.h"

static double size(const char *text)
{
    size_t n = 0;
    kg_error_clear();
    return kino_size("--ram", text, &n) == KG_OK ? (double)n : -1;
}

static void sizes_are_read_whole(void)
{
    static const struct { const char *text; double bytes; } good[] = {
        {"12G", 12 * 0x1p30}, {"12g", 12 * 0x1p30}, {"12GiB", 12 * 0x1p30}, {"12gib", 12 * 0x1p30}, {"12GB", 12e9},
        {"1.5G", 1.5 * 0x1p30},
        {"0.5K", 512}, {"4K", 4096}, {"4KiB", 4096}, {"4KB", 4000}, {"500M", 500 * 0x1p20}, {"500MB", 5e8}, {"1T", 0x1p40}, {"1TB", 1e12},
        {"1500000000", 1.5e9}, {"07", 7}};
    static const char *const bad[] = {"", "G", "0", "0G", "-1G", "+1G", " 1G", "1 G", "1G ", "0x10G", "0x10", "1e3", "1e3M", "10Q", "12Gi",
        "12GBB", "12BG", "12B", "1.G", ".5G", "1.5.5G", "1,5G", "inf", "nan", "infG", "2000000T", "0.0001K",
        "12G\n"};
    for (size_t i = 0; i < sizeof good / sizeof *good; ++i)
        CHECK(size(good[i].text) == good[i].bytes, "%s is %.0f", good[i].text, size(good[i].text));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; ++i)
        CHECK(size(bad[i]) == -1 && kg_error_last()->status == KG_USAGE && *kg_error_last()->hint, "\"%s\": %.0f", bad[i], size(bad[i]));
    kg_error_clear();
}

static void counts_are_read_whole(void)
{
    static const char *const bad[] = {"", "2x", "0", "-1", "+2", " 2", "2 ", "2.0", "0x2", "1e1", "65",
        "18446744073709551617", "two"};
    long n = 0;
    CHECK(kino_count("--threads", "2", 1, 64, &n) == KG_OK && n == 2);
    CHECK(kino_count("--threads", "064", 1, 64, &n) == KG_OK && n == 64);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; ++i) {
        CHECK(kino_count("--threads", bad[i], 1, 64, &n) == KG_USAGE, "\"%s\" is %ld", bad[i], n);
        kg_error_clear();
    }
}

static void cards_are_read_whole(void)
{
    static const char *const bad[] = {"cuda:", "cuda:x", "cuda: 1", "cuda:+1", "cuda:-1", "cuda:1x", "cuda:1024",
        "cuda1", "cpu", "cud", ""};
    CHECK(kino_card("cuda") == 0 && kino_card("cuda:0") == 0 && kino_card("cuda:17") == 17);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; ++i)
        CHECK(kino_card(bad[i]) == -1, "%s", bad[i]);
}

int main(void)
{
    sizes_are_read_whole();
    counts_are_read_whole();
    cards_are_read_whole();
    return TEST_END();
}
