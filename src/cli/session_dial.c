/* To the front of a server, here or elsewhere. */
#include <errno.h>
#include <netdb.h>

#include "base/err.h"
#include "cli/session.h"
#include "stream/stream.h"

enum {
	ADDRESSES_MAX = 8,
	CONNECT_MS = 10000,
	CONNECT_ONE_MS = 4000, /* when there are more addresses to try */
};

static int resolve(struct session *session, const char *host, uint16_t port, struct socket_address ret[ADDRESSES_MAX])
{
	const struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG };
	struct addrinfo *list = NULL;
	char service[8];
	int n = 0;
	if (socket_address_parse(str_from(host), port, &ret[0]) == 0)
		return 1;
	snprintf(service, sizeof service, "%u", port);
	int code = getaddrinfo(host, service, &hints, &list);
	if (code)
		snprintf(session->why, sizeof session->why, "the name %s leads nowhere: %s", host, gai_strerror(code));
	for (struct addrinfo *at = list; at && n < ADDRESSES_MAX; at = at->ai_next) {
		ret[n].len = at->ai_addrlen;
		memcpy(&ret[n++].storage, at->ai_addr, at->ai_addrlen);
	}
	if (list)
		freeaddrinfo(list);
	return n ? n : -E_UNREACHABLE;
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
	session->lost = err;
	rpc_connection_drop(&session->server);
	io_loop_stop(session->loop);
}

static int connect_one(struct session *session, const struct socket_address *address, unsigned patience_ms)
{
	static const struct rpc_connection_events events = { NULL, on_ready, on_closed };
	static const struct rpc_connection_settings rpc = { .server = false, .ping_ms = RPC_PING_MS, .quiet_ms = RPC_QUIET_MS };
	static const struct stream_events none;
	struct stream_settings settings = {
		.fd = socket_connect(address), .connecting = true, .tls = session->tls, .handshake_ms = patience_ms
	};
	if (settings.fd < 0)
		return settings.fd;
	struct stream *stream = stream_new(session->loop, &settings, &none, NULL);
	session->server = stream ? rpc_connection_new(session->loop, stream, &rpc, &events, session) : NULL;
	if (!session->server)
		return -E_NO_MEMORY;
	session->front = *address;
	session->lost = -EAGAIN;
	while (session->lost == -EAGAIN && !session->interrupted)
		io_loop_run(session->loop);
	return session->interrupted ? -E_CANCELLED : session->lost;
}

/* What another address might do better at: the network's own errors, and silence. */
static bool is_network(int err)
{
	return (err > -1000 && err < 0) || err == -E_TIMEOUT || err == -E_CLOSED;
}

int session_dial(struct session *session, const char *host, uint16_t port, const struct tls_settings *tls)
{
	struct socket_address addresses[ADDRESSES_MAX] = { 0 };
	int err = tls_context_new(tls, &session->tls);
	int n = err < 0 ? err : resolve(session, host, port, addresses);
	if (n < 0)
		return n;
	err = -ENETUNREACH;
	for (int i = 0; i < n && is_network(err); i++)
		err = connect_one(session, &addresses[i], n == 1 ? CONNECT_MS : CONNECT_ONE_MS);
	return err > -1000 && err < 0 ? -E_UNREACHABLE : err;
}

int session_dial_login(struct session *session, const char *host, uint16_t port)
{
	static const char *const alpn[] = { "h2", NULL };
	const struct login *login = &session->login;
	const struct tls_settings settings = { .verify = TLS_VERIFY_REQUIRED,
		                               .leaf = login->leaf,
		                               .intermediate = login->intermediate,
		                               .root = login->root,
		                               .key = login->key,
		                               .send_intermediate = true,
		                               .mesh = login->info.identity.mesh,
		                               .kinds = 1u << IDENTITY_COMPONENT,
		                               .alpn = alpn };
	return session_dial(session, host, port, &settings);
}
