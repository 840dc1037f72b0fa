/* server/core.h: what the files of the core role share.  Core is the only owner of the database; every request becomes a job on the
 * store's worker thread and goes on, on the loop, when its changes are on disk. */
#ifndef SERVER_CORE_H
#define SERVER_CORE_H
#include "account/account.h"
#include "base/list.h"
#include "base/map.h"
#include "ca/approvals.h"
#include "ca/authority.h"
#include "crypto/certificate.h"
#include "fleet/query.h"
#include "io/io.h"
#include "rpc/rpc.h"
#include "server/server.h"
#include "services.h"
#include "store/store.h"

/* What core itself goes by; agents verify, core does not. */
struct core_policy {
	uint64_t version;
	bool users_sign;    /* any mode but "server" */
	uint32_t two_above; /* devices of a run order, beyond which another approver signs too; 0 = never */
};

struct core {
	struct priv_child *child;
	struct io_loop *loop;
	struct store *store;
	struct rpc_connection *link, *orb, *ca, *relay, *web, *hash, *viz;
	struct io_watch *local;       /* core.sock */
	struct io_timer *local_retry; /* accepting there stopped for lack of descriptors */
	struct list locals;           /* connections on it */
	struct io_timer *housekeeping, *minute;
	struct io_timer *watches_again; /* until viz has ended them */
	struct io_timer *patience;      /* while there are: */
	struct list hurried;            /* jobs in the database for which people wait */
	struct list watches;            /* of the fleet and of tasks, by browsers */
	size_t n_watches;
	struct list pings;
	size_t n_pings;
	uint64_t last_ping;
	struct list messages; /* that users send at the moment */
	size_t n_messages;
	struct list followers;      /* of revocations: link roles */
	struct list ca_followers;   /* of other intermediates: roles with a certificate of their own */
	struct core_router *router; /* of messages */
	struct list receivers;      /* devices that are CORBA clients */
	unsigned n_submissions;
	struct core_pairs *pairs;
	unsigned logins; /* being checked */
	int64_t bad_logins_since;
	unsigned bad_logins, bad_logins_unwritten; /* audit of this minute */
	struct map *online;                        /* device id -> struct device_link */
	struct map *relays;                        /* device id -> its name */
	struct map *components;                    /* component id -> struct core_component */
	murmesh_CertificateReply mesh; /* intermediate, root, policy, as ca described them; device_id holds the mesh id */
	struct core_policy policy;     /* out of it */
	uint8_t intermediate_hash[HASH_SIZE];
	struct rpc_call *reload; /* waits until ca has described itself anew; referenced; NULL = nobody */
	struct id mesh_id;
	struct id local_user;
	uid_t owner;
	uint16_t front_port;
	char address[128], domain[128];
	int local_fd;
	bool described;
	murmesh_SignedTime time; /* of this minute */
	bool has_time;
	murmesh_SignedDocument relays_ended;  /* a RelaysEnded */
	uint8_t relays_ended_hash[HASH_SIZE]; /* of its keys */
	bool has_relays_ended, relays_ended_due;
	bool revoke_due; /* some revoked certificates were not told of */
};

/* ---- role_core.c: jobs ---- */

/* A job that answers a call: embedded first in the request's own struct, which is freed with it. */
struct core_job {
	struct store_job job;
	struct list node; /* core->hurried, while it is submitted */
	bool hurried; /* somebody waits before a screen: where the database is slow, it is refused (-E_BUSY), unless it has begun */
	struct core *core;
	struct rpc_call *call;                                 /* referenced */
	int (*run)(struct store_tx *tx, struct core_job *job); /* worker thread: touches the job only */
	void (*done)(struct core_job *job);  /* loop, only when run() succeeded; ends with core_job_free() at some time */
	void (*ended)(struct core_job *job); /* before it is freed, whatever happened; may be NULL */
	char why[160];                       /* set by run() with its error: the cause for the user */
};
int core_jobs_init(struct core *core); /* what they share: list and timer */
void core_jobs_done(struct core *core);
/* NULL when memory is short (the call is then answered). */
void *core_job_new(struct core *core, struct rpc_call *call, size_t size);
void core_job_submit(struct core_job *job);
void core_job_free(struct core_job *job);
/* Answers with the error and frees. */
void core_job_fail(struct core_job *job, int err, const char *why);

