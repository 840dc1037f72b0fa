/* conf/conf.h: configuration files (INI), read against one table of options.
 *
 * A file is UTF-8 text of at most CONF_FILE_MAX bytes, lines ending in LF or CR LF, a byte order mark in front is skipped:
 *   `[Section]`, `Key = value`, and comments: lines that start with # or ;   (inside a value these are ordinary characters)
 * Keys before the first section belong to the program's own section.  Names of sections and keys are written exactly; a section may come
 * twice, a key may not.  Blanks around names and values do not count.  An empty value is as good as none: the default holds.
 * What the table does not know, or does not allow, is an error that names its line: nothing is ignored.
 *
 * Ownership: a conf is the caller's, who frees it; texts that getters return live as long as it.  The table is borrowed all that time. */
#ifndef CONF_CONF_H
#define CONF_CONF_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

#define CONF_FILE_MAX   ((size_t)1 << 20)
#define CONF_ERROR_SIZE 512

/* minimum and maximum of an option count what stands behind; maximum 0 = no limit but the type's own. */
enum conf_type {
	CONF_STRING,   /* bytes; at most 4096 */
	CONF_BOOLEAN,  /* On Off Yes No True False 1 0, in any case; no limits */
	CONF_UNSIGNED, /* itself */
	CONF_PORT,     /* itself: 0 to 65535; 0 asks for a free port: give minimum 1 where that makes no sense */
	CONF_DURATION, /* milliseconds; written 250ms, 90s, 15m, 12h, 7d; at most 10 years */
	CONF_ADDRESS,  /* no limits; host, host:port, [v6], [v6]:port */
	CONF_LIST,     /* items; written a, b, c: none of them empty; at most 1024 */
};

struct conf_option {
	const char *section, *key;
	enum conf_type type;
	const char *initial; /* the default, as it would stand in a file; NULL = none */
	const char *help;    /* one line for people */
	uint64_t minimum, maximum;
};

struct conf_table {
	const char *own_section; /* of keys that come before the first section */
	const struct conf_option *options;
	size_t count;
};

struct conf;

/* Reads the bytes of a file.  name stands for the file in messages.  Returns 0, -E_NO_MEMORY, or -E_CONFIG with a text of one line in error:
 * `murmesh.ini:3: unknown key "ParentAdress" in [Router] (did you mean "ParentAddress"?)`.  *ret is written only when 0 is returned. */
int conf_parse(struct str bytes, const char *name, const struct conf_table *table, struct conf **ret, char error[CONF_ERROR_SIZE]);
/* Reads a file.  One that is missing holds nothing: all defaults.  -E_CONFIG also for one that cannot be read, is no ordinary file, is too
 * long, or can be written by everybody. */
int conf_read(const char *path, const struct conf_table *table, struct conf **ret, char error[CONF_ERROR_SIZE]);
struct conf *conf_free(struct conf *conf); /* accepts NULL, returns NULL */

/* Getters.  Asking for an option that the table has not, or has with another type, is an error of the program: it ends. */
bool conf_is_set(const struct conf *conf, const char *section, const char *key);        /* in the file or by default */
const char *conf_string(const struct conf *conf, const char *section, const char *key); /* NULL when not set */
bool conf_boolean(const struct conf *conf, const char *section, const char *key);       /* false when not set */
uint64_t conf_unsigned(const struct conf *conf, const char *section, const char *key);  /* this and the next two: 0 when not set */
uint16_t conf_port(const struct conf *conf, const char *section, const char *key);
uint64_t conf_duration_ms(const struct conf *conf, const char *section, const char *key);

struct conf_address {
	struct str host; /* IPv6 without its brackets */
	uint16_t port;   /* 0 when none is given */
	bool has_port;   /* 0 can also be given, for any free port */
};
bool conf_address(const struct conf *conf, const char *section, const char *key, struct conf_address *ret); /* false when not set */
/* Item n of a list, from 0; false past its end. */
bool conf_list_item(const struct conf *conf, const char *section, const char *key, size_t n, struct str *ret);
#endif
