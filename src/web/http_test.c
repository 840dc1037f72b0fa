/* Requests and answers with a core that the test plays: what integration tests cannot make happen. */
#include "web/test_web.h"

#include "base/encode.h"
#include "crypto/key.h"

#include "web/api.h"
#include "web/assets.h"

#define ID "0102030405060708090a0b0c0d0e0f10"

static unsigned ask(struct test_client *c, const char *text)
{
	return test_status(test_ask(c, text));
}

static void test_calls(void **state)
{
	struct test_web *f = *state;
	struct test_client c;
	assert_int_equal(test_client_open(f, &c), 0);
	const char *answer = test_ask(&c, TEST_GET("/api/me"));
	assert_int_equal(test_status(answer), 200);
	assert_non_null(strstr(answer, "\"name\":\"ro\\\"<ot\",\"role\":\"operator\""));
	assert_int_equal(f->session[0], 1);
	answer = test_ask(&c, test_send("POST", "/api/login", "{\"name\":\"a\",\"password\":\"xyz\"}"));
	assert_int_equal(test_status(answer), 200);
	assert_non_null(strstr(answer, "Set-Cookie: __Host-session=AQAA"));
	answer = test_ask(&c, test_send("POST", "/api/login", "{\"name\":\"code\",\"password\":\"xyz\"}"));
	assert_int_equal(test_status(answer), 401);
	assert_non_null(strstr(answer, "\"error\":\"E1224\""));
	assert_null(strstr(answer, "Set-Cookie"));
	answer = test_ask(&c, test_send("POST", "/api/logout", ""));
	assert_int_equal(test_status(answer), 204);
	assert_non_null(strstr(answer, "Set-Cookie: __Host-session=; "));
	assert_int_equal(ask(&c, TEST_GET("/api/devices/" ID)), 200);
	assert_int_equal(ask(&c, TEST_SEND("PATCH", "/api/devices/" ID, "14") "{\"group\":\"red\""),
	                 400); /* one byte short: no JSON */
	test_client_close(&c);
	assert_int_equal(test_client_open(f, &c), 0);
	assert_int_equal(ask(&c, test_send("PATCH", "/api/devices/" ID, "{\"group\":\"red\"}")), 204);
	assert_string_equal(f->change.selector, ID);
	assert_string_equal(f->change.group, "red");
	assert_true(f->change.set_group && f->change.count == 1 && !f->change.retire);
	assert_int_equal(ask(&c, test_send("DELETE", "/api/devices/" ID, "")), 204);
	assert_true(f->change.retire && !f->change.set_group);
	assert_int_equal(ask(&c, test_send("POST", "/api/tasks", "{}")), 200);
	assert_int_equal(ask(&c, test_send("POST", "/api/tasks/" ID "/cancel", "")), 200);
	assert_int_equal(ask(&c, test_send("POST", "/api/ws-ticket", "")), 200);
	assert_int_equal(ask(&c, test_send("POST", "/api/devices/" ID "/terminals", "{\"columns\":80,\"rows\":24}")), 200);
	assert_int_equal(ask(&c, test_send("POST", "/api/devices/" ID "/terminals", "{\"columns\":0,\"rows\":24}")), 400);
	assert_int_equal(ask(&c, test_send("POST", "/api/devices/" ID "/terminals", "{\"columns\":80,\"rows\":1001}")), 400);
	answer = test_ask(&c, TEST_SEND("POST", "/api/devices/09000000000000000000000000000000/terminals",
	                                "24") "{\"columns\":80,\"rows\":24}");
	assert_int_equal(test_status(answer), 409);
	assert_int_equal(f->web->tickets.n, 2);
	test_client_close(&c);
}

static void test_lists(void **state)
{
	struct test_web *f = *state;
	struct test_client c;
	assert_int_equal(test_client_open(f, &c), 0);
	f->rows = 3;
	const char *answer = test_ask(&c, TEST_GET("/api/me/sessions"));
	assert_int_equal(test_status(answer), 200);
	assert_non_null(strstr(answer, "[{\"id\":"));
	f->rows = 0;
	answer = test_ask(&c, TEST_GET("/api/me/sessions"));
	assert_string_equal(strstr(answer, "\r\n\r\n") + 4, "[]");
	f->err = -E_SESSION;
	assert_int_equal(ask(&c, TEST_GET("/api/me/sessions")), 401);
	f->err = -E_FLOW;
	assert_int_equal(ask(&c, TEST_GET("/api/me/sessions")), 500);
	test_client_close(&c);
}

