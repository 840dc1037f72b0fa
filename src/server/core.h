/* server/core.h: what the files of the core role share.  Core is the only owner of the database; every request becomes a job on the
 * store's worker thread and goes on, on the loop, when its changes are on disk. */
#ifndef SERVER_CORE_H
#define SERVER_CORE_H
#include "base/list.h"
#include "base/map.h"
#include "io/io.h"
#include "rpc/rpc.h"
#include "server/server.h"
#include "services.h"
#include "store/store.h"

struct core {
	struct priv_child *child;
	struct io_loop *loop;
	struct store *store;
	struct rpc_connection *link, *ca, *relay;
	struct io_watch *local;       /* core.sock */
	struct io_timer *local_retry; /* accepting there stopped for lack of descriptors */
	struct list locals;           /* connections on it */
	struct io_timer *housekeeping;
	struct map *online;            /* device id -> struct device_link */
	murmesh_CertificateReply mesh; /* intermediate, root, policy, as ca described them; device_id holds the mesh id */
	struct id mesh_id;
	struct id local_user;
	uid_t owner;
	uint16_t front_port;
	char address[128];
	int local_fd;
	bool described;
};

/* A job that answers a call: embedded first in the request's own struct, which is freed with it. */
struct core_job {
	struct store_job job;
	struct core *core;
	struct rpc_call *call;                                 /* referenced */
	int (*run)(struct store_tx *tx, struct core_job *job); /* worker thread: touches the job only */
	void (*done)(struct core_job *job);  /* loop, only when run() succeeded; ends with core_job_free() at some time */
	void (*ended)(struct core_job *job); /* before it is freed, whatever happened; may be NULL */
	char why[128];                       /* set by run() with its error: the cause for the user */
};
/* NULL when memory is short (the call is then answered). */
void *core_job_new(struct core *core, struct rpc_call *call, size_t size);
void core_job_submit(struct core_job *job);
void core_job_free(struct core_job *job);
/* Answers with the error and frees. */
void core_job_fail(struct core_job *job, int err, const char *why);

/* In a job: is the caller a user who may do that?  Puts the name into name (64 bytes).  -E_DENIED. */
int core_user_check(struct store_tx *tx, const struct id *user, unsigned account_action, char name[64]);

/* ---- core_link.c ---- */
struct device_link;
int core_link_open(void *ctx, struct rpc_call *call);
/* Sends to a device's link; -E_OFFLINE. */
int core_link_send(struct core *core, const struct id *device, const murmesh_Frame *frame);
bool core_link_online(const struct core *core, const struct id *device);

/* ---- core_enrol.c ---- */
void core_enrol_token(void *ctx, struct rpc_call *call, const void *request);
void core_enrol_certify(void *ctx, struct rpc_call *call, const void *request);
void core_enrol_component(void *ctx, struct rpc_call *call, const void *request);
void core_enrol_login(void *ctx, struct rpc_call *call, const void *request);

/* ---- core_fleet.c ---- */
int core_fleet_list(void *ctx, struct rpc_call *call);
void core_fleet_new_key(void *ctx, struct rpc_call *call, const void *request);

/* ---- core_tunnel.c ---- */
void core_tunnel_open(void *ctx, struct rpc_call *call, const void *request);
void core_tunnel_order(void *ctx, struct rpc_call *call, const void *request);
#endif
