/* A pump in the middle of two real connections: near <-> (a pump b) <-> far. */
#include "tunnel/pump.h"

#include <errno.h>

#include "base/err.h"
#include "base/test.h"
#include "crypto/test_mesh.h"
#include "os/fd.h"
#include "tunnel/rate.h"
#include "tunnel/test_end.h"

#define MB ((size_t)1 << 20)

enum kind { PLAIN, TLS_NEAR, TLS_FAR, KINDS };

struct trial {
	struct test_loop t;
	struct test_end near, far;
	struct test_end inner[2]; /* until the pump takes their streams */
	struct pump *pump;
	unsigned ended;
	int result;
	bool frees; /* inside `ended` */
};

static struct test_mesh mesh;
static struct test_leaf server_leaf, client_leaf;
static struct tls_context *server_tls, *client_tls;

static int64_t test_now(void)
{
	return TEST_NOW;
}

static void on_ended(void *ctx, int err)
{
	struct trial *trial = ctx;
	trial->ended++;
	trial->result = err;
	if (trial->frees)
		trial->pump = pump_free(trial->pump);
	io_loop_stop(trial->t.loop);
}

static int link_open(struct trial *trial, struct test_end *outer, struct test_end *inner, bool tls)
{
	int pair[2];
	int err = test_pair(pair);
	if (err < 0)
		return err;
	const struct stream_settings client = { .fd = pair[0], .connecting = true, .tls = tls ? client_tls : NULL },
	                             server = { .fd = pair[1], .tls = tls ? server_tls : NULL };
	err = test_end_open(outer, &trial->t, &client);
	int inner_err = test_end_open(inner, &trial->t, &server);
	return err < 0 ? err : inner_err;
}

static bool connected(const struct trial *trial)
{
	return trial->near.ready && trial->far.ready && trial->inner[0].ready && trial->inner[1].ready;
}

static bool failed(const struct trial *trial)
{
	return trial->near.err || trial->far.err || trial->inner[0].err || trial->inner[1].err;
}

static int trial_connect(struct trial *trial, enum kind kind)
{
	*trial = (struct trial){ .near = { .keeps = false } };
	trial->near.expects_from = trial->far.sends_from = 4711;
	trial->inner[0].paused = trial->inner[1].paused = true;
	int err = test_loop_open(&trial->t);
	if (err == 0)
		err = link_open(trial, &trial->near, &trial->inner[0], kind == TLS_NEAR);
	if (err == 0)
		err = link_open(trial, &trial->far, &trial->inner[1], kind == TLS_FAR);
	if (err < 0)
		return err;
	WAIT(&trial->t, connected(trial) || failed(trial));
	return failed(trial) ? -E_CLOSED : 0;
}

static int trial_pump(struct trial *trial, struct str first)
{
	struct stream *a = trial->inner[0].stream, *b = trial->inner[1].stream;
	trial->inner[0].stream = trial->inner[1].stream = NULL;
	trial->pump = pump_new(trial->t.loop, a, b, first, on_ended, trial);
	return trial->pump ? 0 : -E_NO_MEMORY;
}

static void trial_start(struct trial *trial, enum kind kind)
{
	assert_int_equal(trial_connect(trial, kind), 0);
	assert_int_equal(trial_pump(trial, STR("")), 0);
}

static void trial_close(struct trial *trial)
{
	pump_free(trial->pump);
	test_end_done(&trial->near);
	test_end_done(&trial->far);
	test_end_done(&trial->inner[0]);
	test_end_done(&trial->inner[1]);
	test_loop_close(&trial->t);
}

static void send_all(struct test_end *end, size_t n, bool closes)
{
	end->to_send = n;
	end->closes = closes;
	test_end_go(end);
}

static bool over(const struct test_end *end)
{
	return end->eof || end->err;
}

/* One side says all and ends; only then the other answers, and ends. */
static void test_half_close(void **state)
{
	(void)state;
	for (enum kind kind = PLAIN; kind < KINDS; kind++)
		for (int order = 0; order < 2; order++) {
			struct trial trial;
			trial_start(&trial, kind);
			struct test_end *first = order ? &trial.far : &trial.near, *second = order ? &trial.near : &trial.far;
			send_all(first, 3 * MB, true);
			WAIT(&trial.t, over(second));
			assert_true(second->eof);
			assert_true(test_end_received(second, 3 * MB));
			assert_false(over(first));
			assert_int_equal(trial.ended, 0);
			send_all(second, 2 * MB + 1, true);
			WAIT(&trial.t, over(first) && trial.ended);
			assert_true(first->eof);
			assert_true(test_end_received(first, 2 * MB + 1));
			assert_int_equal(trial.ended, 1);
			assert_int_equal(trial.result, 0);
			assert_int_equal(pump_bytes(trial.pump), 5 * MB + 1);
			trial_close(&trial);
		}
}

