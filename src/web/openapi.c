/* The API's description (OpenAPI 3.1) out of the tables: for people, for other programs, for the console's own client, for the tests. */
#include "base/err.h"
#include "web/api.h"
#include "web/watch.h"

static json_t *field_type(const struct field *field, bool incoming);

static json_t *schema_type(const struct schema *schema, bool incoming)
{
	json_t *properties = json_object(), *required = json_array();
	for (size_t i = 0; i < schema->n; i++) {
		const struct field *field = &schema->fields[i];
		json_object_set_new(properties, field->name, field_type(field, incoming));
		if (!incoming || !field->optional)
			json_array_append_new(required, json_string(field->name));
	}
	return json_pack("{s:s, s:o, s:o, s:b}", "type", "object", "properties", properties, "required", required,
	                 "additionalProperties", !incoming);
}

static json_t *reference(const struct schema *schema)
{
	return json_pack("{s:s+}", "$ref", "#/components/schemas/", schema->name);
}

static json_t *nullable(json_t *type, bool wanted)
{
	return wanted ? json_pack("{s:[o, {s:s}]}", "oneOf", type, "type", "null") : type;
}

static json_t *pattern(const char *text)
{
	return json_pack("{s:s, s:s}", "type", "string", "pattern", text);
}

static json_t *integer(json_int_t minimum, json_int_t maximum)
{
	return json_pack("{s:s, s:I, s:I}", "type", "integer", "minimum", minimum, "maximum", maximum);
}

static json_t *choice(const char *choices)
{
	json_t *words = json_array();
	for (struct str rest = str_from(choices); rest.len;) {
		struct str word = str_cut(rest, ' ', &rest);
		json_array_append_new(words, json_stringn(word.ptr, word.len));
	}
	return json_pack("{s:s, s:o}", "type", "string", "enum", words);
}

static json_t *value_type(const struct field *field, bool incoming)
{
	if (field->choices)
		return choice(field->choices);
	switch (field->kind) {
	case FIELD_TEXT:
	case FIELD_LINES:
		return incoming ? json_pack("{s:s, s:I}", "type", "string", "maxLength", (json_int_t)field->size - 1)
		                : json_pack("{s:s}", "type", "string");
	case FIELD_FLAG:
		return json_pack("{s:s}", "type", "boolean");
	case FIELD_U32:
		return integer(0, UINT32_MAX);
	case FIELD_I32:
		return integer(INT32_MIN, INT32_MAX);
	case FIELD_U64:
		return integer(0, INT64_MAX);
	case FIELD_I64:
		return integer(INT64_MIN, INT64_MAX);
	case FIELD_FLOAT:
		return json_pack("{s:s}", "type", "number");
	case FIELD_ID:
		return pattern("^[0-9a-f]{32}$");
	case FIELD_BYTES_ID:
		return nullable(pattern("^[0-9a-f]{32}$"), !incoming);
	case FIELD_HARDWARE:
		return pattern("^([0-9a-f]{2}(:[0-9a-f]{2}){5})?$");
	case FIELD_OBJECT:
		return nullable(reference(field->schema), field->mark);
	}
	return NULL;
}

static json_t *field_type(const struct field *field, bool incoming)
{
	json_t *type = value_type(field, incoming);
	return field->list ? json_pack("{s:s, s:o, s:I}", "type", "array", "items", type, "maxItems", (json_int_t)field->max)
	                   : type;
}

/* ---- components ---- */

static void component_add(json_t *schemas, const struct schema *schema)
{
	if (json_object_get(schemas, schema->name))
		return;
	json_object_set_new(schemas, schema->name, schema_type(schema, false));
	for (size_t i = 0; i < schema->n; i++)
		if (schema->fields[i].schema)
			component_add(schemas, schema->fields[i].schema);
}

/* What comes through /ws, by channel; schema NULL = of that type alone. */
static const struct {
	const char *channel, *name;
	const struct schema *schema;
	enum field_kind kind;
} changes[] = {
	{ "FleetChange", "device", &schema_device, 0 },
	{ "FleetChange", "removed", NULL, FIELD_ID },
	{ "FleetChange", "complete", NULL, FIELD_FLAG },
	{ "TaskChange", "task", &schema_task, 0 },
	{ "TaskChange", "complete", NULL, FIELD_FLAG },
	{ "LiveChange", "node", &schema_live_node, 0 },
	{ "LiveChange", "node_removed", NULL, FIELD_TEXT },
	{ "LiveChange", "edge", &schema_live_edge, 0 },
	{ "LiveChange", "edge_removed", NULL, FIELD_TEXT },
	{ "LiveChange", "row", &schema_live_row, 0 },
	{ "LiveChange", "missing", &schema_live_missing, 0 },
	{ "LiveChange", "source", &schema_live_source, 0 },
	{ "LiveChange", "complete", NULL, FIELD_FLAG },
	{ "ApprovalChange", "approval", &schema_approval, 0 },
	{ "ApprovalChange", "decided", NULL, FIELD_ID },
	{ "ApprovalChange", "complete", NULL, FIELD_FLAG },
	{ "MapChange", "map", &schema_map, 0 },
	{ "MapChange", "removed", NULL, FIELD_ID },
	{ "MapChange", "complete", NULL, FIELD_FLAG },
};

