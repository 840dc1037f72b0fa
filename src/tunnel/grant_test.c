#include "tunnel/grant.h"

#include "base/err.h"
#include "base/test.h"
#include "tunnel/test_grant.h"

#define ID_SIZE sizeof(((struct id *)0)->bytes)

static struct test_trust *ours, *other; /* other: a mesh of its own */

static int set_up(void **state)
{
	(void)state;
	ours = test_trust_new(1);
	other = test_trust_new(2);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	ours = test_trust_free(ours);
	other = test_trust_free(other);
	return 0;
}

/* ---- the policy ---- */

static int policy_result(const struct key *key, struct str context, const murmesh_Policy *policy)
{
	static murmesh_SignedDocument document;
	struct trust *trust = NULL;
	test_sign(key, context, murmesh_Policy_fields, policy, &document);
	int err = trust_new(ours->mesh.root, &document, &ours->device.identity, &trust);
	assert_int_equal(trust != NULL, err == 0);
	trust_free(trust);
	return err;
}

static void test_policies(void **state)
{
	(void)state;
	const struct key *root = ours->mesh.root_key;
	murmesh_Policy policy = test_policy(ours);
	assert_int_equal(policy_result(root, CONTEXT_POLICY, &policy), 0);
	assert_int_equal(policy_result(root, CONTEXT_GRANT, &policy), -E_SIGNATURE);
	assert_int_equal(policy_result(ours->grant_key, CONTEXT_POLICY, &policy), -E_SIGNATURE);
	assert_int_equal(policy_result(ours->mesh.intermediate_key, CONTEXT_POLICY, &policy), -E_SIGNATURE);
	policy.mesh[15] ^= 1;
	assert_int_equal(policy_result(root, CONTEXT_POLICY, &policy), -E_CERTIFICATE_FOREIGN);
	policy = test_policy(ours);
	str_copy(STR("signed"), policy.mode, sizeof policy.mode); /* needs more than this version checks */
	assert_int_equal(policy_result(root, CONTEXT_POLICY, &policy), -E_UNSUPPORTED);
	policy = test_policy(ours);
	policy.grant_key.size--;
	assert_int_equal(policy_result(root, CONTEXT_POLICY, &policy), -E_ENCODING);
	assert_null(trust_free(NULL));
}

/* Signed all right, but no message. */
static void test_not_a_message(void **state)
{
	(void)state;
	static murmesh_SignedDocument document;
	static murmesh_Grant grant;
	static murmesh_Order order;
	struct trust *trust = NULL;
	size_t len;
	memset(document.document.bytes, 0xff, document.document.size = 20);
	key_sign(ours->mesh.root_key, CONTEXT_POLICY, document.document.bytes, 20, document.signature.bytes, &len);
	document.signature.size = (pb_size_t)len;
	assert_int_equal(trust_new(ours->mesh.root, &document, &ours->device.identity, &trust), -E_MESSAGE);
	key_sign(ours->grant_key, CONTEXT_GRANT, document.document.bytes, 20, document.signature.bytes, &len);
	document.signature.size = (pb_size_t)len;
	assert_int_equal(grant_check(ours->trust, &document, &ours->user.identity, TEST_NOW, &grant), -E_MESSAGE);
	key_sign(ours->grant_key, CONTEXT_ORDER, document.document.bytes, 20, document.signature.bytes, &len);
	document.signature.size = (pb_size_t)len;
	assert_int_equal(order_check(ours->trust, &document, ours->device.identity.id.bytes, ID_SIZE, TEST_NOW, &order),
	                 -E_MESSAGE);
}

static int make_trust(void *ctx)
{
	struct trust *trust;
	(void)ctx;
	int err = trust_new(ours->mesh.root, &ours->policy, &ours->device.identity, &trust);
	if (err == 0)
		trust_free(trust);
	return err;
}

static void test_faults(void **state)
{
	(void)state;
	assert_true(test_each_fault(make_trust, NULL) >= 3);
}