static void test_both_ways(void **state)
{
	(void)state;
	for (enum kind kind = PLAIN; kind < KINDS; kind++) {
		struct trial trial;
		trial_start(&trial, kind);
		trial.frees = true;
		send_all(&trial.near, 64 * MB, true);
		send_all(&trial.far, 64 * MB, true);
		WAIT(&trial.t, trial.ended && over(&trial.near) && over(&trial.far));
		assert_true(trial.near.eof && trial.far.eof);
		assert_true(test_end_received(&trial.near, 64 * MB));
		assert_true(test_end_received(&trial.far, 64 * MB));
		assert_int_equal(trial.result, 0);
		assert_null(trial.pump);
		trial_close(&trial);
	}
}

static void test_nothing_at_all(void **state)
{
	(void)state;
	for (enum kind kind = PLAIN; kind < KINDS; kind++) {
		struct trial trial;
		trial_start(&trial, kind);
		send_all(&trial.near, 0, true);
		send_all(&trial.far, 0, true);
		WAIT(&trial.t, trial.ended && over(&trial.near) && over(&trial.far));
		assert_true(trial.near.eof && trial.far.eof);
		assert_int_equal(trial.result, 0);
		assert_int_equal(pump_bytes(trial.pump), 0);
		trial_close(&trial);
	}
}

static void test_tiny_pieces(void **state)
{
	(void)state;
	for (enum kind kind = PLAIN; kind < KINDS; kind++) {
		struct trial trial;
		trial_start(&trial, kind);
		trial.near.piece = 1;
		trial.far.piece = 3;
		send_all(&trial.near, 5000, true);
		send_all(&trial.far, 5000, true);
		WAIT(&trial.t, trial.ended && over(&trial.near) && over(&trial.far));
		assert_true(test_end_received(&trial.near, 5000));
		assert_true(test_end_received(&trial.far, 5000));
		assert_int_equal(trial.result, 0);
		trial_close(&trial);
	}
}

/* Until `end` gets nothing out any more. */
static void until_stuck(struct trial *trial, struct test_end *end)
{
	size_t before = SIZE_MAX;
	for (unsigned quiet = 0; quiet < 20; quiet = end->sent == before ? quiet + 1 : 0) {
		before = end->sent;
		test_loop_turn(&trial->t, "stuck");
	}
}

/* Who does not read stops the other side; the pump keeps one scratch buffer for a direction, TLS one gathered write. */
static void test_slow_reader(void **state)
{
	(void)state;
	for (enum kind kind = PLAIN; kind < KINDS; kind++)
		for (int order = 0; order < 2; order++) {
			struct trial trial;
			trial_start(&trial, kind);
			struct test_end *from = order ? &trial.far : &trial.near, *to = order ? &trial.near : &trial.far;
			to->paused = true;
			test_end_go(to);
			send_all(from, 64 * MB, true);
			until_stuck(&trial, from);
			/* four socket buffers of at most 128 KiB each and what TLS holds at the outer ends stand outside the pump */
			assert_true(pump_bytes(trial.pump) <= 2 * IO_SCRATCH + 256 * 1024);
			assert_true(from->sent < 3 * MB);
			/* the way back is free meanwhile */
			send_all(to, MB, false);
			WAIT(&trial.t, from->received == MB);
			to->paused = false;
			to->closes = true;
			test_end_go(to);
			WAIT(&trial.t, trial.ended && over(to) && over(from));
			assert_true(test_end_received(to, 64 * MB));
			assert_true(test_end_received(from, MB));
			assert_int_equal(trial.result, 0);
			trial_close(&trial);
		}
}

