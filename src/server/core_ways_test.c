/* The ways to devices: certificates, tunnels, orders, live tickets; and how they end. */
#include <pb_decode.h>
#include <pb_encode.h>

#include "base/err.h"
#include "os/clock.h"
#include "server/test_core.h"

/* Lets the loop do what it has to, which may be nothing. */
static void turn(struct test_core *f)
{
	murmesh_AuditVerify verify = { 0 };
	test_ask_as(f, &f->core.local_user, &rpc_People_VerifyAudit, &verify);
}

static const uint8_t key[64] = { 0x30, 1, 2, 3 };

static struct user eve_of(enum account_role role, bool all)
{
	return (struct user){ .id = { { 5 } }, .name = "eve", .role = role, .created = 1, .all_groups = all, .groups = "shop" };
}

/* ---- certificates ---- */

static void test_certificate_of_a_session(void **state)
{
	struct test_core *f = *state;
	const struct user eve = eve_of(ACCOUNT_VIEWER, true);
	murmesh_SessionKey request = { .key.size = sizeof key };
	memcpy(request.key.bytes, key, sizeof key);
	test_core_roles(f);
	test_login_new(f, &eve, request.session);
	assert_int_equal(test_ask(f, &rpc_Console_UserCertificate, &request), 0);
	const murmesh_CertificateReply *reply = (const void *)f->reply.bytes;
	assert_int_equal(reply->leaf.bytes[0], 9);
	assert_memory_equal(reply->device_id, eve.id.bytes, 16);
	assert_int_equal(f->told.issue.kind, murmesh_CertificateKind_USER);
	assert_memory_equal(f->told.issue.id, eve.id.bytes, 16);
	assert_string_equal(f->told.issue.common_name, "eve");
	assert_memory_equal(f->told.issue.key.bytes, key, sizeof key);
	assert_true(f->told.issue.not_after <= clock_wall_s() + 12 * 3600);
	memset(request.session, 0, sizeof request.session);
	assert_int_equal(test_ask(f, &rpc_Console_UserCertificate, &request), -E_SESSION);
}

static int password_body(struct store_tx *tx, void *ctx)
{
	char encoded[PASSWORD_ENCODED_SIZE];
	const struct user *user = ctx;
	int err = password_make(STR("battery staple"), encoded);
	if (err == 0)
		err = account_add(tx, user);
	return err < 0 ? err : account_password_set(tx, &user->id, encoded);
}

static void test_certificate_of_a_password(void **state)
{
	struct test_core *f = *state;
	struct user eve = eve_of(ACCOUNT_VIEWER, true);
	murmesh_CheckedLogin login = { .has_proof = true,
		                       .proof = { .name = "Eve", .password = "battery stapl" },
		                       .address = "192.0.2.1" };
	login.key.size = sizeof key;
	memcpy(login.key.bytes, key, sizeof key);
	test_core_roles(f);
	test_directly(f, password_body, &eve);
	assert_int_equal(test_ask_as(f, &eve.id, &rpc_Core_UserLogin, &login), -E_LOGIN);
	assert_int_equal(f->told.issue.key.size, 0);
	str_copy(STR("battery staple"), login.proof.password, sizeof login.proof.password);
	assert_int_equal(test_ask_as(f, &eve.id, &rpc_Core_UserLogin, &login), 0);
	assert_memory_equal(f->told.issue.id, eve.id.bytes, 16);
	assert_memory_equal(f->told.issue.key.bytes, key, sizeof key);
}

/* ---- tunnels ---- */

static int tunnel(struct test_core *f, const uint8_t session[32], int device)
{
	murmesh_ConsoleTunnelRequest request = { .has_tunnel = true,
		                                 .tunnel = { .device = { (uint8_t)device }, .rights = murmesh_Right_CONNECT } };
	memcpy(request.session, session, 32);
	request.tunnel.targets_count = 1;
	str_copy(STR(":80"), request.tunnel.targets[0], sizeof request.tunnel.targets[0]);
	return test_ask(f, &rpc_Console_OpenTunnel, &request);
}

static void grant_read(const struct test_core *f, murmesh_Grant *ret)
{
	pb_istream_t in = pb_istream_from_buffer(f->told.sign.document.bytes, f->told.sign.document.size);
	*ret = (murmesh_Grant)murmesh_Grant_init_zero;
	assert_int_equal(f->told.sign.purpose, 1);
	assert_true(pb_decode(&in, murmesh_Grant_fields, ret));
}

