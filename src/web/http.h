/* web/http.h: HTTP/1.1 (RFC 9112) over TLS: connections, their limits and deadlines, requests in and answers out.
 *
 * A connection has one request at a time; what a client sends ahead waits.  Framing that is not strictly right ends it. */
#ifndef WEB_HTTP_H
#define WEB_HTTP_H
#include "h1/h1.h"
#include "web/own.h"

#define HTTP_CONNECTIONS_MAX 2000
#define HTTP_PER_ADDRESS     200   /* IPv4 address or IPv6 /64 */
#define HTTP_PER_LOOPBACK    1000  /* of each IPv4 loopback address: proxies, tunnels */
#define HTTP_LOGINS          4     /* attempts with a password at once; core takes 10, those of link among them */
#define HTTP_LOGINS_EACH     3     /* of one address */
#define HTTP_REQUEST_MS      10000 /* for a head, and again for a body, however slowly its bytes come */
#define HTTP_IDLE_MS         60000 /* between requests */
#define HTTP_WORK_MS         40000 /* for the answer to be known */
#define HTTP_SEND_MS         60000 /* for it to be taken; of a file for each 32 KiB */
#define HTTP_LINGER_MS       2000  /* for a client to read the answer that ends the connection */
#define HTTP_LINGER_MAX      ((size_t)4 << 20)
#define HTTP_BODY_MAX        ((size_t)64 << 10)
#define HTTP_ANSWER_MAX      ((size_t)4 << 20)

/* One request being answered.  Whoever got it calls http_answer() or http_upgrade() once, now or later, which frees it. */
struct http_exchange {
	struct web *web;
	struct http_connection *connection; /* NULL: the client has gone; the answer is dropped */
	const char *method, *path;          /* for the log: as the route table has them, without ids and queries */
	const char *allow;                  /* methods, when the one used is not among them; lives as long as the refusal */
	unsigned status;                    /* of a refusal; 0 = as its error says */
	bool head_only;                     /* HEAD */
};

/* Read as the client takes it.  size: what is there, to the end. */
struct http_file {
	int fd;
	uint64_t size;
};

struct http_answer {
	unsigned status;
	const char *type;             /* Content-Type; NULL = no body */
	struct str body;              /* copied, unless fixed */
	bool fixed;                   /* body is part of the program */
	bool close;                   /* of the connection */
	const char *cache;            /* Cache-Control; NULL = "no-store" */
	struct str encoding, etag;    /* "" = none */
	const char *cookie;           /* Set-Cookie; NULL = none */
	const char *allow;            /* NULL = none */
	const struct http_file *file; /* in place of body; NULL = none; its descriptor has to stay */
	unsigned retry_after_s;       /* 0 = none */
};
void http_answer(struct http_exchange *exchange, const struct http_answer *answer);
/* Switches protocols: writes the 101 and gives the stream away, with the place that the connection takes among the others (http_left()).
 * NULL, when the client has gone. */
struct stream *http_upgrade(struct http_exchange *exchange, struct str accept, struct http_connection **ret);
/* The upgraded connection's stream was freed. */
void http_left(struct http_connection *connection);

/* The client's address without its port. */
void http_peer(const struct http_exchange *exchange, char out[64]);
int http_fd(const struct http_exchange *exchange);

void http_accept(struct web *web, int fd);
void http_free_all(struct web *web);

/* ---- dispatch.c ---- */
/* From the head alone: may its body come, and how long may it be?  0, or the reason why not. */
int dispatch_admit(struct web *web, int fd, const struct h1_request *head, size_t *ret_body_max);
/* A whole request that was admitted.  The views live during the call. */
void dispatch_request(struct http_exchange *exchange, const struct h1_request *head, struct str body);
/* Answers with an error.  err: of dispatch_admit(), or of the framing. */
void dispatch_refuse(struct http_exchange *exchange, const struct h1_request *head, int err);
#endif
