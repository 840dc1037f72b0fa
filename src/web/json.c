#include "web/json.h"

#include <math.h>
#include <pb.h>

#include "base/buf.h"
#include "base/encode.h"
#include "base/err.h"
#include "base/id.h"
#include "base/mem.h"
#include "base/utf8.h"

static int wrong(char why[JSON_WHY_SIZE], const char *field, const char *what)
{
	snprintf(why, JSON_WHY_SIZE, "%s %s", field, what);
	return -E_JSON;
}

/* Before anything is built from it.  Brackets inside texts do not count. */
static bool too_deep(struct str bytes)
{
	unsigned depth = 0;
	bool text = false;
	for (size_t i = 0; i < bytes.len; i++) {
		char c = bytes.ptr[i];
		if (c == '"')
			text = !text;
		else if (text && c == '\\')
			i++;
		else if (!text && (c == '{' || c == '[') && ++depth > JSON_DEPTH)
			return true;
		else if (!text && (c == '}' || c == ']') && depth)
			depth--;
	}
	return false;
}

int json_read(struct str bytes, json_t **ret, char why[JSON_WHY_SIZE])
{
	json_error_t error;
	if (too_deep(bytes))
		return wrong(why, "the content", "is nested too deeply");
	json_t *json = bytes.len ? json_loadb(bytes.ptr, bytes.len, JSON_REJECT_DUPLICATES, &error) : json_object();
	if (!json) {
		if (!bytes.len || json_error_code(&error) == json_error_out_of_memory)
			return -E_NO_MEMORY;
		snprintf(why, JSON_WHY_SIZE, "%s at byte %d",
		         json_error_code(&error) == json_error_duplicate_key ? "a field is there twice," : "it is no JSON",
		         error.position);
		return -E_JSON;
	}
	if (!json_is_object(json)) {
		json_decref(json);
		return wrong(why, "the content", "is no object");
	}
	*ret = json;
	return 0;
}

/* ---- in ---- */

static int decode_number(const struct field *field, const json_t *value, uint8_t *at, char why[JSON_WHY_SIZE])
{
	json_int_t number = json_integer_value(value);
	bool fits = json_is_integer(value);
	switch (field->kind) {
	case FIELD_U32:
		fits = fits && number >= 0 && number <= UINT32_MAX;
		*(uint32_t *)at = (uint32_t)number;
		break;
	case FIELD_U64:
		fits = fits && number >= 0;
		*(uint64_t *)at = (uint64_t)number;
		break;
	default:
		*(int64_t *)at = number;
	}
	return fits ? 0 : wrong(why, field->name, "has to be a whole number in its range");
}

static int decode_id(const struct field *field, const json_t *value, uint8_t *at, char why[JSON_WHY_SIZE])
{
	struct id id;
	pb_bytes_array_t *bytes = (pb_bytes_array_t *)at;
	if (!json_is_string(value) || id_parse((struct str){ json_string_value(value), json_string_length(value) }, &id) < 0)
		return wrong(why, field->name, "has to be 32 hexadecimal digits");
	memcpy(field->kind == FIELD_ID ? at : bytes->bytes, id.bytes, sizeof id.bytes);
	if (field->kind == FIELD_BYTES_ID)
		bytes->size = sizeof id.bytes;
	return 0;
}

static bool is_choice(const char *choices, const char *text)
{
	struct str rest = str_from(choices);
	while (rest.len)
		if (str_is(str_cut(rest, ' ', &rest), text))
			return true;
	return false;
}

static int decode_one(const struct field *field, const json_t *value, uint8_t *at, char why[JSON_WHY_SIZE])
{
	switch (field->kind) {
	case FIELD_TEXT:
		if (!json_is_string(value))
			return wrong(why, field->name, "has to be text");
		if (str_copy((struct str){ json_string_value(value), json_string_length(value) }, (char *)at, field->size) < 0)
			return wrong(why, field->name, "is too long");
		return !field->choices || is_choice(field->choices, (const char *)at)
		               ? 0
		               : wrong(why, field->name, "is none of the words known");
	case FIELD_FLAG:
		if (!json_is_boolean(value))
			return wrong(why, field->name, "has to be true or false");
		*(bool *)at = json_is_true(value);
		return 0;
	case FIELD_U32:
	case FIELD_U64:
	case FIELD_I64:
		return decode_number(field, value, at, why);
	case FIELD_ID:
	case FIELD_BYTES_ID:
		return decode_id(field, value, at, why);
	case FIELD_OBJECT:
		return json_is_object(value) ? schema_decode(field->schema, value, at, why)
		                             : wrong(why, field->name, "has to be an object");
	default: /* of answers only */
		return -E_INTERNAL;
	}
}

