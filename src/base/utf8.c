#include "base/utf8.h"

#include <stdint.h>

/* Bytes of the character at s (1 to 4) and its code point; 0 when it is none. */
static size_t utf8_next(struct str s, uint32_t *ret)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	const uint8_t *p = (const uint8_t *)s.ptr;
	size_t n = p[0] < 0x80 ? 1 : p[0] >= 0xc2 && p[0] < 0xe0 ? 2 : (p[0] & 0xf0) == 0xe0 ? 3 : (p[0] & 0xf8) == 0xf0 ? 4 : 0;
	if (!n || n > s.len)
		return 0;
	uint32_t c = n == 1 ? p[0] : p[0] & (0x7fu >> n);
	for (size_t i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (p[i] & 0x3f);
	}
	if (c < least[n] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
		return 0;
	*ret = c;
	return n;
}

bool utf8_valid(struct str s)
{
	uint32_t c;
	while (s.len) {
		size_t n = utf8_next(s, &c);
		if (!n)
			return false;
		s = str_skip(s, n);
	}
	return true;
}

static bool must_hide(uint32_t c)
{
	return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x200e || c == 0x200f || (c >= 0x202a && c <= 0x202e) ||
	       (c >= 0x2066 && c <= 0x2069) || c == 0x2028 || c == 0x2029 || c == 0xfeff;
}

char *utf8_clean(struct str s, char *out, size_t size)
{
	size_t len = 0;
	while (s.len) {
		uint32_t c;
		size_t n = utf8_next(s, &c);
		struct str shown = n && !must_hide(c) ? (struct str){ s.ptr, n } : STR("\xef\xbf\xbd");
		if (len + shown.len >= size)
			break;
		memcpy(out + len, shown.ptr, shown.len);
		len += shown.len;
		s = str_skip(s, n ? n : 1);
	}
	out[len] = 0;
	return out;
}

char *utf8_clean_lines(struct str s, char *out, size_t size)
{
	size_t len = 0;
	out[0] = 0;
	while (s.len && size - len > 4) {
		size_t piece = 0;
		while (piece < s.len && s.ptr[piece] != '\n' && s.ptr[piece] != '\t')
			piece++;
		utf8_clean((struct str){ s.ptr, piece }, out + len, size - len);
		len += strlen(out + len);
		if (piece < s.len && size - len > 4)
			out[len++] = s.ptr[piece];
		s = str_skip(s, piece + 1);
		out[len] = 0;
	}
	return out;
}

bool name_valid(struct str s)
{
	if (!s.len || s.len > 63)
		return false;
	for (size_t i = 0; i < s.len; i++) {
		char c = s.ptr[i];
		bool word = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
		if (!word && (i == 0 || (c != '.' && c != '_' && c != '-')))
			return false;
	}
	return true;
}
