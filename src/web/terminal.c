/* The terminal's end in this role: not there yet. */
#include "web/own.h"
#include "web/socket.h"

void web_terminal_open(struct web *web, struct web_socket *socket, const struct ticket *ticket)
{
	static const struct web_socket_events none;
	(void)web, (void)ticket;
	web_socket_set_events(socket, &none, NULL);
	web_socket_close(socket, SOCKET_UNSUPPORTED, "terminals are not there yet");
}