/* What core says comes out with its HTTP status, its cause, and when to try again. */
static void test_errors(void **state)
{
	struct test_web *f = *state;
	struct test_client c;
	assert_int_equal(test_client_open(f, &c), 0);
	f->err = -E_LOGIN_DELAY;
	f->why = "the next attempt is possible in 17 s";
	const char *answer = test_ask(&c, TEST_GET("/api/me"));
	assert_int_equal(test_status(answer), 429);
	assert_non_null(strstr(answer, "\r\nRetry-After: 17\r\n"));
	assert_non_null(strstr(answer, "in 17 s"));
	f->err = -E_BUSY;
	f->why = "a \"quoted\"\x1b cause";
	answer = test_ask(&c, TEST_GET("/api/me"));
	assert_int_equal(test_status(answer), 503);
	assert_non_null(strstr(answer, "\r\nRetry-After: 1\r\n"));
	assert_non_null(strstr(answer, "a \\\"quoted\\\"\xef\xbf\xbd cause"));
	f->err = -E_DENIED;
	f->why = NULL;
	assert_int_equal(ask(&c, TEST_GET("/api/me")), 403);
	assert_int_equal(ask(&c, test_send("POST", "/api/devices/" ID "/terminals", "{\"columns\":80,\"rows\":24}")), 403);
	assert_int_equal(ask(&c, test_send("POST", "/api/ws-ticket", "")), 403);
	assert_int_equal(f->web->tickets.n, 0);
	test_web_core_gone(f);
	assert_int_equal(ask(&c, TEST_GET("/api/me")), 503);
	assert_int_equal(ask(&c, TEST_GET("/api/me/sessions")), 503);
	assert_int_equal(ask(&c, "GET / HTTP/1.1\r\nHost: a:1\r\n\r\n"), 200);
	test_client_close(&c);
}

static size_t wanted;

static bool asked_wanted(struct test_web *f)
{
	return f->asked >= wanted;
}

static bool was_asked(struct test_web *f)
{
	return f->asked > 0;
}

static bool nobody_left(struct test_web *f)
{
	return f->web->n_connections == 0;
}

/* The browser goes before its answer is there; core goes while it is asked. */
static void test_gone_meanwhile(void **state)
{
	struct test_web *f = *state;
	struct test_client c;
	f->silent = true;
	assert_int_equal(test_client_open(f, &c), 0);
	test_client_send(&c, TEST_GET("/api/me"));
	test_web_run(f, was_asked);
	struct http_connection *connection = (void *)LIST_ENTRY(
	        f->web->busy.next, struct { struct list node; }, node);
	assert_non_null(connection);
	http_left(connection); /* as when its deadline ends it */
	test_client_close(&c);
	test_web_core_gone(f); /* the call ends, and nobody is there to hear it */
	assert_int_equal(f->web->n_connections, 0);

	test_web_core(f);
	f->asked = 0;
	assert_int_equal(test_client_open(f, &c), 0);
	test_client_send(&c, TEST_GET("/api/me"));
	test_web_run(f, was_asked);
	test_web_core_gone(f);
	assert_int_equal(ask(&c, ""), 503);
	test_client_close(&c);
	test_web_run(f, nobody_left);
}

static void test_limits(void **state)
{
	struct test_web *f = *state;
	static struct test_client clients[HTTP_PER_ADDRESS + 1];
	for (int i = 0; i < HTTP_PER_ADDRESS + 1; i++)
		assert_int_equal(test_client_open(f, &clients[i]), 0);
	assert_int_equal(f->web->n_connections, HTTP_PER_ADDRESS); /* all have no address: the same */
	assert_int_equal(ask(&clients[HTTP_PER_ADDRESS - 1], TEST_GET("/api/me")), 200);
	for (int i = 0; i < HTTP_PER_ADDRESS + 1; i++)
		test_client_close(&clients[i]);
	test_web_run(f, nobody_left);
}

