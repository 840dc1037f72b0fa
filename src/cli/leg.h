/* cli/leg.h: one leg to a device: asks the server for ticket and grant, then meets the device at the relay. */
#ifndef CLI_LEG_H
#define CLI_LEG_H
#include "cli/session.h"

struct leg_target {
	struct id device;
	bool rpc;        /* for a run order; else a connection to host:port */
	struct str host; /* "" = the device itself; kept by reference until it is opened */
	uint16_t port;
	struct tls_context *tls; /* session_leg_context() */
};
/* opened as in tunnel/client_end.h: exactly once, maybe from inside leg_open(). */
void leg_open(struct session *session, const struct leg_target *target, client_end_opened opened, void *ctx);
/* Of a command that ran on a device, as a shell has it. */
int leg_exit_code(const murmesh_RunExit *exit);
/* session_close() */
void legs_cancel(struct session *session);
#endif