/* Who asks: a user with a certificate, or somebody with a session of the console. */
struct core_caller {
	struct id user; /* by session: known after core_caller_check(), as is the next */
	int64_t proved_until;
	uint8_t session[32];
	bool by_session;
	struct id component; /* another machine of the server that he comes in at; zero: core's */
};
/* In a job: may he do that somewhere?  -E_DENIED, -E_SESSION. */
int core_caller_check(struct store_tx *tx, struct core_caller *caller, enum account_action action, struct user *ret);
/* After that: what is delicate needs a proof, made not long ago, that it is he.  -E_STEP_UP. */
int core_caller_proved(const struct core_caller *caller);
/* In a job, a line of the audit log. */
int core_audit(struct store_tx *tx, const char *actor, const char *action, const char *object, const char *detail);

/* ---- core_request.c: most methods, as data ---- */

/* Structs one after the other, without the zeros at their ends. */
struct core_rows {
	uint8_t *bytes;
	size_t len, capacity, n;
};
int core_rows_add(struct core_rows *rows, const void *row, size_t size);                   /* size < 64 KiB; -E_NO_MEMORY */
bool core_rows_next(const struct core_rows *rows, size_t *at, void *ret_row, size_t size); /* *at is 0 at first */
void core_rows_done(struct core_rows *rows);
int core_rows_device(void *rows, const struct device *device); /* a fleet_each */

struct core_request;
struct core_method {
	struct rpc_service service;                                    /* with `unary` or `open`: that does all; else: */
	size_t request_at, request_size;                               /* what of the message is the request proper */
	int (*begin)(struct core_request *request);                    /* loop; NULL: nothing to do before */
	int (*run)(struct store_tx *tx, struct core_request *request); /* worker: fills reply or rows */
	void (*done)(struct core_request *request);                    /* loop; ends with core_request_answer(), which NULL means */
	bool (*row)(const struct core_request *request, size_t *at,
	            void *message); /* makes messages of rows; NULL: that they are */
};
#define CORE_WHOLE(type)       0, sizeof(type)
#define CORE_PART(type, field) offsetof(type, field), sizeof(((type *)0)->field)

struct core_selection;
struct core_request {
	struct core_job base;
	const struct core_method *method;
	struct core_caller caller;
	const void *message; /* the request proper */
	void *reply;         /* of a unary call, zeroed */
	struct core_rows rows;
	struct core_selection *selection; /* freed with it */
	size_t sent;                      /* of the rows: an offset */
};
/* Serves a call by one of these rows; by_session: its messages begin with a session. */
int core_serve(struct core *core, struct rpc_call *call, const struct core_method *row, bool by_session);
const struct core_method *core_method_find(const struct core_method *rows, size_t n, struct str path);
void core_request_answer(struct core_request *request);

/* ---- core_device.c ---- */

/* Which devices a text means. */
enum core_meaning {
	CORE_QUERY,         /* a query */
	CORE_NAME_OR_QUERY, /* a name, full name or id; where there is no such device, a query */
	CORE_NAME, /* a text that can be a name is one, others are queries: for orders, where a typing error must not hit another */
};
struct core_selection {
	struct fleet_query query;
	struct str text; /* borrowed */
	enum core_meaning meaning;
	int err; /* of the query */
	struct fleet_query_error error;
	struct id *online; /* those that were when the request came; only when the query asks for it */
	size_t n_online;
};
/* On the loop. */
int core_selection_begin(struct core_request *request, const char *text, enum core_meaning meaning);
/* In a job: adds those that are within the user's reach to rows.  -E_NOT_FOUND (a name that nothing has), -E_QUERY with base.why. */
int core_selection_run(struct store_tx *tx, struct core_request *request, const struct user *user, struct core_rows *rows);
/* In a job: one that is not retired and within the user's reach.  -E_NOT_FOUND. */
int core_device_get(struct store_tx *tx, const struct user *user, const struct id *id, struct device *ret);
void core_device_fill(const struct core *core, const struct device *device, murmesh_Device *ret);
bool core_device_row(const struct core_request *request, size_t *at, void *message);

