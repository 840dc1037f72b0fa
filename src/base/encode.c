#include "base/encode.h"

#include "base/err.h"

static const char hex_digits[] = "0123456789abcdef";
static const char base32_digits[] = "abcdefghijklmnopqrstuvwxyz234567";
static const char base64url_digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/* One routine for all three: `width` bits a digit, most significant first. */
static void encode(const char *digits, unsigned width, const uint8_t *bytes, size_t len, char *out)
{
	uint32_t bits = 0;
	unsigned have = 0;
	for (size_t i = 0; i < len; i++) {
		bits = bits << 8 | bytes[i];
		have += 8;
		while (have >= width) {
			have -= width;
			*out++ = digits[bits >> have & ((1u << width) - 1)];
		}
	}
	if (have)
		*out++ = digits[bits << (width - have) & ((1u << width) - 1)];
	*out = 0;
}

static ssize_t decode(const char *digits, unsigned width, struct str text, uint8_t *out, size_t size)
{
	uint32_t bits = 0;
	unsigned have = 0;
	size_t len = 0;
	if (text.len * width % 8 >= width)
		return -E_ENCODING; /* a digit that carries no byte */
	for (size_t i = 0; i < text.len; i++) {
		char c = text.ptr[i];
		const char *at = c ? strchr(digits, c) : NULL;
		if (!at)
			return -E_ENCODING;
		bits = bits << width | (uint32_t)(at - digits);
		have += width;
		if (have >= 8) {
			have -= 8;
			if (len == size)
				return -E_ENCODING;
			out[len++] = (uint8_t)(bits >> have);
		}
	}
	if (bits & ((1u << have) - 1))
		return -E_ENCODING;
	return (ssize_t)len;
}

void hex_encode(const uint8_t *bytes, size_t len, char *out)
{
	encode(hex_digits, 4, bytes, len, out);
}

ssize_t hex_decode(struct str text, uint8_t *out, size_t size)
{
	return decode(hex_digits, 4, text, out, size);
}

void base32_encode(const uint8_t *bytes, size_t len, char *out)
{
	encode(base32_digits, 5, bytes, len, out);
}

ssize_t base32_decode(struct str text, uint8_t *out, size_t size)
{
	char lower[256];
	if (text.len > sizeof lower)
		return -E_ENCODING;
	for (size_t i = 0; i < text.len; i++)
		lower[i] = text.ptr[i] >= 'A' && text.ptr[i] <= 'Z' ? (char)(text.ptr[i] + 32) : text.ptr[i];
	return decode(base32_digits, 5, (struct str){ lower, text.len }, out, size);
}

void base64url_encode(const uint8_t *bytes, size_t len, char *out)
{
	encode(base64url_digits, 6, bytes, len, out);
}

ssize_t base64url_decode(struct str text, uint8_t *out, size_t size)
{
	return decode(base64url_digits, 6, text, out, size);
}
