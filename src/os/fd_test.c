#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "base/err.h"
#include "base/test.h"
#include "os/fd.h"

static void close_both(const int pair[2])
{
	fd_close(pair[0]);
	fd_close(pair[1]);
}

static void test_flags(void **state)
{
	(void)state;
	int pair[2];
	assert_int_equal(fd_pair_stream(pair), 0);
	for (int i = 0; i < 2; i++) {
		assert_true(fcntl(pair[i], F_GETFL) & O_NONBLOCK);
		assert_true(fcntl(pair[i], F_GETFD) & FD_CLOEXEC);
	}
	assert_int_equal(fd_set_inherit(pair[0], true), 0);
	assert_int_equal(fcntl(pair[0], F_GETFD), 0);
	assert_int_equal(fd_set_inherit(pair[0], false), 0);
	assert_int_equal(fcntl(pair[0], F_GETFD), FD_CLOEXEC);
	close_both(pair);

	assert_int_equal(pipe(pair), 0);
	assert_int_equal(fd_set_nonblocking(pair[0]), 0);
	assert_int_equal(fd_read(pair[0], &(char){ 0 }, 1), -EAGAIN);
	assert_int_equal(fd_read_at(pair[0], 0, &(char){ 0 }, 1), -ESPIPE);
	close_both(pair);
	assert_int_equal(fd_close(-1), -1);
	assert_int_equal(fd_set_nonblocking(-1), -EBADF);
	assert_int_equal(fd_set_inherit(-1, true), -EBADF);
	assert_int_equal(fd_read(-1, NULL, 0), -EBADF);
	assert_int_equal(fd_read_at(-1, 0, NULL, 0), -EBADF);
	assert_int_equal(fd_write(-1, "", 1), -EBADF);
}

static void test_stream(void **state)
{
	(void)state;
	int pair[2];
	char bytes[8];
	assert_int_equal(fd_pair_stream(pair), 0);
	assert_int_equal(fd_read(pair[0], bytes, sizeof bytes), -EAGAIN);
	assert_int_equal(fd_write(pair[1], "abc", 3), 3);
	assert_int_equal(fd_write(pair[1], "de", 2), 2);
	assert_int_equal(fd_read(pair[0], bytes, sizeof bytes), 5);
	assert_memory_equal(bytes, "abcde", 5);
	char *large = calloc(1, 4 << 20);
	assert_int_equal(fd_write_all(pair[1], large, 4 << 20), -EAGAIN);
	free(large);
	pair[0] = fd_close(pair[0]);
	assert_int_equal(fd_write(pair[1], "abc", 3), -EPIPE); /* and no SIGPIPE */
	close_both(pair);
}

static void *drain(void *ctx)
{
	char bytes[1000];
	size_t total = 0;
	for (ssize_t n; (n = fd_read(*(int *)ctx, bytes, sizeof bytes)) > 0;)
		total += (size_t)n;
	return (void *)total;
}

static void test_write_all(void **state)
{
	(void)state;
	int pairs[2][2];
	char *large = calloc(1, 1 << 20);
	assert_int_equal(pipe(pairs[0]), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pairs[1]), 0);
	for (int i = 0; i < 2; i++) {
		pthread_t thread;
		void *total;
		assert_int_equal(pthread_create(&thread, NULL, drain, &pairs[i][0]), 0);
		assert_int_equal(fd_write_all(pairs[i][1], large, 1 << 20), 0);
		pairs[i][1] = fd_close(pairs[i][1]);
		assert_int_equal(pthread_join(thread, &total), 0);
		assert_int_equal((size_t)total, 1 << 20);
		close_both(pairs[i]);
	}
	free(large);
}

static bool same_file(int a, int b)
{
	struct stat x, y;
	return fstat(a, &x) == 0 && fstat(b, &y) == 0 && x.st_ino == y.st_ino && x.st_dev == y.st_dev;
}