static int decode_field(const struct field *field, const json_t *value, uint8_t *message, char why[JSON_WHY_SIZE])
{
	int err = 0;
	if (field->mark)
		*(bool *)(message + field->mark) = true;
	if (!field->list)
		return decode_one(field, value, message + field->offset, why);
	size_t n = json_array_size(value);
	if (!json_is_array(value))
		return wrong(why, field->name, "has to be a list");
	if (n > field->max)
		return wrong(why, field->name, "has too many entries");
	for (size_t i = 0; err == 0 && i < n; i++)
		err = decode_one(field, json_array_get(value, i), message + field->offset + i * field->size, why);
	*(pb_size_t *)(message + field->count) = (pb_size_t)n;
	return err;
}

static bool has_field(const struct schema *schema, const char *name)
{
	for (size_t i = 0; i < schema->n; i++)
		if (str_is(str_from(name), schema->fields[i].name))
			return true;
	return false;
}

int schema_decode(const struct schema *schema, const json_t *object, void *message, char why[JSON_WHY_SIZE])
{
	const char *name;
	json_t *value;
	int err = 0;
	json_object_foreach((json_t *)object, name, value)
	{
		if (has_field(schema, name))
			continue;
		char known[JSON_WHY_SIZE / 2];
		return wrong(why, utf8_clean(str_from(name), known, sizeof known), "is not known here");
	}
	for (size_t i = 0; err == 0 && i < schema->n; i++) {
		const struct field *field = &schema->fields[i];
		value = json_object_get(object, field->name);
		if (value)
			err = decode_field(field, value, message, why);
		else if (!field->optional)
			err = wrong(why, field->name, "is missing");
	}
	return err;
}

/* ---- out ---- */

json_t *json_text(struct str text, bool lines)
{
	size_t size = text.len * 3 + 8; /* a byte becomes at most U+FFFD */
	char *clean = mem_alloc(size);
	if (!clean)
		return NULL;
	json_t *json = json_string(lines ? utf8_clean_lines(text, clean, size) : utf8_clean(text, clean, size));
	mem_free(clean);
	return json;
}

static json_t *encode_id(const uint8_t bytes[16])
{
	struct id id;
	char text[ID_TEXT_SIZE];
	memcpy(id.bytes, bytes, sizeof id.bytes);
	id_format(&id, text);
	return json_string_nocheck(text);
}

static json_t *encode_hardware(const pb_bytes_array_t *bytes)
{
	char text[18] = "";
	if (bytes->size == 6)
		snprintf(text, sizeof text, "%02x:%02x:%02x:%02x:%02x:%02x", bytes->bytes[0], bytes->bytes[1], bytes->bytes[2],
		         bytes->bytes[3], bytes->bytes[4], bytes->bytes[5]);
	return json_string_nocheck(text);
}

static json_t *encode_one(const struct field *field, const uint8_t *at)
{
	const pb_bytes_array_t *bytes = (const pb_bytes_array_t *)at;
	switch (field->kind) {
	case FIELD_TEXT:
	case FIELD_LINES:
		return json_text(str_from((const char *)at), field->kind == FIELD_LINES);
	case FIELD_FLAG:
		return json_boolean(*(const bool *)at);
	case FIELD_U32:
		return json_integer(*(const uint32_t *)at);
	case FIELD_I32:
		return json_integer(*(const int32_t *)at);
	case FIELD_U64:
		return json_integer((json_int_t)(*(const uint64_t *)at & INT64_MAX));
	case FIELD_I64:
		return json_integer(*(const int64_t *)at);
	case FIELD_FLOAT:
		return json_real(isfinite(*(const float *)at) ? (double)*(const float *)at : 0);
	case FIELD_ID:
		return encode_id(at);
	case FIELD_BYTES_ID:
		return bytes->size == 16 ? encode_id(bytes->bytes) : json_null();
	case FIELD_HARDWARE:
		return encode_hardware(bytes);
	case FIELD_OBJECT:
		return schema_encode(field->schema, at);
	}
	return NULL;
}

static json_t *encode_field(const struct field *field, const uint8_t *message)
{
	if (!field->list) {
		bool absent = field->kind == FIELD_OBJECT && field->mark && !*(const bool *)(message + field->mark);
		return absent ? json_null() : encode_one(field, message + field->offset);
	}
	json_t *list = json_array();
	size_t n = *(const pb_size_t *)(message + field->count);
	for (size_t i = 0; list && i < n; i++)
		if (json_array_append_new(list, encode_one(field, message + field->offset + i * field->size)) < 0) {
			json_decref(list);
			return NULL;
		}
	return list;
}

json_t *schema_encode(const struct schema *schema, const void *message)
{
	json_t *object = json_object();
	for (size_t i = 0; object && i < schema->n; i++)
		if (json_object_set_new_nocheck(object, schema->fields[i].name, encode_field(&schema->fields[i], message)) < 0) {
			json_decref(object);
			return NULL;
		}
	return object;
}

static int append(const char *bytes, size_t len, void *out)
{
	return buf_append(out, bytes, len) < 0 ? -1 : 0;
}

int json_write(const json_t *json, struct buf *out)
{
	size_t before = buf_len(out);
	if (json_dump_callback(json, append, out, JSON_COMPACT | JSON_ENCODE_ANY) == 0)
		return 0;
	out->end -= buf_len(out) - before;
	return -E_NO_MEMORY;
}
