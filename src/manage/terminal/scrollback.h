/* manage/terminal/scrollback.h: the last bytes that a terminal said.  Each byte has the number that it came as, from 0; the oldest go. */
#ifndef MANAGE_TERMINAL_SCROLLBACK_H
#define MANAGE_TERMINAL_SCROLLBACK_H
#include <stddef.h>
#include <stdint.h>

#define SCROLLBACK_SIZE ((size_t)256 << 10)
struct scrollback {
	uint8_t *bytes; /* byte n is at n % SCROLLBACK_SIZE */
	uint64_t end;   /* how many came */
};

int scrollback_init(struct scrollback *scrollback); /* 0 or -E_NO_MEMORY */
void scrollback_done(struct scrollback *scrollback);
void scrollback_append(struct scrollback *scrollback, const void *bytes, size_t len);
/* Where somebody begins who has seen nothing: at the oldest byte; when older ones are gone, behind the next line feed. */
uint64_t scrollback_begin(const struct scrollback *scrollback);
/* From that byte on, which is one that is there, or the end; returns how many. */
size_t scrollback_read(const struct scrollback *scrollback, uint64_t from, void *out, size_t size);
#endif
