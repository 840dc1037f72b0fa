#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants those first */
#include <cmocka.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "base/fault.h"
#include "front/front.h"
#include "io/io.h"
#include "os/fd.h"
#include "os/socket.h"

/* A ClientHello with the ALPN name h2 and nothing else. */
static const char hello_h2[] = "\x16\3\1\0\x38\1\0\0\x34\3\3"
                               "01234567890123456789012345678901"
                               "\0\0\2\x13\1\1\0\0\x09\0\x10\0\5\0\3\2h2";
#define HELLO_H2 ((struct str){ hello_h2, sizeof hello_h2 - 1 })

struct place {
	struct io_loop *loop;
	struct io_timer *tick;
	struct front *front;
	struct front_settings settings;
	int listener;
	int pairs[FRONT_KINDS][2];
	struct socket_address address;
	const uint64_t *counter; /* run until it has this value */
	uint64_t value;
};

static void on_tick(void *ctx)
{
	struct place *place = ctx;
	if (*place->counter >= place->value)
		io_loop_stop(place->loop);
}

static void run_until(struct place *place, const uint64_t *counter, uint64_t value)
{
	place->counter = counter;
	place->value = value;
	io_timer_start(place->tick, 1, 1);
	io_loop_run(place->loop);
	assert_int_equal(*counter, value);
}

/* One millisecond of whatever happens. */
static void run_once(struct place *place)
{
	run_until(place, &(uint64_t){ 0 }, 0);
}

static const struct front_counters *counters(const struct place *place)
{
	return front_counters(place->front);
}

static int setup_at(void **state, const char *host)
{
	struct place *place = calloc(1, sizeof *place);
	struct socket_address address;
	*state = place;
	place->loop = io_loop_new();
	place->tick = io_timer_new(place->loop, on_tick, place);
	assert_int_equal(socket_address_parse(str_from(host), 0, &address), 0);
	place->listener = socket_listen(&address);
	if (place->listener < 0)
		return -1;
	assert_int_equal(socket_local(place->listener, &place->address), 0);
	place->settings = front_settings_default;
	for (int kind = 0; kind < FRONT_KINDS; kind++) {
		assert_int_equal(fd_pair_packet(place->pairs[kind]), 0);
		place->settings.targets[kind] = place->pairs[kind][0];
	}
	return 0;
}

static int setup(void **state)
{
	return setup_at(state, "127.0.0.1");
}

static void start(struct place *place)
{
	place->front = front_new(place->loop, place->listener, &place->settings);
	assert_non_null(place->front);
}

static int teardown(void **state)
{
	struct place *place = *state;
	front_free(place->front);
	for (int kind = 0; kind < FRONT_KINDS; kind++) {
		fd_close(place->pairs[kind][0]);
		fd_close(place->pairs[kind][1]);
	}
	fd_close(place->listener);
	io_timer_free(place->tick);
	io_loop_free(place->loop);
	free(place);
	return 0;
}

/* Blocking: the kernel takes the connection into the listener's backlog. */
static int client_to(const struct socket_address *address)
{
	int fd = socket(address->storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0);
	assert_int_equal(connect(fd, (const struct sockaddr *)&address->storage, address->len), 0);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
	return fd;
}

static int client_new(struct place *place, struct str bytes)
{
	int fd = client_to(&place->address);
	assert_int_equal(fd_write_all(fd, bytes.ptr, bytes.len), 0);
	return fd;
}

/* Takes one descriptor from the kind's target. */
static int take(struct place *place, enum front_kind kind)
{
	uint8_t byte[2];
	int fds[FD_PASS_MAX];
	size_t n;
	ssize_t len = fd_receive(place->pairs[kind][1], byte, sizeof byte, fds, &n);
	if (len == -EAGAIN)
		return -EAGAIN;
	assert_int_equal(len, 1);
	assert_int_equal(byte[0], kind);
	assert_int_equal(n, 1);
	return fds[0];
}

static int option(int fd, int level, int name)
{
	int value = -1;
	socklen_t len = sizeof value;
	assert_int_equal(getsockopt(fd, level, name, &value, &len), 0);
	return value;
}

