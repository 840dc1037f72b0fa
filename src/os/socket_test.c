#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/un.h>

#include "base/err.h"
#include "base/test.h"
#include "os/fd.h"
#include "os/file.h"
#include "os/socket.h"

static char path_room[4][1024];

/* Up to four paths below the test's directory at once. */
static const char *below(void **state, const char *name)
{
	static unsigned next;
	char *path = path_room[next++ % 4];
	assert_int_equal(file_path(path, sizeof path_room[0], *state, name), 0);
	return path;
}

static struct socket_address address_of(const char *host, uint16_t port)
{
	struct socket_address address;
	assert_int_equal(socket_address_parse(str_from(host), port, &address), 0);
	return address;
}

static void wait_for(int fd, short events)
{
	struct pollfd wanted = { .fd = fd, .events = events };
	assert_int_equal(poll(&wanted, 1, 30000), 1);
}

static int accept_one(int listener)
{
	wait_for(listener, POLLIN);
	return socket_accept(listener);
}

static void close_all(const int *fds, size_t n)
{
	while (n)
		fd_close(fds[--n]);
}

static void test_addresses(void **state)
{
	static const struct {
		const char *host, *text;
	} good[] = { { "127.0.0.1", "127.0.0.1:8443" },
		     { "0.0.0.0", "0.0.0.0:8443" },
		     { "::1", "[::1]:8443" },
		     { "::", "[::]:8443" },
		     { "2001:DB8:0:0:0:0:0:1", "[2001:db8::1]:8443" },
		     { "ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255", "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:8443" } };
	static const struct str bad[] = { STR(""),
		                          STR("localhost"),
		                          STR("127.0.0"),
		                          STR("127.0.0.256"),
		                          STR("127.0.0.1 "),
		                          STR("127.0.0.01"),
		                          STR("[::1]"),
		                          STR("::1%lo"),
		                          STR("1.2.3.4\0"),
		                          STR("::1\0.example"),
		                          STR("1.2.3.4:80"),
		                          STR(":::"),
		                          STR("0000:0000:0000:0000:0000:0000:0000:0000:0000") };
	(void)state;
	char text[SOCKET_ADDRESS_TEXT];
	for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
		struct socket_address address = address_of(good[i].host, 8443);
		socket_address_format(&address, text);
		assert_string_equal(text, good[i].text);
		assert_int_equal(socket_address_port(&address), 8443);
	}
	struct socket_address address = { .len = 7 };
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		assert_int_equal(socket_address_parse(bad[i], 1, &address), -E_NOT_FOUND);
	assert_int_equal(address.len, 7);
	address.storage.ss_family = AF_UNIX;
	assert_int_equal(socket_address_port(&address), 0);
	socket_address_format(&address, text);
	assert_string_equal(text, "unix");
}

static void assert_flags(int fd)
{
	int value = 0;
	socklen_t len = sizeof value;
	assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &value, &len), 0);
	assert_true(value);
}

/* fds: the listener, the accepted and the connecting side. */
static void tcp_pair(const char *host, int fds[3])
{
	struct socket_address address = address_of(host, 0);
	fds[0] = socket_listen(&address);
	assert_true(fds[0] >= 0);
	assert_int_equal(socket_local(fds[0], &address), 0);
	assert_int_not_equal(socket_address_port(&address), 0);
	assert_int_equal(socket_accept(fds[0]), -EAGAIN);
	fds[2] = socket_connect(&address);
	assert_true(fds[2] >= 0);
	fds[1] = accept_one(fds[0]);
	assert_true(fds[1] >= 0);
	wait_for(fds[2], POLLOUT);
	assert_int_equal(socket_error(fds[2]), 0);
}

