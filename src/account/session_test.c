#include "account/session.h"

#include "account/login.h"
#include "store/testing.h"

#define NOW 1000000

static struct user eve_add(struct store_tx *tx)
{
	struct user eve = { .id = { { 1 } }, .name = "eve", .role = ACCOUNT_OPERATOR, .created = 1 };
	assert_int_equal(account_add(tx, &eve), 0);
	return eve;
}

static int disable(struct store_tx *tx, const struct user *user)
{
	struct user local, disabled = *user;
	int err = account_ensure_local(tx, 1, &local);
	disabled.disabled = NOW;
	return err < 0 ? err : account_update(tx, &disabled);
}

static int list_add(void *ctx, const struct account_session *session)
{
	struct account_session **at = ctx;
	*(*at)++ = *session;
	return 0;
}

static int sessions(struct store_tx *tx, void *ctx)
{
	(void)ctx;
	struct user eve = eve_add(tx), got;
	struct account_session list[8], *end = list;
	uint8_t one[32], two[32], none[32] = { 0 };
	int64_t expires;
	assert_int_equal(account_session_make(tx, &eve.id, STR("192.0.2.1\n"), false, NOW, one, &expires), 0);
	assert_int_equal(expires, NOW + 12 * 3600);
	assert_int_equal(account_session_make(tx, &eve.id, STR("192.0.2.2"), false, NOW + 1, two, &expires), 0);
	assert_memory_not_equal(one, two, sizeof one);
	assert_int_equal(account_session_use(tx, one, NOW, &got, NULL), 0);
	assert_string_equal(got.name, "eve");
	assert_int_equal(account_session_use(tx, none, NOW, &got, NULL), -E_SESSION);

	/* idle: an hour since the last use, of which those within a minute are not kept; looking is no use */
	assert_int_equal(account_session_get(tx, one, NOW + 3599, &got, NULL), 0);
	assert_int_equal(account_session_use(tx, one, NOW + 3600, &got, NULL), -E_SESSION);
	assert_int_equal(account_session_use(tx, one, NOW + 59, &got, NULL), 0);
	assert_int_equal(account_session_use(tx, one, NOW + 3600, &got, NULL), -E_SESSION);
	assert_int_equal(account_session_use(tx, one, NOW + 3599, &got, NULL), 0);
	assert_int_equal(account_session_use(tx, one, NOW + 3599 + 3599, &got, NULL), 0);
	assert_int_equal(account_session_list(tx, &eve.id, NOW, list_add, &end), 0);
	assert_int_equal(end - list, 2);
	assert_int_equal(list[0].seen, NOW + 3599 + 3599);
	assert_string_equal(list[0].address, "192.0.2.1\xef\xbf\xbd");
	assert_int_equal(list[1].created, NOW + 1);

	assert_int_equal(account_session_end(tx, one), 0);
	assert_int_equal(account_session_end(tx, one), -E_SESSION);
	assert_int_equal(account_session_use(tx, one, NOW + 3599 + 3600, &got, NULL), -E_SESSION);

	/* twelve hours in all, however busy */
	for (int64_t at = NOW; at < NOW + 1 + 12 * 3600; at += 1800)
		assert_int_equal(account_session_use(tx, two, at, &got, NULL), 0);
	assert_int_equal(account_session_use(tx, two, NOW + 1 + 12 * 3600, &got, NULL), -E_SESSION);
	return 0;
}

static int other_users(struct store_tx *tx, void *ctx)
{
	(void)ctx;
	struct user eve = eve_add(tx), local, got;
	uint8_t session[32], none[32] = { 0 };
	int64_t expires;
	assert_int_equal(account_ensure_local(tx, 1, &local), 0);
	assert_int_equal(account_session_make(tx, &local.id, STR(""), false, NOW, session, &expires), 0);
	assert_int_equal(account_session_give(tx, none, &eve.id), -E_SESSION);
	assert_int_equal(account_session_give(tx, session, &eve.id), 0);
	assert_int_equal(account_session_use(tx, session, NOW, &got, NULL), 0);
	assert_string_equal(got.name, "eve");
	assert_int_equal(disable(tx, &eve), 0);
	assert_int_equal(account_session_use(tx, session, NOW, &got, NULL), -E_SESSION);
	return 0;
}

