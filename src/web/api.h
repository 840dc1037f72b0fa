/* web/api.h: one request of the API on its way: what it asks, the call of core, and its answer. */
#ifndef WEB_API_H
#define WEB_API_H
#include "account/attempts.h"
#include "services.h"
#include "web/http.h"
#include "web/json.h"
#include "web/routes.h"

struct api_call {
	struct http_exchange *exchange;
	const struct route *route;
	uint8_t session[ACCOUNT_SESSION_SIZE]; /* with ACCESS_SESSION */
	struct id id;                          /* of the path */
	json_t *body, *query;                  /* objects; NULL = the route has none */
	json_t *rows;                          /* of a list */
	void *message;                         /* of the route's call, kept for `done` */
	struct rpc_call *stream;
	struct attempt *attempt; /* of a password: its place among those who try */
	int err;                 /* a failure that waits */
	char why[128];
};

/* Each answers the exchange and frees the call. */
void api_reply(struct api_call *call, json_t *answer); /* takes answer over; NULL = memory is short */
void api_reply_cookie(struct api_call *call, json_t *answer, const char *cookie);
void api_nothing(struct api_call *call, const char *cookie); /* 204 */
void api_fail(struct api_call *call, int err, const char *why);

/* A further call of core; done gets the api_call as ctx. */
int api_ask(struct api_call *call, const struct rpc_method *method, const void *message, rpc_unary_done done);

/* Answers an exchange with an error of ours: JSON with an id that the log has too. */
void api_refuse(struct http_exchange *exchange, int err, const char *why);
json_t *api_error(int err, const char *why, const char *id); /* the body of such an answer */
unsigned api_status(int err);                                /* HTTP's word for it */

/* A request of the table whose head was admitted. */
void api_request(struct http_exchange *exchange, const struct route *route, struct str id, const struct h1_request *head,
                 struct str query, struct str body);

struct api_terminal {
	murmesh_DeviceRequest request; /* begins as a SessionRequest does */
	uint32_t columns, rows;
	PB_BYTES_ARRAY_T(16) terminal;
};
struct api_ticket {
	char text[TICKET_TEXT_SIZE];
};
extern const struct schema schema_ticket;

/* ---- handlers.c: those rows of the table that are more than a call ---- */
int prepare_login_link(struct api_call *call, void *message);
int prepare_login(struct api_call *call, void *message);
int prepare_device(struct api_call *call, void *message);
int prepare_retire(struct api_call *call, void *message);
int prepare_user(struct api_call *call, void *message);
void done_login(struct api_call *call, const void *reply);
void done_logout(struct api_call *call, const void *reply);
void done_user_link(struct api_call *call, const void *reply);
void done_ticket(struct api_call *call, const void *reply);
void done_terminal(struct api_call *call, const void *reply);
void done_task(struct api_call *call, const void *reply);
void done_task_cancel(struct api_call *call, const void *reply);

/* ---- openapi.c ---- */
json_t *openapi_document(void);
#endif
