#include "base/str.h"

#include <strings.h>

#include "base/err.h"

struct str str_from(const char *text)
{
	return (struct str){ text ? text : "", text ? strlen(text) : 0 };
}

bool str_equal(struct str a, struct str b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

bool str_equal_nocase(struct str a, struct str b)
{
	return a.len == b.len && (a.len == 0 || strncasecmp(a.ptr, b.ptr, a.len) == 0);
}

bool str_is(struct str a, const char *text)
{
	return str_equal(a, str_from(text));
}

bool str_starts(struct str s, struct str prefix)
{
	return s.len >= prefix.len && str_equal((struct str){ s.ptr, prefix.len }, prefix);
}

bool str_has(struct str s, char c)
{
	return s.len && memchr(s.ptr, c, s.len);
}

struct str str_skip(struct str s, size_t n)
{
	if (n > s.len)
		n = s.len;
	return (struct str){ s.ptr + n, s.len - n };
}

struct str str_trim(struct str s)
{
	while (s.len && (s.ptr[0] == ' ' || s.ptr[0] == '\t'))
		s = str_skip(s, 1);
	while (s.len && (s.ptr[s.len - 1] == ' ' || s.ptr[s.len - 1] == '\t'))
		s.len--;
	return s;
}

struct str str_cut(struct str s, char c, struct str *rest)
{
	const char *at = s.len ? memchr(s.ptr, c, s.len) : NULL;
	if (!at) {
		*rest = (struct str){ s.ptr + s.len, 0 };
		return s;
	}
	size_t n = (size_t)(at - s.ptr);
	*rest = str_skip(s, n + 1);
	return (struct str){ s.ptr, n };
}

struct str str_cut_last(struct str s, char c, struct str *rest)
{
	const char *at = s.len ? memrchr(s.ptr, c, s.len) : NULL;
	if (!at) {
		*rest = s;
		return (struct str){ s.ptr, 0 };
	}
	size_t n = (size_t)(at - s.ptr);
	*rest = str_skip(s, n + 1);
	return (struct str){ s.ptr, n };
}

int str_to_u64(struct str s, uint64_t max, uint64_t *ret)
{
	uint64_t value = 0;
	if (!s.len)
		return -E_NUMBER;
	for (size_t i = 0; i < s.len; i++) {
		unsigned digit = (unsigned)s.ptr[i] - '0';
		if (digit > 9 || value > (UINT64_MAX - digit) / 10)
			return -E_NUMBER;
		value = value * 10 + digit;
	}
	if (value > max)
		return -E_NUMBER;
	*ret = value;
	return 0;
}

int str_to_duration_ms(struct str s, uint64_t *ret_ms)
{
	static const struct {
		struct str unit;
		uint64_t ms;
	} units[] = { { STR("ms"), 1 }, { STR("s"), 1000 }, { STR("m"), 60000 }, { STR("h"), 3600000 }, { STR("d"), 86400000 } };
	const uint64_t longest = 3650 * 86400000ull;
	size_t digits = 0;
	while (digits < s.len && s.ptr[digits] >= '0' && s.ptr[digits] <= '9')
		digits++;
	for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
		uint64_t value;
		if (!str_equal(str_skip(s, digits), units[i].unit))
			continue;
		if (str_to_u64((struct str){ s.ptr, digits }, longest / units[i].ms, &value) < 0)
			return -E_DURATION;
		*ret_ms = value * units[i].ms;
		return 0;
	}
	return -E_DURATION;
}

int str_copy(struct str s, char *out, size_t size)
{
	if (s.len >= size) {
		if (size)
			out[0] = 0;
		return -E_TOO_LONG;
	}
	if (s.len)
		memcpy(out, s.ptr, s.len);
	out[s.len] = 0;
	return 0;
}

struct str str_setting(struct str lines, const char *name)
{
	while (lines.len) {
		struct str value, line = str_cut(lines, '\n', &lines);
		if (str_has(line, '=') && str_is(str_cut(line, '=', &value), name))
			return value;
	}
	return STR("");
}
