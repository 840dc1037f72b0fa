/* web/routes.h: what the console's server can be asked, as data.  Dispatching, the API's description (/api/openapi.json), its client in
 * TypeScript and the tests' matrix of roles all come from this table. */
#ifndef WEB_ROUTES_H
#define WEB_ROUTES_H
#include "rpc/rpc.h"
#include "web/json.h"

struct api_call;

enum route_access {
	ACCESS_ANYONE,
	ACCESS_SESSION, /* a cookie with a session; core says whether it is good */
};

struct route {
	const char *name;          /* of the function that clients call */
	const char *method, *path; /* "/api/devices/{id}" */
	enum route_access access;
	const char *right;             /* the least role: "viewer", "operator", "administrator"; NULL = none is needed */
	bool step_up;                  /* always needs a fresh proof (POST /api/me/step-up) */
	const char *audited;           /* what core writes down; else "no: " and why not */
	const char *summary;           /* for the description */
	const struct schema *body;     /* NULL = there is none */
	const struct schema *query;    /* of the target; NULL = there is none */
	const struct schema *answer;   /* NULL = 204 */
	bool list;                     /* a list of answers */
	const struct rpc_method *call; /* of core, with the message that body, query and id are put into */
	size_t message_size;           /* of a message that begins with the call's own; 0 = it is that */
	size_t id_at;                  /* where the id of the path goes; 0 = elsewhere */
	size_t has;                    /* offset of a bool of the message that has to be set; 0 = none */
	/* Completes the message; NULL = it is complete.  0 or a negative code. */
	int (*prepare)(struct api_call *call, void *message);
	/* Makes the answer, or goes on; NULL = the reply is the answer. */
	void (*done)(struct api_call *call, const void *reply);
	size_t body_max; /* bytes; 0 = the usual */
	bool everywhere; /* only for those whose role holds in all groups */
};

extern const struct route routes[];
extern const size_t n_routes;

/* 0; -E_NOT_FOUND: no such path; -E_HTTP_METHOD: there is one, for other methods (ret_allow lists them).  *ret_id: what stands for {id}. */
#define ROUTE_ALLOW_SIZE 48
int route_find(struct str method, struct str path, const struct route **ret, struct str *ret_id, char ret_allow[ROUTE_ALLOW_SIZE]);

/* ---- schemas.c: messages as JSON ---- */
#define ROLES "viewer operator administrator"
extern const struct schema schema_account, schema_login, schema_totp, schema_session, schema_device, schema_detail, schema_changed,
        schema_key, schema_approval, schema_user, schema_user_link, schema_link, schema_audit, schema_verdict, schema_task,
        schema_task_row, schema_queue, schema_map, schema_path, schema_live_node, schema_live_edge, schema_live_row,
        schema_live_missing, schema_live_source;
#endif
