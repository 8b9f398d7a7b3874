/* Keys: BLAKE2b-256 of what was asked. */
#ifndef KG_CORE_KEY_H
#define KG_CORE_KEY_H

#include "core/types.h"

typedef struct kg_key { unsigned char b[32]; } kg_key;
typedef struct kg_hash kg_hash;
kg_hash *kg_hash_new(void);
void kg_hash_bytes(kg_hash *h, const void *p, size_t n);
void kg_hash_text(kg_hash *h, const char *s);              /* length first, so that joins are unambiguous       */
kg_key kg_hash_done(kg_hash *h);                           /* and frees                                         */
void kg_key_hex(const kg_key *k, char out[65]);
int kg_key_equal(const kg_key *a, const kg_key *b);
uint64_t kg_checksum(const void *p, size_t n);             /* XXH3-64                                           */
void kg_digest(const void *p, size_t n, unsigned char out[16]);    /* XXH3-128                                  */

#endif
