/* The real role under a real monitor, asked by a role of the test.  Only names that need no network. */
#include "resolve/resolve.h"

#include <signal.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/test.h"
#include "io/io.h"
#include "os/log.h"
#include "os/proc.h"
#include "priv/monitor.h"
#include "priv/priv.h"
#include "rpc/rpc.h"
#include "services.h"

#define MANY 600

/* ---- the role that asks: each message is a name; reports "NAME ERR ADDRESS..." ---- */

struct asker {
	struct priv_child *child;
	struct rpc_connection *resolve;
	unsigned waiting, answered, busy;
};

struct question {
	struct asker *asker;
	char name[256];
};

static void on_answer(void *ctx, int err, const char *why, const void *response)
{
	struct question *question = ctx;
	const murmesh_LookupReply *reply = response;
	char text[1024];
	(void)why;
	int len = snprintf(text, sizeof text, "%s %s", question->name, err ? err_name(err) : "ok");
	for (pb_size_t i = 0; reply && i < reply->addresses_count; i++)
		len += snprintf(text + len, sizeof text - (size_t)len, " %s", reply->addresses[i]);
	priv_report(question->asker->child, (struct str){ text, (size_t)len });
	mem_free(question);
}

static void on_one_of_many(void *ctx, int err, const char *why, const void *response)
{
	struct asker *asker = ctx;
	char text[64];
	(void)why, (void)response;
	asker->answered += err == 0;
	asker->busy += err == -E_BUSY;
	if (--asker->waiting)
		return;
	int len = snprintf(text, sizeof text, "many %u", asker->answered + asker->busy);
	priv_report(asker->child, (struct str){ text, (size_t)len });
}

static void on_message(void *ctx, struct str text)
{
	struct asker *asker = ctx;
	murmesh_LookupRequest request = murmesh_LookupRequest_init_zero;
	if (str_is(text, "die"))
		abort();
	if (str_is(text, "many")) {
		str_copy(STR("localhost"), request.host, sizeof request.host);
		asker->answered = asker->busy = 0;
		for (asker->waiting = 0; asker->waiting < MANY; asker->waiting++)
			if (rpc_unary(asker->resolve, &rpc_Resolve_Lookup, &request, 30000, on_one_of_many, asker) < 0)
				abort();
		return;
	}
	struct question *question = mem_alloc(sizeof *question);
	question->asker = asker;
	str_copy(text, request.host, sizeof request.host);
	str_copy(text, question->name, sizeof question->name);
	if (rpc_unary(asker->resolve, &rpc_Resolve_Lookup, &request, 30000, on_answer, question) < 0)
		abort();
}

static void on_descriptor(void *ctx, const char *name, int fd)
{
	static const struct rpc_connection_events events = { NULL, NULL, NULL };
	static const struct rpc_connection_settings settings = { .server = false };
	struct asker *asker = ctx;
	(void)name;
	asker->resolve = rpc_connection_plain(priv_child_loop(asker->child), fd, &settings, &events, asker);
	priv_report(asker->child, STR("connected"));
}

static int asker_main(struct priv_child *child)
{
	static const struct priv_child_events events = { on_descriptor, on_message, NULL };
	static struct asker asker;
	asker.child = child;
	priv_child_listen(child, &events, &asker);
	if (priv_child_confine(child) < 0)
		return 77;
	priv_child_ready(child);
	int code = priv_child_run(child);
	rpc_connection_free(asker.resolve);
	return code;
}

/* ---- the monitor ---- */

static char directory[] = "/tmp/murmesh-resolve-XXXXXX";
static const struct priv_role roles[] = {
	{ "resolve", resolve_role_main, PRIV_ALLOW_RESOLVE | PRIV_ALLOW_THREAD, NULL, false },
	{ "asker", asker_main, 0, NULL, false },
};
static const struct priv_edge edges[] = { { "asker", "resolve", PRIV_EDGE_RPC } };
static const struct priv_program program = { .name = "resolve-test",
	                                     .directory = directory,
	                                     .roles = roles,
	                                     .n_roles = 2,
	                                     .edges = edges,
	                                     .n_edges = 1,
	                                     .first_uid = 61000 };