static void changes_add(json_t *schemas)
{
	for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
		const struct field one = { .kind = changes[i].kind };
		if (!json_object_get(schemas, changes[i].channel))
			json_object_set_new(schemas, changes[i].channel, json_pack("{s:[]}", "oneOf"));
		if (changes[i].schema)
			component_add(schemas, changes[i].schema);
		json_t *type = changes[i].schema ? reference(changes[i].schema) : value_type(&one, false);
		json_t *change = json_pack("{s:s, s:{s:o}, s:[s]}", "type", "object", "properties", changes[i].name, type,
		                           "required", changes[i].name);
		json_array_append_new(json_object_get(json_object_get(schemas, changes[i].channel), "oneOf"), change);
	}
	json_object_set_new(schemas, schema_order.name, schema_type(&schema_order, true));
}

static json_t *components(void)
{
	json_t *schemas = json_object();
	static const char *const error_fields[] = { "error", "what", "why", "try", "id" };
	json_t *properties = json_object(), *required = json_array();
	for (size_t i = 0; i < sizeof error_fields / sizeof *error_fields; i++) {
		json_object_set_new(properties, error_fields[i], json_pack("{s:s}", "type", "string"));
		json_array_append_new(required, json_string(error_fields[i]));
	}
	json_object_set_new(schemas, "Problem",
	                    json_pack("{s:s, s:o, s:o}", "type", "object", "properties", properties, "required", required));
	for (size_t i = 0; i < n_routes; i++)
		if (routes[i].answer)
			component_add(schemas, routes[i].answer);
	changes_add(schemas);
	return json_pack("{s:o, s:{s:{s:s, s:s, s:s}}}", "schemas", schemas, "securitySchemes", "session", "type", "apiKey", "in",
	                 "cookie", "name", SESSION_COOKIE);
}

/* ---- paths ---- */

static json_t *content(json_t *type)
{
	return json_pack("{s:{s:o}}", "application/json", "schema", type);
}

static json_t *parameter(const char *name, const char *in, bool required, json_t *type)
{
	return json_pack("{s:s, s:s, s:b, s:o}", "name", name, "in", in, "required", required, "schema", type);
}

static json_t *parameters(const struct route *route)
{
	json_t *list = json_array();
	if (strchr(route->path, '{'))
		json_array_append_new(list, parameter("id", "path", true, pattern("^[0-9a-f]{32}$")));
	for (size_t i = 0; route->query && i < route->query->n; i++) {
		const struct field *field = &route->query->fields[i];
		json_array_append_new(list, parameter(field->name, "query", !field->optional, value_type(field, true)));
	}
	if (strcmp(route->method, "GET") != 0)
		json_array_append_new(list, parameter("x-murmesh", "header", true, json_pack("{s:s}", "const", "1")));
	return list;
}

static json_t *responses(const struct route *route)
{
	json_t *error = json_pack("{s:s, s:o}", "description", "it says what, why and what to do", "content",
	                          content(json_pack("{s:s}", "$ref", "#/components/schemas/Problem")));
	if (!route->answer)
		return json_pack("{s:{s:s}, s:o}", "204", "description", "done", "default", error);
	json_t *type = reference(route->answer);
	if (route->list)
		type = json_pack("{s:s, s:o}", "type", "array", "items", type);
	return json_pack("{s:{s:s, s:o}, s:o}", "200", "description", "done", "content", content(type), "default", error);
}

static json_t *operation(const struct route *route)
{
	json_t *result = json_pack("{s:s, s:s, s:o, s:o}", "operationId", route->name, "summary", route->summary, "parameters",
	                           parameters(route), "responses", responses(route));
	json_object_set_new(result, "x-right", route->right ? json_string(route->right) : json_null());
	json_object_set_new(result, "x-everywhere", json_boolean(route->everywhere));
	json_object_set_new(result, "x-step-up", json_boolean(route->step_up));
	json_object_set_new(result, "x-audited", json_string(route->audited));
	json_object_set_new(result, "security", route->access == ACCESS_SESSION ? json_pack("[{s:[]}]", "session") : json_array());
	if (route->body)
		json_object_set_new(result, "requestBody",
		                    json_pack("{s:b, s:o}", "required", true, "content", content(schema_type(route->body, true))));
	return result;
}

static json_t *paths(void)
{
	json_t *all = json_object();
	for (size_t i = 0; i < n_routes; i++) {
		char method[8] = "";
		for (size_t k = 0; routes[i].method[k] && k < sizeof method - 1; k++)
			method[k] = (char)(routes[i].method[k] | 0x20);
		if (!json_object_get(all, routes[i].path))
			json_object_set_new(all, routes[i].path, json_object());
		json_object_set_new(json_object_get(all, routes[i].path), method, operation(&routes[i]));
	}
	return all;
}

json_t *openapi_document(void)
{
	return json_pack("{s:s, s:{s:s, s:s, s:s}, s:o, s:o}", "openapi", "3.1.0", "info", "title", "murmesh console", "version",
	                 MURMESH_VERSION, "description",
	                 "What the console's page asks of its server. Calls that change something need the header x-murmesh and "
	                 "an Origin that is the server's own.",
	                 "paths", paths(), "components", components());
}
