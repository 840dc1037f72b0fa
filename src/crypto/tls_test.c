#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <errno.h>

#include "base/err.h"
#include "crypto/native.h"
#include "crypto/test_pair.h"
#include "os/clock.h"

static int count_and_verify(X509_STORE_CTX *chain, void *arg)
{
	*(int *)arg = sk_X509_num(X509_STORE_CTX_get0_untrusted(chain));
	return tls_verify_peer(chain, NULL);
}

static void test_mutual(void **state)
{
	struct pair pair = pair_of();
	int by_client = 0, by_server = 0;
	(void)state;
	pair_start(&pair, &world.component.identity, &world.node.identity);
	SSL_CTX_set_cert_verify_callback(pair.server.context->ssl, count_and_verify, &by_client);
	SSL_CTX_set_cert_verify_callback(pair.client.context->ssl, count_and_verify, &by_server);
	pair_shake(&pair);
	assert_int_equal(pair.client.result, 0);
	assert_int_equal(pair.server.result, 0);
	assert_true(identity_equal(&tls_peer(pair.client.tls)->identity, &world.component.identity));
	assert_true(identity_equal(&tls_peer(pair.server.tls)->identity, &world.node.identity));
	assert_string_equal(tls_peer(pair.server.tls)->common_name, "web01-17");
	assert_null(tls_peer_certificate(pair.client.tls));
	assert_int_equal(tls_alpn(pair.client.tls).len, 0);
	assert_string_equal(tls_error_detail(pair.client.tls), "");
	assert_int_equal(tls_handshake(pair.client.tls), 0);
	assert_read(pair.client.tls, -EAGAIN);
	assert_passes(&pair);
	assert_int_equal(SSL_version(pair.client.tls->ssl), TLS1_3_VERSION);
	/* A client sends its leaf only, whatever it knows. */
	assert_int_equal(by_client, 1);
	assert_int_equal(by_server, 3);
	pair_done(&pair);
}

/* The handshake ends with this for the side that refuses; the other side hears an alert. */
static void assert_refused(struct pair *pair, bool by_client, int code)
{
	struct side *refusing = by_client ? &pair->client : &pair->server, *refused = by_client ? &pair->server : &pair->client;
	pair_shake(pair);
	assert_int_equal(refusing->result, code);
	assert_string_not_equal(tls_error_detail(refusing->tls), "");
	assert_int_equal(tls_handshake(refusing->tls), code);
	assert_read(refusing->tls, code);
	assert_true(tls_write(refusing->tls, "x", 1) < 0);
	assert_true(tls_close_write(refusing->tls) < 0);
	/* A client is through with its handshake before the server has looked at its certificate. */
	if (refused->result == 0)
		assert_read(refused->tls, -E_TLS);
	else
		assert_int_equal(refused->result, -E_TLS);
	assert_string_not_equal(tls_error_detail(refused->tls), "");
	pair_done(pair);
}

static void assert_client_refused(const struct test_leaf *leaf, int code)
{
	struct pair pair = pair_of();
	pair.client.settings.leaf = leaf->certificate;
	pair.client.settings.key = leaf->key;
	pair_start(&pair, NULL, NULL);
	assert_refused(&pair, false, code);
}

static void assert_server_refused(const struct test_leaf *leaf, const struct test_mesh *of, int code)
{
	struct pair pair = pair_of();
	pair.server.settings.leaf = leaf->certificate;
	pair.server.settings.key = leaf->key;
	pair.server.settings.intermediate = of->intermediate;
	pair.server.settings.root = of->root;
	pair_start(&pair, NULL, NULL);
	assert_refused(&pair, true, code);
}

