/* What a user's command line signs: what it asked for, and nothing else that a server makes. */
#include "cli/user_key.h"

#include <errno.h>
#include <pb_encode.h>
#include <sys/stat.h>

#include "base/err.h"
#include "base/test.h"
#include "os/clock.h"

static struct session session;
static murmesh_TunnelRequest tunnel;
static murmesh_OrderRequest wish;
static murmesh_SignedDocument document;
static char home[64];

static int set_up(void **state)
{
	(void)state;
	struct key *key;
	snprintf(home, sizeof home, "/tmp/murmesh-key-XXXXXX");
	assert_non_null(mkdtemp(home));
	setenv("XDG_CONFIG_HOME", home, 1);
	assert_int_equal(user_key_make(&key), 0);
	key_free(key);
	session = (struct session){ .login.info.identity = { { { 1 } }, IDENTITY_USER, { { 2 } } } };
	tunnel = (murmesh_TunnelRequest){ .device = { 3 }, .targets_count = 2, .targets = { ":80", "intranet:443" }, .rights = 1 };
	wish = (murmesh_OrderRequest){ .argv_count = 2, .argv = { "echo", "a b" }, .digest = { 4 }, .count = 5 };
	return 0;
}

static int tear_down(void **state)
{
	char path[4096];
	(void)state;
	session.signer = key_free(session.signer);
	if (user_key_path(path) == 0)
		unlink(path);
	snprintf(path, sizeof path, "%s/murmesh/keys", home);
	rmdir(path);
	snprintf(path, sizeof path, "%s/murmesh", home);
	rmdir(path);
	assert_int_equal(rmdir(home), 0);
	return 0;
}

static void encode(const pb_msgdesc_t *type, const void *message)
{
	document = (murmesh_SignedDocument)murmesh_SignedDocument_init_zero;
	pb_ostream_t out = pb_ostream_from_buffer(document.document.bytes, sizeof document.document.bytes);
	assert_true(pb_encode(&out, type, message));
	document.document.size = (pb_size_t)out.bytes_written;
}

static murmesh_Grant good_grant(void)
{
	return (murmesh_Grant){ .mesh = { 1 },
		                .user = { 2 },
		                .device = { 3 },
		                .targets_count = 2,
		                .targets = { ":80", "intranet:443" },
		                .rights = 1,
		                .until = clock_wall_s() + 600 };
}

static int grant_result(const murmesh_Grant *grant)
{
	encode(murmesh_Grant_fields, grant);
	int err = user_sign_grant(&session, &tunnel, &document);
	assert_int_equal(document.users_count, err == 0);
	return err;
}

static void assert_signed(struct str context)
{
	uint8_t hash[HASH_SIZE];
	assert_int_equal(key_public_hash(session.signer, hash), 0);
	assert_memory_equal(hash, document.users[0].key_hash, HASH_SIZE);
	assert_int_equal(key_verify(session.signer, context, document.document.bytes, document.document.size,
	                            document.users[0].signature.bytes, document.users[0].signature.size),
	                 0);
}

static void test_grants(void **state)
{
	(void)state;
	murmesh_Grant grant = good_grant();
	assert_int_equal(grant_result(&grant), 0);
	assert_signed(CONTEXT_USER_GRANT);
#define REFUSED(change)                                                                                                            \
	do {                                                                                                                       \
		grant = good_grant();                                                                                              \
		change;                                                                                                            \
		assert_int_equal(grant_result(&grant), -E_NOT_AS_ASKED);                                                           \
	} while (0)
	REFUSED(grant.mesh[15] = 1);
	REFUSED(grant.user[15] = 1);
	REFUSED(grant.device[0] = 4);
	REFUSED(grant.rights = 3);
	REFUSED(grant.targets[1][0] = 'x');
	REFUSED(grant.targets_count = 1);
	REFUSED(grant.targets[grant.targets_count++][0] = ':');
	REFUSED(grant.until = clock_wall_s() + 86400);
	REFUSED(grant.until = INT64_MAX);
#undef REFUSED
	document.document.bytes[0] = 0xff;
	assert_int_equal(user_sign_grant(&session, &tunnel, &document), -E_NOT_AS_ASKED);
	/* what the server says others have signed does not go along */
	grant = good_grant();
	encode(murmesh_Grant_fields, &grant);
	document.users_count = 2;
	assert_int_equal(user_sign_grant(&session, &tunnel, &document), 0);
	assert_int_equal(document.users_count, 1);
}

