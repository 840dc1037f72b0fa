#include "portmap/map.h"

#include <errno.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/list.h"
#include "base/mem.h"
#include "io/io.h"
#include "os/fd.h"
#include "os/network.h"
#include "os/socket.h"
#include "portmap/door.h"
#include "stream/stream.h"
#include "tunnel/pump.h"

struct map_listener {
	struct io_loop *loop;
	struct map_settings settings;
	struct local local;
	struct list connections;
	struct io_timer *retry; /* accepting stopped for lack of descriptors */
	struct io_timer *sweep; /* for idle connections */
	size_t n_connections;
};

struct map_connection {
	struct list node;
	struct map_listener *map; /* NULL once it is closed */
	struct stream *local;     /* until it is pumped, or stands at the door */
	struct buf early;         /* what came from it until then */
	void (*more)(void *ctx);  /* has come; NULL = nobody asks */
	void *more_ctx;
	struct door *door; /* of a dynamic map, until it is pumped */
	struct socks_request *request;
	struct pump *pump;
	uint64_t bytes, moved_ms; /* pump_bytes() when it was last seen to grow, and when that was */
	bool opening;
};

static void connection_free(struct map_connection *connection)
{
	buf_done(&connection->early);
	mem_free(connection->request);
	mem_free(connection);
}

static void connection_drop(struct map_connection *connection)
{
	if (connection->map) {
		list_remove(&connection->node);
		connection->map->n_connections--;
	}
	connection->map = NULL;
	connection->local = stream_free(connection->local);
	connection->door = door_free(connection->door);
	connection->pump = pump_free(connection->pump);
	if (!connection->opening)
		connection_free(connection);
}

static void on_pump_ended(void *ctx, int err)
{
	struct map_connection *connection = ctx;
	(void)err;
	connection_drop(connection);
}

static void on_local_failed(void *ctx, int err)
{
	(void)err;
	connection_drop(ctx);
}

/* ---- what became of a leg ---- */

/* The owner may close the map in answer to it: the connection is not touched any more. */
static void connection_fail(struct map_connection *connection, int err, const char *details)
{
	const struct map_settings settings = connection->map->settings;
	struct socks_request request = { 0 };
	bool asked = connection->request;
	if (asked)
		request = *connection->request;
	if (connection->door)
		door_refuse(connection->door, err);
	else
		connection_drop(connection);
	settings.failed(settings.ctx, err, details, asked ? &request : NULL);
}

static void connection_pump(struct map_connection *connection, struct stream *leg, size_t sent)
{
	struct str first = str_skip(buf_str(&connection->early), sent);
	struct stream *local = connection->door ? door_open(connection->door, &first) : connection->local;
	connection->local = NULL;
	if (!local) {
		stream_free(leg);
		return connection_drop(connection);
	}
	connection->pump = pump_new(connection->map->loop, local, leg, first, on_pump_ended, connection);
	connection->door = door_free(connection->door);
	buf_done(&connection->early);
	connection->moved_ms = io_loop_now_ms(connection->map->loop);
	struct rate *rate = connection->map->settings.rate;
	if (!connection->pump || (rate && pump_limit(connection->pump, rate) < 0))
		connection_drop(connection);
}

void map_connection_open(struct map_connection *connection, struct stream *leg, size_t sent, int err, const char *details)
{
	connection->opening = false;
	connection->more = NULL;
	if (!connection->map) { /* the client or the map went away meanwhile */
		if (leg)
			stream_reset(leg); /* what was sent ahead is not all that there was to be */
		stream_free(leg);
		connection_free(connection);
	} else if (!leg)
		connection_fail(connection, err, details);
	else
		connection_pump(connection, leg, sent);
}

struct str map_connection_early(const struct map_connection *connection)
{
	return buf_str(&connection->early);
}

void map_connection_notify(struct map_connection *connection, void (*more)(void *ctx), void *ctx)
{
	connection->more = more;
	connection->more_ctx = ctx;
}

const struct socks_request *map_connection_request(const struct map_connection *connection)
{
	return connection->request;
}

/* ---- connections on which nothing comes ---- */

static void on_sweep(void *ctx)
{
	struct map_listener *map = ctx;
	uint64_t now = io_loop_now_ms(map->loop);
	LIST_EACH(at, &map->connections) {
		struct map_connection *connection = LIST_ENTRY(at, struct map_connection, node);
		uint64_t bytes = connection->pump ? pump_bytes(connection->pump) : 0;
		if (!connection->pump)
			continue;
		if (bytes != connection->bytes) {
			connection->bytes = bytes;
			connection->moved_ms = now;
		} else if (now - connection->moved_ms >= map->settings.idle_ms)
			connection_drop(connection);
	}
}

/* Often enough to be no more than a quarter late. */
static int sweep_start(struct map_listener *map)
{
	uint64_t period = map->settings.idle_ms / 4 + 1;
	if (!map->settings.idle_ms)
		return 0;
	map->sweep = io_timer_new(map->loop, on_sweep, map);
	if (!map->sweep)
		return -E_NO_MEMORY;
	io_timer_start(map->sweep, period, period);
	return 0;
}

/* ---- what comes before the leg is open ---- */

