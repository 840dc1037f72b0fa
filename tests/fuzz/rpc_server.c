/* What a client may send to a server of calls, through a socket pair: a unary method and a stream that echoes. */
#include <assert.h>

#include "base/err.h"
#include "io/io.h"
#include "os/fd.h"
#include "os/socket.h"
#include "rpc/rpc.h"
#include "services.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct rpc_connection *server;
static struct io_loop *loop;
static unsigned open_calls;

static void lookup(void *ctx, struct rpc_call *call, const void *message)
{
	static murmesh_LookupReply reply;
	const murmesh_LookupRequest *request = message;
	(void)ctx;
	assert(memchr(request->host, 0, sizeof request->host));
	reply.addresses_count = 1;
	if (request->host[0] == 'x')
		rpc_call_finish(call, -E_NOT_FOUND, request->host);
	else
		rpc_call_reply(call, &reply);
}

static void echo_message(void *ctx, const void *message)
{
	struct rpc_call *call = ctx;
	if (rpc_call_send(call, message) < 0)
		rpc_call_cancel(call);
	rpc_call_pause(call, rpc_call_crowded(call));
}

static void echo_half_closed(void *ctx)
{
	rpc_call_finish(ctx, 0, NULL);
}

static void echo_writable(void *ctx)
{
	rpc_call_pause(ctx, false);
}

static void echo_closed(void *ctx, int err, const char *why)
{
	(void)err;
	assert(ctx && why);
	open_calls--;
}

static int on_open(void *ctx, struct rpc_call *call)
{
	static const struct rpc_service services[] = { { &rpc_Resolve_Lookup, 0, lookup, NULL } };
	static const struct rpc_method echo = { .path = "/echo", .client_streams = true, .server_streams = true };
	static const struct rpc_call_events events = { echo_message, echo_half_closed, echo_writable, echo_closed };
	const struct rpc_service *row = rpc_service_find(services, 1, rpc_call_path(call));
	if (row)
		return rpc_serve(row, call, ctx);
	if (!str_is(rpc_call_path(call), echo.path))
		return -E_UNSUPPORTED;
	rpc_call_accept(call, &echo, &events, call);
	open_calls++;
	return 0;
}

static void on_closed(void *ctx, int err)
{
	(void)ctx;
	assert(err < 0);
	server = rpc_connection_free(server);
	io_loop_stop(loop);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct rpc_connection_events events = { on_open, NULL, on_closed };
	static const struct rpc_connection_settings settings = { .server = true, .trusted_metadata = true };
	int pair[2];
	if (!loop)
		loop = io_loop_new();
	if (!loop || fd_pair_stream(pair) < 0)
		abort();
	server = rpc_connection_plain(loop, pair[1], &settings, &events, NULL);
	assert(server);
	for (size_t at = 0; at < size && at < 100000;) { /* what fits into the socket */
		ssize_t n = fd_write(pair[0], data + at, size - at);
		if (n < 0)
			break;
		at += (size_t)n;
	}
	socket_shutdown_write(pair[0]);
	io_loop_run(loop);
	fd_close(pair[0]);
	assert(!server && open_calls == 0);
	return 0;
}
