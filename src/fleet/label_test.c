#include "base/err.h"
#include "base/test.h"
#include "fleet/fleet.h"

static void test_groups(void **state)
{
	(void)state;
	char group[FLEET_GROUP_SIZE] = "x", longest[FLEET_GROUP_SIZE + 1];
	assert_int_equal(fleet_group_parse(STR("Web-EU.1"), group), 0);
	assert_string_equal(group, "web-eu.1");
	assert_int_equal(fleet_group_parse(STR("a b"), group), -E_NAME);
	assert_int_equal(fleet_group_parse(STR("-a"), group), -E_NAME);
	assert_string_equal(group, "web-eu.1");
	assert_int_equal(fleet_group_parse(STR(""), group), 0);
	assert_string_equal(group, "");
	memset(longest, 'g', sizeof longest);
	assert_int_equal(fleet_group_parse((struct str){ longest, FLEET_GROUP_SIZE }, group), -E_NAME);
	assert_int_equal(fleet_group_parse((struct str){ longest, FLEET_GROUP_SIZE - 1 }, group), 0);
}

static void test_tags(void **state)
{
	(void)state;
	struct device device = { 0 };
	assert_int_equal(fleet_tag_add(&device, STR("web")), 0);
	assert_int_equal(fleet_tag_add(&device, STR("EU")), 0);
	assert_int_equal(fleet_tag_add(&device, STR("web-old")), 0);
	assert_int_equal(fleet_tag_add(&device, STR("we")), 0);
	assert_string_equal(device.tags, "eu we web web-old");
	assert_int_equal(fleet_tag_add(&device, STR("Web")), 0);
	assert_string_equal(device.tags, "eu we web web-old");
	assert_int_equal(fleet_tag_remove(&device, STR("WEB")), 0);
	assert_string_equal(device.tags, "eu we web-old");
	assert_int_equal(fleet_tag_remove(&device, STR("web")), 0);
	assert_int_equal(fleet_tag_add(&device, STR("a b")), -E_NAME);
	assert_int_equal(fleet_tag_add(&device, STR("")), -E_NAME);
	assert_int_equal(fleet_tag_remove(&device, STR("a*")), -E_NAME);
	assert_string_equal(device.tags, "eu we web-old");
	for (const char *const *tag = (const char *const[]){ "eu", "web-old", "we", NULL }; *tag; tag++)
		assert_int_equal(fleet_tag_remove(&device, str_from(*tag)), 0);
	assert_string_equal(device.tags, "");
}

static void test_most_tags(void **state)
{
	(void)state;
	struct device device = { 0 };
	char tag[FLEET_TAG_SIZE + 1];
	for (int i = 0; i <= FLEET_TAGS_MAX; i++) {
		memset(tag, 'a' + i, sizeof tag);
		assert_int_equal(fleet_tag_add(&device, (struct str){ tag, FLEET_TAG_SIZE }), -E_NAME);
		assert_int_equal(fleet_tag_add(&device, (struct str){ tag, FLEET_TAG_SIZE - 1 }),
		                 i < FLEET_TAGS_MAX ? 0 : -E_LIMIT);
	}
	assert_int_equal(strlen(device.tags), FLEET_TAGS_SIZE - 1);
	memset(tag, 'a', sizeof tag);
	assert_int_equal(fleet_tag_add(&device, (struct str){ tag, FLEET_TAG_SIZE - 1 }), 0); /* it has that one */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_groups),
		cmocka_unit_test(test_tags),
		cmocka_unit_test(test_most_tags),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
