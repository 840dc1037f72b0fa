#include "gateway/ca_changes.h"

#include "base/err.h"
#include "base/mem.h"
#include "gateway/gateway.h"
#include "io/io.h"
#include "rpc/rpc.h"
#include "services.h"

#define RETRY_MS 1000

struct ca_changes {
	struct io_timer *retry;
	struct rpc_connection *const *core;
	struct rpc_call *call;
	void (*changed)(void *ctx);
	void *ctx;
};

static void on_message(void *ctx, const void *message)
{
	const struct ca_changes *changes = ctx;
	(void)message;
	changes->changed(changes->ctx);
}

static void on_closed(void *ctx, int err, const char *why)
{
	struct ca_changes *changes = ctx;
	(void)why;
	changes->call = NULL;
	io_timer_start(changes->retry, err == -E_DENIED ? GATEWAY_DENIED_MS : RETRY_MS, 0);
}

static void on_retry(void *ctx)
{
	ca_changes_follow(ctx);
}

void ca_changes_follow(struct ca_changes *changes)
{
	static const struct rpc_call_events events = { on_message, NULL, NULL, on_closed };
	static const murmesh_CaDescribe request = murmesh_CaDescribe_init_zero;
	if (changes->call || !*changes->core)
		return;
	changes->call = rpc_call_open(*changes->core, &rpc_Core_CaChanges, NULL, 0, &events, changes);
	if (!changes->call || rpc_call_send(changes->call, &request) < 0)
		io_timer_start(changes->retry, RETRY_MS, 0);
	if (changes->call)
		rpc_call_half_close(changes->call);
}

struct ca_changes *ca_changes_new(struct io_loop *loop, struct rpc_connection *const *core, void (*changed)(void *ctx), void *ctx)
{
	struct ca_changes *changes = mem_alloc(sizeof *changes);
	if (!changes)
		return NULL;
	*changes = (struct ca_changes){ .core = core, .changed = changed, .ctx = ctx };
	changes->retry = io_timer_new(loop, on_retry, changes);
	return changes->retry ? changes : ca_changes_free(changes);
}

struct ca_changes *ca_changes_free(struct ca_changes *changes)
{
	if (!changes)
		return NULL;
	io_timer_free(changes->retry);
	return mem_free(changes);
}
