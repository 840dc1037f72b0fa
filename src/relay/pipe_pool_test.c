#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants those first */
#include <cmocka.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/fault.h"
#include "relay/pipe_pool.h"

static void large_first_then_small_then_none(void **state)
{
	struct pipe_pool pool;
	(void)state;
	pipe_pool_init(&pool, 1, 1);
	struct pipe *large = pipe_take(&pool), *small = pipe_take(&pool);
	assert_int_equal(large->size, PIPE_LARGE);
	assert_int_equal(fcntl(large->read, F_GETPIPE_SZ), PIPE_LARGE);
	assert_int_equal(small->size, PIPE_SMALL);
	assert_null(pipe_take(&pool));
	assert_int_equal(pipe_pool_count(&pool), 2);
	pipe_give(small);
	assert_ptr_equal(pipe_take(&pool), small);
	pipe_give(large);
	assert_ptr_equal(pipe_take(&pool), large);
	pipe_give(large);
	pipe_give(small);
	pipe_pool_done(&pool);
	assert_int_equal(pipe_pool_count(&pool), 0);
}

static void dropped_ones_are_replaced(void **state)
{
	struct pipe_pool pool;
	char byte;
	(void)state;
	pipe_pool_init(&pool, 1, 0);
	struct pipe *pipe = pipe_take(&pool);
	assert_int_equal(write(pipe->write, "x", 1), 1);
	pipe_drop(pipe);
	assert_int_equal(pipe_pool_count(&pool), 0);
	pipe = pipe_take(&pool);
	assert_non_null(pipe);
	assert_int_equal(read(pipe->read, &byte, 1), -1); /* empty, and does not block */
	pipe_give(pipe);
	pipe_pool_done(&pool);
}

/* What the kernel refuses once is not asked for again; the pool goes on with what it has. */
static void refused_sizes(void **state)
{
	enum { ALLOCATION = 1, PIPE, RESIZE };
	struct pipe_pool pool;
	(void)state;
	pipe_pool_init(&pool, 3, 3);
	struct pipe *large = pipe_take(&pool);
	fault_arm(RESIZE);
	struct pipe *small = pipe_take(&pool);
	assert_int_equal(small->size, PIPE_SMALL);
	struct pipe *another = pipe_take(&pool);
	assert_int_equal(another->size, PIPE_SMALL);
	pipe_give(large);
	assert_ptr_equal(pipe_take(&pool), large);
	pipe_give(large);
	pipe_give(small);
	pipe_give(another);
	pipe_pool_done(&pool);
}

/* No memory, no descriptor: the next size is tried, and the same one later. */
static void passing_shortage(void **state)
{
	struct pipe_pool pool;
	(void)state;
	for (long n = 1; n <= 2; n++) {
		pipe_pool_init(&pool, 1, 0);
		fault_arm(n);
		assert_null(pipe_take(&pool));
		assert_false(fault_armed());
		struct pipe *pipe = pipe_take(&pool);
		assert_int_equal(pipe->size, PIPE_LARGE);
		pipe_give(pipe);
		pipe_pool_done(&pool);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(large_first_then_small_then_none),
		cmocka_unit_test(dropped_ones_are_replaced),
		cmocka_unit_test(refused_sizes),
		cmocka_unit_test(passing_shortage),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
