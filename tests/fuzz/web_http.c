/* The console's server without a core: bytes of a client on a plain connection, from its first or (first byte odd) after an upgrade. */
#include <assert.h>
#include <signal.h>
#include <unistd.h>

#include "base/encode.h"
#include "os/fd.h"
#include "os/log.h"
#include "web/http.h"

#define COOKIE "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

static struct io_loop *loop;
static struct web *web;
static struct io_task stop;

static void on_stop(void *ctx)
{
	(void)ctx;
	io_loop_stop(loop);
}

/* Each takes what there is, and waits for nothing. */
static void turns(unsigned n)
{
	while (n--) {
		io_task_schedule(loop, &stop);
		io_loop_run(loop);
	}
}

static void start(void)
{
	const struct web_settings settings = { STR("a:1"), STR(""), 1 };
	signal(SIGPIPE, SIG_IGN);
	setenv("MURMESH_LOG", "error", 1);
	log_init("fuzz");
	loop = io_loop_new();
	web = web_new(loop, &settings);
	io_task_init(&stop, on_stop, NULL);
	assert(web);
}

static void say(int fd, const void *bytes, size_t len)
{
	ssize_t n = write(fd, bytes, len); /* the other side may have gone */
	(void)n;
}

static void upgrade(int fd)
{
	struct ticket ticket = { .kind = TICKET_LIVE, .session = { 1 } };
	char text[TICKET_TEXT_SIZE], request[512], answer[1024];
	assert(ticket_issue(&web->tickets, &ticket, io_loop_now_ms(loop), text) == 0);
	int len = snprintf(request, sizeof request,
	                   "GET /ws?ticket=%s HTTP/1.1\r\nHost: a:1\r\nOrigin: https://a:1\r\nCookie: __Host-session=" COOKIE
	                   "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
	                   "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
	                   text);
	say(fd, request, (size_t)len);
	turns(3);
	assert(fd_read(fd, answer, sizeof answer) > 12 && memcmp(answer, "HTTP/1.1 101", 12) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char sink[1 << 16];
	int fds[2];
	if (!loop)
		start();
	if (size == 0 || size > 60000 || fd_pair_stream(fds) < 0)
		return 0;
	http_accept(web, fds[1]);
	turns(1);
	if (data[0] & 1)
		upgrade(fds[0]);
	say(fds[0], data + 1, size - 1);
	turns(3);
	while (fd_read(fds[0], sink, sizeof sink) > 0)
		;
	fd_close(fds[0]);
	while (web->n_connections)
		turns(1);
	assert(web->n_subscriptions == 0 && list_empty(&web->guards)); /* without a core there is nothing to come back to */
	return 0;
}
