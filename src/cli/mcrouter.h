/* cli/mcrouter.h: .mcrouter files, in which MeshCentral Router keeps maps: JSON with hostname, username and mappings, and of each of those nodeName,
 * name, meshId, nodeId, appId, appIdStr, protocol, localPort, remoteIP, remotePort.
 *
 * A file of this program names the device by its id in nodeId; of another's nodeName counts.  Passwords and commands to launch, which such files can
 * hold, are not used. */
#ifndef CLI_MCROUTER_H
#define CLI_MCROUTER_H
#include "cli/cli.h"
#include "cli/mapping.h"

#define MCROUTER_MAPS 256

struct mcrouter {
	char host[256], user[64]; /* "" = none */
	struct map_spec maps[MCROUTER_MAPS];
	char labels[MCROUTER_MAPS][MAPPING_LABEL_SIZE]; /* their "name"; "" = none */
	size_t n;
};

bool mcrouter_is(const char *path); /* by its name */
/* Adds the file's maps.  Returns the exit code (why it cannot be used is printed, with the number of the map). */
int mcrouter_read(const char *path, struct mcrouter *file);
/* Replaces the file.  mappings: open ones; dynamic ones are left out, for the format has none, and one of TCP and UDP is written as two.  0 or a
 * negative code. */
int mcrouter_write(const char *path, const char *host, const struct mapping *mappings, size_t n);
#endif
