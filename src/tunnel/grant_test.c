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
	str_copy(STR("committee"), policy.mode, sizeof policy.mode); /* needs more than this version checks */
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

/* What is expected is checked as strictly as what comes unannounced, and nobody's signature becomes good by it. */
static void test_expected_grants(void **state)
{
	(void)state;
	static murmesh_SignedDocument good, bad;
	const struct identity *user = &ours->user.identity;
	murmesh_Grant grant = test_grant(ours, ":80");
	test_sign_grant(ours, &grant, &good);
	test_sign_grant(other, &grant, &bad);
	grant_expect(ours->trust, &bad);
	assert_int_equal(document_result(&bad, user, TEST_NOW), -E_SIGNATURE);
	grant_expect(ours->trust, &good);
	assert_int_equal(document_result(&good, user, TEST_NOW), 0);
	assert_int_equal(document_result(&good, &ours->device.identity, TEST_NOW), -E_GRANT);
	assert_int_equal(document_result(&good, user, grant.until + 61), -E_GRANT_EXPIRED);
	bad = good;
	bad.document.bytes[bad.document.size - 1] ^= 1;
	assert_int_equal(document_result(&bad, user, TEST_NOW), -E_SIGNATURE);
	bad = good;
	bad.signature.bytes[bad.signature.size - 1] ^= 1;
	assert_int_equal(document_result(&bad, user, TEST_NOW), -E_SIGNATURE);
	bad = good;
	bad.signature.size--;
	assert_int_equal(document_result(&bad, user, TEST_NOW), -E_SIGNATURE);
	for (int i = 0; i < 100; i++) { /* more than are kept */
		grant.serial[0] = (uint8_t)i;
		test_sign_grant(ours, &grant, &bad);
		grant_expect(ours->trust, &bad);
		assert_int_equal(document_result(&bad, user, TEST_NOW), 0);
	}
	assert_int_equal(document_result(&good, user, TEST_NOW), 0);
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

static bool allows_udp(const char *listed, const char *host, uint16_t port)
{
	murmesh_Grant grant = test_grant(ours, listed);
	int err = grant_allows_udp(&grant, str_from(host), port);
	assert_true(err == 0 || err == -E_GRANT);
	return err == 0;
}

/* UDP and TCP of a port are two targets. */
static void test_udp_targets(void **state)
{
	(void)state;
	const char *const ours_too[] = { "", "localhost", "LocalHost", "127.0.0.1", "::1" };
	for (size_t i = 0; i < sizeof ours_too / sizeof *ours_too; i++) {
		assert_true(allows_udp(":53/udp", ours_too[i], 53));
		assert_false(allows_udp(":53", ours_too[i], 53));
		assert_false(allows(":53/udp", ours_too[i], 53));
	}
	assert_true(allows_udp("NS.example:53/udp", "ns.example", 53));
	assert_true(allows_udp("[2001:db8::1]:53/udp", "2001:db8::1", 53));
	assert_false(allows_udp("ns.example:53/udp", "ns.example", 5));
	assert_false(allows_udp("ns.example:53/tcp", "ns.example", 53));
	assert_false(allows("ns.example:53/udp", "ns.example", 53));
	murmesh_Grant grant = test_grant(ours, ":53/udp");
	grant.rights = murmesh_Right_RUN;
	assert_int_equal(grant_allows_udp(&grant, STR(""), 53), -E_GRANT);
}

/* As it goes over the wire. */
static void test_text(void **state)
{
	(void)state;
	static murmesh_SignedDocument document, back;
	static char text[GRANT_TEXT_SIZE];
	murmesh_Grant grant = test_grant(ours, ":53/udp");
	test_sign_grant(ours, &grant, &document);
	assert_int_equal(grant_text_write(&document, text), 0);
	assert_int_equal(grant_text_read(str_from(text), &back), 0);
	assert_int_equal(back.document.size, document.document.size);
	assert_memory_equal(back.document.bytes, document.document.bytes, document.document.size);
	text[0] = '*';
	assert_int_equal(grant_text_read(str_from(text), &back), -E_GRANT);
	assert_int_equal(grant_text_read(STR(""), &back), -E_GRANT);
	assert_int_equal(grant_text_read(STR("____"), &back), -E_GRANT);
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
	assert_int_equal(target_format_udp(STR("a.example"), 80, text, 17), 0);
	assert_string_equal(text, "a.example:80/udp");
	assert_int_equal(target_format_udp(STR("a.example"), 80, text, 16), -E_TOO_LONG);
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

/* ---- mode "signed" ---- */

enum { ALICE, BOB, CAROL, PEOPLE }; /* alice is the user of the grants and orders; carol is named nowhere */
static struct key *people[PEOPLE];

static struct id person(size_t number)
{
	struct id id = ours->user.identity.id;
	id.bytes[0] ^= (uint8_t)number;
	return id;
}

static void approver_add(murmesh_Policy *policy, size_t number, const struct key *key)
{
	murmesh_Approver *approver = &policy->approvers[policy->approvers_count++];
	const struct id id = person(number);
	size_t len;
	memcpy(approver->user, id.bytes, sizeof approver->user);
	assert_int_equal(key_public_write(key, approver->key.bytes, &len), 0);
	approver->key.size = (pb_size_t)len;
}

/* Alice and bob, and two signatures for more than two devices. */
static murmesh_Policy signed_policy(void)
{
	murmesh_Policy policy = test_policy(ours);
	str_copy(STR("signed"), policy.mode, sizeof policy.mode);
	policy.two_signatures_above = 2;
	approver_add(&policy, ALICE, people[ALICE]);
	approver_add(&policy, BOB, people[BOB]);
	return policy;
}

static struct trust *trust_of(const murmesh_Policy *policy)
{
	static murmesh_SignedDocument document;
	struct trust *trust = NULL;
	test_sign(ours->mesh.root_key, CONTEXT_POLICY, murmesh_Policy_fields, policy, &document);
	assert_int_equal(trust_new(ours->mesh.root, &document, &ours->device.identity, &trust), 0);
	return trust;
}

static int people_set_up(void **state)
{
	(void)state;
	for (size_t i = 0; i < PEOPLE; i++)
		people[i] = key_generate();
	return 0;
}

static int people_tear_down(void **state)
{
	(void)state;
	for (size_t i = 0; i < PEOPLE; i++)
		people[i] = key_free(people[i]);
	return 0;
}

static void user_sign(murmesh_SignedDocument *document, const struct key *key, struct str context)
{
	murmesh_UserSignature *signature = &document->users[document->users_count++];
	size_t len;
	assert_int_equal(key_public_hash(key, signature->key_hash), 0);
	assert_int_equal(
	        key_sign(key, context, document->document.bytes, document->document.size, signature->signature.bytes, &len), 0);
	signature->signature.size = (pb_size_t)len;
}

static void test_signed_policies(void **state)
{
	(void)state;
	const struct key *root = ours->mesh.root_key;
	murmesh_Policy policy = signed_policy();
	assert_int_equal(policy_result(root, CONTEXT_POLICY, &policy), 0);
	policy.approvers_count = 0;
	assert_int_equal(policy_result(root, CONTEXT_POLICY, &policy), -E_POLICY);
	policy = signed_policy();
	approver_add(&policy, ALICE, people[CAROL]); /* a person twice */
	assert_int_equal(policy_result(root, CONTEXT_POLICY, &policy), -E_POLICY);
	policy = signed_policy();
	approver_add(&policy, CAROL, people[BOB]); /* a key twice */
	assert_int_equal(policy_result(root, CONTEXT_POLICY, &policy), -E_POLICY);
	policy = signed_policy();
	approver_add(&policy, CAROL, people[CAROL]);
	policy.approvers[2].key.size--;
	assert_int_equal(policy_result(root, CONTEXT_POLICY, &policy), -E_ENCODING);
}

static int signed_grant_result(const struct trust *trust, const murmesh_SignedDocument *document)
{
	static murmesh_Grant read;
	return grant_check(trust, document, &ours->user.identity, TEST_NOW, &read);
}

/* The server's signature is good each time: it is what a server with all its keys can make. */
static void test_signed_grants(void **state)
{
	(void)state;
	static murmesh_SignedDocument document;
	murmesh_Policy policy = signed_policy();
	struct trust *trust = trust_of(&policy);
	murmesh_Grant grant = test_grant(ours, ":80");
	const struct {
		const struct key *key;
		struct str context;
		int result;
	} rows[] = {
		{ people[ALICE], CONTEXT_USER_GRANT, 0 },
		{ people[ALICE], CONTEXT_USER_ORDER, -E_USER_SIGNATURE },
		{ people[ALICE], CONTEXT_GRANT, -E_USER_SIGNATURE },
		{ people[BOB], CONTEXT_USER_GRANT, -E_USER_SIGNATURE },   /* an approver, but not this user */
		{ people[CAROL], CONTEXT_USER_GRANT, -E_USER_SIGNATURE }, /* no approver */
		{ ours->grant_key, CONTEXT_USER_GRANT, -E_USER_SIGNATURE },
		{ ours->user.key, CONTEXT_USER_GRANT,
		  -E_USER_SIGNATURE }, /* the key of his certificate, which the server chose to certify */
	};
	test_sign_grant(ours, &grant, &document);
	document.users_count = 0;
	assert_int_equal(signed_grant_result(ours->trust, &document), 0); /* in mode "server" */
	assert_int_equal(signed_grant_result(trust, &document), -E_USER_SIGNATURE);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		document.users_count = 0;
		user_sign(&document, rows[i].key, rows[i].context);
		assert_int_equal(signed_grant_result(trust, &document), rows[i].result);
	}
	/* a good one, and one that is none */
	document.users_count = 0;
	user_sign(&document, people[ALICE], CONTEXT_USER_GRANT);
	user_sign(&document, people[CAROL], CONTEXT_USER_GRANT);
	assert_int_equal(signed_grant_result(trust, &document), -E_USER_SIGNATURE);
	/* of another document */
	document.users_count = 0;
	user_sign(&document, people[ALICE], CONTEXT_USER_GRANT);
	grant.until++;
	test_sign_grant(ours, &grant, &document);
	assert_int_equal(signed_grant_result(trust, &document), -E_USER_SIGNATURE);
	/* the user's does not stand for the server's */
	document.users_count = 0;
	test_sign(people[ALICE], CONTEXT_GRANT, murmesh_Grant_fields, &grant, &document);
	user_sign(&document, people[ALICE], CONTEXT_USER_GRANT);
	assert_int_equal(signed_grant_result(trust, &document), -E_SIGNATURE);
	trust_free(trust);
}

/* Who is taken out of the policy signs nothing any more. */
static void test_removed_approver(void **state)
{
	(void)state;
	static murmesh_SignedDocument document;
	murmesh_Policy policy = signed_policy();
	murmesh_Grant grant = test_grant(ours, ":80");
	policy.approvers[0] = policy.approvers[1];
	policy.approvers_count = 1;
	struct trust *trust = trust_of(&policy);
	test_sign_grant(ours, &grant, &document);
	document.users_count = 0;
	user_sign(&document, people[ALICE], CONTEXT_USER_GRANT);
	assert_int_equal(signed_grant_result(trust, &document), -E_USER_SIGNATURE);
	trust_free(trust);
}

static int signed_order_result(const struct trust *trust, const murmesh_SignedDocument *document, const struct devices *devices)
{
	static murmesh_Order read;
	return order_check(trust, document, devices->ids, devices->len, TEST_NOW, &read);
}

static void test_signed_orders(void **state)
{
	(void)state;
	static murmesh_SignedDocument document;
	murmesh_Policy policy = signed_policy();
	struct trust *trust = trust_of(&policy), *dropped;
	static const struct {
		size_t devices;
		int one_signature, two_signatures;
	} rows[] = { { 1, 0, 0 }, { 2, 0, 0 }, { 3, -E_SECOND_SIGNATURE, 0 }, { 4, -E_SECOND_SIGNATURE, 0 } };
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct devices devices = devices_of(rows[i].devices);
		murmesh_Order order = order_for(&devices);
		test_sign_order(ours, &order, &document);
		document.users_count = 0;
		assert_int_equal(signed_order_result(ours->trust, &document, &devices), 0);
		assert_int_equal(signed_order_result(trust, &document, &devices), -E_USER_SIGNATURE);
		user_sign(&document, people[ALICE], CONTEXT_USER_ORDER);
		assert_int_equal(signed_order_result(trust, &document, &devices), rows[i].one_signature);
		user_sign(&document, people[BOB], CONTEXT_USER_ORDER);
		assert_int_equal(signed_order_result(trust, &document, &devices), rows[i].two_signatures);
		/* bob's alone; the same person twice; a stranger */
		document.users[0] = document.users[--document.users_count];
		assert_int_equal(signed_order_result(trust, &document, &devices), -E_USER_SIGNATURE);
		document.users_count = 0;
		user_sign(&document, people[ALICE], CONTEXT_USER_ORDER);
		user_sign(&document, people[ALICE], CONTEXT_USER_ORDER);
		assert_int_equal(signed_order_result(trust, &document, &devices), rows[i].one_signature);
		document.users_count = 1;
		user_sign(&document, people[CAROL], CONTEXT_USER_ORDER);
		assert_int_equal(signed_order_result(trust, &document, &devices), -E_USER_SIGNATURE);
		document.users_count = 0;
		user_sign(&document, people[ALICE], CONTEXT_USER_GRANT);
		assert_int_equal(signed_order_result(trust, &document, &devices), -E_USER_SIGNATURE);
	}
	/* without a limit one is enough for all */
	policy.two_signatures_above = 0;
	dropped = trust_of(&policy);
	struct devices devices = devices_of(4);
	murmesh_Order order = order_for(&devices);
	test_sign_order(ours, &order, &document);
	document.users_count = 0;
	user_sign(&document, people[ALICE], CONTEXT_USER_ORDER);
	assert_int_equal(signed_order_result(dropped, &document, &devices), 0);
	trust_free(dropped);
	trust_free(trust);
}

