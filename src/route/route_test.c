#include "route/route.h"

#include <errno.h>

#include "base/err.h"
#include "base/test.h"
#include "route/test_disk.h"

static const struct id server, web = { { 1 } }, database = { { 2 } };
static const int64_t start_ms = 1800000000000;

enum { TOKENS = 4000 };
struct world {
	struct test_disk disk;
	struct route_settings settings;
	struct route *route;
	int64_t now_ms;
	int answers[TOKENS]; /* 1: none yet */
	unsigned ready, dead[ROUTE_DEADS], damaged, unnamed, replaced;
	struct id replaced_last;
	struct id ready_for;
};

static void on_accepted(void *ctx, void *token, int err)
{
	struct world *world = ctx;
	assert_int_equal(world->answers[(size_t)token], 1);
	world->answers[(size_t)token] = err;
}

static void on_ready(void *ctx, const struct id *destination)
{
	struct world *world = ctx;
	world->ready++;
	world->ready_for = *destination;
}

static void on_dead(void *ctx, const struct id *destination, const struct id *envelope, enum route_dead why)
{
	struct world *world = ctx;
	assert_true(id_equal(destination, &web) || id_equal(destination, &database) || id_is_zero(destination));
	world->unnamed += id_is_zero(envelope);
	world->dead[why]++;
}

static void on_damaged(void *ctx, const struct spool_damage *damage)
{
	struct world *world = ctx;
	(void)damage;
	world->damaged++;
}

static void on_replaced(void *ctx, const struct id *destination, const struct id *envelope)
{
	struct world *world = ctx;
	assert_true(id_equal(destination, &web));
	world->replaced++;
	world->replaced_last = *envelope;
}

static void random_test(void *out, size_t len)
{
	static uint8_t next = 1;
	memset(out, 0, len);
	((uint8_t *)out)[0] = 0xee;
	((uint8_t *)out)[1] = next++;
}

static int open_again(struct world *world)
{
	static const struct route_events events = { on_accepted, on_ready, on_dead, NULL, on_damaged, on_replaced };
	world->route = route_free(world->route);
	return route_open(&world->settings, &events, world, world->now_ms, &world->route);
}

static void restart(struct world *world)
{
	assert_int_equal(open_again(world), 0);
}

static struct world *world_new(void)
{
	struct world *world = calloc(1, sizeof *world);
	assert_non_null(world);
	world->now_ms = start_ms;
	world->settings = route_settings_device;
	test_disk_init(&world->disk, &world->settings.spool.disk);
	world->settings.spool.segment_max = 8192;
	world->settings.spool.unsynced_max = 65536;
	world->settings.spool.bytes_max = 1 << 20;
	world->settings.seen_max = 200;
	world->settings.limits = (struct route_limits){ .count = 100, .bytes = 100000, .age_ms = 864000000 };
	world->settings.self = server;
	world->settings.random = random_test;
	for (size_t i = 0; i < TOKENS; i++)
		world->answers[i] = 1;
	restart(world);
	return world;
}

static void world_free(struct world *world)
{
	route_free(world->route);
	test_disk_done(&world->disk);
	free(world);
}

/* ---- envelopes by number; the number is their id, and the token ---- */

struct form {
	const struct id *to;
	murmesh_Priority priority;
	unsigned lifetime_s;
	const char *key;
	int64_t created_ms;
	size_t len;
	unsigned hops;
	const struct id *hop;
};

static struct id id_of(unsigned number)
{
	return (struct id){ { 0xaa, (uint8_t)(number >> 8), (uint8_t)number } };
}

static void envelope_make(unsigned number, const struct form *form, struct buf *out)
{
	static char body[70000];
	murmesh_Envelope envelope = { .which_to = murmesh_Envelope_node_tag,
		                      .type = "test",
		                      .priority = form->priority,
		                      .lifetime_s = form->lifetime_s ? form->lifetime_s : 3600,
		                      .created_ms = form->created_ms ? form->created_ms : start_ms };
	const struct id id = id_of(number);
	memcpy(envelope.id, id.bytes, sizeof envelope.id);
	memcpy(envelope.to.node, form->to->bytes, sizeof envelope.to.node);
	if (form->key)
		snprintf(envelope.key, sizeof envelope.key, "%s", form->key);
	assert_int_equal(envelope_write(&envelope, (struct str){ body, form->len ? form->len : 100 }, out), 0);
	for (unsigned i = 0; i < form->hops; i++)
		assert_int_equal(envelope_hop_append(out, form->hop), 0);
}

static int accept_form(struct world *world, unsigned number, const struct form *form)
{
	struct buf bytes;
	buf_init(&bytes, ENVELOPE_MAX);
	envelope_make(number, form, &bytes);
	world->answers[number] = 1;
	int err = route_accept(world->route, form->to, buf_str(&bytes), world->now_ms, (void *)(size_t)number);
	buf_done(&bytes);
	return err;
}