/* One request on a connection of its own. */
static const char *once(struct test_web *f, const char *request)
{
	static struct test_client c;
	assert_int_equal(test_client_open(f, &c), 0);
	const char *answer = test_ask(&c, request);
	test_client_close(&c);
	return answer;
}

static void test_framing(void **state)
{
	struct test_web *f = *state;
	static char text[H1_HEAD_MAX + 100];
	struct test_client c;
	static const struct {
		const char *request;
		unsigned status;
	} bad[] = {
		{ "GET / HTTP/1.1\nHost: a:1\n\n", 400 },
		{ "GET / HTTP/1.0\r\nHost: a:1\r\n\r\n", 505 },
		{ "GET / HTTP/1.1\r\nHost: b:1\r\n\r\n", 421 },
		{ "GET /a/../b HTTP/1.1\r\nHost: a:1\r\n\r\n", 400 },
		{ "GET http://a:1/ HTTP/1.1\r\nHost: a:1\r\n\r\n", 405 },
		{ "PUT / HTTP/1.1\r\nHost: a:1\r\n\r\n", 405 },
		{ "PUT /api/me HTTP/1.1\r\nHost: a:1\r\n\r\n", 405 },
		{ "POST /api/login HTTP/1.1\r\nHost: a:1\r\nTransfer-Encoding: chunked\r\n\r\n", 501 },
		{ TEST_SEND("POST", "/api/login", "65537"), 413 },
		{ "GET /api/me HTTP/1.1\r\nHost: a:1\r\n" TEST_COOKIE "Content-Length: 1\r\n\r\nx", 413 },
		{ "POST /api/logout HTTP/1.1\r\nHost: a:1\r\n" TEST_COOKIE "\r\n", 403 },
	};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		assert_int_equal(test_status(once(f, bad[i].request)), bad[i].status);
	memset(text, 'x', sizeof text - 1);
	memcpy(text, "GET / HTTP/1.1\r\nX: ", 19);
	assert_int_equal(test_status(once(f, text)), 431);
	/* A body in pieces; then two requests at once; then the end that was asked for. */
	assert_int_equal(test_client_open(f, &c), 0);
	test_client_send(&c, TEST_SEND("PATCH", "/api/devices/" ID, "15") "{\"group\"");
	wanted = 0;
	test_web_run(f, asked_wanted);
	assert_int_equal(ask(&c, ":\"red\"}"), 204);
	assert_int_equal(ask(&c, TEST_GET("/api/me") "GET /x.txt HTTP/1.1\r\nHost: a:1\r\nConnection: x, Close\r\n\r\n"), 200);
	assert_int_equal(ask(&c, ""), 404);
	test_client_close(&c);
}

static void test_assets(void **state)
{
	struct test_web *f = *state;
	char request[512];
	const char *answer = once(f, "GET /deep/path HTTP/1.1\r\nHost: a:1\r\n\r\n");
	assert_int_equal(test_status(answer), 200);
	assert_non_null(strstr(answer, "\r\nCache-Control: no-cache\r\n"));
	const char *etag = strstr(answer, "\r\nETag: ") + 8;
	snprintf(request, sizeof request, "GET / HTTP/1.1\r\nHost: a:1\r\nIf-None-Match: \"x\", W/%.34s\r\n\r\n", etag);
	answer = once(f, request);
	assert_int_equal(test_status(answer), 304);
	assert_null(strstr(answer, "Content-Length"));
	answer = once(f, "GET / HTTP/1.1\r\nHost: a:1\r\nAccept-Encoding: gzip, br;q=0.5\r\n\r\n");
	assert_non_null(strstr(answer, "\r\nContent-Encoding: br\r\n"));
	answer = once(f, "GET / HTTP/1.1\r\nHost: a:1\r\nAccept-Encoding: br;q=0, gzip\r\n\r\n");
	assert_non_null(strstr(answer, "\r\nContent-Encoding: gzip\r\n"));
	answer = once(f, "GET / HTTP/1.1\r\nHost: a:1\r\nAccept-Encoding: identity\r\n\r\n");
	assert_null(strstr(answer, "Content-Encoding"));
	assert_non_null(strstr(once(f, "GET /api/openapi.json HTTP/1.1\r\nHost: a:1\r\n\r\n"), "\"openapi\":\"3.1.0\""));
	assert_int_equal(test_status(once(f, "GET /api HTTP/1.1\r\nHost: a:1\r\n\r\n")), 404);
	assert_int_equal(test_status(once(f, "GET /ws/x HTTP/1.1\r\nHost: a:1\r\n\r\n")), 404);
}