/* The role that got fd sees every byte the client sent, and is the only one that holds the connection. */
static void check_passed(int fd, int client, struct str sent)
{
	char got[8192];
	assert_int_equal(fd_read(fd, got, sizeof got), sent.len);
	assert_memory_equal(got, sent.ptr, sent.len);
	assert_int_equal(option(fd, SOL_SOCKET, SO_RCVLOWAT), 1);
	assert_int_not_equal(option(fd, IPPROTO_TCP, TCP_NODELAY), 0);
	assert_int_equal(fd_read(fd, got, sizeof got), -EAGAIN);
	fd_close(fd);
	assert_int_equal(fd_read(client, got, sizeof got), 0);
	fd_close(client);
}

static void check_closed(int client)
{
	char got[64];
	assert_in_range(-fd_read(client, got, sizeof got), 0, ECONNRESET);
	fd_close(client);
}

static void each_kind_reaches_its_role(void **state)
{
	struct place *place = *state;
	static const struct {
		struct str bytes;
		enum front_kind kind;
	} cases[] = { { HELLO_H2, FRONT_LINK },
		      { STR("MMR1\1\0\0\0ticket"), FRONT_RELAY },
		      { STR("\x16\3\1\0\x2f\1\0\0\x2b\3\3"
		            "01234567890123456789012345678901"
		            "\0\0\2\x13\1\1\0\0\0"),
		        FRONT_WEB },
		      { STR("SSH-2.0-OpenSSH\r\n"), FRONT_CLOUD } };
	start(place);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		int client = client_new(place, cases[i].bytes);
		run_until(place, &counters(place)->passed[cases[i].kind], 1);
		check_passed(take(place, cases[i].kind), client, cases[i].bytes);
	}
	assert_int_equal(counters(place)->accepted, 4);
	assert_int_equal(counters(place)->waiting, 0);
}

static void hello_in_pieces(void **state)
{
	struct place *place = *state;
	start(place);
	for (size_t step = 1; step < 40; step += 12) {
		uint64_t passed = counters(place)->passed[FRONT_LINK];
		int client = client_new(place, (struct str){ hello_h2, 1 });
		run_until(place, &counters(place)->waiting, 1);
		for (size_t at = 1; at < HELLO_H2.len; at += step) {
			size_t n = HELLO_H2.len - at < step ? HELLO_H2.len - at : step;
			assert_int_equal(fd_write_all(client, hello_h2 + at, n), 0);
			if (at + n < HELLO_H2.len)
				run_until(place, &counters(place)->waiting, 1);
		}
		run_until(place, &counters(place)->passed[FRONT_LINK], passed + 1);
		check_passed(take(place, FRONT_LINK), client, HELLO_H2);
	}
}

static void others_are_closed(void **state)
{
	struct place *place = *state;
	place->settings.targets[FRONT_WEB] = -1;
	place->settings.targets[FRONT_CLOUD] = -1;
	start(place);
	int garbage = client_new(place, STR("\x80\x2e\1\3\1"));
	run_until(place, &counters(place)->unknown, 1);
	check_closed(garbage);

	int ssh = client_new(place, STR("SSH-2.0-x\r\n"));
	run_until(place, &counters(place)->unserved, 1);
	check_closed(ssh);

	fd_close(client_new(place, STR("")));
	run_until(place, &counters(place)->left, 1);
	int half = client_new(place, STR("MMR"));
	run_until(place, &counters(place)->waiting, 1);
	socket_shutdown_write(half);
	run_until(place, &counters(place)->left, 2);
	check_closed(half);
	int reset = client_new(place, STR("MMR"));
	run_until(place, &counters(place)->waiting, 1);
	socket_reset(reset);
	fd_close(reset);
	run_until(place, &counters(place)->left, 3);
	assert_int_equal(counters(place)->waiting, 0);
}

static void target_gone(void **state)
{
	struct place *place = *state;
	place->pairs[FRONT_RELAY][1] = fd_close(place->pairs[FRONT_RELAY][1]);
	start(place);
	int client = client_new(place, STR("MMR1"));
	run_until(place, &counters(place)->unserved, 1);
	check_closed(client);
}

