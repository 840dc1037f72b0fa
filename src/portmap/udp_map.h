/* portmap/udp_map.h: one local UDP port whose datagrams leave through a remote agent, each local source address as a flow of its own: a stream
 * of CONNECT-UDP (RFC 9298) on the map's leg to the agent.
 *
 * A leg is asked for when the first datagram comes, and another one once its grant has grown old; flows stay where they began.  A leg without
 * flows is closed.  What cannot be sent is lost, oldest first (tunnel/udp_flow.h), and counted.  With a rate
 * datagrams wait in the kernel here and in the agent's queue there, each as long as it keeps them.
 * Ownership: udp_map_open() returns a map owned by the caller; udp_map_close() accepts NULL and returns NULL.
 * Threads:   all calls on the loop's thread; udp_map_close() also inside `open` and `failed`.  Logging: never above debug; callers report. */
#ifndef PORTMAP_UDP_MAP_H
#define PORTMAP_UDP_MAP_H
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"
#include "portmap/local.h"

struct io_loop;
struct rate;
struct stream;
struct udp_map;
struct udp_leg;

#define UDP_MAP_IDLE_MS 120000

struct udp_map_settings {
	uint16_t local_port;
	const char *bind;  /* as in local_open() */
	const char *allow; /* whose datagrams are taken (os/network.h), loopback too; NULL = everybody's */
	uint64_t idle_ms;  /* a flow without a datagram for so long is closed; 0 = UDP_MAP_IDLE_MS */
	uint64_t renew_ms; /* flows begin on a leg for so long; 0 = 5 minutes, half of what its grant is good for */
	struct rate *rate; /* of all flows together (tunnel/rate.h); NULL = none.  Borrowed */
	struct str host;   /* the target; "" = the device itself */
	uint16_t port;
	/* Opens a leg with ALPN h2, and gets a grant for the target; answers later by udp_map_leg(). */
	void (*open)(void *ctx, struct udp_leg *leg);
	/* A leg could not be opened, or a datagram was refused; for the user.  details: the agent's words, or the address that is not allowed
	 * (-E_MAP_SOURCE); "" when none.  Each datagram can bring one. */
	void (*failed)(void *ctx, int err, const char *details);
	void *ctx;
};

/* Listens.  Texts in settings must outlive the map.  Errors as of local_open(). */
int udp_map_open(struct io_loop *loop, const struct udp_map_settings *settings, struct udp_map **ret);
struct udp_map *udp_map_close(struct udp_map *map);
uint16_t udp_map_port(const struct udp_map *map);
size_t udp_map_flows(const struct udp_map *map);
size_t udp_map_legs(const struct udp_map *map);
uint64_t udp_map_lost(const struct udp_map *map); /* datagrams, by this end */

/* The answer to `open`: an open stream (taken over) with the grant as text, which is copied; or NULL with the reason.  Exactly once; also after the
 * map was closed. */
void udp_map_leg(struct udp_leg *leg, struct stream *stream, const char *grant, int err, const char *details);
#endif
