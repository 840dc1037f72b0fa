/* ends: the two ends of a tunnel that is measured, all on 127.0.0.1.
 *
 *   ends sink                      prints its port; answers by the first byte of a connection: 'E' echoes every byte, 'D' discards and
 *                                  answers a final 'Q' with the count of bytes (8 bytes, this machine's order)
 *   ends blast PORT SECONDS        sends for that long, checks the count, prints bytes and seconds
 *   ends connect PORT N PAUSE_US   N times: connects, has one byte echoed, closes, pauses; prints the median in microseconds */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { PIECE = 256 << 10, DESCRIPTORS = 20000 };

static char bytes[2 * PIECE];

static void check(bool ok, const char *what)
{
	if (ok)
		return;
	perror(what);
	exit(1);
}

static double now(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static struct sockaddr_in local(uint16_t port)
{
	return (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
}

static int dial(uint16_t port)
{
	struct sockaddr_in address = local(port);
	int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	check(connect(fd, (struct sockaddr *)&address, sizeof address) == 0, "connect");
	return fd;
}

/* ---- sink ---- */

static struct {
	uint64_t count;
	char mode;
} peers[DESCRIPTORS];

static void sink_accept(int epoll, int listener)
{
	for (int fd; (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0;) {
		struct epoll_event event = { .events = EPOLLIN, .data.fd = fd };
		peers[fd].count = 0;
		peers[fd].mode = 0;
		epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
	}
}

static void sink_read(int fd)
{
	ssize_t n = read(fd, bytes, sizeof bytes);
	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0) {
		close(fd);
		return;
	}
	if (!peers[fd].count)
		peers[fd].mode = bytes[0];
	peers[fd].count += (uint64_t)n;
	if (peers[fd].mode == 'E')
		check(write(fd, bytes, (size_t)n) == n, "echo");
	else if (bytes[n - 1] == 'Q')
		check(write(fd, &peers[fd].count, sizeof peers[fd].count) == sizeof peers[fd].count, "count");
}

static void sink(void)
{
	struct sockaddr_in address = local(0);
	socklen_t len = sizeof address;
	struct epoll_event event = { .events = EPOLLIN }, events[256];
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), epoll = epoll_create1(0), one = 1;
	setsockopt(listener, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one); /* accepted sockets inherit it */
	check(bind(listener, (struct sockaddr *)&address, len) == 0 && listen(listener, SOMAXCONN) == 0, "listen");
	check(getsockname(listener, (struct sockaddr *)&address, &len) == 0, "listen");
	event.data.fd = listener;
	epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
	printf("%d\n", ntohs(address.sin_port));
	fflush(stdout);
	for (;;) {
		int n = epoll_wait(epoll, events, 256, -1);
		for (int i = 0; i < n; i++) {
			if (events[i].data.fd == listener)
				sink_accept(epoll, listener);
			else
				sink_read(events[i].data.fd);
		}
	}
}

/* ---- clients ---- */

static void blast(uint16_t port, double seconds)
{
	uint64_t sent = 0, counted = 0;
	int fd = dial(port);
	memset(bytes, 'D', sizeof bytes);
	double start = now();
	while (now() - start < seconds) {
		ssize_t n = write(fd, bytes, PIECE);
		check(n > 0, "write");
		sent += (uint64_t)n;
	}
	check(write(fd, "Q", 1) == 1, "write");
	check(recv(fd, &counted, sizeof counted, MSG_WAITALL) == sizeof counted && counted == sent + 1, "count");
	printf("%llu %.6f\n", (unsigned long long)counted, now() - start);
}

static int compare(const void *a, const void *b)
{
	const double *x = a, *y = b;
	return (*x > *y) - (*x < *y);
}

static void connect_echo(uint16_t port, size_t n, unsigned pause_us)
{
	double *times = calloc(n, sizeof *times);
	check(times && n, "count");
	for (size_t i = 0; i < n; i++) {
		char byte = 'E';
		double start = now();
		int fd = dial(port);
		check(write(fd, &byte, 1) == 1 && read(fd, &byte, 1) == 1, "echo");
		times[i] = now() - start;
		close(fd);
		usleep(pause_us);
	}
	qsort(times, n, sizeof *times, compare);
	printf("%.1f\n", times[n / 2] * 1e6);
	free(times);
}

int main(int argc, char **argv)
{
	uint16_t port = argc > 2 ? (uint16_t)strtoul(argv[2], NULL, 10) : 0;
	signal(SIGPIPE, SIG_IGN);
	if (argc == 2 && strcmp(argv[1], "sink") == 0)
		sink();
	else if (argc == 4 && strcmp(argv[1], "blast") == 0)
		blast(port, strtod(argv[3], NULL));
	else if (argc == 5 && strcmp(argv[1], "connect") == 0)
		connect_echo(port, strtoul(argv[3], NULL, 10), (unsigned)strtoul(argv[4], NULL, 10));
	else
		return 2;
	return 0;
}
