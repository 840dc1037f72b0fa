#include "gateway/pair_watch.h"

#include "base/err.h"

#define REPORTS_MAX (sizeof((murmesh_PairReports *)0)->pairs / sizeof *((murmesh_PairReports *)0)->pairs)

static void soon(struct pair_watch *watch)
{
	if (watch->timed || !watch->call)
		return;
	watch->timed = true;
	io_timer_start(watch->timer, watch->every_ms, 0);
}

/* What could not be sent stays. */
static int reports_send(struct pair_watch *watch)
{
	bool due = watch->reports.pairs_count || watch->reports.begins || watch->reports.whole;
	int err = due ? rpc_call_send(watch->call, &watch->reports) : 0;
	if (err == 0)
		watch->reports = (murmesh_PairReports)murmesh_PairReports_init_zero;
	return err;
}

static bool report_add(struct pair_watch *watch, const struct relay_report *report, bool ended)
{
	if (watch->reports.pairs_count == REPORTS_MAX && reports_send(watch) < 0)
		return false;
	murmesh_PairReport *at = &watch->reports.pairs[watch->reports.pairs_count++];
	*at = (murmesh_PairReport){ .from_client = report->bytes[RELAY_CLIENT],
		                    .from_agent = report->bytes[RELAY_AGENT],
		                    .ended = ended,
		                    .error = report->came[RELAY_CLIENT] ? (uint32_t)-report->result
		                                                        : 0 }; /* else he did not want it after all */
	memcpy(at->pair, report->pair.bytes, sizeof at->pair);
	return true;
}

static bool on_news(void *ctx, const struct relay_report *report)
{
	return report_add(ctx, report, false);
}

/* As much as there is room for; `writable` goes on. */
static void tell(void *ctx)
{
	struct pair_watch *watch = ctx;
	bool told = relay_news(watch->relay, on_news, watch);
	if (told && !watch->whole)
		watch->reports.whole = watch->whole = true;
	reports_send(watch);
}

static void on_time(void *ctx)
{
	struct pair_watch *watch = ctx;
	watch->timed = false;
	if (watch->call)
		tell(watch);
}

static void on_closed(void *ctx, int err, const char *why)
{
	struct pair_watch *watch = ctx;
	(void)err;
	(void)why;
	watch->call = NULL;
}

static void call_end(struct pair_watch *watch, int err)
{
	static const struct rpc_call_events none;
	struct rpc_call *call = watch->call;
	watch->call = NULL;
	if (!call)
		return;
	rpc_call_set_events(call, &none, NULL);
	rpc_call_finish(call, err, NULL);
}

static void on_request(void *ctx, const void *request)
{
	struct pair_watch *watch = ctx;
	(void)request;
	watch->whole = false;
	watch->reports = (murmesh_PairReports){ .begins = true };
	relay_news_all(watch->relay);
	tell(watch);
}

int pair_watch_open(struct pair_watch *watch, struct rpc_call *call)
{
	static const struct rpc_call_events events = { on_request, NULL, tell, on_closed };
	call_end(watch, -E_EXISTS);
	watch->call = call;
	rpc_call_accept(call, &rpc_Relay_Watch, &events, watch);
	return 0;
}

void pair_watch_news(struct pair_watch *watch)
{
	soon(watch);
}

void pair_watch_ended(struct pair_watch *watch, const struct relay_report *report)
{
	if (!watch->call)
		return;
	if (!report_add(watch, report, true))
		return call_end(watch, -E_FLOW);
	soon(watch);
}

int pair_watch_init(struct pair_watch *watch, struct io_loop *loop, unsigned every_ms)
{
	*watch = (struct pair_watch){ .timer = io_timer_new(loop, on_time, watch), .every_ms = every_ms };
	return watch->timer ? 0 : -E_NO_MEMORY;
}

void pair_watch_done(struct pair_watch *watch)
{
	watch->timer = io_timer_free(watch->timer);
}
