/* manage/terminal/terminal.h: the exec role's side of Terminal.Open (proto/terminal.proto): a login shell on a pseudo terminal.
 *
 * Each call brings a signed order of its own, which is checked here, noted (manage/run/order_journal.h), and opens once: a new terminal, or one
 * that the same user left.  A terminal whose call ends goes on, keeps the last 256 KiB of what it says, and is hung up when nobody has come back.
 * Who does not take what it says stops it; who comes takes the place of who was there.
 * The process ignores SIGPIPE, as every role does. */
#ifndef MANAGE_TERMINAL_TERMINAL_H
#define MANAGE_TERMINAL_TERMINAL_H
#include <stddef.h>
#include <stdint.h>

struct io_loop;
struct record_signer;
struct rpc_call;
struct store;
struct terminal_service;
struct user_login;

#define TERMINALS_MAX        16 /* on this device */
#define TERMINALS_MAX_USER   8
#define TERMINAL_DETACHED_MS 900000

struct terminal_settings {
	struct store *store; /* the agent's database (manage/run/order_journal.h) */
	/* signed_order: murmesh_SignedDocument; devices: the ids behind its digest; ret: murmesh_Order.  0 or a negative code. */
	int (*check)(void *ctx, const void *signed_order, const uint8_t *devices, size_t devices_len, void *ret);
	int64_t (*now)(void);                            /* seconds since 1970 */
	int (*sign)(void *ctx, void *result, void *ret); /* manage/proof.h */
	const struct record_signer *recorder;            /* manage/record.h; stays as it is from the first order on */
	/* Whose login shells they are: the user that the process runs as.  0 or a negative code. */
	int (*login)(void *ctx, struct user_login *ret);
	void *ctx;
	uint64_t detached_ms; /* TERMINAL_DETACHED_MS */
};
struct terminal_service *terminal_service_new(struct io_loop *loop, const struct terminal_settings *settings);
/* Kills every process of all terminals.  After the connections' end and store_free(), since the journal works on what is the service's. */
struct terminal_service *terminal_service_free(struct terminal_service *service);
/* For a service table: Terminal.Open. */
int terminal_open(struct terminal_service *service, struct rpc_call *call);
#endif
