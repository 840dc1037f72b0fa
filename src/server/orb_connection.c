/* One CORBA client: bytes between its stream and its giop. */
#include <errno.h>

#include "base/err.h"
#include "base/mem.h"
#include "gateway/link_revoked.h"
#include "io/io.h"
#include "os/fd.h"
#include "os/log.h"
#include "os/sources.h"
#include "server/orb.h"
#include "stream/stream.h"

#define CONNECTIONS_MAX 512
#define STRANGERS_MAX   128    /* without a certificate */
#define STRANGER_MS     120000 /* for an enrolment */
#define STRANGER_BYTES  16384  /* of a message */
#define STUCK_MS        60000
#define LEAVE_MS        5000 /* for what was answered last */
#define SWEEP_MS        1000
#define READ_SIZE       16384
#define READS           16 /* in a turn: others want the loop too */

static void connection_free(struct orb_connection *connection)
{
	struct orb_role *role = connection->role;
	list_remove(&connection->node);
	role->n_connections--;
	role->n_strangers -= connection->giop && !connection->peer;
	sources_release(role->sources, connection->source);
	connection->giop = giop_free(connection->giop);
	orb_mail_end(connection);
	stream_free(connection->stream);
	mem_free(connection);
	if (!role->n_connections)
		io_timer_stop(role->sweep);
}

/* Writes what it can.  Less than 0: the connection is broken, or over. */
static int output_write(struct orb_connection *connection, bool *ret_some)
{
	struct buf *out = giop_output(connection->giop);
	while (buf_len(out)) {
		ssize_t n = stream_write(connection->stream, buf_head(out), buf_len(out));
		if (n == -EAGAIN)
			break;
		if (n < 0)
			return (int)n;
		buf_consume(out, (size_t)n);
		*ret_some = true;
	}
	buf_trim(out);
	if (giop_error(connection->giop) == 0 || buf_len(out) || stream_unsent(connection->stream))
		return 0;
	stream_close_write(connection->stream);
	return giop_error(connection->giop);
}

void orb_connection_update(struct orb_connection *connection)
{
	struct giop *giop = connection->giop;
	uint64_t now = io_loop_now_ms(connection->role->loop);
	bool moves = giop_messages(giop) > connection->n_messages;
	if (output_write(connection, &moves) < 0)
		return connection_free(connection);
	bool over = giop_error(giop) < 0, waits = buf_len(giop_output(giop)) || (over && stream_unsent(connection->stream));
	if (over && (!connection->until_ms || connection->until_ms > now + LEAVE_MS))
		connection->until_ms = now + LEAVE_MS;
	connection->n_messages = giop_messages(giop);
	if (!waits && !giop_partial(giop))
		connection->stuck_ms = 0;
	else if (moves || !connection->stuck_ms)
		connection->stuck_ms = now;
	stream_want(connection->stream, (over || giop_crowded(giop) ? 0 : STREAM_READ) | (waits ? STREAM_WRITE : 0));
}

static void on_wake(void *ctx)
{
	orb_connection_update(ctx);
}

static void on_readable(void *ctx)
{
	struct orb_connection *connection = ctx;
	uint8_t *scratch = io_loop_scratch(connection->role->loop);
	for (unsigned i = 0; i < READS && giop_error(connection->giop) == 0 && !giop_crowded(connection->giop); i++) {
		ssize_t n = stream_read(connection->stream, scratch, READ_SIZE);
		if (n == -EAGAIN)
			break;
		if (n <= 0)
			return connection_free(connection);
		giop_feed(connection->giop, scratch, (size_t)n);
		if (n < READ_SIZE)
			break; /* stream_want() tells when there is more */
	}
	orb_connection_update(connection);
}

static void on_writable(void *ctx)
{
	orb_connection_update(ctx);
}

static void on_failed(void *ctx, int err)
{
	log_limited(LOG_DEBUG, "a CORBA client's connection ended: %s", err_text(err));
	connection_free(ctx);
}

/* ---- coming and going ---- */

static void stranger_oldest_free(struct orb_role *role)
{
	LIST_EACH(at, &role->connections) {
		struct orb_connection *connection = LIST_ENTRY(at, struct orb_connection, node);
		if (connection->giop && !connection->peer)
			return connection_free(connection);
	}
}

static void on_ready(void *ctx)
{
	struct orb_connection *connection = ctx;
	struct orb_role *role = connection->role;
	const struct tls *tls = stream_tls(connection->stream);
	const struct certificate_info *peer = tls ? tls_peer(tls) : NULL;
	const struct giop_settings settings = { .objects = orb_objects,
		                                .n_objects = ORB_OBJECTS,
		                                .message_max = peer ? GIOP_MESSAGE_MAX : STRANGER_BYTES,
		                                .access = peer ? ORB_TRUSTED : 0,
		                                .wake = on_wake };
	if (peer && link_revoked_has(role->revoked, peer->key_hash))
		return connection_free(connection);
	if (!peer && role->n_strangers == STRANGERS_MAX)
		stranger_oldest_free(role);
	connection->giop = giop_new(&settings, connection);
	if (!connection->giop)
		return connection_free(connection);
	connection->peer = peer;
	if (!peer) {
		role->n_strangers++;
		connection->until_ms = io_loop_now_ms(role->loop) + STRANGER_MS;
	}
	stream_want(connection->stream, STREAM_READ);
}

void orb_connection_add(struct orb_role *role, int fd, struct tls_context *tls)
{
	static const struct stream_events events = { on_ready, on_readable, on_writable, on_failed };
	const struct stream_settings settings = { .fd = fd, .tls = tls };
	struct source *source = NULL;
	if (role->n_connections == CONNECTIONS_MAX || sources_take(role->sources, fd, &source) < 0) {
		log_limited(LOG_WARNING, "too many CORBA clients: a new one was closed");
		fd_close(fd);
		return;
	}
	struct orb_connection *connection = mem_alloc(sizeof *connection);
	struct stream *stream = stream_new(role->loop, &settings, &events, connection);
	if (!connection || !stream) {
		stream_free(stream);
		sources_release(role->sources, source);
		mem_free(connection);
		return;
	}
	*connection = (struct orb_connection){ .role = role, .stream = stream, .source = source };
	orb_mail_init(&connection->mail);
	list_append(&role->connections, &connection->node);
	if (role->n_connections++ == 0)
		io_timer_start(role->sweep, SWEEP_MS, SWEEP_MS);
}

void orb_connections_sweep(void *ctx)
{
	struct orb_role *role = ctx;
	uint64_t now = io_loop_now_ms(role->loop);
	LIST_EACH(at, &role->connections) {
		struct orb_connection *connection = LIST_ENTRY(at, struct orb_connection, node);
		if ((connection->until_ms && connection->until_ms <= now) ||
		    (connection->mail.answer_by_ms && connection->mail.answer_by_ms <= now) ||
		    (connection->stuck_ms && connection->stuck_ms + STUCK_MS <= now))
			connection_free(connection);
	}
}

void orb_connections_revoke(void *ctx, const uint8_t key_hash[HASH_SIZE])
{
	struct orb_role *role = ctx;
	LIST_EACH(at, &role->connections) {
		struct orb_connection *connection = LIST_ENTRY(at, struct orb_connection, node);
		if (connection->peer && memcmp(connection->peer->key_hash, key_hash, HASH_SIZE) == 0)
			connection_free(connection);
	}
}

void orb_connections_free(struct orb_role *role)
{
	LIST_EACH(at, &role->connections)
		connection_free(LIST_ENTRY(at, struct orb_connection, node));
}