/* The last bytes wait inside TLS when both sides have ended: the pump ends once they are gone. */
static void test_end_behind_unsent(void **state)
{
	(void)state;
	for (enum kind kind = PLAIN; kind < KINDS; kind++)
		for (size_t n = 100000; n < 900000; n += 50000) {
			struct trial trial;
			trial_start(&trial, kind);
			struct test_end *to = kind == TLS_NEAR ? &trial.near : &trial.far,
			                *from = kind == TLS_NEAR ? &trial.far : &trial.near;
			to->paused = true;
			send_all(to, 0, true);
			send_all(from, n, true);
			until_stuck(&trial, from);
			to->paused = false;
			test_end_go(to);
			WAIT(&trial.t, trial.ended && over(to));
			assert_int_equal(trial.result, 0);
			assert_true(to->eof);
			assert_true(test_end_received(to, n));
			trial_close(&trial);
		}
}

/* A break on one side is a reset on the other, whatever came before. */
static void test_reset(void **state)
{
	(void)state;
	for (enum kind kind = PLAIN; kind < KINDS; kind++)
		for (int order = 0; order < 2; order++) {
			struct trial trial;
			trial_start(&trial, kind);
			trial.frees = true;
			struct test_end *breaks = order ? &trial.far : &trial.near, *other = order ? &trial.near : &trial.far;
			send_all(breaks, 1000, false);
			WAIT(&trial.t, other->received == 1000);
			test_end_reset(breaks);
			WAIT(&trial.t, trial.ended && over(other));
			assert_true(trial.result < 0);
			assert_false(other->eof);
			assert_int_equal(other->err, -ECONNRESET);
			trial_close(&trial);
		}
}

/* The end of TLS without close_notify is no end. */
static void test_truncation(void **state)
{
	(void)state;
	for (enum kind kind = TLS_NEAR; kind < KINDS; kind++) {
		struct trial trial;
		trial_start(&trial, kind);
		trial.frees = true;
		struct test_end *breaks = kind == TLS_FAR ? &trial.far : &trial.near,
		                *other = kind == TLS_FAR ? &trial.near : &trial.far;
		send_all(breaks, 1000, false);
		WAIT(&trial.t, other->received == 1000);
		test_end_done(breaks);
		WAIT(&trial.t, trial.ended && over(other));
		assert_int_equal(trial.result, -E_CLOSED);
		assert_int_equal(other->err, -ECONNRESET);
		trial_close(&trial);
	}
}

/* A reader that is waited for and then dies, on either side. */
static void test_reset_while_stuck(void **state)
{
	(void)state;
	for (enum kind kind = PLAIN; kind < KINDS; kind++) {
		struct trial trial;
		trial_start(&trial, kind);
		trial.frees = true;
		trial.far.paused = true;
		test_end_go(&trial.far);
		send_all(&trial.near, 64 * MB, false);
		until_stuck(&trial, &trial.near);
		test_end_reset(&trial.far);
		WAIT(&trial.t, trial.ended && over(&trial.near));
		assert_true(trial.result < 0);
		assert_false(trial.near.eof);
		trial_close(&trial);
	}
}

/* Nobody is told of a pump that its owner frees; both sides are reset. */
static void test_freed(void **state)
{
	(void)state;
	for (enum kind kind = PLAIN; kind < KINDS; kind++) {
		struct trial trial;
		trial_start(&trial, kind);
		send_all(&trial.near, 10, false);
		WAIT(&trial.t, trial.far.received == 10);
		trial.pump = pump_free(trial.pump);
		WAIT(&trial.t, over(&trial.near) && over(&trial.far));
		assert_int_equal(trial.near.err, -ECONNRESET);
		assert_int_equal(trial.far.err, -ECONNRESET);
		assert_int_equal(trial.ended, 0);
		trial_close(&trial);
	}
	assert_null(pump_free(NULL));
}

static void test_first_bytes(void **state)
{
	(void)state;
	static char first[IO_SCRATCH + 1];
	for (enum kind kind = PLAIN; kind < KINDS; kind++) {
		struct trial trial;
		assert_int_equal(trial_connect(&trial, kind), 0);
		trial.far.keeps = true;
		trial.near.piece = 4;
		send_all(&trial.near, 4, true);
		assert_int_equal(trial_pump(&trial, STR("before: ")), 0);
		WAIT(&trial.t, over(&trial.far));
		assert_true(trial.far.eof);
		assert_int_equal(buf_len(&trial.far.kept), 12);
		assert_true(str_starts(buf_str(&trial.far.kept), STR("before: ")));
		assert_int_equal(pump_bytes(trial.pump), 12);
		trial_close(&trial);
	}
	/* more of them than a direction may keep */
	struct trial trial;
	assert_int_equal(trial_connect(&trial, PLAIN), 0);
	assert_int_equal(trial_pump(&trial, (struct str){ first, sizeof first }), -E_NO_MEMORY);
	test_end_go(&trial.near);
	test_end_go(&trial.far);
	WAIT(&trial.t, over(&trial.near) && over(&trial.far));
	assert_int_equal(trial.near.err, -ECONNRESET);
	trial_close(&trial);
}

