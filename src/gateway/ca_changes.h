/* gateway/ca_changes.h: a role that has a certificate of its own hears when the certification manager has another intermediate. */
#ifndef GATEWAY_CA_CHANGES_H
#define GATEWAY_CA_CHANGES_H
struct ca_changes;
struct io_loop;
struct rpc_connection;

/* core: where the role keeps its connection to core; borrowed, as is ctx.  NULL when memory is short. */
struct ca_changes *ca_changes_new(struct io_loop *loop, struct rpc_connection *const *core, void (*changed)(void *ctx), void *ctx);
struct ca_changes *ca_changes_free(struct ca_changes *changes); /* after the connection */
void ca_changes_follow(struct ca_changes *changes);             /* core is connected */
#endif
