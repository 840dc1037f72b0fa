#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/fault.h"
#include "crypto/native.h"
#include "crypto/test_mesh.h"

#define ALL_KINDS 0xfu

static struct test_mesh mesh, other;

static int set_up(void **state)
{
	(void)state;
	mesh = test_mesh_new(1);
	other = test_mesh_new(2);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	test_mesh_done(&mesh);
	test_mesh_done(&other);
	return 0;
}

#define MESH "01010101010101010101010101010101"
#define NODE "0a0b0c0d0e0f000102030405060708ff"

static void test_identity_text(void **state)
{
	static const char *const bad[] = {
		"",
		"murmesh://",
		"murmesh://" MESH "/node/",
		"murmesh://" MESH "/node/" NODE "/",
		"murmesh://" MESH "/node/" NODE "0",
		"murmesh://" MESH "/Node/" NODE,
		"murmesh://" MESH "/nodes/" NODE,
		"murmesh://" MESH "//" NODE,
		"murmesh:/" MESH "/node/" NODE,
		"Murmesh://" MESH "/node/" NODE,
		"murmesh://" MESH "/node/0A0b0c0d0e0f000102030405060708ff",
		"murmesh://0" MESH "/node/" NODE,
		" murmesh://" MESH "/node/" NODE,
		"murmesh://" MESH "/node/" NODE "?x",
	};
	static const char *const kinds[] = { "node", "manager", "user", "component" };
	struct identity identity, again;
	char text[IDENTITY_TEXT_SIZE], expected[IDENTITY_TEXT_SIZE];
	(void)state;
	for (unsigned kind = 0; kind < 4; kind++) {
		snprintf(expected, sizeof expected, "murmesh://" MESH "/%s/" NODE, kinds[kind]);
		assert_int_equal(identity_parse(str_from(expected), &identity), 0);
		assert_int_equal(identity.kind, kind);
		identity_format(&identity, text);
		assert_string_equal(text, expected);
		assert_string_equal(identity_kind_name(kind), kinds[kind]);
	}
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		assert_int_equal(identity_parse(str_from(bad[i]), &again), -E_CERTIFICATE_IDENTITY);
	assert_int_equal(identity_parse((struct str){ expected, strlen(expected) + 1 }, &again), -E_CERTIFICATE_IDENTITY);
	again = identity;
	assert_true(identity_equal(&identity, &again));
	again.kind = IDENTITY_NODE;
	assert_false(identity_equal(&identity, &again));
	again = identity;
	again.id.bytes[15] ^= 1;
	assert_false(identity_equal(&identity, &again));
	again = identity;
	again.mesh.bytes[0] ^= 1;
	assert_false(identity_equal(&identity, &again));
}

static void test_inspect(void **state)
{
	struct test_leaf leaf = test_leaf_new(&mesh, IDENTITY_USER, 7);
	struct certificate_info info, second;
	uint8_t hash[HASH_SIZE];
	(void)state;
	assert_int_equal(certificate_inspect(leaf.certificate, &info), 0);
	assert_true(info.has_identity);
	assert_true(identity_equal(&info.identity, &leaf.identity));
	assert_int_equal(info.not_before, TEST_NOW - TEST_DAY);
	assert_int_equal(info.not_after, TEST_NOW + TEST_DAY);
	assert_string_equal(info.common_name, "web01-17");
	assert_int_equal(key_public_hash(leaf.key, hash), 0);
	assert_memory_equal(info.key_hash, hash, HASH_SIZE);
	static const uint8_t zero[4];
	assert_memory_equal(info.serial, zero, 4); /* 127 bits, right-aligned */
	assert_true(info.serial[4] >= 0x40 && info.serial[4] < 0x80);
	assert_int_equal(certificate_inspect(mesh.intermediate, &second), 0);
	assert_false(second.has_identity);
	assert_memory_not_equal(info.serial, second.serial, CERTIFICATE_SERIAL_SIZE);
	assert_int_equal(certificate_inspect(mesh.root, &second), 0);
	assert_false(second.has_identity);
	assert_string_equal(second.common_name, "mesh root");
	assert_memory_equal(second.key_hash, mesh.pin, HASH_SIZE);
	struct key *key = certificate_key(leaf.certificate);
	assert_int_equal(key_public_hash(key, hash), 0);
	assert_memory_equal(info.key_hash, hash, HASH_SIZE);
	key_free(key);
	test_leaf_done(&leaf);
}

