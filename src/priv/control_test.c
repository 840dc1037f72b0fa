#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/fault.h"
#include "priv/control.h"

static const struct control_start sample = {
	.forbidden_call = true,
	.uid = 61001,
	.monitor = 4711,
	.directory = { "/var/lib/x", 10 },
	.root = { "/run/empty", 10 },
	.configuration = { "a\0b", 3 },
};

static void test_round_trip(void **state)
{
	struct buf packet;
	struct control_start start;
	(void)state;
	buf_init(&packet, CONTROL_START_MAX);
	assert_int_equal(control_start_encode(&sample, &packet), 0);
	assert_int_equal(control_start_decode(buf_str(&packet), &start), 0);
	assert_true(start.forbidden_call);
	assert_int_equal(start.uid, 61001);
	assert_int_equal(start.monitor, 4711);
	assert_true(str_equal(start.directory, sample.directory));
	assert_true(str_equal(start.root, sample.root));
	assert_true(str_equal(start.configuration, sample.configuration));
	buf_done(&packet);
}

static void test_cut_short(void **state)
{
	struct buf packet;
	struct control_start start = { .uid = 7 };
	(void)state;
	buf_init(&packet, CONTROL_START_MAX);
	assert_int_equal(control_start_encode(&sample, &packet), 0);
	for (size_t len = 0; len < buf_len(&packet) - sample.configuration.len; len++)
		assert_int_equal(control_start_decode((struct str){ buf_str(&packet).ptr, len }, &start), -E_MESSAGE);
	assert_int_equal(start.uid, 7);
	buf_done(&packet);
}

static void test_limits(void **state)
{
	static char long_path[CONTROL_DIRECTORY_MAX + 1];
	static char long_configuration[CONTROL_CONFIGURATION_MAX];
	struct control_start start = { .root = { long_path, sizeof long_path } };
	struct buf packet;
	(void)state;
	buf_init(&packet, CONTROL_START_MAX);
	assert_int_equal(control_start_encode(&start, &packet), -E_TOO_LONG);
	start.root.len = start.directory.len = CONTROL_DIRECTORY_MAX;
	start.directory.ptr = long_path;
	start.configuration = (struct str){ long_configuration, sizeof long_configuration };
	assert_int_equal(control_start_encode(&start, &packet), 0);
	buf_done(&packet);
}

static void test_memory_short(void **state)
{
	(void)state;
	for (long n = 1;; n++) {
		struct buf packet;
		buf_init(&packet, CONTROL_START_MAX);
		fault_arm(n);
		int err = control_start_encode(&sample, &packet);
		bool beyond = fault_armed();
		fault_arm(0);
		buf_done(&packet);
		if (beyond) {
			assert_int_equal(err, 0);
			break;
		}
		assert_int_equal(err, -E_NO_MEMORY);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_cut_short),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_memory_short),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