static void test_tunnel(void **state)
{
	struct test_core *f = *state;
	const struct user eve = eve_of(ACCOUNT_OPERATOR, true);
	uint8_t session[32];
	murmesh_Grant grant;
	test_core_roles(f);
	test_login_new(f, &eve, session);
	assert_int_equal(tunnel(f, session, 7), -E_OFFLINE);
	test_device_link(f, 7);
	assert_int_equal(tunnel(f, session, 7), 0);
	const murmesh_Tunnel *reply = (const void *)f->reply.bytes;
	grant_read(f, &grant);
	assert_memory_equal(grant.user, eve.id.bytes, 16);
	assert_int_equal(grant.device[0], 7);
	assert_string_equal(grant.targets[0], ":80");
	assert_int_equal(grant.rights, murmesh_Right_CONNECT);
	assert_in_range(grant.until, clock_wall_s(), clock_wall_s() + 600);
	assert_int_equal(reply->grant.signature.bytes[0], 7);
	assert_memory_equal(f->told.pair.pair, reply->pair, 16);
	uint8_t hash[HASH_SIZE];
	hash_sha256(reply->ticket, sizeof reply->ticket, hash);
	assert_memory_equal(f->told.pair.client_hash, hash, sizeof hash);
	while (f->frame.which_body != murmesh_Frame_offer_tag)
		io_loop_run(f->core.loop);
	assert_memory_equal(f->frame.body.offer.pair, reply->pair, 16);
	hash_sha256(f->frame.body.offer.ticket, sizeof f->frame.body.offer.ticket, hash);
	assert_memory_equal(f->told.pair.agent_hash, hash, sizeof hash);

	f->core.relay = rpc_connection_free(f->core.relay);
	f->told.relay = NULL; /* goes by itself */
	assert_int_equal(tunnel(f, session, 7), -E_BUSY);
}

/* Those of one who is shut out, or of a device that goes. */
static void test_tunnels_end(void **state)
{
	struct test_core *f = *state;
	struct user eve = eve_of(ACCOUNT_OPERATOR, true),
	            bob = { .id = { { 6 } }, .name = "bob", .role = ACCOUNT_OPERATOR, .created = 1, .all_groups = true };
	murmesh_UserChange change = { .name = "eve", .forget_totp = true };
	murmesh_DeviceChange retire = { .selector = "web01", .count = 1, .retire = true };
	uint8_t of_eve[32], of_bob[32], pair[16];
	test_core_roles(f);
	test_login_new(f, &eve, of_eve);
	test_login_new(f, &bob, of_bob);
	test_device_add(f, 8, "db", "", "");
	test_device_link(f, 7);
	test_device_link(f, 8);
	assert_int_equal(tunnel(f, of_bob, 8), 0);
	assert_int_equal(tunnel(f, of_bob, 7), 0);
	memcpy(pair, f->told.pair.pair, sizeof pair);
	assert_int_equal(tunnel(f, of_eve, 7), 0);

	assert_int_equal(test_ask_as(f, &f->core.local_user, &rpc_People_ChangeUser, &change), 0);
	assert_int_equal(f->told.n_closed, 0);
	change = (murmesh_UserChange){ .name = "eve", .disable = true };
	assert_int_equal(test_ask_as(f, &f->core.local_user, &rpc_People_ChangeUser, &change), 0);
	while (!f->told.n_closed || !f->told.n_ended)
		turn(f);
	assert_memory_equal(f->told.closed.pair, f->told.pair.pair, 16);
	assert_memory_equal(f->told.ended.user.bytes, eve.id.bytes, 16);

	assert_int_equal(test_ask_as(f, &f->core.local_user, &rpc_Fleet_ChangeDevices, &retire), 0);
	while (f->told.n_closed < 2)
		turn(f);
	assert_memory_equal(f->told.closed.pair, pair, 16);
	change = (murmesh_UserChange){ .name = "bob", .role = "viewer" };
	assert_int_equal(test_ask_as(f, &f->core.local_user, &rpc_People_ChangeUser, &change), 0);
	while (f->told.n_closed < 3)
		turn(f);
	assert_int_equal(test_ask_as(f, &f->core.local_user, &rpc_People_ChangeUser, &change), 0);
	assert_int_equal(f->told.n_closed, 3); /* each once */
}

/* ---- orders ---- */

