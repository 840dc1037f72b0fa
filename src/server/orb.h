/* server/orb.h: what the files of the orb role share: CORBA clients, who are answered out of core by the same calls as those of link. */
#ifndef SERVER_ORB_H
#define SERVER_ORB_H
#include "base/list.h"
#include "crypto/certificate.h"
#include "gateway/component.h"
#include "orb/giop.h"
#include "orb/ior.h"

struct io_loop;
struct link_revoked;
struct rpc_connection;
struct stream;
struct tls_context;

struct orb_role {
	struct priv_child *child;
	struct io_loop *loop;
	struct io_watch *intake, *references, *clear; /* the front's packet socket; listeners of IORPort and IIOPPort */
	int intake_fd, references_fd, clear_fd;
	struct io_timer *sweep; /* of connections; runs while there are some */
	struct rpc_connection *core;
	struct component *component;
	struct link_revoked *revoked;
	struct sources *sources;
	struct list connections; /* the oldest first */
	size_t n_connections, n_strangers;
	unsigned n_submissions;
	struct buf reference; /* the line that IORPort gives out */
};

/* ---- orb_router.c: messages of a device ---- */
enum orb_mail_state {
	ORB_MAIL_IDLE,
	ORB_MAIL_POLLED,     /* `request` waits for envelopes */
	ORB_MAIL_MEETING,    /* `request` waits for its receiver to be found */
	ORB_MAIL_SUBSCRIBED, /* until the connection ends */
};
struct orb_mail {
	enum orb_mail_state state;
	struct rpc_call *call;         /* Core.Receive; NULL: not begun, or ended */
	struct giop_request *request;  /* owned until it is answered */
	struct buf envelope;           /* that core is giving */
	struct buf polled;             /* those of this poll, each behind its length (32 bits) */
	uint32_t n_polled, most;       /* most: of this poll */
	murmesh_Wanted wanted;         /* kept: what the client has been given since core was told of it last */
	uint8_t receiver[IOR_KEY_MAX]; /* its key */
	size_t receiver_len;
	uint64_t answer_by_ms; /* when the client has to have answered a call of ours; 0 = there is none */
};
struct orb_connection;
void orb_mail_init(struct orb_mail *mail);
void orb_mail_end(struct orb_connection *connection); /* after its giop */
void orb_submit(struct giop_request *request, struct cdr_reader *r);
void orb_poll(struct giop_request *request, struct cdr_reader *r);
void orb_subscribe(struct giop_request *request, struct cdr_reader *r);

/* ---- orb_connection.c ---- */
struct orb_connection {
	struct list node;
	struct orb_role *role;
	struct stream *stream;
	struct giop *giop; /* NULL during the handshake */
	struct source *source;
	const struct certificate_info *peer; /* NULL: a stranger */
	uint64_t until_ms;                   /* it has to be gone by then; 0 = it may stay */
	uint64_t stuck_ms;                   /* since then it sends one message, or takes nothing of what is for it; 0 = neither */
	uint64_t n_messages;                 /* that had come when this was looked at last */
	struct orb_mail mail;
};
void orb_connection_add(struct orb_role *role, int fd, struct tls_context *tls); /* NULL: in clear; takes fd */
void orb_connection_update(struct orb_connection *connection);                   /* after anything happened: may free it */
void orb_connections_sweep(void *role);
void orb_connections_revoke(void *role, const uint8_t key_hash[HASH_SIZE]);
void orb_connections_free(struct orb_role *role);

/* ---- orb_objects.c: the interfaces of proto/router.idl ---- */
enum { ORB_TRUSTED = 1 }; /* access of those with a certificate of the mesh */
#define ORB_OBJECTS 2
extern const struct giop_object orb_objects[ORB_OBJECTS];
/* Answers; why: NULL or "" where the error's own text says it. */
void orb_refuse(struct giop_request *request, int err, const char *why);

/* ---- orb_reference.c ---- */
/* The server's own object reference, out of the settings that the monitor hands out.  -E_NO_ORB: no port is open for it. */
int orb_reference(struct str settings, struct ior *ret);
#endif
