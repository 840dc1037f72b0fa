/* cli/session.h: a command's connection to its server, through the front as from any other machine: with a user certificate that core.sock
 * gave for 12 hours (kept in memory only), or with one that `murmesh login` keeps.  Calls that wait run the loop meanwhile. */
#ifndef CLI_SESSION_H
#define CLI_SESSION_H
#include "base/list.h"
#include "cli/cli.h"
#include "cli/logins.h"
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
	struct login login;
	struct key *signer;                    /* user_key.h: loaded when something is to be signed */
	bool unsigned_only;                    /* there is none */
	murmesh_ServerDescription description; /* only of core.sock */
	char why[512];                         /* the cause of the last failure, when it is known better than err.def does */
	struct io_signal *interrupts[3];       /* SIGINT, and those of session_interrupt_by() */
	bool interrupted;
	int lost; /* the server's connection ended: why */
};

/* ---- beginning and end ---- */

/* The usual beginning of a command: the server is the one of --server, or in --dir or $MURMESH_DIR, or in the usual folder when one runs
 * there, else the only one that somebody is logged in to.  On failure prints why, closes and returns the exit code, else 0. */
int session_begin(struct session *session, const struct cli *cli);
/* The server of a folder.  Returns 0 or a negative code; to be closed in any case.  From then on SIGINT ends a waiting call with
 * -E_CANCELLED. */
int session_open(struct session *session, const char *directory);
/* Its last use: what the caller made on its loop is freed before.  Ends legs that are being opened. */
void session_close(struct session *session);
/* Another signal that ends waiting as SIGINT does; two at most. */
void session_interrupt_by(struct session *session, int signal);

/* ---- session_local.c: only core.sock ---- */

/* What `up` asks before anybody is logged in. */
int session_describe(const char *directory, murmesh_ServerDescription *ret);
/* The ca folder has changed: the server reads it anew.  -E_NO_SERVER: it does not run. */
int session_reload_ca(const char *directory);
/* An address that opens the console, once, within 15 minutes. */
int session_login_link(const char *directory, murmesh_LoginLinkReply *ret);

/* ---- session_dial.c ---- */

/* Connects to a server's front; host is a name or an address; what tls names is borrowed.  Waits. */
int session_dial(struct session *session, const char *host, uint16_t port, const struct tls_settings *tls);
/* The same with session->login. */
int session_dial_login(struct session *session, const char *host, uint16_t port);

/* ---- session.c ---- */

int session_init(struct session *session); /* what session_open() and others begin with: a loop, nothing else */
/* Prints the failure of a call with what the server said. */
int session_fail(const struct session *session, int err, const char *what);

/* A unary call; waits. */
int session_unary(struct session *session, const struct rpc_method *method, const void *request, void *response,
                  size_t response_size);
/* The same on another connection of this loop. */
int session_call(struct session *session, struct rpc_connection *connection, const struct rpc_method *method, const void *request,
                 void *response, size_t size);
/* A call with one request and a stream of answers; waits for its end. */
int session_stream(struct session *session, const struct rpc_method *method, const void *request,
                   void (*each)(void *ctx, const void *message), void *ctx);

/* The one device of that name, full name or id: -E_NOT_FOUND, -E_AMBIGUOUS, -E_NAME.  Queries: devices.h. */
int session_device(struct session *session, const char *name, murmesh_Device *ret);
/* Context for legs to devices: ALPN h2 when rpc, else http/1.1. */
int session_leg_context(const struct session *session, bool rpc, struct tls_context **ret);
#endif
