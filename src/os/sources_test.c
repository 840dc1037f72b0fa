#include "os/sources.h"

#include "base/err.h"
#include "base/test.h"
#include "os/fd.h"
#include "os/testing.h"

static const uint8_t seed[16] = { 1 };

static void test_limit(void **state)
{
	struct sources *sources = sources_new(seed, 2, (struct sources_limits){ .each = 1, .loopback = 2 });
	struct source *first, *second, *more;
	int client, fd = test_connection_from("127.0.0.1", &client);
	(void)state;
	assert_int_equal(sources_take(sources, fd, &first), 0);
	assert_int_equal(sources_take(sources, fd, &second), 0);
	assert_ptr_equal(first, second);
	assert_int_equal(sources_take(sources, fd, &more), -E_LIMIT);
	assert_null(more);
	sources_release(sources, first);
	assert_int_equal(sources_take(sources, fd, &more), 0);
	sources_release(sources, second);
	sources_release(sources, more);
	sources_release(sources, NULL);
	sources_free(sources);
	fd_close(fd);
	fd_close(client);
}

static void test_room(void **state)
{
	struct sources *sources = sources_new(seed, 1, (struct sources_limits){ 1, 1 });
	struct source *first, *other;
	int clients[2], fds[2] = { test_connection_from("127.0.0.1", &clients[0]), test_connection_from("::1", &clients[1]) };
	(void)state;
	assert_int_equal(sources_take(sources, fds[0], &first), 0);
	assert_int_equal(sources_take(sources, fds[1], &other), -E_FULL);
	sources_release(sources, first);
	assert_int_equal(sources_take(sources, fds[1], &other), 0);
	sources_release(sources, other);
	assert_int_equal(sources_take(sources, -1, &other), -E_CLOSED);
	assert_null(other);
	sources_free(sources);
	for (size_t i = 0; i < 2; i++) {
		fd_close(fds[i]);
		fd_close(clients[i]);
	}
}

static int take(void *ctx)
{
	struct source *source = NULL;
	struct sources *sources = sources_new(seed, 4, (struct sources_limits){ 1, 1 });
	int err = sources ? sources_take(sources, *(int *)ctx, &source) : -E_NO_MEMORY;
	sources_release(sources, source);
	sources_free(sources);
	return err;
}

static void test_memory(void **state)
{
	int client, fd = test_connection_from("127.0.0.1", &client);
	(void)state;
	assert_true(test_each_fault(take, &fd) > 0);
	fd_close(fd);
	fd_close(client);
}

int main(void)
{
	static const struct CMUnitTest tests[] = { cmocka_unit_test(test_limit), cmocka_unit_test(test_room),
		                                   cmocka_unit_test(test_memory) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
