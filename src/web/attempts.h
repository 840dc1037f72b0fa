/* web/attempts.h: bounds what strangers who try passwords can make the server work, as the link role does for command lines.
 *
 * At once ATTEMPTS_ASKING attempts are with core, ATTEMPTS_PER_CLIENT of one address (os/socket.h, socket_address_source()).  A failed one is
 * answered a second later, and keeps its place among those of its address until then.  More are refused before anything is computed. */
#ifndef WEB_ATTEMPTS_H
#define WEB_ATTEMPTS_H

#define ATTEMPTS_ASKING     4 /* core takes 10 in all, those of link among them */
#define ATTEMPTS_PER_CLIENT 3
#define ATTEMPTS_WAITING    256
#define ATTEMPT_WAIT_MS     1000

struct io_loop;
struct attempts;
struct attempt;

struct attempts *attempts_new(struct io_loop *loop);       /* NULL when memory is short */
struct attempts *attempts_free(struct attempts *attempts); /* those who wait are answered now */
/* fd: the client's socket.  0; -E_BUSY: there is no place; -E_NO_MEMORY, -E_CLOSED. */
int attempt_take(struct attempts *attempts, int fd, struct attempt **ret);
struct attempt *attempt_release(struct attempt *attempt); /* accepts NULL, returns NULL */
/* Its attempt has failed: over() is called in a second, and releases it. */
void attempt_wait(struct attempt *attempt, void (*over)(void *ctx), void *ctx);
#endif
