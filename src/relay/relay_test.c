#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants those first */
#include <cmocka.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fault.h"
#include "crypto/key.h"
#include "io/io.h"
#include "os/fd.h"
#include "os/random.h"
#include "os/socket.h"
#include "relay/relay.h"

struct place {
	struct io_loop *loop;
	struct io_timer *tick;
	struct relay *relay;
	struct relay_settings settings;
	int listener;
	struct socket_address address;
	struct relay_report report;  /* the last one */
	uint64_t reports, news;      /* told that there are */
	struct relay_report told[4]; /* by relay_news() */
	size_t n_told, most_told;
	const uint64_t *counter; /* run until it has this value */
	uint64_t value;
};

/* ---- a relay in a loop ---- */

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

static const struct relay_counters *counters(const struct place *place)
{
	return relay_counters(place->relay);
}

static void on_ended(void *ctx, const struct relay_report *report)
{
	struct place *place = ctx;
	place->report = *report;
	place->reports++;
}

static void on_news(void *ctx)
{
	((struct place *)ctx)->news++;
}

static const struct relay_events events = { on_ended, on_news };

static int setup(void **state)
{
	struct place *place = calloc(1, sizeof *place);
	struct socket_address any;
	*state = place;
	place->loop = io_loop_new();
	place->tick = io_timer_new(place->loop, on_tick, place);
	place->settings = relay_settings_default;
	assert_int_equal(socket_address_parse(STR("127.0.0.1"), 0, &any), 0);
	place->listener = socket_listen(&any);
	assert_int_equal(socket_local(place->listener, &place->address), 0);
	return 0;
}

static void start(struct place *place)
{
	place->relay = relay_new(place->loop, &place->settings, &events, place);
	assert_non_null(place->relay);
}

static int teardown(void **state)
{
	struct place *place = *state;
	relay_free(place->relay);
	fd_close(place->listener);
	io_timer_free(place->tick);
	io_loop_free(place->loop);
	free(place);
	return 0;
}

/* ---- tickets and ends ---- */

struct meeting {
	struct id pair;
	uint8_t tickets[2][RELAY_TICKET];
	int ends[2]; /* what client and agent hold */
};

static int announce(struct place *place, const struct meeting *m, enum relay_side side, uint32_t expiry_s)
{
	struct relay_ticket ticket = { .pair = m->pair, .side = side, .expiry_s = expiry_s };
	hash_sha256(m->tickets[side], RELAY_TICKET, ticket.hash);
	return relay_announce(place->relay, &ticket);
}

static void meeting_init(struct meeting *m)
{
	random_id(&m->pair);
	random_bytes(m->tickets, sizeof m->tickets);
	m->ends[0] = m->ends[1] = -1;
}

static void meeting_new(struct place *place, struct meeting *m)
{
	meeting_init(m);
	for (int side = 0; side < 2; side++)
		assert_int_equal(announce(place, m, (enum relay_side)side, 30), 0);
}

/* A connection whose accepted end is the relay's; returns the other, non-blocking. */
static int connection_new(struct place *place)
{
	int end = socket_connect(&place->address), fd = -EAGAIN;
	assert_true(end >= 0);
	while (fd == -EAGAIN)
		fd = socket_accept(place->listener);
	assert_true(fd >= 0);
	relay_leg(place->relay, fd);
	return end;
}

static void preamble_send(int end, enum relay_side side, const uint8_t ticket[RELAY_TICKET])
{
	uint8_t preamble[RELAY_PREAMBLE];
	relay_preamble_write(side, ticket, preamble);
	assert_int_equal(send(end, preamble, sizeof preamble, MSG_NOSIGNAL), sizeof preamble);
}

static int leg_new(struct place *place, enum relay_side side, const uint8_t ticket[RELAY_TICKET])
{
	int end = connection_new(place);
	preamble_send(end, side, ticket);
	return end;
}

static void meet(struct place *place, struct meeting *m)
{
	uint64_t paired = counters(place)->paired;
	meeting_new(place, m);
	for (int side = 0; side < 2; side++)
		m->ends[side] = leg_new(place, (enum relay_side)side, m->tickets[side]);
	run_until(place, &counters(place)->paired, paired + 1);
}

static void ends_close(struct meeting *m)
{
	for (int side = 0; side < 2; side++)
		m->ends[side] = fd_close(m->ends[side]);
}

/* As recv(2), but waits: the loop runs meanwhile. */
static ssize_t receive(struct place *place, int fd, void *out, size_t size)
{
	ssize_t n;
	while ((n = fd_read(fd, out, size)) == -EAGAIN)
		run_once(place);
	return n;
}

static void expect(struct place *place, int fd, const char *text)
{
	char got[256];
	size_t have = 0;
	while (have < strlen(text)) {
		ssize_t n = receive(place, fd, got + have, strlen(text) - have);
		assert_in_range(n, 1, sizeof got);
		have += (size_t)n;
	}
	assert_memory_equal(got, text, have);
}

static void expect_end(struct place *place, int fd)
{
	char got[8];
	assert_int_equal(receive(place, fd, got, sizeof got), 0);
}

