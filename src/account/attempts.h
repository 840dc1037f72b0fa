/* account/attempts.h: bounds what strangers who try passwords can make the server work.
 *
 * At once `asking` attempts of all are under way (each is an argon2id of 19 MiB and tens of milliseconds), and `each` of one address
 * (os/socket.h, socket_address_source()).  The answer to a failed one waits ATTEMPT_WAIT_MS, and until then it counts for its address, which
 * so has at most `each` failures a second.  More are refused before anything is computed. */
#ifndef ACCOUNT_ATTEMPTS_H
#define ACCOUNT_ATTEMPTS_H
#include <stddef.h>

#define ATTEMPTS_WAITING 256 /* more are refused, whoever they are of */
#define ATTEMPT_WAIT_MS  1000

struct io_loop;
struct socket_address;
struct attempts;
struct attempt;

struct attempts_limits {
	size_t asking, each;
};
struct attempts *attempts_new(struct io_loop *loop, struct attempts_limits limits); /* NULL when memory is short */
/* Accepts NULL, returns NULL.  Those who wait are answered now; none may be under way. */
struct attempts *attempts_free(struct attempts *attempts);
/* fd: the client's socket.  0; -E_BUSY: there is no place; -E_NO_MEMORY, -E_CLOSED. */
int attempt_take(struct attempts *attempts, int fd, struct attempt **ret);
int attempt_take_of(struct attempts *attempts, const struct socket_address *client, struct attempt **ret);
struct attempt *attempt_release(struct attempt *attempt); /* accepts NULL, returns NULL */
/* It has failed: over() is called when it has waited, and releases it. */
void attempt_wait(struct attempt *attempt, void (*over)(void *ctx), void *ctx);
#endif