/* ---- another parent ---- */

static int move_result(const struct key *key, struct str context, const murmesh_Move *move)
{
	static murmesh_SignedDocument document;
	murmesh_Move got;
	test_sign(key, context, murmesh_Move_fields, move, &document);
	int err = move_check(ours->trust, &document, &got);
	if (err == 0)
		assert_string_equal(got.parent, move->parent);
	return err;
}

static void test_moves(void **state)
{
	murmesh_Move move = { .created_ms = 5, .parent = "relay:8443" };
	(void)state;
	memcpy(move.mesh, ours->mesh.id.bytes, sizeof move.mesh);
	memcpy(move.device, ours->device.identity.id.bytes, sizeof move.device);
	assert_int_equal(move_result(ours->grant_key, CONTEXT_MOVE, &move), 0);
	assert_int_equal(move_result(ours->grant_key, CONTEXT_ORDER, &move), -E_SIGNATURE);
	assert_int_equal(move_result(other->grant_key, CONTEXT_MOVE, &move), -E_SIGNATURE);
	assert_int_equal(move_result(ours->mesh.intermediate_key, CONTEXT_MOVE, &move), -E_SIGNATURE);
	move.device[0] ^= 1;
	assert_int_equal(move_result(ours->grant_key, CONTEXT_MOVE, &move), -E_CERTIFICATE_FOREIGN);
	move.device[0] ^= 1;
	move.mesh[15] ^= 1;
	assert_int_equal(move_result(ours->grant_key, CONTEXT_MOVE, &move), -E_CERTIFICATE_FOREIGN);
}

