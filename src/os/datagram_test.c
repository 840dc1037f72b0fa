#include "os/datagram.h"

#include <errno.h>
#include <poll.h>

#include "base/err.h"
#include "base/test.h"
#include "os/fd.h"

static bool has_v6; /* this machine */

static struct socket_address address_of(const char *host, uint16_t port)
{
	struct socket_address address;
	assert_int_equal(socket_address_parse(str_from(host), port, &address), 0);
	return address;
}

static int listen_at(const char *host, uint16_t *ret_port)
{
	struct socket_address address = address_of(host, 0);
	int fd = datagram_listen(&address);
	assert_true(fd >= 0);
	assert_int_equal(socket_local(fd, &address), 0);
	*ret_port = socket_address_port(&address);
	return fd;
}

static int connect_to(const char *host, uint16_t port)
{
	struct socket_address address = address_of(host, port);
	int fd = datagram_connect(&address);
	assert_true(fd >= 0);
	return fd;
}

static void wait_for(int fd)
{
	struct pollfd wanted = { .fd = fd, .events = POLLIN };
	assert_int_equal(poll(&wanted, 1, 30000), 1);
}

/* To one of this machine's addresses and back from the same. */
static void echo(int listener, const char *host, uint16_t port, size_t len)
{
	static char sent[65527], got[70000];
	struct datagram_peer peer;
	int fd = connect_to(host, port);
	memset(sent, 'x', sizeof sent);
	assert_int_equal(datagram_send(fd, sent, len), 0);
	wait_for(listener);
	assert_int_equal(datagram_receive_from(listener, got, sizeof got, &peer), len);
	assert_int_equal(datagram_send_to(listener, got, len, &peer), 0);
	wait_for(fd);
	assert_int_equal(datagram_receive(fd, got, sizeof got),
	                 len); /* from elsewhere the kernel would not give it to a connected socket */
	assert_memory_equal(sent, got, len);
	assert_int_equal(datagram_receive(fd, got, sizeof got), -EAGAIN);
	assert_int_equal(datagram_receive_from(listener, got, sizeof got, &peer), -EAGAIN);
	fd_close(fd);
}

static void test_echo(void **state)
{
	uint16_t port;
	(void)state;
	int fd = listen_at("127.0.0.1", &port);
	echo(fd, "127.0.0.1", port, 0);
	echo(fd, "127.0.0.1", port, 65507);
	fd_close(fd);
	if (!has_v6)
		skip();
	fd = listen_at("::1", &port);
	echo(fd, "::1", port, 1);
	echo(fd, "::1", port, 65527);
	fd_close(fd);
}

/* The answer comes from the address that was asked. */
static void test_all_addresses(void **state)
{
	uint16_t port;
	(void)state;
	int fd = listen_at(has_v6 ? "::" : "0.0.0.0", &port);
	echo(fd, "127.0.0.1", port, 10);
	echo(fd, "127.0.0.3", port, 10);
	if (has_v6)
		echo(fd, "::1", port, 10);
	fd_close(fd);
	fd = listen_at("0.0.0.0", &port);
	echo(fd, "127.0.0.3", port, 10);
	fd_close(fd);
}

static void test_refusal(void **state)
{
	struct socket_address taken;
	char byte = 'x';
	uint16_t port;
	(void)state;
	int listener = listen_at("127.0.0.1", &port);
	assert_int_equal(socket_local(listener, &taken), 0);
	assert_int_equal(datagram_listen(&taken), -E_PORT);
	int fd = connect_to("127.0.0.1", port);
	fd_close(listener);
	assert_int_equal(datagram_send(fd, &byte, 1), 0);
	wait_for(fd);
	assert_int_equal(datagram_receive(fd, &byte, 1), -ECONNREFUSED);
	assert_int_equal(datagram_receive(fd, &byte, 1), -EAGAIN); /* told once */
	fd_close(fd);
}

static void test_too_long(void **state)
{
	static char bytes[65536];
	(void)state;
	int fd = connect_to("127.0.0.1", 9);
	assert_int_equal(datagram_send(fd, bytes, 65508), -EMSGSIZE);
	fd_close(fd);
}

static int all(void *ctx)
{
	struct socket_address address = address_of("127.0.0.1", 0);
	struct datagram_peer peer;
	char byte = 'x';
	(void)ctx;
	int listener = datagram_listen(&address), fd = -1, err = listener;
	if (err >= 0)
		err = socket_local(listener, &address);
	if (err >= 0)
		err = fd = datagram_connect(&address);
	if (err >= 0)
		err = datagram_send(fd, &byte, 1);
	if (err >= 0) {
		wait_for(listener);
		err = (int)datagram_receive_from(listener, &byte, 1, &peer);
	}
	if (err >= 0)
		err = datagram_send_to(listener, &byte, 1, &peer);
	if (err >= 0) {
		wait_for(fd);
		err = (int)datagram_receive(fd, &byte, 1);
	}
	fd_close(fd);
	fd_close(listener);
	return err < 0 ? err : 0;
}

static void test_faults(void **state)
{
	(void)state;
	assert_true(test_each_fault(all, NULL) >= 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_echo),     cmocka_unit_test(test_all_addresses), cmocka_unit_test(test_refusal),
		cmocka_unit_test(test_too_long), cmocka_unit_test(test_faults),
	};
	struct socket_address address;
	int fd = socket_address_parse(STR("::1"), 0, &address) == 0 ? datagram_listen(&address) : -1;
	has_v6 = fd >= 0;
	fd_close(fd);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
