/* Two routers with a link of frames between them, which are encoded and decoded on their way. */
#include "route/peer.h"

#include <errno.h>
#include <pb_decode.h>
#include <pb_encode.h>

#include "base/err.h"
#include "base/test.h"
#include "route/test_disk.h"

enum { QUEUE = 4000 };
static const struct id server, device = { { 7 } };
static const int64_t now_ms = 1800000000000;

struct end {
	struct test_disk disk;
	struct route_settings settings;
	struct route *route;
	struct peers peers;
	struct peer *peer;
	struct id own;
	/* frames on their way to this end */
	uint8_t (*frames)[9000];
	size_t lengths[QUEUE], first, last;
	struct end *other;
	size_t room; /* frames that may wait; then it is crowded */
	bool full;   /* sending fails */
	int refuse, failed;
	unsigned delivered, taken;
	int64_t body_sum;
	struct route_giver giver;
	unsigned kept;
	int kept_err;
};

static struct end near, far;

static struct end *end_of(const struct end *end)
{
	return end == &near ? &near : &far;
}

/* ---- the link ---- */

static int link_send(void *ctx, const murmesh_Frame *frame)
{
	struct end *other = ((struct end *)ctx)->other;
	if (((struct end *)ctx)->full)
		return -E_FULL;
	assert_true(other->last < QUEUE);
	pb_ostream_t out = pb_ostream_from_buffer(other->frames[other->last], sizeof other->frames[0]);
	assert_true(pb_encode(&out, murmesh_Frame_fields, frame));
	other->lengths[other->last++] = out.bytes_written;
	return 0;
}

static bool link_crowded(void *ctx)
{
	const struct end *end = ctx;
	return end->other->last - end->other->first >= end->room;
}

static void link_failed(void *ctx, int err)
{
	((struct end *)ctx)->failed = err;
}

static int link_destination(void *ctx, const murmesh_Envelope *envelope, struct id *ret)
{
	const struct end *end = ctx;
	(void)envelope;
	*ret = end->own;
	return end->refuse;
}

static const struct peer_events peer_events = { link_send, link_crowded, link_failed, link_destination };

static bool frames_take(struct end *end)
{
	static murmesh_Frame frame;
	bool any = end->first < end->last;
	for (; end->first < end->last; end->first++) {
		pb_istream_t in = pb_istream_from_buffer(end->frames[end->first], end->lengths[end->first]);
		assert_true(pb_decode(&in, murmesh_Frame_fields, &frame));
		if (end->peer)
			peer_frame(end->peer, &frame, now_ms);
	}
	end->first = end->last = 0;
	return any;
}

/* ---- the routers ---- */

static void on_ready(void *ctx, const struct id *destination)
{
	struct end *end = ctx;
	if (end->peer && !id_equal(destination, &end->own))
		peer_send(end->peer, now_ms);
}

static void on_delivered(void *ctx, const struct id *destination, const struct id *envelope)
{
	(void)envelope;
	((struct end *)ctx)->delivered += !id_equal(destination, &((struct end *)ctx)->own);
}

static void on_damaged(void *ctx, const struct spool_damage *damage)
{
	(void)ctx;
	(void)damage;
	fail();
}

static void random_test(void *out, size_t len)
{
	memset(out, 0x55, len);
}

static void end_init(struct end *end, const struct id *own, struct end *other)
{
	static const struct route_events events = { route_giver_tell, on_ready, NULL, on_delivered, on_damaged };
	*end = (struct end){ .own = *own, .other = other, .room = 20 };
	end->frames = calloc(QUEUE, sizeof *end->frames);
	end->settings = route_settings_device;
	end->settings.self = *own;
	end->settings.random = random_test;
	test_disk_init(&end->disk, &end->settings.spool.disk);
	assert_int_equal(route_open(&end->settings, &events, end, now_ms, &end->route), 0);
	peers_init(&end->peers, end->route);
	assert_int_equal(route_attach(end->route, own), 0);
}

static void end_done(struct end *end)
{
	peer_free(end->peer);
	route_free(end->route);
	test_disk_done(&end->disk);
	free(end->frames);
}

static void connect_ends(void)
{
	near.first = near.last = far.first = far.last = 0;
	near.failed = far.failed = 0;
	assert_int_equal(peer_new(&near.peers, &device, &peer_events, &near, &near.peer), 0);
	assert_int_equal(peer_new(&far.peers, &server, &peer_events, &far, &far.peer), 0);
}

static int setup(void **state)
{
	(void)state;
	end_init(&near, &server, &far);
	end_init(&far, &device, &near);
	connect_ends();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	end_done(&near);
	end_done(&far);
	return 0;
}