/* ---- grants ---- */

static int document_result(const murmesh_SignedDocument *document, const struct identity *user, int64_t now)
{
	static murmesh_Grant read;
	return grant_check(ours->trust, document, user, now, &read);
}

static int grant_result(const murmesh_Grant *grant)
{
	static murmesh_SignedDocument document;
	test_sign_grant(ours, grant, &document);
	return document_result(&document, &ours->user.identity, TEST_NOW);
}

static void test_grants(void **state)
{
	(void)state;
	murmesh_Grant grant = test_grant(ours, ":80");
	assert_int_equal(grant_result(&grant), 0);
	/* each of the four things that it names */
	grant.mesh[0] ^= 1;
	assert_int_equal(grant_result(&grant), -E_GRANT);
	grant = test_grant(ours, ":80");
	grant.device[15] ^= 1;
	assert_int_equal(grant_result(&grant), -E_GRANT);
	grant = test_grant(ours, ":80");
	grant.user[15] ^= 1;
	assert_int_equal(grant_result(&grant), -E_GRANT);
	grant = test_grant(ours, ":80");
	grant.until = TEST_NOW - 60; /* clocks may differ by a minute */
	assert_int_equal(grant_result(&grant), 0);
	grant.until = TEST_NOW - 61;
	assert_int_equal(grant_result(&grant), -E_GRANT_EXPIRED);
	grant.until = INT64_MIN;
	assert_int_equal(grant_result(&grant), -E_GRANT_EXPIRED);
	grant.until = INT64_MAX;
	assert_int_equal(grant_result(&grant), 0);
	/* an empty one names nobody */
	grant = (murmesh_Grant)murmesh_Grant_init_zero;
	grant.until = TEST_NOW + 300;
	assert_int_equal(grant_result(&grant), -E_GRANT);
}

static void test_grant_holder(void **state)
{
	(void)state;
	static murmesh_SignedDocument document;
	murmesh_Grant grant = test_grant(ours, ":80");
	test_sign_grant(ours, &grant, &document);
	struct identity holder = ours->user.identity;
	for (enum identity_kind kind = IDENTITY_NODE; kind <= IDENTITY_COMPONENT; kind++) {
		holder.kind = kind;
		assert_int_equal(document_result(&document, &holder, TEST_NOW), kind == IDENTITY_USER ? 0 : -E_GRANT);
	}
	holder = ours->user.identity;
	holder.id.bytes[3] ^= 0x40;
	assert_int_equal(document_result(&document, &holder, TEST_NOW), -E_GRANT);
}

static void test_grant_signature(void **state)
{
	(void)state;
	static murmesh_SignedDocument document;
	const struct identity *user = &ours->user.identity;
	murmesh_Grant grant = test_grant(ours, ":80");
	const struct {
		const struct key *key;
		struct str context;
		int result;
	} rows[] = {
		{ ours->grant_key, CONTEXT_GRANT, 0 },
		{ ours->grant_key, CONTEXT_ORDER, -E_SIGNATURE },
		{ ours->grant_key, CONTEXT_POLICY, -E_SIGNATURE },
		{ ours->mesh.root_key, CONTEXT_GRANT, -E_SIGNATURE },
		{ ours->mesh.intermediate_key, CONTEXT_GRANT, -E_SIGNATURE },
		{ ours->user.key, CONTEXT_GRANT, -E_SIGNATURE },
		{ other->grant_key, CONTEXT_GRANT, -E_SIGNATURE },
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		test_sign(rows[i].key, rows[i].context, murmesh_Grant_fields, &grant, &document);
		assert_int_equal(document_result(&document, user, TEST_NOW), rows[i].result);
	}
	/* every byte of the document counts */
	test_sign_grant(ours, &grant, &document);
	for (size_t i = 0; i < document.document.size; i++) {
		document.document.bytes[i] ^= 1;
		assert_int_equal(document_result(&document, user, TEST_NOW), -E_SIGNATURE);
		document.document.bytes[i] ^= 1;
	}
	document.document.size--;
	assert_int_equal(document_result(&document, user, TEST_NOW), -E_SIGNATURE);
	document.document.size++;
	document.signature.size--;
	assert_int_equal(document_result(&document, user, TEST_NOW), -E_SIGNATURE);
	document.signature.size = 0;
	assert_int_equal(document_result(&document, user, TEST_NOW), -E_SIGNATURE);
	document.document.size = 0;
	assert_int_equal(document_result(&document, user, TEST_NOW), -E_SIGNATURE);
}

