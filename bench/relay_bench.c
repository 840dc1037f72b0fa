/* relay_bench [PATH OF limits/hop]: one stream, and round trips of one byte, through the relay's engine, and through the bare splice
 * hop of the limits folder, in turns.  One JSON line a result.  CPU is that of the one process in the middle, from
 * /proc/PID/schedstat; compare inside one run only: the machine's load is in all figures. */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "crypto/key.h"
#include "io/io.h"
#include "os/clock.h"
#include "os/fd.h"
#include "relay/relay.h"

enum { ROUNDS = 5, ECHOES = 20000, PIECE = 256 << 10 };
static const uint64_t stream_bytes = (uint64_t)4 << 30;

enum what { BLAST, ECHO };
typedef void end_main(int fd, enum what what);

static void check(bool ok, const char *what)
{
	if (ok)
		return;
	perror(what);
	exit(1);
}

static int listen_any(struct sockaddr_in *ret)
{
	socklen_t len = sizeof *ret;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	*ret = (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	check(fd >= 0 && bind(fd, (struct sockaddr *)ret, len) == 0 && listen(fd, 16) == 0, "listen");
	check(getsockname(fd, (struct sockaddr *)ret, &len) == 0, "listen");
	return fd;
}

static int dial(const struct sockaddr_in *to)
{
	for (;;) {
		int fd = socket(AF_INET, SOCK_STREAM, 0);
		check(fd >= 0, "socket");
		if (connect(fd, (const struct sockaddr *)to, sizeof *to) == 0)
			return fd;
		check(errno == ECONNREFUSED, "connect"); /* the process in the middle is just starting */
		fd_close(fd);
		usleep(1000);
	}
}

static double cpu_seconds(pid_t pid)
{
	char path[64];
	uint64_t ns = 0;
	snprintf(path, sizeof path, "/proc/%d/schedstat", (int)pid);
	FILE *file = fopen(path, "r");
	check(file && fscanf(file, "%" SCNu64, &ns) == 1, path);
	fclose(file);
	return (double)ns * 1e-9;
}

/* ---- the two ends, each in a process of its own ---- */

static void run_sender(int fd, enum what what)
{
	static char bytes[PIECE];
	for (uint64_t sent = 0; what == BLAST && sent < stream_bytes; sent += sizeof bytes)
		check(fd_write_all(fd, bytes, sizeof bytes) == 0, "write");
	for (int i = 0; what == ECHO && i < ECHOES; i++)
		check(write(fd, bytes, 1) == 1 && read(fd, bytes, 1) == 1, "echo");
	check(shutdown(fd, SHUT_WR) == 0 && read(fd, bytes, 1) == 0, "end");
}

static void run_receiver(int fd, enum what what)
{
	static char bytes[2 * PIECE];
	uint64_t got = 0;
	for (ssize_t n; (n = read(fd, bytes, sizeof bytes)) != 0; got += (uint64_t)n)
		check(n > 0 && (what == BLAST || write(fd, bytes, (size_t)n) == n), "receive");
	check(got == (what == BLAST ? stream_bytes : ECHOES), "count");
}

/* The relay's ends both dial and write a preamble; the hop's receiver (listener >= 0) is dialled. */
static pid_t end_start(end_main *run, enum what what, int listener, const struct sockaddr_in *to, const uint8_t *preamble)
{
	pid_t pid = fork();
	check(pid >= 0, "fork");
	if (pid > 0)
		return pid;
	int fd = listener >= 0 ? accept(listener, NULL, NULL) : dial(to);
	check(fd >= 0, "accept");
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
	if (preamble)
		check(fd_write_all(fd, preamble, RELAY_PREAMBLE) == 0, "preamble");
	run(fd, what);
	exit(0);
}

/* ---- the middle ---- */

static const uint8_t tickets[2][RELAY_TICKET] = { "client", "agent" };

static void on_ended(void *ctx, const struct relay_report *report)
{
	(void)ctx;
	check(report->result == 0, "relay");
}

static void relay_main(int listener)
{
	static const struct relay_events events = { .ended = on_ended };
	struct io_loop *loop = io_loop_new();
	struct relay *relay = relay_new(loop, &relay_settings_default, &events, NULL);
	check(relay, "relay");
	for (int side = 0; side < 2; side++) {
		struct relay_ticket ticket = { .pair = { "bench" }, .side = (enum relay_side)side, .expiry_s = 60 };
		hash_sha256(tickets[side], RELAY_TICKET, ticket.hash);
		check(relay_announce(relay, &ticket) == 0, "announce");
	}
	for (int side = 0; side < 2; side++) {
		int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
		relay_leg(relay, fd);
	}
	io_loop_run(loop);
	for (;;)
		pause(); /* until the figures were read */
}

static pid_t relay_start(struct sockaddr_in *ret_in)
{
	int listener = listen_any(ret_in);
	pid_t pid = fork();
	check(pid >= 0, "fork");
	if (pid == 0)
		relay_main(listener);
	fd_close(listener);
	return pid;
}

static pid_t hop_start(const char *path, struct sockaddr_in *ret_in, const struct sockaddr_in *out)
{
	char in_port[8], out_port[8];
	fd_close(listen_any(ret_in));
	snprintf(in_port, sizeof in_port, "%d", ntohs(ret_in->sin_port));
	snprintf(out_port, sizeof out_port, "%d", ntohs(out->sin_port));
	pid_t pid = fork();
	check(pid >= 0, "fork");
	if (pid == 0) {
		execl(path, "hop", "-e", "splice", "-l", in_port, "-c", out_port, NULL);
		check(false, path);
	}
	return pid;
}

static void report(enum what what, const char *engine, double cpu, double seconds)
{
	double gb = (double)stream_bytes * 1e-9, load = 0;
	getloadavg(&load, 1);
	if (what == BLAST)
		printf("{\"result\": \"relay_blast\", \"engine\": \"%s\", \"gb_per_s\": %.2f, \"cpu_s_per_gb\": %.4f, \"load\": "
		       "%.2f}\n",
		       engine, gb / seconds, cpu / gb, load);
	else
		printf("{\"result\": \"relay_echo\", \"engine\": \"%s\", \"round_trip_us\": %.1f, \"cpu_us_per_echo\": %.2f, "
		       "\"load\": %.2f}\n",
		       engine, seconds * 1e6 / ECHOES, cpu * 1e6 / ECHOES, load);
	fflush(stdout);
}

static void measure(enum what what, const char *hop)
{
	uint8_t preambles[2][RELAY_PREAMBLE];
	struct sockaddr_in in, sink;
	int listener = listen_any(&sink), status;
	pid_t middle = hop ? hop_start(hop, &in, &sink) : relay_start(&in);
	for (int side = 0; side < 2; side++)
		relay_preamble_write((enum relay_side)side, tickets[side], preambles[side]);

	pid_t receiver = end_start(run_receiver, what, hop ? listener : -1, &in, hop ? NULL : preambles[RELAY_AGENT]);
	double cpu = cpu_seconds(middle);
	uint64_t start = clock_monotonic_us();
	pid_t sender = end_start(run_sender, what, -1, &in, hop ? NULL : preambles[RELAY_CLIENT]);
	check(waitpid(sender, &status, 0) == sender && status == 0, "sender");
	check(waitpid(receiver, &status, 0) == receiver && status == 0, "receiver");
	report(what, hop ? "hop" : "relay", cpu_seconds(middle) - cpu, (double)(clock_monotonic_us() - start) * 1e-6);
	kill(middle, SIGKILL);
	waitpid(middle, &status, 0);
	fd_close(listener);
}

int main(int argc, char **argv)
{
	for (enum what what = BLAST; what <= ECHO; what++)
		for (int round = 0; round < ROUNDS; round++) {
			measure(what, NULL);
			if (argc > 1)
				measure(what, argv[1]);
		}
	return 0;
}