static void sync_end_of(struct end *end)
{
	for (struct spool_sync *sync; (sync = route_sync_begin(end->route));) {
		spool_sync_run(sync);
		route_sync_end(end->route, now_ms);
	}
	peers_answer(&end->peers);
}

/* What came for this end itself. */
static void consume(struct end *end)
{
	static murmesh_Envelope envelope;
	struct str body;
	struct buf out;
	struct id id;
	buf_init(&out, ENVELOPE_MAX);
	route_credit(end->route, &end->own, 1000);
	while (route_next(end->route, &end->own, now_ms, &out) == 1) {
		assert_int_equal(envelope_read(buf_str(&out), &envelope, &body), 0);
		for (size_t i = 0; i < body.len; i++)
			assert_int_equal((uint8_t)body.ptr[i], (uint8_t)(i * 31 + envelope.id[15]));
		memcpy(id.bytes, envelope.id, sizeof id.bytes);
		end->taken++;
		end->body_sum += (int64_t)body.len;
		route_delivered(end->route, &end->own, &id, now_ms);
		buf_clear(&out);
	}
	buf_done(&out);
}

static void settle(void)
{
	bool any = true;
	for (int i = 0; any && i < 3000; i++) {
		any = frames_take(&far);
		sync_end_of(&far);
		consume(&far);
		any |= frames_take(&near);
		sync_end_of(&near);
		consume(&near);
		if (near.peer)
			peer_send(near.peer, now_ms);
		if (far.peer)
			peer_send(far.peer, now_ms);
		any |= near.last || far.last;
	}
	assert_false(any);
}

static void on_given(struct route_giver *giver, int err)
{
	struct end *end = end_of(LIST_ENTRY(giver, struct end, giver));
	end->kept += err == 0;
	end->kept_err = err;
}

static void give(struct end *end, unsigned number, size_t len)
{
	static uint8_t body[ENVELOPE_BODY_MAX];
	const struct id *to = &end->other->own;
	murmesh_Envelope envelope = { .which_to = murmesh_Envelope_node_tag, .type = "test", .created_ms = now_ms };
	struct buf out;
	envelope.id[0] = 1;
	envelope.id[14] = (uint8_t)(number >> 8);
	envelope.id[15] = (uint8_t)number;
	memcpy(envelope.to.node, to->bytes, sizeof envelope.to.node);
	for (size_t i = 0; i < len; i++)
		body[i] = (uint8_t)(i * 31 + number);
	buf_init(&out, ENVELOPE_MAX);
	assert_int_equal(envelope_write(&envelope, (struct str){ (char *)body, len }, &out), 0);
	end->giver.accepted = on_given;
	assert_int_equal(route_accept(end->route, to, buf_str(&out), now_ms, &end->giver), 0);
	buf_done(&out);
}

/* ---- */

static void test_both_ways(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 1000; i++) {
		give(&near, i, i % 700);
		if (i % 3 == 0)
			give(&far, i, 10);
	}
	settle();
	assert_int_equal(near.kept, 1000);
	assert_int_equal(far.taken, 1000);
	assert_int_equal(near.delivered, 1000);
	assert_int_equal(near.taken, 334);
	assert_int_equal(far.delivered, 334);
	assert_int_equal(near.failed, 0);
	assert_int_equal(far.failed, 0);
}

static void test_large(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 40; i++) {
		give(&near, i, i % 2 ? ENVELOPE_BODY_MAX : 5);
		sync_end_of(&near);
	}
	settle();
	assert_int_equal(far.taken, 40);
	assert_int_equal(far.body_sum, 20 * (int64_t)(ENVELOPE_BODY_MAX + 5));
	assert_int_equal(near.delivered, 40);
}

/* The link ends in the middle of one, again and again. */
static void test_broken(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 30; i++) {
		give(&near, i, 30000);
		sync_end_of(&near);
	}
	for (unsigned round = 0; round < 60 && near.delivered < 30; round++) {
		frames_take(&far);
		frames_take(&near);
		peer_send(near.peer, now_ms);
		if (far.last > round % 7)
			far.last = round % 7; /* what came through */
		frames_take(&far);
		if (round % 2)
			sync_end_of(&far); /* else they were never answered */
		near.peer = peer_free(near.peer);
		far.peer = peer_free(far.peer);
		sync_end_of(&far);
		connect_ends();
	}
	settle();
	assert_int_equal(far.taken, 30);
	assert_int_equal(near.delivered, 30);
}