int core_devices_begin(struct core_request *request); /* ListDevices */
int core_devices_run(struct store_tx *tx, struct core_request *request);
/* In a job: the device that a DeviceName, or a DeviceRequest, is about, when the caller may see it.  -E_DENIED, -E_NOT_FOUND, -E_AMBIGUOUS. */
int core_device_asked_name(struct store_tx *tx, struct core_request *request, struct device *ret);
int core_device_asked_id(struct store_tx *tx, struct core_request *request, struct device *ret);
int core_device_named_run(struct store_tx *tx, struct core_request *request); /* GetDevice by name; by id */
int core_device_run(struct store_tx *tx, struct core_request *request);
void core_device_done(struct core_request *request);
int core_change_begin(struct core_request *request); /* ChangeDevices */
int core_change_run(struct store_tx *tx, struct core_request *request);
void core_change_done(struct core_request *request);

/* ---- core_link.c ---- */
struct device_link;
int core_link_open(void *ctx, struct rpc_call *call);
/* Sends to a device's link; -E_OFFLINE. */
int core_link_send(struct core *core, const struct id *device, const murmesh_Frame *frame);
/* Tells the relays between, if any, that the device's leg will come with that ticket.  -E_OFFLINE. */
int core_link_forward(struct core *core, const struct id *device, const murmesh_TunnelForward *forward);
void core_link_relay(struct core *core, const struct id *device,
                     bool relay); /* tells it, when it is online, in the way that it understands */
bool core_link_component(const struct core *core, const struct id *device,
                         struct id *ret); /* that it comes in at; false: core's machine */
size_t core_link_via(const struct core *core, const struct id *device,
                     struct id ret[RPC_VIA_MAX]); /* relays between, its parent first */
void core_link_send_all(struct core *core, const murmesh_Frame *frame);
const struct id *core_link_device(const struct device_link *link);
bool core_link_online(const struct core *core, const struct id *device);
struct core_envelopes *core_link_envelopes(const struct core *core, const struct id *device); /* NULL: offline */
/* Ends its link and its receiver, if it has one. */
void core_link_end(struct core *core, const struct id *device, int err, const char *why);

/* ---- core_inventory.c: what a device is made of ---- */
struct core_inventories { /* on one link */
	uint8_t challenge[16];
	uint64_t moment; /* of the last one that was signed */
	int64_t since;   /* the minute, */
	unsigned n;      /* and how many came in it */
};
void core_inventory_welcome(struct core_inventories *inventories, murmesh_Welcome *welcome);
/* `inventory` or `signed_inventory` of a link that has been welcomed. */
void core_inventory_frame(struct core *core, struct core_inventories *inventories, const struct id *device,
                          const murmesh_Frame *frame);

/* ---- core_envelope.c: messages to devices, and what they tell ---- */
/* Before the filter.  Where its disk does not work there is none: all but messages goes on. */
void core_router_open(struct core *core, const char *directory);
void core_router_free(struct core *core);
struct route *core_route(struct core *core);
void core_router_sync(struct core *core); /* something was given to the route */
/* A device's link; NULL where there is no memory, or the device is retired. */
struct core_envelopes;
struct core_envelopes *core_envelopes_begin(struct core *core, struct rpc_call *call, const struct id *device);
struct core_envelopes *core_envelopes_end(struct core_envelopes *envelopes); /* accepts NULL, as do the next */
void core_envelopes_frame(struct core_envelopes *envelopes, const murmesh_Frame *frame);
void core_envelopes_send(struct core_envelopes *envelopes); /* there is room */
void core_router_retire(struct core *core, const struct id *device);
/* What a device says to the server itself.  0: it is taken; -E_DENIED (it is for somebody else), -E_ENVELOPE_TYPE. */
int core_envelope_take(const struct id *device, const murmesh_Envelope *envelope);