static void test_client_refused(void **state)
{
	struct test_leaf expired = test_leaf_at(&world.mesh, IDENTITY_NODE, 4, TEST_NOW - 9, TEST_NOW - 1);
	struct test_leaf future = test_leaf_at(&world.mesh, IDENTITY_NODE, 4, TEST_NOW + 1, TEST_NOW + 9);
	struct test_leaf none = { 0 };
	(void)state;
	assert_client_refused(&expired, -E_CERTIFICATE_EXPIRED);
	assert_client_refused(&future, -E_CERTIFICATE_EXPIRED);
	assert_client_refused(&world.foreign, -E_CERTIFICATE_FOREIGN);
	assert_client_refused(&world.component, -E_CERTIFICATE_USAGE);
	assert_client_refused(&none, -E_CERTIFICATE);
	test_leaf_done(&expired);
	test_leaf_done(&future);
}

static void test_server_refused(void **state)
{
	struct test_leaf expired = test_leaf_at(&world.mesh, IDENTITY_COMPONENT, 3, TEST_NOW - 9, TEST_NOW - 1);
	struct test_leaf future = test_leaf_at(&world.mesh, IDENTITY_COMPONENT, 3, TEST_NOW + 1, TEST_NOW + 9);
	struct test_mesh forger = test_mesh_new(1);
	struct test_leaf forged = test_leaf_new(&forger, IDENTITY_COMPONENT, 3);
	(void)state;
	assert_server_refused(&expired, &world.mesh, -E_CERTIFICATE_EXPIRED);
	assert_server_refused(&future, &world.mesh, -E_CERTIFICATE_EXPIRED);
	assert_server_refused(&world.foreign, &world.other, -E_CERTIFICATE_FOREIGN);
	assert_server_refused(&world.node, &world.mesh, -E_CERTIFICATE_USAGE); /* the kind */
	assert_server_refused(&world.user, &world.mesh, -E_CERTIFICATE_USAGE); /* no server by its extended key usage */
	assert_server_refused(&forged, &forger, -E_CERTIFICATE);
	test_leaf_done(&expired);
	test_leaf_done(&future);
	test_leaf_done(&forged);
	test_mesh_done(&forger);
}

static void test_user_is_no_server(void **state)
{
	struct pair pair = pair_of();
	(void)state;
	pair.server.settings.leaf = world.user.certificate;
	pair.server.settings.key = world.user.key;
	pair.client.settings.kinds = 1u << IDENTITY_USER;
	pair_start(&pair, NULL, NULL);
	assert_refused(&pair, true, -E_CERTIFICATE_USAGE);
}

static void test_expected_identity(void **state)
{
	struct test_leaf second = test_leaf_new(&world.mesh, IDENTITY_COMPONENT, 9);
	struct pair pair = pair_of();
	(void)state;
	pair_start(&pair, &second.identity, NULL);
	assert_refused(&pair, true, -E_CERTIFICATE_PEER);
	pair = pair_of();
	pair_start(&pair, NULL, &world.user.identity);
	assert_refused(&pair, false, -E_CERTIFICATE_PEER);
	test_leaf_done(&second);
}

static void test_optional(void **state)
{
	struct pair pair = pair_of();
	(void)state;
	pair.server.settings.verify = TLS_VERIFY_OPTIONAL;
	pair.client.settings.leaf = NULL;
	pair.client.settings.key = NULL;
	pair_open(&pair);
	assert_null(tls_peer(pair.server.tls));
	assert_passes(&pair);
	pair_done(&pair);
	pair = pair_of();
	pair.server.settings.verify = TLS_VERIFY_OPTIONAL;
	pair_open(&pair);
	assert_true(identity_equal(&tls_peer(pair.server.tls)->identity, &world.node.identity));
	pair_done(&pair);
	pair = pair_of();
	pair.server.settings.verify = TLS_VERIFY_OPTIONAL;
	pair.client.settings.leaf = world.foreign.certificate;
	pair.client.settings.key = world.foreign.key;
	pair_start(&pair, NULL, NULL);
	assert_refused(&pair, false, -E_CERTIFICATE_FOREIGN);
}