static void read_answer(int client, const char *location)
{
	char got[1024] = "", expected[256];
	ssize_t len = fd_read(client, got, sizeof got - 1);
	assert_in_range(len, 1, sizeof got - 1);
	assert_int_equal(strncmp(got, "HTTP/1.1 301 ", 13), 0);
	snprintf(expected, sizeof expected, "\r\nLocation: https://%s/\r\n", location);
	assert_non_null(strstr(got, expected));
	assert_string_equal(got + len - 4, "\r\n\r\n");
	assert_int_equal(fd_read(client, got, sizeof got), 0); /* an end, no reset */
}

static void clear_http_is_redirected(void **state)
{
	struct place *place = *state;
	char local[SOCKET_ADDRESS_TEXT];
	place->settings.deadline_ms = 1000000;
	start(place);
	int client = client_new(place, STR("GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n"));
	run_until(place, &counters(place)->redirected, 1);
	socket_address_format(&place->address, local);
	read_answer(client, local);
	assert_int_equal(counters(place)->waiting, 1);
	/* What still comes is read away, but not for ever. */
	char more[FRONT_PEEK_MAX] = { 0 };
	assert_int_equal(fd_write_all(client, more, sizeof more), 0);
	while (counters(place)->waiting)
		run_once(place);
	fd_close(client);

	front_free(place->front);
	place->settings.redirect_host = "murmesh.example.org:8443";
	start(place);
	client = client_new(place, STR("GET "));
	run_until(place, &counters(place)->redirected, 1);
	read_answer(client, "murmesh.example.org:8443");
	fd_close(client);
	while (counters(place)->waiting)
		run_once(place);
	assert_int_equal(counters(place)->left + counters(place)->expired, 0);
}

static void redirect_that_does_not_fit(void **state)
{
	struct place *place = *state;
	char host[600];
	memset(host, 'x', sizeof host);
	host[sizeof host - 1] = '\0';
	place->settings.redirect_host = host;
	start(place);
	int client = client_new(place, STR("GET "));
	run_until(place, &counters(place)->left, 1);
	check_closed(client);
}

static void silent_clients_expire(void **state)
{
	struct place *place = *state;
	place->settings.deadline_ms = 20;
	start(place);
	int silent = client_new(place, STR("")), half = client_new(place, HELLO_H2);
	int slow = client_new(place, (struct str){ hello_h2, 20 });
	run_until(place, &counters(place)->expired, 2);
	check_closed(silent);
	check_closed(slow);
	check_passed(take(place, FRONT_LINK), half, HELLO_H2);
	/* The timer goes on for those that come later. */
	silent = client_new(place, STR("S"));
	run_until(place, &counters(place)->expired, 3);
	check_closed(silent);
	assert_int_equal(counters(place)->waiting, 0);
}

static void oldest_makes_room(void **state)
{
	struct place *place = *state;
	int clients[5];
	place->settings.max_waiting = 3;
	start(place);
	for (int i = 0; i < 5; i++) {
		clients[i] = client_new(place, STR(""));
		run_until(place, &counters(place)->accepted, (uint64_t)i + 1);
	}
	assert_int_equal(counters(place)->evicted, 2);
	assert_int_equal(counters(place)->waiting, 3);
	check_closed(clients[0]);
	check_closed(clients[1]);
	assert_int_equal(fd_write_all(clients[2], "MMR1", 4), 0);
	run_until(place, &counters(place)->passed[FRONT_RELAY], 1);
	check_passed(take(place, FRONT_RELAY), clients[2], STR("MMR1"));
	front_free(place->front);
	place->front = NULL;
	check_closed(clients[3]);
	check_closed(clients[4]);
}

static void one_address_is_limited(void **state)
{
	struct place *place = *state;
	place->settings.max_loopback = 2;
	place->settings.max_per_address = 0;
	start(place);
	int a = client_new(place, STR("")), b = client_new(place, STR(""));
	run_until(place, &counters(place)->waiting, 2);
	int c = client_new(place, STR(""));
	run_until(place, &counters(place)->address_limit, 1);
	check_closed(c);
	c = client_new(place, STR("MMR1")); /* does not wait */
	run_until(place, &counters(place)->passed[FRONT_RELAY], 1);
	check_passed(take(place, FRONT_RELAY), c, STR("MMR1"));
	fd_close(a);
	run_until(place, &counters(place)->left, 1);
	c = client_new(place, STR(""));
	run_until(place, &counters(place)->waiting, 2);
	fd_close(b);
	fd_close(c);
}