/* ---- core_orb.c: messages of devices that are CORBA clients ---- */
int core_orb_submit(void *ctx, struct rpc_call *call);  /* Core.Submit */
int core_orb_receive(void *ctx, struct rpc_call *call); /* Core.Receive */
/* Of this device, if it has one: */
void core_receiver_give(struct core *core, const struct id *device); /* something waits for it */
void core_receiver_end(struct core *core, const struct id *device, int err, const char *why);

/* ---- core_message.c: the calls of users ---- */
int core_message_send(void *ctx, struct rpc_call *call);
void core_messages_go_on(struct core *core);                                   /* after a sync */
void core_messages_told(struct core *core, const struct id *message, int err); /* one device has it, or will not get it */
int core_queues_begin(struct core_request *request);
bool core_queue_row(const struct core_request *request, size_t *at, void *message);

/* ---- core_enrol.c: certificates ---- */
void core_enrol_token(void *ctx, struct rpc_call *call, const void *request);
void core_enrol_certify(void *ctx, struct rpc_call *call, const void *request);
void core_enrol_component(void *ctx, struct rpc_call *call, const void *request);
void core_enrol_login(void *ctx, struct rpc_call *call, const void *request);
void core_enrol_session(void *ctx, struct rpc_call *call, const void *request); /* Console.UserCertificate */
/* For a user who has just proved himself. */
void core_enrol_user(struct core *core, struct rpc_call *call, const struct id *user, const void *key, size_t key_len);

/* ---- core_key.c ---- */
int core_key_begin(struct core_request *request);
int core_key_run(struct store_tx *tx, struct core_request *request);
/* A new key, and the line that people give to machines; wipe both. */
struct join_line;
int core_line_make(const struct core *core, struct join_line *ret, char *ret_text);

/* ---- core_approve.c ---- */
/* In a job: */
int core_approval_ask(struct store_tx *tx, struct approval *approval);                              /* it waits from now on */
int core_approval_device(struct store_tx *tx, const struct approval *approval, struct device *ret); /* a new one is let in */
void core_approval_of_device(const struct device *device, enum approval_kind kind, struct approval *ret);
int core_approvals_run(struct store_tx *tx, struct core_request *request);
int core_approval_run(struct store_tx *tx, struct core_request *request);
int core_approval_by_id_run(struct store_tx *tx, struct core_request *request); /* of the console */
void core_approval_done(struct core_request *request);
void core_approval_fill(const struct approval *approval, murmesh_Approval *ret);
bool core_approval_seen(const struct approval *approval, const struct user *user); /* may he decide it? */

/* ---- core_copy.c ---- */
/* In a job: may who shows this number go on as the device (ca_continuity_check())?  -E_FROZEN with ret_asked (whose device is else left as it was):
 * commit, and give it to core_copy_seen(). */
int core_copy_check(struct store_tx *tx, const struct device *device, uint64_t shown, const char *address,
                    struct approval *ret_asked);
void core_copy_seen(struct core *core, const struct approval *asked);
void core_copy_split(void *ctx, struct rpc_call *call, const void *request);

/* ---- core_time.c ---- */
void core_time_sign(struct core *core); /* every minute */
/* A document for ca to sign. */
int core_document(const pb_msgdesc_t *type, const void *message, enum authority_purpose purpose, murmesh_SignRequest *ret);
void core_time_welcome(const struct core *core, murmesh_Welcome *welcome);

/* ---- core_move.c ---- */
/* An online device is told to link to that parent (host:port; "": where it did before), and to fall back when that does not answer so long. */
void core_move(struct core *core, const struct device *device, const char *parent, uint32_t fall_back_s);
void core_duty(struct core *core, const struct id *device, bool relay); /* it is told that it is a relay, or none */

/* ---- core_ping.c: Ping, PingDevice ---- */
int core_ping_run(struct store_tx *tx, struct core_request *request);
int core_ping_by_id_run(struct store_tx *tx, struct core_request *request);
void core_ping_done(struct core_request *request);
void core_ping_answered(struct core *core, const struct id *device, uint64_t number);
void core_pings_end(struct core *core);

/* ---- core_tunnel.c ---- */
void core_tunnel_open(void *ctx, struct rpc_call *call, const void *request);
void core_tunnel_order(void *ctx, struct rpc_call *call, const void *request);
void core_console_tunnel(void *ctx, struct rpc_call *call, const void *request);
void core_console_order(void *ctx, struct rpc_call *call, const void *request);

