/* web/test_web.h: the console's server with a core that answers as the test says, and a client on a plain connection. */
#ifndef WEB_TEST_WEB_H
#define WEB_TEST_WEB_H
#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/test.h"
#include "io/io.h"
#include "os/fd.h"
#include "rpc/rpc.h"
#include "services.h"
#include "web/http.h"
#include "web/web.h"

/* A browser's end. */
struct test_client {
	struct test_web *web;
	struct io_watch *watch;
	char *in; /* what came; neither this nor the descriptor passes fault points */
	size_t len;
	int fd;
	bool ended;
};

struct test_web {
	struct io_loop *loop;
	struct io_timer *watchdog, *tick;
	struct web *web;
	struct rpc_connection *near, *core; /* the web role's end; core's */
	int err;                            /* what core answers; 0 = with a reply */
	const char *why;
	size_t rows;         /* of lists */
	size_t asked;        /* calls */
	bool silent;         /* never answers */
	uint8_t session[32]; /* of the last call that had one */
	char last[64];       /* path of the last call */
	murmesh_DeviceChange change;
	struct rpc_call *stream; /* the open stream that came last, referenced */
	struct rpc_call *streams[16];
	size_t n_streams;
	bool (*done)(struct test_web *f);
	struct test_client *client;
};

int test_web_setup(void **state);
int test_web_teardown(void **state);
/* The same by hand, for fault injection: 0 or a negative code. */
int test_web_open(struct test_web *f);
void test_web_close(struct test_web *f);
void test_web_core(struct test_web *f); /* a new connection to core */
void test_web_core_gone(struct test_web *f);
/* Runs the loop until done(); fails when that takes too long. */
void test_web_run(struct test_web *f, bool (*done)(struct test_web *f));

int test_client_open(struct test_web *f, struct test_client *c);
void test_client_close(struct test_client *c);
void test_client_take(struct test_client *c, char *out, size_t len); /* the first len bytes of what came */
void test_client_send(struct test_client *c, const char *text);
/* Sends, and gives back one whole answer with its body (NUL behind it), or what came until the end. */
const char *test_ask(struct test_client *c, const char *text);
unsigned test_status(const char *answer);
#define TEST_COOKIE    "Cookie: __Host-session=AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\r\n"
#define TEST_GET(path) "GET " path " HTTP/1.1\r\nHost: a:1\r\n" TEST_COOKIE "\r\n"
const char *test_send(const char *method, const char *path, const char *body); /* text of such a request, until the next call */
#define TEST_SEND(method, path, length)                                                                                            \
	method " " path " HTTP/1.1\r\nHost: a:1\r\nOrigin: https://a:1\r\nx-murmesh: 1\r\n" TEST_COOKIE "Content-Length: " length  \
	       "\r\n\r\n"
#endif