/* However much comes before. */
static void expect_reset(struct place *place, int fd)
{
	char got[4096];
	ssize_t n;
	while ((n = receive(place, fd, got, sizeof got)) > 0)
		;
	assert_int_equal(n, -ECONNRESET);
}

static void say(int fd, const char *text)
{
	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* ---- rendezvous ---- */

static void both_ways_and_half_closed(void **state)
{
	struct place *place = *state;
	struct meeting m;
	start(place);
	for (int first = 0; first < 2; first++) {
		meeting_new(place, &m);
		m.ends[first] = leg_new(place, (enum relay_side)first, m.tickets[first]);
		say(m.ends[first], "early"); /* what comes before the other leg has to wait in the kernel */
		socket_shutdown_write(m.ends[first]);
		run_once(place);
		m.ends[!first] = leg_new(place, (enum relay_side) !first, m.tickets[!first]);
		expect(place, m.ends[!first], "early");
		expect_end(place, m.ends[!first]);
		say(m.ends[!first], "an answer after the end of the question");
		expect(place, m.ends[first], "an answer after the end of the question");
		assert_int_equal(place->reports, first);
		socket_shutdown_write(m.ends[!first]);
		expect_end(place, m.ends[first]);
		run_until(place, &place->reports, (uint64_t)first + 1);
		assert_int_equal(place->report.result, 0);
		assert_true(id_equal(&place->report.pair, &m.pair));
		assert_int_equal(place->report.bytes[first], 5);
		assert_int_equal(place->report.bytes[!first], 39);
		ends_close(&m);
	}
	assert_int_equal(counters(place)->finished, 2);
	assert_int_equal(counters(place)->bytes, 88);
	assert_int_equal(counters(place)->pairs, 0);
	assert_int_equal(counters(place)->arriving, 0);
}

static void tiny_pieces(void **state)
{
	struct place *place = *state;
	struct meeting m;
	uint8_t preamble[RELAY_PREAMBLE];
	start(place);
	meeting_new(place, &m);
	for (int side = 0; side < 2; side++) {
		m.ends[side] = connection_new(place);
		relay_preamble_write((enum relay_side)side, m.tickets[side], preamble);
		for (size_t i = 0; i < sizeof preamble; i++) {
			assert_int_equal(counters(place)->paired, 0);
			assert_int_equal(send(m.ends[side], preamble + i, 1, 0), 1);
			run_once(place);
		}
	}
	run_until(place, &counters(place)->paired, 1);
	for (const char *c = "murmur"; *c; c++)
		for (int side = 0; side < 2; side++) {
			say(m.ends[side], (char[]){ *c, '\0' });
			expect(place, m.ends[!side], (char[]){ *c, '\0' });
		}
	ends_close(&m);
	run_until(place, &place->reports, 1);
	assert_int_equal(place->report.result, 0);
}

static void wrong_preambles_are_reset(void **state)
{
	struct place *place = *state;
	struct meeting m;
	static const size_t wrong[] = { 0, 3, 4, 6, 7, 40, 47 };
	start(place);
	meeting_new(place, &m);
	for (size_t i = 0; i <= sizeof wrong / sizeof *wrong; i++) {
		uint8_t preamble[RELAY_PREAMBLE];
		relay_preamble_write(RELAY_CLIENT, m.tickets[RELAY_CLIENT], preamble);
		if (i < sizeof wrong / sizeof *wrong)
			preamble[wrong[i]]++;
		else
			preamble[5] = 2;
		int end = connection_new(place);
		assert_int_equal(send(end, preamble, sizeof preamble, 0), sizeof preamble);
		expect_reset(place, end);
		fd_close(end);
	}
	int end = connection_new(place);
	socket_shutdown_write(end);
	expect_reset(place, end);
	fd_close(end);
	assert_int_equal(counters(place)->refused, sizeof wrong / sizeof *wrong + 2);
	/* None of them used the ticket up. */
	for (int side = 0; side < 2; side++)
		m.ends[side] = leg_new(place, (enum relay_side)side, m.tickets[side]);
	run_until(place, &counters(place)->paired, 1);
	ends_close(&m);
}

static void tickets_are_checked(void **state)
{
	struct place *place = *state;
	struct meeting m, other;
	start(place);
	meet(place, &m);
	meeting_init(&other); /* never announced */
	int end = leg_new(place, RELAY_CLIENT, other.tickets[RELAY_CLIENT]);
	expect_reset(place, end);
	fd_close(end);
	for (int side = 0; side < 2; side++) { /* used */
		end = leg_new(place, (enum relay_side)side, m.tickets[side]);
		expect_reset(place, end);
		fd_close(end);
	}
	assert_int_equal(counters(place)->refused, 3);
	meeting_new(place, &other);
	end = leg_new(place, RELAY_AGENT, other.tickets[RELAY_CLIENT]); /* somebody else's */
	expect_reset(place, end);
	fd_close(end);
	end = leg_new(place, RELAY_CLIENT, other.tickets[RELAY_CLIENT]); /* and used up by that */
	expect_reset(place, end);
	fd_close(end);
	say(m.ends[RELAY_CLIENT], "unharmed");
	expect(place, m.ends[RELAY_AGENT], "unharmed");
	ends_close(&m);
}

/* ---- before the announcement ---- */

static void hold(struct place *place, size_t most, uint64_t ms)
{
	place->settings.max_held = most;
	place->settings.held_ms = ms;
	start(place);
}

static int held_leg(struct place *place, const struct meeting *m)
{
	size_t before = counters(place)->held;
	int end = leg_new(place, RELAY_AGENT, m->tickets[RELAY_AGENT]);
	while (counters(place)->held == before)
		run_once(place);
	return end;
}

static void legs_before_the_announcement(void **state)
{
	struct place *place = *state;
	struct meeting m;
	hold(place, 2, 60000);
	meeting_init(&m);
	m.ends[RELAY_AGENT] = held_leg(place, &m);
	say(m.ends[RELAY_AGENT], "early");
	int again = leg_new(place, RELAY_AGENT, m.tickets[RELAY_AGENT]); /* the same ticket */
	expect_reset(place, again);
	fd_close(again);
	int client = leg_new(place, RELAY_CLIENT, m.tickets[RELAY_CLIENT]); /* who opens a tunnel comes when all is said */
	expect_reset(place, client);
	fd_close(client);
	assert_int_equal(counters(place)->arriving, 0);
	for (int side = 0; side < 2; side++)
		assert_int_equal(announce(place, &m, (enum relay_side)side, 30), 0);
	assert_int_equal(counters(place)->held, 0);
	m.ends[RELAY_CLIENT] = leg_new(place, RELAY_CLIENT, m.tickets[RELAY_CLIENT]);
	expect(place, m.ends[RELAY_CLIENT], "early");
	ends_close(&m);
	run_until(place, &place->reports, 1);
}

static bool tell(void *ctx, const struct relay_report *report)
{
	struct place *place = ctx;
	if (place->n_told == place->most_told)
		return false;
	place->told[place->n_told++] = *report;
	return true;
}

static bool news(struct place *place, size_t most)
{
	place->n_told = 0;
	place->most_told = most;
	return relay_news(place->relay, tell, place);
}

/* Its announcement has it go on to another relay, here to the place's own listener. */
static void held_leg_goes_on(void **state)
{
	struct place *place = *state;
	struct meeting m;
	uint8_t preamble[RELAY_PREAMBLE], got[RELAY_PREAMBLE];
	hold(place, 2, 60000);
	meeting_init(&m);
	m.ends[RELAY_AGENT] = held_leg(place, &m);
	struct relay_ticket ticket = { .pair = m.pair, .side = RELAY_AGENT, .expiry_s = 30 };
	hash_sha256(m.tickets[RELAY_AGENT], RELAY_TICKET, ticket.hash);
	assert_int_equal(relay_forward(place->relay, &ticket, &place->address), 0);
	int above = -EAGAIN;
	while ((above = socket_accept(place->listener)) == -EAGAIN)
		run_once(place);
	relay_preamble_write(RELAY_AGENT, m.tickets[RELAY_AGENT], preamble);
	for (size_t have = 0; have < sizeof got;) {
		ssize_t n = receive(place, above, got + have, sizeof got - have);
		assert_true(n > 0);
		have += (size_t)n;
	}
	assert_memory_equal(got, preamble, sizeof got);
	say(above, "hello");
	expect(place, m.ends[RELAY_AGENT], "hello");
	assert_int_equal(place->news, 0); /* it is told of where the legs meet */
	relay_news_all(place->relay);
	assert_true(news(place, 4));
	assert_int_equal(place->n_told, 0);
	fd_close(above);
	ends_close(&m);
	run_until(place, &place->reports, 1);
}

/* Not for long, and not too many: the newest. */
static void held_legs_are_bounded(void **state)
{
	struct place *place = *state;
	struct meeting m[3];
	hold(place, 2, 60000);
	for (size_t i = 0; i < 3; i++)
		meeting_init(&m[i]);
	for (size_t i = 0; i < 2; i++)
		m[i].ends[RELAY_AGENT] = held_leg(place, &m[i]);
	m[2].ends[RELAY_AGENT] = leg_new(place, RELAY_AGENT, m[2].tickets[RELAY_AGENT]);
	expect_reset(place, m[0].ends[RELAY_AGENT]);
	assert_int_equal(counters(place)->held, 2);
	assert_int_equal(counters(place)->evicted, 1);
	relay_free(place->relay);
	expect_reset(place, m[1].ends[RELAY_AGENT]);
	for (size_t i = 0; i < 3; i++)
		ends_close(&m[i]);
	hold(place, 2, 1);
	m[0].ends[RELAY_AGENT] = leg_new(place, RELAY_AGENT, m[0].tickets[RELAY_AGENT]);
	expect_reset(place, m[0].ends[RELAY_AGENT]);
	assert_int_equal(counters(place)->refused, 1);
	assert_int_equal(counters(place)->held, 0);
	ends_close(&m[0]);
}

static void news_are_told_once(void **state)
{
	struct place *place = *state;
	struct meeting m[2];
	start(place);
	meeting_new(place, &m[0]);
	m[0].ends[0] = leg_new(place, RELAY_CLIENT, m[0].tickets[0]);
	run_once(place);
	assert_int_equal(place->news, 0); /* alone it is no tunnel */
	m[0].ends[1] = leg_new(place, RELAY_AGENT, m[0].tickets[1]);
	run_until(place, &counters(place)->paired, 1);
	meet(place, &m[1]);
	assert_int_equal(place->news, 1); /* until it is asked */
	assert_false(news(place, 1));
	assert_true(id_equal(&place->told[0].pair, &m[0].pair));
	assert_true(news(place, 4)); /* the one that was left out */
	assert_int_equal(place->n_told, 1);
	assert_true(id_equal(&place->told[0].pair, &m[1].pair));
	assert_int_equal(place->told[0].bytes[0] + place->told[0].bytes[1], 0);
	assert_true(news(place, 4));
	assert_int_equal(place->n_told, 0);

	say(m[1].ends[0], "question");
	expect(place, m[1].ends[1], "question");
	say(m[1].ends[1], "yes");
	expect(place, m[1].ends[0], "yes");
	assert_int_equal(place->news, 2);
	assert_true(news(place, 4));
	assert_int_equal(place->n_told, 1);
	assert_int_equal(place->told[0].bytes[RELAY_CLIENT], 8);
	assert_int_equal(place->told[0].bytes[RELAY_AGENT], 3);
	assert_true(place->told[0].came[0] && place->told[0].came[1]);
	relay_news_all(place->relay); /* for who has heard of none */
	assert_true(news(place, 4));
	assert_int_equal(place->n_told, 2);

	say(m[1].ends[0], "more");
	expect(place, m[1].ends[1], "more");
	relay_close_pair(place->relay, &m[1].pair); /* before it is told of */
	assert_int_equal(place->report.bytes[RELAY_CLIENT], 12);
	assert_true(news(place, 4));
	assert_int_equal(place->n_told, 0);
	say(m[0].ends[0], "the relay ends with news that nobody asked for");
	expect(place, m[0].ends[1], "the relay ends with news that nobody asked for");
	place->relay = relay_free(place->relay);
	expect_reset(place, m[0].ends[0]);
	ends_close(&m[0]);
	ends_close(&m[1]);
}

static void partner_does_not_come(void **state)
{
	struct place *place = *state;
	struct meeting alone, unused, late;
	start(place);
	meeting_init(&alone);
	meeting_init(&unused);
	meeting_init(&late);
	assert_int_equal(announce(place, &late, RELAY_CLIENT, 1), 0);
	assert_int_equal(announce(place, &late, RELAY_AGENT, 30), 0);
	assert_int_equal(announce(place, &alone, RELAY_CLIENT, 1), 0);
	assert_int_equal(announce(place, &unused, RELAY_AGENT, 1), 0);
	alone.ends[0] = leg_new(place, RELAY_CLIENT, alone.tickets[RELAY_CLIENT]);
	run_until(place, &counters(place)->unused, 1);
	run_until(place, &counters(place)->alone, 1);
	assert_int_equal(place->reports, 1);
	assert_int_equal(place->report.result, -E_PEER_GONE);
	assert_true(place->report.came[RELAY_CLIENT] && !place->report.came[RELAY_AGENT]);
	assert_true(id_equal(&place->report.pair, &alone.pair));
	expect_reset(place, alone.ends[0]);
	ends_close(&alone);
	/* Each ticket has its own time, also where its pair still waits. */
	assert_int_equal(counters(place)->pairs, 1);
	late.ends[0] = leg_new(place, RELAY_CLIENT, late.tickets[RELAY_CLIENT]);
	expect_reset(place, late.ends[0]);
	ends_close(&late);
}

static void legs_without_preamble(void **state)
{
	struct place *place = *state;
	place->settings.arrival_ms = 30;
	place->settings.max_arriving = 2;
	start(place);
	int ends[3];
	for (int i = 0; i < 3; i++)
		ends[i] = connection_new(place);
	assert_int_equal(counters(place)->evicted, 1);
	assert_int_equal(counters(place)->arriving, 2);
	say(ends[2], "MMR1");
	run_until(place, &counters(place)->late, 2);
	for (int i = 0; i < 3; i++) {
		expect_reset(place, ends[i]);
		fd_close(ends[i]);
	}
	assert_int_equal(counters(place)->arriving, 0);
}

static void announcements_are_checked(void **state)
{
	struct place *place = *state;
	struct meeting m[3];
	place->settings.max_pairs = 2;
	start(place);
	for (int i = 0; i < 3; i++)
		meeting_init(&m[i]);
	assert_int_equal(announce(place, &m[0], RELAY_CLIENT, 0), -E_NUMBER);
	assert_int_equal(announce(place, &m[0], RELAY_CLIENT, RELAY_EXPIRY_MAX + 1), -E_NUMBER);
	struct relay_ticket odd = { .pair = m[0].pair, .side = (enum relay_side)2, .expiry_s = 1 };
	assert_int_equal(relay_announce(place->relay, &odd), -E_NUMBER);
	assert_int_equal(announce(place, &m[0], RELAY_CLIENT, 30), 0);
	assert_int_equal(announce(place, &m[0], RELAY_CLIENT, 30), -E_EXISTS);
	memcpy(m[1].tickets, m[0].tickets, sizeof m[0].tickets);
	assert_int_equal(announce(place, &m[1], RELAY_CLIENT, 30), -E_EXISTS);
	assert_int_equal(counters(place)->pairs, 1);
	assert_int_equal(announce(place, &m[1], RELAY_AGENT, 20), 0); /* comes in front of the first */
	assert_int_equal(announce(place, &m[0], RELAY_AGENT, 30), -E_EXISTS);
	assert_int_equal(announce(place, &m[2], RELAY_AGENT, 30), -E_FULL);
	relay_close_pair(place->relay, &m[1].pair);
	relay_close_pair(place->relay, &m[1].pair);
	assert_int_equal(announce(place, &m[0], RELAY_AGENT, 30), 0);
	assert_int_equal(announce(place, &m[2], RELAY_AGENT, 30), 0);
	assert_int_equal(counters(place)->pairs, 2);
	assert_int_equal(place->reports, 0);
}

static void pairs_are_closed_at_once(void **state)
{
	struct place *place = *state;
	struct meeting waiting, spliced;
	start(place);
	meet(place, &spliced);
	say(spliced.ends[0], "hello");
	expect(place, spliced.ends[1], "hello");
	meeting_new(place, &waiting);
	waiting.ends[0] = leg_new(place, RELAY_CLIENT, waiting.tickets[RELAY_CLIENT]);
	while (counters(place)->arriving > 0)
		run_once(place);
	relay_close_pair(place->relay, &waiting.pair);
	assert_int_equal(place->reports, 1);
	assert_int_equal(place->report.result, -E_CANCELLED);
	relay_close_pair(place->relay, &spliced.pair);
	assert_int_equal(place->reports, 2);
	assert_int_equal(place->report.bytes[RELAY_CLIENT], 5);
	assert_int_equal(counters(place)->cancelled, 2);
	expect_reset(place, waiting.ends[0]);
	expect_reset(place, spliced.ends[0]);
	expect_reset(place, spliced.ends[1]);
	waiting.ends[1] = leg_new(place, RELAY_AGENT, waiting.tickets[RELAY_AGENT]);
	expect_reset(place, waiting.ends[1]);
	ends_close(&waiting);
	ends_close(&spliced);
}

/* ---- splicing ---- */

/* A stream of bytes that differs at every place, and by its seed. */
struct stream {
	uint64_t state;
};

static void stream_bytes(struct stream *s, uint8_t *out, size_t len) /* len: a multiple of 8 */
{
	for (size_t i = 0; i < len; i += 8) {
		s->state ^= s->state << 13, s->state ^= s->state >> 7, s->state ^= s->state << 17;
		memcpy(out + i, &s->state, 8);
	}
}

/* Sends until nothing moves any more, returns how much.  The stream is then somewhere behind that: use a new one. */
static size_t fill(struct place *place, int fd, struct stream *s)
{
	static uint8_t piece[64 << 10];
	size_t sent = 0, stalled = 0, at = sizeof piece;
	while (stalled < 20) {
		if (at == sizeof piece) {
			stream_bytes(s, piece, sizeof piece);
			at = 0;
		}
		ssize_t n = fd_write(fd, piece + at, sizeof piece - at);
		stalled = n > 0 ? 0 : stalled + 1;
		at += n > 0 ? (size_t)n : 0;
		sent += n > 0 ? (size_t)n : 0;
		if (n < 0)
			run_once(place);
	}
	return sent;
}

static void drain(struct place *place, int fd, struct stream *s, size_t len)
{
	static uint8_t got[64 << 10], expected[64 << 10];
	for (size_t have = 0; have < len;) {
		size_t at = have % sizeof got, most = sizeof got - at < len - have ? sizeof got - at : len - have;
		if (at == 0)
			stream_bytes(s, expected, sizeof expected);
		ssize_t n = receive(place, fd, got + at, most);
		assert_in_range(n, 1, most);
		assert_memory_equal(got + at, expected + at, n);
		have += (size_t)n;
	}
}

static void slow_reader_loses_nothing(void **state)
{
	struct place *place = *state;
	struct meeting m;
	start(place);
	for (int way = 0; way < 2; way++) {
		struct stream in = { 1 }, out = { 1 };
		meet(place, &m);
		size_t sent = fill(place, m.ends[way], &in);
		assert_in_range(counters(place)->pipes, 1, 2);
		/* The other direction is not held up. */
		say(m.ends[!way], "stop");
		expect(place, m.ends[way], "stop");
		socket_shutdown_write(m.ends[way]);
		drain(place, m.ends[!way], &out, sent);
		expect_end(place, m.ends[!way]);
		ends_close(&m);
		run_until(place, &place->reports, (uint64_t)way + 1);
		assert_int_equal(place->report.result, 0);
		assert_int_equal(place->report.bytes[way], sent);
	}
}

/* One large pipe, one small one, then the buffer: each of four stalled pairs keeps its bytes. */
static void pipes_run_out(void **state)
{
	enum { PAIRS = 4 };
	struct place *place = *state;
	struct meeting m[PAIRS];
	size_t sent[PAIRS];
	place->settings.pipes_large = place->settings.pipes_small = 1;
	start(place);
	for (int i = 0; i < PAIRS; i++) {
		meet(place, &m[i]);
		sent[i] = fill(place, m[i].ends[0], &(struct stream){ (uint64_t)i + 1 });
	}
	assert_int_equal(counters(place)->pipes, 2);
	for (int i = PAIRS - 1; i >= 0; i--) {
		drain(place, m[i].ends[1], &(struct stream){ (uint64_t)i + 1 }, sent[i]);
		ends_close(&m[i]);
	}
	run_until(place, &place->reports, PAIRS);
	assert_int_equal(counters(place)->finished, PAIRS);
	assert_int_equal(counters(place)->pipes, 2);
}

static void idle_pairs_hold_no_pipe(void **state)
{
	struct place *place = *state;
	struct meeting m[10];
	start(place);
	for (int i = 0; i < 10; i++) {
		meet(place, &m[i]);
		say(m[i].ends[0], "ping");
		expect(place, m[i].ends[1], "ping");
		say(m[i].ends[1], "pong");
		expect(place, m[i].ends[0], "pong");
	}
	assert_int_equal(counters(place)->pipes, 1);
	for (int i = 0; i < 10; i++)
		ends_close(&m[i]);
}

/* The kernel may give no pipe at all: no descriptors. */
static void no_descriptors_for_pipes(void **state)
{
	struct place *place = *state;
	struct meeting m;
	struct rlimit before, low;
	start(place);
	meeting_new(place, &m);
	for (int side = 0; side < 2; side++)
		m.ends[side] = connection_new(place);
	int next = socket(AF_INET, SOCK_STREAM, 0); /* the number that the next descriptor would get */
	fd_close(next);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	low = before;
	low.rlim_cur = (rlim_t)next;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
	for (int side = 0; side < 2; side++)
		preamble_send(m.ends[side], (enum relay_side)side, m.tickets[side]);
	say(m.ends[0], "all the same");
	expect(place, m.ends[1], "all the same");
	assert_int_equal(counters(place)->pipes, 0);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	say(m.ends[1], "again");
	expect(place, m.ends[0], "again");
	assert_int_equal(counters(place)->pipes, 1);
	ends_close(&m);
}

/* splice(2) into a socket that was reset raises it. */
static void broken_pipe_does_not_kill(void **state)
{
	signal(SIGPIPE, SIG_DFL);
	start(*state);
	raise(SIGPIPE);
}

static void reset_is_passed_on(void **state)
{
	struct place *place = *state;
	start(place);
	for (int way = 0; way < 2; way++)
		for (int stalled = 0; stalled < 2; stalled++) {
			struct meeting m;
			uint64_t broken = counters(place)->broken;
			meet(place, &m);
			say(m.ends[way], "partial");
			expect(place, m.ends[!way], "partial");
			if (stalled) /* the other one does not read: bytes wait on the way */
				fill(place, m.ends[way], &(struct stream){ 1 });
			socket_reset(m.ends[way]);
			m.ends[way] = fd_close(m.ends[way]);
			expect_reset(place, m.ends[!way]);
			run_until(place, &counters(place)->broken, broken + 1);
			assert_int_equal(place->report.result, -ECONNRESET);
			ends_close(&m);
		}
	assert_int_equal(counters(place)->finished, 0);
}

/* The side that does not read and goes away: the sender learns it. */
static void reader_goes_away(void **state)
{
	struct place *place = *state;
	struct meeting m;
	start(place);
	meet(place, &m);
	fill(place, m.ends[0], &(struct stream){ 1 });
	m.ends[1] = fd_close(m.ends[1]); /* with unread bytes: a reset */
	expect_reset(place, m.ends[0]);
	run_until(place, &counters(place)->broken, 1);
	ends_close(&m);
}

/* More bytes in front of the reset than one wake-up moves. */
static void reset_behind_much_data(void **state)
{
	struct place *place = *state;
	struct meeting m;
	static uint8_t bytes[4 << 20];
	place->settings.pipes_large = 0;
	start(place);
	meet(place, &m);
	for (int i = 0; i < 10; i++) /* the kernel's buffers grow with use */
		drain(place, m.ends[1], &(struct stream){ 1 }, fill(place, m.ends[0], &(struct stream){ 1 }));
	assert_in_range(send(m.ends[0], bytes, sizeof bytes, MSG_NOSIGNAL), 1 << 20, sizeof bytes);
	socket_reset(m.ends[0]);
	m.ends[0] = fd_close(m.ends[0]);
	expect_reset(place, m.ends[1]);
	run_until(place, &counters(place)->broken, 1);
	ends_close(&m);
}

/* A leg may be one end of a UNIX pair: its TLS is ended in front of the relay. */
static void unix_leg(void **state)
{
	struct place *place = *state;
	struct meeting m;
	uint8_t preamble[RELAY_PREAMBLE];
	for (size_t pipes = 0; pipes < 2; pipes++) {
		int pair[2];
		place->settings.pipes_large = place->settings.pipes_small = pipes;
		start(place);
		meeting_new(place, &m);
		assert_int_equal(fd_pair_stream(pair), 0);
		m.ends[RELAY_CLIENT] = pair[0];
		relay_preamble_write(RELAY_CLIENT, m.tickets[RELAY_CLIENT], preamble);
		assert_int_equal(fd_write(pair[0], preamble, sizeof preamble), sizeof preamble);
		relay_leg(place->relay, pair[1]);
		m.ends[RELAY_AGENT] = leg_new(place, RELAY_AGENT, m.tickets[RELAY_AGENT]);
		run_until(place, &counters(place)->paired, 1);
		for (int way = 0; way < 2; way++)
			drain(place, m.ends[!way], &(struct stream){ 3 }, fill(place, m.ends[way], &(struct stream){ 3 }));
		ends_close(&m);
		run_until(place, &counters(place)->finished, 1);
		place->relay = relay_free(place->relay);
	}
}

enum { STREAM_PIECE = 64 << 10, STREAM_PIECES = 3200 }; /* 200 MiB */

struct sender {
	int fd;
	struct stream stream;
	size_t done; /* pieces */
};

static void *send_stream(void *ctx)
{
	struct sender *s = ctx;
	uint8_t piece[STREAM_PIECE];
	for (; s->done < STREAM_PIECES; s->done++) {
		stream_bytes(&s->stream, piece, sizeof piece);
		if (fd_write_all(s->fd, piece, sizeof piece) < 0)
			return NULL;
	}
	socket_shutdown_write(s->fd);
	return NULL;
}

static void *receive_stream(void *ctx)
{
	struct sender *s = ctx;
	uint8_t got[STREAM_PIECE], expected[STREAM_PIECE];
	for (; s->done < STREAM_PIECES; s->done++) {
		stream_bytes(&s->stream, expected, sizeof expected);
		if (recv(s->fd, got, sizeof got, MSG_WAITALL) != sizeof got || memcmp(got, expected, sizeof got) != 0)
			return NULL;
	}
	s->done += recv(s->fd, got, 1, 0) == 0;
	return NULL;
}

static void set_blocking(int fd)
{
	/* SO_RCVTIMEO and the like do not help a non-blocking socket. */
	assert_int_equal(fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK), 0);
}