static void test_passes_descriptors(void **state)
{
	(void)state;
	int pair[2], pipes[2][2], got[FD_PASS_MAX];
	size_t n, before = test_descriptors();
	char text[16];
	assert_int_equal(fd_pair_packet(pair), 0);
	assert_int_equal(pipe(pipes[0]), 0);
	assert_int_equal(pipe(pipes[1]), 0);
	const int sent[] = { pipes[0][0], pipes[0][1], pipes[1][0], pipes[1][1] };
	assert_int_equal(fd_send(pair[0], "four", 4, sent, 4), 0);
	assert_int_equal(fd_send(pair[0], "none", 4, NULL, 0), 0);
	assert_int_equal(fd_send(pair[0], "one", 3, sent + 2, 1), 0);
	close_both(pipes[0]);

	assert_int_equal(fd_receive(pair[1], text, sizeof text, got, &n), 4);
	assert_memory_equal(text, "four", 4);
	assert_int_equal(n, 4);
	assert_true(same_file(got[2], pipes[1][0]) && same_file(got[3], pipes[1][1]));
	assert_int_equal(fcntl(got[0], F_GETFD), FD_CLOEXEC);
	assert_int_equal(fd_write(got[1], "x", 1), 1); /* lives on though the sender closed its own */
	assert_int_equal(fd_read(got[0], text, sizeof text), 1);
	while (n)
		fd_close(got[--n]);
	assert_int_equal(fd_receive(pair[1], text, sizeof text, got, &n), 4);
	assert_int_equal(n, 0);
	assert_int_equal(fd_receive(pair[1], text, sizeof text, got, &n), 3);
	assert_int_equal(n, 1);
	assert_true(same_file(got[0], pipes[1][0]));
	fd_close(got[0]);
	assert_int_equal(fd_receive(pair[1], text, sizeof text, got, &n), -EAGAIN);
	pair[0] = fd_close(pair[0]);
	assert_int_equal(fd_receive(pair[1], text, sizeof text, got, &n), 0);
	assert_int_equal(n, 0);
	assert_int_equal(fd_send(pair[1], "x", 1, NULL, 0), -EPIPE);
	close_both(pair);
	close_both(pipes[1]);
	assert_int_equal(test_descriptors(), before);
}

static void test_pass_limits(void **state)
{
	(void)state;
	int pair[2], got[FD_PASS_MAX];
	const int five[5] = { 0, 0, 0, 0, 0 };
	static char large[(64 << 10) + 1];
	size_t n, before;
	assert_int_equal(fd_pair_packet(pair), 0);
	before = test_descriptors();
	assert_int_equal(fd_send(pair[0], "", 0, NULL, 0), -E_SHORT);
	assert_int_equal(fd_send(pair[0], "x", 1, five, 5), -E_TOO_LONG);
	assert_int_equal(fd_send(pair[0], large, sizeof large, NULL, 0), -E_TOO_LONG);
	assert_int_equal(fd_send(pair[0], "x", 1, (int[]){ -1 }, 1), -EBADF);
	assert_int_equal(fd_send(pair[0], large, sizeof large - 1, five, 4), 0);
	assert_int_equal(fd_receive(pair[1], large, sizeof large, got, &n), sizeof large - 1);
	assert_int_equal(n, 4);
	while (n)
		fd_close(got[--n]);

	/* Longer than the room for it: nothing of it is kept. */
	assert_int_equal(fd_send(pair[0], "abcdef", 6, five, 2), 0);
	assert_int_equal(fd_receive(pair[1], large, 5, got, &n), -E_TOO_LONG);
	assert_int_equal(n, 0);
	assert_int_equal(test_descriptors(), before);

	/* A sender that does not keep to the limit. */
	union {
		struct cmsghdr header;
		char room[CMSG_SPACE(sizeof five)];
	} control = { .header = { CMSG_LEN(sizeof five), SOL_SOCKET, SCM_RIGHTS } };
	memcpy(CMSG_DATA(&control.header), five, sizeof five);
	struct iovec part = { large, 3 };
	const struct msghdr message = {
		.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control
	};
	assert_int_equal(sendmsg(pair[0], &message, 0), 3);
	assert_int_equal(fd_receive(pair[1], large, sizeof large, got, &n), -EMFILE);
	assert_int_equal(n, 0);
	assert_int_equal(test_descriptors(), before);

	/* No descriptors left here. */
	struct rlimit limit, low;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	int lowest = dup(0);
	fd_close(lowest);
	low = (struct rlimit){ (rlim_t)lowest, limit.rlim_max };
	assert_int_equal(fd_send(pair[0], "abc", 3, five, 2), 0);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
	ssize_t received = fd_receive(pair[1], large, sizeof large, got, &n);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	assert_int_equal(received, -EMFILE);
	assert_int_equal(n, 0);
	assert_int_equal(test_descriptors(), before);
	close_both(pair);
}

