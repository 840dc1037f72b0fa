/* gateway/link_login.h: Login.Password at the link role: reads the CSR, asks core, and bounds what strangers can make the server work.
 *
 * 6 attempts at once, 4 of one address (account/attempts.h). */
#ifndef GATEWAY_LINK_LOGIN_H
#define GATEWAY_LINK_LOGIN_H
#include "fleet.pb.h"

struct io_loop;
struct rpc_call;
struct rpc_connection;
struct link_logins;

struct link_logins *link_logins_new(struct io_loop *loop); /* NULL when memory is short */
/* core's connection ended before: its calls have. */
struct link_logins *link_logins_free(struct link_logins *logins);
/* fd: the caller's socket, unless a component says where he is.  core may be NULL: -E_BUSY. */
void link_login(struct link_logins *logins, struct rpc_connection *core, struct rpc_call *call, const murmesh_LoginProof *proof,
                int fd);
#endif
