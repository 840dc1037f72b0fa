#include <netinet/tcp.h>

#include "probe/modules/network/network.h"

uint32_t socket_states(uint8_t protocol)
{
	static const uint32_t all = (1u << (TCP_CLOSING + 1)) - 1;
	return protocol == PROTOCOL_TCP ? all & ~(1u << TCP_TIME_WAIT | 1u << TCP_CLOSE) : 1u << TCP_ESTABLISHED | 1u << TCP_CLOSE;
}

bool socket_state_take(struct diag_socket *socket, uint8_t protocol, uint32_t state)
{
	if (state > TCP_CLOSING || !(socket_states(protocol) & 1u << state))
		return false;
	socket->flow.protocol = protocol;
	socket->listening = protocol == PROTOCOL_TCP && state == TCP_LISTEN;
	socket->bound = protocol == PROTOCOL_UDP && state == TCP_CLOSE;
	return socket->listening || socket->bound || socket->flow.source.v6 == socket->flow.destination.v6;
}
