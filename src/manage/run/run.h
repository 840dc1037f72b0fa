/* manage/run/run.h: the exec role's side of `murmesh run`: checks the signed order itself, notes it so that it runs once, starts the command
 * in a process group of its own, and streams its output (proto/run.proto).  When the call ends early, the command is stopped.
 * The process ignores SIGPIPE, as every role does. */
#ifndef MANAGE_RUN_RUN_H
#define MANAGE_RUN_RUN_H
#include <stddef.h>
#include <stdint.h>

struct io_loop;
struct record_signer;
struct rpc_call;
struct run_service;
struct store;
struct trust;

#define RUN_COMMANDS_MAX 64 /* at once */
/* The order is accepted by `check`: 0 and the argv, nonce and time in *ret (a murmesh_Order), or a negative code. */
struct run_settings {
	struct store *store; /* the agent's database (order_journal.h) */
	/* signed_order: murmesh_SignedDocument; devices: the ids behind its digest; ret: murmesh_Order. */
	int (*check)(void *ctx, const void *signed_order, const uint8_t *devices, size_t devices_len, void *ret);
	int64_t (*now)(void);
	int (*sign)(void *ctx, void *result, void *ret); /* manage/proof.h */
	const struct record_signer *recorder;            /* manage/record.h; stays as it is from the first order on */
	void *ctx;
};
struct run_service *run_service_new(struct io_loop *loop, const struct run_settings *settings);
/* Stops all commands.  After the connections' end and store_free(), since the journal works on the service's commands. */
struct run_service *run_service_free(struct run_service *service);
/* For a service table: Run.Start. */
int run_open(struct run_service *service, struct rpc_call *call);
#endif
