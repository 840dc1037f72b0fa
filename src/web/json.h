/* web/json.h: JSON of browsers to messages of proto/ and back, by tables of fields.
 *
 * What comes in is UTF-8, an object, at most JSON_DEPTH deep, without a field twice and without one that the table does not have.  Out go
 * all fields.  Text of messages is cleaned (base/utf8.h). */
#ifndef WEB_JSON_H
#define WEB_JSON_H
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

#define JSON_DEPTH    8
#define JSON_WHY_SIZE 96

enum field_kind {
	FIELD_TEXT,  /* char[size] */
	FIELD_LINES, /* the same, whose line ends and tabs stay */
	FIELD_FLAG,  /* bool */
	FIELD_U32,
	FIELD_I32,
	FIELD_U64,
	FIELD_I64,
	FIELD_FLOAT,
	FIELD_ID,       /* 16 bytes: 32 hex digits */
	FIELD_BYTES_ID, /* pb_bytes_array of 0 or 16 bytes; 0 = null */
	FIELD_HARDWARE, /* pb_bytes_array of 0 or 6 bytes: "00:11:22:33:44:55" or "" */
	FIELD_OBJECT,   /* a message of its own */
};

struct schema;
struct field {
	const char *name;
	enum field_kind kind;
	bool list, optional; /* optional: may be left out when it comes in */
	size_t offset, size; /* of the value, or of the first in a list; size of one */
	size_t count, max;   /* list: offset of its pb_size_t, and how many there may be */
	size_t mark; /* offset of a bool: set when the field came in; an object that goes out is null without it; 0 = none */
	const struct schema *schema; /* FIELD_OBJECT */
	const char *choices;         /* FIELD_TEXT: the words that there are, with blanks between; NULL = any text */
};
struct schema {
	const char *name; /* in the API's description */
	const struct field *fields;
	size_t n;
};

#define FIELD(name_, kind_, type_, member_, ...)                                                                                   \
	{                                                                                                                          \
		.name = name_, .kind = kind_, .offset = offsetof(type_, member_), .size = sizeof(((type_ *)0)->member_),           \
		__VA_ARGS__                                                                                                        \
	}
#define FIELD_LIST(name_, kind_, type_, member_, ...)                                                                              \
	{                                                                                                                          \
		.name = name_, .kind = kind_, .list = true, .offset = offsetof(type_, member_),                                    \
		.size = sizeof(((type_ *)0)->member_[0]), .count = offsetof(type_, member_##_count),                               \
		.max = sizeof(((type_ *)0)->member_) / sizeof(((type_ *)0)->member_[0]), __VA_ARGS__                               \
	}
#define SCHEMA(name_, rows_)                                                                                                       \
	{                                                                                                                          \
		name_, rows_, sizeof rows_ / sizeof *rows_                                                                         \
	}

/* No bytes at all are an empty object.  0, or -E_JSON with what is wrong in why; -E_NO_MEMORY. */
int json_read(struct str bytes, json_t **ret, char why[JSON_WHY_SIZE]);
/* 0, or -E_JSON with the field in why. */
int schema_decode(const struct schema *schema, const json_t *object, void *message, char why[JSON_WHY_SIZE]);
/* NULL when memory is short. */
json_t *schema_encode(const struct schema *schema, const void *message);

struct buf;
int json_write(const json_t *json, struct buf *out); /* appends; -E_NO_MEMORY, -E_TOO_LONG */
json_t *json_text(struct str text, bool lines);      /* cleaned; lines: line ends and tabs stay */
#endif
