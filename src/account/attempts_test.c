#include "account/attempts.h"

#include "base/err.h"
#include "io/io.h"
#include "os/testing.h"

#define EACH   2
#define ASKING 3

struct scene {
	struct io_loop *loop;
	struct attempts *attempts;
	struct io_timer *watchdog;
	int fds[2], clients[2]; /* of two addresses */
	struct attempt *waiting[ATTEMPTS_WAITING + 1];
	size_t n_waiting, over;
	uint64_t begun_ms, over_ms;
};

static void on_watchdog(void *ctx)
{
	(void)ctx;
	fail_msg("nobody was answered");
}

static struct scene *scene_open(struct attempts_limits limits)
{
	struct scene *s = calloc(1, sizeof *s);
	s->loop = io_loop_new();
	s->watchdog = io_timer_new(s->loop, on_watchdog, NULL);
	s->attempts = attempts_new(s->loop, limits);
	s->fds[0] = test_connection_from("127.0.0.1", &s->clients[0]);
	s->fds[1] = test_connection_from("::1", &s->clients[1]);
	assert_non_null(s->attempts);
	return s;
}

static void scene_close(struct scene *s)
{
	attempts_free(s->attempts);
	io_timer_free(s->watchdog);
	io_loop_free(s->loop);
	for (size_t i = 0; i < 2; i++) {
		fd_close(s->fds[i]);
		fd_close(s->clients[i]);
	}
	free(s);
}

/* The oldest of those that wait is told. */
static void on_over(void *ctx)
{
	struct scene *s = ctx;
	attempt_release(s->waiting[s->over++]);
	s->over_ms = io_loop_now_ms(s->loop);
	if (s->over == s->n_waiting)
		io_loop_stop(s->loop);
}

static void wait_too(struct scene *s, struct attempt *attempt)
{
	s->waiting[s->n_waiting++] = attempt;
	attempt_wait(attempt, on_over, s);
}

static void run(struct scene *s)
{
	io_timer_start(s->watchdog, 60000, 0);
	io_loop_run(s->loop);
}

static struct attempt *taken(struct scene *s, int fd)
{
	struct attempt *attempt;
	assert_int_equal(attempt_take(s->attempts, fd, &attempt), 0);
	return attempt;
}

static void test_places(void **state)
{
	struct scene *s = scene_open((struct attempts_limits){ ASKING, EACH });
	struct attempt *mine[EACH], *other, *more;
	(void)state;
	for (size_t i = 0; i < EACH; i++)
		mine[i] = taken(s, s->fds[0]);
	assert_int_equal(attempt_take(s->attempts, s->fds[0], &more), -E_BUSY);
	other = taken(s, s->fds[1]);
	assert_int_equal(attempt_take(s->attempts, s->fds[1], &more), -E_BUSY); /* ASKING of all */
	attempt_release(mine[0]);
	mine[0] = taken(s, s->fds[1]);
	assert_int_equal(attempt_take(s->attempts, s->fds[0], &more), -E_BUSY);
	attempt_release(other);
	other = taken(s, s->fds[0]);
	for (size_t i = 0; i < EACH; i++)
		attempt_release(mine[i]);
	attempt_release(other);
	attempt_release(NULL);
	assert_int_equal(attempt_take(s->attempts, -1, &more), -E_CLOSED);
	scene_close(s);
}

/* Its place among those of its address a failure keeps until it is told, that among those who ask it leaves. */
static void test_failures_wait(void **state)
{
	struct scene *s = scene_open((struct attempts_limits){ EACH, EACH });
	struct attempt *more;
	(void)state;
	for (size_t i = 0; i < EACH; i++)
		wait_too(s, taken(s, s->fds[0]));
	assert_int_equal(attempt_take(s->attempts, s->fds[0], &more), -E_BUSY);
	attempt_release(taken(s, s->fds[1]));
	s->begun_ms = io_loop_now_ms(s->loop);
	run(s);
	assert_int_equal(s->over, EACH);
	assert_true(s->over_ms >= s->begun_ms + ATTEMPT_WAIT_MS);
	wait_too(s, taken(s, s->fds[0])); /* the timer runs again for those who come later */
	run(s);
	assert_int_equal(s->over, EACH + 1);
	scene_close(s);
}

static void test_those_who_wait_are_bounded(void **state)
{
	struct scene *s = scene_open((struct attempts_limits){ 1, 2 * ATTEMPTS_WAITING });
	struct attempt *more;
	(void)state;
	for (size_t i = 0; i < ATTEMPTS_WAITING; i++)
		wait_too(s, taken(s, s->fds[0]));
	assert_int_equal(attempt_take(s->attempts, s->fds[1], &more), -E_BUSY);
	s->attempts = attempts_free(s->attempts); /* all are told at once */
	assert_int_equal(s->over, ATTEMPTS_WAITING);
	scene_close(s);
}

static int take_one(void *ctx)
{
	struct scene *s = ctx;
	struct attempt *attempt;
	struct attempts *attempts = attempts_new(s->loop, (struct attempts_limits){ 1, 1 });
	int err = attempts ? attempt_take(attempts, s->fds[0], &attempt) : -E_NO_MEMORY;
	if (err == 0)
		attempt_release(attempt);
	attempts_free(attempts);
	return err;
}

static void test_no_memory(void **state)
{
	struct scene *s = scene_open((struct attempts_limits){ 1, 1 });
	(void)state;
	assert_true(test_each_fault(take_one, s) >= 3);
	scene_close(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_places),
		cmocka_unit_test(test_failures_wait),
		cmocka_unit_test(test_those_who_wait_are_bounded),
		cmocka_unit_test(test_no_memory),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
