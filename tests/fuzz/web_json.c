/* JSON from browsers: bodies of each route of the API, and what is said on /ws. */
#include <assert.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "web/api.h"
#include "web/watch.h"

/* What was taken is within its bounds: text ends inside its field and is UTF-8, lists are not too long. */
static void check(const struct schema *schema, const uint8_t *message)
{
	for (size_t i = 0; i < schema->n; i++) {
		const struct field *field = &schema->fields[i];
		size_t n = field->list ? *(const pb_size_t *)(message + field->count) : 1;
		assert(!field->list || n <= field->max);
		for (size_t k = 0; field->kind == FIELD_TEXT && k < n; k++) {
			const char *text = (const char *)message + field->offset + k * field->size;
			assert(strnlen(text, field->size) < field->size && utf8_valid(str_from(text)));
		}
	}
}

static void decode(const struct schema *schema, size_t size, struct str text)
{
	char why[JSON_WHY_SIZE] = "";
	json_t *json = NULL;
	uint8_t *message = mem_alloc(size);
	if (message && json_read(text, &json, why) == 0 && schema_decode(schema, json, message, why) == 0)
		check(schema, message);
	assert(strnlen(why, sizeof why) < sizeof why && utf8_valid(str_from(why)));
	json_decref(json);
	mem_free(message);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct watch_order order;
	char why[JSON_WHY_SIZE];
	if (size == 0)
		return 0;
	const struct route *route = &routes[data[0] % n_routes];
	struct str text = { (const char *)data + 1, size - 1 };
	if (route->body)
		decode(route->body, route->message_size ? route->message_size : route->call->request_size, text);
	watch_order_read(text, &order, why);
	return 0;
}