static int accept_one(struct world *world, unsigned number, const struct id *to, murmesh_Priority priority)
{
	return accept_form(world, number, &(struct form){ .to = to, .priority = priority });
}

static void sync_all(struct world *world)
{
	for (struct spool_sync *sync; (sync = route_sync_begin(world->route));) {
		spool_sync_run(sync);
		route_sync_end(world->route, world->now_ms);
	}
}

static void keep(struct world *world, unsigned number, const struct form *form)
{
	assert_int_equal(accept_form(world, number, form), 0);
	sync_all(world);
	assert_int_equal(world->answers[number], 0);
}

static void attach(struct world *world, const struct id *to, uint32_t credit)
{
	assert_int_equal(route_attach(world->route, to), 0);
	route_credit(world->route, to, credit);
}

/* The next one's number; -1: none; -2: a gap, whose body is in world_gap. */
static char gap_text[128];
static struct id gap_id;

static int next(struct world *world, const struct id *to)
{
	static murmesh_Envelope envelope;
	struct str body;
	struct buf out;
	buf_init(&out, ENVELOPE_MAX);
	assert_int_equal(buf_append(&out, "before", 6), 0);
	int got = route_next(world->route, to, world->now_ms, &out), number = -1;
	if (got == 1) {
		assert_int_equal(envelope_read(str_skip(buf_str(&out), 6), &envelope, &body), 0);
		assert_true(envelope_passed(&envelope, &world->settings.self));
		number = envelope.id[1] << 8 | envelope.id[2];
		if (envelope.id[0] == 0xee) {
			number = -2;
			assert_string_equal(envelope.type, ROUTE_GAP_TYPE);
			assert_int_equal(str_copy(body, gap_text, sizeof gap_text), 0);
			memcpy(gap_id.bytes, envelope.id, sizeof gap_id.bytes);
		}
	} else {
		assert_int_equal(got, 0);
		assert_int_equal(buf_len(&out), 6);
	}
	buf_done(&out);
	return number;
}

static void delivered(struct world *world, const struct id *to, unsigned number)
{
	const struct id id = id_of(number);
	route_delivered(world->route, to, &id, world->now_ms);
}

static struct route_queue queue_of(struct world *world, const struct id *to)
{
	struct route_queue queue = { .waiting = 0 };
	route_queue_of(world->route, to, &queue);
	return queue;
}

/* ---- */

static void test_one(void **state)
{
	(void)state;
	struct world *world = world_new();
	const struct form form = { .to = &web };
	assert_int_equal(accept_form(world, 1, &form), 0);
	assert_int_equal(world->answers[1], 1); /* not before it is on disk */
	attach(world, &web, 10);
	assert_int_equal(next(world, &web), -1);
	sync_all(world);
	assert_int_equal(world->answers[1], 0);
	assert_int_equal(world->ready, 1);
	assert_true(id_equal(&world->ready_for, &web));
	struct route_queue queue = queue_of(world, &web);
	assert_int_equal(queue.waiting, 1);
	assert_int_equal(queue.oldest_ms, start_ms);
	assert_true(queue.attached && queue.bytes > 100);
	assert_int_equal(next(world, &web), 1);
	assert_int_equal(queue_of(world, &web).sent, 1);
	assert_int_equal(next(world, &web), -1);
	delivered(world, &web, 99); /* nobody's */
	delivered(world, &web, 1);
	assert_int_equal(queue_of(world, &web).waiting, 0);
	sync_all(world);
	restart(world);
	attach(world, &web, 10);
	assert_int_equal(next(world, &web), -1);
	world_free(world);
}

static void test_waits_over_restart(void **state)
{
	(void)state;
	struct world *world = world_new();
	const struct form to_web = { .to = &web };
	for (unsigned i = 1; i <= 20; i++)
		keep(world, i, &to_web);
	attach(world, &web, 100);
	for (int i = 1; i <= 5; i++)
		assert_int_equal(next(world, &web), i);
	delivered(world, &web, 1);
	delivered(world, &web, 3);
	sync_all(world);
	restart(world);
	attach(world, &web, 100);
	assert_int_equal(next(world, &web), 2);
	for (int i = 4; i <= 20; i++)
		assert_int_equal(next(world, &web), i);
	assert_int_equal(next(world, &web), -1);
	world_free(world);
}