/* 200 MiB each way at once, every byte compared. */
static void much_both_ways(void **state)
{
	struct place *place = *state;
	static const size_t pipes[][2] = { { 48, 0 }, { 0, 48 }, { 0, 0 } };
	for (size_t i = 0; i < sizeof pipes / sizeof *pipes; i++) {
		struct meeting m;
		pthread_t threads[4];
		struct sender ends[4];
		place->settings.pipes_large = pipes[i][0];
		place->settings.pipes_small = pipes[i][1];
		start(place);
		meet(place, &m);
		for (int t = 0; t < 4; t++) {
			set_blocking(m.ends[t % 2]);
			ends[t] = (struct sender){ .fd = m.ends[t % 2], .stream = { t == 0 || t == 3 ? 11 : 12 } };
			assert_int_equal(pthread_create(&threads[t], NULL, t < 2 ? send_stream : receive_stream, &ends[t]), 0);
		}
		run_until(place, &counters(place)->finished, 1);
		for (int t = 0; t < 4; t++) {
			pthread_join(threads[t], NULL);
			assert_int_equal(ends[t].done, STREAM_PIECES + (t >= 2));
		}
		assert_int_equal(counters(place)->bytes, (uint64_t)2 * STREAM_PIECE * STREAM_PIECES);
		ends_close(&m);
		place->relay = relay_free(place->relay);
	}
}

