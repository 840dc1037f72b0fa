/* Standard input and output are pipes of a process of the test's own; the stream's other end is held by the same process. */
#include "cli/standard.h"

#include <signal.h>

#include "base/err.h"
#include "base/test.h"
#include "os/fd.h"
#include "tunnel/test_end.h"

#define ANSWER 30000 /* bytes: a pipe takes them while nobody reads */

enum { GOOD, FAILED, WRONG, HUNG };

struct world {
	struct test_loop t;
	struct test_end far;
	struct standard *standard;
	int out; /* what standard output leads to */
	bool ended, closed_output;
	int err;
};

static void on_ended(void *ctx, int err)
{
	struct world *world = ctx;
	world->ended = true;
	world->err = err;
	io_loop_stop(world->t.loop);
}

static void pipes_make(struct world *world, bool closed_output)
{
	int in[2], out[2];
	if (pipe(in) < 0 || pipe(out) < 0 || write(in[1], "hello", 5) != 5)
		exit(WRONG);
	dup2(in[0], STDIN_FILENO);
	dup2(out[1], STDOUT_FILENO);
	close(in[0]);
	close(in[1]);
	close(out[1]);
	world->out = out[0];
	if (closed_output)
		world->out = fd_close(out[0]);
}

static int world_open(struct world *world)
{
	static const struct stream_events none = { 0 };
	int pair[2] = { -1, -1 };
	int err = test_loop_open(&world->t);
	if (err == 0)
		err = test_pair(pair);
	if (err < 0)
		return err;
	const struct stream_settings far = { .fd = pair[0], .connecting = true }, near = { .fd = pair[1] };
	world->far = (struct test_end){ .to_send = ANSWER, .closes = true, .keeps = true };
	err = test_end_open(&world->far, &world->t, &far);
	struct stream *stream = err < 0 ? NULL : stream_new(world->t.loop, &near, &none, NULL);
	world->standard = stream ? standard_new(world->t.loop, stream, on_ended, world) : NULL;
	return world->standard ? 0 : -E_NO_MEMORY;
}

static bool all_came(struct world *world)
{
	static char bytes[ANSWER + 1];
	ssize_t n = 0, all = 0;
	while ((n = read(world->out, bytes + all, sizeof bytes - (size_t)all)) > 0)
		all += n;
	return n == 0 && all == ANSWER && world->far.eof && str_is(buf_str(&world->far.kept), "hello");
}

static int exchange(struct world *world)
{
	if (world_open(world) < 0)
		return FAILED;
	while (!world->ended) {
		io_loop_run(world->t.loop);
		if (world->t.hung)
			return HUNG;
		if (world->far.err && world->far.stream)
			test_end_reset(&world->far); /* that is what the other side is told */
	}
	world->standard = standard_free(world->standard);
	if (world->err < 0 || world->far.err || world->far.wrong) /* wrong: its own memory was short */
		return FAILED;
	while (!world->far.eof && !world->far.err)
		io_loop_run(world->t.loop);
	return all_came(world) ? GOOD : WRONG;
}

static int run_with_fault(void *ctx)
{
	struct world world = { .out = -1 };
	pipes_make(&world, false);
	fault_arm(*(const long *)ctx);
	int result = exchange(&world);
	bool passed = fault_armed();
	fault_arm(0);
	return result == GOOD && !passed ? FAILED : result;
}

/* Both directions and their ends; whatever fails, it is over, and never looks whole when it is not. */
static void test_faults(void **state)
{
	(void)state;
	for (long n = 1;; n++) {
		int result = test_in_child(run_with_fault, &n);
		assert_true(result == GOOD || result == FAILED);
		if (result == FAILED)
			continue;
		assert_true(n > 10);
		return;
	}
}

static int run_without_reader(void *ctx)
{
	struct world world = { .out = -1 };
	(void)ctx;
	signal(SIGPIPE, SIG_IGN);
	pipes_make(&world, true);
	return exchange(&world);
}

static void test_output_gone(void **state)
{
	(void)state;
	assert_int_equal(test_in_child(run_without_reader, NULL), FAILED);
	assert_null(standard_free(NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_faults),
		cmocka_unit_test(test_output_gone),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