struct trial {
	struct io_loop *loop;
	struct io_timer *watchdog;
	struct priv_monitor *monitor;
	char report[1024]; /* the last one */
	bool stopped;
};
static struct trial t;

static void on_ready(void *ctx)
{
	(void)ctx;
}

static void on_report(void *ctx, const char *role, struct str text)
{
	(void)ctx;
	assert_string_equal(role, "asker");
	assert_int_equal(str_copy(text, t.report, sizeof t.report), 0);
	io_loop_stop(t.loop);
}

static void on_stopped(void *ctx)
{
	(void)ctx;
	t.stopped = true;
	io_loop_stop(t.loop);
}

static void on_watchdog(void *ctx)
{
	(void)ctx;
	fail_msg("nothing came; last \"%s\"", t.report);
}

/* The next report. */
static const char *next(void)
{
	t.report[0] = 0;
	while (!t.report[0])
		io_loop_run(t.loop);
	return t.report;
}

static const char *ask(const char *name)
{
	assert_int_equal(priv_monitor_tell(t.monitor, "asker", str_from(name)), 0);
	return next();
}

/* Behind the name. */
static bool has_word(const char *text, const char *wanted)
{
	struct str word, rest;
	str_cut(str_from(text), ' ', &rest);
	while (word = str_cut(rest, ' ', &rest), word.len)
		if (str_is(word, wanted))
			return true;
	return false;
}

static void test_lookups(void **state)
{
	(void)state;
	const char *answer = ask("localhost");
	assert_true(str_starts(str_from(answer), STR("localhost ok ")));
	assert_true(has_word(answer, "127.0.0.1") || has_word(answer, "::1"));
	assert_true(has_word(ask("127.0.0.1"), "127.0.0.1"));
	assert_true(has_word(ask("192.0.2.77"), "192.0.2.77"));
	/* names that cannot be, which nobody is asked for */
	char label[80];
	memset(label, 'a', sizeof label);
	label[sizeof label - 1] = 0;
	assert_true(has_word(ask(label), "E1303"));
}

/* More at once than are taken: each gets an answer. */
static void test_many(void **state)
{
	(void)state;
	char wanted[32];
	snprintf(wanted, sizeof wanted, "many %u", MANY);
	assert_string_equal(ask("many"), wanted);
	assert_true(has_word(ask("127.0.0.1"), "127.0.0.1"));
}

/* The role outlives who asks it. */
static void test_asker_dies(void **state)
{
	(void)state;
	assert_int_equal(priv_monitor_tell(t.monitor, "asker", STR("many")), 0);
	assert_string_equal(ask("die"), "connected");
	assert_true(has_word(ask("127.0.0.1"), "127.0.0.1"));
}

static int set_up(void **state)
{
	static const struct priv_monitor_events events = { on_ready, on_report, on_stopped };
	(void)state;
	if (!mkdtemp(directory))
		return -1;
	t.loop = io_loop_new();
	t.watchdog = io_timer_new(t.loop, on_watchdog, NULL);
	io_timer_start(t.watchdog, 60000, 0);
	t.monitor = priv_monitor_new(t.loop, &program, STR(""), NULL, 0, &events, NULL);
	if (!t.monitor || priv_monitor_start(t.monitor) < 0)
		return -1;
	assert_string_equal(next(), "connected");
	return 0;
}

static int tear_down(void **state)
{
	void *made = strdup(directory);
	(void)state;
	priv_monitor_stop(t.monitor);
	while (!t.stopped)
		io_loop_run(t.loop);
	priv_monitor_free(t.monitor);
	io_timer_free(t.watchdog);
	io_loop_free(t.loop);
	return test_directory_remove(&made);
}

int main(int argc, char **argv)
{
	proc_title_init(argc, argv);
	if (argc == 3 && strcmp(argv[1], "--role") == 0)
		return priv_role_main(&program, argv[2]);
	log_init("resolve-test");
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lookups),
		cmocka_unit_test(test_many),
		cmocka_unit_test(test_asker_dies),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