static int exchange(void *ctx)
{
	struct trial trial;
	int err = trial_connect(&trial, *(enum kind *)ctx);
	if (err == 0)
		err = trial_pump(&trial, STR(""));
	trial.frees = true;
	if (err == 0) {
		send_all(&trial.near, 300000, true);
		send_all(&trial.far, 300000, true);
		WAIT(&trial.t, failed(&trial) || trial.result < 0 || (trial.ended && over(&trial.near) && over(&trial.far)));
		err = trial.near.eof && trial.far.eof && test_end_received(&trial.near, 300000) &&
		                      test_end_received(&trial.far, 300000) && !failed(&trial)
		              ? 0
		              : -E_CLOSED;
		assert_true(err < 0 || (trial.ended == 1 && trial.result == 0));
	}
	trial_close(&trial);
	return err;
}

static void test_faults(void **state)
{
	(void)state;
	for (enum kind kind = PLAIN; kind < KINDS; kind++)
		assert_true(test_each_fault(exchange, &kind) > 20);
}

static void context(struct tls_context **ret, bool server, const struct test_leaf *leaf)
{
	const struct tls_settings settings = { .server = server,
		                               .verify = TLS_VERIFY_REQUIRED,
		                               .leaf = leaf->certificate,
		                               .key = leaf->key,
		                               .intermediate = mesh.intermediate,
		                               .root = mesh.root,
		                               .mesh = mesh.id,
		                               .kinds = server ? 1u << IDENTITY_USER : 1u << IDENTITY_NODE,
		                               .now = test_now };
	assert_int_equal(tls_context_new(&settings, ret), 0);
}

static int set_up(void **state)
{
	(void)state;
	mesh = test_mesh_new(1);
	server_leaf = test_leaf_new(&mesh, IDENTITY_NODE, 2);
	client_leaf = test_leaf_new(&mesh, IDENTITY_USER, 3);
	context(&server_tls, true, &server_leaf);
	context(&client_tls, false, &client_leaf);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	tls_context_free(server_tls);
	tls_context_free(client_tls);
	test_leaf_done(&server_leaf);
	test_leaf_done(&client_leaf);
	test_mesh_done(&mesh);
	return 0;
}

/* Both directions together take as long as they have to, by the loop's clock, and all comes. */
static void test_rate(void **state)
{
	(void)state;
	for (enum kind kind = 0; kind < KINDS; kind++) {
		struct rate rate = { .bytes_per_s = 2000000 };
		struct trial trial;
		trial_start(&trial, kind);
		assert_int_equal(pump_limit(trial.pump, &rate), 0);
		uint64_t start = io_loop_now_ms(trial.t.loop);
		send_all(&trial.near, 300000, true);
		send_all(&trial.far, 200000, true);
		WAIT(&trial.t, trial.ended && over(&trial.near) && over(&trial.far));
		assert_int_equal(trial.result, 0);
		assert_true(test_end_received(&trial.far, 300000) && test_end_received(&trial.near, 200000));
		uint64_t took = io_loop_now_ms(trial.t.loop) - start;
		assert_true(took >= 190); /* 250 without what may be moved ahead, and what is moved at once */
		trial_close(&trial);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_half_close),  cmocka_unit_test(test_both_ways),   cmocka_unit_test(test_nothing_at_all),
		cmocka_unit_test(test_tiny_pieces), cmocka_unit_test(test_slow_reader), cmocka_unit_test(test_end_behind_unsent),
		cmocka_unit_test(test_reset),       cmocka_unit_test(test_truncation),  cmocka_unit_test(test_reset_while_stuck),
		cmocka_unit_test(test_freed),       cmocka_unit_test(test_first_bytes), cmocka_unit_test(test_rate),
		cmocka_unit_test(test_faults),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
