/* Lines of /proc/net/tcp and its like, cut and malformed: no byte beyond the line is read, and what is taken is whole. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "probe/modules/network/network.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void line_take(struct str line, uint8_t protocol)
{
	struct diag_socket socket;
	char *copy = malloc(line.len ? line.len : 1); /* of exactly this length */
	assert(copy);
	memcpy(copy, line.ptr, line.len);
	if (tables_parse((struct str){ copy, line.len }, protocol, &socket)) {
		assert(socket.flow.protocol == protocol);
		assert(socket.listening || socket.flow.source.v6 == socket.flow.destination.v6);
		assert(!socket.listening || protocol == PROTOCOL_TCP);
		assert(!socket.sent && !socket.received);
	}
	free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str rest = { (const char *)data, size };
	while (rest.len) {
		struct str line = str_cut(rest, '\n', &rest);
		line_take(line, PROTOCOL_TCP);
		line_take(line, PROTOCOL_UDP);
	}
	return 0;
}
