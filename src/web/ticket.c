#include "web/ticket.h"

#include "base/err.h"
#include "base/mem.h"
#include "crypto/key.h"
#include "os/random.h"

struct entry {
	struct list node;
	struct ticket ticket;
	uint8_t bytes[TICKET_BYTES];
	uint64_t until_ms;
};

void tickets_init(struct tickets *tickets)
{
	list_init(&tickets->list);
	tickets->n = 0;
}

static void entry_free(struct tickets *tickets, struct entry *entry)
{
	list_remove(&entry->node);
	tickets->n--;
	mem_wipe(entry, sizeof *entry);
	mem_free(entry);
}

static void expire(struct tickets *tickets, uint64_t now_ms)
{
	LIST_EACH(at, &tickets->list) {
		struct entry *entry = LIST_ENTRY(at, struct entry, node);
		if (entry->until_ms > now_ms)
			return;
		entry_free(tickets, entry);
	}
}

void tickets_done(struct tickets *tickets)
{
	expire(tickets, UINT64_MAX);
}

static void session_make_room(struct tickets *tickets, const uint8_t session[ACCOUNT_SESSION_SIZE])
{
	struct entry *oldest = NULL;
	size_t n = 0;
	LIST_EACH(at, &tickets->list) {
		struct entry *entry = LIST_ENTRY(at, struct entry, node);
		if (memcmp(entry->ticket.session, session, ACCOUNT_SESSION_SIZE) != 0)
			continue;
		if (n++ == 0)
			oldest = entry;
	}
	if (n >= TICKETS_OF_SESSION)
		entry_free(tickets, oldest);
}

int ticket_issue(struct tickets *tickets, const struct ticket *ticket, uint64_t now_ms, char ret_text[TICKET_TEXT_SIZE])
{
	expire(tickets, now_ms);
	session_make_room(tickets, ticket->session);
	if (tickets->n >= TICKETS_MAX)
		return -E_BUSY;
	struct entry *entry = mem_alloc(sizeof *entry);
	if (!entry)
		return -E_NO_MEMORY;
	entry->ticket = *ticket;
	entry->until_ms = now_ms + TICKET_MS;
	random_bytes(entry->bytes, sizeof entry->bytes);
	base64url_encode(entry->bytes, sizeof entry->bytes, ret_text);
	list_append(&tickets->list, &entry->node);
	tickets->n++;
	return 0;
}

int ticket_spend(struct tickets *tickets, struct str text, enum ticket_kind kind, const uint8_t session[ACCOUNT_SESSION_SIZE],
                 uint64_t now_ms, struct ticket *ret)
{
	uint8_t bytes[TICKET_BYTES];
	int err = -E_TICKET;
	expire(tickets, now_ms);
	if (base64url_decode(text, bytes, sizeof bytes) != sizeof bytes)
		return -E_TICKET;
	LIST_EACH(at, &tickets->list) {
		struct entry *entry = LIST_ENTRY(at, struct entry, node);
		if (!hash_equal(entry->bytes, bytes))
			continue;
		if (entry->ticket.kind == kind && hash_equal(entry->ticket.session, session)) {
			*ret = entry->ticket;
			err = 0;
		}
		entry_free(tickets, entry);
		break;
	}
	return err;
}
