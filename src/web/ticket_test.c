#include "web/ticket.h"

#include "base/err.h"
#include "base/test.h"

static struct ticket ticket_of(uint8_t session, enum ticket_kind kind)
{
	return (struct ticket){ .kind = kind, .session = { session }, .columns = session };
}

static int spend(struct tickets *tickets, const char *text, enum ticket_kind kind, uint8_t session, uint64_t now)
{
	const uint8_t bytes[ACCOUNT_SESSION_SIZE] = { session };
	struct ticket ticket;
	int err = ticket_spend(tickets, str_from(text), kind, bytes, now, &ticket);
	if (err == 0)
		assert_int_equal(ticket.columns, session);
	return err;
}

static void test_once(void **state)
{
	struct tickets tickets;
	char one[TICKET_TEXT_SIZE], two[TICKET_TEXT_SIZE];
	const struct ticket ticket = ticket_of(1, TICKET_LIVE);
	(void)state;
	tickets_init(&tickets);
	assert_int_equal(ticket_issue(&tickets, &ticket, 100, one), 0);
	assert_int_equal(ticket_issue(&tickets, &ticket, 100, two), 0);
	assert_string_not_equal(one, two);
	assert_int_equal(spend(&tickets, one, TICKET_LIVE, 1, 200), 0);
	assert_int_equal(spend(&tickets, one, TICKET_LIVE, 1, 200), -E_TICKET);
	assert_int_equal(spend(&tickets, two, TICKET_LIVE, 1, 100 + TICKET_MS), -E_TICKET);
	assert_int_equal(tickets.n, 0);
	tickets_done(&tickets);
}

/* Shown by somebody else, or for something else, it is gone: who has seen it may try no more. */
static void test_bound(void **state)
{
	struct tickets tickets;
	char text[TICKET_TEXT_SIZE];
	const struct ticket ticket = ticket_of(1, TICKET_LIVE);
	(void)state;
	tickets_init(&tickets);
	assert_int_equal(ticket_issue(&tickets, &ticket, 0, text), 0);
	assert_int_equal(spend(&tickets, text, TICKET_LIVE, 2, 0), -E_TICKET);
	assert_int_equal(spend(&tickets, text, TICKET_LIVE, 1, 0), -E_TICKET);
	assert_int_equal(ticket_issue(&tickets, &ticket, 0, text), 0);
	assert_int_equal(spend(&tickets, text, TICKET_TERMINAL, 1, 0), -E_TICKET);
	assert_int_equal(spend(&tickets, text, TICKET_LIVE, 1, 0), -E_TICKET);
	assert_int_equal(spend(&tickets, "", TICKET_LIVE, 1, 0), -E_TICKET);
	assert_int_equal(spend(&tickets, "x", TICKET_LIVE, 1, 0), -E_TICKET);
	tickets_done(&tickets);
}

static void test_limits(void **state)
{
	struct tickets tickets;
	char first[TICKET_TEXT_SIZE], text[TICKET_TEXT_SIZE];
	struct ticket ticket = ticket_of(1, TICKET_LIVE);
	(void)state;
	tickets_init(&tickets);
	assert_int_equal(ticket_issue(&tickets, &ticket, 0, first), 0);
	for (int i = 0; i < TICKETS_OF_SESSION; i++)
		assert_int_equal(ticket_issue(&tickets, &ticket, 0, text), 0);
	assert_int_equal(tickets.n, TICKETS_OF_SESSION);
	assert_int_equal(spend(&tickets, first, TICKET_LIVE, 1, 0), -E_TICKET);
	assert_int_equal(spend(&tickets, text, TICKET_LIVE, 1, 0), 0);
	int err = 0;
	for (unsigned i = 0; i < TICKETS_MAX && err == 0; i++) {
		ticket.session[1] = (uint8_t)(i >> 8);
		ticket.session[2] = (uint8_t)i;
		err = ticket_issue(&tickets, &ticket, 1, text);
	}
	assert_int_equal(err, -E_BUSY);
	assert_int_equal(tickets.n, TICKETS_MAX);
	assert_int_equal(ticket_issue(&tickets, &ticket, 1 + TICKET_MS, text), 0); /* all others have expired */
	assert_int_equal(tickets.n, 1);
	tickets_done(&tickets);
}

static int issue_once(void *ctx)
{
	const struct ticket ticket = ticket_of(1, TICKET_LIVE);
	char text[TICKET_TEXT_SIZE];
	return ticket_issue(ctx, &ticket, 0, text);
}

static void test_memory(void **state)
{
	struct tickets tickets;
	(void)state;
	tickets_init(&tickets);
	assert_true(test_each_fault(issue_once, &tickets) > 0);
	tickets_done(&tickets);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_once), cmocka_unit_test(test_bound),
		                            cmocka_unit_test(test_limits), cmocka_unit_test(test_memory) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