static void test_der(void **state)
{
	struct test_leaf leaf = test_leaf_new(&mesh, IDENTITY_COMPONENT, 7);
	struct certificate *read = NULL;
	struct buf der, again;
	(void)state;
	buf_init(&der, 8192);
	buf_init(&again, 8192);
	assert_int_equal(certificate_write(leaf.certificate, &der), 0);
	assert_true(buf_len(&der) < 600);
	assert_int_equal(certificate_read(buf_head(&der), buf_len(&der), &read), 0);
	assert_int_equal(certificate_write(read, &again), 0);
	assert_true(str_equal(buf_str(&der), buf_str(&again)));
	uint8_t array[CERTIFICATE_MAX];
	uint16_t array_len = 0;
	assert_int_equal(certificate_put(read, array, buf_len(&der) - 1, &array_len), -E_TOO_LONG);
	assert_int_equal(array_len, 0);
	assert_int_equal(certificate_put(read, array, buf_len(&der), &array_len), 0);
	assert_true(str_equal(buf_str(&der), (struct str){ (const char *)array, array_len }));
	certificate_free(read);
	read = NULL;
	for (size_t len = 0; len < buf_len(&der); len++)
		assert_int_equal(certificate_read(buf_head(&der), len, &read), -E_ENCODING);
	assert_int_equal(buf_append_u8(&der, 0), 0);
	assert_int_equal(certificate_read(buf_head(&der), buf_len(&der), &read), -E_ENCODING);
	assert_int_equal(certificate_read(buf_head(&der), CERTIFICATE_MAX + 1, &read), -E_TOO_LONG);
	assert_null(read);
	buf_done(&again);
	buf_init(&again, 10);
	assert_int_equal(certificate_write(leaf.certificate, &again), -E_TOO_LONG);
	buf_done(&der);
	test_leaf_done(&leaf);
}

/* The same certificate with a length written in a longer form (BER) is not taken. */
static void test_one_encoding(void **state)
{
	struct certificate *read = NULL;
	uint8_t ber[CERTIFICATE_MAX];
	struct buf der;
	(void)state;
	buf_init(&der, CERTIFICATE_MAX);
	assert_int_equal(certificate_write(mesh.root, &der), 0);
	const uint8_t *at = buf_head(&der);
	size_t len = buf_len(&der);
	assert_int_equal(at[1], 0x82);
	ber[0] = at[0];
	ber[1] = 0x83;
	ber[2] = 0;
	memcpy(ber + 3, at + 2, len - 2);
	assert_int_equal(certificate_read(ber, len + 1, &read), -E_ENCODING);
	assert_null(read);
	buf_done(&der);
}

static void test_pem(void **state)
{
	struct test_leaf leaf = test_leaf_new(&mesh, IDENTITY_COMPONENT, 7);
	struct certificate *read[3] = { 0 };
	struct certificate_info info;
	struct buf pem, key;
	(void)state;
	buf_init(&pem, 1 << 16);
	buf_init(&key, 4096);
	assert_int_equal(certificate_read_pem(buf_str(&pem), read, 3), -E_ENCODING);
	assert_int_equal(buf_append_str(&pem, STR("for people\n")), 0);
	assert_int_equal(certificate_read_pem(buf_str(&pem), read, 3), -E_ENCODING);
	assert_int_equal(certificate_write_pem(leaf.certificate, &pem), 0);
	assert_int_equal(certificate_write_pem(mesh.intermediate, &pem), 0);
	assert_int_equal(certificate_read_pem(buf_str(&pem), read, 3), 2);
	assert_int_equal(certificate_inspect(read[0], &info), 0);
	assert_int_equal(info.identity.kind, IDENTITY_COMPONENT);
	assert_int_equal(certificate_inspect(read[1], &info), 0);
	assert_string_equal(info.common_name, "mesh online");
	certificate_free(read[0]);
	certificate_free(read[1]);
	assert_int_equal(certificate_read_pem(buf_str(&pem), read, 1), -E_TOO_LONG);
	/* Cut inside the second. */
	assert_int_equal(certificate_read_pem((struct str){ (const char *)pem.data, buf_len(&pem) - 40 }, read, 3), -E_ENCODING);
	/* Something else in the file. */
	assert_int_equal(key_private_write(leaf.key, &key), 0);
	assert_int_equal(buf_append_str(&pem, buf_str(&key)), 0);
	assert_int_equal(certificate_read_pem(buf_str(&pem), read, 3), -E_ENCODING);
	static char long_text[40000];
	assert_int_equal(certificate_read_pem((struct str){ long_text, sizeof long_text }, read, 3), -E_TOO_LONG);
	struct buf small;
	buf_init(&small, 10);
	assert_int_equal(certificate_write_pem(leaf.certificate, &small), -E_TOO_LONG);
	buf_done(&pem);
	buf_wipe(&key);
	test_leaf_done(&leaf);
}

