#include "os/log.h"

#include <stdarg.h>
#include <unistd.h>

#include "base/utf8.h"
#include "os/clock.h"

#define LOG_LINE 1024

static const char *const level_names[] = { "error", "warning", "info", "debug" };
static const char *log_name = "murmesh";
static enum log_level log_least = LOG_INFO;
static int log_fd = STDERR_FILENO;
/* Lines that log_allowed() left out before the line that follows on this thread. */
static _Thread_local unsigned log_dropped;

static bool level_find(const char *text, enum log_level *ret)
{
	for (size_t i = 0; i < sizeof level_names / sizeof *level_names; i++)
		if (str_is(str_from(text), level_names[i])) {
			*ret = (enum log_level)i;
			return true;
		}
	return false;
}

bool log_level_known(const char *level)
{
	enum log_level found;
	return level_find(level, &found);
}

void log_init(const char *name)
{
	log_name = name;
	log_least = LOG_INFO;
	level_find(getenv("MURMESH_LOG"), &log_least);
}

void log_all_to(int fd)
{
	log_least = LOG_DEBUG;
	log_fd = fd;
}

/* No fault point: a line that cannot be written is lost, and nobody is told. */
void log_line(enum log_level level, const char *format, ...)
{
	char time[CLOCK_TEXT_SIZE], text[LOG_LINE], line[LOG_LINE], end[48] = "\n";
	if (log_dropped)
		snprintf(end, sizeof end, " (%u more left out)\n", log_dropped);
	log_dropped = 0;
	if (level > log_least)
		return;
	va_list args;
	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	clock_format(clock_wall_s(), time);
	size_t len = (size_t)snprintf(line, sizeof line / 2, "%s %s %s: ", time, level_names[level], log_name);
	if (len >= sizeof line / 2)
		len = sizeof line / 2 - 1;
	utf8_clean(str_from(text), line + len, sizeof line - len - strlen(end));
	len += strlen(line + len);
	memcpy(line + len, end, strlen(end));
	ssize_t written = write(log_fd, line, len + strlen(end));
	(void)written;
}

bool log_allowed(struct log_limit *limit)
{
	uint64_t now = clock_monotonic_us();
	if (now < limit->until_us) {
		limit->dropped++;
		return false;
	}
	log_dropped = limit->dropped;
	*limit = (struct log_limit){ .until_us = now + 1000000 };
	return true;
}
