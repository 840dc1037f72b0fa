/* udp_hop echo              answers each datagram with itself
 * udp_hop forward PORT      passes datagrams of one sender on to PORT and back: what a hop costs that does nothing else
 * udp_hop ask PORT N BYTES  N round trips, one after the other; prints their median and 99th percentile in microseconds
 * udp_hop flows PORT N      a round trip from each of N addresses, then another one from each; prints how many were answered, both times
 *
 * The first two print their port, on the loopback. */
#include <arpa/inet.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "os/clock.h"

enum { LARGEST = 65536, ASKS_MAX = 1000000, FLOWS_AT_ONCE = 64, WAIT_MS = 2000 };

static char bytes[LARGEST];

static void check(bool ok, const char *what)
{
	if (ok)
		return;
	perror(what);
	exit(1);
}

static struct sockaddr_in address_of(uint32_t host, unsigned port)
{
	return (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr.s_addr = htonl(host), .sin_port = htons((uint16_t)port) };
}

/* port 0: connected to nobody. */
static int socket_at(uint32_t host, unsigned port)
{
	struct sockaddr_in from = address_of(host, 0), to = address_of(INADDR_LOOPBACK, port);
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	check(fd >= 0 && bind(fd, (struct sockaddr *)&from, sizeof from) == 0, "bind");
	check(!port || connect(fd, (struct sockaddr *)&to, sizeof to) == 0, "connect");
	return fd;
}

static int listen_printing(void)
{
	struct sockaddr_in here;
	socklen_t len = sizeof here;
	int fd = socket_at(INADDR_LOOPBACK, 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &(int){ 1 << 20 }, sizeof(int));
	check(getsockname(fd, (struct sockaddr *)&here, &len) == 0, "getsockname");
	printf("%u\n", ntohs(here.sin_port));
	fflush(stdout);
	return fd;
}

static void echo(void)
{
	int fd = listen_printing();
	for (;;) {
		struct sockaddr_in from;
		socklen_t len = sizeof from;
		ssize_t n = recvfrom(fd, bytes, sizeof bytes, 0, (struct sockaddr *)&from, &len);
		check(n >= 0, "recvfrom");
		sendto(fd, bytes, (size_t)n, 0, (struct sockaddr *)&from, len);
	}
}

static void forward(unsigned port)
{
	struct sockaddr_in from = { 0 };
	struct pollfd fds[] = { { .fd = listen_printing(), .events = POLLIN },
		                { .fd = socket_at(INADDR_LOOPBACK, port), .events = POLLIN } };
	for (;;) {
		socklen_t len = sizeof from;
		check(poll(fds, 2, -1) > 0, "poll");
		if (fds[0].revents) {
			ssize_t n = recvfrom(fds[0].fd, bytes, sizeof bytes, 0, (struct sockaddr *)&from, &len);
			check(n >= 0, "recvfrom");
			send(fds[1].fd, bytes, (size_t)n, 0);
		}
		if (fds[1].revents) {
			ssize_t n = recv(fds[1].fd, bytes, sizeof bytes, 0);
			if (n >= 0)
				sendto(fds[0].fd, bytes, (size_t)n, 0, (struct sockaddr *)&from, sizeof from);
		}
	}
}

static bool answered(int fd, size_t size)
{
	struct pollfd wanted = { .fd = fd, .events = POLLIN };
	return poll(&wanted, 1, WAIT_MS) == 1 && recv(fd, bytes, sizeof bytes, 0) == (ssize_t)size;
}

static int by_value(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;
	return *x < *y ? -1 : *x > *y;
}

static void ask(unsigned port, size_t n, size_t size)
{
	static uint64_t took[ASKS_MAX];
	int fd = socket_at(INADDR_LOOPBACK, port);
	check(n && n <= ASKS_MAX && size <= sizeof bytes, "arguments");
	for (size_t i = 0; i < n; i++) {
		uint64_t start = clock_monotonic_us();
		check(send(fd, bytes, size, 0) == (ssize_t)size && answered(fd, size), "an answer");
		took[i] = clock_monotonic_us() - start;
	}
	qsort(took, n, sizeof *took, by_value);
	printf("%llu %llu\n", (unsigned long long)took[n / 2], (unsigned long long)took[n - n / 100 - 1]);
}

/* A few at a time: what waits in one socket's buffer is bounded. */
static size_t flows_ask(const int *fds, size_t n)
{
	size_t good = 0;
	for (size_t at = 0; at < n; at += FLOWS_AT_ONCE) {
		size_t end = at + FLOWS_AT_ONCE < n ? at + FLOWS_AT_ONCE : n;
		for (size_t i = at; i < end; i++)
			check(send(fds[i], "x", 1, 0) == 1, "send");
		for (size_t i = at; i < end; i++)
			good += answered(fds[i], 1);
	}
	return good;
}

static void flows(unsigned port, size_t n)
{
	struct rlimit limit;
	check(getrlimit(RLIMIT_NOFILE, &limit) == 0, "getrlimit");
	limit.rlim_cur = limit.rlim_max;
	check(setrlimit(RLIMIT_NOFILE, &limit) == 0, "setrlimit");
	int *fds = calloc(n, sizeof *fds);
	check(fds != NULL, "memory");
	for (size_t i = 0; i < n; i++)
		fds[i] = socket_at((uint32_t)(0x7f010001 + i), port);
	size_t first = flows_ask(fds, n), again = flows_ask(fds, n);
	printf("%zu %zu\n", first, again);
	fflush(stdout);
	getchar(); /* the flows are looked at until standard input ends */
}

static unsigned number(const char *text)
{
	return text ? (unsigned)strtoul(text, NULL, 10) : 0;
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	unsigned a = argc > 2 ? number(argv[2]) : 0, b = argc > 3 ? number(argv[3]) : 0, c = argc > 4 ? number(argv[4]) : 0;
	if (strcmp(what, "echo") == 0)
		echo();
	else if (strcmp(what, "forward") == 0)
		forward(a);
	else if (strcmp(what, "ask") == 0)
		ask(a, b, c);
	else if (strcmp(what, "flows") == 0)
		flows(a, b);
	else
		return 2;
	return 0;
}