static void ipv6_and_mapped_addresses(void **state)
{
	struct place *place;
	if (setup_at(state, "::") < 0) {
		int err = ((struct place *)*state)->listener;
		assert_true(err == -EAFNOSUPPORT || err == -EADDRNOTAVAIL);
		skip(); /* there is no IPv6 here */
	}
	place = *state;
	place->settings.max_loopback = 1;
	place->settings.max_per_address = 0;
	start(place);
	struct socket_address v4, v6;
	uint16_t port = socket_address_port(&place->address);
	assert_int_equal(socket_address_parse(STR("127.0.0.1"), port, &v4), 0);
	assert_int_equal(socket_address_parse(STR("::1"), port, &v6), 0);
	int clients[] = { client_to(&v4), client_to(&v6), client_to(&v4), client_to(&v6) };
	run_until(place, &counters(place)->address_limit, 2);
	assert_int_equal(counters(place)->waiting, 2);
	for (int i = 0; i < 4; i++)
		fd_close(clients[i]);
	teardown(state);
}

enum { CLIENTS = 700 }; /* more than a packet socket's queue takes */

static void clients_connect(struct place *place, int clients[CLIENTS])
{
	for (uint16_t i = 0; i < CLIENTS; i++) {
		char bytes[6] = "MMR1";
		memcpy(bytes + 4, &i, 2);
		clients[i] = client_new(place, (struct str){ bytes, 6 });
	}
}

static void clients_close(int clients[CLIENTS])
{
	for (int i = 0; i < CLIENTS; i++)
		fd_close(clients[i]);
}

static void full_queue_keeps_all(void **state)
{
	struct place *place = *state;
	int clients[CLIENTS], fd;
	bool seen[CLIENTS + 1] = { false };
	char slow_bytes[6] = "MMR1"; /* and the index of the slow one */
	memcpy(slow_bytes + 4, &(uint16_t){ CLIENTS }, 2);
	place->settings.stuck_ms = 1000000;
	start(place);
	int slow = client_new(place, (struct str){ slow_bytes, 3 });
	run_until(place, &counters(place)->waiting, 1);
	clients_connect(place, clients);
	run_until(place, &counters(place)->queue_full, 1);
	/* One that waited for its bytes waits for its role now; what it still sends belongs to the role. */
	assert_int_equal(fd_write_all(slow, slow_bytes + 3, 1), 0);
	run_once(place);
	assert_int_equal(fd_write_all(slow, slow_bytes + 4, 2), 0);
	uint64_t accepted = counters(place)->accepted;
	assert_int_equal(accepted, counters(place)->passed[FRONT_RELAY] + 2);
	for (int i = 0; i < 20; i++)
		run_once(place);
	assert_int_equal(counters(place)->accepted, accepted);
	while (counters(place)->passed[FRONT_RELAY] < CLIENTS + 1)
		for (run_once(place); (fd = take(place, FRONT_RELAY)) >= 0; fd_close(fd)) {
			char got[16];
			uint16_t index;
			assert_int_equal(fd_read(fd, got, sizeof got), 6);
			memcpy(&index, got + 4, 2);
			assert_in_range(index, 0, CLIENTS);
			assert_false(seen[index]);
			seen[index] = true;
		}
	assert_int_equal(counters(place)->accepted, CLIENTS + 1);
	assert_int_equal(counters(place)->waiting, 0);
	fd_close(slow);
	clients_close(clients);
}

static void stuck_role_does_not_stop_the_others(void **state)
{
	struct place *place = *state;
	int clients[CLIENTS], fd;
	place->settings.stuck_ms = 10;
	start(place);
	clients_connect(place, clients);
	run_until(place, &counters(place)->accepted, CLIENTS);
	assert_int_equal(counters(place)->passed[FRONT_RELAY] + counters(place)->unserved, CLIENTS);
	assert_int_not_equal(counters(place)->unserved, 0);
	int client = client_new(place, HELLO_H2);
	run_until(place, &counters(place)->passed[FRONT_LINK], 1);
	check_passed(take(place, FRONT_LINK), client, HELLO_H2);
	while ((fd = take(place, FRONT_RELAY)) >= 0)
		fd_close(fd);
	uint64_t passed = counters(place)->passed[FRONT_RELAY];
	client = client_new(place, STR("MMR1"));
	run_until(place, &counters(place)->passed[FRONT_RELAY], passed + 1);
	check_passed(take(place, FRONT_RELAY), client, STR("MMR1"));
	clients_close(clients);
}