/* ---- core_meet.c: on the loop: relays are told of the legs that come ---- */
struct core_meeting {
	struct core *core;
	struct id client, agent; /* components that the ends come in at; zero: core's machine */
	struct id at;            /* chosen: where they meet; the same */
	murmesh_Announcement announcement;
	void (*done)(void *ctx, int err, const char *why); /* once, perhaps at once */
	void *ctx;
	unsigned step;
};
void core_meet(struct core_meeting *meeting); /* which stays until `done` */

/* ---- core_pair.c: on the loop ---- */
struct core_pair_about {
	struct id user, device;
	char user_name[64], full_name[FLEET_FULL_NAME], group[ACCOUNT_GROUP_SIZE]; /* the last two of the device */
};
int core_pairs_open(struct core *core);
void core_pairs_free(struct core *core);   /* after the connection to relay */
void core_pairs_follow(struct core *core); /* relay is connected */
void core_pairs_minute(struct core *core); /* every minute */
/* It was opened.  target: what its grant allows; "" = commands and terminals. */
void core_pair_keep(struct core *core, const struct core_meeting *meeting, const struct core_pair_about *about, const char *target);
/* It was not.  why: for people; NULL or "": as err_text() says. */
void core_pair_failed(struct core *core, const struct core_pair_about *about, const char *target, int err, const char *why);
void core_pair_refused(struct core *core, const struct id *device, const murmesh_TunnelRefusal *refusal); /* as that device says */
/* Who has ended this user's last one to the same device and target: once, then "", as when nobody has.  Good until the next call here. */
const char *core_pair_ended_by(struct core *core, const struct core_pair_about *about, const char *target);
/* A user ends one that is open.  False: it is not. */
bool core_pair_end(struct core *core, const struct id *name, const char *by);
/* What the relay of a machine (zero: core's) tells of its tunnels; it tells no more. */
void core_pairs_reports(struct core *core, const struct id *at, const murmesh_PairReports *reports);
void core_pairs_lost(struct core *core, const struct id *at);
void core_pairs_device(struct core *core, const struct device *device); /* its name or group is another */
/* Ends the tunnels of a user (NULL: of all), to a device (NULL: to any). */
void core_pairs_close(struct core *core, const struct id *user, const struct id *device);
/* Those that go through a component which is shut out: their devices are told, too; at their next welcome, when they cannot be reached now. */
void core_pairs_close_through(struct core *core, const struct id *component);
int core_pairs_welcome(struct core *core, const struct id *device);

/* ---- core_map.c: tunnels as users see them ---- */
int core_maps_run(struct store_tx *tx, struct core_request *request);
void core_maps_done(struct core_request *request);
bool core_maps_row(const struct core_request *request, size_t *at, void *message);
int core_map_end_begin(struct core_request *request);
int core_map_end_run(struct store_tx *tx, struct core_request *request);
void core_map_end_done(struct core_request *request);
/* On the loop: names of those that he sees; the next of them that is still there. */
int core_maps_names(const struct core *core, const struct user *user, struct core_rows *names);
bool core_map_row(const struct core *core, const struct core_rows *names, size_t *at, murmesh_Map *ret);

/* ---- core_reference.c: GetReference, of the server for CORBA clients ---- */
int core_reference_begin(struct core_request *request);
int core_reference_run(struct store_tx *tx, struct core_request *request);

/* ---- core_network.c: what comes through the link role, and from the orb role; core_console.c: what the web role may call ---- */
int core_network_open(void *ctx, struct rpc_call *call);
int core_orb_open(void *ctx, struct rpc_call *call);
int core_console_open(void *ctx, struct rpc_call *call);
bool core_console_is(struct str path);                        /* one of Console */
int core_console_elsewhere(void *ctx, struct rpc_call *call); /* the same of web on another machine */