#define SESSION_ELEMENT "<script type=\"application/json\" id=\"session\">"

/* Who is logged in finds in the page what its script asks for first; nothing in it is HTML. */
static void test_page(void **state)
{
	struct test_web *f = *state;
	char plain[8192];
	assert_int_equal(str_copy(str_from(once(f, "GET / HTTP/1.1\r\nHost: a:1\r\n\r\n")), plain, sizeof plain), 0);
	assert_null(strstr(plain, SESSION_ELEMENT));
	const char *head = strstr(plain, "<head>"), *page = once(f, TEST_GET("/"));
	if (!head) /* this tree was built without the console */
		skip();
	assert_int_equal(test_status(page), 200);
	assert_null(strstr(page, "\r\nETag: "));
	assert_non_null(strstr(page, "\r\nCache-Control: no-store\r\n"));
	page = strstr(page, "<head>" SESSION_ELEMENT "{\"account\":{");
	assert_non_null(page);
	assert_non_null(strstr(page, "\"name\":\"ro\\\"\\u003cot\""));
	assert_non_null(strstr(page, "\"ticket\":\""));
	page = strstr(page, "</script>") + strlen("</script>");
	assert_string_equal(page, head + strlen("<head>"));
	assert_int_equal(f->web->tickets.n, 1);
	f->err = -E_SESSION;
	assert_string_equal(once(f, TEST_GET("/")), plain);
	f->err = 0;
	f->silent = true; /* the page waits a moment only */
	assert_string_equal(once(f, TEST_GET("/")), plain);
	assert_int_equal(f->web->tickets.n, 1);
}

static void test_queries(void **state)
{
	struct test_web *f = *state;
	/* core in this test does not know the call: 501 is as far as a good one comes. */
	assert_int_equal(test_status(once(f, TEST_GET("/api/audit?limit=5&before=7&text=a%20b%C3%A4+c"))), 501);
	static const char *const bad[] = {
		TEST_GET("/api/audit?limit=x"),          TEST_GET("/api/audit?limit=1&limit=2"),
		TEST_GET("/api/audit?other=1"),          TEST_GET("/api/audit?text=%4"),
		TEST_GET("/api/audit?text=%zz"),         TEST_GET("/api/audit?text=%00"),
		TEST_GET("/api/audit?text=%FF%FE"),      TEST_GET("/api/me?x=1"),
		TEST_GET("/api/audit?limit=4294967296"),
	};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		assert_int_equal(test_status(once(f, bad[i])), 400);
	assert_int_equal(test_status(once(f, TEST_GET("/api/devices/xyz"))), 404);
}

/* Without a certificate nobody is met. */
static void test_no_certificate(void **state)
{
	struct test_web *f = *state;
	int fds[2];
	char byte;
	assert_int_equal(fd_pair_stream(fds), 0);
	web_connection(f->web, fds[1]);
	assert_int_equal(fd_read(fds[0], &byte, 1), 0);
	assert_int_equal(f->web->n_connections, 0);
	fd_close(fds[0]);
}

static bool ended(struct test_web *f)
{
	return f->client->ended;
}

/* When all places are taken, who is idle goes; who is not, stays. */
static void test_room(void **state)
{
	struct test_web *f = *state;
	struct test_client idle, fresh;
	assert_int_equal(test_client_open(f, &idle), 0);
	assert_int_equal(ask(&idle, TEST_GET("/api/me")), 200);
	size_t others = HTTP_CONNECTIONS_MAX - f->web->n_connections;
	f->web->n_connections += others; /* as if they were there, all at work */
	assert_int_equal(test_client_open(f, &fresh), 0);
	assert_int_equal(ask(&fresh, TEST_GET("/api/me")), 200);
	f->client = &idle;
	test_web_run(f, ended);
	test_client_close(&idle);
	assert_int_equal(test_client_open(f, &idle), 0); /* the idle one is `fresh` now */
	f->client = &fresh;
	test_web_run(f, ended);
	f->web->n_connections -= others;
	test_client_close(&idle);
	test_client_close(&fresh);
	test_web_run(f, nobody_left);
}

