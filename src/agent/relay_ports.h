/* agent/relay_ports.h: what a relay listens on, and what it tells others of that. */
#ifndef AGENT_RELAY_PORTS_H
#define AGENT_RELAY_PORTS_H
#include <stdint.h>

struct buf;
struct conf;

struct relay_port {
	int fd; /* -1 = not open */
	uint16_t port;
};
struct relay_ports {
	struct relay_port front, tls, ior;
	const char *taken; /* key of the one that could not be opened last, of which `at` is the number; NULL = none */
	uint16_t at;
};
/* The front, and those of TLSPort and IORSenderPort, which are done without when they are not configured and 8194 or 8192 are taken.
 * Where [Relay] Port is 0, free ones.  -E_PORT: one that has to be there is not; none is open then. */
int relay_ports_open(const struct conf *conf, struct relay_ports *ret);
void relay_ports_close(struct relay_ports *ports);
/* host:port of the front, as others find it.  -E_TOO_LONG. */
int relay_address(const struct conf *conf, const struct relay_ports *ports, char out[256]);
/* Appends its object reference, without a line end: TLS at TLSPort, else at the front. */
int relay_reference(const struct conf *conf, const struct relay_ports *ports, struct buf *out);
#endif
