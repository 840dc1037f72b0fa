/* orb/giop.h: the server's side of one GIOP connection (OMG formal/2012-11-14, section 9.4), versions 1.0 and 1.2: bytes in, calls of
 * operations and bytes out.  No sockets, no clock.
 *
 * Objects and their operations are a table.  Each request gets exactly one answer, now or later, by giop_reply() ... giop_reply_end(), or by
 * giop_raise(); what is wrong with its arguments is an exception on a connection that goes on.  What is no GIOP, or breaks its limits, is
 * answered by MessageError, and the connection is over.
 * Answered here: LocateRequest, `_is_a`, `_non_existent`; a request in the version and byte order that it came in.
 * Memory: one message, whole or in fragments, of at most `message_max`, taken as its bytes arrive; GIOP_OUTSTANDING requests; the output. */
#ifndef ORB_GIOP_H
#define ORB_GIOP_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "orb/cdr.h"

#define GIOP_HEADER        12
#define GIOP_MESSAGE_MAX   ((size_t)1 << 20) /* bytes, with its header and all its fragments */
#define GIOP_NAME_MAX      64                /* of an object's key, and of an operation */
#define GIOP_CONTEXTS_MAX  8
#define GIOP_FRAGMENTS_MAX 16 /* of one message, the first included */
#define GIOP_OUTSTANDING   64
#define GIOP_CALLS_MAX     16                 /* back to the client, at a time */
#define GIOP_CROWDED       ((size_t)64 << 10) /* bytes of output that wait: read no more until they are gone */

struct giop;
struct giop_request;

struct giop_operation {
	const char *name; /* "_get_NAME" of an attribute */
	/* Answers, now or later; the arguments are there only until it returns. */
	void (*run)(struct giop_request *request, struct cdr_reader *arguments);
};
struct giop_object {
	const char *key;
	const char *type; /* repository id */
	unsigned access;  /* 0 = for anyone, else one of these bits is needed: the owner's own meaning */
	const struct giop_operation *operations;
	size_t n_operations;
};

struct giop_settings {
	const struct giop_object *objects; /* borrowed for ever */
	size_t n_objects;
	size_t message_max; /* 0 = GIOP_MESSAGE_MAX */
	unsigned access;    /* what the peer may */
	/* There is output, or giop_error(), that did not come from giop_feed() or giop_close(); may free the giop. */
	void (*wake)(void *ctx);
};
struct giop *giop_new(const struct giop_settings *settings, void *ctx); /* NULL when memory is short */
struct giop *
giop_free(struct giop *giop); /* accepts NULL; not inside an operation; requests that are not answered yet still have to be */

/* Takes all of the bytes.  0, or why the connection has to be closed when its output is sent: -E_CLOSED (the peer said so), -E_PROTOCOL,
 * -E_TOO_LONG, -E_FULL (the output), -E_NO_MEMORY.  Errors stay. */
int giop_feed(struct giop *giop, const void *bytes, size_t len);
int giop_error(const struct giop *giop);
struct buf *giop_output(struct giop *giop); /* the owner consumes it */
bool giop_crowded(const struct giop *giop); /* feed no more: output waits, or as many requests as may be */
bool giop_partial(const struct giop *giop); /* a message has begun to come */
size_t giop_outstanding(const struct giop *giop);
uint64_t giop_messages(const struct giop *giop); /* that have come as a whole; a fragment is one */
/* An orderly end (CloseConnection): requests that wait are not answered any more. */
void giop_close(struct giop *giop);

/* Bidirectional GIOP (9.8), once the client has offered it: calls an object of its own over this connection.  arguments: CDR, little-endian, as
 * written from the start of a buffer.  done comes once: status 0 with the result (which is there only inside), 1 or 2: an exception, less than 0: the
 * connection has ended (also inside giop_call(), when `wake` frees the giop).  -E_UNSUPPORTED: not offered, -E_LIMIT, giop_error(). */
typedef void (*giop_call_done)(void *ctx, int status, struct cdr_reader *result);
int giop_call(struct giop *giop, struct str key, const char *operation, struct str arguments, giop_call_done done, void *ctx);

/* ---- operations ---- */

void *giop_request_context(const struct giop_request *request); /* giop_new()'s; NULL when the connection is gone */
bool giop_request_wanted(const struct giop_request *request);   /* somebody waits for the answer: as far as is known here */
/* Begins the answer: write the result and what goes out to it, and end it, before anything else.  An exception of the interface: its
 * repository id is written, its members follow. */
struct cdr_writer *giop_reply(struct giop_request *request);
struct cdr_writer *giop_reply_exception(struct giop_request *request, const char *type);
void giop_reply_end(struct giop_request *request); /* frees it */

enum giop_exception {
	GIOP_BAD_OPERATION,
	GIOP_BAD_PARAM,
	GIOP_IMP_LIMIT,
	GIOP_INTERNAL,
	GIOP_MARSHAL,
	GIOP_NO_PERMISSION,
	GIOP_OBJECT_NOT_EXIST,
	GIOP_TRANSIENT, /* try again */
};
void giop_raise(struct giop_request *request, enum giop_exception exception); /* frees it */
#endif
