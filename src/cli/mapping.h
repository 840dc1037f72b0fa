/* cli/mapping.h: one port map of `murmesh map`, for people: says what it does and why a connection failed. */
#ifndef CLI_MAPPING_H
#define CLI_MAPPING_H
#include "cli/devices.h"
#include "portmap/map.h"
#include "portmap/socks.h"
#include "portmap/spec.h"
#include "portmap/udp_map.h"
#include "tunnel/pool.h"
#include "tunnel/rate.h"

/* What all maps of one command have in common. */
struct mapping_common {
	struct session *session;
	const struct cli *cli;
	struct tls_context *tls, *h2_tls; /* session_leg_context(): for TCP, for UDP */
	const char *bind, *allow;
	uint64_t idle_ms, bytes_per_s; /* 0 = no limit */
	struct pool_total *legs;       /* that are kept ready */
};

#define MAPPING_BIND_SIZE  64
#define MAPPING_LABEL_SIZE 128
struct mapping {
	const struct mapping_common *common;
	struct map_spec spec; /* of this one: a range is as many mappings, each with a count of 1; of a dynamic one no target */
	const char *bind;     /* NULL, or of this one or all */
	char own_bind[MAPPING_BIND_SIZE];
	bool dynamic;
	struct id device;
	char label[MAPPING_LABEL_SIZE]; /* what its .mcrouter file calls it; "" = nothing */
	struct rate rate;               /* of TCP and UDP together */
	struct map_listener *map;       /* NULL: of UDP alone */
	struct pool *pool;              /* of its legs for TCP; NULL: a dynamic one, or none */
	struct udp_map *udp;            /* NULL: of TCP alone */
	char target[376];               /* "web02:8000", "web02:53/udp" or "192.168.1.1:80 through web02" */
	uint64_t quiet_until_ms;        /* strangers at the door are told of once in a while */
	int udp_err;                    /* what was told last of datagrams, and until when it is not told again */
	uint64_t udp_quiet_until_ms;
};

/* NULL, an address, or MAP_BIND_ALL: else -E_USAGE.  For whom it opens the maps is said. */
int mapping_bind_check(const struct mapping_common *common, const char *bind);
/* Reads one text; of -map: without a remote host, of -relaymap: with one.  Returns the exit code (why not is printed). */
enum mapping_kind { MAPPING_ANY, MAPPING_DEVICE, MAPPING_RELAY };
int mapping_parse(const char *text, enum mapping_kind kind, struct map_spec *ret);
/* Opens port number i of the spec, to that device.  Returns the exit code; to be closed when it is 0. */
int mapping_open(struct mapping *mapping, const struct mapping_common *common, const struct map_spec *spec, unsigned i,
                 const murmesh_Device *device);
/* The same for [BIND:]PORT of -D, with clients that say where to (SOCKS5). */
int mapping_open_dynamic(struct mapping *mapping, const struct mapping_common *common, const char *text, const char *name,
                         const murmesh_Device *device);
void mapping_close(struct mapping *mapping); /* how many datagrams were lost is said */
uint16_t mapping_port(const struct mapping *mapping);
/* "localhost:8080 -> web02:8000", with its label if it has one, or JSON.  0 or a negative code. */
int mapping_print(const struct mapping *mapping);
#endif
