#include "cli/session.h"

#include <errno.h>
#include <signal.h>

#include "base/err.h"
#include "base/mem.h"
#include "cli/leg.h"
#include "os/file.h"
#include "stream/stream.h"

#define CALL_MS 30000

/* ---- waiting ---- */

struct wait {
	struct session *session;
	void *response;
	size_t size;
	void (*each)(void *ctx, const void *message);
	void *ctx;
	struct rpc_call *call;
	int err;
	bool done, left; /* left: nobody waits any more, its end frees it */
};

static void wait_end(struct wait *wait, int err, const char *why)
{
	if (wait->left) {
		mem_free(wait);
		return;
	}
	wait->err = err;
	wait->done = true;
	snprintf(wait->session->why, sizeof wait->session->why, "%s", err < 0 && why ? why : "");
	io_loop_stop(wait->session->loop);
}

static void on_unary(void *ctx, int err, const char *why, const void *response)
{
	struct wait *wait = ctx;
	if (err == 0 && !wait->left) /* else its place for the answer is gone */
		memcpy(wait->response, response, wait->size);
	wait_end(wait, err, why);
}

static int wait_for(struct wait *wait)
{
	while (!wait->done) {
		io_loop_run(wait->session->loop);
		if (wait->session->interrupted && !wait->done) {
			wait->left = true;
			return -E_CANCELLED; /* the call ends with its connection */
		}
	}
	return wait->err;
}

int session_call(struct session *session, struct rpc_connection *connection, const struct rpc_method *method, const void *request,
                 void *response, size_t size)
{
	struct wait *wait = mem_alloc(sizeof *wait);
	if (!wait)
		return -E_NO_MEMORY;
	session->why[0] = 0;
	*wait = (struct wait){ .session = session, .response = response, .size = size };
	int err = connection ? rpc_unary(connection, method, request, CALL_MS, on_unary, wait) : -E_CLOSED;
	if (err == 0)
		err = wait_for(wait);
	if (!wait->left)
		mem_free(wait);
	return err;
}

/* ---- beginning and end ---- */

static void on_interrupt(void *ctx)
{
	struct session *session = ctx;
	session->interrupted = true;
	io_loop_stop(session->loop);
}

void session_interrupt_by(struct session *session, int signal)
{
	size_t i = 0;
	while (session->interrupts[i])
		i++;
	session->interrupts[i] = io_signal_new(session->loop, signal, on_interrupt, session);
}

int session_init(struct session *session)
{
	*session = (struct session){ .loop = io_loop_new() };
	list_init(&session->legs);
	if (!session->loop)
		return -E_NO_MEMORY;
	session_interrupt_by(session, SIGINT);
	return session->interrupts[0] ? 0 : -E_NO_MEMORY;
}

void session_close(struct session *session)
{
	rpc_connection_drop(&session->server);
	legs_cancel(session);
	tls_context_free(session->tls);
	login_done(&session->login);
	key_free(session->signer);
	for (size_t i = 0; i < sizeof session->interrupts / sizeof *session->interrupts; i++)
		io_signal_free(session->interrupts[i]);
	io_loop_free(session->loop);
}

int session_fail(const struct session *session, int err, const char *what)
{
	/* Only the user's own certificate can be the one: base/err.def speaks of a machine's. */
	const char *remedy =
	        err == -E_REVOKED ? "log in again with `murmesh login`; if that fails, ask an administrator of this mesh" : NULL;
	return cli_fail_because(err, session->why[0] ? session->why : NULL, remedy, "%s", what);
}

int session_unary(struct session *session, const struct rpc_method *method, const void *request, void *response,
                  size_t response_size)
{
	if (!session->server)
		return session->lost ? session->lost : -E_CLOSED;
	return session_call(session, session->server, method, request, response, response_size);
}

/* ---- streams ---- */

static void on_each(void *ctx, const void *message)
{
	struct wait *wait = ctx;
	if (!wait->left)
		wait->each(wait->ctx, message);
}

static void on_stream_closed(void *ctx, int err, const char *why)
{
	wait_end(ctx, err, why);
}

int session_stream(struct session *session, const struct rpc_method *method, const void *request,
                   void (*each)(void *ctx, const void *message), void *ctx)
{
	static const struct rpc_call_events events = { on_each, NULL, NULL, on_stream_closed };
	struct wait *wait = mem_alloc(sizeof *wait);
	if (!wait)
		return -E_NO_MEMORY;
	session->why[0] = 0;
	*wait = (struct wait){ .session = session, .each = each, .ctx = ctx };
	wait->call = session->server ? rpc_call_open(session->server, method, NULL, 0, &events, wait) : NULL;
	int err = wait->call ? rpc_call_send(wait->call, request) : -E_CLOSED;
	if (err == 0) {
		rpc_call_half_close(wait->call);
		err = wait_for(wait);
	} else
		wait->left = wait->call;
	if (!wait->left)
		mem_free(wait);
	return err;
}

int session_leg_context(const struct session *session, bool rpc, struct tls_context **ret)
{
	static const char *const rpc_alpn[] = { "h2", NULL }, *const http_alpn[] = { "http/1.1", NULL };
	const struct tls_settings settings = { .verify = TLS_VERIFY_REQUIRED,
		                               .leaf = session->login.leaf,
		                               .intermediate = session->login.intermediate,
		                               .root = session->login.root,
		                               .key = session->login.key,
		                               .send_intermediate = true,
		                               .mesh = session->login.info.identity.mesh,
		                               .kinds = 1u << IDENTITY_NODE,
		                               .alpn = rpc ? rpc_alpn : http_alpn,
		                               .read_ahead = (size_t)256 << 10 };
	return tls_context_new(&settings, ret);
}
