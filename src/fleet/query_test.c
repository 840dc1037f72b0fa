/* The vectors are those of the console too. */
#include "fleet/query.h"

#include <jansson.h>

#include "base/err.h"
#include "base/test.h"

#define DEVICES_MAX 16

struct vectors {
	json_t *root;
	struct device devices[DEVICES_MAX];
	bool online[DEVICES_MAX];
	size_t n;
	int64_t now;
};

static const char *text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));
	assert_non_null(text);
	return text;
}

static void device_of(const json_t *object, struct device *ret)
{
	size_t i;
	json_t *tag;
	struct str number, name = str_cut_last(str_from(text_of(object, "full_name")), '-', &number);
	uint64_t token;
	assert_int_equal(id_parse(str_from(text_of(object, "id")), &ret->id), 0);
	assert_int_equal(str_copy(name, ret->name, sizeof ret->name), 0);
	assert_string_equal(ret->name, text_of(object, "name"));
	assert_int_equal(str_to_u64(number, FLEET_TOKEN_MAX, &token), 0);
	ret->token = (int64_t)token;
	assert_int_equal(str_copy(str_from(text_of(object, "os")), ret->os, sizeof ret->os), 0);
	assert_int_equal(str_copy(str_from(text_of(object, "arch")), ret->arch, sizeof ret->arch), 0);
	assert_int_equal(str_copy(str_from(text_of(object, "version")), ret->version, sizeof ret->version), 0);
	assert_int_equal(str_copy(str_from(text_of(object, "group")), ret->group, sizeof ret->group), 0);
	if (strcmp(text_of(object, "parent"), "server") != 0)
		assert_int_equal(id_parse(str_from(text_of(object, "parent")), &ret->parent), 0);
	ret->last_seen = json_integer_value(json_object_get(object, "last_seen"));
	json_array_foreach(json_object_get(object, "tags"), i, tag)
	        assert_int_equal(fleet_tag_add(ret, str_from(json_string_value(tag))), 0);
}

static int setup(void **state)
{
	static struct vectors vectors;
	char path[512];
	const char *source = getenv("MURMESH_SOURCE");
	size_t i;
	json_t *device;
	snprintf(path, sizeof path, "%s/tests/vectors/query.json", source ? source : "..");
	vectors.root = json_load_file(path, 0, NULL);
	assert_non_null(vectors.root);
	vectors.now = json_integer_value(json_object_get(vectors.root, "now"));
	json_array_foreach(json_object_get(vectors.root, "devices"), i, device)
	{
		device_of(device, &vectors.devices[i]);
		vectors.online[i] = json_is_true(json_object_get(device, "online"));
	}
	vectors.n = i;
	*state = &vectors;
	return 0;
}

static int teardown(void **state)
{
	json_decref(((struct vectors *)*state)->root);
	return 0;
}

static bool lists(const json_t *names, const char *name)
{
	size_t i;
	json_t *at;
	json_array_foreach(names, i, at) if (strcmp(json_string_value(at), name) == 0) return true;
	return false;
}

static void matches(const struct vectors *vectors, const struct fleet_query *query, const json_t *vector)
{
	for (size_t i = 0; i < vectors->n; i++) {
		char name[FLEET_FULL_NAME];
		fleet_full_name(&vectors->devices[i], name);
		bool expected = lists(json_object_get(vector, "match"), name);
		if (fleet_query_matches(query, &vectors->devices[i], vectors->online[i], vectors->now) != expected)
			fail_msg("%s: %s", text_of(vector, "query"), name);
	}
}

static void test_vectors(void **state)
{
	const struct vectors *vectors = *state;
	const json_t *all = json_object_get(vectors->root, "vectors");
	size_t at;
	json_t *vector;
	assert_true(json_array_size(all) > 100);
	json_array_foreach(all, at, vector)
	{
		struct fleet_query_error error = { 0 };
		struct fleet_query query;
		const char *text = text_of(vector, "query");
		const json_t *column = json_object_get(vector, "error_column");
		int err = fleet_query_parse(str_from(text), &query, &error);
		if (err != (column ? -E_QUERY : 0) || (column && error.column != json_integer_value(column)))
			fail_msg("%s: %d, column %u: %s", text, err, error.column, error.what);
		if (!column)
			matches(vectors, &query, vector);
	}
}

/* What the console has no use for, or says in other words. */
static void test_details(void **state)
{
	static const struct {
		const char *query;
		unsigned column; /* 0 = good */
		bool matches;
	} cases[] = {
		{ "q\"b\"", 0, false },
		{ "web\"web\"", 0, true },
		{ "\"web\"web", 0, true },
		{ "not\"web\"", 0, false },
		{ "\tweb\v\f\r\n", 0, true },
		{ "and:", 1, false },
		{ "name:\"", 6, false },
		{ "a or \"", 6, false },
		{ "name:web**1", 0, true },
		{ "name:*e*1", 0, true },
		{ "name:e*1", 0, false },
		{ "name:*eb", 0, false },
		{ "tag:\"\"", 0, false },
		{ "os:\"\"", 0, true },
		{ "\xc3\xbc\xc3\xbc colour:red", 4, false },
		{ "online:y*", 8, false },
		{ "online:", 8, false },
		{ "online:\"\"", 8, false },
		{ "seen:<1000000000s", 6, false },
		{ "seen:<999999999s", 0, true },
		{ "seen:<-2h", 6, false },
		{ "seen:<2ms", 6, false },
		{ "seen:\"<2h\"", 0, true },
		{ "- - -not web", 0, true },
		{ "a))", 2, false },
	};
	const struct vectors *vectors = *state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct fleet_query_error error = { 0 };
		struct fleet_query query;
		int err = fleet_query_parse(str_from(cases[i].query), &query, &error);
		bool found = err == 0 && fleet_query_matches(&query, &vectors->devices[0], true, vectors->now);
		if (err != (cases[i].column ? -E_QUERY : 0) || (err < 0 && error.column != cases[i].column) ||
		    found != cases[i].matches)
			fail_msg("%s: %d, column %u, %d", cases[i].query, err, error.column, found);
	}
}

static void test_not_a_text(void **state)
{
	(void)state;
	struct fleet_query_error error;
	struct fleet_query query;
	assert_int_equal(fleet_query_parse(STR("a\xff"), &query, &error), -E_QUERY);
	assert_int_equal(fleet_query_parse(STR("a\0b"), &query, &error), -E_QUERY);
}

/* Only then the caller has to know who is online. */
static void test_presence(void **state)
{
	(void)state;
	struct fleet_query_error error;
	struct fleet_query query;
	static const struct {
		const char *text;
		bool presence;
	} cases[] = { { "", false }, { "online", false }, { "web or online:yes", true }, { "not seen:<1h", true } };
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		assert_int_equal(fleet_query_parse(str_from(cases[i].text), &query, &error), 0);
		assert_int_equal(query.presence, cases[i].presence);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vectors),
		cmocka_unit_test(test_details),
		cmocka_unit_test(test_not_a_text),
		cmocka_unit_test(test_presence),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
