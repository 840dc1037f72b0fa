/* What browsers watch: streams of a core that the test plays, through feeds and sockets, to a client that may be slow, or gone for a while. */
#include "web/watch.h"

#include "web/feed.h"
#include "web/socket.h"
#include "web/test_web.h"

struct browser {
	struct test_client client;
	char text[1 << 20]; /* the last message */
	size_t len;
	unsigned opcode;
};

/* ---- a WebSocket client ---- */

static void browser_send(struct browser *b, unsigned opcode, const char *text)
{
	uint8_t frame[4096 + 14] = { (uint8_t)(0x80 | opcode) };
	size_t len = strlen(text), at = 2;
	assert_true(len < 4096);
	frame[1] = (uint8_t)(0x80 | (len < 126 ? len : 126));
	if (len >= 126) {
		frame[at++] = (uint8_t)(len >> 8);
		frame[at++] = (uint8_t)len;
	}
	at += 4; /* a mask of zeros */
	memcpy(frame + at, text, len);
	assert_int_equal(write(b->client.fd, frame, at + len), at + len);
}

/* The length of the frame at the start of what came, with its head; 0 when it is not whole. */
static size_t frame_len(const struct test_client *c, size_t *ret_head)
{
	const uint8_t *bytes = (const uint8_t *)c->in;
	if (c->len < 2)
		return 0;
	size_t size = bytes[1] & 127, head = size == 126 ? 4 : size == 127 ? 10 : 2;
	if (c->len < head)
		return 0;
	if (head > 2)
		for (size_t i = 2, value = 0; i < head; i++, size = value)
			value = value << 8 | bytes[i];
	*ret_head = head;
	return c->len >= head + size ? head + size : 0;
}

static bool framed(struct test_web *f)
{
	size_t head;
	return f->client->ended || frame_len(f->client, &head);
}

/* The next frame; its payload is in b->text. */
static const char *browser_next(struct test_web *f, struct browser *b)
{
	static char frame[(1 << 20) + 16];
	size_t head = 0;
	f->client = &b->client;
	test_web_run(f, framed);
	size_t len = frame_len(&b->client, &head);
	assert_true(len && len < sizeof frame);
	test_client_take(&b->client, frame, len);
	b->opcode = frame[0] & 15;
	b->len = len - head;
	memcpy(b->text, frame + head, b->len);
	b->text[b->len] = 0;
	return b->text;
}

static void browser_open_as(struct test_web *f, struct browser *b, const char *cookie)
{
	char request[512], ticket[TICKET_TEXT_SIZE];
	struct ticket wish = { .kind = TICKET_LIVE };
	const struct h1_fields fields = { .count = 1, .at = { { STR("Cookie"), str_from(cookie) } } };
	*b = (struct browser){ .opcode = 0 };
	assert_int_equal(origin_session(&fields, wish.session), 0);
	assert_int_equal(ticket_issue(&f->web->tickets, &wish, io_loop_now_ms(f->loop), ticket), 0);
	assert_int_equal(test_client_open(f, &b->client), 0);
	snprintf(request, sizeof request,
	         "GET /ws?ticket=%s HTTP/1.1\r\nHost: a:1\r\nOrigin: https://a:1\r\nCookie: %s\r\nUpgrade: "
	         "websocket\r\nConnection: Upgrade\r\n"
	         "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
	         ticket, cookie);
	assert_int_equal(test_status(test_ask(&b->client, request)), 101);
}