static void test_refused(void **state)
{
	(void)state;
	struct route_queue queue;
	far.refuse = -E_DENIED;
	give(&near, 1, 10);
	settle();
	assert_int_equal(far.taken, 0);
	assert_true(route_queue_of(near.route, &device, &queue));
	assert_int_equal(queue.dead[ROUTE_REFUSED], 1);
	assert_int_equal(queue.waiting, 0);
	/* The other's disk fails once: it is not lost, and goes again when its time has come. */
	far.refuse = 0;
	give(&near, 2, 10);
	sync_end_of(&near);
	frames_take(&far);
	far.disk.fail_at = far.disk.steps + 1;
	far.disk.fail_err = -EIO;
	settle();
	route_queue_of(near.route, &device, &queue);
	assert_int_equal(queue.waiting, 1);
	assert_int_equal(queue.sent, 0);
	route_tick(near.route, now_ms + ROUTE_RETRY_S * 1000);
	route_tick(far.route, now_ms + ROUTE_RETRY_S * 1000);
	peer_send(near.peer, now_ms + ROUTE_RETRY_S * 1000);
	settle();
	assert_int_equal(far.taken, 1);
}

static void frame_data(struct end *end, const void *bytes, size_t len)
{
	static murmesh_Frame frame;
	frame = (murmesh_Frame){ .which_body = murmesh_Frame_envelope_tag };
	memcpy(frame.body.envelope.data.bytes, bytes, len);
	frame.body.envelope.data.size = (pb_size_t)len;
	peer_frame(end->peer, &frame, now_ms);
}

static void test_hostile(void **state)
{
	(void)state;
	murmesh_Frame frame = { .which_body = murmesh_Frame_acknowledgement_tag };
	memset(frame.body.acknowledgement.kept.bytes, 1, 40);
	frame.body.acknowledgement.kept.size = 40; /* of nobody, and not a whole number of them */
	frame.body.acknowledgement.has_refused = true;
	peer_frame(far.peer, &frame, now_ms);
	frame = (murmesh_Frame){ .which_body = murmesh_Frame_hello_tag };
	peer_frame(far.peer, &frame, now_ms);
	assert_int_equal(far.failed, 0);
	frame_data(&far, "\xff\xff\xff\xff", 4);
	assert_int_equal(far.failed, -E_TOO_LONG);
	frame_data(&far, "\0\0\0\1x", 5); /* nothing of it is heard any more */
	far.peer = peer_free(far.peer);
	near.peer = peer_free(near.peer);
	connect_ends();
	frame_data(&far, "\0\0\0\1x", 5);
	assert_int_equal(far.failed, -E_MESSAGE);
}

/* More than there is credit for. */
static void test_flow(void **state)
{
	(void)state;
	murmesh_Envelope envelope = { .which_to = murmesh_Envelope_node_tag, .type = "t", .created_ms = now_ms };
	struct buf out;
	buf_init(&out, ENVELOPE_MAX);
	for (unsigned i = 1; i <= PEER_CREDIT + 1; i++) {
		envelope.id[0] = (uint8_t)i;
		buf_clear(&out);
		assert_int_equal(buf_append_be32(&out, 0), 0);
		assert_int_equal(envelope_write(&envelope, STR("b"), &out), 0);
		out.data[out.start + 3] = (uint8_t)(buf_len(&out) - 4);
		assert_int_equal(far.failed, 0);
		frame_data(&far, buf_head(&out), buf_len(&out));
	}
	assert_int_equal(far.failed, -E_FLOW);
	buf_done(&out);
}

/* No room on the link: it goes on when there is. */
static void test_crowded(void **state)
{
	(void)state;
	frames_take(&near);
	frames_take(&far);
	near.full = true;
	give(&near, 1, 20000);
	sync_end_of(&near);
	assert_int_equal(far.last, 0);
	near.full = false;
	peer_send(near.peer, now_ms);
	assert_int_equal(far.last, 3);
	settle();
	assert_int_equal(far.taken, 1);
	near.full = true; /* not even an answer */
	give(&far, 1, 10);
	sync_end_of(&far);
	frames_take(&near);
	sync_end_of(&near);
	assert_int_equal(near.failed, -E_FULL);
}

static int begin_again(void *ctx)
{
	(void)ctx;
	int err = peer_new(&near.peers, &device, &peer_events, &near, &near.peer);
	near.peer = err < 0 ? NULL : peer_free(near.peer);
	return err;
}

static void test_faults(void **state)
{
	(void)state;
	near.peer = peer_free(near.peer);
	assert_true(test_each_fault(begin_again, NULL) >= 1);
	route_retire(near.route, &device, now_ms);
	assert_int_equal(peer_new(&near.peers, &device, &peer_events, &near, &near.peer), -E_ENVELOPE_RETIRED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_both_ways, setup, teardown),
		cmocka_unit_test_setup_teardown(test_large, setup, teardown),
		cmocka_unit_test_setup_teardown(test_broken, setup, teardown),
		cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_hostile, setup, teardown),
		cmocka_unit_test_setup_teardown(test_flow, setup, teardown),
		cmocka_unit_test_setup_teardown(test_crowded, setup, teardown),
		cmocka_unit_test_setup_teardown(test_faults, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