/* An end stays to be read again, by the pump.  Returns false when the client has gone. */
static bool early_read(struct map_connection *connection)
{
	size_t size = MAP_EARLY_MAX - buf_len(&connection->early);
	uint8_t *scratch = io_loop_scratch(connection->map->loop);
	ssize_t n = stream_read(connection->local, scratch, size);
	int err = n > 0 ? buf_append(&connection->early, scratch, (size_t)n) : (int)n;
	if (err < 0 && err != -EAGAIN) {
		connection_drop(connection);
		return false;
	}
	bool more = err == -EAGAIN || (n > 0 && (size_t)n < size);
	stream_want(connection->local, more ? STREAM_READ : 0u);
	return true;
}

static void on_local_readable(void *ctx)
{
	struct map_connection *connection = ctx;
	size_t before = buf_len(&connection->early);
	if (early_read(connection) && buf_len(&connection->early) > before && connection->more)
		connection->more(connection->more_ctx);
}

/* ---- new ones ---- */

static void on_asked(void *ctx, const struct socks_request *request)
{
	struct map_connection *connection = ctx;
	connection->request = mem_alloc(sizeof *request);
	if (!connection->request)
		return connection_fail(connection, -E_NO_MEMORY, "");
	*connection->request = *request;
	connection->opening = true;
	connection->map->settings.open(connection->map->settings.ctx, connection);
}

static void on_door_ended(void *ctx, int err)
{
	struct map_connection *connection = ctx;
	const struct map_settings settings = connection->map->settings;
	connection_drop(connection);
	if (err == -E_SOCKS)
		settings.failed(settings.ctx, err, "", NULL);
}

static int door_stand(struct map_connection *connection)
{
	static const struct door_events events = { on_asked, on_door_ended };
	connection->door = door_new(connection->map->loop, connection->local, &events, connection);
	connection->local = NULL;
	return connection->door ? 0 : -E_NO_MEMORY;
}

static void connection_refuse(struct map_listener *map, int fd, int err, const char *details)
{
	socket_reset(fd);
	fd_close(fd);
	map->settings.failed(map->settings.ctx, err, details, NULL);
}

static void connection_new(struct map_listener *map, int fd)
{
	static const struct stream_events events = { NULL, on_local_readable, NULL, on_local_failed };
	const struct stream_settings plain = { .fd = fd };
	char host[SOCKET_ADDRESS_TEXT];
	socket_peer_host(fd, host);
	if (map->settings.allow && !network_ranges_have(str_from(map->settings.allow), str_from(host)))
		return connection_refuse(map, fd, -E_MAP_SOURCE, host);
	struct map_connection *connection = map->n_connections < MAP_CONNECTIONS_MAX ? mem_alloc(sizeof *connection) : NULL;
	if (!connection)
		return connection_refuse(map, fd, -E_LIMIT, "");
	connection->map = map;
	buf_init(&connection->early, MAP_EARLY_MAX);
	list_append(&map->connections, &connection->node);
	map->n_connections++;
	connection->local = stream_new(map->loop, &plain, &events, connection);
	if (!connection->local)
		return connection_fail(connection, -E_NO_MEMORY, "");
	stream_reset(connection->local); /* until it is pumped nothing looks connected */
	if (map->settings.dynamic) {
		if (door_stand(connection) < 0)
			connection_fail(connection, -E_NO_MEMORY, "");
		return;
	}
	if (!early_read(connection))
		return;
	connection->opening = true;
	map->settings.open(map->settings.ctx, connection);
}

/* One a turn: the owner may close the map in answer to it. */
static void on_accept(void *ctx, int listener)
{
	struct map_listener *map = ctx;
	int fd = socket_accept(listener);
	if (fd >= 0)
		return connection_new(map, fd);
	if (fd != -EAGAIN) { /* no descriptors: the client waits in the kernel's queue */
		local_pause(&map->local, true);
		io_timer_start(map->retry, 100, 0);
	}
}

static void on_retry(void *ctx)
{
	local_pause(&((struct map_listener *)ctx)->local, false);
}

int map_open(struct io_loop *loop, const struct map_settings *settings, struct map_listener **ret)
{
	struct map_listener *map = mem_alloc(sizeof *map);
	if (!map)
		return -E_NO_MEMORY;
	*map = (struct map_listener){ .loop = loop, .settings = *settings, .local = LOCAL_NONE };
	list_init(&map->connections);
	map->retry = io_timer_new(loop, on_retry, map);
	int err = map->retry ? local_open(settings->bind, settings->local_port, socket_listen, &map->local) : -E_NO_MEMORY;
	if (err == 0)
		err = local_watch(&map->local, loop, on_accept, map);
	if (err == 0)
		err = sweep_start(map);
	if (err < 0) {
		map_close(map);
		return err;
	}
	*ret = map;
	return 0;
}

struct map_listener *map_close(struct map_listener *map)
{
	if (!map)
		return NULL;
	while (!list_empty(&map->connections))
		connection_drop(LIST_ENTRY(map->connections.next, struct map_connection, node));
	local_close(&map->local);
	io_timer_free(map->retry);
	io_timer_free(map->sweep);
	return mem_free(map);
}

uint16_t map_port(const struct map_listener *map)
{
	return map->local.port;
}

size_t map_connections(const struct map_listener *map)
{
	return map->n_connections;
}
