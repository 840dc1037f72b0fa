/* server/core.h: what the files of the core role share.  Core is the only owner of the database; every request becomes a job on the
 * store's worker thread and goes on, on the loop, when its changes are on disk. */
#ifndef SERVER_CORE_H
#define SERVER_CORE_H
#include "base/list.h"
#include "base/map.h"
#include "fleet/fleet.h"
#include "io/io.h"
#include "rpc/rpc.h"
#include "server/server.h"
#include "services.h"
#include "store/store.h"

struct core {
	struct priv_child *child;
	struct io_loop *loop;
	struct store *store;
	struct rpc_connection *link, *ca, *relay, *web, *hash;
	struct io_watch *local;       /* core.sock */
	struct io_timer *local_retry; /* accepting there stopped for lack of descriptors */
	struct list locals;           /* connections on it */
	struct io_timer *housekeeping, *minute;
	struct list watches; /* of the fleet, by browsers */
	size_t n_watches;
	unsigned logins; /* being checked */
	int64_t bad_logins_since;
	unsigned bad_logins, bad_logins_unwritten; /* audit of this minute */
	struct map *online;                        /* device id -> struct device_link */
	murmesh_CertificateReply mesh; /* intermediate, root, policy, as ca described them; device_id holds the mesh id */
	struct id mesh_id;
	struct id local_user;
	uid_t owner;
	uint16_t front_port;
	char address[128], domain[128];
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

/* Who asks: a user with a certificate, or somebody with a session of the console. */
struct core_caller {
	struct id user; /* by session: known after core_caller_check() */
	uint8_t session[32];
	bool by_session;
};
/* The same for both: -E_DENIED, -E_SESSION. */
int core_caller_check(struct store_tx *tx, struct core_caller *caller, unsigned account_action, char name[64]);

/* ---- core_link.c ---- */
struct device_link;
int core_link_open(void *ctx, struct rpc_call *call);
/* Sends to a device's link; -E_OFFLINE. */
int core_link_send(struct core *core, const struct id *device, const murmesh_Frame *frame);
bool core_link_online(const struct core *core, const struct id *device);
/* Ends its link, if it has one. */
void core_link_end(struct core *core, const struct id *device, int err, const char *why);

/* ---- core_enrol.c ---- */
void core_enrol_token(void *ctx, struct rpc_call *call, const void *request);
void core_enrol_certify(void *ctx, struct rpc_call *call, const void *request);
void core_enrol_component(void *ctx, struct rpc_call *call, const void *request);
void core_enrol_login(void *ctx, struct rpc_call *call, const void *request);

/* ---- core_fleet.c ---- */
int core_fleet_list(void *ctx, struct rpc_call *call);
void core_fleet_new_key(void *ctx, struct rpc_call *call, const void *request);
void core_fleet_key(struct core *core, struct rpc_call *call, const struct core_caller *caller, const murmesh_KeyRequest *request);
void core_fleet_device(const struct core *core, const struct device *device, murmesh_Device *ret);
struct core_devices {
	struct device *rows;
	size_t n, capacity;
};
int core_devices_add(void *devices, const struct device *device); /* a fleet_each */

/* ---- core_tunnel.c ---- */
void core_tunnel_open(void *ctx, struct rpc_call *call, const void *request);
void core_tunnel_order(void *ctx, struct rpc_call *call, const void *request);

/* ---- core_console.c, core_console_login.c, core_console_fleet.c: the console, asked by the web role ---- */

int core_console_open(void *ctx, struct rpc_call *call);
/* A method that a session calls: run() fills the reply, which done() sends unless it is set to something else.  Every request begins with
 * the session. */
struct console_job {
	struct core_job base;
	struct core_caller caller;
	union {
		murmesh_SessionRequest session;
		murmesh_SetupRequest setup;
		murmesh_TotpCode totp;
		murmesh_RenameRequest rename;
		murmesh_DeviceRequest device;
	} request;
	union {
		murmesh_Done done;
		murmesh_Account account;
		murmesh_TotpSecret totp;
	} reply;
	struct device device;
	char encoded[128];
	bool login; /* counted in core->logins */
};
struct console_job *core_console_job(struct core *core, struct rpc_call *call, const void *request, size_t size,
                                     int (*run)(struct store_tx *tx, struct core_job *job));
void core_console_reply(struct core_job *job);

void core_console_by_link(void *ctx, struct rpc_call *call, const void *request);
void core_console_by_password(void *ctx, struct rpc_call *call, const void *request);
void core_console_logout(void *ctx, struct rpc_call *call, const void *request);
void core_console_me(void *ctx, struct rpc_call *call, const void *request);
void core_console_setup(void *ctx, struct rpc_call *call, const void *request);
void core_console_totp_begin(void *ctx, struct rpc_call *call, const void *request);
void core_console_totp_confirm(void *ctx, struct rpc_call *call, const void *request);
void core_console_login_link(void *ctx, struct rpc_call *call, const void *request); /* of core.sock */

void core_console_new_key(void *ctx, struct rpc_call *call, const void *request);
void core_console_rename(void *ctx, struct rpc_call *call, const void *request);
void core_console_delete(void *ctx, struct rpc_call *call, const void *request);
int core_console_audit(void *ctx, struct rpc_call *call);
int core_console_watch(void *ctx, struct rpc_call *call);

/* Tell all who watch: as it is now, online or not; removed. */
void core_watch_device(struct core *core, const struct device *device);
void core_watch_removed(struct core *core, const struct id *device);
/* Ends the watches of a session that has ended. */
void core_watch_end(struct core *core, const uint8_t session[32]);
void core_watch_check(struct core *core); /* every minute: whose session has ended */
#endif
