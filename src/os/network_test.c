#include "os/network.h"

#include "base/err.h"
#include "base/test.h"

static void test_check(void **state)
{
	static const char *const good[] = { "192.0.2.0/24",
		                            "192.0.2.7",
		                            "0.0.0.0/0",
		                            "::/0",
		                            "2001:db8::/32",
		                            "::1",
		                            "10.0.0.0/8,192.168.0.0/16",
		                            "10.0.0.0/8 , fd00::/8",
		                            "192.0.2.128/25",
		                            "[2001:db8::]/32",
		                            "192.0.2.7/32" };
	static const char *const bad[] = { "",
		                           "192.0.2.1/24",
		                           "192.0.2.0/33",
		                           "192.0.2.0/",
		                           "192.0.2.0/-1",
		                           "192.0.2.0/8x",
		                           "192.0.2/24",
		                           "/24",
		                           "2001:db8::1/32",
		                           "::/129",
		                           "10.0.0.0/8,",
		                           "10.0.0.0/8,,::/0",
		                           "host",
		                           "192.0.2.0/24/24",
		                           "fe80::1%eth0",
		                           "1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb:cccc" };
	(void)state;
	for (size_t i = 0; i < sizeof good / sizeof *good; i++)
		if (network_ranges_check(str_from(good[i])) != 0)
			fail_msg("%s", good[i]);
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		if (network_ranges_check(str_from(bad[i])) != -E_NETWORK_RANGE)
			fail_msg("%s", bad[i]);
}

static void test_have(void **state)
{
	static const struct {
		const char *ranges, *address;
		bool in;
	} cases[] = {
		{ "192.0.2.0/24", "192.0.2.255", true },
		{ "192.0.2.0/24", "192.0.3.0", false },
		{ "192.0.2.128/25", "192.0.2.127", false },
		{ "192.0.2.128/25", "192.0.2.128", true },
		{ "192.0.2.7", "192.0.2.7", true },
		{ "192.0.2.7", "192.0.2.8", false },
		{ "0.0.0.0/0", "203.0.113.1", true },
		{ "0.0.0.0/0", "2001:db8::1", false },
		{ "::/0", "2001:db8::1", true },
		{ "::/0", "192.0.2.1", false }, /* the other family is said so */
		{ "2001:db8::/33", "[2001:db8:7fff::1]", true },
		{ "2001:db8::/33", "2001:db8:8000::1", false },
		{ "10.0.0.0/8, 192.0.2.0/24", "::ffff:192.0.2.9", true },
		{ "10.0.0.0/8, 192.0.2.0/24", "11.0.0.1", false },
		{ "10.0.0.0/8", "", false },
		{ "10.0.0.0/8", "10.0.0", false },
		{ "", "10.0.0.1", false },
		{ "nothing, 10.0.0.0/8", "10.0.0.1", true },
	};
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		if (network_ranges_have(str_from(cases[i].ranges), str_from(cases[i].address)) != cases[i].in)
			fail_msg("%s: %s", cases[i].ranges, cases[i].address);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_check), cmocka_unit_test(test_have) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
