#include "web/task_text.h"

#include <string.h>

#include "base/utf8.h"

/* Behind the sequence that begins with this escape (ECMA-48): ESC [ ... letter, ESC ] ... BEL or ESC \, or blanks to slashes and one more. */
static struct str sequence_skip(struct str s)
{
	char kind = s.len > 1 ? s.ptr[1] : 0;
	size_t n = 1;
	if (kind == '[') {
		n = 2;
		while (n < s.len && !(s.ptr[n] >= 0x40 && s.ptr[n] <= 0x7e))
			n++;
		n++;
	} else if (kind == ']') {
		n = 2;
		while (n < s.len && s.ptr[n] != '\a' && s.ptr[n] != '\033')
			n++;
		n += n < s.len && s.ptr[n] == '\033' ? 2 : 1;
	} else {
		while (n < s.len && s.ptr[n] >= ' ' && s.ptr[n] <= '/')
			n++;
		n++;
	}
	return str_skip(s, n < s.len ? n : s.len);
}

static size_t plain(struct str s, char *out)
{
	size_t len = 0;
	while (s.len) {
		if (s.ptr[0] == '\033') {
			s = sequence_skip(s);
			continue;
		}
		if (s.ptr[0] != '\r')
			out[len++] = s.ptr[0];
		s = str_skip(s, 1);
	}
	return len;
}

static bool continues(char c)
{
	return ((unsigned char)c & 0xc0) == 0x80;
}

void task_text(struct str tail, char *out, size_t size)
{
	char bytes[TASK_TAIL], clean[3 * TASK_TAIL + 8];
	if (tail.len > TASK_TAIL)
		tail = str_skip(tail, tail.len - TASK_TAIL);
	for (int i = 0; i < 3 && tail.len && continues(tail.ptr[0]); i++) /* of a character whose beginning is gone */
		tail = str_skip(tail, 1);
	size_t len = plain(tail, bytes);
	utf8_clean_lines((struct str){ bytes, len }, clean, sizeof clean);
	len = strlen(clean);
	size_t from = len < size ? 0 : len - size + 1;
	while (from && continues(clean[from]))
		from++;
	memcpy(out, clean + from, len - from + 1);
}