static int proofs(struct store_tx *tx, void *ctx)
{
	(void)ctx;
	struct user eve = eve_add(tx), got;
	struct account_session session;
	uint8_t one[32], two[32], three[32], none[32] = { 0 }, id[16], other[16];
	int64_t expires;
	char link[ACCOUNT_LINK_SIZE];
	assert_int_equal(account_session_make(tx, &eve.id, STR("a"), false, NOW, one, &expires), 0);
	assert_int_equal(account_session_make(tx, &eve.id, STR("b"), true, NOW + 1, two, &expires), 0);
	assert_int_equal(account_session_make(tx, &eve.id, STR("c"), false, NOW + 2, three, &expires), 0);
	assert_int_equal(account_get(tx, &eve.id, &got), 0);
	assert_int_equal(got.last_login, NOW + 2);

	/* a link is a proof, for ten minutes */
	assert_int_equal(account_session_get(tx, one, NOW, &got, &session), 0);
	assert_int_equal(session.proved_until, 0);
	assert_false(session.by_link);
	assert_int_equal(account_session_use(tx, two, NOW, &got, &session), 0);
	assert_int_equal(session.proved_until, NOW + 601);
	assert_true(session.by_link);
	assert_int_equal(account_session_prove(tx, one, NOW + 5), 0);
	assert_int_equal(account_session_prove(tx, none, NOW + 5), -E_SESSION);
	assert_int_equal(account_session_get(tx, one, NOW, &got, &session), 0);
	assert_int_equal(session.proved_until, NOW + 605);
	assert_int_equal(account_session_give(tx, two, &eve.id), 0);
	assert_int_equal(account_session_get(tx, two, NOW, &got, &session), 0);
	assert_int_equal(session.proved_until, 0);
	assert_false(session.by_link);

	/* a session's name ends it, for its own user */
	account_session_id(one, id);
	account_session_id(two, other);
	assert_memory_equal(session.id, other, sizeof other);
	assert_memory_not_equal(id, other, sizeof id);
	assert_int_equal(account_session_end_named(tx, &(struct id){ { 9 } }, id), -E_NOT_FOUND);
	assert_int_equal(account_session_end_named(tx, &eve.id, id), 0);
	assert_int_equal(account_session_end_named(tx, &eve.id, id), -E_NOT_FOUND);
	assert_int_equal(account_session_get(tx, one, NOW, &got, NULL), -E_SESSION);

	/* all others, and links */
	assert_int_equal(account_link_make(tx, &eve.id, NOW, link), 0);
	assert_int_equal(account_sessions_end(tx, &eve.id, two), 0);
	assert_int_equal(account_session_get(tx, two, NOW, &got, NULL), 0);
	assert_int_equal(account_session_get(tx, three, NOW, &got, NULL), -E_SESSION);
	assert_int_equal(account_link_use(tx, str_from(link), NOW, &got), -E_LOGIN_LINK);
	assert_int_equal(account_sessions_end(tx, &eve.id, NULL), 0);
	assert_int_equal(account_session_get(tx, two, NOW, &got, NULL), -E_SESSION);
	return 0;
}

static int room(struct store_tx *tx, void *ctx)
{
	(void)ctx;
	struct user eve = eve_add(tx), got;
	uint8_t all[ACCOUNT_SESSIONS_PER_USER + 1][32];
	int64_t expires;
	for (int i = 0; i <= ACCOUNT_SESSIONS_PER_USER; i++)
		assert_int_equal(account_session_make(tx, &eve.id, STR(""), false, NOW + i, all[i], &expires), 0);
	assert_int_equal(account_session_use(tx, all[0], NOW + 200, &got, NULL), -E_SESSION);
	for (int i = 1; i <= ACCOUNT_SESSIONS_PER_USER; i++)
		assert_int_equal(account_session_use(tx, all[i], NOW + 200, &got, NULL), 0);
	return 0;
}

