/* portmap/spec.h: the text that describes one port map, as seed 003 writes it behind -map: and -relaymap:.
 *
 *   TCP|UDP:LOCALPORT:DEVICE:APP:PORT          a port of the device itself
 *   TCP|UDP:LOCALPORT:DEVICE:APP:HOST:PORT     a relay map: a host that the device can reach
 *   RDP:LOCALPORT:DEVICE[:[HOST:]PORT]         TCP and UDP on one local port, as remote desktops use both; PORT is 3389
 *
 * LOCALPORT is 0 (any free port) to 65535, PORT 1 to 65535; both may be ranges of the same length, 8000-8003, of at most MAP_RANGE_MAX ports, and
 * 0 with a range as PORT is any free port for each of them.  DEVICE may stand in double quotes, and may hold colons then.
 * APP is empty, HTTP, HTTPS, RDP, PuTTY, WinSCP (in any case), or a text of one's own; a UDP map has none.
 * HOST is a name, an IPv4 address, or an IPv6 address in brackets. */
#ifndef PORTMAP_SPEC_H
#define PORTMAP_SPEC_H
#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

enum map_protocol { MAP_TCP, MAP_UDP, MAP_BOTH };

#define MAP_DEVICE_SIZE 96 /* a name of 63 bytes, a dash and a token; with the NUL */
#define MAP_APP_SIZE    33
#define MAP_HOST_SIZE   254 /* RFC 1035 section 2.3.4: 253 bytes as text */
#define MAP_RANGE_MAX   1024

struct map_spec {
	enum map_protocol protocol;
	uint16_t local_port;          /* the first one; 0 = any free port (for each) */
	char device[MAP_DEVICE_SIZE]; /* name, name with token, or id; not looked up here */
	char app[MAP_APP_SIZE];       /* a known one has its usual spelling; "" = none */
	char host[MAP_HOST_SIZE];     /* without brackets; "" = the device itself */
	uint16_t port;                /* the first one */
	uint16_t count;               /* ports of the range; 1 = no range */
};

/* Returns 0, or -E_MAP_SPEC and then where it went wrong (the byte's number, from 1; one behind the end when something is
 * missing there) and why: a clause without full stop, for people, never freed.  Writes *ret on success only. */
int map_spec_parse(struct str text, bool relay_allowed, struct map_spec *ret, unsigned *reterr_column, const char **reterr_reason);
/* A host name, an IPv4 address, or an IPv6 address without brackets. */
bool map_host_valid(struct str host);
/* [HOST:]PORT alone, with the same rules and errors. */
int map_target_parse(struct str text, char ret_host[MAP_HOST_SIZE], uint16_t *ret_port, unsigned *reterr_column,
                     const char **reterr_reason);
#endif
