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
	struct io_loop *loop;
	void *response;
	size_t size;
	char *why;
	size_t why_size;
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
	if (wait->why)
		snprintf(wait->why, wait->why_size, "%s", err < 0 && why ? why : "");
	io_loop_stop(wait->loop);
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
		io_loop_run(wait->loop);
		if (wait->session && wait->session->interrupted && !wait->done) {
			wait->left = true;
			return -E_CANCELLED; /* the call ends with its connection */
		}
	}
	return wait->err;
}

static int unary_wait(struct rpc_connection *connection, struct io_loop *loop, const struct rpc_method *method, const void *request,
                      void *response, size_t size, char *why, size_t why_size, struct session *session)
{
	struct wait *wait = mem_alloc(sizeof *wait);
	if (!wait)
		return -E_NO_MEMORY;
	*wait = (struct wait){
		.session = session, .loop = loop, .response = response, .size = size, .why = why, .why_size = why_size
	};
	int err = rpc_unary(connection, method, request, CALL_MS, on_unary, wait);
	if (err == 0)
		err = wait_for(wait);
	if (!wait->left)
		mem_free(wait);
	return err;
}

/* ---- core.sock ---- */

static void on_local_closed(void *ctx, int err)
{
	(void)ctx;
	(void)err; /* calls tell */
}

static int local_open(struct io_loop *loop, const char *directory, struct rpc_connection **ret)
{
	static const struct rpc_connection_events events = { NULL, NULL, on_local_closed };
	static const struct rpc_connection_settings settings = { .server = false };
	char path[4096];
	int err = file_path(path, sizeof path, directory, "run/core.sock");
	int fd = err < 0 ? err : socket_unix_connect(path);
	if (fd < 0)
		return fd == -EACCES ? -E_DENIED : -E_NO_SERVER;
	*ret = rpc_connection_plain(loop, fd, &settings, &events, NULL);
	return *ret ? 0 : -E_NO_MEMORY;
}

int session_describe(struct io_loop *loop, const char *directory, murmesh_ServerDescription *ret)
{
	struct rpc_connection *local;
	murmesh_Nothing request = murmesh_Nothing_init_zero;
	int err = local_open(loop, directory, &local);
	if (err < 0)
		return err;
	err = unary_wait(local, loop, &rpc_Local_Describe, &request, ret, sizeof *ret, NULL, 0, NULL);
	rpc_connection_free(local);
	return err;
}

static int take_certificates(struct session *session, const murmesh_CertificateReply *reply)
{
	struct certificate_info info;
	int err = certificate_read(reply->leaf.bytes, reply->leaf.size, &session->leaf);
	if (err == 0)
		err = certificate_read(reply->intermediate.bytes, reply->intermediate.size, &session->intermediate);
	if (err == 0)
		err = certificate_read(reply->root.bytes, reply->root.size, &session->root);
	if (err == 0)
		err = certificate_inspect(session->leaf, &info);
	if (err == 0)
		session->self = info.identity;
	return err;
}

static int login(struct session *session, struct rpc_connection *local)
{
	murmesh_LoginRequest request = murmesh_LoginRequest_init_zero;
	murmesh_CertificateReply *reply = mem_alloc(sizeof *reply);
	size_t len;
	int err = reply && session->key ? key_public_write(session->key, request.key.bytes, &len) : -E_NO_MEMORY;
	if (err == 0) {
		request.key.size = (pb_size_t)len;
		err = unary_wait(local, session->loop, &rpc_Local_Login, &request, reply, sizeof *reply, session->why,
		                 sizeof session->why, session);
	}
	if (err == 0)
		err = take_certificates(session, reply);
	mem_free(reply);
	return err;
}

/* ---- the front ---- */

static void on_interrupt(void *ctx)
{
	struct session *session = ctx;
	session->interrupted = true;
	io_loop_stop(session->loop);
}

static void on_ready(void *ctx)
{
	struct session *session = ctx;
	session->lost = 0;
	io_loop_stop(session->loop);
}

static void on_closed(void *ctx, int err)
{
	struct session *session = ctx;
	struct rpc_connection *server = session->server;
	session->lost = err;
	session->server = NULL;
	rpc_connection_free(server);
	io_loop_stop(session->loop);
}

