#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <errno.h>
#include <time.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/fault.h"
#include "crypto/native.h"
#include "crypto/test_mesh.h"
#include "crypto/tls_internal.h"

/* One direction between two connections. */
struct wire {
	struct buf bytes;
	size_t chunk; /* most that one send or recv moves */
	size_t room;  /* most that is held */
	bool ended;   /* recv gives the end of file behind the bytes */
	int error;    /* of send, or of recv behind the bytes */
	unsigned sends;
};
struct side {
	struct tls_settings settings;
	struct tls_context *context;
	struct tls *tls;
	struct wire *in, *out;
	int result;
};
struct pair {
	struct wire up, down;
	struct side client, server;
};

static struct test_mesh mesh, other;
static struct test_leaf component, node, user, foreign;
static int64_t now_value;

static int64_t now(void)
{
	return now_value;
}

static int set_up_group(void **state)
{
	(void)state;
	tls_warm_up();
	mesh = test_mesh_new(1);
	other = test_mesh_new(2);
	component = test_leaf_new(&mesh, IDENTITY_COMPONENT, 3);
	node = test_leaf_new(&mesh, IDENTITY_NODE, 4);
	user = test_leaf_new(&mesh, IDENTITY_USER, 5);
	foreign = test_leaf_new(&other, IDENTITY_COMPONENT, 3);
	return 0;
}

static int tear_down_group(void **state)
{
	(void)state;
	test_leaf_done(&component);
	test_leaf_done(&node);
	test_leaf_done(&user);
	test_leaf_done(&foreign);
	test_mesh_done(&mesh);
	test_mesh_done(&other);
	return 0;
}

static ssize_t wire_recv(void *ctx, void *out, size_t size)
{
	struct wire *wire = ((struct side *)ctx)->in;
	size_t n = buf_len(&wire->bytes);
	if (n == 0)
		return wire->error ? wire->error : wire->ended ? 0 : -EAGAIN;
	if (n > size)
		n = size;
	if (n > wire->chunk)
		n = wire->chunk;
	memcpy(out, buf_head(&wire->bytes), n);
	buf_consume(&wire->bytes, n);
	return (ssize_t)n;
}

static ssize_t wire_send(void *ctx, const void *bytes, size_t len)
{
	struct wire *wire = ((struct side *)ctx)->out;
	size_t room = wire->room - buf_len(&wire->bytes);
	wire->sends++;
	if (wire->error)
		return wire->error;
	if (room == 0)
		return -EAGAIN;
	if (len > room)
		len = room;
	if (len > wire->chunk)
		len = wire->chunk;
	long armed = fault_countdown; /* the wire is not what is tested */
	fault_arm(0);
	assert_int_equal(buf_append(&wire->bytes, bytes, len), 0);
	fault_arm(armed);
	return (ssize_t)len;
}

static const struct tls_transport transport = { wire_recv, wire_send };

static void wire_init(struct wire *wire)
{
	*wire = (struct wire){ .chunk = SIZE_MAX, .room = 1 << 24 };
	buf_init(&wire->bytes, 1 << 24);
}

/* Settings with which all goes well; a test changes what it is about. */
static struct pair pair_of(void)
{
	struct pair pair = { 0 };
	now_value = TEST_NOW;
	pair.server.settings = (struct tls_settings){
		.server = true,
		.verify = TLS_VERIFY_REQUIRED,
		.leaf = component.certificate,
		.key = component.key,
		.intermediate = mesh.intermediate,
		.root = mesh.root,
		.send_root = true,
		.mesh = mesh.id,
		.kinds = 1u << IDENTITY_NODE | 1u << IDENTITY_USER,
		.now = now,
	};
	pair.client.settings = (struct tls_settings){
		.verify = TLS_VERIFY_REQUIRED,
		.leaf = node.certificate,
		.key = node.key,
		.intermediate = mesh.intermediate,
		.root = mesh.root,
		.mesh = mesh.id,
		.kinds = 1u << IDENTITY_COMPONENT,
		.now = now,
	};
	return pair;
}