/* ---- core_login.c, core_session.c ---- */
void core_console_by_link(void *ctx, struct rpc_call *call, const void *request);
void core_console_by_password(void *ctx, struct rpc_call *call, const void *request);
void core_console_setup(void *ctx, struct rpc_call *call, const void *request);
void core_console_change_password(void *ctx, struct rpc_call *call, const void *request);
void core_console_step_up(void *ctx, struct rpc_call *call, const void *request);
void core_console_totp_forget(void *ctx, struct rpc_call *call, const void *request);
void core_user_login(void *ctx, struct rpc_call *call, const void *request);         /* Core.UserLogin */
void core_console_login_link(void *ctx, struct rpc_call *call, const void *request); /* of core.sock */
/* In a job: what his page says of the caller. */
int core_account_fill(struct store_tx *tx, const struct core *core, const struct core_caller *caller, murmesh_Account *ret);
/* A user's own session: whose, kept in the caller.  -E_SESSION. */
int core_caller_own(struct store_tx *tx, struct core_caller *caller, struct user *ret);
int core_me_run(struct store_tx *tx, struct core_request *request);
int core_logout_run(struct store_tx *tx, struct core_request *request);
void core_logout_done(struct core_request *request);
int core_totp_begin_run(struct store_tx *tx, struct core_request *request);
int core_totp_confirm_run(struct store_tx *tx, struct core_request *request);
int core_sessions_run(struct store_tx *tx, struct core_request *request);
int core_session_end_run(struct store_tx *tx, struct core_request *request);
void core_session_end_done(struct core_request *request);

/* ---- core_people.c ---- */
int core_users_run(struct store_tx *tx, struct core_request *request);
int core_user_add_run(struct store_tx *tx, struct core_request *request);
int core_user_change_run(struct store_tx *tx, struct core_request *request);
void core_user_change_done(struct core_request *request);
int core_user_link_run(struct store_tx *tx, struct core_request *request);       /* by id or name */
int core_user_link_named_run(struct store_tx *tx, struct core_request *request); /* by name */
/* "https://...": the address that a one-time link's token makes. */
void core_login_url(const struct core *core, const char *token, char *out, size_t size);

/* ---- core_audit.c ---- */
int core_audit_run(struct store_tx *tx, struct core_request *request);
int core_verify_run(struct store_tx *tx, struct core_request *request);
void core_verify_done(struct core_request *request);
void core_audit_refused(void *ctx, struct rpc_call *call, const void *request);

/* ---- core_watch.c ---- */
int core_watch_fleet(void *ctx, struct rpc_call *call);
int core_watch_session(void *ctx, struct rpc_call *call);
/* Tell all who watch and whose reach it is in: as it is now, online or not; removed.  before: the group that it was in (NULL: the same);
 * for those who only reached that one it is removed. */
void core_watch_device(struct core *core, const struct device *device, const char *before);
void core_watch_removed(struct core *core, const struct device *device);
int core_watch_approvals(void *ctx, struct rpc_call *call);
void core_watch_approval(struct core *core, const struct approval *approval); /* as it is now */
int core_watch_maps(void *ctx, struct rpc_call *call);
int core_watch_tasks(void *ctx, struct rpc_call *call);
struct task;
void core_watch_task(struct core *core, const struct task *task); /* as it is now */
/* Ends the watches of a session, or of a user (also not to keep one who may see other things now); NULL: of any. */
void core_watch_end(struct core *core, const uint8_t *session, const struct id *user, int err);
void core_watch_check(struct core *core); /* every minute: whose session has ended */

/* ---- core_live.c ---- */
int core_live_run(struct store_tx *tx, struct core_request *request);
void core_live_done(struct core_request *request);
/* What a user may watch has changed (NULL: of all whose role does not hold everywhere): his watches begin again. */
void core_live_end(struct core *core, const struct id *user);
void core_live_end_again(void *core); /* core->watches_again */

/* ---- core_task.c ---- */
int core_task_begin(struct core_request *request);
int core_task_run(struct store_tx *tx, struct core_request *request);
void core_task_done(struct core_request *request);
int core_task_command_run(struct store_tx *tx, struct core_request *request);
int core_task_devices_run(struct store_tx *tx, struct core_request *request);
int core_task_report_run(struct store_tx *tx, struct core_request *request);
void core_task_report_done(struct core_request *request);
int core_task_cancel_run(struct store_tx *tx, struct core_request *request);
bool core_task_seen(const struct task *task, const struct user *user); /* his own; all by those who administrate all groups */
void core_task_fill(const struct task *task, murmesh_Task *ret);
void core_tasks_interrupt(struct core *core,
                          const struct id *component); /* web there (zero: here) is gone, which carried them out */