/* Who knows only the root needs the intermediate from the other side; who knows the intermediate does not. */
static void test_root_only(void **state)
{
	struct pair pair = pair_of();
	(void)state;
	pair.client.settings.intermediate = NULL;
	pair_open(&pair);
	assert_true(identity_equal(&tls_peer(pair.client.tls)->identity, &world.component.identity));
	pair_done(&pair);
	pair = pair_of();
	pair.client.settings.intermediate = NULL;
	pair.server.settings.send_root = false;
	pair_open(&pair);
	pair_done(&pair);
	pair = pair_of();
	pair.server.settings.intermediate = NULL; /* then it can check only clients that send theirs */
	pair.server.settings.send_root = false;
	pair.client.settings.intermediate = NULL;
	pair_start(&pair, NULL, NULL);
	assert_refused(&pair, true, -E_CERTIFICATE);
}

/* Trust begins at the intermediate: a root that is past its time does not matter. */
static void test_old_root(void **state)
{
	const struct certificate_order order = {
		.profile = CERTIFICATE_ROOT, .common_name = STR("mesh root"), .not_before = TEST_NOW - 9, .not_after = TEST_NOW - 1
	};
	struct certificate *old = NULL;
	struct pair pair = pair_of();
	(void)state;
	assert_int_equal(certificate_issue(&order, world.mesh.root_key, NULL, world.mesh.root_key, &old), 0);
	pair.client.settings.root = old;
	pair_open(&pair);
	pair_done(&pair);
	pair = pair_of();
	pair.client.settings.root = old;
	pair.client.settings.intermediate = NULL;
	pair_start(&pair, NULL, NULL);
	assert_refused(&pair, true, -E_CERTIFICATE_EXPIRED);
	certificate_free(old);
}

/* ... and is looked at for its own time. */
static void test_old_intermediate(void **state)
{
	struct test_leaf late = test_leaf_at(&world.mesh, IDENTITY_COMPONENT, 3, TEST_NOW, TEST_NOW + 3000 * TEST_DAY);
	struct pair pair = pair_of();
	(void)state;
	pair.server.settings.leaf = late.certificate;
	pair.server.settings.key = late.key;
	pair_start(&pair, NULL, NULL);
	test_now = TEST_NOW + 2000 * TEST_DAY;
	assert_refused(&pair, true, -E_CERTIFICATE_EXPIRED);
	test_leaf_done(&late);
}

static void test_wall_clock(void **state)
{
	int64_t wall = clock_wall_s();
	struct test_leaf server = test_leaf_at(&world.mesh, IDENTITY_COMPONENT, 3, wall - TEST_DAY, wall + TEST_DAY);
	struct pair pair = pair_of();
	(void)state;
	test_now = wall;
	pair.server.settings.verify = TLS_VERIFY_OPTIONAL;
	pair.server.settings.leaf = server.certificate;
	pair.server.settings.key = server.key;
	pair.client.settings.leaf = NULL;
	pair.client.settings.key = NULL;
	pair.client.settings.now = NULL;
	pair_start(&pair, NULL, NULL);
	pair_shake(&pair);
	assert_int_equal(pair.client.result, llabs(wall - TEST_NOW) < 999 * TEST_DAY ? 0 : -E_CERTIFICATE_EXPIRED);
	pair_done(&pair);
	test_leaf_done(&server);
}

static void test_pin(void **state)
{
	struct certificate_info root, found;
	struct pair pair = pair_pinned();
	(void)state;
	pair_open(&pair);
	assert_true(identity_equal(&tls_peer(pair.client.tls)->identity, &world.component.identity));
	assert_int_equal(certificate_inspect(world.mesh.root, &root), 0);
	assert_int_equal(certificate_inspect(tls_peer_certificate(pair.client.tls), &found), 0);
	assert_memory_equal(root.serial, found.serial, CERTIFICATE_SERIAL_SIZE);
	assert_string_equal(found.common_name, "mesh root");
	assert_passes(&pair);
	pair_done(&pair);
}