static void test_twice(void **state)
{
	(void)state;
	struct world *world = world_new();
	const struct form to_web = { .to = &web }, to_database = { .to = &database };
	assert_int_equal(accept_form(world, 1, &to_web), 0);
	/* Again before it is synced: the second is answered with the first. */
	struct buf bytes;
	buf_init(&bytes, ENVELOPE_MAX);
	envelope_make(1, &to_web, &bytes);
	assert_int_equal(route_accept(world->route, &web, buf_str(&bytes), world->now_ms, (void *)50), 0);
	struct spool_sync *sync = route_sync_begin(world->route);
	assert_int_equal(route_accept(world->route, &web, buf_str(&bytes), world->now_ms, (void *)51), 0); /* while it syncs */
	assert_int_equal(world->answers[50], 1);
	spool_sync_run(sync);
	route_sync_end(world->route, world->now_ms);
	assert_int_equal(world->answers[1], 0);
	assert_int_equal(world->answers[50], 0);
	assert_int_equal(world->answers[51], 0);
	assert_int_equal(queue_of(world, &web).waiting, 1);
	/* Afterwards, delivered or not, and over restarts. */
	assert_int_equal(accept_form(world, 1, &to_web), -E_EXISTS);
	attach(world, &web, 10);
	assert_int_equal(next(world, &web), 1);
	delivered(world, &web, 1);
	sync_all(world);
	assert_int_equal(accept_form(world, 1, &to_web), -E_EXISTS);
	restart(world);
	assert_int_equal(accept_form(world, 1, &to_web), -E_EXISTS);
	/* For another destination it is another. */
	keep(world, 1, &to_database);
	assert_int_equal(queue_of(world, &database).waiting, 1);
	buf_done(&bytes);
	world_free(world);
}

/* The log's beginning is removed many times; what came before is known all the same, as far as seen_max goes. */
static void test_twice_after_compaction(void **state)
{
	(void)state;
	struct world *world = world_new();
	const struct form to_web = { .to = &web, .len = 1000 };
	world->settings.seen_max = 50;
	restart(world);
	attach(world, &web, 1000000);
	for (unsigned i = 1; i <= 1000; i++) {
		keep(world, i, &to_web);
		assert_int_equal(next(world, &web), i);
		delivered(world, &web, i);
		sync_all(world);
		route_tick(world->route, world->now_ms);
		sync_all(world);
	}
	struct spool_stats stats;
	route_spool_stats(world->route, &stats);
	assert_true(stats.bytes < 60000 && stats.live == 0);
	assert_int_equal(test_disk_count(&world->disk, "0001.log"), 0);
	for (int times = 0; times < 2; times++) {
		for (unsigned i = 952; i <= 1000; i++)
			assert_int_equal(accept_form(world, i, &to_web), -E_EXISTS);
		restart(world);
	}
	keep(world, 1, &to_web); /* long forgotten */
	world_free(world);
}

static void test_order_and_credit(void **state)
{
	(void)state;
	struct world *world = world_new();
	assert_int_equal(accept_one(world, 1, &web, murmesh_Priority_LOW), 0);
	assert_int_equal(accept_one(world, 2, &web, murmesh_Priority_NORMAL), 0);
	assert_int_equal(accept_one(world, 3, &web, murmesh_Priority_HIGH), 0);
	assert_int_equal(accept_one(world, 4, &web, murmesh_Priority_NORMAL), 0);
	assert_int_equal(accept_one(world, 5, &database, murmesh_Priority_LOW), 0);
	sync_all(world);
	assert_int_equal(world->ready, 0);
	attach(world, &web, 2);
	assert_int_equal(world->ready, 1);
	assert_int_equal(next(world, &web), 3);
	assert_int_equal(next(world, &web), 2);
	assert_int_equal(next(world, &web), -1); /* no credit: others go on */
	attach(world, &database, 1);
	assert_int_equal(next(world, &database), 5);
	/* The link breaks: what had no answer goes again, in its order. */
	delivered(world, &web, 3);
	route_detach(world->route, &web);
	assert_int_equal(next(world, &web), -1);
	route_credit(world->route, &web, 5); /* nobody is there */
	attach(world, &web, 1);
	assert_int_equal(next(world, &web), 2);
	route_credit(world->route, &web, UINT32_MAX);
	route_credit(world->route, &web, UINT32_MAX);
	assert_int_equal(next(world, &web), 4);
	assert_int_equal(next(world, &web), 1);
	assert_int_equal(next(world, &web), -1);
	assert_int_equal(accept_one(world, 6, &web, murmesh_Priority_NORMAL), 0);
	unsigned before = world->ready;
	sync_all(world);
	assert_int_equal(world->ready, before + 1);
	/* A newer link instead of the old one. */
	attach(world, &web, 10);
	assert_int_equal(next(world, &web), 2);
	struct route_waiting waiting[10];
	assert_int_equal(route_queue_list(world->route, &web, waiting, 10), 4);
	assert_true(waiting[0].sent && waiting[0].id.bytes[2] == 2);
	assert_true(!waiting[1].sent && waiting[1].id.bytes[2] == 4);
	assert_int_equal(waiting[2].id.bytes[2], 6);
	assert_int_equal(waiting[3].priority, murmesh_Priority_LOW);
	assert_int_equal(waiting[3].expires_ms, start_ms + 3600000);
	assert_int_equal(route_queue_list(world->route, &web, waiting, 2), 2);
	assert_int_equal(route_queue_list(world->route, &server, waiting, 2), 0);
	world_free(world);
}

