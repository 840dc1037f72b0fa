/* logins: what bad logins cost those who are good.
 *
 *   logins flood PORT FINGERPRINT RATE SECONDS   bad attempts over 50 connections without a certificate, RATE a second in all; prints
 *                                                "SENT ANSWERED COUNTED BUSY": COUNTED reached a password check or a delay, BUSY were turned away
 *   logins ask DIR SECONDS                       ListDevices on one connection, one every 5 ms at most; prints "N P50 P99 MAX" in milliseconds
 *   logins ask-new DIR SECONDS                   the same with a connection and a certificate of its own for each, as `murmesh ls` has */
#include <signal.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "cli/session.h"
#include "os/clock.h"
#include "stream/stream.h"

enum { CONNECTIONS = 50, SAMPLES_MAX = 1 << 20, TICK_MS = 5, PAUSE_US = 5000 };

static void check(int err, const char *what)
{
	if (err >= 0)
		return;
	fprintf(stderr, "logins: %s: %s\n", what, err_text(err));
	exit(1);
}

static uint64_t number(const char *text)
{
	uint64_t value = 0;
	check(str_to_u64(str_from(text), UINT32_MAX, &value), text);
	return value;
}

/* ---- the flood ---- */

struct flood {
	struct io_loop *loop;
	struct rpc_connection *connections[CONNECTIONS];
	size_t n, n_ready;
	murmesh_LoginProof proof;
	uint64_t rate, start_us, end_us;
	uint64_t sent, answered, counted, busy;
};

static void on_answer(void *ctx, int err, const char *why, const void *response)
{
	struct flood *flood = ctx;
	(void)why;
	(void)response;
	flood->answered++;
	flood->counted += err == -E_LOGIN || err == -E_LOGIN_DELAY;
	flood->busy += err == -E_BUSY || err == -E_LIMIT;
}

/* As many as should have been sent by now. */
static void on_tick(void *ctx)
{
	struct flood *flood = ctx;
	uint64_t now = clock_monotonic_us();
	if (now >= flood->end_us)
		return io_loop_stop(flood->loop);
	uint64_t due = (now - flood->start_us) * flood->rate / 1000000;
	for (; flood->sent < due; flood->sent++) {
		snprintf(flood->proof.name, sizeof flood->proof.name, "somebody%llu", (unsigned long long)(flood->sent % 5000));
		check(rpc_unary(flood->connections[flood->sent % CONNECTIONS], &rpc_Login_Password, &flood->proof, 60000, on_answer,
		                flood),
		      "Login.Password");
	}
}

static void on_ready(void *ctx)
{
	struct flood *flood = ctx;
	if (++flood->n_ready == CONNECTIONS)
		io_loop_stop(flood->loop);
}

static void on_closed(void *ctx, int err)
{
	(void)ctx;
	check(err < 0 ? err : -E_CLOSED, "a connection ended");
}

static void connections_open(struct flood *flood, uint16_t port, const uint8_t pin[HASH_SIZE])
{
	static const char *const alpn[] = { "h2", NULL };
	static const struct rpc_connection_events events = { NULL, on_ready, on_closed };
	static const struct rpc_connection_settings rpc = { .server = false };
	static const struct stream_events none;
	struct tls_settings settings = { .verify = TLS_VERIFY_PIN, .alpn = alpn };
	struct tls_context *tls;
	struct socket_address address;
	memcpy(settings.pin, pin, HASH_SIZE);
	check(tls_context_new(&settings, &tls), "TLS");
	check(socket_address_parse(STR("127.0.0.1"), port, &address), "address");
	for (size_t i = 0; i < CONNECTIONS; i++) {
		struct stream_settings stream = {
			.fd = socket_connect(&address), .connecting = true, .tls = tls, .handshake_ms = 60000
		};
		check(stream.fd, "connect");
		flood->connections[i] =
		        rpc_connection_new(flood->loop, stream_new(flood->loop, &stream, &none, NULL), &rpc, &events, flood);
		check(flood->connections[i] ? 0 : -E_NO_MEMORY, "connection");
	}
	io_loop_run(flood->loop);
	tls_context_free(tls);
}

static int flood_run(char **words)
{
	static struct flood flood;
	struct server_address server;
	char address[200];
	struct buf csr;
	struct key *key = key_generate();
	flood.loop = io_loop_new();
	flood.rate = number(words[2]);
	snprintf(address, sizeof address, "127.0.0.1:%s#%s", words[0], words[1]);
	check(server_address_parse(str_from(address), &server), address);
	buf_init(&csr, sizeof flood.proof.csr.bytes);
	check(certificate_request_write(key, &csr), "CSR");
	memcpy(flood.proof.csr.bytes, buf_head(&csr), buf_len(&csr));
	flood.proof.csr.size = (pb_size_t)buf_len(&csr);
	str_copy(STR("not the password"), flood.proof.password, sizeof flood.proof.password);
	connections_open(&flood, server.port, server.pin);
	printf("ready\n");
	fflush(stdout);
	flood.start_us = clock_monotonic_us();
	flood.end_us = flood.start_us + number(words[3]) * 1000000;
	struct io_timer *tick = io_timer_new(flood.loop, on_tick, &flood);
	io_timer_start(tick, 0, TICK_MS);
	io_loop_run(flood.loop);
	printf("%llu %llu %llu %llu\n", (unsigned long long)flood.sent, (unsigned long long)flood.answered,
	       (unsigned long long)flood.counted, (unsigned long long)flood.busy);
	return 0;
}

/* ---- the good one ---- */

static uint32_t samples[SAMPLES_MAX]; /* microseconds */

static int compare(const void *a, const void *b)
{
	uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;
	return left < right ? -1 : left > right;
}

static void on_device(void *ctx, const void *device)
{
	(void)device;
	++*(size_t *)ctx;
}

static void ask(struct session *session)
{
	static const murmesh_ListRequest request;
	size_t devices = 0;
	check(session_stream(session, &rpc_Fleet_ListDevices, &request, on_device, &devices), "ListDevices");
	check(devices ? 0 : -E_NOT_FOUND, "devices");
}

static int ask_run(char **words, bool anew)
{
	struct session session;
	uint64_t end = clock_monotonic_us() + number(words[1]) * 1000000, before, took;
	size_t n = 0;
	check(session_open(&session, words[0]), words[0]);
	while ((before = clock_monotonic_us()) < end && n < SAMPLES_MAX) {
		if (anew) {
			session_close(&session);
			check(session_open(&session, words[0]), words[0]);
		}
		ask(&session);
		took = clock_monotonic_us() - before;
		samples[n++] = (uint32_t)took;
		if (took < PAUSE_US)
			usleep((useconds_t)(PAUSE_US - took));
	}
	session_close(&session);
	qsort(samples, n, sizeof *samples, compare);
	printf("%zu %.3f %.3f %.3f\n", n, samples[n / 2] / 1e3, samples[n * 99 / 100] / 1e3, samples[n - 1] / 1e3);
	return 0;
}

int main(int argc, char **argv)
{
	struct str mode = str_from(argc > 1 ? argv[1] : NULL);
	signal(SIGPIPE, SIG_IGN);
	if (str_is(mode, "flood") && argc == 6)
		return flood_run(argv + 2);
	if ((str_is(mode, "ask") || str_is(mode, "ask-new")) && argc == 4)
		return ask_run(argv + 2, str_is(mode, "ask-new"));
	return 2;
}