static void test_pin_refused(void **state)
{
	struct pair pair = pair_pinned();
	(void)state;
	pair.client.settings.pin[31] ^= 1;
	pair_start(&pair, NULL, NULL);
	assert_refused(&pair, true, -E_WRONG_PIN);
	pair = pair_pinned();
	pair.server.settings.send_root = false;
	pair_start(&pair, NULL, NULL);
	assert_refused(&pair, true, -E_WRONG_PIN);
	pair = pair_pinned();
	pair.server.settings.leaf = world.node.certificate;
	pair.server.settings.key = world.node.key;
	pair_start(&pair, NULL, NULL);
	assert_refused(&pair, true, -E_CERTIFICATE_USAGE);
	pair = pair_pinned();
	pair_start(&pair, NULL, NULL);
	test_now = TEST_NOW + 2 * TEST_DAY;
	assert_refused(&pair, true, -E_CERTIFICATE_EXPIRED);
	/* The pinned root beside a chain that does not lead to it. */
	pair = pair_pinned();
	pair.server.settings.leaf = world.foreign.certificate;
	pair.server.settings.key = world.foreign.key;
	pair.server.settings.intermediate = world.other.intermediate;
	pair_start(&pair, NULL, NULL);
	assert_refused(&pair, true, -E_CERTIFICATE);
}

/* Whoever has no pin yet learns the root, of a chain that is whole. */
static void test_unknown_root(void **state)
{
	struct certificate_info found;
	struct pair pair = pair_pinned();
	(void)state;
	pair.client.settings.verify = TLS_VERIFY_UNKNOWN;
	memset(pair.client.settings.pin, 0, HASH_SIZE);
	pair_open(&pair);
	assert_int_equal(certificate_inspect(tls_peer_certificate(pair.client.tls), &found), 0);
	assert_memory_equal(found.key_hash, world.mesh.pin, HASH_SIZE);
	pair_done(&pair);
	/* No root; a chain that does not lead to it; a machine that is no server. */
	pair = pair_pinned();
	pair.client.settings.verify = TLS_VERIFY_UNKNOWN;
	pair.server.settings.send_root = false;
	pair_start(&pair, NULL, NULL);
	assert_refused(&pair, true, -E_WRONG_PIN);
	pair = pair_pinned();
	pair.client.settings.verify = TLS_VERIFY_UNKNOWN;
	pair.server.settings.leaf = world.foreign.certificate;
	pair.server.settings.key = world.foreign.key;
	pair.server.settings.intermediate = world.other.intermediate;
	pair_start(&pair, NULL, NULL);
	assert_refused(&pair, true, -E_CERTIFICATE);
	pair = pair_pinned();
	pair.client.settings.verify = TLS_VERIFY_UNKNOWN;
	pair.server.settings.leaf = world.node.certificate;
	pair.server.settings.key = world.node.key;
	pair_start(&pair, NULL, NULL);
	assert_refused(&pair, true, -E_CERTIFICATE_USAGE);
	/* A server cannot be told so. */
	struct tls_context *context;
	pair = pair_of();
	pair.server.settings.verify = TLS_VERIFY_UNKNOWN;
	assert_int_equal(tls_context_new(&pair.server.settings, &context), -E_CERTIFICATE);
}

/* A root with the pinned key whose other words somebody has changed. */
static void test_pin_forged_root(void **state)
{
	struct pair pair = pair_pinned();
	struct buf der;
	struct certificate *forged = NULL;
	(void)state;
	buf_init(&der, CERTIFICATE_MAX);
	assert_int_equal(certificate_write(world.mesh.root, &der), 0);
	uint8_t *serial = memmem(der.data, buf_len(&der), "\x02\x10", 2);
	assert_non_null(serial);
	serial[9] ^= 1;
	assert_int_equal(certificate_read(buf_head(&der), buf_len(&der), &forged), 0);
	pair.server.settings.root = forged;
	pair_start(&pair, NULL, NULL);
	assert_refused(&pair, true, -E_WRONG_PIN);
	certificate_free(forged);
	buf_done(&der);
}