static bool allows(const char *listed, const char *host, uint16_t port)
{
	murmesh_Grant grant = test_grant(ours, listed);
	int err = grant_allows_target(&grant, str_from(host), port);
	assert_true(err == 0 || err == -E_GRANT);
	return err == 0;
}

static void test_targets(void **state)
{
	(void)state;
	assert_true(allows("intranet.example:80", "intranet.example", 80));
	assert_true(allows("intranet.example:80", "INTRANET.Example", 80));
	assert_true(allows("Intranet.EXAMPLE:80", "intranet.example", 80));
	assert_false(allows("intranet.example:80", "intranet.example", 81));
	assert_false(allows("intranet.example:80", "intranet.example", 8));
	assert_false(allows("intranet.example:80", "intranet.example.", 80));
	assert_false(allows("intranet.example:80", "intranet.exampl", 80));
	assert_false(allows("intranet.example:80", "xintranet.example", 80));
	assert_true(allows("10.0.0.1:22", "10.0.0.1", 22));
	assert_false(allows("10.0.0.1:22", "10.0.0.10", 22));
	assert_false(allows("10.0.0.1:22", "10.0.0.1:2", 2)); /* no text that is put together differently passes for it */
	assert_true(allows("[2001:db8::A]:443", "2001:db8::a", 443));
	assert_false(allows("2001:db8::a:443", "2001:db8::a", 443));
	assert_false(allows("[2001:db8::a]:443", "2001:db8:0::a", 443));
	assert_true(allows("intranet.example:65535", "intranet.example", 65535));
	assert_false(allows("", "", 80));
	assert_false(allows("", "intranet.example", 80));
	/* a name that is too long for any grant */
	char name[400];
	memset(name, 'a', sizeof name);
	name[sizeof name - 1] = 0;
	assert_false(allows("intranet.example:80", name, 80));
}

/* The device itself has one spelling in a grant, ":port", and some on the wire. */
static void test_self(void **state)
{
	(void)state;
	const char *const self[] = { "", "localhost", "LocalHost", "127.0.0.1", "::1" };
	for (size_t i = 0; i < sizeof self / sizeof *self; i++) {
		assert_true(allows(":80", self[i], 80));
		assert_false(allows(":80", self[i], 81));
		assert_false(allows("intranet.example:80", self[i], 80));
	}
	/* as it was asked for */
	assert_true(allows("localhost:80", "localhost", 80));
	assert_true(allows("127.0.0.1:80", "127.0.0.1", 80));
	assert_true(allows("[::1]:80", "::1", 80));
	assert_false(allows("127.0.0.1:80", "localhost", 80));
	const char *const strange[] = { "127.0.0.2", "0.0.0.0", "::", "::ffff:127.0.0.1", "localhost.", "localhos", "127.1" };
	for (size_t i = 0; i < sizeof strange / sizeof *strange; i++)
		assert_false(allows(":80", strange[i], 80));
}

