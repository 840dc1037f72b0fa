/* web/ticket.h: a ticket opens one WebSocket, once, within 30 s, for the session that asked for it.  A cross-site page cannot have one: the
 * request for it needs a header that only our own page may send. */
#ifndef WEB_TICKET_H
#define WEB_TICKET_H
#include "account/session.h"
#include "base/encode.h"
#include "base/id.h"
#include "base/list.h"

#define TICKET_BYTES       32
#define TICKET_TEXT_SIZE   BASE64URL_SIZE(TICKET_BYTES)
#define TICKET_MS          30000
#define TICKETS_MAX        1000
#define TICKETS_OF_SESSION 32 /* one more replaces the oldest */

enum ticket_kind { TICKET_LIVE, TICKET_TERMINAL };

struct ticket {
	enum ticket_kind kind;
	uint8_t session[ACCOUNT_SESSION_SIZE];
	/* of a terminal */
	struct id device, terminal; /* terminal: one to come back to; zero = a new one */
	uint16_t columns, rows;
};

struct tickets {
	struct list list; /* oldest first */
	size_t n;
};
void tickets_init(struct tickets *tickets);
void tickets_done(struct tickets *tickets);
/* -E_BUSY: too many wait; -E_NO_MEMORY. */
int ticket_issue(struct tickets *tickets, const struct ticket *ticket, uint64_t now_ms, char ret_text[TICKET_TEXT_SIZE]);
/* Spends it, also when it does not fit.  -E_TICKET: unknown, used, expired, of another kind or session. */
int ticket_spend(struct tickets *tickets, struct str text, enum ticket_kind kind, const uint8_t session[ACCOUNT_SESSION_SIZE],
                 uint64_t now_ms, struct ticket *ret);
#endif
