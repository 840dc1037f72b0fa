#include "cli/json_file.h"

#include <pb_decode.h>
#include <pb_encode.h>

#include "base/buf.h"
#include "base/encode.h"
#include "base/err.h"
#include "os/file.h"

#define FILE_MAX  ((size_t)128 << 10)
#define BYTES_MAX ((size_t)40 << 10) /* of one value */

int json_file_read(const char *path, const char *kind, json_t **ret)
{
	struct buf text;
	buf_init(&text, FILE_MAX);
	int err = file_read(path, &text);
	json_t *file = err == 0 ? json_loadb((const char *)buf_head(&text), buf_len(&text), JSON_REJECT_DUPLICATES, NULL) : NULL;
	const char *is = json_string_value(json_object_get(file, "murmesh"));
	buf_done(&text);
	if (err == 0 && (!is || !str_is(str_from(is), kind)))
		err = -E_JSON;
	if (err < 0)
		json_decref(file);
	else
		*ret = file;
	return err;
}

int json_file_write(const char *path, const char *kind, json_t *file)
{
	struct buf bytes;
	buf_init(&bytes, FILE_MAX);
	int err = json_object_set_new(file, "murmesh", json_string(kind)) < 0 ? -E_NO_MEMORY : 0;
	char *text = err == 0 ? json_dumps(file, JSON_INDENT(1) | JSON_SORT_KEYS) : NULL;
	if (err == 0)
		err = text ? buf_append_str(&bytes, str_from(text)) : -E_NO_MEMORY;
	if (err == 0)
		err = buf_append_u8(&bytes, '\n');
	if (err == 0)
		err = file_write(path, buf_head(&bytes), buf_len(&bytes), 0600);
	free(text);
	buf_done(&bytes);
	return err;
}

int message_file_read(const char *path, const char *kind, const pb_msgdesc_t *type, void *ret)
{
	json_t *file = NULL;
	int err = json_file_read(path, kind, &file);
	if (err == 0)
		err = json_message_get(file, kind, type, ret);
	json_decref(file);
	return err;
}

int message_file_write(const char *path, const char *kind, const pb_msgdesc_t *type, const void *message)
{
	json_t *file = json_object();
	int err = json_message_set(file, kind, type, message);
	if (err == 0)
		err = json_file_write(path, kind, file);
	json_decref(file);
	return err;
}

ssize_t json_bytes_get(const json_t *file, const char *name, uint8_t *out, size_t size)
{
	const char *text = json_string_value(json_object_get(file, name));
	ssize_t len = text ? base64url_decode(str_from(text), out, size) : -E_JSON;
	return len < 0 ? -E_JSON : len;
}

int json_bytes_set(json_t *file, const char *name, const uint8_t *bytes, size_t len)
{
	static char text[BASE64URL_SIZE(BYTES_MAX)];
	if (len > BYTES_MAX)
		return -E_TOO_LONG;
	base64url_encode(bytes, len, text);
	return json_object_set_new(file, name, json_string(text)) < 0 ? -E_NO_MEMORY : 0;
}

int json_message_get(const json_t *file, const char *name, const pb_msgdesc_t *type, void *ret)
{
	static uint8_t bytes[BYTES_MAX];
	ssize_t len = json_bytes_get(file, name, bytes, sizeof bytes);
	if (len < 0)
		return (int)len;
	pb_istream_t in = pb_istream_from_buffer(bytes, (size_t)len);
	return pb_decode(&in, type, ret) ? 0 : -E_MESSAGE;
}

int json_message_set(json_t *file, const char *name, const pb_msgdesc_t *type, const void *message)
{
	static uint8_t bytes[BYTES_MAX];
	pb_ostream_t out = pb_ostream_from_buffer(bytes, sizeof bytes);
	return pb_encode(&out, type, message) ? json_bytes_set(file, name, bytes, out.bytes_written) : -E_TOO_LONG;
}
