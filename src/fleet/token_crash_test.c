/* Tokens are never repeated: a program that gives them out is killed after each, and goes on from what is on disk. */
#include <signal.h>
#include <sys/wait.h>

#include "base/test.h"
#include "fleet/fleet.h"
#include "os/fd.h"
#include "store/testing.h"

static int64_t given;

static int token_next(struct store_tx *tx, void *ctx)
{
	(void)ctx;
	return fleet_token_next(tx, STR("web01"), &given);
}

/* Tells each once it is kept; goes on until it is killed, perhaps between the two. */
static void give_out(struct test_store *test, int fd)
{
	assert_int_equal(test_store_reopen(test), 0);
	while (test_run(test, token_next, NULL) == 0 && fd_write_all(fd, &given, sizeof given) == 0)
		;
	_exit(1);
}

static size_t read_all(int fd, int64_t *numbers, size_t most)
{
	size_t n = 0;
	while (n < most && fd_read(fd, &numbers[n], sizeof *numbers) == sizeof *numbers)
		n++;
	return n;
}

static void test_never_repeated(void **state)
{
	static int64_t numbers[100000];
	struct test_store *test = *state;
	int64_t last = 0;
	size_t total = 0;
	test->store = store_free(test->store);
	for (uint64_t kills = test_kills(); kills > 0; kills--) {
		int fds[2];
		assert_int_equal(pipe(fds), 0);
		pid_t child = fork();
		if (child == 0)
			give_out(test, fds[1]);
		assert_true(child > 0);
		close(fds[1]);
		size_t n = read_all(fds[0], numbers, 1);
		kill(child, SIGKILL);
		n += read_all(fds[0], numbers + n, sizeof numbers / sizeof *numbers - n);
		assert_int_equal(waitpid(child, NULL, 0), child);
		close(fds[0]);
		assert_true(n > 0);
		for (size_t i = 0; i < n; i++) {
			assert_true(numbers[i] > last);
			last = numbers[i];
		}
		total += n;
	}
	printf("%zu tokens given out, the last is %lld\n", total, (long long)last);
	assert_int_equal(test_store_reopen(test), 0);
	assert_int_equal(test_run(test, token_next, NULL), 0);
	assert_true(given > last);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test_setup_teardown(test_never_repeated, test_store_setup,
		                                                            test_store_teardown) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