static void test_sync_fails(void **state)
{
	(void)state;
	struct world *world = world_new();
	const struct form to_web = { .to = &web };
	keep(world, 1, &to_web);
	assert_int_equal(accept_form(world, 2, &to_web), 0);
	struct buf bytes;
	buf_init(&bytes, ENVELOPE_MAX);
	envelope_make(2, &to_web, &bytes);
	assert_int_equal(route_accept(world->route, &web, buf_str(&bytes), world->now_ms, (void *)50), 0);
	world->disk.fail_at = world->disk.steps + 1;
	world->disk.fail_err = -EIO;
	struct spool_sync *sync = route_sync_begin(world->route);
	spool_sync_run(sync);
	route_sync_end(world->route, world->now_ms);
	assert_int_equal(world->answers[2], -EIO);
	assert_int_equal(world->answers[50], -EIO);
	assert_int_equal(queue_of(world, &web).waiting, 1);
	route_tick(world->route, world->now_ms);
	keep(world, 2, &to_web); /* it may come again */
	/* Of a destination of which nothing else is known. */
	assert_int_equal(accept_one(world, 3, &database, murmesh_Priority_LOW), 0);
	world->disk.fail_at = world->disk.steps + 1;
	sync = route_sync_begin(world->route);
	spool_sync_run(sync);
	route_sync_end(world->route, world->now_ms);
	struct route_queue queue;
	assert_false(route_queue_of(world->route, &database, &queue));
	buf_done(&bytes);
	world_free(world);
}

static void power_cut(struct world *world)
{
	world->route = route_free(world->route);
	test_disk_recover(&world->disk, TEST_POWER);
	restart(world);
}

/* Each step of the disk fails once.  What was refused may be there all the same, after a crash. */
static void test_sync_fails_then_power(void **state)
{
	enum { SENT_AGAIN, DELIVERED, CRASHED_FIRST, CASES };
	const struct form form = { .to = &web };
	(void)state;
	for (long at = 1, refused = 1; refused; at++)
		for (int which = 0; which < CASES; which++) {
			struct world *world = world_new();
			world->disk.fail_at = world->disk.steps + at;
			world->disk.fail_err = -EIO;
			assert_int_equal(accept_form(world, 1, &form), 0);
			struct spool_sync *sync = route_sync_begin(world->route);
			spool_sync_run(sync);
			route_sync_end(world->route, world->now_ms);
			world->disk.fail_at = 0;
			refused = world->answers[1];
			assert_true(refused || at > 4);
			world->answers[1] = 1;
			route_tick(world->route, world->now_ms);
			if (which == CRASHED_FIRST)
				power_cut(world);
			int err = accept_form(world, 1, &form);
			assert_true(err == 0 || (err == -E_EXISTS && (!refused || which == CRASHED_FIRST)));
			sync_all(world);
			if (which == DELIVERED) {
				attach(world, &web, 1);
				assert_int_equal(next(world, &web), 1);
				delivered(world, &web, 1);
				sync_all(world);
			}
			for (int times = 0; times < 2; times++) {
				power_cut(world);
				struct route_queue queue = { 0 };
				route_queue_of(world->route, &web, &queue);
				assert_int_equal(queue.waiting, which != DELIVERED);
				sync_all(world);
			}
			world_free(world);
		}
}

static void test_limit(void **state)
{
	(void)state;
	struct world *world = world_new();
	world->settings.limits.count = 5;
	restart(world);
	const struct form low = { .to = &web, .priority = murmesh_Priority_LOW },
	                  high = { .to = &web, .priority = murmesh_Priority_HIGH }, normal = { .to = &web };
	keep(world, 1, &normal);
	keep(world, 2, &low);
	keep(world, 3, &low);
	keep(world, 4, &high);
	keep(world, 5, &normal);
	keep(world, 6, &high); /* 2 goes */
	keep(world, 7, &low);  /* 3 goes */
	keep(world, 8, &high); /* 7 goes */
	keep(world, 9, &high); /* 1 goes: no low ones are left */
	assert_int_equal(world->dead[ROUTE_LIMIT], 4);
	assert_int_equal(queue_of(world, &web).dead[ROUTE_LIMIT], 4);
	restart(world);
	assert_int_equal(queue_of(world, &web).dead[ROUTE_LIMIT], 4);
	assert_int_equal(queue_of(world, &web).dead_last_ms, start_ms);
	attach(world, &web, 100);
	assert_int_equal(next(world, &web), -2);
	assert_string_equal(gap_text, "{\"expired\":0,\"limit\":4,\"damaged\":0}");
	assert_int_equal(next(world, &web), 4);
	assert_int_equal(next(world, &web), 6);
	/* Nobody answered that: it is told again. */
	route_detach(world->route, &web);
	attach(world, &web, 100);
	assert_int_equal(next(world, &web), -2);
	route_delivered(world->route, &web, &gap_id, world->now_ms);
	assert_int_equal(next(world, &web), 4);
	route_detach(world->route, &web);
	sync_all(world);
	restart(world);
	attach(world, &web, 100);
	assert_int_equal(next(world, &web), 4); /* and not once more */
	world_free(world);
}