static int duty_result(const struct key *key, struct str context, const murmesh_RelayDuty *duty)
{
	static murmesh_SignedDocument document;
	murmesh_RelayDuty got;
	test_sign(key, context, murmesh_RelayDuty_fields, duty, &document);
	int err = duty_check(ours->trust, &document, &got);
	if (err == 0)
		assert_true(got.enabled == duty->enabled && got.created_ms == duty->created_ms);
	return err;
}

static void test_duties(void **state)
{
	murmesh_RelayDuty duty = { .created_ms = 5, .enabled = true };
	(void)state;
	memcpy(duty.mesh, ours->mesh.id.bytes, sizeof duty.mesh);
	memcpy(duty.device, ours->device.identity.id.bytes, sizeof duty.device);
	assert_int_equal(duty_result(ours->grant_key, CONTEXT_RELAY, &duty), 0);
	assert_int_equal(duty_result(ours->grant_key, CONTEXT_MOVE, &duty), -E_SIGNATURE);
	assert_int_equal(duty_result(other->grant_key, CONTEXT_RELAY, &duty), -E_SIGNATURE);
	duty.device[0] ^= 1;
	assert_int_equal(duty_result(ours->grant_key, CONTEXT_RELAY, &duty), -E_CERTIFICATE_FOREIGN);
	duty.device[0] ^= 1;
	duty.mesh[15] ^= 1;
	assert_int_equal(duty_result(ours->grant_key, CONTEXT_RELAY, &duty), -E_CERTIFICATE_FOREIGN);
}

