#include "os/network.h"

#include <string.h>

#include "base/err.h"
#include "os/socket.h"

struct range {
	uint8_t bytes[16]; /* IPv4: the first four */
	unsigned size, bits;
};

static int address_parse(struct str text, struct range *ret)
{
	struct socket_address address;
	*ret = (struct range){ 0 };
	if (text.len > 2 && text.ptr[0] == '[' && text.ptr[text.len - 1] == ']')
		text = (struct str){ text.ptr + 1, text.len - 2 };
	if (socket_address_parse(text, 0, &address) < 0)
		return -E_NETWORK_RANGE;
	ret->size = (unsigned)socket_address_bytes(&address, ret->bytes);
	ret->bits = 8 * ret->size;
	return 0;
}

static bool bits_equal(const uint8_t *a, const uint8_t *b, unsigned bits)
{
	unsigned whole = bits / 8, rest = bits % 8;
	return memcmp(a, b, whole) == 0 && (!rest || (a[whole] ^ b[whole]) >> (8 - rest) == 0);
}

static int range_parse(struct str text, struct range *ret)
{
	static const uint8_t zero[16];
	uint8_t tail[16];
	struct str prefix, address = str_cut(text, '/', &prefix);
	uint64_t bits;
	int err = address_parse(address, ret);
	if (err < 0 || address.len == text.len)
		return err;
	if (str_to_u64(prefix, ret->bits, &bits) < 0)
		return -E_NETWORK_RANGE;
	memcpy(tail, ret->bytes, sizeof tail);
	for (unsigned i = 0; i < bits; i++)
		tail[i / 8] &= (uint8_t) ~(0x80 >> i % 8);
	ret->bits = (unsigned)bits;
	return memcmp(tail, zero, ret->size) == 0 ? 0 : -E_NETWORK_RANGE;
}

int network_ranges_check(struct str ranges)
{
	struct range range;
	int err = ranges.len && ranges.ptr[ranges.len - 1] == ',' ? -E_NETWORK_RANGE : 0;
	while (err == 0) {
		err = range_parse(str_trim(str_cut(ranges, ',', &ranges)), &range);
		if (!ranges.len)
			break;
	}
	return err;
}

bool network_ranges_have(struct str ranges, struct str address)
{
	struct range range, one;
	if (address_parse(address, &one) < 0)
		return false;
	while (ranges.len)
		if (range_parse(str_trim(str_cut(ranges, ',', &ranges)), &range) == 0 && range.size == one.size &&
		    bits_equal(range.bytes, one.bytes, range.bits))
			return true;
	return false;
}
