#include "route/crc32c.h"

#include <string.h>

/* Eight bytes a step ("slicing by 8").  The sum is linear: a table's 256 values follow from those of its eight single bits. */
#define VALUE(n, b0, b1, b2, b3, b4, b5, b6, b7)                                                                                   \
	(((n)&1 ? (b0) : 0) ^ ((n)&2 ? (b1) : 0) ^ ((n)&4 ? (b2) : 0) ^ ((n)&8 ? (b3) : 0) ^ ((n)&16 ? (b4) : 0) ^                 \
	 ((n)&32 ? (b5) : 0) ^ ((n)&64 ? (b6) : 0) ^ ((n)&128 ? (b7) : 0))
#define VALUES_4(n, ...)                                                                                                           \
	VALUE(n, __VA_ARGS__), VALUE((n) + 1, __VA_ARGS__), VALUE((n) + 2, __VA_ARGS__), VALUE((n) + 3, __VA_ARGS__)
#define VALUES_16(n, ...)                                                                                                          \
	VALUES_4(n, __VA_ARGS__), VALUES_4((n) + 4, __VA_ARGS__), VALUES_4((n) + 8, __VA_ARGS__), VALUES_4((n) + 12, __VA_ARGS__)
#define VALUES_64(n, ...)                                                                                                          \
	VALUES_16(n, __VA_ARGS__), VALUES_16((n) + 16, __VA_ARGS__), VALUES_16((n) + 32, __VA_ARGS__),                             \
	        VALUES_16((n) + 48, __VA_ARGS__)
#define TABLE(...)                                                                                                                 \
	{                                                                                                                          \
		VALUES_64(0, __VA_ARGS__), VALUES_64(64, __VA_ARGS__), VALUES_64(128, __VA_ARGS__), VALUES_64(192, __VA_ARGS__)    \
	}

/* tables[k]: a byte with k zero bytes behind it. */
static const uint32_t tables[8][256] = {
	TABLE(0xf26b8303, 0xe13b70f7, 0xc79a971f, 0x8ad958cf, 0x105ec76f, 0x20bd8ede, 0x417b1dbc, 0x82f63b78),
	TABLE(0x13a29877, 0x274530ee, 0x4e8a61dc, 0x9d14c3b8, 0x3fc5f181, 0x7f8be302, 0xff17c604, 0xfbc3faf9),
	TABLE(0xa541927e, 0x4f6f520d, 0x9edea41a, 0x38513ec5, 0x70a27d8a, 0xe144fb14, 0xc76580d9, 0x8b277743),
	TABLE(0xdd45aab8, 0xbf672381, 0x7b2231f3, 0xf64463e6, 0xe964b13d, 0xd725148b, 0xaba65fe7, 0x52a0c93f),
	TABLE(0x38116fac, 0x7022df58, 0xe045beb0, 0xc5670b91, 0x8f2261d3, 0x1ba8b557, 0x37516aae, 0x6ea2d55c),
	TABLE(0xef306b19, 0xdb8ca0c3, 0xb2f53777, 0x6006181f, 0xc00c303e, 0x85f4168d, 0x0e045beb, 0x1c08b7d6),
	TABLE(0x68032cc8, 0xd0065990, 0xa5e0c5d1, 0x4e2dfd53, 0x9c5bfaa6, 0x3d5b83bd, 0x7ab7077a, 0xf56e0ef4),
	TABLE(0x493c7d27, 0x9278fa4e, 0x211d826d, 0x423b04da, 0x847609b4, 0x0d006599, 0x1a00cb32, 0x34019664),
};

static uint32_t little_endian(const uint8_t *at)
{
	return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

uint32_t crc32c_by_tables(uint32_t crc, const void *bytes, size_t len)
{
	const uint8_t *at = bytes;
	crc = ~crc;
	for (; len >= 8; at += 8, len -= 8) {
		uint32_t low = crc ^ little_endian(at), high = little_endian(at + 4);
		crc = tables[7][low & 255] ^ tables[6][low >> 8 & 255] ^ tables[5][low >> 16 & 255] ^ tables[4][low >> 24] ^
		      tables[3][high & 255] ^ tables[2][high >> 8 & 255] ^ tables[1][high >> 16 & 255] ^ tables[0][high >> 24];
	}
	for (; len; at++, len--)
		crc = crc >> 8 ^ tables[0][(crc ^ *at) & 255];
	return ~crc;
}

#ifdef __x86_64__
/* The processor's own instruction: a tenth of the time. */
__attribute__((target("sse4.2"))) static uint32_t by_instruction(uint32_t crc, const uint8_t *at, size_t len)
{
	uint64_t sum = ~crc, word;
	for (; len >= sizeof word; at += sizeof word, len -= sizeof word) {
		memcpy(&word, at, sizeof word);
		sum = __builtin_ia32_crc32di(sum, word);
	}
	for (; len; at++, len--)
		sum = __builtin_ia32_crc32qi((uint32_t)sum, *at);
	return ~(uint32_t)sum;
}
#endif

uint32_t crc32c(uint32_t crc, const void *bytes, size_t len)
{
#ifdef __x86_64__
	if (__builtin_cpu_supports("sse4.2"))
		return by_instruction(crc, bytes, len);
#endif
	return crc32c_by_tables(crc, bytes, len);
}