static void test_pass_queue_full(void **state)
{
	(void)state;
	int pair[2], got[FD_PASS_MAX], queued = 0, err;
	size_t n;
	char number[4];
	assert_int_equal(fd_pair_packet(pair), 0);
	while ((err = fd_send(pair[0], &queued, sizeof queued, pair, 1)) == 0)
		queued++;
	assert_int_equal(err, -EAGAIN);
	assert_true(queued > 10);
	for (int i = 0; i < queued; i++) {
		assert_int_equal(fd_receive(pair[1], number, sizeof number, got, &n), sizeof number);
		assert_memory_equal(number, &i, sizeof i);
		fd_close(got[0]);
	}
	assert_int_equal(fd_send(pair[0], "x", 1, pair, 1), 0);
	close_both(pair);
}

/* An ordinary user's descriptors in flight are counted against its limit: the queue is full then too. */
static int send_as_user(void *ctx)
{
	int pair[2], err, queued = 0;
	(void)ctx;
	if (getuid() == 0 && setuid(65534) < 0)
		return 1;
	if (fd_pair_packet(pair) < 0 || setrlimit(RLIMIT_NOFILE, &(struct rlimit){ 20, 20 }) < 0)
		return 2;
	while ((err = fd_send(pair[0], "x", 1, pair, 1)) == 0)
		queued++;
	_exit(err == -EAGAIN && queued >= 15 && queued <= 30 ? 0 : 3);
}

static void test_too_many_in_flight(void **state)
{
	(void)state;
	assert_int_equal(test_in_child(send_as_user, NULL), 0);
}

static int limit_raise(void *ctx)
{
	struct rlimit limit;
	(void)ctx;
	if (setrlimit(RLIMIT_NOFILE, &(struct rlimit){ 50, 100 }) < 0)
		return 1;
	fault_arm(1);
	if (fd_limit_raise() != 0)
		return 2;
	fault_arm(2);
	if (fd_limit_raise() != 50)
		return 3;
	if (fd_limit_raise() != 100 || fd_limit_raise() != 100)
		return 4;
	return getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur == 100 ? 0 : 5;
}

static void test_limit_raise(void **state)
{
	(void)state;
	assert_int_equal(test_in_child(limit_raise, NULL), 0);
}

/* In a child that has files 3 to 9. */
struct arrangement {
	int fds[5];
	size_t n;
	int free; /* how many of the wanted numbers are free */
};

static int arrange(void *ctx)
{
	const struct arrangement *wanted = ctx;
	struct stat files[10], moved;
	for (int fd = 3; fd < 10; fd++) {
		int pair[2];
		if (pipe(pair) < 0 || dup2(pair[1], 100 + fd) < 0)
			return 1;
		close_both(pair);
	}
	for (int fd = 3; fd < 10; fd++)
		if (dup2(100 + fd, fd) < 0 || close(100 + fd) < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) < 0 ||
		    fstat(fd, &files[fd]) < 0)
			return 2;
	for (int i = 0; i < wanted->free; i++)
		close(3 + i);
	int err = fd_arrange(wanted->fds, wanted->n);
	if (err < 0)
		return fstat(9, &moved) == 0 ? 100 - err : 3;
	for (int i = 0; i < (int)wanted->n; i++)
		if (fstat(3 + i, &moved) < 0 || moved.st_ino != files[wanted->fds[i]].st_ino || fcntl(3 + i, F_GETFD) != 0)
			return 4;
	for (int fd = 3 + (int)wanted->n; fd < 200; fd++)
		if (fcntl(fd, F_GETFD) >= 0)
			return 5;
	return fcntl(2, F_GETFD) < 0 ? 6 : 0;
}