static void test_orders(void **state)
{
	struct test_core *f = *state;
	static murmesh_ConsoleOrderRequest request;
	static murmesh_Order order;
	const struct user eve = eve_of(ACCOUNT_OPERATOR, true);
	test_core_roles(f);
	test_login_new(f, &eve, request.session);
	request.has_order = true;
	request.order = (murmesh_OrderRequest){ .argv_count = 2, .argv = { "uname", "-a" }, .count = 3, .digest = { 4 } };
	for (int terminal = 0; terminal < 2; terminal++) {
		assert_int_equal(test_ask(f, &rpc_Console_SignOrder, &request), 0);
		assert_int_equal(f->told.sign.purpose, 2);
		order = (murmesh_Order)murmesh_Order_init_zero;
		pb_istream_t in = pb_istream_from_buffer(f->told.sign.document.bytes, f->told.sign.document.size);
		assert_true(pb_decode(&in, murmesh_Order_fields, &order));
		assert_int_equal(order.argv_count, terminal ? 0 : 2);
		assert_int_equal(order.count, terminal ? 1 : 3);
		assert_int_equal(order.terminal, terminal);
		assert_int_equal(order.digest[0], 4);
		assert_memory_equal(order.user, eve.id.bytes, 16);
		assert_in_range(order.until, clock_wall_s(), clock_wall_s() + 120);
		assert_int_equal(f->reply.document.document.size, f->told.sign.document.size);
		request.order = (murmesh_OrderRequest){ .count = 1, .digest = { 4 }, .terminal = true };
	}
}

/* ---- live ---- */

static void test_live(void **state)
{
	struct test_core *f = *state;
	const struct user everywhere = eve_of(ACCOUNT_VIEWER, true);
	struct user here = eve_of(ACCOUNT_VIEWER, false), nowhere = eve_of(ACCOUNT_VIEWER, false);
	murmesh_DeviceChange moved = { .selector = "db", .count = 1, .set_group = true };
	murmesh_LiveRequest request = { 0 };
	here.id.bytes[0] = 0x11;
	nowhere.id.bytes[0] = 0x12;
	str_copy(STR("here"), here.name, sizeof here.name);
	str_copy(STR("nowhere"), nowhere.name, sizeof nowhere.name);
	str_copy(STR("lab"), nowhere.groups, sizeof nowhere.groups);
	test_core_roles(f);
	test_device_add(f, 8, "db", "shop", "");

	test_login_new(f, &everywhere, request.session);
	assert_int_equal(test_ask(f, &rpc_Console_WatchLive, &request), 0);
	assert_true(f->told.watch.all && f->told.watch.fleet);
	assert_int_equal(f->told.watch.devices_count, 0);
	assert_memory_equal(f->told.watch.ticket, ((const murmesh_LiveTicket *)f->reply.bytes)->ticket, 16);
	assert_memory_equal(f->told.watch.user, everywhere.id.bytes, 16);
	request.device.size = 16;
	request.device.bytes[0] = 7;
	assert_int_equal(test_ask(f, &rpc_Console_WatchLive, &request), 0);
	assert_true(!f->told.watch.all && !f->told.watch.fleet);
	assert_int_equal(f->told.watch.devices_count, 1);
	assert_int_equal(f->told.watch.devices[0].bytes[0], 7);
	request.device.size = 5;
	assert_int_equal(test_ask(f, &rpc_Console_WatchLive, &request), -E_ID);

	request.device.size = 0;
	test_login_new(f, &here, request.session);
	assert_int_equal(test_ask(f, &rpc_Console_WatchLive, &request), 0);
	assert_true(!f->told.watch.all && f->told.watch.fleet);
	assert_int_equal(f->told.watch.devices_count, 1);
	assert_int_equal(f->told.watch.devices[0].bytes[0], 8);
	test_login_new(f, &nowhere, request.session);
	assert_int_equal(test_ask(f, &rpc_Console_WatchLive, &request), 0);
	assert_true(!f->told.watch.all);
	assert_int_equal(f->told.watch.devices_count, 0);

	/* who may see less now begins again */
	assert_int_equal(test_ask_as(f, &f->core.local_user, &rpc_Fleet_ChangeDevices, &moved), 0);
	while (!f->told.n_ended)
		turn(f);
	assert_int_equal(f->told.ended.user.size, 0);

	/* until viz has answered, all begin again */
	f->told.n_ended = 0;
	f->told.n_refused = 2;
	memcpy(moved.selector, "db", 3);
	assert_int_equal(test_ask_as(f, &f->core.local_user, &rpc_Fleet_ChangeDevices, &moved), 0);
	while (f->told.n_ended < 3)
		turn(f);
	assert_true(f->told.ended.everybody);
	assert_int_equal(f->told.n_refused, 0);
}

static int many_body(struct store_tx *tx, void *ctx)
{
	int err = 0;
	(void)ctx;
	for (int i = 0; i < 2001 && err == 0; i++) {
		struct device device = { .id = { { 0x77, (uint8_t)(i >> 8), (uint8_t)i } },
			                 .name = "many",
			                 .token = i + 1,
			                 .created = 1,
			                 .group = "shop" };
		err = fleet_device_add(tx, &device);
	}
	return err;
}

