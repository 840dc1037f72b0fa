/* portmap/map.h: one local listener whose traffic leaves through a remote agent.
 *
 * Ownership: map_open() returns a map owned by the caller; map_close() accepts NULL and returns NULL.
 * Threads:   all calls on the loop's thread; map_close() also inside `open` and `failed`.  Logging: never above debug; callers report. */
#ifndef PORTMAP_MAP_H
#define PORTMAP_MAP_H
#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"
#include "portmap/local.h"

struct io_loop;
struct rate;
struct stream;
struct map_listener;
struct map_connection;
struct socks_request;

#define MAP_CONNECTIONS_MAX 9000
#define MAP_EARLY_MAX       16384 /* bytes of a client that are read before its leg is open */

struct map_settings {
	uint16_t local_port; /* 0 = any free port */
	const char *bind;    /* as in local_open() */
	const char *allow;   /* whose connections are taken (os/network.h), loopback too; NULL = everybody's */
	uint64_t idle_ms;    /* a connection on which nothing came for so long is reset; 0 = none is */
	struct rate *rate;   /* of all connections together (tunnel/rate.h); NULL = none.  Borrowed */
	bool dynamic;        /* each client says where it wants to go (portmap/socks.h) */
	/* Opens a leg to the map's target, or to map_connection_request(); answers later by map_connection_open(). */
	void (*open)(void *ctx, struct map_connection *connection);
	/* A connection could not be made; for the user.  details: the agent's words, or the address that is not allowed (-E_MAP_SOURCE); "" when none.
	 * request: of a dynamic map's client, when it has said so much; else NULL. */
	void (*failed)(void *ctx, int err, const char *details, const struct socks_request *request);
	void *ctx;
};

/* Listens.  Texts in settings must outlive the map.  Returns 0, -E_PORT, -E_NOT_FOUND (bind is no address), -EADDRNOTAVAIL (not of this machine). */
int map_open(struct io_loop *loop, const struct map_settings *settings, struct map_listener **ret);
struct map_listener *map_close(struct map_listener *map); /* resets all connections */
uint16_t map_port(const struct map_listener *map);
size_t map_connections(const struct map_listener *map);
const struct socks_request *map_connection_request(const struct map_connection *connection); /* good until it is answered */

/* All that its client has sent until it is answered, for who wants to send it ahead; nothing of a dynamic map's, which waits for its answer. */
struct str map_connection_early(const struct map_connection *connection);
/* Has `more` called when it grows, until it is answered. */
void map_connection_notify(struct map_connection *connection, void (*more)(void *ctx), void *ctx);

/* The answer to `open`: an open leg (taken over), into which the first `sent` of the early bytes went already, or NULL with the reason: the local
 * client is then reset at once (one of a dynamic map gets its answer), so that nothing looks connected that is not.  Exactly once; also after the
 * map was closed. */
void map_connection_open(struct map_connection *connection, struct stream *leg, size_t sent, int err, const char *details);
#endif