static void test_request(void **state)
{
	struct key *key = key_generate();
	uint8_t public[KEY_PUBLIC_MAX], expected[KEY_PUBLIC_MAX];
	size_t len = 0, expected_len = 0;
	struct buf der;
	(void)state;
	buf_init(&der, 4096);
	assert_int_equal(certificate_request_write(key, &der), 0);
	assert_int_equal(certificate_request_read(buf_head(&der), buf_len(&der), public, &len), 0);
	assert_int_equal(key_public_write(key, expected, &expected_len), 0);
	assert_int_equal(len, expected_len);
	assert_memory_equal(public, expected, len);
	for (size_t n = 0; n < buf_len(&der); n++)
		assert_int_equal(certificate_request_read(buf_head(&der), n, public, &len), -E_ENCODING);
	der.data[buf_len(&der) - 1] ^= 1;
	assert_int_equal(certificate_request_read(buf_head(&der), buf_len(&der), public, &len), -E_SIGNATURE);
	der.data[buf_len(&der) - 1] ^= 1;
	assert_int_equal(buf_append_u8(&der, 0), 0);
	assert_int_equal(certificate_request_read(buf_head(&der), buf_len(&der), public, &len), -E_ENCODING);
	assert_int_equal(certificate_request_read(buf_head(&der), CERTIFICATE_REQUEST_MAX + 1, public, &len), -E_TOO_LONG);
	struct buf small;
	buf_init(&small, 10);
	assert_int_equal(certificate_request_write(key, &small), -E_TOO_LONG);
	buf_done(&der);
	key_free(key);
}

/* Signed well, but with a key of another kind. */
static void test_request_other_key(void **state)
{
	EVP_PKEY *pkey = EVP_EC_gen("P-384");
	X509_REQ *request = X509_REQ_new();
	uint8_t *der = NULL, public[KEY_PUBLIC_MAX];
	size_t len;
	(void)state;
	assert_int_equal(X509_REQ_set_pubkey(request, pkey), 1);
	assert_true(X509_REQ_sign(request, pkey, EVP_sha256()) > 0);
	int der_len = i2d_X509_REQ(request, &der);
	assert_int_equal(certificate_request_read(der, (size_t)der_len, public, &len), -E_ENCODING);
	OPENSSL_free(der);
	X509_REQ_free(request);
	EVP_PKEY_free(pkey);
}

static struct certificate_order order_of(enum certificate_profile profile)
{
	return (struct certificate_order){
		.profile = profile,
		.identity = { mesh.id, IDENTITY_COMPONENT, { { 9 } } },
		.common_name = STR("server"),
		.not_before = TEST_NOW - TEST_DAY,
		.not_after = TEST_NOW + TEST_DAY,
	};
}

static int issue(const struct certificate_order *order, struct certificate **ret)
{
	struct key *key = key_generate();
	int err = certificate_issue(order, key, mesh.intermediate, mesh.intermediate_key, ret);
	key_free(key);
	return err;
}

static void assert_issue_fails(const struct certificate_order *order, int err)
{
	struct certificate *certificate = NULL;
	assert_int_equal(issue(order, &certificate), err);
	assert_null(certificate);
}