/* More certificates than a chain has: only a hostile server sends them. */
static void test_long_chain(void **state)
{
	struct pair pair = pair_of();
	(void)state;
	pair_start(&pair, NULL, NULL);
	assert_int_equal(SSL_add1_chain_cert(pair.server.tls->ssl, world.other.root->x509), 1);
	pair_shake(&pair);
	assert_int_equal(pair.client.result, 0);
	pair_done(&pair);
	pair = pair_of();
	pair_start(&pair, NULL, NULL);
	assert_int_equal(SSL_add1_chain_cert(pair.server.tls->ssl, world.other.root->x509), 1);
	assert_int_equal(SSL_add1_chain_cert(pair.server.tls->ssl, world.other.intermediate->x509), 1);
	assert_refused(&pair, true, -E_CERTIFICATE);
	pair = pair_of();
	pair_start(&pair, NULL, NULL);
	for (unsigned i = 0; i < 50; i++)
		assert_int_equal(SSL_add1_chain_cert(pair.server.tls->ssl, world.other.intermediate->x509), 1);
	assert_refused(&pair, true, -E_TLS);
}

#define NAMES(...) ((const char *const[]){ __VA_ARGS__, NULL })

static void assert_alpn(const char *const *client, const char *const *server, bool optional, const char *agreed)
{
	struct pair pair = pair_of();
	pair.client.settings.alpn = client;
	pair.server.settings.alpn = server;
	pair.server.settings.alpn_optional = optional;
	pair_start(&pair, NULL, NULL);
	if (!agreed) {
		assert_refused(&pair, false, -E_TLS);
		return;
	}
	pair_shake(&pair);
	assert_int_equal(pair.client.result, 0);
	assert_int_equal(pair.server.result, 0);
	assert_true(str_is(tls_alpn(pair.client.tls), agreed));
	assert_true(str_is(tls_alpn(pair.server.tls), agreed));
	pair_done(&pair);
}

static void test_alpn(void **state)
{
	(void)state;
	assert_alpn(NAMES("h2"), NAMES("h2"), false, "h2");
	assert_alpn(NAMES("http/1.1", "h2"), NAMES("h2", "http/1.1"), false, "h2");
	assert_alpn(NAMES("grpc-exp", "h2"), NAMES("http/1.1", "h2"), false, "h2");
	assert_alpn(NAMES("h3"), NAMES("h2"), false, NULL);
	assert_alpn(NAMES("h3"), NAMES("h2"), true, NULL);
	assert_alpn(NULL, NAMES("h2"), false, NULL);
	assert_alpn(NULL, NAMES("h2"), true, "");
	assert_alpn(NAMES("h2"), NULL, false, "");
}

static void test_context_refused(void **state)
{
	struct tls_context *context = NULL;
	struct tls_settings good = pair_of().server.settings, settings = good;
	char long_name[257];
	(void)state;
	settings.key = world.node.key;
	assert_int_equal(tls_context_new(&settings, &context), -E_CERTIFICATE);
	settings = good;
	settings.leaf = NULL;
	assert_int_equal(tls_context_new(&settings, &context), -E_CERTIFICATE);
	settings = good;
	settings.root = NULL;
	assert_int_equal(tls_context_new(&settings, &context), -E_CERTIFICATE);
	settings = good;
	settings.verify = TLS_VERIFY_PIN;
	assert_int_equal(tls_context_new(&settings, &context), -E_CERTIFICATE);
	settings = good;
	settings.read_ahead = (size_t)1 << 30;
	assert_int_equal(tls_context_new(&settings, &context), -E_CERTIFICATE);
	settings = good;
	memset(long_name, 'x', 256);
	long_name[256] = 0;
	settings.alpn = NAMES(long_name);
	assert_int_equal(tls_context_new(&settings, &context), -E_TOO_LONG);
	settings.alpn = NAMES("");
	assert_int_equal(tls_context_new(&settings, &context), -E_TOO_LONG);
	assert_null(context);
	assert_null(tls_context_free(NULL));
	assert_null(tls_free(NULL));
}