static void test_limit_of_bytes(void **state)
{
	(void)state;
	struct world *world = world_new();
	const struct form large = { .to = &web, .len = 30000 }, larger = { .to = &web, .len = 60000 },
	                  to_server = { .to = &server };
	keep(world, 1, &large);
	keep(world, 2, &large);
	keep(world, 3, &large);
	keep(world, 4, &larger);
	assert_int_equal(queue_of(world, &web).dead[ROUTE_LIMIT], 2);
	attach(world, &web, 2);
	assert_int_equal(next(world, &web), -2);
	assert_int_equal(next(world, &web), 3);
	keep(world, 5, &larger); /* what was sent stays */
	assert_int_equal(queue_of(world, &web).dead[ROUTE_LIMIT], 3);
	keep(world, 6, &to_server);
	keep(world, 7, &(struct form){ .to = &server, .lifetime_s = 1 });
	world->now_ms += 2000;
	world->settings.self = web; /* a device that tells its server */
	restart(world);
	attach(world, &server, 10);
	assert_int_equal(next(world, &server), 6);
	assert_int_equal(next(world, &server), -2 + 1);
	attach(world, &server, 10);
	assert_int_equal(next(world, &server), -2);
	assert_string_equal(gap_text, "{\"expired\":1,\"limit\":0,\"damaged\":0}");
	world_free(world);
}

static void test_expires(void **state)
{
	(void)state;
	struct world *world = world_new();
	const struct form shortly = { .to = &web, .lifetime_s = 10 }, long_ago = { .to = &web, .created_ms = start_ms - 7200000 },
	                  ahead = { .to = &web, .created_ms = start_ms + 86400000, .lifetime_s = 10 };
	assert_int_equal(accept_form(world, 1, &long_ago), -E_ENVELOPE_EXPIRED);
	keep(world, 2, &shortly);
	keep(world, 3, &shortly);
	keep(world, 4, &ahead);
	keep(world, 5, &(struct form){ .to = &web, .lifetime_s = 1200000 });
	attach(world, &web, 100);
	assert_int_equal(next(world, &web), -2);
	assert_int_equal(next(world, &web), 2);
	route_tick(world->route, world->now_ms);
	assert_int_equal(queue_of(world, &web).waiting, 4);
	world->now_ms += 10000;
	assert_int_equal(next(world, &web), 5); /* 3 and 4 are not sent any more */
	assert_int_equal(world->dead[ROUTE_EXPIRED], 3);
	delivered(world, &web, 2); /* was sent in time */
	route_detach(world->route, &web);
	assert_int_equal(queue_of(world, &web).waiting, 1);
	world->now_ms = start_ms + 864000000 + 10; /* older than this queue keeps anything */
	route_tick(world->route, world->now_ms);
	struct route_queue queue = queue_of(world, &web);
	assert_int_equal(queue.waiting, 0);
	assert_int_equal(queue.dead[ROUTE_EXPIRED], 4);
	assert_int_equal(queue.oldest_ms, 0);
	const void *at = NULL;
	assert_true(route_queue_next(world->route, &at, &queue));
	assert_true(id_equal(&queue.destination, &web));
	assert_false(route_queue_next(world->route, &at, &queue));
	/* Those that expire while nothing runs. */
	keep(world, 6, &(struct form){ .to = &database, .created_ms = world->now_ms });
	world->now_ms += 3600001;
	restart(world);
	route_tick(world->route, world->now_ms);
	assert_int_equal(queue_of(world, &database).dead[ROUTE_EXPIRED], 1);
	world_free(world);
}

/* Numbers of dead letters stay when the log's beginning goes. */
static void test_counts_after_compaction(void **state)
{
	(void)state;
	struct world *world = world_new();
	const struct form long_ago = { .to = &database, .created_ms = start_ms - 7200000 };
	for (unsigned i = 1; i <= 3; i++)
		assert_int_equal(accept_form(world, i, &long_ago), -E_ENVELOPE_EXPIRED);
	attach(world, &web, 1000000);
	for (unsigned i = 10; i < 400; i++) {
		keep(world, i, &(struct form){ .to = &web, .len = 1000 });
		assert_int_equal(next(world, &web), i);
		delivered(world, &web, i);
		sync_all(world);
	}
	assert_int_equal(test_disk_count(&world->disk, "0001.log"), 0);
	for (int times = 0; times < 2; times++) {
		assert_int_equal(queue_of(world, &database).dead[ROUTE_EXPIRED], 3);
		restart(world);
	}
	assert_int_equal(accept_form(world, 4, &long_ago), -E_ENVELOPE_EXPIRED);
	sync_all(world);
	restart(world);
	assert_int_equal(queue_of(world, &database).dead[ROUTE_EXPIRED], 4);
	world_free(world);
}