static void test_rights_and_lists(void **state)
{
	(void)state;
	murmesh_Grant grant = test_grant(ours, ":80");
	grant.rights = murmesh_Right_RUN;
	assert_int_equal(grant_allows_target(&grant, STR(""), 80), -E_GRANT);
	grant.rights = 0;
	assert_int_equal(grant_allows_target(&grant, STR(""), 80), -E_GRANT);
	grant.rights = murmesh_Right_RUN | murmesh_Right_CONNECT;
	assert_int_equal(grant_allows_target(&grant, STR(""), 80), 0);
	grant.targets_count = 16;
	str_copy(STR("last.example:99"), grant.targets[15], sizeof grant.targets[15]);
	assert_int_equal(grant_allows_target(&grant, STR("last.example"), 99), 0);
	assert_int_equal(grant_allows_target(&grant, STR(""), 80), 0);
	assert_int_equal(grant_allows_target(&grant, STR("last.example"), 80), -E_GRANT);
	grant.targets_count = 0;
	assert_int_equal(grant_allows_target(&grant, STR("last.example"), 99), -E_GRANT);
}

static void test_format(void **state)
{
	(void)state;
	char text[20];
	assert_int_equal(target_format(STR("a.example"), 80, text, sizeof text), 0);
	assert_string_equal(text, "a.example:80");
	assert_int_equal(target_format(STR("::1"), 65535, text, sizeof text), 0);
	assert_string_equal(text, "[::1]:65535");
	assert_int_equal(target_format(STR(""), 1, text, sizeof text), 0);
	assert_string_equal(text, ":1");
	assert_int_equal(target_format(STR("a.example"), 80, text, 13), 0);
	assert_int_equal(target_format(STR("a.example"), 80, text, 12), -E_TOO_LONG);
}

/* ---- run orders ---- */

struct devices {
	uint8_t ids[4 * ID_SIZE];
	size_t len;
};

/* n devices, of which the last is ours. */
static struct devices devices_of(size_t n)
{
	struct devices devices = { .len = n * ID_SIZE };
	for (size_t i = 0; i + 1 < n; i++)
		memset(devices.ids + i * ID_SIZE, (int)(100 + i), ID_SIZE);
	memcpy(devices.ids + (n - 1) * ID_SIZE, ours->device.identity.id.bytes, ID_SIZE);
	return devices;
}

static murmesh_Order order_for(const struct devices *devices)
{
	murmesh_Order order = test_order(ours, "true");
	hash_sha256(devices->ids, devices->len, order.digest);
	order.count = (uint32_t)(devices->len / ID_SIZE);
	return order;
}

static int order_result(const murmesh_Order *order, const struct devices *devices)
{
	static murmesh_SignedDocument document;
	static murmesh_Order read;
	test_sign_order(ours, order, &document);
	return order_check(ours->trust, &document, devices->ids, devices->len, TEST_NOW, &read);
}

static void test_orders(void **state)
{
	(void)state;
	for (size_t n = 1; n <= 4; n++) {
		struct devices devices = devices_of(n);
		murmesh_Order order = order_for(&devices);
		assert_int_equal(order_result(&order, &devices), 0);
	}
	struct devices devices = devices_of(3), others = devices_of(2);
	murmesh_Order order = order_for(&devices);
	order.mesh[7] ^= 1;
	assert_int_equal(order_result(&order, &devices), -E_GRANT);
	order = order_for(&devices);
	order.count = 2;
	assert_int_equal(order_result(&order, &devices), -E_GRANT);
	order.count = 4;
	assert_int_equal(order_result(&order, &devices), -E_GRANT);
	order = order_for(&devices);
	order.digest[31] ^= 1;
	assert_int_equal(order_result(&order, &devices), -E_GRANT);
	order = order_for(&devices);
	assert_int_equal(order_result(&order, &others), -E_GRANT); /* a shorter list that holds this device too */
	devices.ids[0] ^= 1;
	assert_int_equal(order_result(&order, &devices), -E_GRANT);
	order.argv_count = 0;
	devices.ids[0] ^= 1;
	assert_int_equal(order_result(&order, &devices), -E_GRANT);
	order.terminal = true; /* on more than one device */
	assert_int_equal(order_result(&order, &devices), -E_GRANT);
	order = order_for(&devices);
	order.until = TEST_NOW - 60;
	assert_int_equal(order_result(&order, &devices), 0);
	order.until = TEST_NOW - 61;
	assert_int_equal(order_result(&order, &devices), -E_GRANT_EXPIRED);
	order.until = INT64_MAX;
	assert_int_equal(order_result(&order, &devices), 0);
}

