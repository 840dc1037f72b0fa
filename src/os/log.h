/* os/log.h: log lines on standard error, one write(2) each: time, level, process title, text.
 * Text from elsewhere is cleaned (base/utf8.h), lines are at most 1 KiB.  Library folders log at debug only; the owner of an
 * event logs it once.  log_limited() writes at most one line a second per call site and says how many it left out. */
#ifndef OS_LOG_H
#define OS_LOG_H
#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_ERROR, LOG_WARNING, LOG_INFO, LOG_DEBUG };

/* name: shown in each line, "murmesh-server: link"; kept, not copied.  Level from environment MURMESH_LOG
 * (error, warning, info, debug), else info. */
void log_init(const char *name);
/* From here on lines of all levels go to that descriptor, which stays open. */
void log_all_to(int fd);
bool log_level_known(const char *level);
void log_line(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

struct log_limit {
	uint64_t until_us;
	unsigned dropped;
};
bool log_allowed(struct log_limit *limit);

#define log_error(...)   log_line(LOG_ERROR, __VA_ARGS__)
#define log_warning(...) log_line(LOG_WARNING, __VA_ARGS__)
#define log_info(...)    log_line(LOG_INFO, __VA_ARGS__)
#define log_debug(...)   log_line(LOG_DEBUG, __VA_ARGS__)
#define log_limited(level, ...)                                                                                                    \
	do {                                                                                                                       \
		static struct log_limit limit_here;                                                                                \
		if (log_allowed(&limit_here))                                                                                      \
			log_line(level, __VA_ARGS__);                                                                              \
	} while (0)
#endif