static int dial_front(struct session *session)
{
	static const char *const alpn[] = { "h2", NULL };
	static const struct rpc_connection_events events = { NULL, on_ready, on_closed };
	static const struct rpc_connection_settings rpc = { .server = false, .ping_ms = RPC_PING_MS, .quiet_ms = RPC_QUIET_MS };
	static const struct stream_events none;
	const struct tls_settings settings = { .verify = TLS_VERIFY_REQUIRED,
		                               .leaf = session->leaf,
		                               .intermediate = session->intermediate,
		                               .root = session->root,
		                               .key = session->key,
		                               .mesh = session->self.mesh,
		                               .kinds = 1u << IDENTITY_COMPONENT,
		                               .alpn = alpn };
	struct stream_settings stream_settings = { .connecting = true };
	int err = tls_context_new(&settings, &session->tls);
	if (err == 0)
		err = socket_address_parse(STR("127.0.0.1"), (uint16_t)session->description.front_port, &session->front);
	if (err == 0)
		err = stream_settings.fd = socket_connect(&session->front);
	if (err < 0)
		return err == -E_NO_MEMORY ? err : -E_UNREACHABLE;
	stream_settings.tls = session->tls;
	struct stream *stream = stream_new(session->loop, &stream_settings, &none, NULL);
	session->server = stream ? rpc_connection_new(session->loop, stream, &rpc, &events, session) : NULL;
	if (!session->server)
		return -E_NO_MEMORY;
	session->lost = -EAGAIN;
	while (session->lost == -EAGAIN && !session->interrupted)
		io_loop_run(session->loop);
	if (session->interrupted)
		return -E_CANCELLED;
	return session->lost > -1000 && session->lost < 0 ? -E_UNREACHABLE : session->lost;
}

int session_open(struct session *session, const char *directory)
{
	struct rpc_connection *local = NULL;
	murmesh_Nothing nothing = murmesh_Nothing_init_zero;
	*session = (struct session){ .loop = io_loop_new(), .key = key_generate() };
	list_init(&session->legs);
	if (!session->loop || !session->key)
		return -E_NO_MEMORY;
	session->interrupt = io_signal_new(session->loop, SIGINT, on_interrupt, session);
	int err = local_open(session->loop, directory, &local);
	if (err < 0)
		return err;
	err = unary_wait(local, session->loop, &rpc_Local_Describe, &nothing, &session->description, sizeof session->description,
	                 session->why, sizeof session->why, session);
	if (err == 0)
		err = login(session, local);
	rpc_connection_free(local);
	return err < 0 ? err : dial_front(session);
}

struct io_signal *session_interrupt_by(struct session *session, int signal)
{
	return io_signal_new(session->loop, signal, on_interrupt, session);
}

void session_close(struct session *session)
{
	struct rpc_connection *server = session->server;
	session->server = NULL;
	rpc_connection_free(server);
	legs_cancel(session);
	tls_context_free(session->tls);
	key_free(session->key);
	certificate_free(session->leaf);
	certificate_free(session->intermediate);
	certificate_free(session->root);
	io_signal_free(session->interrupt);
	io_loop_free(session->loop);
}

int session_begin(struct session *session, const struct cli *cli)
{
	char directory[4096], what[4200];
	int err = cli_directory(cli, directory, sizeof directory);
	if (err == 0)
		err = session_open(session, directory);
	if (err == 0)
		return 0;
	snprintf(what, sizeof what, "the server in %.4000s cannot be used", directory);
	int code = session_fail(session, err, what);
	session_close(session);
	return code;
}

int session_fail(const struct session *session, int err, const char *what)
{
	return session->why[0] ? cli_fail_because(err, session->why, NULL, "%s", what) : cli_fail(err, "%s", what);
}

int session_unary(struct session *session, const struct rpc_method *method, const void *request, void *response,
                  size_t response_size)
{
	session->why[0] = 0;
	if (!session->server)
		return session->lost ? session->lost : -E_CLOSED;
	return unary_wait(session->server, session->loop, method, request, response, response_size, session->why,
	                  sizeof session->why, session);
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
	*wait = (struct wait){ .session = session,
		               .loop = session->loop,
		               .why = session->why,
		               .why_size = sizeof session->why,
		               .each = each,
		               .ctx = ctx };
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

struct found {
	murmesh_Device device;
	size_t n;
};

static void on_device(void *ctx, const void *message)
{
	struct found *found = ctx;
	if (found->n++ == 0)
		found->device = *(const murmesh_Device *)message;
}

int session_device(struct session *session, const char *selector, murmesh_Device *ret)
{
	murmesh_ListRequest request = murmesh_ListRequest_init_zero;
	struct found found = { .n = 0 };
	int err = str_copy(str_from(selector), request.selector, sizeof request.selector);
	if (err == 0)
		err = session_stream(session, &rpc_Fleet_ListDevices, &request, on_device, &found);
	if (err == 0 && found.n != 1)
		err = found.n ? -E_AMBIGUOUS : -E_NOT_FOUND;
	if (err == 0)
		*ret = found.device;
	return err;
}

int session_leg_context(const struct session *session, bool rpc, struct tls_context **ret)
{
	static const char *const rpc_alpn[] = { "h2", NULL }, *const http_alpn[] = { "http/1.1", NULL };
	const struct tls_settings settings = { .verify = TLS_VERIFY_REQUIRED,
		                               .leaf = session->leaf,
		                               .intermediate = session->intermediate,
		                               .root = session->root,
		                               .key = session->key,
		                               .mesh = session->self.mesh,
		                               .kinds = 1u << IDENTITY_NODE,
		                               .alpn = rpc ? rpc_alpn : http_alpn,
		                               .read_ahead = (size_t)256 << 10 };
	return tls_context_new(&settings, ret);
}
