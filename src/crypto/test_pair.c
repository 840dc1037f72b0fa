#include "crypto/test_pair.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <errno.h>

#include "base/err.h"
#include "base/fault.h"

struct test_world world;
int64_t test_now;

static int64_t now(void)
{
	return test_now;
}

int world_set_up(void **state)
{
	(void)state;
	tls_warm_up();
	world.mesh = test_mesh_new(1);
	world.other = test_mesh_new(2);
	world.component = test_leaf_new(&world.mesh, IDENTITY_COMPONENT, 3);
	world.node = test_leaf_new(&world.mesh, IDENTITY_NODE, 4);
	world.user = test_leaf_new(&world.mesh, IDENTITY_USER, 5);
	world.foreign = test_leaf_new(&world.other, IDENTITY_COMPONENT, 3);
	return 0;
}

int world_tear_down(void **state)
{
	(void)state;
	test_leaf_done(&world.component);
	test_leaf_done(&world.node);
	test_leaf_done(&world.user);
	test_leaf_done(&world.foreign);
	test_mesh_done(&world.mesh);
	test_mesh_done(&world.other);
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

const struct tls_transport wire_transport = { wire_recv, wire_send };

void wire_init(struct wire *wire)
{
	*wire = (struct wire){ .chunk = SIZE_MAX, .room = 1 << 24 };
	buf_init(&wire->bytes, 1 << 24);
}

struct pair pair_of(void)
{
	struct pair pair = { 0 };
	test_now = TEST_NOW;
	pair.server.settings = (struct tls_settings){
		.server = true,
		.verify = TLS_VERIFY_REQUIRED,
		.leaf = world.component.certificate,
		.key = world.component.key,
		.intermediate = world.mesh.intermediate,
		.root = world.mesh.root,
		.send_root = true,
		.mesh = world.mesh.id,
		.kinds = 1u << IDENTITY_NODE | 1u << IDENTITY_USER,
		.now = now,
	};
	pair.client.settings = (struct tls_settings){
		.verify = TLS_VERIFY_REQUIRED,
		.leaf = world.node.certificate,
		.key = world.node.key,
		.intermediate = world.mesh.intermediate,
		.root = world.mesh.root,
		.mesh = world.mesh.id,
		.kinds = 1u << IDENTITY_COMPONENT,
		.now = now,
	};
	return pair;
}

struct pair pair_pinned(void)
{
	struct pair pair = pair_of();
	pair.server.settings.verify = TLS_VERIFY_OPTIONAL;
	pair.client.settings = (struct tls_settings){ .verify = TLS_VERIFY_PIN, .now = now };
	memcpy(pair.client.settings.pin, world.mesh.pin, HASH_SIZE);
	return pair;
}

void pair_start(struct pair *pair, const struct identity *client_expects, const struct identity *server_expects)
{
	wire_init(&pair->up);
	wire_init(&pair->down);
	pair->client.in = pair->server.out = &pair->down;
	pair->server.in = pair->client.out = &pair->up;
	assert_int_equal(tls_context_new(&pair->client.settings, &pair->client.context), 0);
	assert_int_equal(tls_context_new(&pair->server.settings, &pair->server.context), 0);
	pair->client.tls = tls_new(pair->client.context, &wire_transport, &pair->client, client_expects);
	pair->server.tls = tls_new(pair->server.context, &wire_transport, &pair->server, server_expects);
	assert_non_null(pair->client.tls);
	assert_non_null(pair->server.tls);
}

void pair_shake(struct pair *pair)
{
	pair->client.result = pair->server.result = -EAGAIN;
	for (unsigned i = 0; i < 20000 && (pair->client.result == -EAGAIN || pair->server.result == -EAGAIN); i++) {
		if (pair->client.result == -EAGAIN)
			pair->client.result = tls_handshake(pair->client.tls);
		if (pair->server.result == -EAGAIN)
			pair->server.result = tls_handshake(pair->server.tls);
	}
}

void pair_open(struct pair *pair)
{
	pair_start(pair, NULL, NULL);
	pair_shake(pair);
	assert_int_equal(pair->client.result, 0);
	assert_int_equal(pair->server.result, 0);
}

void pair_done(struct pair *pair)
{
	tls_free(pair->client.tls);
	tls_free(pair->server.tls);
	tls_context_free(pair->client.context);
	tls_context_free(pair->server.context);
	buf_done(&pair->up.bytes);
	buf_done(&pair->down.bytes);
}

void assert_text(struct tls *tls, const char *text)
{
	char out[64];
	ssize_t n = tls_read(tls, out, sizeof out);
	assert_int_equal(n, strlen(text));
	assert_memory_equal(out, text, (size_t)n);
}

void assert_passes(struct pair *pair)
{
	assert_int_equal(tls_write(pair->client.tls, "question", 8), 8);
	assert_text(pair->server.tls, "question");
	assert_int_equal(tls_write(pair->server.tls, "answer", 6), 6);
	assert_text(pair->client.tls, "answer");
}

void assert_read(struct tls *tls, int result)
{
	char out[64];
	assert_int_equal(tls_read(tls, out, sizeof out), result);
}