static void test_too_many_for_one_ticket(void **state)
{
	struct test_core *f = *state;
	const struct user eve = eve_of(ACCOUNT_VIEWER, false);
	murmesh_LiveRequest request = { 0 };
	test_core_roles(f);
	test_directly(f, many_body, NULL);
	test_login_new(f, &eve, request.session);
	assert_int_equal(test_ask(f, &rpc_Console_WatchLive, &request), -E_LIMIT);
}

/* ---- the policy ---- */

/* As ca describes it. */
static void policy_set(struct test_core *f, uint64_t version, const char *mode)
{
	murmesh_Policy policy = { .version = version, .two_signatures_above = 10 };
	str_copy(str_from(mode), policy.mode, sizeof policy.mode);
	pb_ostream_t out = pb_ostream_from_buffer(f->core.mesh.policy.document.bytes, sizeof f->core.mesh.policy.document.bytes);
	assert_true(pb_encode(&out, murmesh_Policy_fields, &policy));
	f->core.mesh.policy.document.size = (pb_size_t)out.bytes_written;
	core_policy_described(&f->core);
}

static void test_policy_reaches_devices(void **state)
{
	struct test_core *f = *state;
	test_core_roles(f);
	policy_set(f, 4, "server");
	test_device_link(f, 7); /* says that it has none */
	assert_true(f->frame.body.welcome.has_policy);
	assert_int_equal(f->frame.body.welcome.policy.document.size, f->core.mesh.policy.document.size);
	policy_set(f, 5, "server");
	while (f->frame.which_body != murmesh_Frame_policy_tag)
		io_loop_run(f->core.loop);
	assert_memory_equal(f->frame.body.policy.document.bytes, f->core.mesh.policy.document.bytes,
	                    f->core.mesh.policy.document.size);
	/* who has it is not told again */
	murmesh_Welcome welcome = murmesh_Welcome_init_zero;
	core_policy_welcome(&f->core, 5, &welcome);
	assert_false(welcome.has_policy);
	core_policy_welcome(&f->core, 6, &welcome);
	assert_false(welcome.has_policy);
	core_policy_welcome(&f->core, 4, &welcome);
	assert_true(welcome.has_policy);
}

static int64_t order_lasts(struct test_core *f, uint32_t devices)
{
	murmesh_OrderRequest request = { .argv_count = 1, .argv = { "true" }, .count = devices };
	static murmesh_Order order;
	assert_int_equal(test_ask_as(f, &f->core.local_user, &rpc_Tunnels_Order, &request), 0);
	pb_istream_t in = pb_istream_from_buffer(f->told.sign.document.bytes, f->told.sign.document.size);
	assert_true(pb_decode(&in, murmesh_Order_fields, &order));
	return order.until - clock_wall_s();
}

/* A browser has no key of its user: core sends him to the command line. */
static void test_mode_signed(void **state)
{
	struct test_core *f = *state;
	const struct user eve = eve_of(ACCOUNT_OPERATOR, true);
	murmesh_ConsoleOrderRequest order = { .has_order = true, .order = { .count = 1, .terminal = true } };
	murmesh_TaskStart task = { .selector = "web01", .count = 1, .argv_count = 1, .argv = { "true" } };
	test_core_roles(f);
	test_login_new(f, &eve, order.session);
	memcpy(task.session, order.session, sizeof task.session);
	test_device_link(f, 7);
	policy_set(f, 1, "server");
	assert_int_equal(tunnel(f, order.session, 7), 0);
	assert_int_equal(test_ask(f, &rpc_Console_SignOrder, &order), 0);
	assert_in_range(order_lasts(f, 11), 1, 120);
	policy_set(f, 2, "signed");
	assert_int_equal(tunnel(f, order.session, 7), -E_SIGNED_MODE);
	assert_int_equal(test_ask(f, &rpc_Console_SignOrder, &order), -E_SIGNED_MODE);
	assert_int_equal(test_ask(f, &rpc_Console_StartTask, &task), -E_SIGNED_MODE);
	/* time for another approver, where there has to be one */
	assert_in_range(order_lasts(f, 10), 1, 120);
	assert_in_range(order_lasts(f, 11), 3000, 3600);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, test_core_setup, test_core_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_certificate_of_a_session),
		TEST(test_certificate_of_a_password),
		TEST(test_tunnel),
		TEST(test_tunnels_end),
		TEST(test_orders),
		TEST(test_live),
		TEST(test_too_many_for_one_ticket),
		TEST(test_policy_reaches_devices),
		TEST(test_mode_signed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