/* ---- ends of the relay ---- */

static void everything_is_reset_at_the_end(void **state)
{
	struct place *place = *state;
	struct meeting spliced, stalled, waiting;
	start(place);
	meet(place, &spliced);
	meet(place, &stalled);
	fill(place, stalled.ends[0], &(struct stream){ 1 });
	meeting_new(place, &waiting);
	waiting.ends[0] = leg_new(place, RELAY_CLIENT, waiting.tickets[RELAY_CLIENT]);
	run_once(place);
	int arriving = connection_new(place);
	place->relay = relay_free(place->relay);
	assert_int_equal(place->reports, 0);
	for (int side = 0; side < 2; side++) {
		expect_reset(place, spliced.ends[side]);
		expect_reset(place, stalled.ends[side]);
	}
	expect_reset(place, waiting.ends[0]);
	expect_reset(place, arriving);
	fd_close(arriving);
	ends_close(&spliced);
	ends_close(&stalled);
	ends_close(&waiting);
}

/* The process of the relay dies by SIGKILL: the kernel closes the legs. */
static void killed_relay_resets(void **state)
{
	struct place *place = *state;
	struct meeting m;
	uint8_t preamble[RELAY_PREAMBLE];
	int status;
	meeting_init(&m);
	for (int side = 0; side < 2; side++) {
		m.ends[side] = socket_connect(&place->address);
		relay_preamble_write((enum relay_side)side, m.tickets[side], preamble);
		assert_int_equal(send(m.ends[side], preamble, sizeof preamble, 0), sizeof preamble);
	}
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		place->loop = io_loop_new();
		start(place);
		for (int side = 0; side < 2; side++) {
			announce(place, &m, (enum relay_side)side, 30);
			relay_leg(place->relay, socket_accept(place->listener));
		}
		for (int side = 0; side < 2; side++)
			fd_close(m.ends[side]);
		io_loop_run(place->loop);
		_exit(0);
	}
	say(m.ends[0], "part of it");
	expect(place, m.ends[1], "part of it");
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	expect_reset(place, m.ends[0]);
	expect_reset(place, m.ends[1]);
	ends_close(&m);
}