/* Who tries passwords waits for each answer, and has few places; a good one is not made to wait. */
static void test_attempts(void **state)
{
	struct test_web *f = *state;
	static const char *const request = TEST_SEND("POST", "/api/login", "27") "{\"name\":\"a\",\"password\":\"b\"}";
	struct test_client c[HTTP_LOGINS_EACH + 1];
	f->err = -E_LOGIN;
	for (int i = 0; i < HTTP_LOGINS_EACH + 1; i++)
		assert_int_equal(test_client_open(f, &c[i]), 0);
	for (int i = 0; i < HTTP_LOGINS_EACH; i++)
		test_client_send(&c[i], request);
	wanted = HTTP_LOGINS_EACH;
	test_web_run(f, asked_wanted);
	assert_int_equal(ask(&c[HTTP_LOGINS_EACH], request), 503);
	for (int i = 0; i < HTTP_LOGINS_EACH; i++)
		assert_int_equal(ask(&c[i], ""), 401);
	assert_int_equal(f->asked, HTTP_LOGINS_EACH);
	f->err = 0;
	assert_int_equal(ask(&c[0], request), 200);
	f->err = -E_LOGIN; /* one still waits when the role ends */
	test_client_send(&c[1], request);
	wanted = HTTP_LOGINS_EACH + 2;
	test_web_run(f, asked_wanted);
	for (int i = 0; i < HTTP_LOGINS_EACH + 1; i++)
		test_client_close(&c[i]);
}

/* A browser that does not read gets its answer when it does. */
static void test_slow_reader(void **state)
{
	struct test_web *f = *state;
	struct test_client c;
	f->rows = 5000; /* more than a socket's buffer holds */
	assert_int_equal(test_client_open(f, &c), 0);
	io_watch_set(c.watch, 0);
	test_client_send(&c, TEST_GET("/api/me/sessions"));
	test_web_run(f, was_asked);
	io_watch_set(c.watch, IO_READABLE);
	const char *answer = test_ask(&c, "");
	assert_int_equal(test_status(answer), 200);
	assert_string_equal(answer + strlen(answer) - 2, "}]");
	test_client_close(&c);
}

static void test_upgrade_refused(void **state)
{
	struct test_web *f = *state;
	struct test_client c;
	assert_int_equal(test_client_open(f, &c), 0);
	assert_int_equal(ask(&c, "GET /ws HTTP/1.1\r\nHost: a:1\r\nOrigin: https://a:1\r\n" TEST_COOKIE "\r\n"), 426);
	assert_int_equal(ask(&c, "GET /ws HTTP/1.1\r\nHost: a:1\r\n" TEST_COOKIE "\r\n"), 403);
	test_client_close(&c);
}

/* Whatever fails for want of memory or descriptors: an error or a closed connection, and nothing is kept. */
struct torture {
	struct test_web f;
	const char *request;
	unsigned status;
};

static int torture_once(void *ctx)
{
	struct torture *t = ctx;
	struct test_client c = { .fd = -1 };
	int err = test_web_open(&t->f);
	if (err == 0)
		err = test_client_open(&t->f, &c);
	if (err == 0) {
		t->f.rows = 3;
		const char *answer = test_ask(&c, t->request);
		err = test_status(answer) == t->status ? 0 : -E_NO_MEMORY;
	}
	if (c.fd >= 0)
		test_client_close(&c);
	test_web_close(&t->f);
	return err;
}

static void free_memory(void *ptr)
{
	mem_free(ptr);
}

static void test_memory(void **state)
{
	(void)state;
	static struct torture requests[] = {
		{ .request = "GET / HTTP/1.1\r\nHost: a:1\r\n\r\n", .status = 200 },
		{ .request = TEST_GET("/api/me"), .status = 200 },
		{ .request = TEST_GET("/api/me/sessions"), .status = 200 },
		{ .request = TEST_SEND("POST", "/api/ws-ticket", "0"), .status = 200 },
		{ .request = TEST_SEND("PATCH", "/api/devices/" ID, "15") "{\"group\":\"red\"}", .status = 204 },
		{ .request = TEST_GET("/nothing.txt"), .status = 404 },
	};
	json_set_alloc_funcs(mem_alloc, free_memory);
	for (size_t i = 0; i < sizeof requests / sizeof *requests; i++)
		for (long n = 1;; n++) { /* some points may fail without harm */
			size_t before = test_descriptors();
			fault_arm(n);
			torture_once(&requests[i]);
			bool passed = fault_armed();
			fault_arm(0);
			assert_int_equal(test_descriptors(), before);
			if (passed)
				break;
		}
	json_set_alloc_funcs(malloc, free);
}

