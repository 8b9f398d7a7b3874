/* Keys: known answers, unambiguous joins, and the order of calls. */
#include "core/error.h"
#include "core/key.h"
#include "tests/test.h"

static void hex_of(kg_key k, char out[65]) { kg_key_hex(&k, out); }

/* Known answers from Python's hashlib.blake2b(..., digest_size=32); the last checksum is held so that old caches stay readable. */
static void known_answers(void)
{
    char hex[65];
    hex_of(kg_hash_done(kg_hash_new()), hex);
    CHECK(!strcmp(hex, "0e5751c026e543b2e8ab2eb06099daa1d1e5df47778f7787faab45cdf12fe3a8"), "%s", hex);
    kg_hash *h = kg_hash_new();
    kg_hash_bytes(h, "ab", 2);
    kg_hash_bytes(h, "c", 1);
    hex_of(kg_hash_done(h), hex);
    CHECK(!strcmp(hex, "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319"), "%s", hex);
    h = kg_hash_new();
    kg_hash_text(h, "wan.sample");
    kg_hash_text(h, "");
    hex_of(kg_hash_done(h), hex);
    CHECK(!strcmp(hex, "6b4d4e5435f50e841ecb1ccadffdeb92d70202ffbf155d5a8263b5f921197338"), "%s", hex);
    CHECK(kg_checksum("", 0) == 0x2d06800538d394c2u);
    unsigned char long_input[1000];
    for (int i = 0; i < 1000; ++i)
        long_input[i] = (unsigned char)i;
    CHECK(kg_checksum(long_input, sizeof long_input) == 0xd33dd80b46f60e50u, "%llx",
          (unsigned long long)kg_checksum(long_input, sizeof long_input));
}

static kg_key joined(const char *a, const char *b)
{
    kg_hash *h = kg_hash_new();
    kg_hash_text(h, a);
    kg_hash_text(h, b);
    return kg_hash_done(h);
}

int main(void)
{
    known_answers();
    kg_key a = joined("ab", "c"), b = joined("a", "bc"), c = joined("ab", "c");
    CHECK(!kg_key_equal(&a, &b));
    CHECK(kg_key_equal(&a, &c));
    return TEST_END();
}