/* Both at the same address until pair_done(). */
static void pair_start(struct pair *pair, const struct identity *client_expects, const struct identity *server_expects)
{
	wire_init(&pair->up);
	wire_init(&pair->down);
	pair->client.in = pair->server.out = &pair->down;
	pair->server.in = pair->client.out = &pair->up;
	assert_int_equal(tls_context_new(&pair->client.settings, &pair->client.context), 0);
	assert_int_equal(tls_context_new(&pair->server.settings, &pair->server.context), 0);
	pair->client.tls = tls_new(pair->client.context, &transport, &pair->client, client_expects);
	pair->server.tls = tls_new(pair->server.context, &transport, &pair->server, server_expects);
	assert_non_null(pair->client.tls);
	assert_non_null(pair->server.tls);
}

static void pair_shake(struct pair *pair)
{
	pair->client.result = pair->server.result = -EAGAIN;
	for (unsigned i = 0; i < 20000 && (pair->client.result == -EAGAIN || pair->server.result == -EAGAIN); i++) {
		if (pair->client.result == -EAGAIN)
			pair->client.result = tls_handshake(pair->client.tls);
		if (pair->server.result == -EAGAIN)
			pair->server.result = tls_handshake(pair->server.tls);
	}
}

static void pair_done(struct pair *pair)
{
	tls_free(pair->client.tls);
	tls_free(pair->server.tls);
	tls_context_free(pair->client.context);
	tls_context_free(pair->server.context);
	buf_done(&pair->up.bytes);
	buf_done(&pair->down.bytes);
}

static void pair_open(struct pair *pair)
{
	pair_start(pair, NULL, NULL);
	pair_shake(pair);
	assert_int_equal(pair->client.result, 0);
	assert_int_equal(pair->server.result, 0);
}

static void assert_text(struct tls *tls, const char *text)
{
	char out[64];
	ssize_t n = tls_read(tls, out, sizeof out);
	assert_int_equal(n, strlen(text));
	assert_memory_equal(out, text, (size_t)n);
}

static void assert_passes(struct pair *pair)
{
	assert_int_equal(tls_write(pair->client.tls, "question", 8), 8);
	assert_text(pair->server.tls, "question");
	assert_int_equal(tls_write(pair->server.tls, "answer", 6), 6);
	assert_text(pair->client.tls, "answer");
}

static void assert_read(struct tls *tls, int result)
{
	char out[64];
	assert_int_equal(tls_read(tls, out, sizeof out), result);
}

static void test_mutual(void **state)
{
	struct pair pair = pair_of();
	(void)state;
	pair_start(&pair, &component.identity, &node.identity);
	pair_shake(&pair);
	assert_int_equal(pair.client.result, 0);
	assert_int_equal(pair.server.result, 0);
	assert_true(identity_equal(&tls_peer(pair.client.tls)->identity, &component.identity));
	assert_true(identity_equal(&tls_peer(pair.server.tls)->identity, &node.identity));
	assert_string_equal(tls_peer(pair.server.tls)->common_name, "web01-17");
	assert_null(tls_peer_certificate(pair.client.tls));
	assert_int_equal(tls_alpn(pair.client.tls).len, 0);
	assert_string_equal(tls_error_detail(pair.client.tls), "");
	assert_int_equal(tls_handshake(pair.client.tls), 0);
	assert_read(pair.client.tls, -EAGAIN);
	assert_passes(&pair);
	assert_int_equal(SSL_version(pair.client.tls->ssl), TLS1_3_VERSION);
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
	struct test_leaf expired = test_leaf_at(&mesh, IDENTITY_NODE, 4, TEST_NOW - 9, TEST_NOW - 1);
	struct test_leaf future = test_leaf_at(&mesh, IDENTITY_NODE, 4, TEST_NOW + 1, TEST_NOW + 9);
	struct test_leaf none = { 0 };
	(void)state;
	assert_client_refused(&expired, -E_CERTIFICATE_EXPIRED);
	assert_client_refused(&future, -E_CERTIFICATE_EXPIRED);
	assert_client_refused(&foreign, -E_CERTIFICATE_FOREIGN);
	assert_client_refused(&component, -E_CERTIFICATE_USAGE);
	assert_client_refused(&none, -E_CERTIFICATE);
	test_leaf_done(&expired);
	test_leaf_done(&future);
}

