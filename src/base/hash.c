#include "base/hash.h"

#include <string.h>

#define ROTATE(x, n) ((x) << (n) | (x) >> (64 - (n)))

struct state { /* in registers */
	uint64_t a, b, c, d;
};

static inline struct state sip_round(struct state v)
{
	v.a += v.b, v.b = ROTATE(v.b, 13) ^ v.a, v.a = ROTATE(v.a, 32);
	v.c += v.d, v.d = ROTATE(v.d, 16) ^ v.c;
	v.a += v.d, v.d = ROTATE(v.d, 21) ^ v.a;
	v.c += v.b, v.b = ROTATE(v.b, 17) ^ v.c, v.c = ROTATE(v.c, 32);
	return v;
}

static inline struct state word_add(struct state v, uint64_t word)
{
	v.d ^= word;
	v = sip_round(v);
	v.a ^= word;
	return v;
}

uint64_t hash_keyed(const uint8_t seed[16], const void *bytes, size_t len)
{
	const uint8_t *at = bytes;
	uint64_t key[2], word, last = (uint64_t)len << 56;
	memcpy(key, seed, sizeof key);
	struct state v = { key[0] ^ 0x736f6d6570736575, key[1] ^ 0x646f72616e646f6d, key[0] ^ 0x6c7967656e657261,
		           key[1] ^ 0x7465646279746573 };
	for (; len >= sizeof word; at += sizeof word, len -= sizeof word) {
		memcpy(&word, at, sizeof word);
		v = word_add(v, word);
	}
	for (size_t i = 0; i < len; i++)
		last |= (uint64_t)at[i] << (8 * i);
	v = word_add(v, last);
	v.c ^= 0xff;
	for (int i = 0; i < 3; i++)
		v = sip_round(v);
	return v.a ^ v.b ^ v.c ^ v.d;
}