static void test_order_refused(void **state)
{
	struct certificate_order order = order_of(CERTIFICATE_LEAF);
	char long_name[65];
	(void)state;
	memset(long_name, 'x', sizeof long_name);
	order.common_name = (struct str){ long_name, 65 };
	assert_issue_fails(&order, -E_TOO_LONG);
	order.common_name = STR("caf\xe9");
	assert_issue_fails(&order, -E_UTF8);
	order = order_of(CERTIFICATE_LEAF);
	order.not_after = order.not_before;
	assert_issue_fails(&order, -E_CERTIFICATE_EXPIRED);
	order = order_of(CERTIFICATE_INTERMEDIATE);
	order.common_name = STR("");
	assert_issue_fails(&order, -E_NAME);
	struct certificate *certificate = NULL;
	order = order_of(CERTIFICATE_LEAF);
	assert_int_equal(certificate_issue(&order, mesh.root_key, mesh.intermediate, mesh.root_key, &certificate), -E_INTERNAL);
	assert_null(certificate);
}

static void test_names(void **state)
{
	static const char label64[] = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx.org";
	static const char *const bad[] = { "",    ".",     "a.",  ".a",   "a..b",  "-a",    "a-",  "a b",  "DNS:a,URI:b",
		                           "*.a", "a\xff", "a/b", "a:80", "[::1]", "::1%1", "1:2", label64 };
	char long_name[260];
	struct certificate_order order = order_of(CERTIFICATE_LEAF);
	struct certificate *certificate = NULL;
	struct certificate_info info;
	(void)state;
	order.n_names = 1;
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct str name = str_from(bad[i]);
		order.names = &name;
		assert_issue_fails(&order, -E_NAME);
	}
	struct str with_nul = { "10.0.0.1\0b", 10 }, too_long = { long_name, sizeof long_name };
	memset(long_name, 'x', sizeof long_name);
	order.names = &with_nul;
	assert_issue_fails(&order, -E_NAME);
	order.names = &too_long;
	assert_issue_fails(&order, -E_NAME);
	const struct str good[17] = { STR("web01_a.example.org"), STR("10.0.0.1"), STR("::1"), STR("0123456789abcdef") };
	order.names = good;
	order.n_names = 17;
	assert_issue_fails(&order, -E_LIMIT);
	order.n_names = 4;
	assert_int_equal(issue(&order, &certificate), 0);
	assert_int_equal(X509_check_host(certificate->x509, "web01_a.example.org", 0, 0, NULL), 1);
	assert_int_equal(X509_check_host(certificate->x509, "10.0.0.1", 0, 0, NULL), 0);
	assert_int_equal(X509_check_host(certificate->x509, "server", 0, 0, NULL), 0);
	assert_int_equal(X509_check_ip_asc(certificate->x509, "10.0.0.1", 0), 1);
	assert_int_equal(X509_check_ip_asc(certificate->x509, "::1", 0), 1);
	assert_int_equal(X509_check_ip_asc(certificate->x509, "::2", 0), 0);
	assert_int_equal(certificate_inspect(certificate, &info), 0);
	assert_true(identity_equal(&info.identity, &order.identity));
	certificate_free(certificate);
}

/* RFC 5280: with an empty subject the alternative names are critical. */
static void test_no_common_name(void **state)
{
	struct certificate_order order = order_of(CERTIFICATE_LEAF);
	struct certificate *certificate = NULL;
	struct certificate_info info;
	(void)state;
	order.common_name = STR("");
	assert_int_equal(issue(&order, &certificate), 0);
	int at = X509_get_ext_by_NID(certificate->x509, NID_subject_alt_name, -1);
	assert_true(X509_EXTENSION_get_critical(X509_get_ext(certificate->x509, at)));
	assert_int_equal(certificate_inspect(certificate, &info), 0);
	assert_string_equal(info.common_name, "");
	certificate_free(certificate);
}

static void test_common_name_cleaned(void **state)
{
	struct certificate_order order = order_of(CERTIFICATE_LEAF);
	struct certificate *certificate = NULL;
	struct certificate_info info;
	(void)state;
	order.common_name = STR("w\xc3\xa9"
	                        "b\x1b[2J");
	assert_int_equal(issue(&order, &certificate), 0);
	assert_int_equal(certificate_inspect(certificate, &info), 0);
	assert_string_equal(info.common_name, "w\xc3\xa9"
	                                      "b\xef\xbf\xbd[2J");
	certificate_free(certificate);
}