static murmesh_Order good_order(void)
{
	return (murmesh_Order){ .mesh = { 1 },
		                .user = { 2 },
		                .argv_count = 2,
		                .argv = { "echo", "a b" },
		                .digest = { 4 },
		                .count = 5,
		                .until = clock_wall_s() + 3600 };
}

static int order_result(const murmesh_Order *order)
{
	encode(murmesh_Order_fields, order);
	int err = user_sign_order(&session, &wish, &document);
	assert_int_equal(document.users_count, err == 0);
	return err;
}

static void test_orders(void **state)
{
	(void)state;
	static murmesh_Order order;
	order = good_order();
	assert_int_equal(order_result(&order), 0);
	assert_signed(CONTEXT_USER_ORDER);
#define REFUSED(change)                                                                                                            \
	do {                                                                                                                       \
		order = good_order();                                                                                              \
		change;                                                                                                            \
		assert_int_equal(order_result(&order), -E_NOT_AS_ASKED);                                                           \
	} while (0)
	REFUSED(order.mesh[0] = 0);
	REFUSED(order.user[0] = 3);
	REFUSED(order.argv[1][0] = 'b');
	REFUSED(order.argv_count = 1);
	REFUSED(order.argv_count = 3);
	REFUSED(order.digest[31] = 1);
	REFUSED(order.count = 6);
	REFUSED(order.terminal = true);
	REFUSED(order.until = clock_wall_s() + 86400);
#undef REFUSED
}

static void test_second(void **state)
{
	(void)state;
	static murmesh_Order order;
	char path[4096];
	order = good_order();
	encode(murmesh_Order_fields, &order);
	assert_int_equal(user_sign_seen(&document), 0);
	assert_int_equal(user_sign_seen(&document), -E_EXISTS);
	document.users[0].key_hash[0] ^= 1;
	assert_int_equal(user_sign_seen(&document), 0);
	document.users[1].key_hash[0] ^= 1;
	assert_int_equal(user_sign_seen(&document), -E_LIMIT);
	assert_int_equal(user_key_path(path), 0);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(user_sign_seen(&document), -E_USER_KEY);
}

static void test_file(void **state)
{
	(void)state;
	murmesh_Grant grant = good_grant();
	struct key *key;
	struct stat status;
	char path[4096], folder[4096];
	assert_int_equal(user_key_path(path), 0);
	assert_int_equal(stat(path, &status), 0);
	assert_int_equal(status.st_mode & 0777, 0600);
	assert_int_equal(user_key_make(&key), -E_EXISTS);
	assert_int_equal(chmod(path, 0640), 0);
	assert_int_equal(user_key_load(&key), -E_NOT_PRIVATE);
	assert_int_equal(grant_result(&grant), -E_NOT_PRIVATE); /* not unsigned instead */
	assert_int_equal(chmod(path, 0600), 0);
	snprintf(folder, sizeof folder, "%s/murmesh/keys", home);
	assert_int_equal(chmod(folder, 0755), 0);
	assert_int_equal(user_key_load(&key), -E_NOT_PRIVATE);
	assert_int_equal(chmod(folder, 0700), 0);
	assert_int_equal(truncate(path, 40), 0);
	assert_int_equal(user_key_load(&key), -E_ENCODING);
	/* without one all goes unsigned */
	assert_int_equal(unlink(path), 0);
	assert_int_equal(user_key_load(&key), -ENOENT);
	encode(murmesh_Grant_fields, &grant);
	assert_int_equal(user_sign_grant(&session, &tunnel, &document), 0);
	assert_int_equal(document.users_count, 0);
}

static void test_text(void **state)
{
	(void)state;
	struct key *key;
	char text[USER_KEY_TEXT_SIZE], line[USER_KEY_TEXT_SIZE + 4];
	uint8_t public[KEY_PUBLIC_MAX], again[KEY_PUBLIC_MAX];
	size_t len, again_len;
	assert_int_equal(user_key_load(&key), 0);
	assert_int_equal(key_public_write(key, public, &len), 0);
	assert_int_equal(user_key_format(key, text), 0);
	snprintf(line, sizeof line, " %s\r\n", text);
	assert_int_equal(user_key_parse(str_from(line), again, &again_len), 0);
	assert_int_equal(again_len, len);
	assert_memory_equal(again, public, len);
	for (size_t n = 0; n < strlen(text); n++)
		assert_int_equal(user_key_parse((struct str){ text, n }, again, &again_len), -E_USER_KEY_TEXT);
	text[40] ^= 1;
	snprintf(line, sizeof line, "%s x", text);
	assert_int_equal(user_key_parse(str_from(line), again, &again_len), -E_USER_KEY_TEXT);
	key_free(key);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_grants, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_orders, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_second, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_file, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_text, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
