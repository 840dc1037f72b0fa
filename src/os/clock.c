#include "os/clock.h"

#include <stdio.h>
#include <time.h>

uint64_t clock_monotonic_us(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

int64_t clock_boot_s(void)
{
	struct timespec now;
	clock_gettime(CLOCK_BOOTTIME, &now);
	return now.tv_sec;
}

int64_t clock_wall_s(void)
{
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	return now.tv_sec;
}

/* Not gmtime_r(): that reads the time zone files, which a confined role cannot open.
 * Days are counted from 0000-03-01, so that the leap day ends a year; an era has 400 years. */
void clock_format(int64_t wall_s, char text[CLOCK_TEXT_SIZE])
{
	const int64_t first = -62167219200, last = 253402300799; /* years 0 to 9999 */
	wall_s = wall_s < first ? first : wall_s > last ? last : wall_s;
	unsigned seconds = (unsigned)((wall_s - first) % 86400);
	unsigned days = (unsigned)((wall_s - first) / 86400) + 146097 - 60;
	unsigned era = days / 146097, day = days % 146097;
	unsigned year = (day - day / 1460 + day / 36524 - day / 146096) / 365;
	day -= year * 365 + year / 4 - year / 100;
	unsigned month = (day * 5 + 2) / 153; /* 0 = March */
	day -= (month * 153 + 2) / 5;
	year += era * 400 - 400 + (month >= 10);
	month = month < 10 ? month + 3 : month - 9;
	snprintf(text, CLOCK_TEXT_SIZE, "%04u-%02u-%02uT%02u:%02u:%02uZ", year % 10000, month % 100, (day + 1) % 100,
	         seconds / 3600, seconds / 60 % 60, seconds % 60);
}