static int verify(const struct certificate *leaf, unsigned kinds, int64_t now, struct identity *ret)
{
	return certificate_verify(leaf, mesh.intermediate, mesh.root, &mesh.id, kinds, now, ret);
}

static void test_verify_kinds(void **state)
{
	(void)state;
	for (unsigned kind = 0; kind < 4; kind++) {
		struct test_leaf leaf = test_leaf_new(&mesh, kind, 7);
		struct identity identity;
		assert_int_equal(verify(leaf.certificate, ALL_KINDS, TEST_NOW, &identity), 0);
		assert_true(identity_equal(&identity, &leaf.identity));
		assert_int_equal(verify(leaf.certificate, 1u << kind, TEST_NOW, &identity), 0);
		assert_int_equal(verify(leaf.certificate, ALL_KINDS & ~(1u << kind), TEST_NOW, &identity), -E_CERTIFICATE_USAGE);
		test_leaf_done(&leaf);
	}
}

static void test_verify_times(void **state)
{
	struct test_leaf leaf = test_leaf_new(&mesh, IDENTITY_NODE, 7);
	struct identity identity;
	(void)state;
	assert_int_equal(verify(leaf.certificate, ALL_KINDS, TEST_NOW - TEST_DAY - 1, &identity), -E_CERTIFICATE_EXPIRED);
	assert_int_equal(verify(leaf.certificate, ALL_KINDS, TEST_NOW - TEST_DAY, &identity), 0);
	assert_int_equal(verify(leaf.certificate, ALL_KINDS, TEST_NOW + TEST_DAY - 1, &identity), 0);
	assert_int_equal(verify(leaf.certificate, ALL_KINDS, TEST_NOW + TEST_DAY + 1, &identity), -E_CERTIFICATE_EXPIRED);
	test_leaf_done(&leaf);
	/* A leaf that outlives its issuer. */
	leaf = test_leaf_at(&mesh, IDENTITY_NODE, 7, TEST_NOW, TEST_NOW + 3000 * TEST_DAY);
	assert_int_equal(verify(leaf.certificate, ALL_KINDS, TEST_NOW + 2000 * TEST_DAY, &identity), -E_CERTIFICATE_EXPIRED);
	test_leaf_done(&leaf);
}

static void test_check_intermediate(void **state)
{
	(void)state;
	struct test_leaf leaf = test_leaf_new(&mesh, IDENTITY_NODE, 3);
	assert_int_equal(certificate_check_intermediate(mesh.intermediate, mesh.root), 0);
	assert_int_equal(certificate_check_intermediate(other.intermediate, mesh.root), -E_CERTIFICATE);
	assert_int_equal(certificate_check_intermediate(mesh.root, mesh.root), -E_CERTIFICATE);
	assert_int_equal(certificate_check_intermediate(leaf.certificate, mesh.root), -E_CERTIFICATE);
	assert_int_equal(certificate_check_intermediate(leaf.certificate, mesh.intermediate), -E_CERTIFICATE);
	test_leaf_done(&leaf);
}

static void test_verify_chain(void **state)
{
	struct test_leaf leaf = test_leaf_new(&mesh, IDENTITY_NODE, 7), foreign = test_leaf_new(&other, IDENTITY_NODE, 7);
	struct identity identity;
	(void)state;
	assert_int_equal(verify(foreign.certificate, ALL_KINDS, TEST_NOW, &identity), -E_CERTIFICATE_FOREIGN);
	assert_int_equal(certificate_verify(leaf.certificate, NULL, mesh.root, &mesh.id, ALL_KINDS, TEST_NOW, &identity),
	                 -E_CERTIFICATE);
	assert_int_equal(
	        certificate_verify(leaf.certificate, other.intermediate, mesh.root, &mesh.id, ALL_KINDS, TEST_NOW, &identity),
	        -E_CERTIFICATE);
	assert_int_equal(
	        certificate_verify(leaf.certificate, mesh.intermediate, other.root, &mesh.id, ALL_KINDS, TEST_NOW, &identity),
	        -E_CERTIFICATE);
	/* The intermediate itself is nobody; neither is a leaf an issuer. */
	assert_int_equal(certificate_verify(mesh.intermediate, NULL, mesh.root, &mesh.id, ALL_KINDS, TEST_NOW, &identity),
	                 -E_CERTIFICATE_USAGE);
	assert_int_equal(certificate_verify(leaf.certificate, mesh.intermediate, mesh.intermediate, &mesh.id, ALL_KINDS, TEST_NOW,
	                                    &identity),
	                 -E_CERTIFICATE);
	test_leaf_done(&leaf);
	test_leaf_done(&foreign);
}

