#include "store/testing.h"

#include "ca/components.h"
#include "enrol.pb.h"

#define NOW 1700000000

static struct component_record component_with(uint8_t number, const char *name)
{
	struct component_record component = { .id = { { number } },
		                              .number = number,
		                              .roles = murmesh_ComponentRole_COMPONENT_LINK,
		                              .address = "edge\033:1",
		                              .created = NOW };
	str_copy(str_from(name), component.name, sizeof component.name);
	return component;
}

static int name_add(void *ctx, const struct component_record *component)
{
	char *names = ctx;
	snprintf(names + strlen(names), 100, "%s%lld ", component->name, (long long)component->number);
	return 0;
}

static int refuse(void *ctx, const struct component_record *component)
{
	(void)ctx;
	(void)component;
	return -E_CANCELLED;
}

static int life(struct store_tx *tx, void *ctx)
{
	const struct id id = { { 2 } }, unknown = { { 9 } };
	struct component_record component = component_with(2, "edge"), read;
	char names[200] = "";
	(void)ctx;
	assert_int_equal(ca_component_add(tx, &component), 0);
	assert_int_equal(ca_component_add(tx, &component), -E_EXISTS);
	component = component_with(1, "edge");
	assert_int_equal(ca_component_add(tx, &component), 0);
	component = component_with(3, "Cellar");
	assert_int_equal(ca_component_add(tx, &component), 0);
	assert_int_equal(ca_component_each(tx, name_add, names), 0);
	assert_string_equal(names, "Cellar3 edge1 edge2 ");
	assert_int_equal(ca_component_each(tx, refuse, NULL), -E_CANCELLED);
	assert_int_equal(ca_component_seen(tx, &id, NOW + 5), 0);
	assert_int_equal(ca_component_get(tx, &id, &read), 0);
	assert_string_equal(read.address, "edge\357\277\275:1");
	assert_int_equal(read.roles, murmesh_ComponentRole_COMPONENT_LINK);
	assert_int_equal(read.created, NOW);
	assert_int_equal(read.last_seen, NOW + 5);
	assert_int_equal(read.revoked, 0);
	assert_int_equal(ca_component_get(tx, &unknown, &read), -E_NOT_FOUND);
	assert_int_equal(ca_component_revoke(tx, &unknown, NOW), -E_NOT_FOUND);
	assert_int_equal(ca_component_revoke(tx, &id, NOW + 6), 0);
	assert_int_equal(ca_component_revoke(tx, &id, NOW + 7), -E_NOT_FOUND);
	assert_int_equal(ca_component_get(tx, &id, &read), 0);
	assert_int_equal(read.revoked, NOW + 6);
	return 0;
}

static int many(struct store_tx *tx, void *ctx)
{
	const struct id first = { { 0, 0, 1 } };
	struct component_record component = component_with(0, "edge");
	(void)ctx;
	for (unsigned i = 0; i < CA_COMPONENTS_MAX; i++) {
		component.id = (struct id){ { (uint8_t)(i >> 8), (uint8_t)i, 1 } };
		assert_int_equal(ca_component_add(tx, &component), 0);
	}
	component.id.bytes[3] = 1;
	assert_int_equal(ca_component_add(tx, &component), -E_LIMIT);
	assert_int_equal(ca_component_revoke(tx, &first, NOW), 0);
	assert_int_equal(ca_component_add(tx, &component), 0);
	return 0;
}

static int each_once(struct store_tx *tx, void *ctx)
{
	const struct id id = { { 1 } };
	const struct component_record component = component_with(1, "edge");
	struct component_record read;
	char names[200] = "";
	(void)ctx;
	int err = ca_component_add(tx, &component);
	if (err == 0)
		err = ca_component_seen(tx, &id, NOW);
	if (err == 0)
		err = ca_component_get(tx, &id, &read);
	if (err == 0)
		err = ca_component_each(tx, name_add, names);
	return err < 0 ? err : ca_component_revoke(tx, &id, NOW);
}

static void test_faults_everywhere(void **state)
{
	(void)state;
	test_faults(&store_schema_server, NULL, each_once, NULL);
}

static void test_life(void **state)
{
	assert_int_equal(test_run(*state, life, NULL), 0);
}

static void test_limit(void **state)
{
	assert_int_equal(test_run(*state, many, NULL), 0);
}

static void test_roles(void **state)
{
	static const char *const wrong[] = { "", "core", "link,", ",link", "link,link", "link relay", "LINK", "link,core" };
	uint32_t roles = 7;
	char text[CA_COMPONENT_ROLES_SIZE];
	(void)state;
	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
		assert_int_equal(ca_component_roles_parse(str_from(wrong[i]), &roles), -E_COMPONENT_ROLE);
		assert_int_equal(roles, 7);
	}
	assert_int_equal(ca_component_roles_parse(STR("relay"), &roles), 0);
	assert_int_equal(roles, murmesh_ComponentRole_COMPONENT_RELAY);
	assert_int_equal(ca_component_roles_parse(STR("relay,link"), &roles), 0);
	assert_string_equal(ca_component_roles_format(roles, text), "link,relay");
	assert_string_equal(ca_component_roles_format(0, text), "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_life, test_store_setup, test_store_teardown),
		cmocka_unit_test_setup_teardown(test_limit, test_store_setup, test_store_teardown),
		cmocka_unit_test(test_roles),
		cmocka_unit_test(test_faults_everywhere),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
