#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>

#include "base/id.h"
#include "base/test.h"
#include "os/random.h"

static void interrupt(int number)
{
	(void)number;
}

static void test_bytes(void **state)
{
	(void)state;
	const size_t many = 16 << 20;
	const struct itimerval often = { { 0, 1000 }, { 0, 1000 } }, never = { 0 };
	static const uint8_t zeros[32];
	uint8_t *bytes = calloc(1, many), other[32];
	sigaction(SIGALRM, &(struct sigaction){ .sa_handler = interrupt }, NULL);
	setitimer(ITIMER_REAL, &often, NULL); /* a signal makes the kernel give less than asked for */
	random_bytes(bytes, many);
	setitimer(ITIMER_REAL, &never, NULL);
	random_bytes(other, sizeof other);
	assert_memory_not_equal(bytes, other, sizeof other);
	assert_memory_not_equal(bytes + many - sizeof zeros, zeros, sizeof zeros);
	free(bytes);
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
		assert_true(seen[i] > 50); /* 200 expected; less than 50 once in 10^40 runs */
	/* A quarter of all values has to be drawn again, or the lower third would come half of the time. */
	const uint64_t large = 3ull << 62;
	int lower = 0;
	for (int i = 0; i < 3000; i++) {
		uint64_t value = random_below(large);
		assert_true(value < large);
		lower += value < large / 3;
	}
	assert_in_range(lower, 750, 1250); /* ten standard deviations */
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