/* A foreign issuer whose root and intermediate have our names signs an identity of our mesh. */
static void test_verify_forged(void **state)
{
	struct test_mesh forger = test_mesh_new(1);
	struct test_leaf leaf = test_leaf_new(&forger, IDENTITY_NODE, 7);
	struct identity identity;
	(void)state;
	assert_int_equal(verify(leaf.certificate, ALL_KINDS, TEST_NOW, &identity), -E_CERTIFICATE);
	assert_int_equal(
	        certificate_verify(leaf.certificate, forger.intermediate, mesh.root, &mesh.id, ALL_KINDS, TEST_NOW, &identity),
	        -E_CERTIFICATE);
	test_leaf_done(&leaf);
	test_mesh_done(&forger);
}

/* The mesh's own intermediate signs an identity of another mesh. */
static void test_verify_other_mesh(void **state)
{
	struct certificate_order order = order_of(CERTIFICATE_LEAF);
	struct certificate *certificate = NULL;
	struct identity identity;
	(void)state;
	order.identity.mesh = other.id;
	assert_int_equal(issue(&order, &certificate), 0);
	assert_int_equal(verify(certificate, ALL_KINDS, TEST_NOW, &identity), -E_CERTIFICATE_FOREIGN);
	certificate_free(certificate);
}

/* A node issues a certificate of its own. */
static void test_verify_leaf_as_issuer(void **state)
{
	struct test_leaf leaf = test_leaf_new(&mesh, IDENTITY_NODE, 7);
	struct test_mesh rogue = mesh;
	struct certificate *certificate = NULL;
	struct identity identity;
	struct certificate_order order = order_of(CERTIFICATE_LEAF);
	(void)state;
	assert_int_equal(certificate_issue(&order, rogue.root_key, leaf.certificate, leaf.key, &certificate), -E_INTERNAL);
	X509 *x509 = X509_dup(mesh.intermediate->x509); /* a CA in all but its issuer */
	X509_set_issuer_name(x509, X509_get_subject_name(leaf.certificate->x509));
	X509_EXTENSION_free(X509_delete_ext(x509, X509_get_ext_by_NID(x509, NID_authority_key_identifier, -1)));
	assert_true(X509_sign(x509, leaf.key->pkey, EVP_sha256()) > 0);
	struct certificate fake = { x509 };
	assert_int_equal(certificate_issue(&order, rogue.root_key, &fake, mesh.intermediate_key, &certificate), 0);
	assert_int_equal(certificate_verify(certificate, &fake, mesh.root, &mesh.id, ALL_KINDS, TEST_NOW, &identity),
	                 -E_CERTIFICATE);
	certificate_free(certificate);
	X509_free(x509);
	test_leaf_done(&leaf);
}

/* A leaf whose extension `nid` is replaced by `value` (which is freed), or removed. */
static struct certificate crafted(int nid, void *value)
{
	struct test_leaf leaf = test_leaf_new(&mesh, IDENTITY_NODE, 7);
	X509 *x509 = X509_dup(leaf.certificate->x509);
	X509_EXTENSION_free(X509_delete_ext(x509, X509_get_ext_by_NID(x509, nid, -1)));
	if (value)
		assert_int_equal(X509_add1_ext_i2d(x509, nid, value, 0, X509V3_ADD_DEFAULT), 1);
	assert_true(X509_sign(x509, mesh.intermediate_key->pkey, EVP_sha256()) > 0);
	test_leaf_done(&leaf);
	/* Extensions are cached in the object: as read from bytes they are looked at again. */
	uint8_t *der = NULL;
	int len = i2d_X509(x509, &der);
	const uint8_t *at = der;
	X509_free(x509);
	x509 = d2i_X509(NULL, &at, len);
	assert_non_null(x509);
	OPENSSL_free(der);
	return (struct certificate){ x509 };
}