static void test_states(void **state)
{
	(void)state;
	struct world *world = world_new();
	struct form form = { .to = &web, .key = "disk", .created_ms = start_ms - 1000 };
	keep(world, 1, &form);
	form.created_ms = start_ms;
	keep(world, 2, &form);
	assert_int_equal(queue_of(world, &web).waiting, 1);
	form.created_ms = start_ms - 500;
	keep(world, 3, &form); /* it comes late: an older one */
	keep(world, 4, &(struct form){ .to = &web, .key = "memory" });
	keep(world, 5, &(struct form){ .to = &database, .key = "disk" });
	assert_int_equal(queue_of(world, &web).waiting, 2);
	const struct id second = id_of(2), third = id_of(3);
	assert_int_equal(queue_of(world, &web).replaced, 2);
	assert_int_equal(world->replaced, 2);
	assert_true(id_equal(&world->replaced_last, &third));
	assert_int_equal(queue_of(world, &web).dead[ROUTE_LIMIT], 0);
	restart(world);
	attach(world, &web, 100);
	assert_int_equal(next(world, &web), 2);
	/* What is under way stays; when it comes back, the newer one is enough. */
	form.created_ms = start_ms + 1;
	keep(world, 6, &form);
	assert_int_equal(queue_of(world, &web).waiting, 3);
	route_detach(world->route, &web);
	assert_int_equal(queue_of(world, &web).waiting, 2);
	assert_int_equal(world->replaced, 3);
	assert_true(id_equal(&world->replaced_last, &second));
	attach(world, &web, 100);
	assert_int_equal(next(world, &web), 4);
	assert_int_equal(next(world, &web), 6);
	assert_int_equal(next(world, &web), -1);
	delivered(world, &web, 6);
	keep(world, 7, &form);
	assert_int_equal(next(world, &web), 7);
	world_free(world);
}

/* Killed between the newer one's sync and the older one's end. */
static void test_states_after_crash(void **state)
{
	(void)state;
	struct world *world = world_new();
	const struct form form = { .to = &web, .key = "disk" };
	keep(world, 1, &form);
	assert_int_equal(accept_form(world, 2, &form), 0);
	struct spool_sync *sync = route_sync_begin(world->route);
	spool_sync_run(sync);
	route_sync_end(world->route, world->now_ms);
	restart(world);
	attach(world, &web, 100);
	assert_int_equal(next(world, &web), 2);
	assert_int_equal(next(world, &web), -1);
	world_free(world);
}

static void test_retired(void **state)
{
	(void)state;
	struct world *world = world_new();
	for (unsigned i = 1; i <= 5; i++)
		keep(world, i, &(struct form){ .to = &web, .priority = (murmesh_Priority)(i % 3) });
	keep(world, 6, &(struct form){ .to = &database });
	attach(world, &web, 1);
	assert_int_equal(next(world, &web), 2);
	assert_int_equal(accept_one(world, 7, &web, murmesh_Priority_LOW), 0);
	route_retire(world->route, &web, world->now_ms);
	assert_int_equal(queue_of(world, &web).waiting, 0);
	assert_true(queue_of(world, &web).retired);
	assert_int_equal(world->dead[ROUTE_RETIRED], 5);
	assert_int_equal(accept_one(world, 8, &web, murmesh_Priority_HIGH), -E_ENVELOPE_RETIRED);
	assert_int_equal(route_attach(world->route, &web), -E_ENVELOPE_RETIRED);
	sync_all(world); /* 7 was on its way */
	assert_int_equal(world->dead[ROUTE_RETIRED], 6);
	assert_int_equal(next(world, &web), -1);
	sync_all(world);
	restart(world);
	assert_int_equal(queue_of(world, &web).waiting, 0);
	assert_int_equal(queue_of(world, &web).dead[ROUTE_RETIRED], 6);
	assert_int_equal(queue_of(world, &database).waiting, 1);
	world_free(world);
}

static void test_loop(void **state)
{
	(void)state;
	struct world *world = world_new();
	assert_int_equal(accept_form(world, 1, &(struct form){ .to = &web, .hops = 1, .hop = &server }), -E_ENVELOPE_LOOP);
	assert_int_equal(accept_form(world, 2, &(struct form){ .to = &web, .hops = ENVELOPE_HOPS_MAX, .hop = &database }),
	                 -E_ENVELOPE_LOOP);
	keep(world, 3, &(struct form){ .to = &web, .hops = ENVELOPE_HOPS_MAX - 1, .hop = &database });
	assert_int_equal(queue_of(world, &web).dead[ROUTE_LOOP], 2);
	attach(world, &web, 1);
	assert_int_equal(next(world, &web), 3);
	assert_true(route_refused_for_good(-E_ENVELOPE_LOOP));
	assert_false(route_refused_for_good(-E_SPOOL_FULL));
	assert_string_equal(route_dead_name(ROUTE_LOOP), "loop");
	assert_string_equal(route_dead_name(ROUTE_DEADS), "unknown");
	assert_int_equal(route_accept(world->route, &web, STR("garbage"), world->now_ms, NULL), -E_MESSAGE);
	world_free(world);
}