static void test_server_refused(void **state)
{
	struct test_leaf expired = test_leaf_at(&mesh, IDENTITY_COMPONENT, 3, TEST_NOW - 9, TEST_NOW - 1);
	struct test_leaf future = test_leaf_at(&mesh, IDENTITY_COMPONENT, 3, TEST_NOW + 1, TEST_NOW + 9);
	struct test_mesh forger = test_mesh_new(1);
	struct test_leaf forged = test_leaf_new(&forger, IDENTITY_COMPONENT, 3);
	(void)state;
	assert_server_refused(&expired, &mesh, -E_CERTIFICATE_EXPIRED);
	assert_server_refused(&future, &mesh, -E_CERTIFICATE_EXPIRED);
	assert_server_refused(&foreign, &other, -E_CERTIFICATE_FOREIGN);
	assert_server_refused(&node, &mesh, -E_CERTIFICATE_USAGE); /* the kind */
	assert_server_refused(&user, &mesh, -E_CERTIFICATE_USAGE); /* no server by its extended key usage */
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
	pair.server.settings.leaf = user.certificate;
	pair.server.settings.key = user.key;
	pair.client.settings.kinds = 1u << IDENTITY_USER;
	pair_start(&pair, NULL, NULL);
	assert_refused(&pair, true, -E_CERTIFICATE_USAGE);
}