static void test_tcp(void **state)
{
	(void)state;
	int fds[3];
	char byte, ours[SOCKET_ADDRESS_TEXT], theirs[SOCKET_ADDRESS_TEXT];
	struct socket_address address;
	tcp_pair("127.0.0.1", fds);
	assert_flags(fds[1]);
	assert_flags(fds[2]);
	assert_int_equal(socket_local(fds[2], &address), 0);
	socket_address_format(&address, ours);
	assert_int_equal(socket_peer(fds[1], &address), 0);
	socket_address_format(&address, theirs);
	assert_string_equal(ours, theirs);

	/* Half closed: the other direction goes on. */
	assert_int_equal(socket_shutdown_write(fds[2]), 0);
	wait_for(fds[1], POLLIN);
	assert_int_equal(fd_read(fds[1], &byte, 1), 0);
	assert_int_equal(fd_write(fds[1], "x", 1), 1);
	wait_for(fds[2], POLLIN);
	assert_int_equal(fd_read(fds[2], &byte, 1), 1);
	assert_int_equal(fd_write(fds[2], "x", 1), -EPIPE);
	close_all(fds, 3);
}

static void test_reset(void **state)
{
	(void)state;
	int fds[3];
	char byte;
	tcp_pair("127.0.0.1", fds);
	socket_reset(fds[1]);
	fds[1] = fd_close(fds[1]);
	wait_for(fds[2], POLLIN);
	assert_int_equal(fd_read(fds[2], &byte, 1), -ECONNRESET);
	assert_int_equal(socket_shutdown_write(fds[2]), -ENOTCONN);
	assert_int_equal(socket_peer(fds[2], &(struct socket_address){ 0 }), -ENOTCONN);
	close_all(fds, 3);
}

static void test_refused(void **state)
{
	(void)state;
	struct socket_address address = address_of("127.0.0.1", 0);
	int listener = socket_listen(&address);
	assert_int_equal(socket_local(listener, &address), 0);
	assert_int_equal(socket_listen(&address), -E_PORT);
	fd_close(listener);
	int fd = socket_connect(&address), err = fd;
	if (fd >= 0) {
		wait_for(fd, POLLOUT);
		err = socket_error(fd);
		fd_close(fd);
	}
	assert_int_equal(err, -ECONNREFUSED);
	address = address_of("192.0.2.1", 1); /* not of this machine */
	assert_int_equal(socket_listen(&address), -EADDRNOTAVAIL);
	address.storage.ss_family = 9999;
	assert_int_equal(socket_listen(&address), -EAFNOSUPPORT);
	assert_int_equal(socket_connect(&address), -EAFNOSUPPORT);
	assert_int_equal(socket_local(-1, &address), -EBADF);
	assert_int_equal(socket_error(-1), -EBADF);
	assert_int_equal(socket_accept(-1), -EBADF);
}

static void test_both_families(void **state)
{
	(void)state;
	int fds[3];
	struct socket_address address = address_of("::", 0);
	int listener = socket_listen(&address);
	if (listener == -EAFNOSUPPORT || listener == -EADDRNOTAVAIL)
		skip();
	assert_true(listener >= 0);
	assert_int_equal(socket_local(listener, &address), 0);
	struct socket_address four = address_of("127.0.0.1", socket_address_port(&address));
	int fd = socket_connect(&four), accepted = accept_one(listener);
	assert_true(fd >= 0 && accepted >= 0);
	assert_flags(accepted);
	close_all((int[]){ listener, fd, accepted }, 3);
	address = address_of("::1", 0);
	listener = socket_listen(&address);
	if (listener == -EADDRNOTAVAIL)
		skip();
	fd_close(listener);
	tcp_pair("::1", fds);
	assert_flags(fds[1]);
	close_all(fds, 3);
}

static int listen_tcp(void *ctx)
{
	struct socket_address address = *(struct socket_address *)ctx;
	int fd = socket_listen(&address);
	if (fd < 0)
		return fd;
	int err = socket_local(fd, &address);
	fd_close(fd);
	return err;
}

