/* What the link role follows of core, with a core of the test's own. */
#include "base/test.h"

#include "base/err.h"
#include "gateway/ca_changes.h"
#include "gateway/link_revoked.h"
#include "io/io.h"
#include "os/fd.h"
#include "rpc/rpc.h"
#include "services.h"

struct core {
	struct io_loop *loop;
	struct rpc_connection *server, *client;
	struct rpc_call *call;  /* that is open */
	int answer;             /* to all calls; 0: they stay open */
	unsigned asked, wanted; /* the loop stops when it was asked so often */
	unsigned n_ended;
	struct id ended;
};

static void on_request(void *ctx, const void *message)
{
	(void)ctx;
	(void)message;
}

static void on_call_closed(void *ctx, int err, const char *why)
{
	struct core *core = ctx;
	(void)err;
	(void)why;
	core->call = NULL;
}

static int on_open(void *ctx, struct rpc_call *call)
{
	static const struct rpc_call_events events = { on_request, NULL, NULL, on_call_closed };
	struct core *core = ctx;
	bool revocations = str_is(rpc_call_path(call), rpc_Core_Revocations.path);
	if (++core->asked >= core->wanted)
		io_loop_stop(core->loop);
	if (core->answer < 0)
		return core->answer;
	core->call = call;
	rpc_call_accept(call, revocations ? &rpc_Core_Revocations : &rpc_Core_CaChanges, &events, core);
	return 0;
}

static void on_gone(void *ctx, int err)
{
	(void)ctx;
	(void)err;
}

static void core_begin(struct core *core, struct io_loop *loop)
{
	static const struct rpc_connection_events server = { on_open, NULL, on_gone }, client = { NULL, NULL, on_gone };
	int ends[2];
	*core = (struct core){ .loop = loop, .wanted = 1 };
	assert_int_equal(fd_pair_stream(ends), 0);
	core->server = rpc_connection_plain(loop, ends[0], &(struct rpc_connection_settings){ .server = true }, &server, core);
	core->client = rpc_connection_plain(loop, ends[1], &(struct rpc_connection_settings){ .server = false }, &client, core);
	assert_true(core->server && core->client);
}

static void core_end(struct core *core)
{
	rpc_connection_drop(&core->client);
	rpc_connection_drop(&core->server);
}

static void on_key(void *ctx, const uint8_t key_hash[HASH_SIZE])
{
	struct core *core = ctx;
	(void)key_hash;
	io_loop_stop(core->loop);
}

static void on_ended(void *ctx, const struct id *device)
{
	struct core *core = ctx;
	core->n_ended++;
	core->ended = *device;
}

static void say(struct core *core, const murmesh_Revocation *message)
{
	assert_int_equal(rpc_call_send(core->call, message), 0);
}

static void say_relay(struct core *core, uint8_t relay)
{
	say(core, &(murmesh_Revocation){ .relay = { relay } });
}

/* A key comes behind all that was said before. */
static void say_last(struct core *core)
{
	say(core, &(murmesh_Revocation){ .key_hash = { 1 } });
	io_loop_run(core->loop);
}

static void follow(struct core *core, struct link_revoked *revoked)
{
	link_revoked_follow(revoked);
	io_loop_run(core->loop);
	assert_non_null(core->call);
}

static void cut(struct core *core, struct link_revoked *revoked)
{
	unsigned asked = core->asked;
	rpc_call_finish(core->call, -E_BUSY, NULL);
	core->wanted = asked + 1; /* it follows by itself */
	io_loop_run(core->loop);
	assert_int_equal(core->asked, asked + 1);
	assert_false(link_revoked_relay(revoked, &(struct id){ { 7 } }));
}

static void test_relay_that_ended_meanwhile(void **state)
{
	static const struct link_revoked_events events = { on_key, on_ended };
	struct io_loop *loop = io_loop_new();
	struct core core;
	(void)state;
	core_begin(&core, loop);
	struct link_revoked *revoked = link_revoked_new(loop, &core.client, &events, &core);
	follow(&core, revoked);
	say_relay(&core, 7);
	say_relay(&core, 8);
	say(&core, &(murmesh_Revocation){ .listed = true });
	say_last(&core);
	assert_true(link_revoked_relay(revoked, &(struct id){ { 7 } }) && link_revoked_relay(revoked, &(struct id){ { 8 } }));
	assert_true(link_revoked_listed(revoked));
	cut(&core, revoked); /* nobody is a relay until core says so */
	assert_false(link_revoked_listed(revoked));
	say_relay(&core, 7);
	say_last(&core);
	assert_int_equal(core.n_ended, 0); /* 8 may still come */
	cut(&core, revoked);
	say_relay(&core, 7);
	say(&core, &(murmesh_Revocation){ .listed = true });
	say_last(&core);
	assert_int_equal(core.n_ended, 1);
	assert_int_equal(core.ended.bytes[0], 8);
	assert_true(link_revoked_relay(revoked, &(struct id){ { 7 } }));
	assert_false(link_revoked_relay(revoked, &(struct id){ { 8 } }));
	say(&core, &(murmesh_Revocation){ .relay = { 7 }, .ended = true });
	say_last(&core);
	assert_int_equal(core.n_ended, 2);
	assert_false(link_revoked_relay(revoked, &(struct id){ { 7 } }));
	core_end(&core);
	link_revoked_free(revoked);
	io_loop_free(loop);
}

static void on_changed(void *ctx)
{
	(void)ctx;
}

/* What was denied is asked once while what was busy is asked three times. */
static void test_denied_waits(void **state)
{
	static const struct link_revoked_events events = { on_key, on_ended };
	struct io_loop *loop = io_loop_new();
	struct core busy, denied;
	(void)state;
	core_begin(&busy, loop);
	core_begin(&denied, loop);
	busy.answer = -E_BUSY;
	denied.answer = -E_DENIED;
	busy.wanted = 6;
	denied.wanted = UINT32_MAX;
	struct link_revoked *revoked[] = { link_revoked_new(loop, &busy.client, &events, &busy),
		                           link_revoked_new(loop, &denied.client, &events, &denied) };
	struct ca_changes *changes[] = { ca_changes_new(loop, &busy.client, on_changed, NULL),
		                         ca_changes_new(loop, &denied.client, on_changed, NULL) };
	for (size_t i = 0; i < 2; i++) {
		link_revoked_follow(revoked[i]);
		ca_changes_follow(changes[i]);
	}
	io_loop_run(loop);
	assert_int_equal(denied.asked, 2);
	core_end(&busy);
	core_end(&denied);
	for (size_t i = 0; i < 2; i++) {
		link_revoked_free(revoked[i]);
		ca_changes_free(changes[i]);
	}
	io_loop_free(loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_relay_that_ended_meanwhile),
		cmocka_unit_test(test_denied_waits),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
