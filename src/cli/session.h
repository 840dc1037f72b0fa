/* cli/session.h: a command's connection to its server: a user certificate for 12 hours from core.sock (kept in memory only), then the
 * front, as from any other machine.  Calls that wait run the loop meanwhile. */
#ifndef CLI_SESSION_H
#define CLI_SESSION_H
#include "base/list.h"
#include "cli/cli.h"
#include "crypto/tls.h"
#include "io/io.h"
#include "os/socket.h"
#include "rpc/rpc.h"
#include "services.h"
#include "tunnel/client_end.h"

struct session {
	struct io_loop *loop;
	struct rpc_connection *server;
	struct socket_address front;
	struct list legs; /* that are being opened (leg.h) */
	struct tls_context *tls;
	struct key *key;
	struct certificate *leaf, *intermediate, *root;
	struct identity self;
	murmesh_ServerDescription description;
	char why[512]; /* the cause of the last failure, when it is known better than err.def does */
	struct io_signal *interrupt;
	bool interrupted;
	int lost; /* the server's connection ended: why */
};

/* Only core.sock: what `up` asks before anybody is logged in. */
int session_describe(struct io_loop *loop, const char *directory, murmesh_ServerDescription *ret);
/* Returns 0 or a negative code; to be closed in any case.  From then on SIGINT ends a waiting call with -E_CANCELLED. */
int session_open(struct session *session, const char *directory);
/* Its last use: what the caller made on its loop is freed before.  Ends legs that are being opened. */
void session_close(struct session *session);
/* Another signal that ends waiting as SIGINT does; the caller frees it. */
struct io_signal *session_interrupt_by(struct session *session, int signal);
/* The usual beginning of a command: opens with --dir; on failure prints why, closes and returns the exit code, else 0. */
int session_begin(struct session *session, const struct cli *cli);
/* Prints the failure of a call with what the server said. */
int session_fail(const struct session *session, int err, const char *what);

/* A unary call; waits. */
int session_unary(struct session *session, const struct rpc_method *method, const void *request, void *response,
                  size_t response_size);
/* A call with one request and a stream of answers; waits for its end. */
int session_stream(struct session *session, const struct rpc_method *method, const void *request,
                   void (*each)(void *ctx, const void *message), void *ctx);

/* Devices by name, full name or id: exactly one, or -E_NOT_FOUND, -E_AMBIGUOUS. */
int session_device(struct session *session, const char *selector, murmesh_Device *ret);
/* Context for legs to devices: ALPN h2 when rpc, else http/1.1. */
int session_leg_context(const struct session *session, bool rpc, struct tls_context **ret);
#endif