static void test_expected_identity(void **state)
{
	struct test_leaf second = test_leaf_new(&mesh, IDENTITY_COMPONENT, 9);
	struct pair pair = pair_of();
	(void)state;
	pair_start(&pair, &second.identity, NULL);
	assert_refused(&pair, true, -E_CERTIFICATE_PEER);
	pair = pair_of();
	pair_start(&pair, NULL, &user.identity);
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
	assert_true(identity_equal(&tls_peer(pair.server.tls)->identity, &node.identity));
	pair_done(&pair);
	pair = pair_of();
	pair.server.settings.verify = TLS_VERIFY_OPTIONAL;
	pair.client.settings.leaf = foreign.certificate;
	pair.client.settings.key = foreign.key;
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
	assert_true(identity_equal(&tls_peer(pair.client.tls)->identity, &component.identity));
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

/* The intermediate is trusted as it is, and looked at for its own time. */
static void test_old_intermediate(void **state)
{
	struct test_leaf late = test_leaf_at(&mesh, IDENTITY_COMPONENT, 3, TEST_NOW, TEST_NOW + 3000 * TEST_DAY);
	struct pair pair = pair_of();
	(void)state;
	pair.server.settings.leaf = late.certificate;
	pair.server.settings.key = late.key;
	pair_start(&pair, NULL, NULL);
	now_value = TEST_NOW + 2000 * TEST_DAY;
	assert_refused(&pair, true, -E_CERTIFICATE_EXPIRED);
	test_leaf_done(&late);
}

static void test_wall_clock(void **state)
{
	int64_t wall = time(NULL);
	struct test_leaf server = test_leaf_at(&mesh, IDENTITY_COMPONENT, 3, wall - TEST_DAY, wall + TEST_DAY);
	struct pair pair = pair_of();
	(void)state;
	now_value = wall;
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

static struct pair pair_pinned(void)
{
	struct pair pair = pair_of();
	pair.server.settings.verify = TLS_VERIFY_OPTIONAL;
	pair.client.settings = (struct tls_settings){ .verify = TLS_VERIFY_PIN, .now = now };
	memcpy(pair.client.settings.pin, mesh.pin, HASH_SIZE);
	return pair;
}

static void test_pin(void **state)
{
	struct certificate_info root, found;
	struct pair pair = pair_pinned();
	(void)state;
	pair_open(&pair);
	assert_true(identity_equal(&tls_peer(pair.client.tls)->identity, &component.identity));
	assert_int_equal(certificate_inspect(mesh.root, &root), 0);
	assert_int_equal(certificate_inspect(tls_peer_certificate(pair.client.tls), &found), 0);
	assert_memory_equal(root.serial, found.serial, CERTIFICATE_SERIAL_SIZE);
	tls_slim(pair.client.tls);
	assert_int_equal(certificate_inspect(tls_peer_certificate(pair.client.tls), &found), 0);
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
	pair.server.settings.leaf = node.certificate;
	pair.server.settings.key = node.key;
	pair_start(&pair, NULL, NULL);
	assert_refused(&pair, true, -E_CERTIFICATE_USAGE);
	pair = pair_pinned();
	pair_start(&pair, NULL, NULL);
	now_value = TEST_NOW + 2 * TEST_DAY;
	assert_refused(&pair, true, -E_CERTIFICATE_EXPIRED);
	/* The pinned root beside a chain that does not lead to it. */
	pair = pair_pinned();
	pair.server.settings.leaf = foreign.certificate;
	pair.server.settings.key = foreign.key;
	pair.server.settings.intermediate = other.intermediate;
	pair_start(&pair, NULL, NULL);
	assert_refused(&pair, true, -E_CERTIFICATE);
}

/* A root with the pinned key whose other words somebody has changed. */
static void test_pin_forged_root(void **state)
{
	struct pair pair = pair_pinned();
	struct buf der;
	struct certificate *forged = NULL;
	(void)state;
	buf_init(&der, CERTIFICATE_MAX);
	assert_int_equal(certificate_write(mesh.root, &der), 0);
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
	assert_int_equal(SSL_add1_chain_cert(pair.server.tls->ssl, other.root->x509), 1);
	pair_shake(&pair);
	assert_int_equal(pair.client.result, 0);
	pair_done(&pair);
	pair = pair_of();
	pair_start(&pair, NULL, NULL);
	assert_int_equal(SSL_add1_chain_cert(pair.server.tls->ssl, other.root->x509), 1);
	assert_int_equal(SSL_add1_chain_cert(pair.server.tls->ssl, other.intermediate->x509), 1);
	assert_refused(&pair, true, -E_CERTIFICATE);
	pair = pair_of();
	pair_start(&pair, NULL, NULL);
	for (unsigned i = 0; i < 50; i++)
		assert_int_equal(SSL_add1_chain_cert(pair.server.tls->ssl, other.intermediate->x509), 1);
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
	settings.key = node.key;
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

static void test_half_close(void **state)
{
	struct pair pair = pair_of();
	(void)state;
	pair_open(&pair);
	assert_int_equal(tls_write(pair.client.tls, "all", 3), 3);
	assert_int_equal(tls_close_write(pair.client.tls), 0);
	assert_int_equal(tls_close_write(pair.client.tls), -E_CLOSED);
	assert_int_equal(tls_write(pair.client.tls, "x", 1), -E_CLOSED);
	pair.up.ended = true;
	assert_text(pair.server.tls, "all");
	assert_true(tls_pending(pair.server.tls));
	assert_read(pair.server.tls, 0);
	assert_false(tls_pending(pair.server.tls));
	assert_read(pair.server.tls, 0);
	/* The other way goes on. */
	assert_int_equal(tls_write(pair.server.tls, "answer", 6), 6);
	assert_text(pair.client.tls, "answer");
	assert_int_equal(tls_close_write(pair.server.tls), 0);
	assert_read(pair.client.tls, 0);
	pair_done(&pair);
}

static void test_truncated(void **state)
{
	struct pair pair = pair_of();
	(void)state;
	pair_open(&pair);
	assert_int_equal(tls_write(pair.client.tls, "half", 4), 4);
	pair.up.ended = true;
	assert_text(pair.server.tls, "half");
	assert_read(pair.server.tls, -E_CLOSED);
	assert_read(pair.server.tls, -E_CLOSED);
	pair_done(&pair);
	/* Inside a record. */
	pair = pair_of();
	pair_open(&pair);
	assert_int_equal(tls_write(pair.client.tls, "half", 4), 4);
	pair.up.bytes.end--;
	assert_read(pair.server.tls, -EAGAIN);
	assert_false(tls_pending(pair.server.tls)); /* there are bytes, but nothing to do with them */
	pair.up.ended = true;
	assert_read(pair.server.tls, -E_CLOSED);
	pair_done(&pair);
	/* Inside the handshake. */
	pair = pair_of();
	pair_start(&pair, NULL, NULL);
	pair.down.ended = true;
	assert_int_equal(tls_handshake(pair.client.tls), -E_CLOSED);
	assert_int_equal(tls_handshake(pair.client.tls), -E_CLOSED);
	pair_done(&pair);
}

static void test_transport_errors(void **state)
{
	struct pair pair = pair_of();
	(void)state;
	pair_open(&pair);
	assert_int_equal(tls_write(pair.client.tls, "last", 4), 4);
	pair.up.error = -ECONNRESET;
	assert_text(pair.server.tls, "last");
	assert_read(pair.server.tls, -ECONNRESET);
	assert_read(pair.server.tls, -ECONNRESET);
	/* Who cannot send any more may still read what had come. */
	assert_int_equal(tls_write(pair.server.tls, "x", 1), -ECONNRESET);
	pair_done(&pair);
	pair = pair_of();
	pair_open(&pair);
	assert_int_equal(tls_write(pair.server.tls, "said before", 11), 11);
	pair.up.error = -EPIPE;
	assert_int_equal(tls_write(pair.client.tls, "x", 1), -EPIPE);
	assert_int_equal(tls_flush(pair.client.tls), -EPIPE);
	assert_text(pair.client.tls, "said before");
	assert_int_equal(tls_close_write(pair.client.tls), -EPIPE);
	pair_done(&pair);
	pair = pair_of();
	pair_start(&pair, NULL, NULL);
	pair.up.error = -EPIPE;
	assert_int_equal(tls_handshake(pair.client.tls), -EPIPE);
	pair_done(&pair);
	/* While something is unsent. */
	pair = pair_of();
	pair_open(&pair);
	pair.up.room = 10;
	assert_int_equal(tls_write(pair.client.tls, "hello", 5), 5);
	pair.up.error = -EPIPE;
	assert_int_equal(tls_flush(pair.client.tls), -EPIPE);
	assert_int_equal(tls_write(pair.client.tls, "x", 1), -EPIPE);
	pair_done(&pair);
}

#define BULK ((size_t)1 << 20)

/* A transport that takes and gives little at a time. */
static void test_bulk(void **state)
{
	static const size_t chunks[] = { 1000, 16406, 100000, SIZE_MAX };
	static uint8_t sent[BULK], got[BULK];
	(void)state;
	for (size_t i = 0; i < BULK; i++)
		sent[i] = (uint8_t)(i * 31 + (i >> 8));
	for (unsigned i = 0; i < sizeof chunks / sizeof *chunks; i++) {
		struct pair pair = pair_of();
		pair.server.settings.read_ahead = (size_t)256 << 10;
		pair_open(&pair);
		pair.up.chunk = chunks[i];
		pair.up.room = chunks[i] == SIZE_MAX ? (size_t)1 << 20 : 2 * chunks[i];
		memset(got, 0, sizeof got);
		for (size_t in = 0, out = 0; out < BULK;) {
			unsigned sends = pair.up.sends;
			ssize_t n = in < BULK ? tls_write(pair.client.tls, sent + in, BULK - in) : tls_flush(pair.client.tls);
			assert_true(pair.up.sends <= sends + 2); /* what was unsent, and this write at once */
			assert_true(n >= 0 || n == -EAGAIN);
			assert_true(n <= 256 << 10);
			in += n > 0 ? (size_t)n : 0;
			do {
				n = tls_read(pair.server.tls, got + out, BULK - out < 300000 ? BULK - out : 300000);
				assert_true(n > 0 || n == -EAGAIN || out == BULK);
				out += n > 0 ? (size_t)n : 0;
			} while (tls_pending(pair.server.tls) && out < BULK);
		}
		assert_memory_equal(sent, got, BULK);
		assert_int_equal(tls_flush(pair.client.tls), 0);
		pair_done(&pair);
	}
}

static void test_write_backs_up(void **state)
{
	struct pair pair = pair_of();
	(void)state;
	pair_open(&pair);
	pair.up.room = 0;
	assert_int_equal(tls_write(pair.client.tls, "", 0), 0);
	assert_int_equal(tls_write(pair.client.tls, "one", 3), 3);
	assert_int_equal(tls_flush(pair.client.tls), -EAGAIN);
	assert_int_equal(tls_write(pair.client.tls, "two", 3), -EAGAIN);
	assert_int_equal(tls_close_write(pair.client.tls), -EAGAIN); /* behind what is unsent */
	pair.up.room = 1 << 20;
	pair.up.chunk = 1;
	while (tls_flush(pair.client.tls) == -EAGAIN) {
	}
	assert_int_equal(tls_flush(pair.client.tls), 0);
	assert_text(pair.server.tls, "one");
	assert_read(pair.server.tls, 0);
	pair_done(&pair);
}

static void test_handshake_by_bytes(void **state)
{
	struct pair pair = pair_of();
	(void)state;
	pair_start(&pair, NULL, NULL);
	pair.up.chunk = pair.down.chunk = 1;
	pair.up.room = pair.down.room = 3;
	assert_int_equal(tls_write(pair.client.tls, "early", 5), -EAGAIN);
	pair_shake(&pair);
	assert_int_equal(pair.client.result, 0);
	assert_int_equal(pair.server.result, 0);
	pair.up.chunk = pair.down.chunk = pair.up.room = pair.down.room = 1000;
	assert_passes(&pair);
	pair_done(&pair);
}

/* The first data may come in one piece with the end of the handshake. */
static void test_pending(void **state)
{
	struct pair pair = pair_of();
	char out[2];
	(void)state;
	pair_start(&pair, NULL, NULL);
	assert_int_equal(tls_handshake(pair.client.tls), -EAGAIN);
	assert_int_equal(tls_handshake(pair.server.tls), -EAGAIN);
	assert_int_equal(tls_handshake(pair.server.tls), -EAGAIN);
	assert_int_equal(tls_handshake(pair.client.tls), 0);
	assert_int_equal(tls_write(pair.client.tls, "data", 4), 4);
	assert_int_equal(tls_handshake(pair.server.tls), 0);
	assert_true(tls_pending(pair.server.tls));
	assert_int_equal(tls_read(pair.server.tls, out, 2), 2);
	assert_true(tls_pending(pair.server.tls));
	assert_int_equal(tls_read(pair.server.tls, out, 2), 2);
	assert_false(tls_pending(pair.server.tls));
	pair_done(&pair);
}

static void test_tampered(void **state)
{
	struct pair pair = pair_of();
	(void)state;
	pair_open(&pair);
	assert_int_equal(tls_write(pair.client.tls, "good", 4), 4);
	assert_int_equal(tls_write(pair.client.tls, "bad", 3), 3);
	pair.up.bytes.data[pair.up.bytes.end - 1] ^= 1;
	assert_text(pair.server.tls, "good");
	assert_true(tls_pending(pair.server.tls));
	pair.up.ended = true;
	assert_read(pair.server.tls, -E_TLS); /* and not the end of file, however often one asks */
	assert_read(pair.server.tls, -E_TLS);
	assert_int_equal(tls_write(pair.server.tls, "x", 1), -E_TLS);
	assert_read(pair.client.tls, -E_TLS); /* by an alert */
	assert_read(pair.client.tls, -E_TLS);
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

/* What a hostile peer makes of its connection. */
static void key_update(struct side *side, int type)
{
	assert_int_equal(SSL_key_update(side->tls->ssl, type), 1);
	assert_int_equal(tls_write(side->tls, "x", 1), 1);
}

static void test_key_updates(void **state)
{
	struct pair pair = pair_of();
	char out[128];
	(void)state;
	pair_open(&pair);
	for (unsigned i = 0; i < 64; i++)
		key_update(&pair.client, i % 2 ? SSL_KEY_UPDATE_REQUESTED : SSL_KEY_UPDATE_NOT_REQUESTED);
	assert_int_equal(tls_read(pair.server.tls, out, sizeof out), 64);
	assert_passes(&pair);
	key_update(&pair.client, SSL_KEY_UPDATE_NOT_REQUESTED);
	assert_read(pair.server.tls, -E_PROTOCOL);
	assert_read(pair.server.tls, -E_PROTOCOL);
	assert_int_equal(tls_write(pair.server.tls, "x", 1), -E_PROTOCOL);
	pair_done(&pair);
}

/* With enough data between them key updates are what they are for. */
static void test_key_updates_with_data(void **state)
{
	static char bulk[(size_t)256 << 10];
	struct pair pair = pair_of();
	(void)state;
	pair_open(&pair);
	for (unsigned i = 0; i < 100; i++) {
		assert_int_equal(SSL_key_update(pair.client.tls->ssl, SSL_KEY_UPDATE_NOT_REQUESTED), 1);
		assert_int_equal(tls_write(pair.client.tls, bulk, sizeof bulk), sizeof bulk);
		while (tls_read(pair.server.tls, bulk, sizeof bulk) > 0) {
		}
		assert_read(pair.server.tls, -EAGAIN);
	}
	pair_done(&pair);
}

/* After 2^20 records a connection takes a new key: one write makes more than its own record. */
static void test_key_renewed(void **state)
{
	struct pair pair = pair_of();
	size_t renewed = 0;
	char out[64];
	(void)state;
	pair_open(&pair);
	assert_int_equal(tls_write(pair.client.tls, "x", 1), 1);
	size_t record = buf_len(&pair.up.bytes);
	assert_text(pair.server.tls, "x");
	for (unsigned i = 1; i < 1u << 20; i++) {
		assert_int_equal(tls_write(pair.client.tls, "x", 1), 1);
		renewed += buf_len(&pair.up.bytes) != record;
		assert_int_equal(tls_read(pair.server.tls, out, sizeof out), 1);
	}
	assert_int_equal(renewed, 1);
	assert_passes(&pair);
	pair_done(&pair);
}

static void test_slim(void **state)
{
	struct pair pair = pair_of();
	(void)state;
	pair_open(&pair);
	for (unsigned i = 0; i < 2; i++) {
		tls_slim(pair.client.tls);
		tls_slim(pair.server.tls);
		assert_passes(&pair);
		assert_true(identity_equal(&tls_peer(pair.server.tls)->identity, &node.identity));
	}
	pair_done(&pair);
	pair = pair_of();
	pair.server.settings.verify = TLS_VERIFY_OPTIONAL;
	pair.client.settings.leaf = NULL;
	pair.client.settings.key = NULL;
	pair_open(&pair);
	tls_slim(pair.server.tls); /* there is nothing */
	assert_passes(&pair);
	pair_done(&pair);
}

static ssize_t nested_recv(void *ctx, void *out, size_t size)
{
	return tls_read(((struct side *)ctx)->tls, out, size);
}

static ssize_t nested_send(void *ctx, const void *bytes, size_t len)
{
	return tls_write(((struct side *)ctx)->tls, bytes, len);
}

/* TLS inside TLS: the front may be all that a network lets through. */
static void test_nested(void **state)
{
	static const struct tls_transport inside = { nested_recv, nested_send };
	static uint8_t sent[(size_t)256 << 10], got[sizeof sent];
	struct pair outer = pair_of(), inner = pair_of();
	(void)state;
	pair_open(&outer);
	assert_int_equal(tls_context_new(&inner.client.settings, &inner.client.context), 0);
	assert_int_equal(tls_context_new(&inner.server.settings, &inner.server.context), 0);
	inner.client.tls = tls_new(inner.client.context, &inside, &outer.client, NULL);
	inner.server.tls = tls_new(inner.server.context, &inside, &outer.server, NULL);
	pair_shake(&inner);
	assert_int_equal(inner.client.result, 0);
	assert_int_equal(inner.server.result, 0);
	assert_passes(&inner);
	for (size_t i = 0; i < sizeof sent; i++)
		sent[i] = (uint8_t)(i * 7 + (i >> 10));
	assert_int_equal(tls_write(inner.client.tls, sent, sizeof sent), sizeof sent);
	size_t out = 0;
	for (unsigned i = 0; i < 1000 && out < sizeof got; i++) {
		ssize_t n = tls_read(inner.server.tls, got + out, sizeof got - out);
		out += n > 0 ? (size_t)n : 0;
		tls_flush(inner.client.tls);
	}
	assert_memory_equal(sent, got, sizeof got);
	tls_free(inner.client.tls);
	tls_free(inner.server.tls);
	tls_context_free(inner.client.context);
	tls_context_free(inner.server.context);
	pair_done(&outer);
}

/* All of a connection with allocation n failing: an error or success, never a leak or a crash. */
static bool fault_run(long n)
{
	struct pair pair = pair_pinned();
	pair.client.settings.alpn = pair.server.settings.alpn = NAMES("h2");
	wire_init(&pair.up);
	wire_init(&pair.down);
	pair.client.in = pair.server.out = &pair.down;
	pair.server.in = pair.client.out = &pair.up;
	pair.client.settings.leaf = node.certificate;
	pair.client.settings.key = node.key;
	fault_arm(n);
	int err = tls_context_new(&pair.client.settings, &pair.client.context);
	if (!err)
		err = tls_context_new(&pair.server.settings, &pair.server.context);
	if (!err) {
		pair.client.tls = tls_new(pair.client.context, &transport, &pair.client, NULL);
		pair.server.tls = tls_new(pair.server.context, &transport, &pair.server, NULL);
		err = pair.client.tls && pair.server.tls ? 0 : -E_NO_MEMORY;
	}
	if (!err) {
		pair.up.chunk = pair.down.chunk = 700; /* so that something is unsent */
		pair_shake(&pair);
		err = pair.client.result ? pair.client.result : pair.server.result;
	}
	if (!err)
		err = tls_write(pair.client.tls, "x", 1) == 1 ? 0 : -E_NO_MEMORY;
	bool hit = !fault_armed();
	fault_arm(0);
	assert_true(hit ? err < 0 : err == 0);
	pair_done(&pair);
	return hit;
}

static void test_no_memory(void **state)
{
	long n = 1;
	(void)state;
	while (fault_run(n))
		n++;
	assert_true(n > 8);
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
		cmocka_unit_test(test_old_intermediate),
		cmocka_unit_test(test_wall_clock),
		cmocka_unit_test(test_pin),
		cmocka_unit_test(test_pin_refused),
		cmocka_unit_test(test_pin_forged_root),
		cmocka_unit_test(test_long_chain),
		cmocka_unit_test(test_alpn),
		cmocka_unit_test(test_context_refused),
		cmocka_unit_test(test_context_replaced),
		cmocka_unit_test(test_half_close),
		cmocka_unit_test(test_truncated),
		cmocka_unit_test(test_transport_errors),
		cmocka_unit_test(test_bulk),
		cmocka_unit_test(test_write_backs_up),
		cmocka_unit_test(test_handshake_by_bytes),
		cmocka_unit_test(test_pending),
		cmocka_unit_test(test_tampered),
		cmocka_unit_test(test_not_tls),
		cmocka_unit_test(test_old_version),
		cmocka_unit_test(test_key_updates),
		cmocka_unit_test(test_key_updates_with_data),
		cmocka_unit_test(test_key_renewed),
		cmocka_unit_test(test_slim),
		cmocka_unit_test(test_nested),
		cmocka_unit_test(test_no_memory),
	};
	return cmocka_run_group_tests(tests, set_up_group, tear_down_group);
}