static void browser_open(struct test_web *f, struct browser *b)
{
	browser_open_as(f, b, "__Host-session=AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
}

static bool no_sockets(struct test_web *f)
{
	return list_empty(&f->web->sockets);
}

/* Cut off, without a goodbye. */
static void browser_close(struct test_web *f, struct browser *b)
{
	test_client_close(&b->client);
	test_web_run(f, no_sockets);
}

static size_t wanted;

static bool asked(struct test_web *f)
{
	return f->asked >= wanted;
}

/* Until core was asked so many times in all. */
static void asked_await(struct test_web *f, size_t n)
{
	wanted = n;
	test_web_run(f, asked);
	assert_int_equal(f->asked, n);
}

static bool had(struct str text, const char *part)
{
	return memmem(text.ptr, text.len, part, strlen(part));
}

#define ASSERT_HAS(b, part)                                                                                                        \
	do {                                                                                                                       \
		if (!had((struct str){ (b)->text, (b)->len }, part))                                                               \
			fail_msg("\"%s\" is not in %s", part, (b)->text);                                                          \
	} while (0)

/* ---- core's part ---- */

static int device_send(struct rpc_call *stream, uint8_t id, const char *name)
{
	murmesh_FleetEvent event = { .which_body = murmesh_FleetEvent_device_tag };
	event.body.device.id[0] = id;
	str_copy(str_from(name), event.body.device.name, sizeof event.body.device.name);
	return rpc_call_send(stream, &event);
}

static void complete_send(struct rpc_call *stream)
{
	const murmesh_FleetEvent event = { .which_body = murmesh_FleetEvent_complete_tag, .body.complete = true };
	assert_int_equal(rpc_call_send(stream, &event), 0);
}

#define SUBSCRIBE "{\"op\":\"subscribe\",\"channel\":\"fleet\"}"

/* A browser with a snapshot of one device; returns its stream. */
static struct rpc_call *fleet_open(struct test_web *f, struct browser *b)
{
	size_t before = f->asked;
	browser_open(f, b);
	asked_await(f, before + 1); /* the guard */
	browser_send(b, 1, SUBSCRIBE);
	asked_await(f, before + 2);
	struct rpc_call *stream = f->stream;
	assert_int_equal(device_send(stream, 1, "web01"), 0);
	complete_send(stream);
	browser_next(f, b);
	ASSERT_HAS(b, "{\"channel\":\"fleet\",\"epoch\":\"");
	ASSERT_HAS(b, "\"reset\":true,\"events\":[{\"device\":{\"id\":\"01000000000000000000000000000000\",\"name\":\"web01\"");
	if (!had((struct str){ b->text, b->len }, "{\"complete\":true}"))
		browser_next(f, b);
	ASSERT_HAS(b, "{\"complete\":true}");
	ASSERT_HAS(b, "\"seq\":2,");
	return stream;
}

static void resume_order(struct browser *b, char out[256], unsigned since)
{
	const char *epoch = strstr(b->text, "\"epoch\":\"") + 9;
	snprintf(out, 256, "{\"op\":\"subscribe\",\"channel\":\"fleet\",\"since\":%u,\"epoch\":\"%.16s\"}", since, epoch);
}

/* ---- tests ---- */

static void test_changes(void **state)
{
	struct test_web *f = *state;
	static struct browser b;
	murmesh_FleetEvent removed = { .which_body = murmesh_FleetEvent_removed_tag, .body.removed = { 1 } };
	struct rpc_call *stream = fleet_open(f, &b);
	assert_int_equal(device_send(stream, 2, "db"), 0);
	browser_next(f, &b);
	ASSERT_HAS(&b, "\"name\":\"db\"");
	ASSERT_HAS(&b, "\"seq\":3,");
	assert_false(had((struct str){ b.text, b.len }, "reset"));
	assert_int_equal(rpc_call_send(stream, &removed), 0);
	browser_next(f, &b);
	ASSERT_HAS(&b, "[{\"removed\":\"01000000000000000000000000000000\"}]");
	browser_send(&b, 1, "{\"op\":\"unsubscribe\",\"channel\":\"fleet\"}");
	browser_send(&b, 1, "nonsense");
	browser_next(f, &b);
	ASSERT_HAS(&b, "\"error\":\"E1109\"");
	assert_int_equal(f->web->n_subscriptions, 0);
	browser_close(f, &b);
}

static void test_resume(void **state)
{
	struct test_web *f = *state;
	static struct browser b, again;
	char order[256];
	struct rpc_call *stream = fleet_open(f, &b);
	resume_order(&b, order, 2);
	browser_close(f, &b);
	assert_int_equal(f->web->n_subscriptions, 1); /* it waits */
	assert_int_equal(device_send(stream, 1, "renamed"), 0);
	size_t before = f->asked;
	browser_open(f, &again);
	browser_send(&again, 1, order);
	browser_next(f, &again);
	ASSERT_HAS(&again, "\"name\":\"renamed\"");
	ASSERT_HAS(&again, "\"seq\":3,");
	assert_false(had((struct str){ again.text, again.len }, "reset"));
	assert_int_equal(f->asked, before + 1); /* the guard alone: no new stream */
	/* It is taken over even while the old socket seems to live. */
	browser_open(f, &b);
	browser_send(&b, 1, order);
	browser_next(f, &b);
	ASSERT_HAS(&b, "\"name\":\"renamed\"");
	assert_int_equal(f->web->n_subscriptions, 1);
	test_client_close(&again.client);
	/* What nobody was sent cannot be resumed. */
	resume_order(&b, order, 99);
	browser_send(&b, 1, order);
	asked_await(f, before + 2);
	assert_int_equal(device_send(f->stream, 1, "fresh"), 0);
	browser_next(f, &b);
	ASSERT_HAS(&b, "\"reset\":true");
	browser_close(f, &b);
}

static void test_resume_by_others(void **state)
{
	struct test_web *f = *state;
	static struct browser b, stranger;
	char order[256];
	fleet_open(f, &b);
	resume_order(&b, order, 2);
	browser_close(f, &b);
	size_t before = f->asked;
	browser_open_as(f, &stranger, "__Host-session=AgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
	browser_send(&stranger, 1, order);
	asked_await(f, before + 2);
	assert_int_equal(f->session[0], 2);
	assert_int_equal(f->web->n_subscriptions, 2);
	browser_close(f, &stranger);
}

static bool no_subscriptions(struct test_web *f)
{
	return f->web->n_subscriptions == 0;
}

static void test_nobody_comes_back(void **state)
{
	struct test_web *f = *state;
	static struct browser b;
	fleet_open(f, &b);
	browser_close(f, &b);
	watch_timer(f->web);
	assert_int_equal(f->web->n_subscriptions, 1); /* not yet */
	rpc_call_finish(f->stream, -E_FLOW, NULL);    /* core gives up: nobody is there to begin again for */
	test_web_run(f, no_subscriptions);
	fleet_open(f, &b);
	browser_send(&b, 8, "\x03\xe8"); /* a page that is left says goodbye: it does not come back */
	test_web_run(f, no_subscriptions);
	test_client_close(&b.client);
	test_web_run(f, no_sockets);
}

/* A browser that does not read costs what its things cost, however often they change; in the end it has the latest of each. */
static void test_slow_browser(void **state)
{
	struct test_web *f = *state;
	static struct browser b;
	char name[16];
	struct rpc_call *stream = fleet_open(f, &b);
	io_watch_set(b.client.watch, 0);
	for (int i = 0; i < 20000; i++) {
		snprintf(name, sizeof name, "n%d", i);
		while (device_send(stream, (uint8_t)(i % 10), name) == -E_FULL) {
			wanted = 0;
			test_web_run(f, asked);
			io_timer_start(f->tick, 0, 0);
			io_loop_run(f->loop); /* a turn */
		}
	}
	io_watch_set(b.client.watch, IO_READABLE);
	bool seen[10] = { false };
	size_t messages = 0;
	for (int left = 10; left > 0; messages++) {
		browser_next(f, &b);
		for (int k = 0; k < 10; k++) {
			snprintf(name, sizeof name, "\"n%d\"", 19990 + k);
			if (!seen[k] && had((struct str){ b.text, b.len }, name)) {
				seen[k] = true;
				left--;
			}
		}
	}
	assert_in_range(messages, 1, 1000);
	browser_close(f, &b);
}

static bool core_blocked(struct test_web *f)
{
	char name[64];
	static uint8_t n;
	memset(name, 'x', sizeof name - 1);
	name[sizeof name - 1] = 0;
	murmesh_FleetEvent event = { .which_body = murmesh_FleetEvent_device_tag };
	for (int i = 0; i < 100; i++) {
		event.body.device.id[0] = n++;
		event.body.device.id[1] = (uint8_t)(f->rows >> 8);
		event.body.device.id[2] = (uint8_t)f->rows;
		memcpy(event.body.device.name, name, sizeof name);
		if (rpc_call_send(f->stream, &event) == -E_FULL)
			return true;
		f->rows++;
	}
	return false;
}

/* During the snapshot core is made to wait: nothing is lost, little is held. */
static void test_snapshot_waits(void **state)
{
	struct test_web *f = *state;
	static struct browser b;
	browser_open(f, &b);
	browser_send(&b, 1, SUBSCRIBE);
	asked_await(f, 2);
	io_watch_set(b.client.watch, 0);
	test_web_run(f, core_blocked);
	size_t sent = f->rows, got = 0;
	io_watch_set(b.client.watch, IO_READABLE);
	while (got < sent) {
		browser_next(f, &b);
		for (const char *at = b.text; (at = strstr(at, "{\"device\":")); at++)
			got++;
	}
	assert_int_equal(got, sent);
	browser_close(f, &b);
}

static bool too_much(struct test_web *f)
{
	if (list_empty(&f->web->sockets) || f->web->n_subscriptions == 0)
		return true;
	core_blocked(f);
	return false;
}

/* After it a browser that does not read at all is given up when too much waits: more things than it can take. */
static void test_gives_up(void **state)
{
	struct test_web *f = *state;
	static struct browser b;
	f->stream = fleet_open(f, &b);
	io_watch_set(b.client.watch, 0);
	test_web_run(f, too_much);
	assert_int_equal(f->web->n_subscriptions, 0);
	io_watch_set(b.client.watch, IO_READABLE);
	do
		browser_next(f, &b);
	while (b.opcode == 1);
	assert_int_equal(b.opcode, 8);
	assert_int_equal((uint8_t)b.text[0] << 8 | (uint8_t)b.text[1], SOCKET_AGAIN);
	browser_close(f, &b);
}

static void test_core_comes_back(void **state)
{
	struct test_web *f = *state;
	static struct browser b;
	char order[256];
	fleet_open(f, &b);
	resume_order(&b, order, 2);
	test_web_core_gone(f);
	test_web_core(f);
	asked_await(f, 4); /* guard and watch once more */
	assert_int_equal(device_send(f->streams[1], 3, "after") == 0 ? 0 : device_send(f->streams[0], 3, "after"), 0);
	browser_next(f, &b);
	ASSERT_HAS(&b, "\"reset\":true");
	ASSERT_HAS(&b, "\"name\":\"after\"");
	assert_null(strstr(order, strstr(b.text, "epoch") + 8));
	/* The stream alone ends: it is opened again. */
	for (size_t i = 0; i < f->n_streams; i++)
		if (device_send(f->streams[i], 4, "x") == 0)
			f->stream = f->streams[i];
	rpc_call_finish(f->stream, -E_FLOW, NULL);
	asked_await(f, 5);
	browser_close(f, &b);
}

static void test_refusals(void **state)
{
	struct test_web *f = *state;
	static struct browser b;
	browser_open(f, &b);
	asked_await(f, 1);
	f->err = -E_DENIED;
	browser_send(&b, 1, SUBSCRIBE);
	browser_next(f, &b);
	ASSERT_HAS(&b, "{\"channel\":\"fleet\",\"device\":null,\"error\":{\"error\":\"E1019\"");
	assert_int_equal(f->web->n_subscriptions, 0);
	f->err = -E_SESSION;
	browser_send(&b, 1, SUBSCRIBE);
	browser_next(f, &b);
	ASSERT_HAS(&b, "E1220");
	browser_next(f, &b);
	assert_int_equal(b.opcode, 8);
	assert_int_equal((uint8_t)b.text[0] << 8 | (uint8_t)b.text[1], SOCKET_POLICY);
	browser_close(f, &b);
}

static void test_session_ends(void **state)
{
	struct test_web *f = *state;
	static struct browser b, other;
	browser_open(f, &b);
	asked_await(f, 1);
	browser_open(f, &other); /* the same session: one guard */
	struct rpc_call *guard = f->stream;
	assert_int_equal(f->n_streams, 1);
	rpc_call_finish(guard, -E_SESSION, NULL);
	browser_next(f, &b);
	assert_int_equal(b.opcode, 8);
	browser_next(f, &other);
	assert_int_equal(other.opcode, 8);
	assert_int_equal((uint8_t)other.text[0] << 8 | (uint8_t)other.text[1], SOCKET_POLICY);
	test_client_close(&other.client);
	browser_close(f, &b);
	assert_true(list_empty(&f->web->guards));
}

/* What happens now: a ticket of core, a stream of viz. */
static void test_live(void **state)
{
	struct test_web *f = *state;
	static struct browser b;
	static murmesh_LiveBatch batch;
	browser_open(f, &b);
	asked_await(f, 1);
	browser_send(&b, 1, "{\"op\":\"subscribe\",\"channel\":\"live\",\"device\":\"05000000000000000000000000000000\"}");
	asked_await(f, 3);
	batch = (murmesh_LiveBatch){ .changes_count = 10 };
	murmesh_LiveChange *change = batch.changes;
	*change++ =
	        (murmesh_LiveChange){ .which_body = murmesh_LiveChange_node_tag, .body.node = { .id = "p1", .kind = "process" } };
	*change++ = (murmesh_LiveChange){ .which_body = murmesh_LiveChange_edge_tag, .body.edge = { .id = "e1", .rate = 5 } };
	*change++ = (murmesh_LiveChange){ .which_body = murmesh_LiveChange_row_tag, .body.row = { .event = "exec" } };
	*change++ = (murmesh_LiveChange){ .which_body = murmesh_LiveChange_row_tag, .body.row = { .event = "exit" } };
	*change++ = (murmesh_LiveChange){ .which_body = murmesh_LiveChange_missing_tag, .body.missing = { .events = 3 } };
	*change++ = (murmesh_LiveChange){ .which_body = murmesh_LiveChange_source_tag, .body.source = { .module = "process" } };
	*change++ = (murmesh_LiveChange){ .which_body = murmesh_LiveChange_edge_removed_tag, .body.edge_removed = "e2" };
	*change++ = (murmesh_LiveChange){ .which_body = murmesh_LiveChange_node_removed_tag, .body.node_removed = "p2" };
	*change++ =
	        (murmesh_LiveChange){ .which_body = murmesh_LiveChange_node_tag, .body.node = { .id = "p1", .label = "later" } };
	*change++ = (murmesh_LiveChange){ .which_body = murmesh_LiveChange_complete_tag, .body.complete = true };
	assert_int_equal(rpc_call_send(f->stream, &batch), 0);
	browser_next(f, &b);
	ASSERT_HAS(&b, "{\"channel\":\"live\",\"device\":\"05000000000000000000000000000000\",\"epoch\":");
	ASSERT_HAS(&b, "\"events\":[{\"node\":{\"id\":\"p1\",\"kind\":\"\",\"label\":\"later\""); /* the first was overtaken */
	ASSERT_HAS(&b, "{\"edge\":{\"id\":\"e1\"");
	ASSERT_HAS(&b, "\"event\":\"exec\"");
	ASSERT_HAS(&b, "\"event\":\"exit\"");
	ASSERT_HAS(&b, "{\"missing\":{\"device\":null,\"events\":3");
	ASSERT_HAS(&b, "{\"source\":{\"device\":null,\"module\":\"process\"");
	ASSERT_HAS(&b, "{\"edge_removed\":\"e2\"},{\"node_removed\":\"p2\"},{\"complete\":true}]");
	f->err = -E_NOT_FOUND;
	browser_send(&b, 1, "{\"op\":\"subscribe\",\"channel\":\"live\"}");
	browser_next(f, &b);
	ASSERT_HAS(&b, "{\"channel\":\"live\",\"device\":null,\"error\":{\"error\":\"E1017\"");
	browser_close(f, &b);
}

static void test_tasks(void **state)
{
	struct test_web *f = *state;
	static struct browser b;
	murmesh_TaskEvent event = { .which_body = murmesh_TaskEvent_task_tag, .body.task = { .title = "uptime", .total = 3 } };
	browser_open(f, &b);
	asked_await(f, 1);
	browser_send(&b, 1, "{\"op\":\"subscribe\",\"channel\":\"tasks\"}");
	asked_await(f, 2);
	assert_int_equal(rpc_call_send(f->stream, &event), 0);
	browser_next(f, &b);
	ASSERT_HAS(&b, "\"events\":[{\"task\":{");
	ASSERT_HAS(&b, "\"title\":\"uptime\"");
	event = (murmesh_TaskEvent){ .which_body = murmesh_TaskEvent_complete_tag, .body.complete = true };
	assert_int_equal(rpc_call_send(f->stream, &event), 0);
	browser_next(f, &b);
	ASSERT_HAS(&b, "[{\"complete\":true}]");
	browser_close(f, &b);
}

static void test_limits(void **state)
{
	struct test_web *f = *state;
	static struct browser b;
	char order[128];
	browser_open(f, &b);
	for (int i = 0; i < WATCH_PER_SOCKET; i++) {
		snprintf(order, sizeof order, "{\"op\":\"subscribe\",\"channel\":\"live\",\"device\":\"%032x\"}", i);
		browser_send(&b, 1, order);
	}
	browser_send(&b, 1, SUBSCRIBE);
	browser_next(f, &b);
	ASSERT_HAS(&b, "\"error\":\"E1020\"");
	assert_int_equal(f->web->n_subscriptions, WATCH_PER_SOCKET);
	/* Twice the same: the second begins again, in the place of the first. */
	browser_send(&b, 1, order);
	browser_send(&b, 1, "x");
	browser_next(f, &b);
	assert_int_equal(f->web->n_subscriptions, WATCH_PER_SOCKET);
	browser_close(f, &b);
}

static void test_room(void **state)
{
	struct test_web *f = *state;
	static struct browser b;
	fleet_open(f, &b);
	browser_close(f, &b);
	assert_int_equal(f->web->n_subscriptions, 1);
	f->web->n_subscriptions += WATCH_MAX - 1; /* as if they were there */
	browser_open(f, &b);
	browser_send(&b, 1, SUBSCRIBE); /* the orphan gives way */
	browser_send(&b, 1, "{\"op\":\"subscribe\",\"channel\":\"tasks\"}");
	browser_next(f, &b);
	ASSERT_HAS(&b, "\"error\":\"E1022\"");
	assert_int_equal(f->web->n_subscriptions, WATCH_MAX);
	f->web->n_subscriptions -= WATCH_MAX - 1;
	browser_close(f, &b);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, test_web_setup, test_web_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_changes),      TEST(test_resume),   TEST(test_resume_by_others), TEST(test_nobody_comes_back),
		TEST(test_slow_browser), TEST(test_gives_up), TEST(test_snapshot_waits),   TEST(test_core_comes_back),
		TEST(test_refusals),     TEST(test_live),     TEST(test_session_ends),     TEST(test_tasks),
		TEST(test_limits),       TEST(test_room),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