/* Connects to the listener ctx, and takes the connection there if it was made. */
static int connect_tcp(void *ctx)
{
	int listener = *(int *)ctx, accepted = -1;
	struct socket_address address = { .len = sizeof address.storage };
	assert_int_equal(getsockname(listener, (struct sockaddr *)&address.storage, &address.len), 0);
	int fd = socket_connect(&address);
	if (fd < 0)
		return fd;
	wait_for(fd, POLLOUT);
	int err = socket_error(fd);
	if (err == 0)
		err = socket_peer(fd, &address);
	if (err == 0)
		err = socket_shutdown_write(fd);
	if (err == 0)
		err = accepted = accept_one(listener);
	if (err < 0)
		fd_close(accept4(listener, NULL, NULL, 0));
	fd_close(accepted);
	fd_close(fd);
	return err;
}

static void test_tcp_faults(void **state)
{
	(void)state;
	struct socket_address four = address_of("127.0.0.1", 0), six = address_of("::", 0);
	assert_int_equal(test_each_fault(listen_tcp, &four), 6);
	int listener = socket_listen(&six);
	if (listener >= 0)
		assert_int_equal(test_each_fault(listen_tcp, &six), 7);
	fd_close(listener);
	listener = socket_listen(&four);
	assert_int_equal(test_each_fault(connect_tcp, &listener), 7);
	fd_close(listener);
}

static void test_unix(void **state)
{
	const char *path = below(state, "socket");
	struct stat status;
	struct socket_credentials who;
	char byte;
	mode_t mask = umask(077);
	assert_int_equal(socket_unix_connect(path), -ENOENT);
	int listener = socket_unix_listen(path, 0666);
	umask(mask);
	assert_true(listener >= 0);
	assert_int_equal(stat(path, &status), 0);
	assert_int_equal(status.st_mode & 07777, 0666);
	assert_int_equal(socket_accept(listener), -EAGAIN);
	int fd = socket_unix_connect(path), accepted = socket_accept(listener);
	assert_true(fd >= 0 && accepted >= 0);
	assert_true(fcntl(accepted, F_GETFL) & O_NONBLOCK);
	assert_int_equal(socket_unix_credentials(accepted, &who), 0);
	assert_int_equal(who.pid, getpid());
	assert_int_equal(who.uid, getuid());
	assert_int_equal(who.gid, getgid());
	assert_int_equal(fd_write(fd, "x", 1), 1);
	assert_int_equal(fd_read(accepted, &byte, 1), 1);

	/* A live one is left alone, and goes on. */
	assert_int_equal(socket_unix_listen(path, 0600), -E_RUNNING);
	int second = socket_unix_connect(path);
	assert_true(second >= 0);
	close_all((int[]){ fd, accepted, second, listener }, 4);

	/* A stale one is replaced. */
	assert_int_equal(socket_unix_connect(path), -ECONNREFUSED);
	listener = socket_unix_listen(path, 0600);
	assert_true(listener >= 0);
	assert_int_equal(stat(path, &status), 0);
	assert_int_equal(status.st_mode & 07777, 0600);
	fd_close(listener);
	assert_int_equal(socket_unix_credentials(-1, &who), -EBADF);
}

static void test_unix_keeps_other_files(void **state)
{
	const char *file = below(state, "file"), *link = below(state, "link");
	assert_int_equal(file_write(file, "x", 1, 0600), 0);
	assert_int_equal(socket_unix_listen(file, 0600), -E_FILE);
	assert_int_equal(symlink("file", link), 0);
	assert_int_equal(socket_unix_listen(link, 0600), -E_FILE);
	assert_int_equal(socket_unix_listen(*state, 0600), -E_FILE);
	assert_true(file_exists(file) && file_exists(link));
	fd_close(socket_unix_listen(below(state, "stale"), 0600));
	assert_int_equal(unlink(link), 0);
	assert_int_equal(symlink("stale", link), 0);
	assert_int_equal(socket_unix_listen(link, 0600), -E_FILE);
	assert_true(file_exists(link));
	assert_int_equal(socket_unix_listen(below(state, "missing/socket"), 0600), -ENOENT);

	/* A socket of another kind cannot be asked whether it lives. */
	int packet = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	const char *path = below(state, "packet");
	if (str_copy(str_from(path), address.sun_path, sizeof address.sun_path) == 0) {
		assert_int_equal(bind(packet, (struct sockaddr *)&address, sizeof address), 0);
		assert_int_equal(listen(packet, 1), 0);
		assert_int_equal(socket_unix_listen(path, 0600), -EPROTOTYPE);
		assert_true(file_exists(path));
	}
	fd_close(packet);
}