/* Those that wait for their role when the front ends are closed, too. */
static void queued_are_closed_at_the_end(void **state)
{
	struct place *place = *state;
	int clients[CLIENTS];
	start(place);
	clients_connect(place, clients);
	run_until(place, &counters(place)->queue_full, 1);
	uint64_t passed = counters(place)->passed[FRONT_RELAY];
	place->front = front_free(place->front);
	check_closed(clients[passed]);
	clients[passed] = -1;
	clients_close(clients);
}

static void descriptors_run_out(void **state)
{
	struct place *place = *state;
	struct rlimit before, low;
	int clients[100];
	start(place);
	for (int i = 0; i < 100; i++)
		clients[i] = client_new(place, STR("MMR1"));
	int next = socket(AF_INET, SOCK_STREAM, 0); /* the number that the next descriptor would get */
	fd_close(next);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	low = before;
	low.rlim_cur = (rlim_t)next;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
	run_until(place, &counters(place)->no_descriptors, 100);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	for (int i = 0; i < 100; i++)
		check_closed(clients[i]);
	assert_int_equal(counters(place)->accepted, 0);
	int client = client_new(place, STR("MMR1"));
	run_until(place, &counters(place)->passed[FRONT_RELAY], 1);
	check_passed(take(place, FRONT_RELAY), client, STR("MMR1"));
}

static uint64_t ended(const struct front_counters *c)
{
	return c->passed[FRONT_LINK] + c->unserved + c->left + c->no_descriptors + c->no_memory;
}

/* Whatever fails: the client is passed or closed, counted once, and the next one is served. */
static void each_fault_is_survived(void **state)
{
	struct place *place = *state;
	bool reached = true;
	for (long n = 1; reached; n++) {
		int client = client_new(place, (struct str){ hello_h2, 20 });
		fault_arm(n);
		struct front *front = front_new(place->loop, place->listener, &place->settings);
		if (!front) {
			start(place);
		} else {
			place->front = front;
		}
		while (!counters(place)->waiting && !ended(counters(place)))
			run_once(place);
		send(client, hello_h2 + 20, HELLO_H2.len - 20, MSG_NOSIGNAL);
		while (!ended(counters(place)))
			run_once(place);
		reached = !fault_armed();
		fault_arm(0);
		assert_int_equal(ended(counters(place)), 1);
		assert_int_equal(counters(place)->waiting, 0);
		uint64_t passed = counters(place)->passed[FRONT_LINK];
		if (passed)
			check_passed(take(place, FRONT_LINK), client, HELLO_H2);
		else
			check_closed(client);
		client = client_new(place, HELLO_H2);
		run_until(place, &counters(place)->passed[FRONT_LINK], passed + 1);
		check_passed(take(place, FRONT_LINK), client, HELLO_H2);
		place->front = front_free(place->front);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(each_kind_reaches_its_role, setup, teardown),
		cmocka_unit_test_setup_teardown(hello_in_pieces, setup, teardown),
		cmocka_unit_test_setup_teardown(others_are_closed, setup, teardown),
		cmocka_unit_test_setup_teardown(target_gone, setup, teardown),
		cmocka_unit_test_setup_teardown(clear_http_is_redirected, setup, teardown),
		cmocka_unit_test_setup_teardown(redirect_that_does_not_fit, setup, teardown),
		cmocka_unit_test_setup_teardown(silent_clients_expire, setup, teardown),
		cmocka_unit_test_setup_teardown(oldest_makes_room, setup, teardown),
		cmocka_unit_test_setup_teardown(one_address_is_limited, setup, teardown),
		cmocka_unit_test(ipv6_and_mapped_addresses),
		cmocka_unit_test_setup_teardown(full_queue_keeps_all, setup, teardown),
		cmocka_unit_test_setup_teardown(stuck_role_does_not_stop_the_others, setup, teardown),
		cmocka_unit_test_setup_teardown(queued_are_closed_at_the_end, setup, teardown),
		cmocka_unit_test_setup_teardown(each_fault_is_survived, setup, teardown),
		cmocka_unit_test_setup_teardown(descriptors_run_out, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
