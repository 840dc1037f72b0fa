#include "viz/ticket.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"

struct ticket {
	uint8_t bytes[TICKET_SIZE];
	uint64_t until_ms; /* 0 = this place is free */
	struct scope scope;
};

struct tickets {
	struct ticket rows[TICKETS_MAX];
};

static int compare(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct id));
}

int scope_init(struct scope *scope, bool all, const struct id *devices, size_t n)
{
	*scope = (struct scope){ .all = all, .fleet = true };
	if (all || n == 0)
		return 0;
	scope->devices = mem_alloc_array(n, sizeof *devices);
	if (!scope->devices)
		return -E_NO_MEMORY;
	memcpy(scope->devices, devices, n * sizeof *devices);
	qsort(scope->devices, n, sizeof *devices, compare);
	for (size_t i = 0; i < n; i++)
		if (i == 0 || compare(&scope->devices[i], &scope->devices[scope->n_devices - 1]) != 0)
			scope->devices[scope->n_devices++] = scope->devices[i];
	scope->fleet = scope->n_devices > 1;
	return 0;
}

void scope_done(struct scope *scope)
{
	mem_free(scope->devices);
	*scope = (struct scope){ 0 };
}

bool scope_has(const struct scope *scope, const struct id *device)
{
	return scope->all ||
	       (scope->n_devices && bsearch(device, scope->devices, scope->n_devices, sizeof *device, compare) != NULL);
}

bool scope_ends(const struct scope *scope, const murmesh_WatchesEnd *end)
{
	if (end->everybody)
		return true;
	return end->user.size ? memcmp(end->user.bytes, scope->user.bytes, sizeof scope->user.bytes) == 0 : !scope->all;
}

struct tickets *tickets_new(void)
{
	return mem_alloc(sizeof(struct tickets));
}

static void ticket_clear(struct ticket *ticket)
{
	scope_done(&ticket->scope);
	mem_wipe(ticket, sizeof *ticket);
}

struct tickets *tickets_free(struct tickets *tickets)
{
	for (size_t i = 0; tickets && i < TICKETS_MAX; i++)
		ticket_clear(&tickets->rows[i]);
	return mem_free(tickets);
}

/* Takes the same time whatever the bytes are; forgets on its way what is too old. */
static struct ticket *find(struct tickets *tickets, const uint8_t bytes[TICKET_SIZE], uint64_t now_ms)
{
	struct ticket *found = NULL;
	for (size_t i = 0; i < TICKETS_MAX; i++) {
		struct ticket *row = &tickets->rows[i];
		uint8_t differs = 0;
		if (row->until_ms && row->until_ms <= now_ms)
			ticket_clear(row);
		for (size_t k = 0; k < TICKET_SIZE; k++)
			differs |= row->bytes[k] ^ bytes[k];
		if (row->until_ms && !differs)
			found = row;
	}
	return found;
}

int tickets_add(struct tickets *tickets, const uint8_t bytes[TICKET_SIZE], struct scope *scope, uint64_t now_ms)
{
	struct ticket *row = tickets->rows;
	int err = find(tickets, bytes, now_ms) ? -E_EXISTS : 0;
	while (row < tickets->rows + TICKETS_MAX && row->until_ms)
		row++;
	if (err == 0 && row == tickets->rows + TICKETS_MAX)
		err = -E_FULL;
	if (err < 0) {
		scope_done(scope);
		return err;
	}
	memcpy(row->bytes, bytes, TICKET_SIZE);
	row->until_ms = now_ms + TICKET_LIFE_MS;
	row->scope = *scope;
	*scope = (struct scope){ 0 };
	return 0;
}

void tickets_end(struct tickets *tickets, const murmesh_WatchesEnd *end)
{
	for (size_t i = 0; i < TICKETS_MAX; i++)
		if (tickets->rows[i].until_ms && scope_ends(&tickets->rows[i].scope, end))
			ticket_clear(&tickets->rows[i]);
}

int tickets_redeem(struct tickets *tickets, const uint8_t bytes[TICKET_SIZE], uint64_t now_ms, struct scope *ret)
{
	struct ticket *row = find(tickets, bytes, now_ms);
	if (!row)
		return -E_TICKET;
	*ret = row->scope;
	row->scope = (struct scope){ 0 };
	ticket_clear(row);
	return 0;
}