/* Whatever fails: the pair finishes or both ends are reset; the next pair works. */
static void each_fault_is_survived(void **state)
{
	struct place *place = *state;
	bool reached = true;
	place->settings.pipes_small = 0;
	for (long n = 1; reached; n++) {
		struct meeting m;
		uint8_t preamble[RELAY_PREAMBLE];
		char got[16];
		int fds[2];
		meeting_init(&m);
		for (int side = 0; side < 2; side++) {
			m.ends[side] = socket_connect(&place->address);
			fds[side] = socket_accept(place->listener);
			relay_preamble_write((enum relay_side)side, m.tickets[side], preamble);
			assert_int_equal(send(m.ends[side], preamble, side ? 48 : 20, 0), side ? 48 : 20);
		}
		fault_arm(n);
		place->relay = relay_new(place->loop, &place->settings, &events, place);
		if (!place->relay)
			start(place);
		announce(place, &m, RELAY_CLIENT, 30);
		announce(place, &m, RELAY_AGENT, 30); /* either may fail, then its leg is refused */
		relay_leg(place->relay, fds[0]);
		relay_leg(place->relay, fds[1]);
		relay_preamble_write(RELAY_CLIENT, m.tickets[RELAY_CLIENT], preamble);
		send(m.ends[0], preamble + 20, 28, MSG_NOSIGNAL);
		send(m.ends[0], "question", 8, MSG_NOSIGNAL);
		shutdown(m.ends[0], SHUT_WR);
		while (recv(m.ends[1], got, sizeof got, MSG_DONTWAIT) < 0 && errno == EAGAIN && counters(place)->pairs > 0 &&
		       counters(place)->refused == 0)
			run_once(place);
		shutdown(m.ends[1], SHUT_WR);
		run_once(place);
		reached = !fault_armed();
		fault_arm(0);
		if (!reached)
			run_until(place, &counters(place)->finished, 1);
		relay_close_pair(place->relay, &m.pair);
		ends_close(&m);

		meet(place, &m);
		say(m.ends[0], "next");
		expect(place, m.ends[1], "next");
		ends_close(&m);
		place->relay = relay_free(place->relay);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(both_ways_and_half_closed, setup, teardown),
		cmocka_unit_test_setup_teardown(tiny_pieces, setup, teardown),
		cmocka_unit_test_setup_teardown(wrong_preambles_are_reset, setup, teardown),
		cmocka_unit_test_setup_teardown(tickets_are_checked, setup, teardown),
		cmocka_unit_test_setup_teardown(legs_before_the_announcement, setup, teardown),
		cmocka_unit_test_setup_teardown(held_leg_goes_on, setup, teardown),
		cmocka_unit_test_setup_teardown(held_legs_are_bounded, setup, teardown),
		cmocka_unit_test_setup_teardown(news_are_told_once, setup, teardown),
		cmocka_unit_test_setup_teardown(partner_does_not_come, setup, teardown),
		cmocka_unit_test_setup_teardown(legs_without_preamble, setup, teardown),
		cmocka_unit_test_setup_teardown(announcements_are_checked, setup, teardown),
		cmocka_unit_test_setup_teardown(pairs_are_closed_at_once, setup, teardown),
		cmocka_unit_test_setup_teardown(slow_reader_loses_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(pipes_run_out, setup, teardown),
		cmocka_unit_test_setup_teardown(idle_pairs_hold_no_pipe, setup, teardown),
		cmocka_unit_test_setup_teardown(no_descriptors_for_pipes, setup, teardown),
		cmocka_unit_test_setup_teardown(broken_pipe_does_not_kill, setup, teardown),
		cmocka_unit_test_setup_teardown(reset_is_passed_on, setup, teardown),
		cmocka_unit_test_setup_teardown(reader_goes_away, setup, teardown),
		cmocka_unit_test_setup_teardown(reset_behind_much_data, setup, teardown),
		cmocka_unit_test_setup_teardown(unix_leg, setup, teardown),
		cmocka_unit_test_setup_teardown(much_both_ways, setup, teardown),
		cmocka_unit_test_setup_teardown(everything_is_reset_at_the_end, setup, teardown),
		cmocka_unit_test_setup_teardown(killed_relay_resets, setup, teardown),
		cmocka_unit_test_setup_teardown(each_fault_is_survived, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
