/* viz/ticket.h: what core announced and a browser may redeem: 16 random bytes, once, within 30 s.  Times: the caller's milliseconds. */
#ifndef VIZ_TICKET_H
#define VIZ_TICKET_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/id.h"
#include "services.h"

#define TICKET_SIZE    16
#define TICKET_LIFE_MS 30000
#define TICKETS_MAX    1024 /* not yet redeemed */

/* Whose events somebody may watch. */
struct scope {
	struct id user; /* who he is */
	bool all;
	bool fleet; /* shown as devices among each other; always when it is not one */
	size_t n_devices;
	struct id *devices; /* sorted, each once; owned */
};
int scope_init(struct scope *scope, bool all, const struct id *devices, size_t n); /* copies; -E_NO_MEMORY */
void scope_done(struct scope *scope);
bool scope_has(const struct scope *scope, const struct id *device);
bool scope_ends(const struct scope *scope, const murmesh_WatchesEnd *end);

struct tickets;
struct tickets *tickets_new(void);
struct tickets *tickets_free(struct tickets *tickets);
/* Takes the scope over, also when it fails: -E_EXISTS, -E_FULL. */
int tickets_add(struct tickets *tickets, const uint8_t ticket[TICKET_SIZE], struct scope *scope, uint64_t now_ms);
void tickets_end(struct tickets *tickets, const murmesh_WatchesEnd *end);
/* Gives the scope to the caller; -E_TICKET: never announced, used or too late. */
int tickets_redeem(struct tickets *tickets, const uint8_t ticket[TICKET_SIZE], uint64_t now_ms, struct scope *ret);
#endif
