/* Keys and checksums. libb2 does BLAKE2b, xxHash does XXH3; this file only says how values are
 * joined.
 *
 * Invariant: the bytes hashed for a sequence of calls are fixed for ever (tests/core/key_test.c
 * holds them), because they name what users' caches keep. */
#include "core/key.h"

#include "core/error.h"

#include <blake2.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

struct kg_hash {
    blake2b_state state;
};

/* NULL without memory; the other functions then do nothing, and the error record says why. */
kg_hash *kg_hash_new(void)
{
    kg_hash *h = malloc(sizeof *h);
    if (!h)
        kg_fail(KG_FAILED, "out of memory for a hash");
    else
        blake2b_init(&h->state, sizeof(kg_key));
    return h;
}

void kg_hash_bytes(kg_hash *h, const void *p, size_t n)
{
    if (h && n)
        blake2b_update(&h->state, p, n);
}

void kg_hash_text(kg_hash *h, const char *s)
{
    uint64_t n = strlen(s);
    kg_hash_bytes(h, &n, sizeof n);
    kg_hash_bytes(h, s, n);
}

kg_key kg_hash_done(kg_hash *h)
{
    kg_key k = {{0}};
    if (h)
        blake2b_final(&h->state, k.b, sizeof k.b);
    free(h);
    return k;
}

void kg_key_hex(const kg_key *k, char out[65])
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < sizeof k->b; ++i) {
        out[2 * i] = digits[k->b[i] >> 4];
        out[2 * i + 1] = digits[k->b[i] & 15];
    }
    out[64] = 0;
}

int kg_key_equal(const kg_key *a, const kg_key *b) { return !memcmp(a->b, b->b, sizeof a->b); }

uint64_t kg_checksum(const void *p, size_t n) { return XXH3_64bits(p, n); }

void kg_digest(const void *p, size_t n, unsigned char out[16])
{
    XXH128_canonical_t c;
    XXH128_canonicalFromHash(&c, XXH3_128bits(p, n));
    memcpy(out, c.digest, sizeof c.digest);
}
