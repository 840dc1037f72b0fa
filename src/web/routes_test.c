/* The table of routes is consistent, and finds; what browsers say on /ws is read. */
#include "web/routes.h"

#include "base/err.h"
#include "base/test.h"
#include "web/api.h"
#include "web/upgrade.h"
#include "web/watch.h"

static void test_table(void **state)
{
	(void)state;
	for (size_t i = 0; i < n_routes; i++) {
		const struct route *route = &routes[i];
		size_t size = route->message_size ? route->message_size : route->call->request_size;
		assert_true(route->name && route->method && route->path && route->summary && route->audited && route->call);
		assert_true(route->message_size == 0 || route->message_size >= route->call->request_size);
		assert_true(route->id_at + (route->id_at ? 16 : 0) <= size && route->has < size);
		assert_int_equal(route->access == ACCESS_ANYONE, route->right == NULL);
		assert_false(route->list && (!route->call->server_streams || !route->answer));
		assert_true(route->done || route->list == route->call->server_streams);
		/* An id goes to one place: into the message, or to prepare(). */
		if (strstr(route->path, "{id}"))
			assert_true(route->id_at || route->prepare);
		else
			assert_int_equal(route->id_at, 0);
		for (size_t k = 0; k < i; k++)
			assert_false(strcmp(routes[k].method, route->method) == 0 && strcmp(routes[k].path, route->path) == 0);
		for (size_t k = 0; route->body && k < route->body->n; k++) {
			const struct field *field = &route->body->fields[k];
			size_t bytes = field->list ? field->size * field->max : field->size;
			assert_true(field->offset + bytes <= size && field->mark < size);
		}
	}
}

static int find(const char *method, const char *path, const char **ret_name, char allow[ROUTE_ALLOW_SIZE])
{
	const struct route *route = NULL;
	struct str id;
	int err = route_find(str_from(method), str_from(path), &route, &id, allow);
	*ret_name = err == 0 ? route->name : "";
	return err;
}

static void test_find(void **state)
{
	const char *name;
	char allow[ROUTE_ALLOW_SIZE];
	const struct route *route;
	struct str id;
	(void)state;
	assert_int_equal(find("GET", "/api/me", &name, allow), 0);
	assert_string_equal(name, "me");
	assert_int_equal(find("POST", "/api/devices/change", &name, allow), 0);
	assert_string_equal(name, "changeDevices");
	assert_int_equal(route_find(STR("GET"), STR("/api/tasks/abc/devices"), &route, &id, allow), 0);
	assert_string_equal(route->name, "taskDevices");
	assert_true(str_is(id, "abc"));
	assert_int_equal(find("PATCH", "/api/me/totp", &name, allow), -E_HTTP_METHOD);
	assert_string_equal(allow, "POST, PUT, DELETE");
	static const char *const unknown[] = { "/api/",
		                               "/api/m",
		                               "/api/me/",
		                               "/api/meme",
		                               "/api/devices",
		                               "/api/devices/",
		                               "/api/devices/a/b/c",
		                               "/api/tasks//devices",
		                               "/api/tasks/a/b",
		                               "/api/tasks/devices",
		                               "/api/{id}",
		                               "" };
	for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++)
		assert_int_equal(find("GET", unknown[i], &name, allow), -E_NOT_FOUND);
}

static void test_statuses(void **state)
{
	(void)state;
	for (int err = 0; (err = err_next(err));)
		assert_in_range(api_status(err), 400, 599);
	assert_int_equal(api_status(-E_NOT_FOUND), 404);
	assert_int_equal(api_status(E_STEP_UP), 403);
	assert_int_equal(api_status(-5), 500);
}

/* RFC 6455 section 1.3 */
static void test_accept(void **state)
{
	char text[UPGRADE_ACCEPT_SIZE];
	(void)state;
	upgrade_accept(STR("dGhlIHNhbXBsZSBub25jZQ=="), text);
	assert_string_equal(text, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

static void test_order(void **state)
{
	struct watch_order order;
	char why[JSON_WHY_SIZE] = "";
	(void)state;
	assert_int_equal(watch_order_read(STR("{\"op\":\"subscribe\",\"channel\":\"fleet\"}"), &order, why), 0);
	assert_true(order.subscribe && order.channel == WATCH_FLEET && !order.has_device && !order.has_since);
	assert_int_equal(watch_order_read(STR("{\"op\":\"unsubscribe\",\"channel\":\"live\",\"device\":"
	                                      "\"0102030405060708090a0b0c0d0e0f10\"}"),
	                                  &order, why),
	                 0);
	assert_true(!order.subscribe && order.channel == WATCH_LIVE && order.has_device && order.device.bytes[0] == 1);
	assert_int_equal(
	        watch_order_read(STR("{\"op\":\"subscribe\",\"channel\":\"tasks\",\"since\":7,\"epoch\":\"00000000000001ff\"}"),
	                         &order, why),
	        0);
	assert_true(order.has_since && order.since == 7 && order.epoch == 0x1ff);
	assert_int_equal(watch_order_read(STR("{\"op\":\"subscribe\",\"channel\":\"maps\"}"), &order, why), 0);
	assert_int_equal(order.channel, WATCH_MAPS);
	/* An epoch that cannot be ours: from the beginning. */
	assert_int_equal(
	        watch_order_read(STR("{\"op\":\"subscribe\",\"channel\":\"tasks\",\"since\":7,\"epoch\":\"zz\"}"), &order, why), 0);
	assert_false(order.has_since);
	static const char *const bad[] = {
		"",
		"subscribe",
		"[]",
		"{\"op\":\"subscribe\"}",
		"{\"channel\":\"fleet\"}",
		"{\"op\":\"delete\",\"channel\":\"fleet\"}",
		"{\"op\":\"subscribe\",\"channel\":\"secrets\"}",
		"{\"op\":\"subscribe\",\"channel\":\"fleet\",\"device\":\"0102030405060708090a0b0c0d0e0f10\"}",
		"{\"op\":\"subscribe\",\"channel\":\"live\",\"device\":\"x\"}",
		"{\"op\":\"subscribe\",\"channel\":\"fleet\",\"since\":-1}",
		"{\"op\":\"subscribe\",\"channel\":\"fleet\",\"more\":1}",
	};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		assert_int_equal(watch_order_read(str_from(bad[i]), &order, why), -E_JSON);
}

static void test_description(void **state)
{
	(void)state;
	json_t *document = openapi_document();
	assert_non_null(document);
	size_t n = 0;
	const char *path;
	json_t *methods;
	json_object_foreach(json_object_get(document, "paths"), path, methods) n += json_object_size(methods);
	assert_int_equal(n, n_routes);
	json_decref(document);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table),  cmocka_unit_test(test_find),  cmocka_unit_test(test_statuses),
		cmocka_unit_test(test_accept), cmocka_unit_test(test_order), cmocka_unit_test(test_description),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