static void assert_crafted(struct certificate certificate, int err)
{
	struct identity identity;
	assert_int_equal(verify(&certificate, ALL_KINDS, TEST_NOW, &identity), err);
	X509_free(certificate.x509);
}

static void assert_names(const char *text, int err)
{
	X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, text);
	GENERAL_NAMES *names = X509V3_EXT_d2i(extension);
	assert_non_null(names);
	assert_crafted(crafted(NID_subject_alt_name, names), err);
	GENERAL_NAMES_free(names);
	X509_EXTENSION_free(extension);
}

static void test_verify_names(void **state)
{
#define URI  "URI:murmesh://" MESH "/node/" NODE
#define USER "URI:murmesh://" MESH "/user/" NODE
	(void)state;
	assert_names(URI, 0);
	assert_names("DNS:a.example," URI ",IP:10.0.0.1", 0);
	assert_names("DNS:a.example", -E_CERTIFICATE_IDENTITY);
	assert_names(URI "," USER, -E_CERTIFICATE_IDENTITY);
	assert_names(URI "," URI, -E_CERTIFICATE_IDENTITY);
	assert_names(URI ",URI:https://example.org/", -E_CERTIFICATE_IDENTITY);
	assert_names("URI:https://example.org/," URI, -E_CERTIFICATE_IDENTITY);
	assert_names("URI:murmesh://" MESH "/node/" NODE "/x", -E_CERTIFICATE_IDENTITY);
	assert_names(URI ",email:a@example.org", -E_CERTIFICATE_IDENTITY);
	assert_names(URI ",RID:1.2.3.4", -E_CERTIFICATE_IDENTITY);
	assert_crafted(crafted(NID_subject_alt_name, NULL), -E_CERTIFICATE_IDENTITY);
}

static void test_verify_names_twice(void **state)
{
	struct test_leaf leaf = test_leaf_new(&mesh, IDENTITY_NODE, 7);
	X509 *x509 = X509_dup(leaf.certificate->x509);
	(void)state;
	X509_EXTENSION *names = X509_get_ext(x509, X509_get_ext_by_NID(x509, NID_subject_alt_name, -1));
	assert_int_equal(X509_add_ext(x509, names, -1), 1);
	assert_true(X509_sign(x509, mesh.intermediate_key->pkey, EVP_sha256()) > 0);
	struct certificate twice = { x509 };
	struct identity identity;
	struct certificate_info info;
	assert_true(verify(&twice, ALL_KINDS, TEST_NOW, &identity) < 0);
	assert_true(certificate_inspect(&twice, &info) < 0);
	X509_free(x509);
	test_leaf_done(&leaf);
}

static void test_verify_usage(void **state)
{
	EXTENDED_KEY_USAGE *usage = EXTENDED_KEY_USAGE_new();
	(void)state;
	sk_ASN1_OBJECT_push(usage, OBJ_nid2obj(NID_email_protect));
	assert_crafted(crafted(NID_ext_key_usage, usage), -E_CERTIFICATE_USAGE);
	sk_ASN1_OBJECT_push(usage, OBJ_nid2obj(NID_client_auth));
	assert_crafted(crafted(NID_ext_key_usage, usage), 0);
	EXTENDED_KEY_USAGE_free(usage);
	ASN1_BIT_STRING *bits = ASN1_BIT_STRING_new();
	ASN1_BIT_STRING_set_bit(bits, 1, 1); /* nonRepudiation */
	assert_crafted(crafted(NID_key_usage, bits), -E_CERTIFICATE_USAGE);
	ASN1_BIT_STRING_free(bits);
}

static void test_inspect_refused(void **state)
{
	struct test_leaf leaf = test_leaf_new(&mesh, IDENTITY_NODE, 7);
	X509 *x509 = X509_dup(leaf.certificate->x509);
	struct certificate odd = { x509 };
	struct certificate_info info;
	(void)state;
	assert_int_equal(certificate_inspect(&odd, &info), 0);
	BIGNUM *number = BN_new();
	BN_set_bit(number, 160);
	BN_to_ASN1_INTEGER(number, X509_get_serialNumber(x509));
	assert_int_equal(certificate_inspect(&odd, &info), -E_CERTIFICATE);
	ASN1_INTEGER_set(X509_get_serialNumber(x509), -1);
	assert_int_equal(certificate_inspect(&odd, &info), -E_CERTIFICATE);
	ASN1_INTEGER_set(X509_get_serialNumber(x509), 1);
	assert_int_equal(certificate_inspect(&odd, &info), 0);
	ASN1_STRING_set(X509_getm_notAfter(x509), "yesterday", -1);
	assert_int_equal(certificate_inspect(&odd, &info), -E_CERTIFICATE);
	BN_free(number);
	X509_free(x509);
	test_leaf_done(&leaf);
}

