#include "viz/ticket.h"

#include "base/err.h"
#include "base/test.h"

static const struct id one = { { 1 } }, two = { { 2 } }, three = { { 3 } };

static int announce(struct tickets *tickets, uint8_t name, uint64_t now_ms)
{
	const uint8_t ticket[TICKET_SIZE] = { name, [15] = name };
	const struct id devices[] = { three, one, three };
	struct scope scope;
	assert_int_equal(scope_init(&scope, false, devices, 3), 0);
	return tickets_add(tickets, ticket, &scope, now_ms);
}

static int redeem(struct tickets *tickets, uint8_t name, uint64_t now_ms, struct scope *scope)
{
	const uint8_t ticket[TICKET_SIZE] = { name, [15] = name };
	return tickets_redeem(tickets, ticket, now_ms, scope);
}

static void scopes(void **state)
{
	struct scope all, none, some;
	const struct id devices[] = { three, one, three };
	(void)state;
	scope_init(&all, true, devices, 3);
	scope_init(&none, false, NULL, 0);
	scope_init(&some, false, devices, 3);
	assert_true(scope_has(&all, &two));
	assert_false(scope_has(&none, &two));
	assert_int_equal(some.n_devices, 2);
	assert_true(scope_has(&some, &one) && scope_has(&some, &three));
	assert_false(scope_has(&some, &two));
	scope_done(&all);
	scope_done(&none);
	scope_done(&some);
}

static void once(void **state)
{
	struct tickets *tickets = tickets_new();
	struct scope scope;
	(void)state;
	assert_int_equal(announce(tickets, 1, 1000), 0);
	assert_int_equal(announce(tickets, 2, 1000), 0);
	assert_int_equal(redeem(tickets, 3, 1000, &scope), -E_TICKET);
	assert_int_equal(redeem(tickets, 1, 1000, &scope), 0);
	assert_true(scope_has(&scope, &one) && !scope_has(&scope, &two));
	scope_done(&scope);
	assert_int_equal(redeem(tickets, 1, 1000, &scope), -E_TICKET);
	assert_int_equal(redeem(tickets, 2, 1000, &scope), 0);
	scope_done(&scope);
	tickets_free(tickets);
}

/* A place that was never used must not open to a ticket of zeros. */
static void zeros(void **state)
{
	struct tickets *tickets = tickets_new();
	struct scope scope;
	(void)state;
	assert_int_equal(redeem(tickets, 0, 1000, &scope), -E_TICKET);
	assert_int_equal(announce(tickets, 0, 1000), 0);
	assert_int_equal(redeem(tickets, 0, 1000, &scope), 0);
	scope_done(&scope);
	assert_int_equal(redeem(tickets, 0, 1000, &scope), -E_TICKET);
	tickets_free(tickets);
}

static void in_time(void **state)
{
	struct tickets *tickets = tickets_new();
	struct scope scope;
	(void)state;
	announce(tickets, 1, 1000);
	announce(tickets, 2, 1000);
	assert_int_equal(redeem(tickets, 1, 1000 + TICKET_LIFE_MS - 1, &scope), 0);
	scope_done(&scope);
	assert_int_equal(redeem(tickets, 2, 1000 + TICKET_LIFE_MS, &scope), -E_TICKET);
	assert_int_equal(announce(tickets, 2, 1000 + TICKET_LIFE_MS), 0); /* its place is free, and so is its name */
	tickets_free(tickets);
}

static void announce_of(struct tickets *tickets, uint8_t user, bool all)
{
	const uint8_t ticket[TICKET_SIZE] = { user, [15] = user };
	struct scope scope;
	assert_int_equal(scope_init(&scope, all, &one, 1), 0);
	scope.user = (struct id){ { user } };
	assert_int_equal(tickets_add(tickets, ticket, &scope, 1000), 0);
}

/* What somebody may watch has changed: what he was given before is good for nothing. */
static void ended(void **state)
{
	struct tickets *tickets = tickets_new();
	const murmesh_WatchesEnd of_one = { .user = { 16, { 1 } } }, of_some = { 0 }, of_everybody = { .everybody = true };
	struct scope scope;
	(void)state;
	announce_of(tickets, 1, true);
	announce_of(tickets, 2, false);
	announce_of(tickets, 3, true);
	announce_of(tickets, 4, true);
	tickets_end(tickets, &of_one);
	assert_int_equal(redeem(tickets, 1, 1000, &scope), -E_TICKET);
	tickets_end(tickets, &of_some);
	assert_int_equal(redeem(tickets, 2, 1000, &scope), -E_TICKET);
	assert_int_equal(redeem(tickets, 3, 1000, &scope), 0);
	scope_done(&scope);
	tickets_end(tickets, &of_everybody);
	assert_int_equal(redeem(tickets, 4, 1000, &scope), -E_TICKET);
	tickets_free(tickets);
}

static void twice_announced(void **state)
{
	struct tickets *tickets = tickets_new();
	(void)state;
	assert_int_equal(announce(tickets, 1, 1000), 0);
	assert_int_equal(announce(tickets, 1, 1000), -E_EXISTS);
	tickets_free(tickets);
}

static void bounded(void **state)
{
	struct tickets *tickets = tickets_new();
	struct scope scope;
	uint8_t ticket[TICKET_SIZE] = { 0 };
	(void)state;
	for (unsigned i = 0; i < TICKETS_MAX; i++) {
		memcpy(ticket, &i, sizeof i);
		scope_init(&scope, false, &one, 1);
		assert_int_equal(tickets_add(tickets, ticket, &scope, 1000), 0);
	}
	assert_int_equal(announce(tickets, 250, 1000), -E_FULL);
	assert_int_equal(announce(tickets, 250, 1000 + TICKET_LIFE_MS), 0);
	tickets_free(tickets);
	assert_null(tickets_free(NULL));
}

static int short_memory(void *ctx)
{
	struct tickets *tickets = tickets_new();
	struct scope scope;
	int err = tickets ? scope_init(&scope, false, &one, 1) : -E_NO_MEMORY;
	(void)ctx;
	if (err == 0)
		scope_done(&scope);
	tickets_free(tickets);
	return err;
}

static void memory_is_short(void **state)
{
	(void)state;
	assert_int_equal(test_each_fault(short_memory, NULL), 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(scopes),          cmocka_unit_test(once),
		cmocka_unit_test(zeros),           cmocka_unit_test(in_time),
		cmocka_unit_test(twice_announced), cmocka_unit_test(bounded),
		cmocka_unit_test(memory_is_short), cmocka_unit_test(ended),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
