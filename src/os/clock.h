/* os/clock.h: time.  Monotonic time never jumps (timers, deadlines); wall time is UTC and may be wrong. */
#ifndef OS_CLOCK_H
#define OS_CLOCK_H
#include <stddef.h>
#include <stdint.h>

uint64_t clock_monotonic_us(void); /* microseconds since some moment of this boot */
int64_t clock_boot_s(void);        /* seconds since this boot, those asleep too */
int64_t clock_wall_s(void);        /* seconds since 1970-01-01 UTC */
/* RFC 3339 in UTC, "2026-11-22T00:39:34Z". */
#define CLOCK_TEXT_SIZE 32
void clock_format(int64_t wall_s, char text[CLOCK_TEXT_SIZE]);
#endif