#define FILE_SIZE 1000003

static int file_make(char *bytes)
{
	FILE *file = tmpfile();
	for (size_t i = 0; i < FILE_SIZE; i++)
		bytes[i] = (char)(i * i >> 3);
	int fd = dup(fileno(file));
	assert_int_equal(write(fd, bytes, FILE_SIZE), FILE_SIZE);
	fclose(file);
	return fd;
}

/* Until its hash is known. */
static const char *downloaded(struct test_client *c, const char *request)
{
	const char *answer;
	do
		answer = test_ask(c, request);
	while (test_status(answer) == 503);
	return answer;
}

static void test_download(void **state)
{
	struct test_web *f = *state;
	struct test_client c;
	static char bytes[FILE_SIZE];
	uint8_t hash[HASH_SIZE];
	char text[2 * HASH_SIZE + 1], json[200];
	assert_int_equal(test_client_open(f, &c), 0);
	assert_int_equal(ask(&c, TEST_GET("/dl/murmesh")), 404); /* there is none */
	int fd = file_make(bytes);
	web_set_download(f->web, fd);
	hash_sha256(bytes, sizeof bytes, hash);
	hex_encode(hash, sizeof hash, text);
	for (int i = 0; i < 2; i++) { /* the connection goes on */
		const char *answer = downloaded(&c, TEST_GET("/dl/murmesh"));
		assert_int_equal(test_status(answer), 200);
		assert_non_null(strstr(answer, "Content-Length: 1000003\r\n"));
		assert_non_null(strstr(answer, "X-Content-Type-Options: nosniff\r\n"));
		assert_memory_equal(strstr(answer, "\r\n\r\n") + 4, bytes, sizeof bytes);
		assert_int_equal(ask(&c, TEST_GET("/api/me")), 200);
	}
	assert_memory_equal(strstr(test_ask(&c, TEST_GET("/dl/murmesh.sha256")), "\r\n\r\n") + 4, text, 64);
	snprintf(json, sizeof json, "{\"version\":\"" MURMESH_VERSION "\",\"size\":1000003,\"sha256\":\"%s\"}", text);
	assert_string_equal(strstr(test_ask(&c, TEST_GET("/dl/murmesh.json")), "\r\n\r\n") + 4, json);
	assert_int_equal(ask(&c, TEST_GET("/dl/")), 404);
	assert_int_equal(ask(&c, TEST_GET("/dl/murmesh-agent")), 404);

	/* one that has become shorter meanwhile is not whole for the client either */
	assert_int_equal(ftruncate(fd, 500000), 0);
	const char *answer = test_ask(&c, TEST_GET("/dl/murmesh"));
	assert_int_equal(test_status(answer), 200);
	assert_true(c.ended);
	test_client_close(&c);
	close(fd);
}

/* What is no file is not offered. */
static void test_no_download(void **state)
{
	struct test_web *f = *state;
	struct test_client c;
	int ends[2];
	assert_int_equal(pipe(ends), 0);
	web_set_download(f->web, ends[0]);
	assert_int_equal(test_client_open(f, &c), 0);
	assert_int_equal(ask(&c, TEST_GET("/dl/murmesh")), 404);
	test_client_close(&c);
	close(ends[0]);
	close(ends[1]);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, test_web_setup, test_web_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_calls),
		TEST(test_lists),
		TEST(test_errors),
		TEST(test_gone_meanwhile),
		TEST(test_limits),
		TEST(test_room),
		TEST(test_slow_reader),
		TEST(test_upgrade_refused),
		TEST(test_attempts),
		TEST(test_framing),
		TEST(test_assets),
		TEST(test_page),
		TEST(test_download),
		TEST(test_no_download),
		TEST(test_queries),
		TEST(test_no_certificate),
		cmocka_unit_test(test_memory),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
