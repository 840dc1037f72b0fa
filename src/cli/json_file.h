/* cli/json_file.h: files that people carry from one machine to another: JSON of one object, bytes in it as base64url; "murmesh" says what it is. */
#ifndef CLI_JSON_FILE_H
#define CLI_JSON_FILE_H
#include <jansson.h>
#include <pb.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* -E_JSON: no such file of that kind; of reading: what os/file.h says.  *ret is the caller's. */
int json_file_read(const char *path, const char *kind, json_t **ret);
int json_file_write(const char *path, const char *kind, json_t *file);

/* A file that holds one message, under the name of its kind. */
int message_file_read(const char *path, const char *kind, const pb_msgdesc_t *type, void *ret); /* also -E_MESSAGE */
int message_file_write(const char *path, const char *kind, const pb_msgdesc_t *type, const void *message);

/* Number of bytes; -E_JSON. */
ssize_t json_bytes_get(const json_t *file, const char *name, uint8_t *out, size_t size);
int json_bytes_set(json_t *file, const char *name, const uint8_t *bytes, size_t len);
/* -E_JSON, -E_MESSAGE; message zeroed before. */
int json_message_get(const json_t *file, const char *name, const pb_msgdesc_t *type, void *ret);
int json_message_set(json_t *file, const char *name, const pb_msgdesc_t *type, const void *message);
#endif
