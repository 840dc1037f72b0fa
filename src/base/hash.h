/* base/hash.h: SipHash-1-3 of bytes, for tables whose keys a peer may choose: whoever does not know the seed finds no two that collide. */
#ifndef BASE_HASH_H
#define BASE_HASH_H
#include <stddef.h>
#include <stdint.h>

uint64_t hash_keyed(const uint8_t seed[16], const void *bytes, size_t len);
#endif