/* Either a command or a terminal. */
static void test_terminal_orders(void **state)
{
	(void)state;
	murmesh_SignedDocument document;
	murmesh_Order order = test_order(ours, "true"), read;
	const struct id *device = &ours->device.identity.id;
	static const struct {
		bool command, terminal;
		int result;
	} rows[] = { { true, false, 0 }, { false, true, 0 }, { true, true, -E_GRANT }, { false, false, -E_GRANT } };
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		order.argv_count = rows[i].command;
		order.terminal = rows[i].terminal;
		test_sign_order(ours, &order, &document);
		assert_int_equal(order_check(ours->trust, &document, device->bytes, ID_SIZE, TEST_NOW, &read), rows[i].result);
	}
}

static void test_order_lists(void **state)
{
	(void)state;
	/* not for this device, although all else is right */
	struct devices devices = devices_of(3);
	devices.ids[2 * ID_SIZE] ^= 1;
	murmesh_Order order = order_for(&devices);
	assert_int_equal(order_result(&order, &devices), -E_GRANT);
	/* our id is there, but across two places */
	memset(devices.ids, 0, sizeof devices.ids);
	memcpy(devices.ids + ID_SIZE / 2, ours->device.identity.id.bytes, ID_SIZE);
	order = order_for(&devices);
	assert_int_equal(order_result(&order, &devices), -E_GRANT);
	/* half an id at the end */
	devices = devices_of(2);
	devices.len += ID_SIZE / 2;
	order = order_for(&devices);
	assert_int_equal(order_result(&order, &devices), -E_GRANT);
	/* nobody */
	devices.len = 0;
	order = order_for(&devices);
	assert_int_equal(order_result(&order, &devices), -E_GRANT);
}

static void test_order_signature(void **state)
{
	(void)state;
	static murmesh_SignedDocument document;
	static murmesh_Order read;
	struct devices devices = devices_of(1);
	murmesh_Order order = order_for(&devices);
	const struct {
		const struct key *key;
		struct str context;
		int result;
	} rows[] = {
		{ ours->grant_key, CONTEXT_ORDER, 0 },
		{ ours->grant_key, CONTEXT_GRANT, -E_SIGNATURE },
		{ ours->mesh.root_key, CONTEXT_ORDER, -E_SIGNATURE },
		{ other->grant_key, CONTEXT_ORDER, -E_SIGNATURE },
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		test_sign(rows[i].key, rows[i].context, murmesh_Order_fields, &order, &document);
		assert_int_equal(order_check(ours->trust, &document, devices.ids, devices.len, TEST_NOW, &read), rows[i].result);
	}
	/* a grant is no order, although both are signed by the same key */
	murmesh_Grant grant = test_grant(ours, ":80");
	test_sign_grant(ours, &grant, &document);
	assert_int_equal(order_check(ours->trust, &document, devices.ids, devices.len, TEST_NOW, &read), -E_SIGNATURE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_policies),         cmocka_unit_test(test_not_a_message),
		cmocka_unit_test(test_faults),           cmocka_unit_test(test_grants),
		cmocka_unit_test(test_grant_holder),     cmocka_unit_test(test_grant_signature),
		cmocka_unit_test(test_targets),          cmocka_unit_test(test_self),
		cmocka_unit_test(test_rights_and_lists), cmocka_unit_test(test_format),
		cmocka_unit_test(test_orders),           cmocka_unit_test(test_order_lists),
		cmocka_unit_test(test_order_signature),  cmocka_unit_test(test_terminal_orders),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