static void test_destination_refuses(void **state)
{
	(void)state;
	struct world *world = world_new();
	const struct id one = id_of(1), two = id_of(2);
	for (unsigned i = 1; i <= 3; i++)
		keep(world, i, &(struct form){ .to = &web });
	attach(world, &web, 100);
	assert_int_equal(next(world, &web), 1);
	assert_int_equal(next(world, &web), 2);
	route_refused(world->route, &web, &one, 0, world->now_ms);
	assert_int_equal(world->dead[ROUTE_REFUSED], 1);
	route_refused(world->route, &web, &two, 5000, world->now_ms); /* its disk is full */
	assert_int_equal(next(world, &web), -1);
	world->now_ms += 4999;
	route_tick(world->route, world->now_ms);
	assert_int_equal(next(world, &web), -1);
	unsigned before = world->ready;
	world->now_ms++;
	route_tick(world->route, world->now_ms);
	assert_int_equal(world->ready, before + 1);
	assert_int_equal(next(world, &web), 2);
	route_refused(world->route, &web, &two, 1000000000, world->now_ms);
	world->now_ms -= 1000000; /* the clock is set back */
	route_tick(world->route, world->now_ms);
	assert_int_equal(next(world, &web), 2);
	route_refused(world->route, &database, &two, 0, world->now_ms); /* nobody's */
	route_delivered(world->route, &database, &two, world->now_ms);
	/* The word of a gap: for later, and for good. */
	world->now_ms = start_ms + 3600000;
	route_tick(world->route, world->now_ms);
	assert_int_equal(next(world, &web), -2);
	route_refused(world->route, &web, &gap_id, 1000, world->now_ms);
	world->now_ms += 1000;
	assert_int_equal(next(world, &web), -2);
	route_refused(world->route, &web, &gap_id, 0, world->now_ms);
	assert_int_equal(next(world, &web), -1);
	world_free(world);
}

/* The disk is full: nothing more is taken, what is there is delivered, and then it goes on. */
static void test_full(void **state)
{
	(void)state;
	struct world *world = world_new();
	world->settings.limits = (struct route_limits){ .count = 10000, .bytes = 1 << 20, .age_ms = 86400000 };
	world->settings.spool.bytes_max = 100000;
	restart(world);
	unsigned n = 1;
	int err;
	while ((err = accept_form(world, n, &(struct form){ .to = &web, .len = 2000 })) == 0) {
		sync_all(world);
		n++;
	}
	assert_int_equal(err, -E_SPOOL_FULL);
	assert_true(n > 40);
	attach(world, &web, 1000000);
	unsigned at = 1;
	for (; err == -E_SPOOL_FULL && at < n; at++) {
		assert_int_equal(next(world, &web), at);
		delivered(world, &web, at);
		sync_all(world);
		route_tick(world->route, world->now_ms);
		sync_all(world);
		err = accept_form(world, n, &(struct form){ .to = &web, .len = 2000 });
	}
	assert_int_equal(err, 0);
	assert_true(at < n / 2);
	sync_all(world);
	for (; at <= n; at++)
		assert_int_equal(next(world, &web), at);
	while ((err = accept_form(world, ++n, &(struct form){ .to = &web, .len = 10000 })) == 0)
		;
	assert_true(err == -E_BUSY || err == -E_SPOOL_FULL);
	world_free(world);
}

/* Who has several waiting is told once, and they come without the disk. */
static void test_together(void **state)
{
	(void)state;
	struct world *world = world_new();
	attach(world, &web, 100);
	attach(world, &database, 100);
	for (unsigned i = 1; i <= 4; i++)
		assert_int_equal(accept_one(world, i, i == 4 ? &database : &web, murmesh_Priority_NORMAL), 0);
	sync_all(world);
	assert_int_equal(world->ready, 2);
	long steps = world->disk.steps;
	for (int i = 1; i <= 3; i++)
		assert_int_equal(next(world, &web), i);
	assert_int_equal(next(world, &database), 4);
	assert_int_equal(next(world, &web), -1);
	assert_int_equal(world->disk.steps, steps);
	world_free(world);
}

static void test_damaged(void **state)
{
	(void)state;
	struct world *world = world_new();
	for (unsigned i = 1; i <= 3; i++)
		keep(world, i, &(struct form){ .to = &web });
	struct test_file *file = test_disk_file(&world->disk, ".log");
	file->bytes[file->size / 2] ^= 1;
	attach(world, &web, 100);
	assert_int_equal(next(world, &web), 1);
	assert_int_equal(next(world, &web), 3);
	assert_int_equal(world->dead[ROUTE_DAMAGED], 1);
	assert_int_equal(world->damaged, 1);
	assert_int_equal(next(world, &web), -2);
	assert_string_equal(gap_text, "{\"expired\":0,\"limit\":0,\"damaged\":1}");
	assert_int_equal(next(world, &web), -1);
	assert_int_equal(queue_of(world, &web).dead[ROUTE_DAMAGED], 1);
	sync_all(world);
	restart(world); /* it is done, but still damaged */
	assert_int_equal(world->damaged, 2);
	restart(world);
	assert_int_equal(world->damaged, 2);
	world_free(world);
}

