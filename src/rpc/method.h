/* rpc/method.h: one method of a service, as tools/services.py makes it from proto/. */
#ifndef RPC_METHOD_H
#define RPC_METHOD_H
#include <pb.h>
#include <stdbool.h>

struct rpc_method {
	const char *path; /* "/murmesh.Fleet/ListDevices" */
	const pb_msgdesc_t *request;
	size_t request_size; /* of the C struct, bytes */
	const pb_msgdesc_t *response;
	size_t response_size;
	bool client_streams, server_streams;
};
#endif