static int links(struct store_tx *tx, void *ctx)
{
	(void)ctx;
	struct user eve = eve_add(tx), got;
	char one[ACCOUNT_LINK_SIZE], two[ACCOUNT_LINK_SIZE];
	assert_int_equal(account_link_make(tx, &eve.id, NOW, one), 0);
	assert_int_equal(account_link_make(tx, &eve.id, NOW, two), 0);
	assert_string_not_equal(one, two);
	assert_int_equal(account_link_use(tx, str_from(two), NOW + 900, &got), -E_LOGIN_LINK);
	assert_int_equal(account_link_use(tx, str_from(two), NOW + 899, &got), 0);
	assert_string_equal(got.name, "eve");
	assert_int_equal(account_link_use(tx, str_from(two), NOW + 899, &got), -E_LOGIN_LINK);
	assert_int_equal(account_link_use(tx, STR(""), NOW, &got), -E_LOGIN_LINK);
	assert_int_equal(account_link_use(tx, STR("abc"), NOW, &got), -E_LOGIN_LINK);
	assert_int_equal(disable(tx, &eve), 0);
	assert_int_equal(account_link_use(tx, str_from(one), NOW, &got), -E_LOGIN_LINK);
	return 0;
}

static int count(struct store_tx *tx, const char *sql)
{
	struct store_query *query = store_query(tx, sql);
	assert_int_equal(store_step(query), 1);
	return (int)store_integer(query, 0);
}

static int prune(struct store_tx *tx, void *ctx)
{
	(void)ctx;
	struct user eve = eve_add(tx);
	uint8_t session[32];
	int64_t expires, wait;
	struct account_login login;
	char link[ACCOUNT_LINK_SIZE];
	static const char all[] = "SELECT (SELECT count(*) FROM sessions) * 100 + (SELECT count(*) FROM login_links) * 10"
	                          " + (SELECT count(*) FROM login_failures)";
	assert_int_equal(account_session_make(tx, &eve.id, STR(""), false, NOW, session, &expires), 0);
	assert_int_equal(account_link_make(tx, &eve.id, NOW, link), 0);
	assert_int_equal(account_login_begin(tx, STR("eve"), NOW, &login, &wait), 0);
	assert_int_equal(account_prune(tx, NOW + 899), 0);
	assert_int_equal(count(tx, all), 111);
	assert_int_equal(account_prune(tx, NOW + 900), 0);
	assert_int_equal(count(tx, all), 101);
	assert_int_equal(account_prune(tx, NOW + 3600), 0);
	assert_int_equal(count(tx, all), 1);
	assert_int_equal(account_prune(tx, NOW + 86400), 0);
	assert_int_equal(count(tx, all), 0);
	return 0;
}

static int everything(struct store_tx *tx, void *ctx)
{
	(void)ctx;
	struct user local;
	uint8_t session[32];
	char link[ACCOUNT_LINK_SIZE];
	int64_t expires;
	int err = account_ensure_local(tx, 1, &local);
	if (err == 0)
		err = account_link_make(tx, &local.id, NOW, link);
	if (err == 0)
		err = account_link_use(tx, str_from(link), NOW, &local);
	if (err == 0)
		err = account_session_make(tx, &local.id, STR(""), false, NOW, session, &expires);
	if (err == 0)
		err = account_session_use(tx, session, NOW + 100, &local, NULL);
	if (err == 0)
		err = account_session_prove(tx, session, NOW);
	if (err == 0)
		err = account_session_give(tx, session, &local.id);
	if (err == 0)
		err = account_session_end(tx, session);
	if (err == 0)
		err = account_sessions_end(tx, &local.id, session);
	return err < 0 ? err : account_prune(tx, NOW);
}

#define IN_STORE(body)                                                                                                             \
	static void test_##body(void **state)                                                                                      \
	{                                                                                                                          \
		assert_int_equal(test_run(*state, body, NULL), 0);                                                                 \
	}
IN_STORE(sessions)
IN_STORE(other_users)
IN_STORE(room)
IN_STORE(proofs)
IN_STORE(links)
IN_STORE(prune)

static void test_faults_everywhere(void **state)
{
	(void)state;
	test_faults(&store_schema_server, NULL, everything, NULL);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, test_store_setup, test_store_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_sessions),
		TEST(test_other_users),
		TEST(test_room),
		TEST(test_proofs),
		TEST(test_links),
		TEST(test_prune),
		cmocka_unit_test(test_faults_everywhere),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