static void test_unix_full_queue_is_alive(void **state)
{
	const char *path = below(state, "socket");
	int waiting[64], fd, listener = socket_unix_listen(path, 0600);
	size_t n = 0;
	assert_true(listener >= 0);
	assert_int_equal(listen(listener, 1), 0);
	while (n < 64 && (fd = socket_unix_connect(path)) >= 0)
		waiting[n++] = fd;
	assert_int_equal(fd, -EAGAIN);
	assert_int_equal(socket_unix_listen(path, 0600), -E_RUNNING);
	close_all(waiting, n);
	fd_close(listener);
}

/* Directories deeper than sun_path is long. */
static void test_unix_long_path(void **state)
{
	char name[120];
	memset(name, 'n', sizeof name - 1);
	name[sizeof name - 1] = 0;
	const char *directory = below(state, name);
	assert_int_equal(file_make_directory(directory, 0700), 0);
	char path[1200];
	assert_int_equal(file_path(path, sizeof path, directory, "socket"), 0);
	size_t before = test_descriptors();
	int listener = socket_unix_listen(path, 0600);
	assert_true(listener >= 0);
	assert_true(file_exists(path));
	assert_int_equal(socket_unix_listen(path, 0600), -E_RUNNING);
	int fd = socket_unix_connect(path), accepted = socket_accept(listener);
	assert_true(fd >= 0 && accepted >= 0);
	close_all((int[]){ listener, fd, accepted }, 3);
	listener = socket_unix_listen(path, 0600);
	assert_true(listener >= 0);
	fd_close(listener);
	assert_int_equal(test_descriptors(), before);

	assert_int_equal(file_path(path, sizeof path, *state, "missing"), 0);
	char missing[2400];
	assert_int_equal(file_path(missing, sizeof missing, path, name), 0);
	assert_int_equal(socket_unix_listen(missing, 0600), -ENOENT);
	assert_int_equal(socket_unix_connect(missing), -ENOENT);
	assert_int_equal(socket_unix_listen(directory, 0600), -E_TOO_LONG); /* the name alone is too long */
	assert_int_equal(socket_unix_connect(name), -E_TOO_LONG);
	assert_int_equal(test_descriptors(), before);
}

static int listen_unix(void *ctx)
{
	int fd = socket_unix_listen(ctx, 0600);
	assert_int_equal(access(ctx, F_OK), fd >= 0 ? 0 : -1);
	fd_close(fd);
	unlink(ctx);
	return fd;
}

/* Over a stale socket, which is there again at the end. */
static int listen_unix_stale(void *ctx)
{
	int fd = socket_unix_listen(ctx, 0600);
	fd_close(fd);
	if (fd < 0 && access(ctx, F_OK) < 0) {
		long armed = fault_countdown;
		fault_arm(0);
		fd_close(socket_unix_listen(ctx, 0600));
		fault_arm(armed);
	}
	return fd;
}

static int connect_unix(void *ctx)
{
	struct socket_credentials who;
	int fd = socket_unix_connect(ctx);
	if (fd < 0)
		return fd;
	int err = socket_unix_credentials(fd, &who);
	fd_close(fd);
	return err;
}