static void test_destinations(void **state)
{
	(void)state;
	struct world *world = world_new();
	world->settings.destinations_max = 2;
	restart(world);
	keep(world, 1, &(struct form){ .to = &web });
	keep(world, 2, &(struct form){ .to = &database });
	assert_int_equal(accept_one(world, 3, &server, murmesh_Priority_LOW), -E_LIMIT);
	assert_int_equal(route_attach(world->route, &server), -E_LIMIT);
	/* One of which nothing is to be known makes room. */
	attach(world, &web, 10);
	assert_int_equal(next(world, &web), 1);
	delivered(world, &web, 1);
	route_detach(world->route, &web);
	route_detach(world->route, &web);
	keep(world, 3, &(struct form){ .to = &server });
	world_free(world);
}

/* Notes of a newer version, an envelope that this one cannot read. */
static void test_newer_log(void **state)
{
	(void)state;
	struct world *world = world_new();
	struct spool_record record, other;
	struct spool *spool;
	world->route = route_free(world->route);
	static const struct spool_events none;
	assert_int_equal(spool_open(&world->settings.spool, &none, NULL, &spool), 0);
	assert_int_equal(spool_note(spool, STR("")), 0);
	assert_int_equal(spool_note(spool, STR("Z and more")), 0);
	assert_int_equal(spool_note(spool, STR("D")), 0);
	assert_int_equal(spool_note(spool, STR("D0123456789abcdef\xff")), 0);
	assert_int_equal(
	        spool_put(spool, &record, STR("\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"), STR("\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\1garbage")),
	        0);
	assert_int_equal(spool_put(spool, &other, STR("x"), STR("")), 0);
	struct spool_sync *sync = spool_sync_begin(spool);
	spool_sync_run(sync);
	spool_free(spool);
	restart(world);
	assert_int_equal(queue_of(world, &web).waiting, 1);
	route_tick(world->route, world->now_ms);
	assert_int_equal(queue_of(world, &web).dead[ROUTE_EXPIRED], 1);
	assert_int_equal(world->unnamed, 2);
	world_free(world);
}

/* Memory short at any point: what was answered with 0 is there afterwards. */
static void test_faults(void **state)
{
	(void)state;
	for (long at = 1;; at++) {
		struct world *world = world_new();
		const struct form form = { .to = &web }, keyed = { .to = &database, .key = "k" };
		struct buf bytes;
		buf_init(&bytes, ENVELOPE_MAX);
		envelope_make(1, &form, &bytes);
		struct buf second;
		buf_init(&second, ENVELOPE_MAX);
		envelope_make(2, &keyed, &second);
		struct buf out;
		buf_init(&out, ENVELOPE_MAX);
		fault_arm(at);
		int err = open_again(world);
		if (err == 0) {
			route_accept(world->route, &web, buf_str(&bytes), world->now_ms, (void *)1);
			route_accept(world->route, &web, buf_str(&bytes), world->now_ms, (void *)3);
			route_accept(world->route, &database, buf_str(&second), world->now_ms, (void *)2);
			sync_all(world);
			route_attach(world->route, &web);
			route_credit(world->route, &web, 1);
			route_next(world->route, &web, world->now_ms, &out);
			route_detach(world->route, &web);
		}
		bool passed = fault_armed();
		fault_arm(0);
		restart(world);
		attach(world, &web, 10);
		attach(world, &database, 10);
		if (world->answers[1] == 0)
			assert_int_equal(next(world, &web), 1);
		if (world->answers[2] == 0)
			assert_int_equal(next(world, &database), 2);
		assert_int_equal(next(world, &web) == 1, world->answers[1] != 0 && world->answers[3] == 0);
		buf_done(&out);
		buf_done(&bytes);
		buf_done(&second);
		world_free(world);
		if (passed) {
			assert_true(at > 20);
			break;
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one),
		cmocka_unit_test(test_waits_over_restart),
		cmocka_unit_test(test_twice),
		cmocka_unit_test(test_twice_after_compaction),
		cmocka_unit_test(test_order_and_credit),
		cmocka_unit_test(test_sync_fails),
		cmocka_unit_test(test_sync_fails_then_power),
		cmocka_unit_test(test_limit),
		cmocka_unit_test(test_limit_of_bytes),
		cmocka_unit_test(test_expires),
		cmocka_unit_test(test_counts_after_compaction),
		cmocka_unit_test(test_states),
		cmocka_unit_test(test_states_after_crash),
		cmocka_unit_test(test_retired),
		cmocka_unit_test(test_loop),
		cmocka_unit_test(test_destination_refuses),
		cmocka_unit_test(test_full),
		cmocka_unit_test(test_together),
		cmocka_unit_test(test_damaged),
		cmocka_unit_test(test_destinations),
		cmocka_unit_test(test_newer_log),
		cmocka_unit_test(test_faults),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
