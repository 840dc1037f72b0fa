#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "base/id.h"
#include "base/test.h"
#include "os/random.h"

static void test_bytes(void **state)
{
	(void)state;
	uint8_t bytes[2][100000] = { 0 };
	random_bytes(bytes[0], sizeof bytes[0]); /* more than one call gives */
	random_bytes(bytes[1], sizeof bytes[1]);
	assert_memory_not_equal(bytes[0], bytes[1], 64);
	assert_memory_not_equal(bytes[0] + sizeof bytes[0] - 64, bytes[1] + sizeof bytes[1] - 64, 64);
	struct id a, b;
	random_id(&a);
	random_id(&b);
	assert_false(id_equal(&a, &b));
	uint8_t guard[2] = { 7, 7 };
	random_bytes(guard, 0);
	assert_int_equal(guard[0], 7);
}

static void test_below(void **state)
{
	(void)state;
	unsigned seen[5] = { 0 };
	assert_int_equal(random_below(1), 0);
	for (int i = 0; i < 1000; i++)
		seen[random_below(5)]++;
	for (int i = 0; i < 5; i++)
		assert_true(seen[i] > 50);       /* 200 expected; less than 50 once in 10^40 runs */
	const uint64_t large = (1ull << 63) + 1; /* nearly half of all values have to be drawn again */
	bool upper = false;
	for (int i = 0; i < 200; i++) {
		uint64_t value = random_below(large);
		assert_true(value < large);
		upper = upper || value >= large / 2;
	}
	assert_true(upper);
}

static int without_randomness(void *ctx)
{
	struct sock_filter rules[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getrandom, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | 38),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	const struct sock_fprog filter = { sizeof rules / sizeof *rules, rules };
	const struct rlimit no_core = { 0, 0 };
	(void)ctx;
	setrlimit(RLIMIT_CORE, &no_core);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) < 0)
		return 1;
	char byte;
	close(2);
	random_bytes(&byte, 1);
	return 2;
}

static void test_ends_the_process_without(void **state)
{
	(void)state;
	assert_int_equal(test_in_child(without_randomness, NULL), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bytes),
		cmocka_unit_test(test_below),
		cmocka_unit_test(test_ends_the_process_without),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