static int ended_result(const struct key *key, struct str context, const murmesh_RelaysEnded *ended)
{
	static murmesh_SignedDocument document;
	static murmesh_RelaysEnded got;
	test_sign(key, context, murmesh_RelaysEnded_fields, ended, &document);
	int err = ended_check(ours->trust, &document, &got);
	if (err == 0)
		assert_true(got.key_hashes_count == ended->key_hashes_count && got.created_ms == ended->created_ms);
	return err;
}

static void test_relays_ended(void **state)
{
	static murmesh_RelaysEnded ended;
	(void)state;
	ended = (murmesh_RelaysEnded){ .created_ms = 5, .key_hashes_count = sizeof ended.key_hashes / HASH_SIZE };
	memcpy(ended.mesh, ours->mesh.id.bytes, sizeof ended.mesh);
	assert_int_equal(ended_result(ours->grant_key, CONTEXT_ENDED, &ended), 0);
	assert_int_equal(ended_result(ours->grant_key, CONTEXT_RELAY, &ended), -E_SIGNATURE);
	assert_int_equal(ended_result(other->grant_key, CONTEXT_ENDED, &ended), -E_SIGNATURE);
	ended.mesh[15] ^= 1;
	assert_int_equal(ended_result(ours->grant_key, CONTEXT_ENDED, &ended), -E_CERTIFICATE_FOREIGN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_policies),
		cmocka_unit_test(test_not_a_message),
		cmocka_unit_test(test_faults),
		cmocka_unit_test(test_grants),
		cmocka_unit_test(test_expected_grants),
		cmocka_unit_test(test_grant_holder),
		cmocka_unit_test(test_grant_signature),
		cmocka_unit_test(test_targets),
		cmocka_unit_test(test_self),
		cmocka_unit_test(test_udp_targets),
		cmocka_unit_test(test_text),
		cmocka_unit_test(test_rights_and_lists),
		cmocka_unit_test(test_format),
		cmocka_unit_test(test_orders),
		cmocka_unit_test(test_order_lists),
		cmocka_unit_test(test_order_signature),
		cmocka_unit_test(test_terminal_orders),
		cmocka_unit_test(test_moves),
		cmocka_unit_test(test_duties),
		cmocka_unit_test(test_relays_ended),
		cmocka_unit_test_setup_teardown(test_signed_policies, people_set_up, people_tear_down),
		cmocka_unit_test_setup_teardown(test_signed_grants, people_set_up, people_tear_down),
		cmocka_unit_test_setup_teardown(test_removed_approver, people_set_up, people_tear_down),
		cmocka_unit_test_setup_teardown(test_signed_orders, people_set_up, people_tear_down),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