/* ---- core_policy.c ---- */
void core_policy_described(struct core *core); /* ca described itself: core->mesh is new */
/* A newer policy than the agent's goes along. */
void core_policy_welcome(const struct core *core, uint64_t version, murmesh_Welcome *welcome);
int core_policy_follow(void *ctx, struct rpc_call *call);                       /* Core.CaChanges */
void core_policy_reload(void *ctx, struct rpc_call *call, const void *message); /* Local.ReloadCa */

/* ---- core_relay.c: on the loop ---- */
int core_relays_open(struct core *core); /* before the database's thread begins */
void core_relays_free(struct core *core);
const char *core_relay_name(const struct core *core, const struct id *device); /* its full name; NULL: it is none */
void core_relay_changed(struct core *core, const struct device *device);       /* as it is now; also when it is as it was */

/* ---- core_ended.c: on the loop ---- */
void core_ended_tell(struct core *core);      /* after certificates were revoked */
void core_ended_described(struct core *core); /* ca described itself: its grant key may be another */
void core_ended_retry(struct core *core);     /* every minute: when that was not possible */
int core_ended_welcome(const struct core *core, struct rpc_call *link);
/* ---- core_component.c: machines that run roles of the server elsewhere ---- */
struct component_record;
void core_component_name(const struct component_record *component, char ret[FLEET_FULL_NAME]); /* its full name */
const char *core_component_called(const struct core *core, const struct id *component);        /* on the loop; NULL: it is none */
int core_components_open(struct core *core); /* before the database's thread begins */
void core_components_free(struct core *core);
/* On the loop: has it one of these roles (bits of ComponentRole)? */
bool core_component_may(const struct core *core, const struct id *component, unsigned roles);
/* In a job: one that comes with a join key for components, approved where that is asked for; on the loop, afterwards. */
int core_component_join(struct store_tx *tx, const struct approval *approval, struct component_record *ret);
void core_component_joined(struct core *core, const struct component_record *component);
struct id core_component_of(const struct rpc_call *call);    /* that it came in at; zero: core's machine */
int core_component_attach(void *ctx, struct rpc_call *call); /* Components.Attach */
/* The relay there, for others to connect to: it has to be attached, at the host that it enrolled with. */
bool core_component_relay_reach(const struct core *core, const struct id *component, murmesh_Forwarding *ret);
bool core_component_relay_find(const struct core *core, struct id *ret); /* any of these */
/* A task for the relay there.  done comes once, unless it returns a code: -E_BUSY, it is not attached; NULL: nobody waits. */
typedef void (*core_component_done)(void *ctx, int err, const char *why);
int core_component_ask(struct core *core, const struct id *component, murmesh_ComponentTask *task, core_component_done done,
                       void *ctx);
void core_components_close_pair(struct core *core, const murmesh_PairName *pair); /* all of them */
int core_components_run(struct store_tx *tx, struct core_request *request);
bool core_component_row(const struct core_request *request, size_t *at, void *message);
int core_component_revoke_run(struct store_tx *tx, struct core_request *request);
void core_component_revoke_done(struct core_request *request);

/* ---- core_revoke.c: what link refuses ---- */
int core_revoke_follow(void *ctx, struct rpc_call *call); /* Core.Revocations */
/* On the loop, after certificates of these were revoked: so that link hears of it. */
void core_revoke_tell(struct core *core);
void core_relay_tell(struct core *core, const struct id *device, bool relay);
void core_component_tell(struct core *core, const struct id *component, unsigned roles); /* 0: it is none any more */
/* For an agent's link.  In a job: the keys of all users that are revoked and would else be good; on the loop: the next frame of them. */
int core_revoked_users(struct store_tx *tx, struct core_rows *rows);
bool core_revoked_frame(const struct core_rows *rows, size_t *at, murmesh_Frame *ret);
#endif
