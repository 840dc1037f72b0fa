#include "web/guard.h"

#include "base/err.h"
#include "base/mem.h"
#include "services.h"
#include "web/leg.h"
#include "web/socket.h"
#include "web/socket_own.h"

#define USED_MS 300000
#define CALL_MS 10000

struct guard {
	struct list node; /* in web->guards */
	struct web *web;
	struct rpc_call *call; /* referenced; NULL while core is away */
	uint64_t used_ms;
	size_t n;
	uint8_t session[ACCOUNT_SESSION_SIZE];
};

static void call_drop(struct guard *guard)
{
	static const struct rpc_call_events none;
	if (!guard->call)
		return;
	rpc_call_set_events(guard->call, &none, NULL);
	rpc_call_cancel(guard->call);
	rpc_call_unref(guard->call);
	guard->call = NULL;
}

static void on_closed(void *ctx, int err, const char *why)
{
	struct guard *guard = ctx;
	(void)why;
	rpc_call_unref(guard->call);
	guard->call = NULL;
	if (err != -E_SESSION && err != -E_DENIED) {
		if (guard->web->core)
			io_timer_start(guard->web->again, 1000, 0);
		return;
	}
	struct web *web = guard->web;
	uint8_t session[ACCOUNT_SESSION_SIZE];
	memcpy(session, guard->session, sizeof session);
	LIST_EACH(at, &web->sockets) {
		struct web_socket *socket = LIST_ENTRY(at, struct web_socket, node);
		if (socket->guard == guard)
			web_socket_close(socket, SOCKET_POLICY, err_text(-E_SESSION));
	}
	legs_session_ended(web, session); /* may have been the last that held this guard */
	mem_wipe(session, sizeof session);
}

static void guard_open(struct guard *guard)
{
	static const struct rpc_call_events events = { NULL, NULL, NULL, on_closed };
	murmesh_SessionRequest me;
	struct rpc_call *call =
	        guard->web->core ? rpc_call_open(guard->web->core, &rpc_Console_WatchSession, NULL, 0, &events, guard) : NULL;
	if (!call)
		return;
	guard->call = rpc_call_ref(call);
	memcpy(me.session, guard->session, sizeof me.session);
	if (rpc_call_send(call, &me) < 0 || rpc_call_half_close(call) < 0)
		call_drop(guard);
	mem_wipe(&me, sizeof me);
}

struct guard *guard_take(struct web *web, const uint8_t session[ACCOUNT_SESSION_SIZE])
{
	struct guard *guard = NULL;
	LIST_EACH(at, &web->guards)
		if (session_equal(LIST_ENTRY(at, struct guard, node)->session, session))
			guard = LIST_ENTRY(at, struct guard, node);
	if (!guard) {
		guard = mem_alloc(sizeof *guard);
		if (!guard)
			return NULL;
		guard->web = web;
		guard->used_ms = io_loop_now_ms(web->loop);
		memcpy(guard->session, session, sizeof guard->session);
		list_append(&web->guards, &guard->node);
		guard_open(guard);
	}
	guard->n++;
	return guard;
}

struct guard *guard_release(struct guard *guard)
{
	if (!guard || --guard->n > 0)
		return NULL;
	call_drop(guard);
	list_remove(&guard->node);
	mem_wipe(guard, sizeof *guard);
	return mem_free(guard);
}

size_t guard_count(const struct guard *guard)
{
	return guard->n;
}

static void on_used(void *ctx, int err, const char *why, const void *response)
{
	(void)ctx, (void)err, (void)why, (void)response;
}

void guard_used(struct guard *guard)
{
	uint64_t now = io_loop_now_ms(guard->web->loop);
	murmesh_SessionRequest me;
	if (now - guard->used_ms < USED_MS || !guard->web->core)
		return;
	guard->used_ms = now;
	memcpy(me.session, guard->session, sizeof me.session);
	rpc_unary(guard->web->core, &rpc_Console_Me, &me, CALL_MS, on_used, NULL);
	mem_wipe(&me, sizeof me);
}

void guard_core_changed(struct web *web)
{
	LIST_EACH(at, &web->guards) {
		struct guard *guard = LIST_ENTRY(at, struct guard, node);
		if (!guard->call)
			guard_open(guard);
	}
}
