/* web/guard.h: sockets and legs end with their session.  A socket is no request that core could refuse: one stream of core for each session that has
 * sockets tells when it has ended, by a logout, an administrator or its time. */
#ifndef WEB_GUARD_H
#define WEB_GUARD_H
#include "web/own.h"

struct guard;
/* NULL when memory is short.  The same for all sockets of a session. */
struct guard *guard_take(struct web *web, const uint8_t session[ACCOUNT_SESSION_SIZE]);
struct guard *guard_release(struct guard *guard); /* accepts NULL, returns NULL */
size_t guard_count(const struct guard *guard);    /* how often it is taken */
/* Somebody is at work there: core hears of it now and then, so that the session does not end for want of requests. */
void guard_used(struct guard *guard);
void guard_core_changed(struct web *web);
#endif