/* A certificate with another kind of key can be looked at, its key is not taken. */
static void test_other_key(void **state)
{
	struct test_leaf leaf = test_leaf_new(&mesh, IDENTITY_NODE, 7);
	EVP_PKEY *pkey = EVP_EC_gen("P-384");
	X509 *x509 = X509_dup(leaf.certificate->x509);
	struct certificate odd = { x509 };
	struct certificate_info info;
	(void)state;
	assert_int_equal(X509_set_pubkey(x509, pkey), 1);
	assert_int_equal(certificate_inspect(&odd, &info), 0);
	assert_null(certificate_key(&odd));
	X509_free(x509);
	EVP_PKEY_free(pkey);
	test_leaf_done(&leaf);
}

/* One of everything, for running out of memory in each place. */
static int everything(void)
{
	struct test_leaf leaf = { .key = key_generate() };
	struct certificate *read = NULL, *list[1] = { 0 };
	struct certificate_order order = order_of(CERTIFICATE_LEAF);
	struct identity identity;
	struct buf der, pem, request;
	uint8_t public[KEY_PUBLIC_MAX];
	size_t len;
	buf_init(&der, 8192);
	buf_init(&pem, 8192);
	buf_init(&request, 8192);
	int err = leaf.key ? certificate_issue(&order, leaf.key, mesh.intermediate, mesh.intermediate_key, &leaf.certificate)
	                   : -E_NO_MEMORY;
	if (!err)
		err = certificate_write(leaf.certificate, &der);
	if (!err)
		err = certificate_write_pem(leaf.certificate, &pem);
	if (!err)
		err = certificate_read(buf_head(&der), buf_len(&der), &read);
	if (!err)
		err = certificate_read_pem(buf_str(&pem), list, 1);
	if (err == 1)
		err = certificate_verify(read, mesh.intermediate, mesh.root, &mesh.id, ALL_KINDS, TEST_NOW, &identity);
	if (!err)
		err = certificate_request_write(leaf.key, &request);
	if (!err)
		err = certificate_request_read(buf_head(&request), buf_len(&request), public, &len);
	certificate_free(read);
	certificate_free(list[0]);
	buf_done(&der);
	buf_done(&pem);
	buf_done(&request);
	test_leaf_done(&leaf);
	return err;
}

static void test_no_memory(void **state)
{
	long n = 0;
	int err;
	(void)state;
	do {
		fault_arm(++n);
		err = everything();
		if (!fault_armed())
			assert_int_equal(err, -E_NO_MEMORY);
	} while (!fault_armed());
	fault_arm(0);
	assert_int_equal(err, 0);
	assert_true(n > 7);
	assert_null(certificate_free(NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_identity_text),
		cmocka_unit_test(test_inspect),
		cmocka_unit_test(test_der),
		cmocka_unit_test(test_one_encoding),
		cmocka_unit_test(test_pem),
		cmocka_unit_test(test_request),
		cmocka_unit_test(test_request_other_key),
		cmocka_unit_test(test_order_refused),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_no_common_name),
		cmocka_unit_test(test_common_name_cleaned),
		cmocka_unit_test(test_verify_kinds),
		cmocka_unit_test(test_verify_times),
		cmocka_unit_test(test_verify_chain),
		cmocka_unit_test(test_check_intermediate),
		cmocka_unit_test(test_verify_forged),
		cmocka_unit_test(test_verify_other_mesh),
		cmocka_unit_test(test_verify_leaf_as_issuer),
		cmocka_unit_test(test_verify_names),
		cmocka_unit_test(test_verify_names_twice),
		cmocka_unit_test(test_verify_usage),
		cmocka_unit_test(test_inspect_refused),
		cmocka_unit_test(test_other_key),
		cmocka_unit_test(test_no_memory),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