static void test_unix_faults(void **state)
{
	char name[120];
	memset(name, 'n', sizeof name - 1);
	name[sizeof name - 1] = 0;
	char path[1200];
	assert_int_equal(file_path(path, sizeof path, below(state, name), "socket"), 0);
	assert_int_equal(file_make_directory(below(state, name), 0700), 0);
	assert_int_equal(test_each_fault(listen_unix, path), 5); /* open, socket, bind, chmod, listen */
	int listener = socket_unix_listen(path, 0600);
	assert_int_equal(test_each_fault(connect_unix, path), 4);
	fd_close(listener);
	assert_int_equal(test_each_fault(listen_unix_stale, path), 10); /* also lstat, socket, connect, unlink, bind */
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, test_directory_make, test_directory_remove)

static void source_is(const char *address, const char *bytes, size_t len, bool loopback)
{
	struct socket_address parsed;
	struct socket_source source;
	assert_int_equal(socket_address_parse(str_from(address), 1, &parsed), 0);
	socket_address_source(&parsed, &source);
	assert_int_equal(source.len, len);
	assert_memory_equal(source.key, bytes, len);
	assert_int_equal(source.loopback, loopback);
}

static void test_source(void **state)
{
	struct socket_address unix_address = { .storage.ss_family = AF_UNIX };
	struct socket_source source;
	(void)state;
	source_is("192.0.2.7", "\xc0\0\2\7", 4, false);
	source_is("::ffff:192.0.2.7", "\xc0\0\2\7", 4, false);
	source_is("127.9.9.9", "\x7f\x9\x9\x9", 4, true);
	source_is("::1", "\0\0\0\0\0\0\0\0", 8, true);
	source_is("2001:db8:1:2:3:4:5:6", "\x20\1\x0d\xb8\0\1\0\2", 8, false);
	source_is("2001:db8:1:2:ffff::1", "\x20\1\x0d\xb8\0\1\0\2", 8, false);
	socket_address_source(&unix_address, &source);
	assert_int_equal(source.len, 0);
}

static void bytes_are(const char *host, const char *bytes, size_t len)
{
	struct socket_address address = address_of(host, 443);
	uint8_t found[16];
	assert_int_equal(socket_address_bytes(&address, found), len);
	assert_memory_equal(found, bytes, len);
}

static void test_bytes(void **state)
{
	struct socket_address unix_address = { .storage.ss_family = AF_UNIX };
	uint8_t found[16];
	(void)state;
	bytes_are("192.0.2.7", "\xc0\0\2\7", 4);
	bytes_are("::ffff:192.0.2.7", "\xc0\0\2\7", 4);
	bytes_are("2001:db8:1:2:3:4:5:6", "\x20\1\x0d\xb8\0\1\0\2\0\3\0\4\0\5\0\6", 16);
	assert_int_equal(socket_address_bytes(&unix_address, found), 0);
}

static void test_peer_host(void **state)
{
	static const char *const hosts[] = { "127.0.0.1", "::1" };
	char text[SOCKET_ADDRESS_TEXT];
	int fds[3];
	(void)state;
	for (size_t i = 0; i < sizeof hosts / sizeof *hosts; i++) {
		tcp_pair(hosts[i], fds);
		socket_peer_host(fds[1], text);
		assert_string_equal(text, i ? "[::1]" : "127.0.0.1");
		socket_peer_host(fds[0], text);
		assert_string_equal(text, "");
		close_all(fds, 3);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bytes),      cmocka_unit_test(test_peer_host),
		cmocka_unit_test(test_source),     cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_tcp),        cmocka_unit_test(test_reset),
		cmocka_unit_test(test_refused),    cmocka_unit_test(test_both_families),
		cmocka_unit_test(test_tcp_faults), TEST(test_unix),
		TEST(test_unix_keeps_other_files), TEST(test_unix_full_queue_is_alive),
		TEST(test_unix_long_path),         TEST(test_unix_faults),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