/* Certificates are renewed: a connection outlives the context that its owner has let go. */
static void test_context_replaced(void **state)
{
	struct pair pair = pair_of();
	(void)state;
	pair_start(&pair, NULL, NULL);
	pair.client.context = tls_context_free(pair.client.context);
	pair.server.context = tls_context_free(pair.server.context);
	pair_shake(&pair);
	assert_int_equal(pair.server.result, 0);
	assert_passes(&pair);
	pair_done(&pair);
}

static int first_bytes(const void *bytes, size_t len, size_t *ret_answer)
{
	struct pair pair = pair_of();
	pair_start(&pair, NULL, NULL);
	assert_int_equal(buf_append(&pair.up.bytes, bytes, len), 0);
	int err = tls_handshake(pair.server.tls);
	*ret_answer = buf_len(&pair.down.bytes);
	pair_done(&pair);
	return err;
}

static void test_not_tls(void **state)
{
	static const uint8_t noise[300] = { 0x80, 0x2e, 0x01, 0x03, 0x01, 0x00, 0x15, 0xff, 0xff };
	/* A hello of which 16 MB are said to come. */
	static const uint8_t huge[] = { 0x16, 3, 1, 0, 4, 1, 0xff, 0xff, 0xff };
	size_t answer;
	(void)state;
	assert_int_equal(first_bytes("GET / HTTP/1.1\r\n\r\n", 18, &answer), -E_NOT_TLS);
	assert_int_equal(first_bytes("CONNECT a:1 HTTP/1.1\r\n\r\n", 24, &answer), -E_NOT_TLS);
	assert_int_equal(first_bytes("SSH-2.0-OpenSSH_9.2\r\n", 21, &answer), -E_NOT_TLS);
	assert_true(first_bytes(noise, sizeof noise, &answer) < -E_FIRST);
	assert_int_equal(first_bytes(huge, sizeof huge, &answer), -E_TLS);
	assert_int_equal(answer, 7); /* an alert */
}

/* The first message of a client of up to this version. */
static void test_old_version(void **state)
{
	uint8_t hello[1024];
	size_t answer;
	(void)state;
	for (int version = TLS1_VERSION; version <= TLS1_2_VERSION; version++) {
		SSL_CTX *context = SSL_CTX_new(TLS_client_method());
		SSL_CTX_set_security_level(context, 0);
		assert_int_equal(SSL_CTX_set_min_proto_version(context, TLS1_VERSION), 1);
		assert_int_equal(SSL_CTX_set_max_proto_version(context, version), 1);
		SSL *ssl = SSL_new(context);
		SSL_set_bio(ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
		assert_int_equal(SSL_connect(ssl), -1);
		int len = BIO_read(SSL_get_wbio(ssl), hello, sizeof hello);
		assert_true(len > 50);
		assert_int_equal(first_bytes(hello, (size_t)len, &answer), -E_NOT_TLS);
		assert_int_equal(answer, 7);
		SSL_free(ssl);
		SSL_CTX_free(context);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_mutual),
		cmocka_unit_test(test_client_refused),
		cmocka_unit_test(test_server_refused),
		cmocka_unit_test(test_user_is_no_server),
		cmocka_unit_test(test_expected_identity),
		cmocka_unit_test(test_optional),
		cmocka_unit_test(test_root_only),
		cmocka_unit_test(test_old_root),
		cmocka_unit_test(test_old_intermediate),
		cmocka_unit_test(test_wall_clock),
		cmocka_unit_test(test_pin),
		cmocka_unit_test(test_pin_refused),
		cmocka_unit_test(test_unknown_root),
		cmocka_unit_test(test_pin_forged_root),
		cmocka_unit_test(test_long_chain),
		cmocka_unit_test(test_alpn),
		cmocka_unit_test(test_context_refused),
		cmocka_unit_test(test_context_replaced),
		cmocka_unit_test(test_not_tls),
		cmocka_unit_test(test_old_version),
	};
	return cmocka_run_group_tests(tests, world_set_up, world_tear_down);
}