static void test_arranges(void **state)
{
	static struct arrangement rows[] = {
		{ { 0 }, 0 },
		{ { 3 }, 1 },
		{ { 4, 3 }, 2 },
		{ { 9, 8, 7, 6, 5 }, 5 },
		{ { 4, 5, 6, 7, 3 }, 5 },
		{ { 3, 3, 3 }, 3 },
		{ { 5, 5, 3, 4 }, 4 },
		{ { 3, 4, 5, 6, 7 }, 5 },
		{ { 8, 9 }, 2, 2 },
		{ { 9, 5, 8 }, 3, 2 },
	};
	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		assert_int_equal(test_in_child(arrange, &rows[i]), 0);
	assert_int_equal(test_in_child(arrange, &(struct arrangement){ { 3, 77 }, 2 }), 100 + EBADF);
	static const int many[FD_ARRANGE_MAX + 1];
	assert_int_equal(fd_arrange(many, FD_ARRANGE_MAX + 1), -E_TOO_LONG);
}

static int arrange_with_faults(void *ctx)
{
	struct arrangement swap = { { 4, 3 }, 2 };
	fault_arm(*(long *)ctx);
	return arrange(&swap);
}

static void test_arranges_with_faults(void **state)
{
	(void)state;
	for (long n = 1; n <= 4; n++) /* two copies, two moves */
		assert_int_equal(test_in_child(arrange_with_faults, &n), 100 + EMFILE);
	assert_int_equal(test_in_child(arrange_with_faults, &(long){ 5 }), 0); /* no close_range(2): one by one */
}

static int use_pairs(void *ctx)
{
	int pair[2], got[FD_PASS_MAX];
	size_t n = 0;
	char text[4];
	int err = ctx ? fd_pair_packet(pair) : fd_pair_stream(pair);
	if (err < 0)
		return err;
	if (err == 0)
		err = fd_set_nonblocking(pair[0]);
	if (err == 0)
		err = fd_set_inherit(pair[0], true);
	if (err == 0)
		err = ctx ? fd_send(pair[0], "abc", 3, pair, 2) : fd_write_all(pair[0], "abc", 3);
	if (err == 0)
		err = ctx ? (int)fd_receive(pair[1], text, sizeof text, got, &n) : (int)fd_read(pair[1], text, sizeof text);
	while (n)
		fd_close(got[--n]);
	close_both(pair);
	return err;
}

static int write_pipe(void *ctx)
{
	int pair[2];
	(void)ctx;
	assert_int_equal(pipe(pair), 0);
	int err = fd_write_all(pair[1], "abc", 3);
	close_both(pair);
	return err;
}

static void test_faults(void **state)
{
	(void)state;
	assert_int_equal(test_each_fault(use_pairs, NULL), 6);
	assert_int_equal(test_each_fault(use_pairs, &(int){ 0 }), 6);
	assert_int_equal(test_each_fault(write_pipe, NULL), 2);
}

/* What is opened next must not become standard input. */
static void test_standard(void **state)
{
	(void)state;
	int kept = dup(STDIN_FILENO);
	assert_true(kept > STDERR_FILENO);
	assert_int_equal(close(STDIN_FILENO), 0);
	fd_standard_open();
	int next = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	uint8_t byte = 1;
	assert_true(next > STDERR_FILENO);
	assert_int_equal(fd_read(STDIN_FILENO, &byte, 1), 0); /* /dev/null is at its end */
	assert_int_equal(dup2(kept, STDIN_FILENO), STDIN_FILENO);
	fd_close(next);
	fd_close(kept);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_standard),
		cmocka_unit_test(test_flags),
		cmocka_unit_test(test_stream),
		cmocka_unit_test(test_write_all),
		cmocka_unit_test(test_passes_descriptors),
		cmocka_unit_test(test_pass_limits),
		cmocka_unit_test(test_pass_queue_full),
		cmocka_unit_test(test_too_many_in_flight),
		cmocka_unit_test(test_limit_raise),
		cmocka_unit_test(test_arranges),
		cmocka_unit_test(test_arranges_with_faults),
		cmocka_unit_test(test_faults),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
